//! Several operators on one cluster: replicas of which one leads, and installs that share its Tenants.

use std::process::Command;
use std::time::Duration;

use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use test_support::proxy::{Effect, Matcher, Moment, Rule};

use crate::bad_input::{CONSUMER, NAMESPACE, PRODUCER, message, namespace, queue, tenant, tier};
use crate::world::{ACCOUNT, World};

const REGION: &str = "eu-west-1";

async fn prepared() -> World {
    let world = World::new().await;
    world.create_roles(&[PRODUCER, CONSUMER]).await;
    namespace(&world, NAMESPACE, json!({})).await;
    world
}

/// A tenant, its tier and its queue, all of one name; the tenant labelled `shard`.
async fn declare(world: &World, name: &str, shard: &str) {
    let mut labelled = tenant(name, &json!({}));
    labelled["metadata"]["labels"] = json!({"shard": shard});
    world.apply_object(&labelled).await;
    world.apply_object(&tier(name, &json!({}))).await;
    world.apply_object(&queue(NAMESPACE, name, &json!({}))).await;
}

fn install<'a>(lease: &'a str, selector: &'a str) -> [&'a str; 6] {
    ["--lease-name", lease, "--tenant-selector", selector, "--lease-duration", "4s"]
}

async fn until_controller(world: &World, tenant: &str, controller: &str) {
    world
        .until(&format!("{tenant} belongs to {controller}"), async || {
            let status = world.tenants().get(tenant).await.unwrap().status.unwrap_or_default();
            status.controller.as_deref() == Some(controller)
        })
        .await;
}

async fn edit(world: &World, name: &str, timeout: i32) {
    world.change_queue(NAMESPACE, name, json!({"spec": {"queue": {"visibilityTimeoutSeconds": timeout}}})).await;
    world.until_ready(NAMESPACE, name).await;
}

#[tokio::test]
async fn a_tenant_belongs_to_one_install_until_that_lets_it_go_or_ends() {
    let mut world = prepared().await;
    world.start_operator(&install("one", "shard=a"));
    world.start_another(&install("two", "shard in (b)"));
    declare(&world, "nobodys", "c").await;
    for (name, shard, controller) in [("acme", "a", "encrypted-queue-operator/one"), ("globex", "b", "encrypted-queue-operator/two")] {
        declare(&world, name, shard).await;
        world.until_ready(NAMESPACE, name).await;
        until_controller(&world, name, controller).await;
    }
    assert_eq!(world.proxy.effects("CreateKey"), 2);

    // Labels move it to the other install, and nothing changes in AWS.
    let mark = world.proxy.mark();
    world.change_tenant("acme", json!({"metadata": {"labels": {"shard": "b"}}})).await;
    until_controller(&world, "acme", "encrypted-queue-operator/two").await;
    assert!(world.proxy.writes_since(mark).is_empty());
    edit(&world, "acme", 45).await;

    // Where two select it, the first keeps it; its Lease standing still for long gives it to the other.
    world.start_another(&install("three", "shard"));
    world
        .until("the other says whose it is", async || {
            let events = world.events("default", "globex").await;
            events.iter().any(|(reason, note)| {
                reason == "ForeignController" && note.contains("encrypted-queue-operator/two") && note.contains("encrypted-queue-operator/three")
            })
        })
        .await;
    until_controller(&world, "nobodys", "encrypted-queue-operator/three").await;
    until_controller(&world, "globex", "encrypted-queue-operator/two").await;
    world.stop_another();
    for name in ["acme", "globex"] {
        until_controller(&world, name, "encrypted-queue-operator/three").await;
    }
    edit(&world, "globex", 46).await;
    world.until_ready(NAMESPACE, "nobodys").await;
    assert_eq!(world.proxy.effects("CreateKey"), 3);
}

/// While its queues are being made the tenant goes from one install to the other and back.
#[tokio::test]
async fn a_tenant_handed_over_in_the_middle_of_its_work_has_nothing_done_twice_or_left_out() {
    let mut world = prepared().await;
    world.start_operator(&install("one", "shard=a"));
    world.start_another(&install("two", "shard=b"));
    let mut labelled = tenant("acme", &json!({}));
    labelled["metadata"]["labels"] = json!({"shard": "a"});
    world.apply_object(&labelled).await;
    world.apply_object(&tier("acme", &json!({}))).await;
    until_controller(&world, "acme", "encrypted-queue-operator/one").await;
    let names: Vec<String> = (0..6).map(|number| format!("orders-{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        let mut object = queue(NAMESPACE, name, &json!({}));
        (object["spec"]["tenant"], object["spec"]["sensitivityTier"]) = (json!("acme"), json!("acme"));
        world.apply_object(&object).await;
        let shard = ["a", "b"][(number / 2) % 2];
        world.change_tenant("acme", json!({"metadata": {"labels": {"shard": shard}}})).await;
    }
    world.change_tenant("acme", json!({"metadata": {"labels": {"shard": "b"}}})).await;
    for name in &names {
        world.until_ready(NAMESPACE, name).await;
    }
    until_controller(&world, "acme", "encrypted-queue-operator/two").await;
    for operation in ["CreateKey", "CreateAlias", "CreateQueue"] {
        assert_eq!(world.proxy.effects(operation), names.len(), "{operation}");
    }
    // The one that let go hears of edits and leaves them to the other.
    let mark = world.proxy.mark();
    world.change_queue(NAMESPACE, "orders-0", json!({"spec": {"queue": {"visibilityTimeoutSeconds": 45}}})).await;
    world.until_ready(NAMESPACE, "orders-0").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.proxy.count_since(mark, "SetQueueAttributes"), 1);
}

