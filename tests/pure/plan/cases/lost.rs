//! A key that KMS holds no longer, and a record that names the wrong one.

use encrypted_queue::api::labels::{TAG_CLUSTER, TAG_NONCE, TAG_OBJECT, TAG_TENANT};
use encrypted_queue::api::queue_key::Creation;
use encrypted_queue::plan::state::{KeyLifecycle, Tags};
use encrypted_queue::policy::access::Capability;
use jiff::SignedDuration;

use serde_json::json;

use super::{key_mut, made, orders};
use crate::plan::judge::read_key;
use crate::plan::worker::{Fault, Faults};
use crate::plan::world::{Scene, WINDOW, World, named};

/// KMS has deleted the only key, its alias with it.
fn lose(world: &mut World, scene: &Scene) {
    world.meddle(|world| {
        let site = world.aws.at_mut(&scene.place());
        site.keys.clear();
        site.aliases.clear();
    });
}

#[test]
fn the_queues_of_a_lost_key_move_to_another_at_once() {
    for scene in [Scene::of(&["orders"]), Scene::sharing_a_key(&["bills", "orders"])] {
        let mut world = made(&scene);
        let old = world.keys.values().next().unwrap().status.0.arn.clone().unwrap();
        lose(&mut world, &scene);
        world.wait(WINDOW.0.as_secs());
        let began = world.now;
        let run = world.check(&scene);
        assert!(run.names().contains(&"CreateKey".to_owned()), "{:?}", run.names());
        assert_eq!(world.now.duration_since(began).as_secs(), 0, "nothing settles on account of a key that is gone");
        world.assert_rest(&scene);
        let [key] = &world.keys.keys().collect::<Vec<_>>()[..] else { panic!("the lost one's QueueKey has ended: {:?}", world.keys.keys()) };
        assert!(key.ends_with("-2"), "{key}");
        for name in scene.queues.keys() {
            let status = world.queue_status(name);
            let [previous] = &status.previous_keys[..] else { panic!("{:?}", status.previous_keys) };
            assert_eq!((&previous.name, &previous.arn, previous.managed), (&None, &old, true));
            let ready = status.conditions.iter().find(|condition| condition.type_ == "KeyReady").unwrap();
            assert!(ready.status == "True" && ready.message.contains("cannot be read") && ready.message.contains(&old), "{ready:?}");
        }
        // What cannot be read expires, and is no longer told.
        world.wait(20 * 24 * 3600);
        world.settle(&scene);
        assert!(scene.queues.keys().all(|name| world.queue_status(name).previous_keys.is_empty()));
        world.assert_rest(&scene);
    }
}

#[test]
fn the_loss_is_told_before_anything_moves() {
    let (mut world, scene) = orders();
    lose(&mut world, &scene);
    world.wait(WINDOW.0.as_secs());
    let key = world.keys.keys().next().unwrap().clone();
    world.pass_over_key(&scene, &key, true, &mut Faults::none(), &mut Vec::new());
    let status = &world.keys[&key].status.0;
    assert!(status.lost_at.is_some());
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
    assert!(ready.reason == "KeyLost" && ready.message.contains("cannot be read any more"), "{ready:?}");
}

#[test]
fn a_crash_anywhere_on_the_way_to_another_key_leads_to_the_same_end() {
    for fault in [Fault::Crash, Fault::LostAnswer, Fault::Refusal] {
        for at in 0..24 {
            let (mut world, scene) = orders();
            lose(&mut world, &scene);
            world.wait(WINDOW.0.as_secs());
            world.run(&scene, true, Faults::on(at, fault));
            world.check(&scene);
            world.assert_rest(&scene);
            assert_eq!((world.aws.keys().count(), world.keys.len()), (1, 1), "{fault:?} at {at}");
        }
    }
}

#[test]
fn access_that_is_taken_away_meanwhile_does_not_come_back() {
    let (mut world, scene) = orders();
    lose(&mut world, &scene);
    world.wait(WINDOW.0.as_secs());
    let scene = scene.with_queue("orders", super::consumers(&["acme-reader"]));
    world.check(&scene);
    world.assert_rest(&scene);
    let held = read_key(world.aws.keys().next().unwrap(), &scene).grants.values().next().unwrap().clone();
    let receives = held.iter().filter(|grant| grant.capability == Capability::Receive);
    assert!(receives.clone().count() == 1 && receives.clone().all(|grant| grant.to_string().contains("acme-reader")), "{held:?}");
}

