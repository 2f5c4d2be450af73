//! The end of a declaration.

use encrypted_queue::api::DeletionPolicy;
use encrypted_queue::plan::KeyAction;
use encrypted_queue::plan::state::KeyLifecycle;
use serde_json::json;

use super::{DEAD_LETTER, SOURCE, key_mut, made, orders, queue_mut};
use crate::plan::operator::Did;
use crate::plan::worker::{Fault, Faults};
use crate::plan::world::{Scene, WINDOW, World, named};

fn with_delete() -> Scene {
    Scene::of(&["orders"]).with_queue("orders", json!({"spec": {"deletionPolicy": "Delete"}}))
}

#[test]
fn retain_lets_go_of_queues_and_key() {
    let (mut world, scene) = orders();
    let before = world.aws.clone();
    let run = world.settle(&scene.clone().deleted("orders"));
    assert_eq!(run.names(), ["ReadQueues", "TagQueue", "TagQueue", "RemoveFinalizer", "ReadKey", "TagKey", "EndObject"]);
    assert!(world.keys.is_empty() && world.queues.is_empty());
    let (was, is) = (before.at(&scene.place()), world.aws.at(&scene.place()));
    for name in [SOURCE, DEAD_LETTER] {
        assert_eq!(is.queues[name].attributes, was.queues[name].attributes);
        assert_eq!(is.queues[name].tags["encryptedqueue.dev/released"], "2026-11-23T00:00:01Z");
    }
}

#[test]
fn delete_takes_queues_and_key() {
    let scene = with_delete();
    let mut world = made(&scene);
    let run = world.settle(&scene.clone().deleted("orders"));
    assert_eq!(
        run.names(),
        ["ReadQueues", "DeleteQueue", "DeleteQueue", "RemoveFinalizer", "ReadKey", "FindQueuesUnderKey", "ScheduleKeyDeletion", "EndObject"]
    );
    assert_eq!(world.aws.queues().count(), 0);
    let key = world.aws.keys().next().unwrap();
    assert_eq!(key.metadata.lifecycle, KeyLifecycle::PendingDeletion);
    assert_eq!(key.metadata.deletion_date.unwrap().duration_since(world.now).as_hours(), 30 * 24);
}

#[test]
fn a_queue_with_messages_is_not_deleted_unless_its_owner_says_so() {
    for (name, said) in [(SOURCE, "in the queue"), (DEAD_LETTER, "in the dead-letter queue")] {
        let scene = with_delete();
        let mut world = made(&scene);
        queue_mut(&mut world, &scene, name).messages = 3;
        let ending = scene.deleted("orders");
        let run = world.settle(&ending);
        assert_eq!((run.writes(), run.held()), (vec![], vec!["QueueNotEmpty"]));
        let message = run.told().remove(0);
        assert!(message.contains(&format!("3 messages {said}")) && message.contains("delete-non-empty"), "{message}");
        let told = ending.with_queue("orders", json!({"metadata": {"annotations": {"encryptedqueue.dev/delete-non-empty": "true"}}}));
        world.settle(&told);
        assert_eq!(world.aws.queues().count(), 0);
    }
}

#[test]
fn a_key_that_another_queue_points_at_is_not_deleted() {
    let scene = with_delete();
    let mut world = made(&scene);
    let stranger = queue_mut(&mut world, &scene, SOURCE).clone();
    world.aws.at_mut(&scene.place()).queues.insert("strangers".to_owned(), super::Queue { tags: [].into(), ..stranger });
    let run = world.settle(&scene.clone().deleted("orders"));
    assert_eq!(run.held(), ["InUse"]);
    assert_eq!(key_mut(&mut world, &scene).metadata.lifecycle, KeyLifecycle::Enabled);
    world.aws.at_mut(&scene.place()).queues.clear();
    world.settle(&scene.clone().deleted("orders"));
    assert_eq!(key_mut(&mut world, &scene).metadata.lifecycle, KeyLifecycle::PendingDeletion);
}

#[test]
fn of_a_shared_key_the_last_queue_takes_the_key() {
    let scene = Scene::sharing_a_key(&["bills", "orders"]);
    let mut world = made(&scene);
    let one_left = scene.deleted("bills");
    world.settle(&one_left);
    world.assert_rest(&one_left);
    assert_eq!(world.keys.len(), 1);
    world.settle(&one_left.deleted("orders"));
    assert!(world.keys.is_empty());
}

