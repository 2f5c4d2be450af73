//! What cannot be read is told, and the rest is reported all the same.

use std::fmt::Write as _;

use serde_json::Value;
use test_support::proxy::{Effect, Matcher, Rule};

use crate::world::{ACCOUNT, Aws, REGION};

const OTHER: &str = "111122223333";

fn names(report: &Value) -> Vec<&str> {
    report["resources"].as_array().unwrap().iter().map(|resource| resource["name"].as_str().unwrap()).collect()
}

pub(crate) async fn queues(aws: &Aws, names: &[&str]) {
    for name in names {
        aws.sqs.create_queue().queue_name(*name).send().await.unwrap();
    }
}

pub(crate) fn tenant(name: &str, account: &str, role: bool) -> String {
    let role = if role { format!(", roleArn: \"arn:aws:iam::{account}:role/operator\"") } else { String::new() };
    format!(
        "apiVersion: encryptedqueue.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: {name}}}\nspec:\n  namespaces: {{names: [{name}]}}\n  \
         aws: {{accountId: \"{account}\", regions: [{REGION}]{role}}}\n  sensitivityTiers: [internal]\n  principals: {{}}\n---\n"
    )
}

#[tokio::test]
async fn an_account_that_may_not_be_entered_is_told_and_the_others_reported() {
    let aws = Aws::start().await;
    queues(&aws, &["acme-orders"]).await;
    let manifests = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    std::fs::write(manifests.path(), tenant("acme", ACCOUNT, false) + &tenant("globex", OTHER, true)).unwrap();
    aws.proxy.inject(Rule::once(Matcher::operation("AssumeRole"), Effect::error("AccessDenied", "not you")).times(0));
    let answer = aws.audit(&["--offline", "-f", manifests.path().to_str().unwrap(), "-o", "json"]).await;
    let report = answer.json();
    assert_eq!((answer.exit, names(&report), report["partial"].as_bool()), (1, vec!["acme-orders"], Some(true)));
    let problem = &report["problems"][0];
    assert_eq!((problem["account"].as_str(), problem["operation"].as_str()), (Some(OTHER), Some("sts:AssumeRole")), "{problem}");
    let checks: Vec<_> = report["resources"][0]["findings"].as_array().unwrap().iter().map(|finding| finding["check"].as_str().unwrap()).collect();
    assert!(checks.contains(&"queue-undeclared"), "{checks:?}");
    assert_eq!(report["resources"][0]["tenant"], "acme", "its name is the tenant's");
    let missing = aws.audit(&["--offline", "-f", manifests.path().to_str().unwrap(), "--tenant", "nobody"]).await;
    assert_eq!((missing.exit, missing.errors.as_str()), (1, "error: --tenant nobody: there is no such Tenant\n"));
}

