//! What to do next when a declaration ends, is refused or is paused: nothing is loosened, no message is lost.

use jiff::{SignedDuration, Timestamp};

use super::action::{Hold, KeyAction, QueueAction, QueueLocator};
use super::creation::plan_creation;
use super::grants::held;
use super::key::{CLOCK_SKEW, SearchWindow, point_alias};
use super::lost::{self, Found};
use super::migration::SPREAD;
use super::observed::{LastUse, ObservedKey, ObservedKeyObject, ObservedQueue, Seen};
use super::queue::{forget_first, parsed_policy, revokes};
use super::record::is_url_of;
use super::state::{KeyLifecycle, QueueState, Tags};
use super::stripped;
use crate::api::labels::{DELETE_NON_EMPTY, TAG_RELEASED};
use crate::api::sensitivity_tier::Others;
use crate::api::{DeletionPolicy, Reason};
use crate::desired::{DesiredKey, POLICY, PrincipalRules, owner_tags_match};
use crate::names::{Place, QueueArn, sha256_hex};
use crate::policy::access::QueueAccess;
use crate::policy::document::Document;
use crate::policy::queue_policy::{self, Denial, QueueKind};
use crate::policy::read_back;

/// Pause between two looks at a key's last use.
const LOOK_FOR_USE: SignedDuration = SignedDuration::from_hours(1);

/// The end of an EncryptedQueue.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct EndingQueue {
    /// Tags that say whose the queues are.
    pub owner: Tags,
    /// What happens to them.
    pub policy: DeletionPolicy,
    /// Whether a queue that holds messages may go.
    pub even_if_not_empty: bool,
    /// The queue; None: it was never made.
    pub source: Option<QueueLocator>,
    /// Its dead-letter queue.
    pub dead_letter: Option<QueueLocator>,
}

/// Decides how an EncryptedQueue ends: its queues are released or deleted, then the object goes.
pub fn plan_queue_end(ending: &EndingQueue, observed: &ObservedQueue, now: Timestamp) -> Vec<QueueAction> {
    if let Some(key) = observed.key.as_ref().filter(|key| ends_otherwise(key, ending.policy)) {
        return vec![QueueAction::SetKeyDeletionPolicy { name: key.name.clone(), policy: ending.policy }];
    }
    if let (Some(source), Seen::NotRead) = (&ending.source, &observed.source) {
        return vec![QueueAction::ReadQueues { source: source.clone(), dead_letter: ending.dead_letter.clone() }];
    }
    let retag = stripped::retag(&ending.owner, observed);
    if !retag.is_empty() {
        return retag;
    }
    let ours = |which| observed.queue(which).present().filter(|queue| owner_tags_match(&queue.tags, &ending.owner)).map(|queue| (which, queue));
    let queues: Vec<(QueueKind, &QueueState)> = [QueueKind::Source, QueueKind::DeadLetter].into_iter().filter_map(ours).collect();
    let mut actions = match ending.policy {
        DeletionPolicy::Retain => release_queues(&queues, now),
        DeletionPolicy::Delete => match not_empty(&queues).filter(|_| !ending.even_if_not_empty) {
            Some(hold) => return vec![QueueAction::Hold(hold)],
            None => queues.iter().map(|(which, queue)| QueueAction::DeleteQueue { which: *which, url: queue.url.clone() }).collect(),
        },
    };
    if actions.is_empty() && !queues.is_empty() && ending.policy == DeletionPolicy::Retain {
        actions.extend(observed.key.iter().chain(&observed.other_keys).find_map(until_released));
    }
    if observed.finalizer && !actions.iter().any(|action| matches!(action, QueueAction::Hold(_) | QueueAction::TagQueue { .. })) {
        actions.push(QueueAction::RemoveFinalizer);
    }
    actions
}

/// Whether a key would not end as its queue does. A shared key is kept once one of its queues is: only when every user said Delete does it go.
pub(super) fn ends_otherwise(key: &ObservedKeyObject, policy: DeletionPolicy) -> bool {
    key.deletion_policy != policy && (!key.shared || policy == DeletionPolicy::Retain)
}

/// A shared key goes on without the object: that the queue stays under it is on record there first.
fn until_released(key: &ObservedKeyObject) -> Option<QueueAction> {
    let message = format!("QueueKey {} does not record yet that the queue stays under its key", key.name);
    (key.shared && key.holds.is_some() && !key.releases).then(|| QueueAction::Hold(Hold::new(Reason::WaitingForKey, message)))
}

fn release_queues(queues: &[(QueueKind, &QueueState)], now: Timestamp) -> Vec<QueueAction> {
    let tags: Tags = [(TAG_RELEASED.to_owned(), released_at(now))].into();
    let held = queues.iter().filter(|(_, queue)| !queue.tags.contains_key(TAG_RELEASED));
    held.map(|(which, queue)| QueueAction::TagQueue { which: *which, url: queue.url.clone(), tags: tags.clone() }).collect()
}

