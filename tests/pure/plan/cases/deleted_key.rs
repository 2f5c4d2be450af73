//! The key's policy shows a deleted role before any queue reports it.

use encrypted_queue::api::queue_key::{DeletedPrincipal, KeyUser};
use encrypted_queue::plan::KeyAction;
use encrypted_queue::plan::deleted::said;
use serde_json::json;

use super::{consumers, made, orders};
use crate::declare::role;
use crate::plan::operator::Did;
use crate::plan::worker::Faults;
use crate::plan::world::{Scene, World, named};

const ID: &str = "AROAWORKERS0FIRST0LIFE";

fn delete(world: &mut World, name: &str) {
    world.meddle(|world| world.aws.delete_role(&role(name), ID));
    world.aws.make_role_again(&role(name));
}

/// What a pass over the key alone puts on record: ids and roles, and the users that are left.
fn recorded(world: &mut World, scene: &Scene) -> (Vec<DeletedPrincipal>, Vec<KeyUser>) {
    let (key, mut did) = (world.keys.keys().next().unwrap().clone(), Vec::new());
    world.pass_over_key(scene, &key, true, &mut Faults::none(), &mut did);
    let written = did.iter().position(Did::writes_aws).unwrap_or(did.len());
    let records = did[..written].iter().filter_map(|did| match did {
        Did::Key(KeyAction::RecordDeletedPrincipals { deleted, users, access_revision: 1 }) => Some((deleted.clone(), users.clone())),
        _ => None,
    });
    let mut records: Vec<_> = records.collect();
    assert_eq!(records.len(), 1, "once, and before anything is written: {did:?}");
    records.remove(0)
}

fn shown(roles: &[&str]) -> Vec<DeletedPrincipal> {
    vec![DeletedPrincipal { id: ID.to_owned(), roles: roles.iter().map(|name| role(name)).collect() }]
}

fn holds(user: &KeyUser) -> bool {
    user.grants_sha256 != "0".repeat(64)
}

#[test]
fn it_records_the_role_that_is_missing_and_that_its_user_holds_nothing() {
    let (mut world, scene) = orders();
    delete(&mut world, "acme-worker");
    let (deleted, users) = recorded(&mut world, &scene);
    assert_eq!(deleted, shown(&["acme-worker"]));
    assert!(!holds(&users[0]), "{users:?}");
    world.check(&scene);
    world.assert_rest(&scene);
}

#[test]
fn a_newcomer_is_not_taken_for_the_one_that_was_deleted() {
    let (mut world, scene) = orders();
    delete(&mut world, "acme-worker");
    // Applied is another access than the declared one: whose the id was is not known.
    let edited = scene.clone().with_queue("orders", consumers(&["acme-worker", "acme-third"]));
    assert_eq!(recorded(&mut world, &edited).0, shown(&[]));
    world.check(&edited);
    world.assert_rest(&edited);
}

#[test]
fn an_administrator_that_was_deleted_is_recorded_by_name() {
    for administrator in ["security-admin", "break-glass"] {
        let (mut world, scene) = orders();
        delete(&mut world, administrator);
        let (deleted, users) = recorded(&mut world, &scene);
        assert_eq!(deleted, shown(&[administrator]));
        assert!(holds(&users[0]), "its users have nothing to do with it: {users:?}");
        world.check(&scene);
        world.assert_rest(&scene);
    }
}

#[test]
fn users_that_do_not_name_the_role_keep_what_they_hold() {
    let other = json!({"spec": {"consumers": [{"role": role("acme-second")}]}});
    let scene = Scene::sharing_a_key(&["bills", "orders"]).with_queue("bills", other);
    let mut world = made(&scene);
    delete(&mut world, "acme-worker");
    let (deleted, users) = recorded(&mut world, &scene);
    assert_eq!(deleted, shown(&["acme-worker"]));
    assert_eq!(users.iter().map(|user| (user.name.as_str(), holds(user))).collect::<Vec<_>>(), [("bills", true), ("orders", false)]);
    world.check(&scene);
    world.assert_rest(&scene);
}

#[test]
fn what_queue_and_key_both_show_is_recorded_once() {
    let (mut world, scene) = orders();
    delete(&mut world, "acme-worker");
    for _ in 0..2 {
        world.pass_over_queue(&scene, &named("orders"), true, &mut Faults::none(), &mut Vec::new());
        assert_eq!(world.queue_status(&named("orders")).access.unwrap().deleted_principals.len(), 1);
    }
    let (deleted, _) = recorded(&mut world, &scene);
    assert_eq!(deleted.iter().map(|deleted| deleted.id.as_str()).collect::<Vec<_>>(), [ID]);
}

#[test]
fn people_are_told_whose_the_id_was_as_far_as_it_is_known() {
    for (roles, told) in [
        (&[][..], "a principal that this policy named was deleted".to_owned()),
        (&["acme-api"], format!("role {} was deleted", role("acme-api"))),
        (&["acme-api", "acme-worker"], format!("one or more of the roles {}, {} was deleted", role("acme-api"), role("acme-worker"))),
    ] {
        assert_eq!(said(None, &shown(roles)), format!("{told}: AWS shows {ID} in its place"));
    }
}
