//! `QueueKey`: the life of one KMS key, written by the operator only.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::sensitivity_tier::KeyScope;
use super::{DeletionPolicy, schema};

/// One KMS key: what it is for.
#[derive(Clone, CustomResource, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "encryptedqueue.dev",
    version = "v1alpha1",
    kind = "QueueKey",
    status = "QueueKeyStatus",
    derive = "PartialEq",
    shortname = "qk",
    category = "encrypted-queue",
    doc = "The life of one KMS key: who may use it and through which queues. Written by the operator only.",
    selectable = ".spec.tenant",
    selectable = ".spec.sensitivityTier",
    printcolumn(name = "Tenant", type_ = "string", json_path = ".spec.tenant"),
    printcolumn(name = "Tier", type_ = "string", json_path = ".spec.sensitivityTier"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.keyState"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Alias", type_ = "string", json_path = ".status.alias", priority = 1),
    printcolumn(name = "KeyId", type_ = "string", json_path = ".status.keyId", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::absent_not_null)]
#[schemars(transform = schema::immutable_optional("queue"))]
#[schemars(transform = schema::rule_at(".queue", "has(self.queue) == (self.scope == 'Queue')", "must be given for scope Queue, and only then"))]
pub struct QueueKeySpec {
    /// The tenant.
    #[schemars(transform = schema::dns_label)]
    #[schemars(transform = schema::immutable)]
    pub tenant: String,
    /// The tier.
    #[schemars(transform = schema::dns_label)]
    #[schemars(transform = schema::immutable)]
    pub sensitivity_tier: String,
    /// AWS Region.
    #[schemars(transform = schema::region)]
    #[schemars(transform = schema::immutable)]
    pub region: String,
    /// What shares the key: Queue, a queue and its dead-letter queue; Tenant, all queues of the tenant in the tier and Region.
    pub scope: KeyScope,
    /// The queue, for scope Queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<NamespacedName>,
    /// What happens to the key when nothing uses it any more. Of a shared key: Retain unless every user said Delete.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// Namespace and name of an object.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub struct NamespacedName {
    /// Namespace.
    #[schemars(transform = schema::dns_label)]
    pub namespace: String,
    /// Name.
    #[schemars(transform = schema::dns_label)]
    pub name: String,
}

impl std::fmt::Display for NamespacedName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What is known of the key in AWS.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::absent_not_null)]
pub struct QueueKeyStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Key id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub key_id: Option<String>,
    /// Key ARN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub arn: Option<String>,
    /// Hash of keyId, arn and creation.nonce, written with them: if somebody edits one, nothing goes by it before the key itself was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = schema::sha256)]
    pub key_sha256: Option<String>,
    /// Alias.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub alias: Option<String>,
    /// State of the key in KMS: Enabled, Disabled, PendingDeletion …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub key_state: Option<String>,
    /// When KMS was found to hold the key no longer: messages under it cannot be read any more, and its queues move to another key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_at: Option<Time>,
    /// Written before the key is made, so that a crash leaves no second one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation: Option<Creation>,
    /// Queues whose grants the applied policy holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 512))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["namespace", "name"]))]
    pub users: Vec<KeyUser>,
    /// Queues that were let go of (deletionPolicy Retain) and still lie under the shared key: its policy keeps their grants.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 512))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["arn"]))]
    pub released_queues: Vec<ReleasedQueue>,
    /// Raised by every narrowing and every deleted principal, so that an old approval never fits again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub access_revision: Option<i64>,
    /// Hash of all that was last applied in AWS; equal to the desired one, nothing is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = schema::sha256)]
    pub applied_sha256: Option<String>,
    /// Keys of the tags that were last applied: those no longer declared are removed, foreign ones stay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 80))]
    #[schemars(transform = schema::tag_key)]
    pub applied_tag_keys: Vec<String>,
    /// Roles that KMS does not know: their grants are left out, the rest is applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(max = 613)))]
    pub refused_principals: Vec<String>,
    /// Principals that were deleted, by the unique ids that AWS showed in their place; the latest 64. Each ended access and raised accessRevision once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["id"]))]
    pub deleted_principals: Vec<DeletedPrincipal>,
    /// Latest value of the check-now annotation that was served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub checked_now: Option<String>,
    /// Access that waits for an approval.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 512))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["namespace", "name"]))]
    pub pending_grants: Vec<PendingGrants>,
    /// The approval that was last applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<AppliedApproval>,
    /// Rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
    /// Retirement, once nothing uses the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retirement: Option<Retirement>,
    /// Conditions: Ready, PolicyInSync, AccessApproved, RotationInSync, Reconciling, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// What is written before a key is made.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Creation {
    /// Random value that the key's tags, description and policy carry.
    #[schemars(length(max = 64))]
    pub nonce: String,
    /// When it was written.
    pub started_at: Time,
}

