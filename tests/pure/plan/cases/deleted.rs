//! Someone deletes a role that policies name: AWS shows its unique id, and a role made again under its name is another.

use std::collections::BTreeSet;

use encrypted_queue::api::queue_key::QueueKeyStatus;
use encrypted_queue::desired::Approval;
use encrypted_queue::plan::grants::approval_sha256;
use encrypted_queue::policy::queue_policy::QueueKind;
use serde_json::json;

use super::{SOURCE, consumers, made, orders};
use crate::declare::role;
use crate::plan::judge::{read_key, read_queue};
use crate::plan::operator::Did;
use crate::plan::worker::Faults;
use crate::plan::world::{Scene, World, named};

const ID: &str = "AROAWORKERS0FIRST0LIFE";

fn delete(world: &mut World, name: &str) {
    world.meddle(|world| world.aws.delete_role(&role(name), ID));
}

fn make_again(world: &mut World, name: &str) {
    delete(world, name);
    world.aws.make_role_again(&role(name));
}

/// Names of the roles that the queue's policy admits, and the key's.
/// Who gets in by the queue's policy, and by its key's.
pub(super) fn admitted(world: &World, scene: &Scene) -> (BTreeSet<String>, BTreeSet<String>) {
    let (site, place) = (world.aws.at(&scene.place()), scene.place());
    let queue = read_queue(site.queues.get(SOURCE), QueueKind::Source, &place.queue_arn(SOURCE), &place);
    let key = read_key(site.keys.values().next().unwrap(), scene);
    let names = |grants: &BTreeSet<encrypted_queue::policy::access::Grant>| {
        grants.iter().map(|grant| grant.principal.to_string().rsplit('/').next().unwrap().to_owned()).collect()
    };
    (names(&queue.grants), key.grants.get(&place.queue_arn(SOURCE)).map(names).unwrap_or_default())
}

pub(super) fn both(names: &[&str]) -> (BTreeSet<String>, BTreeSet<String>) {
    let names: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
    (names.clone(), names)
}

pub(super) fn key_status(world: &World) -> &QueueKeyStatus {
    &world.keys.values().next().unwrap().status.0
}

fn access_in_sync(world: &World, name: &str) -> (String, String) {
    let status = world.queue_status(&named(name));
    let condition = status.conditions.iter().find(|condition| condition.type_ == "AccessInSync").unwrap();
    (condition.reason.clone(), condition.message.clone())
}

/// Approves what waits.
pub(super) fn approve(world: &mut World) {
    let pending = key_status(world).pending_grants.clone();
    for pending in pending {
        let name = format!("approval-of-{}", pending.sha256);
        let approval = Approval { name, grants_sha256: pending.sha256, queue: None, approved_by: "maria".to_owned() };
        world.approvals.push(approval);
    }
}

pub(super) fn with_approval(scene: Scene) -> (World, Scene) {
    let scene = scene.with_tier(json!({"spec": {"approval": "OnWidening"}}));
    let mut world = World::default();
    for _ in 0..2 {
        world.settle(&scene);
        approve(&mut world);
    }
    assert_eq!(world.settle(&scene).writes(), [""; 0]);
    (world, scene)
}

#[test]
fn without_approvals_a_role_made_again_is_put_back_and_told() {
    let (mut world, scene) = orders();
    make_again(&mut world, "acme-worker");
    let run = world.check(&scene);
    assert_eq!(admitted(&world, &scene), both(&["acme-api", "acme-worker"]), "{:?}", run.names());
    let recorded = run.names().iter().position(|name| name == "RecordDeletedPrincipals").unwrap();
    let written = run.did.iter().position(Did::writes_aws).unwrap();
    assert!(recorded < written, "on record before anything is written: {:?}", run.names());
    assert_eq!(key_status(&world).access_revision, Some(1));
    assert_eq!(key_status(&world).deleted_principals.len(), 1);
    assert_eq!((key_status(&world).deleted_principals[0].id.as_str(), key_status(&world).deleted_principals[0].roles.len()), (ID, 0));
    world.assert_rest(&scene);
    assert_eq!(key_status(&world).access_revision, Some(1), "once");
}

#[test]
fn with_approvals_a_role_made_again_waits_for_one() {
    let (mut world, scene) = with_approval(Scene::of(&["orders"]));
    make_again(&mut world, "acme-worker");
    let before = key_status(&world).access_revision.unwrap_or_default();
    world.check(&scene);
    assert_eq!(admitted(&world, &scene), both(&["acme-api"]));
    assert_eq!(key_status(&world).access_revision, Some(before + 1));
    let gains = &key_status(&world).pending_grants[0].gains;
    assert_eq!(*gains, [format!("{} may receive", role("acme-worker")), format!("{} may receive dead letters", role("acme-worker"))]);
    let (reason, message) = access_in_sync(&world, "orders");
    assert_eq!(reason, "PrincipalDeleted");
    for said in ["spec.consumers[0]: ", &role("acme-worker"), ID, "encrypted-queue approve"] {
        assert!(message.contains(said), "{said} is not in {message}");
    }
    assert_eq!(world.check(&scene).writes(), [""; 0], "and waits");

    approve(&mut world);
    world.settle(&scene);
    assert_eq!(admitted(&world, &scene), both(&["acme-api", "acme-worker"]));
    assert!(key_status(&world).deleted_principals[0].roles.is_empty(), "an approved role is no longer said to be deleted");
    world.assert_rest(&scene);
    make_again(&mut world, "acme-api");
    assert_eq!(admitted(&world, &scene).1.len(), 1);
}

