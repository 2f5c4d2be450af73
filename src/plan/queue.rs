//! What to do next about an EncryptedQueue.

use std::borrow::Cow;
use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::action::{Hold, QueueAction, QueueLocator};
use super::adoption;
use super::dead_letter;
use super::deleted;
use super::grants::is_to;
use super::migration::{self, Stage};
use super::observed::{ObservedKeyObject, ObservedQueue, Seen};
use super::record::is_url_of;
use super::state::{Attributes, QueueState, Tags};
use super::stripped;
use super::teardown::ends_otherwise;
use crate::api::Reason;
use crate::api::reasons::Class;
use crate::desired::{DesiredQueue, POLICY, QueueSide, owner_tags_match, tag_changes};
use crate::names::{Place, QueueArn, RoleArn, sha256_hex};
use crate::policy::access::QueueAccess;
use crate::policy::document::Document;
use crate::policy::queue_policy::QueueKind;
use crate::policy::{equivalence, queue_policy, read_back};

/// AWS asks for at least one second between `CreateQueue` and the queue's use (SQS API reference, CreateQueue).
const SETTLE: SignedDuration = SignedDuration::from_secs(1);
/// Version of what [`applied_sha256`] covers; raised when the rendering changes, so that an upgrade compares every object once.
const FORMAT: u32 = 1;
/// Holds the key's ARN.
pub(super) const KMS_KEY: &str = "KmsMasterKeyId";
pub(super) const REDRIVE: &str = "RedrivePolicy";

/// Hash of all that a queue should be in AWS under this key.
pub fn applied_sha256(desired: &DesiredQueue, key_arn: &str) -> String {
    let sides = [QueueKind::Source, QueueKind::DeadLetter]
        .map(|which| side(desired, which).map(|s| (s.arn.as_str(), all_attributes(desired, &desired.access, which, key_arn))));
    sha256_hex(&serde_json::json!([FORMAT, sides, desired.tags]).to_string())
}

/// Decides what to do next; empty: everything is as declared.
pub fn plan_queue(declared: &DesiredQueue, observed: &ObservedQueue, now: Timestamp) -> Vec<QueueAction> {
    let desired = &*adoption::with_found_settings(declared, observed);
    // Nothing is made, not even a key, for a queue that is somebody else's.
    if observed.key.is_none() && observed.source_url.is_none() {
        if not_read(desired, observed) {
            return vec![read(desired, observed)];
        }
        if let Some(obstacle) = adoption::obstacle(declared, observed) {
            return vec![obstacle];
        }
    }
    let prepare = prepare(desired, observed);
    if !prepare.is_empty() {
        return prepare;
    }
    let key = observed.key.as_ref();
    let Some(key_arn) = key.and_then(|key| key.arn.as_deref()) else { return vec![waiting_for_key(desired, observed)] };
    let usable = usable(desired, observed);
    let (desired, granted) = (&usable.desired, usable.granted);
    let is_settled =
        !observed.check && desired.dead_letter_end.is_none() && observed.leaves(desired).is_none() && records_its_queues(desired, observed);
    if granted && is_settled && observed.applied_sha256.as_ref().is_some_and(|recorded| *recorded == applied_sha256(desired, key_arn)) {
        return upkeep(declared, observed, now).map_or_else(|| settle(observed, now), |action| vec![action]);
    }
    if not_read(desired, observed) {
        return vec![read(desired, observed)];
    }
    let retag = stripped::retag(&desired.tags, observed);
    if !retag.is_empty() {
        return forget_first(retag, None, observed);
    }
    if let Some(record) = migration::found_again(&adoption::with_found_settings(declared, observed), observed, now) {
        return vec![record];
    }
    if let Some(obstacle) = adoption::obstacle(declared, observed) {
        return vec![obstacle];
    }
    let not_on_record = deleted::not_on_record(desired, observed);
    if !not_on_record.is_empty() {
        return vec![QueueAction::Hold(deleted::hold_until_recorded(desired, &not_on_record))];
    }
    if !granted && observed.is_adopted(desired) {
        return vec![waiting_for_key(desired, observed)];
    }
    if let Some(claims) = adoption::prepare(declared, desired, observed, now) {
        return forget_first(claims, desired.dead_letter.as_ref(), observed);
    }
    let current = observed.leaves(desired);
    let (key_arn, next) = match current.map(|current| migration::stage(desired, observed, current, key_arn, granted, now)) {
        Some(Stage::Stays(current, next)) => (current.arn, next),
        Some(Stage::Moves) | None => (Some(key_arn.to_owned()), None),
    };
    let Some(key_arn) = key_arn.as_deref() else { return vec![waiting_for_key(desired, observed)] };
    let mut actions = Vec::new();
    // The dead-letter queue first: the queue's redrive policy names it.
    for which in [QueueKind::DeadLetter, QueueKind::Source] {
        actions.extend(plan_side(desired, observed, which, key_arn, granted));
    }
    if !granted {
        actions.push(waiting_for_key(desired, observed));
    } else if let Some(hold) = usable.refused {
        actions.push(QueueAction::Hold(hold));
    }
    if !actions.is_empty() {
        return forget_first(actions, desired.dead_letter.as_ref(), observed);
    }
    if let Some(completed) = adoption::completed(desired, observed, key_arn, now) {
        return completed;
    }
    let moved = || migration::moved(desired, observed, current?, key_arn, now);
    let next = next.or_else(moved).or_else(|| upkeep(declared, observed, now));
    let ending = || dead_letter::plan(desired, observed, now).map(|actions| forget_first(actions, None, observed));
    next.map(|action| vec![action]).or_else(ending).unwrap_or_else(|| settle(observed, now))
}

