//! The checker at work on a scenario.

use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model, Property, UniformChooser};

use crate::history::{History, broken};
use crate::invariants::rest;
use crate::moves::{Move, apply, moves};
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
    /// At every state; the shortest counterexample.
    Whole,
    /// At so many states, by random histories.
    Sample(usize, u64),
}

/// What a search came to.
pub struct Found {
    pub states: usize,
    pub unique: usize,
    pub counterexample: Option<History>,
}

/// Looks at the states of a scenario, and prints how many there are.
pub fn explore(scenario: &Scenario, extent: Extent) -> Found {
    let began = Instant::now();
    let builder = scenario.clone().checker().finish_when(HasDiscoveries::AnyFailures);
    match extent {
        Extent::Whole => told(scenario, extent, began, &builder.spawn_dfs().join()),
        Extent::Sample(states, seed) => told(scenario, extent, began, &builder.target_state_count(states).spawn_simulation(seed, UniformChooser).join()),
    }
}

#[expect(clippy::print_stdout, reason = "how much was looked at is part of the result")]
fn told(scenario: &Scenario, extent: Extent, began: Instant, checker: &impl Checker<Scenario>) -> Found {
    let (states, unique) = (checker.state_count(), checker.unique_state_count());
    let path = checker.discoveries().into_values().next();
    let counterexample = path.map(|path| History::of(scenario, path.into_actions()).expect("a counterexample can be replayed"));
    println!(
        "{:14} {:?} passes {} {:?}: {unique} states, {states} transitions, depth {}, {:.1} s{}",
        scenario.name,
        extent,
        scenario.passes,
        scenario.budget,
        checker.max_depth(),
        began.elapsed().as_secs_f64(),
        counterexample.as_ref().map(|history| format!("\n{}", history.print())).unwrap_or_default()
    );
    Found { states, unique, counterexample }
}

/// Fails with the counterexample, if there is one.
pub fn holds(scenario: &Scenario, extent: Extent) {
    let found = explore(scenario, extent);
    assert!(found.states > 1 && found.unique > 1, "{} goes nowhere", scenario.name);
    assert!(found.counterexample.is_none(), "{}", found.counterexample.unwrap().print());
    assert_eq!(broken(scenario, &scenario.start()), None);
}
