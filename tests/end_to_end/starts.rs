//! How an operator starts, ends and is replaced: definitions that are missing or older, rights and credentials that fail, a dry run, a signal to end, an
//! upgrade in the middle of its work.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use encrypted_queue::commands::crds;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::Api;
use kube::api::{ListParams, PostParams};
use serde_json::{Value, json};
use test_support::chart::{NAMESPACE, RELEASE};
use test_support::proxy::{Effect, Matcher, Moment, Rule};

use crate::life::{apply_examples, platform};
use crate::world::{ACCOUNT, World};

async fn until_logged(world: &World, text: &str) {
    world.until(&format!("the log says {text:?}"), async || world.operator_log().contains(text)).await;
}

/// The definitions of before: with `PREVIOUS_DEFINITIONS`, a folder, those of a release; else today's without something that they might have got since.
fn older_definitions() -> Vec<Value> {
    if let Ok(folder) = std::env::var("PREVIOUS_DEFINITIONS") {
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        return files.map(|file| serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()).collect();
    }
    crds::all()
        .into_iter()
        .map(|definition| without(serde_json::to_value(definition).unwrap(), "spec", &["adoption", "adoptableQueueNames", "approval"]))
        .collect()
}

fn without(mut definition: Value, part: &str, fields: &[&str]) -> Value {
    let pointer = format!("/spec/versions/0/schema/openAPIV3Schema/properties/{part}");
    if let Some(schema) = definition.pointer_mut(&pointer) {
        schema["properties"].as_object_mut().unwrap().retain(|field, _| !fields.contains(&field.as_str()));
        // Rules may speak of the fields.
        schema.as_object_mut().unwrap().remove("x-kubernetes-validations");
    }
    definition
}

async fn install(world: &World, definitions: &[Value]) {
    for definition in definitions {
        world.apply_object(definition).await;
    }
    let served =
        async || world.tenants().list(&ListParams::default()).await.is_ok() && world.queues("default").list(&ListParams::default()).await.is_ok();
    world.until("the definitions are served", served).await;
}

#[tokio::test]
async fn without_definitions_it_says_so_and_waits_for_them() {
    let mut world = World::bare().await;
    world.start_operator(&[]);
    until_logged(&world, "encrypted-queue crds --apply").await;
    assert!(!world.operator_log().contains("controllers start"));
    world.define().await;
    until_logged(&world, "controllers start").await;
    platform(&world).await;
    apply_examples(&world, &["queue-orders"]).await;
    world.until_ready("acme-prod", "orders").await;
}

/// It cannot record what it has made, so it makes nothing, and says what to do.
#[tokio::test]
async fn older_definitions_are_told_and_nothing_is_made_under_them() {
    let mut world = World::bare().await;
    let older = |definition| without(definition, "status", &["creation", "keyState", "appliedSha256", "queue", "observedGeneration"]);
    install(&world, &crds::all().into_iter().map(|definition| older(serde_json::to_value(definition).unwrap())).collect::<Vec<_>>()).await;
    platform(&world).await;
    world.start_operator(&[]);
    apply_examples(&world, &["queue-orders"]).await;
    until_logged(&world, "the definitions are older than the operator: helm upgrade, or encrypted-queue crds --apply").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.proxy.count("CreateKey") + world.proxy.count("CreateQueue"), 0);
    // An upgrade brings the definitions, and then new pods: watches that began under the old ones may go on telling what those let through.
    world.define().await;
    world.stop_operator();
    world.start_operator(&[]);
    world.until_ready("acme-prod", "orders").await;
    assert_eq!((world.proxy.effects("CreateKey"), world.proxy.effects("CreateQueue")), (1, 2));
}

