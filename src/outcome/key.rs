//! Status of a QueueKey.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::End;
use crate::api::conditions::{Finding, merge, summarise, types};
use crate::api::queue_key::{PendingGrants, Retirement, Rotation};
use crate::api::{QueueKeyStatus, Reason};
use crate::desired::DesiredKey;
use crate::plan::deleted::is_of;
use crate::plan::grants::held;
use crate::plan::key::applied_sha256;
use crate::plan::{ObservedKey, Seen, record};
use crate::policy::access::{Capability, Principal};

/// What a pass over a key knows at its end.
pub struct KeyPass<'a> {
    /// What it should be; None: the tenant is gone or its account cannot be reached.
    pub desired: Option<&'a DesiredKey>,
    /// What it is.
    pub observed: &'a ObservedKey,
    /// Why the pass ended.
    pub end: &'a End,
    /// Value of the check-now annotation that this pass served.
    pub checked_now: Option<String>,
    /// The object's generation.
    pub generation: Option<i64>,
}

/// What status says of the next rotation: whole seconds, since it keeps no fractions, and what it says already if that is nearly right. Of a key just
/// made the time is reckoned; what KMS says of it later differs by seconds, and is no reason to write.
fn next_rotation(said: Option<Timestamp>, found: Option<Timestamp>) -> Option<Timestamp> {
    let found = Timestamp::from_second(found?.as_second()).ok()?;
    said.filter(|said| said.duration_since(found).abs() < SignedDuration::from_hours(24)).or(Some(found))
}

/// As status keeps it.
fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

fn condition_of(reason: Reason) -> &'static str {
    match reason {
        Reason::RotationsUsedUp | Reason::RotationPending => types::ROTATION_IN_SYNC,
        Reason::AwaitingApproval => types::ACCESS_APPROVED,
        _ => types::POLICY_IN_SYNC,
    }
}

/// Whether a role is declared for what needs no key, so that only its queues know whether it exists.
fn only_observes(desired: &DesiredKey, role: &str) -> bool {
    let grants = desired.users.iter().flat_map(|user| user.access.grants.keys());
    let mut theirs = grants.filter(|grant| matches!(&grant.principal, Principal::Role(arn) if arn.as_str() == role)).peekable();
    theirs.peek().is_some() && theirs.all(|grant| grant.capability == Capability::Observe)
}

