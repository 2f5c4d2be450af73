//! Reads from the cluster what bears upon the queues that are asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{Api, ListParams};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::Error;
use crate::api::queue_key::NamespacedName;
use crate::api::{AccessApproval, EncryptedQueue, QueueKey, SensitivityTier, Tenant};
use crate::desired::{ServiceAccountRole, object_name};
use crate::explain::{Snapshot, service_accounts};
use crate::names::RoleArn;

/// Annotation by which EKS gives a ServiceAccount an IAM role.
pub(in crate::commands) const ROLE_ANNOTATION: &str = "eks.amazonaws.com/role-arn";
/// Reads at a time.
const CONCURRENCY: usize = 16;

/// What bears upon one queue.
pub(super) async fn one(client: &Client, name: &NamespacedName, operator_role: Option<RoleArn>) -> Result<Snapshot, Error> {
    let api = Api::<EncryptedQueue>::namespaced(client.clone(), &name.namespace);
    let what = || format!("EncryptedQueue {name}");
    let Some(object) = answered(api.get_opt(&name.name).await, what)? else {
        // The same answer as for a kind that is not there.
        answered(api.list(&ListParams::default().limit(1)).await, what)?;
        return Err(Error::NotFound(name.clone()));
    };
    let of_tenant = ListParams::default().fields(&format!("spec.tenant={}", object.spec.tenant));
    let siblings = Api::<EncryptedQueue>::all(client.clone()).list(&of_tenant).await;
    let (siblings, incomplete) = unless_forbidden(siblings, || format!("EncryptedQueues of Tenant {}", object.spec.tenant))?;
    let siblings = siblings.into_iter().flat_map(|list| list.items);
    let mut queues: BTreeMap<_, _> = siblings.map(|sibling| (object_name(&sibling), sibling)).collect();
    queues.insert(name.clone(), object);
    around(client, queues, |queue| queue == name, incomplete, operator_role).await
}

/// What bears upon all queues of the cluster, or of a namespace.
pub(in crate::commands) async fn all(client: &Client, namespace: Option<&str>, operator_role: Option<RoleArn>) -> Result<Snapshot, Error> {
    let everywhere = Api::<EncryptedQueue>::all(client.clone()).list(&ListParams::default()).await;
    let (list, incomplete) = match namespace {
        // Queues of other namespaces may share a key with these, and count towards the tenants' limits.
        Some(_) => unless_forbidden(everywhere, || "EncryptedQueues".to_owned())?,
        None => (Some(answered(everywhere, || "EncryptedQueues of all namespaces (-n names one)".to_owned())?), false),
    };
    let list = match (list, namespace) {
        (Some(list), _) => list.items,
        (None, namespace) => {
            let namespace = namespace.unwrap_or_default();
            let api = Api::<EncryptedQueue>::namespaced(client.clone(), namespace);
            answered(api.list(&ListParams::default()).await, || format!("EncryptedQueues of namespace {namespace}"))?.items
        }
    };
    let queues = list.into_iter().map(|queue| (object_name(&queue), queue)).collect();
    let asked = |queue: &NamespacedName| namespace.is_none_or(|namespace| queue.namespace == namespace);
    around(client, queues, asked, incomplete, operator_role).await
}

/// What bears upon the queues that `lay` makes of those of the cluster.
pub(in crate::commands) async fn laid_over(
    client: &Client,
    lay: impl FnOnce(BTreeMap<NamespacedName, EncryptedQueue>) -> BTreeMap<NamespacedName, EncryptedQueue>,
) -> Result<Snapshot, Error> {
    let list =
        answered(Api::<EncryptedQueue>::all(client.clone()).list(&ListParams::default()).await, || "EncryptedQueues of all namespaces".into())?;
    let queues = list.items.into_iter().map(|queue| (object_name(&queue), queue)).collect();
    around(client, lay(queues), |_| true, false, None).await
}

/// Everything else that the queues refer to. What only other queues than those asked for refer to may be withheld.
async fn around(
    client: &Client,
    queues: BTreeMap<NamespacedName, EncryptedQueue>,
    asked: impl Fn(&NamespacedName) -> bool,
    mut incomplete: bool,
    operator_role: Option<RoleArn>,
) -> Result<Snapshot, Error> {
    let tenants: BTreeSet<String> = queues.values().map(|queue| queue.spec.tenant.clone()).collect();
    let tiers: BTreeSet<String> = queues.values().map(|queue| queue.spec.sensitivity_tier.clone()).collect();
    let tenants_found = named(client, "Tenant", &tenants).await?;
    let tiers_found = named(client, "SensitivityTier", &tiers).await?;
    let keys = answered(Api::<QueueKey>::all(client.clone()).list(&ListParams::default()).await, || "QueueKeys".to_owned())?;
    let keys = keys.items.into_iter().filter(|key| tenants.contains(&key.spec.tenant)).map(|key| (key.name_any(), key)).collect();

    let (own, other): (Vec<_>, Vec<_>) = queues.iter().partition(|(name, _)| asked(name));
    let mut snapshot = Snapshot { tenants: tenants_found, tiers: tiers_found, keys, operator_role, ..Snapshot::default() };
    surroundings(client, &own, &mut snapshot).await?;
    match surroundings(client, &other, &mut snapshot).await {
        Err(Error::Forbidden { .. }) => incomplete = true,
        other => other?,
    }
    Ok(Snapshot { queues, incomplete, ..snapshot })
}

