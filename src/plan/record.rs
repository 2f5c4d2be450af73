//! What status records of a pass: read into the observed state when the next one begins, and written by the actions that only Kubernetes sees.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::action::{KeyAction, QueueAction};
use super::deleted;
use super::observed::{AdoptionRecord, CurrentKey, NextKeyRecord, NonceRecord, ObservedKey, ObservedQueue, PreviousKeyRecord};
use crate::api::encrypted_queue::{AdoptionStatus, KeyReference, NextKey, PreviousKey, QueueReference};
use crate::api::queue_key::{AppliedApproval, Creation, Rotation};
use crate::api::{EncryptedQueueStatus, QueueKeyStatus};
use crate::names::{QueueArn, sha256_hex};

impl ObservedQueue {
    /// As much as status tells.
    pub fn recorded(status: &EncryptedQueueStatus) -> Self {
        // One that contradicts itself is not believed: the queue is looked up by its name.
        let url = |reference: &Option<QueueReference>| {
            reference.as_ref().map(|reference| if agrees(reference) { reference.url.clone() } else { String::new() })
        };
        Self {
            current_key: status.key.as_ref().map(|key| CurrentKey { name: key.name.clone(), arn: key.arn.clone() }),
            next_key: status.next_key.as_ref().and_then(next_key),
            previous_keys: status.previous_keys.iter().map(previous_key).collect(),
            adoption: status.adoption.as_ref().map(adoption),
            dead_letter_recorded: status.dead_letter_queue.is_some(),
            dead_letter_unused_since: status.dead_letter_queue_unused_since.as_ref().map(|time| time.0),
            applied_sha256: status.applied_sha256.clone(),
            applied_tag_keys: status.applied_tag_keys.clone(),
            deleted: status.access.iter().flat_map(|access| access.deleted_principals.clone()).collect(),
            source_url: url(&status.queue),
            dead_letter_url: url(&status.dead_letter_queue),
            cached_data_keys_until: status.access.as_ref().and_then(|access| access.cached_data_keys_until.as_ref()).map(|time| time.0),
            created_at: status.created_at.as_ref().map(|time| time.0),
            ..Self::default()
        }
    }
}

fn agrees(reference: &QueueReference) -> bool {
    QueueArn::parse(&reference.arn).is_ok_and(|arn| arn.name() == reference.name && is_url_of(&reference.url, &arn))
}

/// Whether a URL is that of a queue, whatever the endpoint: it ends in account and name.
pub(super) fn is_url_of(url: &str, arn: &QueueArn) -> bool {
    url.ends_with(&format!("/{}/{}", arn.as_str().split(':').nth(4).unwrap_or_default(), arn.name()))
}

fn next_key(next: &NextKey) -> Option<NextKeyRecord> {
    Some(NextKeyRecord { name: next.name.clone(), grants_sha256: next.grants_sha256.clone()?, granted_at: next.granted_at.as_ref()?.0 })
}

fn adoption(status: &AdoptionStatus) -> AdoptionRecord {
    AdoptionRecord {
        completed_at: status.completed_at.as_ref().map(|time| time.0),
        found_keys: status.found_keys.clone(),
        found_retention_seconds: status.found_retention_seconds.unwrap_or_default(),
        settings: status.settings.clone(),
        dead_letter_settings: status.dead_letter_settings.clone(),
    }
}

fn previous_key(previous: &PreviousKey) -> PreviousKeyRecord {
    PreviousKeyRecord {
        name: previous.name.clone(),
        arn: previous.arn.clone(),
        managed: previous.managed,
        switched_at: previous.switched_at.0,
        decrypt_until: previous.decrypt_until.0,
    }
}

/// Takes what an action records into an EncryptedQueue's status; every other action leaves it as it is.
pub fn record_queue(status: &mut EncryptedQueueStatus, action: &QueueAction, now: Timestamp) {
    match action {
        QueueAction::ForgetApplied { tag_keys, dead_letter } => {
            status.applied_sha256 = None;
            status.applied_tag_keys.clone_from(tag_keys);
            if let Some(arn) = dead_letter {
                status.dead_letter_queue = Some(QueueReference { name: arn.name().to_owned(), url: String::new(), arn: arn.to_string() });
            }
        }
        QueueAction::RecordAdoption { record } => {
            let AdoptionRecord { completed_at, found_keys, found_retention_seconds, settings, dead_letter_settings } = record.clone();
            let completed_at = completed_at.map(Time);
            let found_retention_seconds = Some(found_retention_seconds);
            status.adoption = Some(AdoptionStatus { completed_at, found_keys, found_retention_seconds, settings, dead_letter_settings });
        }
        QueueAction::RecordDeadLetterUnused => status.dead_letter_queue_unused_since = Some(Time(now)),
        QueueAction::ForgetDeadLetter => (status.dead_letter_queue, status.dead_letter_queue_unused_since) = (None, None),
        QueueAction::RecordNextKey { name, grants_sha256 } => {
            status.next_key = Some(NextKey { name: name.clone(), grants_sha256: Some(grants_sha256.clone()), granted_at: Some(Time(now)) });
        }
        QueueAction::RecordKeys { current, previous } => {
            if status.key.as_ref().is_none_or(|key| key.name != current.name) {
                status.key = Some(KeyReference { name: current.name.clone(), arn: current.arn.clone(), alias: None });
                status.next_key = None;
            }
            let previous = previous.iter().map(|previous| PreviousKey {
                name: previous.name.clone(),
                arn: previous.arn.clone(),
                managed: previous.managed,
                switched_at: Time(previous.switched_at),
                decrypt_until: Time(previous.decrypt_until),
            });
            status.previous_keys = previous.collect();
        }
        _ => {}
    }
}

