# What watches queues from outside the cluster: an AWS Config rule that finds those nobody declared, and budgets. Once in each account and Region that AWS
# Config records; budgets are an account's, so give them to one Region's only.

# Not the managed rule required-tags: SQS is not among the kinds that it looks at.
resource "aws_config_config_rule" "declared" {
  name        = "encrypted-queue-declared"
  description = "Every SQS queue is declared by an EncryptedQueue, and bears its operator's tag"
  tags        = var.tags

  scope {
    compliance_resource_types = ["AWS::SQS::Queue"]
  }

  source {
    owner = "CUSTOM_POLICY"

    source_detail {
      event_source = "aws.config"
      message_type = "ConfigurationItemChangeNotification"
    }
    source_detail {
      event_source = "aws.config"
      message_type = "OversizedConfigurationItemChangeNotification"
    }

    custom_policy_details {
      enable_debug_log_delivery = false
      policy_runtime            = "guard-2.x.x"
      policy_text               = file("${path.module}/../../config/declared-queues.guard")
    }
  }
}

# Tags count in budgets once they are active as cost allocation tags, in the management account.
resource "aws_budgets_budget" "tenant" {
  for_each = var.tenant_budgets_usd

  name         = "encrypted-queue-${each.key}"
  budget_type  = "COST"
  time_unit    = "MONTHLY"
  limit_amount = tostring(each.value)
  limit_unit   = "USD"

  cost_filter {
    name   = "TagKeyValue"
    values = [format("user:encryptedqueue.dev/tenant$%s", each.key)]
  }

  notification {
    notification_type          = "ACTUAL"
    comparison_operator        = "GREATER_THAN"
    threshold                  = 80
    threshold_type             = "PERCENTAGE"
    subscriber_email_addresses = var.budget_emails
  }

  notification {
    notification_type          = "FORECASTED"
    comparison_operator        = "GREATER_THAN"
    threshold                  = 100
    threshold_type             = "PERCENTAGE"
    subscriber_email_addresses = var.budget_emails
  }

  lifecycle {
    precondition {
      condition     = length(var.budget_emails) > 0
      error_message = "A budget needs budget_emails."
    }
  }
}