/// What status says that is no longer true.
fn upkeep(declared: &DesiredQueue, observed: &ObservedQueue, now: Timestamp) -> Option<QueueAction> {
    let desired = adoption::with_found_settings(declared, observed);
    migration::upkeep(&desired, observed, now).or_else(|| adoption::upkeep(declared, observed))
}

/// Whether the URLs in status, which anyone may have edited, are those of the declared queues.
fn records_its_queues(desired: &DesiredQueue, observed: &ObservedQueue) -> bool {
    let of = |side: &QueueSide, url: &Option<String>| url.as_ref().is_some_and(|url| is_url_of(url, &side.arn));
    of(&desired.source, &observed.source_url) && desired.dead_letter.as_ref().is_none_or(|side| of(side, &observed.dead_letter_url))
}

fn not_read(desired: &DesiredQueue, observed: &ObservedQueue) -> bool {
    observed.source == Seen::NotRead || (desired.dead_letter.is_some() && observed.dead_letter == Seen::NotRead)
}

fn read(desired: &DesiredQueue, observed: &ObservedQueue) -> QueueAction {
    let locate = |side: &QueueSide, url: &Option<String>| QueueLocator {
        name: side.arn.name().to_owned(),
        url: url.clone().filter(|url| is_url_of(url, &side.arn)),
    };
    QueueAction::ReadQueues {
        source: locate(&desired.source, &observed.source_url),
        dead_letter: desired.dead_letter.as_ref().map(|side| locate(side, &observed.dead_letter_url)),
    }
}

/// What status records as applied is true or absent at every moment: an edit that is taken back half-way must not find the old record, nor leave tags, nor
/// a dead-letter queue that nobody knows of.
pub(super) fn forget_first(mut actions: Vec<QueueAction>, dead_letter: Option<&QueueSide>, observed: &ObservedQueue) -> Vec<QueueAction> {
    let written = actions.iter().filter_map(|action| if let QueueAction::TagQueue { tags, .. } = action { Some(tags) } else { None });
    let tag_keys = with_keys(&observed.applied_tag_keys, written);
    let makes_dead_letters = |action: &QueueAction| matches!(action, QueueAction::CreateQueue { which: QueueKind::DeadLetter, .. });
    let dead_letter = dead_letter.filter(|_| !observed.dead_letter_recorded && actions.iter().any(makes_dead_letters)).map(|side| side.arn.clone());
    let is_true = observed.applied_sha256.is_none() && tag_keys == observed.applied_tag_keys && dead_letter.is_none();
    if !is_true && actions.iter().any(QueueAction::writes_aws) {
        actions.insert(0, QueueAction::ForgetApplied { tag_keys, dead_letter });
    }
    actions
}

/// The access a queue can have: without the grants to roles that KMS or SQS does not know, if the key holds exactly the rest.
struct Usable {
    desired: DesiredQueue,
    granted: bool,
    refused: Option<Hold>,
}

