//! What a pass has noted of its own doing is on record at once, however it ends.

use std::collections::BTreeSet;

use encrypted_queue::plan::observed::CurrentKey;
use encrypted_queue::plan::{ObservedKey, ObservedQueue};
use serde_json::json;

use super::deleted::{approve, with_approval};
use super::{SOURCE, consumers, made, orders, queue_mut};
use crate::declare::{SETTLE, role};
use crate::plan::aws::Queue;
use crate::plan::operator::Did;
use crate::plan::worker::{Faults, KeyWorker, QueueWorker, Step};
use crate::plan::world::{Scene, World, named};

/// What of a queue's record actions write; a key's ARN comes at the end of a pass.
fn of_queue(observed: &ObservedQueue) -> ObservedQueue {
    let all = observed.clone();
    ObservedQueue {
        current_key: all.current_key.map(|key| CurrentKey { arn: None, ..key }),
        next_key: all.next_key,
        previous_keys: all.previous_keys,
        adoption: all.adoption,
        applied_sha256: all.applied_sha256,
        applied_tag_keys: all.applied_tag_keys,
        dead_letter_recorded: all.dead_letter_recorded,
        dead_letter_unused_since: all.dead_letter_unused_since,
        ..ObservedQueue::default()
    }
}

/// What of a key's record actions write.
fn of_key(observed: &ObservedKey) -> ObservedKey {
    let mut all = observed.clone();
    all.nonce.iter_mut().for_each(|nonce| nonce.fresh = false);
    ObservedKey {
        key_id: all.key_id,
        arn: all.arn,
        nonce: all.nonce,
        users: all.users,
        released_queues: all.released_queues,
        access_revision: all.access_revision,
        approval: all.approval,
        deleted: all.deleted,
        applied_sha256: all.applied_sha256,
        applied_tag_keys: all.applied_tag_keys,
        rotation_served: all.rotation_served,
        rotation_serving: all.rotation_serving,
        rotation_started: all.rotation_started,
        rotations_on_demand: all.rotations_on_demand,
        genuine: all.genuine,
        lost: all.lost,
        ..ObservedKey::default()
    }
}

/// Checks everything again and again, with pauses, and compares after every action; returns the names of the actions.
fn compared(mut world: World, scene: &Scene) -> BTreeSet<String> {
    let (mut did, mut faults) = (BTreeSet::new(), Faults::none());
    for _ in 0..6 {
        for name in scene.queues.keys().filter(|name| world.exists(scene, name)).cloned().collect::<Vec<_>>() {
            let mut worker = QueueWorker::begin(&world, scene, &name, true);
            while let Step::Did(action) = worker.step(&mut world, scene, &mut faults) {
                let recorded = ObservedQueue::recorded(&world.queue_status(&name));
                assert!(!world.queues.contains_key(&name) || of_queue(&recorded) == of_queue(&worker.observed), "{action:?}: {recorded:?}");
                did.insert(Did::Queue(action).name());
            }
        }
        for name in world.keys.keys().cloned().collect::<Vec<_>>() {
            let mut worker = KeyWorker::begin(&world, scene, &name, true);
            while let Step::Did(action) = worker.step(&mut world, scene, &mut faults) {
                let recorded = world.keys.get(&name).map(|key| ObservedKey::recorded(&key.status.0));
                assert!(recorded.as_ref().is_none_or(|recorded| of_key(recorded) == of_key(&worker.observed)), "{action:?}: {recorded:?}");
                did.insert(Did::Key(action).name());
            }
        }
        world.now += SETTLE;
    }
    did
}

#[test]
fn what_a_pass_notes_is_on_record_before_its_next_action() {
    let (world, scene) = orders();
    let mut did = compared(World::default(), &scene);
    did.extend(compared(world.clone(), &scene.in_another_tier()));
    did.extend(compared(world.clone(), &scene.clone().with_queue("orders", json!({"spec": {"deadLetter": null}}))));
    let mut later = world.clone();
    later.wait(24 * 60 * 60);
    let rotating = json!({"spec": {"key": {"rotateRequestedAt": "2026-11-24T00:00:00Z"}}});
    did.extend(compared(later, &scene.clone().with_queue("orders", rotating)));
    let mut without_worker = world;
    without_worker.meddle(|world| world.aws.delete_role(&role("acme-worker"), "AROAWORKERS0FIRST0LIFE"));
    without_worker.aws.make_role_again(&role("acme-worker"));
    did.extend(compared(without_worker, &scene));

    let (mut approved, asking) = with_approval(scene);
    let wider = asking.with_queue("orders", consumers(&["acme-worker", "acme-second"]));
    approved.settle(&wider);
    approve(&mut approved);
    did.extend(compared(approved, &wider));

    let sharing = Scene::sharing_a_key(&["bills", "orders"]);
    did.extend(compared(made(&sharing), &sharing.clone().deleted("bills")));

    let taking_over = Scene::of(&["orders"])
        .with_tenant(json!({"spec": {"adoptableQueueNames": ["*"]}}))
        .with_queue("orders", json!({"spec": {"adoption": "IfUnowned"}}));
    let mut found = World::default();
    found.aws.at_mut(&taking_over.place()).queues.insert(SOURCE.to_owned(), Queue::default());
    queue_mut(&mut found, &taking_over, SOURCE).attributes.insert("VisibilityTimeout".to_owned(), "77".to_owned());
    did.extend(compared(found, &taking_over));

    let records: Vec<&str> = did.iter().map(String::as_str).filter(|name| name.starts_with("Record") || name.starts_with("Forget")).collect();
    let all = [
        "ForgetApplied",
        "ForgetDeadLetter",
        "RecordAdoption",
        "RecordDeadLetterUnused",
        "RecordDeletedPrincipals",
        "RecordKey",
        "RecordKeys",
        "RecordNextKey",
        "RecordNonce",
        "RecordReleased",
        "RecordRotationServed",
        "RecordRotationStart",
        "RecordUsers",
    ];
    assert_eq!(records, all);
}

#[test]
fn when_a_queue_was_made_stays_on_record() {
    let (mut world, scene) = orders();
    let made_at = world.queue_status(&named("orders")).created_at;
    assert!(made_at.is_some());
    world.wait(60);
    world.check(&scene);
    assert_eq!(world.queue_status(&named("orders")).created_at, made_at);
}
