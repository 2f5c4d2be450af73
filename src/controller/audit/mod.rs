//! The operator's own audit: every queue and key of the tenants' accounts, declared or not, against the checks. Once a period the whole of each account;
//! where events tell of a change, what was changed within seconds. What is found stands in a report object for each Tenant, in metrics, and in Events
//! when it is new.

mod known;
mod looks;
mod publish;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use rand::RngExt;
use tokio::task::spawn_blocking;

use self::known::{Known, keep_what_asks_for_users};
pub(super) use self::looks::Looks;
use self::looks::Wanted;
use self::publish::{Publisher, TENANT, of_account};
use super::cache::moment_of;
use super::claim::Standing;
use super::context::{Context, account_key};
use super::drift::{due, phase, position};
use super::wake::{ROLE_ANNOTATION, name_of};
use crate::api::Tenant;
use crate::api::queue_key::NamespacedName;
use crate::audit::baseline::Baseline;
use crate::audit::declared::Declarations;
use crate::audit::inventory::Inventory;
use crate::audit::look::{Target, look};
use crate::audit::report::{AuditReport, ProblemReport, ResourceReport};
use crate::audit::scan::{Pace, scan};
use crate::aws::{AccountKey, Caller, on_behalf};
use crate::clock;
use crate::desired::ServiceAccountRole;
use crate::explain::{Snapshot, service_accounts};
use crate::telemetry::metrics::Metrics;

/// How soon it is noticed that a Tenant is gone, or that there is another.
const TICK: Duration = Duration::from_secs(5);
/// An account of which no report tells is audited within this part of a period.
const FIRST: f64 = 0.01;

type Tenants = BTreeMap<String, Arc<Tenant>>;

/// Runs until dropped.
pub(super) async fn audit(ctx: Arc<Context>, metrics: Metrics, period: Duration) {
    let publisher = Publisher::new(ctx.clone(), metrics);
    let mut auditor = Auditor { from: position(clock::now(), period), ctx, publisher, period, audited: BTreeSet::new(), first: BTreeMap::new() };
    auditor.recall().await;
    loop {
        tokio::select! {
            () = tokio::time::sleep(auditor.wait()) => {}
            () = auditor.ctx.looks.requested() => {}
        }
        on_behalf(Caller::SlowCheck, Box::pin(auditor.round())).await;
    }
}

struct Auditor {
    ctx: Arc<Context>,
    publisher: Publisher,
    period: Duration,
    /// Up to when audits that were due were made, in periods.
    from: f64,
    /// Accounts of which is known what was found.
    audited: BTreeSet<String>,
    /// When each of the others is audited.
    first: BTreeMap<String, Instant>,
}

impl Auditor {
    /// Takes over what reports say, so that a restart neither forgets it nor reads everything anew.
    async fn recall(&mut self) {
        self.publisher.find_dialect().await;
        let reports = self.publisher.reports().await;
        let tenants = self.tenants();
        for account in accounts(&tenants) {
            if of(&tenants, &account).keys().all(|name| reports.contains_key(&format!("{TENANT}{name}"))) {
                self.audited.insert(account);
            }
        }
        for (name, known) in reports {
            self.publisher.count(&name, &known);
            self.ctx.looks.known().insert(name, known);
        }
    }

    fn wait(&self) -> Duration {
        let now = Instant::now();
        let next =
            accounts(&self.tenants()).into_iter().filter_map(|account| due(vec![(phase(moment_of(&account)), ())], self.from, self.from + 1.0).pop());
        let next = next.map(|(at, ())| clock::real(self.period.mul_f64((at - position(clock::now(), self.period)).max(0.0))));
        let first = self.first.values().map(|at| at.saturating_duration_since(now));
        next.chain(first).chain(self.ctx.looks.wait(now)).chain([TICK]).min().unwrap_or(TICK)
    }

    async fn round(&mut self) {
        let tenants = self.tenants();
        self.publisher.forget(&tenants).await;
        for (account, wanted) in self.ctx.looks.take(Instant::now()) {
            match wanted {
                Wanted::Some(targets) => self.look(&of(&tenants, &account), &account, &targets).await,
                Wanted::All => self.audit(&of(&tenants, &account), &account).await,
            }
        }
        for account in self.due(&tenants) {
            self.audit(&of(&tenants, &account), &account).await;
        }
    }

