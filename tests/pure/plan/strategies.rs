//! Random declarations, from small pools so that edits meet, and random meddling with AWS.

use std::cell::RefCell;
use std::collections::HashMap;

use encrypted_queue::api::{EncryptedQueue, SensitivityTier, Tenant};
use encrypted_queue::plan::state::{KeyLifecycle, KmsGrant, RotationState};
use jiff::SignedDuration;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::aws::Queue;
use super::worker::{Fault, Faults};
use super::world::{Scene, World};
use crate::declare::{patched, queue, role, tenant, tier};

const NAMES: [&str; 2] = ["bills", "orders"];

/// What a person may say of a queue.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Said {
    consumers: u8,
    redriver: bool,
    dead_letters: bool,
    tags: u8,
    delay: u8,
    standing: Standing,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Standing {
    Accepted,
    Refused,
    Paused,
}

/// What is declared of everything.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Choice {
    queues: [Said; 2],
    tightened: bool,
    suspended: bool,
    unstated: bool,
}

fn standing() -> impl Strategy<Value = Standing> {
    prop_oneof![6 => Just(Standing::Accepted), 1 => Just(Standing::Refused), 1 => Just(Standing::Paused)]
}

fn said() -> impl Strategy<Value = Said> {
    let mostly = prop::bool::weighted(0.8);
    (1..8_u8, any::<bool>(), mostly, 0..3_u8, 0..2_u8, standing()).prop_map(|(consumers, redriver, dead_letters, tags, delay, standing)| Said {
        consumers,
        redriver,
        dead_letters,
        tags,
        delay,
        standing,
    })
}

pub fn choice() -> impl Strategy<Value = Choice> {
    let seldom = || prop::bool::weighted(0.15);
    ([said(), said()], seldom(), seldom(), seldom()).prop_map(|(queues, tightened, suspended, unstated)| Choice {
        queues,
        tightened,
        suspended,
        unstated,
    })
}

/// What stays the same throughout a case.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Setting {
    /// Two queues under one key, or one under its own.
    shared: bool,
    dead_letters: bool,
    /// One of the queues exists already, to be taken over.
    found: bool,
}

pub fn setting() -> impl Strategy<Value = Setting> {
    (any::<bool>(), any::<bool>(), prop::bool::weighted(0.3)).prop_map(|(shared, dead_letters, found)| Setting { shared, dead_letters, found })
}

impl Setting {
    /// Names of its queues.
    pub fn names(self) -> &'static [&'static str] {
        if self.shared { &NAMES } else { &NAMES[..1] }
    }

    /// What there is before anything is declared; tags of a new key stay hidden for so long.
    pub fn world(self, delay: SignedDuration) -> World {
        let mut world = World::default();
        world.aws.tags_visible_after = delay;
        if self.found {
            let attributes = [("KmsMasterKeyId", "alias/aws/sqs"), ("VisibilityTimeout", "77"), ("MessageRetentionPeriod", "172800")];
            let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            let place = encrypted_queue::desired::place_of(&tenant(), None);
            let found = Queue { attributes, tags: [("team".to_owned(), "legacy".to_owned())].into(), messages: 0 };
            world.aws.at_mut(&place).queues.insert(format!("acme-acme-prod-{}", NAMES[0]), found);
        }
        world
    }
}

pub fn fault() -> impl Strategy<Value = Fault> {
    select(vec![Fault::Crash, Fault::Crash, Fault::LostAnswer, Fault::Refusal])
}

pub fn faults(of: impl Strategy<Value = Fault>) -> impl Strategy<Value = Faults> {
    (0..30_usize, of).prop_map(|(after, fault)| Faults::on(after, fault))
}

