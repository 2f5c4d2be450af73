//! Who can do what with a queue and its key, and by which statement: what `encrypted-queue explain` answers. Pure.
//!
//! Objects of the cluster ([`Snapshot`]) → the desired state that the controller would compute → the policies rendered from it → [`QueueReport`]. What a
//! report says of a principal is read from those policies, statement by statement, so that it cannot differ from what AWS is given.

mod denials;
mod identity;
mod notes;
mod principal;
mod report;
mod rows;
mod snapshot;
#[cfg(test)]
mod tests;
mod text;

pub use principal::{Asked, UnknownPrincipal};
pub use report::{
    DenialReport, IdentityPolicyReport, KeyReport, OrganizationReport, Permission, PermissionReport, PoliciesReport, PolicyKind, PrincipalKind,
    PrincipalQueueReport, PrincipalReport, QueueReport, ReadyReport, RefusedQueueReport, RoleReport, SCHEMA_VERSION, StatementReference,
    ViolationReport,
};
pub(crate) use snapshot::service_accounts;
pub use snapshot::{Explainer, Snapshot};
pub use text::{principal_text, queue_text};
