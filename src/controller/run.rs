//! Wiring: stores, watches, the four controllers, the slow check, and the lease that lets one process write.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::channel::mpsc::UnboundedReceiver;
use futures::future::BoxFuture;
use futures::{StreamExt, TryFuture};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::{PartialObjectMeta, Selector};
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use super::claim::Claims;
use super::context::{Absences, Checks, Context, Fresh, Stores};
use super::events::Events;
use super::leader::Leadership;
use super::pod_identity::PodIdentities;
use super::wake::{Ears, Triggers, Wake};
use super::{
    Failure, Reconciled, access_approval, audit, backoff, drift, drift_events, encrypted_queue, figures, late_keys, queue_key, tenant, watch,
};
use crate::api::conditions::types;
use crate::api::labels::OWNED_BY;
use crate::aws::{Accounts, DriftQueue};
use crate::plan::SearchWindow;
use crate::telemetry::metrics::{Kind, Metrics, ObjectCounts, Ready, ReconcileResult};

/// As long as the watch takes to tell of a write.
const AFTER_CONFLICT: Duration = Duration::from_millis(200);

/// How the controllers run.
#[derive(Clone, Debug)]
pub struct ControllerSettings {
    /// Id of the cluster in AWS tags and aliases.
    pub cluster_id: String,
    /// Names this install in Tenants' status.
    pub identity: String,
    /// Objects worked on at once, each kind.
    pub concurrency: u16,
    /// How often each object is compared with AWS.
    pub check_period: Duration,
    /// How often each account is audited.
    pub audit_period: Duration,
    /// The queue of events, if there is one.
    pub drift_queue: Option<DriftQueue>,
    /// The EKS cluster whose Pod Identity associations are looked up.
    pub eks_cluster_name: Option<String>,
    /// How long the tags of a key made just before a crash may take to become visible.
    pub search_window: SearchWindow,
    /// How long another key's policy is given to spread before a live queue is pointed at it.
    pub settle: SignedDuration,
    /// Labels of the Tenants that this install manages.
    pub tenant_selector: Selector,
    /// How long a lease holds without renewal.
    pub lease_duration: Duration,
    /// Plan and report, write nothing in AWS.
    pub dry_run: bool,
}

/// What the controllers work with.
pub struct Parts {
    /// The cluster.
    pub client: Client,
    /// AWS.
    pub accounts: Accounts,
    /// What is measured.
    pub metrics: Metrics,
    /// The right to write.
    pub leadership: Leadership,
}

/// Runs the controllers until `stop` resolves, then lets what is under way finish. `synced` is called once the caches are full.
pub async fn run(parts: Parts, settings: ControllerSettings, synced: impl FnOnce(), stop: impl Future<Output = ()>) {
    let Parts { client, accounts, metrics, leadership } = parts;
    let (wake, triggers) = Wake::new();
    let mut tasks = JoinSet::new();
    let stores = start_watches(&client, &wake, &mut tasks);
    let ctx = Arc::new(Context {
        events: Events::new(client.clone(), &settings.identity),
        client,
        cluster_id: settings.cluster_id.clone(),
        identity: settings.identity.clone(),
        pod_identities: PodIdentities::new(settings.eks_cluster_name.as_deref().map(|cluster| accounts.pod_identity(cluster)), settings.check_period),
        accounts,
        metrics: metrics.clone(),
        stores,
        wake,
        backoff: backoff::Backoff::default(),
        checks: Checks::default(),
        looks: audit::Looks::default(),
        absences: Absences::default(),
        claims: Claims::new(settings.identity.clone(), settings.tenant_selector, settings.lease_duration),
        count_writes: tenant::CountWrites::default(),
        leadership: leadership.clone(),
        window: settings.search_window,
        settle: settings.settle,
        dry_run: settings.dry_run,
        fresh_queues: Fresh::default(),
        fresh_keys: Fresh::default(),
        fresh_tenants: Fresh::default(),
        fresh_tiers: Fresh::default(),
    });
    let mut stop = std::pin::pin!(stop);
    // An empty cache looks like deleted objects: nothing starts before all are full.
    tokio::select! {
        () = wait_for_caches(&ctx.stores) => {}
        () = &mut stop => return,
    }
    synced();
    tracing::info!("caches are full, controllers start");
    let counted = ctx.clone();
    metrics.set_objects(move || count_objects(&counted.stores));
    let counted = ctx.clone();
    metrics.set_figures(move || figures::figures(&counted.stores));
    let quotas = ctx.accounts.quotas().clone();
    metrics.set_call_limits(move || quotas.limits());
    let (shut_down, _) = tokio::sync::watch::channel(false);
    tasks.spawn(drift::slow_check(ctx.clone(), settings.check_period));
    if let Some(queue) = settings.drift_queue {
        tasks.spawn(drift_events::consume(ctx.clone(), metrics.clone(), queue));
    }
    let line = ctx.clone();
    tasks.spawn(async move { line.accounts.quotas().call(|subject| line.wake.subject(subject)).await });
    tasks.spawn(late_keys::sweep(ctx.clone(), settings.check_period));
    tasks.spawn(audit::audit(ctx.clone(), metrics.clone(), settings.audit_period));
    let controllers = start_controllers(&ctx, &metrics, triggers, settings.concurrency, &shut_down);
    tokio::select! {
        () = &mut stop => tracing::info!("stopping: what is under way finishes"),
        // Whoever leads now may write at any moment: nothing finishes here.
        lost = leadership.lost() => return tracing::error!(%lost, "stopping at once"),
    }
    shut_down.send_replace(true);
    controllers.join_all().await;
}

