//! What a cluster declares, laid over what a scan found.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;

use super::inventory::{DeclaredKey, DeclaredQueue, Encryption, Inventory, TierRules};
use crate::api::labels::TAG_TENANT;
use crate::api::queue_key::NamespacedName;
use crate::api::{EncryptedQueue, QueueKey, SensitivityTier, Tenant};
use crate::desired::{DesiredQueue, glob, object_name, place_of};
use crate::explain::Snapshot;
use crate::names::{QueueArn, RoleArn};
use crate::plan::state::Tags;
use crate::policy::queue_policy::QueueKind;

/// What is declared, by ARN.
#[derive(Clone, Debug, Default)]
pub struct Declarations {
    queues: BTreeMap<String, DeclaredQueue>,
    keys: BTreeMap<String, DeclaredKey>,
    tenants: Vec<TenantFacts>,
}

/// What tells whose a queue is.
#[derive(Clone, Debug)]
struct TenantFacts {
    name: String,
    account: String,
    regions: Vec<String>,
    queue_names: Vec<String>,
}

impl TenantFacts {
    fn of(tenant: &Tenant) -> Self {
        let spec = &tenant.spec;
        let name = tenant.name_any();
        let mut queue_names: Vec<String> = spec.queue_names.iter().chain(&spec.adoptable_queue_names).cloned().collect();
        if spec.queue_names.is_empty() {
            queue_names.push(format!("{name}-*"));
        }
        Self { account: spec.aws.account_id.clone(), regions: spec.aws.regions.clone(), queue_names, name }
    }
}

fn rules(tier: &SensitivityTier) -> TierRules {
    let spec = &tier.spec;
    let (reuse, rotation, retention) = (&spec.data_key_reuse_seconds, &spec.key.rotation_period_days, &spec.message_retention_seconds);
    TierRules {
        data_key_reuse_seconds: (reuse.minimum.into(), reuse.maximum.into()),
        rotation_period_days: (rotation.minimum.into(), rotation.maximum.into()),
        message_retention_seconds: (retention.minimum.into(), retention.maximum.into()),
        required_tags: spec.required_tags.clone(),
    }
}

impl Declarations {
    /// Of what the cluster, or manifests, say.
    pub fn of(snapshot: &Snapshot, cluster_id: &str) -> Self {
        let judged = judged(snapshot, cluster_id);
        let mut declarations = Self { tenants: snapshot.tenants.values().map(TenantFacts::of).collect(), ..Self::default() };
        for (name, object) in &snapshot.queues {
            declarations.add_queue(snapshot, object, judged.get(name));
        }
        for key in snapshot.keys.values() {
            if let Some(arn) = key.status.as_ref().and_then(|status| status.arn.clone()) {
                declarations.keys.insert(arn, declared_key(snapshot, key, &judged));
            }
        }
        declarations
    }

    fn add_queue(&mut self, snapshot: &Snapshot, object: &EncryptedQueue, desired: Option<&DesiredQueue>) {
        let status = object.status.as_ref();
        let recorded = |reference: Option<&crate::api::encrypted_queue::QueueReference>| reference.map(|reference| reference.arn.clone());
        let source = desired.map(|desired| desired.source.arn.to_string()).or_else(|| recorded(status.and_then(|status| status.queue.as_ref())));
        let dead = desired.and_then(|desired| desired.dead_letter.as_ref()).map(|side| side.arn.to_string());
        let dead = dead.or_else(|| recorded(status.and_then(|status| status.dead_letter_queue.as_ref())));
        for (kind, arn) in [(QueueKind::Source, source), (QueueKind::DeadLetter, dead)] {
            let Some(arn) = arn else { continue };
            let declared = DeclaredQueue {
                object: object_name(object),
                tenant: object.spec.tenant.clone(),
                tier: object.spec.sensitivity_tier.clone(),
                kind,
                rules: snapshot.tiers.get(&object.spec.sensitivity_tier).map(rules),
                key_arn: status.and_then(|status| status.key.as_ref()).and_then(|key| key.arn.clone()),
                access: desired.map(|desired| desired.access.clone()),
            };
            self.queues.insert(arn, declared);
        }
    }

