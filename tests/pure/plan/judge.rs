//! The invariants, judged after every single action, and whether AWS is as declared in the end.
//!
//! What policies say is judged by reading them back, not by rendering what they should be.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::{LazyLock, RwLock};

use encrypted_queue::api::encrypted_queue::Adoption;
use encrypted_queue::api::queue_key::NamespacedName;
use encrypted_queue::api::sensitivity_tier::Others;
use encrypted_queue::api::tenant::TenantAccess;
use encrypted_queue::desired::{DesiredKey, DesiredQueue, claimed_names, owner_tags_match, queue_owner_tags};
use encrypted_queue::names::{Place, QueueArn};
use encrypted_queue::plan::adoption::with_found_settings;
use encrypted_queue::plan::state::{KeyLifecycle, Tags};
use encrypted_queue::plan::{KeyAction, ObservedQueue, QueueAction};
use encrypted_queue::policy::access::{Capability, Grant, QueueAccess};
use encrypted_queue::policy::document::Document;
use encrypted_queue::policy::key_policy::Administration;
use encrypted_queue::policy::queue_policy::{Denial, QueueKind};
use encrypted_queue::policy::read_back::{KeyReadBack, ReadBack, read_key_policy, read_queue_policy};

use super::aws::{Key, Queue};
use super::world::{Aim, Scene, World};
use crate::declare::{CLUSTER, operator, role};

fn remembered<K: std::hash::Hash + Eq, V>(memory: &RefCell<HashMap<K, Rc<V>>>, key: K, make: impl FnOnce() -> V) -> Rc<V> {
    memory.borrow_mut().entry(key).or_insert_with(|| Rc::new(make())).clone()
}

/// What a queue's policy says.
pub fn read_queue(queue: Option<&Queue>, which: QueueKind, arn: &QueueArn, place: &Place) -> Rc<ReadBack> {
    thread_local!(static MEMORY: RefCell<HashMap<(String, String), Rc<ReadBack>>> = RefCell::default());
    let policy = queue.and_then(|queue| queue.attributes.get("Policy").cloned()).unwrap_or_default();
    MEMORY.with(|memory| {
        remembered(memory, (policy.clone(), arn.to_string()), || {
            Document::parse(&policy).map(|document| read_queue_policy(&document, which, arn, place)).unwrap_or_default()
        })
    })
}

/// What a key's policy says of all queues of the scene.
pub fn read_key(key: &Key, scene: &Scene) -> Rc<KeyReadBack> {
    thread_local!(static MEMORY: RefCell<HashMap<(String, Vec<[String; 2]>), Rc<KeyReadBack>>> = RefCell::default());
    let place = scene.place();
    let names: Vec<[String; 2]> = scene.queues.values().map(claimed_names).collect();
    MEMORY.with(|memory| {
        remembered(memory, (key.policy.clone(), names.clone()), || {
            let queues: BTreeMap<_, _> = names.iter().map(|[name, dlq]| (place.queue_arn(name), Some(place.queue_arn(dlq)))).collect();
            Document::parse(&key.policy).map(|document| read_key_policy(&document, &place, &queues)).unwrap_or_default()
        })
    })
}

/// Whether a grant needs the key.
fn needs_key(grant: &Grant) -> bool {
    grant.capability != Capability::Observe
}

/// Grants that one of the two queues' policies can show.
fn shown_by(access: &QueueAccess, which: QueueKind) -> BTreeSet<Grant> {
    let shows = |grant: &Grant| match (which, grant.capability) {
        (_, Capability::Observe | Capability::Redrive) => true,
        (QueueKind::Source, capability) => matches!(capability, Capability::Send | Capability::Receive),
        (QueueKind::DeadLetter, capability) => capability == Capability::ReceiveDeadLetters,
    };
    access.effective_grants().into_iter().filter(shows).collect()
}

fn suspended(scene: &Scene) -> bool {
    scene.tenant.spec.access == TenantAccess::Suspended
}

