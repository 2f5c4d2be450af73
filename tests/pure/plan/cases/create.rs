//! Making queues and keys.

use encrypted_queue::plan::QueueAction;
use encrypted_queue::policy::queue_policy::QueueKind;

use super::{made, orders};
use crate::plan::operator::Did;
use crate::plan::world::{Scene, World, named};
use serde_json::json;

#[test]
fn a_queue_its_dead_letter_queue_and_their_key_take_seven_calls_to_aws() {
    let (mut world, scene) = (World::default(), Scene::of(&["orders"]));
    let run = world.settle(&scene);
    let expected = [
        "ReadQueues",
        "AddFinalizer",
        "EnsureKey",
        "FindByAlias",
        "RecordNonce",
        "CreateKey",
        "RecordKey",
        "CreateAlias",
        "EnableKeyRotation",
        "ReadQueues",
        "CreateQueue",
        "CreateQueue",
    ];
    assert_eq!(run.names(), expected);
    let made: Vec<_> =
        run.did.iter().filter_map(|did| if let Did::Queue(QueueAction::CreateQueue { which, .. }) = did { Some(*which) } else { None }).collect();
    assert_eq!(made, [QueueKind::DeadLetter, QueueKind::Source], "the queue's redrive policy names the dead-letter queue");
    world.assert_rest(&scene);
}

#[test]
fn the_second_queue_of_a_shared_key_waits_until_the_key_grants() {
    let one = Scene::sharing_a_key(&["orders"]);
    let mut world = made(&one);
    let two = Scene::sharing_a_key(&["orders", "bills"]);
    let run = world.settle(&two);
    let expected = [
        "AddFinalizer",
        "ReadQueues",
        "ReadKey",
        "ForgetApplied",
        "PutKeyPolicy",
        "RecordUsers",
        "UntagKey",
        "ReadQueues",
        "CreateQueue",
        "CreateQueue",
    ];
    assert_eq!(run.names(), expected);
    world.assert_rest(&two);
    assert_eq!(world.aws.keys().count(), 1);
    assert_eq!(world.keys.values().next().unwrap().status.0.users.len(), 2);
}

#[test]
fn at_rest_nothing_is_read() {
    let (mut world, scene) = orders();
    assert_eq!(world.settle(&scene).names(), [""; 0]);
}

#[test]
fn ready_waits_for_the_queues_first_second() {
    let (mut world, scene) = (World::default(), Scene::of(&["orders"]));
    let began = world.now;
    world.settle(&scene);
    assert_eq!(world.now.duration_since(began).as_secs(), 1);
}

#[test]
fn a_queue_of_the_name_that_is_not_ours_is_left_alone() {
    for tags in [
        json!({}),
        json!({"encryptedqueue.dev/cluster": "another", "encryptedqueue.dev/object": "acme-prod/orders", "encryptedqueue.dev/tenant": "acme"}),
    ] {
        let (mut world, scene) = (World::default(), Scene::of(&["orders"]));
        let theirs = super::Queue { tags: serde_json::from_value(tags).unwrap(), ..super::Queue::default() };
        world.aws.at_mut(&scene.place()).queues.insert(super::SOURCE.to_owned(), theirs.clone());
        let run = world.settle(&scene);
        assert_eq!(run.held(), ["QueueConflict"]);
        assert_eq!(world.aws.queues().collect::<Vec<_>>(), [(&super::SOURCE.to_owned(), &theirs)]);
    }
}

#[test]
fn what_was_let_go_is_taken_back_by_a_new_object_of_the_name() {
    let (mut world, scene) = orders();
    world.settle(&scene.clone().deleted("orders"));
    assert!(world.queues.is_empty() && world.keys.is_empty());
    let again = scene.with_queue("orders", json!({"metadata": {"uid": "another-uid"}}));
    world.settle(&again);
    world.assert_rest(&again);
    assert_eq!(world.aws.keys().count(), 1);
    for (name, queue) in world.aws.queues() {
        assert!(!queue.tags.contains_key("encryptedqueue.dev/released"), "{name}");
    }
    assert!(world.queue_status(&named("orders")).queue.is_some());
}

#[test]
fn no_key_is_made_for_queues_that_are_all_refused_or_paused() {
    let scene = Scene::of(&["orders"]);
    let mut world = World::default();
    let mut did = Vec::new();
    world.pass_over_queue(&scene, &named("orders"), false, &mut crate::plan::worker::Faults::none(), &mut did);
    assert_eq!(world.keys.len(), 1, "the QueueKey is there, and its key is not");
    let refused = scene.clone().with_queue("orders", json!({"spec": {"queue": {"messageRetentionSeconds": 60}}}));
    for held in [refused, scene.clone().paused("orders")] {
        let run = world.settle(&held);
        assert!(run.held().contains(&"Pending"), "{:?}", run.ends);
        assert_eq!((world.aws.keys().count(), world.aws.queues().count()), (0, 0));
    }
    world.settle(&scene);
    world.assert_rest(&scene);
}
