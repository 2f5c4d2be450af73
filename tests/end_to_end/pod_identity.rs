//! ServiceAccounts whose role is an EKS Pod Identity association's. The emulator has none: the proxy answers from a table.

use serde_json::json;
use test_support::proxy::{Effect, Matcher, Rule};

use crate::bad_input::{CONSUMER, NAMESPACE, PRODUCER, message, namespace, queue, tenant, tier};
use crate::world::{ACCOUNT, World};

const REGION: &str = "eu-west-1";
const CLUSTER: &str = "prod";
const SECOND: &str = "arn:aws:iam::123456789012:role/app-second";
const LIST: &str = "ListPodIdentityAssociations";

async fn world(arguments: &[&str]) -> World {
    let mut world = World::new().await;
    world.create_roles(&[PRODUCER, CONSUMER, SECOND]).await;
    namespace(&world, NAMESPACE, json!({})).await;
    world.proxy.add_cluster(CLUSTER);
    world.start_operator(arguments);
    world
}

async fn account(world: &World, annotation: Option<&str>) {
    let mut metadata = json!({"name": "worker", "namespace": NAMESPACE});
    if let Some(role) = annotation {
        metadata["annotations"] = json!({"eks.amazonaws.com/role-arn": role});
    }
    world.apply_object(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})).await;
}

async fn declare(world: &World) {
    world.apply_object(&tenant("acme", &json!({}))).await;
    world.apply_object(&tier("acme", &json!({}))).await;
    world.apply_object(&queue(NAMESPACE, "acme", &json!({"consumers": [{"serviceAccount": {"name": "worker"}}]}))).await;
}

async fn check(world: &World, value: &str) {
    world.change_queue(NAMESPACE, "acme", json!({"metadata": {"annotations": {"encryptedqueue.dev/check-now": value}}})).await;
}

async fn policies(world: &World) -> [String; 2] {
    let status = world.queue(NAMESPACE, "acme").await.status.unwrap();
    let (url, key) = (status.queue.unwrap().url, status.key.unwrap().arn.unwrap());
    let (sqs, kms) = (world.sqs(ACCOUNT, REGION).await, world.kms(ACCOUNT, REGION).await);
    [world.attributes(&sqs, &url).await["Policy"].clone(), kms.get_key_policy().key_id(&key).send().await.unwrap().policy.unwrap()]
}

async fn until_consumed_by(world: &World, role: &str, not: &str) {
    world
        .until("both policies name the one role only", async || {
            policies(world).await.iter().all(|policy| policy.contains(role) && !policy.contains(not))
        })
        .await;
    world.until_ready(NAMESPACE, "acme").await;
}

#[tokio::test]
async fn associations_are_followed_and_asked_for_only_by_checks() {
    let world = world(&["--eks-cluster-name", CLUSTER, "--leader-election", "false"]).await;
    for other in ["one", "two"] {
        world.proxy.associate(CLUSTER, "elsewhere", other, PRODUCER, None);
    }
    account(&world, None).await;
    declare(&world).await;
    let told = world.until_condition(NAMESPACE, "acme", "Accepted", "False", "ServiceAccountWithoutRole").await;
    for word in ["spec.consumers[0].serviceAccount.name", "eks.amazonaws.com/role-arn", "Pod Identity association in EKS cluster prod"] {
        assert!(message(&told, "Accepted").contains(word), "{word:?} is not in {:?}", message(&told, "Accepted"));
    }
    world.proxy.associate(CLUSTER, NAMESPACE, "worker", CONSUMER, None);
    // What was asked for a moment ago is not asked for again.
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    check(&world, "1").await;
    world.until_ready(NAMESPACE, "acme").await;
    until_consumed_by(&world, CONSUMER, SECOND).await;

    // At rest nobody asks, whatever else is edited.
    let mark = world.proxy.mark();
    world.change_queue(NAMESPACE, "acme", json!({"spec": {"queue": {"delaySeconds": 3}}})).await;
    world.until_ready(NAMESPACE, "acme").await;
    assert_eq!(world.proxy.count_since(mark, LIST), 0);

    // Another role; then a role that goes on to a target role, as one in another account does: that one's calls reach the queue.
    world.proxy.associate(CLUSTER, NAMESPACE, "worker", SECOND, None);
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    check(&world, "2").await;
    until_consumed_by(&world, SECOND, CONSUMER).await;
    world.proxy.associate(CLUSTER, NAMESPACE, "worker", SECOND, Some(CONSUMER));
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    check(&world, "3").await;
    until_consumed_by(&world, CONSUMER, SECOND).await;
    // Three associations are two pages, and one look-up serves queue and key.
    assert!(world.proxy.count_since(mark, LIST) <= 4, "{}", world.proxy.count_since(mark, LIST));

    // The association comes before an annotation, as it does for the pods; and it is told.
    account(&world, Some(SECOND)).await;
    let noted = async || message(&world.queue(NAMESPACE, "acme").await, "Accepted").contains("is annotated with");
    world.until("the annotation that has no effect is told", noted).await;
    until_consumed_by(&world, CONSUMER, SECOND).await;
    world.proxy.dissociate(CLUSTER, NAMESPACE, "worker");
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    check(&world, "4").await;
    until_consumed_by(&world, SECOND, CONSUMER).await;
}

#[tokio::test]
async fn a_look_up_that_fails_changes_nothing_and_is_told() {
    let mut world = world(&["--eks-cluster-name", CLUSTER, "--leader-election", "false"]).await;
    world.proxy.associate(CLUSTER, NAMESPACE, "worker", CONSUMER, None);
    account(&world, None).await;
    declare(&world).await;
    world.until_ready(NAMESPACE, "acme").await;
    let before = policies(&world).await;
    for (code, reason, says) in [
        ("AccessDeniedException", "AccessDenied", "allow the operator's own role eks:ListPodIdentityAssociations"),
        ("ThrottlingException", "Throttled", "eks:ListPodIdentityAssociations: ThrottlingException"),
    ] {
        world.stop_operator();
        world.proxy.inject(Rule::once(Matcher::operation(LIST), Effect::error(code, "no")).times(0));
        let mark = world.proxy.mark();
        world.start_operator(&["--eks-cluster-name", CLUSTER, "--leader-election", "false"]);
        check(&world, code).await;
        let told = world.until_condition(NAMESPACE, "acme", "Accepted", "False", reason).await;
        assert!(message(&told, "Accepted").contains(says), "{}", message(&told, "Accepted"));
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        assert_eq!((world.proxy.writes_since(mark).len(), policies(&world).await), (0, before.clone()));
        world.proxy.clear_injections();
        world.until_ready(NAMESPACE, "acme").await;
        assert_eq!(world.proxy.writes_since(mark).len(), 0);
    }

    // Nor does another cluster, or none.
    for (arguments, reason, says) in [
        (&["--leader-election", "false", "--eks-cluster-name", "other"][..], "RequestRefused", "correct --eks-cluster-name"),
        (&["--leader-election", "false"], "ServiceAccountWithoutRole", "name the cluster with --eks-cluster-name"),
    ] {
        world.stop_operator();
        let mark = world.proxy.mark();
        world.start_operator(arguments);
        check(&world, reason).await;
        let told = world.until_condition(NAMESPACE, "acme", "Accepted", "False", reason).await;
        assert!(message(&told, "Accepted").contains(says), "{}", message(&told, "Accepted"));
        assert_eq!((world.proxy.writes_since(mark).len(), policies(&world).await), (0, before.clone()));
    }
}
