//! Moves to another key: what begins anew, what is on record of several earlier keys, and the very moments at which they are needed no more.

use encrypted_queue::policy::access::Capability;
use jiff::SignedDuration;
use serde_json::json;

use super::migration::{RETENTION, admits, arn_of, under};
use super::{SOURCE, consumers, orders, queue_mut};
use crate::declare::SETTLE;
use crate::plan::worker::{Fault, Faults};
use crate::plan::world::named;

#[test]
fn an_edit_of_the_access_lets_the_new_key_settle_anew() {
    let (mut world, before) = orders();
    let after = before.in_another_tier();
    let at = world.clone().settle(&after).names().iter().position(|name| name == "RecordNextKey").unwrap();
    world.run(&after, false, Faults::on(at, Fault::Crash));
    world.now += SETTLE + SignedDuration::from_secs(1);
    let wider = after.with_queue("orders", consumers(&["acme-worker", "acme-second"]));
    let names = world.settle(&wider).names();
    let at = |name: &str| names.iter().position(|did| did == name).unwrap();
    assert!(at("RecordNextKey") < at("RecordKeys"), "{names:?}");
    world.assert_rest(&wider);
}

#[test]
fn every_key_that_messages_may_be_under_stays_on_record() {
    let (mut world, first) = orders();
    let second = first.in_another_tier();
    world.settle(&second);
    let third = second.with_tier(json!({"spec": {"key": {"scope": "Tenant"}}}));
    world.settle(&third);
    world.assert_rest(&third);
    let status = world.queue_status(&named("orders"));
    let arns: Vec<_> = status.previous_keys.iter().map(|key| key.arn.as_str()).collect();
    assert_eq!(arns.len(), 2, "{arns:?}");
    assert_eq!(arns[0], arn_of(&world, "internal"));
    assert!(!under(&world, &third).contains(arns[1]));
}

#[test]
fn an_earlier_key_is_needed_up_to_the_moment_and_not_longer() {
    let (mut world, before) = orders();
    let after = before.in_another_tier();
    let old = arn_of(&world, "internal");
    world.settle(&after);
    let previous = world.queue_status(&named("orders")).previous_keys[0].clone();
    let (switched, until) = (previous.switched_at.0, previous.decrypt_until.0);
    assert_eq!(until, switched + SignedDuration::from_secs(120 + RETENTION));
    world.now = switched + SignedDuration::from_secs(120);
    world.settle(&after);
    assert_eq!(admits(&world, &after, &old), [Capability::Receive, Capability::ReceiveDeadLetters].into());
    world.now = until;
    world.settle(&after);
    assert_eq!((world.keys.len(), world.queue_status(&named("orders")).previous_keys.len()), (1, 0));
}

#[test]
fn an_edit_in_between_waits_for_both_keys() {
    let (mut world, before) = orders();
    let after = before.in_another_tier();
    let at = world.clone().settle(&after).names().iter().position(|name| name == "RecordNextKey").unwrap();
    world.run(&after, false, Faults::on(at, Fault::Crash));
    let wider = after.with_queue("orders", consumers(&["acme-worker", "acme-second"]));
    let keys: Vec<_> = world.keys.keys().cloned().collect();
    assert_eq!(keys.len(), 2);
    for key in keys {
        let (mut world, mut did) = (world.clone(), Vec::new());
        world.pass_over_key(&wider, &key, true, &mut Faults::none(), &mut did);
        assert!(world.aws.keys().any(|key| key.policy.contains("acme-second")), "one key grants it: {did:?}");
        world.pass_over_queue(&wider, &named("orders"), true, &mut Faults::none(), &mut did);
        assert!(!queue_mut(&mut world, &wider, SOURCE).attributes["Policy"].contains("acme-second"), "{did:?}");
    }
}

#[test]
fn a_queue_that_someone_put_under_another_key_comes_back_only_when_its_own_admits_its_users() {
    let (mut world, scene) = orders();
    let (own, another) = (arn_of(&world, "internal"), scene.place().key_arn("another"));
    world.meddle(|world| drop(queue_mut(world, &scene, SOURCE).attributes.insert("KmsMasterKeyId".to_owned(), another.clone())));
    let wider = scene.with_queue("orders", consumers(&["acme-worker", "acme-second"]));
    world.pass_over_queue(&wider, &named("orders"), true, &mut Faults::none(), &mut Vec::new());
    assert_eq!(queue_mut(&mut world, &wider, SOURCE).attributes["KmsMasterKeyId"], another, "the key does not grant the edit yet");
    world.check(&wider);
    assert_eq!(queue_mut(&mut world, &wider, SOURCE).attributes["KmsMasterKeyId"], own);
    world.assert_rest(&wider);
}
