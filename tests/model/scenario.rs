//! What people do in each scenario, and how much may go wrong.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use encrypted_queue::desired::Approval;
use encrypted_queue::plan::state::KeyLifecycle;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::declare::role;
use crate::flaw::Flaw;
use crate::state::{Budget, Shared, State};
use crate::world::{Scene, World};

/// Seconds until a search for a key ends, a new key has settled, producers leave an old key, and messages under it have expired.
const SEARCHED: i64 = 361;
const SETTLED: i64 = 301;
const SPREAD: i64 = 121;
const EXPIRED: i64 = 345_600 + 1_209_600 + SPREAD;

/// What someone else does in AWS.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Meddling {
    DisableKeys,
    ScheduleKeys,
    SseSqs,
}

impl Meddling {
    pub fn apply(self, world: &mut World, scene: &Scene) {
        world.meddled = true;
        let site = world.aws.at_mut(&scene.place());
        match self {
            Self::DisableKeys => site.keys.values_mut().for_each(|key| key.metadata.lifecycle = KeyLifecycle::Disabled),
            Self::ScheduleKeys => site.keys.values_mut().for_each(|key| key.metadata.lifecycle = KeyLifecycle::PendingDeletion),
            Self::SseSqs => site.queues.values_mut().for_each(crate::aws::Queue::switch_to_sse_sqs),
        }
    }
}

/// What a person does.
#[derive(Clone)]
pub enum Edit {
    Declare(Box<Scene>),
    /// Approves everything that waits for it.
    Approve,
}

/// The declarations of a scenario, one after the other.
pub struct Script {
    start: World,
    /// What is declared after each edit; the first: before all.
    scenes: Vec<Scene>,
    edits: Vec<Edit>,
    /// A role that nobody may find in a policy before so many edits.
    pub absent: Option<(String, usize)>,
}

impl Script {
    fn new(start: World, first: Scene, edits: Vec<Edit>) -> Self {
        let mut scenes = vec![first];
        for edit in &edits {
            let scene = if let Edit::Declare(scene) = edit { Scene::clone(scene) } else { scenes[scenes.len() - 1].clone() };
            scenes.push(scene);
        }
        Self { start, scenes, edits, absent: None }
    }

    pub fn scene(&self, edits: usize) -> &Scene {
        &self.scenes[edits]
    }

    /// How many edits there are.
    pub fn edits(&self) -> usize {
        self.edits.len()
    }

    /// Whether the next edit can be made now.
    pub fn may_edit(&self, world: &World, edits: usize) -> bool {
        self.edited(world, edits).is_some()
    }

    /// The world after the next edit.
    pub fn edited(&self, world: &World, edits: usize) -> Option<World> {
        match self.edits.get(edits)? {
            Edit::Approve => approved(world),
            Edit::Declare(next) => {
                // An object of the name can be made again once the deleted one is gone.
                let is_deleted = |scene: &Scene, name| scene.queues[name].metadata.deletion_timestamp.is_some();
                let gone = |name| !is_deleted(&self.scenes[edits], name) || is_deleted(next, name) || !world.queues.contains_key(name);
                next.queues.keys().all(gone).then(|| world.clone())
            }
        }
    }
}

/// Someone approves all that waits; None: nothing does.
pub fn approved(world: &World) -> Option<World> {
    let pending = world.keys.values().flat_map(|key| &key.status.0.pending_grants);
    let approval = |sha256: &String| Approval {
        name: format!("approval-of-{sha256}"),
        grants_sha256: sha256.clone(),
        queue: None,
        approved_by: "maria".to_owned(),
    };
    let new: Vec<_> = pending.map(|pending| approval(&pending.sha256)).filter(|new| !world.approvals.contains(new)).collect();
    let mut world = world.clone();
    world.approvals.extend(new.iter().cloned());
    (!new.is_empty()).then_some(world)
}

/// A scenario within its bounds.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: &'static str,
    script: fn() -> Script,
    /// Passes of the leader that may be under way at once.
    pub passes: usize,
    pub budget: Budget,
    pub waits: &'static [i64],
    pub meddlings: &'static [Meddling],
    pub flaw: Flaw,
}

