//! What can happen next, and what it comes to.

use encrypted_queue::plan::KeyAction;
use encrypted_queue::plan::objects::recorded_keys;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::invariants::{broken_by, caught, note_messages};
use crate::operator::Did;
use crate::pass::{Call, Pass, Worker};
use crate::scenario::{Meddling, Scenario, Script};
use crate::state::{Object, Past, Shared, State};
use crate::worker::{Fault, KeyWorker, QueueWorker};
use crate::world::{Scene, World};

/// One thing that happens.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(tag = "do", rename_all = "camelCase")]
pub enum Move {
    /// The next edit of the scenario.
    Edit,
    Wait {
        seconds: i64,
    },
    Meddle {
        how: Meddling,
    },
    /// A pass begins; `stale`: with what Kubernetes held one version ago, but for the object's own record.
    Begin {
        over: Object,
        #[serde(default, skip_serializing_if = "is_default")]
        check: bool,
        #[serde(default, skip_serializing_if = "is_default")]
        stale: bool,
    },
    /// A pass takes its next step.
    Step {
        over: Object,
        #[serde(default, skip_serializing_if = "is_default")]
        former: bool,
        #[serde(default, skip_serializing_if = "is_default")]
        fault: Fault,
    },
    /// The leader is stopped with this pass under way, and another process takes over.
    Depose {
        over: Object,
    },
    /// The former leader ends.
    EndFormer,
}

/// What goes without saying in a history.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Moves that the scenario and its bounds allow.
pub fn moves(scenario: &Scenario, state: &State) -> Vec<Move> {
    let (script, world) = (scenario.script(), &state.world);
    if state.broken.is_some() {
        return Vec::new();
    }
    let mut moves = Vec::new();
    for pass in &state.passes {
        moves.extend(faults(scenario, state, pass).into_iter().map(|fault| Move::Step { over: pass.over.clone(), former: pass.former, fault }));
    }
    let leads = |pass: &&Shared<Pass>| !pass.former;
    if state.passes.iter().filter(leads).count() < scenario.passes {
        moves.extend(begins(state, script.scene(state.edits)));
    }
    if script.may_edit(world, state.edits) {
        moves.push(Move::Edit);
    }
    // One after the other.
    let waited = scenario.waits.len() - usize::from(state.left.waits);
    moves.extend(scenario.waits.get(waited).map(|seconds| Move::Wait { seconds: *seconds }));
    if state.left.meddlings > 0 {
        moves.extend(scenario.meddlings.iter().map(|how| Move::Meddle { how: *how }));
    }
    if state.left.leaders > 0 && !state.passes.iter().any(|pass| pass.former) {
        moves.extend(state.passes.iter().map(|pass| Move::Depose { over: pass.over.clone() }));
    }
    if state.passes.iter().any(|pass| pass.former) {
        moves.push(Move::EndFormer);
    }
    moves
}

/// What can befall the next step of a pass. A crash before a step is one after the step before it.
fn faults(scenario: &Scenario, state: &State, pass: &Pass) -> Vec<Fault> {
    let mut faults = vec![Fault::None];
    if state.left.faults > 0 && !pass.former {
        let (call, did) = pass.next(&state.world, scenario.flaw);
        faults.extend_from_slice(match call {
            Call::ReadAws => &[Fault::Refusal],
            Call::WriteAws => &[Fault::Crash, Fault::LostAnswer, Fault::LostRequest, Fault::Refusal],
            Call::Kubernetes { .. } => &[Fault::Crash, Fault::LostAnswer, Fault::Refusal],
            Call::End => &[],
        });
        // Sent once, whatever happens.
        if call == Call::WriteAws && !matches!(did, Some(Did::Key(KeyAction::CreateKey { .. }))) {
            faults.push(Fault::Repeated);
        }
    }
    faults
}