fn usable(desired: &DesiredQueue, observed: &ObservedQueue) -> Usable {
    let (key, mut desired) = (observed.key.as_ref(), desired.clone());
    // While it moves, the key it is under and the key it moves to.
    let is_there = |arn: &str| migration::are_under(&desired, observed, arn);
    let moved = key.and_then(|key| key.arn.as_deref()).is_some_and(is_there);
    let current = observed.leaves(&desired).filter(|current| !moved && !observed.lost(current));
    let current = current.map(|current| observed.other_keys.iter().find(|key| key.name == current.name));
    let holds = |access: &QueueAccess| {
        let sha256 = access.sha256();
        let of = |key: Option<&ObservedKeyObject>| key.and_then(|key| key.holds.as_deref()) == Some(sha256.as_str());
        of(key) && current.is_none_or(of)
    };
    let without = |access: &QueueAccess, refused: &BTreeSet<RoleArn>| access.clone().retain(|grant| !is_to(grant, refused));
    let mut granted = holds(&desired.access);
    let mut refused = BTreeSet::new();
    // A queue that does not exist yet is made as declared or not at all.
    if let (Some(key), false, true) = (key, granted, observed.source_url.is_some()) {
        let rest = without(&desired.access, &key.refused);
        granted = !key.refused.is_empty() && holds(&rest);
        refused.extend(key.refused.iter().filter(|_| granted).cloned());
    }
    refused.extend(observed.refused.iter().cloned());
    let hold = (!refused.is_empty()).then(|| refused_hold(&desired.access, &refused, key));
    if !refused.is_empty() {
        desired.access = without(&desired.access, &refused);
    }
    Usable { desired, granted, refused: hold }
}

fn refused_hold(access: &QueueAccess, refused: &BTreeSet<RoleArn>, key: Option<&ObservedKeyObject>) -> Hold {
    let of_roles = key.map(|key| deleted::of_roles(&key.deleted, refused)).unwrap_or_default();
    if !of_roles.is_empty() {
        let said = deleted::said(Some(access), of_roles);
        let way_out = "a role made again under its name has no access by it; create the role or correct the declaration. All other access is applied";
        return Hold::new(Reason::PrincipalDeleted, format!("{said}; {way_out}"));
    }
    let fields: Vec<&str> = access.grants.iter().filter(|(grant, _)| is_to(grant, refused)).map(|(_, field)| field.as_str()).collect();
    let roles = refused.iter().map(RoleArn::as_str).collect::<Vec<_>>().join(", ");
    let message = format!("{}: AWS knows no role {roles}; create it or correct the declaration. All other access is applied", fields.join(", "));
    Hold::new(Reason::PrincipalInvalid, message)
}

/// The tag keys on record and those of tags about to be written.
pub(super) fn with_keys<'a>(recorded: &[String], written: impl IntoIterator<Item = &'a Tags>) -> Vec<String> {
    let mut keys = recorded.to_vec();
    for key in written.into_iter().flat_map(Tags::keys) {
        if !keys.contains(key) {
            keys.push(key.clone());
        }
    }
    keys
}

/// What the key waits for is what the queue waits for.
fn waiting_for_key(desired: &DesiredQueue, observed: &ObservedQueue) -> QueueAction {
    let name = &desired.key_name;
    if let Some(gains) = observed.key.as_ref().and_then(|key| key.awaits_approval.as_ref()) {
        let message = format!("waits for an approval: {}; a security officer runs `encrypted-queue approve {name}`", gains.join(", "));
        let key = observed.key.as_ref();
        let made_again = key.map(|key| deleted::of_roles(&key.deleted, &deleted::awaiting_approval(key, desired))).unwrap_or_default();
        if !made_again.is_empty() {
            let said = deleted::said(Some(&desired.access), made_again);
            let message = format!("{said}. A role made again under its name {message}, or the declaration is corrected");
            return QueueAction::Hold(Hold::new(Reason::PrincipalDeleted, message));
        }
        return QueueAction::Hold(Hold::new(Reason::AwaitingApproval, message));
    }
    let lost = observed.leaves(desired).filter(|current| observed.lost(current)).map_or_else(String::new, |current| {
        format!("KMS holds key {} no longer, and messages under it cannot be read any more; ", current.arn.as_deref().unwrap_or(&current.name))
    });
    QueueAction::Hold(match observed.key.as_ref().and_then(|key| key.not_ready.as_ref()) {
        Some((reason, message)) if reason.class() == Class::Stalled => Hold::new(*reason, format!("{lost}QueueKey {name}: {message}")),
        Some((Reason::AwaitingQuota, message)) => Hold::new(Reason::AwaitingQuota, format!("{lost}QueueKey {name}: {message}")),
        Some((_, message)) => Hold::new(Reason::WaitingForKey, format!("{lost}QueueKey {name} does not grant this queue's access yet: {message}")),
        None => Hold::new(Reason::WaitingForKey, format!("{lost}QueueKey {name} does not grant this queue's access yet")),
    })
}