    /// Tells of every queue and key what is declared of it, and whose it is.
    pub fn lay_over(&self, inventory: &mut Inventory) {
        for facts in &mut inventory.places {
            let here = |tenant: &&TenantFacts| tenant.account == facts.place.account && tenant.regions.contains(&facts.place.region);
            let tenants: Vec<&TenantFacts> = self.tenants.iter().filter(here).collect();
            facts.declarations = !tenants.is_empty();
            for queue in &mut facts.queues {
                queue.declared = self.queues.get(queue.arn.as_str()).cloned();
                let declared = queue.declared.as_ref().map(|declared| declared.tenant.clone());
                queue.tenant = declared.or_else(|| owner(&tenants, queue.tags.as_ref(), Some(queue.arn.name())));
            }
            let mut users = BTreeMap::<String, BTreeSet<Option<String>>>::new();
            for queue in &facts.queues {
                if let Encryption::Key(arn) = &queue.encryption {
                    users.entry(arn.clone()).or_default().insert(queue.tenant.clone());
                }
            }
            for key in &mut facts.keys {
                key.declared = self.keys.get(&key.arn).cloned();
                let declared = key.declared.as_ref().map(|declared| declared.tenant.clone());
                let only_user = || users.get(&key.arn).filter(|tenants| tenants.len() == 1).and_then(|tenants| tenants.first().cloned().flatten());
                key.tenant = declared.or_else(|| owner(&tenants, key.tags.as_ref(), None)).or_else(only_user);
            }
        }
    }
}

/// Whose something undeclared is: by its tag, by its name, or since the account has one tenant only.
fn owner(tenants: &[&TenantFacts], tags: Option<&Tags>, name: Option<&str>) -> Option<String> {
    if let Some(tagged) = tags.and_then(|tags| tags.get(TAG_TENANT)) {
        return Some(tagged.clone());
    }
    if let [only] = tenants {
        return Some(only.name.clone());
    }
    let fits = |tenant: &&&TenantFacts| name.is_some_and(|name| tenant.queue_names.iter().any(|pattern| glob(pattern, name)));
    match tenants.iter().filter(fits).collect::<Vec<_>>().as_slice() {
        [one] => Some(one.name.clone()),
        _ => None,
    }
}

/// Every accepted declaration as the controller would have it.
fn judged(snapshot: &Snapshot, cluster_id: &str) -> BTreeMap<NamespacedName, DesiredQueue> {
    let namesakes = snapshot.namesakes();
    let judge = |object: &EncryptedQueue| {
        let operator = snapshot.tenants.get(&object.spec.tenant).and_then(|tenant| snapshot.operator_role(tenant));
        snapshot.judge(object, &namesakes, cluster_id, operator.as_ref()).ok()
    };
    snapshot.queues.iter().filter_map(|(name, object)| Some((name.clone(), judge(object)?))).collect()
}

fn declared_key(snapshot: &Snapshot, key: &QueueKey, judged: &BTreeMap<NamespacedName, DesiredQueue>) -> DeclaredKey {
    let status = key.status.clone().unwrap_or_default();
    let named = status.users.iter().map(|user| NamespacedName { namespace: user.namespace.clone(), name: user.name.clone() });
    let desired: Vec<Option<&DesiredQueue>> = named.map(|name| judged.get(&name)).collect();
    let users = desired.iter().flatten().map(|desired| (desired.source.arn.clone(), desired.access.dead_letter_queue.clone())).collect();
    // A user that is refused, gone or released keeps grants that no declaration tells.
    let all_told = desired.iter().all(Option::is_some) && status.released_queues.is_empty();
    let grants =
        desired.iter().flatten().map(|desired| (desired.source.arn.clone(), desired.access.effective_grants())).collect::<BTreeMap<QueueArn, _>>();
    DeclaredKey {
        object: key.name_any(),
        tenant: key.spec.tenant.clone(),
        tier: key.spec.sensitivity_tier.clone(),
        rules: snapshot.tiers.get(&key.spec.sensitivity_tier).map(rules),
        users,
        grants: all_told.then_some(grants),
        administrators: snapshot.tenants.get(&key.spec.tenant).and_then(|tenant| administrators(tenant, snapshot.operator_role(tenant).as_ref())),
        retired: status.retirement.is_some(),
    }
}

fn administrators(tenant: &Tenant, operator: Option<&RoleArn>) -> Option<BTreeSet<String>> {
    let spec = &tenant.spec;
    let listed = spec.key_administrators.iter().chain(&spec.break_glass_administrators).cloned();
    Some(listed.chain([operator?.to_string(), place_of(tenant, None).root_arn()]).collect())
}
