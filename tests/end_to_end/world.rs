//! A world of its own for each test: API server, AWS emulator, recording proxy, and the real binary between them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
use encrypted_queue::api::{EncryptedQueue, QueueKey, SensitivityTier, Tenant};
use encrypted_queue::commands::crds;
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{GroupVersionKind, TypeMeta};
use kube::discovery::ApiResource;
use kube::{Api, Client, Config, ResourceExt};
use test_support::chart::{NAMESPACE, RELEASE, operator_rights, service_account_kubeconfig};
use test_support::proxy::Proxy;
use test_support::{ControlPlane, Moto, Server, User};

#[path = "least_privilege.rs"]
mod least_privilege;
#[path = "witness.rs"]
mod witness;
use witness::Witness;

/// The operator's own account, which is the emulator's default.
pub(crate) const ACCOUNT: &str = "123456789012";
pub(crate) const OPERATOR: &str = "arn:aws:iam::123456789012:role/encrypted-queue-operator";
/// The operator's in AWS.
pub(crate) const SECRET_ACCESS_KEY: &str = "of-the-operator-alone-1f0c";
const LOG_FILTER: &str = "info,encrypted_queue=debug";
/// How long anything may take to become true.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Where the zoo lives.
pub(crate) const REGION: &str = "eu-west-1";

/// Clients of the emulator itself, which takes what AWS, and the proxy, would refuse.
pub(crate) struct Aws {
    pub(crate) sqs: aws_sdk_sqs::Client,
    pub(crate) kms: aws_sdk_kms::Client,
}

pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) proxy: Proxy,
    pub(crate) control_plane: ControlPlane,
    /// What operators that are started log.
    pub(crate) log_filter: &'static str,
    /// A token by which the operator gets its credentials; else it has keys.
    pub(crate) web_identity: Option<String>,
    /// The operator that is started.
    pub(crate) program: PathBuf,
    /// Whether the API server may refuse what the operator asks.
    refusals_expected: bool,
    /// Kubeconfigs of the chart's releases.
    installed: Mutex<BTreeMap<String, String>>,
    operator: Option<Server>,
    /// More of them.
    others: Vec<Server>,
    /// Taken at the end.
    witness: Option<Witness>,
    moto: Option<Moto>,
}

/// However a test ends well, every write to AWS in it must have kept the invariants.
impl Drop for World {
    fn drop(&mut self) {
        self.operator = None;
        self.others.clear();
        let Some(witness) = self.witness.take().filter(|_| !std::thread::panicking()) else { return };
        let report = witness.judge(&self.proxy);
        assert!(report.violations.is_empty(), "{} of {} writes:\n{}", report.violations.len(), report.writes, report.violations.join("\n"));
        let audited = self.control_plane.audited().expect("the audit log is read").into_iter();
        let audited: Vec<_> = audited.filter(|request| !(self.refusals_expected && request.forbidden)).collect();
        least_privilege::judge(&self.proxy.ledger(), &audited);
    }
}

impl World {
    /// Servers, definitions, no operator yet.
    pub(crate) async fn new() -> Self {
        let moto = Moto::start().await.expect("the emulator starts");
        let endpoint = moto.endpoint().to_owned();
        let mut world = Self::over(&endpoint).await;
        world.moto = Some(moto);
        world
    }

    /// Without the definitions.
    #[allow(dead_code)]
    pub(crate) async fn bare() -> Self {
        let moto = Moto::start().await.expect("the emulator starts");
        let mut world = Self::over_bare(moto.endpoint()).await;
        world.moto = Some(moto);
        world
    }

    /// The same over another emulator.
    pub(crate) async fn over(emulator: &str) -> Self {
        let world = Self::over_bare(emulator).await;
        world.define().await;
        world
    }

    async fn over_bare(emulator: &str) -> Self {
        let control_plane = ControlPlane::start().await.expect("servers start");
        let proxy = Proxy::start(emulator.parse().expect("an address")).await.expect("proxy starts");
        proxy.caller_is("operator", OPERATOR);
        let client = control_plane.client(User::Admin).await.expect("a client");
        let witness = Some(Witness::start(control_plane.kubeconfig(), &proxy));
        Self {
            client,
            proxy,
            control_plane,
            installed: Mutex::default(),
            operator: None,
            others: Vec::new(),
            witness,
            moto: None,
            log_filter: LOG_FILTER,
            web_identity: None,
            program: env!("CARGO_BIN_EXE_encrypted-queue").into(),
            refusals_expected: false,
        }
    }

