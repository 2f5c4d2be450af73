//! What an audit found as an object for readers of policy reports: `ClusterPolicyReport` of wgpolicyk8s.io, or `ClusterReport` of openreports.io.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::checks::{self, Severity};
use super::report::{FindingReport, ResourceKind, ResourceReport};

/// Most results in an object; the worst come first, the rest is counted. So an object stays well below what etcd takes.
pub const MAXIMUM_RESULTS: usize = 500;
/// Longest message of a result.
const LONGEST_MESSAGE: usize = 1000;
/// Annotation: how many results were left out.
const LEFT_OUT: &str = "encryptedqueue.dev/results-left-out";
const API: &str = "encryptedqueue.dev/v1alpha1";
/// Label `app.kubernetes.io/managed-by` of the objects.
pub const MANAGED_BY: &str = SOURCE;
const SOURCE: &str = "encrypted-queue-operator";

/// A kind that readers know, by group, version, kind and plural. The first that the cluster serves is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Dialect {
    /// API group.
    pub group: &'static str,
    /// Version.
    pub version: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// Name of the resource.
    pub plural: &'static str,
}

/// Policy Reporter, Kyverno and Headlamp read the first by default, the second when told so.
pub const DIALECTS: [Dialect; 2] = [
    Dialect { group: "wgpolicyk8s.io", version: "v1alpha2", kind: "ClusterPolicyReport", plural: "clusterpolicyreports" },
    Dialect { group: "openreports.io", version: "v1alpha1", kind: "ClusterReport", plural: "clusterreports" },
];

/// What a report is about.
pub struct Subject {
    /// Its name.
    pub name: String,
    /// Tenants: the report ends with the last of them. One is its scope.
    pub owners: Vec<Owner>,
    /// Queues and keys of which something was found.
    pub resources: Vec<ResourceReport>,
    /// How many others there are.
    pub clean: usize,
    /// What could not be read.
    pub problems: usize,
}

/// A Tenant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Owner {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

/// A finding by check and ARN.
pub type FindingKey = (String, String);

/// The findings that a report holds.
pub fn findings_of(report: &Value) -> BTreeMap<FindingKey, Value> {
    let results = report["results"].as_array().into_iter().flatten();
    let key = |result: &Value| Some((result["policy"].as_str()?.to_owned(), result["properties"]["arn"].as_str()?.to_owned()));
    results.filter_map(|result| Some((key(result)?, result["timestamp"].clone()))).collect()
}

/// Renders the object. Findings that the previous one has keep the time at which they were first seen.
pub fn render(dialect: Dialect, subject: &Subject, previous: Option<&Value>, now: Timestamp) -> Value {
    let seen = previous.map(findings_of).unwrap_or_default();
    let mut open: Vec<(&ResourceReport, &FindingReport)> =
        subject.resources.iter().flat_map(|resource| resource.open().map(move |finding| (resource, finding))).collect();
    open.sort_by(|(a, x), (b, y)| (y.severity, x.check, a.arn.as_str()).cmp(&(x.severity, y.check, b.arn.as_str())));
    let (mut fail, mut warn) = (0, 0);
    for (_, finding) in &open {
        *(if finding.severity == Severity::Info { &mut warn } else { &mut fail }) += 1;
    }
    let failing: BTreeSet<&str> = open.iter().map(|(resource, _)| resource.arn.as_str()).collect();
    let pass = subject.resources.len() - failing.len() + subject.clean;
    let left_out = open.len().saturating_sub(MAXIMUM_RESULTS);
    let results: Vec<Value> = open.into_iter().take(MAXIMUM_RESULTS).map(|(resource, finding)| result(resource, finding, &seen, now)).collect();
    let owners: Vec<Value> =
        subject.owners.iter().map(|owner| json!({"apiVersion": API, "kind": "Tenant", "name": owner.name, "uid": owner.uid})).collect();
    let mut object = json!({
        "apiVersion": format!("{}/{}", dialect.group, dialect.version),
        "kind": dialect.kind,
        "metadata": {
            "name": subject.name,
            "labels": {"app.kubernetes.io/managed-by": SOURCE},
            "annotations": {LEFT_OUT: left_out.to_string()},
            "ownerReferences": owners,
        },
        "summary": {"pass": pass, "fail": fail, "warn": warn, "error": subject.problems, "skip": 0},
        "results": results,
    });
    if let ([_], [scope]) = (subject.owners.as_slice(), object["metadata"]["ownerReferences"].as_array().map_or(&[][..], Vec::as_slice)) {
        object["scope"] = scope.clone();
    }
    object
}

