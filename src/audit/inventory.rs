//! What a scan found, as plain values.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::api::queue_key::NamespacedName;
use crate::names::{Place, QueueArn};
use crate::plan::state::{Attributes, KeyLifecycle, KmsGrant, RotationState, Tags};
use crate::policy::access::{Grant, QueueAccess};
use crate::policy::document::Document;
use crate::policy::queue_policy::QueueKind;

/// All queues and customer managed keys of some accounts and Regions.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// By account and Region.
    pub places: Vec<PlaceFacts>,
    /// What could not be read.
    pub problems: Vec<Problem>,
}

/// Something that could not be read: what is reported is incomplete.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Problem {
    /// Account.
    pub account: String,
    /// Region.
    pub region: String,
    /// The call as IAM names it.
    pub operation: String,
    /// The queue or key; none: the account and Region as a whole.
    pub resource: Option<String>,
    /// What AWS said.
    pub message: String,
}

/// One account and Region.
#[derive(Clone, Debug)]
pub struct PlaceFacts {
    /// Where.
    pub place: Place,
    /// Its queues.
    pub queues: Vec<QueueFacts>,
    /// Its customer managed keys.
    pub keys: Vec<KeyFacts>,
    /// Whether every queue is among them: only then is one that is not among them absent.
    pub all_queues: bool,
    /// The same of keys.
    pub all_keys: bool,
    /// Whether what is declared there is known.
    pub declarations: bool,
}

/// A resource policy.
#[derive(Clone, Debug, PartialEq)]
pub enum PolicyFacts {
    /// There is none.
    Absent,
    /// It could not be read.
    Unknown,
    /// It is no policy document; why.
    Malformed(String),
    /// It.
    Document(Document),
}

impl PolicyFacts {
    /// From the text that AWS holds.
    pub fn of(text: Option<&str>) -> Self {
        match text.filter(|text| !text.trim().is_empty()) {
            None => Self::Absent,
            Some(text) => Document::parse(text).map_or_else(|error| Self::Malformed(error.to_string()), Self::Document),
        }
    }

    /// The document, if it could be read.
    pub fn document(&self) -> Option<&Document> {
        if let Self::Document(document) = self { Some(document) } else { None }
    }
}

/// What a queue's messages are encrypted with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Encryption {
    /// Nothing.
    Off,
    /// SSE-SQS: a key that nobody sees.
    SqsManaged,
    /// `alias/aws/sqs`, whose policy is fixed.
    AwsManaged,
    /// A customer managed key of the same account and Region: its ARN.
    Key(String),
    /// A key of another account; its state, where its owner lets it be seen.
    Foreign {
        /// Its ARN.
        arn: String,
        /// Its state.
        state: Option<KeyLifecycle>,
    },
    /// A key that the same account's KMS does not know there.
    Missing,
    /// A key that cannot be told.
    Unknown,
}

/// A queue.
#[derive(Clone, Debug)]
pub struct QueueFacts {
    /// ARN.
    pub arn: QueueArn,
    /// All attributes; unset ones are absent.
    pub attributes: Attributes,
    /// Tags; none: they could not be read.
    pub tags: Option<Tags>,
    /// Its policy.
    pub policy: PolicyFacts,
    /// What its messages are encrypted with.
    pub encryption: Encryption,
    /// Whose it is, as far as that can be told.
    pub tenant: Option<String>,
    /// What the cluster says of it.
    pub declared: Option<DeclaredQueue>,
}

impl QueueFacts {
    /// The key as the queue names it.
    pub fn named_key(&self) -> &str {
        self.attributes.get("KmsMasterKeyId").map_or("", String::as_str)
    }

    /// A numeric attribute.
    pub fn number(&self, attribute: &str) -> Option<i64> {
        self.attributes.get(attribute)?.parse().ok()
    }

    /// ARN of its dead-letter queue.
    pub fn dead_letter_target(&self) -> Option<String> {
        let policy: serde_json::Value = serde_json::from_str(self.attributes.get("RedrivePolicy")?).ok()?;
        Some(policy.get("deadLetterTargetArn")?.as_str()?.to_owned())
    }

    /// Whether it is made for dead letters: it says from whom it takes them.
    pub fn admits_dead_letters(&self) -> bool {
        let policy: Option<serde_json::Value> = self.attributes.get("RedriveAllowPolicy").and_then(|text| serde_json::from_str(text).ok());
        policy.is_some_and(|policy| policy.get("redrivePermission").is_some_and(|permission| permission != "denyAll"))
    }
}

/// The rules of a tier that a check asks for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TierRules {
    /// Data-key reuse in seconds.
    pub data_key_reuse_seconds: (i64, i64),
    /// Rotation in days.
    pub rotation_period_days: (i64, i64),
    /// Retention in seconds.
    pub message_retention_seconds: (i64, i64),
    /// Tags that every queue must have.
    pub required_tags: Vec<String>,
}