    /// Installs the definitions.
    pub(crate) async fn define(&self) {
        for definition in crds::all() {
            self.apply_object(&serde_json::to_value(definition).expect("serialises")).await;
        }
        self.until("definitions are served", async || {
            Api::<EncryptedQueue>::all(self.client.clone()).list(&kube::api::ListParams::default()).await.is_ok()
        })
        .await;
    }

    /// Unwatched and not judged at the end: nothing but the operator is to be measured.
    #[allow(dead_code)]
    pub(crate) fn without_witness(mut self) -> Self {
        self.witness = None;
        self
    }

    /// With an operator that logs as little as in production: what it takes is to be measured.
    #[allow(dead_code)]
    pub(crate) fn quiet(mut self) -> Self {
        self.log_filter = "warn";
        self
    }

    /// The same with a running operator.
    pub(crate) async fn with_operator() -> Self {
        let mut world = Self::new().await;
        world.start_operator(&[]);
        world
    }

    pub(crate) fn start_operator(&mut self, more: &[&str]) {
        self.operator = Some(self.launch(more));
    }

    /// Another one beside it.
    pub(crate) fn start_another(&mut self, more: &[&str]) {
        let another = self.launch(more);
        self.others.push(another);
    }

    /// Ends the one that was started first of those, at once.
    pub(crate) fn stop_another(&mut self) {
        self.others.remove(0);
    }

    fn launch(&self, more: &[&str]) -> Server {
        let directory = Server::directory("operator").expect("a directory");
        let kubeconfig = directory.path().join("kubeconfig");
        // Each install of the chart has a name, a lease and a ServiceAccount of its own.
        let release = more.iter().skip_while(|argument| **argument != "--lease-name").nth(1).unwrap_or(&RELEASE);
        let mut installed = self.installed.lock().expect("nobody panicked");
        let of_release = installed.entry((*release).to_owned()).or_insert_with(|| as_installed(self.control_plane.kubeconfig(), release));
        std::fs::write(&kubeconfig, of_release).expect("a kubeconfig");
        let credentials = match &self.web_identity {
            Some(token) => {
                let file = directory.path().join("token");
                std::fs::write(&file, token).expect("a token");
                [format!("AWS_WEB_IDENTITY_TOKEN_FILE={}", file.display()), format!("AWS_ROLE_ARN={OPERATOR}")]
            }
            None => ["AWS_ACCESS_KEY_ID=operator".into(), format!("AWS_SECRET_ACCESS_KEY={SECRET_ACCESS_KEY}")],
        };
        let settings = [
            format!("KUBECONFIG={}", kubeconfig.display()),
            format!("AWS_ENDPOINT_URL={}", self.proxy.endpoint()),
            "AWS_REGION=eu-west-1".into(),
            "AWS_EC2_METADATA_DISABLED=true".into(),
            "NO_COLOR=1".into(),
            "ENCRYPTED_QUEUE_KEY_SEARCH_WINDOW=3s".into(),
            "ENCRYPTED_QUEUE_KEY_SETTLE_PERIOD=3s".into(),
            "ENCRYPTED_QUEUE_AUDIT_PERIOD=10000h".into(),
            format!("RUST_LOG={}", self.log_filter),
            self.program.display().to_string(),
            "run".into(),
            "--operator-role-arn".into(),
            OPERATOR.into(),
            "--http-address".into(),
            "127.0.0.1:0".into(),
        ];
        let mut arguments: Vec<OsString> = credentials.into_iter().chain(settings).map(Into::into).collect();
        arguments.extend(more.iter().map(Into::into));
        Server::start("operator", directory, Path::new("/usr/bin/env"), &arguments).expect("the operator starts")
    }

    /// The test has taken rights from the operator.
    #[allow(dead_code)]
    pub(crate) fn expect_refusals(&mut self) {
        self.refusals_expected = true;
    }

    /// Ends the operator at once, as a crash does.
    pub(crate) fn stop_operator(&mut self) {
        self.operator = None;
    }

    /// The process of the operator that was started first: stopped and continued by signals.
    pub(crate) fn operator_process(&self) -> u32 {
        let directory = self.operator.as_ref().expect("an operator").path().to_owned();
        let kubeconfig = format!("KUBECONFIG={}", directory.join("kubeconfig").display());
        let processes = std::fs::read_dir("/proc").expect("processes").filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        let is_it = |process: &u32| {
            let of = |file: &str| std::fs::read(format!("/proc/{process}/{file}")).unwrap_or_default();
            let runs = std::fs::read_link(format!("/proc/{process}/exe")).is_ok_and(|exe| exe.file_name() == self.program.file_name());
            runs && of("environ").split(|byte| *byte == 0).any(|variable| variable == kubeconfig.as_bytes())
        };
        processes.into_iter().find(is_it).expect("the operator runs")
    }

