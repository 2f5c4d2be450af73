//! Watches what is declared, from beside the test, so that at its end every AWS write can be judged by what was declared at that time.

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Config};
use test_support::judge::{Declarations, Kind, Parties, Report, inspect};
use test_support::proxy::Proxy;

use super::OPERATOR;

/// A thread of its own: a test may block its runtime, and what it declared meanwhile must not be noted too late.
pub(crate) struct Witness {
    seen: Arc<Mutex<Declarations>>,
    stop: tokio::sync::oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

fn kinds() -> [(Kind, ApiResource); 4] {
    let ours = |kind: &str, plural: &str| ApiResource {
        group: "encryptedqueue.dev".to_owned(),
        version: "v1alpha1".to_owned(),
        api_version: "encryptedqueue.dev/v1alpha1".to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    };
    [
        (Kind::Queue, ours("EncryptedQueue", "encryptedqueues")),
        (Kind::Tenant, ours("Tenant", "tenants")),
        (Kind::Tier, ours("SensitivityTier", "sensitivitytiers")),
        (Kind::ServiceAccount, ApiResource::erase::<k8s_openapi::api::core::v1::ServiceAccount>(&())),
    ]
}

/// The notes, with the time as the proxy counts it.
#[derive(Clone)]
struct Notes {
    seen: Arc<Mutex<Declarations>>,
    start: Instant,
}

impl Notes {
    fn with(&self, note: impl FnOnce(&mut Declarations, Duration)) {
        note(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner), self.start.elapsed());
    }

    fn object(&self, kind: Kind, object: &DynamicObject, is_there: bool) {
        let (namespace, name) = (object.metadata.namespace.clone().unwrap_or_default(), object.metadata.name.clone().unwrap());
        let value = is_there.then(|| serde_json::to_value(object).unwrap());
        self.with(|seen, now| seen.see(now, kind, &namespace, &name, value));
    }

    async fn list(&self, client: &Client, kind: Kind, resource: &ApiResource) {
        let api: Api<DynamicObject> = Api::all_with(client.clone(), resource);
        let objects = api.list(&ListParams::default()).await.unwrap().items;
        let objects = objects.iter().map(|object| serde_json::to_value(object).unwrap()).collect();
        self.with(|seen, now| seen.see_all(now, kind, objects));
    }

    async fn watch(self, client: Client, kind: Kind, resource: ApiResource) {
        let api: Api<DynamicObject> = Api::all_with(client, &resource);
        let mut events = watcher(api, watcher::Config::default()).boxed();
        loop {
            match events.try_next().await {
                Ok(Some(Event::Apply(object) | Event::InitApply(object))) => self.object(kind, &object, true),
                Ok(Some(Event::Delete(object))) => self.object(kind, &object, false),
                Ok(_) => {}
                // The definition is not served yet.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

async fn testify(kubeconfig: String, notes: Notes, stop: tokio::sync::oneshot::Receiver<()>, ready: mpsc::Sender<()>) {
    let config = Config::from_custom_kubeconfig(Kubeconfig::from_yaml(&kubeconfig).unwrap(), &KubeConfigOptions::default()).await.unwrap();
    let client = Client::try_from(config).unwrap();
    for (kind, resource) in kinds() {
        tokio::spawn(notes.clone().watch(client.clone(), kind, resource));
    }
    ready.send(()).unwrap();
    // A test that failed asks nothing.
    if stop.await.is_err() {
        return;
    }
    // What the watch has not yet told.
    for (kind, resource) in kinds() {
        notes.list(&client, kind, &resource).await;
    }
}

impl Witness {
    /// Begins to watch; the kubeconfig's current context sees everything.
    pub(crate) fn start(kubeconfig: &str, proxy: &Proxy) -> Self {
        let notes = Notes { seen: Arc::default(), start: Instant::now().checked_sub(proxy.elapsed()).unwrap() };
        let (seen, kubeconfig) = (Arc::clone(&notes.seen), kubeconfig.to_owned());
        let ((stop, stopped), (ready, is_ready)) = (tokio::sync::oneshot::channel(), mpsc::channel());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(testify(kubeconfig, notes, stopped, ready));
        });
        is_ready.recv().expect("the witness is ready");
        Self { seen, stop, thread }
    }

    /// Ends the watch and judges all writes that the proxy recorded.
    pub(crate) fn judge(self, proxy: &Proxy) -> Report {
        let _ = self.stop.send(());
        self.thread.join().expect("the witness ends");
        let declarations = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        inspect(&proxy.ledger(), &declarations, &Parties { operator: "operator", others: &["someone"], role: OPERATOR })
    }
}
