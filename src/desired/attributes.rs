//! SQS attributes of a queue and its dead-letter queue, by the names and in the spelling of the SQS API.

use serde_json::json;

use super::Violation;
use crate::api::Reason;
use crate::api::encrypted_queue::{DeadLetter, DeduplicationScope, Fifo, QueueSettings, ThroughputLimit};
use crate::names::{Place, QueueArn};
use crate::plan::state::Attributes;
use crate::policy::access::QueueAccess;
use crate::policy::queue_policy::QueueKind;
use crate::policy::{limits, queue_policy};

/// The attribute that holds the queue policy.
pub const POLICY: &str = "Policy";
/// The field a dead-letter queue's policy is declared by.
pub const DEAD_LETTER_POLICY: &str = "spec.deadLetter";

fn shared(settings: &QueueSettings, data_key_reuse_seconds: i32) -> Attributes {
    let mut attributes: Attributes =
        [("MaximumMessageSize", settings.maximum_message_bytes.to_string()), ("KmsDataKeyReusePeriodSeconds", data_key_reuse_seconds.to_string())]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
    if let Some(fifo) = &settings.fifo {
        let scope = match fifo.deduplication_scope {
            DeduplicationScope::Queue => "queue",
            DeduplicationScope::MessageGroup => "messageGroup",
        };
        let limit = match fifo.throughput_limit {
            ThroughputLimit::PerQueue => "perQueue",
            ThroughputLimit::PerMessageGroup => "perMessageGroupId",
        };
        attributes.extend([
            ("FifoQueue".to_owned(), "true".to_owned()),
            ("ContentBasedDeduplication".to_owned(), fifo.content_based_deduplication.to_string()),
            ("DeduplicationScope".to_owned(), scope.to_owned()),
            ("FifoThroughputLimit".to_owned(), limit.to_owned()),
        ]);
    }
    attributes
}

pub(super) fn source_attributes(settings: &QueueSettings, reuse: i32, dead_letter: Option<(&DeadLetter, &QueueArn)>) -> Attributes {
    let mut attributes = shared(settings, reuse);
    let numbers = [
        ("DelaySeconds", settings.delay_seconds),
        ("MessageRetentionPeriod", settings.message_retention_seconds),
        ("ReceiveMessageWaitTimeSeconds", settings.receive_message_wait_seconds),
        ("VisibilityTimeout", settings.visibility_timeout_seconds),
    ];
    attributes.extend(numbers.map(|(name, value)| (name.to_owned(), value.to_string())));
    if let Some((dead_letter, arn)) = dead_letter {
        let redrive = json!({"deadLetterTargetArn": arn.as_str(), "maxReceiveCount": dead_letter.max_receive_count});
        attributes.insert("RedrivePolicy".to_owned(), redrive.to_string());
    }
    attributes
}

pub(super) fn dead_letter_attributes(settings: &QueueSettings, dead_letter: &DeadLetter, reuse: i32, source: &QueueArn) -> Attributes {
    let mut attributes = shared(settings, reuse);
    attributes.insert("MessageRetentionPeriod".to_owned(), dead_letter.message_retention_seconds.to_string());
    let allow = json!({"redrivePermission": "byQueue", "sourceQueueArns": [source.as_str()]});
    attributes.insert("RedriveAllowPolicy".to_owned(), allow.to_string());
    attributes
}

/// Of a queue that ends: nothing moves to it any more, and everything else stays as it is.
pub(super) fn ending_dead_letter_attributes() -> Attributes {
    [("RedriveAllowPolicy".to_owned(), json!({"redrivePermission": "denyAll"}).to_string())].into()
}

/// The settings of a queue that need not be declared, each with the value that its field has then.
pub(crate) fn default_settings(which: QueueKind) -> Attributes {
    let settings = QueueSettings { fifo: Some(Fifo::default()), ..QueueSettings::default() };
    let mut attributes = match which {
        QueueKind::Source => source_attributes(&settings, 0, None),
        QueueKind::DeadLetter => {
            let mut attributes = shared(&settings, 0);
            attributes.insert("MessageRetentionPeriod".to_owned(), DeadLetter::default().message_retention_seconds.to_string());
            attributes
        }
    };
    attributes.retain(|name, _| name != "KmsDataKeyReusePeriodSeconds" && name != "FifoQueue");
    attributes
}

/// Says which limit of SQS a declaration would pass, and by how much, before SQS does.
pub(super) fn check_size(access: &QueueAccess, place: &Place, violations: &mut Vec<Violation>) {
    let source = (Some(queue_policy::render_queue(access, place)), "spec");
    let dead_letter = (queue_policy::render_dead_letter(access, place), DEAD_LETTER_POLICY);
    for (document, field) in [source, dead_letter] {
        for exceeded in document.iter().flat_map(limits::check_queue) {
            violations.push(Violation::new(Reason::PolicyTooLarge, field, format!("{exceeded}; name fewer principals or split the queue")));
        }
    }
}