fn begins(state: &State, scene: &Scene) -> Vec<Move> {
    let world = &state.world;
    let queues = scene.queues.keys().filter(|name| world.exists(scene, name)).cloned().map(Object::Queue);
    let idle = |over: &Object| !state.passes.iter().any(|pass| !pass.former && pass.over == *over);
    let objects = queues.chain(world.keys.keys().cloned().map(Object::Key)).filter(idle);
    objects
        .flat_map(|over| {
            let begin = |check, stale| Move::Begin { over: over.clone(), check, stale };
            [
                Some(begin(false, false)),
                (state.left.checks > 0).then(|| begin(true, false)),
                (state.left.stale > 0 && state.past.is_some()).then(|| begin(false, true)),
            ]
        })
        .flatten()
        .collect()
}

/// What a move comes to; None: nothing.
pub fn apply(scenario: &Scenario, before: &State, step: &Move) -> Option<State> {
    let script = scenario.script();
    match caught(|| try_apply(scenario, &script, before, step)) {
        Ok(after) => after,
        Err(broken) => Some(State { broken: Some(broken), ..before.clone() }),
    }
}

fn try_apply(scenario: &Scenario, script: &Script, before: &State, step: &Move) -> Option<State> {
    let mut after = before.clone();
    match step {
        Move::Edit => {
            let world = script.edited(&before.world, before.edits)?;
            after.edits += 1;
            after.changed(world, before, None);
        }
        Move::Wait { seconds } => {
            after.left.waits = after.left.waits.checked_sub(1)?;
            let mut world = World::clone(&before.world);
            world.now += SignedDuration::from_secs(*seconds);
            after.world = Shared::new(world);
            // A call of a former leader arrives soon or never.
            after.passes.retain(|pass| !pass.former);
        }
        Move::Meddle { how } => {
            after.left.meddlings = after.left.meddlings.checked_sub(1)?;
            let mut world = World::clone(&before.world);
            how.apply(&mut world, script.scene(before.edits));
            after.changed(world, before, None);
        }
        Move::Begin { over, check, stale } => return begin(scenario, script, before, over, *check, *stale),
        Move::Step { over, former, fault } => return advance(scenario, script, before, over, *former, *fault),
        Move::Depose { over } => {
            after.left.leaders = after.left.leaders.checked_sub(1)?;
            let (call, _) = before.passes.iter().find(|pass| !pass.former && pass.over == *over)?.next(&before.world, scenario.flaw);
            after.passes.retain(|pass| pass.over == *over && !pass.former);
            for pass in &mut after.passes {
                *pass = Shared::new(Pass { former: true, may_send: call == Call::WriteAws, ..Pass::clone(pass) });
            }
        }
        Move::EndFormer => after.passes.retain(|pass| !pass.former),
    }
    (after != *before).then_some(after)
}

fn begin(scenario: &Scenario, script: &Script, before: &State, over: &Object, check: bool, stale: bool) -> Option<State> {
    let mut after = before.clone();
    let (mut world, mut edits) = (World::clone(&before.world), before.edits);
    if stale {
        after.left.stale = after.left.stale.checked_sub(1)?;
        let Past { queues, keys, approvals, edits: then } = Past::clone(before.past.as_ref()?);
        (world.queues, world.keys, world.approvals, edits) = (queues, keys, approvals, then);
        // What a process wrote itself, it knows.
        match over {
            Object::Queue(name) => _ = before.world.queues.get(name).map(|own| world.queues.insert(name.clone(), own.clone())),
            Object::Key(name) => _ = before.world.keys.get(name).map(|own| world.keys.insert(name.clone(), own.clone())),
        }
        if world == *before.world && edits == before.edits {
            return None;
        }
    }
    if check {
        after.left.checks = after.left.checks.checked_sub(1)?;
    }
    let (scene, now) = (script.scene(edits), script.scene(before.edits));
    let (worker, uid) = match over {
        Object::Queue(name) => {
            if !world.exists(scene, name) {
                return None;
            }
            (Worker::Queue(Box::new(QueueWorker::begin(&world, scene, name, check))), scene.queues[name].metadata.uid.clone())
        }
        Object::Key(name) => {
            // Before a key ends, the API server itself is asked.
            if !world.desired_key(scene, name).is_used() && has_live_users(&before.world, now, name) {
                return None;
            }
            (Worker::Key(Box::new(KeyWorker::begin(&world, scene, name, check))), None)
        }
    };
    let pass = Pass { over: over.clone(), worker, uid, former: false, may_send: true, outdated: edits != before.edits, overtaken: stale };
    // A pass that has nothing to do changes nothing.
    let mut unchanged = World::clone(&before.world);
    let stepped = pass.clone().step(&mut unchanged, now, Fault::None, scenario.flaw);
    if stepped.pass.is_none() && unchanged == *before.world {
        return None;
    }
    after.passes.push(Shared::new(pass));
    after.passes.sort_by(|a, b| (&a.over, a.former).cmp(&(&b.over, b.former)));
    after.forget_past();
    Some(after)
}

