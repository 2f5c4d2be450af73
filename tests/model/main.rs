//! The plans under a model checker: every order of what can happen to passes over a few objects, within bounds.
//!
//! The passes, the simulated AWS and the judge of every write are those of `tests/pure/`. `cargo test --test model` looks at a part, `make test-model` at
//! the whole.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]
// As in tests/pure/.
#![allow(clippy::needless_pass_by_value, clippy::type_complexity, clippy::unused_self, clippy::manual_let_else)]

#[path = "../pure/plan/aws.rs"]
#[expect(dead_code, reason = "shared with tests/pure/")]
mod aws;
#[path = "../pure/declare.rs"]
#[expect(dead_code, reason = "shared with tests/pure/")]
mod declare;
#[path = "../pure/plan/judge.rs"]
mod judge;
#[path = "../pure/plan/operator.rs"]
#[expect(dead_code, reason = "shared with tests/pure/")]
mod operator;
#[path = "../pure/plan/worker.rs"]
mod worker;
#[path = "../pure/plan/world.rs"]
#[expect(dead_code, reason = "shared with tests/pure/")]
mod world;

/// Hands every scenario, by the name of its test and its own, to a macro.
macro_rules! each_scenario {
    ($with:ident) => {
        $with! {
            create: "create",
            create_shared: "create-shared",
            edit: "edit",
            migrate: "migrate",
            delete: "delete",
            again: "again",
            leave_shared: "leave-shared",
            approve: "approve",
            meddle: "meddle",
        }
    };
}

mod explore;
mod flaw;
mod flaws;
mod history;
mod invariants;
mod moves;
mod pass;
mod quick;
mod rest;
mod scenario;
mod state;
mod whole;