/// What a report that was rendered tells: its resources, how many have no findings, and how many problems there were. None: not everything found is in it.
pub fn read_back(report: &Value) -> Option<(Vec<ResourceReport>, usize, usize)> {
    if report["metadata"]["annotations"][LEFT_OUT] != "0" {
        return None;
    }
    let mut resources = BTreeMap::<String, ResourceReport>::new();
    for result in report["results"].as_array().into_iter().flatten() {
        // A check that there is no more is told no more.
        let Some(check) = result["policy"].as_str().and_then(checks::by_id) else { continue };
        let text = |field: &str| result["properties"][field].as_str().map(str::to_owned);
        let arn = text("arn")?;
        let (name, details) = result["message"].as_str()?.split_once(&format!(": {} ", check.title))?;
        let finding = FindingReport { check: check.id, severity: check.severity, details: vec![details.to_owned()], accepted: None };
        let resource = resources.entry(arn.clone()).or_insert_with(|| ResourceReport {
            kind: if arn.contains(":sqs:") { ResourceKind::Queue } else { ResourceKind::Key },
            name: name.to_owned(),
            account: text("account").unwrap_or_default(),
            region: text("region").unwrap_or_default(),
            tenant: text("tenant"),
            sensitivity_tier: text("sensitivityTier"),
            object: text("object"),
            key: None,
            compliant: false,
            findings: Vec::new(),
            arn,
        });
        resource.findings.push(finding);
    }
    let count = |field: &str| usize::try_from(report["summary"][field].as_u64().unwrap_or_default()).unwrap_or_default();
    Some((resources.into_values().collect(), count("pass"), count("error")))
}

/// Whether the cluster's object says the same already.
pub fn says_the_same(live: &Value, rendered: &Value) -> bool {
    let annotation = |object: &Value| object["metadata"]["annotations"][LEFT_OUT].clone();
    let owners = |object: &Value| -> BTreeSet<String> {
        let references = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
        references.filter_map(|reference| reference["uid"].as_str().map(str::to_owned)).collect()
    };
    let empty = |results: &Value| results.as_array().is_none_or(Vec::is_empty);
    let results = live["results"] == rendered["results"] || (empty(&live["results"]) && empty(&rendered["results"]));
    results && live["summary"] == rendered["summary"] && annotation(live) == annotation(rendered) && owners(live) == owners(rendered)
}

fn result(resource: &ResourceReport, finding: &FindingReport, seen: &BTreeMap<FindingKey, Value>, now: Timestamp) -> Value {
    let (title, remedy) = checks::by_id(finding.check).map_or(("", ""), |check| (check.title, check.remedy));
    let message: String = format!("{}: {title} {}", resource.name, finding.details.join("; ")).chars().take(LONGEST_MESSAGE).collect();
    let first_seen = seen.get(&(finding.check.to_owned(), resource.arn.clone())).filter(|time| time.is_object()).cloned();
    let mut properties = json!({"arn": resource.arn, "account": resource.account, "region": resource.region, "remedy": remedy});
    for (name, value) in [("tenant", &resource.tenant), ("sensitivityTier", &resource.sensitivity_tier), ("object", &resource.object)] {
        if let Some(value) = value {
            properties[name] = json!(value);
        }
    }
    let mut result = json!({
        "source": SOURCE,
        "policy": finding.check,
        "category": "SQS encryption and access",
        "severity": finding.severity,
        "result": if finding.severity == Severity::Info { "warn" } else { "fail" },
        "scored": true,
        "message": message,
        "timestamp": first_seen.unwrap_or_else(|| json!({"seconds": now.as_second(), "nanos": 0})),
        "properties": properties,
    });
    if let Some(object) = &resource.object {
        result["resources"] = json!([object_reference(resource.kind, object)]);
    }
    result
}

