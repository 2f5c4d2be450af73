//! What a plan knows: the object's own record, the other objects, and what AWS said.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::state::{Attributes, KeyMetadata, KeyState, QueueState, Tags};
use crate::api::queue_key::{DeletedPrincipal, KeyUser, ReleasedQueue};
use crate::api::{DeletionPolicy, Reason};
use crate::names::RoleArn;
use crate::policy::queue_policy::QueueKind;

/// Something in AWS that may not have been looked at yet.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub enum Seen<T> {
    /// Not looked at.
    #[default]
    NotRead,
    /// Looked for, and not there.
    Absent,
    /// There.
    Present(T),
}

impl<T> Seen<T> {
    /// From the answer of a look-up.
    pub fn answer(found: Option<T>) -> Self {
        found.map_or(Self::Absent, Self::Present)
    }

    /// The value, if it is there.
    pub fn present(&self) -> Option<&T> {
        match self {
            Self::Present(value) => Some(value),
            Self::NotRead | Self::Absent => None,
        }
    }
}

/// What is known of an EncryptedQueue and its queues.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct ObservedQueue {
    /// Whether our finalizer is on the object.
    pub finalizer: bool,
    /// Its QueueKey, if it exists.
    pub key: Option<ObservedKeyObject>,
    /// QueueKeys that it uses or used beside that one.
    pub other_keys: Vec<ObservedKeyObject>,
    /// The key it is under, from status.
    pub current_key: Option<CurrentKey>,
    /// The key it is about to be moved to, once that was seen to hold its grants, from status.
    pub next_key: Option<NextKeyRecord>,
    /// Keys it was moved away from, from status.
    pub previous_keys: Vec<PreviousKeyRecord>,
    /// How existing queues are or were taken over, from status.
    pub adoption: Option<AdoptionRecord>,
    /// Hash of what was last applied, from status.
    pub applied_sha256: Option<String>,
    /// Tag keys that were last applied, from status.
    pub applied_tag_keys: Vec<String>,
    /// URL of the queue, from status; empty: what status says of it contradicts itself.
    pub source_url: Option<String>,
    /// URL of the dead-letter queue, from status.
    pub dead_letter_url: Option<String>,
    /// Whether status knows of a dead-letter queue, which may be about to be made.
    pub dead_letter_recorded: bool,
    /// Since when no message can move to a dead-letter queue that is no longer declared, from status.
    pub dead_letter_unused_since: Option<Timestamp>,
    /// When the queue was made, from status.
    pub created_at: Option<Timestamp>,
    /// Deleted principals that its policies showed, until the key has them on record, from status.
    pub deleted: Vec<DeletedPrincipal>,
    /// Roles that SQS refused in this pass.
    pub refused: BTreeSet<RoleArn>,
    /// Until when data keys that SQS cached may serve someone who lost access, from status.
    pub cached_data_keys_until: Option<Timestamp>,
    /// Whether to compare with AWS although the record agrees.
    pub check: bool,
    /// The queue.
    pub source: Seen<QueueState>,
    /// The dead-letter queue.
    pub dead_letter: Seen<QueueState>,
    /// Names of the queues whose dead letters an existing dead-letter queue takes.
    pub dead_letter_sources: Seen<Vec<String>>,
    /// ARNs of keys that existing queues name; None: not to be found out.
    pub found_keys: BTreeMap<String, Option<String>>,
}

impl ObservedQueue {
    /// Whether the queue is there, on record or as AWS shows it.
    pub(crate) fn is_made(&self) -> bool {
        self.source_url.is_some() || self.source.present().is_some()
    }

    /// One of the two queues.
    pub fn queue(&self, which: QueueKind) -> &Seen<QueueState> {
        match which {
            QueueKind::Source => &self.source,
            QueueKind::DeadLetter => &self.dead_letter,
        }
    }

    /// One of the two queues, to note what was done.
    pub fn queue_mut(&mut self, which: QueueKind) -> &mut Seen<QueueState> {
        match which {
            QueueKind::Source => &mut self.source,
            QueueKind::DeadLetter => &mut self.dead_letter,
        }
    }
}

/// The key a queue is under.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct CurrentKey {
    /// Name of its QueueKey.
    pub name: String,
    /// Its ARN, once it is known.
    pub arn: Option<String>,
}

/// The key a queue is about to be moved to.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct NextKeyRecord {
    /// Name of its QueueKey.
    pub name: String,
    /// Hash of the grants that it holds.
    pub grants_sha256: String,
    /// Since when.
    pub granted_at: Timestamp,
}

/// How existing queues are or were taken over.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct AdoptionRecord {
    /// When both were under their own key; None: not yet.
    pub completed_at: Option<Timestamp>,
    /// Keys that they were found under.
    pub found_keys: Vec<String>,
    /// For how long messages could live in both together, in seconds.
    pub found_retention_seconds: i64,
    /// Settings of the queue that stay as they were found.
    pub settings: Attributes,
    /// Settings of the dead-letter queue that stay as they were found.
    pub dead_letter_settings: Attributes,
}

impl AdoptionRecord {
    /// Settings of one of the two that stay as they were found.
    pub fn settings(&self, which: QueueKind) -> &Attributes {
        match which {
            QueueKind::Source => &self.settings,
            QueueKind::DeadLetter => &self.dead_letter_settings,
        }
    }
}

/// A key a queue was moved away from.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct PreviousKeyRecord {
    /// Name of its QueueKey; None: a foreign key, or one that KMS holds no longer.
    pub name: Option<String>,
    /// Its ARN.
    pub arn: String,
    /// False: a foreign key.
    pub managed: bool,
    /// When the queue was pointed at another key.
    pub switched_at: Timestamp,
    /// Until when messages under it may live.
    pub decrypt_until: Timestamp,
}

