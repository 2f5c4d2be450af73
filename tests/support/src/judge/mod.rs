//! Who can do what, by AWS's own rules: reads policies as JSON text and shares no code with the product.
//!
//! [`evaluator`] decides one request against one resource policy (IAM user guide, "Policy evaluation logic" and "Condition operators"; KMS developer
//! guide, "Default key policy"). Where a policy says what the evaluator does not know, it is taken as wider than it may be: an Allow counts, a Deny does
//! not.
//!
//! [`inspect`] applies it after every recorded write: see the invariants there.

mod condition;
pub mod declared;
pub mod evaluator;
mod inspector;
pub mod probes;
pub mod rights;
pub mod state;
#[cfg(test)]
mod tests;

pub use declared::{Declarations, Kind};
pub use evaluator::{Caller, Evidence, Owner, Request, Service, Verdict};
pub use inspector::{Parties, Report, inspect};
