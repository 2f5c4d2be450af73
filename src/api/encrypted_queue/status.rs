//! The status of an EncryptedQueue.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::queue_key::DeletedPrincipal;
use crate::api::schema;

/// What is known of the queue in AWS.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::absent_not_null)]
pub struct EncryptedQueueStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// The queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueReference>,
    /// Its dead-letter queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter_queue: Option<QueueReference>,
    /// Since when no message can move to the dead-letter queue any more, since none is declared: it goes once it is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter_queue_unused_since: Option<Time>,
    /// How an existing queue was taken over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adoption: Option<AdoptionStatus>,
    /// The key it is encrypted under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyReference>,
    /// The key that the queue is about to be moved to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_key: Option<NextKey>,
    /// Keys that messages may still be encrypted under.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub previous_keys: Vec<PreviousKey>,
    /// Hash of all that was last applied in AWS; equal to the desired one, nothing is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = schema::sha256)]
    pub applied_sha256: Option<String>,
    /// When the queue was created: AWS asks for one second before it is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<MicroTime>,
    /// Last value of the check-now annotation that was served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub checked_now: Option<String>,
    /// Keys of the tags that were last applied: those no longer declared are removed, foreign ones stay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 80))]
    #[schemars(transform = schema::tag_key)]
    pub applied_tag_keys: Vec<String>,
    /// Facts about access.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<AccessStatus>,
    /// Since when it has not been as declared, after it was; absent while it is. Kept, so that the time to remedy is known across restarts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub non_compliant_since: Option<Time>,
    /// Estimated KMS cost a month in US dollars, from declared values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = schema::dollars)]
    pub estimated_monthly_usd: Option<String>,
    /// Conditions: Ready, Accepted, KeyReady, QueueReady, AccessInSync, Reconciling, Stalled; and, while its tenant is over its budget, WithinBudget.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// A queue in AWS.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct QueueReference {
    /// Name.
    #[schemars(length(max = 80))]
    pub name: String,
    /// URL; empty while the queue is about to be made.
    #[schemars(length(max = 512))]
    pub url: String,
    /// ARN.
    #[schemars(length(max = 256))]
    pub arn: String,
}

impl QueueReference {
    /// The URL, once the queue is known to exist.
    pub fn known_url(&self) -> Option<&str> {
        Some(self.url.as_str()).filter(|url| !url.is_empty())
    }
}

/// How an existing queue was taken over.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AdoptionStatus {
    /// When queue and dead-letter queue were under their own key; absent while they are taken over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Time>,
    /// Keys that they were found under, as they named them or by ARN.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[schemars(transform = schema::key_name)]
    pub found_keys: Vec<String>,
    /// For how long the oldest message could live when the queue was found, in seconds: its retention and its dead-letter queue's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub found_retention_seconds: Option<i64>,
    /// Settings of the queue that stay as they were found, by their SQS names, until the spec says otherwise.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(transform = schema::settings)]
    pub settings: BTreeMap<String, String>,
    /// The same of the dead-letter queue.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(transform = schema::settings)]
    pub dead_letter_settings: BTreeMap<String, String>,
}

/// A key in use.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct KeyReference {
    /// Name of the QueueKey.
    #[schemars(length(max = 253))]
    pub name: String,
    /// ARN of the key; absent until it exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub arn: Option<String>,
    /// Its alias.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub alias: Option<String>,
}

/// A key that messages may still be encrypted under.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PreviousKey {
    /// Name of the QueueKey; absent for a foreign key, and for a key of the operator's that KMS holds no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub name: Option<String>,
    /// ARN of the key; of a foreign one whose owner lets nobody look, what the queue called it.
    #[schemars(length(max = 2048))]
    pub arn: String,
    /// False: a foreign key, never written, never deleted.
    pub managed: bool,
    /// When the queue was pointed at another key.
    pub switched_at: Time,
    /// Until when messages under it may live, and consumers need it.
    pub decrypt_until: Time,
}

/// The key that a queue is about to be moved to.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NextKey {
    /// Name of the QueueKey.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Hash of the grants that it was seen to hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = schema::sha256)]
    pub grants_sha256: Option<String>,
    /// Since when: it settles before the queue is pointed at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted_at: Option<Time>,
}

/// Facts about access.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessStatus {
    /// Until when data keys that SQS cached may still serve a principal that was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_data_keys_until: Option<Time>,
    /// Principals of the queue policies that were deleted, until the QueueKey has them on record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["id"]))]
    pub deleted_principals: Vec<DeletedPrincipal>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_time_of_creation_keeps_its_fraction() {
        let created_at = Some(MicroTime("2026-11-23T12:00:00.987654Z".parse().unwrap()));
        let status = EncryptedQueueStatus { created_at, ..EncryptedQueueStatus::default() };
        let read: EncryptedQueueStatus = serde_json::from_str(&serde_json::to_string(&status).unwrap()).unwrap();
        // Without it the second that AWS asks for would seem to be over up to a second early.
        assert_eq!(read, status);
    }
}
