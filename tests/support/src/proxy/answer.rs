//! Answers, and errors written as each AWS protocol writes them.

use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::classify::{Protocol, Request, xml_text};

/// A response on its way to the caller.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

/// SQS errors whose shape in the body differs from the code in the header.
const SQS_CODES: [(&str, &str); 16] = [
    ("QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"),
    ("QueueNameExists", "QueueAlreadyExists"),
    ("QueueDeletedRecently", "AWS.SimpleQueueService.QueueDeletedRecently"),
    ("PurgeQueueInProgress", "AWS.SimpleQueueService.PurgeQueueInProgress"),
    ("MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight"),
    ("UnsupportedOperation", "AWS.SimpleQueueService.UnsupportedOperation"),
    ("EmptyBatchRequest", "AWS.SimpleQueueService.EmptyBatchRequest"),
    ("KmsAccessDenied", "KMS.AccessDeniedException"),
    ("KmsDisabled", "KMS.DisabledException"),
    ("KmsInvalidState", "KMS.KMSInvalidStateException"),
    ("KmsInvalidKeyUsage", "KMS.InvalidKeyUsageException"),
    ("KmsNotFound", "KMS.NotFoundException"),
    ("KmsOptInRequired", "KMS.OptInRequired"),
    ("KmsThrottled", "KMS.ThrottlingException"),
    ("OverLimit", "OverLimit"),
    ("RequestThrottled", "RequestThrottled"),
];

/// Shape and header code of an SQS error, from either.
fn sqs_names(code: &str) -> (&str, &str) {
    SQS_CODES.iter().find(|(shape, header)| *shape == code || *header == code).map_or((code, code), |names| *names)
}

impl Answer {
    /// A JSON answer.
    pub fn json(status: StatusCode, body: &Value) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
        Self { status, headers, body: Bytes::from(body.to_string()) }
    }

    /// AWS's id of the request.
    pub fn request_id(&self) -> Option<String> {
        self.headers.get("x-amzn-requestid")?.to_str().ok().map(str::to_owned)
    }

    /// An error in the words and form of the service called.
    pub fn error(request: &Request, status: u16, code: &str, message: &str) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let fault = if status.is_server_error() { "Receiver" } else { "Sender" };
        match (request.protocol, request.service.as_str()) {
            (Protocol::Json, "sqs") => {
                let (shape, header) = sqs_names(code);
                let mut answer = Self::json(status, &json!({"__type": format!("com.amazonaws.sqs#{shape}"), "message": message}));
                if let Ok(value) = HeaderValue::from_str(&format!("{header};{fault}")) {
                    answer.headers.insert("x-amzn-query-error", value);
                }
                answer
            }
            (Protocol::Query, _) => {
                let mut answer = Self::json(status, &Value::Null);
                answer.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/xml"));
                answer.body = Bytes::from(format!(
                    "<ErrorResponse><Error><Type>{fault}</Type><Code>{code}</Code><Message>{}</Message></Error><RequestId>proxy-{}</RequestId></ErrorResponse>",
                    escape_xml(message),
                    request.seq
                ));
                answer
            }
            _ => Self::json(status, &json!({"__type": code, "message": message})),
        }
    }

    /// The body as JSON; text where it is none, null where it is empty.
    pub fn value(&self) -> Value {
        if self.body.is_empty() {
            return Value::Null;
        }
        serde_json::from_slice(&self.body).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&self.body).into_owned()))
    }

    /// Replaces the body.
    pub fn set_value(&mut self, value: &Value) {
        self.body = Bytes::from(value.to_string());
    }

    /// The error code as the SDK for Rust reports it: the header's, else the shape's name.
    pub fn error_code(&self) -> Option<String> {
        if self.status.is_success() {
            return None;
        }
        let header = self.headers.get("x-amzn-query-error").and_then(|value| value.to_str().ok());
        if let Some(code) = header.and_then(|value| value.split(';').next()) {
            return Some(code.to_owned());
        }
        match self.value() {
            Value::String(text) => xml_text(&text, "Code").map(str::to_owned),
            body => body.get("__type").and_then(Value::as_str).and_then(|shape| shape.rsplit('#').next()).map(str::to_owned),
        }
        .or_else(|| Some(self.status.as_u16().to_string()))
    }
}

fn escape_xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use hyper::Method;

    use super::*;

    fn call(service: &str, target: Option<&str>, body: &'static str) -> Request {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", format!("AWS4-HMAC-SHA256 Credential=A/1/r/{service}/aws4_request").parse().unwrap());
        if let Some(target) = target {
            headers.insert("x-amz-target", target.parse().unwrap());
        }
        Request::parse(Method::POST, "/".to_owned(), headers, Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn sqs_errors_carry_shape_and_header_whichever_was_given() {
        let request = call("sqs", Some("AmazonSQS.GetQueueUrl"), "{}");
        for code in ["QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"] {
            let answer = Answer::error(&request, 400, code, "gone");
            assert_eq!(answer.value()["__type"], "com.amazonaws.sqs#QueueDoesNotExist");
            assert_eq!(answer.headers["x-amzn-query-error"], "AWS.SimpleQueueService.NonExistentQueue;Sender");
            assert_eq!(answer.error_code().unwrap(), "AWS.SimpleQueueService.NonExistentQueue");
        }
    }

    #[test]
    fn kms_and_query_errors() {
        let answer = Answer::error(&call("kms", Some("TrentService.PutKeyPolicy"), "{}"), 400, "MalformedPolicyDocumentException", "no");
        assert_eq!(answer.error_code().unwrap(), "MalformedPolicyDocumentException");
        assert!(!answer.headers.contains_key("x-amzn-query-error"));
        let answer = Answer::error(&call("sts", None, "Action=AssumeRole"), 403, "AccessDenied", "a < b");
        assert_eq!(answer.error_code().unwrap(), "AccessDenied");
        assert!(String::from_utf8_lossy(&answer.body).contains("a &lt; b"));
    }

    #[test]
    fn a_server_error_without_a_body_is_named_by_its_status() {
        let answer = Answer { status: StatusCode::BAD_GATEWAY, headers: HeaderMap::new(), body: Bytes::new() };
        assert_eq!(answer.error_code().unwrap(), "502");
    }
}
