//! What an action would answer, and what it is called.

use jiff::Timestamp;

use super::report::Change;
use crate::names::Place;
use crate::plan::effect::{KeyEffect, QueueEffect};
use crate::plan::observed::NonceRecord;
use crate::plan::state::{KeyLifecycle, KeyMetadata};
use crate::plan::{KeyAction, ObservedKeyObject, QueueAction};

/// Stands for the id of a key that does not exist yet.
pub const KEY_ID: &str = "KEY-ID";
/// Stands for the nonce of a key that does not exist yet.
pub const NONCE: &str = "NONCE";

/// What the action would answer; none: only AWS can tell. `key` is the QueueKey that `EnsureKey` would make.
pub fn queue_effect(action: &QueueAction, place: &Place, key: impl FnOnce() -> ObservedKeyObject) -> Option<QueueEffect> {
    Some(match action {
        QueueAction::ReadQueues { .. } | QueueAction::ReadFoundKey { .. } | QueueAction::ReadDeadLetterSources { .. } => return None,
        QueueAction::CreateQueue { name, .. } => {
            QueueEffect::Created { url: format!("https://sqs.{}.amazonaws.com/{}/{name}", place.region, place.account) }
        }
        QueueAction::EnsureKey { .. } => QueueEffect::Key(key()),
        QueueAction::AddFinalizer
        | QueueAction::SetQueueAttributes { .. }
        | QueueAction::TagQueue { .. }
        | QueueAction::UntagQueue { .. }
        | QueueAction::DeleteQueue { .. }
        | QueueAction::ForgetApplied { .. }
        | QueueAction::RecordNextKey { .. }
        | QueueAction::RecordKeys { .. }
        | QueueAction::RecordAdoption { .. }
        | QueueAction::RecordDeadLetterUnused
        | QueueAction::ForgetDeadLetter
        | QueueAction::SetKeyDeletionPolicy { .. }
        | QueueAction::RemoveFinalizer
        | QueueAction::Hold(_) => QueueEffect::Done,
    })
}

/// What the action would answer; none: only AWS can tell.
pub fn key_effect(action: &KeyAction, place: &Place, now: Timestamp) -> Option<KeyEffect> {
    Some(match action {
        KeyAction::FindByAlias { .. }
        | KeyAction::FindByTags { .. }
        | KeyAction::ReadEvidence { .. }
        | KeyAction::ReadLastUse { .. }
        | KeyAction::ReadKey { .. }
        | KeyAction::ReadRotations { .. }
        | KeyAction::FindQueuesUnderKey { .. } => return None,
        KeyAction::RecordNonce => KeyEffect::Nonce(NonceRecord { nonce: NONCE.to_owned(), started_at: now, fresh: true }),
        KeyAction::CreateKey { description, .. } => KeyEffect::Created(KeyMetadata {
            id: KEY_ID.to_owned(),
            arn: place.key_arn(KEY_ID),
            lifecycle: KeyLifecycle::Enabled,
            description: description.clone(),
            created_at: Some(now),
            deletion_date: None,
        }),
        KeyAction::RecordKey { .. }
        | KeyAction::ForgetApplied { .. }
        | KeyAction::CancelKeyDeletion { .. }
        | KeyAction::EnableKey { .. }
        | KeyAction::PutKeyPolicy { .. }
        | KeyAction::RecordUsers { .. }
        | KeyAction::RecordDeletedPrincipals { .. }
        | KeyAction::RecordReleased { .. }
        | KeyAction::MarkApproval { .. }
        | KeyAction::RevokeGrant { .. }
        | KeyAction::CreateAlias { .. }
        | KeyAction::UpdateAlias { .. }
        | KeyAction::EnableKeyRotation { .. }
        | KeyAction::TagKey { .. }
        | KeyAction::UntagKey { .. }
        | KeyAction::RecordRotationStart { .. }
        | KeyAction::RotateKeyOnDemand { .. }
        | KeyAction::RecordRotationServed { .. }
        | KeyAction::ScheduleKeyDeletion { .. }
        | KeyAction::EndObject { .. }
        | KeyAction::Hold(_) => KeyEffect::Done,
    })
}

