//! Every state leads to rest: passes without faults come to what is declared, and then find nothing to do.

use std::cell::RefCell;
use std::collections::HashSet;

use encrypted_queue::outcome::End;
use jiff::Timestamp;

use crate::invariants::{caught, nothing_left_behind};
use crate::scenario::{Scenario, approved};
use crate::state::{Shared, State};
use crate::worker::Faults;
use crate::world::{Scene, World};

/// Rounds of passes until rest: far more than any scenario needs.
const MOST_ROUNDS: usize = 60;

thread_local!(static RESTED: RefCell<HashSet<(&'static str, u64, usize)>> = RefCell::default());

/// What keeps a state from coming to rest. Each state of the world on the way is looked at once in each thread.
pub fn rest(scenario: &Scenario, state: &State) -> Result<(), String> {
    let key = |world: &Shared<World>| (scenario.name, world.id(), state.edits);
    let rested = |world: &Shared<World>| RESTED.with_borrow(|rested| rested.contains(&key(world)));
    let script = scenario.script();
    let (mut world, mut way) = (state.world.clone(), Vec::new());
    while !rested(&world) {
        way.push(key(&world));
        if way.len() > MOST_ROUNDS {
            return Err("it does not come to rest".to_owned());
        }
        match caught(|| round(&world, script.scene(state.edits))).and_then(|next| next)? {
            Some(next) => world = Shared::new(next),
            None => break,
        }
    }
    RESTED.with_borrow_mut(|rested| rested.extend(way));
    Ok(())
}

/// One pass over everything, or the wait until something is due; None: it is at rest, as it should be.
fn round(world: &World, scene: &Scene) -> Result<Option<World>, String> {
    let mut after = world.clone();
    let ends = pass_over_all(&mut after, scene);
    if after != *world {
        return Ok(Some(after));
    }
    let reason = |end: &End| end.obstacle().map(|(reason, _)| reason.as_str());
    let waits_for_people = |end: &End| matches!(reason(end), Some("InUse" | "QueueNotEmpty"));
    let due = |end: &End| if let End::Held(hold) = end { hold.until } else { None };
    let next: Option<Timestamp> = ends.iter().filter(|end| !waits_for_people(end)).filter_map(due).min();
    if let Some(next) = next {
        after.now = after.now.max(next);
        return Ok(Some(after));
    }
    if ends.iter().any(|end| reason(end) == Some("AwaitingApproval")) {
        let waiting = after.check(scene).writes();
        let next = approved(world).ok_or("it waits for an approval that was given")?;
        return if waiting.is_empty() { Ok(Some(next)) } else { Err(format!("at rest but for an approval it does {waiting:?}")) };
    }
    after.assert_rest(scene);
    nothing_left_behind(&after, scene).map(|()| None)
}

/// Where someone else changed AWS, everything is compared: in the controller the slow check does.
fn pass_over_all(world: &mut World, scene: &Scene) -> Vec<End> {
    let (check, mut ends) = (world.meddled, Vec::new());
    for name in scene.queues.keys() {
        if world.exists(scene, name) {
            ends.extend(world.pass_over_queue(scene, name, check, &mut Faults::none(), &mut Vec::new()));
        }
    }
    for name in world.keys.keys().cloned().collect::<Vec<_>>() {
        ends.extend(world.pass_over_key(scene, &name, check, &mut Faults::none(), &mut Vec::new()));
    }
    ends
}
