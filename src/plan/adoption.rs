//! Taking over a queue that exists and belongs to nobody. Its new key admits everyone and settles; then what was found is on record, the queue is claimed
//! by its tags, and one call for each queue points it at the key and opens its policy. Until then nothing of it is written.

use std::borrow::Cow;

use jiff::Timestamp;

use super::action::{Hold, QueueAction};
use super::migration;
use super::observed::{AdoptionRecord, CurrentKey, ObservedQueue, PreviousKeyRecord, Seen};
use super::queue::{KMS_KEY, REDRIVE, side};
use super::state::{Attributes, QueueState, Tags};
use crate::api::Reason;
use crate::api::labels::{TAG_CLUSTER, TAG_OBJECT, TAG_RELEASED, TAG_TENANT};
use crate::desired::{DesiredQueue, default_settings, owner_tags_match};
use crate::names::QueueArn;
use crate::policy::queue_policy::QueueKind;

const BOTH: [QueueKind; 2] = [QueueKind::Source, QueueKind::DeadLetter];
const RETENTION: &str = "MessageRetentionPeriod";

impl ObservedQueue {
    /// Whether an existing queue is being taken over, or may turn out to be.
    pub fn is_adopted(&self, desired: &DesiredQueue) -> bool {
        let may_be = self.source == Seen::NotRead && self.source_url.is_none() && desired.adoption.is_some();
        may_be || self.adoption.as_ref().is_some_and(|adoption| adoption.completed_at.is_none()) || unclaimed(desired, self).next().is_some()
    }
}

/// Queues of the names that do not carry this object's tags.
fn unclaimed<'a>(desired: &'a DesiredQueue, observed: &'a ObservedQueue) -> impl Iterator<Item = (QueueKind, &'a QueueArn, &'a QueueState)> {
    let ends = |which: &QueueKind| *which == QueueKind::DeadLetter && desired.dead_letter_end.is_some();
    BOTH.into_iter().filter(move |which| !ends(which)).filter_map(|which| {
        let (found, side) = (observed.queue(which).present()?, side(desired, which)?);
        (!owner_tags_match(&found.tags, &desired.tags)).then_some((which, &side.arn, found))
    })
}

/// What is in the way of taking over queues of the names that are not this object's, or what must be read to tell; none: nothing.
pub(super) fn obstacle(desired: &DesiredQueue, observed: &ObservedQueue) -> Option<QueueAction> {
    let hold = |hold| Some(QueueAction::Hold(hold));
    for (which, arn, found) in unclaimed(desired, observed) {
        if let Err(refused) = adoptable(desired, which, arn, &found.tags) {
            return hold(refused);
        }
        let in_the_way = match which {
            QueueKind::Source => wrong_redrive(desired, found).or_else(|| wrong_retention(desired, which, found)),
            QueueKind::DeadLetter => wrong_retention(desired, which, found),
        };
        if let Some(message) = in_the_way {
            return hold(not_adoptable(arn, &message));
        }
        if which == QueueKind::DeadLetter {
            let Seen::Present(sources) = &observed.dead_letter_sources else {
                return Some(QueueAction::ReadDeadLetterSources { url: found.url.clone() });
            };
            let others: Vec<&str> = sources.iter().map(String::as_str).filter(|name| *name != desired.source.arn.name()).collect();
            if !others.is_empty() {
                let message = format!("it takes the dead letters of {} too; give those queues another one first", others.join(", "));
                return hold(not_adoptable(arn, &message));
            }
        }
    }
    None
}

fn not_adoptable(arn: &QueueArn, message: &str) -> Hold {
    Hold::new(Reason::QueueNotAdoptable, format!("queue {} cannot be taken over: {message}", arn.name()))
}

