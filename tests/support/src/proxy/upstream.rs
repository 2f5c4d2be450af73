//! The emulator behind the proxy.

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::answer::Answer;
use super::classify::Request;

/// moto takes the account from this header before it looks at the access key.
pub(super) const ACCOUNT_HEADER: HeaderName = HeaderName::from_static("x-moto-account-id");

/// Headers that belong to one connection, not to the message.
pub(super) const HOP_BY_HOP: [HeaderName; 3] = [header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH];

/// Where a question of the proxy's own is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub account: &'a str,
    pub region: &'a str,
}

pub(super) struct Upstream {
    authority: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Upstream {
    pub fn new(uri: &Uri) -> std::io::Result<Self> {
        let authority = uri.authority().ok_or_else(|| std::io::Error::other(format!("no host in {uri}")))?;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Ok(Self { authority: authority.to_string(), client: Client::builder(TokioExecutor::new()).build(connector) })
    }

    /// Forwards a call as it stands.
    pub async fn forward(&self, request: &Request) -> Answer {
        let mut headers = request.headers.clone();
        for name in &HOP_BY_HOP {
            headers.remove(name);
        }
        self.send(request.method.clone(), &request.path, headers, request.body.clone()).await
    }

    /// Asks the emulator something of the proxy's own; the ledger does not see it.
    pub async fn ask(&self, place: Place<'_>, target: &str, params: &Value) -> Result<Value, Answer> {
        let service = if target.starts_with("AmazonSQS") { "sqs" } else { "kms" };
        let mut headers = HeaderMap::new();
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential=PROXY/20000101/{}/{service}/aws4_request, SignedHeaders=host, Signature=0", place.region);
        for (name, value) in
            [(header::AUTHORIZATION, authorization.as_str()), (HeaderName::from_static("x-amz-target"), target), (ACCOUNT_HEADER, place.account)]
        {
            headers.insert(name, HeaderValue::from_str(value).unwrap_or(HeaderValue::from_static("")));
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
        let answer = self.send(Method::POST, "/", headers, Bytes::from(params.to_string())).await;
        if answer.status.is_success() { Ok(answer.value()) } else { Err(answer) }
    }

    async fn send(&self, method: Method, path: &str, headers: HeaderMap, body: Bytes) -> Answer {
        match self.try_send(method, path, headers, body).await {
            Ok(answer) => answer,
            Err(error) => Answer { status: StatusCode::BAD_GATEWAY, headers: HeaderMap::new(), body: Bytes::from(format!("emulator: {error}")) },
        }
    }

    async fn try_send(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
        let mut request = hyper::Request::builder().method(method).uri(format!("http://{}{path}", self.authority)).body(Full::new(body))?;
        *request.headers_mut() = headers;
        let (head, body) = self.client.request(request).await?.into_parts();
        let mut headers = head.headers;
        for name in &HOP_BY_HOP {
            headers.remove(name);
        }
        Ok(Answer { status: head.status, headers, body: body.collect().await?.to_bytes() })
    }
}
