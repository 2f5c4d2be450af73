//! From what Kubernetes says to what AWS should be, or to the list of what forbids it. Pure.
//!
//! Every string a person wrote is judged here once; what comes out ([`DesiredQueue`], [`DesiredKey`]) holds only names that parsed and values within the
//! tier's bounds.

mod attributes;
mod key;
mod naming;
mod principals;
mod queue;
mod service_account;
mod siblings;
mod tags;

pub(crate) use attributes::default_settings;
pub use attributes::{DEAD_LETTER_POLICY, POLICY};
pub use key::{Approval, DesiredKey, DesiredUser, KeptUser, KeyInput, KeyUserInput, Retiring, desired_key};
pub(crate) use naming::dead_letter_name;
pub use naming::{KeyIdentity, default_queue_name};
pub use principals::PrincipalRules;
pub(crate) use principals::{default_key_condition, glob, role_matches};
pub use queue::{AdoptionRules, DeadLetterEnd, DesiredQueue, QueueInput, QueueSide, Refusal, desired_queue, place_of};
pub use service_account::ServiceAccountRole;
pub use siblings::{claimed_names, key_generation, key_identity, leaves_approval, object_name, queue_limit, unless_taken, within_limit};
pub(crate) use tags::{names_no_other_owner, tag_changes};
pub use tags::{owner_tags_match, queue_owner_tags};

use crate::api::Reason;

/// Something in a declaration that tenant, tier or AWS forbids.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Violation {
    /// Why.
    pub reason: Reason,
    /// The exact field.
    pub field: String,
    /// What is wrong and the way out.
    pub message: String,
}

impl Violation {
    pub(crate) fn new(reason: Reason, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason, field: field.into(), message: message.into() }
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}
