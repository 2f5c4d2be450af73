//! A tier that comes to ask for approvals while queues are in use: what was applied until then needs none.

use serde_json::json;

use super::deleted::{admitted, approve, both, key_status};
use super::{consumers, key_mut, made, orders};
use crate::declare::role;
use crate::plan::world::Scene;

#[test]
fn what_was_applied_before_the_tier_asked_for_approvals_needs_none_but_more_does() {
    let (world, scene) = orders();
    let asking = scene.with_tier(json!({"spec": {"approval": "OnWidening"}}));
    let mut same = world.clone();
    same.settle(&asking);
    assert_eq!(key_status(&same).pending_grants, []);
    let wider = asking.with_queue("orders", consumers(&["acme-worker", "acme-second"]));
    let mut more = world;
    let run = more.settle(&wider);
    let pending = &key_status(&more).pending_grants;
    let of_second = |line: &String| line.starts_with(&role("acme-second"));
    assert!(pending.len() == 1 && pending[0].gains.iter().all(of_second) && pending[0].losses.is_empty(), "{pending:?}");
    assert_eq!(run.writes(), [""; 0], "nobody loses what was applied, nobody gains anything: {:?}", run.names());
    assert_eq!(admitted(&more, &wider), both(&["acme-api", "acme-worker"]));
    approve(&mut more);
    more.settle(&wider);
    assert_eq!(admitted(&more, &wider), both(&["acme-api", "acme-second", "acme-worker"]));
    more.assert_rest(&wider);
}

#[test]
fn what_the_key_does_not_say_when_the_tier_comes_to_ask_is_no_access_of_before() {
    let (world, scene) = orders();
    let wider = scene.with_tier(json!({"spec": {"approval": "OnWidening"}})).with_queue("orders", consumers(&["acme-worker", "acme-second"]));
    for policy in ["{}", "no policy"] {
        let mut world = world.clone();
        world.meddle(|world| key_mut(world, &wider).policy = policy.to_owned());
        world.settle(&wider);
        let pending = &key_status(&world).pending_grants;
        assert!(pending[0].gains.iter().any(|line| line.starts_with(&role("acme-worker"))), "{pending:?}");
        approve(&mut world);
        world.settle(&wider);
        assert_eq!(admitted(&world, &wider), both(&["acme-api", "acme-second", "acme-worker"]));
        world.assert_rest(&wider);
    }
}

#[test]
fn a_tier_that_comes_to_ask_while_access_is_narrowed_takes_it_away_at_once() {
    let scene = Scene::of(&["orders"]).with_queue("orders", consumers(&["acme-worker", "acme-second"]));
    let mut world = made(&scene);
    let narrower = scene.with_tier(json!({"spec": {"approval": "OnWidening"}})).with_queue("orders", consumers(&["acme-second", "acme-third"]));
    world.settle(&narrower);
    assert_eq!(admitted(&world, &narrower), both(&["acme-api", "acme-second"]));
    let again = narrower.with_queue("orders", consumers(&["acme-worker", "acme-second"]));
    world.settle(&again);
    assert_eq!(admitted(&world, &again), both(&["acme-api", "acme-second"]), "and does not give it back");
}
