//! What an action changed, noted in the observed state: the next plan starts from it without reading again.

use jiff::{SignedDuration, Timestamp};

use super::action::{KeyAction, QueueAction};
use super::deleted;
use super::observed::{FoundKey, KeyEvidence, LastUse, NextKeyRecord, NonceRecord, ObservedKey, ObservedKeyObject, ObservedQueue, Seen};
use super::state::{Attributes, KeyLifecycle, KeyMetadata, KeyState, QueueState, RotationState};
use crate::api::queue_key::KeyUser;

/// What applying a [`QueueAction`] answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum QueueEffect {
    /// Done as asked.
    Done,
    /// The queues that are there.
    Queues {
        /// The queue.
        source: Option<QueueState>,
        /// The dead-letter queue.
        dead_letter: Option<QueueState>,
    },
    /// The new queue's URL.
    Created {
        /// URL.
        url: String,
    },
    /// ARN of the key that an existing queue names; None: not to be found out.
    FoundKey(Option<String>),
    /// Names of the queues that send their dead letters to an existing queue.
    DeadLetterSources(Vec<String>),
    /// The QueueKey as it is now.
    Key(ObservedKeyObject),
}

/// What applying a [`KeyAction`] answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeyEffect {
    /// Done as asked.
    Done,
    /// What the alias points at.
    ByAlias(Option<FoundKey>),
    /// Keys with this object's tags.
    ByTags(Vec<FoundKey>),
    /// What tells whether keys are needed.
    Evidence(Vec<KeyEvidence>),
    /// The key's last use.
    LastUse(LastUse),
    /// The nonce that is now in status.
    Nonce(NonceRecord),
    /// The new key.
    Created(KeyMetadata),
    /// The key as it is.
    Key(Option<Box<KeyState>>),
    /// The alias exists already.
    AliasTaken,
    /// Times of past on-demand rotations.
    Rotations(Vec<Timestamp>),
    /// Queues that point at the key.
    QueuesUnderKey(Vec<String>),
}

fn set(attributes: &mut Attributes, changes: &Attributes) {
    for (name, value) in changes {
        if value.is_empty() {
            attributes.remove(name);
        } else {
            attributes.insert(name.clone(), value.clone());
        }
    }
}

/// For how long SQS uses a data key again (SQS API reference, SetQueueAttributes: KmsDataKeyReusePeriodSeconds, 300 unless set).
fn reuse_seconds(attributes: &Attributes) -> SignedDuration {
    let seconds = attributes.get("KmsDataKeyReusePeriodSeconds").and_then(|value| value.parse().ok());
    SignedDuration::from_secs(seconds.unwrap_or(300))
}