/// Namespaces and ServiceAccounts of these queues.
async fn surroundings(client: &Client, queues: &[(&NamespacedName, &EncryptedQueue)], snapshot: &mut Snapshot) -> Result<(), Error> {
    let namespaces: BTreeSet<String> = queues.iter().map(|(name, _)| name.namespace.clone()).collect();
    let accounts: BTreeSet<NamespacedName> = queues.iter().flat_map(|(_, queue)| service_accounts(queue)).collect();
    let labels = stream::iter(namespaces).map(async |name| {
        let read = Api::<Namespace>::all(client.clone()).get_metadata_opt(&name).await;
        let namespace = answered(read, || format!("Namespace {name}"))?;
        Ok::<_, Error>(namespace.map(|namespace| (name, namespace.metadata.labels.unwrap_or_default())))
    });
    let labels: Vec<_> = labels.buffer_unordered(CONCURRENCY).try_collect().await?;
    snapshot.namespaces.extend(labels.into_iter().flatten());
    let roles = stream::iter(accounts).map(async |name| {
        let read = Api::<ServiceAccount>::namespaced(client.clone(), &name.namespace).get_metadata_opt(&name.name).await;
        let account = answered(read, || format!("ServiceAccount {name}"))?;
        let role = account
            .map(|account| account.annotations().get(ROLE_ANNOTATION).cloned().map_or(ServiceAccountRole::WithoutRole, ServiceAccountRole::Role));
        Ok::<_, Error>(role.map(|role| (name, role)))
    });
    let roles: Vec<_> = roles.buffer_unordered(CONCURRENCY).try_collect().await?;
    snapshot.service_accounts.extend(roles.into_iter().flatten());
    Ok(())
}

/// Cluster-scoped objects by name, as far as they exist.
async fn named<K>(client: &Client, kind: &str, names: &BTreeSet<String>) -> Result<BTreeMap<String, K>, Error>
where
    K: Resource<DynamicType = (), Scope = kube::core::ClusterResourceScope> + Clone + Debug + DeserializeOwned,
{
    let found = stream::iter(names.clone()).map(async |name| {
        let object = answered(Api::<K>::all(client.clone()).get_opt(&name).await, || format!("{kind} {name}"))?;
        Ok::<_, Error>(object.map(|object| (name, object)))
    });
    let found: Vec<_> = found.buffer_unordered(CONCURRENCY).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

/// Approvals of access to keys, and the cluster's id.
pub(in crate::commands) async fn approvals_and_id(client: &Client) -> Result<(Vec<AccessApproval>, Option<String>), Error> {
    let approvals = answered(Api::<AccessApproval>::all(client.clone()).list(&ListParams::default()).await, || "AccessApprovals".into())?;
    Ok((approvals.items, id(client).await?))
}

/// All tenants, and the cluster's id.
pub(in crate::commands) async fn tenants_and_id(client: &Client) -> Result<(Vec<Tenant>, Option<String>), Error> {
    let tenants = answered(Api::<Tenant>::all(client.clone()).list(&ListParams::default()).await, || "Tenants".into())?;
    Ok((tenants.items, id(client).await?))
}

/// All tiers.
pub(in crate::commands) async fn tiers(client: &Client) -> Result<Vec<SensitivityTier>, Error> {
    Ok(answered(Api::<SensitivityTier>::all(client.clone()).list(&ListParams::default()).await, || "SensitivityTiers".into())?.items)
}

async fn id(client: &Client) -> Result<Option<String>, Error> {
    let system = answered(Api::<Namespace>::all(client.clone()).get_metadata_opt("kube-system").await, || "Namespace kube-system".into())?;
    Ok(system.and_then(|namespace| namespace.metadata.uid))
}

/// What was read, or an error that says what could not be.
fn answered<T>(result: Result<T, kube::Error>, what: impl FnOnce() -> String) -> Result<T, Error> {
    result.map_err(|error| match error {
        kube::Error::Api(status) if status.is_forbidden() => Error::Forbidden { what: what(), message: status.message },
        kube::Error::Api(status) if status.is_not_found() => Error::NotInstalled,
        error @ kube::Error::Api(_) => Error::Refused { what: what(), source: Box::new(error) },
        error => Error::NoAnswer { what: what(), source: Box::new(error) },
    })
}

/// The same, but what the reader may not see is none; then the second value is true.
fn unless_forbidden<T>(result: Result<T, kube::Error>, what: impl FnOnce() -> String) -> Result<(Option<T>, bool), Error> {
    match answered(result, what) {
        Ok(value) => Ok((Some(value), false)),
        Err(Error::Forbidden { .. }) => Ok((None, true)),
        Err(error) => Err(error),
    }
}
