//! A dead-letter queue that is no longer declared: first no message can move to it any more, then it is waited for until it is empty, then it goes as
//! the deletion policy says. Until then it stays under the key, and the queue's consumers read it.

use jiff::{SignedDuration, Timestamp};

use super::action::{Hold, QueueAction};
use super::migration::SPREAD;
use super::observed::ObservedQueue;
use super::teardown::released_at;
use crate::api::labels::{DELETE_NON_EMPTY, TAG_RELEASED};
use crate::api::{DeletionPolicy, Reason};
use crate::desired::{DesiredQueue, owner_tags_match};
use crate::names::queue_name_of;
use crate::policy::queue_policy::QueueKind;

/// SQS does not tell when a queue becomes empty.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(30);

/// What comes next for a dead-letter queue that ends, once everything else is as declared; none: it does not end.
pub(super) fn plan(desired: &DesiredQueue, observed: &ObservedQueue, now: Timestamp) -> Option<Vec<QueueAction>> {
    let ends = desired.dead_letter_end?;
    let hold = |hold| Some(vec![QueueAction::Hold(hold)]);
    if !observed.dead_letter_recorded {
        return hold(Hold::until(Reason::Applying, "the dead-letter queue is gone; access to it goes next", now));
    }
    let ours = observed.dead_letter.present().filter(|found| owner_tags_match(&found.tags, &desired.tags));
    let Some(queue) = ours else { return Some(vec![QueueAction::ForgetDeadLetter]) };
    let Some(since) = observed.dead_letter_unused_since else { return Some(vec![QueueAction::RecordDeadLetterUnused]) };
    let spread_at = since.saturating_add(SPREAD).unwrap_or(Timestamp::MAX);
    if now < spread_at {
        let message = format!("no message moves to the dead-letter queue any more; until {spread_at:.0} SQS may not know everywhere");
        return hold(Hold::until(Reason::Applying, message, spread_at));
    }
    let (count, name) = (queue.approximate_messages(), queue_name_of(&queue.url));
    if count > 0 && !ends.even_if_not_empty {
        let message = format!(
            "{count} messages in dead-letter queue {name}, which is no longer declared; consume them or move them back, or annotate the object with {DELETE_NON_EMPTY}=\"true\" to give them up"
        );
        return hold(Hold::until(Reason::QueueNotEmpty, message, now + LOOK_AGAIN));
    }
    let (which, url) = (QueueKind::DeadLetter, queue.url.clone());
    Some(match desired.deletion_policy {
        DeletionPolicy::Delete => vec![QueueAction::DeleteQueue { which, url }, QueueAction::ForgetDeadLetter],
        DeletionPolicy::Retain => {
            let tags = [(TAG_RELEASED.to_owned(), released_at(now))].into();
            vec![QueueAction::TagQueue { which, url, tags }, QueueAction::ForgetDeadLetter]
        }
    })
}
