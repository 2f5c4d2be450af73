//! What a run plays on: servers that are kept from run to run, and around them proxies and an operator of its own.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use encrypted_queue::api::{AccessApproval, EncryptedQueue, QueueKey, SensitivityTier, Tenant};
use encrypted_queue::commands::crds;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace};
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{GroupVersionKind, TypeMeta};
use kube::discovery::ApiResource;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use test_support::judge::{Declarations, Kind};
use test_support::kubernetes_proxy::KubernetesProxy;
use test_support::proxy::{Proxy, Strictness};
use test_support::{ControlPlane, Moto, User};

use super::operator::Operator;
use super::points::{Foreign, Namer};

pub(crate) const OPERATOR: &str = "arn:aws:iam::123456789012:role/encrypted-queue-operator";
/// How much faster the operator's time runs.
pub(crate) const SPEED: u32 = 100;
/// A namespace that some runs delete.
pub(crate) const DOOMED: &str = "acme-doomed";
/// How long anything may take to become true.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Servers, one set for each worker.
pub(crate) struct Servers {
    pub(crate) client: Client,
    moto: Moto,
    _control_plane: ControlPlane,
    number: usize,
}

async fn remove_all<K>(client: &Client)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let all: Api<K> = Api::all(client.clone());
    let Ok(objects) = all.list_metadata(&ListParams::default()).await else { return };
    for object in objects {
        let resource = ApiResource::erase::<K>(&());
        let api: Api<DynamicObject> = match object.namespace() {
            Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        if !object.finalizers().is_empty() {
            let none = Patch::Merge(json!({"metadata": {"finalizers": null}}));
            api.patch(&object.name_any(), &PatchParams::default(), &none).await.ok();
        }
        api.delete(&object.name_any(), &DeleteParams::default()).await.ok();
    }
}

impl Servers {
    pub(crate) async fn start(number: usize) -> Self {
        let (control_plane, moto) = futures::try_join!(ControlPlane::start(), Moto::start()).expect("servers start");
        let client = control_plane.client(User::Admin).await.expect("a client");
        let servers = Self { client, moto, _control_plane: control_plane, number };
        for definition in crds::all() {
            apply(&servers.client, &serde_json::to_value(definition).expect("serialises")).await;
        }
        let queues = Api::<EncryptedQueue>::all(servers.client.clone());
        while queues.list(&ListParams::default()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for document in documents(&example("namespaces")) {
            apply(&servers.client, &document).await;
        }
        servers
    }

    /// What the namespace controller does at the end.
    async fn remove_doomed_namespace(&self) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let Ok(Some(_)) = namespaces.get_opt(DOOMED).await else { return };
        namespaces.delete(DOOMED, &DeleteParams::default()).await.ok();
        let finalized = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": DOOMED}, "spec": {"finalizers": []}});
        namespaces.replace_subresource::<Value>("finalize", DOOMED, &PostParams::default(), &finalized).await.ok();
    }

    /// As if nothing had been.
    async fn reset(&self) {
        let client = &self.client;
        tokio::join!(
            remove_all::<EncryptedQueue>(client),
            remove_all::<QueueKey>(client),
            remove_all::<Tenant>(client),
            remove_all::<SensitivityTier>(client),
            remove_all::<AccessApproval>(client),
            remove_all::<ConfigMap>(client),
            remove_all::<Lease>(client),
            async {
                for namespace in ["acme-prod", "globex-prod", "default"] {
                    let events: Api<Event> = Api::namespaced(client.clone(), namespace);
                    events.delete_collection(&DeleteParams::default(), &ListParams::default()).await.ok();
                }
            },
            self.remove_doomed_namespace(),
            async { self.moto.reset().await.expect("the emulator forgets") },
        );
    }
}