impl PreviousKeyRecord {
    /// Whether KMS holds it no longer.
    pub fn is_lost(&self) -> bool {
        self.managed && self.name.is_none()
    }

    /// For people: what its loss means.
    pub fn said_lost(&self) -> String {
        let Self { arn, switched_at, decrypt_until, .. } = self;
        format!(
            "KMS holds key {arn} no longer: messages sent under it, until {switched_at:.0}, cannot be read; the last of them expires by {decrypt_until:.0}"
        )
    }
}

/// What a queue needs to know of its QueueKey.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct ObservedKeyObject {
    /// Its name.
    pub name: String,
    /// Whether many queues may use its key.
    pub shared: bool,
    /// Whether it is on record there that this queue is let go of and stays under the key.
    pub releases: bool,
    /// Whether KMS holds its key no longer.
    pub lost: bool,
    /// Its deletion policy.
    pub deletion_policy: DeletionPolicy,
    /// ARN of the key, once it exists.
    pub arn: Option<String>,
    /// Hash of this queue's grants that the key policy holds.
    pub holds: Option<String>,
    /// Whether this queue's access waits for an approval: what is gained.
    pub awaits_approval: Option<Vec<String>>,
    /// Roles whose grants are left out, since KMS does not know them.
    pub refused: BTreeSet<RoleArn>,
    /// Deleted principals that it has on record.
    pub deleted: Vec<DeletedPrincipal>,
    /// Why it is not Ready, and what a person is told.
    pub not_ready: Option<(Reason, String)>,
}

/// A nonce, and whether this very pass wrote it: then no key can have been made with it yet.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct NonceRecord {
    /// The nonce.
    pub nonce: String,
    /// When it was written.
    pub started_at: Timestamp,
    /// Written by this pass, and `CreateKey` not sent yet, or refused: no key exists under it.
    pub fresh: bool,
}

/// A key that a search found.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct FoundKey {
    /// Its metadata.
    pub metadata: KeyMetadata,
    /// Its tags.
    pub tags: Tags,
}

/// When a key was last used.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum LastUse {
    /// The endpoint does not tell, or has not watched for all of the key's life.
    Unknown,
    /// Never.
    Never,
    /// Then.
    At {
        /// When.
        at: Timestamp,
        /// By which operation.
        operation: String,
    },
}

/// What tells whether a key is needed.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct KeyEvidence {
    /// Its id.
    pub id: String,
    /// Its policy, if the operator may read it.
    pub policy: Option<String>,
    /// Queues of the account and Region that point at it.
    pub queues: Vec<String>,
    /// Its last use.
    pub last_use: LastUse,
}

/// What is known of a QueueKey and its key.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not states")]
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct ObservedKey {
    /// Key id, from status.
    pub key_id: Option<String>,
    /// ARN, from status.
    pub arn: Option<String>,
    /// Nonce, from status.
    pub nonce: Option<NonceRecord>,
    /// Users whose grants the policy holds, from status.
    pub users: Vec<KeyUser>,
    /// Queues that stay under the key without their objects, from status.
    pub released_queues: Vec<ReleasedQueue>,
    /// Access revision, from status.
    pub access_revision: i64,
    /// The approval that was last applied, from status.
    pub approval: Option<String>,
    /// Deleted principals on record, from status.
    pub deleted: Vec<DeletedPrincipal>,
    /// Roles that KMS refused in this pass.
    pub refused: BTreeSet<RoleArn>,
    /// Hash of what was last applied, from status.
    pub applied_sha256: Option<String>,
    /// Tag keys that were last applied, from status.
    pub applied_tag_keys: Vec<String>,
    /// Rotation period that was last applied, from status: some endpoints do not report it.
    pub rotation_period_days: Option<i32>,
    /// Latest request for rotation that was served, from status.
    pub rotation_served: Option<Timestamp>,
    /// The request that an on-demand rotation was begun for and that is not served yet, from status.
    pub rotation_serving: Option<Timestamp>,
    /// When an on-demand rotation was last begun, from status.
    pub rotation_started: Option<Timestamp>,
    /// Whether this very pass wrote `rotation_started`.
    pub rotation_start_is_fresh: bool,
    /// On-demand rotations so far, from status.
    pub rotations_on_demand: i32,
    /// Whether to compare with AWS although the record agrees.
    pub check: bool,
    /// The key its alias points at.
    pub by_alias: Seen<FoundKey>,
    /// Whether the alias was found taken when it was to be made.
    pub alias_taken: bool,
    /// Keys with this object's tags.
    pub by_tags: Seen<Vec<FoundKey>>,
    /// When they were asked for.
    pub by_tags_at: Option<Timestamp>,
    /// What tells which of them are needed.
    pub evidence: Seen<Vec<KeyEvidence>>,
    /// Whether id, ARN and nonce are as they were recorded, so that nobody edited them.
    pub genuine: bool,
    /// Whether the key is on record as lost.
    pub lost: bool,
    /// Since when its queues are under other keys, and until when messages under it may live, from status.
    pub retirement: Option<(Timestamp, Timestamp)>,
    /// The key.
    pub state: Seen<KeyState>,
    /// Times of past on-demand rotations.
    pub rotations: Seen<Vec<Timestamp>>,
    /// Queues of the account and Region that point at the key.
    pub queues_under_key: Seen<Vec<String>>,
    /// Its last use.
    pub last_use: Seen<LastUse>,
    /// Whether its deletion was scheduled by this pass.
    pub scheduled: bool,
}
