//! Who is woken by what: every cross-object rule of the controllers in one place.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use kube::ResourceExt;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{Lookup, ObjectRef};

use super::cache::hash_of;
use super::fingerprint::{intent, key_record, references_of};
use super::index::{Index, Key};
use super::turns::Woken;
use super::watch::Listener;
use crate::api::encrypted_queue::{Consumer, Producer};
use crate::api::queue_key::{KeyUser, NamespacedName};
use crate::api::{AccessApproval, EncryptedQueue, QueueKey, SensitivityTier, Tenant, conditions};
use crate::aws::Subject;
use crate::desired::claimed_names;
use crate::plan::objects::recorded_keys;

/// Annotation by which EKS gives a ServiceAccount an IAM role (IRSA).
pub(super) const ROLE_ANNOTATION: &str = "eks.amazonaws.com/role-arn";

/// What a queue or a key depends on.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) enum Dependency {
    Tenant(String),
    Tier(String),
    Namespace(String),
    ServiceAccount(String, String),
    Key(String),
    Queue(NamespacedName),
    /// Name of a queue in AWS, wherever it lives.
    QueueName(String),
    /// Id of a key in AWS.
    KmsKey(String),
    /// Alias of a key in AWS, wherever it lives.
    KmsAlias(String),
}

impl Key for Dependency {
    fn is_read_back(&self) -> bool {
        matches!(self, Self::Tenant(_) | Self::Tier(_) | Self::Key(_) | Self::QueueName(_))
    }
}

/// Who was woken, by controller.
#[derive(Clone, Default)]
pub(super) struct Triggers {
    pub(super) queues: Arc<Woken<NamespacedName>>,
    pub(super) keys: Arc<Woken<String>>,
    pub(super) tenants: Arc<Woken<String>>,
    pub(super) tiers: Arc<Woken<String>>,
    pub(super) approvals: Arc<Woken<String>>,
}

#[derive(Default)]
struct Known {
    queues: Index<NamespacedName, Dependency>,
    keys: Index<String, Dependency>,
    /// By hash of aspect and name: there are several for each object.
    fingerprints: HashMap<u64, u64>,
}

/// Wakes objects.
pub(super) struct Wake {
    queues: Arc<Woken<NamespacedName>>,
    keys: Arc<Woken<String>>,
    tenants: Arc<Woken<String>>,
    tiers: Arc<Woken<String>>,
    approvals: Arc<Woken<String>>,
    known: Mutex<Known>,
}

