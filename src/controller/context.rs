//! What all reconcilers share.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Client, Resource, ResourceExt};

use super::audit::Looks;
use super::backoff::Backoff;
use super::cache::Cache;
use super::claim::Claims;
use super::events::Events;
use super::leader::Leadership;
use super::pod_identity::PodIdentities;
use super::tenant::CountWrites;
use super::wake::{Wake, name_of};
use crate::api::queue_key::NamespacedName;
use crate::api::{AccessApproval, EncryptedQueue, QueueKey, SensitivityTier, Tenant};
use crate::aws::{AccountKey, Accounts, AwsError, Clients};
use crate::clock;
use crate::desired::place_of;
use crate::names::RoleArn;
use crate::plan::SearchWindow;
use crate::telemetry::metrics::Metrics;

/// Caches of what the API server holds.
pub(super) struct Stores {
    pub(super) queues: Cache<EncryptedQueue>,
    pub(super) keys: Cache<QueueKey>,
    pub(super) tenants: Store<Tenant>,
    pub(super) tiers: Store<SensitivityTier>,
    pub(super) approvals: Store<AccessApproval>,
    pub(super) namespaces: Store<PartialObjectMeta<Namespace>>,
    pub(super) service_accounts: Store<PartialObjectMeta<ServiceAccount>>,
    pub(super) config_maps: Cache<ConfigMap>,
}

/// An object that has something in AWS.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) enum Compared {
    Queue(NamespacedName),
    Key(String),
}

/// What all reconcilers share.
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) cluster_id: String,
    pub(super) identity: String,
    pub(super) accounts: Accounts,
    pub(super) metrics: Metrics,
    pub(super) stores: Stores,
    pub(super) wake: Arc<Wake>,
    pub(super) events: Events,
    pub(super) backoff: Backoff,
    pub(super) checks: Checks,
    pub(super) looks: Looks,
    pub(super) pod_identities: PodIdentities,
    pub(super) absences: Absences,
    pub(super) claims: Claims,
    pub(super) count_writes: CountWrites,
    pub(super) leadership: Leadership,
    pub(super) window: SearchWindow,
    /// How long another key's policy is given to spread before a live queue is pointed at it.
    pub(super) settle: SignedDuration,
    pub(super) dry_run: bool,
    pub(super) fresh_tenants: Fresh<Tenant>,
    pub(super) fresh_tiers: Fresh<SensitivityTier>,
}

impl Context {
    pub(super) fn tenant(&self, name: &str) -> Option<Arc<Tenant>> {
        self.stores.tenants.get(&ObjectRef::new(name))
    }

    pub(super) fn tier(&self, name: &str) -> Option<Arc<SensitivityTier>> {
        self.stores.tiers.get(&ObjectRef::new(name))
    }

    pub(super) fn key(&self, name: &str) -> Option<Arc<QueueKey>> {
        self.stores.keys.get(name)
    }

    pub(super) fn queue(&self, name: &NamespacedName) -> Option<Arc<EncryptedQueue>> {
        self.stores.queues.get(&name.to_string())
    }

    /// The newest version of an object that is known here: the one at hand, or what the watch or our last write told.
    pub(super) fn newest_queue(&self, object: &EncryptedQueue) -> Arc<EncryptedQueue> {
        let known = self.queue(&name_of(object)).filter(|known| known.uid() == object.uid() && version(known.as_ref()) > version(object));
        known.unwrap_or_else(|| Arc::new(object.clone()))
    }

    /// Whether an annotation has a value that was not there when it was last looked at.
    pub(super) fn check_asked(&self, kind: &str, name: &str, value: Option<&String>) -> bool {
        value.is_some_and(|value| self.checks.is_new_value(kind, name, value))
    }

    /// Has an object compared with AWS by a reconcile of its own.
    pub(super) fn compare(&self, object: &Compared) {
        match object {
            Compared::Queue(name) => {
                self.checks.request("EncryptedQueue", &name.to_string());
                self.wake.queue(name);
            }
            Compared::Key(name) => {
                self.checks.request("QueueKey", name);
                self.wake.key(name);
            }
        }
    }

