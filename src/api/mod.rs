//! The five kinds of API group `encryptedqueue.dev`, version `v1alpha1`.
//!
//! Everything a person may write is typed, described, bounded and defaulted in the schema, so that bad input is refused by the API server and
//! `kubectl explain` tells the defaults. What needs another object to judge (a principal against its tenant, say) is judged in [`crate::desired`].

#![allow(clippy::duplicated_attributes, reason = "printcolumn(…) says type_ and json_path once a column")]

pub mod access_approval;
pub mod conditions;
pub mod encrypted_queue;
pub mod labels;
pub mod queue_key;
pub mod reasons;
mod schema;
pub mod sensitivity_tier;
pub mod tenant;

pub use access_approval::{AccessApproval, AccessApprovalSpec, AccessApprovalStatus};
pub use encrypted_queue::{EncryptedQueue, EncryptedQueueSpec, EncryptedQueueStatus};
pub use queue_key::{QueueKey, QueueKeySpec, QueueKeyStatus};
pub use reasons::Reason;
pub use sensitivity_tier::{SensitivityTier, SensitivityTierSpec, SensitivityTierStatus};
pub use tenant::{Tenant, TenantSpec, TenantStatus};

/// The API group of all kinds.
pub const GROUP: &str = "encryptedqueue.dev";

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happens in AWS when the Kubernetes object is deleted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum DeletionPolicy {
    /// Queue and key stay as they are, tagged as released; a later object of the same name takes them back.
    #[default]
    Retain,
    /// The queue is deleted once it is empty, and its key is scheduled for deletion when nothing needs it any more.
    Delete,
}
