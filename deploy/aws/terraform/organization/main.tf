# A service control policy that keeps everybody but the operator and a break-glass role from queues and keys that carry the operator's tags: once, in the
# management account or a delegated administrator's. Policies do not bind the management account itself.

resource "aws_organizations_policy" "operator" {
  name        = "encrypted-queue-operator"
  description = "Queues and keys of encrypted-queue-operator are changed by it alone"
  type        = "SERVICE_CONTROL_POLICY"
  tags        = var.tags
  content = templatefile("${path.module}/../../policies/service-control.json", {
    OperatorRoles     = var.operator_roles
    BreakGlassRoleArn = var.break_glass_role_arn
    DeploymentRoleArn = var.deployment_role_arn
  })
}

resource "aws_organizations_policy_attachment" "operator" {
  for_each = toset(var.target_ids)

  policy_id = aws_organizations_policy.operator.id
  target_id = each.key
}
