//! What a queue's messages are encrypted with.

use super::{Check, Severity, Subject, checkov, config, custodian, prowler, security_hub, when};
use crate::audit::inventory::{Encryption, QueueFacts, View};
use crate::plan::state::KeyLifecycle;
use crate::policy::read_back::shown;

pub(super) const CHECKS: [Check; 12] = [
    Check {
        id: "queue-not-encrypted",
        severity: Severity::Critical,
        title: "Messages are stored in plain text.",
        why: "Neither SSE-SQS nor a KMS key is set, so whoever reaches the storage reads the messages.",
        remedy: "Declare the queue as an EncryptedQueue (adoption: IfUnowned); at once: aws sqs set-queue-attributes --attributes SqsManagedSseEnabled=true.",
        needs_declarations: false,
        controls: &[
            security_hub("SQS.1"),
            config("sqs-queue-encrypted"),
            prowler("sqs_queues_server_side_encryption_enabled"),
            checkov("CKV_AWS_27"),
        ],
        subject: Subject::Queue(not_encrypted),
    },
    Check {
        id: "queue-sse-sqs",
        severity: Severity::Medium,
        title: "Messages are encrypted with a key of SQS's own (SSE-SQS).",
        why: "Nobody can say who decrypts, see it in CloudTrail, or cut anybody off: whoever may receive gets plain text.",
        remedy: "Declare the queue as an EncryptedQueue (adoption: IfUnowned): it gets a customer managed key of its own, and no message is lost.",
        needs_declarations: false,
        controls: &[checkov("CKV2_AWS_73")],
        subject: Subject::Queue(sse_sqs),
    },
    Check {
        id: "queue-aws-managed-key",
        severity: Severity::Medium,
        title: "Messages are encrypted with the AWS managed key alias/aws/sqs.",
        why: "Its policy is fixed: every principal of the account that may use SQS may decrypt, and no other account or service can be admitted.",
        remedy: "Declare the queue as an EncryptedQueue (adoption: IfUnowned): it gets a customer managed key of its own, and no message is lost.",
        needs_declarations: false,
        controls: &[checkov("CKV2_AWS_73"), custodian("sqs kms-key")],
        subject: Subject::Queue(aws_managed_key),
    },
    Check {
        id: "queue-key-missing",
        severity: Severity::Critical,
        title: "The queue names a key that does not exist.",
        why: "Nothing can be sent or received. SQS does not check the key when it is set, and a deleted key takes its messages with it.",
        remedy: "Point the queue at an existing key; messages under a deleted key are lost. As an EncryptedQueue it gets a key that cannot vanish under it.",
        needs_declarations: false,
        controls: &[],
        subject: Subject::Queue(key_missing),
    },
    Check {
        id: "queue-key-disabled",
        severity: Severity::Critical,
        title: "The queue's key is disabled.",
        why: "Every send and receive fails, and services such as SNS drop what they cannot deliver.",
        remedy: "aws kms enable-key, after finding out in CloudTrail who disabled it and why (event DisableKey).",
        needs_declarations: false,
        controls: &[checkov("CKV_AWS_227")],
        subject: Subject::Queue(key_disabled),
    },
    Check {
        id: "queue-key-pending-deletion",
        severity: Severity::Critical,
        title: "The queue's key is about to be deleted.",
        why: "Every send and receive fails now, and on that day the messages become unreadable for ever.",
        remedy: "aws kms cancel-key-deletion, then aws kms enable-key: a cancelled deletion leaves the key disabled.",
        needs_declarations: false,
        controls: &[security_hub("KMS.3"), config("kms-cmk-not-scheduled-for-deletion"), prowler("kms_cmk_not_deleted_unintentionally")],
        subject: Subject::Queue(key_pending_deletion),
    },
    Check {
        id: "queue-key-foreign",
        severity: Severity::High,
        title: "The queue's key belongs to another account.",
        why: "Its owner decides who reads these messages and may delete the key, and neither shows in this account.",
        remedy: "Declare the queue as an EncryptedQueue (adoption: IfUnowned): it moves to a key of its own account while old messages stay readable.",
        needs_declarations: false,
        controls: &[custodian("sqs kms-key")],
        subject: Subject::Queue(key_foreign),
    },
    Check {
        id: "queue-key-unusable-kind",
        severity: Severity::Critical,
        title: "The queue's key is of a kind or Region that SQS cannot use.",
        why: "SQS needs a symmetric encryption key of the queue's own Region; with any other every send fails.",
        remedy: "Point the queue at a key of spec SYMMETRIC_DEFAULT in its Region.",
        needs_declarations: false,
        controls: &[],
        subject: Subject::Queue(key_unusable_kind),
    },
    Check {
        id: "queue-key-unknown",
        severity: Severity::Low,
        title: "The queue's key could not be looked at.",
        why: "Whether it exists, is enabled and whom it admits cannot be told.",
        remedy: "Allow the auditing role kms:DescribeKey on it, in IAM and in the key's policy.",
        needs_declarations: false,
        controls: &[],
        subject: Subject::Queue(key_unknown),
    },
    Check {
        id: "queue-key-by-alias",
        severity: Severity::Low,
        title: "The queue names its key by alias or id instead of ARN.",
        why: "Whoever may move the alias changes the key of the queue without touching it; an id or alias is also looked for in the caller's account.",
        remedy: "aws sqs set-queue-attributes with the key's ARN as KmsMasterKeyId.",
        needs_declarations: false,
        controls: &[],
        subject: Subject::Queue(key_by_alias),
    },
    Check {
        id: "queue-key-not-declared",
        severity: Severity::High,
        title: "The queue is not under the key that its declaration has.",
        why: "Its messages are readable by whoever the other key admits, not by the declared.",
        remedy: "The operator puts its key back at the next check (annotation encryptedqueue.dev/check-now); find out in CloudTrail who changed it.",
        needs_declarations: true,
        controls: &[],
        subject: Subject::Queue(key_not_declared),
    },
    Check {
        id: "dead-letter-key-differs",
        severity: Severity::Medium,
        title: "The dead-letter queue is not under its source's key.",
        why: "Messages cannot be moved back, and who reads dead letters is decided by two keys, of which one is easily forgotten.",
        remedy: "Put the dead-letter queue under the source's key. An EncryptedQueue with deadLetter does, and keeps both in step.",
        needs_declarations: false,
        controls: &[],
        subject: Subject::Queue(dead_letter_key_differs),
    },
];

