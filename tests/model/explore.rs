//! The checker at work on a scenario.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model, Property};

use crate::history::History;
use crate::moves::{Move, apply, moves};
use crate::rest::rest;
use crate::scenario::Scenario;
use crate::state::State;

/// That the search gets to the end of what people do.
const REACHED: &str = "every edit is made";

impl Model for Scenario {
    type State = State;
    type Action = Move;

    fn init_states(&self) -> Vec<State> {
        vec![self.start()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Move>) {
        actions.extend(moves(self, state));
    }

    fn next_state(&self, before: &State, step: Move) -> Option<State> {
        apply(self, before, &step)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("every write is right", |_: &Self, state: &State| state.broken.is_none()),
            Property::sometimes(REACHED, |scenario: &Self, state: &State| state.edits == scenario.script().edits() && state.passes.is_empty()),
            Property::always("every state leads to rest", |scenario: &Self, state: &State| state.broken.is_some() || rest(scenario, state).is_ok()),
        ]
    }
}

/// How far the checker looks.
#[derive(Clone, Copy, Debug)]
pub enum Extent {
    /// At every state, for so many seconds at most.
    Whole(u64),
    /// At random histories with so many moves in all; the seed says which.
    Sample(usize, u64),
}

/// Looks at the states of a scenario, and prints how many there are. The counterexample, if there is one.
pub fn explore(scenario: &Scenario, extent: Extent) -> Option<History> {
    let builder = scenario.clone().checker().finish_when(HasDiscoveries::AnyFailures);
    let began = Instant::now();
    match extent {
        Extent::Whole(seconds) => {
            let limit = Duration::from_secs(seconds);
            let checker = builder.timeout(limit).spawn_dfs().join();
            told(scenario, if began.elapsed() < limit { "all" } else { "cut" }, began, &checker)
        }
        Extent::Sample(most, seed) => sample(scenario, most, seed),
    }
}

/// Moves of one random history.
const LONGEST: usize = 80;

/// Random histories. stateright's own cannot tell their way when some moves turn out to be impossible.
#[expect(clippy::print_stdout, reason = "how much was looked at is part of the result")]
fn sample(scenario: &Scenario, most: usize, seed: u64) -> Option<History> {
    let (mut random, mut known, mut done, began) = (seed, HashSet::new(), 0, Instant::now());
    while done < most {
        let (mut state, mut way) = (scenario.start(), Vec::new());
        while way.len() < LONGEST && done < most {
            let mut possible = moves(scenario, &state);
            let next = loop {
                if possible.is_empty() {
                    break None;
                }
                let step = possible.swap_remove(below(&mut random, possible.len()));
                if let Some(next) = apply(scenario, &state, &step) {
                    break Some((step, next));
                }
            };
            let Some((step, next)) = next else { break };
            way.push(step);
            state = next;
            done += 1;
            let mut hasher = DefaultHasher::new();
            state.hash(&mut hasher);
            known.insert(hasher.finish());
            if state.broken.is_some() || rest(scenario, &state).is_err() {
                return Some(History::of(scenario, way));
            }
        }
    }
    let (name, passes, budget, seconds) = (scenario.name, scenario.passes, scenario.budget, began.elapsed().as_secs_f64());
    println!("{name:13} {passes} passes at once, {budget}: random {:8} states, {done:8} moves, {seconds:17.1} s", known.len());
    None
}

/// The next number of a fixed sequence (SplitMix64), below a bound.
fn below(random: &mut u64, bound: usize) -> usize {
    *random = random.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = (*random ^ (*random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
}

#[expect(clippy::print_stdout, reason = "how much was looked at is part of the result")]
fn told(scenario: &Scenario, extent: &str, began: Instant, checker: &impl Checker<Scenario>) -> Option<History> {
    let (unique, moves, depth) = (checker.unique_state_count(), checker.state_count(), checker.max_depth());
    let (name, passes, budget, seconds) = (scenario.name, scenario.passes, scenario.budget, began.elapsed().as_secs_f64());
    println!("{name:13} {passes} passes at once, {budget}: {extent:6} {unique:8} states, {moves:8} moves, depth {depth:3}, {seconds:6.1} s");
    let mut found = checker.discoveries();
    let reached = found.remove(REACHED).is_some();
    if let Some(path) = found.into_values().next() {
        return Some(History::of(scenario, path.into_actions()));
    }
    assert!(unique > 1 && (reached || extent != "all"), "{name} does not get anywhere");
    None
}

/// Fails with the counterexample, if there is one.
pub fn holds(scenario: &Scenario, extent: Extent) {
    if let Some(counterexample) = explore(scenario, extent) {
        panic!("{}", counterexample.print());
    }
}
