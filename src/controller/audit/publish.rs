//! Tells what audits found: report objects, metrics, Events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::Value;

use super::known::Known;
use super::{Tenants, accounts};
use crate::api::Tenant;
use crate::api::queue_key::NamespacedName;
use crate::audit::checks::Severity;
use crate::audit::policy_report::{DIALECTS, Dialect, FindingKey, MANAGED_BY, Owner, Subject, read_back, render, says_the_same};
use crate::audit::report::{FindingReport, ResourceKind, ResourceReport};
use crate::clock;
use crate::controller::context::Context;
use crate::controller::status::MANAGER;
use crate::telemetry::metrics::Metrics;

/// Most Events of one report and audit; the worst are told, the rest is counted.
const MOST_EVENTS: usize = 20;
/// How the reports of tenants are called, before the tenant's name.
pub(super) const TENANT: &str = "encrypted-queue-tenant-";
/// How those of accounts are called, before the account's id.
const ACCOUNT: &str = "encrypted-queue-account-";

/// The report of what is no tenant's.
pub(super) fn of_account(account: &str) -> String {
    format!("{ACCOUNT}{account}")
}

pub(super) struct Publisher {
    ctx: Arc<Context>,
    metrics: Metrics,
    dialect: Option<Dialect>,
    told_of_no_reports: AtomicBool,
}

impl Publisher {
    pub(super) fn new(ctx: Arc<Context>, metrics: Metrics) -> Self {
        Self { ctx, metrics, dialect: None, told_of_no_reports: AtomicBool::new(false) }
    }

    /// Finds out which kind of report the cluster serves; told once if there is none.
    pub(super) async fn find_dialect(&mut self) {
        self.dialect = None;
        for dialect in DIALECTS {
            let served = self.ctx.client.list_api_group_resources(&format!("{}/{}", dialect.group, dialect.version)).await;
            if served.is_ok_and(|list| list.resources.iter().any(|resource| resource.name == dialect.plural)) {
                self.dialect = Some(dialect);
                return;
            }
        }
        if !self.told_of_no_reports.swap(true, Ordering::Relaxed) {
            let names = DIALECTS.map(|dialect| format!("{}.{} ({})", dialect.plural, dialect.group, dialect.version)).join(" or ");
            tracing::warn!(
                "what the audit finds is told by metrics and Events alone: for reports, install the CustomResourceDefinition {names}; it is looked for \
                 at each audit"
            );
        }
    }

    /// What the cluster's reports say that are written here, but for those that do not hold all that was found.
    pub(super) async fn reports(&self) -> BTreeMap<String, Known> {
        let Some(api) = self.api() else { return BTreeMap::new() };
        match api.list(&ListParams::default().labels(&format!("app.kubernetes.io/managed-by={MANAGED_BY}"))).await {
            Ok(reports) => {
                let read = |report: DynamicObject| Some((report.name_any(), Known::recalled(read_back(&serde_json::to_value(report).ok()?)?)));
                reports.into_iter().filter_map(read).collect()
            }
            Err(error) => {
                tracing::warn!(%error, "could not read what earlier audits found");
                BTreeMap::new()
            }
        }
    }

    fn api(&self) -> Option<Api<DynamicObject>> {
        let dialect = self.dialect?;
        let kind = GroupVersionKind::gvk(dialect.group, dialect.version, dialect.kind);
        Some(Api::all_with(self.ctx.client.clone(), &ApiResource::from_gvk_with_plural(&kind, dialect.plural)))
    }

    /// Says in metrics what is known.
    pub(super) fn count(&self, name: &str, known: &Known) {
        self.metrics.record_findings(label(name), known.counts());
    }