async fn wait_for_caches(stores: &Stores) {
    // A dropped writer means that the process is ending.
    let _ = tokio::join!(
        stores.queues.wait_until_ready(),
        stores.keys.wait_until_ready(),
        stores.tenants.wait_until_ready(),
        stores.tiers.wait_until_ready(),
        stores.approvals.wait_until_ready(),
        stores.namespaces.wait_until_ready(),
        stores.service_accounts.wait_until_ready(),
        stores.config_maps.wait_until_ready(),
    );
}

fn start_watches(client: &Client, wake: &Arc<Wake>, tasks: &mut JoinSet<()>) -> Stores {
    let (queues, writer) = store();
    tasks.spawn(watch::objects(Api::all(client.clone()), watcher::Config::default(), writer, Ears(wake.clone())));
    let (keys, writer) = store();
    tasks.spawn(watch::objects(Api::all(client.clone()), watcher::Config::default(), writer, Ears(wake.clone())));
    let (tenants, writer) = store();
    tasks.spawn(watch::objects(Api::all(client.clone()), watcher::Config::default(), writer, Ears(wake.clone())));
    let (tiers, writer) = store();
    tasks.spawn(watch::objects(Api::all(client.clone()), watcher::Config::default(), writer, Ears(wake.clone())));
    let (approvals, writer) = store();
    tasks.spawn(watch::objects(Api::all(client.clone()), watcher::Config::default(), writer, Ears(wake.clone())));
    let (namespaces, writer) = store();
    tasks.spawn(watch::objects(Api::<PartialObjectMeta<Namespace>>::all(client.clone()), watcher::Config::default(), writer, Ears(wake.clone())));
    let (service_accounts, writer) = store();
    tasks.spawn(watch::objects(
        Api::<PartialObjectMeta<ServiceAccount>>::all(client.clone()),
        watcher::Config::default(),
        writer,
        Ears(wake.clone()),
    ));
    let (config_maps, writer) = store();
    let ours = watcher::Config::default().labels(OWNED_BY);
    tasks.spawn(watch::objects(Api::<ConfigMap>::all(client.clone()), ours, writer, Ears(wake.clone())));
    Stores { queues, keys, tenants, tiers, approvals, namespaces, service_accounts, config_maps }
}

fn store<K: Resource<DynamicType = ()> + Clone + 'static>() -> (Store<K>, Writer<K>) {
    let writer = Writer::new(());
    (writer.as_reader(), writer)
}

