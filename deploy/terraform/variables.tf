variable "region" {
  description = "Where the bucket, the alarms and the topic are."
  type        = string
  default     = "us-east-2"
}

variable "endpoint" {
  description = "An AWS emulator or another S3 server, such as http://localhost:4566; empty for AWS."
  type        = string
  default     = ""
}

variable "bucket" {
  description = "The bucket of the archive."
  type        = string
  default     = "pageview-data"
}

variable "force_destroy" {
  description = "Whether destroying removes a bucket that still holds files."
  type        = bool
  default     = false
}

variable "alarms" {
  description = "Whether there are alarms; an S3 server that is not AWS has none."
  type        = bool
  default     = true
}

variable "namespace" {
  description = "The namespace that metrics are published in."
  type        = string
  default     = "PageviewPipeline"
}

variable "alarm_topic" {
  description = "The name of an SNS topic to make for alarms; empty for none."
  type        = string
  default     = ""
}

variable "alarm_email" {
  description = "Who is told by that topic; empty for nobody yet."
  type        = string
  default     = ""

  validation {
    condition     = var.alarm_email == "" || can(regex("^[^@ ]+@[^@ ]+$", var.alarm_email))
    error_message = "alarm_email is not an address."
  }
}

variable "s3_error_percent" {
  description = "The share of writes to S3 that may fail, in percent, before the alarm."
  type        = number
  default     = 5
}

variable "lag_records" {
  description = "Records that may wait before the alarm."
  type        = number
  default     = 10000
}