/// Whether nobody owns the queue and the declaration asks for it; the error names the owner or the way out.
fn adoptable(desired: &DesiredQueue, which: QueueKind, arn: &QueueArn, tags: &Tags) -> Result<(), Hold> {
    let (name, choose) = (arn.name(), "choose another spec.queue.name, or, if it is this object's, give it its tags encryptedqueue.dev/… back");
    if let (Some(object), Some(cluster), None) = (tags.get(TAG_OBJECT), tags.get(TAG_CLUSTER), tags.get(TAG_RELEASED)) {
        let of_this_object = [TAG_OBJECT, TAG_TENANT].iter().all(|key| tags.get(*key) == desired.tags.get(*key));
        let way_out = if of_this_object {
            format!("if that cluster is gone, run `encrypted-queue adopt --from-cluster {cluster}`, else {choose}")
        } else {
            choose.to_owned()
        };
        return Err(Hold::new(Reason::QueueConflict, format!("queue {name} belongs to {object} of cluster {cluster}; {way_out}")));
    }
    let Some(rules) = &desired.adoption else {
        let way_out = format!("{choose}; or take it over with spec.adoption: IfUnowned, or delete it if nothing needs it");
        return Err(Hold::new(Reason::QueueConflict, format!("queue {name} exists and is not managed by this operator; {way_out}")));
    };
    let admitted = match which {
        QueueKind::Source => rules.source,
        QueueKind::DeadLetter => rules.dead_letter,
    };
    let message = format!("spec.adoption: spec.adoptableQueueNames of Tenant {} does not have it; ask for it there", desired.key.tenant);
    if admitted { Ok(()) } else { Err(not_adoptable(arn, &message)) }
}

/// A dead-letter queue that nobody declares would be lost from sight.
fn wrong_redrive(desired: &DesiredQueue, found: &QueueState) -> Option<String> {
    let policy: serde_json::Value = serde_json::from_str(found.attributes.get(REDRIVE)?).ok()?;
    let target = QueueArn::parse(policy["deadLetterTargetArn"].as_str()?).ok()?;
    let declared = desired.dead_letter.as_ref().map(|side| &side.arn);
    (declared != Some(&target)).then(|| {
        let name = target.name();
        format!("its dead letters go to {name}; declare spec.deadLetter.name: {name}, or clear the queue's redrive policy first")
    })
}

/// A retention that nobody declares is kept, and lowering it loses messages.
fn wrong_retention(desired: &DesiredQueue, which: QueueKind, found: &QueueState) -> Option<String> {
    let (minimum, maximum) = desired.adoption.as_ref()?.retention_seconds;
    let kept = kept_settings(desired, which, found).get(RETENTION)?.parse::<i64>().ok()?;
    let field = match which {
        QueueKind::Source => "spec.queue.messageRetentionSeconds",
        QueueKind::DeadLetter => "spec.deadLetter.messageRetentionSeconds",
    };
    let outside = kept < i64::from(minimum) || kept > i64::from(maximum);
    outside.then(|| {
        format!(
            "it keeps messages for {kept} seconds, and the tier allows {minimum} to {maximum}; declare {field}, by which older messages may be lost"
        )
    })
}

/// Settings that the queue has and nobody declares: those whose field has its default.
fn kept_settings(desired: &DesiredQueue, which: QueueKind, found: &QueueState) -> Attributes {
    let wanted = side(desired, which).map(|side| &side.attributes);
    let undeclared = default_settings(which).into_iter().filter(|(name, default)| wanted.and_then(|wanted| wanted.get(name)) == Some(default));
    undeclared
        .filter_map(|(name, default)| found.attributes.get(&name).filter(|value| **value != default).map(|value| (name, value.clone())))
        .collect()
}

/// The queue with the settings that it was found with, where none is declared.
pub fn with_found_settings<'a>(desired: &'a DesiredQueue, observed: &ObservedQueue) -> Cow<'a, DesiredQueue> {
    let Some(adoption) = &observed.adoption else { return Cow::Borrowed(desired) };
    let mut desired = desired.clone();
    let sides = [(QueueKind::Source, Some(&mut desired.source)), (QueueKind::DeadLetter, desired.dead_letter.as_mut())];
    for (which, side) in sides {
        let (Some(side), defaults) = (side, default_settings(which)) else { continue };
        for (name, value) in adoption.settings(which) {
            if let Some(wanted) = side.attributes.get_mut(name).filter(|wanted| defaults.get(name) == Some(*wanted)) {
                wanted.clone_from(value);
            }
        }
    }
    Cow::Owned(desired)
}

/// What comes before the queues are written, once the key holds the grants of `desired`; none: they are taken over, or there are none to take over.
pub(super) fn prepare(declared: &DesiredQueue, desired: &DesiredQueue, observed: &ObservedQueue, now: Timestamp) -> Option<Vec<QueueAction>> {
    if !observed.is_adopted(desired) {
        return None;
    }
    let name = desired.source.arn.name();
    let settling = format!("queue {name} is taken over once key {} has settled", desired.key_name);
    if let Some(settles) = migration::settles(desired, observed, &settling, now) {
        return Some(vec![settles]);
    }
    let named: Vec<&String> = found_keys(desired, observed).collect();
    if let Some(key) = named.iter().find(|key| !observed.found_keys.contains_key(**key)) {
        return Some(vec![QueueAction::ReadFoundKey { key: (*key).clone() }]);
    }
    let record = record(declared, observed, &named);
    if observed.adoption.as_ref() != Some(&record) {
        return Some(vec![QueueAction::RecordAdoption { record }]);
    }
    let claims: Vec<QueueAction> = unclaimed(desired, observed)
        .map(|(which, _, found)| QueueAction::TagQueue { which, url: found.url.clone(), tags: desired.tags.clone() })
        .collect();
    (!claims.is_empty()).then_some(claims)
}