    /// The token by which the API server knows it.
    pub(crate) fn operator_token(&self) -> String {
        let installed = self.installed.lock().expect("nobody panicked");
        let kubeconfig: serde_json::Value = serde_json::from_str(&installed[RELEASE]).expect("JSON");
        kubeconfig["users"][0]["user"]["token"].as_str().expect("a token").to_owned()
    }

    pub(crate) fn operator_log(&self) -> String {
        self.operator.as_ref().map_or_else(|| "(no operator)".into(), Server::log)
    }

    /// What those beside it say.
    #[allow(dead_code)]
    pub(crate) fn others_log(&self) -> String {
        self.others.iter().map(Server::log).collect()
    }

    /// Waits until something is true.
    pub(crate) async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let start = Instant::now();
        while !holds().await {
            assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}\nthe operator's log ends:\n{}", self.operator_log());
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Applies documents of YAML as `kubectl apply --server-side` does.
    pub(crate) async fn apply(&self, yaml: &str) {
        for document in yaml.split("\n---") {
            let value: serde_json::Value = serde_saphyr::from_str(document).expect("YAML");
            if !value.is_null() {
                self.apply_object(&value).await;
            }
        }
    }

    /// Applies one object.
    pub(crate) async fn apply_object(&self, value: &serde_json::Value) {
        apply_object(&self.client, value).await;
    }

    /// Merges a change into an object.
    pub(crate) async fn change_queue(&self, namespace: &str, name: &str, change: serde_json::Value) {
        self.queues(namespace).patch(name, &PatchParams::default(), &Patch::Merge(&change)).await.expect("accepted by the schema");
    }

    pub(crate) async fn change_tenant(&self, name: &str, change: serde_json::Value) {
        self.tenants().patch(name, &PatchParams::default(), &Patch::Merge(&change)).await.expect("accepted by the schema");
    }

    pub(crate) async fn change_tier(&self, name: &str, change: serde_json::Value) {
        self.tiers().patch(name, &PatchParams::default(), &Patch::Merge(&change)).await.expect("accepted by the schema");
    }