fn not_encrypted(queue: &QueueFacts, _: &View<'_>) -> Vec<String> {
    when(queue.encryption == Encryption::Off, || "no KmsMasterKeyId, and SqsManagedSseEnabled is not true".to_owned())
}

fn sse_sqs(queue: &QueueFacts, _: &View<'_>) -> Vec<String> {
    when(queue.encryption == Encryption::SqsManaged, || "SqsManagedSseEnabled is true, and no KmsMasterKeyId is set".to_owned())
}

fn aws_managed_key(queue: &QueueFacts, _: &View<'_>) -> Vec<String> {
    when(queue.encryption == Encryption::AwsManaged, || format!("KmsMasterKeyId is {}", shown(queue.named_key())))
}

/// The Region that the queue's key is named in, if that is not its own.
fn other_region<'a>(queue: &'a QueueFacts, view: &View<'_>) -> Option<&'a str> {
    let named = queue.named_key();
    named.split(':').nth(3).filter(|region| named.starts_with("arn:") && *region != view.facts.place.region)
}

fn key_missing(queue: &QueueFacts, view: &View<'_>) -> Vec<String> {
    when(queue.encryption == Encryption::Missing && other_region(queue, view).is_none(), || {
        format!("KMS knows no key {} here", shown(queue.named_key()))
    })
}

