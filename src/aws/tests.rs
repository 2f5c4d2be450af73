//! The clients over a scripted HTTP connection: answers are parsed as in production.

#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_async::time::{SharedTimeSource, SystemTimeSource};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;

use super::clients::Clients;
use super::codes::{Intent, Kind};
use super::error::AwsError;
use super::identity::AssumedRole;
use super::own_requests::OwnRequests;
use super::{CallCount, CallCounts, Quotas, Rates};
use crate::api::reasons::Reason;
use crate::names::{Partition, Place, RoleArn};
use crate::plan::state::{Attributes, Tags};

type Answer = Result<HttpResponse, ConnectorError>;

/// Gives each request the next answer, and keeps what was asked.
#[derive(Clone, Debug, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl HttpConnector for Script {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        self.asked.lock().unwrap().push(String::from_utf8_lossy(request.body().bytes().unwrap_or_default()).into_owned());
        let next = self.answers.lock().unwrap().pop_front();
        HttpConnectorFuture::ready(next.unwrap_or_else(|| Ok(answer(418, &[], "no further answer was scripted"))))
    }
}

fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> HttpResponse {
    let mut response = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body));
    for (name, value) in headers {
        response.headers_mut().insert(*name, *value);
    }
    response
}

fn config(script: &Script, credentials: SharedCredentialsProvider) -> SdkConfig {
    let connector = SharedHttpConnector::new(script.clone());
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .http_client(http_client_fn(move |_, _| connector.clone()))
        .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
        .time_source(SharedTimeSource::new(SystemTimeSource::new()))
        .retry_config(RetryConfig::standard().with_max_attempts(2).with_initial_backoff(Duration::from_millis(1)))
        .credentials_provider(credentials)
        .build()
}

fn with_credentials(answers: Vec<Answer>, credentials: SharedCredentialsProvider) -> (Clients, Arc<CallCounts>) {
    let script = Script { answers: Arc::new(Mutex::new(answers.into())), ..Script::default() };
    let place = Place { partition: Partition::Aws, account: "111122223333".to_owned(), region: "eu-west-1".to_owned() };
    let counts = Arc::new(CallCounts::default());
    let quotas = Arc::new(Quotas::new(Rates::default()));
    (Clients::new(&config(&script, credentials), place, &counts, &quotas, &OwnRequests::default()), counts)
}

fn some_credentials() -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(Credentials::new("id", "secret", None, None, "tests"))
}

fn scripted(answers: Vec<Answer>) -> (Clients, Arc<CallCounts>) {
    with_credentials(answers, some_credentials())
}

fn calls(counts: &CallCounts, action: &str) -> CallCount {
    counts.snapshot().get(action).copied().unwrap_or_default()
}

async fn create_queue_error(response: HttpResponse) -> AwsError {
    scripted(vec![Ok(response)]).0.create_queue("orders", &Attributes::new(), &Tags::new()).await.unwrap_err()
}

