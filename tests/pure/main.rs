//! The pure middle: declarations judged, plans decided, outcomes told, without Kubernetes and without AWS.
// Tables and builders of `json!` values: taken by value, long, and of odd sizes.
#![allow(clippy::needless_pass_by_value, clippy::large_stack_arrays, clippy::too_many_lines, clippy::type_complexity, clippy::unused_self)]
#![allow(clippy::manual_let_else)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc, missing_docs)]

mod declare;
mod desired;
mod outcome;
mod plan;
mod purity;
