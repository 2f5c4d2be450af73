//! The repositories of `examples/gitops`, applied as GitOps tools do: everything at once, in any order, what fails again, each by its own identity.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use encrypted_queue::commands::crds;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{GroupVersionKind, TypeMeta};
use kube::discovery::ApiResource;
use kube::{Api, Client, Config};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde_json::{Value, json};

use crate::world::{PATIENCE, World};

const SECURITY: &str = "system:serviceaccount:security:approvals";
const ROLES: [&str; 3] = [
    "arn:aws:iam::123456789012:role/acme-orders-api",
    "arn:aws:iam::123456789012:role/acme-orders-worker",
    "arn:aws:iam::123456789012:role/security-admin",
];

fn read(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn gitops() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/gitops")
}

/// What the folder's kustomization names.
fn kustomized(folder: &str) -> Vec<Value> {
    let folder = gitops().join(folder);
    let kustomization = read(&folder.join("kustomization.yaml")).remove(0);
    kustomization["resources"].as_array().unwrap().iter().flat_map(|name| read(&folder.join(name.as_str().unwrap()))).collect()
}

/// The chart's objects that concern who may do what, by the values of an example; pods there are none here.
fn chart(values: &Value) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("values.json");
    std::fs::write(&file, values.to_string()).unwrap();
    let mut helm = Command::new(test_support::chart::helm().unwrap());
    helm.args(["template", "encrypted-queue-operator"]).arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/encrypted-queue-operator"));
    helm.args(["--namespace", "encrypted-queue-operator", "--values"]).arg(&file);
    for template in ["rbac/author", "rbac/approver", "rbac/viewer", "admission/access-approvals", "admission/namespace-labels"] {
        helm.args(["--show-only", &format!("templates/{template}.yaml")]);
    }
    let output = helm.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_saphyr::from_multiple(std::str::from_utf8(&output.stdout).unwrap()).unwrap()
}

/// The values that the two tools' examples give the chart name the same identity.
fn values() -> Value {
    let argo = read(&gitops().join("argocd/operator.yaml")).remove(0)["spec"]["source"]["helm"]["valuesObject"].take();
    let flux =
        read(&gitops().join("flux/operator.yaml")).into_iter().find(|object| object["kind"] == "HelmRelease").unwrap()["spec"]["values"].take();
    assert_eq!(argo, flux);
    assert_eq!(argo["admissionPolicies"]["gitOpsIdentities"], json!([SECURITY]));
    argo
}

/// Everything with who applies it. None: whoever installs the operator.
fn everything() -> Vec<(Option<&'static str>, Value)> {
    let definitions = crds::all().into_iter().map(|definition| serde_json::to_value(definition).unwrap());
    let installed = definitions.chain(chart(&values())).chain(read(&gitops().join("platform/identities.yaml")));
    let mut all: Vec<_> = installed.map(|object| (None, object)).collect();
    for (identity, folder) in [
        ("system:serviceaccount:platform:tenants", "platform/encrypted-queues"),
        (SECURITY, "security/encrypted-queues"),
        ("system:serviceaccount:acme-prod:queues", "acme/deploy/queues"),
    ] {
        all.extend(kustomized(folder).into_iter().map(|object| (Some(identity), object)));
    }
    assert!(all.len() > 20, "{}", all.len());
    all
}

async fn apply(world: &World, identity: Option<&str>, object: &Value) -> Result<(), kube::Error> {
    let kubeconfig = Kubeconfig::from_yaml(world.control_plane.kubeconfig()).unwrap();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    config.auth_info.impersonate = identity.map(str::to_owned);
    let types: TypeMeta = serde_json::from_value(object.clone()).unwrap();
    let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&types).unwrap());
    let client = Client::try_from(config).unwrap();
    let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    };
    api.patch(object["metadata"]["name"].as_str().unwrap(), &PatchParams::apply("gitops"), &Patch::Apply(object)).await.map(|_| ())
}

/// Applies all in rounds, each in another order, until nothing fails. How many failed on the way.
async fn converge(world: &World, mut all: Vec<(Option<&'static str>, Value)>, random: &mut StdRng) -> usize {
    let (start, mut failures) = (Instant::now(), 0);
    while !all.is_empty() {
        all.shuffle(random);
        let mut failed = Vec::new();
        for (identity, object) in all {
            if let Err(error) = apply(world, identity, &object).await {
                assert!(start.elapsed() < PATIENCE, "{identity:?}: {object:#}: {error}");
                failed.push((identity, object));
            }
        }
        failures += failed.len();
        all = failed;
    }
    failures
}

async fn in_any_order(seed: u64) {
    let mut world = World::bare().await;
    world.create_roles(&ROLES).await;
    // It runs before there is anything that it knows.
    world.start_operator(&[]);
    let mut random = StdRng::seed_from_u64(seed);
    let failures = converge(&world, everything(), &mut random).await;
    eprintln!("seed {seed}: {failures} attempts failed first");
    world.until_ready("acme-prod", "orders").await;
    // Applied once more, as each sync does, nothing changes.
    let mark = world.proxy.mark();
    assert_eq!(converge(&world, everything(), &mut random).await, 0);
    world.until_ready("acme-prod", "orders").await;
    assert!(world.proxy.writes_since(mark).is_empty(), "{:?}", world.proxy.writes_since(mark));
    assert_eq!((world.proxy.effects("CreateKey"), world.proxy.effects("CreateQueue")), (1, 2));
}

#[tokio::test]
async fn everything_at_once_in_any_order_converges() {
    for seed in [1, 2, 3] {
        in_any_order(seed).await;
    }
}

/// Each identity writes what is its own and nothing else.
#[tokio::test]
async fn nobody_applies_anothers_repository() {
    let world = World::bare().await;
    converge(&world, everything(), &mut StdRng::seed_from_u64(7)).await;
    let rules: Vec<_> = everything().into_iter().filter_map(|(identity, object)| Some((identity?, object))).collect();
    for (owner, object) in &rules {
        for (other, _) in rules.iter().filter(|(other, _)| other != owner) {
            let mut changed = object.clone();
            changed["metadata"]["labels"] = json!({"changed-by": "another"});
            let refused = apply(&world, Some(other), &changed).await.expect_err("it is another's");
            assert!(refused.to_string().contains("forbidden"), "{other}: {object:#}: {refused}");
        }
    }
}
