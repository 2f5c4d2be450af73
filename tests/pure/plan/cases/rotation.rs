//! Rotation on demand: once for each new value.

use serde_json::json;

use super::{key_mut, orders};
use crate::plan::worker::{Fault, Faults};
use crate::plan::world::{Scene, WINDOW, World};

const DAY: i64 = 24 * 60 * 60;

fn asking_at(scene: &Scene, time: &str) -> Scene {
    scene.clone().with_queue("orders", json!({"spec": {"key": {"rotateRequestedAt": time}}}))
}

fn rotations(world: &World) -> usize {
    world.aws.keys().map(|key| key.rotated_at.len()).sum()
}

#[test]
fn each_new_value_rotates_once() {
    let (mut world, scene) = orders();
    let first = asking_at(&scene, "2026-11-24T00:00:00Z");
    world.wait(DAY);
    assert_eq!(world.settle(&first).names(), ["RecordRotationStart", "RotateKeyOnDemand", "RecordRotationServed"]);
    world.wait(2 * DAY);
    assert_eq!(world.settle(&first).names(), [""; 0]);
    let second = asking_at(&scene, "2026-11-26T00:00:00Z");
    assert_eq!(world.settle(&second).names(), ["RecordRotationStart", "RotateKeyOnDemand", "RecordRotationServed"]);
    world.assert_rest(&second);
    assert_eq!(rotations(&world), 2);
}

#[test]
fn a_second_request_within_a_day_waits() {
    let (mut world, scene) = orders();
    world.wait(DAY);
    world.settle(&asking_at(&scene, "2026-11-24T00:00:00Z"));
    world.wait(60);
    let began = world.now;
    let run = world.settle(&asking_at(&scene, "2026-11-24T00:01:00Z"));
    assert_eq!(run.writes(), ["RotateKeyOnDemand"]);
    assert_eq!(world.now.duration_since(began).as_secs(), DAY - 60);
}

#[test]
fn a_key_younger_than_the_request_is_not_rotated() {
    let scene = asking_at(&Scene::of(&["orders"]), "2026-11-01T00:00:00Z");
    let mut world = World::default();
    world.settle(&scene);
    world.assert_rest(&scene);
    assert_eq!(rotations(&world), 0);
}

#[test]
fn after_a_crash_a_rotation_is_not_repeated() {
    let (before, scene) = orders();
    let asking = asking_at(&scene, "2026-11-24T00:00:00Z");
    for (step, fault) in (0..3).flat_map(|step| [Fault::Crash, Fault::LostAnswer].map(|fault| (step, fault))) {
        let mut world = before.clone();
        world.wait(DAY);
        world.run(&asking, false, Faults::on(step, fault));
        world.settle(&asking);
        world.assert_rest(&asking);
        assert_eq!(rotations(&world), 1, "{fault:?} at {step}");
    }
}

#[test]
fn a_request_taken_back_half_way_is_not_made() {
    let (mut world, scene) = orders();
    world.wait(DAY);
    world.run(&asking_at(&scene, "2026-11-24T00:00:00Z"), false, Faults::on(0, Fault::Crash));
    let crashed_at = world.now;
    assert_eq!(world.settle(&scene).names().pop().unwrap(), "RecordRotationServed");
    assert_eq!(world.now, crashed_at + WINDOW.0, "KMS lists a rotation late");
    assert_eq!(rotations(&world), 0);
}

#[test]
fn after_25_rotations_a_person_is_told() {
    let (mut world, scene) = orders();
    world.wait(DAY);
    let status = &mut world.keys.values_mut().next().unwrap().status.0;
    status.rotation.get_or_insert_default().on_demand = Some(25);
    let run = world.settle(&asking_at(&scene, "2026-11-24T00:00:00Z"));
    assert_eq!((run.writes(), run.held()), (vec![], vec!["RotationsUsedUp"]));
    assert!(key_mut(&mut world, &scene).rotated_at.is_empty());
}
