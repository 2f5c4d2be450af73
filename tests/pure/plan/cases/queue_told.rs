//! What a queue's plan tells people.

use encrypted_queue::api::Reason;
use encrypted_queue::plan::{ObservedKeyObject, ObservedQueue, QueueAction, plan_queue};
use serde_json::json;

use crate::declare::declared;
use crate::plan::world::{Scene, World};

#[test]
fn what_stalls_the_key_stalls_the_queue_and_what_passes_is_waited_for() {
    let desired = declared().judged().unwrap();
    let told = |reason, message: &str| {
        let deletion_policy = desired.deletion_policy;
        let not_ready = Some((reason, message.to_owned()));
        let key = ObservedKeyObject { name: desired.key_name.clone(), deletion_policy, not_ready, ..ObservedKeyObject::default() };
        let observed = ObservedQueue { finalizer: true, key: Some(key), ..ObservedQueue::default() };
        let [QueueAction::Hold(hold)] = &plan_queue(&desired, &observed, "2026-11-23T00:00:00Z".parse().unwrap())[..] else { panic!("waits") };
        assert!(hold.message.ends_with(message), "{}", hold.message);
        hold.reason
    };
    assert_eq!(told(Reason::KeyUnusable, "it is gone"), Reason::KeyUnusable);
    assert_eq!(told(Reason::SearchingForKey, "its tags are looked for"), Reason::WaitingForKey);
}

#[test]
fn whose_a_queue_of_the_name_is_is_told() {
    let told = |tags| {
        let (mut world, scene) = (World::default(), Scene::of(&["orders"]));
        let theirs = super::Queue { tags: serde_json::from_value(tags).unwrap(), ..super::Queue::default() };
        world.aws.at_mut(&scene.place()).queues.insert(super::SOURCE.to_owned(), theirs);
        world.settle(&scene).told().remove(0).to_owned()
    };
    assert!(told(json!({})).contains(super::SOURCE));
    let theirs = json!({"encryptedqueue.dev/cluster": "another", "encryptedqueue.dev/object": "acme-prod/orders"});
    let message = told(theirs);
    assert!(message.contains("acme-prod/orders") && message.contains("another"), "{message}");
}
