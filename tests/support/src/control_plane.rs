//! A Kubernetes control plane: etcd and kube-apiserver.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::config::{KubeConfigOptions, Kubeconfig};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::OnceCell;

use crate::process::Server;
use crate::{Error, ask_script, installed};

const SCRIPT: &str = "tools/build-control-plane.sh";

/// Nothing reserves a port between finding it free and the server's listening, so a server that lost the race starts again.
const ATTEMPTS: usize = 3;

/// What ServiceAccounts ask, and writes of all others but the API server itself.
const AUDIT_POLICY: &str = r#"{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": [
  {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
  {"level": "None", "verbs": ["get", "list", "watch"]},
  {"level": "None", "users": ["system:apiserver"]},
  {"level": "Metadata"}
]}"#;

/// Someone the API server knows by a token. Except for the administrator they may do only what the test's RBAC objects grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum User {
    /// May do everything (group `system:masters`).
    Admin,
    /// Writes EncryptedQueues.
    Author,
    /// Approves access.
    Approver,
    /// Reads.
    Viewer,
    /// The operator under test.
    Operator,
}

impl User {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Admin, Self::Author, Self::Approver, Self::Viewer, Self::Operator];

    /// The user's name in Kubernetes, which is also the name of the kubeconfig context.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Author => "author",
            Self::Approver => "approver",
            Self::Viewer => "viewer",
            Self::Operator => "operator",
        }
    }
}

/// A request that the API server answered, from its audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audited {
    /// Who asked.
    pub user: String,
    /// `create`, `update`, `patch`, `delete` …
    pub verb: String,
    /// API group, empty for the core group.
    pub group: String,
    /// Plural resource name.
    pub resource: String,
    /// `status`, `finalizers` …, or empty.
    pub subresource: String,
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    /// Empty when the server names the object.
    pub name: String,
    /// The HTTP status of the answer.
    pub status: u16,
    /// Whether RBAC refused it.
    pub forbidden: bool,
}

/// A running control plane, with RBAC and without controllers: nothing makes ServiceAccount tokens, and neither garbage collection nor the deletion of
/// namespaces takes place, so every test uses names of its own.
#[derive(Debug)]
pub struct ControlPlane {
    url: String,
    tokens: BTreeMap<User, String>,
    kubeconfig: String,
    // The order in which they are dropped: the client before what it talks to.
    api_server: Server,
    _etcd: Server,
}

impl ControlPlane {
    /// Starts a control plane of its own and waits until it is ready (about three seconds).
    pub async fn start() -> Result<Self, Error> {
        let assets = ask_script(SCRIPT, "--directory")?;
        let etcd_program = installed(assets.join("etcd"), SCRIPT)?;
        let api_server_program = installed(assets.join("kube-apiserver"), SCRIPT)?;
        let (etcd, socket) = start_etcd(&etcd_program).await?;
        let mut tokens = BTreeMap::new();
        for user in User::ALL {
            tokens.insert(user, random_token()?);
        }
        let mut attempt = 1;
        let (url, api_server, kubeconfig) = loop {
            match start_api_server(&api_server_program, &socket, &tokens).await {
                Err(Error::Exited { .. }) if attempt < ATTEMPTS => attempt += 1,
                result => break result?,
            }
        };
        Ok(Self { url, tokens, kubeconfig, api_server, _etcd: etcd })
    }

