//! Principals that were deleted: AWS shows their unique ids in policies (`AROA…`, `AIDA…`). Their access ended with them, and a role made again under the
//! name is another principal. Pure.
//!
//! An id never comes back, so that a key's status can say which ones are known: one that is not is put on record, together with an end to the grants of the
//! roles it may have stood for and a new access revision, before any policy is written. From then on these grants are gains like any other.

use std::collections::{BTreeMap, BTreeSet};

use super::action::{Hold, KeyAction};
use super::observed::{ObservedKey, ObservedKeyObject, ObservedQueue};
use super::queue::side;
use crate::api::Reason;
use crate::api::queue_key::{DeletedPrincipal, KeyUser};
use crate::desired::{DesiredKey, DesiredQueue, DesiredUser, POLICY, owner_tags_match};
use crate::names::RoleArn;
use crate::policy::access::{Capability, Grant, Principal, QueueAccess};
use crate::policy::document::Document;
use crate::policy::key_policy::Administration;
use crate::policy::queue_policy::QueueKind;
use crate::policy::read_back;

/// As many ids as status remembers.
const MOST: usize = 64;
/// Digit of a hash that no grants have.
pub(super) const NOT_HELD: &str = "0";

/// Puts ids on record that the key's policy shows, or that its queues report.
pub(super) fn plan_record(desired: &DesiredKey, observed: &ObservedKey) -> Option<KeyAction> {
    let is_new = |deleted: &DeletedPrincipal| !observed.deleted.iter().any(|known| known.id == deleted.id);
    let mut new: Vec<DeletedPrincipal> = Vec::new();
    for deleted in shown_by_key(desired, observed).into_iter().chain(desired.reported.iter().cloned()).filter(is_new) {
        match new.iter_mut().find(|known| known.id == deleted.id) {
            Some(known) => known.roles.extend(deleted.roles),
            None => new.push(deleted),
        }
    }
    let roles: BTreeSet<RoleArn> = new.iter().flat_map(|deleted| &deleted.roles).filter_map(|arn| RoleArn::parse(arn).ok()).collect();
    let users = observed.users.iter().map(|user| without(desired, user, &roles)).collect();
    new.truncate(MOST);
    (!new.is_empty()).then(|| KeyAction::RecordDeletedPrincipals { deleted: new, users, access_revision: observed.access_revision + 1 })
}

/// Adds to what is remembered; the oldest are forgotten.
pub(super) fn remember(known: &mut Vec<DeletedPrincipal>, new: &[DeletedPrincipal]) {
    known.extend_from_slice(new);
    known.drain(..known.len().saturating_sub(MOST));
}

/// Whether a line of status is about what a role may do: `ARN may receive`.
pub fn is_of(line: &str, role: &str) -> bool {
    line.strip_prefix(role).is_some_and(|rest| rest.starts_with(" may "))
}

/// The record of a user less what these roles had.
fn without(desired: &DesiredKey, user: &KeyUser, roles: &BTreeSet<RoleArn>) -> KeyUser {
    let is_theirs = |line: &String| roles.iter().any(|role| is_of(line, role.as_str()));
    let declared = desired.users.iter().find(|declared| declared.is(user));
    let declares_them = declared.is_some_and(|declared| declared.access.grants.keys().any(|grant| super::grants::is_to(grant, roles)));
    if !declares_them && !user.approved_grants.iter().any(is_theirs) {
        return user.clone();
    }
    let approved_grants = user.approved_grants.iter().filter(|line| !is_theirs(line)).cloned().collect();
    KeyUser { grants_sha256: NOT_HELD.repeat(64), approved_grants, ..user.clone() }
}

/// The policy, if it names a principal that was deleted. Most texts tell at a glance that they do not: ids begin so, unless letters are escaped.
fn with_deleted(policy: &str) -> Option<Document> {
    let may = ["AROA", "AIDA", "\\"].iter().any(|sign| policy.contains(sign));
    may.then(|| Document::parse(policy).ok())?.filter(Document::names_deleted_principals)
}

/// Ids in the key's policy, with the roles that are on record and not to be seen there.
fn shown_by_key(desired: &DesiredKey, observed: &ObservedKey) -> Vec<DeletedPrincipal> {
    let state = observed.state.present().filter(|state| owner_tags_match(&state.tags, &desired.tags));
    let Some(policy) = state.and_then(|state| with_deleted(&state.policy)) else { return Vec::new() };
    let read = read_back::read_key_policy(&policy, &desired.place, &desired.queues());
    if read.deleted_principals.is_empty() {
        return Vec::new();
    }
    let mut roles = BTreeSet::new();
    for user in &desired.users {
        let held = read.grants.get(&user.access.queue).cloned().unwrap_or_default();
        let is_on_record = |grant: &Grant| observed.users.iter().any(|recorded| user.is(recorded) && records(recorded, user, grant));
        let missing = user.access.effective_grants().into_iter().filter(|grant| grant.capability != Capability::Observe && !held.contains(grant));
        roles.extend(roles_of(missing.filter(is_on_record)));
    }
    let access = &desired.access;
    for (kind, administrators) in [(Administration::KeyAdministrators, &access.administrators), (Administration::BreakGlass, &access.break_glass)] {
        let shown = read.administration.get(&kind);
        roles.extend(administrators.iter().filter(|role| !shown.is_some_and(|shown| shown.contains(role.as_str()))).cloned());
    }
    named(read.deleted_principals, &roles)
}

