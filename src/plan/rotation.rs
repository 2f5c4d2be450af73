//! Rotation on demand.

use jiff::{SignedDuration, Timestamp};

use super::action::{Hold, KeyAction};
use super::key::{CLOCK_SKEW, LOOK_AGAIN, SearchWindow};
use super::observed::{ObservedKey, Seen};
use crate::api::Reason;
use crate::desired::DesiredKey;

/// On-demand rotations KMS allows in a key's life (KMS API reference, RotateKeyOnDemand).
pub const MOST_ROTATIONS: i32 = 25;
/// Least time between two on-demand rotations of a key.
const ROTATION_PAUSE: SignedDuration = SignedDuration::from_hours(24);

/// Once for each new request, recorded before the call, at most once a day and 25 times in a key's life.
pub(super) fn plan_rotation_on_demand(
    desired: &DesiredKey,
    observed: &ObservedKey,
    id: &str,
    window: SearchWindow,
    now: Timestamp,
) -> Vec<KeyAction> {
    if let Some((serving, started)) = observed.rotation_serving.zip(observed.rotation_started).filter(|_| !observed.rotation_start_is_fresh) {
        return resume_rotation(desired, observed, id, serving, started, started + window.0, now);
    }
    let Some(requested_at) = desired.rotate_requested_at.filter(|at| observed.rotation_served.is_none_or(|served| *at > served)) else {
        return Vec::new();
    };
    let made_at = observed.nonce.as_ref().map(|nonce| nonce.started_at);
    if made_at.is_some_and(|made| requested_at <= made) {
        // The key's material is newer than the request.
        return vec![KeyAction::RecordRotationServed { requested_at, rotated: false }];
    }
    if observed.rotations_on_demand >= MOST_ROTATIONS {
        let message = format!("key {id} was rotated on demand {MOST_ROTATIONS} times, the most KMS allows; remove spec.key.rotateRequestedAt");
        return vec![KeyAction::Hold(Hold::new(Reason::RotationsUsedUp, message))];
    }
    if let Some(next) = observed.rotation_started.map(|started| started + ROTATION_PAUSE).filter(|next| *next > now) {
        let message = format!("the key was rotated on demand less than a day ago; the next is due {next}");
        return vec![KeyAction::Hold(Hold::until(Reason::RotationPending, message, next))];
    }
    let mut actions = vec![KeyAction::RecordRotationStart { requested_at }];
    actions.extend(rotate(id, requested_at));
    actions
}

/// A rotation that was begun and not recorded as served: a crash lies in between, and KMS lists a rotation a while after it was asked for.
fn resume_rotation(
    desired: &DesiredKey,
    observed: &ObservedKey,
    id: &str,
    serving: Timestamp,
    started: Timestamp,
    listed_by: Timestamp,
    now: Timestamp,
) -> Vec<KeyAction> {
    let Seen::Present(times) = &observed.rotations else { return vec![KeyAction::ReadRotations { id: id.to_owned() }] };
    if times.iter().any(|time| *time + CLOCK_SKEW >= started) {
        return vec![KeyAction::RecordRotationServed { requested_at: serving, rotated: true }];
    }
    if now < listed_by {
        let message = format!("key {id} may have been rotated just before a restart; KMS lists it by {listed_by}");
        let again = (now + LOOK_AGAIN).min(listed_by);
        return vec![KeyAction::Hold(Hold::until(Reason::RotationPending, message, again))];
    }
    if desired.rotate_requested_at == Some(serving) {
        return rotate(id, serving);
    }
    // Another request came in the meantime, or this one was taken back.
    vec![KeyAction::RecordRotationServed { requested_at: serving, rotated: false }]
}

fn rotate(id: &str, requested_at: Timestamp) -> Vec<KeyAction> {
    vec![KeyAction::RotateKeyOnDemand { id: id.to_owned() }, KeyAction::RecordRotationServed { requested_at, rotated: true }]
}
