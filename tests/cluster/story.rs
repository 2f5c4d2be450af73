//! The main scenario, as pods: install, queues, the leader's end, upgrade, rest, uninstall and install anew.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use comfy_table::Table;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use encrypted_queue::api::{EncryptedQueue, QueueKey};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use test_support::chart::{NAMESPACE, RELEASE};
use test_support::judge::rights::rights_taken;
use test_support::proxy::{Mark, Proxy};

use super::cluster::{Cluster, in_a_file, kubectl};

pub(crate) const OPERATOR: &str = "arn:aws:iam::123456789012:role/encrypted-queue-operator";
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
pub(crate) const NAMESPACES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/namespaces.yaml");
/// The chart's own limit.
const MEMORY_LIMIT_MIB: f64 = 64.0;

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn step(text: &str) {
    println!("== {text}");
}

/// Names of the roles that the examples name.
fn roles() -> Result<BTreeSet<String>, String> {
    let mut roles = BTreeSet::from([OPERATOR.to_owned()]);
    let pattern = regex::Regex::new(r"arn:aws:iam::\d{12}:role/[\w+=,.@/-]+").map_err(|error| error.to_string())?;
    for entry in std::fs::read_dir(EXAMPLES).map_err(|error| error.to_string())?.filter_map(Result::ok) {
        if entry.path().extension().is_some_and(|extension| extension == "yaml") {
            let text = std::fs::read_to_string(entry.path()).map_err(|error| error.to_string())?;
            roles.extend(pattern.find_iter(&text).map(|found| found.as_str().to_owned()));
        }
    }
    Ok(roles)
}

/// Names of writes since the mark.
fn writes(proxy: &Proxy, mark: Mark) -> Vec<String> {
    proxy.writes_since(mark).iter().map(test_support::proxy::Call::name).collect()
}

/// Another queue of a team.
fn another(name: &str) -> Value {
    json!({
        "apiVersion": "encryptedqueue.dev/v1alpha1", "kind": "EncryptedQueue", "metadata": {"name": name, "namespace": "acme-prod"},
        "spec": {
            "tenant": "acme", "sensitivityTier": "restricted", "deadLetter": {}, "tags": {"workload": name},
            "producers": [{"role": "arn:aws:iam::123456789012:role/acme-orders-api"}],
            "consumers": [{"role": "arn:aws:iam::123456789012:role/acme-orders-worker"}],
        },
    })
}

fn apply(object: &Value) -> Result<(), String> {
    let file = in_a_file(object)?;
    kubectl(&["apply", "--server-side", "-f", &file.path().display().to_string()]).map(drop)
}

async fn edit(cluster: &Cluster, timeout: u32) -> Result<(), String> {
    let change = json!({"spec": {"queue": {"visibilityTimeoutSeconds": timeout}}});
    let queues = Api::<EncryptedQueue>::namespaced(cluster.client.clone(), "acme-prod");
    queues.patch("orders", &PatchParams::default(), &Patch::Merge(&change)).await.map(drop).map_err(|error| error.to_string())
}

/// Every key that was made belongs to a queue that is declared.
async fn no_key_twice(cluster: &Cluster, proxy: &Proxy) -> Result<usize, String> {
    let declared = Api::<QueueKey>::all(cluster.client.clone()).list(&ListParams::default()).await.map_err(|error| error.to_string())?;
    let (made, declared) = (proxy.effects("CreateKey"), declared.items.len());
    ensure(made == declared, || format!("{made} keys were made for {declared} QueueKeys"))?;
    Ok(made)
}