fn touched(action: &QueueAction, place: &Place) -> (QueueKind, QueueArn) {
    match action {
        QueueAction::CreateQueue { which, name, .. } => (*which, place.queue_arn(name)),
        QueueAction::SetQueueAttributes { which, url, .. }
        | QueueAction::TagQueue { which, url, .. }
        | QueueAction::UntagQueue { which, url, .. }
        | QueueAction::DeleteQueue { which, url } => (*which, place.queue_arn(url.rsplit('/').next().unwrap())),
        _ => panic!("{action:?} writes no queue"),
    }
}

/// Judges one write to SQS.
pub fn queue_write(before: &World, after: &World, scene: &Scene, name: &NamespacedName, aim: &Aim, action: &QueueAction) {
    let place = scene.place();
    let (which, arn) = touched(action, &place);
    let (was, is) = (before.aws.at(&place).queues.remove(arn.name()), after.aws.at(&place).queues.remove(arn.name()));
    if let Some(was) = &was {
        let owner = queue_owner_tags(CLUSTER, &scene.queues[name]);
        // What nobody owns may be claimed, by its tags and nothing else, where the declaration asks for it.
        let unowned = !was.tags.contains_key("encryptedqueue.dev/cluster") || was.tags.contains_key("encryptedqueue.dev/released");
        let claims = matches!(action, QueueAction::TagQueue { tags, .. } if owner_tags_match(tags, &owner));
        let claimable = unowned && claims && scene.queues[name].spec.adoption == Adoption::IfUnowned;
        // Without its tags it is known by the key it is under.
        let names_nobody_else = owner.iter().all(|(tag, value)| was.tags.get(tag).is_none_or(|found| found == value));
        let under = was.attributes.get("KmsMasterKeyId");
        let is_stripped = names_nobody_else && before.keys.values().any(|key| key.status.0.arn.as_ref() == under);
        let restores = matches!(action, QueueAction::TagQueue { .. }) && is_stripped;
        assert!(owner_tags_match(&was.tags, &owner) || restores || claimable, "Owned only: {action:?}");
    }
    let Some(is) = is else { return };
    let key_arn = match aim {
        Aim::Apply(desired) => after.keys.get(&desired.key_name).and_then(|key| key.status.0.arn.clone()),
        Aim::Keep(_) | Aim::End(_) => None,
    };
    let (old_key, new_key) = (was.as_ref().and_then(|queue| queue.attributes.get("KmsMasterKeyId")), is.attributes.get("KmsMasterKeyId"));
    if was.is_none() || old_key != new_key {
        // On its way to another key it stays under the one on record.
        let current = before.queue_status(name).key.and_then(|key| key.arn);
        assert!(new_key.is_some() && (new_key == key_arn.as_ref() || new_key == current.as_ref()), "Encrypted: {action:?}");
    }
    let (old, new) = (read_queue(was.as_ref(), which, &arn, &place), read_queue(Some(&is), which, &arn, &place));
    let desired = if let Aim::Apply(desired) = aim { Some(desired) } else { None };
    let declared = desired.map(|desired| shown_by(&desired.access, which)).unwrap_or_default();
    let gained: Vec<&Grant> = new.grants.difference(&old.grants).collect();
    assert!(gained.iter().all(|grant| declared.contains(*grant)), "Least access: {gained:?} by {action:?}");
    assert!(new.foreign.iter().all(|line| old.foreign.contains(line)), "Least access: {:?}", new.foreign);
    let may_lift = |denial: &Denial| match denial {
        Denial::Suspended => !aim.suspends(),
        Denial::OutsideOrganization => true,
        _ => desired.is_some_and(|desired| desired.access.others == Others::Unstated),
    };
    assert!(old.denied.difference(&new.denied).all(may_lift), "Least access: no longer denied: {:?} → {:?}", old.denied, new.denied);
    if after.interleaved || after.meddled {
        return;
    }
    // Grant → use → open.
    let key = after.aws.keys().find(|key| Some(&key.metadata.arn) == new_key);
    let source = desired.map(|desired| &desired.access.queue);
    for grant in gained.into_iter().filter(|grant| needs_key(grant)) {
        let granted = key.zip(source).is_some_and(|(key, source)| read_key(key, scene).grants.get(source).is_some_and(|held| held.contains(grant)));
        assert!(granted, "opened before the key grants: {grant}");
    }
}