/// One run's world.
pub(crate) struct Stage {
    pub(crate) client: Client,
    pub(crate) proxy: Proxy,
    pub(crate) kubernetes: KubernetesProxy,
    pub(crate) operator: Operator,
    pub(crate) declarations: Mutex<Declarations>,
    pub(crate) foreign: Foreign,
    /// When the operator was last seen to have started.
    woke: Mutex<Instant>,
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn example(name: &str) -> String {
    let path = format!("{}/examples/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(crate) fn documents(yaml: &str) -> Vec<Value> {
    let all = yaml.split("\n---").map(|document| serde_saphyr::from_str::<Value>(document).expect("YAML"));
    all.filter(|value| !value.is_null()).collect()
}

fn api_for(client: &Client, value: &Value) -> (Api<DynamicObject>, String) {
    let types: TypeMeta = serde_json::from_value(value.clone()).expect("types");
    let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&types).expect("a kind"));
    let name = value["metadata"]["name"].as_str().expect("a name").to_owned();
    let api = match value["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    (api, name)
}

async fn apply(client: &Client, value: &Value) -> Value {
    let (api, name) = api_for(client, value);
    let applied = api.patch(&name, &PatchParams::apply("test").force(), &Patch::Apply(value)).await;
    serde_json::to_value(applied.unwrap_or_else(|error| panic!("{name}: {error}"))).expect("serialises")
}

impl Stage {
    /// An empty world with a running operator.
    pub(crate) async fn set(servers: &Servers, directory: PathBuf, time_out: &str) -> Self {
        Box::pin(servers.reset()).await;
        let proxy = Proxy::start(servers.moto.endpoint().parse().expect("an address")).await.expect("the proxy starts");
        proxy.caller_is("operator", OPERATOR);
        // A minute, by the operator's clock.
        proxy.set_strictness(Strictness { name_free_after: Duration::from_mins(1) / SPEED, ..proxy.strictness() });
        let kubernetes = KubernetesProxy::start(servers.client.clone()).await.expect("the proxy starts");
        let foreign = Foreign::default();
        foreign.add("someone");
        let operator = Operator::new(directory, &kubernetes, &proxy, servers.number, time_out);
        let stage = Self {
            client: servers.client.clone(),
            proxy,
            kubernetes,
            operator,
            declarations: Mutex::default(),
            foreign,
            woke: Mutex::new(Instant::now()),
        };
        stage.operator.start();
        stage
    }

    pub(crate) fn namer(&self) -> Namer {
        Namer::new(&self.proxy, self.foreign.all())
    }

    /// Makes IAM roles exist.
    pub(crate) fn roles(&self, names: &[&str]) {
        for arn in names {
            self.proxy.add_principal(arn);
        }
    }

    fn note(&self, at: Duration, object: &Value) {
        let kind = match object["kind"].as_str() {
            Some("EncryptedQueue") => Kind::Queue,
            Some("Tenant") => Kind::Tenant,
            Some("SensitivityTier") => Kind::Tier,
            _ => return,
        };
        let text = |name: &str| object["metadata"][name].as_str().unwrap_or_default();
        locked(&self.declarations).see(at, kind, text("namespace"), text("name"), Some(object.clone()));
    }

    /// Applies an object as `kubectl apply --server-side` does.
    pub(crate) async fn apply(&self, object: &Value) {
        let at = self.proxy.elapsed();
        self.note(at, &apply(&self.client, object).await);
    }

    /// Applies all objects of example files.
    pub(crate) async fn examples(&self, names: &[&str]) {
        for object in names.iter().flat_map(|name| documents(&example(name))) {
            self.apply(&object).await;
        }
    }

    /// Merges a change into an object: `kind`, `namespace/name` or `name`.
    pub(crate) async fn change(&self, kind: &str, name: &str, change: Value) {
        let (api, name) = self.object(kind, name);
        let at = self.proxy.elapsed();
        let changed = api.patch(&name, &PatchParams::default(), &Patch::Merge(&change)).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        self.note(at, &serde_json::to_value(changed).expect("serialises"));
    }