    pub(crate) fn queues(&self, namespace: &str) -> Api<EncryptedQueue> {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub(crate) fn keys(&self) -> Api<QueueKey> {
        Api::all(self.client.clone())
    }

    pub(crate) fn tenants(&self) -> Api<Tenant> {
        Api::all(self.client.clone())
    }

    pub(crate) fn tiers(&self) -> Api<SensitivityTier> {
        Api::all(self.client.clone())
    }

    pub(crate) fn service_accounts(&self, namespace: &str) -> Api<ServiceAccount> {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub(crate) fn config_maps(&self, namespace: &str) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub(crate) async fn queue(&self, namespace: &str, name: &str) -> EncryptedQueue {
        self.queues(namespace).get(name).await.expect("it exists")
    }

    /// Waits until a condition of a queue has this status and reason, of the object's current generation.
    pub(crate) async fn until_condition(&self, namespace: &str, name: &str, type_: &str, status: &str, reason: &str) -> EncryptedQueue {
        let mut last = None;
        let start = Instant::now();
        loop {
            let queue = self.queue(namespace, name).await;
            let conditions = queue.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
            let current = |c: &&k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| c.observed_generation == queue.metadata.generation;
            if conditions.iter().filter(current).any(|c| c.type_ == type_ && c.status == status && c.reason == reason) {
                return queue;
            }
            last = Some(conditions).or(last);
            assert!(
                start.elapsed() < PATIENCE,
                "{namespace}/{name} is not {type_}={status}, {reason} but {last:#?}\nthe operator's log ends:\n{}",
                self.operator_log()
            );
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    pub(crate) async fn until_ready(&self, namespace: &str, name: &str) -> EncryptedQueue {
        self.until_condition(namespace, name, "Ready", "True", "InSync").await
    }

    /// Every Event about an object: reasons and notes.
    pub(crate) async fn events(&self, namespace: &str, name: &str) -> Vec<(String, String)> {
        let events: Api<k8s_openapi::api::events::v1::Event> = Api::namespaced(self.client.clone(), namespace);
        let all = events.list(&kube::api::ListParams::default()).await.expect("events are listed");
        let about = all.into_iter().filter(|event| event.regarding.as_ref().and_then(|object| object.name.as_deref()) == Some(name));
        about.map(|event| (event.reason.unwrap_or_default(), event.note.unwrap_or_default())).collect()
    }

    /// The SDK as someone of an account uses it.
    pub(crate) async fn aws(&self, account: &str, region: &str) -> SdkConfig {
        let own = self.sdk("someone", "secret", None, region);
        if account == ACCOUNT {
            return own;
        }
        let role = format!("arn:aws:iam::{account}:role/test-administrator");
        let answer = aws_sdk_sts::Client::new(&own).assume_role().role_arn(role).role_session_name("test").send().await.expect("assumed");
        let credentials = answer.credentials().expect("credentials").clone();
        self.sdk(&credentials.access_key_id, &credentials.secret_access_key, Some(credentials.session_token.clone()), region)
    }

    /// Past the proxy.
    pub(crate) fn emulator(&self) -> Aws {
        let own = self.sdk("someone", "secret", None, REGION);
        let config = own.into_builder().endpoint_url(self.moto.as_ref().expect("moto").endpoint()).build();
        Aws { sqs: aws_sdk_sqs::Client::new(&config), kms: aws_sdk_kms::Client::new(&config) }
    }

    fn sdk(&self, id: &str, secret: &str, token: Option<String>, region: &str) -> SdkConfig {
        let http = aws_smithy_http_client::Builder::new().build_http();
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http)
            .sleep_impl(aws_smithy_async::rt::sleep::TokioSleep::new())
            .region(Region::new(region.to_owned()))
            .endpoint_url(self.proxy.endpoint())
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new(id, secret, token, None, "test")))
            .build()
    }

    /// Makes an IAM role, so that policies may name it.
    pub(crate) async fn create_roles(&self, arns: &[&str]) {
        for arn in arns {
            let (account, name) = (arn.split(':').nth(4).expect("an account"), arn.split(":role/").nth(1).expect("a name"));
            let iam = aws_sdk_iam::Client::new(&self.aws(account, "us-east-1").await);
            iam.create_role().role_name(name).assume_role_policy_document("{}").send().await.expect("the role is made");
        }
    }

    pub(crate) async fn sqs(&self, account: &str, region: &str) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(&self.aws(account, region).await)
    }

    pub(crate) async fn kms(&self, account: &str, region: &str) -> aws_sdk_kms::Client {
        aws_sdk_kms::Client::new(&self.aws(account, region).await)
    }

    /// All attributes of a queue as AWS reports them.
    pub(crate) async fn attributes(&self, sqs: &aws_sdk_sqs::Client, url: &str) -> std::collections::HashMap<String, String> {
        let all = aws_sdk_sqs::types::QueueAttributeName::All;
        let answer = sqs.get_queue_attributes().queue_url(url).attribute_names(all).send().await.expect("attributes");
        answer.attributes.unwrap_or_default().into_iter().map(|(name, value)| (name.as_str().to_owned(), value)).collect()
    }
}

/// Gives a release of the chart its rights, and makes a kubeconfig with the token of its ServiceAccount. On a thread of its own, since tests start
/// operators from within their runtime.
fn as_installed(kubeconfig: &str, release: &str) -> String {
    let install = async {
        let (own, options) = (Kubeconfig::from_yaml(kubeconfig).expect("YAML"), KubeConfigOptions::default());
        let client = Client::try_from(Config::from_custom_kubeconfig(own, &options).await.expect("a configuration")).expect("a client");
        let namespace = serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        apply_object(&client, &namespace).await;
        for object in operator_rights(release).expect("helm").split("\n---").map(|document| serde_saphyr::from_str(document).expect("YAML")) {
            apply_object(&client, &object).await;
        }
        service_account_kubeconfig(client, kubeconfig, release).await.expect("a token")
    };
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    std::thread::scope(|scope| scope.spawn(|| runtime().block_on(install)).join().expect("installed"))
}

/// Applies one object as `kubectl apply --server-side` does.
async fn apply_object(client: &Client, value: &serde_json::Value) {
    let types: TypeMeta = serde_json::from_value(value.clone()).expect("types");
    let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&types).expect("a kind"));
    let name = value["metadata"]["name"].as_str().expect("a name");
    let api: Api<DynamicObject> = match value["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(value)).await.unwrap_or_else(|error| panic!("{name}: {error}"));
}

/// The name of an object, for messages.
pub(crate) fn name(object: &impl ResourceExt) -> String {
    object.name_any()
}
