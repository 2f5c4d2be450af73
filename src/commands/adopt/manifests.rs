//! Manifests for queues that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use kube::ResourceExt;
use serde::Serialize;

use super::found::{self, Skipped};
use super::{Arguments, Error, Output};
use crate::adopt::{Adopted, FoundQueue, Known, Remark, RemarkKind, TenantNeeds, adopt, name_apart, to_yaml};
use crate::api::{EncryptedQueue, Tenant};
use crate::aws::{AccountKey, Accounts};
use crate::clock;
use crate::commands::explain::{self, cluster};
use crate::commands::plan::{self, Manifests};
use crate::controller::account_key;
use crate::desired::{claimed_names, place_of};
use crate::explain::Snapshot;
use crate::names::Partition;
use crate::preview::one_line;

/// Exit status where some accounts did not answer.
const PARTIAL: u8 = 3;

/// What `-o json` answers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    manifests: Vec<Manifest<'a>>,
    /// What Tenants need beside what they have.
    tenants: &'a BTreeMap<String, TenantNeeds>,
    skipped: &'a [Skipped],
    /// Accounts that did not answer.
    failed: &'a [String],
}

#[derive(Serialize)]
struct Manifest<'a> {
    object: &'a EncryptedQueue,
    remarks: &'a [Remark],
}

pub(super) async fn execute(arguments: &Arguments) -> Result<ExitCode, Error> {
    let snapshot = known_objects(arguments).await?;
    let known = Known {
        tenants: snapshot.tenants.clone(),
        tiers: snapshot.tiers.clone(),
        tenant: arguments.default_tenant.clone(),
        tier: arguments.default_tier.clone(),
        namespace: arguments.namespace.clone(),
    };
    let accounts = arguments.reader.connect(arguments.operator_role_arn.as_ref()).await?;
    let (mut adopted, mut skipped, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for key in places(arguments, &snapshot, &accounts).await? {
        eprintln!("looking at the queues of account {}, {}", key.account_id, key.region);
        match Box::pin(of_place(&accounts, &key, arguments, &snapshot)).await {
            Ok(place) => {
                adopted.extend(place.found.into_iter().map(|found| (adopt(&found, &known), found)).map(|(adopted, found)| (found, adopted)));
                skipped.extend(place.skipped);
            }
            Err(error) => failed.push(format!("account {}, {}: {error}", key.account_id, key.region)),
        }
    }
    let mut taken = snapshot.queues.keys().map(|name| (name.namespace.clone(), name.name.clone())).collect();
    name_apart(adopted.iter_mut().map(|(_, adopted)| adopted), &mut taken);
    let seen = |name: &&String| {
        adopted.iter().any(|(found, _)| found.queue.url.ends_with(&format!("/{name}"))) || skipped.iter().any(|one| one.queue == **name)
    };
    if let Some(missing) = arguments.names.iter().find(|name| !seen(name)).filter(|_| failed.is_empty()) {
        return Err(Error::NoQueue(missing.clone()));
    }
    let needs = TenantNeeds::of(&adopted, &known);
    write(arguments, &adopted, &needs, &skipped, &failed)?;
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(PARTIAL) })
}

async fn of_place(accounts: &Accounts, key: &AccountKey, arguments: &Arguments, snapshot: &Snapshot) -> Result<found::Place, Error> {
    let clients = accounts.clients(key).await?;
    Ok(found::read(&clients, &arguments.names, &declared(snapshot, key)).await?)
}

/// Tenants, tiers and declarations of -f, else of the cluster.
async fn known_objects(arguments: &Arguments) -> Result<Snapshot, Error> {
    if !arguments.filenames.is_empty() || arguments.offline {
        let manifests = Manifests::load(&arguments.filenames, "default")?;
        return Ok(manifests.everything(clock::now()));
    }
    let (client, _) = explain::connect(arguments.context.as_deref()).await?;
    let mut snapshot = cluster::all(&client, None, None).await?;
    let (tenants, _) = cluster::tenants_and_id(&client).await?;
    snapshot.tenants.extend(tenants.into_iter().map(|tenant| (tenant.name_any(), tenant)));
    snapshot.tiers.extend(cluster::tiers(&client).await?.into_iter().map(|tier| (tier.name_any(), tier)));
    Ok(snapshot)
}

