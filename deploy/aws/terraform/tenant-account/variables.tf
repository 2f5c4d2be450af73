variable "operator_role_arn" {
  description = "ARN of the operator's own role, path included."
  type        = string
}

variable "external_id" {
  description = "The tenant's spec.aws.externalId. Not a secret, but no other customer of the role may have the same."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9+=,.@:/_-]{2,1224}$", var.external_id))
    error_message = "An external id has 2 to 1224 letters, digits or + = , . @ : / _ -."
  }
}

variable "cluster_id" {
  description = "The operator's cluster id, which its tags carry (operator.clusterId of the chart, or the UID of the namespace kube-system)."
  type        = string
}

variable "tenant_role_name" {
  description = "Name of the role. The operator's own policy lets it assume roles of this name only."
  type        = string
  default     = "encrypted-queue-operator"
}

variable "queue_names" {
  description = <<-EOT
    Names of the queues that the operator may make, with `*` for any text. AWS cannot tell a new queue's tags from those put on a queue that nobody owns:
    whoever steals the operator's credentials can take over such queues of these names.
  EOT
  type        = string
}

variable "adoptable_queue_names" {
  description = "Names of existing queues that the operator may take over. Empty, none are."
  type        = string
  default     = ""
}

variable "read_traffic" {
  description = "Whether `encrypted-queue cost` may read the queues' metrics, by either role."
  type        = bool
  default     = false
}

variable "reader_principal_arns" {
  description = <<-EOT
    ARNs of roles and users that may assume a role which reads and can change nothing, with the external id: people who audit, CI. Empty, there is no such
    role.
  EOT
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.reader_principal_arns : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:(role|user)/[^*]+$", arn))])
    error_message = "A reader is a role or a user, by its whole ARN."
  }
}

variable "reader_role_name" {
  description = "Name of that role."
  type        = string
  default     = "encrypted-queue-reader"
}

variable "drift_event_bus_arn" {
  description = "The event bus of the module drift, where this Region's changes to queues and keys are forwarded to. Empty, none are."
  type        = string
  default     = ""
}

variable "forwarding_role_name" {
  description = "Name of the role that EventBridge forwards with; the module drift admits this name only."
  type        = string
  default     = "encrypted-queue-drift"
}

variable "tags" {
  description = "Tags of everything that is made."
  type        = map(string)
  default     = {}
}