fn prepare(desired: &DesiredQueue, observed: &ObservedQueue) -> Vec<QueueAction> {
    let mut actions = Vec::new();
    if !observed.finalizer {
        actions.push(QueueAction::AddFinalizer);
    }
    if observed.key.as_ref().is_none_or(|key| ends_otherwise(key, desired.deletion_policy)) {
        actions.push(QueueAction::EnsureKey { name: desired.key_name.clone(), spec: desired.key_spec() });
    }
    actions
}

fn settle(observed: &ObservedQueue, now: Timestamp) -> Vec<QueueAction> {
    // One made later than now was made before the clock was set back.
    let usable_at = observed.created_at.filter(|created| *created <= now).map(|created| created + SETTLE);
    match usable_at.filter(|at| *at > now) {
        Some(at) => {
            vec![QueueAction::Hold(Hold::until(Reason::WaitingForQueue, "AWS asks for one second between a queue's creation and its use", at))]
        }
        None => Vec::new(),
    }
}

pub(super) fn side(desired: &DesiredQueue, which: QueueKind) -> Option<&QueueSide> {
    match which {
        QueueKind::Source => Some(&desired.source),
        QueueKind::DeadLetter => desired.dead_letter.as_ref(),
    }
}

pub(super) fn policy_of(access: &QueueAccess, desired: &DesiredQueue, which: QueueKind) -> Option<Document> {
    match which {
        QueueKind::Source => Some(queue_policy::render_queue(access, &desired.place)),
        QueueKind::DeadLetter => queue_policy::render_dead_letter(access, &desired.place),
    }
}

/// All attributes but the policy.
fn settings(desired: &DesiredQueue, which: QueueKind, key_arn: &str) -> Attributes {
    let mut attributes = side(desired, which).map(|side| side.attributes.clone()).unwrap_or_default();
    attributes.insert(KMS_KEY.to_owned(), key_arn.to_owned());
    attributes
}

fn all_attributes(desired: &DesiredQueue, access: &QueueAccess, which: QueueKind, key_arn: &str) -> Attributes {
    let mut attributes = settings(desired, which, key_arn);
    if let Some(policy) = policy_of(access, desired, which) {
        attributes.insert(POLICY.to_owned(), policy.to_json());
    }
    attributes
}

fn plan_side(desired: &DesiredQueue, observed: &ObservedQueue, which: QueueKind, key_arn: &str, granted: bool) -> Vec<QueueAction> {
    let Some(side) = side(desired, which) else { return Vec::new() };
    match observed.queue(which) {
        Seen::NotRead => Vec::new(),
        // A queue is made only when the key already admits its users: grant, then use, then open.
        Seen::Absent if !granted || (which == QueueKind::DeadLetter && desired.dead_letter_end.is_some()) => Vec::new(),
        Seen::Absent => vec![QueueAction::CreateQueue {
            which,
            name: side.arn.name().to_owned(),
            attributes: all_attributes(desired, &desired.access, which, key_arn),
            tags: desired.tags.clone(),
        }],
        Seen::Present(found) if desired.dead_letter_end.is_some() && !owner_tags_match(&found.tags, &desired.tags) => Vec::new(),
        Seen::Present(found) => changes(desired, observed, which, found, key_arn, granted),
    }
}

