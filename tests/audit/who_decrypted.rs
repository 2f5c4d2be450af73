//! `audit --who-decrypted` by CloudTrail's event history: pages, throttling, an account that refuses.

use serde_json::{Value, json};
use test_support::proxy::{Effect, Matcher, Rule};

use crate::faults::tenant;
use crate::world::{ACCOUNT, Aws, REGION};

const OTHER: &str = "111122223333";
const DAY: i64 = 86_400;

/// A record of `Decrypt` on behalf of SQS, as CloudTrail has it; the time is so many seconds ago.
fn decrypt(aws: &Aws, account: &str, number: usize, ago: i64, role: &str, queue: Option<&str>) {
    let now = jiff::Timestamp::now().as_second();
    let at = jiff::Timestamp::from_second(now - ago).unwrap();
    let key = format!("arn:aws:kms:{REGION}:{account}:key/11111111-2222-3333-4444-555555555555");
    let context = queue
        .map_or_else(|| json!({"aws:s3:arn": "arn:aws:s3:::b"}), |name| json!({"aws:sqs:arn": format!("arn:aws:sqs:{REGION}:{account}:{name}")}));
    let record = json!({
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "AssumedRole",
            "principalId": "AROAEXAMPLE:session",
            "arn": format!("arn:aws:sts::{account}:assumed-role/{role}/session-{number}"),
            "accountId": account,
            "sessionContext": {"sessionIssuer": {"type": "Role", "arn": format!("arn:aws:iam::{account}:role/service/{role}")}},
            "invokedBy": "sqs.amazonaws.com",
        },
        "eventTime": at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "eventSource": "kms.amazonaws.com",
        "eventName": "Decrypt",
        "awsRegion": REGION,
        "sourceIPAddress": "sqs.amazonaws.com",
        "requestParameters": {"encryptionContext": context, "encryptionAlgorithm": "SYMMETRIC_DEFAULT"},
        "responseElements": null,
        "readOnly": true,
        "eventID": format!("00000000-0000-0000-{account}-{number:012}"),
        "resources": [{"accountId": account, "type": "AWS::KMS::Key", "ARN": key}],
        "eventType": "AwsApiCall",
        "managementEvent": true,
        "recipientAccountId": account,
    });
    aws.proxy.add_trail_record(account, REGION, now - ago, record);
}

fn rows(report: &Value) -> Vec<(&str, &str, u64)> {
    let rows = report["rows"].as_array().unwrap().iter();
    rows.map(|row| (row["queue"].as_str().unwrap(), row["principal"].as_str().unwrap(), row["decrypted"].as_u64().unwrap())).collect()
}

#[tokio::test]
async fn the_event_history_is_read_page_by_page_and_throttling_waited_out() {
    let aws = Aws::start().await;
    for number in 0..120 {
        decrypt(&aws, ACCOUNT, number, 60 + i64::try_from(number).unwrap(), "worker", Some("orders"));
    }
    decrypt(&aws, ACCOUNT, 200, 2 * DAY, "auditor", Some("orders"));
    decrypt(&aws, ACCOUNT, 201, 60, "uploader", None);
    decrypt(&aws, ACCOUNT, 202, 20 * DAY, "former", Some("orders"));
    aws.proxy.inject(Rule::once(Matcher::operation("LookupEvents"), Effect::error("ThrottlingException", "Rate exceeded")).times(2));
    let answer = aws.audit(&["--offline", "--who-decrypted", "-o", "json"]).await;
    let report = answer.json();
    assert_eq!((answer.exit, report["partial"].as_bool()), (0, Some(false)), "{report:#}");
    let orders = format!("arn:aws:sqs:{REGION}:{ACCOUNT}:orders");
    let role = |name: &str| format!("arn:aws:iam::{ACCOUNT}:role/service/{name}");
    let (worker, auditor, former) = (role("worker"), role("auditor"), role("former"));
    assert_eq!(rows(&report), [(orders.as_str(), worker.as_str(), 120), (&orders, &auditor, 1)]);
    assert_eq!((report["events"].as_u64(), report["otherEvents"].as_u64()), (Some(121), Some(1)));
    // Two that were throttled, and 122 events in pages of fifty.
    assert_eq!(aws.proxy.count("LookupEvents"), 5);
    assert!(aws.proxy.ledger().iter().all(|call| call.operation != "ListQueues"), "queues are not read");

    let more = aws.audit(&["--offline", "--who-decrypted", "--days", "30", "-o", "json"]).await.json();
    assert!(rows(&more).contains(&(orders.as_str(), former.as_str(), 1)), "{more:#}");
    let table = aws.audit(&["--offline", "--who-decrypted"]).await;
    assert!(table.output.contains(&worker) && table.output.contains("120"), "{}", table.output);
}

#[tokio::test]
async fn an_account_that_refuses_is_named_and_the_others_count() {
    let aws = Aws::start().await;
    decrypt(&aws, ACCOUNT, 1, 60, "worker", Some("orders"));
    decrypt(&aws, OTHER, 2, 60, "worker", Some("mail"));
    let manifests = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    std::fs::write(manifests.path(), tenant("acme", ACCOUNT, false) + &tenant("globex", OTHER, true)).unwrap();
    let path = manifests.path().to_str().unwrap();
    let both = aws.audit(&["--offline", "-f", path, "--who-decrypted", "-o", "json"]).await.json();
    assert_eq!(rows(&both).len(), 2, "{both:#}");
    aws.proxy.inject(Rule::once(Matcher::operation("LookupEvents").account(OTHER), Effect::error("AccessDeniedException", "not you")).times(0));
    let answer = aws.audit(&["--offline", "-f", path, "--who-decrypted", "-o", "json"]).await;
    let report = answer.json();
    assert_eq!((answer.exit, report["partial"].as_bool(), rows(&report).len()), (1, Some(true), 1));
    assert!(report["notes"].to_string().contains("account 111122223333, eu-west-1, could not be looked at to the end"), "{}", report["notes"]);
}
