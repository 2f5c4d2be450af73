//! Reads one event.

use serde::Deserialize;
use serde_json::Value;

/// Calls that change a queue: what the EventBridge rule lets through, and nothing else is listened to.
pub const QUEUE_CHANGES: &[&str] =
    &["CreateQueue", "DeleteQueue", "SetQueueAttributes", "AddPermission", "RemovePermission", "TagQueue", "UntagQueue"];

/// Calls that change a key.
pub const KEY_CHANGES: &[&str] = &[
    "PutKeyPolicy",
    "DisableKey",
    "EnableKey",
    "ScheduleKeyDeletion",
    "CancelKeyDeletion",
    "EnableKeyRotation",
    "DisableKeyRotation",
    "TagResource",
    "UntagResource",
    "CreateAlias",
    "UpdateAlias",
    "DeleteAlias",
    "CreateGrant",
];

/// Events of AWS KMS's own, by `detail-type`.
pub const KEY_EVENTS: &[&str] = &["KMS CMK Rotation", "KMS CMK Deletion"];

/// Calls whose refusal is told: those by which messages are encrypted and decrypted.
pub const DENIABLE: &[&str] = &["Decrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "ReEncrypt"];

const BY_CLOUD_TRAIL: &str = "AWS API Call via CloudTrail";

/// What an event is about.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Subject {
    /// A queue.
    Queue {
        /// Account that owns it.
        account: String,
        /// Region.
        region: String,
        /// Name.
        name: String,
    },
    /// A KMS key, by its id, which no two keys share.
    Key(String),
    /// An alias of a key: `alias/NAME`.
    Alias {
        /// Account.
        account: String,
        /// Region.
        region: String,
        /// Name, with its prefix.
        name: String,
    },
}

/// Somebody changed something.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// Account.
    pub account: String,
    /// Region.
    pub region: String,
    /// What: of a moved alias also the key that it points at now.
    pub subjects: Vec<Subject>,
    /// The call (`kms:PutKeyPolicy`), or what AWS KMS says that it did.
    pub what: String,
    /// Who, as CloudTrail names him.
    pub by: String,
    /// AWS's id of the request: known if it was the operator's own.
    pub request_id: Option<String>,
}

/// Somebody was denied the use of a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Denied {
    /// Id of the key.
    pub key: String,
    /// ARN of the queue, from the encryption context.
    pub queue: Option<String>,
    /// The call (`kms:Decrypt`).
    pub what: String,
    /// Who.
    pub by: String,
}

/// What an event tells.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Told {
    /// A change.
    Change(Change),
    /// A refusal.
    Denied(Denied),
    /// Nothing that matters: a call that failed, or one that changes nothing.
    Nothing,
}

/// Not an event as EventBridge delivers it.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error("not an event: {0}")]
pub struct Malformed(String);

#[derive(Deserialize)]
struct Envelope {
    source: String,
    #[serde(rename = "detail-type")]
    detail_type: String,
    account: String,
    region: String,
    #[serde(default)]
    resources: Vec<String>,
    detail: Value,
}

/// A record of CloudTrail, as far as it matters here. Whatever may be absent is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    event_name: String,
    aws_region: Option<String>,
    recipient_account_id: Option<String>,
    error_code: Option<String>,
    error_message: Option<String>,
    #[serde(default)]
    user_identity: Value,
    #[serde(default)]
    request_parameters: Value,
    #[serde(default)]
    response_elements: Value,
    #[serde(default)]
    resources: Value,
    #[serde(rename = "requestID")]
    request_id: Option<String>,
}

/// Reads the body of a message.
///
/// # Errors
/// [`Malformed`] if it is not an event, or lacks what its kind always has.
pub fn read(body: &str) -> Result<Told, Malformed> {
    let envelope: Envelope = serde_json::from_str(body).map_err(|error| Malformed(error.to_string()))?;
    let Envelope { source, detail_type, account, region, resources, detail } = envelope;
    if source == "aws.kms" && KEY_EVENTS.contains(&detail_type.as_str()) {
        let named = detail.get("key-id").and_then(Value::as_str).map(str::to_owned);
        let id = named.or_else(|| resources.iter().find_map(|arn| key_of(arn))).ok_or_else(|| lacking("detail.key-id"))?;
        let subjects = vec![Subject::Key(key_of(&id).unwrap_or(id))];
        return Ok(Told::Change(Change { account, region, subjects, what: detail_type, by: "AWS KMS".to_owned(), request_id: None }));
    }
    if detail_type != BY_CLOUD_TRAIL {
        return Ok(Told::Nothing);
    }
    let record: Record = serde_json::from_value(detail).map_err(|error| Malformed(format!("detail: {error}")))?;
    let place = Where { account: record.recipient_account_id.clone().unwrap_or(account), region: record.aws_region.clone().unwrap_or(region) };
    match source.as_str() {
        "aws.sqs" => record.of_queue(place),
        "aws.kms" => record.of_key(place),
        _ => Ok(Told::Nothing),
    }
}

