//! The answers as data: the schema of `-o json`. Fields are only ever added; [`SCHEMA_VERSION`] is raised if one is removed or changes its meaning.

use schemars::JsonSchema;
use serde::Serialize;

use crate::policy::document::Document;

/// Version of the schema, in every answer as `schemaVersion`.
pub const SCHEMA_VERSION: u32 = 1;

/// Answer of `explain queue/NAME`.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueReport {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Namespace of the EncryptedQueue.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The Tenant it names.
    pub tenant: String,
    /// The SensitivityTier it names.
    pub sensitivity_tier: String,
    /// Account that the queue is in; null: the Tenant does not exist.
    pub account: Option<String>,
    /// ARN of the queue, as it is or as it will be; null: the declaration is refused and there is none.
    pub queue_arn: Option<String>,
    /// ARN of its dead-letter queue; null: none.
    pub dead_letter_queue_arn: Option<String>,
    /// Its key; null: the declaration is refused and no key is recorded.
    pub key: Option<KeyReport>,
    /// What the condition Ready says.
    pub ready: ReadyReport,
    /// Whether the tenant is suspended.
    pub suspended: bool,
    /// Why the declaration is refused; empty: it is accepted. `principals` then holds the administration of the recorded key alone.
    pub violations: Vec<ViolationReport>,
    /// Who can do what. Users in the order of their declaration, then administrators.
    pub principals: Vec<PrincipalReport>,
    /// Who is denied what, whatever else allows it.
    pub denials: Vec<DenialReport>,
    /// What IAM in other accounts must allow in addition.
    pub identity_policies: Vec<IdentityPolicyReport>,
    /// What else a reader should know, a sentence or two each.
    pub notes: Vec<String>,
    /// The policies that all this is read from; null: the declaration is refused.
    pub policies: Option<PoliciesReport>,
}

/// A key.
#[derive(Clone, Debug, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyReport {
    /// Name of its QueueKey.
    pub name: String,
    /// Its ARN; null: not made yet.
    pub arn: Option<String>,
    /// Its alias; null: not made yet.
    pub alias: Option<String>,
    /// Other queues (`namespace/name`) that use it.
    pub shared_with: Vec<String>,
}

/// The condition Ready.
#[derive(Clone, Debug, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadyReport {
    /// `True`, `False` or, when the operator has not said anything yet, `Unknown`.
    pub status: String,
    /// Its reason; null: none yet.
    pub reason: Option<String>,
    /// Its message; null: none yet.
    pub message: Option<String>,
    /// Whether the status speaks of an older generation of the declaration.
    pub outdated: bool,
}

/// Something that tenant, tier or AWS forbids.
#[derive(Clone, Debug, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ViolationReport {
    /// Reason, as the condition Accepted carries it.
    pub reason: String,
    /// The exact field.
    pub field: String,
    /// What is wrong and the way out.
    pub message: String,
}

/// A principal and what it can do.
#[derive(Clone, Debug, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PrincipalReport {
    /// What it is.
    pub kind: PrincipalKind,
    /// ARN of the role or of the account's root; a service's name; for an organisation the pattern of role ARNs. Null: the operator's role is not known
    /// here.
    pub principal: Option<String>,
    /// Kind `Service`: the topic, bucket or rule it acts for.
    pub source_arn: Option<String>,
    /// Kind `Service`: the account that owns the source.
    pub source_account: Option<String>,
    /// Kind `Organization`: the organisation.
    pub organization: Option<OrganizationReport>,
    /// What it can do.
    pub permissions: Vec<PermissionReport>,
}

/// Kind of a principal.
#[derive(Clone, Copy, Debug, Eq, JsonSchema, PartialEq, Serialize)]
pub enum PrincipalKind {
    /// An IAM role.
    Role,
    /// An AWS service acting for one source.
    Service,
    /// Roles of one name in an organisation's accounts.
    Organization,
    /// The operator's own role.
    Operator,
    /// The account's root: whoever the account's IAM lets.
    AccountRoot,
    /// A key administrator of the tenant.
    KeyAdministrator,
    /// A break-glass administrator of the tenant.
    BreakGlassAdministrator,
}