/// RFC 3339 in whole seconds: characters that a tag's value may have.
pub(super) fn released_at(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn not_empty(queues: &[(QueueKind, &QueueState)]) -> Option<Hold> {
    let counts = queues.iter().map(|(which, queue)| (*which, queue.approximate_messages()));
    let said: Vec<String> = counts
        .filter(|(_, count)| *count > 0)
        .map(|(which, count)| match which {
            QueueKind::Source => format!("{count} messages in the queue"),
            QueueKind::DeadLetter => format!("{count} messages in the dead-letter queue"),
        })
        .collect();
    let message = format!("{}; consume them, or annotate the object with {DELETE_NON_EMPTY}=\"true\" to lose them", said.join(" and "));
    (!said.is_empty()).then(|| Hold::new(Reason::QueueNotEmpty, message))
}

/// A queue that keeps what was applied: its declaration is refused or paused.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct KeptQueue {
    /// The queue.
    pub queue: QueueArn,
    /// Its dead-letter queue.
    pub dead_letter_queue: Option<QueueArn>,
    /// Where it lives.
    pub place: Place,
    /// Tags that say whose it is.
    pub owner: Tags,
    /// What its grants must still satisfy; None: its tier is gone, and they stay.
    pub rules: Option<PrincipalRules>,
    /// Whether others are denied explicitly.
    pub others: Others,
    /// Whether the tenant is cut off.
    pub suspended: bool,
}

impl KeptQueue {
    /// Hash that status records once the applied grants satisfy these rules: nothing is read until the rules change.
    pub fn sha256(&self) -> String {
        sha256_hex(&format!("kept {self:?}"))
    }
}

/// Takes from a kept queue's policies what the rules no longer admit, at once; nothing else is touched.
pub fn plan_kept_queue(kept: &KeptQueue, observed: &ObservedQueue) -> Vec<QueueAction> {
    let may_exist = observed.source_url.is_some() || observed.key.as_ref().is_some_and(|key| key.holds.is_some());
    if !may_exist || (!observed.check && observed.applied_sha256 == Some(kept.sha256())) {
        return Vec::new();
    }
    if observed.source == Seen::NotRead || (kept.dead_letter_queue.is_some() && observed.dead_letter == Seen::NotRead) {
        let locate =
            |arn: &QueueArn, url: &Option<String>| QueueLocator { name: arn.name().to_owned(), url: url.clone().filter(|url| is_url_of(url, arn)) };
        return vec![QueueAction::ReadQueues {
            source: locate(&kept.queue, &observed.source_url),
            dead_letter: kept.dead_letter_queue.as_ref().map(|arn| locate(arn, &observed.dead_letter_url)),
        }];
    }
    let narrower = [QueueKind::DeadLetter, QueueKind::Source].into_iter().filter_map(|which| narrow(kept, observed.queue(which).present()?, which));
    forget_first(narrower.collect(), None, observed)
}

fn narrow(kept: &KeptQueue, found: &QueueState, which: QueueKind) -> Option<QueueAction> {
    if !owner_tags_match(&found.tags, &kept.owner) {
        return None;
    }
    let arn = match which {
        QueueKind::Source => &kept.queue,
        QueueKind::DeadLetter => kept.dead_letter_queue.as_ref()?,
    };
    // Without a policy nobody holds a grant; a tenant that is cut off is denied even so.
    let policy = parsed_policy(found).unwrap_or_else(|| Document::new(None, Vec::new()));
    let read = read_back::read_queue_policy(&policy, which, arn, &kept.place);
    let allowed = |grant: &_| kept.rules.as_ref().is_none_or(|rules| rules.check(grant).is_ok());
    if read.grants.iter().all(allowed) && read.denied.contains(&Denial::Suspended) == kept.suspended {
        return None;
    }
    let access = QueueAccess {
        queue: kept.queue.clone(),
        dead_letter_queue: kept.dead_letter_queue.clone(),
        grants: read.grants.into_iter().filter(allowed).map(|grant| (grant, String::new())).collect(),
        // What is denied stays denied.
        others: if read.denied.contains(&Denial::OthersSend) { Others::Deny } else { kept.others },
        suspended: kept.suspended,
    };
    let narrowed = match which {
        QueueKind::Source => queue_policy::render_queue(&access, &kept.place),
        QueueKind::DeadLetter => queue_policy::render_dead_letter(&access, &kept.place)?,
    };
    let policy = narrowed.to_json();
    let revokes = revokes(which, arn, &kept.place, found, &policy);
    Some(QueueAction::SetQueueAttributes { which, url: found.url.clone(), attributes: [(POLICY.to_owned(), policy)].into(), revokes })
}

