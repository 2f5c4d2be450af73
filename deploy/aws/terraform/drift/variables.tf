variable "operator_role_arn" {
  description = "ARN of the operator's role, path included."
  type        = string
}

variable "drift_queue_name" {
  description = "Name of the queue; the rules' names begin with it."
  type        = string
  default     = "encrypted-queue-drift"
}

variable "denied_calls" {
  description = "Whether refused calls are told as well. They include every refused kms:Decrypt, so their number can be high."
  type        = bool
  default     = false
}

variable "organization_id" {
  description = "The organisation whose accounts forward their events here (drift_event_bus_arn of their modules). Empty, none do."
  type        = string
  default     = ""
}

variable "forwarding_role_name" {
  description = "Name of the role that they forward with."
  type        = string
  default     = "encrypted-queue-drift"
}

variable "alarm_topic_arn" {
  description = "SNS topic that hears when nobody reads the queue. Empty, the alarm only shows."
  type        = string
  default     = ""
}

variable "tags" {
  description = "Tags of everything that is made."
  type        = map(string)
  default     = {}
}
