//! A queue moves to another key: another tier's, or another scope's.

use std::collections::BTreeSet;

use encrypted_queue::plan::state::KeyLifecycle;
use encrypted_queue::policy::access::Capability;
use jiff::SignedDuration;
use serde_json::json;

use super::{DEAD_LETTER, SOURCE, consumers, made, orders, queue_mut, with_any_fault};
use crate::declare::SETTLE;
use crate::plan::judge::read_key;
use crate::plan::worker::{Fault, Faults};
use crate::plan::world::{Recorded, Scene, World, named};

/// Retention of both queues of the declaration: four days and fourteen.
pub(super) const RETENTION: i64 = 345_600 + 1_209_600;

/// ARNs of the keys that the two queues are under.
pub(super) fn under(world: &World, scene: &Scene) -> BTreeSet<String> {
    let queues = &world.aws.at(&scene.place()).queues;
    [SOURCE, DEAD_LETTER].iter().map(|name| queues[*name].attributes["KmsMasterKeyId"].clone()).collect()
}

pub(super) fn arn_of(world: &World, tier: &str) -> String {
    let key = world.keys.values().find(|key| key.spec.sensitivity_tier == tier && key.status.0.arn.is_some());
    key.and_then(|key| key.status.0.arn.clone()).unwrap()
}

/// What a key admits through the queue, by capability.
pub(super) fn admits(world: &World, scene: &Scene, arn: &str) -> BTreeSet<Capability> {
    let key = world.aws.keys().find(|key| key.metadata.arn == arn).unwrap();
    let grants = read_key(key, scene).grants.get(&scene.place().queue_arn(SOURCE)).cloned().unwrap_or_default();
    grants.iter().map(|grant| grant.capability).collect()
}

#[test]
fn another_tier_moves_the_queue_step_by_step() {
    let (mut world, before) = orders();
    let after = before.in_another_tier();
    let old = arn_of(&world, "internal");
    let all = admits(&world, &before, &old);

    // The new key is made and granted; the queue stays where it is until that has settled.
    let began = world.now;
    let run = world.settle(&after);
    let new = arn_of(&world, "restricted");
    assert_ne!(old, new);
    assert!(run.held().is_empty() && world.now >= began + SETTLE, "it waits for the new key to settle, and then goes on by itself");
    assert_eq!(under(&world, &after), [new.clone()].into());
    let names = run.names();
    let at = |name: &str| names.iter().position(|did| did == name).unwrap();
    assert!(at("CreateKey") < at("RecordNextKey") && at("RecordNextKey") < at("SetQueueAttributes") && at("SetQueueAttributes") < at("RecordKeys"));
    world.assert_rest(&after);
    let status = world.queue_status(&named("orders"));
    assert_eq!((status.key.unwrap().arn, status.next_key), (Some(new.clone()), None));
    let [previous] = &status.previous_keys[..] else { panic!("{:?}", status.previous_keys) };
    assert_eq!((&previous.arn, previous.managed), (&old, true));
    let switched = previous.switched_at.0;
    assert_eq!(previous.decrypt_until.0, switched + SignedDuration::from_secs(120 + RETENTION));

    let retirement = world.keys.values().find(|key| key.spec.sensitivity_tier == "internal").unwrap().status.0.retirement.clone().unwrap();
    assert_eq!(retirement.since.unwrap().0.as_second(), switched.as_second());
    assert_eq!(retirement.decrypt_until.unwrap().0.as_second(), previous.decrypt_until.0.as_second());

    // Producers keep the old key while the switch spreads, consumers while messages under it may live.
    assert_eq!(admits(&world, &after, &old), all);
    world.now = switched + SignedDuration::from_secs(121);
    world.settle(&after);
    assert_eq!(admits(&world, &after, &old), [Capability::Receive, Capability::ReceiveDeadLetters].into());
    world.assert_rest(&after);
    world.now = switched + SignedDuration::from_secs(119 + RETENTION);
    world.settle(&after);
    assert_eq!(admits(&world, &after, &old), [Capability::Receive, Capability::ReceiveDeadLetters].into());
    world.now = switched + SignedDuration::from_secs(121 + RETENTION);
    world.settle(&after);
    world.assert_rest(&after);
    assert_eq!((world.keys.len(), world.queue_status(&named("orders")).previous_keys.len()), (1, 0));
    let key = world.aws.keys().find(|key| key.metadata.arn == old).unwrap();
    assert!(key.tags.contains_key("encryptedqueue.dev/released"), "let go of, as its deletion policy says");
    assert_eq!(admits(&world, &after, &new), all);
}

