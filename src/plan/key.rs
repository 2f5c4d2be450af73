//! What to do next about a QueueKey that queues use.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::action::{Hold, KeyAction};
use super::creation::plan_creation;
use super::deleted::{self, NOT_HELD};
use super::grants::{Held, has_known_by_hash, held, spelt_out};
use super::lost::{self, Found};
use super::observed::{NonceRecord, ObservedKey};
use super::paused::only_narrowing;
use super::queue::with_keys;
use super::released::{self, with_released};
use super::rotation::plan_rotation_on_demand;
use super::state::{KeyLifecycle, KeyState, Tags};
use crate::api::Reason;
use crate::api::labels::TAG_NONCE;
use crate::api::queue_key::{DeletedPrincipal, KeyUser};
use crate::api::sensitivity_tier::Others;
use crate::desired::{DesiredKey, tag_changes};
use crate::names::{QueueArn, sha256_hex};
use crate::policy::access::{Grant, KeyAccess, QueueAccess};
use crate::policy::document::Document;
use crate::policy::{equivalence, key_policy, read_back};

/// Version of what [`applied_sha256`] covers.
const FORMAT: u32 = 2;
/// Pause between two looks for what AWS tells late.
pub(super) const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(15);
/// What a write to Kubernetes may take, where the window is shorter than in practice.
const SHORTEST: SignedDuration = SignedDuration::from_secs(2);
/// How far the clock of KMS may be behind the operator's.
pub(super) const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(5);

/// How long the tags of a key made just before a crash may take to become visible.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SearchWindow(pub SignedDuration);

impl SearchWindow {
    /// The window has to hold the call as well, and the time that passes before it is sent: of six minutes, 24 seconds.
    pub(super) fn key_is_asked_for_until(self, nonce: &NonceRecord) -> Timestamp {
        nonce.started_at.saturating_add((self.0 / 15).max(SHORTEST)).unwrap_or(Timestamp::MAX)
    }
}

/// Hash of all that a key should be in AWS now.
pub fn applied_sha256(desired: &DesiredKey, observed: &ObservedKey, nonce: &str) -> String {
    let desired = &*with_released(desired, observed);
    hash(desired, &held(desired, observed), observed, nonce)
}

fn hash(desired: &DesiredKey, held: &Held, observed: &ObservedKey, nonce: &str) -> String {
    let policy = key_policy::render(&held.access, &policy_id(nonce)).to_json();
    let kept: Vec<String> = desired.kept.iter().map(|kept| format!("{:?} {:?} {:?}", kept.object, kept.queue, kept.rules)).collect();
    // The key as well: a record that somebody edited is compared with AWS.
    let key = (&observed.key_id, &observed.arn);
    let canonical = serde_json::json!([FORMAT, key, desired.alias, desired.tags, policy, kept, desired.rotation_period_days]);
    sha256_hex(&canonical.to_string())
}

pub(super) fn policy_id(nonce: &str) -> String {
    format!("encryptedqueue.dev/{nonce}")
}

/// Decides what to do next; empty: everything is as declared.
pub fn plan_key(desired: &DesiredKey, observed: &ObservedKey, window: SearchWindow, now: Timestamp) -> Vec<KeyAction> {
    let held = held(desired, observed);
    let (Some(id), Some(nonce)) = (&observed.key_id, &observed.nonce) else {
        let creation = plan_creation(desired, &held, observed, window, now);
        let begins = matches!(creation.as_slice(), [KeyAction::RecordNonce | KeyAction::CreateKey { .. }]);
        // Nothing is made before someone may use it.
        return if begins && held.users.is_empty() {
            vec![awaiting_approval(desired, &held, &observed.deleted).unwrap_or_else(nobody_accepted)]
        } else {
            creation
        };
    };
    if let Some(record) = deleted::plan_record(desired, observed) {
        return vec![record];
    }
    if let Some(queues) = released::to_record(desired, observed) {
        return vec![KeyAction::RecordReleased { queues }];
    }
    let desired = &*with_released(desired, observed);
    if has_known_by_hash(desired, observed) {
        return spell_out(desired, &held, observed, window, now);
    }
    if let Some(users) = &held.narrowed {
        return vec![KeyAction::RecordUsers { users: users.clone(), access_revision: observed.access_revision + 1, approval: None }];
    }
    let is_applied = |recorded: &String| *recorded == hash(desired, &held, observed, &nonce.nonce);
    let recorded = !observed.check && observed.genuine && !observed.lost && observed.applied_sha256.as_ref().is_some_and(is_applied);
    if recorded && same_users(&users_after(desired, &held, &observed.users), &observed.users) {
        return last(desired, &held, observed, id, window, now);
    }
    match lost::find(desired, &held, observed, window, now) {
        Found::Not(actions) => actions,
        Found::Key(state) => {
            let changes = plan_changes(desired, &held, observed, state, &nonce.nonce);
            let changes = if desired.is_paused() { only_narrowing(desired, state, changes) } else { changes };
            let changes = if changes.is_empty() { last(desired, &held, observed, id, window, now) } else { changes };
            forget_first(changes, desired, &held, observed, state)
        }
    }
}