    /// The accounts whose moment has come: once a period, wherever in it this process was started; soon, where nothing is known yet.
    fn due(&mut self, tenants: &Tenants) -> BTreeSet<String> {
        let (all, now) = (accounts(tenants), position(clock::now(), self.period));
        let moments = all.iter().map(|account| (phase(moment_of(account)), account.clone())).collect();
        // A clock that was set back does not hold audits up.
        let mut due: BTreeSet<String> = due(moments, self.from.min(now), now).into_iter().map(|(_, account)| account).collect();
        self.from = now;
        self.first.retain(|account, _| all.contains(account) && !self.audited.contains(account));
        for account in all.iter().filter(|account| !self.audited.contains(*account)) {
            let within = || Instant::now() + clock::real(self.period.mul_f64(FIRST * rand::rng().random_range(0.5..1.0)));
            if *self.first.entry(account.clone()).or_insert_with(within) <= Instant::now() {
                due.insert(account.clone());
            }
        }
        due
    }

    /// Audits all of an account.
    async fn audit(&mut self, tenants: &Tenants, account: &str) {
        let regions: Vec<AccountKey> =
            tenants.values().flat_map(|tenant| tenant.spec.aws.regions.iter().map(|region| account_key(tenant, Some(region)))).collect();
        if regions.is_empty() {
            return;
        }
        self.audited.insert(account.to_owned());
        self.publisher.find_dialect().await;
        let mut inventory = scan(&self.ctx.accounts, regions, Pace::GENTLE, &|_| {}).await;
        // What was declared meanwhile counts.
        let Some(report) = self.judged(tenants, &mut inventory).await else { return };
        if inventory.places.iter().all(|facts| !facts.all_queues && !facts.all_keys) {
            // What was found before is not mended by not being seen.
            return;
        }
        let (problems, mut rest) = (report.problems.len(), report.resources);
        for (name, tenant) in tenants {
            let (resources, others) = rest.into_iter().partition(|resource| resource.tenant.as_ref() == Some(name));
            rest = others;
            self.publisher.publish(&format!("{TENANT}{name}"), std::slice::from_ref(tenant), Known::of(resources, problems)).await;
        }
        self.publish_rest(tenants, account, Known::of(rest, problems)).await;
    }

    /// Looks at single queues and keys of an account.
    async fn look(&self, tenants: &Tenants, account: &str, targets: &BTreeSet<(String, Target)>) {
        let here = |name: &String| name.strip_prefix(TENANT).map_or(*name == of_account(account), |tenant| tenants.contains_key(tenant));
        let mut changed: BTreeMap<String, Known> =
            self.ctx.looks.known().iter().filter(|(name, _)| here(name)).map(|(name, known)| (name.clone(), known.clone())).collect();
        let regions: BTreeSet<&String> = targets.iter().map(|(region, _)| region).collect();
        for region in regions {
            let here = tenants.values().filter(|tenant| tenant.spec.aws.regions.contains(region));
            let ways: Vec<AccountKey> = here.map(|tenant| account_key(tenant, Some(region))).collect();
            let Some(place) = ways.first().map(AccountKey::place) else { continue };
            let targets: BTreeSet<Target> = targets.iter().filter(|(its, _)| its == region).map(|(_, target)| target.clone()).collect();
            let mut inventory = look(&self.ctx.accounts, ways, &targets).await;
            let Some(AuditReport { mut resources, problems, .. }) = self.judged(tenants, &mut inventory).await else { return };
            if !problems.is_empty() {
                // Left to the next audit: what was found before is not mended by not being seen.
                continue;
            }
            for arn in targets.iter().map(|target| target.arn(&place)) {
                let before = changed.values_mut().filter_map(|known| known.take(&arn)).last();
                let Some(at) = resources.iter().position(|resource| resource.arn == arn) else { continue };
                let mut resource = resources.swap_remove(at);
                keep_what_asks_for_users(&mut resource, before);
                changed.entry(report_of(tenants, account, &resource)).or_default().put(resource);
            }
        }
        for (name, known) in changed {
            match name.strip_prefix(TENANT).and_then(|tenant| tenants.get(tenant)) {
                Some(tenant) => self.publisher.publish(&name, std::slice::from_ref(tenant), known).await,
                None => self.publish_rest(tenants, account, known).await,
            }
        }
    }