/// Decides what to do about a QueueKey that was deleted while queues use it. They make it again, and it finds its key by the alias: until the key has
/// that, it stays.
pub fn plan_key_remade(desired: &DesiredKey, observed: &ObservedKey, window: SearchWindow, now: Timestamp) -> Vec<KeyAction> {
    let end = || vec![KeyAction::EndObject { policy: DeletionPolicy::Retain }];
    let Some(id) = &observed.key_id else {
        let search = observed.nonce.as_ref().map(|_| plan_creation(desired, &held(desired, observed), observed, window, now));
        let found = search.filter(|actions| !matches!(actions.as_slice(), [KeyAction::RecordNonce | KeyAction::CreateKey { .. }]));
        return found.unwrap_or_else(end);
    };
    match &observed.state {
        Seen::NotRead => vec![KeyAction::ReadKey { id: id.clone() }],
        Seen::Present(state) if !state.aliases.contains(&desired.alias) && owner_tags_match(&state.tags, &desired.tags) => {
            match state.metadata.lifecycle {
                KeyLifecycle::PendingDeletion => vec![KeyAction::CancelKeyDeletion { id: id.clone() }],
                _ => vec![point_alias(desired, observed, id)],
            }
        }
        Seen::Present(_) | Seen::Absent => end(),
    }
}

/// Decides how a QueueKey ends that no queue uses: the key is released, or scheduled for deletion once nothing points at it.
pub fn plan_key_end(desired: &DesiredKey, observed: &ObservedKey, window: SearchWindow, now: Timestamp) -> Vec<KeyAction> {
    let end = |policy| vec![KeyAction::EndObject { policy }];
    let (Some(id), Some(arn)) = (&observed.key_id, &observed.arn) else {
        // A nonce without a key: one may exist, and it must not be left behind.
        let searching = observed.nonce.as_ref().map(|_| plan_creation(desired, &held(desired, observed), observed, window, now));
        let made = searching.filter(|actions| !matches!(actions.as_slice(), [KeyAction::RecordNonce | KeyAction::CreateKey { .. }]));
        return made.unwrap_or_else(|| end(desired.deletion_policy));
    };
    let state = match lost::find(desired, &held(desired, observed), observed, window, now) {
        Found::Key(state) => state,
        Found::Not(actions) => {
            return match actions.first() {
                Some(KeyAction::Hold(hold)) if hold.reason == Reason::KeyLost => end(desired.deletion_policy),
                // Let go of, as what it is now: another's.
                Some(KeyAction::Hold(hold)) if hold.reason == Reason::KeyConflict => end(DeletionPolicy::Retain),
                _ => actions,
            };
        }
    };
    match desired.deletion_policy {
        _ if state.metadata.lifecycle == KeyLifecycle::PendingDeletion => end(desired.deletion_policy),
        DeletionPolicy::Retain if state.tags.contains_key(TAG_RELEASED) => end(DeletionPolicy::Retain),
        DeletionPolicy::Retain => vec![KeyAction::TagKey { id: id.clone(), tags: [(TAG_RELEASED.to_owned(), released_at(now))].into() }],
        DeletionPolicy::Delete => match &observed.queues_under_key {
            Seen::NotRead => vec![KeyAction::FindQueuesUnderKey { arn: arn.clone() }],
            Seen::Present(queues) if !queues.is_empty() => {
                let message = format!("queues still point at key {id}: {}; it is kept until they do not", queues.join(", "));
                vec![KeyAction::Hold(Hold::until(Reason::InUse, message, now + SignedDuration::from_secs(60)))]
            }
            _ => unless_used(desired, observed, id, now),
        },
    }
}

/// Consumers decrypt under a key that their queues have left until messages under it have expired. Who uses it otherwise, or later, may need it: it is kept
/// until nobody has for as long as its deletion would take. Where KMS does not tell, the queues have the word.
fn unless_used(desired: &DesiredKey, observed: &ObservedKey, id: &str, now: Timestamp) -> Vec<KeyAction> {
    let Some((since, until)) = observed.retirement else {
        return vec![KeyAction::ScheduleKeyDeletion { id: id.to_owned(), window_days: desired.deletion_window_days }];
    };
    let Seen::Present(last_use) = &observed.last_use else { return vec![KeyAction::ReadLastUse { id: id.to_owned() }] };
    let quiet = SignedDuration::from_hours(24 * i64::from(desired.deletion_window_days));
    if let LastUse::At { at, operation } = last_use {
        let expected = if operation == "Decrypt" { until } else { since + SPREAD };
        if *at > expected + CLOCK_SKEW && now < *at + quiet {
            let message = format!(
                "key {id} was used by {operation} at {at:.0}, although its queues left it at {since:.0}: it is kept until nobody has used it for {} days",
                desired.deletion_window_days
            );
            return vec![KeyAction::Hold(Hold::until(Reason::InUse, message, now + LOOK_FOR_USE))];
        }
    }
    vec![KeyAction::ScheduleKeyDeletion { id: id.to_owned(), window_days: desired.deletion_window_days }]
}