impl Wake {
    pub(super) fn new() -> (Arc<Self>, Triggers) {
        let triggers = Triggers::default();
        let Triggers { queues, keys, tenants, tiers, approvals } = triggers.clone();
        (Arc::new(Self { queues, keys, tenants, tiers, approvals, known: Mutex::default() }), triggers)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn queue(&self, queue: &NamespacedName) {
        self.queues.wake(queue);
    }

    pub(super) fn key(&self, name: &str) {
        self.keys.wake(&name.to_owned());
    }

    pub(super) fn subject(&self, subject: &Subject) {
        match subject {
            Subject::Queue { namespace, name } => self.queue(&NamespacedName { namespace: namespace.clone(), name: name.clone() }),
            Subject::Key { name } => self.key(name),
        }
    }

    pub(super) fn tenant(&self, name: &str) {
        self.tenants.wake(&name.to_owned());
    }

    pub(super) fn tier(&self, name: &str) {
        self.tiers.wake(&name.to_owned());
    }

    pub(super) fn approval(&self, name: &str) {
        self.approvals.wake(&name.to_owned());
    }

    /// Queues that use a key, by what their status records.
    pub(super) fn users_of_key(&self, name: &str) -> Vec<NamespacedName> {
        self.known().queues.dependants(&Dependency::Key(name.to_owned()))
    }

    /// Keys that a queue's status records.
    pub(super) fn recorded_keys(&self, queue: &NamespacedName) -> Vec<String> {
        let known = self.known();
        let key = |dependency: &Dependency| if let Dependency::Key(name) = dependency { Some(name.clone()) } else { None };
        known.queues.of(queue).filter_map(key).collect()
    }

    /// Queues that may name the same queue in AWS, this one among them.
    pub(super) fn namesakes(&self, queue: &EncryptedQueue) -> BTreeSet<NamespacedName> {
        let known = self.known();
        claimed_names(queue).into_iter().flat_map(|name| known.queues.dependants(&Dependency::QueueName(name))).collect()
    }

    /// Objects that a queue of this name in AWS may belong to.
    pub(super) fn queues_named(&self, name: &str) -> Vec<NamespacedName> {
        self.known().queues.dependants(&Dependency::QueueName(name.to_owned()))
    }

    /// QueueKeys that were made for a queue, or hold grants of it.
    pub(super) fn keys_holding(&self, queue: &NamespacedName) -> Vec<String> {
        self.known().keys.dependants(&Dependency::Queue(queue.clone()))
    }

    /// QueueKeys that record a key of AWS.
    pub(super) fn keys_with_id(&self, id: &str) -> Vec<String> {
        self.known().keys.dependants(&Dependency::KmsKey(id.to_owned()))
    }

    /// QueueKeys that record an alias.
    pub(super) fn keys_with_alias(&self, alias: &str) -> Vec<String> {
        self.known().keys.dependants(&Dependency::KmsAlias(alias.to_owned()))
    }

    /// Queues that a dependency touches, and their keys, which collect the queues' grants.
    fn dependants(&self, dependency: &Dependency) {
        let (queues, keys) = {
            let known = self.known();
            (known.queues.dependants(dependency), known.keys.dependants(dependency))
        };
        for queue in &queues {
            self.queue(queue);
            self.keys_of(queue);
        }
        for key in &keys {
            self.key(key);
            // A queue on its way to another tier depends on the rules of the one it leaves.
            if let Dependency::Tier(_) = dependency {
                for queue in self.users_of_key(key) {
                    self.queue(&queue);
                    self.keys_of(&queue);
                }
            }
        }
    }

    /// Wakes whoever depends on a ServiceAccount's role.
    pub(super) fn service_account(&self, account: &NamespacedName) {
        self.dependants(&Dependency::ServiceAccount(account.namespace.clone(), account.name.clone()));
    }

    /// Wakes the keys that a queue records, that were made for it, or hold grants of it.
    fn keys_of(&self, queue: &NamespacedName) {
        let known = self.known();
        known.keys.dependants(&Dependency::Queue(queue.clone())).iter().for_each(|key| self.key(key));
        for dependency in known.queues.of(queue) {
            if let Dependency::Key(name) = dependency {
                self.key(name);
            }
        }
    }

    /// Whether a fingerprint is new or other than before.
    fn changed(&self, aspect: &'static str, object: String, fingerprint: &impl Hash) -> bool {
        let hash = hash_of(fingerprint);
        self.known().fingerprints.insert(hash_of(&(aspect, object)), hash) != Some(hash)
    }

    fn forget(&self, aspects: &[&'static str], object: &str) {
        let mut known = self.known();
        for aspect in aspects {
            known.fingerprints.remove(&hash_of(&(*aspect, object)));
        }
    }
}

pub(super) fn namespaced(reference: &ObjectRef<impl Lookup>) -> NamespacedName {
    NamespacedName { namespace: reference.namespace.clone().unwrap_or_default(), name: reference.name.clone() }
}

pub(super) fn name_of(object: &impl ResourceExt) -> NamespacedName {
    NamespacedName { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
}

pub(super) fn service_accounts(queue: &EncryptedQueue) -> impl Iterator<Item = &str> {
    let spec = &queue.spec;
    let dead_letter = spec.dead_letter.iter().flat_map(|dead_letter| dead_letter.consumers.iter().chain(&dead_letter.redrivers));
    let consumers =
        spec.consumers.iter().chain(&spec.observers).chain(dead_letter).filter_map(|Consumer { service_account, .. }| service_account.as_ref());
    spec.producers
        .iter()
        .filter_map(|Producer { service_account, .. }| service_account.as_ref())
        .chain(consumers)
        .map(|account| account.name.as_str())
}

/// Listens to one kind.
pub(super) struct Ears(pub(super) Arc<Wake>);

impl Listener<EncryptedQueue> for Ears {
    fn applied(&mut self, queue: &EncryptedQueue) {
        let (wake, name) = (&self.0, name_of(queue));
        let mut dependencies: BTreeSet<Dependency> =
            service_accounts(queue).map(|account| Dependency::ServiceAccount(name.namespace.clone(), account.to_owned())).collect();
        dependencies.insert(Dependency::Tenant(queue.spec.tenant.clone()));
        dependencies.insert(Dependency::Tier(queue.spec.sensitivity_tier.clone()));
        dependencies.insert(Dependency::Namespace(name.namespace.clone()));
        dependencies.extend(claimed_names(queue).map(Dependency::QueueName));
        let status = queue.status.as_ref();
        dependencies.extend(recorded_keys(queue).map(|key| Dependency::Key(key.to_owned())));
        let before = wake.known().queues.replace(&name, &dependencies);
        dependencies.retain(Key::is_read_back);
        if wake.changed("intent", name.to_string(), &intent(queue)) {
            wake.queue(&name);
            wake.keys_of(&name);
            wake.namesakes(queue).iter().filter(|other| **other != name).for_each(|other| wake.queue(other));
        }
        for dependency in before.symmetric_difference(&dependencies) {
            match dependency {
                Dependency::Key(key) => {
                    wake.key(key);
                    // It went before anyone knew whom to tell.
                    let is_known = wake.known().keys.knows(key);
                    if !is_known {
                        wake.queue(&name);
                    }
                }
                Dependency::Tier(tier) => wake.tier(tier),
                Dependency::Tenant(tenant) => wake.tenant(tenant),
                _ => {}
            }
        }
        // What somebody edits there is put right.
        let references = status.map(|s| (references_of(s), s.applied_sha256.is_some(), s.conditions.is_empty()));
        if wake.changed("record", name.to_string(), &references) {
            wake.queue(&name);
        }
        let deleted: Vec<_> = status.and_then(|status| status.access.as_ref()).map(|access| access.deleted_principals.clone()).unwrap_or_default();
        if wake.changed("deleted principals", name.to_string(), &deleted) && !deleted.is_empty() {
            wake.keys_of(&name);
        }
        // What it needs of each key it uses or used.
        let previous: Vec<_> =
            status.iter().flat_map(|s| &s.previous_keys).map(|key| (key.name.clone(), key.switched_at.0, key.decrypt_until.0)).collect();
        let has_dead_letters = status.is_some_and(|status| status.dead_letter_queue.is_some());
        if wake.changed("keys", name.to_string(), &(status.and_then(|s| s.key.as_ref()).map(|key| key.name.clone()), previous, has_dead_letters)) {
            wake.keys_of(&name);
        }
        let ready = status.is_some_and(|status| conditions::is_true(&status.conditions, conditions::types::READY));
        if wake.changed("counts", name.to_string(), &(ready, status.and_then(|status| status.estimated_monthly_usd.clone()))) {
            wake.tenant(&queue.spec.tenant);
        }
    }

    fn deleted(&mut self, reference: &ObjectRef<EncryptedQueue>) {
        let (wake, name) = (&self.0, namespaced(reference));
        wake.forget(&["intent", "keys", "counts", "deleted principals", "record"], &name.to_string());
        wake.keys_of(&name);
        let before = wake.known().queues.replace(&name, &BTreeSet::new());
        for dependency in &before {
            match dependency {
                Dependency::Key(key) => wake.key(key),
                Dependency::Tenant(tenant) => wake.tenant(tenant),
                Dependency::Tier(tier) => wake.tier(tier),
                // Whoever waited for the name may have it.
                Dependency::QueueName(_) => wake.dependants(dependency),
                _ => {}
            }
        }
    }
}

impl Listener<QueueKey> for Ears {
    fn applied(&mut self, key: &QueueKey) {
        let (wake, name) = (&self.0, key.name_any());
        let (spec, status) = (&key.spec, key.status.as_ref());
        let mut dependencies: BTreeSet<_> = [Dependency::Tenant(spec.tenant.clone()), Dependency::Tier(spec.sensitivity_tier.clone())].into();
        dependencies.extend(spec.queue.clone().map(Dependency::Queue));
        let holds = status.iter().flat_map(|status| &status.users);
        dependencies.extend(holds.map(|user| Dependency::Queue(NamespacedName { namespace: user.namespace.clone(), name: user.name.clone() })));
        dependencies.extend(status.and_then(|status| status.key_id.clone()).map(Dependency::KmsKey));
        dependencies.extend(status.and_then(|status| status.alias.clone()).map(Dependency::KmsAlias));
        if wake.known().keys.replace(&name, &dependencies).is_empty() {
            wake.tenant(&spec.tenant);
        }
        if wake.changed("key", name.clone(), &intent(key)) {
            wake.key(&name);
        }
        if wake.changed("record", name.clone(), &status.map(key_record)) {
            wake.key(&name);
        }
        // The UID too: of an object that was made again its key may hold the very same grants.
        let user = |user: &KeyUser| (user.namespace.clone(), user.name.clone(), user.uid.clone(), user.grants_sha256.clone());
        let users: Vec<_> = status.iter().flat_map(|s| &s.users).map(user).collect();
        let ready = status
            .and_then(|s| s.conditions.iter().find(|c| c.type_ == conditions::types::READY))
            .map(|c| (c.status.clone(), c.reason.clone(), c.message.clone()));
        if wake.changed(
            "key for queues",
            name.clone(),
            &(
                status.and_then(|s| Some((s.arn.clone()?, s.alias.clone(), s.released_queues.clone()))),
                status.map(|s| (s.deleted_principals.clone(), s.lost_at.as_ref().map(|at| at.0))),
                users,
                ready,
                key.metadata.deletion_timestamp.is_some(),
            ),
        ) {
            wake.users_of_key(&name).iter().chain(&spec.queue).for_each(|queue| wake.queue(queue));
        }
    }

    fn deleted(&mut self, reference: &ObjectRef<QueueKey>) {
        let (wake, name) = (&self.0, &reference.name);
        wake.forget(&["key", "key for queues", "record"], name);
        let before = wake.known().keys.replace(name, &BTreeSet::new());
        wake.users_of_key(name).iter().for_each(|queue| wake.queue(queue));
        for dependency in before {
            match dependency {
                Dependency::Tenant(tenant) => wake.tenant(&tenant),
                Dependency::Tier(tier) => wake.tier(&tier),
                _ => {}
            }
        }
    }
}

impl Listener<Tenant> for Ears {
    fn applied(&mut self, tenant: &Tenant) {
        let name = tenant.name_any();
        if self.0.changed("tenant", name.clone(), &intent(tenant)) {
            self.0.tenant(&name);
            self.0.dependants(&Dependency::Tenant(name.clone()));
        }
        // Its queues say so too.
        if self.0.changed("budget", name.clone(), &super::tenant::is_over_budget(tenant)) {
            self.0.dependants(&Dependency::Tenant(name.clone()));
        }
        // Whose it is.
        if self.0.changed("claim", name.clone(), &(tenant.labels(), tenant.status.as_ref().and_then(|status| status.controller.clone()))) {
            self.0.tenant(&name);
            self.0.dependants(&Dependency::Tenant(name));
        }
    }

    fn deleted(&mut self, reference: &ObjectRef<Tenant>) {
        self.0.forget(&["tenant", "claim", "budget"], &reference.name);
        self.0.dependants(&Dependency::Tenant(reference.name.clone()));
    }
}

impl Listener<SensitivityTier> for Ears {
    fn applied(&mut self, tier: &SensitivityTier) {
        let name = tier.name_any();
        if self.0.changed("tier", name.clone(), &intent(tier)) {
            self.0.tier(&name);
            self.0.dependants(&Dependency::Tier(name));
        }
    }

    fn deleted(&mut self, reference: &ObjectRef<SensitivityTier>) {
        self.0.forget(&["tier"], &reference.name);
        self.0.dependants(&Dependency::Tier(reference.name.clone()));
    }
}

impl Listener<AccessApproval> for Ears {
    fn applied(&mut self, approval: &AccessApproval) {
        let name = approval.name_any();
        if self.0.changed("approval", name.clone(), &intent(approval)) {
            self.0.approval(&name);
            self.0.key(&approval.spec.queue_key);
        }
    }

    fn deleted(&mut self, reference: &ObjectRef<AccessApproval>) {
        self.0.forget(&["approval"], &reference.name);
    }
}

impl Listener<PartialObjectMeta<Namespace>> for Ears {
    fn applied(&mut self, namespace: &PartialObjectMeta<Namespace>) {
        let name = namespace.name_any();
        if self.0.changed("namespace", name.clone(), namespace.labels()) {
            self.0.dependants(&Dependency::Namespace(name));
        }
    }

    fn deleted(&mut self, reference: &ObjectRef<PartialObjectMeta<Namespace>>) {
        self.0.forget(&["namespace"], &reference.name);
    }
}

impl Listener<PartialObjectMeta<ServiceAccount>> for Ears {
    fn applied(&mut self, account: &PartialObjectMeta<ServiceAccount>) {
        let name = name_of(account);
        if self.0.changed("service account", name.to_string(), &account.annotations().get(ROLE_ANNOTATION)) {
            self.0.dependants(&Dependency::ServiceAccount(name.namespace, name.name));
        }
    }

    fn deleted(&mut self, reference: &ObjectRef<PartialObjectMeta<ServiceAccount>>) {
        let name = namespaced(reference);
        self.0.forget(&["service account"], &name.to_string());
        self.0.dependants(&Dependency::ServiceAccount(name.namespace, name.name));
    }
}

impl Listener<ConfigMap> for Ears {
    fn applied(&mut self, map: &ConfigMap) {
        let name = name_of(map);
        if self.0.changed("config map", name.to_string(), &(&map.metadata.uid, &map.metadata.resource_version)) {
            self.0.queue(&name);
        }
    }

    fn deleted(&mut self, reference: &ObjectRef<ConfigMap>) {
        let name = namespaced(reference);
        self.0.forget(&["config map"], &name.to_string());
        self.0.queue(&name);
    }
}

#[cfg(test)]
mod tests;
