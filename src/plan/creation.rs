//! Making a key once, although KMS knows no idempotency token: nonce → `CreateKey` → record; after a crash, search. Pure.

use jiff::Timestamp;

use super::action::{Hold, KeyAction};
use super::extra;
use super::grants::Held;
use super::key::{CLOCK_SKEW, LOOK_AGAIN, SearchWindow, mark_approvals, policy_for, policy_id, users_after};
use super::observed::{FoundKey, NonceRecord, ObservedKey, Seen};
use super::state::{KeyLifecycle, KeyState, Tags};
use crate::api::Reason;
use crate::api::labels::{TAG_CLUSTER, TAG_NONCE, TAG_OBJECT, TAG_TENANT};
use crate::desired::{DesiredKey, owner_tags_match};
use crate::policy::document::Document;
use crate::policy::{equivalence, key_policy};

/// Until the key's id is recorded: look for an earlier key, write a nonce, make the key once, write which it is.
pub(super) fn plan_creation(desired: &DesiredKey, held: &Held, observed: &ObservedKey, window: SearchWindow, now: Timestamp) -> Vec<KeyAction> {
    match (&observed.nonce, &observed.by_alias) {
        // Made by this pass, or found: write it down before anything else.
        _ if observed.state.present().is_some() => record(desired, held, observed),
        _ if observed.state == Seen::Absent => {
            // KMS tells of a new key late.
            vec![KeyAction::Hold(Hold::until(Reason::SearchingForKey, "KMS lists a key that it does not show yet", now + LOOK_AGAIN))]
        }
        (None, Seen::NotRead) => vec![KeyAction::FindByAlias { alias: desired.alias.clone() }],
        (None, Seen::Present(found)) => take_back(desired, found),
        (None, Seen::Absent) => vec![KeyAction::RecordNonce],
        (Some(nonce), _) if nonce.fresh && now <= window.key_is_asked_for_until(nonce) => vec![create(desired, held, &nonce.nonce)],
        // Nothing was made with it, and a search counts from when it was written.
        (Some(nonce), _) if nonce.fresh => vec![KeyAction::RecordNonce],
        (Some(nonce), _) => search(desired, observed, nonce, window, now),
    }
}

pub(super) fn record(desired: &DesiredKey, held: &Held, observed: &ObservedKey) -> Vec<KeyAction> {
    let (Some(state), nonce) = (observed.state.present(), observed.nonce.as_ref()) else { return Vec::new() };
    if observed.key_id.is_none() && nonce.is_some_and(|nonce| !bears_marks(state, nonce)) {
        return ambiguous([&state.metadata.id]);
    }
    let nonce = state.tags.get(TAG_NONCE).cloned().or_else(|| nonce.map(|n| n.nonce.clone())).unwrap_or_default();
    let holds = Document::parse(&state.policy).is_ok_and(|policy| equivalence::equivalent(&policy, &policy_for(desired, held, state, &nonce)));
    let users = if holds { users_after(desired, held, &observed.users) } else { Vec::new() };
    let approval = held.approvals.first().filter(|_| holds).cloned();
    let mut actions = vec![KeyAction::RecordKey { id: state.metadata.id.clone(), arn: state.metadata.arn.clone(), nonce, users, approval }];
    actions.extend(mark_approvals(held).filter(|_| holds));
    actions
}

/// A key that can be used, or could be.
pub(super) fn is_alive(key: &FoundKey) -> bool {
    key.metadata.lifecycle != KeyLifecycle::PendingDeletion
}

/// As much as a search sees of the marks that a key made with this nonce bears.
pub(super) fn shows_marks(key: &FoundKey, nonce: &NonceRecord) -> bool {
    let is_younger = key.metadata.created_at.is_none_or(|created| created + CLOCK_SKEW >= nonce.started_at);
    key.tags.get(TAG_NONCE) == Some(&nonce.nonce) && key.metadata.description.contains(&nonce.nonce) && is_younger
}

