//! The answer for a terminal.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};

use super::checks::{self, Severity};
use super::report::{AuditReport, ProblemReport};
use crate::preview::one_line;

/// The answer as text, in lines of at most `width` characters where it is known.
pub fn audit_text(report: &AuditReport, width: Option<u16>) -> String {
    let open = report.open();
    let mut text = String::new();
    if !open.is_empty() {
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(["SEVERITY", "CHECK", "RESOURCE", "TENANT", "WHERE", "WHAT"]);
        if let Some(width) = width {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        for (resource, finding) in &open {
            let place = format!("{} {}", resource.account, resource.region);
            let tenant = resource.tenant.as_deref().unwrap_or("-");
            let cells = [finding.severity.as_str(), finding.check, &resource.name, tenant, &place, &finding.details.join("; ")];
            table.add_row(cells.map(one_line));
        }
        let _ = writeln!(text, "{table}\n");
        let _ = writeln!(text, "What to do:");
        let fired: BTreeSet<&str> = open.iter().map(|(_, finding)| finding.check).collect();
        for check in checks::all().filter(|check| fired.contains(check.id)) {
            let _ = writeln!(text, "  {}: {}", check.id, check.remedy);
        }
        text.push('\n');
    }
    text.push_str(&summary(report));
    for problem in &report.problems {
        let _ = writeln!(text, "Not read: {}", one_line(&told(problem)));
    }
    for note in &report.notes {
        let _ = writeln!(text, "Note: {}.", one_line(note));
    }
    text
}

/// A problem in one line.
pub(super) fn told(problem: &ProblemReport) -> String {
    let ProblemReport { account, region, operation, resource, count, message } = problem;
    let of = match (resource, count) {
        (None, _) => String::new(),
        (Some(resource), 1) => format!(" of {resource}"),
        (Some(resource), count) => format!(" of {resource} and {} more", count - 1),
    };
    format!("account {account}, {region}: {operation}{of}: {message}")
}

/// How many per cent, rounded down: 100 only where all are.
pub(super) fn per_cent(part: usize, of: usize) -> usize {
    (part * 100).checked_div(of).unwrap_or(100)
}

/// A number and what it counts.
pub(super) fn counted(count: usize, one: &str, several: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {several}") }
}

fn summary(report: &AuditReport) -> String {
    let summary = &report.summary;
    let found: Vec<String> = Severity::ALL
        .into_iter()
        .filter_map(|severity| Some(summary.findings.of(severity)).filter(|count| *count > 0).map(|count| format!("{count} {severity}")))
        .collect();
    let found = if found.is_empty() { "no findings".to_owned() } else { found.join(", ") };
    let accepted = if summary.accepted > 0 { format!(", {} accepted", summary.accepted) } else { String::new() };
    let partial = if report.partial { " INCOMPLETE: not everything could be read." } else { "" };
    format!(
        "Audit of {} and {} in {}: {} of {} queues compliant ({} %); {found}{accepted}.{partial}\n",
        counted(summary.queues, "queue", "queues"),
        counted(summary.keys, "key", "keys"),
        counted(summary.regions, "Region", "Regions"),
        summary.compliant_queues,
        summary.queues,
        per_cent(summary.compliant_queues, summary.queues),
    )
}
