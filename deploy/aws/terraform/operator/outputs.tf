output "role_arn" {
  description = "For aws.roleArn of the chart, and operator_role_arn of the tenants' modules."
  value       = aws_iam_role.operator.arn
}
