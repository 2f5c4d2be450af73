//! Wiring: stores, watches, the four controllers, the slow check, and the lease that lets one process write.

use std::fmt::Display;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::{PartialObjectMeta, Selector};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use tokio::task::JoinSet;

use super::cache::{cache, ready_of};
use super::claim::Claims;
use super::context::{Absences, Checks, Context, Fresh, Stores};
use super::events::Events;
use super::leader::Leadership;
use super::pod_identity::PodIdentities;
use super::turns::{Action, Woken, take_turns};
use super::wake::{Ears, Triggers, Wake};
use super::watch::Whole;
use super::{
    Failure, Reconciled, access_approval, audit, backoff, drift, drift_events, encrypted_queue, figures, late_keys, queue_key, tenant, watch,
};
use crate::api::labels::OWNED_BY;
use crate::aws::{Accounts, DriftQueue};
use crate::plan::SearchWindow;
use crate::telemetry::metrics::{Kind, Metrics, ObjectCounts, ReconcileResult};
use crate::telemetry::traces::Pass;

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
    let manner = Manner { ctx: &ctx, metrics: &metrics, concurrency: settings.concurrency, shut_down: &shut_down };
    let controllers = start_controllers(&manner, triggers);
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
    let (queues, holder) = cache();
    tasks.spawn(watch::objects(Api::all(client.clone()), watcher::Config::default(), holder, Ears(wake.clone())));
    let (keys, holder) = cache();
    tasks.spawn(watch::objects(Api::all(client.clone()), watcher::Config::default(), holder, Ears(wake.clone())));
    let (tenants, holder) = store();
    tasks.spawn(watch::objects(Api::all(client.clone()), watcher::Config::default(), holder, Ears(wake.clone())));
    let (tiers, holder) = store();
    tasks.spawn(watch::objects(Api::all(client.clone()), watcher::Config::default(), holder, Ears(wake.clone())));
    let (approvals, holder) = store();
    tasks.spawn(watch::objects(Api::all(client.clone()), watcher::Config::default(), holder, Ears(wake.clone())));
    let (namespaces, holder) = store();
    tasks.spawn(watch::objects(Api::<PartialObjectMeta<Namespace>>::all(client.clone()), watcher::Config::default(), holder, Ears(wake.clone())));
    let (service_accounts, holder) = store();
    tasks.spawn(watch::objects(
        Api::<PartialObjectMeta<ServiceAccount>>::all(client.clone()),
        watcher::Config::default(),
        holder,
        Ears(wake.clone()),
    ));
    let (config_maps, holder) = cache();
    let ours = watcher::Config::default().labels(OWNED_BY);
    tasks.spawn(watch::objects(Api::<ConfigMap>::all(client.clone()), ours, holder, Ears(wake.clone())));
    Stores { queues, keys, tenants, tiers, approvals, namespaces, service_accounts, config_maps }
}

fn store<K: Resource<DynamicType = ()> + Clone + 'static>() -> (Store<K>, Whole<K>) {
    let (store, writer) = kube::runtime::reflector::store();
    (store, Whole::new(writer))
}

/// How the controllers take turns.
struct Manner<'a> {
    ctx: &'a Arc<Context>,
    metrics: &'a Metrics,
    concurrency: u16,
    shut_down: &'a tokio::sync::watch::Sender<bool>,
}

fn start_controllers(manner: &Manner<'_>, triggers: Triggers) -> JoinSet<()> {
    let mut controllers = JoinSet::new();
    let Triggers { queues, keys, tenants, tiers, approvals } = triggers;
    controllers.spawn(control(manner, Kind::EncryptedQueue, queues, Context::queue, encrypted_queue::reconcile));
    controllers.spawn(control(manner, Kind::QueueKey, keys, |ctx, name| ctx.key(name), queue_key::reconcile));
    controllers.spawn(control(manner, Kind::Tenant, tenants, |ctx, name| ctx.tenant(name), tenant::reconcile));
    controllers.spawn(control(manner, Kind::SensitivityTier, tiers, |ctx, name| ctx.tier(name), tenant::reconcile_tier));
    let approval = |ctx: &Context, name: &String| ctx.stores.approvals.get(&ObjectRef::new(name));
    controllers.spawn(control(manner, Kind::AccessApproval, approvals, approval, access_approval::reconcile));
    controllers
}

fn count_objects(stores: &Stores) -> ObjectCounts {
    let mut counts = ObjectCounts::new();
    let mut count = |kind, ready| *counts.entry((kind, ready)).or_default() += 1;
    stores.queues.look(|_, queue| count(Kind::EncryptedQueue, queue.ready));
    stores.keys.look(|_, key| count(Kind::QueueKey, key.ready));
    let ready = |conditions: Option<&Vec<Condition>>| ready_of(conditions.map_or(&[][..], Vec::as_slice));
    stores.tenants.state().iter().for_each(|object| count(Kind::Tenant, ready(object.status.as_ref().map(|s| &s.conditions))));
    stores.tiers.state().iter().for_each(|object| count(Kind::SensitivityTier, ready(object.status.as_ref().map(|s| &s.conditions))));
    counts
}

/// Reconciles objects of one kind, counted and timed.
fn control<N, K, F>(
    manner: &Manner<'_>,
    kind: Kind,
    woken: Arc<Woken<N>>,
    find: fn(&Context, &N) -> Option<Arc<K>>,
    reconcile: fn(Arc<K>, Arc<Context>) -> F,
) -> impl Future<Output = ()> + Send + use<N, K, F>
where
    N: Clone + Display + Eq + Hash + Ord + Send + Sync + 'static,
    K: Resource<DynamicType = ()> + Send + Sync + 'static,
    F: Future<Output = Result<Reconciled, Failure>> + Send + 'static,
{
    let (ctx, metrics, mut shut_down) = (manner.ctx.clone(), manner.metrics.clone(), manner.shut_down.subscribe());
    let stopped = async move {
        // A dropped sender means the same.
        shut_down.wait_for(|stop| *stop).await.ok();
    };
    let one = move |name: &N| -> Option<BoxFuture<'static, Action>> {
        let (id, ctx, metrics, start) = (format!("{} {name}", K::kind(&())), ctx.clone(), metrics.clone(), Instant::now());
        let ended = reconcile(find(&ctx, name)?, ctx.clone());
        let pass = Pass::begin(kind.as_str(), || name.to_string());
        let work = async move {
            let ended = pass.over(ended).await;
            let result = ended.as_ref().map_or(ReconcileResult::Failed, |(result, _)| *result);
            metrics.reconciled(kind, result, start.elapsed());
            pass.end(result.as_str(), ended.as_ref().err().map(|failure| (failure.reason.as_str(), &*failure.message)));
            ended.map_or_else(|failure| after(&ctx, &id, &failure), |(_, action)| action)
        };
        Some(work.boxed())
    };
    take_turns(woken, manner.concurrency, rest_of(kind), stopped, one)
}

/// A Tenant or tier is woken by each of its queues, and counts them all: most of the time it rests.
fn rest_of(kind: Kind) -> u32 {
    if matches!(kind, Kind::Tenant | Kind::SensitivityTier) { 9 } else { 0 }
}

/// When an object is tried again whose pass could not even be told of.
fn after(ctx: &Context, id: &str, failure: &Failure) -> Action {
    if failure.conflict {
        // Somebody wrote the object since: with what the watch tells by then, at once.
        return Action::requeue(AFTER_CONFLICT);
    }
    let wait = ctx.backoff.after_failure(id, failure.reason);
    tracing::warn!(object = id, error = failure.message, ?wait, "reconcile failed");
    Action::requeue(wait)
}
