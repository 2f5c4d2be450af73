//! `encrypted-queue cost` with the cluster: traffic as CloudWatch has it, asked hour by hour.

use aws_sdk_cloudwatch::types::{Dimension, MetricDatum};
use aws_smithy_types::DateTime;
use serde_json::Value;
use test_support::proxy::{Effect, Matcher, Rule};
use tokio::process::Command;

use crate::life::{apply_examples, platform};
use crate::world::{ACCOUNT, World};

const HOUR: i64 = 3600;

async fn cost(world: &World, more: &[&str]) -> (Option<i32>, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_encrypted-queue"))
        .args(["cost", "-o", "json", "--days", "2"])
        .args(more)
        .env("KUBECONFIG", world.control_plane.kubeconfig_path())
        .env("AWS_ENDPOINT_URL", world.proxy.endpoint())
        .env("AWS_ACCESS_KEY_ID", "someone")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env("AWS_REGION", "eu-west-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .output()
        .await
        .unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), report)
}

/// So many messages that were sent, and received, in one hour.
async fn traffic(world: &World, queue: &str, hours_ago: i64, sent: f64, received: f64) {
    let at = jiff::Timestamp::now().as_second() / HOUR * HOUR - hours_ago * HOUR + 60;
    let datum = |name: &str, value: f64| {
        let dimension = Dimension::builder().name("QueueName").value(queue).build();
        MetricDatum::builder().metric_name(name).dimensions(dimension).timestamp(DateTime::from_secs(at)).value(value).build()
    };
    let client = aws_sdk_cloudwatch::Client::new(&world.aws(ACCOUNT, "eu-west-1").await);
    let call = client.put_metric_data().namespace("AWS/SQS");
    call.metric_data(datum("NumberOfMessagesSent", sent)).metric_data(datum("NumberOfMessagesReceived", received)).send().await.unwrap();
}

fn queue<'a>(report: &'a Value, name: &str) -> &'a Value {
    let queues = report["queues"].as_array().unwrap();
    queues.iter().find(|queue| queue["name"] == name).unwrap_or_else(|| panic!("{name}: {report:#}"))
}

#[tokio::test]
async fn traffic_is_asked_of_cloudwatch() {
    let world = World::with_operator().await;
    platform(&world).await;
    apply_examples(&world, &["queue-orders", "queue-emails"]).await;
    world.until_ready("acme-prod", "orders").await;
    world.until_ready("acme-prod", "emails").await;
    for hour in 1..=6 {
        traffic(&world, "acme-orders", hour, 500.0, 500.0).await;
    }
    // Older than what is asked about.
    traffic(&world, "acme-emails", 60, 9000.0, 9000.0).await;
    // Others use CloudWatch too.
    let of_data = || Matcher::operation("GetMetricData");
    world.proxy.inject(Rule::once(of_data(), Effect::error("ThrottlingException", "Rate exceeded")).times(3));
    let (exit, report) = cost(&world, &[]).await;
    assert_eq!((exit, world.proxy.count("GetMetricData")), (Some(0), 4));
    let orders = queue(&report, "orders");
    // Six busy hours of 48, in each of which one producer and one consumer need 12 data keys: 3600/300 x (2 x 1 + 1) calls.
    assert_eq!((orders["basis"].as_str(), orders["requests"].as_u64()), (Some("CloudWatch"), Some(6 * 36 * 31 / 2)), "{orders:#}");
    assert_eq!((orders["keyUsd"].as_str(), orders["requestsUsd"].as_str()), (Some("1.00"), Some("0.010044")));
    assert_eq!(queue(&report, "emails")["requests"], 0, "an idle queue makes no calls");

    // An account that does not answer is told, and its queues are estimated as declared.
    world.proxy.inject(Rule::once(of_data(), Effect::error("AccessDenied", "not you")).times(0));
    let (exit, report) = cost(&world, &[]).await;
    assert_eq!((exit, queue(&report, "orders")["basis"].as_str()), (Some(3), Some("Declared")));
    assert!(
        report["notes"].to_string().contains("queues of Tenant acme in eu-west-1 are estimated as declared: cloudwatch:GetMetricData"),
        "{}",
        report["notes"]
    );
}
