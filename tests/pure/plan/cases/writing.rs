//! While a key's policy is written anew, status says of those users that they hold their grants who hold them before and after.

use encrypted_queue::desired::Approval;
use encrypted_queue::plan::KeyAction;
use encrypted_queue::plan::grants::approval_sha256;
use serde_json::json;

use super::deleted::{key_status, with_approval};
use super::{consumers, made};
use crate::declare::role;
use crate::plan::operator::{Did, Run};
use crate::plan::world::{Scene, World, named};

/// Of the first write: the users on record meanwhile, and whether they are said to hold what they held.
fn meanwhile(run: &Run) -> Vec<(String, bool)> {
    let users = run.did.iter().find_map(|did| match did {
        Did::Key(KeyAction::ForgetApplied { users, .. }) => Some(users.clone()),
        _ => None,
    });
    users.unwrap().into_iter().map(|user| (user.name, user.grants_sha256 != "0".repeat(64))).collect()
}

fn held(name: &str) -> (String, bool) {
    (name.to_owned(), true)
}

fn sharing() -> (World, Scene) {
    let scene = Scene::sharing_a_key(&["bills", "orders"]);
    (made(&scene), scene)
}

#[test]
fn who_is_not_edited_is_not_held_up() {
    let (mut world, scene) = sharing();
    let edited = scene.with_queue("bills", consumers(&["acme-worker", "acme-second"]));
    assert_eq!(meanwhile(&world.settle(&edited)), [held("orders")]);
    world.assert_rest(&edited);
}

#[test]
fn a_refused_queue_holds_what_it_held_unless_the_rules_take_it() {
    let (before, scene) = sharing();
    let edited = scene.with_queue("bills", consumers(&["acme-second"]));
    let refused = edited.with_queue("orders", json!({"spec": {"queue": {"messageRetentionSeconds": 60}}}));
    assert_eq!(meanwhile(&before.clone().settle(&refused)), [held("orders")]);
    let roles = [role("acme-api"), role("acme-second")];
    let tightened = refused.with_tenant(json!({"spec": {"principals": {"roles": roles}}}));
    assert_eq!(meanwhile(&before.clone().settle(&tightened)), []);
}

#[test]
fn with_approvals_who_is_edited_stays_on_record_with_what_was_approved_and_who_left_does_not() {
    let (mut world, scene) = with_approval(Scene::sharing_a_key(&["bills", "orders"]));
    let edited = scene.clone().with_queue("bills", consumers(&["acme-worker", "acme-second"]));
    let (key, revision) = (world.keys.keys().next().unwrap().clone(), key_status(&world).access_revision.unwrap_or_default());
    let access = world.judged(&edited, &named("bills")).as_ref().as_ref().unwrap().access.clone();
    let grants_sha256 = approval_sha256(&key, revision, &access);
    world.approvals.push(Approval { name: "more".to_owned(), grants_sha256, queue: None, approved_by: "maria".to_owned() });
    assert_eq!(meanwhile(&world.clone().settle(&edited)), [("bills".to_owned(), false), held("orders")]);
    let deleted = scene.deleted("bills").with_queue("bills", json!({"spec": {"deletionPolicy": "Delete"}}));
    world.approvals.clear();
    assert_eq!(meanwhile(&world.settle(&deleted)), [held("orders")]);
}