#[test]
fn a_crash_anywhere_in_between_leads_to_the_same_end() {
    let (made, before) = orders();
    let after = before.in_another_tier();
    let actions = with_any_fault(&made, &after, |world, which| {
        assert_eq!(under(world, &after), [arn_of(world, "restricted")].into(), "{which}");
        assert_eq!(world.aws.keys().count(), 2, "no second key");
        assert_eq!(world.queue_status(&named("orders")).previous_keys.len(), 1);
    });
    assert!(actions > 10);
}

#[test]
fn until_the_new_key_has_settled_the_queue_is_under_the_old_one_and_edits_need_both() {
    let (mut world, before) = orders();
    let after = before.in_another_tier();
    let old = arn_of(&world, "internal");
    let (mut did, name) = (Vec::new(), named("orders"));
    for _ in 0..3 {
        world.pass_over_queue(&after, &name, false, &mut Faults::none(), &mut did);
        for key in world.keys.keys().cloned().collect::<Vec<_>>() {
            world.pass_over_key(&after, &key, false, &mut Faults::none(), &mut did);
        }
    }
    assert_eq!(under(&world, &after), [old.clone()].into());
    let status = world.queue_status(&name);
    assert_eq!(status.key.unwrap().arn, Some(old.clone()));
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
    assert!(ready.reason == "Migrating" && ready.message.contains("once that has settled, at "), "{ready:?}");
    assert!(status.next_key.unwrap().granted_at.is_some());
    // Drift is repaired to the old key meanwhile.
    world.meddle(|world| queue_mut(world, &after, SOURCE).switch_to_sse_sqs());
    world.pass_over_queue(&after, &name, true, &mut Faults::none(), &mut did);
    assert_eq!(under(&world, &after), [old.clone()].into());
    // A consumer who is added needs both keys before the queue opens, and settling begins anew.
    let wider = after.clone().with_queue("orders", consumers(&["acme-worker", "acme-second"]));
    let began = world.now;
    world.settle(&wider);
    world.assert_rest(&wider);
    assert!(world.now >= began + SETTLE);
    assert_eq!(under(&world, &wider), [arn_of(&world, "restricted")].into());
    let key = world.aws.keys().find(|key| key.metadata.arn == old).unwrap();
    let grants = read_key(key, &wider).grants[&wider.place().queue_arn(SOURCE)].clone();
    assert!(grants.iter().any(|grant| grant.principal.to_string().ends_with("acme-second")), "messages under the old key are theirs too");
}

#[test]
fn taken_back_before_the_switch_it_stays_and_the_new_key_ends() {
    let (mut world, before) = orders();
    let after = before.in_another_tier();
    let old = arn_of(&world, "internal");
    let at = world.clone().settle(&after).names().iter().position(|name| name == "RecordNextKey").unwrap();
    world.run(&after, false, Faults::on(at, Fault::Crash));
    world.settle(&before);
    world.assert_rest(&before);
    assert_eq!((under(&world, &before), world.keys.len()), ([old].into(), 1));
    assert_eq!(world.queue_status(&named("orders")).next_key, None);
}

#[test]
fn moved_back_the_old_key_is_the_current_one_again() {
    let (mut world, before) = orders();
    let after = before.in_another_tier();
    let old = arn_of(&world, "internal");
    world.settle(&after);
    let new = arn_of(&world, "restricted");
    world.settle(&before);
    world.assert_rest(&before);
    assert_eq!(under(&world, &before), [old].into());
    let previous = world.queue_status(&named("orders")).previous_keys;
    assert_eq!(previous.iter().map(|key| key.arn.as_str()).collect::<Vec<_>>(), [new]);
}

#[test]
fn another_scope_moves_the_queue_to_the_shared_key_and_back() {
    let (mut world, own) = orders();
    let old = arn_of(&world, "internal");
    let shared = own.clone().with_tier(json!({"spec": {"key": {"scope": "Tenant"}}}));
    world.settle(&shared);
    world.assert_rest(&shared);
    let [now] = &under(&world, &shared).into_iter().collect::<Vec<_>>()[..] else { panic!("one key") };
    assert_ne!(*now, old);
    world.settle(&own);
    world.assert_rest(&own);
    assert_eq!(under(&world, &own), [old].into());
}

fn passes_over_keys(world: &mut World, scene: &Scene) {
    for key in world.keys.keys().cloned().collect::<Vec<_>>() {
        world.pass_over_key(scene, &key, true, &mut Faults::none(), &mut Vec::new());
    }
}

/// So many that nothing is left to do but wait.
fn passes_at_once(world: &mut World, scene: &Scene) {
    for _ in 0..6 {
        world.pass_over_queue(scene, &named("orders"), false, &mut Faults::none(), &mut Vec::new());
        passes_over_keys(world, scene);
    }
}

