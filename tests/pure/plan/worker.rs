//! The controllers' loop without Kubernetes: plan → apply → note, one action at a time, so that faults and other workers can come between any two.

use std::collections::VecDeque;

use encrypted_queue::api::queue_key::NamespacedName;
use encrypted_queue::desired::{DesiredKey, DesiredQueue, Violation};
use encrypted_queue::names::RoleArn;
use encrypted_queue::outcome::End;
use encrypted_queue::outcome::key::KeyPass;
use encrypted_queue::outcome::queue::QueuePass;
use encrypted_queue::plan::adoption::with_found_settings;
use encrypted_queue::plan::effect::{KeyEffect, QueueEffect};
use encrypted_queue::plan::teardown::{KeptQueue, plan_kept_queue, plan_key_end, plan_queue_end};
use encrypted_queue::plan::{KeyAction, ObservedKey, ObservedQueue, QueueAction, plan_key, plan_queue, record, render};
use serde::{Deserialize, Serialize};

use super::aws::{INVALID_PRINCIPALS, Refused};
use super::judge;
use super::world::{Aim, KeyObject, QueueObject, Recorded, Scene, WINDOW, World, is_paused};

/// Rounds of planning in one pass: far more than any object needs.
const MOST_ROUNDS: usize = 12;

/// What befalls one action.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// It is done, and the process dies.
    Crash,
    /// It is done, and its answer is lost.
    LostAnswer,
    /// It is refused.
    Refusal,
    /// It never arrives, which nobody knows.
    LostRequest,
    /// It arrives twice, and the second answer is the one that counts.
    Repeated,
}

/// What is known of a call without an answer.
const NO_ANSWER: Refused = Refused("no answer");

/// A fault that befalls the n-th action from now.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Faults {
    after: usize,
    fault: Fault,
}

impl Faults {
    pub fn none() -> Self {
        Self::default()
    }

    pub fn on(after: usize, fault: Fault) -> Self {
        Self { after, fault }
    }

    fn take(&mut self) -> Fault {
        if self.after > 0 {
            self.after -= 1;
            return Fault::None;
        }
        std::mem::take(&mut self.fault)
    }
}

/// What one step came to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step<A> {
    /// An action was applied.
    Did(A),
    /// The pass has ended and status is written.
    Ended(End),
    /// The process died.
    Crashed,
}

fn failed(refused: &Refused) -> End {
    End::Failed { reason: encrypted_queue::api::Reason::RequestRefused, message: refused.0.to_owned() }
}

/// A pass over an EncryptedQueue.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct QueueWorker {
    name: NamespacedName,
    /// What it knows.
    pub observed: ObservedQueue,
    aim: Aim,
    judged: Result<Box<DesiredQueue>, Vec<Violation>>,
    paused: bool,
    /// What is left of the last plan.
    pub left: VecDeque<QueueAction>,
    rounds: usize,
    looked_again: bool,
    gone: bool,
}

impl QueueWorker {
    /// A pass begins from what is recorded; `check` compares with AWS although the record agrees.
    pub fn begin(world: &World, scene: &Scene, name: &NamespacedName, check: bool) -> Self {
        let observed = ObservedQueue {
            finalizer: world.queues.get(name).is_some_and(|queue| queue.finalizer),
            key: world.observed_key_object(scene, name),
            other_keys: world.other_keys(scene, name),
            check,
            ..ObservedQueue::recorded(&world.queue_status(name))
        };
        let judged = match world.judged(scene, name).as_ref() {
            Ok(desired) => Ok(Box::new(desired.clone())),
            Err(refusal) => Err(refusal.violations.clone()),
        };
        let paused = is_paused(&scene.queues[name]) && judged.is_ok();
        let (aim, name, left) = (world.aim(scene, name), name.clone(), VecDeque::new());
        Self { name, observed, aim, judged, paused, left, rounds: 0, looked_again: false, gone: false }
    }

