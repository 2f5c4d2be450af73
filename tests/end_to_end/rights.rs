//! The operator and people with the rights that `deploy/` gives them, and no others.

use std::process::{Command, Output, Stdio};

use encrypted_queue::api::AccessApproval;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use test_support::User;
use test_support::proxy::{Call, xml_text};

use crate::life::{apply_examples, platform};
use crate::world::{SECRET_ACCESS_KEY, World};

/// People with the roles of `deploy/rbac`, under the policies of `deploy/admission`.
async fn world() -> World {
    let mut world = World::new().await;
    for directory in ["rbac", "admission"] {
        let directory = format!("{}/deploy/{directory}", env!("CARGO_MANIFEST_DIR"));
        let read = |name: &str| std::fs::read_to_string(format!("{directory}/{name}")).unwrap();
        let kustomization: Value = serde_saphyr::from_str(&read("kustomization.yaml")).unwrap();
        for name in kustomization["resources"].as_array().unwrap() {
            world.apply(&read(name.as_str().unwrap())).await;
        }
    }
    bind(&world, User::Approver, "encrypted-queue-approver").await;
    platform(&world).await;
    world.start_operator(&[]);
    world
}

async fn bind(world: &World, user: User, role: &str) {
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": format!("test-{}", user.name())},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user.name()}],
    });
    world.apply_object(&binding).await;
}

/// Of what the operator asks that is refused every test would tell; it must not complain of its rights either.
fn assert_nothing_was_forbidden(world: &World) {
    let log = world.operator_log();
    assert!(!log.to_lowercase().contains("forbidden"), "{log}");
}

#[tokio::test]
async fn the_operator_needs_no_more_than_its_role() {
    let world = world().await;
    apply_examples(&world, &["queue-orders", "queue-notifications", "queue-emails", "queue-ledger"]).await;
    for (namespace, name) in [("acme-prod", "orders"), ("acme-prod", "notifications"), ("acme-prod", "emails"), ("globex-prod", "ledger")] {
        world.until_ready(namespace, name).await;
    }
    world.until("the ConfigMap is there", async || world.config_maps("acme-prod").get_opt("orders").await.unwrap().is_some()).await;
    world.until("an Event tells", async || !world.events("acme-prod", "orders").await.is_empty()).await;
    let key = world.queue("globex-prod", "ledger").await.status.unwrap().key.unwrap().name;
    world.queues("globex-prod").delete("ledger", &DeleteParams::default()).await.unwrap();
    world.until("the queue's object has ended", async || world.queues("globex-prod").get_opt("ledger").await.unwrap().is_none()).await;
    world.until("the key's object has ended", async || world.keys().get_opt(&key).await.unwrap().is_none()).await;
    world.tenants().delete("globex", &DeleteParams::default()).await.unwrap();
    world.until("the tenant has ended", async || world.tenants().get_opt("globex").await.unwrap().is_none()).await;
    assert_nothing_was_forbidden(&world);
}

/// Runs `encrypted-queue approve` without a terminal.
fn approve(world: &World, user: User, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_encrypted-queue"));
    command.env("KUBECONFIG", world.control_plane.kubeconfig_path()).stdin(Stdio::null());
    command.args(["approve", "--reason", "CHG-1234", "--context", user.name()]).args(arguments).output().unwrap()
}

fn fails(output: &Output, because: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(because), "not {because:?}: {output:?}");
}

#[tokio::test]
async fn what_waits_is_approved_from_the_command_line() {
    let world = world().await;
    world.change_tier("restricted", json!({"spec": {"approval": "OnWidening"}})).await;
    apply_examples(&world, &["queue-orders"]).await;
    let queue = world.until_condition("acme-prod", "orders", "AccessInSync", "False", "AwaitingApproval").await;
    let key = queue.status.unwrap().key.unwrap().name;
    let approvals: Api<AccessApproval> = Api::all(world.client.clone());

    fails(&approve(&world, User::Approver, &["absent"]), "QueueKey absent does not exist");
    fails(&approve(&world, User::Author, &[&key]), "you may not read QueueKeys; the ClusterRole encrypted-queue-viewer lets you");
    fails(&approve(&world, User::Approver, &[&key, "--queue", "acme-prod/emails"]), "but to acme-prod/orders");
    let unasked = approve(&world, User::Approver, &[&key]);
    fails(&unasked, "--yes");
    assert!(String::from_utf8_lossy(&unasked.stdout).contains("+ arn:aws:iam::123456789012:role/acme-orders-worker may receive"), "{unasked:?}");
    let refused = |user, arguments: &[&str]| approve(&world, user, &[&[key.as_str(), "--yes"], arguments].concat());
    world.until("the policy is in force", async || has_refused(&world, &key).await).await;
    fails(&refused(User::Approver, &["--approved-by", "maria"]), "the approval is refused: spec.approvedBy must be you, approver");
    fails(&refused(User::Admin, &[]), "the approval is refused: admin may edit EncryptedQueue acme-prod/orders");
    bind(&world, User::Viewer, "encrypted-queue-viewer").await;
    fails(&refused(User::Viewer, &[]), "you may not make AccessApprovals; the ClusterRole encrypted-queue-approver lets you");

    let dry = approve(&world, User::Approver, &[&key, "--dry-run"]);
    let manifest: AccessApproval = serde_saphyr::from_str(&String::from_utf8(dry.stdout).unwrap()).unwrap();
    assert!(dry.status.success() && manifest.spec.approved_by == "approver" && manifest.spec.queue.unwrap().to_string() == "acme-prod/orders");
    assert!(approvals.list(&kube::api::ListParams::default()).await.unwrap().items.is_empty(), "nothing was made so far");

    // Who gave another queue's name would not have approved this one.
    approve_another_queue(&world, &key, &manifest.spec.grants_sha256).await;
    let made = approve(&world, User::Approver, &[&key, "--yes", "-o", "json"]);
    assert!(made.status.success(), "{made:?}");
    let told: Value = serde_json::from_slice(&made.stdout).unwrap();
    let name = told["approval"]["metadata"]["name"].as_str().unwrap();
    assert_eq!((Some(name), told["gains"].as_array().unwrap().is_empty()), (manifest.metadata.name.as_deref(), false));
    world.until_ready("acme-prod", "orders").await;
    world.until("it is applied", async || is_applied(&approvals, name).await).await;
    assert!(!is_applied(&approvals, "other-queue").await);
    fails(&approve(&world, User::Approver, &[&key, "--yes"]), "no access waits for an approval on QueueKey");
    assert_nothing_was_forbidden(&world);
}

