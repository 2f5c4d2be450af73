//! From one key to another: the new key admits everyone, settles, the queue is pointed at it, and the old key decrypts until every message under it has
//! expired. Each step is on record before the next, so that it goes on wherever it stopped.

use jiff::{SignedDuration, Timestamp};

use super::action::{Hold, QueueAction};
use super::observed::{CurrentKey, ObservedKeyObject, ObservedQueue, PreviousKeyRecord};
use super::queue::{KMS_KEY, side};
use crate::api::Reason;
use crate::desired::{DesiredQueue, QueueSide, owner_tags_match};
use crate::policy::access::{Capability, QueueAccess};
use crate::policy::queue_policy::QueueKind;

/// `SetQueueAttributes` takes up to 60 s to spread (SQS API reference); producers keep the old key for twice as long.
pub(super) const SPREAD: SignedDuration = SignedDuration::from_secs(120);

impl ObservedQueue {
    /// The key that the queue is still under, if that is not the one it should be under.
    pub fn leaves(&self, desired: &DesiredQueue) -> Option<&CurrentKey> {
        self.current_key.as_ref().filter(|current| current.name != desired.key_name && self.is_made())
    }
}

impl ObservedQueue {
    /// Whether KMS holds the key no longer that the queue is under: nothing is waited for on its account.
    pub(super) fn lost(&self, current: &CurrentKey) -> bool {
        self.other_keys.iter().any(|key| key.name == current.name && key.lost)
    }
}

/// Where a queue on its way to another key is.
pub(super) enum Stage {
    /// It stays under this key for now.
    Stays(CurrentKey, Option<QueueAction>),
    /// It is to be pointed at the new key.
    Moves,
}

/// What the queue's key should be now; `granted`: both keys' policies hold its grants.
pub(super) fn stage(desired: &DesiredQueue, observed: &ObservedQueue, current: &CurrentKey, key_arn: &str, granted: bool, now: Timestamp) -> Stage {
    let stays = |next| Stage::Stays(current.clone(), next);
    if !granted {
        return stays(None);
    }
    if observed.lost(current) || are_under(desired, observed, key_arn) {
        return Stage::Moves;
    }
    let settling = format!("the queue moves from QueueKey {} to {} once that has settled", current.name, desired.key_name);
    settles(desired, observed, &settling, now).map_or(Stage::Moves, |action| stays(Some(action)))
}

/// A key that admits everyone is given time to spread before a live queue is pointed at it; none: it has settled.
pub(super) fn settles(desired: &DesiredQueue, observed: &ObservedQueue, settling: &str, now: Timestamp) -> Option<QueueAction> {
    let grants_sha256 = desired.access.sha256();
    let next = observed.next_key.as_ref().filter(|next| next.name == desired.key_name && next.grants_sha256 == grants_sha256);
    let Some(next) = next else { return Some(QueueAction::RecordNextKey { name: desired.key_name.clone(), grants_sha256 }) };
    let settled_at = next.granted_at.saturating_add(desired.settle).unwrap_or(Timestamp::MAX);
    let message = format!("{settling}, at {settled_at:.0}; until then it stays as it is, in use");
    (now < settled_at).then(|| QueueAction::Hold(Hold::until(Reason::Migrating, message, settled_at)))
}

/// Whether all its queues were seen under a key, whatever status says.
pub(super) fn are_under(desired: &DesiredQueue, observed: &ObservedQueue, key_arn: &str) -> bool {
    [QueueKind::Source, QueueKind::DeadLetter].into_iter().all(|which| {
        let found = observed.queue(which).present();
        side(desired, which).is_none() || found.is_some_and(|found| found.attributes.get(KMS_KEY).is_some_and(|arn| arn == key_arn))
    })
}

