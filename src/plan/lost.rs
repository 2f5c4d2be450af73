//! A key that is not as status says: its tags were taken off, status was edited, or KMS holds it no longer. Marks, alias and tags tell. Pure.

use jiff::Timestamp;

use super::action::{Hold, KeyAction};
use super::creation::{ambiguous, find as find_by_tags, is_alive, nonce_of, record, said_owner, shows_marks};
use super::grants::Held;
use super::key::{LOOK_AGAIN, SearchWindow, policy_id};
use super::observed::{FoundKey, NonceRecord, ObservedKey, Seen};
use super::state::{KeyLifecycle, KeyState};
use crate::api::Reason;
use crate::api::labels::TAG_NONCE;
use crate::desired::{DesiredKey, names_no_other_owner, owner_tags_match};
use crate::policy::document::Document;

/// What is known of the key that status names.
pub(super) enum Found<'a> {
    /// This object's key.
    Key(&'a KeyState),
    /// Not that it is this object's key: what comes next instead.
    Not(Vec<KeyAction>),
}

/// Establishes which key is this object's, starting from what status records. A record is never trusted against what the key itself says.
pub(super) fn find<'a>(desired: &DesiredKey, held: &Held, observed: &'a ObservedKey, window: SearchWindow, now: Timestamp) -> Found<'a> {
    let (Some(id), Some(nonce)) = (&observed.key_id, &observed.nonce) else { return Found::Not(Vec::new()) };
    let is_here = observed.arn.as_ref() == Some(&desired.place.key_arn(id));
    match &observed.state {
        Seen::Present(state) if owner_tags_match(&state.tags, &desired.tags) => {
            let same = is_here && observed.genuine && state.metadata.id == *id && nonce_of(state).is_none_or(|own| *own == nonce.nonce);
            if same { Found::Key(state) } else { Found::Not(record(desired, held, observed)) }
        }
        Seen::Present(state) if is_here && state.metadata.id == *id && bears_name(state, nonce) => {
            if !is_stripped(desired, state, nonce) {
                return Found::Not(vec![conflict(state)]);
            }
            // A key whose deletion is pending takes no tags, and a paused one gets none.
            if desired.is_paused() || state.metadata.lifecycle == KeyLifecycle::PendingDeletion {
                Found::Key(state)
            } else {
                retag(desired, state, nonce)
            }
        }
        Seen::NotRead if is_here => Found::Not(vec![KeyAction::ReadKey { id: id.clone() }]),
        Seen::Absent if is_here && now < nonce.started_at + window.0 => {
            let message = format!("KMS does not show key {id} yet, which was made at {}", nonce.started_at);
            Found::Not(vec![KeyAction::Hold(Hold::until(Reason::SearchingForKey, message, now + LOOK_AGAIN))])
        }
        _ => Found::Not(elsewhere(desired, observed, id, nonce)),
    }
}

/// Whether the key was made with this nonce, as far as nobody but KMS can change it by tags.
fn bears_name(state: &KeyState, nonce: &NonceRecord) -> bool {
    !nonce.nonce.is_empty() && state.metadata.description.contains(&nonce.nonce)
}

/// Whether owner tags are missing, none names anybody else, and what remains says that the key is this object's.
fn is_stripped(desired: &DesiredKey, state: &KeyState, nonce: &NonceRecord) -> bool {
    let policy_fits = Document::parse(&state.policy).is_ok_and(|policy| policy.id == Some(policy_id(&nonce.nonce)));
    names_no_other_owner(&state.tags, &desired.tags) && (policy_fits || state.aliases.contains(&desired.alias))
}

fn retag<'a>(desired: &DesiredKey, state: &KeyState, nonce: &NonceRecord) -> Found<'a> {
    let mut tags = desired.tags.clone();
    tags.insert(TAG_NONCE.to_owned(), nonce.nonce.clone());
    Found::Not(vec![KeyAction::TagKey { id: state.metadata.id.clone(), tags }])
}

fn conflict(state: &KeyState) -> KeyAction {
    let message = format!("by its tags key {} {}; give it the tags of this object back", state.metadata.id, said_owner(&state.tags));
    KeyAction::Hold(Hold::new(Reason::KeyConflict, message))
}

/// What status names is not there, or is not this object's: its alias and its marks are looked for before anything is believed.
fn elsewhere(desired: &DesiredKey, observed: &ObservedKey, id: &str, nonce: &NonceRecord) -> Vec<KeyAction> {
    let is_ours = |found: &&FoundKey| owner_tags_match(&found.tags, &desired.tags);
    let by_alias = match &observed.by_alias {
        Seen::NotRead => return vec![KeyAction::FindByAlias { alias: desired.alias.clone() }],
        Seen::Absent => None,
        Seen::Present(found) => Some(found).filter(is_ours),
    };
    if let Some(found) = by_alias {
        return vec![read(observed, &found.metadata.id)];
    }
    let Seen::Present(found) = &observed.by_tags else { return vec![find_by_tags(desired)] };
    let ours: Vec<&FoundKey> = found.iter().filter(is_ours).filter(|found| is_alive(found)).collect();
    let marked: Vec<&&FoundKey> = ours.iter().filter(|found| shows_marks(found, nonce)).collect();
    match (&ours[..], &marked[..]) {
        (_, [found]) => vec![read(observed, &found.metadata.id)],
        ([], _) => vec![KeyAction::Hold(missing(observed, id))],
        (ours, _) => ambiguous(ours.iter().map(|found| &found.metadata.id)),
    }
}

/// What was found is read, unless it was looked for just now and not there: KMS does not tell everyone at once.
fn read(observed: &ObservedKey, id: &String) -> KeyAction {
    if observed.state == Seen::Absent && observed.key_id.as_ref() == Some(id) {
        let message = format!("KMS lists key {id} and does not show it");
        return KeyAction::Hold(Hold::new(Reason::KeyUnusable, message));
    }
    KeyAction::ReadKey { id: id.clone() }
}

fn missing(observed: &ObservedKey, id: &str) -> Hold {
    let arn = observed.arn.as_deref().unwrap_or(id);
    match &observed.state {
        Seen::Absent if observed.genuine => {
            let message = format!("key {arn} no longer exists in KMS: messages under it cannot be read any more, and its queues move to another key");
            Hold::new(Reason::KeyLost, message)
        }
        state => {
            let owner = state.present().map_or_else(|| "is not there, or not in this account and Region".to_owned(), |state| said_owner(&state.tags));
            let way_out = "give the right key this object's tags and alias, or delete the QueueKey: its queues make it again";
            Hold::new(Reason::KeyConflict, format!("status names key {arn}, which {owner}, and no key has this object's alias or tags; {way_out}"))
        }
    }
}