/// Keys that the queues are under before they are under their own, as the queues name them.
fn found_keys<'a>(desired: &'a DesiredQueue, observed: &'a ObservedQueue) -> impl Iterator<Item = &'a String> {
    let own = observed.key.as_ref().and_then(|key| key.arn.as_ref());
    let mut keys: Vec<&String> = BOTH
        .into_iter()
        .filter(|which| side(desired, *which).is_some())
        .filter_map(|which| observed.queue(which).present()?.attributes.get(KMS_KEY).filter(|key| Some(*key) != own && !key.is_empty()))
        .collect();
    keys.dedup();
    keys.into_iter()
}

/// What was found, before anything of it is changed; what an earlier pass has changed already is on record.
fn record(desired: &DesiredQueue, observed: &ObservedQueue, named: &[&String]) -> AdoptionRecord {
    let known = observed.adoption.clone().unwrap_or_default();
    let mut found_keys = known.found_keys.clone();
    for key in named {
        let key = observed.found_keys.get(*key).cloned().flatten().unwrap_or_else(|| (*key).clone());
        if !found_keys.contains(&key) {
            found_keys.push(key);
        }
    }
    let found = |which| observed.queue(which).present().filter(|found| !owner_tags_match(&found.tags, &desired.tags));
    let settings = |which| found(which).map_or_else(|| known.settings(which).clone(), |found| kept_settings(desired, which, found));
    let retention = |which| found(which).and_then(|found| found.attributes.get(RETENTION)?.parse::<i64>().ok()).unwrap_or(0);
    AdoptionRecord {
        completed_at: None,
        found_keys,
        found_retention_seconds: known.found_retention_seconds.max(BOTH.into_iter().map(retention).sum()),
        settings: settings(QueueKind::Source),
        dead_letter_settings: settings(QueueKind::DeadLetter),
    }
}

/// Once both queues are under their own key: what they were found under is on record until messages under it have expired.
pub(super) fn completed(desired: &DesiredQueue, observed: &ObservedQueue, key_arn: &str, now: Timestamp) -> Option<Vec<QueueAction>> {
    let adoption = observed.adoption.as_ref().filter(|adoption| adoption.completed_at.is_none())?;
    if !migration::are_under(desired, observed, key_arn) {
        return None;
    }
    let decrypt_until = migration::decrypt_until(desired, now).max(migration::after(now, adoption.found_retention_seconds));
    let mut previous = observed.previous_keys.clone();
    previous.retain(|previous| previous.arn != *key_arn && !adoption.found_keys.contains(&previous.arn));
    previous.extend(adoption.found_keys.iter().map(|arn| PreviousKeyRecord {
        name: None,
        arn: arn.clone(),
        managed: false,
        switched_at: now,
        decrypt_until,
    }));
    let current = CurrentKey { name: desired.key_name.clone(), arn: Some(key_arn.to_owned()) };
    let record = AdoptionRecord { completed_at: Some(now), ..adoption.clone() };
    Some(vec![QueueAction::RecordKeys { current, previous }, QueueAction::RecordAdoption { record }])
}

/// A setting that is declared at last is no longer kept, also when its field has its default again; `desired` without what was found.
pub(super) fn upkeep(desired: &DesiredQueue, observed: &ObservedQueue) -> Option<QueueAction> {
    let adoption = observed.adoption.as_ref().filter(|adoption| adoption.completed_at.is_some())?;
    let undeclared = |which| {
        let wanted = side(desired, which).map(|side| &side.attributes);
        let defaults = default_settings(which);
        let mut settings = adoption.settings(which).clone();
        settings.retain(|name, _| wanted.and_then(|wanted| wanted.get(name)) == defaults.get(name));
        settings
    };
    let record =
        AdoptionRecord { settings: undeclared(QueueKind::Source), dead_letter_settings: undeclared(QueueKind::DeadLetter), ..adoption.clone() };
    (record != *adoption).then_some(QueueAction::RecordAdoption { record })
}