#[tokio::test]
async fn a_kind_that_it_may_not_read_is_named_and_nothing_is_done_meanwhile() {
    let mut world = World::new().await;
    platform(&world).await;
    apply_examples(&world, &["queue-orders"]).await;
    // Rights are given when the first operator starts; they are narrowed then.
    world.start_operator(&["--dry-run"]);
    world.stop_operator();
    let roles: Api<ClusterRole> = Api::all(world.client.clone());
    let whole = roles.get(RELEASE).await.unwrap();
    let mut narrowed = whole.clone();
    for rule in narrowed.rules.as_mut().unwrap() {
        rule.resources.as_mut().unwrap().retain(|resource| resource != "sensitivitytiers");
    }
    narrowed.rules.as_mut().unwrap().retain(|rule| !rule.resources.as_ref().unwrap().is_empty());
    let narrowed = roles.replace(RELEASE, &PostParams::default(), &narrowed).await.unwrap();
    let mark = world.proxy.mark();
    world.start_operator(&[]);
    until_logged(&world, "lacks list or watch of this kind").await;
    let log = world.operator_log();
    assert!(log.lines().any(|line| line.contains("lacks list or watch") && line.contains("SensitivityTier")), "{log}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(world.proxy.writes_since(mark).is_empty() && !world.operator_log().contains("controllers start"));
    let mut whole = whole;
    whole.metadata.resource_version = narrowed.metadata.resource_version;
    roles.replace(RELEASE, &PostParams::default(), &whole).await.unwrap();
    world.until_ready("acme-prod", "orders").await;
    // What was refused is what this test is about.
    world.expect_refusals();
}

#[tokio::test]
async fn credentials_that_have_expired_are_told_and_renewed_ones_taken_up() {
    let mut world = World::new().await;
    platform(&world).await;
    apply_examples(&world, &["queue-orders"]).await;
    let mark = world.proxy.mark();
    let expired = || Effect::error("ExpiredToken", "The security token included in the request is expired");
    world.proxy.inject(Rule::once(Matcher::operation("GetCallerIdentity"), expired()).times(0));
    world.start_operator(&[]);
    let told = async || {
        let conditions = world.queue("acme-prod", "orders").await.status.unwrap_or_default().conditions;
        conditions.iter().any(|c| c.type_ == "Ready" && c.message.contains("sts:GetCallerIdentity") && c.message.contains("expired"))
    };
    world.until("the queue says that the credentials have expired", told).await;
    assert!(world.proxy.writes_since(mark).is_empty());
    world.proxy.clear_injections();
    world.until_ready("acme-prod", "orders").await;
}

#[tokio::test]
async fn a_dry_run_of_the_whole_operator_tells_what_it_would_do_and_does_nothing() {
    let mut world = World::new().await;
    platform(&world).await;
    apply_examples(&world, &["queue-orders", "queue-notifications", "queue-emails", "queue-ledger"]).await;
    let mark = world.proxy.mark();
    world.start_operator(&["--dry-run"]);
    for (namespace, name) in [("acme-prod", "orders"), ("acme-prod", "notifications"), ("acme-prod", "emails"), ("globex-prod", "ledger")] {
        let told = async || {
            let queue = world.queue(namespace, name).await.status.unwrap_or_default();
            let Some(key) = queue.key else { return false };
            let key = world.keys().get(&key.name).await.unwrap().status.unwrap_or_default();
            key.conditions.iter().any(|c| c.type_ == "Ready" && c.message.contains("--dry-run; not done: note that a key is about to be made"))
        };
        world.until(&format!("{namespace}/{name} says what would be done"), told).await;
    }
    assert!(world.proxy.writes_since(mark).is_empty(), "{:?}", world.proxy.writes_since(mark));
    world.stop_operator();
    world.start_operator(&[]);
    world.until_ready("acme-prod", "orders").await;
    world.until_ready("globex-prod", "ledger").await;
    // What differs later is told too, and left.
    world.stop_operator();
    let mark = world.proxy.mark();
    world.start_operator(&["--dry-run"]);
    world.change_queue("acme-prod", "orders", json!({"spec": {"queue": {"visibilityTimeoutSeconds": 77}}})).await;
    let queue = world.until_condition("acme-prod", "orders", "Ready", "False", "Paused").await.status.unwrap();
    assert!(queue.conditions.iter().any(|c| c.message.contains("not done: ") && c.message.contains("VisibilityTimeout")), "{:#?}", queue.conditions);
    assert!(world.proxy.writes_since(mark).is_empty(), "{:?}", world.proxy.writes_since(mark));
}

pub(crate) fn terminate(process: u32) {
    assert!(Command::new("kill").args(["-TERM", &process.to_string()]).status().unwrap().success());
}

/// Gone, or gone but for its parent's asking.
pub(crate) fn has_ended(process: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{process}/stat")).ok();
    state.is_none_or(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
}

async fn holder(world: &World) -> Option<String> {
    let leases: Api<Lease> = Api::namespaced(world.client.clone(), NAMESPACE);
    leases.get(RELEASE).await.unwrap().spec.unwrap().holder_identity.filter(|holder| !holder.is_empty())
}

/// Within the grace period of the chart, what is under way is finished, the lease given back, and a successor leads at once.
#[tokio::test]
async fn told_to_end_it_finishes_what_is_under_way_and_hands_over() {
    let mut world = World::new().await;
    platform(&world).await;
    world.start_operator(&[]);
    until_logged(&world, "controllers start").await;
    let leader = world.operator_process();
    world.start_another(&[]);
    let sent = world.proxy.pause_at(Matcher::operation("CreateKey"), Moment::AfterEffect);
    apply_examples(&world, &["queue-orders"]).await;
    sent.reached_within(Duration::from_secs(20)).await.expect("a key is asked for");
    terminate(leader);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(!has_ended(leader) && holder(&world).await.is_some(), "the call is under way");
    sent.release();
    let asked = Instant::now();
    world.until("it has ended", async || has_ended(leader)).await;
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
    // No search: what it made is on record.
    world.until_ready("acme-prod", "orders").await;
    assert_eq!((world.proxy.effects("CreateKey"), world.proxy.effects("CreateQueue")), (1, 2));
    assert!(holder(&world).await.is_some());
    assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", asked.elapsed());
}

/// From the release before, with its definitions, to this one, while a change is on its way. `PREVIOUS_OPERATOR` names its program, `PREVIOUS_DEFINITIONS` its
/// definitions; without them today's stand in, under definitions that lack what may have come since.
#[tokio::test]
async fn an_upgrade_in_the_middle_of_a_change_writes_nothing_but_that_change() {
    let mut world = World::bare().await;
    install(&world, &older_definitions()).await;
    platform(&world).await;
    if let Ok(program) = std::env::var("PREVIOUS_OPERATOR") {
        world.program = program.into();
    }
    world.start_operator(&[]);
    apply_examples(&world, &["queue-orders", "queue-notifications", "queue-emails"]).await;
    let names = ["orders", "notifications", "emails"];
    for name in names {
        world.until_ready("acme-prod", name).await;
    }
    // The queue's half of a change is on its way when the pod is told to go; its key's half may be done or not.
    let mark = world.proxy.mark();
    let sent = world.proxy.pause_at(Matcher::operation("SetQueueAttributes"), Moment::BeforeSending);
    let more = "arn:aws:iam::123456789012:role/acme-more";
    world.create_roles(&[more]).await;
    world.change_queue("acme-prod", "orders", json!({"spec": {"observers": [{"role": more}], "queue": {"visibilityTimeoutSeconds": 45}}})).await;
    sent.reached_within(Duration::from_secs(20)).await.expect("the change is on its way");
    let before = world.operator_process();
    // The Job before the upgrade, then the pods.
    let kubeconfig = world.control_plane.kubeconfig_path();
    let mut upgrade = Command::new(Path::new(env!("CARGO_BIN_EXE_encrypted-queue")));
    assert!(upgrade.args(["crds", "--apply"]).env("KUBECONFIG", kubeconfig).status().unwrap().success());
    world.program = env!("CARGO_BIN_EXE_encrypted-queue").into();
    world.start_another(&[]);
    terminate(before);
    sent.release();
    world.until("the old one has ended", async || has_ended(before)).await;
    for name in names {
        world.until_ready("acme-prod", name).await;
    }
    let url = world.queue("acme-prod", "orders").await.status.unwrap().queue.unwrap().url;
    world.until("the new one has looked at everything", async || world.others_log().contains("controllers start")).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let written: Vec<_> = world.proxy.writes_since(mark).into_iter().filter(|call| call.service != "iam").collect();
    // What was cut off is done once more, for the queue and for its dead letters; nothing else is touched.
    for queue in ["/acme-orders\"", "/acme-orders-dlq\""] {
        let of_queue = written.iter().filter(|call| call.is("SetQueueAttributes") && call.request.to_string().contains(queue)).count();
        assert!((1..=2).contains(&of_queue), "{queue}: {written:?}");
    }
    assert!(written.iter().all(|call| call.is("SetQueueAttributes") && call.request.to_string().contains("/acme-orders")), "{written:?}");
    let sqs = world.sqs(ACCOUNT, "eu-west-1").await;
    assert_eq!(world.attributes(&sqs, &url).await["VisibilityTimeout"], "45");
}
