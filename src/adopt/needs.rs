//! What a Tenant must admit before manifests of its queues are accepted.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Adopted, FoundQueue, Known};
use crate::api::encrypted_queue::{Consumer, Producer};
use crate::names::RoleArn;

/// What a Tenant must have beside what it has.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantNeeds {
    /// `spec.namespaces.names`.
    pub namespaces: BTreeSet<String>,
    /// `spec.aws.accountId`.
    pub accounts: BTreeSet<String>,
    /// `spec.aws.regions`.
    pub regions: BTreeSet<String>,
    /// `spec.sensitivityTiers`.
    pub sensitivity_tiers: BTreeSet<String>,
    /// `spec.queueNames`.
    pub queue_names: BTreeSet<String>,
    /// `spec.adoptableQueueNames`.
    pub adoptable_queue_names: BTreeSet<String>,
    /// `spec.principals.roles`.
    pub roles: BTreeSet<String>,
    /// `spec.principals.services`.
    pub services: BTreeSet<String>,
    /// `spec.principals.sourceAccounts`.
    pub source_accounts: BTreeSet<String>,
    /// `spec.principals.organizations`.
    pub organizations: BTreeSet<String>,
    /// Tiers whose `spec.access` must allow roles of other accounts.
    pub cross_account_tiers: BTreeSet<String>,
    /// Tiers whose `spec.access` must allow organisations.
    pub organization_tiers: BTreeSet<String>,
    /// Tiers whose `spec.access` must allow services, as it does unless somebody forbade it.
    pub service_tiers: BTreeSet<String>,
}

impl TenantNeeds {
    /// What the Tenants of these manifests need beside what is known of them.
    pub fn of(adopted: &[(FoundQueue, Adopted)], known: &Known) -> BTreeMap<String, Self> {
        let mut needs: BTreeMap<String, Self> = BTreeMap::new();
        for (found, adopted) in adopted {
            needs.entry(adopted.object.spec.tenant.clone()).or_default().add(found, adopted);
        }
        for (name, need) in &mut needs {
            need.without(name, known);
        }
        needs.retain(|_, need| *need != Self::default());
        needs
    }

    fn add(&mut self, found: &FoundQueue, adopted: &Adopted) {
        let spec = &adopted.object.spec;
        self.namespaces.extend(adopted.object.metadata.namespace.clone());
        self.accounts.insert(found.place.account.clone());
        self.regions.insert(found.place.region.clone());
        self.sensitivity_tiers.insert(spec.sensitivity_tier.clone());
        let dead_letter = spec.dead_letter.as_ref();
        let names: Vec<String> = spec.queue.name.iter().chain(dead_letter.and_then(|dead_letter| dead_letter.name.as_ref())).cloned().collect();
        self.queue_names.extend(names.iter().cloned());
        self.adoptable_queue_names.extend(names);
        let more = dead_letter.into_iter().flat_map(|dead_letter| dead_letter.consumers.iter().chain(&dead_letter.redrivers));
        let consumers = spec.consumers.iter().chain(&spec.observers).chain(more);
        let roles = consumers.filter_map(|Consumer { role, .. }| role.as_ref());
        for role in roles.chain(spec.producers.iter().filter_map(|producer| producer.role.as_ref())) {
            let elsewhere = RoleArn::parse(role).is_ok_and(|role| role.account() != found.place.account);
            self.roles.insert(role.clone());
            self.cross_account_tiers.extend(elsewhere.then(|| spec.sensitivity_tier.clone()));
        }
        for Producer { service, organization, .. } in &spec.producers {
            self.services.extend(service.iter().map(|service| service.principal.as_str().to_owned()));
            self.service_tiers.extend(service.iter().map(|_| spec.sensitivity_tier.clone()));
            self.source_accounts.extend(service.iter().map(|service| service.source_account.clone()));
            self.organizations.extend(organization.iter().map(|organization| organization.id.clone()));
            self.organization_tiers.extend(organization.iter().map(|_| spec.sensitivity_tier.clone()));
        }
    }

    /// Leaves out what Tenant and tiers have already.
    fn without(&mut self, name: &str, known: &Known) {
        use crate::api::sensitivity_tier::Permission;
        use crate::desired::{glob, role_matches};
        let allowed = |tier: &String, of: fn(&crate::api::sensitivity_tier::TierAccess) -> Permission| {
            known.tiers.get(tier).is_some_and(|tier| of(&tier.spec.access) == Permission::Allow)
        };
        self.cross_account_tiers.retain(|tier| !allowed(tier, |access| access.cross_account));
        self.organization_tiers.retain(|tier| !allowed(tier, |access| access.organizations));
        // A tier that is not known has the default.
        self.service_tiers.retain(|tier| known.tiers.contains_key(tier) && !allowed(tier, |access| access.services));
        let own_names = [format!("{name}-*")];
        let Some(tenant) = known.tenants.get(name).map(|tenant| &tenant.spec) else {
            return self.queue_names.retain(|queue| !glob(&own_names[0], queue));
        };
        let patterns = if tenant.queue_names.is_empty() { &own_names[..] } else { &tenant.queue_names };
        self.namespaces.retain(|namespace| tenant.namespaces.selector.is_none() && !tenant.namespaces.names.contains(namespace));
        self.accounts.retain(|account| *account != tenant.aws.account_id);
        self.regions.retain(|region| !tenant.aws.regions.contains(region));
        self.sensitivity_tiers.retain(|tier| !tenant.sensitivity_tiers.contains(tier));
        self.queue_names.retain(|queue| !patterns.iter().any(|pattern| glob(pattern, queue)));
        self.adoptable_queue_names.retain(|queue| !tenant.adoptable_queue_names.iter().any(|pattern| glob(pattern, queue)));
        self.roles.retain(|role| !tenant.principals.roles.iter().any(|pattern| role_matches(pattern, role)));
        self.services.retain(|service| !tenant.principals.services.iter().any(|known| known.as_str() == service));
        self.source_accounts.retain(|account| !tenant.principals.source_accounts.contains(account));
        self.organizations.retain(|id| !tenant.principals.organizations.contains(id));
    }

    /// Field by field, for people.
    pub fn lines(&self) -> Vec<String> {
        let fields = [
            ("spec.namespaces.names", &self.namespaces),
            ("spec.aws.accountId", &self.accounts),
            ("spec.aws.regions", &self.regions),
            ("spec.sensitivityTiers", &self.sensitivity_tiers),
            ("spec.queueNames", &self.queue_names),
            ("spec.adoptableQueueNames", &self.adoptable_queue_names),
            ("spec.principals.roles", &self.roles),
            ("spec.principals.services", &self.services),
            ("spec.principals.sourceAccounts", &self.source_accounts),
            ("spec.principals.organizations", &self.organizations),
            ("spec.access.crossAccount: Allow in SensitivityTier", &self.cross_account_tiers),
            ("spec.access.organizations: Allow in SensitivityTier", &self.organization_tiers),
            ("spec.access.services: Allow in SensitivityTier", &self.service_tiers),
        ];
        let shown = fields.into_iter().filter(|(_, values)| !values.is_empty());
        shown.map(|(field, values)| format!("{field}: {}", values.iter().map(String::as_str).collect::<Vec<_>>().join(", "))).collect()
    }
}