fn key_of<'a>(world: &'a World, action: &KeyAction) -> Option<&'a Key> {
    let id = match action {
        KeyAction::CancelKeyDeletion { id }
        | KeyAction::EnableKey { id }
        | KeyAction::PutKeyPolicy { id, .. }
        | KeyAction::RevokeGrant { id, .. }
        | KeyAction::CreateAlias { id, .. }
        | KeyAction::UpdateAlias { id, .. }
        | KeyAction::EnableKeyRotation { id, .. }
        | KeyAction::TagKey { id, .. }
        | KeyAction::UntagKey { id, .. }
        | KeyAction::RotateKeyOnDemand { id }
        | KeyAction::ScheduleKeyDeletion { id, .. } => id,
        _ => return None,
    };
    world.aws.keys().find(|key| key.metadata.id == *id)
}

/// Keys of one QueueKey that could be used.
pub fn live_keys<'a>(world: &'a World, owner: &'a Tags) -> impl Iterator<Item = &'a Key> {
    world.aws.keys().filter(|key| owner_tags_match(&key.tags, owner) && key.metadata.lifecycle != KeyLifecycle::PendingDeletion)
}

/// Whether the key on record has lost its tags to somebody, and names nobody else.
fn is_stripped(world: &World, key: &Key, desired: &DesiredKey) -> bool {
    let status = &world.keys[&desired.name].status.0;
    let names_nobody_else = desired.tags.iter().all(|(tag, value)| key.tags.get(tag).is_none_or(|found| found == value));
    let made_for_it = status.creation.as_ref().is_some_and(|creation| key.metadata.description.contains(&creation.nonce));
    status.arn.as_ref() == Some(&key.metadata.arn) && made_for_it && names_nobody_else
}

/// Judges one write to KMS.
pub fn key_write(before: &World, after: &World, scene: &Scene, desired: &DesiredKey, action: &KeyAction) {
    let was = key_of(before, action);
    let is = match (action, was) {
        (KeyAction::CreateKey { .. }, _) => {
            assert_eq!(live_keys(after, &desired.tags).count(), 1, "No duplicates");
            live_keys(after, &desired.tags).next().unwrap()
        }
        (_, Some(was)) => {
            assert!(owner_tags_match(&was.tags, &desired.tags) || is_stripped(before, was, desired), "Owned only: {action:?}");
            key_of(after, action).unwrap()
        }
        (_, None) => return,
    };
    let (old, new) = (was.map(|key| read_key(key, scene)).unwrap_or_default(), read_key(is, scene));
    for (queue, grants) in &new.grants {
        let accepted = desired.users.iter().map(|user| &user.access).find(|access| access.queue == *queue);
        let declared = accepted.map(QueueAccess::effective_grants).unwrap_or_default();
        let held = old.grants.get(queue).cloned().unwrap_or_default();
        assert!(grants.iter().all(|grant| held.contains(grant) || declared.contains(grant)), "Least access: {grants:?} through {queue}");
    }
    assert!(new.foreign.iter().all(|line| old.foreign.contains(line)), "Least access: {:?}", new.foreign);
    assert!(
        !(old.denied.contains(&Denial::Suspended) && !new.denied.contains(&Denial::Suspended) && desired.access.suspended),
        "Least access: suspended"
    );
    assert!(is.grants.iter().all(|grant| was.is_some_and(|was| was.grants.contains(grant))), "Least access: KMS grants");
    if matches!(action, KeyAction::CreateKey { .. } | KeyAction::PutKeyPolicy { .. }) {
        keeps_administration(&new, scene, after);
    }
}