/// Before anything is decided by a record that has hashes where grants are needed, the key says which they are.
fn spell_out(desired: &DesiredKey, held: &Held, observed: &ObservedKey, window: SearchWindow, now: Timestamp) -> Vec<KeyAction> {
    match lost::find(desired, held, observed, window, now) {
        Found::Not(actions) => actions,
        Found::Key(state) => {
            let users = spelt_out(desired, observed, Document::parse(&state.policy).ok().as_ref());
            vec![KeyAction::RecordUsers { users, access_revision: observed.access_revision, approval: None }]
        }
    }
}

/// No key is made for queues that are refused or paused.
fn nobody_accepted() -> KeyAction {
    KeyAction::Hold(Hold::new(Reason::Pending, "none of the queues that use the key is accepted; it is made once one is"))
}

/// What comes once the key is as it can be: rotation on demand, and what someone is waited for.
fn last(desired: &DesiredKey, held: &Held, observed: &ObservedKey, id: &str, window: SearchWindow, now: Timestamp) -> Vec<KeyAction> {
    let rotation = plan_rotation_on_demand(desired, observed, id, window, now);
    if !rotation.is_empty() {
        return rotation;
    }
    full(held).or_else(|| awaiting_approval(desired, held, &observed.deleted)).into_iter().collect()
}

fn full(held: &Held) -> Option<KeyAction> {
    let names = held.without_room.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let message = format!("the key policy has no room for {names}: another key is made for them");
    (!names.is_empty()).then(|| KeyAction::Hold(Hold::new(Reason::KeyFull, message)))
}

fn awaiting_approval(desired: &DesiredKey, held: &Held, deleted: &[DeletedPrincipal]) -> Option<KeyAction> {
    let first = held.pending.first()?;
    let (name, more) = (&desired.name, held.pending.len() - 1);
    let others = if more > 0 { format!(" (and {more} more queues)") } else { String::new() };
    let gains = |role: &String| first.gains.iter().any(|line| deleted::is_of(line, role));
    let made_again: Vec<_> = deleted.iter().filter(|deleted| deleted.roles.iter().any(gains)).collect();
    let why = if made_again.is_empty() { String::new() } else { format!(" ({})", deleted::said(None, made_again)) };
    let message = format!(
        "access of {} waits for an approval{others}: {}{why}; a security officer runs `encrypted-queue approve {name}`",
        first.object,
        first.gains.join(", ")
    );
    Some(KeyAction::Hold(Hold::new(Reason::AwaitingApproval, message)))
}

/// The policy the key should have: the accepted users' grants, and what the kept users have today, less what the rules no longer admit.
pub(super) fn policy_for(desired: &DesiredKey, held: &Held, state: &KeyState, nonce: &str) -> Document {
    let mut access = held.access.clone();
    if !desired.kept.is_empty() {
        add_kept(&mut access, desired, state);
    }
    key_policy::render(&access, &policy_id(nonce))
}

