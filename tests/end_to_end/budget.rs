//! A tenant's budget warns and blocks nothing.

use kube::api::ListParams;
use serde_json::json;

use crate::life::{apply_examples, platform};
use crate::world::World;

async fn budget(world: &World) -> Option<(String, String, String)> {
    let status = world.tenants().get("acme").await.unwrap().status?;
    let condition = status.conditions.into_iter().find(|condition| condition.type_ == "WithinBudget")?;
    Some((condition.status, condition.reason, condition.message))
}

async fn queue_says(world: &World, type_: &str) -> Option<String> {
    let status = world.queue("acme-prod", "orders").await.status.unwrap();
    status.conditions.into_iter().find(|condition| condition.type_ == type_).map(|condition| condition.status)
}

async fn told(world: &World, reason: &str) -> bool {
    let events = kube::Api::<k8s_openapi::api::events::v1::Event>::all(world.client.clone()).list(&ListParams::default()).await.unwrap();
    let of_tenant = |event: &&k8s_openapi::api::events::v1::Event| {
        event.regarding.as_ref().is_some_and(|regarding| regarding.kind.as_deref() == Some("Tenant")) && event.reason.as_deref() == Some(reason)
    };
    events.items.iter().any(|event| of_tenant(&event))
}

#[tokio::test]
async fn passing_the_budget_is_told_and_so_is_coming_back() {
    let world = World::with_operator().await;
    platform(&world).await;
    apply_examples(&world, &["queue-orders"]).await;
    let queue = world.until_ready("acme-prod", "orders").await;
    let estimate = queue.status.unwrap().estimated_monthly_usd.unwrap();
    assert!(estimate.starts_with("1.") && estimate != "1.00", "one key and some calls: {estimate}");
    world
        .until("the tenant is within its budget", async || {
            budget(&world).await.is_some_and(|(status, reason, _)| status == "True" && reason == "WithinBudget")
        })
        .await;
    assert!(!told(&world, "WithinBudget").await, "what was never over is not told");

    world.change_tenant("acme", json!({"spec": {"limits": {"monthlyKmsUsd": 1}}})).await;
    world
        .until("a dollar is too little", async || budget(&world).await.is_some_and(|(status, reason, _)| status == "False" && reason == "OverBudget"))
        .await;
    let (_, _, message) = budget(&world).await.unwrap();
    assert!(message.contains(&format!("estimated ${estimate} a month, over spec.limits.monthlyKmsUsd (1)")), "{message}");
    world.until("the queue says so", async || queue_says(&world, "WithinBudget").await.as_deref() == Some("False")).await;
    assert_eq!(queue_says(&world, "Ready").await.as_deref(), Some("True"), "nothing is blocked");
    world.until("an Event tells", async || told(&world, "OverBudget").await).await;
    apply_examples(&world, &["queue-emails"]).await;
    world.until_ready("acme-prod", "emails").await;

    world.change_tenant("acme", json!({"spec": {"limits": {"monthlyKmsUsd": 25}}})).await;
    world.until("it is within again", async || budget(&world).await.is_some_and(|(status, ..)| status == "True")).await;
    world.until("the queue says nothing any more", async || queue_says(&world, "WithinBudget").await.is_none()).await;
    world.until("an Event tells that", async || told(&world, "WithinBudget").await).await;
}
