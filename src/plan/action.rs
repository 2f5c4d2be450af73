//! What can be done next, as data. The controller applies actions with one match arm each; `plan` prints them.

use jiff::Timestamp;

use super::observed::{AdoptionRecord, CurrentKey, PreviousKeyRecord};
use super::state::{Attributes, Tags};
use crate::api::queue_key::{DeletedPrincipal, KeyUser, QueueKeySpec, ReleasedQueue};
use crate::api::{DeletionPolicy, Reason};
use crate::names::QueueArn;
use crate::policy::queue_policy::QueueKind;

/// Nothing can be done now: why, and until when.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Hold {
    /// Why.
    pub reason: Reason,
    /// For people: what is waited for and the way out.
    pub message: String,
    /// When to look again; None: when something changes.
    pub until: Option<Timestamp>,
}

impl Hold {
    /// Waits for a change.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), until: None }
    }

    /// Waits until a moment.
    pub fn until(reason: Reason, message: impl Into<String>, until: Timestamp) -> Self {
        Self { reason, message: message.into(), until: Some(until) }
    }
}

/// Where to find a queue: by its URL where that is recorded, else by its name.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct QueueLocator {
    /// Name.
    pub name: String,
    /// URL.
    pub url: Option<String>,
}

/// What can be done next about an EncryptedQueue.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum QueueAction {
    /// Kubernetes: put our finalizer on the object.
    AddFinalizer,
    /// Kubernetes: make the QueueKey, or correct its deletion policy.
    EnsureKey {
        /// Name of the QueueKey.
        name: String,
        /// What it is for.
        spec: QueueKeySpec,
    },
    /// Reads the queues that are there.
    ReadQueues {
        /// The queue.
        source: QueueLocator,
        /// Its dead-letter queue.
        dead_letter: Option<QueueLocator>,
    },
    /// Finds out which key it is that an existing queue names.
    ReadFoundKey {
        /// Alias, id or ARN.
        key: String,
    },
    /// Looks which queues send their dead letters to an existing queue.
    ReadDeadLetterSources {
        /// Its URL.
        url: String,
    },
    /// Makes a queue with everything in one call.
    CreateQueue {
        /// Which.
        which: QueueKind,
        /// Its name.
        name: String,
        /// All attributes, key and policy included.
        attributes: Attributes,
        /// All tags.
        tags: Tags,
    },
    /// Changes attributes, all in one call.
    SetQueueAttributes {
        /// Which.
        which: QueueKind,
        /// Its URL.
        url: String,
        /// Those that differ.
        attributes: Attributes,
        /// Whether someone loses access by it: data keys that SQS cached may serve them for another reuse period.
        revokes: bool,
    },
    /// Writes tags.
    TagQueue {
        /// Which.
        which: QueueKind,
        /// Its URL.
        url: String,
        /// Those that differ.
        tags: Tags,
    },
    /// Removes tags that the operator wrote before.
    UntagQueue {
        /// Which.
        which: QueueKind,
        /// Its URL.
        url: String,
        /// Their keys.
        keys: Vec<String>,
    },
    /// Deletes an empty queue.
    DeleteQueue {
        /// Which.
        which: QueueKind,
        /// Its URL.
        url: String,
    },
    /// Kubernetes: takes the record of what was applied out of status, before something else is applied.
    ForgetApplied {
        /// Keys of the tags that were applied or are about to be.
        tag_keys: Vec<String>,
        /// The dead-letter queue that is about to be made.
        dead_letter: Option<QueueArn>,
    },
    /// Kubernetes: writes that the key the queue is about to be moved to holds its grants, and since when.
    RecordNextKey {
        /// Name of its QueueKey.
        name: String,
        /// Hash of the grants.
        grants_sha256: String,
    },
    /// Kubernetes: writes which key the queue is under, and which it was under before.
    RecordKeys {
        /// The key it is under.
        current: CurrentKey,
        /// Those before it that messages may still be under.
        previous: Vec<PreviousKeyRecord>,
    },
    /// Kubernetes: writes what of an existing queue was found, before it is changed, and that it is taken over.
    RecordAdoption {
        /// All of it.
        record: AdoptionRecord,
    },
    /// Kubernetes: writes that from now on no message can move to the dead-letter queue, which is no longer declared.
    RecordDeadLetterUnused,
    /// Kubernetes: writes that there is no dead-letter queue any more.
    ForgetDeadLetter,
    /// Kubernetes: the key is to end as its queue does, or to be kept for a queue that stays under it.
    SetKeyDeletionPolicy {
        /// The QueueKey.
        name: String,
        /// What happens to its key at the end.
        policy: DeletionPolicy,
    },
    /// Kubernetes: take our finalizer off; the object ends.
    RemoveFinalizer,
    /// Nothing now.
    Hold(Hold),
}

