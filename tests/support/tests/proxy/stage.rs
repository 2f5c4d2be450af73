//! A proxy of its own for each test, one emulator for all, and plain HTTP calls.

use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use test_support::proxy::{Proxy, Strictness};

pub const ACCOUNT: &str = "123456789012";
pub const GUEST: &str = "222222222222";
pub const REGION: &str = "eu-west-1";

/// The emulator of `MOTO_SERVER`, or of the cache.
fn moto_server() -> PathBuf {
    if let Some(path) = std::env::var_os("MOTO_SERVER") {
        return path.into();
    }
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let cache = variable("ENCRYPTED_QUEUE_CACHE").or_else(|| {
        let base = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")))?;
        Some(base.join("encrypted-queue-operator"))
    });
    let cache = cache.expect("HOME is set").join("moto");
    let found =
        std::fs::read_dir(&cache).into_iter().flatten().flatten().map(|entry| entry.path().join("bin/moto_server")).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("no moto_server in {}: set MOTO_SERVER to one (Python package moto[server] 5.2)", cache.display()))
}

/// Starts the emulator once. It ends with this process, whose end closes the pipe its shell reads.
fn emulator() -> &'static str {
    static ENDPOINT: OnceLock<String> = OnceLock::new();
    ENDPOINT.get_or_init(|| {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let script = r#""$0" -H 127.0.0.1 -p "$1" >/dev/null 2>&1 & pid=$!; read -r _; kill $pid"#;
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).arg(moto_server()).arg(port.to_string()).stdin(Stdio::piped()).stdout(Stdio::null());
        std::mem::forget(shell.spawn().expect("sh starts"));
        let deadline = Instant::now() + Duration::from_mins(1);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "the emulator answers within a minute");
            std::thread::sleep(Duration::from_millis(50));
        }
        format!("http://127.0.0.1:{port}")
    })
}

/// A name no other test uses, in this run or another.
pub fn unique(prefix: &str) -> String {
    let mut bytes = [0_u8; 8];
    std::fs::File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    format!("{prefix}-{:016x}", u64::from_ne_bytes(bytes))
}

pub struct Stage {
    pub proxy: Proxy,
    client: Client<HttpConnector, Full<Bytes>>,
    access_key: String,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub code: Option<String>,
    pub body: Value,
}

impl Reply {
    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.body
    }

    #[track_caller]
    pub fn refused(&self, code: &str) {
        assert!(self.status >= 400 && self.code.as_deref() == Some(code), "{code} was expected: {self:?}");
    }

    pub fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }
}

impl Stage {
    pub async fn new() -> Self {
        let upstream = tokio::task::spawn_blocking(emulator).await.unwrap();
        let proxy = Proxy::start(upstream.parse().unwrap()).await.unwrap();
        Self { proxy, client: Client::builder(TokioExecutor::new()).build_http(), access_key: "AKIATESTTESTTESTTEST".to_owned() }
    }

    /// With other rules than the usual.
    pub async fn with(change: impl FnOnce(&mut Strictness)) -> Self {
        let stage = Self::new().await;
        let mut rules = stage.proxy.strictness();
        change(&mut rules);
        stage.proxy.set_strictness(rules);
        stage
    }

    pub fn acting_as(&mut self, access_key: &str) {
        access_key.clone_into(&mut self.access_key);
    }

    /// Acts from another account from here on.
    pub async fn become_guest(&mut self) {
        let session =
            self.query("sts", &format!("Action=AssumeRole&Version=2011-06-15&RoleArn=arn:aws:iam::{GUEST}:role/guest&RoleSessionName=guest")).await;
        let access_key = session.split("<AccessKeyId>").nth(1).unwrap().split('<').next().unwrap();
        self.acting_as(access_key);
    }

    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    pub async fn sqs(&self, operation: &str, params: Value) -> Reply {
        self.json("sqs", &format!("AmazonSQS.{operation}"), params).await
    }

    pub async fn kms(&self, operation: &str, params: Value) -> Reply {
        self.json("kms", &format!("TrentService.{operation}"), params).await
    }

    pub async fn tagging(&self, params: Value) -> Reply {
        self.json("tagging", "ResourceGroupsTaggingAPI_20170126.GetResources", params).await
    }

    async fn json(&self, service: &str, target: &str, params: Value) -> Reply {
        self.try_json(service, target, params).await.expect("an answer")
    }

    /// `None` when the connection closed without an answer.
    pub async fn try_json(&self, service: &str, target: &str, params: Value) -> Option<Reply> {
        self.post(service, Some(target), params.to_string()).await
    }

    /// A query-protocol call; the body is text.
    pub async fn query(&self, service: &str, form: &str) -> String {
        let reply = self.post(service, None, form.to_owned()).await.expect("an answer");
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.body.as_str().unwrap().to_owned()
    }

    pub async fn try_query(&self, service: &str, form: &str) -> Reply {
        self.post(service, None, form.to_owned()).await.expect("an answer")
    }

    async fn post(&self, service: &str, target: Option<&str>, body: String) -> Option<Reply> {
        let scope = format!("{}/20260101/{REGION}/{service}/aws4_request", self.access_key);
        let authorization = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0");
        let kind = if target.is_some() { "application/x-amz-json-1.0" } else { "application/x-www-form-urlencoded" };
        let mut request = hyper::Request::post(self.proxy.endpoint()).header("authorization", authorization).header("content-type", kind);
        if let Some(target) = target {
            request = request.header("x-amz-target", target);
        }
        self.send(request.body(Full::from(body)).unwrap()).await
    }

    pub async fn control(&self, method: &str, path: &str, body: Value) -> Reply {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = hyper::Request::builder().method(method).uri(format!("{}/_proxy/{path}", self.proxy.endpoint()));
        self.send(request.body(Full::from(body)).unwrap()).await.expect("an answer")
    }

    async fn send(&self, request: hyper::Request<Full<Bytes>>) -> Option<Reply> {
        let (head, body) = self.client.request(request).await.ok()?.into_parts();
        let bytes = body.collect().await.ok()?.to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let body: Value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        let header = head.headers.get("x-amzn-query-error").map(|value| value.to_str().unwrap().split(';').next().unwrap().to_owned());
        let code = header.or_else(|| body["__type"].as_str().map(|shape| shape.rsplit('#').next().unwrap().to_owned()));
        Some(Reply { status: head.status.as_u16(), code, body })
    }

    /// Makes a queue, answers its URL.
    pub async fn queue(&self, name: &str, attributes: Value) -> String {
        let made = self.sqs("CreateQueue", json!({"QueueName": name, "Attributes": attributes})).await.ok();
        made["QueueUrl"].as_str().unwrap().to_owned()
    }

    pub async fn attributes(&self, url: &str) -> Value {
        self.sqs("GetQueueAttributes", json!({"QueueUrl": url, "AttributeNames": ["All"]})).await.ok()["Attributes"].clone()
    }

    pub async fn set(&self, url: &str, attributes: Value) -> Reply {
        self.sqs("SetQueueAttributes", json!({"QueueUrl": url, "Attributes": attributes})).await
    }

    /// Makes a key, answers its ARN.
    pub async fn key(&self) -> String {
        self.kms("CreateKey", json!({})).await.ok()["KeyMetadata"]["Arn"].as_str().unwrap().to_owned()
    }
}
