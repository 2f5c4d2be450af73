output "role_arn" {
  description = "For spec.aws.roleArn of the Tenant."
  value       = aws_iam_role.operator.arn
}

output "audit_policy_arn" {
  description = "The read-only policy for audits."
  value       = aws_iam_policy.audit.arn
}

output "reader_role_arn" {
  description = "The role that only reads; null where nobody may."
  value       = one(aws_iam_role.reader[*].arn)
}
