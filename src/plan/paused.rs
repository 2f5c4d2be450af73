//! A key whose queues are all paused: what rules forbid goes, everything else is shown and left as it is.

use std::collections::BTreeSet;

use super::action::{Hold, KeyAction};
use super::render;
use super::state::KeyState;
use crate::api::Reason;
use crate::desired::DesiredKey;
use crate::names::RoleArn;
use crate::policy::document::Document;
use crate::policy::key_policy::Administration;
use crate::policy::queue_policy::Denial;
use crate::policy::read_back;

/// Of the planned changes those that narrow; once there are none, what is not done is told.
pub(super) fn only_narrowing(desired: &DesiredKey, state: &KeyState, changes: Vec<KeyAction>) -> Vec<KeyAction> {
    let narrows = narrows(desired, state);
    let (done, left): (Vec<_>, Vec<_>) = changes.into_iter().partition(|action| match action {
        KeyAction::PutKeyPolicy { .. } => narrows,
        _ => !action.writes_aws(),
    });
    if !done.is_empty() || left.is_empty() {
        return done;
    }
    let left: Vec<String> = left.iter().map(render::key_action).collect();
    vec![KeyAction::Hold(Hold::new(Reason::Paused, format!("all queues of the key are paused; not done: {}", left.join("; "))))]
}

/// Whether the policy holds what the rules no longer admit, or a suspension is not as it should be.
fn narrows(desired: &DesiredKey, state: &KeyState) -> bool {
    let Ok(policy) = Document::parse(&state.policy) else { return false };
    let queues = desired.kept.iter().filter_map(|kept| kept.queue.clone()).collect();
    let read = read_back::read_key_policy(&policy, &desired.place, &queues);
    let mut held = desired.kept.iter().filter_map(|kept| Some((kept, read.grants.get(&kept.queue.as_ref()?.0)?)));
    let forbidden = held.any(|(kept, grants)| grants.iter().any(|grant| !kept.admits(grant)));
    let former = |kind, now: &BTreeSet<RoleArn>| {
        let before = read.administration.get(&kind);
        before.is_some_and(|before| before.iter().any(|arn| !now.iter().any(|role| role.as_str() == arn)))
    };
    forbidden
        || former(Administration::KeyAdministrators, &desired.access.administrators)
        || former(Administration::BreakGlass, &desired.access.break_glass)
        || read.denied.contains(&Denial::Suspended) != desired.access.suspended
}
