//! The checker at work on a scenario.

use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model, Property, UniformChooser};

use crate::history::History;
use crate::moves::{Move, apply, moves};
use crate::rest::rest;
use crate::scenario::Scenario;
use crate::state::State;

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
        Extent::Sample(moves, seed) => {
            let checker = builder.target_state_count(moves).spawn_simulation(seed, UniformChooser).join();
            told(scenario, "random", began, &checker)
        }
    }
}

#[expect(clippy::print_stdout, reason = "how much was looked at is part of the result")]
fn told(scenario: &Scenario, extent: &str, began: Instant, checker: &impl Checker<Scenario>) -> Option<History> {
    let (unique, moves, depth) = (checker.unique_state_count(), checker.state_count(), checker.max_depth());
    let (name, passes, budget, seconds) = (scenario.name, scenario.passes, scenario.budget, began.elapsed().as_secs_f64());
    println!("{name:13} {passes} passes at once, {budget}: {extent:6} {unique:8} states, {moves:8} moves, depth {depth:3}, {seconds:6.1} s");
    assert!(unique > 1, "{name} goes nowhere");
    let path = checker.discoveries().into_values().next()?;
    Some(History::of(scenario, path.into_actions()))
}

/// Fails with the counterexample, if there is one.
pub fn holds(scenario: &Scenario, extent: Extent) {
    if let Some(counterexample) = explore(scenario, extent) {
        panic!("{}", counterexample.print());
    }
}
