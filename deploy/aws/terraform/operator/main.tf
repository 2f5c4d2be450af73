# The role that encrypted-queue-operator runs as: once for each cluster, in the cluster's account. What it may do stands in ../../policies.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  policies = "${path.module}/../../policies"
  names = {
    Partition           = data.aws_partition.current.partition
    AccountId           = data.aws_caller_identity.current.account_id
    Region              = data.aws_region.current.name
    OidcProvider        = var.oidc_provider
    EksClusterName      = var.eks_cluster_name
    Namespace           = var.namespace
    ServiceAccount      = var.service_account
    TenantRoleName      = var.tenant_role_name
    ClusterId           = var.cluster_id
    QueueNames          = var.queue_names
    AdoptableQueueNames = var.adoptable_queue_names
    DriftQueueName      = var.drift_queue_name
  }
  attached = {
    "tenant-roles"              = true
    "queues-and-keys"           = var.queue_names != ""
    "adoption"                  = var.adoptable_queue_names != ""
    "pod-identity-associations" = var.eks_cluster_name != ""
    "cost"                      = var.read_traffic
    "drift-consumer"            = var.drift_queue_name != ""
  }
}

resource "aws_iam_role" "operator" {
  name               = var.role_name
  description        = "encrypted-queue-operator"
  assume_role_policy = templatefile("${local.policies}/${var.oidc_provider != "" ? "irsa" : "pod-identity"}-trust.json", local.names)
  tags               = var.tags

  lifecycle {
    precondition {
      condition     = var.oidc_provider != "" || var.eks_cluster_name != ""
      error_message = "Give oidc_provider (IRSA) or eks_cluster_name (Pod Identity)."
    }
  }
}

resource "aws_iam_role_policy" "operator" {
  for_each = toset([for name, attached in local.attached : name if attached])

  name   = each.key
  role   = aws_iam_role.operator.name
  policy = templatefile("${local.policies}/${each.key}.json", local.names)
}

resource "aws_eks_pod_identity_association" "operator" {
  count = var.oidc_provider == "" ? 1 : 0

  cluster_name    = var.eks_cluster_name
  namespace       = var.namespace
  service_account = var.service_account
  role_arn        = aws_iam_role.operator.arn
  tags            = var.tags
}
