//! What must hold in every state, on top of what the judge of `tests/pure/` finds in every single write.

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use encrypted_queue::api::labels::{TAG_CLUSTER, TAG_OBJECT, TAG_RELEASED};
use encrypted_queue::plan::state::{KeyLifecycle, Tags};
use jiff::{SignedDuration, Timestamp};

use crate::aws::{Key, Queue};
use crate::declare::CLUSTER;
use crate::scenario::Scenario;
use crate::state::State;
use crate::world::{Scene, World};

/// What a panic says, without printing it.
pub fn caught<T>(act: impl FnOnce() -> T) -> Result<T, String> {
    thread_local!(static CATCHING: Cell<u32> = const { Cell::new(0) });
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = take_hook();
        set_hook(Box::new(move |panic| {
            if CATCHING.get() == 0 {
                loud(panic);
            }
        }));
    });
    CATCHING.set(CATCHING.get() + 1);
    let result = catch_unwind(AssertUnwindSafe(act));
    CATCHING.set(CATCHING.get() - 1);
    let said = |panic: Box<dyn std::any::Any + Send>| {
        panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
    };
    result.map_err(said)
}

fn ours(tags: &Tags) -> bool {
    tags.get(TAG_CLUSTER).is_some_and(|cluster| cluster == CLUSTER)
}

fn key_arn(queue: &Queue) -> Option<&String> {
    queue.attributes.get("KmsMasterKeyId")
}

fn lives(key: &Key) -> bool {
    key.metadata.lifecycle != KeyLifecycle::PendingDeletion
}

/// Notes until when messages are under keys that queues were moved away from.
pub fn note_messages(messages: &mut BTreeMap<String, Timestamp>, before: &World, after: &World, scene: &Scene) {
    let (was, is) = (before.aws.at(&scene.place()).queues, after.aws.at(&scene.place()).queues);
    let retention = |queue: &Queue| queue.attributes.get("MessageRetentionPeriod").and_then(|value| value.parse().ok()).unwrap_or(1_209_600_i64);
    // A message may go on to the dead-letter queue.
    let longest = SignedDuration::from_secs(is.values().map(retention).sum());
    for (name, queue) in is {
        let old = was.get(&name).and_then(key_arn).filter(|old| Some(*old) != key_arn(&queue));
        if let Some(old) = old {
            messages.insert(old.clone(), after.now + longest);
        }
    }
}

/// Judges a state by itself, and the step that led to it.
pub fn broken_by(scenario: &Scenario, before: &State, after: &State, scene: &Scene) -> Result<(), String> {
    let (was, is) = (before.world.aws.at(&scene.place()), after.world.aws.at(&scene.place()));
    for (name, queue) in &was.queues {
        if queue.messages > 0 && !is.queues.contains_key(name) {
            return Err(format!("No message lost: {name} is deleted with messages in it"));
        }
    }
    for key in is.keys.values().filter(|key| !lives(key) && was.keys.get(&key.metadata.id).is_some_and(lives)) {
        let arn = &key.metadata.arn;
        if let Some((name, _)) = is.queues.iter().find(|(_, queue)| key_arn(queue) == Some(arn)) {
            return Err(format!("No message lost: {arn} is scheduled for deletion, and {name} is under it"));
        }
        if after.messages.get(arn).is_some_and(|until| after.world.now < *until) {
            return Err(format!("No message lost: {arn} is scheduled for deletion, and messages may be under it"));
        }
    }
    if let Some(object) = doubled(&after.world) {
        return Err(format!("No duplicates: {object} has two keys"));
    }
    if let Some((role, edits)) = &scenario.script().absent
        && after.edits < *edits
    {
        let policies = is.queues.values().filter_map(|queue| queue.attributes.get("Policy")).chain(is.keys.values().map(|key| &key.policy));
        if policies.into_iter().any(|policy| policy.contains(role.as_str())) {
            return Err(format!("Least access: {role} is admitted before anybody approved it"));
        }
    }
    if after.world.meddled {
        return Ok(());
    }
    let enabled =
        |arn: &String| is.keys.values().any(|key| key.metadata.arn == *arn && key.metadata.lifecycle == KeyLifecycle::Enabled && ours(&key.tags));
    match is.queues.iter().find(|(_, queue)| ours(&queue.tags) && !key_arn(queue).is_some_and(enabled)) {
        Some((name, queue)) => Err(format!("Encrypted: {name} is under {:?}", key_arn(queue))),
        None => Ok(()),
    }
}

/// An object with two keys that could be used.
fn doubled(world: &World) -> Option<&String> {
    let mut owners = HashSet::new();
    let live = world.aws.keys().filter(|key| lives(key) && ours(&key.tags)).filter_map(|key| key.tags.get(TAG_OBJECT));
    live.into_iter().find(|owner| !owners.insert(*owner))
}

/// Everything of ours in AWS is on record, let go of, or on its way out.
pub fn nothing_left_behind(world: &World, scene: &Scene) -> Result<(), String> {
    let recorded: HashSet<&String> = world.keys.values().filter_map(|key| key.status.0.key_id.as_ref()).collect();
    let is_left = |key: &&Key| ours(&key.tags) && lives(key) && !recorded.contains(&key.metadata.id) && !key.tags.contains_key(TAG_RELEASED);
    if let Some(key) = world.aws.keys().find(is_left) {
        return Err(format!("No orphans: nothing points at {}", key.metadata.id));
    }
    let declared = |name: &str| scene.queues.keys().any(|object| world.exists(scene, object) && name.contains(&format!("-{}", object.name)));
    match world.aws.queues().find(|(name, queue)| ours(&queue.tags) && !queue.tags.contains_key(TAG_RELEASED) && !declared(name)) {
        Some((name, _)) => Err(format!("No orphans: nothing points at {name}")),
        None => Ok(()),
    }
}
