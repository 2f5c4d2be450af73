//! `encrypted-queue adopt --from-cluster`: gives the queues and keys of a cluster that is gone to the one that took its place.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::Arc;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use futures::{StreamExt, stream};
use kube::ResourceExt;
use serde::Serialize;

use super::{Arguments, Error, Output};
use crate::api::Tenant;
use crate::api::labels::{TAG_CLUSTER, TAG_OBJECT, TAG_RELEASED, TAG_TENANT};
use crate::aws::{Accounts, AwsError, Clients, Settings};
use crate::clock;
use crate::commands::explain::{self, cluster};
use crate::controller::account_key;
use crate::names::{queue_name_of, sha256_hex};
use crate::plan::state::{KeyLifecycle, Tags};

/// Queues looked at at once.
const CONCURRENT_READS: usize = 8;
/// How often progress is told.
const EACH: usize = 100;

/// A queue or a key that is to change hands.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    /// `Queue` or `Key`.
    kind: &'static str,
    /// Its name, or the key's id.
    name: String,
    /// The object it was made for.
    object: String,
    tenant: String,
    account: String,
    region: String,
    /// Of a key: the alias it gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    alias: Option<String>,
    /// What was done: None until it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<String>,
    #[serde(skip)]
    former_alias: Option<String>,
    #[serde(skip)]
    url: String,
    #[serde(skip)]
    clients: Arc<Clients>,
}

/// Adopts for the cluster that the arguments name.
pub(super) async fn execute(arguments: &Arguments, from_cluster: &str) -> Result<(), Error> {
    let (client, _) = explain::connect(arguments.context.as_deref()).await?;
    let (tenants, id) = cluster::tenants_and_id(&client).await?;
    let own = arguments.cluster_id.clone().or(id).ok_or(Error::NoClusterId)?;
    if own == from_cluster {
        return Err(Error::SameCluster(own));
    }
    let missing = arguments.tenants.iter().find(|name| !tenants.iter().any(|tenant| tenant.name_any() == **name));
    if let Some(name) = missing {
        return Err(Error::NoTenant(name.clone()));
    }
    let meant = |tenant: &&Tenant| arguments.tenants.is_empty() || arguments.tenants.contains(&tenant.name_any());
    let accounts = Accounts::connect(Settings { operator_role_arn: arguments.operator_role_arn.clone(), ..Settings::default() }).await?;
    let mut found = Vec::new();
    for tenant in tenants.iter().filter(meant) {
        for region in &tenant.spec.aws.regions {
            eprintln!("looking in account {}, {region}, for what is Tenant {}'s", tenant.spec.aws.account_id, tenant.name_any());
            let clients = accounts.clients(&account_key(tenant, Some(region))).await?;
            found.extend(Box::pin(keys(&clients, &tenant.name_any(), from_cluster, &own)).await?);
            found.extend(Box::pin(queues(&clients, &tenant.name_any(), from_cluster)).await?);
        }
    }
    if arguments.output == Output::Table || !arguments.dry_run {
        let text = table(&found, from_cluster, &own);
        if arguments.output == Output::Table { io::stdout().write_all(text.as_bytes())? } else { io::stderr().write_all(text.as_bytes())? }
    }
    if found.is_empty() || arguments.dry_run {
        return answer(arguments.output, &found);
    }
    if !arguments.yes {
        confirm(found.len())?;
    }
    let failed = Box::pin(adopt(&mut found, &own)).await;
    answer(arguments.output, &found)?;
    if failed > 0 { Err(Error::Partly(failed, found.len())) } else { Ok(()) }
}

fn answer(output: Output, found: &[Found]) -> Result<(), Error> {
    if output == Output::Json {
        let text = serde_json::to_string_pretty(found).map_err(io::Error::other)?;
        writeln!(io::stdout(), "{text}")?;
    }
    Ok(())
}

fn confirm(count: usize) -> Result<(), Error> {
    match crate::commands::confirmed(&format!("Give these {count} to this cluster?"))? {
        Some(true) => Ok(()),
        Some(false) => Err(Error::Declined),
        None => Err(Error::NotATerminal),
    }
}

/// Keys of the tenant that belong to the cluster that is gone and are not about to be deleted.
async fn keys(clients: &Arc<Clients>, tenant: &str, from: &str, own: &str) -> Result<Vec<Found>, AwsError> {
    let tags = [(TAG_CLUSTER, from), (TAG_TENANT, tenant)].map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let mut found = Vec::new();
    for key in clients.find_keys_by_listing(&tags).await? {
        if key.metadata.lifecycle == KeyLifecycle::PendingDeletion {
            continue;
        }
        let aliases = clients.key_aliases(&key.metadata.id).await?;
        let alias = aliases.iter().find_map(|alias| Some((alias.clone(), renamed(alias, from, own)?)));
        let (former_alias, alias) = alias.unzip();
        found.push(of("Key", key.metadata.id, &key.tags, alias, former_alias, String::new(), clients));
    }
    Ok(found)
}