#[tokio::test]
async fn a_call_that_is_refused_costs_only_what_it_would_have_told() {
    let aws = Aws::start().await;
    queues(&aws, &["one", "two"]).await;
    aws.kms.create_key().send().await.unwrap();
    let denied = || Effect::error("AccessDenied", "not you");
    aws.proxy.inject(Rule::once(Matcher::operation("ListQueues").region("us-east-1"), denied()).times(0));
    aws.proxy.inject(Rule::once(Matcher::operation("GetQueueAttributes").resource("two"), denied()).times(0));
    aws.proxy.inject(Rule::once(Matcher::operation("GetKeyPolicy"), Effect::error("AccessDeniedException", "not you")).times(0));
    let answer = aws.audit(&["--offline", "--region", REGION, "--region", "us-east-1", "-o", "json"]).await;
    let report = answer.json();
    let told: Vec<_> = report["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| (problem["region"].as_str().unwrap(), problem["operation"].as_str().unwrap()))
        .collect();
    assert_eq!(told, [(REGION, "kms:GetKeyPolicy"), (REGION, "sqs:GetQueueAttributes"), ("us-east-1", "sqs:ListQueues")]);
    assert_eq!((answer.exit, names(&report).len()), (1, 2), "{report:#}");
    let table = aws.audit(&["--offline"]).await;
    assert!(
        table.output.contains("INCOMPLETE") && table.output.contains("Not read: account 123456789012, eu-west-1: sqs:GetQueueAttributes of two"),
        "{}",
        table.output
    );
}

#[tokio::test]
async fn throttling_is_waited_out_and_what_is_deleted_meanwhile_left_out() {
    let aws = Aws::start().await;
    queues(&aws, &["kept", "deleted"]).await;
    aws.kms.create_key().send().await.unwrap();
    aws.proxy.inject(Rule::once(Matcher::operation("GetQueueAttributes").resource("kept"), Effect::error("RequestThrottled", "")).times(5));
    aws.proxy.inject(Rule::once(Matcher::operation("DescribeKey"), Effect::error("ThrottlingException", "")).times(5));
    let gone = Effect::error("AWS.SimpleQueueService.NonExistentQueue", "gone");
    aws.proxy.inject(Rule::once(Matcher::operation("GetQueueAttributes").resource("deleted"), gone).times(0));
    let answer = aws.audit(&["--offline", "-o", "json"]).await;
    let report = answer.json();
    assert_eq!((answer.exit, report["partial"].as_bool(), report["summary"]["queues"].as_u64()), (2, Some(false), Some(1)), "{report:#}");
    assert_eq!(report["summary"]["keys"], 1);
}

#[tokio::test]
async fn thousands_of_queues_are_read_in_pages_with_a_call_each() {
    const QUEUES: usize = 1100;
    let aws = Aws::start().await;
    let key = aws.kms.create_key().send().await.unwrap().key_metadata.unwrap().arn.unwrap();
    futures::future::join_all((0..QUEUES).map(|index| {
        let call = aws.sqs.create_queue().queue_name(format!("queue-{index}")).tags("owner", "many");
        call.attributes(aws_sdk_sqs::types::QueueAttributeName::KmsMasterKeyId, &key).send()
    }))
    .await
    .into_iter()
    .for_each(|made| drop(made.unwrap()));
    let mark = aws.proxy.mark();
    let answer = aws.audit(&["--offline", "-o", "json", "--fail-on", "none"]).await;
    let report = answer.json();
    assert_eq!((answer.exit, report["summary"]["queues"].as_u64()), (0, Some(QUEUES as u64)), "{}", answer.errors);
    let calls = aws.proxy.calls_since(mark);
    let mut by_operation = std::collections::BTreeMap::<String, usize>::new();
    for call in &calls {
        *by_operation.entry(call.operation.clone()).or_default() += 1;
    }
    assert_eq!((by_operation["GetQueueAttributes"], by_operation["ListQueues"]), (QUEUES, 2));
    assert!(calls.len() < QUEUES + 40, "{by_operation:?}");
    assert!(calls.iter().all(|call| !call.is("SendMessage") && !call.is("ReceiveMessage")));
    let page = aws.audit(&["--offline", "-o", "html", "--fail-on", "none"]).await.output;
    assert!(page.matches("<details class=\"card resource\"").count() >= QUEUES && page.len() < QUEUES * 2000, "{} bytes", page.len());
    crate::formats::keep("many.html", &page);
}

#[tokio::test]
async fn mistakes_are_told_before_aws_is_asked() {
    let aws = Aws::start().await;
    let baseline = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(baseline.path(), "accepted:\n- check: queue-sse\n  resource: arn:*\n  until: 2027-01-01\n  reason: x\n").unwrap();
    let path = baseline.path().to_str().unwrap();
    let answer = aws.audit(&["--offline", "--baseline", path]).await;
    let mut told = String::new();
    let _ = writeln!(told, "error: baseline {path}:2:10: accepted[0].check: there is no check \"queue-sse\" (docs/checks.md lists them)");
    assert_eq!((answer.exit, answer.errors, aws.proxy.ledger().len()), (1, told, 0));
    let answer = aws.audit(&[]).await;
    assert!(answer.exit == 1 && answer.errors.contains("--offline audits the account of the credentials at hand"), "{}", answer.errors);
}
