//! More than one key with an object's tags: one is kept, the others go once nothing shows that they are needed. Pure.

use super::action::{Hold, KeyAction};
use super::creation::shows_marks;
use super::key::policy_id;
use super::observed::{FoundKey, KeyEvidence, LastUse, NonceRecord, ObservedKey, Seen};
use crate::api::Reason;
use crate::api::labels::{TAG_NONCE, TAG_SUPERSEDED_BY};
use crate::desired::DesiredKey;
use crate::policy::document::Document;

/// Decides which of several keys is this object's. All marks, and use by a queue, come before age.
pub(super) fn plan(desired: &DesiredKey, observed: &ObservedKey, candidates: &[&FoundKey], nonce: &NonceRecord) -> Vec<KeyAction> {
    let Seen::Present(evidence) = &observed.evidence else {
        return vec![KeyAction::ReadEvidence { ids: candidates.iter().map(|key| key.metadata.id.clone()).collect() }];
    };
    let evidence = |key: &FoundKey| evidence.iter().find(|evidence| evidence.id == key.metadata.id);
    let busy: Vec<&FoundKey> = candidates.iter().copied().filter(|key| !evidence(key).is_some_and(is_unused)).collect();
    let fits = |key: &&FoundKey| shows_marks(key, nonce) && evidence(key).is_some_and(|evidence| has_id(evidence, &nonce.nonce));
    let oldest = || candidates.iter().copied().filter(fits).min_by_key(|key| (key.metadata.created_at, &key.metadata.id));
    let kept = match busy[..] {
        [] => oldest(),
        [key] => Some(key).filter(fits),
        _ => None,
    };
    let Some(kept) = kept else { return vec![KeyAction::Hold(undecided(candidates, &busy))] };
    let extras = candidates.iter().copied().filter(|key| key.metadata.id != kept.metadata.id);
    let (ends, stays): (Vec<_>, Vec<_>) = extras.partition(|key| evidence(key).is_some_and(|evidence| is_superseded(key, evidence)));
    if !stays.is_empty() {
        return vec![KeyAction::Hold(undecided(candidates, &stays))];
    }
    ends.into_iter().flat_map(|key| end(&key.metadata.id, &kept.metadata.id, desired.deletion_window_days)).collect()
}

/// Schedules the deletion of a key that another one stands for, and says so on it.
pub(super) fn end(id: &str, kept: &str, window_days: i32) -> [KeyAction; 2] {
    let tags = [(TAG_SUPERSEDED_BY.to_owned(), kept.to_owned())].into();
    [KeyAction::TagKey { id: id.to_owned(), tags }, KeyAction::ScheduleKeyDeletion { id: id.to_owned(), window_days }]
}

/// Whether a key with an object's tags, which is not its key, may go: an operator made it, no queue points at it, and KMS says that nobody ever used it.
pub(super) fn is_superseded(key: &FoundKey, evidence: &KeyEvidence) -> bool {
    let made_by_us = |nonce: &String| key.metadata.description.contains(nonce.as_str()) && has_id(evidence, nonce);
    is_unused(evidence) && key.tags.get(TAG_NONCE).filter(|nonce| !nonce.is_empty()).is_some_and(made_by_us)
}

fn has_id(evidence: &KeyEvidence, nonce: &str) -> bool {
    evidence.policy.as_ref().and_then(|policy| Document::parse(policy).ok()).is_some_and(|policy| policy.id == Some(policy_id(nonce)))
}

fn is_unused(evidence: &KeyEvidence) -> bool {
    evidence.queues.is_empty() && evidence.last_use == LastUse::Never
}

fn undecided(candidates: &[&FoundKey], doubtful: &[&FoundKey]) -> Hold {
    let ids = |keys: &[&FoundKey]| keys.iter().map(|key| key.metadata.id.as_str()).collect::<Vec<_>>().join(", ");
    let doubt = if doubtful.is_empty() {
        "none has all marks of the one that was made for it".to_owned()
    } else {
        format!(
            "whether {} may go cannot be told: by its marks it is not the operator's, a queue points at it, or it may have been used",
            ids(doubtful)
        )
    };
    let way_out = "remove the tags encryptedqueue.dev/… from those that are not its key, or schedule their deletion";
    Hold::new(Reason::AmbiguousOwnership, format!("keys {} carry this object's tags, and {doubt}; {way_out}", ids(candidates)))
}
