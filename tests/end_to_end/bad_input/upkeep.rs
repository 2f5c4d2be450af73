//! What people do beside the declarations: edit a ConfigMap, delete a QueueKey, take a Tenant away, change a ServiceAccount's role.

use encrypted_queue::api::labels::{FINALIZER, OWNED_BY};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;

use super::{CONSUMER, NAMESPACE, PRODUCER, message, queue, tenant, tier, until_event, world};
use crate::world::{ACCOUNT, World};

const REGION: &str = "eu-west-1";

async fn declare(world: &World, name: &str) {
    world.apply_object(&tenant(name, &json!({}))).await;
    world.apply_object(&tier(name, &json!({}))).await;
    world.apply_object(&queue(NAMESPACE, name, &json!({}))).await;
}

#[tokio::test]
async fn a_foreign_config_map_stays_and_our_own_is_restored() {
    let world = world().await;
    let maps = world.config_maps(NAMESPACE);
    let foreign =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "acme", "namespace": NAMESPACE}, "data": {"QUEUE_URL": "mine"}});
    world.apply_object(&foreign).await;
    declare(&world, "acme").await;
    world.until_ready(NAMESPACE, "acme").await;
    until_event(&world, NAMESPACE, "acme", "ConfigMapConflict").await;
    assert_eq!(maps.get("acme").await.unwrap().data.unwrap()["QUEUE_URL"], "mine");
    maps.delete("acme", &DeleteParams::default()).await.unwrap();
    let url = world.queue(NAMESPACE, "acme").await.status.unwrap().queue.unwrap().url;
    let restored = async || maps.get_opt("acme").await.unwrap().and_then(|map| map.data).is_some_and(|data| data.get("QUEUE_URL") == Some(&url));
    world.until("the name is free and the ConfigMap is made", restored).await;

    for change in
        [json!({"data": {"QUEUE_URL": "elsewhere"}}), json!({"data": {"QUEUE_URL": null}}), json!({"metadata": {"labels": null}, "data": null})]
    {
        maps.patch("acme", &PatchParams::default(), &Patch::Merge(&change)).await.unwrap();
        world.until(&format!("{change} is undone"), restored).await;
    }
    maps.delete("acme", &DeleteParams::default()).await.unwrap();
    world.until("a deleted ConfigMap is made again", restored).await;

    // Another controller's map stays its own, though somebody gave it the operator's label.
    let owner =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "app", "uid": "5e0d8e5e-0000-4000-8000-000000000000", "controller": true});
    let metadata = json!({"name": "other", "namespace": NAMESPACE, "labels": {OWNED_BY: "anyone"}, "ownerReferences": [owner]});
    world.apply_object(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"QUEUE_URL": "mine"}})).await;
    declare(&world, "other").await;
    world.until_ready(NAMESPACE, "other").await;
    until_event(&world, NAMESPACE, "other", "ConfigMapConflict").await;
    assert_eq!(maps.get("other").await.unwrap().data.unwrap()["QUEUE_URL"], "mine");
}

#[tokio::test]
async fn a_queue_key_deleted_by_hand_takes_its_key_back() {
    let world = world().await;
    declare(&world, "acme").await;
    let key = world.until_ready(NAMESPACE, "acme").await.status.unwrap().key.unwrap();
    let uid = world.keys().get(&key.name).await.unwrap().uid();
    let mark = world.proxy.mark();
    world.keys().delete(&key.name, &DeleteParams::default()).await.unwrap();
    world
        .until("another QueueKey of the name has the key", async || {
            let again = world.keys().get_opt(&key.name).await.unwrap();
            again.is_some_and(|again| {
                again.uid() != uid && again.status.is_some_and(|status| status.arn == key.arn && status.applied_sha256.is_some())
            })
        })
        .await;
    world.until_ready(NAMESPACE, "acme").await;
    assert_eq!(world.proxy.effects("CreateKey"), 1);
    let written: Vec<_> = world.proxy.writes_since(mark).into_iter().map(|call| call.operation).collect();
    assert_eq!(written, ["TagResource"], "the key carries the new object's UID, and nothing else changes");
}

