//! What each capability gives, in the words of the documentation rather than of the renderer: both judges of the policies ask here, these tests and the
//! policies' own. The product's types are those of the module above.

use super::{Capability, ServicePrincipal};

/// Every action that is asked about: those of the data plane, then the others.
pub const SQS_ACTIONS: [&str; 15] = [
    "sqs:SendMessage",
    "sqs:ReceiveMessage",
    "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibility",
    "sqs:PurgeQueue",
    "sqs:StartMessageMoveTask",
    "sqs:CancelMessageMoveTask",
    "sqs:ListMessageMoveTasks",
    "sqs:GetQueueAttributes",
    "sqs:GetQueueUrl",
    "sqs:SetQueueAttributes",
    "sqs:AddPermission",
    "sqs:TagQueue",
    "sqs:ListDeadLetterSourceQueues",
    "sqs:DeleteQueue",
];

/// What others are denied, and everyone while the tenant is suspended.
pub const DATA_PLANE: &[&str] = SQS_ACTIONS.split_at(7).0;

/// Capabilities that give an action on a queue.
pub fn giving(action: &str, dead_letters: bool) -> &'static [Capability] {
    use Capability::{Observe, Receive, ReceiveDeadLetters, Redrive, Send};
    match (action, dead_letters) {
        ("sqs:SendMessage", false) => &[Send, Redrive],
        ("sqs:ReceiveMessage" | "sqs:DeleteMessage" | "sqs:ChangeMessageVisibility", false) => &[Receive],
        ("sqs:ReceiveMessage" | "sqs:DeleteMessage", true) => &[ReceiveDeadLetters, Redrive],
        ("sqs:ChangeMessageVisibility", true) => &[ReceiveDeadLetters],
        ("sqs:StartMessageMoveTask" | "sqs:CancelMessageMoveTask" | "sqs:ListMessageMoveTasks", true) => &[Redrive],
        ("sqs:GetQueueAttributes" | "sqs:GetQueueUrl", false) => &[Send, Receive, Redrive, Observe],
        ("sqs:GetQueueAttributes" | "sqs:GetQueueUrl", true) => &[ReceiveDeadLetters, Redrive, Observe],
        _ => &[],
    }
}

/// What a caller of the queue's account may do beyond, if his IAM policy allows it, although others are denied: purging what he may delete, hiding
/// what he may receive.
pub fn tolerated(action: &str, dead_letters: bool) -> &'static [Capability] {
    match (action, dead_letters) {
        ("sqs:PurgeQueue", false) => &[Capability::Receive],
        ("sqs:PurgeQueue" | "sqs:ChangeMessageVisibility", true) => &[Capability::ReceiveDeadLetters, Capability::Redrive],
        _ => &[],
    }
}

/// Capabilities that give an action on the key, through a queue.
pub fn giving_use(action: &str) -> &'static [Capability] {
    use Capability::{Receive, ReceiveDeadLetters, Redrive, Send};
    match action {
        "kms:Decrypt" => &[Send, Receive, ReceiveDeadLetters, Redrive],
        "kms:GenerateDataKey" => &[Send, Redrive],
        _ => &[],
    }
}

/// As the service calls.
pub const fn service_name(service: ServicePrincipal) -> &'static str {
    match service {
        ServicePrincipal::Sns => "sns.amazonaws.com",
        ServicePrincipal::S3 => "s3.amazonaws.com",
        ServicePrincipal::EventBridge => "events.amazonaws.com",
    }
}