/// The EncryptedQueue or QueueKey that declares a queue or key.
fn object_reference(kind: ResourceKind, object: &str) -> Value {
    let mut reference = json!({"apiVersion": API, "kind": if kind == ResourceKind::Queue { "EncryptedQueue" } else { "QueueKey" }});
    let (namespace, name) = object.split_once('/').map_or((None, object), |(namespace, name)| (Some(namespace), name));
    reference["name"] = json!(name);
    if let Some(namespace) = namespace {
        reference["namespace"] = json!(namespace);
    }
    reference
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn resource(index: usize, severities: &[Severity]) -> ResourceReport {
        ResourceReport {
            kind: ResourceKind::Queue,
            arn: format!("arn:aws:sqs:eu-west-1:123456789012:q{index}"),
            name: format!("q{index}"),
            account: "123456789012".to_owned(),
            region: "eu-west-1".to_owned(),
            tenant: Some("acme".to_owned()),
            sensitivity_tier: None,
            object: None,
            key: None,
            compliant: severities.is_empty(),
            findings: severities
                .iter()
                .map(|severity| FindingReport { check: "queue-public", severity: *severity, details: vec!["x".repeat(3000)], accepted: None })
                .collect(),
        }
    }

    fn rendered(resources: &[ResourceReport], previous: Option<&Value>, second: i64) -> Value {
        let subject = Subject {
            name: "encrypted-queue-tenant-acme".to_owned(),
            owners: vec![Owner { name: "acme".to_owned(), uid: "u".to_owned() }],
            resources: resources.to_vec(),
            clean: 0,
            problems: 0,
        };
        render(DIALECTS[0], &subject, previous, Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn what_was_seen_keeps_its_time_and_the_same_is_not_written_again() {
        let first = rendered(&[resource(1, &[Severity::High]), resource(2, &[])], None, 100);
        assert_eq!(first["summary"], json!({"pass": 1, "fail": 1, "warn": 0, "error": 0, "skip": 0}));
        assert_eq!(first["scope"]["name"], "acme");
        let again = rendered(&[resource(1, &[Severity::High]), resource(2, &[])], Some(&first), 200);
        assert!(says_the_same(&first, &again));
        let more = rendered(&[resource(1, &[Severity::High]), resource(2, &[Severity::Info])], Some(&first), 200);
        assert!(!says_the_same(&first, &more));
        let seconds: Vec<_> = more["results"].as_array().unwrap().iter().map(|result| result["timestamp"]["seconds"].as_i64().unwrap()).collect();
        assert_eq!((seconds, more["summary"]["warn"].as_i64()), (vec![100, 200], Some(1)));
        let mut clean = rendered(&[resource(1, &[])], Some(&first), 200);
        let live = clean.clone();
        clean.as_object_mut().unwrap().remove("results");
        assert!(says_the_same(&clean, &live), "an empty list may be left out");
    }

    #[test]
    fn what_was_written_reads_back_as_the_same_report() {
        let written = rendered(&[resource(1, &[Severity::High, Severity::High]), resource(2, &[Severity::High]), resource(3, &[])], None, 100);
        let (resources, clean, problems) = read_back(&written).unwrap();
        assert_eq!((resources.len(), clean, problems, resources[0].name.as_str()), (2, 1, 0, "q1"));
        let owners = vec![Owner { name: "acme".to_owned(), uid: "u".to_owned() }];
        let subject = Subject { name: "encrypted-queue-tenant-acme".to_owned(), owners, resources, clean, problems };
        let again = render(DIALECTS[1], &subject, Some(&written), Timestamp::from_second(200).unwrap());
        // The severity is the check's.
        let critical = |text: String| text.replace("\"high\"", "\"critical\"");
        assert_eq!(critical(again["results"].to_string()), critical(written["results"].to_string()));
        assert_eq!(again["summary"], written["summary"]);
        assert!(read_back(&json!({"results": []})).is_none(), "not written here");
    }

    #[test]
    fn an_object_is_bounded_and_the_worst_come_first() {
        let many: Vec<_> =
            (0..MAXIMUM_RESULTS + 7).map(|index| resource(index, &[if index == 300 { Severity::Critical } else { Severity::Low }])).collect();
        let object = rendered(&many, None, 1);
        assert!(read_back(&object).is_none(), "not all of it is there");
        let results = object["results"].as_array().unwrap();
        assert_eq!((results.len(), results[0]["severity"].as_str()), (MAXIMUM_RESULTS, Some("critical")));
        assert_eq!(object["metadata"]["annotations"][LEFT_OUT], "7");
        assert_eq!(object["summary"]["fail"], MAXIMUM_RESULTS + 7);
        assert!(object.to_string().len() < 1_000_000, "{}", object.to_string().len());
    }
}
