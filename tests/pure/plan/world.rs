//! What is declared (a [`Scene`]), and what Kubernetes records and AWS holds of it (a [`World`]).

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::sync::LazyLock;

use encrypted_queue::api::labels::PAUSED;
use encrypted_queue::api::queue_key::{NamespacedName, QueueKeySpec};
use encrypted_queue::api::{EncryptedQueue, EncryptedQueueStatus, QueueKey, QueueKeyStatus, SensitivityTier, Tenant};
use encrypted_queue::desired::{Approval, DesiredKey, DesiredQueue, KeyInput, KeyUserInput, Refusal, desired_key, key_generation, place_of};
use encrypted_queue::names::{Place, RoleArn};
use encrypted_queue::plan::objects::{self, Rules};
use encrypted_queue::plan::teardown::{EndingQueue, KeptQueue};
use encrypted_queue::plan::{ObservedKeyObject, SearchWindow};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::json;

use super::aws::Aws;
use crate::declare::{CLUSTER, Declared, operator, patched, queue, tenant, tier};

/// Tags of a new key are visible long before it ends.
pub const WINDOW: SearchWindow = SearchWindow(SignedDuration::from_mins(6));

/// What people declare.
#[derive(Clone)]
pub struct Scene {
    pub tenant: Tenant,
    pub tier: SensitivityTier,
    pub has_tier: bool,
    pub queues: BTreeMap<NamespacedName, EncryptedQueue>,
    /// What each queue is judged by, to remember the judgement.
    texts: BTreeMap<NamespacedName, Rc<str>>,
}

pub fn named(name: &str) -> NamespacedName {
    NamespacedName { namespace: "acme-prod".to_owned(), name: name.to_owned() }
}

impl Scene {
    /// One tenant, one tier, and these queues.
    pub fn of(names: &[&str]) -> Self {
        let queues = names.iter().map(|name| (named(name), queue(name))).collect();
        Self { tenant: tenant(), tier: tier(), has_tier: true, queues, texts: BTreeMap::new() }.told_apart()
    }

    /// From parts whose texts say all that is in them.
    pub fn assembled(tenant: Tenant, tier: SensitivityTier, rules: &str, queues: impl IntoIterator<Item = (EncryptedQueue, String)>) -> Self {
        let mut scene = Self { tenant, tier, has_tier: true, queues: BTreeMap::new(), texts: BTreeMap::new() };
        for (queue, text) in queues {
            let name = named(queue.metadata.name.as_deref().unwrap());
            scene.texts.insert(name.clone(), format!("{rules} {text}").into());
            scene.queues.insert(name, queue);
        }
        scene
    }

    fn told_apart(mut self) -> Self {
        let rules = (&self.tenant.spec, self.has_tier.then_some(&self.tier.spec));
        self.texts = self.queues.iter().map(|(name, queue)| (name.clone(), serde_json::to_string(&(rules, queue)).unwrap().into())).collect();
        self
    }

    /// The same with one key for all queues.
    pub fn sharing_a_key(names: &[&str]) -> Self {
        Self::of(names).with_tier(json!({"spec": {"key": {"scope": "Tenant"}}}))
    }

    pub fn with_tenant(mut self, patch: serde_json::Value) -> Self {
        self.tenant = patched(&self.tenant, &patch);
        self.told_apart()
    }

    pub fn with_tier(mut self, patch: serde_json::Value) -> Self {
        self.tier = patched(&self.tier, &patch);
        self.told_apart()
    }

    pub fn with_queue(mut self, name: &str, patch: serde_json::Value) -> Self {
        let declared = self.queues.get_mut(&named(name)).unwrap();
        *declared = patched(declared, &patch);
        self.told_apart()
    }

    /// The queue `orders` in another tier.
    pub fn in_another_tier(&self) -> Self {
        let admitted = tenant().spec.sensitivity_tiers.into_iter().chain(["restricted".to_owned()]).collect::<Vec<_>>();
        self.clone()
            .with_tenant(json!({"spec": {"sensitivityTiers": admitted}}))
            .with_tier(json!({"metadata": {"name": "restricted"}}))
            .with_queue("orders", json!({"spec": {"sensitivityTier": "restricted"}}))
    }

    pub fn paused(self, name: &str) -> Self {
        self.with_queue(name, json!({"metadata": {"annotations": {"encryptedqueue.dev/paused": "true"}}}))
    }

    /// The tier is gone.
    pub fn without_tier(mut self) -> Self {
        self.has_tier = false;
        self.told_apart()
    }

