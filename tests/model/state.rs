//! What the checker tells apart: what Kubernetes records and AWS holds, the passes under way, and what may still go wrong.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use encrypted_queue::api::queue_key::NamespacedName;
use encrypted_queue::desired::Approval;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::pass::Pass;
use crate::world::{KeyObject, QueueObject, World, named};

/// A value that many states share, hashed once.
#[derive(Debug)]
pub struct Shared<T>(Arc<(u64, T)>);

impl<T: Hash> Shared<T> {
    pub fn new(value: T) -> Self {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        Self(Arc::new((hasher.finish(), value)))
    }
}

impl<T> Shared<T> {
    /// Its hash.
    pub fn id(&self) -> u64 {
        self.0.0
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.1
    }
}

impl<T> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.0 == other.0.0
    }
}

impl<T> Hash for Shared<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.0);
    }
}

/// An object that a controller makes passes over.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(into = "String", from = "String")]
pub enum Object {
    Queue(NamespacedName),
    Key(String),
}

impl From<Object> for String {
    fn from(object: Object) -> Self {
        match object {
            Object::Queue(name) => format!("queue/{}", name.name),
            Object::Key(name) => format!("key/{name}"),
        }
    }
}

impl From<String> for Object {
    fn from(text: String) -> Self {
        match text.split_once('/') {
            Some(("queue", name)) => Self::Queue(named(name)),
            Some((_, name)) => Self::Key(name.to_owned()),
            None => panic!("{text} names no object"),
        }
    }
}

/// What Kubernetes held one version ago.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Past {
    pub queues: BTreeMap<NamespacedName, QueueObject>,
    pub keys: BTreeMap<String, KeyObject>,
    pub approvals: Vec<Approval>,
    pub edits: usize,
}

/// How often each thing may still happen.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Budget {
    /// Crashes, lost requests and answers, refusals, repetitions.
    pub faults: u8,
    /// Passes that compare everything with AWS.
    pub checks: u8,
    /// Passes that begin with what Kubernetes held one version ago.
    pub stale: u8,
    /// Leaders that are stopped with a pass under way, while another one takes over.
    pub leaders: u8,
    /// Changes in AWS by someone else.
    pub meddlings: u8,
    /// Waits.
    pub waits: u8,
}

/// A state of everything.
#[derive(Clone, Debug, Hash, PartialEq)]
pub struct State {
    pub world: Shared<World>,
    /// How many of the scenario's edits have been made.
    pub edits: usize,
    /// Passes under way, at most one over each object in each process.
    pub passes: Vec<Shared<Pass>>,
    pub past: Option<Shared<Past>>,
    pub left: Budget,
    /// Until when messages may be under a key that their queue left, by its ARN.
    pub messages: BTreeMap<String, Timestamp>,
    /// The invariant that the last move broke.
    pub broken: Option<String>,
}

impl State {
    pub fn past_of(&self) -> Past {
        let World { queues, keys, approvals, .. } = &*self.world;
        Past { queues: queues.clone(), keys: keys.clone(), approvals: approvals.clone(), edits: self.edits }
    }
}

impl std::fmt::Display for Budget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { faults, checks, stale, leaders, meddlings, waits } = self;
        write!(f, "faults {faults}, checks {checks}, stale {stale}, other leaders {leaders}, meddlings {meddlings}, waits {waits}")
    }
}
