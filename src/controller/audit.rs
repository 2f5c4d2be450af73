//! The operator's own audit: once a period every queue and key of the tenants' accounts, declared or not, against the checks. What is found stands in
//! a report object for each Tenant, in metrics, and in Events when it is new.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};
use rand::RngExt;
use serde_json::Value;
use tokio::task::spawn_blocking;

use super::claim::Standing;
use super::context::{Context, account_key};
use super::status::MANAGER;
use super::wake::{ROLE_ANNOTATION, name_of};
use crate::api::Tenant;
use crate::api::queue_key::NamespacedName;
use crate::audit::baseline::Baseline;
use crate::audit::checks::Severity;
use crate::audit::declared::Declarations;
use crate::audit::policy_report::{DIALECTS, Dialect, FindingKey, Owner, Subject, findings_of, render, says_the_same};
use crate::audit::report::{AuditReport, FindingReport, ResourceKind, ResourceReport};
use crate::audit::scan::{Pace, scan};
use crate::clock;
use crate::desired::ServiceAccountRole;
use crate::explain::{Snapshot, service_accounts};
use crate::telemetry::figures::Findings;
use crate::telemetry::metrics::Metrics;

/// Most Events of one report and audit; the worst are told, the rest is counted.
const MOST_EVENTS: usize = 20;
/// How the reports of tenants are called, before the tenant's name.
const TENANT: &str = "encrypted-queue-tenant-";

/// Runs until dropped.
pub(super) async fn audit(ctx: Arc<Context>, metrics: Metrics, period: Duration) {
    let mut auditor = Auditor { ctx, metrics, known: BTreeMap::new(), told_of_no_reports: false };
    loop {
        // Not at the start: what is being made then is not judged half-way.
        let pause = period.mul_f64(rand::rng().random_range(0.5..1.0));
        tokio::time::sleep(pause).await;
        auditor.audit().await;
    }
}

struct Auditor {
    ctx: Arc<Context>,
    metrics: Metrics,
    /// What was found last, by report.
    known: BTreeMap<String, BTreeSet<FindingKey>>,
    told_of_no_reports: bool,
}

impl Auditor {
    async fn audit(&mut self) {
        let tenants = self.tenants();
        if tenants.is_empty() {
            return;
        }
        let dialect = self.dialect().await;
        let (snapshot, cluster_id) = (self.snapshot(&tenants).await, self.ctx.cluster_id.clone());
        // A fleet takes seconds to judge, in which no edit waits for this thread.
        let Ok(declarations) = spawn_blocking(move || Arc::new(Declarations::of(&snapshot, &cluster_id))).await else { return };
        let accounts: BTreeSet<&str> = tenants.values().map(|tenant| tenant.spec.aws.account_id.as_str()).collect();
        for account in accounts {
            let tenants: BTreeMap<&String, &Arc<Tenant>> = tenants.iter().filter(|(_, tenant)| tenant.spec.aws.account_id == account).collect();
            let regions = tenants.values().flat_map(|tenant| tenant.spec.aws.regions.iter().map(|region| account_key(tenant, Some(region))));
            let mut inventory = scan(&self.ctx.accounts, regions.collect(), Pace::GENTLE, &|_| {}).await;
            let declarations = declarations.clone();
            let judge = move || {
                declarations.lay_over(&mut inventory);
                (AuditReport::of(&inventory, &Baseline::default(), clock::now()), inventory)
            };
            let Ok((report, inventory)) = spawn_blocking(judge).await else { return };
            for problem in &report.problems {
                tracing::warn!(account, region = problem.region, operation = problem.operation, error = problem.message, "the audit is incomplete");
            }
            if inventory.places.iter().all(|facts| !facts.all_queues && !facts.all_keys) {
                // What was found before is not mended by not being seen.
                continue;
            }
            for subject in subjects(account, &tenants, report) {
                self.publish(dialect, subject).await;
            }
        }
    }

    /// Those that belong to this install.
    fn tenants(&self) -> BTreeMap<String, Arc<Tenant>> {
        let tenants = self.ctx.stores.tenants.state().into_iter().filter(|tenant| self.ctx.claims.standing(tenant) == Standing::Ours);
        tenants.map(|tenant| (tenant.name_any(), tenant)).collect()
    }

