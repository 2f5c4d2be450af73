//! The recording proxy before a real emulator.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod control;
mod faults;
mod keys;
mod principals;
mod queues;
mod stage;
