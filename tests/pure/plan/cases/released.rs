//! Queues that stay under a shared key when their objects go, and what else must hold until a key or a queue is let go of.

use encrypted_queue::api::DeletionPolicy;
use encrypted_queue::api::queue_key::QueueKeyStatus;
use encrypted_queue::plan::state::{KeyLifecycle, Tags};
use encrypted_queue::plan::teardown::plan_key_remade;
use encrypted_queue::plan::{KeyAction, ObservedKey};
use encrypted_queue::policy::queue_policy::{Denial, QueueKind};
use serde_json::json;

use super::{SOURCE, key_mut, made, orders};
use crate::declare::role;
use crate::plan::judge::{read_key, read_queue};
use crate::plan::operator::Did;
use crate::plan::worker::{Fault, Faults};
use crate::plan::world::{Scene, WINDOW, World};

/// How many grants the shared key makes through a queue.
fn grants(world: &World, scene: &Scene, name: &str) -> usize {
    let key = read_key(world.aws.keys().next().unwrap(), scene);
    assert_eq!(key.foreign, [""; 0]);
    key.grants.get(&scene.place().queue_arn(&format!("acme-acme-prod-{name}"))).map_or(0, std::collections::BTreeSet::len)
}

fn status_of_key(world: &World) -> QueueKeyStatus {
    world.keys.values().next().unwrap().status.0.clone()
}

#[test]
fn a_queue_that_is_retained_stays_usable_under_the_shared_key() {
    let scene = Scene::sharing_a_key(&["bills", "orders"]);
    for at in 0..12 {
        let mut world = made(&scene);
        let held = grants(&world, &scene, "bills");
        assert!(held > 0);
        let without = scene.clone().deleted("bills");
        world.run(&without, false, Faults::on(at, Fault::Crash));
        world.settle(&without);
        assert_eq!(world.queues.len(), 1);
        assert_eq!(grants(&world, &scene, "bills"), held, "its consumers can still decrypt");
        let released = status_of_key(&world).released_queues;
        assert_eq!(released.iter().map(|queue| queue.arn.rsplit(':').next().unwrap()).collect::<Vec<_>>(), ["acme-acme-prod-bills"]);
        // A slow check finds nothing to take away.
        assert_eq!(world.check(&without).writes(), [""; 0]);
        // An edit of a queue that stays touches it as little.
        let edited = without.clone().with_queue("orders", super::consumers(&["acme-worker", "acme-second"]));
        world.settle(&edited);
        assert_eq!(grants(&world, &scene, "bills"), held);
        // A rule tightened takes its grants as any other's.
        world.settle(&edited.with_tenant(json!({"spec": {"principals": {"roles": [role("acme-api")]}}})));
        assert!(grants(&world, &scene, "bills") < held);
        // Declared again, it is a queue as any other.
        world.settle(&scene);
        world.assert_rest(&scene);
        assert_eq!(status_of_key(&world).released_queues, []);
    }
}

#[test]
fn a_shared_key_that_was_let_go_of_comes_back_with_the_queues_under_it() {
    let scene = Scene::sharing_a_key(&["bills", "orders"]);
    let mut world = made(&scene);
    let held = grants(&world, &scene, "bills");
    world.settle(&scene.clone().deleted("bills").deleted("orders"));
    assert!(world.keys.is_empty() && world.queues.is_empty());
    assert_eq!(grants(&world, &scene, "bills"), held);
    let again = scene.clone().deleted("bills");
    world.settle(&again);
    assert_eq!((world.aws.keys().count(), grants(&world, &scene, "bills")), (1, held), "one declared again does not cut the other off");
    assert_eq!(status_of_key(&world).released_queues.len(), 1);
    world.settle(&scene);
    world.assert_rest(&scene);
}

#[test]
fn of_a_shared_key_every_user_must_say_delete() {
    let delete = json!({"spec": {"deletionPolicy": "Delete"}});
    let scene = Scene::sharing_a_key(&["bills", "orders"]).with_queue("bills", delete.clone());
    let mut world = made(&scene);
    assert_eq!(world.keys.values().next().unwrap().spec.deletion_policy, DeletionPolicy::Retain);
    world.settle(&scene.clone().deleted("bills").deleted("orders"));
    assert_eq!(world.aws.keys().next().unwrap().metadata.lifecycle, KeyLifecycle::Enabled);

    let scene = scene.with_queue("orders", delete);
    let mut world = made(&scene);
    world.settle(&scene.deleted("bills").deleted("orders"));
    assert_eq!(world.aws.keys().next().unwrap().metadata.lifecycle, KeyLifecycle::PendingDeletion);
}

