//! Decides what to do next. Pure: `(&Desired, &Observed, now) -> Vec<Action>`; reads and durable Kubernetes writes are actions like the rest.
//!
//! The caller applies the actions in order, notes each effect in the observed state ([`effect`]), and plans again until nothing, or only a
//! [`action::Hold`], is left. A value that is not known yet (a new key's ARN) ends a batch.

pub mod action;
pub mod adoption;
mod creation;
mod dead_letter;
pub mod deleted;
pub mod effect;
mod extra;
pub mod grants;
pub mod key;
pub mod late;
mod lost;
mod migration;
pub mod objects;
pub mod observed;
mod paused;
pub mod queue;
pub mod record;
mod released;
pub mod render;
mod rotation;
pub mod state;
mod stripped;
pub mod teardown;

pub use action::{Hold, KeyAction, QueueAction, QueueLocator};
pub use key::{SearchWindow, plan_key};
pub use observed::{ObservedKey, ObservedKeyObject, ObservedQueue, Seen};
pub use queue::plan_queue;
pub use rotation::MOST_ROTATIONS;
