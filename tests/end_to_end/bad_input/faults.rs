//! Calls that fail, rotation on request, and the operator's restart.

use std::time::Duration;

use serde_json::json;
use test_support::proxy::{Effect, Matcher, Rule};

use super::{NAMESPACE, message, queue, tenant, tier, until_event, world};
use crate::world::{ACCOUNT, World};

const REGION: &str = "eu-west-1";

async fn made(world: &World, change: &serde_json::Value) -> encrypted_queue::api::EncryptedQueueStatus {
    world.apply_object(&tenant("acme", &json!({}))).await;
    world.apply_object(&tier("acme", &json!({}))).await;
    world.apply_object(&queue(NAMESPACE, "acme", change)).await;
    world.until_ready(NAMESPACE, "acme").await.status.unwrap()
}

fn server_error() -> Effect {
    Effect::Error { status: 500, code: "InternalFailure".into(), message: "it is us".into() }
}

#[tokio::test]
async fn failing_calls_are_told_and_heal() {
    let world = world().await;
    let status = made(&world, &json!({"deadLetter": {}})).await;
    let url = status.queue.clone().unwrap().url;
    let (sqs, kms) = (world.sqs(ACCOUNT, REGION).await, world.kms(ACCOUNT, REGION).await);
    let faults = [
        (Effect::error("AccessDenied", "not you"), "AccessDenied", "Stalled"),
        (Effect::error("ThrottlingException", "slower"), "Throttled", "Reconciling"),
        (server_error(), "AwsUnavailable", "Reconciling"),
        (Effect::DropConnection, "AwsUnavailable", "Reconciling"),
    ];
    let key_name = status.key.clone().unwrap().name;
    let mut timeout = 30;
    for operation in ["SetQueueAttributes", "PutKeyPolicy"] {
        for (fault, reason, condition) in &faults {
            timeout += 1;
            world.proxy.inject(Rule::once(Matcher::operation(operation), fault.clone()).times(0));
            let role = format!("arn:aws:iam::123456789012:role/app-{timeout}");
            world.create_roles(&[&role]).await;
            let edit = json!({"spec": {"consumers": [{"role": role}], "queue": {"visibilityTimeoutSeconds": timeout}}});
            world.change_queue(NAMESPACE, "acme", edit).await;
            // What may pass by itself on the key's side is a wait on the queue's, with the same words.
            let waits = operation == "PutKeyPolicy" && *condition == "Reconciling";
            world.until_condition(NAMESPACE, "acme", condition, "True", if waits { "WaitingForKey" } else { reason }).await;
            world
                .until(&format!("the message names {operation}"), async || {
                    message(&world.queue(NAMESPACE, "acme").await, "Ready").contains(operation)
                })
                .await;
            let (namespace, teller) = if waits { ("default", key_name.as_str()) } else { (NAMESPACE, "acme") };
            until_event(&world, namespace, teller, reason).await;
            world.proxy.clear_injections();
            world.until_ready(NAMESPACE, "acme").await;
            let attributes = world.attributes(&sqs, &url).await;
            assert_eq!(attributes["VisibilityTimeout"], timeout.to_string());
            let key = kms.get_key_policy().key_id(status.key.clone().unwrap().arn.unwrap()).send().await.unwrap().policy.unwrap();
            assert!(key.contains(&role) && attributes["Policy"].contains(&role), "{operation} {reason}");
        }
    }
}

#[tokio::test]
async fn a_key_whose_making_was_not_answered_is_found_and_not_made_twice() {
    let mut world = World::new().await;
    world.start_operator(&["--key-search-window", "10m"]);
    world.create_roles(&[super::PRODUCER, super::CONSUMER]).await;
    super::namespace(&world, NAMESPACE, json!({})).await;
    // The tag index may be closed to the operator, or know nothing of keys: then every key is looked at.
    let (denied, unknown) = (Effect::error("AccessDeniedException", "not you"), Effect::error("InvalidParameterException", "no such type: kms:key"));
    let faults = [(Effect::DropConnection, None), (server_error(), None), (Effect::DropConnection, Some(denied)), (server_error(), Some(unknown))];
    for (index, (fault, tagging)) in faults.into_iter().enumerate() {
        world.proxy.clear_injections();
        world.proxy.inject(Rule::after_effect(Matcher::operation("CreateKey"), fault));
        if let Some(effect) = tagging {
            world.proxy.inject(Rule::once(Matcher::operation("GetResources"), effect).times(0));
        }
        let name = format!("lost{index}");
        world.apply_object(&tenant(&name, &json!({}))).await;
        world.apply_object(&tier(&name, &json!({}))).await;
        world.apply_object(&queue(NAMESPACE, &name, &json!({}))).await;
        world.until_ready(NAMESPACE, &name).await;
        assert_eq!(world.proxy.effects("CreateKey"), index + 1);
    }
}

