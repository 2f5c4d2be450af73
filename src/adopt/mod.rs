//! Queues that exist → the manifests that would take them over: the inverse of rendering. Pure.
//!
//! What a policy allows is put into producers, consumers, observers and redrivers as far as a declaration can say it; the rest is told in remarks, which
//! become comments. Nothing is left out in silence.

mod access;
mod conditions;
mod guess;
mod key;
mod manifest;
mod needs;
mod yaml;

pub use guess::Known;
pub use manifest::adopt;
pub use needs::TenantNeeds;
pub use yaml::to_yaml;

use std::collections::BTreeSet;

use serde::Serialize;

use crate::api::EncryptedQueue;
use crate::names::{Place, sha256_hex};
use crate::plan::state::QueueState;

/// A queue as it was found.
#[derive(Clone, Debug)]
pub struct FoundQueue {
    /// Where it lives.
    pub place: Place,
    /// The queue.
    pub queue: QueueState,
    /// Its dead-letter queue, if it names one that exists.
    pub dead_letter: Option<QueueState>,
    /// Queues that send their dead letters to that one.
    pub dead_letter_sources: Vec<String>,
    /// Policy of the key it is under, where it may be read.
    pub key_policy: Option<String>,
}

/// What was made of a queue.
#[derive(Clone, Debug)]
pub struct Adopted {
    /// The declaration.
    pub object: EncryptedQueue,
    /// What a person must know before it is applied.
    pub remarks: Vec<Remark>,
}

/// Something to know about a declaration.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Remark {
    /// The field it belongs to (`spec.tenant`); empty: the whole.
    pub field: String,
    /// What kind.
    pub kind: RemarkKind,
    /// In words.
    pub text: String,
}

/// Kinds of remarks.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum RemarkKind {
    /// It was guessed.
    Guessed,
    /// Access that is there and that the declaration does not give.
    Lost,
    /// Access that the declaration gives and that is not there.
    Wider,
    /// Anything else.
    Note,
}

/// Gives each declaration a name that none of `taken`, namespace and name, has.
pub fn name_apart<'a>(adopted: impl IntoIterator<Item = &'a mut Adopted>, taken: &mut BTreeSet<(String, String)>) {
    for one in adopted {
        let metadata = &mut one.object.metadata;
        let namespace = metadata.namespace.clone().unwrap_or_default();
        let name = metadata.name.clone().unwrap_or_default();
        if !taken.insert((namespace.clone(), name.clone())) {
            let queue = one.object.spec.queue.name.clone().unwrap_or_default();
            let place = format!("{} {queue}", one.object.spec.region.as_deref().unwrap_or_default());
            let cut: String = name.chars().take(56).collect();
            let name = format!("{}-{}", cut.trim_end_matches('-'), &sha256_hex(&place)[..6]);
            taken.insert((namespace, name.clone()));
            metadata.name = Some(name);
        }
    }
}

impl RemarkKind {
    const fn label(self) -> &'static str {
        match self {
            Self::Guessed => "guessed",
            Self::Lost => "LOST",
            Self::Wider => "WIDER",
            Self::Note => "note",
        }
    }
}

impl Remark {
    fn new(kind: RemarkKind, field: impl Into<String>, text: impl Into<String>) -> Self {
        Self { field: field.into(), kind, text: text.into() }
    }
}
