//! The answer as data: the schema of `-o json`. Fields are only ever added; [`SCHEMA_VERSION`] is raised if one is removed or changes its meaning.

use schemars::JsonSchema;
use serde::Serialize;

use crate::explain::ViolationReport;

/// Version of the schema, in every answer as `schemaVersion`.
pub const SCHEMA_VERSION: u32 = 1;

/// Answer of `plan`.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanReport {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Whether neither cluster nor AWS was asked: everything was taken to be absent.
    pub offline: bool,
    /// How much of what.
    pub summary: Summary,
    /// EncryptedQueues of the input, those that its Tenants and SensitivityTiers bear upon, and their QueueKeys. Those that nothing happens to are left out.
    pub objects: Vec<ObjectReport>,
    /// What else a reader should know, a sentence or two each.
    pub notes: Vec<String>,
}

/// How much of what.
#[derive(Clone, Copy, Debug, Default, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// EncryptedQueues looked at.
    pub queues: usize,
    /// What would be made in AWS.
    pub to_make: usize,
    /// Changes in AWS.
    pub to_change: usize,
    /// What would be removed from AWS.
    pub to_remove: usize,
    /// EncryptedQueues that are refused.
    pub refused: usize,
    /// EncryptedQueues that a person must do something about first: `waits` says what.
    pub stalled: usize,
    /// EncryptedQueues whose access waits for an approval.
    pub awaiting_approval: usize,
}

/// One object.
#[derive(Clone, Debug, Default, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectReport {
    /// `EncryptedQueue` or `QueueKey`.
    pub kind: &'static str,
    /// Its namespace; null: it has none.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// The Tenant.
    pub tenant: String,
    /// The SensitivityTier.
    pub sensitivity_tier: String,
    /// AWS account; null: the Tenant does not exist.
    pub account: Option<String>,
    /// AWS Region; null: the Tenant does not exist.
    pub region: Option<String>,
    /// What would be done, in order.
    pub actions: Vec<ActionReport>,
    /// Who gains what, a line each.
    pub gains: Vec<String>,
    /// Who loses what, a line each.
    pub losses: Vec<String>,
    /// The approval that gains need; null: none.
    pub approval: Option<ApprovalReport>,
    /// Why the declaration is refused; empty: it is accepted.
    pub violations: Vec<ViolationReport>,
    /// What is waited for when all actions are done (without approvals that are not given yet); null: nothing.
    pub waits: Option<WaitReport>,
}

/// Something that would be done.
#[derive(Clone, Debug, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionReport {
    /// Place in the order of the whole plan, from 1.
    pub number: usize,
    /// Where.
    pub system: System,
    /// The call as IAM names it (`sqs:CreateQueue`); null: not a call to AWS.
    pub call: Option<&'static str>,
    /// What it does.
    pub change: Change,
    /// In words. `KEY-ID` stands for the id of a key that does not exist yet.
    pub text: String,
    /// Whether it waits for an approval that is not given yet.
    pub after_approval: bool,
}

/// Where something is done.
#[derive(Clone, Copy, Debug, Eq, JsonSchema, PartialEq, Serialize)]
pub enum System {
    /// AWS.
    #[serde(rename = "AWS")]
    Aws,
    /// The cluster.
    Kubernetes,
}

/// What an action does.
#[derive(Clone, Copy, Debug, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Change {
    /// Makes something.
    Make,
    /// Changes something.
    Change,
    /// Removes something.
    Remove,
}

/// An approval that access needs.
#[derive(Clone, Debug, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalReport {
    /// Name of the QueueKey: `spec.queueKey` of the AccessApproval.
    pub queue_key: String,
    /// `spec.grantsSha256` of an AccessApproval that lets the whole change through. It fits as long as nobody loses access through the key before.
    pub grants_sha256: String,
    /// Who approved it already; null: nobody.
    pub approved_by: Option<String>,
    /// Who would gain what.
    pub gains: Vec<String>,
    /// Who would lose what.
    pub losses: Vec<String>,
}

/// What is waited for.
#[derive(Clone, Debug, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitReport {
    /// A reason of `encrypted_queue::api::reasons`.
    pub reason: String,
    /// Whether it does not end by itself: a person must act.
    pub stalled: bool,
    /// For people.
    pub message: String,
}

impl PlanReport {
    /// Exit status of the command: 1 if a declaration is refused or stalled, else 2 if anything changes or waits for an approval, else 0.
    pub fn exit_code(&self) -> u8 {
        let Summary { refused, stalled, awaiting_approval, .. } = self.summary;
        match () {
            () if refused + stalled > 0 => 1,
            () if awaiting_approval > 0 || self.objects.iter().any(|object| !object.actions.is_empty()) => 2,
            () => 0,
        }
    }
}