#[test]
fn a_key_made_just_now_is_not_lost() {
    let (mut world, scene) = orders();
    let site = world.aws.at(&scene.place());
    lose(&mut world, &scene);
    let key = world.keys.keys().next().unwrap().clone();
    let end = world.pass_over_key(&scene, &key, true, &mut Faults::none(), &mut Vec::new()).unwrap();
    assert_eq!(end.obstacle().unwrap().0.as_str(), "SearchingForKey");
    *world.aws.at_mut(&scene.place()) = site;
    world.settle(&scene);
    world.assert_rest(&scene);
    assert_eq!(world.aws.keys().count(), 1);
}

#[test]
fn when_its_window_is_over_a_key_that_kms_does_not_show_is_lost() {
    let (mut world, scene) = orders();
    lose(&mut world, &scene);
    let key = world.keys.keys().next().unwrap().clone();
    let started_at = world.keys[&key].status.0.creation.as_ref().unwrap().started_at.0;
    for (at, reason) in [(started_at + WINDOW.0 - SignedDuration::from_secs(1), "SearchingForKey"), (started_at + WINDOW.0, "KeyLost")] {
        let mut world = world.clone();
        world.now = at;
        let end = world.pass_over_key(&scene, &key, true, &mut Faults::none(), &mut Vec::new()).unwrap();
        assert_eq!(end.obstacle().unwrap().0.as_str(), reason);
    }
}

#[test]
fn a_record_that_somebody_edited_loses_no_key() {
    let (mut world, scene) = edited(|status| status.access_revision = Some(7));
    lose(&mut world, &scene);
    // The seal covers id, ARN and nonce.
    world.keys.values_mut().next().unwrap().status.0.key_sha256 = Some("0".repeat(64));
    let key = world.keys.keys().next().unwrap().clone();
    let end = world.pass_over_key(&scene, &key, true, &mut Faults::none(), &mut Vec::new()).unwrap();
    assert_eq!(end.obstacle().unwrap().0.as_str(), "KeyConflict");
    assert_eq!(world.keys[&key].status.0.lost_at, None);
}

#[test]
fn a_key_that_comes_back_is_not_lost_any_more() {
    let (mut world, scene) = orders();
    let site = world.aws.at(&scene.place());
    lose(&mut world, &scene);
    world.wait(WINDOW.0.as_secs());
    let key = world.keys.keys().next().unwrap().clone();
    world.pass_over_key(&scene, &key, true, &mut Faults::none(), &mut Vec::new());
    *world.aws.at_mut(&scene.place()) = site;
    world.pass_over_key(&scene, &key, false, &mut Faults::none(), &mut Vec::new());
    assert_eq!(world.keys[&key].status.0.lost_at, None);
    world.check(&scene);
    world.assert_rest(&scene);
    assert_eq!((world.aws.keys().count(), world.keys.len()), (1, 1));
}

#[test]
fn the_end_of_a_lost_key_needs_nothing_of_kms() {
    for policy in ["Retain", "Delete"] {
        let scene = Scene::of(&["orders"]).with_queue("orders", json!({"spec": {"deletionPolicy": policy}}));
        let mut world = made(&scene);
        lose(&mut world, &scene);
        world.wait(WINDOW.0.as_secs());
        world.settle(&scene.clone().deleted("orders"));
        assert!(world.keys.is_empty() && world.queues.is_empty());
    }
}

