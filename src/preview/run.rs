//! The controllers' loop, with reads asked of the caller and writes predicted.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::member::{KeyRun, Progress, QueueRun};
use super::predict;
use super::report::Change;
use crate::api::queue_key::NamespacedName;
use crate::api::{EncryptedQueue, QueueKey, Tenant};
use crate::desired::{Approval, DesiredKey, DesiredQueue, KeyInput, Refusal, desired_key, place_of};
use crate::explain::Snapshot;
use crate::names::RoleArn;
use crate::outcome::End;
use crate::plan::effect::{KeyEffect, QueueEffect};
use crate::plan::grants::{Pending, held};
use crate::plan::objects::{self, Rules};
use crate::plan::{KeyAction, QueueAction, SearchWindow, plan_key, render};
use crate::policy::queue_policy::QueueKind;

/// What a preview starts from.
#[derive(Clone, Debug)]
pub struct PreviewInput {
    /// Objects of the cluster, those of the input laid over them.
    pub snapshot: Snapshot,
    /// The queues to plan; of all others only the access through shared keys counts.
    pub queues: BTreeSet<NamespacedName>,
    /// The cluster's id in tags and aliases.
    pub cluster_id: String,
    /// The operator's role in each tenant's account.
    pub operator_roles: BTreeMap<String, RoleArn>,
    /// Approvals that were neither used nor lapsed, by QueueKey.
    pub approvals: BTreeMap<String, Vec<Approval>>,
    /// How long a key is searched that a crash may have left.
    pub window: SearchWindow,
    /// Whether to compare with AWS although the records agree.
    pub check: bool,
}

/// What must be read before the preview can go on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Question {
    /// About a queue's SQS queues.
    Queues {
        /// The tenant.
        tenant: String,
        /// AWS Region.
        region: String,
        /// What the controller would read.
        action: QueueAction,
    },
    /// About a key.
    Key {
        /// The tenant.
        tenant: String,
        /// AWS Region.
        region: String,
        /// What the controller would read.
        action: KeyAction,
    },
}

/// Queues that share a key, and the key.
#[derive(Default)]
pub(super) struct Group {
    pub(super) queues: Vec<QueueRun>,
    pub(super) key_name: Option<String>,
    pub(super) key: Option<KeyRun>,
    pub(super) approvals_assumed: bool,
    member: usize,
    acted: bool,
}

enum Step {
    Acted,
    Ask(Question),
    Rest,
}

/// A preview under way.
pub struct Preview {
    pub(super) input: PreviewInput,
    judged: BTreeMap<NamespacedName, Result<DesiredQueue, Box<Refusal>>>,
    pub(super) groups: Vec<Group>,
    group: usize,
    numbered: usize,
    now: Timestamp,
}

impl Preview {
    /// Judges the declarations.
    pub fn new(input: PreviewInput) -> Self {
        let tenants: BTreeSet<&String> = input.queues.iter().filter_map(|name| Some(&input.snapshot.queues.get(name)?.spec.tenant)).collect();
        let bearing = input.snapshot.queues.iter().filter(|(_, object)| tenants.contains(&object.spec.tenant));
        let namesakes = input.snapshot.namesakes();
        let judge =
            |object: &EncryptedQueue| input.snapshot.judge(object, &namesakes, &input.cluster_id, input.operator_roles.get(&object.spec.tenant));
        let judged: BTreeMap<_, _> = bearing.map(|(name, object)| (name.clone(), judge(object))).collect();
        let mut preview = Self { input, judged, groups: Vec::new(), group: 0, numbered: 0, now: Timestamp::UNIX_EPOCH };
        let mut groups: BTreeMap<(Option<String>, Option<NamespacedName>), Group> = BTreeMap::new();
        for name in &preview.input.queues {
            let Some(run) = preview.queue_run(name) else { continue };
            let key_name = key_name(&run.object, &run.judged);
            // A queue without a key is a group of its own.
            let alone = key_name.is_none().then(|| name.clone());
            let group = groups.entry((key_name.clone(), alone)).or_default();
            group.key_name = key_name;
            group.queues.push(run);
        }
        preview.groups = groups.into_values().collect();
        for at in 0..preview.groups.len() {
            let recorded = preview.groups[at].key_name.as_ref().and_then(|name| preview.input.snapshot.keys.get(name));
            let recorded = recorded.filter(|key| key.metadata.deletion_timestamp.is_none()).cloned();
            preview.groups[at].key = recorded.and_then(|object| preview.key_run(object));
        }
        preview
    }

