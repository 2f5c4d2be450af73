//! What AWS says of a queue and a key, as plain values.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

/// Attributes of a queue by their SQS names.
pub type Attributes = BTreeMap<String, String>;
/// Tags.
pub type Tags = BTreeMap<String, String>;

/// A queue as SQS reports it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct QueueState {
    /// URL.
    pub url: String,
    /// All attributes; unset ones are absent.
    pub attributes: Attributes,
    /// Tags.
    pub tags: Tags,
}

impl QueueState {
    /// Messages in the queue: visible, in flight and delayed, as SQS approximates them.
    pub fn approximate_messages(&self) -> u64 {
        ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"]
            .iter()
            .filter_map(|name| self.attributes.get(*name)?.parse::<u64>().ok())
            .sum()
    }
}

/// State of a key in KMS.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum KeyLifecycle {
    /// Usable.
    Enabled,
    /// Disabled by someone.
    Disabled,
    /// Scheduled for deletion.
    PendingDeletion,
    /// Anything else KMS reports, by its name (Creating, Unavailable …).
    Other(String),
}

impl KeyLifecycle {
    /// As KMS spells it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Enabled => "Enabled",
            Self::Disabled => "Disabled",
            Self::PendingDeletion => "PendingDeletion",
            Self::Other(name) => name,
        }
    }
}

/// A key as `DescribeKey` reports it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct KeyMetadata {
    /// Key id.
    pub id: String,
    /// ARN.
    pub arn: String,
    /// State.
    pub lifecycle: KeyLifecycle,
    /// Description.
    pub description: String,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// When KMS deletes it.
    pub deletion_date: Option<Timestamp>,
}

/// Rotation as `GetKeyRotationStatus` reports it.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct RotationState {
    /// Whether automatic rotation is on.
    pub enabled: bool,
    /// Its period in days; absent where the endpoint does not say.
    pub period_days: Option<i32>,
    /// The next one.
    pub next_at: Option<Timestamp>,
}

/// A KMS grant, which admits someone beside the key policy.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct KmsGrant {
    /// Its id.
    pub id: String,
    /// Whom it admits.
    pub grantee: String,
    /// To what.
    pub operations: BTreeSet<String>,
}

/// All of a key that the operator manages.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct KeyState {
    /// Metadata.
    pub metadata: KeyMetadata,
    /// The key policy's text.
    pub policy: String,
    /// Tags.
    pub tags: Tags,
    /// Aliases that point at it.
    pub aliases: BTreeSet<String>,
    /// Rotation.
    pub rotation: RotationState,
    /// Grants.
    pub grants: Vec<KmsGrant>,
}