#[tokio::test]
async fn a_queue_of_a_tenant_that_no_install_selects_is_told_so_and_left_alone() {
    let mut world = prepared().await;
    world.start_operator(&install("one", "shard=a"));
    declare(&world, "nobodys", "c").await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    let told = world.until_condition(NAMESPACE, "nobodys", "Accepted", "False", "ForeignController").await;
    assert!(message(&told, "Accepted").contains("--tenant-selector"), "{}", message(&told, "Accepted"));
    assert!(world.proxy.writes().iter().all(|call| call.service == "iam"), "{:?}", world.proxy.writes());
    world.change_tenant("nobodys", json!({"metadata": {"labels": {"shard": "a"}}})).await;
    world.until_ready(NAMESPACE, "nobodys").await;
}

fn signal(process: u32, name: &str) {
    assert!(Command::new("kill").args([name, &process.to_string()]).status().unwrap().success());
}

#[tokio::test]
async fn a_key_that_a_paused_leader_makes_late_ends() {
    let mut world = prepared().await;
    let arguments = ["--lease-duration", "4s", "--check-period", "4s"];
    world.start_operator(&arguments);
    world.until("it leads", async || world.operator_log().contains("controllers start")).await;
    world.start_another(&arguments);
    let sent = world.proxy.pause_at(Matcher::operation("CreateKey"), Moment::BeforeSending);
    declare(&world, "acme", "a").await;
    sent.reached_within(Duration::from_secs(20)).await.expect("a key is asked for");
    let leader = world.operator_process();
    signal(leader, "-STOP");
    // The successor searches, and makes the key.
    let key = world.until_ready(NAMESPACE, "acme").await.status.unwrap().key.unwrap();
    // What the old leader had sent arrives, and it goes on.
    sent.release();
    signal(leader, "-CONT");
    let kms = world.kms(ACCOUNT, REGION).await;
    world
        .until("the late key is to be deleted", async || {
            let mut states = Vec::new();
            for listed in kms.list_keys().send().await.unwrap().keys() {
                let key = kms.describe_key().key_id(listed.key_id().unwrap()).send().await.unwrap().key_metadata.unwrap();
                states.push((key.key_state.unwrap().as_str().to_owned(), key.arn));
            }
            let enabled: Vec<_> = states.iter().filter(|(state, _)| state == "Enabled").collect();
            states.len() == 2 && enabled.len() == 1 && enabled[0].1 == key.arn
        })
        .await;
    assert_eq!(world.proxy.effects("CreateKey"), 2);
    let events = world.events("default", &key.name).await;
    assert!(events.iter().any(|(reason, _)| reason == "SupersededKey"), "{events:?}");
    world.until_ready(NAMESPACE, "acme").await;
}

#[tokio::test]
async fn an_orphaned_key_is_told_and_kept() {
    let mut world = prepared().await;
    // The tag index may not be asked: every key is looked at.
    world.proxy.inject(Rule::once(Matcher::operation("GetResources"), Effect::error("AccessDeniedException", "not you")).times(0));
    world.start_operator(&["--check-period", "3s", "--lease-duration", "4s"]);
    declare(&world, "acme", "a").await;
    let key = world.until_ready(NAMESPACE, "acme").await.status.unwrap().key.unwrap();
    // Object, finalizer, queue and all are taken away by force.
    world.stop_operator();
    let off = || Patch::Json::<()>(serde_json::from_value(json!([{"op": "remove", "path": "/metadata/finalizers"}])).unwrap());
    world.queues(NAMESPACE).delete("acme", &DeleteParams::default()).await.unwrap();
    world.queues(NAMESPACE).patch("acme", &PatchParams::default(), &off()).await.unwrap();
    world.keys().delete(&key.name, &DeleteParams::default()).await.unwrap();
    world.keys().patch(&key.name, &PatchParams::default(), &off()).await.unwrap();
    let mark = world.proxy.mark();
    world.start_operator(&["--check-period", "3s", "--lease-duration", "4s"]);
    world
        .until("the tenant says so", async || {
            let arn = key.arn.clone().unwrap();
            world.events("default", "acme").await.iter().any(|(reason, note)| reason == "OrphanedKey" && note.contains(&arn))
        })
        .await;
    assert!(world.proxy.writes_since(mark).is_empty(), "{:?}", world.proxy.writes_since(mark));
}