impl KeyPass<'_> {
    /// The status to write.
    pub fn status(&self, previous: &QueueKeyStatus, now: Timestamp) -> QueueKeyStatus {
        let mut status = previous.clone();
        // Rotation on demand and approvals are looked at last: when they wait, the rest is done.
        let complete = match self.end {
            End::Complete => true,
            End::Held(hold) => condition_of(hold.reason) != types::POLICY_IN_SYNC && self.observed.key_id.is_some(),
            End::Failed { .. } => false,
        };
        status.observed_generation = self.generation;
        status.checked_now = self.checked_now.clone().or(status.checked_now);
        // A nonce whose CreateKey was refused, or never sent, leaves nothing to look for.
        let is_refused = match self.end {
            End::Failed { .. } => true,
            End::Held(hold) => hold.reason == Reason::AwaitingQuota,
            End::Complete => false,
        };
        if is_refused && self.observed.nonce.as_ref().is_some_and(|nonce| nonce.fresh) {
            status.creation = None;
        }
        status.applied_sha256 = self.applied(complete);
        if self.observed.genuine {
            match (&self.observed.state, self.end) {
                (Seen::Present(_), _) => status.lost_at = None,
                (_, End::Held(hold)) if hold.reason == Reason::KeyLost => status.lost_at = status.lost_at.or(Some(Time(whole_seconds(now)))),
                _ => {}
            }
            record::seal(&mut status);
        }
        if let Some(state) = self.observed.state.present() {
            status.key_state = Some(state.metadata.lifecycle.as_str().to_owned());
            let rotation = status.rotation.get_or_insert_with(Rotation::default);
            rotation.period_days = state.rotation.period_days.or(self.observed.rotation_period_days);
            rotation.next_at = next_rotation(rotation.next_at.as_ref().map(|at| at.0), state.rotation.next_at).map(Time);
        }
        if let (Some(desired), true) = (self.desired, complete) {
            status.alias = Some(desired.alias.clone());
            if !desired.users.is_empty() {
                status.applied_tag_keys = desired.tags.keys().cloned().collect();
            }
        }
        // Until the key has ended, also once messages under it have expired.
        if let Some(desired) = self.desired.filter(|desired| desired.is_used()) {
            let time = |at: jiff::Timestamp| jiff::Timestamp::from_second(at.as_second()).ok().map(Time);
            status.retirement =
                desired.retirement.map(|(since, until)| Retirement { since: time(since), decrypt_until: time(until), deletion_date: None });
        }
        status.refused_principals = self.observed.refused.iter().map(ToString::to_string).collect();
        if let Some(desired) = self.desired {
            status.pending_grants = self.pending(desired, previous, now);
            status.deleted_principals.clone_from(&self.observed.deleted);
            if complete || !self.observed.refused.is_empty() {
                let waits = |role: &String| status.pending_grants.iter().any(|pending| pending.gains.iter().any(|line| is_of(line, role)));
                let is_out = |role: &String| status.refused_principals.contains(role) || waits(role) || only_observes(desired, role);
                status.deleted_principals.iter_mut().for_each(|deleted| deleted.roles.retain(is_out));
            }
        }
        let findings = self.findings();
        let all: Vec<Finding> = summarise(&findings, "the key is enabled and its policy is the declared one").into_iter().chain(findings).collect();
        status.conditions = merge(&previous.conditions, &all, self.generation, now);
        status
    }

    /// What waits, each since when.
    fn pending(&self, desired: &DesiredKey, previous: &QueueKeyStatus, now: Timestamp) -> Vec<PendingGrants> {
        let since =
            |sha256: &str| previous.pending_grants.iter().find(|pending| pending.sha256 == sha256).map(|pending| pending.requested_at.clone());
        let pending = held(desired, self.observed).pending.into_iter();
        pending
            .map(|pending| PendingGrants {
                namespace: pending.object.namespace,
                name: pending.object.name,
                requested_at: since(&pending.sha256).unwrap_or(Time(now)),
                sha256: pending.sha256,
                gains: pending.gains,
                losses: pending.losses,
            })
            .collect()
    }

    fn applied(&self, complete: bool) -> Option<String> {
        let (desired, nonce) = (self.desired?, self.observed.nonce.as_ref()?);
        complete.then(|| applied_sha256(desired, self.observed, &nonce.nonce))
    }

    fn findings(&self) -> Vec<Finding> {
        let obstacle = self.end.obstacle();
        let needed = self.desired.is_some_and(|desired| desired.users.iter().any(|user| user.needs_approval));
        let (approved, approved_message) = if needed {
            (Reason::Approved, "all access that the policy holds was approved")
        } else {
            (Reason::NotRequired, "no tier of its queues asks for approvals")
        };
        [
            (types::POLICY_IN_SYNC, Reason::InSync, "the key policy is the declared one"),
            (types::ACCESS_APPROVED, approved, approved_message),
            (types::ROTATION_IN_SYNC, Reason::InSync, "rotation is as declared"),
        ]
        .into_iter()
        .map(|(type_, fine, message)| match obstacle {
            Some((reason, message)) if condition_of(reason) == type_ => Finding::of(type_, reason, message),
            Some((reason, _)) if condition_of(reason) == types::POLICY_IN_SYNC && type_ == types::ROTATION_IN_SYNC => {
                Finding::unknown(type_, Reason::Pending, "not known until the policy is in place")
            }
            _ => Finding::of(type_, fine, message),
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::plan::state::{KeyLifecycle, KeyMetadata, KeyState, RotationState};

    #[test]
    fn a_status_read_back_is_the_status_written() {
        let metadata = KeyMetadata {
            id: "1".into(),
            arn: "arn".into(),
            lifecycle: KeyLifecycle::Enabled,
            description: String::new(),
            created_at: None,
            deletion_date: None,
        };
        let rotation = RotationState { enabled: true, period_days: Some(90), next_at: Some("2027-01-02T03:04:05.678Z".parse().unwrap()) };
        let state = KeyState { metadata, policy: String::new(), tags: [].into(), aliases: [].into(), rotation, grants: Vec::new() };
        let observed = ObservedKey { state: Seen::Present(state), ..ObservedKey::default() };
        let pass = KeyPass { desired: None, observed: &observed, end: &End::Complete, checked_now: None, generation: Some(1) };
        let now = "2026-01-02T03:04:05Z".parse().unwrap();
        let written = pass.status(&QueueKeyStatus::default(), now);
        let read_back: QueueKeyStatus = serde_json::from_value(serde_json::to_value(&written).unwrap()).unwrap();
        assert_eq!(pass.status(&read_back, now), read_back);
        let at = |text: &str| Some(text.parse().unwrap());
        let (noon, later) = (at("2027-01-02T12:00:00Z"), at("2027-01-02T12:00:07.5Z"));
        assert_eq!([next_rotation(None, later), next_rotation(noon, later)], [at("2027-01-02T12:00:07Z"), noon]);
        let next = at("2027-04-02T12:00:00Z");
        assert_eq!([next_rotation(noon, next), next_rotation(noon, None)], [next, None]);
    }
}
