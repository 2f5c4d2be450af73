//! Status of an EncryptedQueue.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};

use super::End;
use crate::api::conditions::{Finding, is_true, merge, summarise, types};
use crate::api::encrypted_queue::{AccessStatus, EncryptedQueueStatus, KeyReference, NextKey, QueueReference};
use crate::api::sensitivity_tier::Others;
use crate::api::{QueueKeyStatus, Reason};
use crate::cost;
use crate::desired::{DesiredQueue, QueueSide, Violation, owner_tags_match};
use crate::plan::adoption::with_found_settings;
use crate::plan::observed::PreviousKeyRecord;
use crate::plan::queue::applied_sha256;
use crate::plan::state::QueueState;
use crate::plan::{Hold, ObservedQueue, deleted};
use crate::policy::access::{Capability, Grant};

/// What a pass over a queue knows at its end.
pub struct QueuePass<'a> {
    /// What it should be, or what forbids it.
    pub desired: Result<&'a DesiredQueue, &'a [Violation]>,
    /// What it is.
    pub observed: &'a ObservedQueue,
    /// Why the pass ended.
    pub end: &'a End,
    /// Its key's status.
    pub key: Option<&'a QueueKeyStatus>,
    /// What differs while the object is paused; None: it is not.
    pub paused: Option<&'a [String]>,
    /// Whether the object is being deleted.
    pub deleting: bool,
    /// Value of the check-now annotation that this pass served.
    pub checked_now: Option<String>,
    /// What status records when a refused or paused queue satisfies the rules.
    pub kept_sha256: Option<String>,
    /// The object's generation.
    pub generation: Option<i64>,
}

/// Which condition an obstacle belongs to.
fn condition_of(reason: Reason) -> &'static str {
    match reason {
        Reason::WaitingForKey
        | Reason::SearchingForKey
        | Reason::KeyConflict
        | Reason::AmbiguousOwnership
        | Reason::KeyUnusable
        | Reason::KeyLost
        | Reason::PrincipalInvalid
        | Reason::RotationsUsedUp => types::KEY_READY,
        Reason::AwaitingApproval | Reason::PrincipalDeleted => types::ACCESS_IN_SYNC,
        _ => types::QUEUE_READY,
    }
}

