//! Edits of a declaration.

use serde_json::json;

use super::{DEAD_LETTER, SOURCE, consumers, made, orders};
use crate::declare::role;
use crate::plan::judge::{read_key, read_queue};
use crate::plan::worker::Faults;
use crate::plan::world::{Scene, World, named};
use encrypted_queue::policy::queue_policy::QueueKind;

fn says_who_receives(world: &World, scene: &Scene) -> (bool, bool) {
    let site = world.aws.at(&scene.place());
    let queue = read_queue(site.queues.get(SOURCE), QueueKind::Source, &scene.place().queue_arn(SOURCE), &scene.place());
    let key = read_key(site.keys.values().next().unwrap(), scene);
    let second = |grants: &std::collections::BTreeSet<encrypted_queue::policy::access::Grant>| {
        grants.iter().any(|grant| grant.principal.to_string() == role("acme-second"))
    };
    (key.grants.values().any(second), second(&queue.grants))
}

#[test]
fn a_setting_is_changed_with_one_call_and_nothing_else() {
    let (mut world, scene) = orders();
    let edited = scene.with_queue("orders", json!({"spec": {"queue": {"visibilityTimeoutSeconds": 90, "delaySeconds": 5}}}));
    assert_eq!(world.settle(&edited).names(), ["ReadQueues", "ForgetApplied", "SetQueueAttributes"]);
    world.assert_rest(&edited);
}

#[test]
fn widening_waits_for_the_key() {
    let (mut world, scene) = orders();
    let edited = scene.with_queue("orders", consumers(&["acme-worker", "acme-second"]));
    let mut did = Vec::new();
    world.pass_over_queue(&edited, &named("orders"), false, &mut Faults::none(), &mut did);
    assert_eq!(says_who_receives(&world, &edited), (false, false));
    let key = world.keys.keys().next().unwrap().clone();
    world.pass_over_key(&edited, &key, false, &mut Faults::none(), &mut did);
    assert_eq!(says_who_receives(&world, &edited), (true, false), "the key first");
    world.settle(&edited);
    assert_eq!(says_who_receives(&world, &edited), (true, true));
    world.assert_rest(&edited);
}

#[test]
fn narrowing_waits_for_nobody() {
    let scene = Scene::of(&["orders"]).with_queue("orders", consumers(&["acme-worker", "acme-second"]));
    let narrowed = scene.clone().with_queue("orders", consumers(&["acme-worker"]));
    let mut world = made(&scene);
    let mut did = Vec::new();
    world.pass_over_queue(&narrowed, &named("orders"), false, &mut Faults::none(), &mut did);
    assert_eq!(says_who_receives(&world, &narrowed), (true, false), "the queue does not wait for the key");
    let (mut world, key) = (made(&scene), world.keys.keys().next().unwrap().clone());
    world.pass_over_key(&narrowed, &key, false, &mut Faults::none(), &mut did);
    assert_eq!(says_who_receives(&world, &narrowed), (false, true), "nor the key for the queue");
    world.settle(&narrowed);
    world.assert_rest(&narrowed);
}

#[test]
fn one_edit_that_narrows_and_widens_narrows_at_once() {
    let (mut world, scene) = orders();
    let edited = scene.with_queue("orders", consumers(&["acme-second"]));
    let mut did = Vec::new();
    world.pass_over_queue(&edited, &named("orders"), false, &mut Faults::none(), &mut did);
    let site = world.aws.at(&edited.place());
    let said = read_queue(site.queues.get(SOURCE), QueueKind::Source, &edited.place().queue_arn(SOURCE), &edited.place());
    assert!(said.grants.iter().all(|grant| grant.principal.to_string() == role("acme-api")), "{said:?}");
    world.settle(&edited);
    world.assert_rest(&edited);
}

#[test]
fn a_suspended_tenant_is_cut_off_everywhere_and_let_in_again() {
    let (mut world, scene) = orders();
    let suspended = scene.clone().with_tenant(json!({"spec": {"access": "Suspended"}}));
    assert_eq!(world.settle(&suspended).writes(), ["SetQueueAttributes", "SetQueueAttributes", "PutKeyPolicy"]);
    world.assert_rest(&suspended);
    world.settle(&scene);
    world.assert_rest(&scene);
}