/// Of a queue that has no key on record, what other keys hold for it: somebody cleared the record, and messages may be under each of them. None: nothing.
pub(super) fn found_again(desired: &DesiredQueue, observed: &ObservedQueue, now: Timestamp) -> Option<QueueAction> {
    let found = observed.source.present().filter(|found| observed.current_key.is_none() && owner_tags_match(&found.tags, &desired.tags))?;
    let others: Vec<(&ObservedKeyObject, &String)> = observed
        .other_keys
        .iter()
        .filter(|key| key.holds.is_some() && key.name != desired.key_name)
        .filter_map(|key| Some((key, key.arn.as_ref()?)))
        .collect();
    let is_under = |arn: &String| found.attributes.get(KMS_KEY) == Some(arn);
    let current = others.iter().find(|(_, arn)| is_under(arn));
    let previous = others.iter().filter(|(_, arn)| !is_under(arn)).map(|(key, arn)| PreviousKeyRecord {
        name: Some(key.name.clone()),
        arn: (*arn).clone(),
        managed: true,
        // When it was left is not known any more: not later than now.
        switched_at: now,
        decrypt_until: decrypt_until(desired, now),
    });
    let own = || CurrentKey { name: desired.key_name.clone(), arn: observed.key.as_ref().and_then(|key| key.arn.clone()) };
    let now_current = current.map_or_else(own, |(key, arn)| CurrentKey { name: key.name.clone(), arn: Some((*arn).clone()) });
    (!others.is_empty()).then(|| QueueAction::RecordKeys { current: now_current, previous: previous.collect() })
}

/// Once both queues are under the new key: what is on record of the old one.
pub(super) fn moved(desired: &DesiredQueue, observed: &ObservedQueue, current: &CurrentKey, key_arn: &str, now: Timestamp) -> Option<QueueAction> {
    if !are_under(desired, observed, key_arn) {
        return None;
    }
    let old = PreviousKeyRecord {
        // Of a lost key the QueueKey ends; what remains is that messages under it cannot be read.
        name: Some(current.name.clone()).filter(|_| !observed.lost(current)),
        arn: current.arn.clone().unwrap_or_default(),
        managed: true,
        switched_at: now,
        decrypt_until: decrypt_until(desired, now),
    };
    let mut previous = observed.previous_keys.clone();
    previous.retain(|previous| previous.arn != old.arn && previous.arn != key_arn);
    if old.arn != key_arn {
        previous.push(old);
    }
    let now_current = CurrentKey { name: desired.key_name.clone(), arn: Some(key_arn.to_owned()) };
    Some(QueueAction::RecordKeys { current: now_current, previous })
}

/// What is no longer true of the previous keys: messages under them have expired, or live longer since the retention was raised.
pub(super) fn upkeep(desired: &DesiredQueue, observed: &ObservedQueue, now: Timestamp) -> Option<QueueAction> {
    let current = observed.current_key.clone()?;
    let later = |mut previous: PreviousKeyRecord| {
        previous.decrypt_until = previous.decrypt_until.max(decrypt_until(desired, previous.switched_at));
        previous
    };
    let previous: Vec<_> = observed.previous_keys.iter().cloned().map(later).filter(|previous| now < previous.decrypt_until).collect();
    (previous != observed.previous_keys).then_some(QueueAction::RecordKeys { current, previous })
}

/// A message sent just before the switch lives for the queue's retention, and then, in a FIFO dead-letter queue, for that queue's too; a standard one
/// keeps the time at which it was first sent.
pub(super) fn decrypt_until(desired: &DesiredQueue, switched_at: Timestamp) -> Timestamp {
    let retention = |side: &QueueSide| side.attributes.get("MessageRetentionPeriod").and_then(|value| value.parse::<i64>().ok()).unwrap_or(1_209_600);
    after(switched_at, retention(&desired.source) + desired.dead_letter.as_ref().map_or(0, retention))
}

/// When messages have expired that live for so many seconds and were sent before the switch had spread.
pub(super) fn after(switched_at: Timestamp, seconds: i64) -> Timestamp {
    switched_at.saturating_add(SPREAD + SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

/// What a queue needs of a key that it was moved away from, and until when exactly that; none: nothing any more.
pub(super) fn needed_of_previous(
    access: &QueueAccess,
    switched_at: Timestamp,
    decrypt_until: Timestamp,
    now: Timestamp,
) -> Option<(QueueAccess, Timestamp)> {
    let spread_at = switched_at.saturating_add(SPREAD).unwrap_or(Timestamp::MAX);
    if now < spread_at {
        return Some((access.clone(), spread_at));
    }
    let decrypts = |capability| matches!(capability, Capability::Receive | Capability::ReceiveDeadLetters | Capability::Redrive);
    (now < decrypt_until).then(|| (access.clone().retain(|grant| decrypts(grant.capability)), decrypt_until))
}
