//! `EncryptedQueue`: one queue, its dead-letter queue, and who may use them.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DeletionPolicy, schema};

mod status;

pub use status::{AccessStatus, AdoptionStatus, EncryptedQueueStatus, KeyReference, NextKey, PreviousKey, QueueReference};

/// A queue with its own key: which tenant and sensitivity tier it belongs to, who produces, consumes and observes.
#[derive(Clone, CustomResource, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "encryptedqueue.dev",
    version = "v1alpha1",
    kind = "EncryptedQueue",
    namespaced,
    status = "EncryptedQueueStatus",
    derive = "PartialEq",
    shortname = "eq",
    category = "encrypted-queue",
    doc = "An SQS queue under a dedicated KMS key, readable and writable by exactly the declared principals.",
    selectable = ".spec.tenant",
    selectable = ".spec.sensitivityTier",
    validation = Rule::new("size(self.metadata.name) <= 63 && !self.metadata.name.contains('.')")
        .message("metadata.name must be a DNS label: at most 63 characters, no dots"),
    printcolumn(name = "Tenant", type_ = "string", json_path = ".spec.tenant"),
    printcolumn(name = "Tier", type_ = "string", json_path = ".spec.sensitivityTier"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Queue", type_ = "string", json_path = ".status.queue.name", priority = 1),
    printcolumn(name = "Key", type_ = "string", json_path = ".status.key.name", priority = 1),
    printcolumn(name = "Region", type_ = "string", json_path = ".spec.region", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::absent_not_null)]
#[schemars(transform = schema::immutable_optional("region"))]
#[schemars(transform = schema::rule_at(
    ".deadLetter.messageRetentionSeconds",
    "!has(self.deadLetter) || has(self.queue.fifo) || self.deadLetter.messageRetentionSeconds > self.queue.messageRetentionSeconds",
    "must exceed queue.messageRetentionSeconds: a message keeps its enqueue time when it moves to a standard dead-letter queue"
))]
pub struct EncryptedQueueSpec {
    /// The Tenant this queue belongs to, fixed once created.
    #[schemars(transform = schema::dns_label)]
    #[schemars(transform = schema::immutable)]
    pub tenant: String,
    /// The SensitivityTier of its messages. Changing it moves the queue to another key.
    #[schemars(transform = schema::dns_label)]
    pub sensitivity_tier: String,
    /// AWS Region, one of the tenant's, fixed once created. Default: the tenant's first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = schema::region)]
    pub region: Option<String>,
    /// Who may send.
    #[schemars(length(min = 1, max = 20))]
    #[schemars(transform = schema::unique)]
    pub producers: Vec<Producer>,
    /// Who may receive, decrypt and delete.
    #[schemars(length(min = 1, max = 20))]
    #[schemars(transform = schema::unique)]
    pub consumers: Vec<Consumer>,
    /// Who may read attributes (queue depth, say), and never a message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    #[schemars(transform = schema::unique)]
    pub observers: Vec<Consumer>,
    /// The queue's own settings.
    #[serde(default)]
    pub queue: QueueSettings,
    /// Dead-letter queue. Absent: none, unless the tier requires one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<DeadLetter>,
    /// How the queue uses its key. What is absent comes from the tier.
    #[serde(default)]
    pub key: KeySettings,
    /// Tags on queue, dead-letter queue and key, beside the tenant's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(transform = schema::tags)]
    pub tags: BTreeMap<String, String>,
    /// What happens in AWS when this object is deleted. Retain: queue and key stay, tagged as released, and a later object of this name takes them
    /// back. Delete: the queue is deleted once it is empty, and its key when nothing needs it any more.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// Whether a queue that already exists under the name may be taken over. IfUnowned: yes, if nobody owns it and the tenant's
    /// `adoptableQueueNames` has it. Of its settings those stay as they were found whose field here has its default; status.adoption lists them.
    #[serde(default)]
    pub adoption: Adoption,
}

/// Who may send: exactly one of the fields.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::rule(
    "[has(self.role), has(self.serviceAccount), has(self.service), has(self.organization)].exists_one(given, given)",
    "exactly one of role, serviceAccount, service and organization must be given"
))]
pub struct Producer {
    /// ARN of an IAM role, path included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = schema::role_arn)]
    pub role: Option<String>,
    /// A ServiceAccount of this namespace, for the IAM role of its EKS Pod Identity association or else of its annotation eks.amazonaws.com/role-arn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<ServiceAccountReference>,
    /// An AWS service acting for one source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceProducer>,
    /// Roles of one name in any account of an organisation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<OrganizationProducer>,
}