/// Waits until nothing was asked of AWS for a while.
async fn rest(proxy: &Proxy) {
    while proxy.last_call().elapsed() < Duration::from_secs(3) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What the pods hold, in MiB, as their kubelets say, by pod; and that none was started again.
async fn memory(cluster: &Cluster) -> Result<Vec<(String, f64)>, String> {
    let mut found = Vec::new();
    for pod in cluster.pods().await? {
        let name = pod.name_any();
        let statuses = pod.status.and_then(|status| status.container_statuses).unwrap_or_default();
        let restarts: i32 = statuses.iter().map(|status| status.restart_count).sum();
        ensure(restarts == 0, || {
            format!("{name} was started again {restarts} times: {:?}", statuses.iter().map(|s| &s.last_state).collect::<Vec<_>>())
        })?;
        let node = pod.spec.and_then(|spec| spec.node_name).unwrap_or_default();
        let summary = kubectl(&["get", "--raw", &format!("/api/v1/nodes/{node}/proxy/stats/summary")])?;
        let summary: Value = serde_json::from_str(&summary).map_err(|error| error.to_string())?;
        let of_pod = summary["pods"].as_array().into_iter().flatten().find(|of| of["podRef"]["name"] == name.as_str());
        let memory = of_pod.map(|of| of["containers"][0]["memory"].clone()).unwrap_or_default();
        // The program's own pages may count for another pod, which read them first.
        let bytes = ["workingSetBytes", "rssBytes"].iter().filter_map(|name| memory[*name].as_f64()).reduce(f64::max);
        found.push((name, bytes.ok_or("the kubelet does not say what a pod holds")? / 1_048_576.0));
    }
    Ok(found)
}

pub(crate) async fn play(cluster: &Cluster, proxy: &Proxy) -> Result<Table, String> {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY);
    table.set_header(["what", "measured"]);
    let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
    proxy.caller_is("operator", OPERATOR);
    for role in roles()? {
        proxy.add_principal(&role);
    }

    step("helm install, in a namespace that admits restricted pods alone");
    kubectl(&["create", "namespace", NAMESPACE])?;
    kubectl(&["label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted"])?;
    let start = Instant::now();
    cluster.install(&[])?;
    table.add_row(["helm install, until both pods are ready".to_owned(), seconds(start.elapsed())]);
    let ready = cluster.pods().await?.len();
    ensure(ready == 2, || format!("{ready} pods instead of two"))?;
    cluster.helm(&["test", RELEASE])?;

    step("kubectl apply -f examples/");
    kubectl(&["apply", "-f", NAMESPACES])?;
    kubectl(&["apply", "-f", EXAMPLES])?;
    table.add_row(["four queues of two accounts, until ready".to_owned(), seconds(cluster.until_ready().await?)]);
    no_key_twice(cluster, proxy).await?;
    ensure(proxy.count("CreateQueue") > 0, || "nothing reached the emulator".to_owned())?;

    step("the leader's pod is killed while it makes a queue");
    let leader = cluster.leader().await.ok_or("nobody leads")?;
    let mark = proxy.mark();
    apply(&another("invoices"))?;
    cluster.until("the queue is being made", async || !proxy.writes_since(mark).is_empty()).await?;
    let start = Instant::now();
    kubectl(&["-n", NAMESPACE, "delete", "pod", &leader, "--grace-period=0", "--force"])?;
    cluster.until("another pod leads", async || cluster.leader().await.is_some_and(|now| now != leader)).await?;
    table.add_row(["killed leader, until another leads".to_owned(), seconds(start.elapsed())]);
    cluster.until_ready().await?;
    table.add_row(["killed leader, until its queue is ready".to_owned(), seconds(start.elapsed())]);
    no_key_twice(cluster, proxy).await?;
    cluster.until("two pods again", async || cluster.pods().await.is_ok_and(|pods| pods.len() == 2)).await?;

    step("rolling upgrade at rest, then in the middle of an edit");
    rest(proxy).await;
    let mark = proxy.mark();
    cluster.install(&["--set", "podAnnotations.revision=second"])?;
    cluster.until("a new pod leads", async || cluster.leader().await.is_some()).await?;
    rest(proxy).await;
    ensure(writes(proxy, mark).is_empty(), || format!("an upgrade wrote {:?}", writes(proxy, mark)))?;
    let mark = proxy.mark();
    edit(cluster, 61).await?;
    apply(&another("refunds"))?;
    cluster.install(&["--set", "podAnnotations.revision=third"])?;
    cluster.until_ready().await?;
    let keys = no_key_twice(cluster, proxy).await?;
    rest(proxy).await;
    let edits = writes(proxy, mark).into_iter().filter(|name| name == "sqs:SetQueueAttributes").count();
    table.add_row(["keys made, one for each QueueKey".to_owned(), keys.to_string()]);
    table.add_row(["writes of attributes for an edit and a queue, upgraded meanwhile".to_owned(), edits.to_string()]);

    step("memory");
    for (pod, mib) in memory(cluster).await? {
        ensure(mib < MEMORY_LIMIT_MIB, || format!("{pod} holds {mib:.1} MiB"))?;
        table.add_row([format!("held by {pod} (limit {MEMORY_LIMIT_MIB} MiB)"), format!("{mib:.1} MiB")]);
    }

    step("helm uninstall, and install anew");
    let mark = proxy.mark();
    let before = names(cluster).await?;
    cluster.helm(&["uninstall", RELEASE, "--wait"])?;
    let left = names(cluster).await?;
    ensure(left == before, || format!("of {before:?} are left {left:?}"))?;
    cluster.install(&[])?;
    cluster.until("somebody leads", async || cluster.leader().await.is_some()).await?;
    rest(proxy).await;
    ensure(writes(proxy, mark).is_empty(), || format!("uninstall and install wrote {:?}", writes(proxy, mark)))?;
    edit(cluster, 62).await?;
    cluster.until_ready().await?;
    no_key_twice(cluster, proxy).await?;

    step("every call within the operator's IAM policies");
    let refused = rights_taken(&proxy.ledger(), "operator", OPERATOR).refused;
    ensure(refused.is_empty(), || refused.join("\n"))?;
    table.add_row(["AWS calls in all, each within deploy/aws".to_owned(), proxy.ledger().len().to_string()]);
    Ok(table)
}

/// Objects that are declared, and where each queue is.
async fn names(cluster: &Cluster) -> Result<BTreeSet<String>, String> {
    let queues = Api::<EncryptedQueue>::all(cluster.client.clone()).list(&ListParams::default()).await.map_err(|error| error.to_string())?;
    let url = |queue: &EncryptedQueue| queue.status.as_ref().and_then(|status| status.queue.as_ref()).map(|of| of.url.clone());
    Ok(queues.iter().map(|queue| format!("{} {:?}", queue.name_any(), url(queue))).collect())
}
