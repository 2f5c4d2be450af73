//! Roles that ServiceAccounts have by EKS Pod Identity, for commands that judge declarations as the operator does.

use std::collections::BTreeMap;

use crate::api::queue_key::NamespacedName;
use crate::aws::{AwsError, PodIdentity};
use crate::desired::ServiceAccountRole;
use crate::explain::Snapshot;

/// Gives the ServiceAccounts of a snapshot their associations' roles.
pub(super) async fn associate(snapshot: &mut Snapshot, source: &PodIdentity) -> Result<(), AwsError> {
    if snapshot.service_accounts.is_empty() {
        return Ok(());
    }
    let associations = source.associations().await?.into_iter();
    let name = |namespace, name| NamespacedName { namespace, name };
    let ids: BTreeMap<_, _> = associations.map(|known| (name(known.namespace, known.service_account), known.id)).collect();
    for (account, known) in &mut snapshot.service_accounts {
        let role = match ids.get(account) {
            Some(id) => source.role(id).await?,
            None => None,
        };
        *known = match (role, std::mem::replace(known, ServiceAccountRole::Missing)) {
            (Some(role), ServiceAccountRole::Role(annotated)) if annotated != role => {
                ServiceAccountRole::Associated { role, ignored: Some(annotated) }
            }
            (Some(role), ServiceAccountRole::Role(_) | ServiceAccountRole::WithoutRole) => ServiceAccountRole::Associated { role, ignored: None },
            (None, ServiceAccountRole::WithoutRole) => ServiceAccountRole::NotAssociated { cluster: source.cluster().to_owned() },
            (_, known) => known,
        };
    }
    Ok(())
}
