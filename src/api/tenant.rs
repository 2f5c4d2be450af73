//! `Tenant`: who may declare queues, where they live, and which principals may ever be granted.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::encrypted_queue::ServicePrincipal;
use super::schema;

/// A tenant of the platform.
#[derive(Clone, CustomResource, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "encryptedqueue.dev",
    version = "v1alpha1",
    kind = "Tenant",
    status = "TenantStatus",
    derive = "PartialEq",
    category = "encrypted-queue",
    doc = "Who may declare queues, in which account and Regions, and which principals may ever be granted access.",
    validation = Rule::new("size(self.metadata.name) <= 63 && !self.metadata.name.contains('.')")
        .message("metadata.name must be a DNS label: at most 63 characters, no dots"),
    printcolumn(name = "Account", type_ = "string", json_path = ".spec.aws.accountId"),
    printcolumn(name = "Queues", type_ = "integer", json_path = ".status.queues"),
    printcolumn(name = "Compliant", type_ = "integer", json_path = ".status.compliantQueues"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Cost", type_ = "string", json_path = ".status.estimatedMonthlyUsd"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::absent_not_null)]
pub struct TenantSpec {
    /// Namespaces that may declare queues of this tenant; either way of naming matches.
    pub namespaces: TenantNamespaces,
    /// The tenant's place in AWS.
    pub aws: TenantAws,
    /// Roles that may read, enable and cancel the deletion of keys; never change a policy, never decrypt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    #[schemars(transform = schema::role_arn)]
    #[schemars(transform = schema::unique)]
    pub key_administrators: Vec<String>,
    /// Roles that may also change key policies in an emergency; each use is drift, repaired and reported.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    #[schemars(transform = schema::role_arn)]
    #[schemars(transform = schema::unique)]
    pub break_glass_administrators: Vec<String>,
    /// Suspended cuts the tenant off now: explicit Denies on data plane and crypto, until Active again.
    #[serde(default)]
    pub access: TenantAccess,
    /// Tiers its queues may ask for.
    #[schemars(length(min = 1, max = 32))]
    #[schemars(transform = schema::dns_label)]
    #[schemars(transform = schema::unique)]
    pub sensitivity_tiers: Vec<String>,
    /// Names its queues may have in AWS (`*` allowed). Default: `<tenant>-*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[schemars(transform = schema::queue_name_pattern)]
    pub queue_names: Vec<String>,
    /// Existing queues that may be taken over. Empty: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    #[schemars(transform = schema::queue_name_pattern)]
    pub adoptable_queue_names: Vec<String>,
    /// What may ever be granted.
    pub principals: TenantPrincipals,
    /// Tags on every queue and key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(transform = schema::tags)]
    pub tags: BTreeMap<String, String>,
    /// How much it may have.
    #[serde(default)]
    pub limits: TenantLimits,
}

/// Which namespaces belong to a tenant.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = schema::rule(
    "has(self.selector) || (has(self.names) && size(self.names) > 0)",
    "at least one of names and selector must be given"
))]
pub struct TenantNamespaces {
    /// By name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    #[schemars(transform = schema::dns_label)]
    pub names: Vec<String>,
    /// By label. An empty selector matches no namespace: it would give the tenant's rights to all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::label_selector")]
    pub selector: Option<LabelSelector>,
}

/// A tenant's place in AWS.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::rule_at(
    ".roleArn",
    "!has(self.roleArn) || self.roleArn.contains(':' + self.accountId + ':')",
    "must be a role of accountId"
))]
#[schemars(transform = schema::rule_at(".externalId", "!has(self.externalId) || has(self.roleArn)", "is used with roleArn only"))]
pub struct TenantAws {
    /// Account id, fixed once created; checked against `sts:GetCallerIdentity`.
    #[schemars(transform = schema::account_id)]
    #[schemars(transform = schema::immutable)]
    pub account_id: String,
    /// Regions. The first is the default, fixed once created.
    #[schemars(length(min = 1, max = 32))]
    #[schemars(transform = schema::region)]
    #[schemars(transform = schema::unique)]
    #[schemars(transform = schema::rule("self[0] == oldSelf[0]", "the first Region is immutable: it is the default of every queue"))]
    pub regions: Vec<String>,
    /// Role to assume. Absent: the operator's own credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = schema::role_arn)]
    pub role_arn: Option<String>,
    /// External id for assuming it. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = schema::external_id)]
    pub external_id: Option<String>,
}

/// Whether a tenant may use its queues.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum TenantAccess {
    /// It may.
    #[default]
    Active,
    /// It is cut off.
    Suspended,
}

/// The only principals that queues of a tenant may grant.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TenantPrincipals {
    /// Role ARNs; `*` only inside path and name, and never across a `/`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    #[schemars(transform = schema::role_arn_pattern)]
    pub roles: Vec<String>,
    /// Services that may produce.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3))]
    pub services: Vec<ServicePrincipal>,
    /// Accounts whose topics, buckets and rules may be a source.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    #[schemars(transform = schema::account_id)]
    pub source_accounts: Vec<String>,
    /// Organisations that may produce.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    #[schemars(transform = schema::organization_id)]
    pub organizations: Vec<String>,
}

/// A tenant's limits.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TenantLimits {
    /// Most queues it may have. Absent: any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub queues: Option<i32>,
    /// KMS budget a month in US dollars: past it `WithinBudget` turns False; nothing is blocked. Absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub monthly_kms_usd: Option<i32>,
}

/// What is known of a tenant.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::absent_not_null)]
pub struct TenantStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Lease identity of the controller this tenant belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub controller: Option<String>,
    /// Number of its EncryptedQueues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub queues: Option<i32>,
    /// Number of its keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub keys: Option<i32>,
    /// Number of its queues that are Ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub compliant_queues: Option<i32>,
    /// Estimated KMS cost a month in US dollars, from declared values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = schema::dollars)]
    pub estimated_monthly_usd: Option<String>,
    /// Conditions: Ready, WithinBudget, Reconciling, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}
