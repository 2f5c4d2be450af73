//! Plans that are wrong on purpose: a checker that finds nothing wrong with them is worth nothing.

use std::collections::VecDeque;

use encrypted_queue::plan::{KeyAction, QueueAction};

use crate::operator::Did;
use crate::world::World;

#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Flaw {
    #[default]
    None,
    /// A key is made without a nonce on record.
    NoNonce,
    /// QueueKey status is written without its resourceVersion.
    Unchecked,
    /// Status goes on saying what was applied while something else is.
    NoForgetting,
    /// Users are on record before the key policy admits them.
    RecordFirst,
    /// A queue is made, and gets its key in a second call.
    KeyAfterwards,
    /// Nobody remembers the key that messages are still under.
    NoPrevious,
}

impl Flaw {
    pub fn ignores_versions(self) -> bool {
        self == Self::Unchecked
    }

    /// Changes a plan for a queue.
    pub fn spoil_queue(self, plan: &mut VecDeque<QueueAction>) {
        if self == Self::NoForgetting {
            plan.retain(|action| !matches!(action, QueueAction::ForgetApplied { .. }));
        }
        for action in plan {
            match (self, action) {
                (Self::KeyAfterwards, QueueAction::CreateQueue { attributes, .. }) => drop(attributes.remove("KmsMasterKeyId")),
                (Self::NoPrevious, QueueAction::RecordKeys { previous, .. }) => previous.clear(),
                _ => {}
            }
        }
    }

    /// Changes a plan for a key.
    pub fn spoil_key(self, plan: &mut VecDeque<KeyAction>) {
        let at = |is: fn(&KeyAction) -> bool| plan.iter().position(is);
        let put = at(|action| matches!(action, KeyAction::PutKeyPolicy { .. }));
        let record = at(|action| matches!(action, KeyAction::RecordUsers { .. }));
        match (self, put, record) {
            (Self::NoForgetting, ..) => plan.retain(|action| !matches!(action, KeyAction::ForgetApplied { .. })),
            (Self::RecordFirst, Some(put), Some(record)) => plan.swap(put, record),
            _ => {}
        }
    }

    /// Takes back what a step wrote.
    pub fn undo(self, did: Option<&Did>, before: &World, after: &mut World) {
        if self == Self::NoNonce && matches!(did, Some(Did::Key(KeyAction::RecordNonce))) {
            after.keys.clone_from(&before.keys);
        }
    }
}