fn start_controllers(
    ctx: &Arc<Context>,
    metrics: &Metrics,
    triggers: Triggers,
    concurrency: u16,
    shut_down: &tokio::sync::watch::Sender<bool>,
) -> JoinSet<()> {
    let mut controllers = JoinSet::new();
    let stores = &ctx.stores;
    controllers.spawn(control(
        stores.queues.clone(),
        triggers.queues,
        measured(metrics, Kind::EncryptedQueue, encrypted_queue::reconcile),
        ctx,
        concurrency,
        shut_down,
    ));
    controllers.spawn(control(
        stores.keys.clone(),
        triggers.keys,
        measured(metrics, Kind::QueueKey, queue_key::reconcile),
        ctx,
        concurrency,
        shut_down,
    ));
    controllers.spawn(control(
        stores.tenants.clone(),
        triggers.tenants,
        measured(metrics, Kind::Tenant, tenant::reconcile),
        ctx,
        concurrency,
        shut_down,
    ));
    controllers.spawn(control(
        stores.tiers.clone(),
        triggers.tiers,
        measured(metrics, Kind::SensitivityTier, tenant::reconcile_tier),
        ctx,
        concurrency,
        shut_down,
    ));
    controllers.spawn(control(
        stores.approvals.clone(),
        triggers.approvals,
        measured(metrics, Kind::AccessApproval, access_approval::reconcile),
        ctx,
        concurrency,
        shut_down,
    ));
    controllers
}

/// The reconciler, counted and timed.
fn measured<K, F, R>(
    metrics: &Metrics,
    kind: Kind,
    mut reconcile: R,
) -> impl FnMut(Arc<K>, Arc<Context>) -> BoxFuture<'static, Result<Action, Failure>> + use<K, F, R>
where
    R: FnMut(Arc<K>, Arc<Context>) -> F,
    F: Future<Output = Result<Reconciled, Failure>> + Send + 'static,
{
    let metrics = metrics.clone();
    move |object, ctx| {
        let (metrics, start, reconcile) = (metrics.clone(), Instant::now(), reconcile(object, ctx));
        Box::pin(async move {
            let ended = reconcile.await;
            let result = ended.as_ref().map_or(ReconcileResult::Failed, |(result, _)| *result);
            metrics.reconciled(kind, result, start.elapsed());
            ended.map(|(_, action)| action)
        })
    }
}

fn count_objects(stores: &Stores) -> ObjectCounts {
    let mut counts = ObjectCounts::new();
    let mut count = |kind, conditions: Option<&Vec<Condition>>| {
        let ready = conditions.and_then(|conditions| conditions.iter().find(|condition| condition.type_ == types::READY));
        let ready = match ready.map(|condition| condition.status.as_str()) {
            Some("True") => Ready::True,
            Some("False") => Ready::False,
            _ => Ready::Unknown,
        };
        *counts.entry((kind, ready)).or_default() += 1;
    };
    stores.queues.state().iter().for_each(|object| count(Kind::EncryptedQueue, object.status.as_ref().map(|s| &s.conditions)));
    stores.keys.state().iter().for_each(|object| count(Kind::QueueKey, object.status.as_ref().map(|s| &s.conditions)));
    stores.tenants.state().iter().for_each(|object| count(Kind::Tenant, object.status.as_ref().map(|s| &s.conditions)));
    stores.tiers.state().iter().for_each(|object| count(Kind::SensitivityTier, object.status.as_ref().map(|s| &s.conditions)));
    counts
}

fn control<K, F>(
    store: Store<K>,
    triggers: UnboundedReceiver<ObjectRef<K>>,
    reconcile: impl FnMut(Arc<K>, Arc<Context>) -> F + Send + 'static,
    ctx: &Arc<Context>,
    concurrency: u16,
    shut_down: &tokio::sync::watch::Sender<bool>,
) -> impl Future<Output = ()> + Send + 'static
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
    F: TryFuture<Ok = Action, Error = Failure> + Send + 'static,
{
    let mut shut_down = shut_down.subscribe();
    let stopped = async move {
        // A dropped sender means the same.
        shut_down.wait_for(|stop| *stop).await.ok();
    };
    let on_error = |object: Arc<K>, failure: &Failure, ctx: Arc<Context>| {
        let id = format!("{} {}", K::kind(&()), ObjectRef::from_obj(object.as_ref()));
        if failure.conflict {
            // Somebody wrote the object since: with what the watch tells by then, at once.
            return Action::requeue(AFTER_CONFLICT);
        }
        let wait = ctx.backoff.after_failure(&id, failure.reason);
        tracing::warn!(object = id, error = failure.message, ?wait, "reconcile failed");
        Action::requeue(wait)
    };
    Controller::for_stream(futures::stream::pending(), store)
        .with_config(Config::default().concurrency(concurrency))
        .reconcile_on(triggers)
        .graceful_shutdown_on(stopped)
        .run(reconcile, on_error, ctx.clone())
        .for_each(|_| std::future::ready(()))
}