#[derive(Clone)]
struct Where {
    account: String,
    region: String,
}

fn lacking(field: &str) -> Malformed {
    Malformed(format!("{field} is missing"))
}

impl Record {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.request_parameters.get(name)?.as_str()
    }

    /// Who called: a service by its name, since it has no ARN.
    fn by(&self) -> String {
        let text = |pointer: &str| self.user_identity.pointer(pointer)?.as_str();
        let of_role = || text("/sessionContext/sessionIssuer/arn");
        let of_other = || text("/arn").or_else(|| text("/invokedBy")).or_else(|| text("/principalId")).or_else(|| text("/type"));
        of_role().or_else(of_other).unwrap_or("an unnamed principal").to_owned()
    }

    fn change(&self, place: Where, service: &str, subjects: Vec<Subject>) -> Told {
        let Where { account, region } = place;
        let what = format!("{service}:{}", self.event_name);
        Told::Change(Change { account, region, subjects, what, by: self.by(), request_id: self.request_id.clone() })
    }

    fn of_queue(&self, place: Where) -> Result<Told, Malformed> {
        if self.error_code.is_some() || !QUEUE_CHANGES.contains(&self.event_name.as_str()) {
            return Ok(Told::Nothing);
        }
        let url = self.parameter("queueUrl").or_else(|| self.response_elements.get("queueUrl")?.as_str());
        // The URL's host may be any of SQS's; account and name say which queue it is.
        let of_url = url.and_then(|url| {
            let mut parts = url.trim_end_matches('/').rsplit('/');
            Some((parts.next()?.to_owned(), parts.next().filter(|account| account.bytes().all(|b| b.is_ascii_digit()))?.to_owned()))
        });
        let of_name = || Some((self.parameter("queueName")?.to_owned(), place.account.clone()));
        let (name, account) = of_url.or_else(of_name).ok_or_else(|| lacking("detail.requestParameters.queueUrl"))?;
        let subject = Subject::Queue { account, region: place.region.clone(), name };
        Ok(self.change(place, "sqs", vec![subject]))
    }

    fn of_key(&self, place: Where) -> Result<Told, Malformed> {
        if let Some(code) = &self.error_code {
            let is_denial = code.contains("AccessDenied") && DENIABLE.contains(&self.event_name.as_str());
            return Ok(self.key().filter(|_| is_denial).map_or(Told::Nothing, |key| self.denied(key)));
        }
        if !KEY_CHANGES.contains(&self.event_name.as_str()) {
            return Ok(Told::Nothing);
        }
        let Where { account, region } = place.clone();
        let alias = self.parameter("aliasName").map(|name| Subject::Alias { account, region, name: name.to_owned() });
        let subjects: Vec<Subject> = self.key().map(Subject::Key).into_iter().chain(alias).collect();
        // Tags of another kind of resource are of no interest; everything else is about a key.
        if subjects.is_empty() { Err(lacking("detail.resources[].ARN")) } else { Ok(self.change(place, "kms", subjects)) }
    }

    fn denied(&self, key: String) -> Told {
        let queue = self.request_parameters.pointer("/encryptionContext/aws:sqs:arn").and_then(Value::as_str).map(str::to_owned);
        Told::Denied(Denied { key, queue, what: format!("kms:{}", self.event_name), by: self.by() })
    }

    /// Id of the key: from the resources, else from the parameters; a refused call may have neither, and only its message names the key.
    fn key(&self) -> Option<String> {
        let arn = |resource: &Value| key_of(resource.get("ARN").or_else(|| resource.get("arn"))?.as_str()?);
        let of_resources = self.resources.as_array().and_then(|resources| resources.iter().find_map(arn));
        let of_parameters = || {
            let named = self.parameter("keyId").or_else(|| self.parameter("targetKeyId"))?;
            if named.contains("alias/") { None } else { key_of(named).or_else(|| Some(named.to_owned())) }
        };
        let of_message = || self.error_message.as_deref()?.split([' ', ',']).find_map(key_of);
        of_resources.or_else(of_parameters).or_else(of_message)
    }
}

/// The id in a key's ARN.
fn key_of(arn: &str) -> Option<String> {
    let (before, id) = arn.split_once(":key/")?;
    let is_id = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    (before.starts_with("arn:") && before.contains(":kms:") && is_id).then(|| id.to_owned())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
