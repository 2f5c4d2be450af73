//! What becomes of a key: its state, rotation, use, tags.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::encryption::list;
use super::settings::has_tags;
use super::{Check, Severity, Subject, checkov, cis, config, custodian, pci, prowler, security_hub, when};
use crate::api::labels::TAG_PREFIX;
use crate::audit::inventory::{KeyFacts, LastUse, QueueFacts, View};
use crate::audit::statements::{allows, is_through_sqs};
use crate::plan::state::KeyLifecycle;
use crate::policy::read_back::shown;

pub(super) const CHECKS: [Check; 9] = [
    Check {
        id: "key-rotation-off",
        severity: Severity::Medium,
        title: "The key's material is not rotated.",
        why: "Everything ever encrypted under it hangs on one piece of material for ever.",
        remedy: "aws kms enable-key-rotation; the key of an EncryptedQueue is rotated within its tier's bounds.",
        needs_declarations: false,
        controls: &[
            security_hub("KMS.4"),
            config("cmk-backing-key-rotation-enabled"),
            prowler("kms_cmk_rotation_enabled"),
            checkov("CKV_AWS_7"),
            custodian("kms-key key-rotation-status"),
            cis("v5.0.0 3.6"),
            cis("v3.0.0 3.6"),
            cis("v1.4.0 3.8"),
            cis("v1.2.0 2.8"),
            pci("v4.0.1 3.7.4"),
            pci("v3.2.1 3.6.4"),
        ],
        subject: Subject::Key(rotation_off),
    },
    Check {
        id: "key-rotation-period",
        severity: Severity::Low,
        title: "The key is rotated more or less often than the tier admits.",
        why: "The tier's period is the security team's; the first two rotations cost $1 a month each.",
        remedy: "aws kms enable-key-rotation with a period within the tier's; the operator does so at its next check.",
        needs_declarations: true,
        controls: &[],
        subject: Subject::Key(rotation_period),
    },
    Check {
        id: "key-pending-deletion",
        severity: Severity::High,
        title: "The key is scheduled for deletion.",
        why: "What was encrypted under it is unreadable for ever from that day on.",
        remedy: "If anything may still be read: aws kms cancel-key-deletion, then aws kms enable-key. Else accept it in a baseline until that day.",
        needs_declarations: false,
        controls: &[security_hub("KMS.3"), config("kms-cmk-not-scheduled-for-deletion"), prowler("kms_cmk_not_deleted_unintentionally")],
        subject: Subject::Key(pending_deletion),
    },
    Check {
        id: "key-disabled",
        severity: Severity::Low,
        title: "The key is disabled.",
        why: "What was encrypted under it cannot be read, and it costs $1 a month all the same.",
        remedy: "Enable it, or schedule its deletion once GetKeyLastUsage and CloudTrail show that nothing needs it.",
        needs_declarations: false,
        controls: &[checkov("CKV_AWS_227"), prowler("kms_cmk_are_used")],
        subject: Subject::Key(disabled),
    },
    Check {
        id: "key-unused",
        severity: Severity::Low,
        title: "Nothing uses the key.",
        why: "It costs $1 a month, up to $3 with rotation, and is one more way to decrypt old messages.",
        remedy: "Disable it, wait for longer than anything under it is kept, then schedule its deletion with the longest window.",
        needs_declarations: false,
        controls: &[prowler("kms_cmk_are_used")],
        subject: Subject::Key(unused),
    },
    Check {
        id: "key-multi-region",
        severity: Severity::Low,
        title: "The key's material exists in several Regions.",
        why: "A queue never needs that; what is encrypted here can be decrypted there, by another policy.",
        remedy: "Move the queue to a single-Region key; an EncryptedQueue's is one.",
        needs_declarations: false,
        controls: &[prowler("kms_cmk_not_multi_region")],
        subject: Subject::Key(multi_region),
    },
    Check {
        id: "key-material-imported",
        severity: Severity::Info,
        title: "The material of a queue's key comes from outside KMS.",
        why: "It is not rotated by itself, may expire or become unreachable, and the queue then fails at once.",
        remedy: "Unless a rule asks for it, move the queue to a key with material of KMS's own (origin AWS_KMS).",
        needs_declarations: false,
        controls: &[],
        subject: Subject::Key(material_imported),
    },
    Check {
        id: "key-untagged",
        severity: Severity::Low,
        title: "The key has no tags.",
        why: "Nobody can tell whose it is, what it costs whom, or whom to ask before it is deleted.",
        remedy: "Tag it; the key of an EncryptedQueue carries tenant, tier and owner.",
        needs_declarations: false,
        controls: &[config("kms-key-tagged")],
        subject: Subject::Key(untagged),
    },
    Check {
        id: "key-shared",
        severity: Severity::High,
        title: "Queues of several tenants or tiers share the key.",
        why: "Who is cut off from one must be cut off from all, and the most careless of them decides who can decrypt.",
        remedy: "Declare the queues as EncryptedQueues: two tenants or two tiers never share a key.",
        needs_declarations: false,
        controls: &[],
        subject: Subject::Key(shared),
    },
];

/// For so long KMS must have seen no use before a key counts as unused; one that is for queues, for as long as SQS keeps a message.
const UNUSED: SignedDuration = SignedDuration::from_hours(90 * 24);
const QUEUE_KEY_UNUSED: SignedDuration = SignedDuration::from_hours(14 * 24);

