//! The real binary between a real API server and the AWS emulator behind the recording proxy.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod adoption;
mod approval;
mod audit;
mod bad_input;
mod budget;
mod cost;
mod deleted;
mod drift_events;
mod gitops;
mod installs;
mod life;
mod migration;
mod plan;
mod pod_identity;
mod quota;
mod rights;
mod shared_key;
mod slow_check;
mod starts;
mod traces;
mod world;
#[path = "../audit/zoo.rs"]
mod zoo;
mod zoo_adopted;
