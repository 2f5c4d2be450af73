//! Dead letters, periods, tags: what is set on a queue beside its key and its policy.

use super::encryption::list;
use super::{Check, Severity, Subject, config, custodian, security_hub, when};
use crate::api::labels::TAG_PREFIX;
use crate::audit::inventory::{QueueFacts, TierRules, View};
use crate::plan::state::Tags;
use crate::policy::read_back::shown;

pub(super) const CHECKS: [Check; 8] = [
    Check {
        id: "queue-reuse-period",
        severity: Severity::Medium,
        title: "Data keys are reused for longer or shorter than the tier admits.",
        why: "For so long a revoked principal keeps reading, since SQS does not ask KMS again; a shorter period costs more calls to KMS.",
        remedy: "Set KmsDataKeyReusePeriodSeconds within the tier's dataKeyReuseSeconds; the operator does so at its next check.",
        needs_declarations: true,
        controls: &[],
        subject: Subject::Queue(reuse_period),
    },
    Check {
        id: "queue-retention",
        severity: Severity::Low,
        title: "Messages are kept for longer or shorter than the tier admits.",
        why: "What is kept for longer can leak for longer; what is kept for shorter may expire unread.",
        remedy: "Set MessageRetentionPeriod within the tier's messageRetentionSeconds. A shorter one can expire messages at once.",
        needs_declarations: true,
        controls: &[custodian("sqs set-retention-period")],
        subject: Subject::Queue(retention),
    },
    Check {
        id: "queue-without-dead-letters",
        severity: Severity::Low,
        title: "There is no dead-letter queue.",
        why: "A message that cannot be processed comes back until it expires, and is then lost.",
        remedy: "Declare deadLetter in its EncryptedQueue, or set a RedrivePolicy.",
        needs_declarations: false,
        controls: &[config("sqs-queue-dlq-check")],
        subject: Subject::Queue(without_dead_letters),
    },
    Check {
        id: "dead-letter-queue-gone",
        severity: Severity::Medium,
        title: "The dead-letter queue does not exist.",
        why: "Messages that fail too often are not set aside: they come back until they expire.",
        remedy: "Make the dead-letter queue again, under the same key, or name another one in the RedrivePolicy.",
        needs_declarations: false,
        controls: &[],
        subject: Subject::Queue(dead_letter_queue_gone),
    },
    Check {
        id: "dead-letter-retention",
        severity: Severity::Low,
        title: "Dead letters expire too soon.",
        why: "A dead letter of a standard queue keeps the age that it had: with no longer retention than the source's it may expire on arrival.",
        remedy: "Set the dead-letter queue's MessageRetentionPeriod above the source's, best 1209600 (14 days).",
        needs_declarations: false,
        controls: &[],
        subject: Subject::Queue(dead_letter_retention),
    },
    Check {
        id: "queue-untagged",
        severity: Severity::Low,
        title: "The queue has no tags.",
        why: "Nobody can tell whose it is, what it costs whom, or whom to ask.",
        remedy: "Declare the queue as an EncryptedQueue, which tags it with tenant, tier and owner, or tag it.",
        needs_declarations: false,
        controls: &[security_hub("SQS.2")],
        subject: Subject::Queue(untagged),
    },
    Check {
        id: "queue-required-tags",
        severity: Severity::Low,
        title: "Tags that its tier requires are missing or empty.",
        why: "Cost and ownership reports leave it out.",
        remedy: "Add them to spec.tags of the EncryptedQueue or of its Tenant.",
        needs_declarations: true,
        controls: &[security_hub("SQS.2")],
        subject: Subject::Queue(required_tags),
    },
    Check {
        id: "queue-undeclared",
        severity: Severity::Info,
        title: "No EncryptedQueue declares the queue.",
        why: "Nothing keeps its key, its policy and its tags as they should be.",
        remedy: "encrypted-queue adopt writes a manifest for it; adoption: IfUnowned takes it over with its messages.",
        needs_declarations: true,
        controls: &[],
        subject: Subject::Queue(undeclared),
    },
];