    fn rules<'a>(&'a self, object: &EncryptedQueue) -> Rules<'a> {
        let snapshot = &self.input.snapshot;
        Rules {
            tenant: snapshot.tenants.get(&object.spec.tenant),
            tier: snapshot.tiers.get(&object.spec.sensitivity_tier),
            operator_role: self.input.operator_roles.get(&object.spec.tenant),
        }
    }

    fn queue_run(&self, name: &NamespacedName) -> Option<QueueRun> {
        let (object, judged) = (self.input.snapshot.queues.get(name)?.clone(), self.judged.get(name)?.clone());
        let rules = self.rules(&object);
        let keeps = objects::is_paused(&object) || judged.is_err();
        let target = key_name(&object, &judged);
        let others = objects::recorded_keys(&object).filter(|name| Some(*name) != target.as_deref());
        let others = others.filter_map(|name| self.input.snapshot.keys.get(name));
        // No record, no key to look up: all are asked.
        let unrecorded = self.input.snapshot.keys.values().filter(|key| objects::holds_unrecorded(key, &object));
        let unrecorded = unrecorded.filter(|key| key.metadata.name.as_deref() != target.as_deref());
        let others: Vec<&QueueKey> = others.chain(unrecorded).collect();
        Some(QueueRun {
            place: rules.tenant.map(|tenant| place_of(tenant, object.spec.region.as_deref())),
            kept: keeps.then(|| objects::kept_queue(&object, rules, false, &self.input.cluster_id)).flatten(),
            observed: objects::observed_queue(&object, None, &others, self.input.check),
            before: None,
            progress: Progress::default(),
            judged,
            object,
        })
    }

    fn key_run(&self, object: QueueKey) -> Option<KeyRun> {
        let place = place_of(self.tenant_of(&object)?, Some(&object.spec.region));
        let observed = objects::observed_key(&object, self.input.check);
        Some(KeyRun { object, place, observed, before: None, asked: None, assumed: Vec::new(), progress: Progress::default() })
    }

    fn tenant_of(&self, key: &QueueKey) -> Option<&Tenant> {
        self.input.snapshot.tenants.get(&key.spec.tenant)
    }

    /// What the key should be, from all queues that use it; none: its tenant is missing, and it stays as it is.
    fn desired_key(&self, run: &KeyRun) -> Option<DesiredKey> {
        let name = run.object.metadata.name.as_deref()?;
        let of_key = |(queue, judged): &(&NamespacedName, &Result<DesiredQueue, Box<Refusal>>)| {
            let object = self.input.snapshot.queues.get(*queue);
            let recorded = object.is_some_and(|object| {
                objects::recorded_keys(object).any(|recorded| recorded == name) || objects::holds_unrecorded(&run.object, object)
            });
            recorded || run.object.spec.queue.as_ref() == Some(*queue) || object.and_then(|object| key_name(object, judged)).as_deref() == Some(name)
        };
        let input = |(queue, judged): (&NamespacedName, &Result<DesiredQueue, Box<Refusal>>)| {
            let object = self.input.snapshot.queues.get(queue)?;
            objects::key_user(&run.object, object, judged.clone(), self.rules(object), self.now)
        };
        let users = self.judged.iter().filter(of_key).filter_map(input).collect();
        let mut approvals = self.input.approvals.get(name).cloned().unwrap_or_default();
        approvals.extend(run.assumed.iter().cloned());
        Some(desired_key(KeyInput {
            object: &run.object,
            tenant: self.tenant_of(&run.object)?,
            tier: self.input.snapshot.tiers.get(&run.object.spec.sensitivity_tier),
            cluster_id: &self.input.cluster_id,
            operator_role: self.input.operator_roles.get(&run.object.spec.tenant)?,
            users,
            approvals,
        }))
    }

    /// Goes on as far as it can; none: the preview is complete.
    pub fn advance(&mut self, now: Timestamp) -> Option<Question> {
        self.now = now;
        while self.group < self.groups.len() {
            let group = &self.groups[self.group];
            if group.member > group.queues.len() {
                self.end_round();
                continue;
            }
            match if group.member < group.queues.len() { self.step_queue(now) } else { self.step_key(now) } {
                Step::Acted => self.groups[self.group].acted = true,
                Step::Ask(question) => return Some(question),
                Step::Rest => self.groups[self.group].member += 1,
            }
        }
        None
    }

    /// All members of the group rest: they go round again if one has acted since, and once more as if approvals were given.
    fn end_round(&mut self) {
        let group = &mut self.groups[self.group];
        group.member = 0;
        if std::mem::take(&mut group.acted) {
            return;
        }
        let (queues, group) = (&self.input.queues, &self.groups[self.group]);
        let waiting = group.key.as_ref().map(|key| self.desired_pending(key)).unwrap_or_default();
        let waiting: Vec<_> = waiting.into_iter().filter(|pending| queues.contains(&pending.object)).collect();
        let group = &mut self.groups[self.group];
        if group.approvals_assumed || waiting.is_empty() {
            self.group += 1;
            return;
        }
        group.approvals_assumed = true;
        for progress in group.queues.iter_mut().map(|run| &mut run.progress).chain(group.key.iter_mut().map(|key| &mut key.progress)) {
            progress.hold_unapproved.clone_from(&progress.hold);
        }
        if let Some(key) = &mut group.key {
            let assumed = |pending: Pending| Approval {
                name: pending.sha256.clone(),
                grants_sha256: pending.sha256,
                queue: Some(pending.object),
                approved_by: String::new(),
            };
            key.assumed = waiting.into_iter().map(assumed).collect();
        }
    }

    fn desired_pending(&self, run: &KeyRun) -> Vec<Pending> {
        self.desired_key(run).map(|desired| held(&desired, &run.observed).pending).unwrap_or_default()
    }

    fn step_queue(&mut self, now: Timestamp) -> Step {
        let group = &mut self.groups[self.group];
        let (key, run) = (group.key.as_ref(), &mut group.queues[group.member]);
        if let Some(key) = key {
            run.observed.key = Some(objects::observed_key_object(&key.object, &run.object));
        }
        let actions = run.plan(now);
        if !run.progress.goes_on(actions.is_empty()) {
            return Step::Rest;
        }
        for action in actions {
            if let QueueAction::Hold(hold) = action {
                run.progress.hold = Some(hold);
                return Step::Rest;
            }
            let Some(place) = run.place.clone() else { return Step::Rest };
            let mut made = None;
            let observed_key = || {
                let QueueAction::EnsureKey { name, spec } = &action else { return run.observed.key.clone().unwrap_or_default() };
                let key = QueueKey::new(name, spec.clone());
                let observed = objects::observed_key_object(&key, &run.object);
                made = Some(key);
                observed
            };
            let Some(effect) = predict::queue_effect(&action, &place, observed_key) else {
                return Step::Ask(Question::Queues { tenant: run.object.spec.tenant.clone(), region: place.region, action });
            };
            run.observed.note(&action, effect, now);
            let write = predict::queue_write(&action).map(|(call, change)| (Some(call), change));
            let listed = write.or_else(|| matches!(action, QueueAction::EnsureKey { .. }).then_some((None, Change::Make)));
            if let Some((call, change)) = listed {
                self.numbered += 1;
                run.progress.list(self.numbered, call, change, render::queue_action(&action), group.approvals_assumed);
            }
            if let Some(made) = made {
                self.ensure_key(made);
                return Step::Acted;
            }
        }
        Step::Acted
    }

    /// The QueueKey is made, or its deletion policy corrected.
    fn ensure_key(&mut self, made: QueueKey) {
        match &mut self.groups[self.group].key {
            Some(key) => key.object.spec.deletion_policy = made.spec.deletion_policy,
            None => self.groups[self.group].key = self.key_run(made),
        }
    }

    fn step_key(&mut self, now: Timestamp) -> Step {
        let Some(run) = &self.groups[self.group].key else { return Step::Rest };
        let Some(desired) = self.desired_key(run).filter(DesiredKey::is_used) else { return Step::Rest };
        let (window, group) = (self.input.window, &mut self.groups[self.group]);
        let Some(run) = &mut group.key else { return Step::Rest };
        run.note_asked(&desired, &self.input.queues);
        let actions = plan_key(&desired, &run.observed, window, now);
        if !run.progress.goes_on(actions.is_empty()) {
            run.write_status(&desired, &End::Complete, now);
            return Step::Rest;
        }
        for action in actions {
            if let KeyAction::Hold(hold) = action {
                run.write_status(&desired, &End::Held(hold.clone()), now);
                run.progress.hold = Some(hold);
                return Step::Rest;
            }
            let Some(effect) = predict::key_effect(&action, &run.place, now) else {
                return Step::Ask(Question::Key { tenant: run.object.spec.tenant.clone(), region: run.place.region.clone(), action });
            };
            run.observed.note(&action, effect, now);
            if let Some((call, change)) = predict::key_write(&action) {
                self.numbered += 1;
                let text = render::key_action(&action).replace(&format!(" ({})", predict::NONCE), "");
                run.progress.list(self.numbered, Some(call), change, text, group.approvals_assumed);
            }
        }
        Step::Acted
    }

    /// Takes the answer to a [`Question::Queues`].
    pub fn answer_queues(&mut self, action: &QueueAction, effect: QueueEffect, now: Timestamp) {
        let Some(group) = self.groups.get_mut(self.group) else { return };
        let Some(run) = group.queues.get_mut(group.member) else { return };
        run.observed.note(action, effect, now);
        let seen = |which| run.observed.queue(which).present().cloned();
        run.before.get_or_insert_with(|| [seen(QueueKind::Source), seen(QueueKind::DeadLetter)]);
    }

    /// Takes the answer to a [`Question::Key`].
    pub fn answer_key(&mut self, action: &KeyAction, effect: KeyEffect, now: Timestamp) {
        let Some(run) = self.groups.get_mut(self.group).and_then(|group| group.key.as_mut()) else { return };
        run.observed.note(action, effect, now);
        if run.before.is_none() {
            run.before = run.observed.state.present().cloned();
        }
    }
}

/// The key that a queue has, or would have.
fn key_name(object: &EncryptedQueue, judged: &Result<DesiredQueue, Box<Refusal>>) -> Option<String> {
    let recorded = object.status.as_ref().and_then(|status| status.key.as_ref()).map(|key| key.name.clone());
    judged.as_ref().map(|desired| desired.key_name.clone()).ok().or(recorded)
}
