//! A history as text, to be read, kept and replayed.

use serde::{Deserialize, Serialize};

use crate::moves::{Move, apply};
use crate::operator::Did;
use crate::rest::rest;
use crate::scenario::Scenario;
use crate::state::State;

/// What happened, one move after the other, until something was broken.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct History {
    /// Name of the scenario.
    pub scenario: String,
    pub breaks: String,
    pub moves: Vec<Told>,
}

/// A move, and what it did: the n-th action of its history.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Told {
    #[serde(flatten)]
    pub step: Move,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
}

/// Carries moves out from the start, but for those that are not possible: the state they lead to, and what was done.
fn carry_out(scenario: &Scenario, moves: &[Move]) -> (State, Vec<Told>) {
    let (mut state, mut told, mut actions) = (scenario.start(), Vec::new(), 0);
    for step in moves {
        let action = action(scenario, &state, step);
        let Some(next) = apply(scenario, &state, step) else { continue };
        let index = action.is_some().then_some(actions);
        actions += usize::from(action.is_some());
        told.push(Told { step: step.clone(), action, index });
        state = next;
        if state.broken.is_some() {
            break;
        }
    }
    (state, told)
}

fn action(scenario: &Scenario, state: &State, step: &Move) -> Option<String> {
    let Move::Step { over, former, .. } = step else { return None };
    let pass = state.passes.iter().find(|pass| pass.over == *over && pass.former == *former)?;
    pass.next(&state.world, scenario.flaw).1.as_ref().map(Did::name)
}

/// What a state breaks, by itself or by where it leads.
fn broken(scenario: &Scenario, state: &State) -> Option<String> {
    state.broken.clone().or_else(|| rest(scenario, state).err())
}

/// What is broken, without the details.
fn kind(broken: &str) -> String {
    broken.chars().filter(|c| c.is_alphabetic() || *c == ' ').take(50).collect()
}

impl History {
    /// From moves that end in a broken state: without those that it does not take.
    pub fn of(scenario: &Scenario, moves: Vec<Move>) -> Self {
        let (end, _) = carry_out(scenario, &moves);
        let by_itself = end.broken.is_some();
        let breaks = broken(scenario, &end).expect("the last state is broken");
        let still_breaks = |moves: &[Move]| {
            let (end, _) = carry_out(scenario, moves);
            let broken = if by_itself { end.broken } else { broken(scenario, &end) };
            broken.is_some_and(|broken| kind(&broken) == kind(&breaks))
        };
        let moves = fewest(moves, still_breaks);
        let (end, told) = carry_out(scenario, &moves);
        let breaks = broken(scenario, &end).expect("fewer moves lead there as well");
        Self { scenario: scenario.name.to_owned(), breaks, moves: told }
    }

    /// As JSON, one move a line.
    pub fn print(&self) -> String {
        let line = |told: &Told| format!("    {}", serde_json::to_string(told).unwrap());
        let moves = self.moves.iter().map(line).collect::<Vec<_>>().join(",\n");
        let text = |text: &str| serde_json::to_string(text).unwrap();
        format!("{{\n  \"scenario\": {},\n  \"breaks\": {},\n  \"moves\": [\n{moves}\n  ]\n}}", text(&self.scenario), text(&self.breaks))
    }

    pub fn parse(text: &str) -> Self {
        serde_json::from_str(text).unwrap()
    }

    /// What it breaks when it is carried out again.
    pub fn replay(&self, scenario: &Scenario) -> Option<String> {
        let moves: Vec<Move> = self.moves.iter().map(|told| told.step.clone()).collect();
        broken(scenario, &carry_out(scenario, &moves).0)
    }
}

/// Leaves out what can be left out, in ever smaller parts.
fn fewest(mut moves: Vec<Move>, still_breaks: impl Fn(&[Move]) -> bool) -> Vec<Move> {
    let mut size = moves.len().div_ceil(2);
    loop {
        let mut end = moves.len();
        while end > 0 {
            let begin = end.saturating_sub(size);
            let fewer = [&moves[..begin], &moves[end..]].concat();
            if still_breaks(&fewer) {
                moves = fewer;
            }
            end = begin;
        }
        if size == 1 {
            return moves;
        }
        size = size.div_ceil(2);
    }
}
