//! What a call is: service, Region and access key from the SigV4 credential scope, operation from `X-Amz-Target` or `Action`.

use hyper::body::Bytes;
use hyper::{HeaderMap, Method, header};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Whether a call changes something, looks at something, or moves messages and data keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Changes nothing.
    Read,
    /// Changes configuration.
    Write,
    /// Messages and cryptography: what applications do, and the operator never.
    Data,
}

/// How a service writes requests and errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// JSON body, operation in `X-Amz-Target`.
    Json,
    /// Form body with `Action`, XML answers.
    Query,
    /// Anything else; forwarded and recorded, not understood.
    Other,
}

/// A call as it arrived, parsed.
#[derive(Clone, Debug)]
pub struct Request {
    /// Number of the call, from 1.
    pub seq: u64,
    /// Signing name: `sqs`, `kms`, `sts`, `iam`, `tagging` …
    pub service: String,
    /// Operation name, or method and path where there is none.
    pub operation: String,
    /// Account of the access key.
    pub account: String,
    /// Region of the credential scope.
    pub region: String,
    /// Access key of the caller.
    pub access_key: String,
    /// Read, write or data.
    pub kind: Kind,
    /// Protocol of the service.
    pub protocol: Protocol,
    /// Parameters: the JSON body, or the form as an object of strings.
    pub params: Value,
    /// HTTP method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Headers as they came.
    pub headers: HeaderMap,
    /// Body as it came, or as it was rewritten.
    pub body: Bytes,
}

impl Request {
    /// Parses one call; sequence number and account are the server's to fill in.
    pub fn parse(method: Method, path: String, headers: HeaderMap, body: Bytes) -> Self {
        let mut scope = Scope::of(headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default());
        let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok());
        let (protocol, operation, params) = if let Some(target) = target {
            let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
            (Protocol::Json, operation, serde_json::from_slice(&body).unwrap_or(Value::Null))
        } else {
            let form = parse_form(&String::from_utf8_lossy(&body));
            match form.get("Action").and_then(Value::as_str) {
                Some(action) => (Protocol::Query, action.to_owned(), Value::Object(form)),
                None => (Protocol::Other, path_operation(&method, &path), serde_json::from_slice(&body).unwrap_or(Value::Null)),
            }
        };
        // Whoever has only a token signs nothing.
        if scope.service.is_empty() && operation == WITH_WEB_IDENTITY {
            "sts".clone_into(&mut scope.service);
        }
        let kind = kind_of(&scope.service, &operation);
        Self {
            seq: 0,
            service: scope.service,
            operation,
            account: String::new(),
            region: scope.region,
            access_key: scope.access_key,
            kind,
            protocol,
            params,
            method,
            path,
            headers,
            body,
        }
    }

    /// A string parameter; absent and not a string are both `None`.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.params.get(name).and_then(Value::as_str)
    }

    /// Writes changed parameters back into the body.
    pub fn rewrite(&mut self, change: impl FnOnce(&mut Map<String, Value>)) {
        if let Value::Object(params) = &mut self.params {
            change(params);
        }
        self.body = Bytes::from(self.params.to_string());
    }
}

/// How a ServiceAccount's token becomes credentials.
pub(crate) const WITH_WEB_IDENTITY: &str = "AssumeRoleWithWebIdentity";

struct Scope {
    access_key: String,
    region: String,
    service: String,
}

impl Scope {
    /// `… Credential=KEY/DATE/REGION/SERVICE/aws4_request, …`
    fn of(authorization: &str) -> Self {
        let credential = authorization.split_once("Credential=").map_or("", |(_, rest)| rest);
        let mut parts = credential.split([',', ' ']).next().unwrap_or_default().split('/');
        let mut next = || parts.next().unwrap_or_default().to_owned();
        let access_key = next();
        let _date = next();
        Self { access_key, region: next(), service: next() }
    }
}

/// The operation of protocols that put it in the path, else method and path.
fn path_operation(method: &Method, path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default();
    let segments: Vec<&str> = path.split('/').collect();
    match (method, segments.as_slice()) {
        (&Method::GET, ["", "clusters", _, "pod-identity-associations"]) => return "ListPodIdentityAssociations".to_owned(),
        (&Method::GET, ["", "clusters", _, "pod-identity-associations", _]) => return "DescribePodIdentityAssociation".to_owned(),
        _ => {}
    }
    match path.split_once("/operation/") {
        Some((_, operation)) => operation.to_owned(),
        None => format!("{method} {path}"),
    }
}