impl Said {
    /// The declaration of a queue.
    fn of(self, name: &'static str, dead_letters: bool) -> EncryptedQueue {
        thread_local!(static MEMORY: RefCell<HashMap<(&'static str, bool, Said), EncryptedQueue>> = RefCell::default());
        let make = || {
            let patch = if dead_letters && self.dead_letters { json!({}) } else { json!({"spec": {"deadLetter": null}}) };
            patched(&patched(&queue(name), &self.patch()), &patch)
        };
        MEMORY.with_borrow_mut(|memory| memory.entry((name, dead_letters, self)).or_insert_with(make).clone())
    }

    fn patch(self) -> Value {
        let named = ["acme-worker", "acme-second", "acme-third"].into_iter().enumerate();
        let chosen = named.filter(|(bit, _)| self.consumers & (1 << bit) != 0);
        let consumers: Vec<_> = chosen.map(|(_, name)| json!({"role": role(name)})).collect();
        let redrivers = if self.redriver { json!([{"role": role("acme-support")}]) } else { json!([]) };
        let retention = if self.standing == Standing::Refused { 60 } else { 345_600 };
        let tags = [json!({"a": null, "b": null}), json!({"a": "1", "b": null}), json!({"a": "2", "b": "1"})];
        json!({
            "metadata": {"annotations": {"encryptedqueue.dev/paused": (self.standing == Standing::Paused).to_string()}},
            "spec": {
                "adoption": "IfUnowned",
                "consumers": consumers,
                "deadLetter": {"redrivers": redrivers},
                "tags": tags[usize::from(self.tags)],
                "queue": {"delaySeconds": self.delay, "messageRetentionSeconds": retention}
            }
        })
    }
}

impl Choice {
    /// The same with every queue accepted.
    pub fn accepted(mut self) -> Self {
        for said in &mut self.queues {
            said.standing = Standing::Accepted;
        }
        Self { tightened: false, ..self }
    }

    pub fn scene(&self, setting: Setting) -> Scene {
        thread_local!(static MEMORY: RefCell<HashMap<String, (Tenant, SensitivityTier)>> = RefCell::default());
        let rules = format!("{} {} {} {setting:?}", self.tightened, self.suspended, self.unstated);
        let (tenant, tier) = MEMORY.with_borrow_mut(|memory| memory.entry(rules.clone()).or_insert_with(|| self.rules(setting.shared)).clone());
        let queues = setting.names().iter().zip(self.queues);
        Scene::assembled(tenant, tier, &rules, queues.map(|(name, said)| (said.of(name, setting.dead_letters), format!("{said:?}"))))
    }

    fn rules(&self, shared: bool) -> (Tenant, SensitivityTier) {
        let roles = if self.tightened { vec![role("acme-api"), role("acme-worker")] } else { vec![role("acme-*")] };
        let access = if self.suspended { "Suspended" } else { "Active" };
        let others = if self.unstated { "Unstated" } else { "Deny" };
        let scope = if shared { "Tenant" } else { "Queue" };
        (
            patched(&tenant(), &json!({"spec": {"access": access, "principals": {"roles": roles}, "adoptableQueueNames": ["acme-*"]}})),
            patched(&tier(), &json!({"spec": {"access": {"others": others}, "key": {"scope": scope}}})),
        )
    }
}

/// What someone else may do in AWS to what is ours, short of taking our tags off.
#[derive(Clone, Copy, Debug)]
pub enum Meddling {
    SseSqs,
    NoPolicy,
    OpenPolicy,
    Setting,
    NoDeadLetters,
    Tag,
    Disable,
    ScheduleDeletion,
    Grant,
    Alias,
    NoRotation,
    KeyTag,
    KeyPolicy,
    RoleMadeAgain,
}

pub fn meddling() -> impl Strategy<Value = Meddling> {
    select(vec![
        Meddling::SseSqs,
        Meddling::NoPolicy,
        Meddling::OpenPolicy,
        Meddling::Setting,
        Meddling::NoDeadLetters,
        Meddling::Tag,
        Meddling::Disable,
        Meddling::ScheduleDeletion,
        Meddling::Grant,
        Meddling::Alias,
        Meddling::NoRotation,
        Meddling::KeyTag,
        Meddling::KeyPolicy,
        Meddling::RoleMadeAgain,
    ])
}

const OPEN: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"sqs:*","Resource":"*"}]}"#;

impl Meddling {
    /// Does it to the first of everything that it applies to.
    pub fn apply(self, world: &mut World, scene: &Scene) {
        world.meddled = true;
        if let Self::RoleMadeAgain = self {
            world.aws.delete_role(&role("acme-worker"), "AROAWORKERS0FIRST0LIFE");
            world.aws.make_role_again(&role("acme-worker"));
        }
        let site = world.aws.at_mut(&scene.place());
        if let Some(queue) = site.queues.values_mut().next() {
            self.to_queue(queue);
        }
        if let (Self::NoDeadLetters, Some(name)) = (self, site.queues.keys().find(|name| name.ends_with("-dlq")).cloned()) {
            site.queues.remove(&name);
        }
        if let Self::Alias = self {
            site.aliases.clear();
        }
        let Some(key) = site.keys.values_mut().next() else { return };
        match self {
            Self::Disable => key.metadata.lifecycle = KeyLifecycle::Disabled,
            Self::ScheduleDeletion => key.metadata.lifecycle = KeyLifecycle::PendingDeletion,
            Self::Grant => key.grants.push(KmsGrant { id: "g".to_owned(), grantee: role("stranger"), operations: ["Decrypt".to_owned()].into() }),
            Self::NoRotation => key.rotation = RotationState::default(),
            Self::KeyTag => drop(key.tags.insert("a".to_owned(), "meddled".to_owned())),
            Self::KeyPolicy => key.policy = key.policy.replace("acme-worker", "acme-intruder"),
            _ => {}
        }
    }

    fn to_queue(self, queue: &mut Queue) {
        match self {
            Self::SseSqs => queue.switch_to_sse_sqs(),
            Self::NoPolicy => drop(queue.attributes.remove("Policy")),
            Self::OpenPolicy => drop(queue.attributes.insert("Policy".to_owned(), OPEN.to_owned())),
            Self::Setting => drop(queue.attributes.insert("DelaySeconds".to_owned(), "7".to_owned())),
            Self::Tag => drop(queue.tags.insert("a".to_owned(), "meddled".to_owned())),
            _ => {}
        }
    }
}

/// A dead-letter queue that was on record, was not made, and is not declared any more when the queue is refused.
#[test]
fn what_a_refused_queue_loses_is_not_on_record() {
    let said = |consumers, dead_letters, tags, standing| Said { consumers, redriver: false, dead_letters, tags, delay: 0, standing };
    let choice = |queues, tightened, unstated| Choice { queues, tightened, suspended: false, unstated };
    let setting = Setting { shared: true, dead_letters: true, found: true };
    let mut world = setting.world(SignedDuration::ZERO);
    let accepted = |consumers, dead_letters, tags| said(consumers, dead_letters, tags, Standing::Accepted);
    let begun = choice([accepted(1, true, 0), accepted(2, false, 0)], true, false);
    let changed = choice([accepted(1, false, 1), accepted(1, false, 0)], false, true);
    let refused = choice([said(1, false, 0, Standing::Refused), accepted(1, false, 0)], false, false).scene(setting);
    world.run(&begun.scene(setting), false, Faults::on(16, Fault::Crash));
    world.run(&changed.scene(setting), false, Faults::on(19, Fault::Crash));
    world.settle(&refused);
    world.assert_rest(&refused);
}
