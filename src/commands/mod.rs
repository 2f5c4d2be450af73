//! The commands of `encrypted-queue`, a module each.

pub mod approve;
pub mod crds;
pub mod explain;
pub mod plan;
pub mod run;
