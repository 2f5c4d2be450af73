//! Events as Amazon EventBridge delivers them from AWS CloudTrail: the emulator has neither.

use serde_json::{Value, json};

use crate::proxy::{Call, Kind};

/// The event of a call, if CloudTrail has one for a trail of management events that are writes. `by` is the ARN of the caller's role.
pub fn event(call: &Call, by: &str) -> Option<Value> {
    if call.kind != Kind::Write || !matches!(call.service.as_str(), "sqs" | "kms") || call.status == 0 {
        return None;
    }
    let parameters = lowered(&call.request);
    let key = ["keyId", "targetKeyId"].into_iter().find_map(|name| parameters.get(name)?.as_str()).map(str::to_owned);
    let made = call.response.pointer("/KeyMetadata/KeyId").and_then(Value::as_str).map(str::to_owned);
    let arn = |id: &str| match id.rsplit_once('/') {
        Some((_, id)) => format!("arn:aws:kms:{}:{}:key/{id}", call.region, call.account),
        None => format!("arn:aws:kms:{}:{}:key/{id}", call.region, call.account),
    };
    let resources: Vec<Value> = if call.service == "kms" {
        key.or(made).map(|id| json!({"accountId": call.account, "type": "AWS::KMS::Key", "ARN": arn(&id)})).into_iter().collect()
    } else {
        Vec::new()
    };
    let mut detail = json!({
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "AssumedRole",
            "arn": format!("arn:aws:sts::{}:assumed-role/{}/session", call.account, by.rsplit('/').next().unwrap_or_default()),
            "accountId": call.account,
            "sessionContext": {"sessionIssuer": {"type": "Role", "arn": by}},
        },
        "eventSource": format!("{}.amazonaws.com", call.service),
        "eventName": call.operation,
        "awsRegion": call.region,
        "requestParameters": parameters,
        "responseElements": if call.service == "sqs" { lowered(&call.response) } else { Value::Null },
        "requestID": call.request_id,
        "readOnly": false,
        "resources": resources,
        "eventType": "AwsApiCall",
        "managementEvent": true,
        "recipientAccountId": call.account,
    });
    if let Some(code) = &call.error {
        detail["errorCode"] = json!(code);
    }
    Some(json!({
        "version": "0",
        "id": format!("event-{}", call.seq),
        "detail-type": "AWS API Call via CloudTrail",
        "source": format!("aws.{}", call.service),
        "account": call.account,
        "time": "2026-11-23T10:00:00Z",
        "region": call.region,
        "resources": [],
        "detail": detail,
    }))
}

/// CloudTrail writes the names of parameters with a small first letter.
fn lowered(parameters: &Value) -> Value {
    let Value::Object(fields) = parameters else { return Value::Null };
    let lowered = |name: &str| {
        let mut letters = name.chars();
        letters.next().map(|first| first.to_lowercase().chain(letters).collect::<String>()).unwrap_or_default()
    };
    fields.iter().map(|(name, value)| (lowered(name), value.clone())).collect()
}