    /// The same of an object that may have ended.
    pub(crate) async fn try_change(&self, kind: &str, name: &str, change: Value) {
        let (api, name) = self.object(kind, name);
        let at = self.proxy.elapsed();
        if let Ok(changed) = api.patch(&name, &PatchParams::default(), &Patch::Merge(&change)).await {
            self.note(at, &serde_json::to_value(changed).expect("serialises"));
        }
    }

    pub(crate) fn object(&self, kind: &str, name: &str) -> (Api<DynamicObject>, String) {
        let (namespace, name) = name.split_once('/').map_or((None, name), |(namespace, name)| (Some(namespace), name));
        let object = json!({"apiVersion": "encryptedqueue.dev/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": namespace}});
        api_for(&self.client, &object)
    }

    pub(crate) async fn get(&self, kind: &str, name: &str) -> Option<Value> {
        let (api, name) = self.object(kind, name);
        let found = api.get_opt(&name).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        found.map(|object| serde_json::to_value(object).expect("serialises"))
    }

    pub(crate) async fn delete(&self, kind: &str, name: &str) {
        let (api, name) = self.object(kind, name);
        api.delete(&name, &DeleteParams::default()).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    pub(crate) async fn delete_namespace(&self, name: &str) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces.delete(name, &DeleteParams::default()).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// Waits until something is true.
    pub(crate) async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let start = Instant::now();
        let mut asked = start;
        while !holds().await {
            assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
            self.written_since(asked).await;
            asked = Instant::now();
        }
    }

    /// Waits until the object is gone.
    pub(crate) async fn gone(&self, kind: &str, name: &str) {
        self.until(&format!("{kind} {name} has ended"), async || self.get(kind, name).await.is_none()).await;
    }

    /// Waits for the operator's next write, or a moment. Whoever asks every few milliseconds instead slows the servers down.
    async fn written_since(&self, asked: Instant) {
        let waited = Instant::now();
        while self.kubernetes.last_write() < asked && waited.elapsed() < Duration::from_millis(250) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    /// Waits until a condition has this status and reason, of the present generation.
    pub(crate) async fn condition(&self, kind: &str, name: &str, type_: &str, status: &str, reason: &str) -> Value {
        let start = Instant::now();
        loop {
            let asked = Instant::now();
            let object = self.get(kind, name).await.unwrap_or_default();
            let conditions = object.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
            let wanted = |c: &Value| {
                c["type"] == type_ && c["status"] == status && c["reason"] == reason && c["observedGeneration"] == object["metadata"]["generation"]
            };
            if conditions.iter().any(wanted) {
                return object;
            }
            assert!(start.elapsed() < PATIENCE, "{kind} {name} is not {type_}={status}, {reason} within {PATIENCE:?} but {conditions:#?}");
            self.written_since(asked).await;
        }
    }

    /// Waits until a queue is ready.
    pub(crate) async fn ready(&self, name: &str) -> Value {
        self.condition("EncryptedQueue", name, "Ready", "True", "InSync").await
    }

    /// Waits until the operator has called nothing for so long; false when it never rests.
    pub(crate) async fn rest(&self, quiet: Duration) -> bool {
        let start = Instant::now();
        loop {
            let last = self.proxy.last_call().max(self.kubernetes.last_write()).max(*locked(&self.woke));
            if last.elapsed() >= quiet {
                return true;
            }
            if start.elapsed() > PATIENCE {
                return false;
            }
            tokio::time::sleep(quiet.saturating_sub(last.elapsed()).max(Duration::from_millis(5))).await;
        }
    }
}

impl Stage {
    /// Waits until the operator that was started last has filled its caches.
    pub(crate) async fn awake(&self) {
        let start = Instant::now();
        while !self.operator.is_awake() {
            assert!(start.elapsed() < PATIENCE, "the operator does not start");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        *locked(&self.woke) = Instant::now();
    }

    /// All objects of a kind of ours.
    pub(crate) async fn all(&self, kind: &str) -> Vec<Value> {
        let (api, _) = self.object(kind, "any");
        let all = api.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default();
        all.into_iter().filter_map(|object| serde_json::to_value(object).ok()).collect()
    }
}