    fn plan(&self, world: &World) -> Vec<QueueAction> {
        match &self.aim {
            Aim::Apply(desired) => plan_queue(desired, &self.observed, world.now),
            Aim::Keep(kept) => kept.as_ref().map_or_else(Vec::new, |kept| plan_kept_queue(kept, &self.observed)),
            Aim::End(ending) => plan_queue_end(ending, &self.observed, world.now),
        }
    }

    /// Plans if nothing is left of the last plan.
    pub fn prepare(&mut self, world: &World) {
        if self.left.is_empty() && !self.gone {
            self.rounds += 1;
            assert!(self.rounds <= MOST_ROUNDS, "the plan never ends: {:?}", self.plan(world));
            self.left = self.plan(world).into();
        }
    }

    /// Applies the next action, or ends the pass.
    pub fn step(&mut self, world: &mut World, scene: &Scene, faults: &mut Faults) -> Step<QueueAction> {
        self.prepare(world);
        match self.left.pop_front() {
            _ if self.gone => self.end(world, scene, End::Complete),
            None => self.end(world, scene, End::Complete),
            Some(QueueAction::Hold(hold)) => self.end(world, scene, End::Held(hold)),
            Some(action) => match faults.take() {
                Fault::Refusal => self.end(world, scene, failed(&Refused("refused"))),
                fault => self.apply(world, scene, action, fault),
            },
        }
    }

    fn apply(&mut self, world: &mut World, scene: &Scene, action: QueueAction, fault: Fault) -> Step<QueueAction> {
        assert!(!render::queue_action(&action).is_empty());
        let before = world.clone();
        let applied = self.carry_out_under(world, scene, &action, fault);
        if action.writes_aws() && applied != Err(NO_ANSWER) {
            judge::queue_write(&before, world, scene, &self.name, &self.aim, &action);
        }
        judge::records(world, scene);
        match (applied, fault) {
            (_, Fault::Crash) => return Step::Crashed,
            (Ok(_), Fault::LostAnswer) if action.writes_aws() => self.observed.note_unknown(),
            (Ok(effect), _) => {
                self.gone = action == QueueAction::RemoveFinalizer;
                self.observed.note(&action, effect, world.now);
                return Step::Did(action);
            }
            // Someone else was there before: as the controller does, it looks again.
            (Err(NO_ANSWER), _) | (Err(_), Fault::Repeated) => self.observed.note_unknown(),
            (Err(_), _) if world.interleaved => self.observed.note_unknown(),
            (Err(refused), _) => panic!("AWS refused {action:?}: {}", refused.0),
        }
        self.left.clear();
        if std::mem::replace(&mut self.looked_again, true) { self.end(world, scene, failed(&NO_ANSWER)) } else { Step::Did(action) }
    }

    fn carry_out_under(&self, world: &mut World, scene: &Scene, action: &QueueAction, fault: Fault) -> Result<QueueEffect, Refused> {
        match fault {
            Fault::LostRequest if action.writes_aws() => Err(NO_ANSWER),
            Fault::Repeated if action.writes_aws() => self.carry_out(world, scene, action).and_then(|_| self.carry_out(world, scene, action)),
            _ => self.carry_out(world, scene, action),
        }
    }

    fn carry_out(&self, world: &mut World, scene: &Scene, action: &QueueAction) -> Result<QueueEffect, Refused> {
        let object = || world.queues.get(&self.name).cloned().unwrap_or_default();
        match action {
            QueueAction::AddFinalizer => {
                let object = QueueObject { finalizer: true, ..object() };
                world.queues.insert(self.name.clone(), object);
            }
            QueueAction::RemoveFinalizer => drop(world.queues.remove(&self.name)),
            QueueAction::ForgetApplied { .. }
            | QueueAction::RecordNextKey { .. }
            | QueueAction::RecordKeys { .. }
            | QueueAction::RecordAdoption { .. }
            | QueueAction::RecordDeadLetterUnused
            | QueueAction::ForgetDeadLetter => {
                let mut object = object();
                record::record_queue(&mut object.status.0, action, world.now);
                world.queues.insert(self.name.clone(), object);
            }
            QueueAction::SetKeyDeletionPolicy { name, policy } => {
                if let Some(key) = world.keys.get_mut(name) {
                    key.spec.deletion_policy = *policy;
                }
            }
            QueueAction::EnsureKey { name, spec } => {
                let key = world.keys.entry(name.clone()).or_insert_with(|| KeyObject { spec: spec.clone(), status: Recorded::default() });
                key.spec.deletion_policy = spec.deletion_policy;
                return Ok(QueueEffect::Key(world.key_object_as_seen_by(scene, &self.name, name).unwrap()));
            }
            _ => return world.aws.apply_to_queue(&scene.place(), action),
        }
        Ok(QueueEffect::Done)
    }