fn keeps_administration(read: &KeyReadBack, scene: &Scene, world: &World) {
    // Who was deleted administers nothing.
    let holds = |kind, arn: &str| world.aws.missing.contains(arn) || read.administration.get(&kind).is_some_and(|arns| arns.contains(arn));
    assert!(holds(Administration::Operator, operator().as_str()), "No lock-out: {read:?}");
    assert!(holds(Administration::Root, &scene.place().root_arn()), "No lock-out: {read:?}");
    assert!(holds(Administration::KeyAdministrators, &role("security-admin")), "No lock-out: {read:?}");
    assert!(holds(Administration::BreakGlass, &role("break-glass")), "No lock-out: {read:?}");
    assert!(read.denied.contains(&Denial::Grants), "nobody may create grants: {read:?}");
}

/// What hashes stand for, whichever thread noted it.
type Known<V> = LazyLock<RwLock<HashMap<String, V>>>;
static ACCESSES: Known<QueueAccess> = LazyLock::new(RwLock::default);
static APPLIED: Known<(DesiredQueue, String)> = LazyLock::new(RwLock::default);

fn note<V>(known: &Known<V>, sha256: String, value: impl FnOnce() -> V) {
    if !known.read().unwrap().contains_key(&sha256) {
        known.write().unwrap().entry(sha256).or_insert_with(value);
    }
}

fn noted<V: Clone>(known: &Known<V>, sha256: &str) -> Option<V> {
    known.read().unwrap().get(sha256).cloned()
}

/// Notes what a hash stands for.
pub fn note_accesses(desired: &DesiredKey) {
    for user in &desired.users {
        note(&ACCESSES, user.access.sha256(), || user.access.clone());
    }
}

/// Notes what a recorded hash stands for.
pub fn note_applied(sha256: &str, desired: &DesiredQueue, key_arn: &str) {
    note(&APPLIED, sha256.to_owned(), || (desired.clone(), key_arn.to_owned()));
}

/// What status records is true, or absent, at every moment.
pub fn records(world: &World, scene: &Scene) {
    if world.meddled {
        return;
    }
    // An object that is being deleted never comes back: nothing is read from its record.
    let stays = |name: &NamespacedName| scene.queues.get(name).is_some_and(|queue| queue.metadata.deletion_timestamp.is_none());
    for object in world.queues.iter().filter(|(name, _)| stays(name)).map(|(_, object)| object) {
        let desired = object.status.0.applied_sha256.as_ref().and_then(|sha256| noted(&APPLIED, sha256));
        if let Some((desired, key_arn)) = desired {
            queue_is(world, scene, &desired, &key_arn).unwrap_or_else(|difference| panic!("the record is not true: {difference}"));
        }
    }
    for key in world.keys.values() {
        let Some(real) = key.status.0.key_id.as_ref().and_then(|id| world.aws.keys().find(|real| real.metadata.id == *id)) else { continue };
        for user in &key.status.0.users {
            let access = noted(&ACCESSES, &user.grants_sha256);
            // Where approvals are asked for, a part of what was declared may be on record.
            assert!(access.is_some() || user.grants_sha256 == "0".repeat(64) || !user.approved_grants.is_empty(), "{user:?}");
            let Some(access) = access else { continue };
            let held = read_key(real, scene).grants.get(&access.queue).cloned().unwrap_or_default();
            let missing: Vec<_> = access.effective_grants().into_iter().filter(|grant| needs_key(grant) && !held.contains(grant)).collect();
            assert!(missing.is_empty(), "on record, but not in the key policy: {missing:?} of {}", user.name);
        }
    }
}

/// A JSON document with its numbers as text.
fn json_in_text(text: &str) -> Option<BTreeMap<String, String>> {
    let fields: BTreeMap<String, serde_json::Value> = serde_json::from_str(text).ok()?;
    Some(fields.into_iter().map(|(name, value)| (name, value.to_string().trim_matches('"').to_owned())).collect())
}