#[test]
fn delete_said_at_the_last_moment_takes_the_key_too() {
    for (last, lifecycle) in [("Delete", KeyLifecycle::PendingDeletion), ("Retain", KeyLifecycle::Enabled)] {
        let first = if last == "Delete" { "Retain" } else { "Delete" };
        let scene = Scene::of(&["orders"]).with_queue("orders", json!({"spec": {"deletionPolicy": first}}));
        let mut world = made(&scene);
        world.settle(&scene.with_queue("orders", json!({"spec": {"deletionPolicy": last}})).deleted("orders"));
        assert!(world.keys.is_empty() && world.queues.is_empty());
        assert_eq!(world.aws.keys().next().unwrap().metadata.lifecycle, lifecycle, "{last}");
    }
}

#[test]
fn without_its_tier_a_queue_is_retained_since_the_tier_may_have_forced_it() {
    let scene = Scene::of(&["orders"]).with_queue("orders", json!({"spec": {"deletionPolicy": "Delete"}}));
    let mut world = made(&scene);
    world.settle(&scene.deleted("orders").without_tier());
    assert!(world.queues.is_empty());
    assert_eq!(world.aws.queues().count(), 2);
}

#[test]
fn a_suspended_tenants_queue_is_cut_off_though_its_tier_is_gone() {
    let (mut world, scene) = orders();
    let denied = |world: &World, scene: &Scene| {
        let place = scene.place();
        let queue = read_queue(world.aws.at(&place).queues.get(SOURCE), QueueKind::Source, &place.queue_arn(SOURCE), &place);
        (queue.denied.contains(&Denial::Suspended), queue.grants.len())
    };
    let (_, grants) = denied(&world, &scene);
    let without = scene.clone().without_tier();
    assert_eq!(world.settle(&without).writes(), [""; 0], "a missing tier changes nothing");
    let suspended = without.clone().with_tenant(json!({"spec": {"access": "Suspended"}}));
    world.settle(&suspended);
    assert_eq!(denied(&world, &suspended), (true, grants));
    world.settle(&without);
    assert_eq!(denied(&world, &without), (false, grants));
}

#[test]
fn a_queue_made_just_before_a_crash_is_narrowed_though_no_status_names_it() {
    let scene = Scene::of(&["orders"]);
    let names = World::default().run(&scene, false, Faults::none()).names();
    let at = names.iter().rposition(|name| name == "CreateQueue").unwrap();
    let mut world = World::default();
    assert!(world.run(&scene, false, Faults::on(at, Fault::Crash)).crashed);
    assert!(world.aws.at(&scene.place()).queues.contains_key(SOURCE));
    let tightened = scene.with_tenant(json!({"spec": {"principals": {"roles": [role("acme-api")]}}}));
    world.settle(&tightened);
    let place = tightened.place();
    let said = read_queue(world.aws.at(&place).queues.get(SOURCE), QueueKind::Source, &place.queue_arn(SOURCE), &place);
    assert_eq!(said.grants.iter().map(|grant| grant.principal.to_string()).collect::<Vec<_>>(), [role("acme-api")]);
    assert_eq!(world.settle(&tightened).names(), [""; 0], "it is not read again and again");
}

#[test]
fn a_disabled_key_of_a_paused_queue_is_narrowed_and_stays_disabled() {
    for lifecycle in [KeyLifecycle::Disabled, KeyLifecycle::PendingDeletion] {
        let (mut world, scene) = orders();
        world.meddle(|world| key_mut(world, &scene).metadata.lifecycle = lifecycle.clone());
        let held = scene.paused("orders").with_tenant(json!({"spec": {"principals": {"roles": [role("acme-api")]}}}));
        assert!(world.settle(&held).writes().contains(&"PutKeyPolicy".to_owned()));
        assert_eq!(world.aws.keys().next().unwrap().metadata.lifecycle, lifecycle);
        let key = read_key(world.aws.keys().next().unwrap(), &held);
        assert!(key.grants.values().flatten().all(|grant| grant.principal.to_string().ends_with("acme-api")), "{key:?}");
    }
}

#[test]
fn a_disabled_key_gets_its_policy_before_anyone_may_use_it() {
    let (mut world, scene) = orders();
    world.meddle(|world| key_mut(world, &scene).metadata.lifecycle = KeyLifecycle::Disabled);
    let writes = world.check(&scene.clone().with_queue("orders", super::consumers(&["acme-second"]))).writes();
    let position = |wanted: &str| writes.iter().position(|name| name == wanted).unwrap();
    assert!(position("PutKeyPolicy") < position("EnableKey"), "{writes:?}");
}