/// Nobody can read what is under a key that was forgotten.
#[test]
fn a_record_that_somebody_cleared_in_mid_migration_is_found_again() {
    let (began, before) = orders();
    let (old, all) = (arn_of(&began, "internal"), admits(&began, &before, &arn_of(&began, "internal")));
    let after = before.in_another_tier();
    // Before the queue is pointed at the new key, and after that.
    for has_moved in [false, true] {
        let mut world = began.clone();
        if has_moved {
            world.settle(&after);
        } else {
            passes_at_once(&mut world, &after);
        }
        let status = world.queue_status(&named("orders"));
        assert_eq!((status.next_key.is_some_and(|next| next.granted_at.is_some()), status.previous_keys.len()), (!has_moved, usize::from(has_moved)));
        let cleared_at = world.now;
        world.meddle(|world| world.queues.get_mut(&named("orders")).unwrap().status = Recorded::default());
        passes_over_keys(&mut world, &after);
        assert_eq!(admits(&world, &after, &old), all, "the key keeps what it holds until the queue knows better");
        world.settle(&after);
        world.assert_rest(&after);
        let status = world.queue_status(&named("orders"));
        assert_eq!(under(&world, &after), [status.key.unwrap().arn.unwrap()].into());
        let [previous] = &status.previous_keys[..] else { panic!("{:?}", status.previous_keys) };
        assert_eq!(previous.arn, old);
        assert!(
            previous.switched_at.0 >= cleared_at && previous.decrypt_until.0 == previous.switched_at.0 + SignedDuration::from_secs(120 + RETENTION)
        );
        world.now = previous.decrypt_until.0 - SignedDuration::from_secs(1);
        world.settle(&after);
        assert_eq!(admits(&world, &after, &old), [Capability::Receive, Capability::ReceiveDeadLetters].into());
    }
}

#[test]
fn what_is_needed_of_the_old_key_ends_to_the_moment() {
    let (mut world, before) = orders();
    let key = world.keys.keys().next().unwrap().clone();
    let after = before.in_another_tier();
    world.settle(&after);
    let previous = world.queue_status(&named("orders")).previous_keys[0].clone();
    let needed = |at| {
        let world = World { now: at, ..world.clone() };
        world.desired_key(&after, &key).users.iter().flat_map(|user| user.access.grants.keys().map(|grant| grant.capability)).collect::<BTreeSet<_>>()
    };
    let (second, spread_at) = (SignedDuration::from_secs(1), previous.switched_at.0 + SignedDuration::from_secs(120));
    assert!(needed(spread_at - second).contains(&Capability::Send));
    assert!(!needed(spread_at).contains(&Capability::Send) && needed(spread_at).contains(&Capability::Receive));
    assert!(needed(previous.decrypt_until.0 - second).contains(&Capability::Receive));
    assert!(needed(previous.decrypt_until.0).is_empty());
}

#[test]
fn raised_retention_lengthens_what_is_still_to_expire() {
    let (mut world, before) = orders();
    let after = before.in_another_tier();
    world.settle(&after);
    let until = |world: &World| world.queue_status(&named("orders")).previous_keys[0].decrypt_until.0;
    let first = until(&world);
    let longer = after.clone().with_queue("orders", json!({"spec": {"queue": {"messageRetentionSeconds": 1_209_600}}}));
    world.settle(&longer);
    assert_eq!(until(&world).duration_since(first).as_secs(), 1_209_600 - 345_600);
    world.settle(&after);
    assert_eq!(until(&world).duration_since(first).as_secs(), 1_209_600 - 345_600, "messages sent meanwhile live as long as they were given");
}

#[test]
fn deleted_on_the_way_both_keys_end_and_no_queue_is_left_without() {
    for policy in ["Retain", "Delete"] {
        let scene = Scene::of(&["orders"]).with_queue("orders", json!({"spec": {"deletionPolicy": policy}}));
        let after = scene.in_another_tier();
        let made = made(&scene);
        let actions = made.clone().settle(&after).names().len();
        for at in 0..actions {
            let mut world = made.clone();
            world.run(&after, false, Faults::on(at, Fault::Crash));
            world.settle(&after.clone().deleted("orders"));
            assert!(world.keys.is_empty() && world.queues.is_empty(), "{policy} after {at} actions: {:?}", world.keys.keys());
            let gone = |lifecycle: &KeyLifecycle| *lifecycle == KeyLifecycle::PendingDeletion;
            if policy == "Delete" {
                assert!(world.aws.queues().count() == 0 && world.aws.keys().all(|key| gone(&key.metadata.lifecycle)));
            } else {
                assert!(world.aws.keys().all(|key| !gone(&key.metadata.lifecycle) && key.tags.contains_key("encryptedqueue.dev/released")));
            }
        }
    }
}
