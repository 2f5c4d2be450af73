//! `AccessApproval`: the security team's word that one change of access may be applied.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::queue_key::NamespacedName;
use super::schema;

/// An approval of one set of grants on one key. Immutable, used once.
#[derive(Clone, CustomResource, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "encryptedqueue.dev",
    version = "v1alpha1",
    kind = "AccessApproval",
    status = "AccessApprovalStatus",
    derive = "PartialEq",
    shortname = "aa",
    category = "encrypted-queue",
    doc = "The security team's word that one change of access may be applied: immutable, used once.",
    selectable = ".spec.queueKey",
    printcolumn(name = "Key", type_ = "string", json_path = ".spec.queueKey"),
    printcolumn(name = "Namespace", type_ = "string", json_path = ".spec.queue.namespace"),
    printcolumn(name = "Queue", type_ = "string", json_path = ".spec.queue.name"),
    printcolumn(name = "Approved-By", type_ = "string", json_path = ".spec.approvedBy"),
    printcolumn(name = "Applied", type_ = "string", json_path = ".status.conditions[?(@.type=='Applied')].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::absent_not_null)]
#[schemars(transform = schema::immutable)]
pub struct AccessApprovalSpec {
    /// Name of the QueueKey.
    #[schemars(transform = schema::dns_subdomain)]
    pub queue_key: String,
    /// The queue whose access it is: it fits no other. The admission policy demands it of people, who must not be able to edit that queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<NamespacedName>,
    /// Hash of the grants, as the QueueKey's status shows it.
    #[schemars(transform = schema::sha256)]
    pub grants_sha256: String,
    /// Why.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// Who approves: the requesting user.
    #[schemars(length(min = 1, max = 256))]
    pub approved_by: String,
}

/// What became of the approval.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::absent_not_null)]
pub struct AccessApprovalStatus {
    /// When it was applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_at: Option<Time>,
    /// When it lapsed without being applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lapsed_at: Option<Time>,
    /// Conditions: Applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}
