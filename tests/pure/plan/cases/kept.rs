//! Refused and paused queues keep what they have, less what the rules no longer admit.

use encrypted_queue::policy::queue_policy::{Denial, QueueKind};
use serde_json::json;

use super::{SOURCE, consumers, made, orders, queue_mut};
use crate::declare::{role, tenant};
use crate::plan::judge::{read_key, read_queue};
use crate::plan::worker::Faults;
use crate::plan::world::{Scene, World, named};

/// Whom the queue's policy admits, whom the key's.
fn admitted(world: &World, scene: &Scene) -> (Vec<String>, Vec<String>) {
    let (site, place) = (world.aws.at(&scene.place()), scene.place());
    let queue = read_queue(site.queues.get(SOURCE), QueueKind::Source, &place.queue_arn(SOURCE), &place);
    let key = read_key(site.keys.values().next().unwrap(), scene);
    let names = |grants: &std::collections::BTreeSet<encrypted_queue::policy::access::Grant>| {
        let mut names: Vec<_> = grants.iter().map(|grant| grant.principal.to_string().rsplit('/').next().unwrap().to_owned()).collect();
        names.sort();
        names.dedup();
        names
    };
    (names(&queue.grants), key.grants.get(&place.queue_arn(SOURCE)).map(names).unwrap_or_default())
}

fn refused(scene: &Scene) -> Scene {
    scene.clone().with_queue("orders", json!({"spec": {"queue": {"messageRetentionSeconds": 60}}}))
}

/// Only the API may be granted any more.
fn tightened(scene: Scene) -> Scene {
    scene.with_tenant(json!({"spec": {"principals": {"roles": [role("acme-api")]}}}))
}

#[test]
fn a_refused_or_paused_queue_keeps_everything() {
    let (before, scene) = orders();
    let edited = scene.clone().with_queue("orders", json!({"spec": {"tags": {"stage": "live"}, "queue": {"delaySeconds": 1}}}));
    for held in [refused(&scene), scene.clone().paused("orders"), edited.paused("orders")] {
        let mut world = before.clone();
        assert_eq!(world.settle(&held).writes(), [""; 0]);
        assert_eq!(world.settle(&held).names(), [""; 0], "it is not read again and again");
        assert_eq!(world.aws, before.aws);
        world.settle(&scene);
        world.assert_rest(&scene);
    }
}

#[test]
fn a_tightened_rule_takes_its_grants_at_once() {
    let (before, scene) = orders();
    for held in [tightened(scene.clone()), tightened(scene.clone().paused("orders"))] {
        let mut world = before.clone();
        let run = world.settle(&held);
        assert_eq!(run.writes(), ["SetQueueAttributes", "SetQueueAttributes", "PutKeyPolicy"]);
        assert_eq!(admitted(&world, &held), (vec!["acme-api".to_owned()], vec!["acme-api".to_owned()]));
        assert_eq!(world.check(&held).writes(), [""; 0]);
    }
}

#[test]
fn a_rule_loosened_again_opens_the_queue_only_after_the_key() {
    let (mut world, scene) = orders();
    world.settle(&tightened(scene.clone()));
    let mut did = Vec::new();
    // The judge of every write sees to the order.
    world.pass_over_queue(&scene, &named("orders"), false, &mut Faults::none(), &mut did);
    assert_eq!(admitted(&world, &scene).0, ["acme-api"]);
    world.settle(&scene);
    world.assert_rest(&scene);
}

#[test]
fn in_a_shared_key_a_refused_queue_neither_loses_nor_delays() {
    let scene = Scene::sharing_a_key(&["bills", "orders"]);
    let mut world = made(&scene);
    let held = refused(&scene).with_queue("bills", consumers(&["acme-worker", "acme-second"]));
    world.settle(&held);
    world.assert_rest(&held);
    assert_eq!(
        admitted(&world, &held),
        (vec!["acme-api".to_owned(), "acme-worker".to_owned()], vec!["acme-api".to_owned(), "acme-worker".to_owned()])
    );
}

