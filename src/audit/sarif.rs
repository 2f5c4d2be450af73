//! The answer as SARIF 2.1.0, which code scanning and security dashboards read.

use serde_json::{Value, json};

use super::checks::Severity;
use super::report::{AuditReport, CheckReport, FindingReport, ProblemReport, ResourceReport};
use super::text::told;

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// The answer as a SARIF log.
pub fn audit_sarif(report: &AuditReport) -> Value {
    let index = |id: &str| report.checks.iter().position(|check| check.id == id).unwrap_or_default();
    let findings = report.resources.iter().flat_map(|resource| resource.findings.iter().map(move |finding| (resource, finding)));
    let results: Vec<Value> = findings.map(|(resource, finding)| result(resource, finding, index(finding.check), report)).collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "encrypted-queue",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": report.checks.iter().map(rule).collect::<Vec<_>>(),
            }},
            "invocations": [{
                "executionSuccessful": !report.partial,
                "endTimeUtc": report.generated_at,
                "toolExecutionNotifications": report.problems.iter().map(notification).collect::<Vec<_>>(),
            }],
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Info => "note",
    }
}

/// As CVSS has it, by which readers sort.
const fn score(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "9.5",
        Severity::High => "8.0",
        Severity::Medium => "5.5",
        Severity::Low => "3.0",
        Severity::Info => "0.0",
    }
}

fn rule(check: &CheckReport) -> Value {
    json!({
        "id": check.id,
        "shortDescription": {"text": check.title},
        "fullDescription": {"text": check.why},
        "help": {"text": check.remedy},
        "helpUri": format!("{}/blob/main/docs/checks.md#{}", env!("CARGO_PKG_REPOSITORY"), check.id),
        "defaultConfiguration": {"level": level(check.severity)},
        "properties": {"tags": ["security"], "security-severity": score(check.severity), "controls": check.controls},
    })
}

fn notification(problem: &ProblemReport) -> Value {
    json!({"level": "error", "message": {"text": told(problem)}})
}

fn result(resource: &ResourceReport, finding: &FindingReport, rule_index: usize, report: &AuditReport) -> Value {
    let title = report.checks.get(rule_index).map_or("", |check| check.title);
    let mut result = json!({
        "ruleId": finding.check,
        "ruleIndex": rule_index,
        "level": level(finding.severity),
        "message": {"text": format!("{} {}: {title} {}", resource.kind.as_str(), resource.name, finding.details.join("; "))},
        "locations": [{
            // Readers that know files only want one: an ARN is a URI.
            "physicalLocation": {"artifactLocation": {"uri": uri(&resource.arn)}},
            "logicalLocations": [{"name": resource.name, "fullyQualifiedName": resource.arn, "kind": "resource"}],
        }],
        "partialFingerprints": {"checkAndResource/v1": crate::names::sha256_hex(&format!("{}\n{}", finding.check, resource.arn))},
        "properties": {"tenant": resource.tenant, "sensitivityTier": resource.sensitivity_tier, "object": resource.object},
    });
    if let Some(accepted) = &finding.accepted {
        let justification = format!("{} (until {})", accepted.reason, accepted.until);
        result["suppressions"] = json!([{"kind": "external", "status": "accepted", "justification": justification}]);
    }
    result
}

/// With all that a URI may not hold encoded.
fn uri(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut uri, byte| {
        if byte.is_ascii_alphanumeric() || b":/-._~".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
        uri
    })
}
