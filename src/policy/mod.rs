//! Key policies and queue policies: rendered from declared access, read back from AWS, compared by meaning. Pure.

pub mod access;
pub mod difference;
pub mod document;
pub mod equivalence;
mod grantees;
pub mod key_policy;
pub mod limits;
mod plain;
pub mod queue_policy;
pub mod read_back;
#[cfg(test)]
mod tests;