impl Scenario {
    /// Built once in each thread.
    pub fn script(&self) -> Rc<Script> {
        thread_local!(static SCRIPTS: RefCell<HashMap<&'static str, Rc<Script>>> = RefCell::default());
        let known = SCRIPTS.with_borrow(|scripts| scripts.get(self.name).cloned());
        known.unwrap_or_else(|| {
            let script = Rc::new((self.script)());
            SCRIPTS.with_borrow_mut(|scripts| scripts.insert(self.name, Rc::clone(&script)));
            script
        })
    }

    pub fn start(&self) -> State {
        let world = Shared::new(self.script().start.clone());
        State { world, edits: 0, passes: Vec::new(), past: None, left: self.budget, messages: [].into(), broken: None }
    }

    /// With so many passes at once, and so much that may go wrong; what the scenario is about stays.
    pub fn with(self, passes: usize, faults: u8, stale: u8, leaders: u8) -> Self {
        Self { passes, budget: Budget { faults, stale, leaders, ..self.budget }, ..self }
    }

    pub fn flawed(self, flaw: Flaw) -> Self {
        Self { flaw, ..self }
    }
}

fn made(scene: &Scene) -> World {
    let mut world = World::default();
    world.settle(scene);
    while let Some(approved) = approved(&world) {
        world = approved;
        world.settle(scene);
    }
    world.assert_rest(scene);
    world
}

fn orders() -> Scene {
    Scene::of(&["orders"])
}

/// With an own key whose tags show late.
fn create() -> Script {
    let mut world = World::default();
    world.aws.tags_visible_after = SignedDuration::from_secs(200);
    Script::new(world, orders(), vec![])
}

fn create_shared() -> Script {
    Script::new(World::default(), Scene::sharing_a_key(&["bills", "orders"]), vec![])
}

fn declare(scene: Scene) -> Edit {
    Edit::Declare(Box::new(scene))
}

fn consumers(names: &[&str]) -> Value {
    json!({"spec": {"consumers": names.iter().map(|name| json!({"role": role(name)})).collect::<Vec<_>>()}})
}

/// One consumer more, then another one less, then all as it was.
fn edit() -> Script {
    let first = orders();
    let wider = first.clone().with_queue("orders", consumers(&["acme-worker", "acme-second"]));
    let narrower = first.clone().with_queue("orders", consumers(&["acme-second"]));
    Script::new(made(&first), first.clone(), vec![declare(wider), declare(narrower), declare(first)])
}

/// Another tier, and with it another key; the old one is deleted in the end.
fn migrate() -> Script {
    let first = orders().with_queue("orders", json!({"spec": {"deletionPolicy": "Delete"}}));
    Script::new(made(&first), first.clone(), vec![declare(first.in_another_tier())])
}

fn delete() -> Script {
    let first = orders().with_queue("orders", json!({"spec": {"deletionPolicy": "Delete"}}));
    Script::new(made(&first), first.clone(), vec![declare(first.deleted("orders"))])
}

/// Deleted with Retain, and declared again.
fn again() -> Script {
    let first = orders();
    let anew = first.clone().with_queue("orders", json!({"metadata": {"uid": "uid-of-another"}}));
    Script::new(made(&first), first.clone(), vec![declare(first.deleted("orders")), declare(anew)])
}

/// One of two queues leaves the key that they share.
fn leave_shared() -> Script {
    let first = Scene::sharing_a_key(&["bills", "orders"]);
    Script::new(made(&first), first.clone(), vec![declare(first.deleted("bills"))])
}

/// One consumer more, which is approved.
fn approve() -> Script {
    let first = orders().with_tier(json!({"spec": {"approval": "OnWidening"}}));
    let wider = first.clone().with_queue("orders", consumers(&["acme-worker", "acme-second"]));
    Script { absent: Some((role("acme-second"), 2)), ..Script::new(made(&first), first, vec![declare(wider), Edit::Approve]) }
}

/// Someone changes keys and queues in AWS.
fn meddle() -> Script {
    let first = orders();
    Script::new(made(&first), first.clone(), vec![declare(first.with_queue("orders", consumers(&["acme-worker", "acme-second"])))])
}

const NOTHING: Budget = Budget { faults: 0, checks: 0, stale: 0, leaders: 0, meddlings: 0, waits: 0 };

/// Every scenario with one fault, one pass at a time, and as much of the rest as it is about.
pub fn scenarios() -> [Scenario; 9] {
    let one = Budget { faults: 1, ..NOTHING };
    let of = |name, script: fn() -> Script| Scenario { name, script, passes: 1, budget: one, waits: &[], meddlings: &[], flaw: Flaw::None };
    let waits = |scenario, waits: &'static [i64]| {
        let left = u8::try_from(waits.len()).unwrap();
        Scenario { waits, budget: Budget { waits: left, ..one }, ..scenario }
    };
    [
        waits(of("create", create), &[SEARCHED]),
        of("create-shared", create_shared),
        of("edit", edit),
        waits(of("migrate", migrate), &[SETTLED, SPREAD, EXPIRED]),
        of("delete", delete),
        of("again", again),
        of("leave-shared", leave_shared),
        of("approve", approve),
        Scenario {
            meddlings: &[Meddling::DisableKeys, Meddling::ScheduleKeys, Meddling::SseSqs],
            budget: Budget { meddlings: 1, checks: 1, ..one },
            ..of("meddle", meddle)
        },
    ]
}

pub fn named(name: &str) -> Scenario {
    scenarios().into_iter().find(|scenario| scenario.name == name).unwrap_or_else(|| panic!("there is no scenario {name}"))
}
