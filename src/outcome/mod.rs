//! What a pass came to, told as status. Pure: from the desired and the observed state and the reason why the pass ended.

pub mod key;
pub mod queue;

use crate::api::Reason;
use crate::plan::Hold;

/// Why a pass ended.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum End {
    /// Nothing is left to do.
    Complete,
    /// Nothing can be done now.
    Held(Hold),
    /// A call failed.
    Failed {
        /// Why.
        reason: Reason,
        /// The call and what came back.
        message: String,
    },
}

impl End {
    /// Reason and message, unless everything is done.
    pub fn obstacle(&self) -> Option<(Reason, &str)> {
        match self {
            Self::Complete => None,
            Self::Held(hold) => Some((hold.reason, &hold.message)),
            Self::Failed { reason, message } => Some((*reason, message)),
        }
    }
}
