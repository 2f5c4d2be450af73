//! One queue and one key on their way.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::report::{ActionReport, Change, System};
use crate::api::queue_key::{Creation, NamespacedName};
use crate::api::{EncryptedQueue, QueueKey, QueueKeyStatus};
use crate::desired::{Approval, DesiredKey, DesiredQueue, Refusal};
use crate::names::Place;
use crate::outcome::End;
use crate::outcome::key::KeyPass;
use crate::plan::grants::{Pending, held};
use crate::plan::objects;
use crate::plan::record;
use crate::plan::state::{KeyState, QueueState};
use crate::plan::teardown::{KeptQueue, plan_kept_queue};
use crate::plan::{Hold, ObservedKey, ObservedQueue, QueueAction, Seen, plan_queue};

/// Rounds for one object: more than any needs, so that a plan that never ends is seen.
const MOST_ROUNDS: usize = 100;

/// One queue on its way.
pub(super) struct QueueRun {
    pub(super) object: EncryptedQueue,
    pub(super) judged: Result<DesiredQueue, Box<Refusal>>,
    pub(super) place: Option<Place>,
    pub(super) kept: Option<KeptQueue>,
    pub(super) observed: ObservedQueue,
    pub(super) before: Option<[Option<QueueState>; 2]>,
    pub(super) progress: Progress,
}

/// One key on its way.
pub(super) struct KeyRun {
    pub(super) object: QueueKey,
    pub(super) place: Place,
    pub(super) observed: ObservedKey,
    pub(super) before: Option<KeyState>,
    /// What waits for an approval at the outset, and who gave it already.
    pub(super) asked: Option<Vec<(Pending, Option<String>)>>,
    pub(super) assumed: Vec<Approval>,
    pub(super) progress: Progress,
}

/// How far an object is.
#[derive(Default)]
pub(super) struct Progress {
    rounds: usize,
    pub(super) actions: Vec<ActionReport>,
    pub(super) hold: Option<Hold>,
    /// The last hold before approvals were taken as given.
    pub(super) hold_unapproved: Option<Hold>,
}

impl Progress {
    pub(super) fn goes_on(&mut self, complete: bool) -> bool {
        self.hold = None;
        self.rounds += 1;
        !complete && self.rounds < MOST_ROUNDS
    }

    pub(super) fn list(&mut self, number: usize, call: Option<&'static str>, change: Change, text: String, after_approval: bool) {
        let system = if call.is_some() { System::Aws } else { System::Kubernetes };
        self.actions.push(ActionReport { number, system, call, change, text, after_approval });
    }
}

impl QueueRun {
    /// As the controller decides for an object that is not being deleted.
    pub(super) fn plan(&self, now: Timestamp) -> Vec<QueueAction> {
        match &self.judged {
            _ if self.object.metadata.deletion_timestamp.is_some() => Vec::new(),
            Ok(desired) if !objects::is_paused(&self.object) => plan_queue(desired, &self.observed, now),
            _ => self.kept.as_ref().map_or_else(Vec::new, |kept| plan_kept_queue(kept, &self.observed)),
        }
    }
}

impl KeyRun {
    /// Notes once, before anything is done, what waits for an approval or is approved.
    pub(super) fn note_asked(&mut self, desired: &DesiredKey, queues: &BTreeSet<NamespacedName>) {
        if self.asked.is_some() {
            return;
        }
        // Without the approvals everything that needs one shows.
        let waiting = held(&DesiredKey { approvals: Vec::new(), ..desired.clone() }, &self.observed).pending.into_iter();
        let approved = |pending: &Pending| {
            let given = desired.approvals.iter().find(|approval| approval.grants_sha256 == pending.sha256);
            given.filter(|approval| self.observed.approval.as_ref() != Some(&approval.name)).map(|approval| approval.approved_by.clone())
        };
        let waiting = waiting.filter(|pending| queues.contains(&pending.object));
        self.asked = Some(waiting.map(|pending| (pending.clone(), approved(&pending))).collect());
    }

    /// What the controller writes at the end of a pass, and queues look at.
    pub(super) fn write_status(&mut self, desired: &DesiredKey, end: &End, now: Timestamp) {
        let observed = &self.observed;
        let creation = observed.nonce.as_ref().map(|nonce| Creation { nonce: nonce.nonce.clone(), started_at: Time(nonce.started_at) });
        let mut recorded = QueueKeyStatus {
            key_id: observed.key_id.clone(),
            arn: observed.arn.clone(),
            creation,
            users: observed.users.clone(),
            access_revision: Some(observed.access_revision),
            ..self.object.status.clone().unwrap_or_default()
        };
        if observed.genuine {
            record::seal(&mut recorded);
        }
        let pass = KeyPass { desired: Some(desired), observed, end, checked_now: None, generation: self.object.metadata.generation };
        self.object.status = Some(pass.status(&recorded, now));
    }

    /// Whether the key is there before anything is done.
    pub(super) fn is_new(&self) -> bool {
        self.before.is_none() && self.progress.actions.iter().any(|action| action.call == Some("kms:CreateKey"))
    }

    /// The key as it would be.
    pub(super) fn after(&self) -> Option<&KeyState> {
        match &self.observed.state {
            Seen::Present(state) => Some(state),
            Seen::NotRead | Seen::Absent => None,
        }
    }
}
