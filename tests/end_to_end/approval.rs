//! New access waits for an approval; taking access away never does.

use encrypted_queue::api::{AccessApproval, QueueKey};
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use crate::life::{apply_examples, platform};
use crate::world::{ACCOUNT, World};

const WORKER: &str = "arn:aws:iam::123456789012:role/acme-orders-worker";
const SECOND: &str = "arn:aws:iam::123456789012:role/acme-second";

pub(crate) async fn approve(world: &World, name: &str, key: &str, sha256: &str) {
    let approvals: Api<AccessApproval> = Api::all(world.client.clone());
    let spec = json!({"queueKey": key, "grantsSha256": sha256, "reason": "a test", "approvedBy": "maria@example.com"});
    let approval = serde_json::from_value(
        json!({"apiVersion": "encryptedqueue.dev/v1alpha1", "kind": "AccessApproval", "metadata": {"name": name}, "spec": spec}),
    )
    .unwrap();
    approvals.create(&PostParams::default(), &approval).await.unwrap();
}

pub(crate) async fn pending(world: &World, key: &str) -> Option<(String, Vec<String>, Vec<String>)> {
    let key: QueueKey = world.keys().get(key).await.unwrap();
    key.status?.pending_grants.first().map(|pending| (pending.sha256.clone(), pending.gains.clone(), pending.losses.clone()))
}

async fn is_applied(world: &World, name: &str) -> bool {
    let approvals: Api<AccessApproval> = Api::all(world.client.clone());
    approvals.get(name).await.unwrap().status.is_some_and(|status| status.applied_at.is_some())
}

#[tokio::test]
async fn gains_wait_and_losses_do_not() {
    let world = World::with_operator().await;
    platform(&world).await;
    world.create_roles(&[SECOND]).await;
    world.change_tier("restricted", json!({"spec": {"approval": "OnWidening"}})).await;
    let mark = world.proxy.mark();
    apply_examples(&world, &["queue-orders"]).await;
    let queue = world.until_condition("acme-prod", "orders", "AccessInSync", "False", "AwaitingApproval").await;
    let key = queue.status.unwrap().key.unwrap().name;
    assert_eq!(world.proxy.writes_since(mark).len(), 0, "nothing is made before someone may use it");
    let (first, gains, losses) = pending(&world, &key).await.unwrap();
    assert!(gains.contains(&format!("{WORKER} may receive")) && losses.is_empty(), "{gains:?}");

    approve(&world, "wrong", &key, &"0".repeat(64)).await;
    approve(&world, "first", &key, &first).await;
    let status = world.until_ready("acme-prod", "orders").await.status.unwrap();
    world.until("the approval says so", async || is_applied(&world, "first").await).await;
    assert!(!is_applied(&world, "wrong").await);

    // One consumer is replaced by another: the old one goes at once, the new one waits.
    let (url, key_arn) = (status.queue.unwrap().url, status.key.unwrap().arn.unwrap());
    world.change_queue("acme-prod", "orders", json!({"spec": {"consumers": [{"role": SECOND}]}})).await;
    world.until_condition("acme-prod", "orders", "AccessInSync", "False", "AwaitingApproval").await;
    let (sqs, kms) = (world.sqs(ACCOUNT, "eu-west-1").await, world.kms(ACCOUNT, "eu-west-1").await);
    let policies =
        async || [world.attributes(&sqs, &url).await["Policy"].clone(), kms.get_key_policy().key_id(&key_arn).send().await.unwrap().policy.unwrap()];
    world.until("the old consumer is gone from both", async || policies().await.iter().all(|policy| !policy.contains(WORKER))).await;
    assert!(policies().await.iter().all(|policy| !policy.contains(SECOND)));
    let (second, gains, _) = pending(&world, &key).await.unwrap();
    assert_eq!(gains, [format!("{SECOND} may receive"), format!("{SECOND} may receive dead letters")]);

    // Back and forth: what was approved before does not fit any more, since access was narrowed since.
    world.change_queue("acme-prod", "orders", json!({"spec": {"consumers": [{"role": WORKER}]}})).await;
    world.until("the earlier access waits again", async || pending(&world, &key).await.is_some_and(|(sha, ..)| sha != first && sha != second)).await;
    world.change_queue("acme-prod", "orders", json!({"spec": {"consumers": [{"role": SECOND}]}})).await;
    world.until("it waits", async || pending(&world, &key).await.is_some_and(|(_, gains, _)| gains[0].contains(SECOND))).await;
    let (sha, ..) = pending(&world, &key).await.unwrap();
    approve(&world, "second", &key, &sha).await;
    world.until_ready("acme-prod", "orders").await;
    assert!(policies().await.iter().all(|policy| policy.contains(SECOND) && !policy.contains(WORKER)));
}

#[tokio::test]
async fn an_approval_for_another_key_or_given_twice_lets_nobody_in() {
    let world = World::with_operator().await;
    platform(&world).await;
    world.change_tier("restricted", json!({"spec": {"approval": "OnWidening"}})).await;
    apply_examples(&world, &["queue-orders"]).await;
    let waiting = world.until_condition("acme-prod", "orders", "AccessInSync", "False", "AwaitingApproval").await;
    let key = waiting.status.unwrap().key.unwrap().name;
    let (first, ..) = pending(&world, &key).await.unwrap();
    approve(&world, "elsewhere", "another-key", &first).await;
    let approvals: Api<AccessApproval> = Api::all(world.client.clone());
    world
        .until("it says why it is not used", async || {
            let status = approvals.get("elsewhere").await.unwrap().status.unwrap_or_default();
            status.conditions.iter().any(|condition| condition.message.contains("QueueKey another-key does not exist"))
        })
        .await;
    assert_eq!(world.proxy.count("CreateKey"), 0, "the right hash, but of another key");

    for twice in ["once", "twice"] {
        approve(&world, twice, &key, &first).await;
    }
    let status = world.until_ready("acme-prod", "orders").await.status.unwrap();
    world.until("one of the two is used", async || is_applied(&world, "once").await || is_applied(&world, "twice").await).await;
    assert!(!(is_applied(&world, "once").await && is_applied(&world, "twice").await));

    // Access is taken away and asked for again: the one that is left is of before.
    world.change_queue("acme-prod", "orders", json!({"spec": {"observers": [], "deadLetter": {"redrivers": []}}})).await;
    world.until_ready("acme-prod", "orders").await;
    let again = json!([{"role": "arn:aws:iam::123456789012:role/acme-orders-support"}]);
    world.change_queue("acme-prod", "orders", json!({"spec": {"deadLetter": {"redrivers": again}}})).await;
    world.until_condition("acme-prod", "orders", "AccessInSync", "False", "AwaitingApproval").await;
    let kms = world.kms(ACCOUNT, "eu-west-1").await;
    let policy = kms.get_key_policy().key_id(status.key.unwrap().arn.unwrap()).send().await.unwrap().policy.unwrap();
    assert!(!policy.contains("acme-orders-support") && policy.contains(WORKER), "{policy}");
    assert_ne!(pending(&world, &key).await.unwrap().0, first);
}