/// A queue whose grants the applied policy holds.
#[derive(Clone, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyUser {
    /// Its namespace.
    #[schemars(transform = schema::dns_label)]
    pub namespace: String,
    /// Its name.
    #[schemars(transform = schema::dns_label)]
    pub name: String,
    /// Its UID.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// Hash of its grants: the queue opens its own policy only when it sees its hash here.
    #[schemars(transform = schema::sha256)]
    pub grants_sha256: String,
    /// The grants themselves, a line each, where the tier asks for approvals: what is not among them is gained.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(max = 2048)))]
    pub approved_grants: Vec<String>,
}

/// A principal that was deleted.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeletedPrincipal {
    /// Unique id (`AROA…`, `AIDA…`) that AWS shows in its place.
    #[schemars(length(max = 128))]
    pub id: String,
    /// The declared role whose ARN stood there, or those it may be, as long as its access is not back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(max = 613)))]
    pub roles: Vec<String>,
}

/// A queue that was let go of and still lies under a shared key.
#[derive(Clone, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleasedQueue {
    /// ARN of the queue.
    #[schemars(length(max = 256))]
    pub arn: String,
    /// ARN of its dead-letter queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub dead_letter_arn: Option<String>,
}

/// Access that waits for an approval.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingGrants {
    /// The queue's namespace.
    #[schemars(transform = schema::dns_label)]
    pub namespace: String,
    /// The queue's name.
    #[schemars(transform = schema::dns_label)]
    pub name: String,
    /// Hash to approve.
    #[schemars(transform = schema::sha256)]
    pub sha256: String,
    /// Since when it waits.
    pub requested_at: Time,
    /// Who would gain what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(max = 2048)))]
    pub gains: Vec<String>,
    /// Who would lose what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(max = 2048)))]
    pub losses: Vec<String>,
}

impl PendingGrants {
    /// The queue's object.
    pub fn object(&self) -> NamespacedName {
        NamespacedName { namespace: self.namespace.clone(), name: self.name.clone() }
    }
}

/// The approval that was last applied.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AppliedApproval {
    /// Name of the AccessApproval.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Who approved.
    #[schemars(length(max = 256))]
    pub approved_by: String,
    /// When it was applied.
    pub applied_at: Time,
}

/// Rotation of the key.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rotation {
    /// Days between automatic rotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 90, max = 2560))]
    pub period_days: Option<i32>,
    /// Next automatic rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Time>,
    /// On-demand rotations so far; KMS allows 25 in a key's life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 25))]
    pub on_demand: Option<i32>,
    /// Latest `rotateRequestedAt` that was served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<Time>,
    /// The request that an on-demand rotation was started for, until it is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<Time>,
    /// When an on-demand rotation was last started: written before the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
}

/// Retirement of the key.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Retirement {
    /// Since when nothing sends under it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Until when messages under it may live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decrypt_until: Option<Time>,
    /// When KMS deletes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_date: Option<Time>,
}
