//! The zoo in every format, and with a baseline.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use regex::Regex;
use serde_json::Value;

use crate::world::Aws;

/// What an audit answers in each format, `report` being its JSON.
pub(crate) async fn all(aws: &Aws, report: &Value) {
    as_the_schema_says(aws, report).await;
    table(aws).await;
    sarif(aws, report).await;
    page(aws, report).await;
    baseline(aws, report).await;
}

async fn as_the_schema_says(aws: &Aws, report: &Value) {
    let schema = aws.audit(&["--schema"]).await.json();
    jsonschema::validate(&schema, report).unwrap();
    let mut wrong = report.clone();
    wrong["resources"][0]["kind"] = "Topic".into();
    assert!(!jsonschema::is_valid(&schema, &wrong));
}

/// The whole table is kept, with ids and days as they cannot be told beforehand.
async fn table(aws: &Aws) {
    let table = aws.audit(&["--offline"]).await;
    assert_eq!(table.exit, 2);
    let changing = [
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "KEY-ID"),
        (r"20\d\d-\d\d-\d\d", "DAY"),
        (r"grant [0-9a-f]{8,}", "grant GRANT"),
        (r" +\n", "\n"),
        (r"  +", "  "),
    ];
    let told = changing.iter().fold(table.output, |text, (pattern, shown)| Regex::new(pattern).unwrap().replace_all(&text, *shown).into_owned());
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/audit/zoo.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &told).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let difference = similar::TextDiff::from_lines(kept.as_str(), told.as_str());
    assert!(kept == told, "zoo.txt (UPDATE_GOLDEN=1 writes it anew):\n{}", difference.unified_diff());
}

fn findings(report: &Value) -> usize {
    report["resources"].as_array().unwrap().iter().map(|resource| resource["findings"].as_array().unwrap().len()).sum()
}

async fn sarif(aws: &Aws, report: &Value) {
    let log = aws.audit(&["--offline", "-o", "sarif"]).await.json();
    let run = &log["runs"][0];
    assert_eq!((log["version"].as_str(), run["invocations"][0]["executionSuccessful"].as_bool()), (Some("2.1.0"), Some(true)));
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), findings(report));
    let mut fingerprints = BTreeSet::new();
    for result in results {
        let rule = &rules[usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()];
        assert_eq!(rule["id"], result["ruleId"]);
        assert!(["error", "warning", "note"].contains(&result["level"].as_str().unwrap()) && !result["message"]["text"].as_str().unwrap().is_empty());
        assert!(fingerprints.insert(result["partialFingerprints"]["checkAndResource/v1"].as_str().unwrap()), "{result}");
        let uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].as_str().unwrap();
        assert!(uri.parse::<http::Uri>().is_ok() || uri.starts_with("arn:"), "{uri}");
    }
    keep("audit.sarif", &serde_json::to_string_pretty(&log).unwrap());
}

async fn page(aws: &Aws, report: &Value) {
    let page = aws.audit(&["--offline", "-o", "html"]).await.output;
    for outside in ["http://", "https://", "src=", "@import", "url(", "<link"] {
        assert!(!page.contains(outside), "{outside}");
    }
    let tags = ["html", "head", "body", "main", "table", "details", "section", "ul", "svg"];
    for tag in tags {
        let opened = Regex::new(&format!(r"<{tag}[ >]")).unwrap().find_iter(&page).count();
        assert_eq!((tag, opened), (tag, page.matches(&format!("</{tag}>")).count()));
    }
    for resource in report["resources"].as_array().unwrap() {
        assert!(page.contains(resource["name"].as_str().unwrap()), "{resource}");
    }
    keep("audit.html", &page);
}

/// Leaves a copy for whoever wants to look at it.
pub(crate) fn keep(name: &str, text: &str) {
    if let Some(folder) = std::env::var_os("AUDIT_OUTPUT") {
        std::fs::write(PathBuf::from(folder).join(name), text).unwrap();
    }
}

async fn baseline(aws: &Aws, report: &Value) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut text = "accepted:\n".to_owned();
    for resource in report["resources"].as_array().unwrap() {
        for finding in resource["findings"].as_array().unwrap() {
            let until = if finding["check"] == "queue-public" { "2020-01-01" } else { "2999-12-31" };
            let (check, arn) = (finding["check"].as_str().unwrap(), resource["arn"].as_str().unwrap());
            let _ = writeln!(text, "- {{check: {check}, resource: \"{arn}\", until: {until}, reason: known}}");
        }
    }
    std::fs::write(file.path(), text).unwrap();
    let path = file.path().to_str().unwrap();
    let answer = aws.audit(&["--offline", "--baseline", path, "-o", "json"]).await;
    let left = answer.json();
    // What has expired counts again.
    let expired = ["public", "public-any-source", "public-if-exists"];
    assert_eq!((answer.exit, left["summary"]["findings"]["critical"].as_u64()), (2, Some(expired.len() as u64)), "{}", left["summary"]);
    let number = |name: &str| usize::try_from(left["summary"][name].as_u64().unwrap()).unwrap();
    assert_eq!(number("accepted"), findings(report) - expired.len());
    assert_eq!(number("compliantQueues"), number("queues") - expired.len());
    assert!(left["notes"].as_array().unwrap().iter().all(|note| note.as_str().unwrap().contains("expired on 2020-01-01")), "{}", left["notes"]);
    let suppressed = aws.audit(&["--offline", "--baseline", path, "-o", "sarif", "--fail-on", "none"]).await;
    assert_eq!(suppressed.exit, 0);
    let results = suppressed.json();
    let results = results["runs"][0]["results"].as_array().unwrap();
    assert_eq!(results.iter().filter(|result| result["suppressions"].is_array()).count(), findings(report) - expired.len());
}
