//! `plan` tells what the operator then does.

use std::process::{Output, Stdio};

use serde_json::{Value, json};
use test_support::proxy::Mark;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::life::{apply_examples, platform};
use crate::world::{OPERATOR, World};

const SECOND: &str = "arn:aws:iam::123456789012:role/acme-second";

/// Plans a manifest with the operator's credentials: exit status and report.
async fn plan(world: &World, manifest: &str) -> (i32, Value) {
    let output = plan_as(world, "operator", &["--operator-role-arn", OPERATOR], manifest).await;
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap(), report)
}

async fn plan_as(world: &World, access_key: &str, more: &[&str], manifest: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_encrypted-queue"))
        .args(["plan", "-f", "-", "-o", "json"])
        .args(more)
        .env("KUBECONFIG", world.control_plane.kubeconfig_path())
        .env("AWS_ENDPOINT_URL", world.proxy.endpoint())
        .env("AWS_ACCESS_KEY_ID", access_key)
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env("AWS_REGION", "eu-west-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(manifest.as_bytes()).await.unwrap();
    drop(stdin);
    child.wait_with_output().await.unwrap()
}

/// Planned calls of a service, in order.
fn planned(report: &Value, service: &str) -> Vec<String> {
    let mut actions: Vec<&Value> = report["objects"].as_array().unwrap().iter().flat_map(|object| object["actions"].as_array().unwrap()).collect();
    actions.sort_by_key(|action| action["number"].as_u64());
    let calls = actions.iter().filter_map(|action| action["call"].as_str()).map(str::to_owned);
    calls.filter(|call| call.starts_with(service)).collect()
}

/// Calls of a service that changed something, in order: keys and queues are worked on side by side.
fn made(world: &World, since: Mark, service: &str) -> Vec<String> {
    let writes = world.proxy.writes_since(since).into_iter().filter(|call| call.service == service);
    writes.map(|call| format!("{}:{}", call.service, call.operation)).collect()
}

fn lines(report: &Value, field: &str) -> Vec<String> {
    let objects = report["objects"].as_array().unwrap().iter().filter(|object| object["kind"] == "EncryptedQueue");
    objects.flat_map(|object| object[field].as_array().unwrap()).map(|line| line.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_is_planned_is_what_is_done() {
    let mut world = World::new().await;
    platform(&world).await;
    world.create_roles(&[SECOND]).await;
    let orders = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/queue-orders.yaml")).unwrap();

    let mark = world.proxy.mark();
    let (exit, report) = plan(&world, &orders).await;
    assert_eq!((exit, world.proxy.writes_since(mark).len()), (2, 0), "{report:#}");
    assert!(world.keys().list(&kube::api::ListParams::default()).await.unwrap().items.is_empty(), "nothing is written to the cluster");
    world.start_operator(&[]);
    apply_examples(&world, &["queue-orders"]).await;
    world.until_ready("acme-prod", "orders").await;
    assert_eq!(made(&world, mark, "sqs"), ["sqs:CreateQueue", "sqs:CreateQueue"]);
    for service in ["sqs", "kms"] {
        assert_eq!(planned(&report, service), made(&world, mark, service), "{report:#}");
    }

    let (exit, report) = plan(&world, &orders).await;
    assert_eq!((exit, report["objects"].as_array().unwrap().len()), (0, 0), "{report:#}");

    // One more producer, then one less.
    let mut wider: Value = serde_saphyr::from_str(&orders).unwrap();
    wider["spec"]["producers"].as_array_mut().unwrap().push(json!({"role": SECOND}));
    for (manifest, gains, losses) in
        [(wider.to_string(), vec![format!("{SECOND} may send")], vec![]), (orders, vec![], vec![format!("{SECOND} may no longer send")])]
    {
        let mark = world.proxy.mark();
        let (exit, report) = plan(&world, &manifest).await;
        assert_eq!((exit, lines(&report, "gains"), lines(&report, "losses")), (2, gains, losses), "{report:#}");
        assert_eq!(world.proxy.writes_since(mark).len(), 0);
        world.apply(&manifest).await;
        world.until_ready("acme-prod", "orders").await;
        world.until("the key has followed", async || made(&world, mark, "kms").len() == planned(&report, "kms").len()).await;
        for service in ["sqs", "kms"] {
            assert_eq!(planned(&report, service), made(&world, mark, service), "{report:#}");
        }
    }
}

/// Who may only read sees the same plan, by the reader's role alone; what policies have to say of the operator's is the same.
#[tokio::test]
async fn a_reader_plans_by_a_role_that_cannot_write() {
    const READER: &str = "encrypted-queue/reader";
    let mut world = World::new().await;
    platform(&world).await;
    world.start_operator(&[]);
    apply_examples(&world, &["queue-orders", "queue-ledger"]).await;
    world.until_ready("acme-prod", "orders").await;
    world.until_ready("globex-prod", "ledger").await;
    // A session of a role that is not the operator's.
    world.proxy.caller_is("runner", "arn:aws:iam::123456789012:role/runner");
    let manifests = ["queue-orders", "queue-ledger"].map(|name| {
        let path = format!("{}/examples/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).unwrap()
    });
    let manifests = manifests.join("\n---\n");
    let reader = ["--reader-role-name", READER, "--operator-role-arn", OPERATOR, "--check"];

    let mark = world.proxy.mark();
    let output = plan_as(&world, "runner", &reader, &manifests).await;
    let calls = world.proxy.calls_since(mark);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!((output.status.code(), &report["objects"]), (Some(0), &json!([])), "{report:#}");
    let read = |service: &str| calls.iter().filter(|call| call.service == service).count();
    assert!(read("kms") > 0 && read("sqs") > 0 && world.proxy.writes_since(mark).is_empty());
    let assumed: Vec<_> = calls
        .iter()
        .filter(|call| call.operation == "AssumeRole" && call.access_key == "runner")
        .map(|call| call.request["RoleArn"].clone())
        .collect();
    assert_eq!(assumed, [format!("arn:aws:iam::210987654321:role/{READER}")]);

    // Nothing is guessed about who the operator is.
    let output = plan_as(&world, "runner", &reader[..2], &manifests).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("name the operator's own role with --operator-role-arn"), "{said}");
    let output = plan_as(&world, "runner", &["--reader-role-name", "arn:aws:iam::210987654321:role/reader"], &manifests).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("expected [PATH/]NAME without wildcards, not an ARN"), "{said}");
}
