//! Credentials and clients for every account and Region, each made once and shared.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::identity::IdentityCache;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

use super::calls::{CallCounts, Recorder};
use super::clients::Clients;
use super::codes::Kind;
use super::error::AwsError;
use super::identity::{AssumedRole, Caller};
use super::own_requests::OwnRequests;
use super::quota::{Quotas, Rates, SharedQuotas};
use super::remembered::Remembered;
use crate::names::{Partition, Place, RoleArn, RoleName};

/// For so long a failure to obtain or verify credentials is answered from memory.
const FAILURE_KEPT: Duration = Duration::from_secs(5);
/// Credentials kept at once: more than there are tenants, since the SDK's own 64 would have them evict each other.
const IDENTITY_PARTITIONS: usize = 10_000;

/// How to speak to AWS.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Names the operator in CloudTrail's user agent.
    pub app_name: String,
    /// Names the operator's sessions under assumed roles: 2 to 64 characters of `[A-Za-z0-9_+=,.@-]`.
    pub session_name: String,
    /// The role that the operator's own credentials belong to, path included. Absent: `iam:GetRole` tells.
    pub operator_role_arn: Option<RoleArn>,
    /// A role that only reads, assumed in each account in place of the role that a tenant names; what key policies name stays. Where a tenant names
    /// none, the credentials at hand are taken for a reader's too.
    pub reader_role_name: Option<RoleName>,
    /// For a connection to be made.
    pub connect_timeout: Duration,
    /// From a request's end to the first byte of its answer.
    pub read_timeout: Duration,
    /// For a call with its repetitions.
    pub operation_timeout: Duration,
    /// Attempts at a call, the first included.
    pub max_attempts: u32,
    /// Calls a second that AWS admits.
    pub rates: Rates,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            app_name: "encrypted-queue-operator".to_owned(),
            session_name: "encrypted-queue-operator".to_owned(),
            operator_role_arn: None,
            reader_role_name: None,
            connect_timeout: Duration::from_millis(3100),
            read_timeout: Duration::from_secs(10),
            operation_timeout: Duration::from_secs(20),
            max_attempts: 2,
            rates: Rates::default(),
        }
    }
}

/// One account and Region, and the way into it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct AccountKey {
    /// Account id; verified against `sts:GetCallerIdentity`.
    pub account_id: String,
    /// Partition.
    pub partition: Partition,
    /// Region.
    pub region: String,
    /// Role to assume. Absent: the operator's own credentials.
    pub role_arn: Option<RoleArn>,
    /// External id for assuming it.
    pub external_id: Option<String>,
}

impl AccountKey {
    /// The place without the way into it.
    pub fn place(&self) -> Place {
        Place { partition: self.partition, account: self.account_id.clone(), region: self.region.clone() }
    }
}

/// A role and its external id; none: the operator's own credentials.
type Way = Option<(RoleArn, Option<String>)>;

/// Credentials of one way into AWS, for all Regions.
#[derive(Debug)]
struct Session {
    config: SdkConfig,
    sts: aws_sdk_sts::Client,
    caller: Remembered<Caller>,
    role: Remembered<RoleArn>,
}

/// All accounts that the operator works in.
#[derive(Debug)]
pub struct Accounts {
    settings: Settings,
    base: SdkConfig,
    counts: Arc<CallCounts>,
    own_requests: OwnRequests,
    quotas: SharedQuotas,
    sessions: Mutex<HashMap<Way, Arc<Session>>>,
    clients: Mutex<HashMap<AccountKey, Arc<Clients>>>,
}

impl Accounts {
    /// Takes Region, endpoints and credentials from where every AWS tool takes them. Asks AWS nothing yet.
    pub async fn connect(settings: Settings) -> Result<Self, AwsError> {
        Self::connect_with(aws_config::defaults(BehaviorVersion::latest()), settings).await
    }

    /// Like [`Accounts::connect`], with what `loader` already fixes.
    pub async fn connect_with(loader: ConfigLoader, settings: Settings) -> Result<Self, AwsError> {
        let invalid = |what: &str| AwsError::new("aws:Configure", Kind::Invalid, "InvalidConfiguration", what);
        let app_name = AppName::new(settings.app_name.clone()).map_err(|error| invalid(&error.to_string()))?;
        if !is_session_name(&settings.session_name) {
            return Err(invalid("a session name has 2 to 64 characters of A-Z a-z 0-9 _ + = , . @ -"));
        }
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(settings.connect_timeout)
            .read_timeout(settings.read_timeout)
            .operation_attempt_timeout(settings.connect_timeout + settings.read_timeout)
            .operation_timeout(settings.operation_timeout)
            .build();
        // One pool of connections for all accounts, Regions and services.
        let http_client = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let base = loader
            .http_client(http_client)
            .timeout_config(timeouts)
            .retry_config(RetryConfig::standard().with_max_attempts(settings.max_attempts))
            .identity_cache(IdentityCache::lazy().max_partitions(IDENTITY_PARTITIONS).load_timeout(settings.operation_timeout).build())
            .app_name(app_name)
            .load()
            .await;
        let quotas = Arc::new(Quotas::new(settings.rates.clone()));
        let own_requests = OwnRequests::default();
        Ok(Self { settings, base, quotas, own_requests, counts: Arc::default(), sessions: Mutex::default(), clients: Mutex::default() })
    }

    /// Calls made so far, over all accounts.
    pub fn call_counts(&self) -> &Arc<CallCounts> {
        &self.counts
    }

    /// The requests by which this process changed something.
    pub fn own_requests(&self) -> &OwnRequests {
        &self.own_requests
    }

    /// What all clients with the operator's own credentials begin with.
    pub(super) fn own_config(&self) -> &SdkConfig {
        &self.base
    }

