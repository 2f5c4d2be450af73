//! Someone else changes a key.

use std::collections::BTreeSet;

use encrypted_queue::plan::state::{KeyLifecycle, KmsGrant, RotationState};
use serde_json::json;

use super::{key_mut, made, orders};
use crate::plan::aws::Key;
use crate::plan::world::{Scene, World};

/// What a check does after someone changed the key; everything is as declared then.
fn repair(change: impl Fn(&mut Key)) -> Vec<String> {
    let (mut world, scene) = orders();
    world.meddle(|world| change(key_mut(world, &scene)));
    let run = world.check(&scene);
    world.assert_rest(&scene);
    assert_eq!(world.aws.keys().count(), 1);
    run.writes()
}

fn grant(id: &str) -> KmsGrant {
    KmsGrant { id: id.to_owned(), grantee: "arn:aws:iam::111122223333:role/stranger".to_owned(), operations: BTreeSet::from(["Decrypt".to_owned()]) }
}

#[test]
fn a_disabled_key_is_enabled() {
    assert_eq!(repair(|key| key.metadata.lifecycle = KeyLifecycle::Disabled), ["EnableKey"]);
}

#[test]
fn a_key_pending_deletion_is_kept_and_enabled() {
    assert_eq!(repair(|key| key.metadata.lifecycle = KeyLifecycle::PendingDeletion), ["CancelKeyDeletion", "EnableKey"]);
}

#[test]
fn grants_are_revoked() {
    assert_eq!(repair(|key| key.grants = vec![grant("one"), grant("two")]), ["RevokeGrant", "RevokeGrant"]);
}

#[test]
fn rotation_is_turned_on_again() {
    assert_eq!(repair(|key| key.rotation = RotationState::default()), ["EnableKeyRotation"]);
    assert_eq!(repair(|key| key.rotation.period_days = Some(365)), ["EnableKeyRotation"]);
}

#[test]
fn where_the_endpoint_does_not_report_the_period_what_was_applied_counts() {
    let (mut world, scene) = orders();
    key_mut(&mut world, &scene).rotation.period_days = None;
    assert_eq!(world.check(&scene).writes(), [""; 0]);
}

#[test]
fn the_policy_is_put_again() {
    let change = |key: &mut Key| {
        let mut policy: serde_json::Value = serde_json::from_str(&key.policy).unwrap();
        policy["Statement"]
            .as_array_mut()
            .unwrap()
            .push(json!({"Sid": "Mine", "Effect": "Allow", "Principal": "*", "Action": "kms:Decrypt", "Resource": "*"}));
        key.policy = policy.to_string();
    };
    assert_eq!(repair(change), ["PutKeyPolicy"]);
}

#[test]
fn a_policy_in_another_order_is_left_alone() {
    // The simulated KMS shows every policy in another order than it was written in.
    let (mut world, scene) = orders();
    let run = world.check(&scene);
    assert_eq!((run.names().contains(&"ReadKey".to_owned()), run.writes()), (true, vec![]));
}

#[test]
fn tags_are_written_again_and_foreign_ones_stay() {
    assert_eq!(repair(|key| drop(key.tags.remove("encryptedqueue.dev/nonce"))), ["TagKey"]);
    assert_eq!(repair(|key| drop(key.tags.insert("owner".to_owned(), "me".to_owned()))), ["TagKey"]);
    assert_eq!(repair(|key| drop(key.tags.insert("backup".to_owned(), "daily".to_owned()))), [""; 0]);
}

#[test]
fn a_stolen_alias_is_brought_back() {
    let (mut world, scene) = orders();
    world.meddle(|world| {
        let now = world.now;
        let id = world.aws.create_key(&scene.place(), r#"{"Version":"2012-10-17","Statement":[]}"#, &[].into(), "a stranger", now).id;
        for target in world.aws.at_mut(&scene.place()).aliases.values_mut() {
            target.clone_from(&id);
        }
    });
    assert_eq!(world.check(&scene).writes(), ["CreateAlias", "UpdateAlias"]);
    world.assert_rest(&scene);
    world.meddle(|world| world.aws.at_mut(&scene.place()).aliases.clear());
    assert_eq!(world.check(&scene).writes(), ["CreateAlias"]);
}

#[test]
fn a_key_whose_tags_name_another_owner_is_left_alone() {
    let (mut world, scene) = orders();
    world.meddle(|world| {
        let key = key_mut(world, &scene);
        key.tags.insert("encryptedqueue.dev/cluster".to_owned(), "another".to_owned());
        key.metadata.lifecycle = KeyLifecycle::Disabled;
    });
    let run = world.check(&scene);
    assert_eq!((run.writes(), run.held()), (vec![], vec!["KeyConflict"]));
}

#[test]
fn a_fresh_object_does_not_take_a_strangers_key_by_its_alias() {
    let (mut world, scene): (World, Scene) = (World::default(), Scene::of(&["orders"]));
    let mut elsewhere = made(&scene);
    let alias = elsewhere.aws.at_mut(&scene.place()).aliases.keys().next().unwrap().clone();
    let now = world.now;
    let id = world.aws.create_key(&scene.place(), "{}", &[("owner".to_owned(), "me".to_owned())].into(), "a stranger", now).id;
    world.aws.at_mut(&scene.place()).aliases.insert(alias, id);
    let run = world.settle(&scene);
    assert_eq!(run.writes(), [""; 0]);
    assert!(run.held().contains(&"KeyConflict"), "{:?}", run.ends);
}
