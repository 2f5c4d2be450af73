//! Roles that are deleted, and made again: AWS shows the unique id of the old one, and a new one of the name is another.

use encrypted_queue::api::{EncryptedQueueStatus, QueueKeyStatus};
use serde_json::json;

use crate::approval::{approve, pending};
use crate::life::{apply_examples, platform};
use crate::world::{ACCOUNT, World};

const WORKER: &str = "arn:aws:iam::123456789012:role/acme-orders-worker";
const SUPPORT: &str = "arn:aws:iam::123456789012:role/acme-orders-support";
const OBSERVER: &str = "arn:aws:iam::123456789012:role/keda-operator";
const ADMINISTRATOR: &str = "arn:aws:iam::123456789012:role/security-admin";

async fn delete_role(world: &World, arn: &str) {
    let iam = aws_sdk_iam::Client::new(&world.aws(ACCOUNT, "us-east-1").await);
    iam.delete_role().role_name(arn.rsplit('/').next().unwrap()).send().await.unwrap();
}

/// Asks for a comparison with AWS.
async fn check(world: &World, value: &str) {
    world.change_queue("acme-prod", "orders", json!({"metadata": {"annotations": {"encryptedqueue.dev/check-now": value}}})).await;
}

/// The policies of queue, dead-letter queue and key.
async fn policies(world: &World, status: &EncryptedQueueStatus) -> [String; 3] {
    let (sqs, kms) = (world.sqs(ACCOUNT, "eu-west-1").await, world.kms(ACCOUNT, "eu-west-1").await);
    let of = async |url: &str| world.attributes(&sqs, url).await["Policy"].clone();
    let key = status.key.as_ref().unwrap().arn.as_ref().unwrap();
    let [queue, dead_letter] = [&status.queue, &status.dead_letter_queue].map(|queue| &queue.as_ref().unwrap().url);
    [of(queue).await, of(dead_letter).await, kms.get_key_policy().key_id(key).send().await.unwrap().policy.unwrap()]
}

async fn key_status(world: &World, status: &EncryptedQueueStatus) -> QueueKeyStatus {
    world.keys().get(&status.key.as_ref().unwrap().name).await.unwrap().status.unwrap()
}

/// Waits for `PrincipalDeleted`, in a condition that says all this and in an Event.
async fn until_told(world: &World, says: &[&str]) {
    let told = async || {
        let conditions = world.queue("acme-prod", "orders").await.status.unwrap_or_default().conditions;
        let condition = conditions.into_iter().find(|condition| condition.type_ == "AccessInSync").unwrap();
        condition.status == "False" && condition.reason == "PrincipalDeleted" && says.iter().all(|word| condition.message.contains(word))
    };
    world.until("AccessInSync says who was deleted and what to do", told).await;
    world.until("an Event tells", async || world.events("acme-prod", "orders").await.iter().any(|(reason, _)| reason == "PrincipalDeleted")).await;
}

async fn made(world: &World) -> EncryptedQueueStatus {
    platform(world).await;
    apply_examples(world, &["queue-orders"]).await;
    world.until_ready("acme-prod", "orders").await.status.unwrap()
}

#[tokio::test]
async fn a_role_made_again_waits_for_an_approval_where_the_tier_asks_for_them() {
    let world = World::with_operator().await;
    platform(&world).await;
    world.change_tier("restricted", json!({"spec": {"approval": "OnWidening"}})).await;
    apply_examples(&world, &["queue-orders"]).await;
    let waiting = world.until_condition("acme-prod", "orders", "AccessInSync", "False", "AwaitingApproval").await.status.unwrap();
    let key = waiting.key.unwrap().name;
    approve(&world, "first", &key, &pending(&world, &key).await.unwrap().0).await;
    let status = world.until_ready("acme-prod", "orders").await.status.unwrap();
    let revision = key_status(&world, &status).await.access_revision.unwrap_or_default();

    delete_role(&world, WORKER).await;
    world.create_roles(&[WORKER]).await;
    assert!(policies(&world, &status).await.iter().all(|policy| policy.contains("AROA")));
    let mark = world.proxy.mark();
    check(&world, "1").await;
    until_told(&world, &["spec.consumers[0]: ", WORKER, "AROA", "encrypted-queue approve"]).await;
    world.until("the dead id is gone", async || policies(&world, &status).await.iter().all(|policy| !policy.contains("AROA"))).await;
    for call in world.proxy.writes_since(mark) {
        assert!(!call.request.to_string().contains(&format!("\"{WORKER}\"")), "put back without an approval: {call:?}");
    }
    let recorded = key_status(&world, &status).await;
    assert_eq!((recorded.access_revision, recorded.deleted_principals.len()), (Some(revision + 1), 1));
    assert_eq!(recorded.deleted_principals[0].roles, [WORKER]);

    let (sha, gains, _) = pending(&world, &key).await.unwrap();
    assert_eq!(gains, [format!("{WORKER} may receive"), format!("{WORKER} may receive dead letters")]);
    approve(&world, "second", &key, &sha).await;
    world.until_ready("acme-prod", "orders").await;
    assert!(policies(&world, &status).await.iter().all(|policy| policy.contains(WORKER) && !policy.contains("AROA")));
}

#[tokio::test]
async fn a_deleted_role_is_told_and_holds_up_no_revocation() {
    let world = World::with_operator().await;
    let status = made(&world).await;
    // Consumer, observer and administrator at once; and someone else is to lose his access.
    for role in [WORKER, OBSERVER, ADMINISTRATOR] {
        delete_role(&world, role).await;
    }
    world.change_queue("acme-prod", "orders", json!({"spec": {"deadLetter": {"redrivers": []}}})).await;
    check(&world, "1").await;
    until_told(&world, &["spec.consumers[0]", WORKER, "AROA", "All other access is applied"]).await;
    world
        .until("whoever was deleted or revoked is out of every policy", async || {
            policies(&world, &status).await.iter().all(|policy| !policy.contains(SUPPORT) && !policy.contains("AROA"))
        })
        .await;
    let recorded = key_status(&world, &status).await;
    assert!(recorded.access_revision >= Some(1) && !recorded.deleted_principals.is_empty(), "{recorded:?}");

    // Without approvals a role that is there again gets its access back.
    world.create_roles(&[WORKER, OBSERVER, ADMINISTRATOR]).await;
    world.until_ready("acme-prod", "orders").await;
    let [queue, dead_letter, key] = policies(&world, &status).await;
    assert!(queue.contains(OBSERVER) && [&queue, &dead_letter, &key].iter().all(|policy| policy.contains(WORKER)));
    world.until("the administrator is back", async || policies(&world, &status).await[2].contains(ADMINISTRATOR)).await;
}
