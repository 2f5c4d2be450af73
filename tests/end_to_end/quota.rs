//! AWS's published rates: kept, shared out fairly, and told to whoever waits.

use std::time::Duration;

use kube::api::ListParams;
use serde_json::json;
use test_support::proxy::Call;

use crate::bad_input::{CONSUMER, NAMESPACE, PRODUCER, message, namespace, queue, tenant, tier};
use crate::world::World;

async fn declare(world: &World, tenant: &str, name: &str) {
    let mut object = queue(NAMESPACE, name, &json!({}));
    object["spec"]["tenant"] = json!(tenant);
    object["spec"]["sensitivityTier"] = json!("acme");
    world.apply_object(&object).await;
}

#[tokio::test]
async fn who_waits_for_a_key_is_told_its_place_and_tenants_take_turns() {
    let mut world = World::new().await;
    world.create_roles(&[PRODUCER, CONSUMER]).await;
    namespace(&world, NAMESPACE, json!({})).await;
    world.apply_object(&tier("acme", &json!({}))).await;
    for name in ["acme", "globex"] {
        world.apply_object(&tenant(name, &json!({"sensitivityTiers": ["acme"]}))).await;
    }
    // A tenth of what AWS publishes, here and there.
    world.proxy.set_quotas(Some(0.1));
    world.start_operator(&["--aws-quotas", "kms:CreateKey=0.5,kms:CreateAlias=0.5,kms:EnableKeyRotation=1.5,sqs:tags=0.5"]);
    for number in 0..8 {
        declare(&world, "acme", &format!("acme-{number}")).await;
    }
    let mut said = String::new();
    let told = async || {
        let queues = world.queues(NAMESPACE).list(&ListParams::default()).await.unwrap();
        let waits = queues.into_iter().find(|queue| message(queue, "Reconciling").contains("in line"));
        said = waits.as_ref().map(|queue| message(queue, "KeyReady")).unwrap_or_default();
        waits.is_some_and(|queue| queue.status.unwrap().conditions.iter().any(|c| c.type_ == "Reconciling" && c.reason == "AwaitingQuota"))
    };
    world.until("somebody is told", told).await;
    assert!(said.contains("kms:CreateKey") && said.contains("in line for account"), "{said}");
    declare(&world, "globex", "globex-1").await;
    world.until_ready(NAMESPACE, "globex-1").await;
    let before = world.proxy.effects("CreateKey");
    assert!(before <= 6, "the other tenant did not wait for all of them: {before}");
    for number in 0..8 {
        world.until_ready(NAMESPACE, &format!("acme-{number}")).await;
    }
    let created = world.proxy.calls_of("CreateKey");
    assert_eq!(created.len(), 9, "each once, none refused: {:?}", created.iter().map(Call::name).collect::<Vec<_>>());
    let refused = world.proxy.ledger().into_iter().filter(|call| call.error.as_deref().is_some_and(|code| code.contains("Thrott"))).count();
    assert_eq!(refused, 0, "no call was throttled");
    let spans = created.windows(2).map(|pair| pair[1].started.saturating_sub(pair[0].started)).max().unwrap_or_default();
    assert!(spans < Duration::from_secs(10), "the line moves: {spans:?}");
}