    /// Clients for a tenant's account and a Region.
    pub(super) async fn clients(&self, tenant: &Tenant, region: Option<&str>) -> Result<Arc<Clients>, AwsError> {
        self.accounts.clients(&account_key(tenant, region)).await
    }
}

/// The account and Region as the AWS module knows them.
pub(crate) fn account_key(tenant: &Tenant, region: Option<&str>) -> AccountKey {
    let place = place_of(tenant, region);
    let aws = &tenant.spec.aws;
    AccountKey {
        account_id: place.account,
        partition: place.partition,
        region: place.region,
        // The schema admits only role ARNs.
        role_arn: aws.role_arn.as_deref().and_then(|arn| RoleArn::parse(arn).ok()),
        external_id: aws.external_id.clone(),
    }
}

/// Objects as our own writes returned them: newer than the watch for a moment.
pub(super) struct Fresh<K>(Mutex<HashMap<String, Arc<K>>>);

impl<K> Default for Fresh<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Resource<DynamicType = ()>> Fresh<K> {
    /// Notes what a write returned.
    pub(super) fn note(&self, object: K) {
        if let Some(uid) = object.uid() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(uid, Arc::new(object));
        }
    }

    /// The newer of what the watch has and what our last write returned.
    pub(super) fn newest(&self, watched: Arc<K>) -> Arc<K> {
        let Some(uid) = watched.uid() else { return watched };
        let mut objects = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match objects.get(&uid) {
            Some(ours) if version(ours.as_ref()) > version(watched.as_ref()) => ours.clone(),
            Some(_) => {
                objects.remove(&uid);
                watched
            }
            None => watched,
        }
    }
}

/// resourceVersions of one kind are decimal numbers that grow (Kubernetes API concepts, since 1.35 by contract).
fn version(object: &impl ResourceExt) -> Option<u128> {
    object.resource_version()?.parse().ok()
}

/// For so long a queue that was looked for and not found is taken as absent: its key is made meanwhile. One that comes up all the same makes
/// `CreateQueue` fail, and AWS is looked at again.
const ABSENCE_KEPT: Duration = Duration::from_mins(1);

/// Objects whose queues were looked for and not found, by UID.
#[derive(Default)]
pub(super) struct Absences(Mutex<Searches>);

#[derive(Default)]
struct Searches {
    by_uid: HashMap<String, Instant>,
    /// When those were last taken out that are too old.
    swept: Option<Instant>,
}

impl Absences {
    /// Notes how the last look ended.
    pub(super) fn note(&self, uid: String, absent: bool) {
        let mut searches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if searches.swept.is_none_or(|at| clock::since(at) >= ABSENCE_KEPT) {
            searches.by_uid.retain(|_, at| clock::since(*at) < ABSENCE_KEPT);
            searches.by_uid.shrink_to_fit();
            searches.swept = Some(Instant::now());
        }
        let known = searches.by_uid.remove(&uid).filter(|at| absent && clock::since(*at) < ABSENCE_KEPT);
        if absent {
            searches.by_uid.insert(uid, known.unwrap_or_else(Instant::now));
        }
    }

    pub(super) fn holds(&self, uid: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).by_uid.get(uid).is_some_and(|at| clock::since(*at) < ABSENCE_KEPT)
    }
}

/// Objects to compare with AWS although their record agrees.
#[derive(Default)]
pub(super) struct Checks {
    requests: Mutex<HashSet<String>>,
    values: Mutex<HashMap<String, String>>,
}

impl Checks {
    /// Asks for a comparison at the object's next reconcile.
    pub(super) fn request(&self, kind: &str, name: &str) {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).insert(format!("{kind} {name}"));
    }

    /// Takes the request, if there is one.
    pub(super) fn take(&self, kind: &str, name: &str) -> bool {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).remove(&format!("{kind} {name}"))
    }

    /// Notes an annotation's value; true if another one was noted before.
    fn is_new_value(&self, kind: &str, name: &str, value: &str) -> bool {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        let before = values.insert(format!("{kind} {name}"), value.to_owned());
        before.as_deref() != Some(value)
    }
}