fn kind_of(service: &str, operation: &str) -> Kind {
    const DATA: [&str; 15] = [
        "SendMessage",
        "SendMessageBatch",
        "ReceiveMessage",
        "DeleteMessage",
        "DeleteMessageBatch",
        "ChangeMessageVisibility",
        "ChangeMessageVisibilityBatch",
        "Encrypt",
        "Decrypt",
        "ReEncrypt",
        "GenerateDataKey",
        "GenerateDataKeyWithoutPlaintext",
        "GenerateDataKeyPair",
        "GenerateMac",
        "VerifyMac",
    ];
    const READ: [&str; 6] = ["Get", "List", "Describe", "BatchGet", "Lookup", "GET "];
    if matches!(service, "sqs" | "kms") && DATA.contains(&operation) {
        Kind::Data
    } else if service == "sts" || READ.iter().any(|prefix| operation.starts_with(prefix)) {
        Kind::Read
    } else {
        Kind::Write
    }
}

/// `application/x-www-form-urlencoded` as an object of strings.
pub fn parse_form(text: &str) -> Map<String, Value> {
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decode_form_part(name), Value::String(decode_form_part(value))))
        .collect()
}

fn decode_form_part(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        match (*first, tail) {
            (b'%', [high, low, after @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                bytes.push(hex(*high).unwrap_or_default() << 4 | hex(*low).unwrap_or_default());
                rest = after;
                continue;
            }
            (b'+', _) => bytes.push(b' '),
            (byte, _) => bytes.push(byte),
        }
        rest = tail;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Text of the first element of that name; enough for the flat answers of STS and IAM.
pub fn xml_text<'a>(xml: &'a str, element: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{element}>"))?;
    rest.split_once("</").map(|(text, _)| text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn parse(service: &str, target: Option<&str>, path: &str, body: &str) -> Request {
        let mut headers = HeaderMap::new();
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential=AKIATEST/20260101/eu-west-1/{service}/aws4_request, SignedHeaders=host, Signature=x");
        headers.insert(header::AUTHORIZATION, authorization.parse().unwrap());
        if let Some(target) = target {
            headers.insert("x-amz-target", target.parse().unwrap());
        }
        Request::parse(Method::POST, path.to_owned(), headers, Bytes::from(body.to_owned()))
    }

    #[test]
    fn a_json_call_is_told_by_scope_and_target() {
        let call = parse("sqs", Some("AmazonSQS.CreateQueue"), "/", r#"{"QueueName":"q"}"#);
        assert_eq!((call.service.as_str(), call.operation.as_str(), call.region.as_str()), ("sqs", "CreateQueue", "eu-west-1"));
        assert_eq!((call.access_key.as_str(), call.kind, call.protocol), ("AKIATEST", Kind::Write, Protocol::Json));
        assert_eq!(call.text("QueueName"), Some("q"));
    }

    #[test]
    fn a_query_call_is_told_by_its_form() {
        let call = parse("sts", None, "/", "Action=AssumeRole&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fa+b");
        assert_eq!((call.operation.as_str(), call.kind, call.protocol), ("AssumeRole", Kind::Read, Protocol::Query));
        assert_eq!(call.text("RoleArn"), Some("arn:aws:iam::1:role/a b"));
    }

    #[test]
    fn other_protocols_keep_their_path() {
        assert_eq!(parse("eks", None, "/clusters/a?x=1", "").operation, "POST /clusters/a");
        assert_eq!(parse("monitoring", None, "/service/X/operation/GetMetricData", "").operation, "GetMetricData");
    }

    #[test]
    fn kinds() {
        for (service, operation, kind) in [
            ("kms", "DescribeKey", Kind::Read),
            ("kms", "GenerateDataKey", Kind::Data),
            ("kms", "ScheduleKeyDeletion", Kind::Write),
            ("sqs", "ReceiveMessage", Kind::Data),
            ("sqs", "PurgeQueue", Kind::Write),
            ("sqs", "ListQueueTags", Kind::Read),
            ("tagging", "GetResources", Kind::Read),
            ("iam", "CreateRole", Kind::Write),
        ] {
            assert_eq!(kind_of(service, operation), kind, "{service}:{operation}");
        }
    }

    #[test]
    fn forms_decode_and_broken_escapes_stay() {
        let form = parse_form("a=1%2B1&b=%zz%4&c=&d");
        assert_eq!(form.get("a").unwrap(), "1+1");
        assert_eq!(form.get("b").unwrap(), "%zz%4");
        assert_eq!(form.get("c").unwrap(), "");
        assert!(!form.contains_key("d"));
    }

    #[test]
    fn the_first_element_is_read() {
        assert_eq!(xml_text("<A><RoleId>AROA1</RoleId><RoleId>2</RoleId></A>", "RoleId"), Some("AROA1"));
        assert_eq!(xml_text("<A/>", "RoleId"), None);
    }
}