    /// Someone deletes the object.
    pub fn deleted(self, name: &str) -> Self {
        self.with_queue(name, json!({"metadata": {"deletionTimestamp": "2026-12-01T00:00:00Z"}}))
    }

    pub fn place(&self) -> Place {
        place_of(&self.tenant, None)
    }
}

/// A status that can be a part of a state that is compared and hashed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recorded<S>(pub S);

impl<S: PartialEq> Eq for Recorded<S> {}

impl<S: Serialize> Hash for Recorded<S> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        serde_json::to_string(&self.0).unwrap().hash(state);
    }
}

#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct QueueObject {
    pub finalizer: bool,
    pub status: Recorded<EncryptedQueueStatus>,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct KeyObject {
    pub spec: QueueKeySpec,
    pub status: Recorded<QueueKeyStatus>,
}

/// Everything that outlives the operator's process.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct World {
    pub aws: Aws,
    pub now: Timestamp,
    pub queues: BTreeMap<NamespacedName, QueueObject>,
    pub keys: BTreeMap<String, KeyObject>,
    pub nonces: u32,
    /// Approvals that were given and not used.
    pub approvals: Vec<Approval>,
    /// Someone else changed AWS since the operator last compared everything: what is recorded need not be true.
    pub meddled: bool,
    /// Passes over several objects run at once, so that each may go by what was true when it began.
    pub interleaved: bool,
}

impl Default for World {
    fn default() -> Self {
        let now = "2026-11-23T00:00:00Z".parse().unwrap();
        Self {
            aws: Aws::default(),
            now,
            queues: BTreeMap::new(),
            keys: BTreeMap::new(),
            nonces: 0,
            approvals: Vec::new(),
            meddled: false,
            interleaved: false,
        }
    }
}

/// What a pass over an EncryptedQueue works towards.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Aim {
    Apply(Box<DesiredQueue>),
    Keep(Option<Box<KeptQueue>>),
    End(EndingQueue),
}

impl Aim {
    /// Whether the tenant is to be cut off.
    pub fn suspends(&self) -> bool {
        match self {
            Self::Apply(desired) => desired.access.suspended,
            Self::Keep(kept) => kept.as_ref().is_some_and(|kept| kept.suspended),
            Self::End(_) => false,
        }
    }
}

