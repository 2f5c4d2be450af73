#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use clap::{CommandFactory, Parser};

use super::*;
use crate::preview::{ObjectReport, System};

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    arguments: Arguments,
}

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

fn manifests(edit: impl Fn(&str, String) -> String) -> Manifests {
    let mut manifests = Manifests::default();
    let mut files: Vec<_> = std::fs::read_dir(repository().join("examples")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.is_file());
    files.sort();
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap();
        manifests.add(name, &edit(name, std::fs::read_to_string(&file).unwrap()), "default").unwrap();
    }
    manifests
}

fn planned(edit: impl Fn(&str, String) -> String) -> PlanReport {
    offline(&manifests(edit), None, None, now())
}

fn orders(report: &PlanReport) -> &ObjectReport {
    report.objects.iter().find(|object| object.kind == "EncryptedQueue" && object.name == "orders").expect("it is told of")
}

fn calls(object: &ObjectReport) -> Vec<&str> {
    object.actions.iter().filter_map(|action| action.call).collect()
}

fn is_golden(file: &str, answer: &str) {
    let path = repository().join("tests/golden/plan").join(file);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, answer).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let difference = similar::TextDiff::from_lines(kept.as_str(), answer);
    assert!(kept == answer, "{file} (UPDATE_GOLDEN=1 writes it anew):\n{}", difference.unified_diff());
}

#[test]
fn the_examples_offline() {
    let report = planned(|_, text| text);
    is_golden("examples.txt", &plan_text(&report));
    is_golden("examples.json", &json(&report).unwrap());
    assert_eq!(report.exit_code(), 2);
    let numbers: Vec<_> = report.objects.iter().flat_map(|object| &object.actions).map(|action| action.number).collect();
    let mut sorted = numbers.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (1..=numbers.len()).collect::<Vec<_>>(), "each number once");
    assert!(report.objects.iter().all(|object| object.waits.is_none()), "{report:#?}");
}

#[test]
fn answers_are_as_the_schema_says() {
    let schema = serde_json::to_value(schemars::schema_for!(PlanReport)).unwrap();
    let refused = |name: &str, text: String| if name == "queue-orders.yaml" { text.replace("tenant: acme", "tenant: nobody") } else { text };
    for report in [planned(|_, text| text), planned(refused)] {
        let mut answer = serde_json::to_value(&report).unwrap();
        assert!(jsonschema::validate(&schema, &answer).is_ok(), "{:?}", jsonschema::validate(&schema, &answer));
        answer["objects"][0]["actions"] = serde_json::json!([{"number": "first"}]);
        assert!(!jsonschema::is_valid(&schema, &answer));
    }
}

#[test]
fn gains_that_need_an_approval_come_with_the_hash_to_approve() {
    let with_approval = |name: &str, text: String| if name == "tier-restricted.yaml" { text + "  approval: OnWidening\n" } else { text };
    let report = planned(with_approval);
    is_golden("approval.txt", &plan_text(&report));
    is_golden("approval.md", &plan_markdown(&report));
    let (orders, plain) = (orders(&report), planned(|_, text| text));
    let approval = orders.approval.as_ref().unwrap();
    assert_eq!((approval.gains.clone(), approval.approved_by.as_ref(), approval.grants_sha256.len()), (orders.gains.clone(), None, 64));
    assert_eq!(calls(orders), calls(self::orders(&plain)), "what is done once approved is what is done without approvals");
    for object in report.objects.iter().filter(|object| object.sensitivity_tier == "restricted") {
        assert!(object.actions.iter().all(|action| action.after_approval == (action.system == System::Aws)), "{object:#?}");
    }
    assert_eq!(orders.waits.as_ref().unwrap().reason, "AwaitingApproval");
    assert_eq!((report.summary.awaiting_approval, report.exit_code()), (2, 2));
}