    /// The control plane that all tests of this process share, started on first use.
    pub async fn shared() -> Result<&'static Self, Error> {
        static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start).await
    }

    /// `https://127.0.0.1:PORT`.
    pub fn server_url(&self) -> &str {
        &self.url
    }

    /// The kubeconfig as text, with one context for each [`User`] and the administrator's as the current one.
    pub fn kubeconfig(&self) -> &str {
        &self.kubeconfig
    }

    /// A file with [`ControlPlane::kubeconfig`], for `KUBECONFIG`.
    pub fn kubeconfig_path(&self) -> PathBuf {
        self.api_server.path().join("kubeconfig")
    }

    /// The user's bearer token.
    pub fn token(&self, user: User) -> &str {
        &self.tokens[&user]
    }

    /// A new client for the user. Each test makes its own, because a client belongs to the runtime it was made in.
    pub async fn client(&self, user: User) -> Result<kube::Client, Error> {
        client(&self.kubeconfig, user).await
    }

    /// The requests answered so far, oldest first, refused ones included: everything that ServiceAccounts ask, and what others write.
    pub fn audited(&self) -> Result<Vec<Audited>, Error> {
        let path = self.api_server.path().join("audit.log");
        let text = std::fs::read_to_string(&path).map_err(Error::io("audit log"))?;
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        let events = complete.lines().map(serde_json::from_str::<AuditEvent>);
        events.map(|event| event.map(Audited::from).map_err(|error| Error::io("audit log")(error.into()))).collect()
    }

    /// The writes among them.
    pub fn writes(&self) -> Result<Vec<Audited>, Error> {
        Ok(self.audited()?.into_iter().filter(|request| !["get", "list", "watch"].contains(&request.verb.as_str())).collect())
    }
}

async fn start_etcd(program: &Path) -> Result<(Server, PathBuf), Error> {
    let directory = Server::directory("etcd")?;
    let socket = directory.path().join("client.sock");
    let arguments: Vec<OsString> = vec![
        "--unsafe-no-fsync".into(),
        flag("--data-dir", directory.path().join("data")),
        // A socket needs no port and is closed to other users of the machine. The advertised address is never used.
        flag("--listen-client-urls", format!("unix://{}", socket.display())),
        "--advertise-client-urls=http://127.0.0.1:0".into(),
        "--listen-peer-urls=http://127.0.0.1:0".into(),
    ];
    let etcd = Server::start("etcd", directory, program, &arguments)?;
    etcd.until(async || socket.exists().then_some(())).await?;
    Ok((etcd, socket))
}

async fn start_api_server(program: &Path, etcd_socket: &Path, tokens: &BTreeMap<User, String>) -> Result<(String, Server, String), Error> {
    let directory = Server::directory("kube-apiserver")?;
    let root = directory.path().to_owned();
    let write = |name: &str, content: &str| std::fs::write(root.join(name), content).map_err(Error::io(name));
    write("tokens.csv", &token_file(tokens))?;
    let (private, public) = service_account_keys()?;
    write("service-account.key", &private)?;
    write("service-account.pub", &public)?;
    write("audit-policy.json", AUDIT_POLICY)?;
    let port = free_port()?;
    let server = Server::start("kube-apiserver", directory, program, &api_server_arguments(&root, port, etcd_socket))?;

    // It signs its certificate itself and writes the authority to the same file.
    let certificates = root.join("certificates").join("apiserver.crt");
    let authority = server.until(async || std::fs::read(&certificates).ok().filter(|pem| pem.ends_with(b"-----END CERTIFICATE-----\n"))).await?;
    let url = format!("https://127.0.0.1:{port}");
    let kubeconfig = kubeconfig(&url, &authority, tokens);
    let client = client(&kubeconfig, User::Admin).await?;
    server.until(async || is_ready(&client).await.then_some(())).await?;
    write("kubeconfig", &kubeconfig)?;
    Ok((url, server, kubeconfig))
}

fn api_server_arguments(root: &Path, port: u16, etcd_socket: &Path) -> Vec<OsString> {
    vec![
        flag("--etcd-servers", format!("unix://{}", etcd_socket.display())),
        "--bind-address=127.0.0.1".into(),
        "--external-hostname=127.0.0.1".into(),
        flag("--secure-port", port.to_string()),
        flag("--cert-dir", root.join("certificates")),
        flag("--token-auth-file", root.join("tokens.csv")),
        "--authorization-mode=RBAC".into(),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        flag("--service-account-key-file", root.join("service-account.pub")),
        flag("--service-account-signing-key-file", root.join("service-account.key")),
        "--service-cluster-ip-range=10.0.0.0/24".into(),
        // No controller makes the default ServiceAccounts that it demands of pods.
        "--disable-admission-plugins=ServiceAccount".into(),
        // A loopback address cannot be an endpoint of the Service `kubernetes`.
        "--endpoint-reconciler-type=none".into(),
        flag("--audit-policy-file", root.join("audit-policy.json")),
        flag("--audit-log-path", root.join("audit.log")),
    ]
}

