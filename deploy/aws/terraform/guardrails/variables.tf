variable "tenant_budgets_usd" {
  description = "USD a month by tenant, for all that carries the tenant's tag: {acme = 25}."
  type        = map(number)
  default     = {}
}

variable "budget_emails" {
  description = "Who hears of budgets."
  type        = list(string)
  default     = []
}

variable "tags" {
  description = "Tags of everything that is made."
  type        = map(string)
  default     = {}
}