#[tokio::test]
async fn a_request_to_rotate_is_served_once() {
    let mut world = world().await;
    let key = made(&world, &json!({"key": {"rotateRequestedAt": "2020-01-01T00:00:00Z"}})).await.key.unwrap();
    let served = async |world: &World, on_demand: i32, at: &str| {
        world
            .until(&format!("the request of {at} is served"), async || {
                let rotation = world.keys().get(&key.name).await.unwrap().status.unwrap().rotation.unwrap_or_default();
                rotation.requested_at.is_some_and(|time| time.0 == at.parse().unwrap()) && rotation.on_demand == Some(on_demand)
            })
            .await;
    };
    // Older than the key: its material is newer than what was asked for.
    served(&world, 0, "2020-01-01T00:00:00Z").await;
    assert_eq!(world.proxy.count("RotateKeyOnDemand"), 0);
    world.change_queue(NAMESPACE, "acme", json!({"spec": {"key": {"rotateRequestedAt": "2100-01-01T00:00:00Z"}}})).await;
    served(&world, 1, "2100-01-01T00:00:00Z").await;
    world.change_queue(NAMESPACE, "acme", json!({"spec": {"queue": {"visibilityTimeoutSeconds": 31}}})).await;
    world.until_ready(NAMESPACE, "acme").await;
    world.stop_operator();
    world.start_operator(&[]);
    world.change_queue(NAMESPACE, "acme", json!({"spec": {"queue": {"visibilityTimeoutSeconds": 32}}})).await;
    world.until_ready(NAMESPACE, "acme").await;
    assert_eq!(world.proxy.effects("RotateKeyOnDemand"), 1);
    // A second one within a day waits, and holds nothing else up.
    world
        .change_queue(
            NAMESPACE,
            "acme",
            json!({"spec": {"key": {"rotateRequestedAt": "2100-01-02T00:00:00Z"}, "queue": {"visibilityTimeoutSeconds": 33}}}),
        )
        .await;
    world
        .until("the key says that it waits", async || {
            let conditions = world.keys().get(&key.name).await.unwrap().status.unwrap().conditions;
            conditions.iter().any(|c| c.type_ == "RotationInSync" && c.reason == "RotationPending")
        })
        .await;
    world.until_ready(NAMESPACE, "acme").await;
    assert_eq!(world.proxy.effects("RotateKeyOnDemand"), 1);
}

#[tokio::test]
async fn a_restart_neither_reads_nor_writes_what_is_in_sync() {
    let mut world = world().await;
    made(&world, &json!({"deadLetter": {}})).await;
    world.change_queue(NAMESPACE, "acme", json!({"metadata": {"annotations": {"encryptedqueue.dev/check-now": "1"}}})).await;
    world.until("the check was made", async || world.queue(NAMESPACE, "acme").await.status.unwrap().checked_now.as_deref() == Some("1")).await;
    // A refused one and one under a shared key rest as well. (A paused one is compared with AWS, to show what differs.)
    world.apply_object(&tier("shared", &json!({"key": {"scope": "Tenant"}}))).await;
    world.apply_object(&tenant("acme", &json!({"sensitivityTiers": ["acme", "shared"]}))).await;
    for (name, tier) in [("shared", "shared"), ("refused", "acme")] {
        world.apply_object(&queue(NAMESPACE, name, &json!({"tenant": "acme", "sensitivityTier": tier}))).await;
        world.until_ready(NAMESPACE, name).await;
    }
    world.change_queue(NAMESPACE, "refused", json!({"spec": {"consumers": [{"role": "arn:aws:iam::123456789012:role/other"}]}})).await;
    world.until_condition(NAMESPACE, "refused", "Accepted", "False", "PrincipalNotAllowed").await;
    tokio::time::sleep(Duration::from_secs(1)).await;

    world.stop_operator();
    let (mark, written) = (world.proxy.mark(), world.control_plane.writes().unwrap().len());
    world.start_operator(&["--lease-duration", "2s"]);
    world.until("the account is asked who the operator is", async || world.proxy.count_since(mark, "GetCallerIdentity") > 0).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let calls: Vec<_> = world.proxy.calls_since(mark).into_iter().filter(|call| call.service != "sts").map(|call| call.name()).collect();
    assert!(calls.is_empty(), "{calls:?}");
    // Counts of tenants and tiers may have waited for their half minute when the operator stopped.
    let counted = |resource: &str| ["leases", "tenants", "sensitivitytiers"].contains(&resource);
    let writes: Vec<_> = world.control_plane.writes().unwrap().split_off(written).into_iter().filter(|write| !counted(&write.resource)).collect();
    assert!(writes.is_empty(), "{writes:?}");
}