/// Whether the policy refuses what everything else allows.
async fn has_refused(world: &World, key: &str) -> bool {
    let probe = json!({
        "apiVersion": "encryptedqueue.dev/v1alpha1", "kind": "AccessApproval", "metadata": {"name": "probe"},
        "spec": {"queueKey": key, "grantsSha256": "0".repeat(64), "reason": "a probe", "approvedBy": "somebody"},
    });
    let approvals: Api<AccessApproval> = Api::all(world.client.clone());
    let parameters = kube::api::PostParams { dry_run: true, ..Default::default() };
    let approval = serde_json::from_value(probe).unwrap();
    approvals.create(&parameters, &approval).await.is_err()
}

async fn approve_another_queue(world: &World, key: &str, sha256: &str) {
    let spec = json!({
        "queueKey": key, "grantsSha256": sha256, "reason": "a test", "approvedBy": "approver",
        "queue": {"namespace": "elsewhere", "name": "orders"},
    });
    let object = json!({"apiVersion": "encryptedqueue.dev/v1alpha1", "kind": "AccessApproval", "metadata": {"name": "other-queue"}, "spec": spec});
    let approvals: Api<AccessApproval> = Api::all(world.control_plane.client(User::Approver).await.unwrap());
    approvals.create(&kube::api::PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    let of_admin: Api<AccessApproval> = Api::all(world.client.clone());
    let says_so = async || {
        let status = of_admin.get("other-queue").await.unwrap().status.unwrap_or_default();
        status.conditions.iter().any(|condition| condition.message.contains("is of EncryptedQueue acme-prod/orders, not elsewhere/orders"))
    };
    world.until("the approval says why it is not used", says_so).await;
}

async fn is_applied(approvals: &Api<AccessApproval>, name: &str) -> bool {
    approvals.get(name).await.unwrap().status.is_some_and(|status| status.applied_at.is_some())
}

/// At no level does a log hold what somebody could use: keys and tokens of AWS, also of assumed roles, and the ServiceAccount's token.
#[tokio::test]
async fn no_log_holds_a_secret() {
    let mut world = World::new().await;
    platform(&world).await;
    // Crates that are quiet unless they are named.
    world.log_filter = "trace,aws_=trace,h2=trace,hyper=trace,rustls=trace,tower=trace";
    world.start_operator(&[]);
    // One tenant by the operator's own credentials, one by an assumed role.
    apply_examples(&world, &["queue-orders", "queue-ledger"]).await;
    world.until_ready("acme-prod", "orders").await;
    world.until_ready("globex-prod", "ledger").await;
    let mut secrets = vec![SECRET_ACCESS_KEY.to_owned(), world.operator_token()];
    let assumed = world.proxy.calls_of("AssumeRole").into_iter().filter(|call| call.access_key == "operator");
    assumed.for_each(|call| secrets.extend(secrets_of(&call)));
    assert!(secrets.len() >= 4 && secrets.iter().all(|secret| secret.len() >= 16), "{secrets:?}");
    assert_not_logged(&world, &secrets);
}

/// What an answer of STS lets its reader do.
pub(crate) fn secrets_of(call: &Call) -> Vec<String> {
    let answer = call.response.as_str().unwrap();
    ["SecretAccessKey", "SessionToken"].map(|element| xml_text(answer, element).unwrap().to_owned()).into()
}

fn assert_not_logged(world: &World, secrets: &[String]) {
    let log = world.operator_log();
    assert!(log.contains("TRACE"), "{log:.2000}");
    for (number, secret) in secrets.iter().enumerate() {
        let line = log.lines().find(|line| line.contains(secret.as_str()));
        assert!(line.is_none(), "secret {number} is in the log: {line:?}");
    }
}

/// As on EKS: a token in a file, and a role.
#[tokio::test]
async fn a_web_identity_is_enough_and_its_token_is_in_no_log() {
    let mut world = World::new().await;
    platform(&world).await;
    let token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6ZSJ9.d2ViLWlkZW50aXR5LW9mLXRoZS1vcGVyYXRvcg".to_owned();
    world.web_identity = Some(token.clone());
    world.log_filter = "trace,aws_=trace,h2=trace,hyper=trace,rustls=trace,tower=trace";
    world.start_operator(&[]);
    apply_examples(&world, &["queue-orders", "queue-ledger"]).await;
    world.until_ready("acme-prod", "orders").await;
    world.until_ready("globex-prod", "ledger").await;
    let asked = world.proxy.calls_of("AssumeRoleWithWebIdentity");
    assert!(!asked.is_empty() && asked.iter().all(|call| call.request["WebIdentityToken"] == token.as_str()));
    let secrets: Vec<String> = asked.iter().flat_map(secrets_of).chain([token]).collect();
    assert!(secrets.len() >= 3);
    assert_not_logged(&world, &secrets);
}
