//! The AWS clients against the emulator: what is written is read back, accounts are kept apart, and the wrong one is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use encrypted_queue::aws::{AccountKey, Accounts, CallCount, Intent, Kind, Settings};
use encrypted_queue::names::{Partition, RoleArn};
use encrypted_queue::plan::state::{KeyLifecycle, Tags};
use test_support::Moto;

const OWN: &str = "123456789012";
const OTHER: &str = "111122223333";

async fn accounts(settings: Settings) -> Accounts {
    let endpoint = Moto::shared().await.expect("moto").endpoint();
    let loader = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new("AKIAEXAMPLE", "secret", None, None, "tests"));
    Accounts::connect_with(loader, settings).await.unwrap()
}

fn own(region: &str) -> AccountKey {
    AccountKey { account_id: OWN.to_owned(), partition: Partition::Aws, region: region.to_owned(), role_arn: None, external_id: None }
}

fn tenant(role: &str, region: &str) -> AccountKey {
    let role = RoleArn::parse(&format!("arn:aws:iam::{OTHER}:role/{role}")).unwrap();
    AccountKey { account_id: OTHER.to_owned(), role_arn: Some(role), external_id: Some("a secret of ours".to_owned()), ..own(region) }
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn attempts(accounts: &Accounts, action: &str) -> u64 {
    accounts.call_counts().snapshot().get(action).map_or(0, |count| count.attempts)
}

#[tokio::test]
async fn a_queue_is_read_back_as_written() {
    let accounts = accounts(Settings::default()).await;
    let clients = accounts.clients(&own("eu-west-1")).await.unwrap();
    assert_eq!(clients.find_queue("round-trip").await.unwrap(), None);

    let attributes = map(&[("VisibilityTimeout", "45"), ("KmsMasterKeyId", "arn:aws:kms:eu-west-1:123456789012:key/k")]);
    let url = clients.create_queue("round-trip", &attributes, &map(&[("team", "orders"), ("old", "x")])).await.unwrap();
    clients.tag_queue(&url, &map(&[("team", "payments")])).await.unwrap();
    clients.untag_queue(&url, &["old".to_owned()]).await.unwrap();
    clients.set_queue_attributes(&url, &map(&[("DelaySeconds", "7")])).await.unwrap();

    let queue = clients.find_queue("round-trip").await.unwrap().unwrap();
    assert_eq!(queue.url, url);
    assert_eq!(queue.tags, map(&[("team", "payments")]));
    assert_eq!(queue.attributes["VisibilityTimeout"], "45");
    assert_eq!(queue.attributes["DelaySeconds"], "7");
    assert_eq!(queue.attributes["QueueArn"], "arn:aws:sqs:eu-west-1:123456789012:round-trip");
    assert_eq!(clients.queue_key_id(&url).await.unwrap().as_deref(), Some("arn:aws:kms:eu-west-1:123456789012:key/k"));
    assert!(clients.list_queue_urls().await.unwrap().contains(&url));

    let other_attributes = map(&[("VisibilityTimeout", "46")]);
    let exists = clients.create_queue("round-trip", &other_attributes, &Tags::new()).await.unwrap_err();
    assert_eq!((exists.kind, exists.intent()), (Kind::QueueExists, Intent::RetryNow), "{exists}");

    clients.delete_queue(&url).await.unwrap();
    clients.delete_queue(&url).await.unwrap();
    assert_eq!(clients.read_queue(&url).await.unwrap(), None);
    assert_eq!(clients.queue_key_id(&url).await.unwrap(), None);
}

#[tokio::test]
async fn a_key_is_read_back_as_written() {
    let accounts = accounts(Settings::default()).await;
    let clients = accounts.clients(&own("eu-west-1")).await.unwrap();
    let policy = r#"{"Version":"2012-10-17","Statement":[]}"#;
    let made = clients.create_key(policy, &map(&[("owner", "round-trip"), ("old", "x")]), "for orders").await.unwrap();
    assert_eq!((made.lifecycle.clone(), made.description.as_str()), (KeyLifecycle::Enabled, "for orders"));
    assert!(made.created_at.is_some() && made.deletion_date.is_none());

    let new_policy = r#"{"Version":"2012-10-17","Statement":[],"Id":"second"}"#;
    clients.put_key_policy(&made.arn, new_policy).await.unwrap();
    clients.update_key_description(&made.arn, "for payments").await.unwrap();
    clients.create_alias("alias/round-trip", &made.arn).await.unwrap();
    clients.tag_key(&made.arn, &map(&[("team", "payments")])).await.unwrap();
    clients.untag_key(&made.arn, &["old".to_owned()]).await.unwrap();
    clients.enable_key_rotation(&made.arn, 180).await.unwrap();

    let key = clients.read_key(&made.arn).await.unwrap().unwrap();
    assert_eq!((key.metadata.id.as_str(), key.metadata.description.as_str()), (made.id.as_str(), "for payments"));
    assert_eq!(key.policy, new_policy);
    assert_eq!(key.tags, map(&[("owner", "round-trip"), ("team", "payments")]));
    assert_eq!(key.aliases, BTreeSet::from(["alias/round-trip".to_owned()]));
    assert!(key.rotation.enabled && key.grants.is_empty());
    assert_eq!(clients.describe_key("alias/round-trip").await.unwrap().map(|key| key.id), Some(made.id.clone()));

    let taken = clients.create_alias("alias/round-trip", &made.id).await.unwrap_err();
    assert_eq!(taken.kind, Kind::AlreadyExists, "{taken}");
    let second = clients.create_key(policy, &Tags::new(), "").await.unwrap();
    clients.update_alias("alias/round-trip", &second.arn).await.unwrap();
    assert_eq!(clients.describe_key("alias/round-trip").await.unwrap().map(|key| key.id), Some(second.id));

    clients.rotate_key_on_demand(&made.arn).await.unwrap();
    assert_eq!(clients.list_key_rotations(&made.id).await.unwrap().len(), 1);
    clients.disable_key_rotation(&made.arn).await.unwrap();
    assert_eq!(clients.key_last_used(&made.id).await.unwrap(), None);

    clients.delete_alias("alias/round-trip").await.unwrap();
    clients.delete_alias("alias/round-trip").await.unwrap();
    let due = clients.schedule_key_deletion(&made.arn, 7).await.unwrap();
    let pending = clients.read_key(&made.id).await.unwrap().unwrap();
    assert_eq!((pending.metadata.lifecycle, pending.metadata.deletion_date), (KeyLifecycle::PendingDeletion, Some(due)));
    clients.cancel_key_deletion(&made.arn).await.unwrap();
    assert_eq!(clients.describe_key(&made.id).await.unwrap().unwrap().lifecycle, KeyLifecycle::Disabled);
    clients.enable_key(&made.arn).await.unwrap();
    assert_eq!(clients.describe_key(&made.id).await.unwrap().unwrap().lifecycle, KeyLifecycle::Enabled);

    assert_eq!(clients.read_key("00000000-0000-0000-0000-000000000000").await.unwrap(), None);
}

#[tokio::test]
async fn grants_are_seen_and_revoked() {
    let accounts = accounts(Settings::default()).await;
    let clients = accounts.clients(&own("eu-west-1")).await.unwrap();
    let key = clients.create_key("{}", &Tags::new(), "").await.unwrap();
    let grantee = format!("arn:aws:iam::{OWN}:role/intruder");
    let endpoint = Moto::shared().await.unwrap().endpoint();
    let intruder = aws_sdk_kms::Client::from_conf(
        aws_sdk_kms::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .endpoint_url(endpoint)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .credentials_provider(Credentials::new("AKIAEXAMPLE", "secret", None, None, "tests"))
            .build(),
    );
    intruder.create_grant().key_id(&key.id).grantee_principal(&grantee).operations("Decrypt".into()).send().await.unwrap();

    let grants = clients.read_key(&key.id).await.unwrap().unwrap().grants;
    assert_eq!(grants.len(), 1);
    assert_eq!((grants[0].grantee.as_str(), grants[0].operations.clone()), (grantee.as_str(), BTreeSet::from(["Decrypt".to_owned()])));
    clients.revoke_grant(&key.arn, &grants[0].id).await.unwrap();
    assert!(clients.read_key(&key.id).await.unwrap().unwrap().grants.is_empty());
}

#[tokio::test]
async fn keys_are_found_by_their_tags() {
    let accounts = accounts(Settings::default()).await;
    let clients = accounts.clients(&own("eu-north-1")).await.unwrap();
    let wanted = map(&[("cluster", "one"), ("object", "orders")]);
    let near = map(&[("cluster", "one"), ("object", "payments")]);
    assert_eq!(clients.find_keys(&wanted).await.unwrap(), []);
    let key = clients.create_key("{}", &wanted, "").await.unwrap();
    clients.create_key("{}", &near, "").await.unwrap();

    for found in [
        clients.find_keys(&wanted).await.unwrap(),
        clients.find_keys_by_tags(&wanted).await.unwrap(),
        clients.find_keys_by_listing(&wanted).await.unwrap(),
    ] {
        assert_eq!(found.iter().map(|found| (found.metadata.id.as_str(), &found.tags)).collect::<Vec<_>>(), [(key.id.as_str(), &wanted)]);
    }
    let both = clients.find_keys(&map(&[("cluster", "one")])).await.unwrap();
    assert_eq!(both.len(), 2);
}

#[tokio::test]
async fn an_assumed_role_works_in_its_own_account() {
    let accounts = accounts(Settings::default()).await;
    let here = accounts.clients(&own("eu-west-1")).await.unwrap();
    let there = accounts.clients(&tenant("platform/queues", "eu-west-1")).await.unwrap();
    let key = there.create_key("{}", &Tags::new(), "").await.unwrap();
    assert_eq!(key.arn, format!("arn:aws:kms:eu-west-1:{OTHER}:key/{}", key.id));
    assert_eq!(here.describe_key(&key.id).await.unwrap(), None);
    let url = there.create_queue("apart", &BTreeMap::new(), &Tags::new()).await.unwrap();
    let queue = there.read_queue(&url).await.unwrap().unwrap();
    assert_eq!(queue.attributes["QueueArn"], format!("arn:aws:sqs:eu-west-1:{OTHER}:apart"));
    assert_eq!(here.queue_url("apart").await.unwrap(), None);
}

#[tokio::test]
async fn a_way_into_an_account_is_verified_once_for_all_regions() {
    let accounts = accounts(Settings::default()).await;
    let (first, second) = (tenant("once", "eu-west-1"), tenant("once", "eu-central-1"));
    let (a, b, c) = tokio::join!(accounts.clients(&first), accounts.clients(&first), accounts.clients(&second));
    let (a, b, c) = (a.unwrap(), b.unwrap(), c.unwrap());
    assert!(std::sync::Arc::ptr_eq(&a, &b));
    assert_eq!(c.place().region, "eu-central-1");
    for clients in [&a, &c] {
        clients.queue_url("nothing").await.unwrap();
        clients.describe_key("alias/nothing").await.unwrap();
    }
    assert_eq!((attempts(&accounts, "sts:AssumeRole"), attempts(&accounts, "sts:GetCallerIdentity")), (1, 1));
    assert_eq!(accounts.call_counts().snapshot()["kms:DescribeKey"], CallCount { attempts: 2, errors: 2 });
}

#[tokio::test]
async fn the_wrong_account_is_refused() {
    let accounts = accounts(Settings::default()).await;
    let wrong = AccountKey { account_id: "999999999999".to_owned(), ..tenant("queues", "eu-west-1") };
    for _ in 0..3 {
        let error = accounts.clients(&wrong).await.unwrap_err();
        assert_eq!(error.kind, Kind::WrongAccount);
        assert!(error.message.contains("999999999999") && error.message.contains(OTHER), "{error}");
    }
    // The way itself is sound: stating the right account mends it at once.
    accounts.clients(&tenant("queues", "eu-west-1")).await.unwrap();
    assert_eq!(attempts(&accounts, "sts:AssumeRole"), 1);
}

#[tokio::test]
async fn the_operators_role_is_configured_or_the_tenants() {
    let configured = RoleArn::parse(&format!("arn:aws:iam::{OWN}:role/platform/operator")).unwrap();
    let with_role = accounts(Settings { operator_role_arn: Some(configured.clone()), ..Settings::default() }).await;
    assert_eq!(with_role.operator_role(&own("eu-west-1")).await.unwrap(), configured);
    let key = tenant("queues", "eu-west-1");
    assert_eq!(Some(with_role.operator_role(&key).await.unwrap()), key.role_arn);

    let without = accounts(Settings::default()).await;
    let error = without.operator_role(&own("eu-west-1")).await.unwrap_err();
    assert_eq!(error.kind, Kind::OperatorRoleUnknown);
    assert!(error.message.contains("--operator-role-arn"), "{error}");
}

#[tokio::test]
async fn the_operators_role_is_looked_up_with_its_path() {
    let endpoint = Moto::shared().await.unwrap().endpoint();
    let administrator = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .endpoint_url(endpoint)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .credentials_provider(Credentials::new("AKIAEXAMPLE", "secret", None, None, "tests"))
        .load()
        .await;
    let iam = aws_sdk_iam::Client::new(&administrator);
    let made = iam.create_role().path("/platform/").role_name("operator").assume_role_policy_document("{}").send().await.unwrap();
    let arn = made.role.unwrap().arn;
    assert_eq!(arn, format!("arn:aws:iam::{OWN}:role/platform/operator"));

    let run_as = async |role: &str| {
        let sts = aws_sdk_sts::Client::new(&administrator);
        let session = sts.assume_role().role_arn(role).role_session_name("pod").send().await.unwrap().credentials.unwrap();
        let credentials = Credentials::new(session.access_key_id, session.secret_access_key, Some(session.session_token), None, "tests");
        let loader = aws_config::defaults(BehaviorVersion::latest()).region(Region::new("eu-west-1")).endpoint_url(endpoint);
        Accounts::connect_with(loader.credentials_provider(credentials), Settings::default()).await.unwrap()
    };
    let accounts = run_as(&arn).await;
    for region in ["eu-west-1", "eu-central-1"] {
        assert_eq!(accounts.operator_role(&own(region)).await.unwrap().as_str(), arn);
    }
    assert_eq!((attempts(&accounts, "iam:GetRole"), attempts(&accounts, "sts:GetCallerIdentity")), (1, 1));

    let nobody = run_as(&format!("arn:aws:iam::{OWN}:role/does-not-exist")).await;
    assert_eq!(nobody.operator_role(&own("eu-west-1")).await.unwrap_err().kind, Kind::OperatorRoleUnknown);
}

/// Not a test by itself: [`endpoints_come_from_the_environment`] runs it in a process whose environment it sets.
#[tokio::test]
#[ignore = "run by endpoints_come_from_the_environment"]
async fn with_the_environments_endpoints() {
    let accounts = Accounts::connect(Settings::default()).await.unwrap();
    let clients = accounts.clients(&own("eu-west-1")).await.unwrap();
    clients.create_key("{}", &Tags::new(), "").await.unwrap();
    let error = clients.queue_url("anything").await.unwrap_err();
    assert_eq!((error.code.as_str(), error.outcome_unknown), ("ConnectionFailed", false), "{error:?}");
}

#[tokio::test]
async fn endpoints_come_from_the_environment() {
    let endpoint = Moto::shared().await.unwrap().endpoint();
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "with_the_environments_endpoints", "--ignored"])
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:9")
        .env("AWS_REGION", "eu-west-1")
        .env("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
async fn whether_a_role_exists() {
    let accounts = accounts(Settings::default()).await;
    let clients = accounts.clients(&own("eu-west-1")).await.unwrap();
    let role = |account: &str| RoleArn::parse(&format!("arn:aws:iam::{account}:role/nobody")).unwrap();
    assert_eq!(clients.role_exists(&role(OWN)).await.unwrap(), Some(false));
    assert_eq!(clients.role_exists(&role(OTHER)).await.unwrap(), None);
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_unavailable() {
    let loader = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .endpoint_url("http://127.0.0.1:9")
        .credentials_provider(Credentials::new("AKIAEXAMPLE", "secret", None, None, "tests"));
    let accounts = Accounts::connect_with(loader, Settings::default()).await.unwrap();
    let (first, second) = (own("eu-west-1"), own("eu-central-1"));
    let (error, other) = tokio::join!(accounts.clients(&first), accounts.clients(&second));
    let error = error.unwrap_err();
    assert_eq!((error.kind, error.intent(), error.outcome_unknown), (Kind::Unavailable, Intent::BackOff, false), "{error:?}");
    assert_eq!(other.unwrap_err().to_string(), error.to_string());
    assert_eq!(attempts(&accounts, "sts:GetCallerIdentity"), 2, "one call, repeated once by the SDK");
}