fn rotation_off(key: &KeyFacts, _: &View<'_>) -> Vec<String> {
    // Only symmetric keys with material of KMS's own rotate by themselves; replicas follow their primary, and what is disabled does not rotate.
    let can = key.lifecycle == KeyLifecycle::Enabled && key.spec == "SYMMETRIC_DEFAULT" && key.origin == "AWS_KMS";
    let off = key.rotation.as_ref().is_some_and(|rotation| !rotation.enabled);
    when(can && off, || "automatic rotation is off".to_owned())
}

fn rotation_period(key: &KeyFacts, _: &View<'_>) -> Vec<String> {
    let rules = key.declared.as_ref().and_then(|declared| declared.rules.as_ref());
    let period = key.rotation.as_ref().filter(|rotation| rotation.enabled).and_then(|rotation| rotation.period_days);
    let (Some(rules), Some(period)) = (rules, period) else { return Vec::new() };
    let (least, most) = rules.rotation_period_days;
    when(!(least..=most).contains(&i64::from(period)), || format!("every {period} days, the tier admits {least} to {most}"))
}

fn pending_deletion(key: &KeyFacts, view: &View<'_>) -> Vec<String> {
    let retired = key.declared.as_ref().is_some_and(|declared| declared.retired);
    let mut lines = Vec::new();
    if key.lifecycle == KeyLifecycle::PendingDeletion && !retired {
        let users: Vec<&str> = view.users_of(key).iter().map(|queue| queue.arn.name()).collect();
        let date = key.deletion_date.map_or_else(|| "soon".to_owned(), |date| date.strftime("on %Y-%m-%d").to_string());
        let used = if users.is_empty() { String::new() } else { format!(", and {} is under it", list(&users)) };
        lines.push(format!("KMS deletes it {date}{used}"));
    }
    lines
}

fn disabled(key: &KeyFacts, _: &View<'_>) -> Vec<String> {
    when(!matches!(key.lifecycle, KeyLifecycle::Enabled | KeyLifecycle::PendingDeletion), || format!("its state is {}", key.lifecycle.as_str()))
}

/// Whether the key was made for queues: by its tags, or by what its policy admits.
fn is_for_queues(key: &KeyFacts) -> bool {
    let tagged = key.tags.as_ref().is_some_and(|tags| tags.keys().any(|tag| tag.starts_with(TAG_PREFIX)));
    tagged || key.policy.document().is_some_and(|document| allows(document).any(is_through_sqs))
}

fn unused(key: &KeyFacts, view: &View<'_>) -> Vec<String> {
    let declared = key.declared.as_ref().is_some_and(|declared| !declared.users.is_empty());
    if key.lifecycle != KeyLifecycle::Enabled || declared || !view.facts.all_queues || !view.users_of(key).is_empty() {
        return Vec::new();
    }
    let least = if is_for_queues(key) { QUEUE_KEY_UNUSED } else { UNUSED };
    let is_old = |at: jiff::Timestamp| view.now.duration_since(at) >= least;
    match key.last_use {
        LastUse::NoneSince(since) if is_old(since) => {
            vec![format!("no queue is under it, and KMS has seen no use since {}", since.strftime("%Y-%m-%d"))]
        }
        LastUse::At(at) if is_old(at) => vec![format!("no queue is under it, and its last use was on {}", at.strftime("%Y-%m-%d"))],
        LastUse::Unknown if is_for_queues(key) => vec!["it is made for queues, and no queue is under it".to_owned()],
        _ => Vec::new(),
    }
}

fn multi_region(key: &KeyFacts, _: &View<'_>) -> Vec<String> {
    when(key.multi_region && key.lifecycle == KeyLifecycle::Enabled, || "it is a multi-Region key".to_owned())
}

fn material_imported(key: &KeyFacts, view: &View<'_>) -> Vec<String> {
    when(key.origin != "AWS_KMS" && !view.users_of(key).is_empty(), || format!("its origin is {}", shown(&key.origin)))
}

fn untagged(key: &KeyFacts, _: &View<'_>) -> Vec<String> {
    when(key.tags.as_ref().is_some_and(|tags| !has_tags(tags)), || "no tags".to_owned())
}

fn shared(key: &KeyFacts, view: &View<'_>) -> Vec<String> {
    let owner = |queue: &&QueueFacts| {
        let tag = |name: &str| queue.tags.as_ref().and_then(|tags| tags.get(&format!("{TAG_PREFIX}{name}"))).cloned();
        let declared = queue.declared.as_ref();
        let tenant = declared.map(|declared| declared.tenant.clone()).or_else(|| queue.tenant.clone()).or_else(|| tag("tenant"))?;
        let tier = declared.map(|declared| declared.tier.clone()).or_else(|| tag("sensitivity-tier"));
        Some((tenant, tier))
    };
    let owners: BTreeSet<_> = view.users_of(key).iter().filter_map(owner).collect();
    let tenants: BTreeSet<&str> = owners.iter().map(|(tenant, _)| tenant.as_str()).collect();
    let tiers: BTreeSet<&str> = owners.iter().filter_map(|(_, tier)| tier.as_deref()).collect();
    let mut lines = Vec::new();
    for (what, names) in [("tenants", tenants), ("tiers", tiers)] {
        if names.len() > 1 {
            lines.push(format!("{what}: {}", list(&names.into_iter().collect::<Vec<_>>())));
        }
    }
    lines
}
