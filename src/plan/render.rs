//! Actions in words, for Events, logs and people.

use super::action::{KeyAction, QueueAction};
use super::state::{Attributes, Tags};
use crate::names::queue_name_of;
use crate::policy::queue_policy::QueueKind;

fn which(kind: QueueKind) -> &'static str {
    match kind {
        QueueKind::Source => "queue",
        QueueKind::DeadLetter => "dead-letter queue",
    }
}

/// Values that are short enough to read; policies are named only.
fn attributes(attributes: &Attributes) -> String {
    let shown =
        attributes.iter().map(|(name, value)| if value.starts_with('{') || value.is_empty() { name.clone() } else { format!("{name}={value}") });
    shown.collect::<Vec<_>>().join(", ")
}

fn tags(tags: &Tags) -> String {
    tags.keys().cloned().collect::<Vec<_>>().join(", ")
}

/// One line about an action on a queue.
pub fn queue_action(action: &QueueAction) -> String {
    match action {
        QueueAction::AddFinalizer => "put the finalizer on".to_owned(),
        QueueAction::EnsureKey { name, spec: _ } => format!("make QueueKey {name}"),
        QueueAction::ReadQueues { source, dead_letter: _ } => format!("read queue {}", source.name),
        QueueAction::CreateQueue { which: kind, name, attributes: _, tags: _ } => format!("create {} {name}", which(*kind)),
        QueueAction::SetQueueAttributes { which: kind, url, attributes: changed, revokes: _ } => {
            format!("set {} of {} {}", attributes(changed), which(*kind), queue_name_of(url))
        }
        QueueAction::TagQueue { which: kind, url, tags: changed } => format!("tag {} {} with {}", which(*kind), queue_name_of(url), tags(changed)),
        QueueAction::UntagQueue { which: kind, url, keys } => format!("remove tags {} of {} {}", keys.join(", "), which(*kind), queue_name_of(url)),
        QueueAction::DeleteQueue { which: kind, url } => format!("delete {} {}", which(*kind), queue_name_of(url)),
        QueueAction::ReadFoundKey { key } => format!("find out which key {key} is"),
        QueueAction::ReadDeadLetterSources { url } => format!("look whose dead letters {} takes", queue_name_of(url)),
        QueueAction::RecordAdoption { record } if record.completed_at.is_some() => "note that the queue is taken over".to_owned(),
        QueueAction::RecordAdoption { .. } => "note how the queue was found".to_owned(),
        QueueAction::RecordDeadLetterUnused => "note that nothing moves to the dead-letter queue any more".to_owned(),
        QueueAction::ForgetDeadLetter => "note that there is no dead-letter queue any more".to_owned(),
        QueueAction::ForgetApplied { .. } => "note that a change is under way".to_owned(),
        QueueAction::RecordNextKey { name, .. } => format!("note that QueueKey {name} holds the queue's grants"),
        QueueAction::RecordKeys { current, previous } if previous.is_empty() => {
            format!("note that the queue is under QueueKey {} alone", current.name)
        }
        QueueAction::RecordKeys { current, .. } => format!("note that the queue is under QueueKey {} and what earlier keys are for", current.name),
        QueueAction::SetKeyDeletionPolicy { name, policy } => format!("set the deletion policy of QueueKey {name} to {policy:?}"),
        QueueAction::RemoveFinalizer => "take the finalizer off".to_owned(),
        QueueAction::Hold(hold) => format!("wait: {}", hold.message),
    }
}

/// One line about an action on a key.
pub fn key_action(action: &KeyAction) -> String {
    match action {
        KeyAction::FindByAlias { alias } => format!("look up {alias}"),
        KeyAction::FindByTags { tags: _ } => "look for a key with this object's tags".to_owned(),
        KeyAction::ReadEvidence { ids } => format!("look for uses of keys {}", ids.join(", ")),
        KeyAction::ReadLastUse { id } => format!("look when key {id} was last used"),
        KeyAction::RecordNonce => "note that a key is about to be made".to_owned(),
        KeyAction::CreateKey { policy: _, tags: _, description } => format!("create key for {description}"),
        KeyAction::RecordKey { id, .. } => format!("note that the key is {id}"),
        KeyAction::ReadKey { id } => format!("read key {id}"),
        KeyAction::ForgetApplied { .. } => "note that a change is under way".to_owned(),
        KeyAction::CancelKeyDeletion { id } => format!("cancel the deletion of key {id}"),
        KeyAction::EnableKey { id } => format!("enable key {id}"),
        KeyAction::PutKeyPolicy { id, policy: _ } => format!("put the policy of key {id}"),
        KeyAction::RecordDeletedPrincipals { deleted, .. } => {
            format!("note that {} was deleted and has no access any more", deleted.last().map_or("a principal", |deleted| &deleted.id))
        }
        KeyAction::RecordReleased { queues } => format!("note that {} queues stay under the key without their objects", queues.len()),
        KeyAction::RecordUsers { users, .. } => format!("note that the policy holds the grants of {} queues", users.len()),
        KeyAction::MarkApproval { name } => format!("note that AccessApproval {name} is used"),
        KeyAction::RevokeGrant { id, grant, grantee } => format!("revoke grant {grant} of key {id}, which admitted {grantee}"),
        KeyAction::CreateAlias { alias, id } => format!("create {alias} for key {id}"),
        KeyAction::UpdateAlias { alias, id } => format!("point {alias} at key {id}"),
        KeyAction::EnableKeyRotation { id, period_days } => format!("rotate key {id} every {period_days} days"),
        KeyAction::TagKey { id, tags: changed } => format!("tag key {id} with {}", tags(changed)),
        KeyAction::UntagKey { id, keys } => format!("remove tags {} of key {id}", keys.join(", ")),
        KeyAction::RecordRotationStart { requested_at } => format!("note that the rotation asked for at {requested_at} begins"),
        KeyAction::ReadRotations { id } => format!("read past rotations of key {id}"),
        KeyAction::RotateKeyOnDemand { id } => format!("rotate key {id}"),
        KeyAction::RecordRotationServed { requested_at, rotated: _ } => format!("note that the rotation asked for at {requested_at} is done"),
        KeyAction::FindQueuesUnderKey { arn } => format!("look for queues under {arn}"),
        KeyAction::ScheduleKeyDeletion { id, window_days } => format!("schedule the deletion of key {id} in {window_days} days"),
        KeyAction::EndObject { policy: _ } => "end the QueueKey".to_owned(),
        KeyAction::Hold(hold) => format!("wait: {}", hold.message),
    }
}