#[test]
fn a_refused_declaration_names_its_fields() {
    let report = planned(|name, text| if name == "queue-orders.yaml" { text.replace("role/acme-orders-api", "role/stranger") } else { text });
    let orders = orders(&report);
    let fields: Vec<_> = orders.violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!((fields, calls(orders).len()), (vec!["spec.producers[0]"], 0));
    assert!(plan_text(&report).contains("refused, PrincipalNotAllowed: spec.producers[0]: "), "{}", plan_text(&report));
    assert_eq!((report.summary.refused, report.exit_code()), (1, 1));
}

#[test]
fn nothing_to_plan_is_no_change() {
    let mut manifests = Manifests::default();
    manifests.add("x.yaml", "# nothing\n---\n---\nkind: Deployment\napiVersion: apps/v1\nmetadata: {name: app}\n", "default").unwrap();
    assert_eq!(manifests.skipped().collect::<Vec<_>>(), ["x.yaml: skipped a document of kind Deployment"]);
    let report = offline(&manifests, None, None, now());
    assert_eq!((report.exit_code(), report.objects.len()), (0, 0));
    assert!(plan_text(&report).starts_with("No changes"));
}

fn refused(text: &str) -> String {
    Manifests::default().add("x.yaml", text, "default").unwrap_err().to_string()
}

#[test]
fn mistakes_are_told_with_file_line_and_column() {
    let header = "apiVersion: encryptedqueue.dev/v1alpha1\nkind: EncryptedQueue\nmetadata: {name: orders}\nspec:\n  tenant: acme\n";
    let texts = [
        "a: [1, 2\nb: }\n".to_owned(),
        "kind: ConfigMap\n---\na: b\n c: d\n".to_owned(),
        format!("kind: ConfigMap\n---\n{header}  sensitivityTier: [internal]\n"),
        format!("---\n{header}  deletionPolicy: Sometimes\n"),
        "\n\napiVersion: encryptedqueue.dev/v2\nkind: Tenant\nmetadata: {name: acme}\n".to_owned(),
    ];
    let told: Vec<String> = texts.iter().map(|text| refused(text)).collect();
    let places: Vec<String> = told.iter().map(|told| told.split(':').take(3).collect::<Vec<_>>().join(":")).collect();
    assert_eq!(places, ["x.yaml:2:2", "x.yaml:4:3", "x.yaml:8:20", "x.yaml:7:19", "x.yaml:3:1"], "{told:#?}");
    assert!(told.iter().all(|told| !told.contains('\n') && !told.contains("at line")), "{told:#?}");
}

#[test]
fn documents_of_lists_and_of_the_operator() {
    let mut manifests = Manifests::default();
    let queue = std::fs::read_to_string(repository().join("examples/queue-orders.yaml")).unwrap();
    let mut queue: serde_json::Value = serde_saphyr::from_str(&queue).unwrap();
    queue["status"] = serde_json::json!({"key": {"name": "stolen"}});
    queue["metadata"].as_object_mut().unwrap().remove("namespace");
    let list =
        serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [queue, {"apiVersion": "encryptedqueue.dev/v1alpha1", "kind": "QueueKey"}]});
    manifests.add("list.json", &list.to_string(), "acme-prod").unwrap();
    let queues = manifests.lay_over_queues(BTreeMap::new(), now());
    let (name, queue) = queues.first_key_value().unwrap();
    assert_eq!((name.to_string().as_str(), &queue.status), ("acme-prod/orders", &None), "status is not taken from a file");
    assert_eq!(manifests.skipped().count(), 1);
}

#[test]
fn arguments() {
    Cli::command().debug_assert();
    let parsed = |arguments: &[&str]| Cli::try_parse_from(std::iter::once(&"plan").chain(arguments)).map(|cli| cli.arguments);
    assert_eq!(parsed(&["-f", "a", "b", "-f", "-"]).unwrap().filenames.len(), 3);
    assert!(parsed(&[]).is_err() && parsed(&["-f", "a", "--offline", "--check"]).is_err());
}
