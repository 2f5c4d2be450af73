//! What the operator would do if some objects were applied: what `encrypted-queue plan` answers. Pure.
//!
//! [`Preview`] runs the controller's own loop over its own functions: the declaration is judged by [`crate::desired`], what is recorded is taken up by
//! [`crate::plan::record`], and [`crate::plan::plan_key`] and [`crate::plan::plan_queue`] decide. Reads are questions to the caller; the effect of every
//! write is [predicted](predict), never carried out. So the first action of a preview is the controller's next action, not a guess at it.
//!
//! Two controllers work side by side, one on queues and one on keys. Of one object the order is exact. Between a key and its queues it is exact where one
//! waits for the other: a key and its policy come before the first use of either. Alias, rotation and tags of a key may come before or after its queues.

mod describe;
mod markdown;
mod member;
pub mod predict;
mod report;
mod run;
#[cfg(test)]
mod tests;
mod text;

pub use markdown::plan_markdown;
pub use report::{ActionReport, ApprovalReport, Change, ObjectReport, PlanReport, SCHEMA_VERSION, Summary, System, WaitReport};
pub use run::{Preview, PreviewInput, Question};
pub use text::plan_text;
pub(crate) use text::{one_line, turns_writing};