    /// Forgets what is no tenant's of this install any more; the report of a Tenant, or account, that is not there at all goes too.
    pub(super) async fn forget(&self, tenants: &Tenants) {
        let ours = |name: &String| match (name.strip_prefix(TENANT), name.strip_prefix(ACCOUNT)) {
            (Some(tenant), _) => tenants.contains_key(tenant),
            (_, account) => account.is_some_and(|account| accounts(tenants).contains(account)),
        };
        let gone: Vec<String> = self.ctx.looks.known().keys().filter(|name| !ours(name)).cloned().collect();
        for name in gone {
            if self.is_nobodys(&name)
                && let Err(error) = self.delete(&name).await
            {
                tracing::warn!(report = name, %error, "could not delete the report; tried again");
                continue;
            }
            self.metrics.forget_findings(label(&name));
            self.ctx.looks.known().remove(&name);
        }
    }

    /// Whether no Tenant is there, of whichever install, that a report could be about.
    fn is_nobodys(&self, name: &str) -> bool {
        let all = self.ctx.stores.tenants.state();
        match (name.strip_prefix(TENANT), name.strip_prefix(ACCOUNT)) {
            (Some(tenant), _) => all.iter().all(|known| known.name_any() != tenant),
            (_, Some(account)) => all.iter().all(|known| known.spec.aws.account_id != account),
            _ => false,
        }
    }

    /// The garbage collector of Kubernetes may have been faster.
    async fn delete(&self, name: &str) -> Result<(), kube::Error> {
        let Some(api) = self.api() else { return Ok(()) };
        if self.ctx.leadership.check().is_err() {
            return Ok(());
        }
        match api.delete(name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            deleted => deleted.map(drop),
        }
    }

    /// Writes a report if it says something new, and tells of what is new in it.
    pub(super) async fn publish(&self, name: &str, owners: &[Arc<Tenant>], known: Known) {
        self.count(name, &known);
        let before = self.ctx.looks.known().get(name).map(Known::keys).unwrap_or_default();
        let owner = |tenant: &Arc<Tenant>| Owner { name: tenant.name_any(), uid: tenant.uid().unwrap_or_default() };
        let subject = Subject {
            name: name.to_owned(),
            owners: owners.iter().map(owner).collect(),
            resources: known.found().cloned().collect(),
            clean: known.clean(),
            problems: known.problems,
        };
        self.tell(owners.first(), &subject, &before);
        self.ctx.looks.known().insert(name.to_owned(), known);
        if let Err(error) = self.write(&subject).await {
            tracing::warn!(report = name, %error, "could not write what the audit found");
        }
    }

    async fn write(&self, subject: &Subject) -> Result<(), kube::Error> {
        let (Some(api), Some(dialect)) = (self.api(), self.dialect) else { return Ok(()) };
        let live: Option<Value> = api.get_opt(&subject.name).await?.map(|live| serde_json::to_value(live).unwrap_or_default());
        let rendered = render(dialect, subject, live.as_ref(), clock::now());
        // Whoever leads now may write.
        if !live.as_ref().is_some_and(|live| says_the_same(live, &rendered)) && self.ctx.leadership.check().is_ok() {
            api.patch(&subject.name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&rendered)).await?;
        }
        Ok(())
    }

    /// An Event for each finding that was not known: on the object that declares the queue or key, else on the Tenant.
    fn tell(&self, tenant: Option<&Arc<Tenant>>, subject: &Subject, known: &BTreeSet<FindingKey>) {
        let open = subject.resources.iter().flat_map(|resource| resource.open().map(move |finding| (resource, finding)));
        let mut new: Vec<(&ResourceReport, &FindingReport)> = open
            .filter(|(resource, finding)| finding.severity > Severity::Info && !known.contains(&(finding.check.to_owned(), resource.arn.clone())))
            .collect();
        new.sort_by_key(|(_, finding)| std::cmp::Reverse(finding.severity));
        for (resource, finding) in new.iter().take(MOST_EVENTS) {
            let note =
                format!("{} {}: {} ({}): {}", resource.kind.as_str(), resource.arn, finding.check, finding.severity, finding.details.join("; "));
            self.warn(resource, tenant, &note);
        }
        if let (Some(tenant), true) = (tenant, new.len() > MOST_EVENTS) {
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

/// By which a report's findings are told in metrics: what is nobody's, by account.
fn label(name: &str) -> &str {
    name.strip_prefix(TENANT).unwrap_or(name)
}
