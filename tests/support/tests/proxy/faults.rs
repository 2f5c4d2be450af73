//! Recording, delays, injected faults and pauses.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use test_support::proxy::{Call, Effect, Kind, Matcher, Moment, Outcome, Rule};

use crate::stage::{ACCOUNT, REGION, Stage, unique};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn every_call_is_recorded_in_order() {
    let stage = Stage::new().await;
    let name = unique("recorded");
    let url = stage.queue(&name, json!({"DelaySeconds": "5"})).await;
    let mark = stage.proxy.mark();
    assert_eq!(stage.attributes(&url).await["DelaySeconds"], "5");
    stage.query("sts", "Action=GetCallerIdentity&Version=2011-06-15").await;
    stage.sqs("GetQueueUrl", json!({"QueueName": unique("none")})).await.refused("AWS.SimpleQueueService.NonExistentQueue");

    let calls = stage.proxy.ledger();
    assert_eq!(
        calls.iter().map(Call::name).collect::<Vec<_>>(),
        ["sqs:CreateQueue", "sqs:GetQueueAttributes", "sts:GetCallerIdentity", "sqs:GetQueueUrl"]
    );
    assert_eq!(calls.iter().map(|call| call.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let create = &calls[0];
    assert_eq!((create.account.as_str(), create.region.as_str(), create.kind, create.status), (ACCOUNT, REGION, Kind::Write, 200));
    assert_eq!((create.request["QueueName"].as_str(), create.response["QueueUrl"].as_str()), (Some(&*name), Some(&*url)));
    assert!(create.took_effect && create.mentions(&name) && url.starts_with(stage.proxy.endpoint()));
    assert_eq!(calls[1].request["AttributeNames"], json!(["All"]));
    assert_eq!(calls[2].request["Action"], "GetCallerIdentity");
    assert_eq!(calls[3].error.as_deref(), Some("AWS.SimpleQueueService.NonExistentQueue"));
    assert_eq!(stage.proxy.writes().len(), 1);
    assert_eq!((stage.proxy.calls_since(mark).len(), stage.proxy.writes_since(mark).len()), (3, 0));
    stage.proxy.clear();
    assert!(stage.proxy.ledger().is_empty());
}

#[tokio::test]
async fn the_ledger_goes_to_a_file() {
    let stage = Stage::new().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.jsonl");
    stage.proxy.write_ledger_to(&path).unwrap();
    stage.key().await;
    stage.kms("ListKeys", json!({})).await.ok();
    let text = std::fs::read_to_string(path).unwrap();
    let operations: Vec<_> = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["operation"].clone()).collect();
    assert_eq!(operations, ["CreateKey", "ListKeys"]);
}

#[tokio::test]
async fn a_delay_is_added_to_each_call() {
    let stage = Stage::new().await;
    stage.proxy.set_delay(Duration::from_millis(300));
    let start = Instant::now();
    stage.kms("ListKeys", json!({})).await.ok();
    assert!(start.elapsed() >= Duration::from_millis(300) && stage.proxy.ledger()[0].duration >= Duration::from_millis(300));
}

#[tokio::test]
async fn an_error_before_sending_has_no_effect_and_one_after_has() {
    let stage = Stage::new().await;
    let name = unique("faulty");
    let create = || stage.sqs("CreateQueue", json!({"QueueName": name}));
    stage.proxy.inject(Rule::once(Matcher::operation("CreateQueue").resource(&name), Effect::error("RequestThrottled", "slow down")));
    create().await.refused("RequestThrottled");
    stage.sqs("GetQueueUrl", json!({"QueueName": name})).await.refused("AWS.SimpleQueueService.NonExistentQueue");
    stage.proxy.inject(Rule::after_effect(
        Matcher::operation("CreateQueue"),
        Effect::Error { status: 500, code: "InternalError".to_owned(), message: "oh".to_owned() },
    ));
    let failed = create().await;
    assert_eq!(failed.status, 500);
    failed.refused("InternalError");
    stage.sqs("GetQueueUrl", json!({"QueueName": name})).await.ok();
    create().await.ok();

    let calls = stage.proxy.calls_of("CreateQueue");
    let became: Vec<_> = calls.iter().map(|call| (call.outcome, call.took_effect)).collect();
    assert_eq!(became, [(Outcome::Injected, false), (Outcome::Injected, true), (Outcome::Forwarded, true)]);
    assert_eq!((stage.proxy.count("CreateQueue"), stage.proxy.effects("CreateQueue")), (3, 2));
}

#[tokio::test]
async fn the_nth_call_and_so_many_of_them() {
    let stage = Stage::new().await;
    stage.proxy.inject(Rule::once(Matcher::operation("ListKeys").nth(2), Effect::error("ThrottlingException", "")).times(2));
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(stage.kms("ListKeys", json!({})).await.status);
    }
    assert_eq!(statuses, [200, 400, 400, 200, 200]);
    stage.proxy.inject(Rule::once(Matcher::any().service("kms"), Effect::error("ThrottlingException", "")).times(0));
    for _ in 0..5 {
        stage.kms("ListKeys", json!({})).await.refused("ThrottlingException");
    }
    stage.proxy.clear_injections();
    stage.kms("ListKeys", json!({})).await.ok();
}

