//! The commands of `encrypted-queue`, a module each.

pub mod adopt;
pub mod approve;
pub mod crds;
pub mod explain;
pub mod plan;
mod pod_identity;
pub mod run;
mod selector;
