//! The only place that speaks to AWS: credentials and clients per account and Region, narrow calls in the project's own types, one table of error codes.

mod accounts;
mod calls;
mod clients;
mod codes;
mod discovery;
mod drift_queue;
mod eks;
mod error;
mod identity;
mod inventory;
mod kms;
mod kms_read;
mod observe;
mod own_requests;
mod patience;
mod quota;
mod remembered;
mod sqs;
mod sweep;
#[cfg(test)]
mod tests;
mod traffic;
mod trail;

pub use accounts::{AccountKey, Accounts, Settings};
pub use calls::{CallCount, CallCounts};
pub use clients::Clients;
pub use codes::{Intent, Kind};
pub use discovery::TaggedKey;
pub use drift_queue::{DriftQueue, Received};
pub use eks::{PodIdentity, PodIdentityAssociation};
pub use error::AwsError;
pub use inventory::{Alias, KeyDescription};
pub use kms::CREATE_KEY;
pub use kms_read::{KeyLastUsed, KeyRotation, RotationCause};
pub use own_requests::OwnRequests;
pub use patience::patiently;
pub use quota::{CallLimits, Caller, Quotas, Rates, Subject, on_behalf};
pub use sweep::{Aliases, ReadTogether, Reader};
pub use traffic::MessageCounts;
pub use trail::Trail;