/// Whether a grant was applied: where approvals are asked for each is on record, elsewhere their hash.
fn records(recorded: &KeyUser, user: &DesiredUser, grant: &Grant) -> bool {
    recorded.approved_grants.contains(&grant.to_string()) || (recorded.approved_grants.is_empty() && recorded.grants_sha256 == user.access.sha256())
}

fn roles_of(grants: impl Iterator<Item = Grant>) -> impl Iterator<Item = RoleArn> {
    grants.filter_map(|grant| if let Principal::Role(role) = grant.principal { Some(role) } else { None })
}

fn named(ids: BTreeSet<String>, roles: &BTreeSet<RoleArn>) -> Vec<DeletedPrincipal> {
    let roles: Vec<String> = roles.iter().map(ToString::to_string).collect();
    ids.into_iter().map(|id| DeletedPrincipal { id, roles: roles.clone() }).collect()
}

/// Ids in the policies of a queue and its dead-letter queue, with the declared roles that are not to be seen there.
pub fn shown_by_queue(desired: &DesiredQueue, observed: &ObservedQueue) -> Vec<DeletedPrincipal> {
    let mut shown: BTreeMap<String, BTreeSet<RoleArn>> = BTreeMap::new();
    for which in [QueueKind::Source, QueueKind::DeadLetter] {
        let (Some(side), Some(found)) = (side(desired, which), observed.queue(which).present()) else { continue };
        let text = found.attributes.get(POLICY).filter(|_| owner_tags_match(&found.tags, &desired.tags));
        let Some(policy) = text.and_then(|text| with_deleted(text)) else { continue };
        let read = read_back::read_queue_policy(&policy, which, &side.arn, &desired.place);
        let declared = super::queue::policy_of(&desired.access, desired, which)
            .map(|policy| read_back::read_queue_policy(&policy, which, &side.arn, &desired.place).grants);
        let missing: BTreeSet<RoleArn> = roles_of(declared.unwrap_or_default().difference(&read.grants).cloned()).collect();
        for id in read.deleted_principals {
            shown.entry(id).or_default().extend(missing.iter().cloned());
        }
    }
    shown.into_iter().flat_map(|(id, roles)| named(BTreeSet::from([id]), &roles)).collect()
}

/// Of these ids and those reported before, the ones that the key has not put on record: until it has, nothing is put back.
pub fn not_on_record(desired: &DesiredQueue, observed: &ObservedQueue) -> Vec<DeletedPrincipal> {
    let known = |id: &str| observed.key.iter().flat_map(|key| &key.deleted).any(|known| known.id == id);
    let mut reported: Vec<DeletedPrincipal> = observed.deleted.clone();
    for shown in shown_by_queue(desired, observed) {
        if !reported.iter().any(|known| known.id == shown.id) {
            reported.push(shown);
        }
    }
    reported.retain(|deleted| !known(&deleted.id));
    reported.truncate(MOST);
    reported
}

/// What a queue waits for until its key has these ids on record.
pub(super) fn hold_until_recorded(desired: &DesiredQueue, deleted: &[DeletedPrincipal]) -> Hold {
    let said = said(Some(&desired.access), deleted);
    Hold::new(Reason::PrincipalDeleted, format!("{said}; QueueKey {} ends its access first", desired.key_name))
}

/// Ids that the key has on record, of roles among these.
pub(super) fn of_roles<'a>(deleted: &'a [DeletedPrincipal], roles: &BTreeSet<RoleArn>) -> Vec<&'a DeletedPrincipal> {
    deleted.iter().filter(|deleted| roles.iter().any(|role| deleted.roles.iter().any(|arn| arn == role.as_str()))).collect()
}

/// Roles that were deleted and wait for an approval.
pub(super) fn awaiting_approval(key: &ObservedKeyObject, desired: &DesiredQueue) -> BTreeSet<RoleArn> {
    let Some(gains) = &key.awaits_approval else { return BTreeSet::new() };
    let deleted = |role: &RoleArn| key.deleted.iter().any(|deleted| deleted.roles.iter().any(|arn| arn == role.as_str()));
    let gained = desired.access.grants.keys().filter(|grant| gains.contains(&grant.to_string())).cloned();
    roles_of(gained).filter(deleted).collect()
}

/// For people: which roles were deleted, by which field, and what AWS shows.
pub fn said<'a>(access: Option<&QueueAccess>, deleted: impl IntoIterator<Item = &'a DeletedPrincipal>) -> String {
    let deleted: Vec<_> = deleted.into_iter().collect();
    let ids = deleted.iter().map(|deleted| deleted.id.as_str()).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ");
    let roles: BTreeSet<RoleArn> = deleted.iter().flat_map(|deleted| &deleted.roles).filter_map(|arn| RoleArn::parse(arn).ok()).collect();
    let declared = access.into_iter().flat_map(|access| &access.grants).filter(|(grant, _)| super::grants::is_to(grant, &roles));
    let fields: BTreeSet<&str> = declared.map(|(_, field)| field.as_str()).collect();
    let fields = if fields.is_empty() { String::new() } else { format!("{}: ", fields.into_iter().collect::<Vec<_>>().join(", ")) };
    let who = match roles.len() {
        0 => "a principal that this policy named".to_owned(),
        1 => format!("role {}", roles.iter().map(RoleArn::as_str).collect::<String>()),
        _ => format!("one or more of the roles {}", roles.iter().map(RoleArn::as_str).collect::<Vec<_>>().join(", ")),
    };
    format!("{fields}{who} was deleted: AWS shows {ids} in its place")
}
