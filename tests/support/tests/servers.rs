//! The servers come up, do what they are for, and go.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Api;
use kube::api::{ListParams, ObjectMeta, PostParams};
use test_support::{ControlPlane, Moto, User};

fn namespace(name: &str) -> Namespace {
    Namespace { metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }, ..Namespace::default() }
}

#[tokio::test]
async fn the_administrator_writes_and_the_audit_log_tells() {
    let control_plane = ControlPlane::shared().await.unwrap();
    let namespaces = Api::<Namespace>::all(control_plane.client(User::Admin).await.unwrap());
    namespaces.create(&PostParams::default(), &namespace("written")).await.unwrap();

    let writes = control_plane.writes().unwrap();
    let write = writes.iter().find(|write| write.resource == "namespaces" && write.name == "written").expect("the write is in the audit log");
    assert_eq!((write.user.as_str(), write.verb.as_str(), write.status), ("admin", "create", 201));
}

#[tokio::test]
async fn other_users_may_do_only_what_is_granted() {
    let control_plane = ControlPlane::shared().await.unwrap();
    for user in [User::Author, User::Approver, User::Viewer, User::Operator] {
        let api = Api::<ConfigMap>::default_namespaced(control_plane.client(user).await.unwrap());
        let error = api.list(&ListParams::default()).await.unwrap_err().to_string();
        assert!(error.contains(&format!("User \"{}\" cannot list", user.name())), "{error}");
    }
}

#[tokio::test]
async fn kubectl_understands_the_kubeconfig() {
    let control_plane = ControlPlane::shared().await.unwrap();
    let kubectl = |arguments: &[&str]| Command::new("kubectl").env("KUBECONFIG", control_plane.kubeconfig_path()).args(arguments).output().unwrap();
    let who = kubectl(&["--context", "author", "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"]);
    assert_eq!(String::from_utf8_lossy(&who.stdout), "author", "{}", String::from_utf8_lossy(&who.stderr));
}

async fn sqs(moto: &Moto, operation: &str, body: &'static str) -> serde_json::Value {
    let request = Request::post(moto.endpoint())
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amz-target", format!("AmazonSQS.{operation}"))
        .header("authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/eu-west-1/sqs/aws4_request, SignedHeaders=host, Signature=0")
        .body(Full::new(Bytes::from_static(body.as_bytes())))
        .unwrap();
    let response = Client::builder(TokioExecutor::new()).build_http().request(request).await.unwrap();
    assert!(response.status().is_success(), "{}", response.status());
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

#[tokio::test]
async fn the_emulator_keeps_queues_until_reset() {
    let moto = Moto::start().await.unwrap();
    sqs(&moto, "CreateQueue", r#"{"QueueName": "kept"}"#).await;
    let queues = sqs(&moto, "ListQueues", "{}").await;
    assert!(queues["QueueUrls"][0].as_str().unwrap().ends_with("/123456789012/kept"), "{queues}");

    moto.reset().await.unwrap();
    assert_eq!(sqs(&moto, "ListQueues", "{}").await.get("QueueUrls"), None);
}

/// However the process ends that started them, the servers and their files go with it.
#[test]
fn killing_the_owner_leaves_no_server_and_no_file() {
    let mut owner = Command::new(env!("CARGO_BIN_EXE_test-servers")).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(owner.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let places: serde_json::Value = serde_json::from_str(&line).unwrap();
    let kubeconfig = Path::new(places["kubeconfig"].as_str().unwrap());
    let address = places["awsEndpoint"].as_str().unwrap().strip_prefix("http://").unwrap();
    assert!(kubeconfig.is_file() && TcpStream::connect(address).is_ok());

    owner.kill().unwrap();
    owner.wait().unwrap();
    let gone = || !kubeconfig.parent().unwrap().exists() && TcpStream::connect(address).is_err();
    assert!(
        (0..50).any(|_| gone() || {
            sleep(Duration::from_millis(100));
            false
        }),
        "{line} is still there"
    );
}
