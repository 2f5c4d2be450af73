//! The slow check: few calls, nobody woken for nothing, and what differs repaired.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use test_support::proxy::Call;

use crate::bad_input::{CONSUMER, NAMESPACE, PRODUCER, namespace, queue, tenant, tier, until_event};
use crate::world::{ACCOUNT, World};

const REGION: &str = "eu-west-1";
const PERIOD: Duration = Duration::from_secs(8);

fn tally(calls: &[Call]) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for call in calls {
        *tally.entry(call.name()).or_default() += 1;
    }
    tally
}

#[tokio::test]
async fn six_calls_compare_a_queue_its_dead_letters_and_its_key_and_a_lost_tag_is_put_back() {
    let mut world = World::new().await;
    world.create_roles(&[PRODUCER, CONSUMER]).await;
    namespace(&world, NAMESPACE, json!({})).await;
    world.apply_object(&tenant("acme", &json!({}))).await;
    world.apply_object(&tier("acme", &json!({}))).await;
    world.apply_object(&queue(NAMESPACE, "acme", &json!({"deadLetter": {}}))).await;
    world.start_operator(&["--check-period", "8s"]);
    let status = world.until_ready(NAMESPACE, "acme").await.status.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;

    // Whole periods, in which a restart starts nothing anew.
    world.stop_operator();
    let mark = world.proxy.mark();
    world.start_operator(&["--check-period", "8s", "--lease-duration", "4s"]);
    world.until("it leads", async || world.operator_log().contains("controllers start")).await;
    let begun = world.proxy.mark();
    let at_start = tally(&world.proxy.calls_since(mark));
    assert!(at_start.keys().all(|name| name.starts_with("sts:")), "a start reads nothing: {at_start:?}");
    tokio::time::sleep(3 * PERIOD).await;
    let calls = world.proxy.calls_since(begun);
    let counted = tally(&calls);
    // The audit, which reads each resource too, has a period of its own.
    assert!(!counted.contains_key("sqs:ListQueues"), "{counted:?}");
    for (name, times) in
        [("sqs:GetQueueAttributes", 2), ("kms:DescribeKey", 1), ("kms:GetKeyPolicy", 1), ("kms:GetKeyRotationStatus", 1), ("kms:ListGrants", 1)]
    {
        let found = counted.get(name).copied().unwrap_or_default();
        assert!((2 * times..=4 * times).contains(&found), "{name} {times} a period: {counted:?}");
    }
    assert!(!counted.contains_key("sqs:ListQueueTags") && !counted.contains_key("kms:ListResourceTags"), "tags are read together: {counted:?}");
    assert!(counted["kms:ListAliases"] <= 4, "once a period: {counted:?}");
    assert!(world.proxy.writes_since(begun).is_empty());

    // Tags and alias are not read with the rest, and are repaired all the same.
    let (sqs, kms) = (world.sqs(ACCOUNT, REGION).await, world.kms(ACCOUNT, REGION).await);
    let (url, key) = (status.queue.unwrap().url, status.key.unwrap());
    let tags = sqs.list_queue_tags().queue_url(&url).send().await.unwrap().tags.unwrap();
    sqs.untag_queue().queue_url(&url).tag_keys("encryptedqueue.dev/tenant").send().await.unwrap();
    until_event(&world, NAMESPACE, "acme", "DriftRepaired").await;
    let repaired = async || sqs.list_queue_tags().queue_url(&url).send().await.unwrap().tags.unwrap() == tags;
    world.until("the tag is back", repaired).await;
    let arn = key.arn.unwrap();
    let id = arn.rsplit_once('/').unwrap().1;
    let aliases = async || kms.list_aliases().key_id(id).send().await.unwrap().aliases.unwrap_or_default();
    let alias = aliases().await.first().and_then(|alias| alias.alias_name.clone()).expect("it has one");
    kms.delete_alias().alias_name(alias).send().await.unwrap();
    world.until("the alias is back", async || !aliases().await.is_empty()).await;
}
