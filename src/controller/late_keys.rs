//! The sweep for keys that no QueueKey records, once a check period for each account and Region: a former leader that was paused may have made one late.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kube::{Api, ResourceExt};
use rand::RngExt;

use super::Failure;
use super::claim::Standing;
use super::context::Context;
use crate::api::labels::{TAG_CLUSTER, TAG_OBJECT, TAG_TENANT};
use crate::api::{QueueKey, Reason, Tenant};
use crate::aws::{Caller, Clients, on_behalf};
use crate::plan::late::{Stray, end_late, judge};
use crate::plan::observed::FoundKey;
use crate::plan::{KeyAction, render};

/// Runs until dropped.
pub(super) async fn sweep(ctx: Arc<Context>, period: Duration) {
    loop {
        // Not at the start: a restart finds what it needs by itself.
        let pause = period.mul_f64(rand::rng().random_range(0.5..1.0));
        tokio::time::sleep(pause).await;
        for (tenant, region) in places(&ctx) {
            if let Err(failure) = on_behalf(Caller::SlowCheck, Box::pin(sweep_place(&ctx, &tenant, &region))).await {
                tracing::warn!(tenant = tenant.name_any(), region, error = failure.message, "could not look for keys that nothing records");
            }
        }
    }
}

/// Each account and Region once, with a tenant through whom it is reached.
fn places(ctx: &Context) -> Vec<(Arc<Tenant>, String)> {
    let mut places = BTreeMap::new();
    for tenant in ctx.stores.tenants.state().into_iter().filter(|tenant| ctx.claims.standing(tenant) == Standing::Ours) {
        for region in &tenant.spec.aws.regions {
            places.entry((tenant.spec.aws.account_id.clone(), region.clone())).or_insert_with(|| (tenant.clone(), region.clone()));
        }
    }
    places.into_values().collect()
}

async fn sweep_place(ctx: &Context, tenant: &Tenant, region: &str) -> Result<(), Failure> {
    let clients = ctx.clients(tenant, Some(region)).await.map_err(|error| Failure::no_account(tenant, error))?;
    let recorded: BTreeSet<String> = ctx.stores.keys.objects(|_| true).filter_map(|key| key.status.as_ref()?.key_id.clone()).collect();
    let tags = [(TAG_CLUSTER.to_owned(), ctx.cluster_id.clone())].into();
    let mut orphans = 0;
    for stray in clients.find_other_keys(&tags, &recorded).await? {
        let key = FoundKey { metadata: stray.metadata, tags: stray.tags };
        // One that cannot be judged holds no other up.
        match Box::pin(judge_stray(ctx, region, &key)).await {
            Ok(is_orphan) => orphans += u64::from(is_orphan),
            Err(failure) => tracing::warn!(key = key.metadata.arn, error = failure.message, "could not judge a key that nothing records"),
        }
    }
    ctx.metrics.record_orphans(format!("{}/{region}", tenant.spec.aws.account_id), orphans);
    Ok(())
}

/// True: nothing records the key, and nobody let go of it.
async fn judge_stray(ctx: &Context, region: &str, key: &FoundKey) -> Result<bool, Failure> {
    let tag = |name: &str| key.tags.get(name).map(String::as_str).unwrap_or_default();
    let Some(tenant) = ctx.tenant(tag(TAG_TENANT)) else {
        tracing::warn!(key = key.metadata.arn, tenant = tag(TAG_TENANT), "a key of this cluster belongs to a Tenant that does not exist");
        return Ok(false);
    };
    let _within = ctx.claims.enter(&tenant.name_any()).await;
    if ctx.claims.standing(&tenant) != Standing::Ours {
        return Ok(false);
    }
    // The cache may lag: the API server itself is asked.
    let object = Api::<QueueKey>::all(ctx.client.clone()).get_opt(tag(TAG_OBJECT)).await?;
    let status = object.as_ref().map(|object| object.status.clone().unwrap_or_default());
    match (judge(key, status.as_ref()), &object) {
        (Stray::Late { recorded }, Some(object)) => {
            let clients = ctx.clients(&tenant, Some(region)).await.map_err(|error| Failure::no_account(&tenant, error))?;
            end(ctx, &clients, object, key, &recorded).await?;
            Ok(false)
        }
        (Stray::Orphan, _) => {
            let note = format!(
                "key {} of QueueKey {}, which does not exist any more, was never let go of: it is kept and billed; delete it if no message needs it",
                key.metadata.arn,
                tag(TAG_OBJECT)
            );
            tracing::warn!(key = key.metadata.arn, "{note}");
            if ctx.check_asked("OrphanedKey", &key.metadata.id, Some(&note)) {
                ctx.events.warn(tenant.as_ref(), "OrphanedKey", &note);
            }
            Ok(true)
        }
        _ => Ok(false),
    }
}

async fn end(ctx: &Context, clients: &Clients, object: &QueueKey, key: &FoundKey, recorded: &str) -> Result<(), Failure> {
    let evidence = clients.evidence(std::slice::from_ref(&key.metadata.id)).await?;
    let window_days = ctx.tier(&object.spec.sensitivity_tier).map_or(30, |tier| tier.spec.key.deletion_window_days);
    let Some(actions) = evidence.first().and_then(|evidence| end_late(key, recorded, evidence, window_days)) else {
        let note = format!(
            "key {} carries this object's tags, while its key is {recorded}; whether it may go cannot be told: remove its tags encryptedqueue.dev/…, or schedule its deletion",
            key.metadata.id
        );
        if ctx.check_asked(Reason::AmbiguousOwnership.as_str(), &key.metadata.id, Some(&note)) {
            ctx.events.warn(object, Reason::AmbiguousOwnership.as_str(), &note);
        }
        return Ok(());
    };
    for action in &actions {
        let said = render::key_action(action);
        if ctx.dry_run {
            tracing::info!(action = said, "not done: the operator runs with --dry-run");
            continue;
        }
        ctx.leadership.check()?;
        match action {
            KeyAction::TagKey { id, tags } => clients.tag_key(id, tags).await?,
            KeyAction::ScheduleKeyDeletion { id, window_days } => drop(clients.schedule_key_deletion(id, *window_days).await?),
            _ => {}
        }
        tracing::info!(object = object.name_any(), action = said, "applied");
        ctx.events.warn(object, "SupersededKey", &format!("a key that was made late ends, {recorded} is the one in use: {said}"));
    }
    Ok(())
}