fn add_kept(access: &mut KeyAccess, desired: &DesiredKey, state: &KeyState) {
    let mut held = held_by_kept(desired, state);
    for (kept, (queue, dead_letter_queue)) in desired.kept.iter().filter_map(|kept| Some((kept, kept.queue.as_ref()?))) {
        let grants = held.remove(queue).unwrap_or_default().into_iter();
        let admitted = grants.filter(|grant| kept.admits(grant));
        access.users.push(QueueAccess {
            queue: queue.clone(),
            dead_letter_queue: dead_letter_queue.clone(),
            grants: admitted.map(|grant| (grant, String::new())).collect(),
            others: Others::Deny,
            suspended: access.suspended,
        });
    }
    access.users.sort_by(|a, b| a.queue.cmp(&b.queue));
}

/// What the kept users have today, by queue.
fn held_by_kept(desired: &DesiredKey, state: &KeyState) -> BTreeMap<QueueArn, BTreeSet<Grant>> {
    let Ok(policy) = Document::parse(&state.policy) else { return BTreeMap::new() };
    let queues = desired.kept.iter().filter_map(|kept| kept.queue.clone()).collect();
    read_back::read_key_policy(&policy, &desired.place, &queues).grants
}

/// Whether the policy allows something through a queue that no user has on record.
fn has_unknown(desired: &DesiredKey, state: &KeyState) -> bool {
    let Ok(policy) = Document::parse(&state.policy) else { return true };
    !read_back::read_key_policy(&policy, &desired.place, &desired.queues()).foreign.is_empty()
}

fn plan_changes(desired: &DesiredKey, held: &Held, observed: &ObservedKey, state: &KeyState, nonce: &str) -> Vec<KeyAction> {
    let id = &state.metadata.id;
    // A key that is wanted is brought back, never replaced; its policy is put right before anyone can use it.
    let back = match &state.metadata.lifecycle {
        KeyLifecycle::Enabled => None,
        KeyLifecycle::PendingDeletion => Some(KeyAction::CancelKeyDeletion { id: id.clone() }),
        KeyLifecycle::Disabled => Some(KeyAction::EnableKey { id: id.clone() }),
        KeyLifecycle::Other(name) => return vec![KeyAction::Hold(Hold::new(Reason::KeyUnusable, format!("key {id} is in state {name}")))],
    };
    let mut actions = Vec::new();
    let policy = policy_for(desired, held, state, nonce);
    let mut recorded = observed.users.clone();
    if !Document::parse(&state.policy).is_ok_and(|found| equivalence::equivalent(&found, &policy)) {
        actions.push(KeyAction::PutKeyPolicy { id: id.clone(), policy: policy.to_json() });
        recorded = still_held(desired, held, observed, state);
    }
    let users = users_after(desired, held, &recorded);
    if !same_users(&users, &recorded) {
        let access_revision = observed.access_revision + i64::from(held.loses);
        actions.push(KeyAction::RecordUsers { users, access_revision, approval: held.approvals.first().cloned() });
        actions.extend(mark_approvals(held));
    }
    if let Some(back) = back {
        actions.push(back);
        return actions;
    }
    actions.extend(state.grants.iter().map(|grant| KeyAction::RevokeGrant {
        id: id.clone(),
        grant: grant.id.clone(),
        grantee: grant.grantee.clone(),
    }));
    // Of a key whose users are all paused or refused nothing else is touched.
    if !desired.users.is_empty() {
        actions.extend(plan_rest(desired, observed, state, nonce));
    }
    actions
}

/// What status records as applied is true or absent at every moment: the hash, the users whose grants the policy holds, the tags.
fn forget_first(mut actions: Vec<KeyAction>, desired: &DesiredKey, held: &Held, observed: &ObservedKey, state: &KeyState) -> Vec<KeyAction> {
    let puts_policy = actions.iter().any(|action| matches!(action, KeyAction::PutKeyPolicy { .. }));
    let users = if puts_policy { still_held(desired, held, observed, state) } else { observed.users.clone() };
    let written = actions.iter().filter_map(|action| if let KeyAction::TagKey { tags, .. } = action { Some(tags) } else { None });
    let tag_keys = with_keys(&observed.applied_tag_keys, written);
    let is_true = observed.applied_sha256.is_none() && users == observed.users && tag_keys == observed.applied_tag_keys;
    if !is_true && actions.iter().any(KeyAction::writes_aws) {
        actions.insert(0, KeyAction::ForgetApplied { users, tag_keys });
    }
    actions
}