    /// What the caches hold of these tenants.
    async fn snapshot(&self, tenants: &BTreeMap<String, Arc<Tenant>>) -> Snapshot {
        let stores = &self.ctx.stores;
        let queues = stores.queues.objects(|queue| tenants.contains_key(queue.tenant.as_ref()));
        let mut snapshot = Snapshot {
            queues: queues.map(|queue| (name_of(queue.as_ref()), Arc::unwrap_or_clone(queue))).collect(),
            tenants: tenants.iter().map(|(name, tenant)| (name.clone(), tenant.as_ref().clone())).collect(),
            tiers: stores.tiers.state().iter().map(|tier| (tier.name_any(), tier.as_ref().clone())).collect(),
            namespaces: stores.namespaces.state().iter().map(|namespace| (namespace.name_any(), namespace.labels().clone())).collect(),
            keys: stores.keys.objects(|_| true).map(|key| (key.name_any(), Arc::unwrap_or_clone(key))).collect(),
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

    /// The kind of report that the cluster serves; told once if there is none.
    async fn dialect(&mut self) -> Option<Dialect> {
        for dialect in DIALECTS {
            let served = self.ctx.client.list_api_group_resources(&format!("{}/{}", dialect.group, dialect.version)).await;
            if served.is_ok_and(|list| list.resources.iter().any(|resource| resource.name == dialect.plural)) {
                return Some(dialect);
            }
        }
        if !std::mem::replace(&mut self.told_of_no_reports, true) {
            tracing::info!(
                "the cluster serves no policy reports (wgpolicyk8s.io or openreports.io): what the audit finds is told by metrics and Events"
            );
        }
        None
    }

    /// Writes a report if it says something new, and tells of what is new in it.
    async fn publish(&mut self, dialect: Option<Dialect>, subject: Subject) {
        // What is nobody's is told by account.
        let label = subject.name.strip_prefix(TENANT).unwrap_or(&subject.name);
        self.metrics.record_findings(label, counts(&subject));
        let found: BTreeSet<FindingKey> =
            subject.resources.iter().flat_map(|resource| resource.open().map(|finding| key(resource, finding))).collect();
        let mut known = self.known.get(&subject.name).cloned();
        if let Some(dialect) = dialect {
            match self.write(dialect, &subject).await {
                Ok(before) => known = known.or(before),
                Err(error) => tracing::warn!(report = subject.name, %error, "could not write what the audit found"),
            }
        }
        self.tell(&subject, &known.unwrap_or_default());
        self.known.insert(subject.name, found);
    }

    /// What the report held before, if there was one.
    async fn write(&self, dialect: Dialect, subject: &Subject) -> Result<Option<BTreeSet<FindingKey>>, kube::Error> {
        let kind = GroupVersionKind::gvk(dialect.group, dialect.version, dialect.kind);
        let api = Api::<DynamicObject>::all_with(self.ctx.client.clone(), &ApiResource::from_gvk_with_plural(&kind, dialect.plural));
        let live = api.get_opt(&subject.name).await?.map(|live| serde_json::to_value(live).unwrap_or_default());
        let rendered = render(dialect, subject, live.as_ref(), clock::now());
        if !live.as_ref().is_some_and(|live| says_the_same(live, &rendered)) {
            // Whoever leads now may write.
            if self.ctx.leadership.check().is_ok() {
                api.patch(&subject.name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&rendered)).await?;
            }
        }
        Ok(live.as_ref().map(|live: &Value| findings_of(live).into_keys().collect()))
    }

    /// An Event for each finding that was not known: on the object that declares the queue or key, else on the Tenant.
    fn tell(&self, subject: &Subject, known: &BTreeSet<FindingKey>) {
        let open = subject.resources.iter().flat_map(|resource| resource.open().map(move |finding| (resource, finding)));
        let mut new: Vec<_> =
            open.filter(|(resource, finding)| finding.severity > Severity::Info && !known.contains(&key(resource, finding))).collect();
        new.sort_by_key(|(_, finding)| std::cmp::Reverse(finding.severity));
        let tenant = subject.owners.first().and_then(|owner| self.ctx.tenant(&owner.name));
        for (resource, finding) in new.iter().take(MOST_EVENTS) {
            let note =
                format!("{} {}: {} ({}): {}", resource.kind.as_str(), resource.arn, finding.check, finding.severity, finding.details.join("; "));
            self.warn(resource, tenant.as_ref(), &note);
        }
        if let (Some(tenant), true) = (&tenant, new.len() > MOST_EVENTS) {
            let more = new.len() - MOST_EVENTS;
            self.ctx.events.warn(tenant.as_ref(), "AuditFinding", &format!("{more} more findings are new; encrypted-queue audit lists them"));
        }
    }

    fn warn(&self, resource: &ResourceReport, tenant: Option<&Arc<Tenant>>, note: &str) {
        let object = resource.object.as_deref().unwrap_or_default();
        let events = &self.ctx.events;
        match (resource.kind, object.split_once('/')) {
            (ResourceKind::Queue, Some((namespace, name))) => {
                let name = NamespacedName { namespace: namespace.to_owned(), name: name.to_owned() };
                if let Some(queue) = self.ctx.queue(&name) {
                    return events.warn(queue.as_ref(), "AuditFinding", note);
                }
            }
            (ResourceKind::Key, None) => {
                if let Some(key) = self.ctx.key(object) {
                    return events.warn(key.as_ref(), "AuditFinding", note);
                }
            }
            _ => {}
        }
        if let Some(tenant) = tenant {
            events.warn(tenant.as_ref(), "AuditFinding", note);
        }
    }
}

fn key(resource: &ResourceReport, finding: &FindingReport) -> FindingKey {
    (finding.check.to_owned(), resource.arn.clone())
}

/// A report for each tenant of an account, and one for what is nobody's or another install's.
fn subjects(account: &str, tenants: &BTreeMap<&String, &Arc<Tenant>>, report: AuditReport) -> Vec<Subject> {
    let owner = |(name, tenant): (&&String, &&Arc<Tenant>)| Owner { name: (*name).clone(), uid: tenant.uid().unwrap_or_default() };
    let (problems, mut rest) = (report.problems.len(), report.resources);
    let mut subjects = Vec::new();
    for (name, tenant) in tenants {
        let (resources, others) = rest.into_iter().partition(|resource| resource.tenant.as_ref() == Some(name));
        rest = others;
        subjects.push(Subject { name: format!("{TENANT}{name}"), owners: vec![owner((name, tenant))], resources, problems });
    }
    // Where there may have been something, it is told that there is nothing any more.
    if tenants.len() > 1 || !rest.is_empty() {
        let owners = tenants.iter().map(owner).collect();
        subjects.push(Subject { name: format!("encrypted-queue-account-{account}"), owners, resources: rest, problems });
    }
    subjects
}

fn counts(subject: &Subject) -> Findings {
    let mut counts = Findings::new();
    for finding in subject.resources.iter().flat_map(ResourceReport::open) {
        *counts.entry((finding.check, finding.severity.as_str())).or_default() += 1;
    }
    counts
}