/// The nonce that tag, description and policy id agree upon: nobody but an operator makes such a key by mistake.
pub(super) fn nonce_of(state: &KeyState) -> Option<&String> {
    let nonce = state.tags.get(TAG_NONCE)?;
    let policy_fits = Document::parse(&state.policy).is_ok_and(|policy| policy.id == Some(policy_id(nonce)));
    (state.metadata.description.contains(nonce.as_str()) && policy_fits).then_some(nonce)
}

/// Tags alone can be forged: a key is this object's when nonce, description, policy id and age agree as well.
fn bears_marks(state: &KeyState, nonce: &NonceRecord) -> bool {
    let found = FoundKey { metadata: state.metadata.clone(), tags: state.tags.clone() };
    shows_marks(&found, nonce) && nonce_of(state) == Some(&nonce.nonce)
}

fn take_back(desired: &DesiredKey, found: &FoundKey) -> Vec<KeyAction> {
    if owner_tags_match(&found.tags, &desired.tags) {
        return vec![KeyAction::ReadKey { id: found.metadata.id.clone() }];
    }
    let owner = said_owner(&found.tags);
    let message = format!("alias {} points at key {}, which {owner}; delete the alias if nothing needs it", desired.alias, found.metadata.id);
    vec![KeyAction::Hold(Hold::new(Reason::KeyConflict, message))]
}

pub(super) fn said_owner(tags: &Tags) -> String {
    match (tags.get(TAG_OBJECT), tags.get(TAG_CLUSTER)) {
        (Some(object), Some(cluster)) => format!("belongs to {object} of cluster {cluster}"),
        _ => "is not managed by this operator".to_owned(),
    }
}

fn create(desired: &DesiredKey, held: &Held, nonce: &str) -> KeyAction {
    let mut tags = desired.tags.clone();
    tags.insert(TAG_NONCE.to_owned(), nonce.to_owned());
    KeyAction::CreateKey {
        policy: key_policy::render(&held.access, &policy_id(nonce)).to_json(),
        tags,
        description: format!("{} ({nonce})", desired.description),
    }
}

/// A nonce without a key: a crash lies in between, and a key may exist. Its tags are looked for until they must be visible.
fn search(desired: &DesiredKey, observed: &ObservedKey, nonce: &NonceRecord, window: SearchWindow, now: Timestamp) -> Vec<KeyAction> {
    let Seen::Present(found) = &observed.by_tags else { return vec![find(desired)] };
    let candidates: Vec<&FoundKey> = found.iter().filter(|key| owner_tags_match(&key.tags, &desired.tags) && is_alive(key)).collect();
    match candidates[..] {
        [] => {
            let until = nonce.started_at + window.0;
            if now < until {
                let message = format!("a key may have been made just before a restart; its tags are looked for until {until}");
                // Looked for again now and then, so that a key that shows early is not waited for.
                let again = (now + LOOK_AGAIN).min(until);
                return vec![KeyAction::Hold(Hold::until(Reason::SearchingForKey, message, again))];
            }
            // A search may take long: only one that began once the tags had to be visible shows that there is no key.
            if observed.by_tags_at.is_none_or(|at| at < until) {
                return vec![find(desired)];
            }
            vec![KeyAction::RecordNonce]
        }
        [key] if shows_marks(key, nonce) => vec![KeyAction::ReadKey { id: key.metadata.id.clone() }],
        [key] => ambiguous([&key.metadata.id]),
        _ => extra::plan(desired, observed, &candidates, nonce),
    }
}

/// By cluster, object and tenant, whatever the nonce: an earlier attempt's key counts too.
pub(super) fn find(desired: &DesiredKey) -> KeyAction {
    let owner = |key: &&str| desired.tags.get(*key).map(|value| ((*key).to_owned(), value.clone()));
    KeyAction::FindByTags { tags: [TAG_CLUSTER, TAG_OBJECT, TAG_TENANT].iter().filter_map(owner).collect() }
}

/// A person must tell which of these keys it is.
pub(super) fn ambiguous<'a>(ids: impl IntoIterator<Item = &'a String>) -> Vec<KeyAction> {
    let ids = ids.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let message = format!("keys {ids} carry this object's tags but not all of its marks; remove the tags from those that are not its key");
    vec![KeyAction::Hold(Hold::new(Reason::AmbiguousOwnership, message))]
}