/// What an EncryptedQueue says of one of its two queues.
#[derive(Clone, Debug)]
pub struct DeclaredQueue {
    /// The object.
    pub object: NamespacedName,
    /// Its tenant.
    pub tenant: String,
    /// Its tier.
    pub tier: String,
    /// Which of the two.
    pub kind: QueueKind,
    /// The tier's rules, if it exists.
    pub rules: Option<TierRules>,
    /// The key that the operator made for it; none yet.
    pub key_arn: Option<String>,
    /// Who may do what; none: the declaration is refused.
    pub access: Option<QueueAccess>,
}

/// What a QueueKey says of its key.
#[derive(Clone, Debug)]
pub struct DeclaredKey {
    /// The object.
    pub object: String,
    /// Its tenant.
    pub tenant: String,
    /// Its tier.
    pub tier: String,
    /// The tier's rules, if it exists.
    pub rules: Option<TierRules>,
    /// The queues that use it, each with its dead-letter queue.
    pub users: BTreeMap<QueueArn, Option<QueueArn>>,
    /// What is declared through each queue; none: not all of it can be told.
    pub grants: Option<BTreeMap<QueueArn, BTreeSet<Grant>>>,
    /// Who may administer it; none: not all of them can be told.
    pub administrators: Option<BTreeSet<String>>,
    /// Whether the operator itself has retired it.
    pub retired: bool,
}

/// What KMS knows of a key's use.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LastUse {
    /// Nothing.
    #[default]
    Unknown,
    /// None since then.
    NoneSince(Timestamp),
    /// The last.
    At(Timestamp),
}

/// A customer managed key.
#[derive(Clone, Debug)]
pub struct KeyFacts {
    /// ARN.
    pub arn: String,
    /// Id.
    pub id: String,
    /// State.
    pub lifecycle: KeyLifecycle,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// When KMS deletes it.
    pub deletion_date: Option<Timestamp>,
    /// Where its material comes from: `AWS_KMS`, `EXTERNAL`, `AWS_CLOUDHSM`, `EXTERNAL_KEY_STORE`.
    pub origin: String,
    /// `SYMMETRIC_DEFAULT` and others.
    pub spec: String,
    /// Whether its material is that of keys in other Regions.
    pub multi_region: bool,
    /// Its policy.
    pub policy: PolicyFacts,
    /// Tags; none: they could not be read.
    pub tags: Option<Tags>,
    /// Aliases that point at it.
    pub aliases: BTreeSet<String>,
    /// Rotation; none: it could not be read, or the key has none.
    pub rotation: Option<RotationState>,
    /// Grants; none: they were not read.
    pub grants: Option<Vec<KmsGrant>>,
    /// Its last use.
    pub last_use: LastUse,
    /// Whose it is, as far as that can be told.
    pub tenant: Option<String>,
    /// What the cluster says of it.
    pub declared: Option<DeclaredKey>,
}

/// One account and Region with its cross-references; what every check is given.
pub struct View<'a> {
    /// The facts.
    pub facts: &'a PlaceFacts,
    /// The time.
    pub now: Timestamp,
    keys: BTreeMap<&'a str, &'a KeyFacts>,
    queues: BTreeMap<&'a str, &'a QueueFacts>,
    users: BTreeMap<&'a str, Vec<&'a QueueFacts>>,
    sources: BTreeMap<String, Vec<&'a QueueFacts>>,
}

impl<'a> View<'a> {
    /// Of these facts.
    pub fn new(facts: &'a PlaceFacts, now: Timestamp) -> Self {
        let (mut users, mut sources) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, Vec<_>>::new());
        for queue in &facts.queues {
            if let Encryption::Key(arn) = &queue.encryption {
                users.entry(arn.as_str()).or_default().push(queue);
            }
            if let Some(target) = queue.dead_letter_target() {
                sources.entry(target).or_default().push(queue);
            }
        }
        Self {
            facts,
            now,
            keys: facts.keys.iter().map(|key| (key.arn.as_str(), key)).collect(),
            queues: facts.queues.iter().map(|queue| (queue.arn.as_str(), queue)).collect(),
            users,
            sources,
        }
    }

    /// The customer managed key that a queue is under.
    pub fn key_of(&self, queue: &QueueFacts) -> Option<&'a KeyFacts> {
        if let Encryption::Key(arn) = &queue.encryption { self.keys.get(arn.as_str()).copied() } else { None }
    }

    /// A queue by ARN.
    pub fn queue(&self, arn: &str) -> Option<&'a QueueFacts> {
        self.queues.get(arn).copied()
    }

    /// The queues under a key.
    pub fn users_of(&self, key: &KeyFacts) -> &[&'a QueueFacts] {
        self.users.get(key.arn.as_str()).map_or(&[], Vec::as_slice)
    }

    /// The queues whose dead letters go to a queue.
    pub fn sources_of(&self, queue: &QueueFacts) -> &[&'a QueueFacts] {
        self.sources.get(queue.arn.as_str()).map_or(&[], Vec::as_slice)
    }
}
