//! What of an object makes a difference to whoever is woken by it.

use std::hash::Hash;

use kube::{Resource, ResourceExt};

use crate::api::encrypted_queue::QueueReference;
use crate::api::labels::{CHECK_NOW, DELETE_NON_EMPTY, PAUSED};
use crate::api::{EncryptedQueueStatus, QueueKeyStatus};

/// What an EncryptedQueue's status says of its queues and its key.
pub(super) fn references_of(status: &EncryptedQueueStatus) -> impl Hash + use<> {
    let of = |reference: &Option<QueueReference>| reference.as_ref().map(|r| (r.name.clone(), r.url.clone(), r.arn.clone()));
    (of(&status.queue), of(&status.dead_letter_queue), status.key.as_ref().map(|key| (key.name.clone(), key.arn.clone())))
}

/// What people ask of an object.
pub(super) fn intent<K: Resource>(object: &K) -> impl Hash + use<K> {
    let meta = object.meta();
    let annotations = [PAUSED, CHECK_NOW, DELETE_NON_EMPTY].map(|name| object.annotations().get(name).cloned());
    (meta.uid.clone(), meta.generation, meta.deletion_timestamp.is_some(), annotations)
}

/// What a QueueKey's status says of its key.
pub(super) fn key_record(status: &QueueKeyStatus) -> impl Hash + use<> {
    let creation = status.creation.as_ref().map(|creation| creation.nonce.clone());
    let is_applied = (status.applied_sha256.is_some(), status.conditions.is_empty());
    (status.key_id.clone(), status.arn.clone(), status.key_sha256.clone(), creation, status.lost_at.as_ref().map(|at| at.0), is_applied)
}
