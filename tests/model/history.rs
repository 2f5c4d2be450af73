//! A history as text, to be read, kept and replayed.

use serde::{Deserialize, Serialize};

use crate::invariants::rest;
use crate::moves::{Move, apply};
use crate::operator::Did;
use crate::scenario::Scenario;
use crate::state::State;

/// What happened, one move after the other.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct History {
    /// Name of the scenario.
    pub scenario: String,
    /// What it breaks.
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

/// What a state breaks, by itself or by where it leads.
pub fn broken(scenario: &Scenario, state: &State) -> Option<String> {
    state.broken.clone().or_else(|| rest(scenario, state).err())
}

/// Carries moves out from the start; those that are not possible are left out. What the last state breaks, and the moves until then.
pub fn replay(scenario: &Scenario, moves: &[Move]) -> (Option<String>, Vec<Told>) {
    let (mut state, mut told, mut actions) = (scenario.start(), Vec::new(), 0);
    for step in moves {
        let did = did(scenario, &state, step);
        let Some(next) = apply(scenario, &state, step) else { continue };
        let action = did.as_ref().map(Did::name);
        told.push(Told { step: step.clone(), index: action.is_some().then_some(actions), action });
        actions += usize::from(did.is_some());
        state = next;
        if state.broken.is_some() {
            break;
        }
    }
    (broken(scenario, &state), told)
}

fn did(scenario: &Scenario, state: &State, step: &Move) -> Option<Did> {
    let Move::Step { over, former, .. } = step else { return None };
    state.passes.iter().find(|pass| pass.over == *over && pass.former == *former)?.next(&state.world, scenario.flaw).1
}

/// The kind of what is broken: what comes before the details.
pub fn kind(broken: &str) -> &str {
    broken.split([':', '{', '"']).next().unwrap_or_default().trim()
}

impl History {
    /// From moves that end in a broken state: without those that it does not take.
    pub fn of(scenario: &Scenario, moves: Vec<Move>) -> Option<Self> {
        let (breaks, _) = replay(scenario, &moves);
        let breaks = breaks?;
        let same = |moves: &[Move]| replay(scenario, moves).0.is_some_and(|other| kind(&other) == kind(&breaks));
        let mut moves = moves;
        let mut at = moves.len();
        while at > 0 {
            at -= 1;
            let mut fewer = moves.clone();
            fewer.remove(at);
            if same(&fewer) {
                moves = fewer;
            }
        }
        let (breaks, told) = replay(scenario, &moves);
        Some(Self { scenario: scenario.name.to_owned(), breaks: breaks?, moves: told })
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
        replay(scenario, &self.moves.iter().map(|told| told.step.clone()).collect::<Vec<_>>()).0
    }
}
