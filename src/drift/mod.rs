//! What an event from Amazon EventBridge tells: which queue or key somebody changed, or who was denied the use of a key.
//!
//! Events come from CloudTrail (`detail-type` "AWS API Call via CloudTrail") and from AWS KMS itself. They are best effort and may be minutes late
//! (Amazon EventBridge user guide, "AWS service events delivered via CloudTrail"), so they only say what to look at: what is there, AWS is asked.

mod debounce;
mod event;

pub use debounce::Debounce;
pub use event::{Change, DENIABLE, Denied, KEY_CHANGES, KEY_EVENTS, Malformed, QUEUE_CHANGES, Subject, Told, read};