/// Whether both queues have these attributes and tags, and policies that say this.
pub fn queue_is(world: &World, scene: &Scene, desired: &DesiredQueue, key_arn: &str) -> Result<(), String> {
    let site = world.aws.at(&scene.place());
    for (which, side) in std::iter::once((QueueKind::Source, &desired.source)).chain(desired.dead_letter.iter().map(|s| (QueueKind::DeadLetter, s))) {
        let name = side.arn.name();
        let Some(queue) = site.queues.get(name) else { return Err(format!("{name} is not there")) };
        let mut wanted = side.attributes.iter().chain(&desired.tags);
        let same = |said: Option<&String>, wanted: &String| said.is_some_and(|said| said == wanted || json_in_text(said) == json_in_text(wanted));
        let has = |(key, value): (&String, &String)| same(queue.attributes.get(key), value) || queue.tags.get(key) == Some(value);
        if let Some(lacks) = wanted.find(|pair| !has(*pair)) {
            return Err(format!("{name} lacks {lacks:?}"));
        }
        if queue.attributes.get("KmsMasterKeyId").map(String::as_str) != Some(key_arn) {
            return Err(format!("{name} is not under {key_arn}"));
        }
        let said = read_queue(Some(queue), which, &side.arn, &scene.place());
        if said.grants != shown_by(&desired.access, which) || !said.foreign.is_empty() {
            return Err(format!("the policy of {name} says {said:?}"));
        }
        let denied = |denial| said.denied.contains(&denial);
        let others = [Denial::OthersSend, Denial::OthersReceive, Denial::OthersRedrive].into_iter().all(denied);
        if others != (desired.access.others == Others::Deny)
            || denied(Denial::Suspended) != desired.access.suspended
            || !denied(Denial::InsecureTransport)
        {
            return Err(format!("the policy of {name} denies {:?}", said.denied));
        }
    }
    Ok(())
}

/// Whether the key is usable, says what its accepted queues declare, and bears its alias, tags and rotation.
pub fn key_is(world: &World, scene: &Scene, desired: &DesiredKey) -> Result<(), String> {
    let id = world.keys[&desired.name].status.0.key_id.clone().ok_or("no key is recorded")?;
    let site = world.aws.at(&scene.place());
    let key = &site.keys[&id];
    let said = read_key(key, scene);
    for access in desired.users.iter().map(|user| &user.access) {
        let wanted: BTreeSet<Grant> = access.effective_grants().into_iter().filter(needs_key).collect();
        if said.grants.get(&access.queue).cloned().unwrap_or_default() != wanted {
            return Err(format!("the key policy says {:?} of {}", said.grants, access.queue));
        }
    }
    keeps_administration(&said, scene, world);
    let rotates = key.rotation.enabled && (desired.rotation_period_days.is_none() || key.rotation.period_days == desired.rotation_period_days);
    let checks = [
        ("enabled", key.metadata.lifecycle == KeyLifecycle::Enabled),
        ("without foreign access", said.foreign.is_empty() && key.grants.is_empty()),
        ("suspended as the tenant is", said.denied.contains(&Denial::Suspended) == suspended(scene)),
        ("under its alias", site.aliases.get(&desired.alias) == Some(&id)),
        ("tagged", desired.tags.iter().all(|(name, value)| key.tags.get(name) == Some(value))),
        ("rotated", rotates),
        ("alone", live_keys(world, &desired.tags).count() == 1),
    ];
    checks.iter().find(|(_, holds)| !holds).map_or(Ok(()), |(what, _)| Err(format!("key {id} is not {what}: {key:?}")))
}

/// Everything accepted is as declared.
pub fn as_declared(world: &World, scene: &Scene) -> Result<(), String> {
    for name in scene.queues.keys().filter(|name| world.exists(scene, name)) {
        if let Aim::Apply(desired) = world.aim(scene, name) {
            let key_arn = world.keys.get(&desired.key_name).and_then(|key| key.status.0.arn.clone());
            let recorded = ObservedQueue::recorded(&world.queue_status(name));
            queue_is(world, scene, &with_found_settings(&desired, &recorded), &key_arn.ok_or("no key is recorded")?)?;
        }
    }
    for name in world.keys.keys() {
        let desired = world.desired_key(scene, name);
        if !desired.users.is_empty() {
            key_is(world, scene, &desired)?;
        }
    }
    Ok(())
}
