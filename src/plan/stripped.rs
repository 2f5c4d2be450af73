//! Queues whose owner tags somebody took off: what else says whose they are. Pure.

use super::action::QueueAction;
use super::observed::ObservedQueue;
use super::queue::KMS_KEY;
use super::state::{QueueState, Tags};
use crate::desired::{names_no_other_owner, owner_tags_match};
use crate::policy::queue_policy::QueueKind;

/// Gives the queues their tags back, if status records them, they are under this object's key, and no tag names another owner. Nothing else is done to them
/// before.
pub(super) fn retag(tags: &Tags, observed: &ObservedQueue) -> Vec<QueueAction> {
    let recorded = [(QueueKind::Source, &observed.source_url), (QueueKind::DeadLetter, &observed.dead_letter_url)];
    let found = recorded
        .into_iter()
        .filter_map(|(which, url)| Some((which, observed.queue(which).present().filter(|queue| url.as_ref() == Some(&queue.url))?)));
    let stripped = found.filter(|(_, queue)| is_stripped(queue, tags, observed));
    stripped.map(|(which, queue)| QueueAction::TagQueue { which, url: queue.url.clone(), tags: tags.clone() }).collect()
}

fn is_stripped(queue: &QueueState, tags: &Tags, observed: &ObservedQueue) -> bool {
    let mut keys = observed.key.iter().filter_map(|key| key.arn.as_ref()).chain(observed.current_key.iter().filter_map(|key| key.arn.as_ref()));
    let is_under_its_key = queue.attributes.get(KMS_KEY).is_some_and(|found| keys.any(|key| key == found));
    !owner_tags_match(&queue.tags, tags) && names_no_other_owner(&queue.tags, tags) && is_under_its_key
}
