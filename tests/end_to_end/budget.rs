//! A tenant's budget warns and blocks nothing.

use kube::api::ListParams;
use serde_json::json;
use test_support::proxy::{Effect, Matcher, Rule};

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

/// A metric of the running operator, once its log tells where.
pub(crate) async fn metric(world: &World, series: &str) -> Option<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let log = world.operator_log();
    let address = log.lines().find_map(|line| line.split_once("address=")?.1.split_whitespace().next())?.to_owned();
    let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: operator\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text.lines().find_map(|line| line.strip_prefix(&format!("encrypted_queue_{series} "))).map(str::to_owned)
}

/// The series of a check's findings.
pub(crate) fn metric_name(check: &str, tenant: &str) -> String {
    let severity = encrypted_queue::audit::checks::by_id(check).expect("a check").severity;
    format!(r#"audit_findings{{tenant="{tenant}",check="{check}",severity="{severity}"}}"#)
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
    assert_eq!(metric(&world, "tenants_over_budget").await.as_deref(), Some("1"));
    let group = r#"{tenant="acme",tier="restricted"}"#;
    assert_eq!(metric(&world, &format!("estimated_monthly_cost_dollars{group}")).await, Some(estimate.trim_end_matches('0').to_owned()));
    for (name, value) in [("queues", "1"), ("compliant_queues", "1"), ("keys", "1")] {
        assert_eq!(metric(&world, &format!("{name}{group}")).await.as_deref(), Some(value), "{name}");
    }
    costs_as_it_says(&world, &estimate).await;
    apply_examples(&world, &["queue-emails"]).await;
    world.until_ready("acme-prod", "emails").await;

    world.change_tenant("acme", json!({"spec": {"limits": {"monthlyKmsUsd": 25}}})).await;
    world.until("it is within again", async || budget(&world).await.is_some_and(|(status, ..)| status == "True")).await;
    world.until("the queue says nothing any more", async || queue_says(&world, "WithinBudget").await.is_none()).await;
    world.until("an Event tells that", async || told(&world, "WithinBudget").await).await;
}

/// The command says what status says, and of an account that does not answer that it does not.
async fn costs_as_it_says(world: &World, estimate: &str) {
    let report = async |arguments: &[&str], exit: i32| {
        let (status, said, problems) = crate::adoption::command(world, &[&["cost", "-o", "json"], arguments].concat()).await;
        assert_eq!(status, Some(exit), "{said}{problems}");
        serde_json::from_str::<serde_json::Value>(&said).unwrap()
    };
    let declared = report(&["--declared"], 0).await;
    let sum: f64 = declared["queues"][0]["usd"].as_str().unwrap().parse().unwrap();
    assert_eq!(format!("{sum:.2}"), estimate, "{declared:#}");
    assert_eq!(declared["tenants"][0]["budgetUsd"], "1.00");
    world.proxy.inject(Rule::once(Matcher::operation("GetMetricData"), Effect::error("AccessDenied", "not you")).times(0));
    let partly = report(&[], 3).await;
    assert_eq!((&partly["queues"], &partly["total"]), (&declared["queues"], &declared["total"]));
    let notes = partly["notes"].to_string();
    assert!(notes.contains("queues of Tenant acme in eu-west-1 are estimated as declared: cloudwatch:GetMetricData"), "{notes}");
    let idle = report(&["--sent-per-day", "0"], 0).await;
    assert_eq!((&idle["queues"][0]["requests"], &idle["total"]["usd"]), (&json!(0), &json!("1.00")));
}