#[test]
fn a_queue_key_deleted_by_hand_stays_until_its_key_can_be_found_again() {
    let scene = Scene::of(&["orders"]);
    let undisturbed = World::default().run(&scene, false, Faults::none()).names();
    let alias = undisturbed.iter().position(|name| name == "CreateAlias").unwrap();
    for (at, last) in undisturbed.iter().enumerate().take(alias + 1).skip(3) {
        let mut world = World::default();
        assert!(world.run(&scene, false, Faults::on(at, Fault::Crash)).crashed);
        let Some(name) = world.keys.keys().next().cloned() else { continue };
        // Someone deletes the object; the operator goes on until its finalizer may go.
        let mut observed = ObservedKey::recorded(&world.keys[&name].status.0);
        for _ in 0..20 {
            let actions = plan_key_remade(&world.desired_key(&scene, &name), &observed, WINDOW, world.now);
            let action = actions.first().expect("never nothing").clone();
            match action {
                KeyAction::EndObject { .. } => break,
                KeyAction::Hold(hold) => world.wait(hold.until.map_or(1, |until| until.duration_since(world.now).as_secs() + 1)),
                KeyAction::RecordKey { .. } => observed.note(&action, encrypted_queue::plan::effect::KeyEffect::Done, world.now),
                _ => {
                    let (place, now) = (scene.place(), world.now);
                    let effect = world.aws.apply_to_key(&place, &action, now).unwrap();
                    observed.note(&action, effect, now);
                }
            }
        }
        world.keys.remove(&name);
        world.settle(&scene);
        world.assert_rest(&scene);
        assert_eq!(world.aws.keys().count(), 1, "after {last}");
    }
}

#[test]
fn one_that_was_let_go_of_loses_nothing_by_what_becomes_of_the_others() {
    let scene = Scene::sharing_a_key(&["bills", "mail", "orders"]);
    let mut world = made(&scene);
    let held = grants(&world, &scene, "bills");
    let without = scene.clone().deleted("bills");
    world.settle(&without);
    // Another is paused, and goes as well.
    for (others, released) in
        [(without.clone().paused("orders"), 1), (without.clone().deleted("mail"), 2), (without.deleted("mail").deleted("orders"), 2)]
    {
        world.check(&others);
        assert_eq!(grants(&world, &scene, "bills"), held);
        assert!(world.keys.is_empty() || status_of_key(&world).released_queues.len() == released, "{:?}", status_of_key(&world).released_queues);
    }
}

#[test]
fn letting_go_of_a_queue_writes_no_policy() {
    for names in [&["orders"][..], &["bills", "orders"]] {
        let scene = Scene::sharing_a_key(names);
        let mut world = made(&scene);
        let run = world.check(&scene.deleted("orders"));
        assert!(run.names().contains(&"RecordReleased".to_owned()) && !run.names().contains(&"PutKeyPolicy".to_owned()), "{:?}", run.names());
    }
}

#[test]
fn only_a_key_of_its_own_that_could_not_be_found_again_keeps_a_queue_key_that_was_deleted() {
    let another: Tags = [("encryptedqueue.dev/cluster".to_owned(), "another".to_owned())].into();
    let next = |alias: bool, tags: &Tags, lifecycle: KeyLifecycle| {
        let (mut world, scene) = orders();
        world.meddle(|world| {
            if !alias {
                world.aws.at_mut(&scene.place()).aliases.clear();
            }
            let key = key_mut(world, &scene);
            key.tags.extend(tags.clone());
            key.metadata.lifecycle = lifecycle;
        });
        let name = world.keys.keys().next().unwrap().clone();
        let (desired, mut observed) = (world.desired_key(&scene, &name), ObservedKey::recorded(&world.keys[&name].status.0));
        let read = plan_key_remade(&desired, &observed, WINDOW, world.now).remove(0);
        let effect = world.aws.apply_to_key(&scene.place(), &read, world.now).unwrap();
        observed.note(&read, effect, world.now);
        Did::Key(plan_key_remade(&desired, &observed, WINDOW, world.now).remove(0)).name()
    };
    let ours = Tags::new();
    assert_eq!(next(true, &ours, KeyLifecycle::Enabled), "EndObject");
    assert_eq!(next(false, &ours, KeyLifecycle::Enabled), "CreateAlias");
    assert_eq!(next(false, &ours, KeyLifecycle::PendingDeletion), "CancelKeyDeletion", "KMS gives such a key no alias");
    assert_eq!(next(false, &another, KeyLifecycle::Enabled), "EndObject");
}