/// Somebody edits the QueueKey's status.
fn edited(change: impl Fn(&mut encrypted_queue::api::QueueKeyStatus)) -> (World, Scene) {
    let (mut world, scene) = orders();
    let now = world.now;
    world.meddle(|world| {
        let site = scene.place();
        world.aws.create_key(&site, r#"{"Version":"2012-10-17","Statement":[]}"#, &Tags::default(), "a stranger's", now);
        change(&mut world.keys.values_mut().next().unwrap().status.0);
    });
    world.wait(WINDOW.0.as_secs());
    (world, scene)
}

#[test]
fn a_record_that_names_another_key_is_put_right_by_alias_or_marks() {
    let place = Scene::of(&["orders"]).place();
    let elsewhere = "arn:aws:kms:us-east-1:999999999999:key/key-1".to_owned();
    let named = |id: &str, arn: &str| (Some(id.to_owned()), Some(arn.to_owned()));
    let edits = [
        ("a stranger's key", named("key-2", &place.key_arn("key-2"))),
        ("a key that is not there", named("key-9", &place.key_arn("key-9"))),
        ("another account and Region", named("key-1", &elsewhere)),
        ("an id and another key's ARN", named("key-1", &place.key_arn("key-2"))),
        ("no key", (None, None)),
    ];
    for (case, (id, arn)) in edits {
        for alias_is_gone in [false, true] {
            let (mut world, scene) = edited(|status| (status.key_id, status.arn) = (id.clone(), arn.clone()));
            if alias_is_gone {
                world.aws.at_mut(&place).aliases.clear();
            }
            let stranger = world.aws.at(&place).keys["key-2"].clone();
            let key = world.keys.keys().next().unwrap().clone();
            let mut did = Vec::new();
            for _ in 0..2 {
                world.pass_over_key(&scene, &key, false, &mut Faults::none(), &mut did);
            }
            assert_eq!(world.keys[&key].status.0.arn.as_deref(), Some(place.key_arn("key-1").as_str()), "{case}: {did:?}");
            // What is in another account, or contradicts itself, is not asked of KMS.
            let asks_first = did.first().is_some_and(|did| did.name() == "ReadKey");
            assert_eq!(asks_first, arn.as_ref().is_some_and(|arn| *arn == place.key_arn(id.as_ref().unwrap())), "{case}: {did:?}");
            world.check(&scene);
            world.assert_rest(&scene);
            assert_eq!(world.aws.at(&place).keys["key-2"], stranger, "{case}");
            assert_eq!(world.aws.keys().count(), 2, "{case}");
        }
    }
}

#[test]
fn another_nonce_or_a_cleared_status_is_put_right() {
    let nonce = |status: &mut encrypted_queue::api::QueueKeyStatus| {
        let started_at = status.creation.as_ref().map(|creation| creation.started_at.clone()).unwrap();
        status.creation = Some(Creation { nonce: "mine".to_owned(), started_at });
    };
    for clear in [false, true] {
        let (mut world, scene) = edited(|status| if clear { *status = encrypted_queue::api::QueueKeyStatus::default() } else { nonce(status) });
        let key = world.keys.keys().next().unwrap().clone();
        for _ in 0..2 {
            world.pass_over_key(&scene, &key, false, &mut Faults::none(), &mut Vec::new());
        }
        assert_eq!(world.keys[&key].status.0.creation.as_ref().unwrap().nonce, "nonce-1");
        world.check(&scene);
        world.assert_rest(&scene);
    }
}

#[test]
fn where_nothing_tells_which_key_it_is_nothing_is_written() {
    let place = Scene::of(&["orders"]).place();
    let (mut world, scene) = edited(|status| (status.key_id, status.arn) = (Some("key-2".to_owned()), Some(place.key_arn("key-2"))));
    let site = world.aws.at_mut(&place);
    site.aliases.clear();
    site.keys.remove("key-1");
    let before = world.aws.clone();
    let key = world.keys.keys().next().unwrap().clone();
    let end = world.pass_over_key(&scene, &key, true, &mut Faults::none(), &mut Vec::new()).unwrap();
    let (reason, message) = end.obstacle().unwrap();
    assert_eq!(reason.as_str(), "KeyConflict");
    assert!(message.contains("key-2, which is not managed by this operator") && message.contains("delete the QueueKey"), "{message}");
    assert_eq!(world.aws, before);
}

#[test]
fn tags_that_somebody_took_off_are_put_back_where_all_else_says_whose_key_it_is() {
    for taken in [vec![TAG_CLUSTER], vec![TAG_CLUSTER, TAG_OBJECT, TAG_TENANT], vec![TAG_CLUSTER, TAG_OBJECT, TAG_TENANT, TAG_NONCE]] {
        for lifecycle in [KeyLifecycle::Enabled, KeyLifecycle::Disabled, KeyLifecycle::PendingDeletion] {
            let (mut world, scene) = orders();
            world.meddle(|world| {
                let key = key_mut(world, &scene);
                key.tags.retain(|tag, _| !taken.contains(&tag.as_str()));
                key.metadata.lifecycle = lifecycle.clone();
            });
            world.check(&scene);
            world.assert_rest(&scene);
            assert_eq!(world.aws.keys().count(), 1);
        }
    }
    // The policy's id is enough, and so is the alias.
    for by_policy in [true, false] {
        let (mut world, scene) = orders();
        world.meddle(|world| {
            let key = key_mut(world, &scene);
            key.tags.clear();
            if by_policy {
                world.aws.at_mut(&scene.place()).aliases.clear();
            } else {
                key.policy = key.policy.replace("encryptedqueue.dev/nonce-1", "theirs");
            }
        });
        world.check(&scene);
        world.assert_rest(&scene);
        assert_eq!(world.aws.keys().count(), 1);
    }
    // Without alias and policy id nothing says so any more.
    let (mut world, scene) = orders();
    world.meddle(|world| {
        let key = key_mut(world, &scene);
        key.tags.clear();
        key.policy = key.policy.replace("encryptedqueue.dev/nonce-1", "theirs");
        world.aws.at_mut(&scene.place()).aliases.clear();
    });
    let before = world.aws.clone();
    let run = world.check(&scene);
    assert!(run.held().contains(&"KeyConflict"), "{:?}", run.ends);
    assert_eq!(world.aws, before);
}

#[test]
fn a_key_without_tags_still_ends_as_declared() {
    for (policy, released) in [("Retain", true), ("Delete", false)] {
        let scene = Scene::of(&["orders"]).with_queue("orders", json!({"spec": {"deletionPolicy": policy}}));
        let mut world = made(&scene);
        world.meddle(|world| key_mut(world, &scene).tags.clear());
        world.settle(&scene.clone().deleted("orders"));
        let key = world.aws.keys().next().unwrap();
        assert_eq!(key.tags.contains_key("encryptedqueue.dev/released"), released);
        assert_eq!(key.metadata.lifecycle == KeyLifecycle::PendingDeletion, !released);
    }
}

#[test]
fn a_use_that_nothing_explains_keeps_a_key_that_was_left() {
    let before = Scene::of(&["orders"]).with_queue("orders", json!({"spec": {"deletionPolicy": "Delete"}}));
    let mut world = made(&before);
    let admitted = crate::declare::tenant().spec.sensitivity_tiers.into_iter().chain(["restricted".to_owned()]).collect::<Vec<_>>();
    let after = before
        .with_tenant(json!({"spec": {"sensitivityTiers": admitted}}))
        .with_tier(json!({"metadata": {"name": "restricted"}}))
        .with_queue("orders", json!({"spec": {"sensitivityTier": "restricted"}}));
    world.settle(&after);
    let previous = world.queue_status(&named("orders")).previous_keys[0].clone();
    let (switched, until) = (previous.switched_at.0, previous.decrypt_until.0);
    let day = SignedDuration::from_hours(24);
    let pending_at = |now, operation: &str, at, hidden: bool| {
        let mut world = world.clone();
        world.aws.at_mut(&after.place()).keys.get_mut("key-1").unwrap().used = Some((at, operation.to_owned()));
        world.aws.hides_use = hidden;
        world.now = now;
        let run = world.settle(&after);
        let is_pending = world.aws.at(&after.place()).keys["key-1"].metadata.lifecycle == KeyLifecycle::PendingDeletion;
        let told = run.told().iter().any(|message| message.contains(operation) && message.contains("kept until nobody has used it"));
        assert_eq!((is_pending, told), if is_pending { (true, false) } else { (false, true) }, "{operation} {at}: {:?}", run.told());
        is_pending
    };
    let pending = |operation: &str, at, hidden| pending_at(until, operation, at, hidden);
    assert!(pending("Decrypt", until - day, false), "consumers read what was there");
    assert!(!pending("GenerateDataKey", switched + day, false), "somebody sends under it");
    assert!(pending("GenerateDataKey", switched, false));
    assert!(pending("GenerateDataKey", switched + day, true), "where KMS does not tell, the queues have the word");
    // SQS may know late that the queue has left, and the clock of KMS may be behind.
    let (late, second) = (switched + SignedDuration::from_secs(120 + 300), SignedDuration::from_secs(1));
    assert!(pending("GenerateDataKey", late, false) && !pending("GenerateDataKey", late + second, false));
    // Quiet for as long as the deletion takes, it is needed no more.
    let (used, month) = (switched + day, SignedDuration::from_hours(30 * 24));
    assert!(!pending_at(used + month - second, "GenerateDataKey", used, false) && pending_at(used + month, "GenerateDataKey", used, false));
}