/// Whether a queue that the API server holds uses the key, as the controller asks it.
fn has_live_users(world: &World, scene: &Scene, key: &str) -> bool {
    let spec = &world.keys[key].spec;
    scene.queues.iter().filter(|(name, _)| world.exists(scene, name)).any(|(name, declared)| {
        let mut object = declared.clone();
        object.status = world.queues.get(name).map(|queue| queue.status.0.clone());
        let mut recorded = recorded_keys(&object).peekable();
        match (&spec.queue, recorded.peek().is_some()) {
            (Some(own), _) if own != name => false,
            (_, true) => recorded.any(|recorded| recorded == key),
            (own, false) => own.is_some() && declared.spec.sensitivity_tier == spec.sensitivity_tier,
        }
    })
}

fn advance(scenario: &Scenario, script: &Script, before: &State, over: &Object, former: bool, fault: Fault) -> Option<State> {
    let mut after = before.clone();
    if fault != Fault::None {
        after.left.faults = after.left.faults.checked_sub(1)?;
    }
    let at = before.passes.iter().position(|pass| pass.former == former && pass.over == *over)?;
    let pass = Pass::clone(&after.passes.remove(at));
    let scene = script.scene(before.edits);
    let mut world = World::clone(&before.world);
    let stepped = pass.step(&mut world, scene, fault, scenario.flaw);
    after.changed(world, before, Some((over, former)));
    note_messages(&mut after.messages, &before.world, &after.world, scene);
    if stepped.crashed {
        after.passes.retain(|pass| pass.former);
    } else if let Some(pass) = stepped.pass {
        after.passes.insert(at, Shared::new(pass));
    }
    after.broken = broken_by(scenario, before, &after, scene).err();
    (after != *before).then_some(after)
}

impl State {
    /// Takes the new world, and marks the passes that do not know of it; `by`: the pass that changed it, which is not among them.
    fn changed(&mut self, world: World, before: &Self, by: Option<(&Object, bool)>) {
        if world == *before.world && self.edits == before.edits {
            return;
        }
        let was = &*before.world;
        let recorded = (&world.queues, &world.keys, &world.approvals, self.edits) != (&was.queues, &was.keys, &was.approvals, before.edits);
        if recorded && self.left.stale > 0 {
            self.past = Some(Shared::new(before.past_of()));
        }
        for pass in &mut self.passes {
            if by.is_some_and(|(over, former)| pass.over == *over && pass.former == former) {
                continue;
            }
            let rewritten = match &pass.over {
                Object::Queue(name) => self.edits != before.edits || world.queues.get(name) != was.queues.get(name),
                Object::Key(name) => world.keys.get(name) != was.keys.get(name),
            };
            if !pass.overtaken || (rewritten && !pass.outdated) {
                *pass = Shared::new(Pass { overtaken: true, outdated: pass.outdated || rewritten, ..Pass::clone(pass) });
            }
        }
        self.world = Shared::new(world);
    }

    /// What can no longer matter is no part of the state.
    fn forget_past(&mut self) {
        if self.left.stale == 0 {
            self.past = None;
        }
    }
}
