//! The rendered policies allow exactly what is declared, in the judgement of two evaluators that share no code with the product, nor with each other.
//!
//! Random declarations go the product's own way: [`desired_queue`](encrypted_queue::desired::desired_queue), then both policies' renderers. Random
//! requests are then put to the policies. What should come of each is said by `oracle`, in the documentation's words.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod adopted;
mod declared;
mod judged;
mod least_privilege;
mod mutants;
mod named;
mod opinions;
mod oracle;
mod questions;
