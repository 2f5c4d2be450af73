//! What came out, as a report: actions, and who gains and loses by the policies before and after.

use std::collections::BTreeSet;

use super::member::{KeyRun, Progress, QueueRun};
use super::report::{ApprovalReport, Change, ObjectReport, PlanReport, SCHEMA_VERSION, Summary, System, WaitReport};
use super::run::{Group, Preview};
use crate::api::Reason;
use crate::api::reasons::Class;
use crate::api::sensitivity_tier::Others;
use crate::desired::{POLICY, object_name};
use crate::names::{Place, QueueArn};
use crate::plan::Hold;
use crate::plan::state::{KeyState, QueueState};
use crate::policy::access::Grant;
use crate::policy::difference::{Difference, grant_difference};
use crate::policy::document::Document;
use crate::policy::queue_policy::{Denial, QueueKind};
use crate::policy::read_back;

impl Preview {
    /// What came out.
    pub fn report(&self, offline: bool, notes: Vec<String>) -> PlanReport {
        let mut objects = Vec::new();
        let mut summary = Summary { queues: self.groups.iter().map(|group| group.queues.len()).sum(), ..Summary::default() };
        for group in &self.groups {
            let reports = group.queues.iter().map(|run| queue_report(group, run));
            objects.extend(reports.chain(group.key.iter().map(key_report)).filter(says_something));
        }
        objects.sort_by_key(|object| object.actions.first().map_or(usize::MAX, |action| action.number));
        for object in &objects {
            summary.stalled += usize::from(object.waits.as_ref().is_some_and(|waits| waits.stalled));
            summary.refused += usize::from(!object.violations.is_empty());
            summary.awaiting_approval += usize::from(object.approval.as_ref().is_some_and(|approval| approval.approved_by.is_none()));
            for action in object.actions.iter().filter(|action| action.system == System::Aws) {
                *match action.change {
                    Change::Make => &mut summary.to_make,
                    Change::Change => &mut summary.to_change,
                    Change::Remove => &mut summary.to_remove,
                } += 1;
            }
        }
        PlanReport { schema_version: SCHEMA_VERSION, offline, summary, objects, notes }
    }
}

fn says_something(report: &ObjectReport) -> bool {
    !report.actions.is_empty() || !report.violations.is_empty() || report.approval.is_some() || report.waits.is_some()
}

fn queue_report(group: &Group, run: &QueueRun) -> ObjectReport {
    let (name, spec) = (object_name(&run.object), &run.object.spec);
    let difference = run.difference();
    let (mut losses, foreign) = (difference.loss_lines(), run.foreign_lost());
    losses.extend(foreign.into_iter().map(|line| format!("what no declaration allows: {line}")));
    let asked = group.key.as_ref().and_then(|key| key.asked.as_ref()).and_then(|asked| asked.iter().find(|(pending, _)| pending.object == name));
    let approval = asked.map(|(pending, approved_by)| ApprovalReport {
        queue_key: group.key_name.clone().unwrap_or_default(),
        grants_sha256: pending.sha256.clone(),
        approved_by: approved_by.clone(),
        gains: pending.gains.clone(),
        losses: pending.losses.clone(),
    });
    ObjectReport {
        kind: "EncryptedQueue",
        namespace: Some(name.namespace),
        name: name.name,
        tenant: spec.tenant.clone(),
        sensitivity_tier: spec.sensitivity_tier.clone(),
        account: run.place.as_ref().map(|place| place.account.clone()),
        region: run.place.as_ref().map(|place| place.region.clone()),
        actions: run.progress.actions.clone(),
        gains: difference.gain_lines(),
        losses,
        approval,
        violations: run.judged.as_ref().err().map(|refusal| refusal.violations.iter().map(Into::into).collect()).unwrap_or_default(),
        waits: run.stopped().or_else(|| waits(&run.progress, group.approvals_assumed)),
    }
}

fn key_report(run: &KeyRun) -> ObjectReport {
    let spec = &run.object.spec;
    let after = run.after();
    let before = run.before.as_ref().map(|state| administration(state, &run.place)).unwrap_or_default();
    let known = run.before.is_some() || run.is_new();
    let after = after.filter(|_| known).map_or_else(|| before.clone(), |state| administration(state, &run.place));
    ObjectReport {
        kind: "QueueKey",
        name: run.object.metadata.name.clone().unwrap_or_default(),
        tenant: spec.tenant.clone(),
        sensitivity_tier: spec.sensitivity_tier.clone(),
        account: Some(run.place.account.clone()),
        region: Some(run.place.region.clone()),
        actions: run.progress.actions.clone(),
        gains: after.difference(&before).map(|(sid, arn)| format!("{arn} may administer the key (statement {sid})")).collect(),
        losses: before.difference(&after).map(|(sid, arn)| format!("{arn} may no longer administer the key (statement {sid})")).collect(),
        // What its queues wait for is said of them.
        waits: None,
        ..ObjectReport::default()
    }
}