fn plan_rest(desired: &DesiredKey, observed: &ObservedKey, state: &KeyState, nonce: &str) -> Vec<KeyAction> {
    let id = &state.metadata.id;
    let mut actions = Vec::new();
    if !state.aliases.contains(&desired.alias) {
        actions.push(point_alias(desired, observed, id));
    }
    if let Some(period_days) = desired.rotation_period_days {
        // Where the endpoint does not report the period, what was last applied counts.
        let period = state.rotation.period_days.or(observed.rotation_period_days);
        if !state.rotation.enabled || period != Some(period_days) {
            actions.push(KeyAction::EnableKeyRotation { id: id.clone(), period_days });
        }
    }
    let mut wanted: Tags = desired.tags.clone();
    wanted.insert(TAG_NONCE.to_owned(), nonce.to_owned());
    let (tags, keys) = tag_changes(&wanted, &state.tags, &observed.applied_tag_keys);
    if !tags.is_empty() {
        actions.push(KeyAction::TagKey { id: id.clone(), tags });
    }
    if !keys.is_empty() {
        actions.push(KeyAction::UntagKey { id: id.clone(), keys });
    }
    actions
}

/// Gives the key its alias; one that points elsewhere is pointed at it.
pub(super) fn point_alias(desired: &DesiredKey, observed: &ObservedKey, id: &str) -> KeyAction {
    let (alias, id) = (desired.alias.clone(), id.to_owned());
    if observed.alias_taken { KeyAction::UpdateAlias { alias, id } } else { KeyAction::CreateAlias { alias, id } }
}

pub(super) fn mark_approvals(held: &Held) -> impl Iterator<Item = KeyAction> {
    held.approvals.iter().map(|(name, _)| KeyAction::MarkApproval { name: name.clone() })
}

/// The users whose grants the policy holds once it is written: the accepted ones, and the kept ones as they were recorded.
pub(super) fn users_after(desired: &DesiredKey, held: &Held, recorded: &[KeyUser]) -> Vec<KeyUser> {
    let is_kept = |user: &&KeyUser| desired.kept.iter().any(|kept| kept.is(user));
    let mut users: Vec<KeyUser> = held.users.iter().chain(recorded.iter().filter(is_kept)).cloned().collect();
    users.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    users
}

/// The users on record whose grants the policy holds now and after it is written anew. Where approvals are asked for, what was approved stays on record.
fn still_held(desired: &DesiredKey, held: &Held, observed: &ObservedKey, state: &KeyState) -> Vec<KeyUser> {
    let after = users_after(desired, held, &observed.users);
    let held_by_kept = held_by_kept(desired, state);
    let has_unknown = LazyCell::new(|| has_unknown(desired, state));
    let narrowed = |user: &KeyUser| {
        desired.kept.iter().filter(|kept| kept.is(user)).any(|kept| {
            let grants = kept.queue.as_ref().and_then(|(queue, _)| held_by_kept.get(queue));
            // What is removed may be of a dead-letter queue that is on record no more, and covered by the recorded hash.
            let may_lose_dead_letters = || kept.queue.as_ref().is_some_and(|(_, dead_letter)| dead_letter.is_none()) && *has_unknown;
            grants.is_none_or(|grants| grants.iter().any(|grant| !kept.admits(grant))) || may_lose_dead_letters()
        })
    };
    let stays = |user: &KeyUser| {
        if after.contains(user) && !narrowed(user) {
            return Some(user.clone());
        }
        let needs_approval = desired.users.iter().any(|declared| declared.needs_approval && declared.is(user));
        needs_approval.then(|| KeyUser { grants_sha256: NOT_HELD.repeat(64), ..user.clone() })
    };
    observed.users.iter().filter_map(stays).collect()
}

fn same_users(wanted: &[KeyUser], recorded: &[KeyUser]) -> bool {
    wanted.len() == recorded.len() && wanted.iter().all(|user| recorded.contains(user))
}
