//! `SensitivityTier`: the security team's rules for one class of messages.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DeletionPolicy, schema};

/// The rules for one class of messages.
#[derive(Clone, CustomResource, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "encryptedqueue.dev",
    version = "v1alpha1",
    kind = "SensitivityTier",
    plural = "sensitivitytiers",
    status = "SensitivityTierStatus",
    derive = "PartialEq",
    shortname = "tier",
    category = "encrypted-queue",
    doc = "The rules for one class of messages: key scope, rotation, data-key reuse, dead letters, access, approval.",
    validation = Rule::new("size(self.metadata.name) <= 63 && !self.metadata.name.contains('.')")
        .message("metadata.name must be a DNS label: at most 63 characters, no dots"),
    printcolumn(name = "Scope", type_ = "string", json_path = ".spec.key.scope"),
    printcolumn(name = "Approval", type_ = "string", json_path = ".spec.approval"),
    printcolumn(name = "Queues", type_ = "integer", json_path = ".status.queues"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::absent_not_null)]
pub struct SensitivityTierSpec {
    /// What belongs in this tier, for people. Optional.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,
    /// Rules for keys.
    #[serde(default)]
    pub key: TierKey,
    /// Bounds of the data-key reuse period, in seconds.
    #[serde(default = "default_reuse")]
    #[schemars(transform = schema::bounds(60, 86_400))]
    pub data_key_reuse_seconds: Bounds,
    /// Bounds of the message retention, in seconds.
    #[serde(default)]
    pub message_retention_seconds: RetentionBounds,
    /// Required: a queue that declares no dead-letter queue gets one with the defaults. Optional: it has none.
    #[serde(default)]
    pub dead_letter: DeadLetterRule,
    /// Which kinds of access may be declared.
    #[serde(default)]
    pub access: TierAccess,
    /// OnWidening: access that is not applied yet waits for an AccessApproval; narrowing never does. None: nothing waits.
    #[serde(default)]
    pub approval: Approval,
    /// Tags every queue must have, from tenant or queue.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 40))]
    #[schemars(transform = schema::tag_key)]
    #[schemars(transform = schema::unique)]
    pub required_tags: Vec<String>,
    /// Forces the deletion policy of every queue. Absent: the queue's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
}

fn default_reuse() -> Bounds {
    Bounds { default: 300, minimum: 60, maximum: 86_400 }
}

/// Rules for the keys of a tier.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TierKey {
    /// What shares a key: Queue, a queue and its dead-letter queue; Tenant, all queues of a tenant in the tier and Region.
    pub scope: KeyScope,
    /// Waiting period of a key's deletion in days.
    #[schemars(range(min = 7, max = 30))]
    pub deletion_window_days: i32,
    /// Bounds of the automatic rotation, in days.
    #[schemars(transform = schema::bounds(90, 2560))]
    pub rotation_period_days: Bounds,
}

impl Default for TierKey {
    fn default() -> Self {
        Self { scope: KeyScope::Queue, deletion_window_days: 30, rotation_period_days: Bounds { default: 365, minimum: 90, maximum: 2560 } }
    }
}

/// What shares a key. Two tenants or two tiers never do.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub enum KeyScope {
    /// A queue and its dead-letter queue.
    #[default]
    Queue,
    /// All queues of a tenant in the tier and Region.
    Tenant,
}

/// A default between two bounds, both allowed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(transform = schema::rule("self.minimum <= self.default && self.default <= self.maximum", "default must lie between minimum and maximum"))]
pub struct Bounds {
    /// Used where a queue says nothing.
    pub default: i32,
    /// Smallest value allowed.
    pub minimum: i32,
    /// Largest value allowed.
    pub maximum: i32,
}

/// Bounds of the message retention.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
#[schemars(transform = schema::rule_at(".minimum", "self.minimum <= self.maximum", "must not exceed maximum"))]
pub struct RetentionBounds {
    /// Smallest value allowed, in seconds.
    #[schemars(range(min = 60, max = 1_209_600))]
    pub minimum: i32,
    /// Largest value allowed, in seconds.
    #[schemars(range(min = 60, max = 1_209_600))]
    pub maximum: i32,
}

impl Default for RetentionBounds {
    fn default() -> Self {
        Self { minimum: 60, maximum: 1_209_600 }
    }
}

/// Whether a dead-letter queue must be declared.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum DeadLetterRule {
    /// It must; a queue that says nothing gets one with the defaults.
    Required,
    /// It may.
    #[default]
    Optional,
}

/// Which kinds of access may be declared in a tier.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TierAccess {
    /// Roles of other accounts than the tenant's.
    pub cross_account: Permission,
    /// Service producers.
    pub services: Permission,
    /// Organisation producers.
    pub organizations: Permission,
    /// Deny writes an explicit Deny for everyone else and each capability. Unstated writes none: IAM policies of the account may then add access,
    /// and least access cannot be shown.
    pub others: Others,
}

impl Default for TierAccess {
    fn default() -> Self {
        Self { cross_account: Permission::Deny, services: Permission::Allow, organizations: Permission::Deny, others: Others::Deny }
    }
}

/// Whether something may be declared.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Permission {
    /// It may.
    Allow,
    /// It may not.
    Deny,
}

/// What the queue policy says of everyone who is not declared.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum Others {
    /// An explicit Deny for each capability.
    #[default]
    Deny,
    /// Nothing.
    Unstated,
}

/// Whether new access waits for an approval.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Approval {
    /// It does not.
    #[default]
    None,
    /// Whatever is not in the applied access waits; narrowing never does.
    OnWidening,
}

/// What is known of a tier.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::absent_not_null)]
pub struct SensitivityTierStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Number of EncryptedQueues in this tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub queues: Option<i32>,
    /// Conditions: Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}
