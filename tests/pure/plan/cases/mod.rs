//! Named cases.

mod adoption;
mod asking;
mod crash;
mod create;
mod dead_letter;
mod deleted;
mod deleted_key;
mod drift;
mod ending;
mod held;
mod kept;
mod key;
mod key_told;
mod late;
mod lost;
mod migration;
mod moves;
mod noted;
mod on_record;
mod queue_told;
mod record;
mod recorded;
mod released;
mod rotation;
mod told;
mod update;
mod writing;

use serde_json::{Value, json};

use super::aws::{Key, Queue};
use super::worker::{Fault, Faults};
use super::world::{Scene, World};
use crate::declare::role;

/// Everything of the scene made and at rest.
fn made(scene: &Scene) -> World {
    let mut world = World::default();
    world.settle(scene);
    world.assert_rest(scene);
    world
}

/// Whatever fault befalls whichever action on the way, and however it goes on: everything is at rest as declared, and as asked. Returns how many actions
/// there are.
fn with_any_fault(start: &World, scene: &Scene, holds: impl Fn(&World, String)) -> usize {
    let actions = start.clone().settle(scene).names().len();
    for at in 0..actions {
        for fault in [Fault::Crash, Fault::LostAnswer, Fault::Refusal] {
            let mut world = start.clone();
            world.run(scene, false, Faults::on(at, fault));
            world.settle(scene);
            world.assert_rest(scene);
            holds(&world, format!("{fault:?} at {at}"));
        }
    }
    actions
}

/// The queue `orders`, its dead-letter queue and its key, made and at rest.
fn orders() -> (World, Scene) {
    let scene = Scene::of(&["orders"]);
    (made(&scene), scene)
}

/// Consumers as a declaration has them.
fn consumers(names: &[&str]) -> Value {
    json!({"spec": {"consumers": names.iter().map(|name| json!({"role": role(name)})).collect::<Vec<_>>()}})
}

fn queue_mut<'a>(world: &'a mut World, scene: &Scene, name: &str) -> &'a mut Queue {
    world.aws.at_mut(&scene.place()).queues.get_mut(name).unwrap()
}

/// The only key.
fn key_mut<'a>(world: &'a mut World, scene: &Scene) -> &'a mut Key {
    world.aws.at_mut(&scene.place()).keys.values_mut().next().unwrap()
}

const SOURCE: &str = "acme-acme-prod-orders";
const DEAD_LETTER: &str = "acme-acme-prod-orders-dlq";