/// The write that an action is, as IAM names it, and what it does; none: it writes nothing to AWS.
pub fn queue_write(action: &QueueAction) -> Option<(&'static str, Change)> {
    Some(match action {
        QueueAction::CreateQueue { .. } => ("sqs:CreateQueue", Change::Make),
        QueueAction::SetQueueAttributes { .. } => ("sqs:SetQueueAttributes", Change::Change),
        QueueAction::TagQueue { .. } => ("sqs:TagQueue", Change::Change),
        QueueAction::UntagQueue { .. } => ("sqs:UntagQueue", Change::Change),
        QueueAction::DeleteQueue { .. } => ("sqs:DeleteQueue", Change::Remove),
        QueueAction::AddFinalizer
        | QueueAction::EnsureKey { .. }
        | QueueAction::ReadQueues { .. }
        | QueueAction::ForgetApplied { .. }
        | QueueAction::RecordNextKey { .. }
        | QueueAction::RecordKeys { .. }
        | QueueAction::ReadFoundKey { .. }
        | QueueAction::ReadDeadLetterSources { .. }
        | QueueAction::RecordAdoption { .. }
        | QueueAction::RecordDeadLetterUnused
        | QueueAction::ForgetDeadLetter
        | QueueAction::SetKeyDeletionPolicy { .. }
        | QueueAction::RemoveFinalizer
        | QueueAction::Hold(_) => return None,
    })
}

/// The write that an action is, as IAM names it, and what it does; none: it writes nothing to AWS.
pub fn key_write(action: &KeyAction) -> Option<(&'static str, Change)> {
    Some(match action {
        KeyAction::CreateKey { .. } => ("kms:CreateKey", Change::Make),
        KeyAction::CancelKeyDeletion { .. } => ("kms:CancelKeyDeletion", Change::Change),
        KeyAction::EnableKey { .. } => ("kms:EnableKey", Change::Change),
        KeyAction::PutKeyPolicy { .. } => ("kms:PutKeyPolicy", Change::Change),
        KeyAction::RevokeGrant { .. } => ("kms:RevokeGrant", Change::Remove),
        KeyAction::CreateAlias { .. } => ("kms:CreateAlias", Change::Make),
        KeyAction::UpdateAlias { .. } => ("kms:UpdateAlias", Change::Change),
        KeyAction::EnableKeyRotation { .. } => ("kms:EnableKeyRotation", Change::Change),
        KeyAction::TagKey { .. } => ("kms:TagResource", Change::Change),
        KeyAction::UntagKey { .. } => ("kms:UntagResource", Change::Change),
        KeyAction::RotateKeyOnDemand { .. } => ("kms:RotateKeyOnDemand", Change::Change),
        KeyAction::ScheduleKeyDeletion { .. } => ("kms:ScheduleKeyDeletion", Change::Remove),
        KeyAction::FindByAlias { .. }
        | KeyAction::FindByTags { .. }
        | KeyAction::ReadEvidence { .. }
        | KeyAction::ReadLastUse { .. }
        | KeyAction::RecordNonce
        | KeyAction::RecordKey { .. }
        | KeyAction::ReadKey { .. }
        | KeyAction::ForgetApplied { .. }
        | KeyAction::RecordUsers { .. }
        | KeyAction::RecordDeletedPrincipals { .. }
        | KeyAction::RecordReleased { .. }
        | KeyAction::MarkApproval { .. }
        | KeyAction::RecordRotationStart { .. }
        | KeyAction::ReadRotations { .. }
        | KeyAction::RecordRotationServed { .. }
        | KeyAction::FindQueuesUnderKey { .. }
        | KeyAction::EndObject { .. }
        | KeyAction::Hold(_) => return None,
    })
}
