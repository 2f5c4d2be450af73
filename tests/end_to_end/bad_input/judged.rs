//! What AWS refuses, or what is found there: said with a way out, and healed once AWS agrees.

use serde_json::{Value, json};
use test_support::proxy::{Effect, Matcher, Rule};

use super::{CONSUMER, NAMESPACE, PRODUCER, message, queue, tenant, tier, until_event, world};
use crate::world::{ACCOUNT, World};

const REGION: &str = "eu-west-1";
const OTHER_ACCOUNT: &str = "210987654321";

async fn declare(world: &World, name: &str, tenant_change: &Value, queue_change: &Value) {
    world.apply_object(&tenant(name, tenant_change)).await;
    world.apply_object(&tier(name, &json!({}))).await;
    world.apply_object(&queue(NAMESPACE, name, queue_change)).await;
}

/// What the operator changed in AWS.
fn written(world: &World) -> Vec<String> {
    world.proxy.writes().iter().filter(|call| call.access_key == "operator" && call.took_effect).map(test_support::proxy::Call::name).collect()
}

/// Waits for the reason, checks what the message says and that an Event does too.
async fn until_stalled(world: &World, name: &str, type_: &str, reason: &str, says: &[&str]) {
    let stalled = world.until_condition(NAMESPACE, name, type_, "False", reason).await;
    for word in says {
        assert!(message(&stalled, type_).contains(word), "{name}: {word:?} is not in {:?}", message(&stalled, type_));
    }
    world.until_condition(NAMESPACE, name, "Stalled", "True", reason).await;
    until_event(world, NAMESPACE, name, reason).await;
}

#[tokio::test]
async fn a_queue_that_is_not_ours_is_left_alone() {
    let world = world().await;
    let sqs = world.sqs(ACCOUNT, REGION).await;
    let mut strictness = world.proxy.strictness();
    strictness.name_free_after = std::time::Duration::ZERO;
    world.proxy.set_strictness(strictness);
    let strangers = ["taken-team-taken", "taken-dead-team-taken-dead-dlq"];
    let mut urls = Vec::new();
    for stranger in strangers {
        urls.push(sqs.create_queue().queue_name(stranger).send().await.unwrap().queue_url.unwrap());
    }
    declare(&world, "taken", &json!({}), &json!({})).await;
    declare(&world, "taken-dead", &json!({}), &json!({"deadLetter": {}})).await;
    for (name, stranger) in ["taken", "taken-dead"].into_iter().zip(strangers) {
        let said = format!("queue {stranger} exists and is not managed by this operator");
        until_stalled(&world, name, "QueueReady", "QueueConflict", &[&said, "choose another spec.queue.name"]).await;
    }
    assert!(written(&world).is_empty(), "{:?}", written(&world));
    for url in urls {
        sqs.delete_queue().queue_url(url).send().await.unwrap();
    }
    for name in ["taken", "taken-dead"] {
        world.until_ready(NAMESPACE, name).await;
    }
}

#[tokio::test]
async fn a_role_that_does_not_exist_is_named_and_waited_for() {
    let mut world = World::new().await;
    // What AWS surely refused was not done: nobody needs to look for a key that was never made.
    world.start_operator(&["--key-search-window", "10m"]);
    world.create_roles(&[PRODUCER]).await;
    super::namespace(&world, NAMESPACE, json!({})).await;
    declare(&world, "missing", &json!({}), &json!({})).await;
    until_stalled(&world, "missing", "KeyReady", "PrincipalInvalid", &[&format!("no role {CONSUMER};"), "create it or correct the declaration"])
        .await;
    assert!(written(&world).is_empty(), "{:?}", written(&world));
    world.create_roles(&[CONSUMER]).await;
    let status = world.until_ready(NAMESPACE, "missing").await.status.unwrap();
    assert_eq!(world.proxy.effects("CreateKey"), 1);

    // A newcomer that does not exist, where IAM may not be asked: everyone else's change goes ahead, and nobody who left keeps the key.
    world.proxy.inject(Rule::once(Matcher::operation("GetRole"), Effect::error("AccessDenied", "not you")).times(0));
    let second = "arn:aws:iam::123456789012:role/app-second";
    let edit = json!({"spec": {"producers": [{"role": CONSUMER}], "consumers": [{"role": second}]}});
    world.change_queue(NAMESPACE, "missing", edit).await;
    until_stalled(&world, "missing", "KeyReady", "PrincipalInvalid", &[second, "create it or correct the declaration"]).await;
    let (url, key) = (status.queue.unwrap().url, status.key.unwrap().arn.unwrap());
    let (sqs, kms) = (world.sqs(ACCOUNT, REGION).await, world.kms(ACCOUNT, REGION).await);
    let policies =
        async || [world.attributes(&sqs, &url).await["Policy"].clone(), kms.get_key_policy().key_id(&key).send().await.unwrap().policy.unwrap()];
    world.until("who left has lost both policies", async || policies().await.iter().all(|policy| !policy.contains(PRODUCER))).await;
    world.create_roles(&[second]).await;
    world.until_ready(NAMESPACE, "missing").await;
    assert!(policies().await.iter().all(|policy| policy.contains(second) && policy.contains(CONSUMER)));
}

#[tokio::test]
async fn an_account_that_cannot_be_reached_is_named_and_waited_for() {
    let world = world().await;
    let role = format!("arn:aws:iam::{OTHER_ACCOUNT}:role/encrypted-queue-operator");
    world.create_roles(&[&role]).await;
    // No role to assume: the operator's own credentials belong to another account.
    let mut wrong = json!({"aws": {"accountId": OTHER_ACCOUNT, "regions": [REGION]}, "principals": {"roles": [PRODUCER, CONSUMER]}});
    world.apply_object(&tier("wrong", &json!({"access": {"crossAccount": "Allow"}}))).await;
    world.apply_object(&tenant("wrong", &wrong)).await;
    world.apply_object(&queue(NAMESPACE, "wrong", &json!({}))).await;
    let says = [
        "Tenant wrong, spec.aws",
        "expected account 210987654321, but the credentials belong to account 123456789012",
        "correct accountId or roleArn",
    ];
    until_stalled(&world, "wrong", "Ready", "WrongAccount", &says).await;

    world.proxy.inject(Rule::once(Matcher::operation("AssumeRole"), Effect::error("AccessDenied", "no trust")).times(0));
    wrong["aws"]["roleArn"] = role.clone().into();
    world.apply_object(&tenant("wrong", &wrong)).await;
    let says = ["spec.aws: sts:AssumeRole", "no trust", "the role must exist and trust the operator's"];
    until_stalled(&world, "wrong", "Ready", "CredentialsUnavailable", &says).await;
    world
        .until("the tenant says why", async || {
            let conditions = world.tenants().get("wrong").await.unwrap().status.unwrap_or_default().conditions;
            conditions.iter().any(|c| c.type_ == "Ready" && c.reason == "CredentialsUnavailable" && c.message.contains("spec.aws: sts:AssumeRole"))
        })
        .await;
    until_event(&world, "default", "wrong", "CredentialsUnavailable").await;
    assert!(written(&world).is_empty(), "{:?}", written(&world));
    world.proxy.clear_injections();
    world.until_ready(NAMESPACE, "wrong").await;
}