impl QueuePass<'_> {
    /// The status to write.
    pub fn status(&self, previous: &EncryptedQueueStatus, now: Timestamp) -> EncryptedQueueStatus {
        let mut status = previous.clone();
        status.observed_generation = self.generation;
        status.checked_now = self.checked_now.clone().or(status.checked_now);
        // Status keeps whole seconds: the next one, so that it never says too early.
        let until = self.observed.cached_data_keys_until.filter(|until| *until > now);
        let until = until.and_then(|until| Timestamp::from_second(until.as_second() + i64::from(until.subsec_nanosecond() > 0)).ok());
        if let Some(until) = until {
            status.access.get_or_insert_default().cached_data_keys_until = Some(Time(until));
        }
        status.created_at = self.observed.created_at.map(MicroTime);
        if let Ok(desired) = self.desired {
            self.references(desired, &mut status);
            let deleted = deleted::not_on_record(desired, self.observed);
            let access = AccessStatus { deleted_principals: deleted, ..status.access.take().unwrap_or_default() };
            status.access = (access != AccessStatus::default()).then_some(access);
        }
        status.applied_sha256 = self.applied();
        status.applied_tag_keys = self.applied_tag_keys();
        let findings = self.findings();
        let ready = self.desired.map_or_else(|_| String::new(), ready_message);
        let all: Vec<Finding> = summarise(&findings, &ready).into_iter().chain(findings).collect();
        status.conditions = merge(&previous.conditions, &all, self.generation, now);
        status.non_compliant_since = self.non_compliant_since(previous, &status.conditions, now);
        status
    }

    /// First seen not to be as declared: after it was Ready, or as a queue that is being taken over.
    fn non_compliant_since(&self, previous: &EncryptedQueueStatus, conditions: &[Condition], now: Timestamp) -> Option<Time> {
        let is_ready = |conditions: &[Condition]| is_true(conditions, types::READY);
        let taken_over = || previous.adoption.as_ref().is_some_and(|adoption| adoption.completed_at.is_none());
        let was_first_seen = is_ready(&previous.conditions) || taken_over();
        let since = || previous.non_compliant_since.clone().or_else(|| was_first_seen.then_some(Time(now)));
        if self.deleting || is_ready(conditions) { None } else { since() }
    }

    fn complete(&self) -> bool {
        // A queue waits for its first second with everything applied.
        match self.end {
            End::Complete => true,
            End::Held(hold) => hold.reason == Reason::WaitingForQueue,
            End::Failed { .. } => false,
        }
    }

    /// True or absent: a record that does not hold would hide what differs.
    fn applied(&self) -> Option<String> {
        if !self.complete() || self.deleting {
            return None;
        }
        if self.desired.is_err() || self.paused.is_some() {
            return self.kept_sha256.clone();
        }
        let key_arn = self.observed.key.as_ref().and_then(|key| key.arn.as_deref())?;
        Some(applied_sha256(&with_found_settings(self.desired.ok()?, self.observed), key_arn))
    }

    /// Until everything is applied, of any tag that may have been written: it is removed when nobody wants it.
    fn applied_tag_keys(&self) -> Vec<String> {
        match self.desired {
            Ok(desired) if self.complete() && !self.deleting && self.paused.is_none() => desired.tags.keys().cloned().collect(),
            _ => self.observed.applied_tag_keys.clone(),
        }
    }

    fn references(&self, desired: &DesiredQueue, status: &mut EncryptedQueueStatus) {
        let reference = |side: &QueueSide, found: &QueueState| QueueReference {
            name: side.arn.name().to_owned(),
            url: found.url.clone(),
            arn: side.arn.to_string(),
        };
        // Another's queue is not this object's, whatever its name.
        let ours = |found: &&QueueState| owner_tags_match(&found.tags, &desired.tags);
        if let Some(found) = self.observed.source.present().filter(ours) {
            status.queue = Some(reference(&desired.source, found));
        }
        if let Some((side, found)) = desired.dead_letter.as_ref().zip(self.observed.dead_letter.present().filter(ours)) {
            status.dead_letter_queue = Some(reference(side, found));
        }
        if desired.dead_letter.is_none() {
            (status.dead_letter_queue, status.dead_letter_queue_unused_since) = (None, None);
        }
        // On record before it is made, so that no crash leaves one that nobody knows of.
        if let Some(side) = desired.dead_letter.as_ref().filter(|_| self.observed.key.is_some() && !self.observed.is_adopted(desired)) {
            let about_to_be = || QueueReference { name: side.arn.name().to_owned(), url: String::new(), arn: side.arn.to_string() };
            if self.observed.dead_letter_recorded || desired.dead_letter_end.is_none() {
                status.dead_letter_queue.get_or_insert_with(about_to_be);
            }
        }
        // On its way to another key it stays with the one it is under.
        let (leaves, is_adopted) = (self.observed.leaves(desired).is_some(), self.observed.is_adopted(desired));
        let is_elsewhere = leaves || is_adopted;
        // Of a queue that is on record elsewhere nobody looks for another key that it wants: it is said before that key has an object.
        status.next_key = (leaves || is_adopted && self.observed.key.is_some()).then(|| {
            let recorded = self.observed.next_key.as_ref().filter(|next| next.name == desired.key_name);
            let (grants_sha256, granted_at) = recorded.map(|next| (next.grants_sha256.clone(), Time(next.granted_at))).unzip();
            NextKey { name: desired.key_name.clone(), grants_sha256, granted_at }
        });
        if self.observed.key.is_some() && !is_elsewhere {
            let (arn, alias) = self.key.map_or((None, None), |key| (key.arn.clone(), key.alias.clone()));
            status.key = Some(KeyReference { name: desired.key_name.clone(), arn, alias });
        }
        let month = cost::declared_month(&desired.access, desired.data_key_reuse_seconds, desired.key.queue.is_some());
        status.estimated_monthly_usd = Some(month.cents());
    }

    fn findings(&self) -> Vec<Finding> {
        let accepted = match self.desired {
            Ok(desired) => {
                let fine = "the declaration satisfies its tenant and tier".to_owned();
                let said: Vec<String> = std::iter::once(fine).chain(desired.notes.iter().cloned()).collect();
                Finding::of(types::ACCEPTED, Reason::Accepted, said.join("; "))
            }
            Err(violations) => {
                let all = violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                Finding::of(types::ACCEPTED, violations.first().map_or(Reason::Pending, |first| first.reason), all)
            }
        };
        let steps = [
            (types::KEY_READY, Reason::KeyAvailable, "the key is enabled and grants the declared access"),
            (types::QUEUE_READY, Reason::QueueAvailable, "the queue has the declared settings"),
            (types::ACCESS_IN_SYNC, Reason::InSync, "the policies hold exactly the declared access"),
        ];
        std::iter::once(accepted).chain(steps.map(|(type_, fine, message)| self.step(type_, fine, message))).collect()
    }

    /// Whether the key's policy holds the declared grants.
    fn granted(&self) -> bool {
        let holds = self.observed.key.as_ref().and_then(|key| key.holds.as_deref());
        self.desired.is_ok_and(|desired| holds == Some(desired.access.sha256().as_str()))
    }

    /// Which condition the obstacle belongs to: what a queue waits for before its grants are there is its key, whatever the reason.
    fn obstructed(&self) -> Option<&'static str> {
        Some(match self.end {
            End::Complete => return None,
            End::Held(Hold {
                reason: reason @ (Reason::QueueConflict | Reason::QueueNotAdoptable | Reason::AwaitingApproval | Reason::PrincipalDeleted),
                ..
            }) => condition_of(*reason),
            End::Held(_) if !self.deleting && !self.granted() => types::KEY_READY,
            End::Held(Hold { reason, .. }) | End::Failed { reason, .. } => condition_of(*reason),
        })
    }

    fn step(&self, type_: &'static str, fine: Reason, message: &str) -> Finding {
        let (obstacle, obstructed) = (self.end.obstacle(), self.obstructed());
        match obstacle {
            Some((reason, message)) if obstructed == Some(type_) => Finding::of(type_, reason, message),
            _ if self.deleting && type_ == types::QUEUE_READY => Finding::of(type_, Reason::Deleting, "the object is being deleted"),
            _ if self.paused.is_some() && type_ == types::QUEUE_READY => {
                Finding::of(type_, Reason::Paused, paused_message(self.paused.unwrap_or_default()))
            }
            _ if self.desired.is_err() => Finding::unknown(type_, Reason::Pending, "not applied while the declaration is not accepted"),
            _ if !self.complete() && obstructed.is_some_and(|before| comes_after(type_, before)) => {
                Finding::unknown(type_, Reason::Pending, "not known until what comes before is done")
            }
            _ if type_ == types::QUEUE_READY && !self.complete() && !self.observed.is_made() => {
                Finding::unknown(type_, Reason::Pending, "the queue is not made yet")
            }
            _ if type_ == types::KEY_READY && !self.granted() => {
                Finding::unknown(type_, Reason::WaitingForKey, "the key does not grant the declared access yet")
            }
            _ if type_ == types::KEY_READY => {
                self.key_usable().or_else(|| self.foreign_key()).unwrap_or_else(|| Finding::of(type_, fine, self.with_lost(message)))
            }
            _ if type_ == types::ACCESS_IN_SYNC => self.access(message),
            _ => Finding::of(type_, fine, message),
        }
    }

    /// Of what the key's own pass found, what every queue under it suffers from.
    fn key_usable(&self) -> Option<Finding> {
        let (reason, message) = self.observed.key.as_ref()?.not_ready.as_ref()?;
        (*reason == Reason::KeyUnusable).then(|| Finding::of(types::KEY_READY, *reason, message))
    }

    /// What owners of keys that messages may still be under must keep.
    fn foreign_key(&self) -> Option<Finding> {
        let readers = |desired: &DesiredQueue| {
            let reads = |grant: &&Grant| !matches!(grant.capability, Capability::Send | Capability::Observe);
            let readers: BTreeSet<String> = desired.access.grants.keys().filter(reads).map(|grant| grant.principal.to_string()).collect();
            readers.into_iter().collect::<Vec<_>>().join(", ")
        };
        // The policy of SQS's own key admits everyone of the account, and nobody can change it.
        let foreign = self.observed.previous_keys.iter().filter(|previous| !previous.managed && !previous.arn.starts_with("alias/aws/"));
        let said: Vec<String> = foreign
            .map(|previous| {
                let (arn, until) = (&previous.arn, previous.decrypt_until);
                let readers = self.desired.map(readers).unwrap_or_default();
                format!("messages may be under {arn}, which is not managed here: until {until:.0} its owner must keep it enabled, with kms:Decrypt for {readers}")
            })
            .collect();
        (!said.is_empty()).then(|| Finding::of(types::KEY_READY, Reason::ForeignKeyUnverified, self.with_lost(&said.join("; "))))
    }

    /// What nobody can mend: messages under a key that is gone.
    fn with_lost(&self, message: &str) -> String {
        let lost = self.observed.previous_keys.iter().filter(|previous| previous.is_lost()).map(PreviousKeyRecord::said_lost);
        std::iter::once(message.to_owned()).chain(lost).collect::<Vec<_>>().join("; ")
    }

    fn access(&self, message: &str) -> Finding {
        let Ok(desired) = self.desired else { return Finding::unknown(types::ACCESS_IN_SYNC, Reason::Pending, message) };
        if self.paused.is_some_and(|differences| !differences.is_empty()) {
            return Finding::unknown(types::ACCESS_IN_SYNC, Reason::Pending, "not as declared, or not known, while the object is paused");
        }
        if desired.access.suspended {
            return Finding::of(
                types::ACCESS_IN_SYNC,
                Reason::TenantSuspended,
                "the tenant's spec.access is Suspended: nobody may use its queues until it is Active again",
            );
        }
        if desired.access.others == Others::Unstated {
            let message = "the declared access is granted, but the tier's spec.access.others is Unstated: IAM policies of the account may add to it, and least access cannot be shown";
            return Finding::of(types::ACCESS_IN_SYNC, Reason::InSync, message);
        }
        Finding::of(types::ACCESS_IN_SYNC, Reason::InSync, message)
    }
}

fn comes_after(type_: &str, other: &str) -> bool {
    let order = [types::KEY_READY, types::QUEUE_READY, types::ACCESS_IN_SYNC];
    let at = |wanted: &str| order.iter().position(|known| *known == wanted);
    at(type_) > at(other)
}

fn paused_message(differences: &[String]) -> String {
    if differences.is_empty() {
        return "the object is paused; nothing differs in AWS as far as it was compared".to_owned();
    }
    format!("the object is paused; not done: {}", differences.join("; "))
}

fn ready_message(desired: &DesiredQueue) -> String {
    format!("queue {} is encrypted under its own key and admits exactly the declared principals", desired.source.arn.name())
}
