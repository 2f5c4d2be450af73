//! A pass under way, and what Kubernetes refuses it.

use encrypted_queue::plan::{KeyAction, QueueAction};

use crate::flaw::Flaw;
use crate::operator::Did;
use crate::state::Object;
use crate::worker::{Fault, Faults, KeyWorker, QueueWorker, Step};
use crate::world::{Scene, World};

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Worker {
    Queue(Box<QueueWorker>),
    Key(Box<KeyWorker>),
}

/// One pass over one object.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not states")]
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Pass {
    pub over: Object,
    pub worker: Worker,
    /// UID of the declaration that it began with.
    pub uid: Option<String>,
    /// Its process leads no more. One call may have been on its way then; no other is sent.
    pub former: bool,
    pub may_send: bool,
    /// Someone else wrote the object since: writes that carry its resourceVersion are refused.
    pub outdated: bool,
    /// Something changed since it began that it does not know of.
    pub overtaken: bool,
}

/// What kind of call the next step makes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Call {
    ReadAws,
    WriteAws,
    /// `checked`: it carries the resourceVersion.
    Kubernetes {
        checked: bool,
    },
    /// Writes status, if that says something new.
    End,
}

/// What a step came to.
pub struct Stepped {
    /// The pass, unless it has ended or its process died.
    pub pass: Option<Pass>,
    pub crashed: bool,
}

impl Stepped {
    fn over() -> Self {
        Self { pass: None, crashed: false }
    }
}

fn call_of_queue(action: &QueueAction) -> Call {
    match action {
        QueueAction::ReadQueues { .. } => Call::ReadAws,
        QueueAction::Hold(_) => Call::End,
        QueueAction::AddFinalizer | QueueAction::RemoveFinalizer => Call::Kubernetes { checked: true },
        action if action.writes_aws() => Call::WriteAws,
        _ => Call::Kubernetes { checked: false },
    }
}

fn call_of_key(action: &KeyAction) -> Call {
    match action {
        KeyAction::FindByAlias { .. }
        | KeyAction::FindByTags { .. }
        | KeyAction::ReadKey { .. }
        | KeyAction::ReadRotations { .. }
        | KeyAction::FindQueuesUnderKey { .. } => Call::ReadAws,
        KeyAction::Hold(_) => Call::End,
        KeyAction::MarkApproval { .. } | KeyAction::EndObject { .. } => Call::Kubernetes { checked: false },
        action if action.writes_aws() => Call::WriteAws,
        _ => Call::Kubernetes { checked: true },
    }
}

impl Worker {
    /// Plans if need be, and says what the next step does.
    pub fn next(&mut self, world: &World, flaw: Flaw) -> (Call, Option<Did>) {
        match self {
            Self::Queue(worker) => {
                if worker.left.is_empty() {
                    worker.prepare(world);
                    flaw.spoil_queue(&mut worker.left);
                }
                let next = worker.left.front();
                (next.map_or(Call::End, call_of_queue), next.cloned().map(Did::Queue))
            }
            Self::Key(worker) => {
                if worker.left.is_empty() {
                    worker.prepare(world);
                    flaw.spoil_key(&mut worker.left);
                }
                let next = worker.left.front();
                (next.map_or(Call::End, call_of_key), next.cloned().map(Did::Key))
            }
        }
    }

    fn step(&mut self, world: &mut World, scene: &Scene, fault: Fault) -> (bool, bool) {
        fn told<A>(step: &Step<A>) -> (bool, bool) {
            (matches!(step, Step::Ended(_)), matches!(step, Step::Crashed))
        }
        let mut faults = Faults::on(0, fault);
        match self {
            Self::Queue(worker) => told(&worker.step(world, scene, &mut faults)),
            Self::Key(worker) => told(&worker.step(world, scene, &mut faults)),
        }
    }
}

impl Pass {
    /// What the next step does.
    pub fn next(&self, world: &World, flaw: Flaw) -> (Call, Option<Did>) {
        self.worker.clone().next(world, flaw)
    }

    /// Takes the next step.
    pub fn step(mut self, world: &mut World, scene: &Scene, fault: Fault, flaw: Flaw) -> Stepped {
        let (call, did) = self.worker.next(world, flaw);
        if self.is_refused(call, world, scene, flaw) || (fault == Fault::Refusal && matches!(call, Call::Kubernetes { .. })) {
            return Stepped::over();
        }
        if self.former {
            if call == Call::WriteAws && !std::mem::take(&mut self.may_send) {
                return Stepped::over();
            }
            // Nobody can keep back what is on its way: until everything is compared again, the record need not be true.
            world.meddled |= call != Call::ReadAws && !matches!(did, Some(Did::Key(KeyAction::CreateKey { .. } | KeyAction::RecordNonce)));
        }
        let before = (flaw != Flaw::None).then(|| world.clone());
        world.interleaved = self.overtaken;
        let (ended, crashed) = self.worker.step(world, scene, fault);
        world.interleaved = false;
        if let Some(before) = before {
            flaw.undo(did.as_ref(), &before, world);
        }
        // Without the API server's answer a pass ends.
        let unanswered = fault == Fault::LostAnswer && matches!(call, Call::Kubernetes { .. });
        // The resourceVersion that finalizers are written with is the one it began with.
        self.outdated |= matches!((&self.over, call), (Object::Queue(_), Call::Kubernetes { .. }));
        Stepped { pass: (!ended && !crashed && !unanswered).then_some(self), crashed }
    }

    /// Whether Kubernetes refuses the write: the object is gone, another one of its name is there, or someone else wrote it.
    fn is_refused(&self, call: Call, world: &World, scene: &Scene, flaw: Flaw) -> bool {
        if !matches!(call, Call::Kubernetes { .. } | Call::End) {
            return false;
        }
        let checked = call == Call::Kubernetes { checked: true } || (call == Call::End && matches!(self.over, Object::Key(_)));
        if checked && self.outdated && !flaw.ignores_versions() {
            return true;
        }
        match &self.over {
            Object::Queue(name) => !world.exists(scene, name) || scene.queues[name].metadata.uid != self.uid,
            Object::Key(name) => !world.keys.contains_key(name),
        }
    }
}
