//! Every queue and key of accounts against the checks: what `encrypted-queue audit` and the operator's own audit tell.
//!
//! [`scan`] reads AWS into an [`inventory::Inventory`]; what the cluster declares is laid over it ([`declared`]); [`checks`] judge it; [`report`] says
//! what they found, as data, table, SARIF or HTML. [`look`] reads single queues and keys for the same checks. All but the reading is pure.

pub mod baseline;
pub mod checks;
pub mod declared;
mod html;
pub mod inventory;
pub mod look;
pub mod policy_report;
pub mod report;
mod sarif;
pub mod scan;
mod statements;
mod text;

pub use html::audit_html;
pub use sarif::audit_sarif;
pub use text::audit_text;