fn rules(queue: &QueueFacts) -> Option<&TierRules> {
    queue.declared.as_ref()?.rules.as_ref()
}

fn outside(queue: &QueueFacts, attribute: &str, bounds: impl Fn(&TierRules) -> (i64, i64)) -> Vec<String> {
    let (Some(value), Some(rules)) = (queue.number(attribute), rules(queue)) else { return Vec::new() };
    let (least, most) = bounds(rules);
    when(!(least..=most).contains(&value), || format!("{attribute} is {value}, the tier admits {least} to {most}"))
}

fn reuse_period(queue: &QueueFacts, _: &View<'_>) -> Vec<String> {
    if queue.named_key().is_empty() { Vec::new() } else { outside(queue, "KmsDataKeyReusePeriodSeconds", |rules| rules.data_key_reuse_seconds) }
}

fn retention(queue: &QueueFacts, _: &View<'_>) -> Vec<String> {
    outside(queue, "MessageRetentionPeriod", |rules| rules.message_retention_seconds)
}

fn takes_dead_letters(queue: &QueueFacts, view: &View<'_>) -> bool {
    !view.sources_of(queue).is_empty() || queue.admits_dead_letters()
}

fn without_dead_letters(queue: &QueueFacts, view: &View<'_>) -> Vec<String> {
    // Of a declared queue, its tier decides.
    let none = !queue.attributes.contains_key("RedrivePolicy") && !takes_dead_letters(queue, view) && queue.declared.is_none();
    // A queue that only could not be seen may send its dead letters here.
    when(none && view.facts.all_queues, || "no RedrivePolicy, and no queue sends its dead letters here".to_owned())
}

fn dead_letter_queue_gone(queue: &QueueFacts, view: &View<'_>) -> Vec<String> {
    let target = queue.dead_letter_target().filter(|target| view.facts.all_queues && view.queue(target).is_none());
    target.map(|target| format!("{} does not exist", shown(&target))).into_iter().collect()
}

fn dead_letter_retention(queue: &QueueFacts, view: &View<'_>) -> Vec<String> {
    const ATTRIBUTE: &str = "MessageRetentionPeriod";
    if queue.attributes.get("FifoQueue").is_some_and(|fifo| fifo == "true") {
        return Vec::new();
    }
    let Some(own) = queue.number(ATTRIBUTE) else { return Vec::new() };
    let longer = |source: &&&QueueFacts| source.number(ATTRIBUTE).is_some_and(|theirs| theirs >= own);
    let sources: Vec<_> = view.sources_of(queue).iter().filter(longer).map(|source| source.arn.name()).collect();
    when(!sources.is_empty(), || format!("{ATTRIBUTE} is {own}, not more than that of {}", list(&sources)))
}

/// Whether any tag is somebody's own.
pub(super) fn has_tags(tags: &Tags) -> bool {
    tags.keys().any(|key| !key.starts_with("aws:"))
}

fn untagged(queue: &QueueFacts, _: &View<'_>) -> Vec<String> {
    when(queue.tags.as_ref().is_some_and(|tags| !has_tags(tags)), || "no tags".to_owned())
}

fn required_tags(queue: &QueueFacts, _: &View<'_>) -> Vec<String> {
    let (Some(tags), Some(rules)) = (&queue.tags, rules(queue)) else { return Vec::new() };
    let missing: Vec<_> = rules.required_tags.iter().map(String::as_str).filter(|key| tags.get(*key).is_none_or(String::is_empty)).collect();
    when(!missing.is_empty(), || format!("missing or empty: {}", list(&missing)))
}

fn undeclared(queue: &QueueFacts, view: &View<'_>) -> Vec<String> {
    when(view.facts.declarations && queue.declared.is_none(), || {
        match queue.tags.as_ref().and_then(|tags| tags.get(&format!("{TAG_PREFIX}object"))) {
            Some(object) => format!("its tags name the object {}, which is not there", shown(object)),
            None => "no object's queue or dead-letter queue has its ARN".to_owned(),
        }
    })
}