impl World {
    pub fn wait(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    /// Whether the object is still there.
    pub fn exists(&self, scene: &Scene, name: &NamespacedName) -> bool {
        self.queues.contains_key(name) || scene.queues[name].metadata.deletion_timestamp.is_none()
    }

    pub fn queue_status(&self, name: &NamespacedName) -> EncryptedQueueStatus {
        self.queues.get(name).map(|queue| queue.status.0.clone()).unwrap_or_default()
    }

    /// The declaration as it stands in Kubernetes, its status included.
    fn stored(&self, scene: &Scene, name: &NamespacedName) -> EncryptedQueue {
        let mut object = scene.queues[name].clone();
        object.status = self.queues.get(name).map(|queue| queue.status.0.clone());
        object
    }

    pub fn judged(&self, scene: &Scene, name: &NamespacedName) -> Rc<Result<DesiredQueue, Box<Refusal>>> {
        type Key = (Rc<str>, NamespacedName, Option<String>, Option<String>, u32);
        thread_local!(static MEMORY: RefCell<HashMap<Key, Rc<Result<DesiredQueue, Box<Refusal>>>>> = RefCell::default());
        // All of the status that a declaration is judged by.
        let status = self.queues.get(name).map(|queue| &queue.status.0);
        let recorded = status.and_then(|status| status.key.as_ref()).map(|key| key.name.clone());
        let dead_letters = status.and_then(|status| status.dead_letter_queue.clone()).map(|queue| queue.name);
        let key = (scene.texts[name].clone(), name.clone(), recorded, dead_letters, self.key_generation(scene, name));
        MEMORY.with(|memory| {
            let known = memory.borrow().get(&key).cloned();
            known.unwrap_or_else(|| memory.borrow_mut().entry(key).or_insert_with(|| Rc::new(self.judge(scene, name))).clone())
        })
    }

    /// Generation of the key that it uses: another than the first once that is lost or full.
    fn key_generation(&self, scene: &Scene, name: &NamespacedName) -> u32 {
        let keys: Vec<QueueKey> = self.keys.keys().filter_map(|name| self.key_object(name)).collect();
        key_generation(&self.stored(scene, name), &scene.tenant, &scene.tier, &keys)
    }

    fn judge(&self, scene: &Scene, name: &NamespacedName) -> Result<DesiredQueue, Box<Refusal>> {
        let (tenant, tier) = (Some(scene.tenant.clone()), scene.has_tier.then(|| scene.tier.clone()));
        let queue = self.stored(scene, name);
        let labels = Some(BTreeMap::new());
        Declared {
            tenant,
            tier,
            queue,
            labels,
            service_accounts: BTreeMap::new(),
            operator: Some(operator()),
            within_limit: true,
            leaves_approval: false,
            key_generation: self.key_generation(scene, name),
        }
        .judged()
    }

    pub fn aim(&self, scene: &Scene, name: &NamespacedName) -> Aim {
        let (object, judged) = (&scene.queues[name], self.judged(scene, name));
        if object.metadata.deletion_timestamp.is_some() {
            let (desired, tier) = (judged.as_ref().as_ref().ok(), self.rules(scene).tier);
            return Aim::End(objects::ending_queue(&self.stored(scene, name), desired, tier, CLUSTER));
        }
        match judged.as_ref() {
            Ok(desired) if !is_paused(object) => Aim::Apply(Box::new(desired.clone())),
            _ => Aim::Keep(self.kept(scene, name).map(Box::new)),
        }
    }

    fn kept(&self, scene: &Scene, name: &NamespacedName) -> Option<KeptQueue> {
        let granted = self.observed_key_object(scene, name).is_some_and(|key| key.holds.is_some());
        objects::kept_queue(&self.stored(scene, name), self.rules(scene), granted, CLUSTER)
    }

    fn rules<'a>(&self, scene: &'a Scene) -> Rules<'a> {
        Rules { tenant: Some(&scene.tenant), tier: scene.has_tier.then_some(&scene.tier), operator_role: Some(operator_role()) }
    }

    /// What a key should be, from all queues that use it.
    pub fn desired_key(&self, scene: &Scene, key: &str) -> DesiredKey {
        let object = self.key_object(key).unwrap();
        let users = scene.queues.keys().filter(|name| self.exists(scene, name)).filter_map(|name| self.key_user(scene, name, key)).collect();
        let (tenant, tier, approvals) = (&scene.tenant, self.rules(scene).tier, self.approvals.clone());
        desired_key(KeyInput { object: &object, tenant, tier, cluster_id: CLUSTER, operator_role: operator_role(), users, approvals })
    }

    fn key_user(&self, scene: &Scene, name: &NamespacedName, key: &str) -> Option<KeyUserInput> {
        objects::key_user(&self.key_object(key)?, &self.stored(scene, name), self.judged(scene, name).as_ref().clone(), self.rules(scene), self.now)
    }

    /// What a queue knows of its QueueKey.
    pub fn observed_key_object(&self, scene: &Scene, name: &NamespacedName) -> Option<ObservedKeyObject> {
        let recorded = self.queue_status(name).key.map(|key| key.name);
        let desired = self.judged(scene, name).as_ref().as_ref().ok().map(|desired| desired.key_name.clone());
        self.key_object_as_seen_by(scene, name, &desired.or(recorded)?)
    }

    /// The other QueueKeys that it uses or used.
    pub fn other_keys(&self, scene: &Scene, name: &NamespacedName) -> Vec<ObservedKeyObject> {
        let own = self.observed_key_object(scene, name).map(|key| key.name);
        let stored = self.stored(scene, name);
        let others = objects::recorded_keys(&stored).filter(|key| own.as_deref() != Some(*key));
        let unrecorded = self.keys.keys().filter(|key| self.key_object(key).is_some_and(|key| objects::holds_unrecorded(&key, &stored)));
        let unrecorded = unrecorded.map(String::as_str).filter(|key| own.as_deref() != Some(*key));
        others.chain(unrecorded).filter_map(|key| self.key_object_as_seen_by(scene, name, key)).collect()
    }

    pub fn key_object_as_seen_by(&self, scene: &Scene, name: &NamespacedName, key: &str) -> Option<ObservedKeyObject> {
        Some(objects::observed_key_object(&self.key_object(key)?, &self.stored(scene, name)))
    }

    /// A QueueKey as it stands in Kubernetes.
    pub fn key_object(&self, name: &str) -> Option<QueueKey> {
        let key = self.keys.get(name)?;
        let mut object = QueueKey::new(name, key.spec.clone());
        object.metadata.uid = Some(format!("uid-of-{name}"));
        object.status = Some(key.status.0.clone());
        Some(object)
    }
}

fn operator_role() -> &'static RoleArn {
    static ROLE: LazyLock<RoleArn> = LazyLock::new(operator);
    &ROLE
}

pub fn is_paused(object: &EncryptedQueue) -> bool {
    object.metadata.annotations.as_ref().is_some_and(|all| all.get(PAUSED).is_some_and(|value| value == "true"))
}