#[test]
fn an_approval_of_before_never_brings_it_back() {
    let (mut world, scene) = with_approval(Scene::of(&["orders"]));
    let grants = scene.queues.keys().map(|name| world.judged(&scene, name).as_ref().as_ref().unwrap().access.clone()).next().unwrap();
    let grants_sha256 = approval_sha256(world.keys.keys().next().unwrap(), 0, &grants);
    // The same as was used, given once more: only the revision keeps them apart.
    world.approvals.push(Approval { name: "again".to_owned(), grants_sha256, queue: None, approved_by: "maria".to_owned() });
    make_again(&mut world, "acme-worker");
    world.check(&scene);
    assert_eq!(admitted(&world, &scene), both(&["acme-api"]));
}

#[test]
fn a_queue_that_sees_it_first_waits_for_the_key_to_record_it() {
    for (mut world, scene) in [orders(), with_approval(Scene::of(&["orders"]))] {
        let needs_approval = world.judged(&scene, &named("orders")).as_ref().as_ref().unwrap().needs_approval;
        make_again(&mut world, "acme-worker");
        let before = world.aws.clone();
        let mut did = Vec::new();
        world.pass_over_queue(&scene, &named("orders"), true, &mut Faults::none(), &mut did);
        assert_eq!(world.aws, before, "nothing is put back: {did:?}");
        let (reason, message) = access_in_sync(&world, "orders");
        assert!(reason == "PrincipalDeleted" && message.contains(ID) && message.contains(&role("acme-worker")), "{reason}: {message}");
        assert_eq!(world.queue_status(&named("orders")).access.unwrap().deleted_principals.len(), 1);
        // No check of the key is asked for: what the queue reports is enough.
        world.settle(&scene);
        assert_eq!(admitted(&world, &scene), both(if needs_approval { &["acme-api"] } else { &["acme-api", "acme-worker"] }));
        assert!(
            world.queue_status(&named("orders")).access.is_none_or(|access| access.deleted_principals.is_empty()),
            "the report ends once it is on record"
        );
    }
}

#[test]
fn an_observer_of_whom_the_key_knows_nothing_waits_as_well() {
    let scene = Scene::of(&["orders"]).with_queue("orders", json!({"spec": {"observers": [{"role": role("acme-watch")}]}}));
    let (mut world, scene) = with_approval(scene);
    make_again(&mut world, "acme-watch");
    world.check(&scene);
    assert!(!admitted(&world, &scene).0.contains("acme-watch"));
    assert_eq!(access_in_sync(&world, "orders").0, "PrincipalDeleted");
    approve(&mut world);
    world.settle(&scene);
    assert!(admitted(&world, &scene).0.contains("acme-watch"));
    world.assert_rest(&scene);
}

#[test]
fn a_role_that_stays_away_holds_up_neither_revocation_nor_newcomers() {
    let scene = Scene::of(&["orders"]).with_queue("orders", consumers(&["acme-worker", "acme-second"]));
    let mut world = made(&scene);
    delete(&mut world, "acme-worker");
    let edited = scene.with_queue("orders", consumers(&["acme-worker", "acme-third"]));
    world.check(&edited);
    assert_eq!(admitted(&world, &edited), both(&["acme-api", "acme-third"]), "one is left out, one came, one went");
    let (reason, message) = access_in_sync(&world, "orders");
    assert!(reason == "PrincipalDeleted" && message.contains(ID) && message.contains("All other access is applied"), "{reason}: {message}");
    world.aws.make_role_again(&role("acme-worker"));
    world.settle(&edited);
    world.assert_rest(&edited);
}

#[test]
fn a_deleted_key_administrator_holds_up_no_revocation() {
    let scene = Scene::of(&["orders"]).with_queue("orders", consumers(&["acme-worker", "acme-second"]));
    let mut world = made(&scene);
    delete(&mut world, "security-admin");
    let edited = scene.with_queue("orders", consumers(&["acme-worker"]));
    world.check(&edited);
    assert_eq!(admitted(&world, &edited), both(&["acme-api", "acme-worker"]));
    assert_eq!(key_status(&world).refused_principals, [role("security-admin")]);
    world.aws.make_role_again(&role("security-admin"));
    world.settle(&edited);
    world.assert_rest(&edited);
}

#[test]
fn every_queue_of_a_shared_key_that_names_the_role_waits() {
    let (mut world, scene) = with_approval(Scene::sharing_a_key(&["bills", "orders"]));
    make_again(&mut world, "acme-worker");
    world.check(&scene);
    for name in ["bills", "orders"] {
        assert_eq!(access_in_sync(&world, name).0, "PrincipalDeleted", "{name}");
    }
    approve(&mut world);
    world.settle(&scene);
    world.assert_rest(&scene);
}