impl ObservedQueue {
    /// Notes what an action did.
    pub fn note(&mut self, action: &QueueAction, effect: QueueEffect, now: Timestamp) {
        match (action, effect) {
            (QueueAction::ReadQueues { .. }, QueueEffect::Queues { source, dead_letter }) => {
                self.source = Seen::answer(source);
                self.dead_letter = Seen::answer(dead_letter);
            }
            (QueueAction::ReadFoundKey { key }, QueueEffect::FoundKey(arn)) => drop(self.found_keys.insert(key.clone(), arn)),
            (QueueAction::ReadDeadLetterSources { .. }, QueueEffect::DeadLetterSources(names)) => self.dead_letter_sources = Seen::Present(names),
            (QueueAction::RecordAdoption { record }, _) => self.adoption = Some(record.clone()),
            (QueueAction::RecordDeadLetterUnused, _) => self.dead_letter_unused_since = Some(now),
            (QueueAction::ForgetDeadLetter, _) => {
                (self.dead_letter, self.dead_letter_url, self.dead_letter_unused_since) = (Seen::Absent, None, None);
                self.dead_letter_recorded = false;
            }
            (QueueAction::EnsureKey { .. }, QueueEffect::Key(key)) => self.key = Some(key),
            (QueueAction::CreateQueue { which, attributes, tags, .. }, QueueEffect::Created { url }) => {
                *self.queue_mut(*which) = Seen::Present(QueueState { url, attributes: attributes.clone(), tags: tags.clone() });
                self.created_at = Some(now);
            }
            (QueueAction::SetQueueAttributes { which, attributes, revokes, .. }, _) => {
                if let Seen::Present(queue) = self.queue_mut(*which) {
                    let before = reuse_seconds(&queue.attributes);
                    set(&mut queue.attributes, attributes);
                    let longest = before.max(reuse_seconds(&queue.attributes));
                    if *revokes {
                        self.cached_data_keys_until = self.cached_data_keys_until.max(now.checked_add(longest).ok());
                    }
                }
            }
            (QueueAction::TagQueue { which, tags, .. }, _) => {
                if let Seen::Present(queue) = self.queue_mut(*which) {
                    queue.tags.extend(tags.clone());
                }
            }
            (QueueAction::UntagQueue { which, keys, .. }, _) => {
                if let Seen::Present(queue) = self.queue_mut(*which) {
                    queue.tags.retain(|key, _| !keys.contains(key));
                }
            }
            (QueueAction::DeleteQueue { which, .. }, _) => *self.queue_mut(*which) = Seen::Absent,
            (QueueAction::AddFinalizer, _) => self.finalizer = true,
            (QueueAction::ForgetApplied { tag_keys, dead_letter }, _) => {
                self.applied_sha256 = None;
                self.dead_letter_recorded |= dead_letter.is_some();
                self.applied_tag_keys.clone_from(tag_keys);
            }
            (QueueAction::RecordNextKey { name, grants_sha256 }, _) => {
                let (name, grants_sha256) = (name.clone(), grants_sha256.clone());
                self.next_key = Some(NextKeyRecord { name, grants_sha256, granted_at: now });
            }
            (QueueAction::RecordKeys { current, previous }, _) => {
                if self.current_key.as_ref().is_none_or(|key| key.name != current.name) {
                    self.next_key = None;
                }
                (self.current_key, self.previous_keys) = (Some(current.clone()), previous.clone());
            }
            (QueueAction::SetKeyDeletionPolicy { policy, .. }, _) => {
                if let Some(key) = &mut self.key {
                    key.deletion_policy = *policy;
                }
            }
            (QueueAction::RemoveFinalizer, _) => self.finalizer = false,
            (
                QueueAction::ReadQueues { .. }
                | QueueAction::ReadFoundKey { .. }
                | QueueAction::ReadDeadLetterSources { .. }
                | QueueAction::EnsureKey { .. }
                | QueueAction::CreateQueue { .. }
                | QueueAction::Hold(_),
                _,
            ) => {}
        }
    }
}

impl ObservedQueue {
    /// Notes that the queues are not as they were observed, or that an answer was lost: they are read anew.
    pub fn note_unknown(&mut self) {
        (self.source, self.dead_letter, self.check) = (Seen::NotRead, Seen::NotRead, true);
    }
}

impl ObservedKey {
    /// Notes that the key is not as it was observed, or that an action's answer was lost: what may have been done is looked for before it is done again.
    pub fn note_unknown(&mut self, action: &KeyAction) {
        (self.state, self.check) = (Seen::NotRead, true);
        if let (KeyAction::CreateKey { .. }, Some(nonce)) = (action, &mut self.nonce) {
            nonce.fresh = false;
        }
        (self.by_alias, self.by_tags, self.evidence) = (Seen::NotRead, Seen::NotRead, Seen::NotRead);
        if let KeyAction::RotateKeyOnDemand { .. } = action {
            self.rotation_start_is_fresh = false;
            self.rotations = Seen::NotRead;
        }
    }

    /// Notes what an action did that was begun at `now`.
    pub fn note(&mut self, action: &KeyAction, effect: KeyEffect, now: Timestamp) {
        match effect {
            KeyEffect::Done => self.note_done(action, now),
            KeyEffect::ByAlias(found) => self.by_alias = Seen::answer(found),
            KeyEffect::ByTags(found) => (self.by_tags, self.by_tags_at) = (Seen::Present(found), Some(now)),
            KeyEffect::Evidence(evidence) => self.evidence = Seen::Present(evidence),
            KeyEffect::LastUse(last_use) => self.last_use = Seen::Present(last_use),
            KeyEffect::Nonce(nonce) => {
                self.nonce = Some(nonce);
                self.by_tags = Seen::NotRead;
            }
            KeyEffect::Created(metadata) => self.note_created(action, metadata),
            KeyEffect::Key(state) => self.state = Seen::answer(state.map(|state| *state)),
            KeyEffect::AliasTaken => self.alias_taken = true,
            KeyEffect::Rotations(times) => self.rotations = Seen::Present(times),
            KeyEffect::QueuesUnderKey(queues) => self.queues_under_key = Seen::Present(queues),
        }
    }