    /// The lines in which calls wait, over all accounts.
    pub fn quotas(&self) -> &Arc<Quotas> {
        &self.quotas
    }

    /// Clients for one account and Region. The first use of a way into AWS asks `sts:AssumeRole` and `sts:GetCallerIdentity`; later ones ask nothing.
    pub async fn clients(&self, key: &AccountKey) -> Result<Arc<Clients>, AwsError> {
        let session = self.session(key);
        session.verify(&key.account_id).await?;
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || Arc::new(Clients::new(&session.config, key.place(), &self.counts, &self.quotas, &self.own_requests));
        Ok(clients.entry(key.clone()).or_insert_with(make).clone())
    }

    /// The role that acts in an account, as key policies must name it: the tenant's, else the operator's own.
    pub async fn operator_role(&self, key: &AccountKey) -> Result<RoleArn, AwsError> {
        if let Some(role) = &key.role_arn {
            return Ok(role.clone());
        }
        if self.settings.reader_role_name.is_some() {
            let message = "who only reads is not the operator; name the operator's own role with --operator-role-arn";
            let unknown = || AwsError::new("iam:GetRole", Kind::OperatorRoleUnknown, "OperatorRoleUnknown", message);
            return self.settings.operator_role_arn.clone().ok_or_else(unknown);
        }
        let session = self.session(key);
        let caller = session.caller.get(|| Caller::ask(&session.sts)).await?;
        if let Some(role) = &self.settings.operator_role_arn {
            caller.check_configured(role)?;
            return Ok(role.clone());
        }
        let clients = self.clients(key).await?;
        session.role.get(|| caller.find_role(&clients.iam)).await
    }

    /// The account and Region of the operator's own credentials; no Region: none is configured.
    pub async fn own(&self) -> Result<(String, Option<String>), AwsError> {
        let region = self.base.region().map(ToString::to_string);
        let partition = Partition::of_region(region.as_deref().unwrap_or_default());
        let key = AccountKey { account_id: String::new(), partition, region: region.clone().unwrap_or_default(), role_arn: None, external_id: None };
        let session = self.session(&key);
        Ok((session.caller.get(|| Caller::ask(&session.sts)).await?.account, region))
    }

    fn session(&self, key: &AccountKey) -> Arc<Session> {
        let way = key.role_arn.clone().map(|role| (role, key.external_id.clone()));
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.entry(way).or_insert_with(|| Arc::new(self.open(key))).clone()
    }

    fn open(&self, key: &AccountKey) -> Session {
        let region = self.identity_region(key);
        let mut config = self.base.to_builder().region(Region::new(region.clone())).build();
        if let Some(role) = &key.role_arn {
            let provider = AssumedRole {
                sts: self.sts(&config, &key.account_id, &region),
                role: self.settings.reader_role_name.as_ref().map_or_else(|| role.clone(), |reader| reader.beside(role)),
                external_id: key.external_id.clone(),
                session_name: self.settings.session_name.clone(),
            };
            config = config.into_builder().credentials_provider(SharedCredentialsProvider::new(provider)).build();
        }
        Session {
            sts: self.sts(&config, &key.account_id, &region),
            config,
            caller: Remembered::new(FAILURE_KEPT),
            role: Remembered::new(FAILURE_KEPT),
        }
    }

    /// STS is asked in the operator's own Region, since a tenant's may be one that the operator's account has not enabled; its tokens hold everywhere
    /// in the partition.
    fn identity_region(&self, key: &AccountKey) -> String {
        let own = self.base.region().map(Region::as_ref).filter(|region| Partition::of_region(region) == key.partition);
        own.unwrap_or(&key.region).to_owned()
    }

    /// What clients of services are made from that few commands need, in the account and Region; verified as [`Accounts::clients`] is.
    pub(super) async fn configuration(&self, key: &AccountKey) -> Result<(SdkConfig, Recorder), AwsError> {
        let session = self.session(key);
        session.verify(&key.account_id).await?;
        let config = session.config.to_builder().region(Region::new(key.region.clone())).build();
        let recorder =
            Recorder { counts: self.counts.clone(), account: key.account_id.as_str().into(), region: key.region.as_str().into(), pace: None };
        Ok((config, recorder))
    }

    /// EKS in the operator's own account and Region.
    pub(super) fn eks(&self) -> aws_sdk_eks::Client {
        let region = self.base.region().map_or("", Region::as_ref);
        let recorder = Recorder { counts: self.counts.clone(), account: "operator".into(), region: region.into(), pace: None };
        aws_sdk_eks::Client::from_conf(aws_sdk_eks::config::Builder::from(&self.base).interceptor(recorder).build())
    }

    fn sts(&self, config: &SdkConfig, account: &str, region: &str) -> aws_sdk_sts::Client {
        let recorder = Recorder { counts: self.counts.clone(), account: account.into(), region: region.into(), pace: None };
        aws_sdk_sts::Client::from_conf(aws_sdk_sts::config::Builder::from(config).interceptor(recorder).build())
    }
}

impl Session {
    /// Checks once that these credentials belong to the account; a mismatch is looked at again, since it may have been mended.
    async fn verify(&self, account: &str) -> Result<(), AwsError> {
        let caller = self.caller.get(|| Caller::ask(&self.sts)).await?;
        if caller.account == account {
            return Ok(());
        }
        self.caller.doubt().await;
        let message = format!("expected account {account}, but the credentials belong to account {}: {}", caller.account, caller.arn);
        Err(AwsError::new("sts:GetCallerIdentity", Kind::WrongAccount, "WrongAccount", message))
    }
}

fn is_session_name(name: &str) -> bool {
    (2..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b))
}