/// An organisation, or parts of it.
#[derive(Clone, Debug, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OrganizationReport {
    /// Its id.
    pub id: String,
    /// Organisation paths; empty: the whole organisation.
    pub paths: Vec<String>,
}

/// One thing a principal can do.
#[derive(Clone, Debug, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PermissionReport {
    /// What.
    pub permission: Permission,
    /// Statements that allow it.
    pub allowed_by: Vec<StatementReference>,
    /// Statements that deny it all the same; empty: it is allowed.
    pub denied_by: Vec<StatementReference>,
    /// The condition in short: `via SQS`, `source`, `account`, `any source`, `in org`; null: none. The whole condition stands in `policies`.
    pub condition: Option<String>,
    /// Fields that declare it.
    pub declared_by: Vec<String>,
    /// Whether it waits for an approval: then it is declared, and not in AWS.
    pub awaits_approval: bool,
}

/// What can be done.
#[derive(Clone, Copy, Debug, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Permission {
    /// Send to the queue.
    Send,
    /// Receive from the queue.
    Receive,
    /// Receive from the dead-letter queue.
    ReceiveDeadLetters,
    /// Move messages from the dead-letter queue back.
    Redrive,
    /// Decrypt under the key.
    Decrypt,
    /// Read attributes of the queue or of the dead-letter queue.
    ReadAttributes,
    /// Administer the key, without its use.
    Administer,
    /// Change the key's policy.
    ChangeKeyPolicy,
}

/// A statement in one of the policies.
#[derive(Clone, Debug, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatementReference {
    /// Which policy.
    pub policy: PolicyKind,
    /// Sid of the statement.
    pub sid: String,
}

/// Which policy.
#[derive(Clone, Copy, Debug, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub enum PolicyKind {
    /// The queue's.
    Queue,
    /// The dead-letter queue's.
    DeadLetterQueue,
    /// The key's.
    Key,
}

/// An explicit Deny.
#[derive(Clone, Debug, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DenialReport {
    /// The policies that carry it.
    pub policies: Vec<PolicyKind>,
    /// Sid of the statement.
    pub sid: String,
    /// Denied actions.
    pub actions: Vec<String>,
    /// Whom it concerns, in words.
    pub whom: String,
}

/// An identity policy that another account must attach: the queue's and key's policies alone do not let its roles in.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IdentityPolicyReport {
    /// ARN, or pattern of ARNs, of the role to attach it to.
    pub role: String,
    /// The policy.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub policy: Document,
}

/// The policies as rendered, without their ids.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PoliciesReport {
    /// The queue's.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub queue: Document,
    /// The dead-letter queue's; null: there is no such queue.
    #[schemars(with = "Option<serde_json::Map<String, serde_json::Value>>")]
    pub dead_letter_queue: Option<Document>,
    /// The key's.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub key: Document,
}

/// Answer of `explain --principal ARN`.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RoleReport {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The ARN that was asked for.
    pub principal: String,
    /// How many EncryptedQueues were looked at.
    pub queues_examined: usize,
    /// Those it can do something with.
    pub queues: Vec<PrincipalQueueReport>,
    /// Those that are refused: what they still grant is not known here.
    pub refused: Vec<RefusedQueueReport>,
    /// What else a reader should know.
    pub notes: Vec<String>,
}

/// What the principal can do with one queue.
#[derive(Clone, Debug, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PrincipalQueueReport {
    /// Namespace of the EncryptedQueue.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The Tenant.
    pub tenant: String,
    /// ARN of the queue; null: refused, and there is none.
    pub queue_arn: Option<String>,
    /// As which declared principal; more than one, if several entries fit.
    pub principals: Vec<PrincipalReport>,
}

/// A queue whose declaration is refused.
#[derive(Clone, Debug, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusedQueueReport {
    /// Namespace of the EncryptedQueue.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Why.
    pub violations: Vec<ViolationReport>,
}
