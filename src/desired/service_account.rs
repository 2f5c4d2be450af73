//! What the cluster and EKS say of a ServiceAccount.

use crate::api::Reason;

/// What is known of a ServiceAccount's IAM role.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum ServiceAccountRole {
    /// No such ServiceAccount.
    Missing,
    /// It is annotated with none; whether EKS has an association is not looked up, since no cluster is named.
    WithoutRole,
    /// It is annotated with none, and the cluster has no association for it.
    NotAssociated {
        /// Name of the EKS cluster.
        cluster: String,
    },
    /// The role's ARN as annotated, not yet judged.
    Role(String),
    /// By EKS Pod Identity.
    Associated {
        /// The role's ARN as the association has it, not yet judged.
        role: String,
        /// Another role that it is annotated with, which its pods never get.
        ignored: Option<String>,
    },
    /// EKS could not be asked: nothing is changed.
    Unknown {
        /// Why.
        reason: Reason,
        /// For people: what failed and the way out.
        message: String,
    },
}
