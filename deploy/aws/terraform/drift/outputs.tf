output "queue_url" {
  description = "URL of the queue that the operator reads."
  value       = aws_sqs_queue.drift.url
}

output "event_bus_arn" {
  description = "drift_event_bus_arn of the modules in other accounts; null without an organisation."
  value       = one(aws_cloudwatch_event_bus.forwarded[*].arn)
}