/// Accounts and Regions to look at, each once.
async fn places(arguments: &Arguments, snapshot: &Snapshot, accounts: &Accounts) -> Result<Vec<AccountKey>, Error> {
    if let Some(name) = arguments.tenants.iter().find(|name| !snapshot.tenants.contains_key(*name)) {
        return Err(Error::NoTenant(name.clone()));
    }
    let meant = snapshot.tenants.iter().filter(|(name, _)| arguments.tenants.is_empty() || arguments.tenants.contains(name));
    let wanted = |tenant: &Tenant| if arguments.regions.is_empty() { tenant.spec.aws.regions.clone() } else { arguments.regions.clone() };
    let mut keys: BTreeMap<(String, String), AccountKey> = BTreeMap::new();
    for (_, tenant) in meant {
        for region in wanted(tenant) {
            keys.entry((tenant.spec.aws.account_id.clone(), region.clone())).or_insert_with(|| account_key(tenant, Some(&region)));
        }
    }
    if keys.is_empty() {
        let (account_id, own_region) = accounts.own().await?;
        let regions = if arguments.regions.is_empty() { own_region.into_iter().collect() } else { arguments.regions.clone() };
        for region in regions {
            let partition = Partition::of_region(&region);
            let key = AccountKey { account_id: account_id.clone(), partition, region, role_arn: None, external_id: None };
            keys.insert((key.account_id.clone(), key.region.clone()), key);
        }
    }
    Ok(keys.into_values().collect())
}

/// Names in this account and Region that an EncryptedQueue claims.
fn declared(snapshot: &Snapshot, key: &AccountKey) -> BTreeSet<String> {
    let here = snapshot.queues.values().filter(|queue| {
        let tenant = snapshot.tenants.get(&queue.spec.tenant);
        tenant.is_some_and(|tenant| place_of(tenant, queue.spec.region.as_deref()) == key.place())
    });
    here.flat_map(claimed_names).collect()
}

fn write(
    arguments: &Arguments,
    adopted: &[(FoundQueue, Adopted)],
    needs: &BTreeMap<String, TenantNeeds>,
    skipped: &[Skipped],
    failed: &[String],
) -> Result<(), Error> {
    if let Some(directory) = &arguments.directory {
        fs::create_dir_all(directory).map_err(|source| Error::File { path: directory.display().to_string(), source })?;
        adopted.iter().try_for_each(|(_, adopted)| write_file(directory, adopted))?;
    }
    let text = if arguments.output == Output::Json {
        let manifests = adopted.iter().map(|(_, adopted)| Manifest { object: &adopted.object, remarks: &adopted.remarks }).collect();
        explain::json(&Answer { manifests, tenants: needs, skipped, failed })?
    } else {
        let documents = if arguments.directory.is_some() { String::new() } else { adopted.iter().map(|(_, adopted)| to_yaml(adopted)).collect() };
        documents + &closing(adopted, needs, skipped, failed)
    };
    Ok(plan::write(&text)?)
}

fn write_file(directory: &Path, adopted: &Adopted) -> Result<(), Error> {
    let metadata = &adopted.object.metadata;
    let name = format!("{}-{}.yaml", metadata.namespace.as_deref().unwrap_or_default(), adopted.object.name_any());
    let path = directory.join(name);
    let written = File::create_new(&path).and_then(|mut file| file.write_all(to_yaml(adopted).as_bytes()));
    written.map_err(|source| Error::File { path: path.display().to_string(), source })
}

/// What is to be known of all of them, as comments.
fn closing(adopted: &[(FoundQueue, Adopted)], needs: &BTreeMap<String, TenantNeeds>, skipped: &[Skipped], failed: &[String]) -> String {
    let mut text = "---\n".to_owned();
    let lost = adopted.iter().filter(|(_, adopted)| adopted.remarks.iter().any(|remark| remark.kind == RemarkKind::Lost)).count();
    writeln!(text, "# {} queues, {lost} of them with access that no declaration can say (LOST), {} skipped.", adopted.len(), skipped.len()).ok();
    for (tenant, needs) in needs {
        writeln!(text, "# Tenant {tenant} must admit first:").ok();
        for line in needs.lines() {
            writeln!(text, "#   {}", one_line(&line)).ok();
        }
    }
    for Skipped { queue, account, region, reason } in skipped {
        writeln!(text, "# skipped {queue} of account {account}, {region}: {}", one_line(reason)).ok();
    }
    for line in failed {
        writeln!(text, "# FAILED {}", one_line(line)).ok();
    }
    text
}
