//! Keys with this cluster's tags that no QueueKey records: made late by a leader that was paused, or left behind. Pure.

use super::action::KeyAction;
use super::extra::{end, is_superseded};
use super::observed::{FoundKey, KeyEvidence};
use super::record::{is_genuine, is_lost};
use crate::api::QueueKeyStatus;
use crate::api::labels::TAG_RELEASED;

/// What a key that was found is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Stray {
    /// Nothing to do: it ends already, was let go of, or its object is about to find it.
    Known,
    /// Its object records this other key.
    Late {
        /// The key's id.
        recorded: String,
    },
    /// Its object is gone. It is kept: messages may be under it.
    Orphan,
}

/// Judges a key by its object's status as the API server holds it; None: there is no such object.
pub fn judge(key: &FoundKey, object: Option<&QueueKeyStatus>) -> Stray {
    if !super::creation::is_alive(key) {
        return Stray::Known;
    }
    let Some(status) = object else {
        return if key.tags.contains_key(TAG_RELEASED) { Stray::Known } else { Stray::Orphan };
    };
    // A record that is not to be trusted is put right first, and one that is missing is searched for.
    match status.key_id.as_ref().filter(|_| is_genuine(status) && !is_lost(status)) {
        Some(recorded) if *recorded != key.metadata.id => Stray::Late { recorded: recorded.clone() },
        _ => Stray::Known,
    }
}

/// Ends a late key; none: it may be needed, and a person decides.
pub fn end_late(key: &FoundKey, recorded: &str, evidence: &KeyEvidence, window_days: i32) -> Option<[KeyAction; 2]> {
    is_superseded(key, evidence).then(|| end(&key.metadata.id, recorded, window_days))
}