/// Who may receive, observe or redrive: exactly one of the fields.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::rule("has(self.role) != has(self.serviceAccount)", "exactly one of role and serviceAccount must be given"))]
pub struct Consumer {
    /// ARN of an IAM role, path included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = schema::role_arn)]
    pub role: Option<String>,
    /// A ServiceAccount of this namespace, for the IAM role of its EKS Pod Identity association or else of its annotation eks.amazonaws.com/role-arn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<ServiceAccountReference>,
}

/// A ServiceAccount in the queue's namespace.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ServiceAccountReference {
    /// Its name.
    #[schemars(transform = schema::dns_subdomain)]
    pub name: String,
}

/// An AWS service that sends for one source.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::rule_at(
    ".sourceArn",
    r"self.principal != 'sns.amazonaws.com' || self.sourceArn.matches('^arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:[0-9A-Za-z_-]{1,256}([.]fifo)?$')",
    "for sns.amazonaws.com must be the ARN of a topic, such as arn:aws:sns:eu-west-1:111122223333:orders"
))]
#[schemars(transform = schema::rule_at(
    ".sourceArn",
    r"self.principal != 's3.amazonaws.com' || self.sourceArn.matches('^arn:[a-z-]+:s3:::[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$')",
    "for s3.amazonaws.com must be the ARN of a bucket, such as arn:aws:s3:::orders"
))]
#[schemars(transform = schema::rule_at(
    ".sourceArn",
    r"self.principal != 'events.amazonaws.com' || self.sourceArn.matches('^arn:[a-z-]+:events:[a-z0-9-]+:[0-9]{12}:rule/.+$')",
    "for events.amazonaws.com must be the ARN of a rule, such as arn:aws:events:eu-west-1:111122223333:rule/orders"
))]
#[schemars(transform = schema::rule_at(
    ".sourceAccount",
    "self.principal == 's3.amazonaws.com' || self.sourceArn.contains(':' + self.sourceAccount + ':')",
    "must be the account in sourceArn"
))]
pub struct ServiceProducer {
    /// The service.
    pub principal: ServicePrincipal,
    /// ARN of the topic, bucket or rule.
    #[schemars(transform = schema::source_arn)]
    pub source_arn: String,
    /// Account that owns the source (a bucket's ARN names none).
    #[schemars(transform = schema::account_id)]
    pub source_account: String,
    /// Which source condition the key policy carries. Default: the strictest that the service is known to pass to KMS
    /// (SNS: SourceArn, S3: SourceAccount, EventBridge: None). The queue policy always carries both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_source_condition: Option<KeySourceCondition>,
}

/// AWS services that send to queues under their own service principal.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub enum ServicePrincipal {
    /// Amazon SNS.
    #[serde(rename = "sns.amazonaws.com")]
    Sns,
    /// Amazon S3 event notifications.
    #[serde(rename = "s3.amazonaws.com")]
    S3,
    /// Amazon EventBridge rules.
    #[serde(rename = "events.amazonaws.com")]
    EventBridge,
}

impl ServicePrincipal {
    /// The service principal as policies name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sns => "sns.amazonaws.com",
            Self::S3 => "s3.amazonaws.com",
            Self::EventBridge => "events.amazonaws.com",
        }
    }
}

/// Source condition of a service's key statement.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub enum KeySourceCondition {
    /// `aws:SourceArn` and `aws:SourceAccount`.
    SourceArn,
    /// `aws:SourceAccount` alone.
    SourceAccount,
    /// None: the service passes neither to KMS.
    None,
}

/// Roles of one name in the accounts of an organisation.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::rule_at(
    ".paths",
    "!has(self.paths) || self.paths.all(path, path.startsWith(self.id + '/'))",
    "every path must begin with the organisation's id and a slash"
))]
pub struct OrganizationProducer {
    /// Organisation id, `o-…`.
    #[schemars(transform = schema::organization_id)]
    pub id: String,
    /// Organisation paths (`o-…/r-…/ou-…/`) to narrow it to; a `*` at the end takes the units below as well. Empty: the whole organisation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    #[schemars(transform = schema::organization_path)]
    #[schemars(transform = schema::unique)]
    pub paths: Vec<String>,
    /// Name of the role (path included where it has one). Whoever may create a role of this name in a member account qualifies.
    #[schemars(transform = schema::role_name)]
    pub role_name: String,
}