impl ObservedKey {
    /// As much as status tells.
    pub fn recorded(status: &QueueKeyStatus) -> Self {
        let rotation = status.rotation.clone().unwrap_or_default();
        let nonce = |creation: &Creation| NonceRecord { nonce: creation.nonce.clone(), started_at: creation.started_at.0, fresh: false };
        Self {
            key_id: status.key_id.clone(),
            arn: status.arn.clone(),
            nonce: status.creation.as_ref().map(nonce),
            users: status.users.clone(),
            released_queues: status.released_queues.clone(),
            access_revision: status.access_revision.unwrap_or_default(),
            deleted: status.deleted_principals.clone(),
            approval: status.approval.as_ref().map(|approval| approval.name.clone()),
            applied_sha256: status.applied_sha256.clone(),
            applied_tag_keys: status.applied_tag_keys.clone(),
            genuine: is_genuine(status),
            lost: status.lost_at.is_some(),
            retirement: status.retirement.as_ref().and_then(|retirement| Some((retirement.since.as_ref()?.0, retirement.decrypt_until.as_ref()?.0))),
            rotation_period_days: rotation.period_days,
            rotation_served: rotation.requested_at.map(|time| time.0),
            rotation_serving: rotation.serving.map(|time| time.0),
            rotation_started: rotation.started_at.map(|time| time.0),
            rotations_on_demand: rotation.on_demand.unwrap_or_default(),
            ..Self::default()
        }
    }
}

/// Hash of which key it is.
fn key_sha256(status: &QueueKeyStatus) -> Option<String> {
    let nonce = status.creation.as_ref().map(|creation| &creation.nonce);
    Some(sha256_hex(&serde_json::json!([status.key_id.as_ref()?, status.arn.as_ref()?, nonce, status.lost_at]).to_string()))
}

/// Notes that status names the right key.
pub fn seal(status: &mut QueueKeyStatus) {
    status.key_sha256 = key_sha256(status);
}

/// Whether status says that KMS holds the key no longer, and nobody but the operator wrote so.
pub fn is_lost(status: &QueueKeyStatus) -> bool {
    status.lost_at.is_some() && is_genuine(status)
}

/// Whether status names a key as it was recorded.
pub fn is_genuine(status: &QueueKeyStatus) -> bool {
    status.key_sha256.is_some() && status.key_sha256 == key_sha256(status)
}

/// Takes a nonce into a QueueKey's status: no key has been made with it yet.
pub fn record_nonce(status: &mut QueueKeyStatus, nonce: String, now: Timestamp) -> NonceRecord {
    status.creation = Some(Creation { nonce: nonce.clone(), started_at: Time(now) });
    NonceRecord { nonce, started_at: now, fresh: true }
}

/// Takes what an action records into a QueueKey's status; every other action leaves it as it is.
pub fn record(status: &mut QueueKeyStatus, action: &KeyAction, now: Timestamp) {
    match action {
        KeyAction::ForgetApplied { users, tag_keys } => {
            status.applied_sha256 = None;
            status.users.clone_from(users);
            status.applied_tag_keys.clone_from(tag_keys);
        }
        KeyAction::RecordKey { id, arn, nonce, users, approval } => {
            let started_at = status.creation.as_ref().map_or(Time(now), |creation| creation.started_at.clone());
            status.creation = Some(Creation { nonce: nonce.clone(), started_at });
            (status.key_id, status.arn) = (Some(id.clone()), Some(arn.clone()));
            status.lost_at = None;
            seal(status);
            status.users.clone_from(users);
            note_approval(status, approval.as_ref(), now);
        }
        KeyAction::RecordUsers { users, access_revision, approval } => {
            status.users.clone_from(users);
            status.access_revision = Some(*access_revision);
            note_approval(status, approval.as_ref(), now);
        }
        KeyAction::RecordDeletedPrincipals { deleted, users, access_revision } => {
            status.applied_sha256 = None;
            deleted::remember(&mut status.deleted_principals, deleted);
            status.users.clone_from(users);
            status.access_revision = Some(*access_revision);
        }
        KeyAction::RecordReleased { queues } => status.released_queues.clone_from(queues),
        KeyAction::RecordRotationStart { requested_at } => {
            let rotation = status.rotation.get_or_insert_with(Rotation::default);
            (rotation.serving, rotation.started_at) = (Some(Time(*requested_at)), Some(Time(now)));
        }
        KeyAction::RecordRotationServed { requested_at, rotated } => {
            let rotation = status.rotation.get_or_insert_with(Rotation::default);
            (rotation.serving, rotation.requested_at) = (None, Some(Time(*requested_at)));
            rotation.on_demand = Some(rotation.on_demand.unwrap_or_default() + i32::from(*rotated));
        }
        _ => {}
    }
}

fn note_approval(status: &mut QueueKeyStatus, approval: Option<&(String, String)>, now: Timestamp) {
    if let Some((name, approved_by)) = approval {
        status.approval = Some(AppliedApproval { name: name.clone(), approved_by: approved_by.clone(), applied_at: Time(now) });
    }
}
