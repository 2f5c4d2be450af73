//! What a key's policy holds when it is full, when KMS does not know a principal, and when an approval came.

use encrypted_queue::desired::{Approval, DesiredKey};
use encrypted_queue::names::RoleArn;
use encrypted_queue::plan::ObservedKey;
use encrypted_queue::plan::grants::{Held, approval_sha256, held};
use encrypted_queue::policy::access::{Capability, Grant, Principal};
use encrypted_queue::policy::{key_policy, limits};
use serde_json::json;

use super::deleted::{approve, key_status, with_approval};
use super::{consumers, orders};
use crate::declare::role;
use crate::plan::worker::Faults;
use crate::plan::world::{Scene, World, named};

/// Queues of one key, each with so many consumers of its own.
pub(super) fn crowd(names: &[String], consumers_each: usize) -> Scene {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.iter().fold(Scene::sharing_a_key(&names), |scene, name| {
        let roles: Vec<_> = (0..consumers_each).map(|number| json!({"role": role(&format!("acme-{name}-{number:040}"))})).collect();
        scene.with_queue(name, json!({"spec": {"consumers": roles}}))
    })
}

pub(super) fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("queue-{number:03}")).collect()
}

/// What the key of all these queues should be before it is made.
pub(super) fn wanted(scene: &Scene) -> DesiredKey {
    let mut world = World::default();
    world.pass_over_queue(scene, scene.queues.keys().next().unwrap(), false, &mut Faults::none(), &mut Vec::new());
    world.desired_key(scene, world.keys.keys().next().unwrap())
}

/// What it would hold if it held the grants of those `known` already.
fn held_with(scene: &Scene, known: &[&str]) -> Held {
    let desired = wanted(scene);
    let users = desired.users.iter().filter(|user| known.contains(&user.name.as_str())).map(|user| user.record(&user.access)).collect();
    held(&desired, &ObservedKey { users, ..ObservedKey::default() })
}

/// Whether a policy of this access, with the longest id there may be, is within what KMS takes.
fn fits(held: &Held) -> bool {
    limits::check_key(&key_policy::render(&held.access, &format!("encryptedqueue.dev/{}", "0".repeat(64)))).is_empty()
}

fn in_it(held: &Held) -> Vec<&str> {
    held.users.iter().map(|user| user.name.as_str()).collect()
}

fn without_room(held: &Held) -> Vec<&str> {
    held.without_room.iter().map(|name| name.name.as_str()).collect()
}

#[test]
fn a_key_takes_as_many_queues_as_it_has_room_for() {
    let all = names(130);
    let held = held_with(&crowd(&all, 1), &[]);
    let (taken, left) = (in_it(&held), without_room(&held));
    assert!(fits(&held) && !taken.is_empty() && !left.is_empty(), "{taken:?} {left:?}");
    assert_eq!(taken, all[..taken.len()], "who comes last has no room");
    assert_eq!(taken.len() + left.len(), all.len());
    let one_more = held_with(&crowd(&all[..=taken.len()], 1), &[]);
    assert_eq!(without_room(&one_more), [&all[taken.len()]], "the first that has no room would not fit by itself");
    let as_many = held_with(&crowd(&all[..taken.len()], 1), &[]);
    let mut too_many = as_many.clone();
    too_many.access.users.extend(held_with(&crowd(&all[taken.len()..=taken.len()], 1), &[]).access.users);
    assert!(fits(&as_many) && !fits(&too_many));
}

#[test]
fn who_is_in_a_full_key_stays() {
    let all = names(40);
    let last = all.last().unwrap().as_str();
    let held = held_with(&crowd(&all, 8), &[last]);
    assert!(in_it(&held).contains(&last) && !without_room(&held).contains(&last));
    assert!(!without_room(&held).is_empty());
}

#[test]
fn a_queue_that_no_key_has_room_for_is_not_sent_to_another() {
    let mut desired = wanted(&Scene::of(&["orders"]));
    let consumer = desired.users[0].access.grants.keys().find(|grant| grant.capability == Capability::Receive).unwrap().clone();
    let more = (0..500).map(|number| Principal::Role(RoleArn::parse(&role(&format!("acme-{number:040}"))).unwrap()));
    desired.users[0].access.grants.extend(more.map(|principal| (Grant { principal, ..consumer.clone() }, String::new())));
    let held = held(&desired, &ObservedKey::default());
    assert!(!fits(&held) && without_room(&held).is_empty());
    assert_eq!(in_it(&held), ["orders"]);
}

#[test]
fn a_role_that_does_not_exist_keeps_a_key_from_being_made_and_is_left_out_of_one_that_is_there() {
    let desired = wanted(&Scene::of(&["orders"]));
    let refused = [RoleArn::parse(&role("acme-worker")).unwrap()].into();
    let mut observed = ObservedKey { refused, ..ObservedKey::default() };
    assert_eq!(in_it(&held(&desired, &observed)), [""; 0]);
    observed.key_id = Some("key-1".to_owned());
    let held = held(&desired, &observed);
    assert_eq!(in_it(&held), ["orders"]);
    assert!(!held.access.users[0].grants.keys().any(|grant| grant.principal.to_string() == role("acme-worker")));
}

#[test]
fn an_approval_given_beforehand_lets_gains_in_and_ends_with_the_losses() {
    let (mut world, scene) = with_approval(Scene::of(&["orders"]));
    let edited = scene.with_queue("orders", consumers(&["acme-second"]));
    let (key, before) = (world.keys.keys().next().unwrap().clone(), key_status(&world).access_revision.unwrap_or_default());
    let access = world.judged(&edited, &named("orders")).as_ref().as_ref().unwrap().access.clone();
    let grants_sha256 = approval_sha256(&key, before, &access);
    let for_queue = |queue: &str| Approval {
        name: format!("for-{queue}"),
        grants_sha256: grants_sha256.clone(),
        queue: Some(named(queue)),
        approved_by: "maria".to_owned(),
    };
    world.approvals.push(for_queue("bills"));
    assert_eq!(world.clone().settle(&edited).held(), ["AwaitingApproval"; 2], "it is another queue's");
    world.approvals.push(for_queue("orders"));
    world.settle(&edited);
    world.assert_rest(&edited);
    assert_eq!(world.approvals, [for_queue("bills")]);
    assert_eq!(key_status(&world).access_revision, Some(before + 1), "someone lost access: no approval of before fits any more");
}

#[test]
fn who_only_loses_waits_for_nothing() {
    let scene = Scene::of(&["orders"]).with_queue("orders", consumers(&["acme-worker", "acme-second"]));
    let (mut world, scene) = with_approval(scene);
    let edited = scene.with_queue("orders", consumers(&["acme-second"]));
    world.settle(&edited);
    assert_eq!(key_status(&world).pending_grants, []);
    world.assert_rest(&edited);
    approve(&mut world);
    assert_eq!(world.approvals, []);
}

#[test]
fn without_approvals_nothing_is_pending() {
    let (world, scene) = orders();
    let held = held_with(&scene, &[]);
    assert!(held.pending.is_empty() && held.approvals.is_empty() && held.narrowed.is_none() && !held.loses);
    assert_eq!(key_status(&world).pending_grants, []);
}