    /// A key that was just made is exactly what was asked for: nothing needs to be read.
    fn note_created(&mut self, action: &KeyAction, metadata: KeyMetadata) {
        if let KeyAction::CreateKey { policy, tags, .. } = action {
            let (policy, tags) = (policy.clone(), tags.clone());
            let state = KeyState { metadata, policy, tags, aliases: [].into(), rotation: RotationState::default(), grants: Vec::new() };
            self.state = Seen::Present(state);
        }
        if let Some(nonce) = &mut self.nonce {
            nonce.fresh = false;
        }
    }

    fn note_done(&mut self, action: &KeyAction, now: Timestamp) {
        match action {
            KeyAction::RecordKey { id, arn, nonce, users, approval } => {
                self.note_recorded(id, arn, nonce, users, now);
                self.note_approval(approval.as_ref());
            }
            KeyAction::ForgetApplied { users, tag_keys } => {
                self.applied_sha256 = None;
                self.users.clone_from(users);
                self.applied_tag_keys.clone_from(tag_keys);
            }
            KeyAction::RecordReleased { queues } => self.released_queues.clone_from(queues),
            KeyAction::RecordUsers { users, access_revision, approval } => {
                self.users.clone_from(users);
                self.access_revision = *access_revision;
                self.note_approval(approval.as_ref());
            }
            KeyAction::RecordDeletedPrincipals { deleted, users, access_revision } => {
                self.applied_sha256 = None;
                deleted::remember(&mut self.deleted, deleted);
                self.users.clone_from(users);
                self.access_revision = *access_revision;
            }
            KeyAction::RecordRotationStart { requested_at } => {
                (self.rotation_serving, self.rotation_started) = (Some(*requested_at), Some(now));
                self.rotation_start_is_fresh = true;
            }
            KeyAction::RecordRotationServed { requested_at, rotated } => {
                (self.rotation_serving, self.rotation_served) = (None, Some(*requested_at));
                self.rotations_on_demand += i32::from(*rotated);
            }
            _ => {}
        }
        if let (KeyAction::ScheduleKeyDeletion { id, .. }, Seen::Present(found)) = (action, &mut self.by_tags) {
            found.iter_mut().filter(|key| key.metadata.id == *id).for_each(|key| key.metadata.lifecycle = KeyLifecycle::PendingDeletion);
        }
        let Seen::Present(state) = &mut self.state else { return };
        match action {
            KeyAction::CancelKeyDeletion { .. } => state.metadata.lifecycle = KeyLifecycle::Disabled,
            KeyAction::EnableKey { .. } => state.metadata.lifecycle = KeyLifecycle::Enabled,
            KeyAction::ScheduleKeyDeletion { .. } => {
                state.metadata.lifecycle = KeyLifecycle::PendingDeletion;
                self.scheduled = true;
            }
            KeyAction::PutKeyPolicy { policy, .. } => state.policy.clone_from(policy),
            KeyAction::RevokeGrant { grant, .. } => state.grants.retain(|found| found.id != *grant),
            KeyAction::CreateAlias { alias, .. } | KeyAction::UpdateAlias { alias, .. } => {
                state.aliases.insert(alias.clone());
            }
            KeyAction::EnableKeyRotation { period_days, .. } => {
                state.rotation.enabled = true;
                state.rotation.period_days = Some(*period_days);
                // From the day rotation is enabled (KMS API reference, EnableKeyRotation).
                state.rotation.next_at = now.checked_add(SignedDuration::from_hours(24 * i64::from(*period_days))).ok();
                self.rotation_period_days = Some(*period_days);
            }
            KeyAction::TagKey { tags, .. } => state.tags.extend(tags.clone()),
            KeyAction::UntagKey { keys, .. } => state.tags.retain(|key, _| !keys.contains(key)),
            _ => {}
        }
    }

    fn note_approval(&mut self, approval: Option<&(String, String)>) {
        if let Some((name, _)) = approval {
            self.approval = Some(name.clone());
        }
    }

    fn note_recorded(&mut self, id: &str, arn: &str, nonce: &str, users: &[KeyUser], now: Timestamp) {
        self.key_id = Some(id.to_owned());
        self.arn = Some(arn.to_owned());
        (self.genuine, self.lost) = (true, false);
        self.users = users.to_vec();
        let started_at = self.nonce.as_ref().map_or(now, |nonce| nonce.started_at);
        self.nonce = Some(NonceRecord { nonce: nonce.to_owned(), started_at, fresh: false });
    }
}