    /// Writes status, as the controller does.
    fn end(&self, world: &mut World, scene: &Scene, end: End) -> Step<QueueAction> {
        if self.gone {
            return Step::Ended(end);
        }
        let kept_sha256 = if let Aim::Keep(kept) = &self.aim { kept.as_deref().map(KeptQueue::sha256) } else { None };
        let key = self.observed.key.as_ref().and(self.judged.as_ref().ok()).and_then(|desired| world.keys.get(&desired.key_name));
        let pass = QueuePass {
            desired: self.judged.as_deref().map_err(Vec::as_slice),
            observed: &self.observed,
            end: &end,
            key: key.map(|key| &key.status.0),
            paused: self.paused.then_some(&[]),
            deleting: matches!(self.aim, Aim::End(_)),
            checked_now: None,
            kept_sha256,
            generation: Some(1),
        };
        let status = pass.status(&world.queue_status(&self.name), world.now);
        if let (Aim::Apply(desired), Some(sha256), Some(key)) = (&self.aim, &status.applied_sha256, &self.observed.key) {
            judge::note_applied(sha256, &with_found_settings(desired, &self.observed), key.arn.as_deref().unwrap());
        }
        if !pass.deleting || world.queues.contains_key(&self.name) {
            world.queues.entry(self.name.clone()).or_default().status = Recorded(status);
        }
        judge::records(world, scene);
        Step::Ended(end)
    }
}

/// A pass over a QueueKey.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct KeyWorker {
    name: String,
    /// What it knows.
    pub observed: ObservedKey,
    desired: DesiredKey,
    /// What is left of the last plan.
    pub left: VecDeque<KeyAction>,
    rounds: usize,
    looked_again: bool,
    gone: bool,
}

impl KeyWorker {
    /// A pass begins from what is recorded; `check` compares with AWS although the record agrees.
    pub fn begin(world: &World, scene: &Scene, name: &str, check: bool) -> Self {
        let observed = ObservedKey { check, ..ObservedKey::recorded(&world.keys[name].status.0) };
        let desired = world.desired_key(scene, name);
        judge::note_accesses(&desired);
        Self { name: name.to_owned(), observed, desired, left: VecDeque::new(), rounds: 0, looked_again: false, gone: false }
    }

    fn plan(&self, world: &World) -> Vec<KeyAction> {
        if self.desired.is_used() {
            plan_key(&self.desired, &self.observed, WINDOW, world.now)
        } else {
            plan_key_end(&self.desired, &self.observed, WINDOW, world.now)
        }
    }

    /// Plans if nothing is left of the last plan.
    pub fn prepare(&mut self, world: &World) {
        if self.left.is_empty() && !self.gone {
            self.rounds += 1;
            assert!(self.rounds <= MOST_ROUNDS, "the plan never ends: {:?}", self.plan(world));
            self.left = self.plan(world).into();
        }
    }

    /// Applies the next action, or ends the pass.
    pub fn step(&mut self, world: &mut World, scene: &Scene, faults: &mut Faults) -> Step<KeyAction> {
        self.prepare(world);
        match self.left.pop_front() {
            _ if self.gone => Step::Ended(End::Complete),
            None => self.end(world, scene, End::Complete),
            Some(KeyAction::Hold(hold)) => self.end(world, scene, End::Held(hold)),
            Some(action) => match faults.take() {
                Fault::Refusal => self.end(world, scene, failed(&Refused("refused"))),
                fault => self.apply(world, scene, action, fault),
            },
        }
    }