#[tokio::test]
async fn tenant_and_tier_outlive_their_queues() {
    let world = world().await;
    declare(&world, "acme").await;
    let key = world.until_ready(NAMESPACE, "acme").await.status.unwrap().key.unwrap();
    world.tenants().delete("acme", &DeleteParams::default()).await.unwrap();
    world.tiers().delete("acme", &DeleteParams::default()).await.unwrap();
    let waiting = |conditions: Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition>| {
        let names = |message: &str| message.contains("EncryptedQueue team/acme") && message.contains(&format!("QueueKey {}", key.name));
        conditions.iter().any(|c| c.type_ == "Ready" && c.status == "False" && c.reason == "InUse" && names(&c.message))
    };
    world.until("the tenant says what it waits for", async || waiting(world.tenants().get("acme").await.unwrap().status.unwrap().conditions)).await;
    world.until("the tier says what it waits for", async || waiting(world.tiers().get("acme").await.unwrap().status.unwrap().conditions)).await;
    until_event(&world, "default", "acme", "InUse").await;
    world.queues(NAMESPACE).delete("acme", &DeleteParams::default()).await.unwrap();
    world
        .until("all have ended", async || {
            let params = ListParams::default();
            let queues = world.queues(NAMESPACE).list(&params).await.unwrap().items.len();
            let keys = world.keys().list(&params).await.unwrap().items.len();
            queues + keys + world.tenants().list(&params).await.unwrap().items.len() + world.tiers().list(&params).await.unwrap().items.len() == 0
        })
        .await;

    // Taken away by force: AWS stays as it is, and the queue says so.
    declare(&world, "acme").await;
    let status = world.until_ready(NAMESPACE, "acme").await.status.unwrap();
    let mark = world.proxy.mark();
    let off = Patch::Json::<()>(serde_json::from_value(json!([{"op": "remove", "path": "/metadata/finalizers"}])).unwrap());
    assert!(world.tenants().get("acme").await.unwrap().finalizers().iter().any(|name| name == FINALIZER));
    world.tenants().delete("acme", &DeleteParams::default()).await.unwrap();
    world.tenants().patch("acme", &PatchParams::default(), &off).await.unwrap();
    world.until_condition(NAMESPACE, "acme", "Accepted", "False", "TenantNotFound").await;
    assert_eq!(world.proxy.writes_since(mark).len(), 0);
    world.apply_object(&tenant("acme", &json!({}))).await;
    let again = world.until_ready(NAMESPACE, "acme").await.status.unwrap();
    assert_eq!((again.queue, again.key.unwrap().arn), (status.queue, status.key.unwrap().arn));
    assert_eq!(world.proxy.writes_since(mark).len(), 0);
}

#[tokio::test]
async fn a_service_account_leads_both_policies_and_its_loss_changes_nothing() {
    let world = world().await;
    let second = "arn:aws:iam::123456789012:role/app-second";
    world.create_roles(&[second]).await;
    let account = async |role: &str| {
        let metadata = json!({"name": "worker", "namespace": NAMESPACE, "annotations": {"eks.amazonaws.com/role-arn": role}});
        world.apply_object(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})).await;
    };
    account(CONSUMER).await;
    world.apply_object(&tenant("acme", &json!({}))).await;
    world.apply_object(&tier("acme", &json!({}))).await;
    world.apply_object(&queue(NAMESPACE, "acme", &json!({"consumers": [{"serviceAccount": {"name": "worker"}}]}))).await;
    let status = world.until_ready(NAMESPACE, "acme").await.status.unwrap();
    let (url, key) = (status.queue.unwrap().url, status.key.unwrap().arn.unwrap());
    let (sqs, kms) = (world.sqs(ACCOUNT, REGION).await, world.kms(ACCOUNT, REGION).await);
    let policies =
        async || [world.attributes(&sqs, &url).await["Policy"].clone(), kms.get_key_policy().key_id(&key).send().await.unwrap().policy.unwrap()];
    account(second).await;
    world
        .until("both policies name the new role only", async || {
            policies().await.iter().all(|policy| policy.contains(second) && !policy.contains(CONSUMER) && policy.contains(PRODUCER))
        })
        .await;
    world.until_ready(NAMESPACE, "acme").await;
    let (mark, before) = (world.proxy.mark(), policies().await);
    world.service_accounts(NAMESPACE).delete("worker", &DeleteParams::default()).await.unwrap();
    let told = world.until_condition(NAMESPACE, "acme", "Accepted", "False", "ServiceAccountNotFound").await;
    assert!(message(&told, "Accepted").contains("spec.consumers[0].serviceAccount.name"));
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(world.proxy.writes_since(mark).len(), 0);
    assert_eq!(policies().await, before);
    account(second).await;
    world.until_ready(NAMESPACE, "acme").await;
    assert_eq!(world.proxy.writes_since(mark).len(), 0);
}

#[tokio::test]
async fn a_full_tenant_has_room_again_when_a_queue_goes() {
    let world = world().await;
    world.apply_object(&tenant("acme", &json!({"limits": {"queues": 1}}))).await;
    world.apply_object(&tier("acme", &json!({}))).await;
    let spec = json!({"tenant": "acme", "sensitivityTier": "acme"});
    world.apply_object(&queue(NAMESPACE, "first", &spec)).await;
    world.until_ready(NAMESPACE, "first").await;
    // Kubernetes counts age in whole seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    world.apply_object(&queue(NAMESPACE, "second", &spec)).await;
    let told = world.until_condition(NAMESPACE, "second", "Accepted", "False", "QueueLimitReached").await;
    assert!(message(&told, "Accepted").contains("spec.limits.queues allows (1); remove one or ask for more"), "{}", message(&told, "Accepted"));
    world.queues(NAMESPACE).delete("first", &DeleteParams::default()).await.unwrap();
    world.until_ready(NAMESPACE, "second").await;
}
