//! Queues that stay under a shared key without their objects (deletionPolicy Retain): the key's policy keeps their grants, and status says which they are.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::observed::ObservedKey;
use crate::api::labels::TAG_RELEASED;
use crate::api::queue_key::ReleasedQueue;
use crate::desired::{DesiredKey, KeptUser, dead_letter_name};
use crate::names::QueueArn;
use crate::policy::document::Document;
use crate::policy::read_back;

/// The desired key with the queues that status records as let go of.
pub(super) fn with_released<'a>(desired: &'a DesiredKey, observed: &ObservedKey) -> Cow<'a, DesiredKey> {
    let released = observed.released_queues.iter().filter_map(parsed).filter(|(arn, _)| !is_used(desired, arn) && !is_leaving(desired, arn));
    let released: Vec<KeptUser> =
        released.map(|queue| KeptUser { object: None, queue: Some(queue), rules: desired.rules.clone(), paused: false, released: true }).collect();
    if released.is_empty() {
        return Cow::Borrowed(desired);
    }
    let mut desired = desired.clone();
    desired.kept.extend(released);
    Cow::Owned(desired)
}

/// What status must say of queues that were let go of, if it does not.
pub(super) fn to_record(desired: &DesiredKey, observed: &ObservedKey) -> Option<Vec<ReleasedQueue>> {
    let leaving = desired.kept.iter().filter(|kept| kept.released).filter_map(|kept| kept.queue.clone());
    let recorded = observed.released_queues.iter().filter_map(parsed);
    let queues: BTreeMap<QueueArn, Option<QueueArn>> = recorded.chain(taken_back(desired, observed)).chain(leaving).collect();
    let queues: Vec<ReleasedQueue> = queues
        .into_iter()
        .filter(|(arn, _)| !is_used(desired, arn))
        .map(|(arn, dead_letter)| ReleasedQueue { arn: arn.to_string(), dead_letter_arn: dead_letter.as_ref().map(ToString::to_string) })
        .collect();
    (queues != observed.released_queues).then_some(queues)
}

fn parsed(released: &ReleasedQueue) -> Option<(QueueArn, Option<QueueArn>)> {
    let parse = |arn: &String| QueueArn::parse(arn).ok();
    Some((parse(&released.arn)?, released.dead_letter_arn.as_ref().and_then(parse)))
}

fn is_used(desired: &DesiredKey, arn: &QueueArn) -> bool {
    let kept = |kept: &KeptUser| !kept.released && kept.queue.as_ref().is_some_and(|(queue, _)| queue == arn);
    desired.users.iter().any(|user| user.access.queue == *arn) || desired.kept.iter().any(kept)
}

fn is_leaving(desired: &DesiredKey, arn: &QueueArn) -> bool {
    desired.kept.iter().any(|kept| kept.released && kept.queue.as_ref().is_some_and(|(queue, _)| queue == arn))
}

/// A shared key that was itself let go of, and is taken back: whom its policy admits through queues that nobody declares now.
fn taken_back(desired: &DesiredKey, observed: &ObservedKey) -> BTreeMap<QueueArn, Option<QueueArn>> {
    let state = observed.state.present().filter(|state| desired.shared && state.tags.contains_key(TAG_RELEASED));
    let Some(policy) = state.and_then(|state| Document::parse(&state.policy).ok()) else { return BTreeMap::new() };
    let named = read_back::queues_named(&policy);
    let dead_letter_of = |arn: &QueueArn| named.iter().find(|other| other.name() == dead_letter_name(arn.name())).cloned();
    let dead_letters: Vec<QueueArn> = named.iter().filter_map(dead_letter_of).collect();
    named.iter().filter(|arn| !dead_letters.contains(arn)).map(|arn| (arn.clone(), dead_letter_of(arn))).collect()
}