/// Queues of the tenant that belong to the cluster that is gone.
async fn queues(clients: &Arc<Clients>, tenant: &str, from: &str) -> Result<Vec<Found>, AwsError> {
    let urls = clients.list_queue_urls().await?;
    let all = urls.len();
    let reads = stream::iter(urls).map(|url| async move { Ok::<_, AwsError>((clients.tags_of_queue(&url).await?, url)) });
    let mut reads = reads.buffered(CONCURRENT_READS).enumerate();
    let mut found = Vec::new();
    while let Some((index, read)) = reads.next().await {
        if (index + 1) % EACH == 0 {
            eprintln!("looked at {} of {all} queues", index + 1);
        }
        let (Some(tags), url) = read? else { continue };
        if tags.get(TAG_CLUSTER).is_some_and(|id| id == from) && tags.get(TAG_TENANT).is_some_and(|name| name == tenant) {
            let name = queue_name_of(&url).to_owned();
            found.push(of("Queue", name, &tags, None, None, url, clients));
        }
    }
    Ok(found)
}

fn of(
    kind: &'static str,
    name: String,
    tags: &Tags,
    alias: Option<String>,
    former_alias: Option<String>,
    url: String,
    clients: &Arc<Clients>,
) -> Found {
    let tag = |key: &str| tags.get(key).cloned().unwrap_or_default();
    let place = clients.place();
    Found {
        kind,
        name,
        object: tag(TAG_OBJECT),
        tenant: tag(TAG_TENANT),
        account: place.account.clone(),
        region: place.region.clone(),
        alias,
        result: None,
        former_alias,
        url,
        clients: clients.clone(),
    }
}

/// The same alias as this cluster names it; None: it is not one of the cluster that is gone.
fn renamed(alias: &str, from: &str, own: &str) -> Option<String> {
    let prefix = |id: &str| format!("alias/encryptedqueue/{}/", &sha256_hex(id)[..8]);
    Some(format!("{}{}", prefix(own), alias.strip_prefix(&prefix(from))?))
}

fn table(found: &[Found], from: &str, own: &str) -> String {
    if found.is_empty() {
        return format!("Nothing in the accounts of this cluster's Tenants belongs to cluster {from}.\n");
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["KIND", "NAME", "OBJECT", "TENANT", "ACCOUNT", "REGION"]);
    for one in found {
        table.add_row([one.kind, &one.name, &one.object, &one.tenant, &one.account, &one.region]);
    }
    let mut text = format!("{table}\n");
    writeln!(text, "{} of cluster {from} for cluster {own}.", found.len()).ok();
    text
}

/// Keys first: a queue that finds its key gone would have another made. Returns how many failed.
async fn adopt(found: &mut [Found], own: &str) -> usize {
    let released = clock::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let tags: Tags = [(TAG_CLUSTER.to_owned(), own.to_owned()), (TAG_RELEASED.to_owned(), released)].into();
    let (mut failed, all) = (0, found.len());
    for (index, one) in found.iter_mut().enumerate() {
        let clients = one.clients.clone();
        let result = if one.kind == "Key" {
            Box::pin(adopt_key(&clients, one, &tags)).await
        } else {
            clients.tag_queue(&one.url, &tags).await.map_err(|error| error.to_string())
        };
        one.result = Some(match result {
            Ok(()) => "adopted".to_owned(),
            Err(error) => {
                failed += 1;
                eprintln!("{} {}: {error}", one.kind, one.name);
                error
            }
        });
        if (index + 1) % EACH == 0 || index + 1 == all {
            eprintln!("{} of {all} done, {failed} failed", index + 1);
        }
    }
    failed
}

/// The alias first, by which its QueueKey finds it; then the tag, by which this command finds it no more.
async fn adopt_key(clients: &Clients, key: &Found, tags: &Tags) -> Result<(), String> {
    let said = |error: AwsError| error.to_string();
    if let Some(alias) = &key.alias {
        match clients.describe_key(alias).await.map_err(said)? {
            Some(known) if known.id == key.name => {}
            Some(known) => return Err(format!("{alias} points at key {} already; delete the alias if nothing needs that key", known.id)),
            None => clients.create_alias(alias, &key.name).await.map_err(said)?,
        }
    }
    clients.tag_key(&key.name, tags).await.map_err(said)?;
    match &key.former_alias {
        Some(alias) => clients.delete_alias(alias).await.map_err(said),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_aliases_of_the_former_cluster_are_renamed() {
        let prefix = |id: &str| format!("alias/encryptedqueue/{}/", &sha256_hex(id)[..8]);
        let rest = "acme/internal/acme-prod/orders-1";
        assert_eq!(renamed(&(prefix("old") + rest), "old", "new"), Some(prefix("new") + rest));
        assert_eq!(renamed(&(prefix("third") + rest), "old", "new"), None);
        assert_eq!(renamed("alias/orders", "old", "new"), None);
    }
}
