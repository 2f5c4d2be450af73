//! The API server as the judge: it accepts the definitions, and judges every case of `tests/schema` as told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod admission;
mod approve;
#[path = "../schema/cases/mod.rs"]
mod cases;
mod chart;
mod cluster;
mod definitions;
mod deployed;
#[path = "../schema/examples.rs"]
mod examples;
mod explained;
mod gate;
mod judged;
mod leader;
mod rbac;