/// Settings of the SQS queue.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = schema::immutable_optional("name"))]
#[schemars(transform = schema::rule_at(".fifo", "has(self.fifo) == has(oldSelf.fifo)", "a queue cannot become FIFO, nor cease to be"))]
#[schemars(transform = schema::rule_at(".name", "!has(self.name) || self.name.endsWith('.fifo') == has(self.fifo)", "must end in .fifo if fifo is given, and only then"))]
pub struct QueueSettings {
    /// Name in AWS, fixed once created. Default: `<tenant>-<namespace>-<object>`, cut and hashed past 80 characters; `.fifo` is appended for FIFO.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(transform = schema::queue_name)]
    pub name: Option<String>,
    /// Its presence makes a FIFO queue, for good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fifo: Option<Fifo>,
    /// How long a received message stays hidden, in seconds.
    #[schemars(range(min = 0, max = 43_200))]
    pub visibility_timeout_seconds: i32,
    /// How long SQS keeps a message, in seconds.
    #[schemars(range(min = 60, max = 1_209_600))]
    pub message_retention_seconds: i32,
    /// How long a new message stays hidden, in seconds.
    #[schemars(range(min = 0, max = 900))]
    pub delay_seconds: i32,
    /// How long a receive waits for messages (long polling), in seconds.
    #[schemars(range(min = 0, max = 20))]
    pub receive_message_wait_seconds: i32,
    /// Largest message in bytes.
    #[schemars(range(min = 1024, max = 1_048_576))]
    pub maximum_message_bytes: i32,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            name: None,
            fifo: None,
            visibility_timeout_seconds: 30,
            message_retention_seconds: 345_600,
            delay_seconds: 0,
            receive_message_wait_seconds: 0,
            maximum_message_bytes: 1_048_576,
        }
    }
}

/// FIFO settings.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = schema::rule_at(
    ".throughputLimit",
    "self.throughputLimit != 'PerMessageGroup' || self.deduplicationScope == 'MessageGroup'",
    "PerMessageGroup needs deduplicationScope: MessageGroup"
))]
pub struct Fifo {
    /// Whether SQS derives the deduplication id from the body.
    pub content_based_deduplication: bool,
    /// Where duplicates are looked for: in the whole Queue or in each MessageGroup.
    pub deduplication_scope: DeduplicationScope,
    /// What the throughput quota counts by; `PerMessageGroup` (high throughput) needs `deduplicationScope: MessageGroup`.
    pub throughput_limit: ThroughputLimit,
}

/// Where a FIFO queue looks for duplicates.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum DeduplicationScope {
    /// In the whole queue.
    #[default]
    Queue,
    /// In each message group.
    MessageGroup,
}

/// What a FIFO queue's throughput quota counts by.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ThroughputLimit {
    /// The whole queue.
    #[default]
    PerQueue,
    /// Each message group (high throughput).
    PerMessageGroup,
}

/// The dead-letter queue; it always shares the queue's key.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = schema::immutable_optional("name"))]
pub struct DeadLetter {
    /// Name in AWS, fixed once created. Default: the queue's, with `-dlq`. An existing dead-letter queue is taken over by its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(transform = schema::queue_name)]
    pub name: Option<String>,
    /// Receives after which a message moves to the dead-letter queue.
    #[schemars(range(min = 1, max = 1000))]
    pub max_receive_count: i32,
    /// How long it keeps a message, in seconds; longer than the queue's, since a message keeps its enqueue time.
    #[schemars(range(min = 60, max = 1_209_600))]
    pub message_retention_seconds: i32,
    /// Who may receive from it. Empty: the queue's consumers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    #[schemars(transform = schema::unique)]
    pub consumers: Vec<Consumer>,
    /// Who may move messages back to the queue; roles of the queue's account only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    #[schemars(transform = schema::unique)]
    pub redrivers: Vec<Consumer>,
}

impl Default for DeadLetter {
    fn default() -> Self {
        Self { name: None, max_receive_count: 5, message_retention_seconds: 1_209_600, consumers: Vec::new(), redrivers: Vec::new() }
    }
}

/// How the queue uses its key. What is absent comes from the tier.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KeySettings {
    /// How long SQS reuses a data key, in seconds: longer costs fewer KMS calls, and a revocation may lag by as much. Default: the tier's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 86_400))]
    pub data_key_reuse_seconds: Option<i32>,
    /// Days between automatic rotations. Default: the tier's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 90, max = 2560))]
    pub rotation_period_days: Option<i32>,
    /// Rotates the key on demand, once for each new value (the time of asking, say). Absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotate_requested_at: Option<Time>,
}

/// Whether an existing queue may be taken over.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Adoption {
    /// No: a queue of the name that is not this object's is a conflict.
    #[default]
    Never,
    /// Yes, if no other cluster or object owns it and the tenant's `adoptableQueueNames` has it.
    IfUnowned,
}
