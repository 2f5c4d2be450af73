# The role by which encrypted-queue-operator works in a tenant's account: once in each such account. What it may do stands in ../../policies.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  source = "${path.module}/../.."
  names = {
    Partition           = data.aws_partition.current.partition
    AccountId           = data.aws_caller_identity.current.account_id
    OperatorRoleArn     = var.operator_role_arn
    ExternalId          = var.external_id
    ClusterId           = var.cluster_id
    QueueNames          = var.queue_names
    AdoptableQueueNames = var.adoptable_queue_names
    DriftEventBusArn    = var.drift_event_bus_arn
    ReaderPrincipalArns = local.readers
  }
  attached = {
    "queues-and-keys" = true
    "adoption"        = var.adoptable_queue_names != ""
    "cost"            = var.read_traffic
  }
  # Stays as it stands in the policy, where a list takes its place.
  readers = "$${ReaderPrincipalArns}"
  read = {
    "plan" = true
    "cost" = var.read_traffic
  }
  has_readers = length(var.reader_principal_arns) > 0
  forwards    = var.drift_event_bus_arn != ""
}

resource "aws_iam_role" "operator" {
  name                 = var.tenant_role_name
  description          = "encrypted-queue-operator works in this account as this role"
  max_session_duration = 3600
  assume_role_policy   = templatefile("${local.source}/policies/tenant-role-trust.json", local.names)
  tags                 = var.tags
}

resource "aws_iam_role_policy" "operator" {
  for_each = toset([for name, attached in local.attached : name if attached])

  name   = each.key
  role   = aws_iam_role.operator.name
  policy = templatefile("${local.source}/policies/${each.key}.json", local.names)
}

# For those who run `encrypted-queue audit`: attach it to the security team's role.
resource "aws_iam_policy" "audit" {
  name        = "encrypted-queue-audit"
  description = "Reads every queue and key, and no message"
  policy      = templatefile("${local.source}/policies/audit.json", local.names)
  tags        = var.tags
}

resource "aws_iam_role" "reader" {
  count = local.has_readers ? 1 : 0

  name                 = var.reader_role_name
  description          = "Reads what encrypted-queue-operator makes and finds in this account"
  max_session_duration = 3600
  assume_role_policy = replace(
    templatefile("${local.source}/policies/reader-trust.json", local.names),
    jsonencode(local.readers),
    jsonencode(var.reader_principal_arns),
  )
  tags = var.tags
}

resource "aws_iam_role_policy_attachment" "reader" {
  count = local.has_readers ? 1 : 0

  role       = aws_iam_role.reader[0].name
  policy_arn = aws_iam_policy.audit.arn
}

resource "aws_iam_role_policy" "reader" {
  for_each = toset([for name, attached in local.read : name if attached && local.has_readers])

  name   = each.key
  role   = aws_iam_role.reader[0].name
  policy = templatefile("${local.source}/policies/${each.key}.json", local.names)
}

resource "aws_iam_role" "forwarding" {
  count = local.forwards ? 1 : 0

  name               = var.forwarding_role_name
  description        = "EventBridge forwards changes of queues and keys as this role"
  assume_role_policy = templatefile("${local.source}/policies/drift-forwarding-trust.json", local.names)
  tags               = var.tags
}

resource "aws_iam_role_policy" "forwarding" {
  count = local.forwards ? 1 : 0

  name   = "drift-forwarding"
  role   = aws_iam_role.forwarding[0].name
  policy = templatefile("${local.source}/policies/drift-forwarding.json", local.names)
}

resource "aws_cloudwatch_event_rule" "forwarding" {
  count = local.forwards ? 1 : 0

  name          = "encrypted-queue-drift"
  description   = "Changes of queues and keys, for encrypted-queue-operator"
  event_pattern = file("${local.source}/events/drift.json")
  tags          = var.tags
}

resource "aws_cloudwatch_event_target" "forwarding" {
  count = local.forwards ? 1 : 0

  rule      = aws_cloudwatch_event_rule.forwarding[0].name
  target_id = "drift"
  arn       = var.drift_event_bus_arn
  role_arn  = aws_iam_role.forwarding[0].arn
}