/// State of the queue's key, and its ARN.
fn state<'a>(queue: &'a QueueFacts, view: &View<'a>) -> Option<(&'a KeyLifecycle, &'a str)> {
    match &queue.encryption {
        Encryption::Foreign { arn, state: Some(state) } => Some((state, arn)),
        _ => view.key_of(queue).map(|key| (&key.lifecycle, key.arn.as_str())),
    }
}

fn key_disabled(queue: &QueueFacts, view: &View<'_>) -> Vec<String> {
    match state(queue, view) {
        Some((KeyLifecycle::Enabled | KeyLifecycle::PendingDeletion, _)) | None => Vec::new(),
        Some((state, arn)) => vec![format!("{arn} is {}", state.as_str())],
    }
}

fn key_pending_deletion(queue: &QueueFacts, view: &View<'_>) -> Vec<String> {
    let Some((KeyLifecycle::PendingDeletion, arn)) = state(queue, view) else { return Vec::new() };
    let date = view.key_of(queue).and_then(|key| key.deletion_date);
    vec![date.map_or_else(|| format!("{arn} is pending deletion"), |date| format!("{arn} is deleted on {}", date.strftime("%Y-%m-%d")))]
}

fn key_foreign(queue: &QueueFacts, _: &View<'_>) -> Vec<String> {
    if let Encryption::Foreign { arn, .. } = &queue.encryption { vec![format!("its key is {}", shown(arn))] } else { Vec::new() }
}

fn key_unusable_kind(queue: &QueueFacts, view: &View<'_>) -> Vec<String> {
    let elsewhere = other_region(queue, view);
    let spec = view.key_of(queue).filter(|key| key.spec != "SYMMETRIC_DEFAULT");
    let mut lines = when(elsewhere.is_some(), || format!("{} is a key of another Region", shown(queue.named_key())));
    lines.extend(spec.map(|key| format!("{} is of spec {}", key.arn, shown(&key.spec))));
    lines
}

fn key_unknown(queue: &QueueFacts, _: &View<'_>) -> Vec<String> {
    when(queue.encryption == Encryption::Unknown, || format!("KMS did not tell what {} is", shown(queue.named_key())))
}

fn key_by_alias(queue: &QueueFacts, _: &View<'_>) -> Vec<String> {
    let named = queue.named_key();
    let own_key = matches!(queue.encryption, Encryption::Key(_));
    when(own_key && !named.contains(":key/"), || format!("KmsMasterKeyId is {}", shown(named)))
}

fn key_not_declared(queue: &QueueFacts, _: &View<'_>) -> Vec<String> {
    let Some(expected) = queue.declared.as_ref().and_then(|declared| declared.key_arn.as_ref()) else { return Vec::new() };
    when(!matches!(&queue.encryption, Encryption::Key(arn) if arn == expected), || {
        let named = if queue.named_key().is_empty() { "none" } else { queue.named_key() };
        format!("its key is {}, declared is {expected}", shown(named))
    })
}

fn dead_letter_key_differs(queue: &QueueFacts, view: &View<'_>) -> Vec<String> {
    let differs = |source: &&&QueueFacts| match (&source.encryption, &queue.encryption) {
        // Whether the source is right is said of the source.
        (Encryption::Key(source), Encryption::Key(own)) => source != own,
        (Encryption::Key(_), _) => true,
        _ => false,
    };
    let sources: Vec<_> = view.sources_of(queue).iter().filter(differs).map(|source| source.arn.name()).collect();
    when(!sources.is_empty(), || format!("the key of {} is another one", list(&sources)))
}

/// The first of several, and how many more.
pub(super) fn list(names: &[&str]) -> String {
    let first: Vec<String> = names.iter().take(5).map(|name| shown(name)).collect();
    let more = names.len().saturating_sub(5);
    if more > 0 { format!("{} and {more} more", first.join(", ")) } else { first.join(", ") }
}