/// What can be done next about a QueueKey.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum KeyAction {
    /// Looks the key's alias up: a fresh QueueKey takes an earlier key of its name back.
    FindByAlias {
        /// The alias.
        alias: String,
    },
    /// Looks for a key by its tags: one may have been made just before a crash.
    FindByTags {
        /// Tags that all must match.
        tags: Tags,
    },
    /// Reads what tells whether keys with this object's tags are needed: their policies, queues that point at them, their last use.
    ReadEvidence {
        /// Key ids.
        ids: Vec<String>,
    },
    /// Reads when the key was last used.
    ReadLastUse {
        /// Key id.
        id: String,
    },
    /// Kubernetes: writes a new nonce, checked by resourceVersion, before a key is made.
    RecordNonce,
    /// Makes a key: one call, never retried by itself.
    CreateKey {
        /// Key policy.
        policy: String,
        /// Tags, nonce included.
        tags: Tags,
        /// Description, nonce included.
        description: String,
    },
    /// Kubernetes: writes which key it is, and whose grants its policy holds.
    RecordKey {
        /// Key id.
        id: String,
        /// Key ARN.
        arn: String,
        /// The nonce it carries.
        nonce: String,
        /// Queues whose grants the policy holds.
        users: Vec<KeyUser>,
        /// The approval that let something in: its name and approver.
        approval: Option<(String, String)>,
    },
    /// Reads the key: metadata, policy, tags, aliases, rotation, grants.
    ReadKey {
        /// Key id.
        id: String,
    },
    /// Kubernetes: writes which queues stay under the key without their objects.
    RecordReleased {
        /// They, in order.
        queues: Vec<ReleasedQueue>,
    },
    /// Kubernetes: takes the record of what was applied out of status, before something else is applied.
    ForgetApplied {
        /// Queues whose grants the policy holds now and will still hold.
        users: Vec<KeyUser>,
        /// Keys of the tags that were applied or are about to be.
        tag_keys: Vec<String>,
    },
    /// Brings a key back that is scheduled for deletion; it is disabled then.
    CancelKeyDeletion {
        /// Key id.
        id: String,
    },
    /// Brings a disabled key back.
    EnableKey {
        /// Key id.
        id: String,
    },
    /// Writes the key policy.
    PutKeyPolicy {
        /// Key id.
        id: String,
        /// The policy.
        policy: String,
    },
    /// Kubernetes: writes whose grants the policy holds, so that the queues open.
    RecordUsers {
        /// The queues.
        users: Vec<KeyUser>,
        /// The access revision from now on.
        access_revision: i64,
        /// The approval that let something in: its name and approver.
        approval: Option<(String, String)>,
    },
    /// Kubernetes: writes which principals were found deleted, and that whose access they were have none.
    RecordDeletedPrincipals {
        /// Those that were not known.
        deleted: Vec<DeletedPrincipal>,
        /// The queues.
        users: Vec<KeyUser>,
        /// The access revision from now on.
        access_revision: i64,
    },
    /// Kubernetes: writes on an AccessApproval that it is used.
    MarkApproval {
        /// Its name.
        name: String,
    },
    /// Revokes a grant, which admits someone beside the policy.
    RevokeGrant {
        /// Key id.
        id: String,
        /// Grant id.
        grant: String,
        /// Whom it admitted.
        grantee: String,
    },
    /// Makes the alias.
    CreateAlias {
        /// Alias.
        alias: String,
        /// Key id.
        id: String,
    },
    /// Points the alias, which exists, at this key.
    UpdateAlias {
        /// Alias.
        alias: String,
        /// Key id.
        id: String,
    },
    /// Turns automatic rotation on with this period.
    EnableKeyRotation {
        /// Key id.
        id: String,
        /// Period in days.
        period_days: i32,
    },
    /// Writes tags.
    TagKey {
        /// Key id.
        id: String,
        /// Those that differ.
        tags: Tags,
    },
    /// Removes tags that the operator wrote before.
    UntagKey {
        /// Key id.
        id: String,
        /// Their keys.
        keys: Vec<String>,
    },
    /// Kubernetes: writes that an on-demand rotation is about to start.
    RecordRotationStart {
        /// The request it serves.
        requested_at: Timestamp,
    },
    /// Reads past rotations: one may have been started just before a crash.
    ReadRotations {
        /// Key id.
        id: String,
    },
    /// Rotates the key.
    RotateKeyOnDemand {
        /// Key id.
        id: String,
    },
    /// Kubernetes: writes that a request for rotation is served.
    RecordRotationServed {
        /// The request.
        requested_at: Timestamp,
        /// Whether a rotation was started for it.
        rotated: bool,
    },
    /// Looks for queues of the account and Region that point at the key.
    FindQueuesUnderKey {
        /// Key ARN.
        arn: String,
    },
    /// Schedules the deletion of a key that nothing needs.
    ScheduleKeyDeletion {
        /// Key id.
        id: String,
        /// Waiting period in days.
        window_days: i32,
    },
    /// Kubernetes: deletes the QueueKey object and takes its finalizer off.
    EndObject {
        /// What was done with the key.
        policy: DeletionPolicy,
    },
    /// Nothing now.
    Hold(Hold),
}

