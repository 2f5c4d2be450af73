//! What a key's plan tells people, and what it does at the edges of a key's making.

use encrypted_queue::outcome::End;
use encrypted_queue::plan::observed::NonceRecord;
use encrypted_queue::plan::state::KeyLifecycle;
use encrypted_queue::plan::{KeyAction, ObservedKey, Seen, plan_key};
use encrypted_queue::policy::document::Document;
use serde_json::json;

use super::deleted::key_status;
use super::held::{crowd, names, wanted};
use super::{consumers, key_mut, made, orders};
use crate::declare::role;
use crate::plan::worker::{Fault, Faults};
use crate::plan::world::{Scene, WINDOW, World, named};

fn first_key(world: &World) -> String {
    world.keys.keys().next().unwrap().clone()
}

#[test]
fn the_policys_id_holds_the_nonce() {
    let (mut world, scene) = orders();
    let policy = Document::parse(&key_mut(&mut world, &scene).policy).unwrap();
    assert_eq!(policy.id.as_deref(), Some("encryptedqueue.dev/nonce-1"));
}

#[test]
fn a_full_key_names_the_queues_that_it_has_no_room_for() {
    let all = names(60);
    let (scene, mut world) = (crowd(&all, 8), World::default());
    for name in scene.queues.keys() {
        world.pass_over_queue(&scene, name, false, &mut Faults::none(), &mut Vec::new());
    }
    let key = first_key(&world);
    let Some(End::Held(hold)) = world.pass_over_key(&scene, &key, false, &mut Faults::none(), &mut Vec::new()) else { panic!("it is full") };
    assert_eq!(hold.reason.as_str(), "KeyFull");
    assert!(hold.message.contains(&format!("no room for acme-prod/{}", all.last().unwrap())), "{}", hold.message);
    assert!(!hold.message.contains(&all[0]), "{}", hold.message);
}

#[test]
fn how_many_queues_wait_for_an_approval_is_told() {
    let told = |names: &[&str]| {
        let scene = Scene::sharing_a_key(names).with_tier(json!({"spec": {"approval": "OnWidening"}}));
        let mut world = World::default();
        let run = world.settle(&scene);
        let key = run.ends[&first_key(&world)].0.obstacle().map(|(_, message)| message.to_owned()).unwrap();
        assert!(key.starts_with(&format!("access of acme-prod/{} waits", names[0])), "{key}");
        key
    };
    assert!(!told(&["bills"]).contains("more queues"));
    assert!(told(&["bills", "orders"]).contains("(and 1 more queues)"));
    assert!(told(&["bills", "mail", "orders"]).contains("(and 2 more queues)"));
}

#[test]
fn a_new_key_that_kms_does_not_show_yet_is_waited_for() {
    let (desired, now) = (wanted(&Scene::of(&["orders"])), "2026-11-23T00:00:00Z".parse().unwrap());
    for fresh in [false, true] {
        let nonce = Some(NonceRecord { nonce: "n".to_owned(), started_at: now, fresh });
        let observed = ObservedKey { nonce, state: Seen::Absent, ..ObservedKey::default() };
        let [KeyAction::Hold(hold)] = &plan_key(&desired, &observed, WINDOW, now)[..] else { panic!("nothing else") };
        assert_eq!((hold.reason.as_str(), hold.until), ("SearchingForKey", Some(now + jiff::SignedDuration::from_secs(15))));
    }
}

#[test]
fn whose_a_key_is_that_is_not_ours_is_told() {
    let told = |tags: &[(&str, &str)]| {
        let (mut world, scene) = orders();
        world.meddle(|world| {
            let key = key_mut(world, &scene);
            key.tags = tags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        });
        let run = world.check(&scene);
        run.ends[&first_key(&world)].0.obstacle().map(|(_, message)| message.to_owned()).unwrap()
    };
    let theirs = [("encryptedqueue.dev/object", "acme-key"), ("encryptedqueue.dev/cluster", "another")];
    assert!(told(&theirs).contains("belongs to acme-key of cluster another"), "{}", told(&theirs));
}

#[test]
fn a_key_that_is_being_deleted_is_not_taken_for_the_one_a_crash_left() {
    let (mut world, scene) = (World::default(), Scene::of(&["orders"]));
    world.run(&scene, false, Faults::on(4, Fault::Crash));
    assert_eq!((world.nonces, world.aws.keys().count()), (1, 0), "the nonce is written, the key is not made");
    let tags = made(&scene).aws.keys().next().unwrap().tags.clone();
    let id = world.aws.create_key(&scene.place(), r#"{"Version":"2012-10-17","Statement":[]}"#, &tags, "nonce-1", world.now).id;
    world.aws.at_mut(&scene.place()).keys.get_mut(&id).unwrap().metadata.lifecycle = KeyLifecycle::PendingDeletion;
    world.settle(&scene);
    assert_ne!(key_status(&world).key_id.as_ref(), Some(&id));
    assert!(key_status(&world).key_id.is_some());
}

#[test]
fn what_several_queues_report_is_recorded_once_with_all_roles() {
    let scene = Scene::sharing_a_key(&["bills", "orders"]).with_queue("bills", consumers(&["acme-second"]));
    let mut world = made(&scene);
    for name in ["acme-worker", "acme-second"] {
        world.meddle(|world| world.aws.delete_role(&role(name), "AROAONE0ID0FOR0BOTH0"));
        world.aws.make_role_again(&role(name));
    }
    let mut did = Vec::new();
    for name in ["bills", "orders"] {
        world.pass_over_queue(&scene, &named(name), true, &mut Faults::none(), &mut did);
    }
    let key = first_key(&world);
    let desired = world.desired_key(&scene, &key);
    let observed = ObservedKey::recorded(&world.keys[&key].status.0);
    let [KeyAction::RecordDeletedPrincipals { deleted, .. }] = &plan_key(&desired, &observed, WINDOW, world.now)[..] else { panic!("{did:?}") };
    let roles: Vec<_> = deleted.iter().flat_map(|deleted| &deleted.roles).collect();
    assert_eq!((deleted.len(), roles.len()), (1, 2), "{deleted:?}");
}
