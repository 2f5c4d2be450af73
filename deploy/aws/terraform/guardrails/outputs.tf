output "config_rule_arn" {
  description = "The rule that finds queues that nobody declared."
  value       = aws_config_config_rule.declared.arn
}