    /// What is nobody's or another install's.
    async fn publish_rest(&self, tenants: &Tenants, account: &str, known: Known) {
        let name = of_account(account);
        // Where there may have been something, it is told that there is nothing any more.
        if tenants.len() > 1 || !known.is_empty() || self.ctx.looks.known().contains_key(&name) {
            let owners: Vec<Arc<Tenant>> = tenants.values().cloned().collect();
            self.publisher.publish(&name, &owners, known).await;
        }
    }

    async fn judged(&self, tenants: &Tenants, inventory: &mut Inventory) -> Option<AuditReport> {
        let (snapshot, cluster_id, mut seen) = (self.snapshot(tenants).await, self.ctx.cluster_id.clone(), std::mem::take(inventory));
        let judge = move || {
            Declarations::of(&snapshot, &cluster_id).lay_over(&mut seen);
            (AuditReport::of(&seen, &Baseline::default(), clock::now()), seen)
        };
        // A fleet takes seconds to judge, in which no edit waits for this thread.
        let (report, seen) = spawn_blocking(judge).await.ok()?;
        *inventory = seen;
        for ProblemReport { account, region, operation, message, .. } in &report.problems {
            tracing::warn!(account, region, operation, error = message, "the audit is incomplete");
        }
        Some(report)
    }

    /// Those that belong to this install.
    fn tenants(&self) -> Tenants {
        let tenants = self.ctx.stores.tenants.state().into_iter().filter(|tenant| self.ctx.claims.standing(tenant) == Standing::Ours);
        tenants.map(|tenant| (tenant.name_any(), tenant)).collect()
    }

    /// What the caches hold of these tenants.
    async fn snapshot(&self, tenants: &Tenants) -> Snapshot {
        let stores = &self.ctx.stores;
        let queues = stores.queues.objects(|queue| tenants.contains_key(queue.tenant.as_ref()));
        let keys = stores.keys.objects(|key| tenants.contains_key(key.tenant.as_ref()));
        let mut snapshot = Snapshot {
            queues: queues.map(|queue| (name_of(queue.as_ref()), Arc::unwrap_or_clone(queue))).collect(),
            tenants: tenants.iter().map(|(name, tenant)| (name.clone(), tenant.as_ref().clone())).collect(),
            tiers: stores.tiers.state().iter().map(|tier| (tier.name_any(), tier.as_ref().clone())).collect(),
            namespaces: stores.namespaces.state().iter().map(|namespace| (namespace.name_any(), namespace.labels().clone())).collect(),
            keys: keys.map(|key| (key.name_any(), Arc::unwrap_or_clone(key))).collect(),
            ..Snapshot::default()
        };
        let named: BTreeSet<NamespacedName> = snapshot.queues.values().flat_map(service_accounts).collect();
        snapshot.service_accounts = named.into_iter().filter_map(|name| Some((name.clone(), self.role(&name)?))).collect();
        if let Some(unnamed) = tenants.values().find(|tenant| tenant.spec.aws.role_arn.is_none()) {
            snapshot.operator_role = self.ctx.accounts.operator_role(&account_key(unnamed, None)).await.ok();
        }
        snapshot
    }

    fn role(&self, name: &NamespacedName) -> Option<ServiceAccountRole> {
        let account = self.ctx.stores.service_accounts.get(&ObjectRef::new(&name.name).within(&name.namespace))?;
        Some(self.ctx.pod_identities.role(name, account.annotations().get(ROLE_ANNOTATION)))
    }
}

fn accounts(tenants: &Tenants) -> BTreeSet<String> {
    tenants.values().map(|tenant| tenant.spec.aws.account_id.clone()).collect()
}

/// Those of an account.
fn of(tenants: &Tenants, account: &str) -> Tenants {
    tenants.iter().filter(|(_, tenant)| tenant.spec.aws.account_id == account).map(|(name, tenant)| (name.clone(), tenant.clone())).collect()
}

/// The report that tells of a queue or key.
fn report_of(tenants: &Tenants, account: &str, resource: &ResourceReport) -> String {
    let tenant = resource.tenant.as_ref().filter(|tenant| tenants.contains_key(*tenant));
    tenant.map_or_else(|| of_account(account), |tenant| format!("{TENANT}{tenant}"))
}
