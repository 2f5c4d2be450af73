# Changes of queues and keys, as CloudTrail and EventBridge tell them, in a queue that encrypted-queue-operator reads: once, in the operator's account and
# Region. It needs a trail that records management events. Events come late or never at times: the operator's slow check finds what they miss.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  source = "${path.module}/../.."
  names = {
    Partition          = data.aws_partition.current.partition
    AccountId          = data.aws_caller_identity.current.account_id
    Region             = data.aws_region.current.name
    OperatorRoleArn    = var.operator_role_arn
    DriftQueueName     = var.drift_queue_name
    OrganizationId     = var.organization_id
    ForwardingRoleName = var.forwarding_role_name
  }
  forwarded = var.organization_id != ""
}

resource "aws_kms_key" "drift" {
  description             = "encrypted-queue-operator's drift events"
  enable_key_rotation     = true
  deletion_window_in_days = 7
  policy                  = templatefile("${local.source}/policies/drift-key.json", local.names)
  tags                    = var.tags
}

resource "aws_sqs_queue" "drift" {
  name                              = var.drift_queue_name
  kms_master_key_id                 = aws_kms_key.drift.arn
  kms_data_key_reuse_period_seconds = 3600
  # An older event tells nothing that a check has not found.
  message_retention_seconds  = 14400
  receive_wait_time_seconds  = 20
  visibility_timeout_seconds = 60
  tags                       = var.tags
}

resource "aws_sqs_queue_policy" "drift" {
  queue_url = aws_sqs_queue.drift.url
  policy    = templatefile("${local.source}/policies/drift-queue.json", local.names)
}

resource "aws_cloudwatch_event_rule" "changes" {
  name          = var.drift_queue_name
  description   = "Changes of queues and keys, for encrypted-queue-operator"
  event_pattern = file("${local.source}/events/drift.json")
  tags          = var.tags
}

resource "aws_cloudwatch_event_target" "changes" {
  rule      = aws_cloudwatch_event_rule.changes.name
  target_id = "drift"
  arn       = aws_sqs_queue.drift.arn
}

resource "aws_cloudwatch_event_rule" "denials" {
  count = var.denied_calls ? 1 : 0

  name        = "${var.drift_queue_name}-denied-calls"
  description = "Refused calls to queues and keys, for encrypted-queue-operator"
  # Reads count among them, which the plain state leaves out.
  state         = "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"
  event_pattern = file("${local.source}/events/denied-calls.json")
  tags          = var.tags
}

resource "aws_cloudwatch_event_target" "denials" {
  count = var.denied_calls ? 1 : 0

  rule      = aws_cloudwatch_event_rule.denials[0].name
  target_id = "drift"
  arn       = aws_sqs_queue.drift.arn
}

resource "aws_cloudwatch_event_bus" "forwarded" {
  count = local.forwarded ? 1 : 0

  name = var.drift_queue_name
  tags = var.tags
}

resource "aws_cloudwatch_event_bus_policy" "forwarded" {
  count = local.forwarded ? 1 : 0

  event_bus_name = aws_cloudwatch_event_bus.forwarded[0].name
  policy         = templatefile("${local.source}/policies/drift-bus.json", local.names)
}

resource "aws_cloudwatch_event_rule" "forwarded" {
  count = local.forwarded ? 1 : 0

  name           = "${var.drift_queue_name}-forwarded"
  description    = "Changes of queues and keys in other accounts and Regions, for encrypted-queue-operator"
  event_bus_name = aws_cloudwatch_event_bus.forwarded[0].name
  event_pattern  = file("${local.source}/events/drift.json")
  tags           = var.tags
}

resource "aws_cloudwatch_event_target" "forwarded" {
  count = local.forwarded ? 1 : 0

  rule           = aws_cloudwatch_event_rule.forwarded[0].name
  event_bus_name = aws_cloudwatch_event_bus.forwarded[0].name
  target_id      = "drift"
  arn            = aws_sqs_queue.drift.arn
}

resource "aws_cloudwatch_metric_alarm" "unread" {
  alarm_name          = "${var.drift_queue_name}-unread"
  alarm_description   = "encrypted-queue-operator does not read its drift events; changes are noticed by its slow check alone"
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateAgeOfOldestMessage"
  dimensions          = { QueueName = aws_sqs_queue.drift.name }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 3
  threshold           = 900
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arn == "" ? [] : [var.alarm_topic_arn]
  tags                = var.tags
}
