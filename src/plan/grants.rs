//! Which of the declared access a key's policy holds now: all of it, unless it waits for an approval or KMS does not know a principal. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::deleted::NOT_HELD;
use super::observed::ObservedKey;
use crate::api::queue_key::{KeyUser, NamespacedName};
use crate::desired::{DesiredKey, DesiredUser};
use crate::names::{RoleArn, sha256_hex};
use crate::policy::access::{Grant, KeyAccess, Principal, QueueAccess};
use crate::policy::document::Document;
use crate::policy::{key_policy, limits, read_back};

/// Hash that an AccessApproval names: it fits these grants of this queue on this key since its last narrowing, and nothing else.
pub fn approval_sha256(queue_key: &str, access_revision: i64, access: &QueueAccess) -> String {
    let canonical = format!(
        "encryptedqueue.dev/approval/v1\n{queue_key}\n{access_revision}\n{}\n{}\n{}",
        access.queue,
        access.dead_letter_queue.as_ref().map_or("", |arn| arn.as_str()),
        lines(access).into_keys().collect::<Vec<_>>().join("\n")
    );
    sha256_hex(&canonical)
}

/// Access that waits for an approval.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pending {
    /// The queue's object.
    pub object: NamespacedName,
    /// The hash to approve.
    pub sha256: String,
    /// Who would gain what.
    pub gains: Vec<String>,
    /// Who loses what.
    pub losses: Vec<String>,
}

/// What the key's policy should hold now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Held {
    /// The access to render.
    pub access: KeyAccess,
    /// The accepted users with what is held for them.
    pub users: Vec<KeyUser>,
    /// What waits.
    pub pending: Vec<Pending>,
    /// Approvals that let something in that was not there: names and approvers.
    pub approvals: Vec<(String, String)>,
    /// To record before the policy is written, if a recorded grant goes: an approval that came before must not bring it back.
    pub narrowed: Option<Vec<KeyUser>>,
    /// Whether a recorded grant goes.
    pub loses: bool,
    /// Newcomers for whom the key policy has no room: they need another key.
    pub without_room: Vec<NamespacedName>,
}

fn lines(access: &QueueAccess) -> BTreeMap<String, Grant> {
    access.effective_grants().into_iter().map(|grant| (grant.to_string(), grant)).collect()
}

/// Whether a grant is to one of these roles.
pub fn is_to(grant: &Grant, roles: &BTreeSet<RoleArn>) -> bool {
    matches!(&grant.principal, Principal::Role(role) if roles.contains(role))
}

/// Decides what the key's policy should hold.
pub fn held(desired: &DesiredKey, observed: &ObservedKey) -> Held {
    let mut held = Held {
        access: desired.access.clone(),
        users: Vec::new(),
        pending: Vec::new(),
        approvals: Vec::new(),
        narrowed: None,
        loses: false,
        without_room: Vec::new(),
    };
    if observed.key_id.is_some() {
        // An administrator whom KMS does not know must not keep others' access from being taken away; the account's root stays.
        held.access.administrators.retain(|role| !observed.refused.contains(role));
        held.access.break_glass.retain(|role| !observed.refused.contains(role));
    }
    let mut narrowed = observed.users.clone();
    for user in &desired.users {
        let access = user.access.clone().retain(|grant| !is_to(grant, &observed.refused));
        let refused = access.grants.len() < user.access.grants.len();
        if refused && observed.key_id.is_none() {
            // Nothing is made for a queue that cannot be as declared.
            continue;
        }
        let decision = decide(desired, observed, user, &access);
        if let Some(narrower) = &decision.narrowed
            && let Some(recorded) = narrowed.iter_mut().find(|recorded| user.is(recorded))
        {
            *recorded = narrower.clone();
            held.narrowed = Some(Vec::new());
        }
        held.loses |= decision.loses;
        held.pending.extend(decision.pending);
        held.approvals.extend(decision.approval);
        if !decision.access.grants.is_empty() || access.grants.is_empty() {
            held.users.push(user.record(&decision.access));
            held.access.users.push(decision.access);
        }
    }
    if held.narrowed.is_some() {
        held.narrowed = Some(narrowed);
    }
    make_room(&mut held, observed);
    held
}

/// Who comes last goes first, and never someone who is in: a key that is full delays nobody but newcomers.
/// None of these waits for an approval: a newcomer that does is not among the users.
fn make_room(held: &mut Held, observed: &ObservedKey) {
    let longest_id = "encryptedqueue.dev/".len() + 64;
    while held.users.len() > 1 && !limits::check_key(&key_policy::render(&held.access, &"x".repeat(longest_id))).is_empty() {
        let is_new = |user: &KeyUser| !observed.users.iter().any(|known| known.namespace == user.namespace && known.name == user.name);
        let Some(last) = held.users.iter().rposition(is_new) else { return };
        let user = held.users.remove(last);
        held.access.users.remove(last);
        held.without_room.push(NamespacedName { namespace: user.namespace, name: user.name });
    }
}