fn flag(name: &str, value: impl Into<OsString>) -> OsString {
    let mut flag = OsString::from(format!("{name}="));
    flag.push(value.into());
    flag
}

fn free_port() -> Result<u16, Error> {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.map(|address| address.port()).map_err(Error::io("free port"))
}

fn token_file(tokens: &BTreeMap<User, String>) -> String {
    let line = |(user, token): (&User, &String)| {
        let name = user.name();
        let groups = if *user == User::Admin { ",system:masters" } else { "" };
        format!("{token},{name},{name}{groups}\n")
    };
    tokens.iter().map(line).collect()
}

fn random_token() -> Result<String, Error> {
    let mut bytes = [0; 24];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::Random)?;
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
}

/// A private key and its public key in PEM. The API server reads the public half from neither an algorithm-independent private key nor a bare point.
fn service_account_keys() -> Result<(String, String), Error> {
    // SubjectPublicKeyInfo up to the point: id-ecPublicKey, prime256v1, a bit string of 65 bytes.
    const POINT_FOLLOWS: [u8; 26] = *b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";
    let random = SystemRandom::new();
    let private = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).map_err(|_| Error::Random)?;
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, private.as_ref(), &random).map_err(|_| Error::Random)?;
    let public = [&POINT_FOLLOWS, pair.public_key().as_ref()].concat();
    Ok((pem("PRIVATE KEY", private.as_ref()), pem("PUBLIC KEY", &public)))
}

fn pem(label: &str, content: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(content))
}

/// JSON, which is YAML too.
fn kubeconfig(url: &str, authority: &[u8], tokens: &BTreeMap<User, String>) -> String {
    let users: Vec<_> = tokens.iter().map(|(user, token)| json!({"name": user.name(), "user": {"token": token}})).collect();
    let contexts: Vec<_> = tokens.keys().map(|user| json!({"name": user.name(), "context": {"cluster": "test", "user": user.name()}})).collect();
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": User::Admin.name(),
        "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority-data": STANDARD.encode(authority)}}],
        "contexts": contexts,
        "users": users,
    });
    format!("{config:#}\n")
}

async fn client(kubeconfig: &str, user: User) -> Result<kube::Client, Error> {
    let parsed = Kubeconfig::from_yaml(kubeconfig).map_err(|error| Error::Kubernetes(error.into()))?;
    let options = KubeConfigOptions { context: Some(user.name().to_owned()), ..KubeConfigOptions::default() };
    let config = kube::Config::from_custom_kubeconfig(parsed, &options).await.map_err(|error| Error::Kubernetes(error.into()))?;
    kube::Client::try_from(config).map_err(|error| Error::Kubernetes(error.into()))
}

async fn is_ready(client: &kube::Client) -> bool {
    let Ok(request) = hyper::Request::get("/readyz").body(Vec::new()) else { return false };
    client.request_text(request).await.is_ok_and(|answer| answer == "ok")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuditEvent {
    verb: String,
    user: AuditUser,
    #[serde(default)]
    object_ref: AuditObject,
    #[serde(default)]
    response_status: AuditStatus,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct AuditUser {
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AuditObject {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AuditStatus {
    code: u16,
}

impl From<AuditEvent> for Audited {
    fn from(event: AuditEvent) -> Self {
        let AuditEvent { verb, user, object_ref, response_status, annotations } = event;
        let forbidden = annotations.get("authorization.k8s.io/decision").is_some_and(|decision| decision == "forbid");
        let AuditObject { api_group, resource, subresource, namespace, name } = object_ref;
        Self { user: user.username, verb, group: api_group, resource, subresource, namespace, name, status: response_status.code, forbidden }
    }
}
