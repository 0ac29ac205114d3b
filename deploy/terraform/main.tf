# What Streamgauge needs in AWS: the bucket of its archive, and alarms on what it publishes to CloudWatch.

resource "aws_s3_bucket" "archive" {
  bucket        = var.bucket
  force_destroy = var.force_destroy
}

# Another S3 server may know neither of these two; a bucket that it makes is private.
resource "aws_s3_bucket_public_access_block" "archive" {
  count                   = var.alarms ? 1 : 0
  bucket                  = aws_s3_bucket.archive.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

# Uploads that a crash left behind cost money and are never finished.
resource "aws_s3_bucket_lifecycle_configuration" "archive" {
  count  = var.alarms ? 1 : 0
  bucket = aws_s3_bucket.archive.id

  rule {
    id     = "unfinished-uploads"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
}

resource "aws_sns_topic" "alarms" {
  count = var.alarm_topic == "" ? 0 : 1
  name  = var.alarm_topic
}

resource "aws_sns_topic_subscription" "email" {
  count     = var.alarm_topic == "" || var.alarm_email == "" ? 0 : 1
  topic_arn = aws_sns_topic.alarms[0].arn
  protocol  = "email"
  endpoint  = var.alarm_email
}

locals {
  told = aws_sns_topic.alarms[*].arn
}

resource "aws_cloudwatch_metric_alarm" "s3_error_rate" {
  count               = var.alarms ? 1 : 0
  alarm_name          = "${var.namespace}-s3-error-rate"
  alarm_description   = "Files cannot be written to S3. Nothing is lost: the archive catches up from the log."
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.s3_error_percent
  evaluation_periods  = 5
  datapoints_to_alarm = 3
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.told
  ok_actions          = local.told

  metric_query {
    id          = "rate"
    label       = "Writes that failed, in percent"
    expression  = "IF(errors + writes > 0, 100 * errors / (errors + writes), 0)"
    return_data = true
  }

  metric_query {
    id = "errors"
    metric {
      namespace   = var.namespace
      metric_name = "s3.errors"
      period      = 60
      stat        = "Sum"
    }
  }

  metric_query {
    id = "writes"
    metric {
      namespace   = var.namespace
      metric_name = "s3.writes"
      period      = 60
      stat        = "Sum"
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "consumer_lag" {
  count               = var.alarms ? 1 : 0
  alarm_name          = "${var.namespace}-consumer-lag"
  alarm_description   = "Records wait in the log and are not counted."
  namespace           = var.namespace
  metric_name         = "consumer.lag"
  statistic           = "Maximum"
  period              = 60
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.lag_records
  evaluation_periods  = 5
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.told
  ok_actions          = local.told
}

# A process that publishes nothing is down as well: missing data is the alarm.
resource "aws_cloudwatch_metric_alarm" "stream_processing_down" {
  count               = var.alarms ? 1 : 0
  alarm_name          = "${var.namespace}-stream-processing-down"
  alarm_description   = "No process counts events, or a partition stands still."
  namespace           = var.namespace
  metric_name         = "streams.up"
  statistic           = "Minimum"
  period              = 60
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  evaluation_periods  = 3
  treat_missing_data  = "breaching"
  alarm_actions       = local.told
  ok_actions          = local.told
}