#[test]
fn a_kept_queue_keeps_its_denies_when_the_tier_no_longer_asks_for_them() {
    let (mut world, scene) = orders();
    let held = tightened(refused(&scene)).with_tier(json!({"spec": {"access": {"others": "Unstated"}}}));
    assert_eq!(world.settle(&held).writes(), ["SetQueueAttributes", "SetQueueAttributes", "PutKeyPolicy"]);
    let place = held.place();
    let said = read_queue(world.aws.at(&place).queues.get(SOURCE), QueueKind::Source, &place.queue_arn(SOURCE), &place);
    assert!(said.denied.contains(&Denial::OthersReceive), "{said:?}");
}

#[test]
fn a_suspended_tenants_paused_queues_are_cut_off_even_without_a_policy() {
    for remove_policy in [false, true] {
        let (mut world, scene) = orders();
        if remove_policy {
            world.meddle(|world| drop(queue_mut(world, &scene, SOURCE).attributes.remove("Policy")));
        }
        let held = scene.paused("orders").with_tenant(json!({"spec": {"access": "Suspended"}}));
        assert_eq!(world.settle(&held).writes(), ["SetQueueAttributes", "SetQueueAttributes", "PutKeyPolicy"]);
        let place = held.place();
        let said = read_queue(world.aws.at(&place).queues.get(SOURCE), QueueKind::Source, &place.queue_arn(SOURCE), &place);
        assert!(said.denied.contains(&Denial::Suspended), "{said:?}");
    }
}

#[test]
fn a_kept_queue_that_is_not_ours_any_more_is_left_alone() {
    let (mut world, scene) = orders();
    world.meddle(|world| drop(queue_mut(world, &scene, SOURCE).tags.remove("encryptedqueue.dev/object")));
    let run = world.settle(&tightened(scene));
    assert_eq!(run.writes(), ["SetQueueAttributes", "PutKeyPolicy"], "the dead-letter queue and the key");
    assert_eq!(tenant().spec.principals.roles.len(), 2);
}

#[test]
fn rules_that_tighten_while_a_queue_is_refused_are_noticed_each_time() {
    let scene = Scene::of(&["orders"]).with_queue("orders", consumers(&["acme-worker", "acme-second"]));
    let mut world = made(&scene);
    let held = refused(&scene);
    for roles in [vec!["acme-api", "acme-worker"], vec!["acme-api"]] {
        let roles: Vec<_> = roles.into_iter().map(role).collect();
        let held = held.clone().with_tenant(json!({"spec": {"principals": {"roles": roles}}}));
        assert_eq!(world.settle(&held).writes(), ["SetQueueAttributes", "SetQueueAttributes", "PutKeyPolicy"]);
        assert_eq!(world.settle(&held).names(), [""; 0]);
    }
    assert_eq!(admitted(&world, &held), (vec!["acme-api".to_owned()], vec!["acme-api".to_owned()]));
}

#[test]
fn administrators_of_a_paused_queues_key_go_at_once_and_come_later() {
    for list in ["keyAdministrators", "breakGlassAdministrators"] {
        let own = if list == "keyAdministrators" { "security-admin" } else { "break-glass" };
        let with = |names: &[&str]| {
            let roles: Vec<_> = names.iter().map(|name| role(name)).collect();
            Scene::of(&["orders"]).with_tenant(json!({"spec": {list: roles}}))
        };
        let run = made(&with(&[own])).settle(&with(&[own, "second-admin"]).paused("orders"));
        assert_eq!((run.writes(), run.held()), (vec![], vec!["Paused"]), "{list}");
        let run = made(&with(&[own, "second-admin"])).settle(&with(&[own]).paused("orders"));
        assert_eq!(run.writes(), ["PutKeyPolicy"], "{list}");
    }
}

#[test]
fn a_paused_queue_without_a_dead_letter_queue_is_narrowed_as_well() {
    let scene = Scene::of(&["orders"]).with_queue("orders", json!({"spec": {"deadLetter": null}}));
    let mut world = made(&scene);
    let held = tightened(scene.paused("orders"));
    assert_eq!(world.settle(&held).writes(), ["SetQueueAttributes", "PutKeyPolicy"]);
    assert_eq!(admitted(&world, &held), (vec!["acme-api".to_owned()], vec!["acme-api".to_owned()]));
}
