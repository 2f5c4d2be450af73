variable "role_name" {
  description = "Name of the operator's role."
  type        = string
  default     = "encrypted-queue-operator"
}

variable "oidc_provider" {
  description = "For IRSA, the cluster's OIDC provider without https://. Without it the role is for EKS Pod Identity."
  type        = string
  default     = ""
}

variable "eks_cluster_name" {
  description = "For Pod Identity, the EKS cluster; also for reading which roles its associations give to ServiceAccounts."
  type        = string
  default     = ""
}

variable "namespace" {
  description = "The operator's namespace."
  type        = string
  default     = "encrypted-queue-operator"
}

variable "service_account" {
  description = "The operator's ServiceAccount."
  type        = string
  default     = "encrypted-queue-operator"
}

variable "tenant_role_name" {
  description = "Name of the roles in tenants' accounts, path included. `*` stands for any text."
  type        = string
  default     = "encrypted-queue-operator"
}

variable "cluster_id" {
  description = "The operator's cluster id, which its tags carry (operator.clusterId of the chart, or the UID of the namespace kube-system)."
  type        = string
}

variable "queue_names" {
  description = <<-EOT
    Names of the queues that the operator may make in its own account, with `*` for any text. Empty: no tenant lives here. AWS cannot tell a new queue's
    tags from those put on a queue that nobody owns: whoever steals the operator's credentials can take over such queues of these names.
  EOT
  type        = string
  default     = ""
}

variable "adoptable_queue_names" {
  description = "Names of existing queues of its own account that the operator may take over. Empty, none are."
  type        = string
  default     = ""
}

variable "read_traffic" {
  description = "Whether `encrypted-queue cost` may read the metrics of its own account's queues."
  type        = bool
  default     = false
}

variable "drift_queue_name" {
  description = "The queue of the module drift, when there is one in this Region."
  type        = string
  default     = ""
}

variable "tags" {
  description = "Tags of everything that is made."
  type        = map(string)
  default     = {}
}
