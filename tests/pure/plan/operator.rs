//! Passes over everything that is declared, one after the other, until nothing is left to do.

use std::collections::BTreeMap;

use encrypted_queue::api::queue_key::NamespacedName;
use encrypted_queue::outcome::End;
use encrypted_queue::plan::{KeyAction, QueueAction};
use jiff::Timestamp;

use super::judge;
use super::worker::{Faults, KeyWorker, QueueWorker, Step};
use super::world::{Aim, KeyObject, QueueObject, Scene, World};

/// An action of either controller.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Did {
    Queue(QueueAction),
    Key(KeyAction),
}

impl Did {
    pub fn writes_aws(&self) -> bool {
        match self {
            Self::Queue(action) => action.writes_aws(),
            Self::Key(action) => action.writes_aws(),
        }
    }

    /// The variant's name.
    pub fn name(&self) -> String {
        let text = match self {
            Self::Queue(action) => format!("{action:?}"),
            Self::Key(action) => format!("{action:?}"),
        };
        text.split([' ', '(']).next().unwrap().to_owned()
    }
}

/// What a run did, and what its last passes ended with.
#[derive(Debug, Default)]
pub struct Run {
    pub did: Vec<Did>,
    pub ends: BTreeMap<String, (End, Records)>,
    pub crashed: bool,
}

/// What Kubernetes holds: a change of it wakes every object.
type Records = (BTreeMap<NamespacedName, QueueObject>, BTreeMap<String, KeyObject>);

impl Run {
    /// Names of all actions, in order.
    pub fn names(&self) -> Vec<String> {
        self.did.iter().map(Did::name).collect()
    }

    /// Names of the writes to AWS, in order.
    pub fn writes(&self) -> Vec<String> {
        self.did.iter().filter(|did| did.writes_aws()).map(Did::name).collect()
    }

    /// Why the last passes ended, where they did not end with everything done.
    pub fn held(&self) -> Vec<&'static str> {
        self.ends.values().filter_map(|(end, _)| end.obstacle()).map(|(reason, _)| reason.as_str()).collect()
    }

    /// What people are told of it.
    pub fn told(&self) -> Vec<&str> {
        self.ends.values().filter_map(|(end, _)| end.obstacle()).map(|(_, message)| message).collect()
    }

    /// Whether an object is to be looked at: something was written since the last pass over it, it failed, or what it waited for is due.
    fn is_awake(&self, world: &World, object: &str) -> bool {
        let Some((end, records)) = self.ends.get(object) else { return true };
        let is_due = match end {
            End::Complete => false,
            End::Held(hold) => hold.until.is_some_and(|until| until <= world.now),
            End::Failed { .. } => true,
        };
        is_due || *records != world.records()
    }

    fn next_look(&self) -> Option<Timestamp> {
        self.ends.values().filter_map(|(end, _)| if let End::Held(hold) = end { hold.until } else { None }).min()
    }
}

impl World {
    /// One pass over an EncryptedQueue; None: the process died in it.
    pub fn pass_over_queue(&mut self, scene: &Scene, name: &NamespacedName, check: bool, faults: &mut Faults, did: &mut Vec<Did>) -> Option<End> {
        let mut worker = QueueWorker::begin(self, scene, name, check);
        loop {
            match worker.step(self, scene, faults) {
                Step::Did(action) => did.push(Did::Queue(action)),
                Step::Ended(end) => return Some(end),
                Step::Crashed => return None,
            }
        }
    }

    /// One pass over a QueueKey; None: the process died in it.
    pub fn pass_over_key(&mut self, scene: &Scene, name: &str, check: bool, faults: &mut Faults, did: &mut Vec<Did>) -> Option<End> {
        let mut worker = KeyWorker::begin(self, scene, name, check);
        loop {
            match worker.step(self, scene, faults) {
                Step::Did(action) => did.push(Did::Key(action)),
                Step::Ended(end) => return Some(end),
                Step::Crashed => return None,
            }
        }
    }

    /// One pass over everything; false: the process died.
    fn round(&mut self, scene: &Scene, check: bool, faults: &mut Faults, run: &mut Run) -> bool {
        run.ends.retain(|object, _| self.keys.contains_key(object) || scene.queues.keys().any(|name| name.to_string() == *object));
        for name in scene.queues.keys().filter(|name| self.exists(scene, name)).cloned().collect::<Vec<_>>() {
            if run.is_awake(self, &name.to_string()) {
                let Some(end) = self.pass_over_queue(scene, &name, check, faults, &mut run.did) else { return false };
                run.ends.insert(name.to_string(), (end, self.records()));
            }
        }
        for name in self.keys.keys().cloned().collect::<Vec<_>>() {
            if run.is_awake(self, &name) {
                let Some(end) = self.pass_over_key(scene, &name, check, faults, &mut run.did) else { return false };
                run.ends.insert(name, (end, self.records()));
            }
        }
        true
    }

    fn records(&self) -> Records {
        (self.queues.clone(), self.keys.clone())
    }

    /// Passes until nothing changes any more, waiting where something is waited for; the run stops when the process dies.
    pub fn run(&mut self, scene: &Scene, check: bool, mut faults: Faults) -> Run {
        let (mut run, mut quiet_rounds) = (Run::default(), 0);
        for round in 0..60 {
            let before = self.clone();
            if !self.round(scene, check && round == 0, &mut faults, &mut run) {
                run.crashed = true;
                return run;
            }
            if *self != before {
                quiet_rounds += 1;
                assert!(quiet_rounds < 10 + 30, "does not come to rest: {:?}", run.names());
                continue;
            }
            let Some(next) = run.next_look() else { return run };
            self.now = self.now.max(next);
            if run.held().iter().all(|reason| matches!(*reason, "InUse" | "QueueNotEmpty")) {
                return run;
            }
        }
        panic!("does not come to rest: {:?}", run.ends)
    }

    /// Passes until nothing changes any more.
    pub fn settle(&mut self, scene: &Scene) -> Run {
        self.run(scene, false, Faults::none())
    }

    /// The same, comparing everything with AWS.
    pub fn check(&mut self, scene: &Scene) -> Run {
        self.run(scene, true, Faults::none())
    }

    /// Someone else changes something in AWS.
    pub fn meddle(&mut self, change: impl FnOnce(&mut Self)) {
        self.meddled = true;
        change(self);
    }

    /// Everything is as declared, and a comparison with AWS finds nothing to do.
    pub fn assert_rest(&mut self, scene: &Scene) {
        judge::as_declared(self, scene).unwrap_or_else(|difference| panic!("{difference}"));
        // What a kept queue had before someone changed it is not known.
        let accepted = |name: &NamespacedName| matches!(self.aim(scene, name), Aim::Apply(_));
        self.meddled = self.meddled && !scene.queues.keys().filter(|name| self.exists(scene, name)).all(accepted);
        let checked = self.check(scene);
        assert_eq!(checked.writes(), [""; 0], "at rest nothing is written");
    }
}