fn changes(desired: &DesiredQueue, observed: &ObservedQueue, which: QueueKind, found: &QueueState, key_arn: &str, granted: bool) -> Vec<QueueAction> {
    let access = if granted { Cow::Borrowed(&desired.access) } else { Cow::Owned(only_what_is_there(desired, found, which)) };
    let (mut wanted, policy) = (settings(desired, which, key_arn), policy_of(&access, desired, which));
    if !granted && found.attributes.get(KMS_KEY).is_some_and(|key| key != key_arn) {
        // Another key until this one admits the users. A queue without any key gets its own at once.
        wanted.remove(KMS_KEY);
    }
    let url = &found.url;
    let mut actions = Vec::new();
    let attributes = attribute_changes(&wanted, policy.as_ref(), &found.attributes);
    if !attributes.is_empty() {
        let arn = side(desired, which).map(|side| &side.arn);
        let revokes = arn.zip(attributes.get(POLICY)).is_some_and(|(arn, policy)| revokes(which, arn, &desired.place, found, policy));
        actions.push(QueueAction::SetQueueAttributes { which, url: url.clone(), attributes, revokes });
    }
    let (tags, keys) = tag_changes(&desired.tags, &found.tags, &observed.applied_tag_keys);
    if !tags.is_empty() {
        actions.push(QueueAction::TagQueue { which, url: url.clone(), tags });
    }
    if !keys.is_empty() {
        actions.push(QueueAction::UntagQueue { which, url: url.clone(), keys });
    }
    actions
}

/// Whether a queue's new policy takes access from anyone.
pub(super) fn revokes(which: QueueKind, arn: &QueueArn, place: &Place, found: &QueueState, policy: &str) -> bool {
    let Some(old) = parsed_policy(found) else { return false };
    let read = |policy: &Document| read_back::read_queue_policy(policy, which, arn, place);
    let (old, new) = (read(&old), Document::parse(policy).map(|policy| read(&policy)).unwrap_or_default());
    !old.grants.is_subset(&new.grants) || !old.foreign.is_empty() || !new.denied.is_subset(&old.denied)
}

/// Narrowing never waits for the key: of the desired grants, those the queue policy already holds.
fn only_what_is_there(desired: &DesiredQueue, found: &QueueState, which: QueueKind) -> QueueAccess {
    let held = side(desired, which)
        .zip(parsed_policy(found))
        .map(|(side, policy)| read_back::read_queue_policy(&policy, which, &side.arn, &desired.place).grants);
    desired.access.clone().retain(|grant| held.as_ref().is_some_and(|held| held.contains(grant)))
}

pub(super) fn parsed_policy(found: &QueueState) -> Option<Document> {
    Document::parse(found.attributes.get(POLICY)?).ok()
}

/// Attributes to set so that `found` is as `wanted`: the policy compared by meaning, and a redrive policy that nobody declared cleared.
fn attribute_changes(wanted: &Attributes, policy: Option<&Document>, found: &Attributes) -> Attributes {
    let mut changes: Attributes = wanted
        .iter()
        .filter(|(name, value)| !found.get(*name).is_some_and(|theirs| attribute_equal(name, value, theirs)))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if let Some(policy) = policy.filter(|policy| !found.get(POLICY).is_some_and(|theirs| says(theirs, policy))) {
        changes.insert(POLICY.to_owned(), policy.to_json());
    }
    // Only CreateQueue takes it.
    changes.remove("FifoQueue");
    if !wanted.contains_key(REDRIVE) && found.get(REDRIVE).is_some_and(|value| !value.is_empty()) {
        changes.insert(REDRIVE.to_owned(), String::new());
    }
    changes
}

fn says(text: &str, policy: &Document) -> bool {
    Document::parse(text).is_ok_and(|found| equivalence::equivalent(&found, policy))
}

fn attribute_equal(name: &str, ours: &str, theirs: &str) -> bool {
    match name {
        REDRIVE | "RedriveAllowPolicy" => json_equal(ours, theirs),
        _ => ours == theirs,
    }
}

/// SQS returns numbers of these documents as numbers or strings, and their fields in any order.
fn json_equal(ours: &str, theirs: &str) -> bool {
    fn normal(value: serde_json::Value) -> serde_json::Value {
        match value {
            serde_json::Value::Number(number) => number.to_string().into(),
            serde_json::Value::Object(map) => map.into_iter().map(|(key, value)| (key, normal(value))).collect(),
            other => other,
        }
    }
    let parse = |text: &str| serde_json::from_str(text).map(normal).ok();
    parse(ours).is_some_and(|ours: serde_json::Value| Some(ours) == parse(theirs))
}