#[tokio::test]
async fn lost_connections_and_silence() {
    let stage = Stage::new().await;
    let name = unique("lost");
    stage.proxy.inject(Rule::after_effect(Matcher::operation("CreateQueue"), Effect::DropConnection));
    assert!(stage.try_json("sqs", "AmazonSQS.CreateQueue", json!({"QueueName": name})).await.is_none());
    stage.sqs("GetQueueUrl", json!({"QueueName": name})).await.ok();
    let lost = &stage.proxy.calls_of("CreateQueue")[0];
    assert_eq!((lost.status, lost.took_effect), (0, true));

    stage.proxy.inject(Rule::once(Matcher::operation("ListQueues"), Effect::Timeout));
    let silence = tokio::time::timeout(Duration::from_millis(500), stage.sqs("ListQueues", json!({}))).await;
    assert!(silence.is_err(), "no answer comes");
    stage.proxy.inject(Rule::once(Matcher::operation("ListQueues"), Effect::Delay(300)));
    let start = Instant::now();
    stage.sqs("ListQueues", json!({})).await.ok();
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_call_is_held_at_the_exact_moment() {
    let stage = Arc::new(Stage::new().await);
    for (moment, kept) in [(Moment::BeforeSending, false), (Moment::AfterEffect, true)] {
        let name = unique("held");
        let point = stage.proxy.pause_at(Matcher::writes().nth(1), moment);
        let caller = tokio::spawn({
            let (stage, name) = (Arc::clone(&stage), name.clone());
            async move { stage.try_json("sqs", "AmazonSQS.CreateQueue", json!({"QueueName": name})).await.map(|reply| reply.status) }
        });
        assert!(point.reached_within(SOON).await.is_some());
        let found = stage.sqs("GetQueueUrl", json!({"QueueName": name})).await.status == 200;
        assert_eq!(found, kept, "{moment:?}");
        // The caller is killed; what it had not sent is never sent.
        caller.abort();
        point.lose();
        tokio::time::sleep(Duration::from_millis(200)).await;
        let found = stage.sqs("GetQueueUrl", json!({"QueueName": name})).await.status == 200;
        assert_eq!(found, kept, "{moment:?}");
    }
    let point = stage.proxy.pause_at(Matcher::operation("ListKeys"), Moment::BeforeSending);
    let caller = tokio::spawn({
        let stage = Arc::clone(&stage);
        async move { stage.kms("ListKeys", json!({})).await.status }
    });
    point.reached_within(SOON).await.unwrap();
    point.release();
    assert_eq!(caller.await.unwrap(), 200);
}

#[tokio::test]
async fn many_calls_at_once() {
    let stage = Arc::new(Stage::new().await);
    let start = Instant::now();
    let calls: Vec<_> = (0..200)
        .map(|_| {
            let stage = Arc::clone(&stage);
            tokio::spawn(async move { stage.kms("ListKeys", json!({})).await.status })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), 200);
    }
    assert_eq!(stage.proxy.count("ListKeys"), 200);
    assert!(start.elapsed() < Duration::from_mins(1));
}