#[test]
fn queues_of_others_are_left_alone_at_the_end() {
    let (mut world, scene) = orders();
    world.meddle(|world| {
        queue_mut(world, &scene, SOURCE).tags.insert("encryptedqueue.dev/cluster".to_owned(), "another".to_owned());
        key_mut(world, &scene).tags.insert("encryptedqueue.dev/cluster".to_owned(), "another".to_owned());
    });
    let run = world.settle(&scene.deleted("orders"));
    assert_eq!(run.writes(), ["TagQueue"], "the dead-letter queue alone");
    assert!(world.keys.is_empty() && world.queues.is_empty());
}

#[test]
fn a_key_made_just_before_a_crash_is_found_before_its_object_ends() {
    for (tags_visible_after, policy) in [(0, "Retain"), (120, "Retain"), (120, "Delete")] {
        let scene = Scene::of(&["orders"]).with_queue("orders", json!({"spec": {"deletionPolicy": policy}}));
        let mut world = World::default();
        world.aws.tags_visible_after = jiff::SignedDuration::from_secs(tags_visible_after);
        // ReadQueues, AddFinalizer, EnsureKey, FindByAlias, RecordNonce, CreateKey.
        assert!(world.run(&scene, false, Faults::on(5, Fault::Crash)).crashed);
        assert_eq!(world.aws.keys().count(), 1);
        world.settle(&scene.deleted("orders"));
        assert!(world.keys.is_empty());
        let key = world.aws.keys().next().unwrap();
        assert!(key.tags.contains_key("encryptedqueue.dev/released") || key.metadata.lifecycle == KeyLifecycle::PendingDeletion, "{key:?}");
    }
}

#[test]
fn an_object_whose_key_was_never_made_just_ends() {
    let scene = Scene::of(&["orders"]);
    // AddFinalizer, EnsureKey, FindByAlias, RecordNonce.
    for crash_after in 1..4 {
        let mut world = World::default();
        world.run(&scene, false, Faults::on(crash_after, Fault::Crash));
        world.settle(&scene.clone().deleted("orders"));
        assert!(world.keys.is_empty() && world.queues.is_empty());
        assert_eq!((world.aws.keys().count(), world.aws.queues().count()), (0, 0));
    }
}

#[test]
fn an_object_whose_queues_are_gone_waits_for_nobody() {
    for policy in ["Retain", "Delete"] {
        let scene = Scene::sharing_a_key(&["bills", "orders"]).with_queue("orders", json!({"spec": {"deletionPolicy": policy}}));
        let (mut world, mut did) = (made(&scene), Vec::new());
        world.meddle(|world| world.aws.at_mut(&scene.place()).queues.retain(|name, _| ![SOURCE, DEAD_LETTER].contains(&name.as_str())));
        world.pass_over_queue(&scene.deleted("orders"), &named("orders"), false, &mut Faults::none(), &mut did);
        assert!(!world.queues.contains_key(&named("orders")), "{policy}: {did:?}");
    }
}

#[test]
fn a_key_that_kms_may_show_late_is_waited_for() {
    let scene = with_delete();
    let mut world = made(&scene);
    let made_at = world.keys.values().next().unwrap().status.0.creation.as_ref().unwrap().started_at.0;
    world.meddle(|world| world.aws.at_mut(&scene.place()).keys.clear());
    world.settle(&scene.deleted("orders"));
    assert!(world.keys.is_empty());
    assert!(world.now >= made_at + WINDOW.0);
}

#[test]
fn with_delete_a_key_that_has_become_anothers_is_let_go_of() {
    let scene = with_delete();
    let mut world = made(&scene);
    world.meddle(|world| drop(key_mut(world, &scene).tags.insert("encryptedqueue.dev/cluster".to_owned(), "another".to_owned())));
    let run = world.settle(&scene.clone().deleted("orders"));
    let ends: Vec<_> =
        run.did.iter().filter_map(|did| if let Did::Key(KeyAction::EndObject { policy }) = did { Some(*policy) } else { None }).collect();
    assert_eq!(ends, [DeletionPolicy::Retain]);
    assert_eq!(key_mut(&mut world, &scene).metadata.lifecycle, KeyLifecycle::Enabled);
}