impl QueueAction {
    /// Whether it changes something in AWS.
    pub fn writes_aws(&self) -> bool {
        match self {
            Self::CreateQueue { .. }
            | Self::SetQueueAttributes { .. }
            | Self::TagQueue { .. }
            | Self::UntagQueue { .. }
            | Self::DeleteQueue { .. } => true,
            Self::AddFinalizer
            | Self::EnsureKey { .. }
            | Self::ReadQueues { .. }
            | Self::ForgetApplied { .. }
            | Self::RecordNextKey { .. }
            | Self::RecordKeys { .. }
            | Self::ReadFoundKey { .. }
            | Self::ReadDeadLetterSources { .. }
            | Self::RecordAdoption { .. }
            | Self::RecordDeadLetterUnused
            | Self::ForgetDeadLetter
            | Self::SetKeyDeletionPolicy { .. }
            | Self::RemoveFinalizer
            | Self::Hold(_) => false,
        }
    }
}

impl KeyAction {
    /// Whether it changes something in AWS.
    pub fn writes_aws(&self) -> bool {
        match self {
            Self::CreateKey { .. }
            | Self::CancelKeyDeletion { .. }
            | Self::EnableKey { .. }
            | Self::PutKeyPolicy { .. }
            | Self::RevokeGrant { .. }
            | Self::CreateAlias { .. }
            | Self::UpdateAlias { .. }
            | Self::EnableKeyRotation { .. }
            | Self::TagKey { .. }
            | Self::UntagKey { .. }
            | Self::RotateKeyOnDemand { .. }
            | Self::ScheduleKeyDeletion { .. } => true,
            Self::FindByAlias { .. }
            | Self::FindByTags { .. }
            | Self::ReadEvidence { .. }
            | Self::ReadLastUse { .. }
            | Self::RecordNonce
            | Self::RecordReleased { .. }
            | Self::RecordKey { .. }
            | Self::ReadKey { .. }
            | Self::ForgetApplied { .. }
            | Self::RecordUsers { .. }
            | Self::RecordDeletedPrincipals { .. }
            | Self::MarkApproval { .. }
            | Self::RecordRotationStart { .. }
            | Self::ReadRotations { .. }
            | Self::RecordRotationServed { .. }
            | Self::FindQueuesUnderKey { .. }
            | Self::EndObject { .. }
            | Self::Hold(_) => false,
        }
    }
}