struct Decision {
    access: QueueAccess,
    pending: Option<Pending>,
    approval: Option<(String, String)>,
    narrowed: Option<KeyUser>,
    loses: bool,
}

fn decide(desired: &DesiredKey, observed: &ObservedKey, user: &DesiredUser, access: &QueueAccess) -> Decision {
    if !user.needs_approval {
        return Decision { access: access.clone(), pending: None, approval: None, narrowed: None, loses: false };
    }
    let wanted = lines(access);
    let applied = applied_lines(observed, user, access, &wanted);
    let gains: Vec<String> = wanted.keys().filter(|line| !applied.contains(*line)).cloned().collect();
    let losses: Vec<String> = applied.iter().filter(|line| !wanted.contains_key(*line)).cloned().collect();
    let sha256 = approval_sha256(&desired.name, observed.access_revision, access);
    let approval = desired.approvals.iter().find(|approval| {
        let fits = approval.grants_sha256 == sha256 && approval.queue.as_ref().is_none_or(|queue| *queue == user.object());
        fits && observed.approval.as_ref() != Some(&approval.name)
    });
    let remaining = access.clone().retain(|grant| applied.contains(&grant.to_string()));
    let narrows = !losses.is_empty();
    let narrowed = narrows.then(|| user.record(&remaining));
    match approval {
        _ if gains.is_empty() => Decision { access: access.clone(), pending: None, approval: None, narrowed, loses: narrows },
        // The whole change is approved as it was planned: it is recorded when it is done.
        Some(approval) => {
            let approval = Some((approval.name.clone(), approval.approved_by.clone()));
            Decision { access: access.clone(), pending: None, approval, narrowed: None, loses: narrows }
        }
        None => Decision {
            access: remaining,
            pending: Some(Pending { object: user.object(), sha256, gains, losses }),
            approval: None,
            narrowed,
            loses: narrows,
        },
    }
}

/// What is recorded as applied. A record of before the tier asked for approvals has a hash only, which tells if it is that of the declared access.
fn applied_lines(observed: &ObservedKey, user: &DesiredUser, access: &QueueAccess, wanted: &BTreeMap<String, Grant>) -> BTreeSet<String> {
    let Some(recorded) = observed.users.iter().find(|recorded| user.is(recorded)) else { return BTreeSet::new() };
    if recorded.approved_grants.is_empty() && recorded.grants_sha256 == access.sha256() {
        return wanted.keys().cloned().collect();
    }
    recorded.approved_grants.iter().cloned().collect()
}

/// Whether the tier has come to ask for approvals since this user's grants were recorded, by their hash alone, and others are declared now.
fn is_known_by_hash(observed: &ObservedKey, user: &DesiredUser) -> bool {
    let nothing = user.access.clone().retain(|_| false).sha256();
    observed.users.iter().filter(|recorded| user.is(recorded)).any(|recorded| {
        let hash = &recorded.grants_sha256;
        user.needs_approval && recorded.approved_grants.is_empty() && ![NOT_HELD.repeat(64), nothing.clone(), user.access.sha256()].contains(hash)
    })
}

/// Whether [`spelt_out`] has anything to do.
pub fn has_known_by_hash(desired: &DesiredKey, observed: &ObservedKey) -> bool {
    desired.users.iter().any(|user| is_known_by_hash(observed, user))
}

/// The record with what users known by hash hold: of what is declared, that which the key's policy says. It was applied when nobody had to approve it.
/// Grants that no key policy shows (observers') wait for an approval like new ones.
pub fn spelt_out(desired: &DesiredKey, observed: &ObservedKey, policy: Option<&Document>) -> Vec<KeyUser> {
    let queues = desired.users.iter().map(|user| (user.access.queue.clone(), user.access.dead_letter_queue.clone())).collect();
    let held = policy.map(|policy| read_back::read_key_policy(policy, &desired.place, &queues).grants).unwrap_or_default();
    let mut users = observed.users.clone();
    for user in desired.users.iter().filter(|user| is_known_by_hash(observed, user)) {
        let held = held.get(&user.access.queue);
        let access = user.access.clone().retain(|grant| held.is_some_and(|held| held.contains(grant)));
        let lines = user.record(&access).approved_grants;
        for recorded in users.iter_mut().filter(|recorded| user.is(recorded)) {
            // With lines beside it the hash stays: it is what the queue's policy was opened for.
            if lines.is_empty() {
                recorded.grants_sha256 = NOT_HELD.repeat(64);
            }
            recorded.approved_grants.clone_from(&lines);
        }
    }
    users
}
