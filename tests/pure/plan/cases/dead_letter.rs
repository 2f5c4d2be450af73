//! A dead-letter queue that is no longer declared.

use encrypted_queue::outcome::End;
use encrypted_queue::policy::access::Capability;
use jiff::SignedDuration;
use serde_json::json;

use super::{DEAD_LETTER, SOURCE, orders, queue_mut, with_any_fault};
use crate::declare::role;
use crate::plan::judge::read_key;
use crate::plan::worker::Faults;
use crate::plan::world::{Scene, World, named};

fn without(scene: &Scene) -> Scene {
    scene.clone().with_queue("orders", json!({"spec": {"deadLetter": null}}))
}

fn receives_dead_letters(world: &World, scene: &Scene) -> bool {
    let key = world.aws.keys().next().unwrap();
    let grants = &read_key(key, scene).grants[&scene.place().queue_arn(SOURCE)];
    grants.iter().any(|grant| grant.capability == Capability::ReceiveDeadLetters && grant.principal.to_string() == role("acme-worker"))
}

#[test]
fn with_messages_it_stays_readable_until_it_is_empty() {
    let (mut world, before) = orders();
    let after = without(&before);
    queue_mut(&mut world, &before, DEAD_LETTER).messages = 2;
    let began = world.now;
    let run = world.settle(&after);
    assert_eq!(run.held(), ["QueueNotEmpty"]);
    let end = world.pass_over_queue(&after, &named("orders"), false, &mut Faults::none(), &mut Vec::new());
    let again = if let Some(End::Held(hold)) = end { hold.until } else { None };
    assert_eq!(again, Some(world.now + SignedDuration::from_secs(30)), "SQS does not tell when it is empty");
    assert!(world.now >= began + SignedDuration::from_secs(120), "what was on its way has arrived");
    assert!(!queue_mut(&mut world, &after, SOURCE).attributes.contains_key("RedrivePolicy"), "nothing new comes in");
    assert!(queue_mut(&mut world, &after, DEAD_LETTER).attributes["RedriveAllowPolicy"].contains("denyAll"));
    assert!(receives_dead_letters(&world, &after));
    assert!(queue_mut(&mut world, &after, DEAD_LETTER).attributes.contains_key("KmsMasterKeyId"));

    queue_mut(&mut world, &after, DEAD_LETTER).messages = 0;
    world.settle(&after);
    world.assert_rest(&after);
    let status = world.queue_status(&named("orders"));
    assert_eq!((status.dead_letter_queue, status.dead_letter_queue_unused_since), (None, None));
    assert!(queue_mut(&mut world, &after, DEAD_LETTER).tags.contains_key("encryptedqueue.dev/released"), "let go of, as the deletion policy says");

    // Declared again, it is taken back.
    world.settle(&before);
    world.assert_rest(&before);
    assert!(!queue_mut(&mut world, &before, DEAD_LETTER).tags.contains_key("encryptedqueue.dev/released"));
}

#[test]
fn with_delete_it_is_deleted_once_empty_or_given_up() {
    for messages in [0, 5] {
        let (mut world, before) = orders();
        let before = before.with_queue("orders", json!({"spec": {"deletionPolicy": "Delete"}}));
        world.settle(&before);
        queue_mut(&mut world, &before, DEAD_LETTER).messages = messages;
        let mut after = without(&before);
        if messages > 0 {
            assert_eq!(world.settle(&after).held(), ["QueueNotEmpty"]);
            after = after.with_queue("orders", json!({"metadata": {"annotations": {"encryptedqueue.dev/delete-non-empty": "true"}}}));
        }
        world.settle(&after);
        world.assert_rest(&after);
        assert!(!world.aws.at(&after.place()).queues.contains_key(DEAD_LETTER));
    }
}

#[test]
fn a_fault_anywhere_leads_to_the_same_end() {
    let (made, before) = orders();
    let after = without(&before);
    let actions = with_any_fault(&made, &after, |world, which| {
        assert_eq!(world.queue_status(&named("orders")).dead_letter_queue, None, "{which}");
    });
    assert!(actions > 8);
}

#[test]
fn one_that_somebody_deleted_is_not_made_again() {
    let (mut world, before) = orders();
    let after = without(&before);
    world.meddle(|world| drop(world.aws.at_mut(&before.place()).queues.remove(DEAD_LETTER)));
    let run = world.settle(&after);
    assert!(!run.names().iter().any(|did| did == "CreateQueue"), "{:?}", run.names());
    world.assert_rest(&after);
}

#[test]
fn a_tier_that_requires_one_keeps_it() {
    let (mut world, before) = orders();
    let after = without(&before).with_tier(json!({"spec": {"deadLetter": "Required"}}));
    world.settle(&after);
    world.assert_rest(&after);
    assert!(world.queue_status(&named("orders")).dead_letter_queue.is_some());
}

#[test]
fn one_that_has_become_anothers_is_left_to_them() {
    let (mut world, before) = orders();
    world.meddle(|world| {
        let tags = &mut queue_mut(world, &before, DEAD_LETTER).tags;
        tags.insert("encryptedqueue.dev/cluster".to_owned(), "another".to_owned());
    });
    let (after, theirs) = (without(&before), queue_mut(&mut world, &before, DEAD_LETTER).clone());
    let run = world.settle(&after);
    assert_eq!(run.held(), [""; 0], "{:?}", run.told());
    assert_eq!(*queue_mut(&mut world, &after, DEAD_LETTER), theirs);
    assert_eq!(world.queue_status(&named("orders")).dead_letter_queue, None);
    world.assert_rest(&after);
}