fn administration(state: &KeyState, place: &Place) -> BTreeSet<(&'static str, String)> {
    let Ok(policy) = Document::parse(&state.policy) else { return BTreeSet::new() };
    let read = read_back::read_key_policy(&policy, place, &[].into()).administration;
    read.into_iter().flat_map(|(kind, arns)| arns.into_iter().map(move |arn| (kind.sid(), arn))).collect()
}

/// What is waited for. That AWS asks for a second between a queue's creation and its use is no news.
fn waits(progress: &Progress, assumed: bool) -> Option<WaitReport> {
    let hold = if assumed { progress.hold_unapproved.as_ref() } else { progress.hold.as_ref() };
    let Hold { reason, message, until: _ } = hold.filter(|hold| hold.reason != Reason::WaitingForQueue)?;
    Some(WaitReport { reason: reason.to_string(), stalled: reason.class() == Class::Stalled, message: message.clone() })
}

/// What the policies of a queue and its dead-letter queue say.
#[derive(Default)]
struct Said {
    grants: BTreeSet<Grant>,
    foreign: BTreeSet<String>,
    others_denied: bool,
    suspended: bool,
}

fn said(states: &[Option<QueueState>; 2], arns: [Option<&QueueArn>; 2], place: &Place) -> Option<Said> {
    let mut said = None;
    for ((state, arn), kind) in states.iter().zip(arns).zip([QueueKind::Source, QueueKind::DeadLetter]) {
        let (Some(state), Some(arn)) = (state, arn) else { continue };
        let said: &mut Said = said.get_or_insert_default();
        let Some(policy) = state.attributes.get(POLICY).and_then(|text| Document::parse(text).ok()) else { continue };
        let read = read_back::read_queue_policy(&policy, kind, arn, place);
        said.grants.extend(read.grants);
        said.foreign.extend(read.foreign);
        said.others_denied |= read.denied.contains(&Denial::OthersReceive);
        said.suspended |= read.denied.contains(&Denial::Suspended);
    }
    said
}

impl QueueRun {
    /// Why nothing but narrowing is planned.
    fn stopped(&self) -> Option<WaitReport> {
        let (reason, message) = match () {
            () if self.object.metadata.deletion_timestamp.is_some() => (Reason::Deleting, "the object is being deleted: nothing else is planned"),
            () if crate::plan::objects::is_paused(&self.object) => (Reason::Paused, "the object is paused: only what is not allowed any more goes"),
            () => return None,
        };
        // A person wants it so.
        Some(WaitReport { reason: reason.to_string(), stalled: false, message: message.to_owned() })
    }

    /// Before and after, as far as anything was looked at.
    fn policies(&self) -> Option<(Option<Said>, Said)> {
        let place = self.place.as_ref()?;
        let recorded = crate::plan::objects::recorded_arns(&self.object);
        let (source, dead_letter) = match &self.judged {
            Ok(desired) => (Some(&desired.source.arn), desired.dead_letter.as_ref().map(|side| &side.arn)),
            Err(_) => (recorded.as_ref().map(|(source, _)| source), recorded.as_ref().and_then(|(_, dead)| dead.as_ref())),
        };
        let arns = [source, dead_letter];
        let before = said(self.before.as_ref()?, arns, place);
        let now = [QueueKind::Source, QueueKind::DeadLetter].map(|which| self.observed.queue(which).present().cloned());
        Some((before, said(&now, arns, place)?))
    }

    fn difference(&self) -> Difference {
        let Some((before, after)) = self.policies() else { return Difference::default() };
        let others = |said: &Said| if said.others_denied { Others::Deny } else { Others::Unstated };
        let (grants, old_others, was_suspended) =
            before.as_ref().map_or((BTreeSet::new(), Others::Deny, false), |said| (said.grants.clone(), others(said), said.suspended));
        Difference {
            others: (old_others != others(&after)).then(|| others(&after)),
            suspended: (was_suspended != after.suspended).then_some(after.suspended),
            ..grant_difference(&grants, &after.grants)
        }
    }

    fn foreign_lost(&self) -> Vec<String> {
        let Some((Some(before), after)) = self.policies() else { return Vec::new() };
        before.foreign.difference(&after.foreign).cloned().collect()
    }
}