    fn apply(&mut self, world: &mut World, scene: &Scene, action: KeyAction, fault: Fault) -> Step<KeyAction> {
        assert!(!render::key_action(&action).is_empty());
        let before = world.clone();
        let applied = self.carry_out_under(world, scene, &action, fault);
        if action.writes_aws() && applied != Err(NO_ANSWER) {
            judge::key_write(&before, world, scene, &self.desired, &action);
        }
        judge::records(world, scene);
        match (applied, fault) {
            (_, Fault::Crash) => return Step::Crashed,
            (Ok(_), Fault::LostAnswer) if action.writes_aws() => self.observed.note_unknown(&action),
            (Err(NO_ANSWER), _) => self.observed.note_unknown(&action),
            (Ok(effect), _) => {
                self.gone = matches!(action, KeyAction::EndObject { .. });
                if effect == KeyEffect::AliasTaken {
                    self.left.clear();
                }
                self.observed.note(&action, effect, world.now);
                return Step::Did(action);
            }
            // As the controller does with those that IAM does not know.
            (Err(INVALID_PRINCIPALS), _) => {
                let missing = world.aws.missing.iter().map(|arn| RoleArn::parse(arn).unwrap());
                self.observed.refused.extend(missing);
                self.left.clear();
                return Step::Did(action);
            }
            (Err(refused), _) => return self.end(world, scene, failed(&refused)),
        }
        self.left.clear();
        if std::mem::replace(&mut self.looked_again, true) { self.end(world, scene, failed(&NO_ANSWER)) } else { Step::Did(action) }
    }

    fn carry_out_under(&self, world: &mut World, scene: &Scene, action: &KeyAction, fault: Fault) -> Result<KeyEffect, Refused> {
        match fault {
            Fault::LostRequest if action.writes_aws() => Err(NO_ANSWER),
            Fault::Repeated if action.writes_aws() => self.carry_out(world, scene, action).and_then(|_| self.carry_out(world, scene, action)),
            _ => self.carry_out(world, scene, action),
        }
    }

    fn carry_out(&self, world: &mut World, scene: &Scene, action: &KeyAction) -> Result<KeyEffect, Refused> {
        match action {
            KeyAction::RecordNonce => {
                world.nonces += 1;
                let (nonce, now) = (format!("nonce-{}", world.nonces), world.now);
                let status = &mut world.keys.get_mut(&self.name).unwrap().status.0;
                Ok(KeyEffect::Nonce(record::record_nonce(status, nonce, now)))
            }
            KeyAction::ForgetApplied { .. }
            | KeyAction::RecordKey { .. }
            | KeyAction::RecordUsers { .. }
            | KeyAction::RecordDeletedPrincipals { .. }
            | KeyAction::RecordReleased { .. }
            | KeyAction::RecordRotationStart { .. }
            | KeyAction::RecordRotationServed { .. } => {
                let now = world.now;
                record::record(&mut world.keys.get_mut(&self.name).unwrap().status.0, action, now);
                Ok(KeyEffect::Done)
            }
            KeyAction::MarkApproval { name } => {
                world.approvals.retain(|approval| approval.name != *name);
                Ok(KeyEffect::Done)
            }
            KeyAction::EndObject { .. } => {
                world.keys.remove(&self.name);
                Ok(KeyEffect::Done)
            }
            _ => {
                let now = world.now;
                world.aws.apply_to_key(&scene.place(), action, now)
            }
        }
    }

    /// Writes status, as the controller does.
    fn end(&self, world: &mut World, scene: &Scene, end: End) -> Step<KeyAction> {
        // As the controller does: what was left out is tried again.
        let tried_again = !self.observed.refused.is_empty() && !matches!(end, End::Failed { .. });
        let end = if tried_again { failed(&INVALID_PRINCIPALS) } else { end };
        let now = world.now;
        let object = world.keys.get_mut(&self.name).unwrap();
        let pass = KeyPass { desired: Some(&self.desired), observed: &self.observed, end: &end, checked_now: None, generation: Some(1) };
        object.status = Recorded(pass.status(&object.status.0, now));
        judge::records(world, scene);
        Step::Ended(end)
    }
}
