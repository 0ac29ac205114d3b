output "bucket" {
  description = "The bucket, as S3_BUCKET of Streamgauge."
  value       = aws_s3_bucket.archive.bucket
}

output "alarms" {
  description = "The names of the alarms."
  value = concat(
    aws_cloudwatch_metric_alarm.s3_error_rate[*].alarm_name,
    aws_cloudwatch_metric_alarm.consumer_lag[*].alarm_name,
    aws_cloudwatch_metric_alarm.stream_processing_down[*].alarm_name,
  )
}

output "alarm_topic" {
  description = "The ARN of the SNS topic, or null."
  value       = one(aws_sns_topic.alarms[*].arn)
}