#[tokio::test]
async fn sqs_codes_in_every_spelling() {
    let shape = |name: &str| format!(r#"{{"__type":"com.amazonaws.sqs#{name}","message":"words of AWS"}}"#);
    for (header, body, code, kind) in [
        (Some("QueueAlreadyExists;Sender"), shape("QueueNameExists"), "QueueAlreadyExists", Kind::QueueExists),
        (None, shape("QueueNameExists"), "QueueNameExists", Kind::QueueExists),
        (
            Some("AWS.SimpleQueueService.QueueDeletedRecently;Sender"),
            shape("QueueDeletedRecently"),
            "AWS.SimpleQueueService.QueueDeletedRecently",
            Kind::DeletedRecently,
        ),
        (None, shape("QueueDeletedRecently"), "QueueDeletedRecently", Kind::DeletedRecently),
        (None, r#"{"__type":"AccessDenied","message":"words of AWS"}"#.to_owned(), "AccessDenied", Kind::AccessDenied),
    ] {
        let headers: Vec<_> = header.into_iter().map(|value| ("x-amzn-query-error", value)).chain([("x-amzn-requestid", "request-1")]).collect();
        let error = create_queue_error(answer(400, &headers, &body)).await;
        assert_eq!((error.code.as_str(), error.kind), (code, kind));
        assert_eq!(error.to_string(), format!("sqs:CreateQueue: {code}: words of AWS"));
        assert_eq!(error.request_id.as_deref(), Some("request-1"));
        assert!(!error.outcome_unknown);
    }
}

#[tokio::test]
async fn a_code_is_found_when_the_body_cannot_be_read() {
    let error = create_queue_error(answer(400, &[("x-amzn-query-error", "QueueAlreadyExists;Sender")], "<html>not JSON</html>")).await;
    assert_eq!(error.kind, Kind::QueueExists, "{error:?}");
}

#[tokio::test]
async fn what_does_not_exist_is_none() {
    let gone = || Ok(answer(400, &[("x-amzn-query-error", "AWS.SimpleQueueService.NonExistentQueue;Sender")], r#"{"__type":"QueueDoesNotExist"}"#));
    assert_eq!(scripted(vec![gone()]).0.queue_url("orders").await.unwrap(), None);
    assert_eq!(scripted(vec![gone(), gone()]).0.read_queue("https://sqs/orders").await.unwrap(), None);
    assert_eq!(scripted(vec![gone()]).0.queue_key_id("https://sqs/orders").await.unwrap(), None);
    scripted(vec![gone()]).0.delete_queue("https://sqs/orders").await.unwrap();
    let no_key = || Ok(answer(400, &[], r#"{"__type":"NotFoundException","message":"Alias is not found"}"#));
    assert_eq!(scripted(vec![no_key()]).0.describe_key("alias/x").await.unwrap(), None);
    scripted(vec![no_key()]).0.delete_alias("alias/x").await.unwrap();
}

#[tokio::test]
async fn a_limit_is_not_repeated_but_throttling_is() {
    let refused = |code: &str| Ok(answer(400, &[], &format!(r#"{{"__type":"{code}","message":"too much"}}"#)));

    let (clients, counts) = scripted(vec![refused("LimitExceededException"), Ok(answer(200, &[], "{}"))]);
    let error = clients.tag_key("key", &Tags::new()).await.unwrap_err();
    assert_eq!((error.kind, error.reason()), (Kind::LimitExceeded, Reason::QuotaExceeded));
    assert_eq!(calls(&counts, "kms:TagResource"), CallCount { attempts: 1, errors: 1 });

    let (clients, counts) = scripted(vec![refused("ThrottlingException"), Ok(answer(200, &[], "{}"))]);
    clients.tag_key("key", &Tags::new()).await.unwrap();
    assert_eq!(calls(&counts, "kms:TagResource"), CallCount { attempts: 2, errors: 1 });
}

#[tokio::test]
async fn a_key_is_never_created_twice() {
    let created = || Ok(answer(200, &[], r#"{"KeyMetadata":{"KeyId":"second","KeyState":"Enabled"}}"#));
    let throttled = || Ok(answer(400, &[], r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#));
    let not_connected = || Err(ConnectorError::io(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into()));
    for (first, kind, unknown) in [
        (throttled(), Kind::Throttled, false),
        (Ok(answer(500, &[], r#"{"__type":"KMSInternalException"}"#)), Kind::Unavailable, true),
        (Ok(answer(200, &[], "cut off")), Kind::Unavailable, true),
        (Err(ConnectorError::timeout("no answer".into())), Kind::Unavailable, true),
        (not_connected(), Kind::Unavailable, true),
    ] {
        let (clients, counts) = scripted(vec![first, created()]);
        let error = clients.create_key("{}", &Tags::new(), "").await.unwrap_err();
        assert_eq!((error.kind, error.outcome_unknown), (kind, unknown), "{error:?}");
        assert_eq!(calls(&counts, "kms:CreateKey").attempts, 1);
    }
    // The same lost connection is overcome where a repetition does no harm.
    let (clients, counts) = scripted(vec![not_connected(), Ok(answer(200, &[], "{}"))]);
    clients.enable_key("key").await.unwrap();
    assert_eq!(calls(&counts, "kms:EnableKey"), CallCount { attempts: 2, errors: 1 });
}

#[tokio::test]
async fn a_refused_principal_is_told_from_a_malformed_policy() {
    let body = |words: &str| format!(r#"{{"__type":"MalformedPolicyDocumentException","message":"{words}"}}"#);
    let invalid = answer(400, &[], &body("Policy contains a statement with one or more invalid principals."));
    let error = scripted(vec![Ok(invalid)]).0.put_key_policy("key", "{}").await.unwrap_err();
    assert_eq!((error.kind, error.intent(), error.reason()), (Kind::InvalidPrincipal, Intent::BackOff, Reason::PrincipalInvalid));
    let malformed = answer(400, &[], &body("The new key policy will not allow you to update the key policy in the future."));
    let error = scripted(vec![Ok(malformed)]).0.put_key_policy("key", "{}").await.unwrap_err();
    assert_eq!((error.kind, error.intent()), (Kind::Invalid, Intent::Stalled));
}

/// Fails as an assumed role does when STS refuses it.
#[derive(Debug)]
struct Refusing(fn() -> CredentialsError);

impl ProvideCredentials for Refusing {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err((self.0)()))
    }
}

#[tokio::test]
async fn credentials_that_cannot_be_had_are_not_a_refused_call() {
    let ask = async |refusing: fn() -> CredentialsError| {
        let (clients, _) = with_credentials(Vec::new(), SharedCredentialsProvider::new(Refusing(refusing)));
        clients.create_key("{}", &Tags::new(), "").await.unwrap_err()
    };
    let missing = ask(|| CredentialsError::not_loaded("nothing in the environment")).await;
    assert_eq!((missing.kind, missing.reason(), missing.outcome_unknown), (Kind::CredentialsUnavailable, Reason::CredentialsUnavailable, false));
    assert_eq!(missing.to_string(), "kms:CreateKey: NoCredentials: no credentials: nothing in the environment");
    let denied = ask(|| {
        let answer = AwsError::new("sts:AssumeRole", Kind::AccessDenied, "AccessDenied", "not authorized to assume it");
        CredentialsError::provider_error(answer.while_obtaining_credentials())
    })
    .await;
    assert_eq!((denied.kind, denied.outcome_unknown), (Kind::CredentialsUnavailable, false));
    assert_eq!(denied.to_string(), "sts:AssumeRole: AccessDenied: not authorized to assume it");
}

#[tokio::test]
async fn a_role_is_assumed_with_its_external_id_for_an_hour() {
    let given = r"<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>id</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>
        <SessionToken>token</SessionToken><Expiration>2033-05-18T03:33:20Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>";
    let denied = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not authorized</Message></Error></ErrorResponse>";
    let script = Script { answers: Arc::new(Mutex::new([Ok(answer(200, &[], given)), Ok(answer(403, &[], denied))].into())), ..Script::default() };
    let provider = AssumedRole {
        sts: aws_sdk_sts::Client::new(&config(&script, some_credentials())),
        role: RoleArn::parse("arn:aws:iam::111122223333:role/team/queues").unwrap(),
        external_id: Some("ours".to_owned()),
        session_name: "operator".to_owned(),
    };
    let credentials = provider.provide_credentials().await.unwrap();
    assert_eq!(credentials.session_token(), Some("token"));
    assert_eq!(credentials.expiry(), Some(std::time::UNIX_EPOCH + Duration::from_secs(2_000_000_000)));
    let asked = script.asked.lock().unwrap()[0].clone();
    for parameter in ["Action=AssumeRole", "ExternalId=ours", "RoleSessionName=operator", "DurationSeconds=3600", "role%2Fteam%2Fqueues"] {
        assert!(asked.contains(parameter), "{parameter} is not in {asked}");
    }
    let (clients, _) = with_credentials(Vec::new(), SharedCredentialsProvider::new(provider));
    let error = clients.queue_url("orders").await.unwrap_err();
    assert_eq!((error.kind, error.operation, error.code.as_str()), (Kind::CredentialsUnavailable, "sts:AssumeRole", "AccessDenied"));
}

/// A reconciler runs on any thread: this compiles only while every call's future is `Send`.
#[test]
fn calls_can_be_spawned() {
    fn spawnable<T: Send + 'static>(_: T) {}
    let clients = Arc::new(scripted(Vec::new()).0);
    spawnable(async move {
        let nothing = Tags::new();
        let _ = (clients.find_keys(&nothing).await, clients.read_key("k").await, clients.find_queue("q").await);
        let _ = (clients.create_key("{}", &nothing, "").await, clients.list_queue_urls().await, clients.rotate_key_on_demand("k").await);
    });
}

#[tokio::test]
async fn rotation_of_a_key_that_has_none_is_off() {
    let metadata = answer(200, &[], r#"{"KeyMetadata":{"KeyId":"k","Arn":"arn:aws:kms:eu-west-1:111122223333:key/k","KeyState":"PendingDeletion"}}"#);
    // The five reads start in the order in which `read_key` names them.
    let answers = vec![
        Ok(metadata),
        Ok(answer(200, &[], r#"{"Policy":"{}"}"#)),
        Ok(answer(400, &[], r#"{"__type":"KMSInvalidStateException"}"#)),
        Ok(answer(200, &[], r#"{"Tags":[{"TagKey":"a","TagValue":"b"}],"Truncated":false}"#)),
        Ok(answer(200, &[], r#"{"Aliases":[{"AliasName":"alias/one"}],"Truncated":false}"#)),
        Ok(answer(
            200,
            &[],
            r#"{"Grants":[{"GrantId":"g","GranteePrincipal":"arn:aws:iam::111122223333:role/x","Operations":["Decrypt"]}],"Truncated":false}"#,
        )),
    ];
    let key = scripted(answers).0.read_key("k").await.unwrap().unwrap();
    assert_eq!(key.rotation, crate::plan::state::RotationState::default());
    assert_eq!(key.metadata.lifecycle, crate::plan::state::KeyLifecycle::PendingDeletion);
    assert_eq!(key.tags.get("a").map(String::as_str), Some("b"));
    assert!(key.aliases.contains("alias/one"));
    assert_eq!(key.grants[0].operations.iter().collect::<Vec<_>>(), ["Decrypt"]);
}

#[tokio::test]
async fn unknown_use_is_not_no_use() {
    let unsupported = answer(400, &[], r#"{"__type":"UnknownOperationException"}"#);
    assert_eq!(scripted(vec![Ok(unsupported)]).0.key_last_used("k").await.unwrap(), None);
    let unused = answer(200, &[], r#"{"KeyId":"k","TrackingStartDate":1700000000}"#);
    let used = scripted(vec![Ok(unused)]).0.key_last_used("k").await.unwrap().unwrap();
    assert_eq!((used.at, used.tracked_since.is_some()), (None, true));
}