#[test]
fn tags_no_longer_declared_are_removed_and_foreign_ones_stay() {
    let (mut world, scene) = orders();
    super::queue_mut(&mut world, &scene, DEAD_LETTER).tags.insert("backup".to_owned(), "daily".to_owned());
    let edited = scene.with_queue("orders", json!({"spec": {"tags": {"workload": null, "stage": "live"}}}));
    world.settle(&edited);
    world.assert_rest(&edited);
    let site = world.aws.at(&edited.place());
    let (queue, key) = (&site.queues[DEAD_LETTER].tags, &site.keys.values().next().unwrap().tags);
    assert_eq!((queue.get("workload"), queue["stage"].as_str(), queue["backup"].as_str()), (None, "live", "daily"));
    assert_eq!((key.get("workload"), key["stage"].as_str()), (None, "live"));
}

#[test]
fn the_deletion_policy_reaches_the_queue_key() {
    let (mut world, scene) = orders();
    let edited = scene.with_queue("orders", json!({"spec": {"deletionPolicy": "Delete"}}));
    assert_eq!(world.settle(&edited).names(), ["EnsureKey"]);
    assert_eq!(world.keys.values().next().unwrap().spec.deletion_policy, encrypted_queue::api::DeletionPolicy::Delete);
}

#[test]
fn status_says_until_when_cached_data_keys_may_serve_whoever_lost_access() {
    let (mut world, scene) = orders();
    let until = |world: &World| world.queue_status(&named("orders")).access.and_then(|access| access.cached_data_keys_until).map(|time| time.0);
    let wider = scene.clone().with_queue("orders", consumers(&["acme-worker", "acme-second"]));
    world.settle(&wider);
    assert_eq!(until(&world), None, "nobody lost anything");
    // The longer of the old and the new reuse period counts: 900 s, then 300 s.
    let reuse = |seconds: i32| json!({"spec": {"key": {"dataKeyReuseSeconds": seconds}}});
    world.settle(&wider.with_queue("orders", reuse(900)));
    let before = world.now;
    world.settle(&scene.clone().with_queue("orders", reuse(300)));
    let said = until(&world).unwrap();
    assert!(said >= before + jiff::SignedDuration::from_secs(900) && said <= world.now + jiff::SignedDuration::from_secs(901), "{said}");
    // A suspension and a rule that is tightened over a refused queue revoke too.
    world.wait(2000);
    let before = world.now;
    let suspended = scene.with_queue("orders", json!({"spec": {"queue": {"messageRetentionSeconds": 60}}}));
    world.settle(&suspended.with_tenant(json!({"spec": {"access": "Suspended"}})));
    assert!(until(&world).unwrap() >= before + jiff::SignedDuration::from_secs(300));
}

#[test]
fn a_later_revocation_does_not_shorten_what_status_says_of_an_earlier_one() {
    let with = |names: &[&str], reuse: i32| {
        let scene = Scene::of(&["orders"]).with_queue("orders", consumers(names));
        scene.with_queue("orders", json!({"spec": {"key": {"dataKeyReuseSeconds": reuse}}}))
    };
    let mut world = made(&with(&["acme-worker", "acme-second", "acme-third"], 900));
    let until = |world: &World| world.queue_status(&named("orders")).access.unwrap().cached_data_keys_until.unwrap().0;
    world.settle(&with(&["acme-worker", "acme-second"], 300));
    let first = until(&world);
    world.wait(10);
    let second = world.now;
    world.settle(&with(&["acme-worker"], 300));
    assert!(first > second + jiff::SignedDuration::from_secs(600), "SQS may still have data keys of before");
    assert_eq!(until(&world), first);
}

#[test]
fn a_role_that_kms_does_not_know_opens_the_queue_to_nobody_before_the_key_does() {
    let (mut world, scene) = orders();
    world.aws.missing.insert(role("acme-ghost"));
    let edited = scene.with_queue("orders", consumers(&["acme-worker", "acme-ghost"]));
    world.settle(&edited);
    let wider = edited.with_queue("orders", consumers(&["acme-worker", "acme-ghost", "acme-second"]));
    world.pass_over_queue(&wider, &named("orders"), true, &mut Faults::none(), &mut Vec::new());
    assert_eq!(says_who_receives(&world, &wider), (false, false));
    world.settle(&wider);
    assert_eq!(says_who_receives(&world, &wider), (true, true));
}
