variable "operator_roles" {
  description = "ARNs of the operator's roles with `*` for any text: arn:aws:iam::*:role/encrypted-queue-operator. Their names must be used by nothing else."
  type        = string
}

variable "break_glass_role_arn" {
  description = "ARN, or pattern, of the role that may do everything in an emergency."
  type        = string
}

variable "deployment_role_arn" {
  description = "ARN, or pattern, of the role that makes and changes the operator's roles."
  type        = string
}

variable "target_ids" {
  description = "Accounts, organisational units or the root that the policy holds for."
  type        = list(string)
}

variable "tags" {
  description = "Tags of everything that is made."
  type        = map(string)
  default     = {}
}
