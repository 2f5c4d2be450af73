//! Reports for people: one screen for an ordinary queue.

use std::collections::BTreeSet;

use comfy_table::presets::NOTHING;
use comfy_table::{ColumnConstraint, ContentArrangement, Table};

use super::report::{
    DenialReport, IdentityPolicyReport, Permission, PermissionReport, PolicyKind, PrincipalKind, PrincipalReport, QueueReport, RoleReport,
    ViolationReport,
};
use crate::names::Partition;

/// Columns of the text.
const WIDTH: u16 = 120;

const COLUMNS: [(Permission, &str); 6] = [
    (Permission::Send, "send"),
    (Permission::Receive, "receive"),
    (Permission::ReceiveDeadLetters, "dead\nletters"),
    (Permission::Redrive, "redrive"),
    (Permission::Decrypt, "decrypt"),
    (Permission::ReadAttributes, "attri-\nbutes"),
];

/// The answer about one queue.
pub fn queue_text(report: &QueueReport) -> String {
    let report = &with_short_names(report.clone());
    let mut sections = vec![header(report)];
    if !report.violations.is_empty() {
        sections.push(violations(&report.violations));
    }
    if !report.principals.is_empty() {
        let rows: Vec<_> = report.principals.iter().map(|row| (name(row), row)).collect();
        sections.push(access("principal", &rows));
        sections.extend(legend(&report.principals, report.account.as_deref()));
    }
    if !report.denials.is_empty() {
        sections.push(denials(&report.denials));
    }
    if !report.notes.is_empty() {
        sections.push(bullets(&report.notes));
    }
    sections.extend(report.identity_policies.iter().map(identity_policy));
    sections.join("\n")
}

/// Roles of the queue's own account without what they share; the legend says so.
fn with_short_names(mut report: QueueReport) -> QueueReport {
    let Some(account) = report.account.clone() else { return report };
    let short = |text: &mut String| {
        for partition in [Partition::Aws, Partition::China, Partition::GovCloud] {
            *text = text
                .replace(&format!("arn:{partition}:iam::{account}:role/"), "role/")
                .replace(&format!("arn:{partition}:iam::{account}:root"), "account root");
        }
    };
    report.principals.iter_mut().filter_map(|row| row.principal.as_mut()).for_each(short);
    report.denials.iter_mut().map(|denial| &mut denial.whom).for_each(short);
    report
}

/// The answer about one principal.
pub fn principal_text(report: &RoleReport) -> String {
    let mut sections = Vec::new();
    if report.queues.is_empty() {
        sections.push(format!("{} can do nothing with any of {} queues, by their policies.\n", report.principal, report.queues_examined));
    } else {
        sections.push(format!("{}: {} of {} queues\n", report.principal, report.queues.len(), report.queues_examined));
        let rows: Vec<_> = report
            .queues
            .iter()
            .flat_map(|queue| {
                let name = format!("{}/{}\n{}", queue.namespace, queue.name, queue.queue_arn.as_deref().unwrap_or("(none)"));
                queue.principals.iter().map(move |row| (name.clone(), row))
            })
            .collect();
        sections.push(access("queue", &rows));
    }
    if !report.refused.is_empty() {
        let names: Vec<_> = report.refused.iter().map(|queue| format!("{}/{}", queue.namespace, queue.name)).collect();
        sections.push(bullets(&[format!("Refused, so what they still grant is not known here: {}.", names.join(", "))]));
    }
    if !report.notes.is_empty() {
        sections.push(bullets(&report.notes));
    }
    sections.join("\n")
}

fn header(report: &QueueReport) -> String {
    let queue = report.queue_arn.as_deref().unwrap_or("not made");
    let dead_letters = report.dead_letter_queue_arn.as_deref().and_then(|arn| arn.rsplit(':').next());
    let dead_letters = dead_letters.map_or_else(|| "no dead-letter queue".to_owned(), |name| format!("dead letters in {name}"));
    let key = report.key.as_ref().map_or_else(
        || "none".to_owned(),
        |key| {
            let arn = key.arn.as_deref().unwrap_or("not made yet");
            let alias = key.alias.as_ref().map_or_else(|| format!("QueueKey {}", key.name), Clone::clone);
            format!("{arn} ({alias})")
        },
    );
    let ready = &report.ready;
    let outdated = if ready.outdated { " (of an older generation)" } else { "" };
    let ready = match (&ready.reason, &ready.message) {
        _ if ready.status == "True" => format!("True{outdated}"),
        (Some(reason), Some(message)) => format!("{}, {reason}: {message}{outdated}", ready.status),
        _ => format!("{}: the operator has not worked on it yet", ready.status),
    };
    let mut table = table();
    table.add_row([format!("{}/{}", report.namespace, report.name), format!("{queue}, {dead_letters}")]);
    table.add_row([
        "tenant".to_owned(),
        format!("{}, sensitivity tier {}{}", report.tenant, report.sensitivity_tier, if report.suspended { ", SUSPENDED" } else { "" }),
    ]);
    table.add_row(["key".to_owned(), key]);
    table.add_row(["ready".to_owned(), ready]);
    lines(&table)
}

fn violations(violations: &[ViolationReport]) -> String {
    let mut table = table();
    table.set_header(["refused because of", "reason", "what is wrong, and the way out"]);
    table.add_rows(violations.iter().map(|violation| [&violation.field, &violation.reason, &violation.message]));
    lines(&table)
}

/// A row takes the first column's text and, below it, the fields that declare it.
fn access(first: &str, rows: &[(String, &PrincipalReport)]) -> String {
    let titles = COLUMNS.iter().map(|(_, title)| *title).chain(["admin-\nister"]);
    let marks = |row: &PrincipalReport| COLUMNS.iter().map(|(permission, _)| cell(row, *permission)).chain([administration(row)]).collect::<Vec<_>>();
    let mut widths: Vec<usize> = titles.clone().map(width).collect();
    for (_, row) in rows {
        widths.iter_mut().zip(marks(row)).for_each(|(known, mark)| *known = width(&mark).max(*known));
    }
    let free = usize::from(WIDTH).saturating_sub(widths.iter().map(|width| width + 1).sum::<usize>() + 1);
    let by =
        rows.iter().map(|(_, row)| statements(row).iter().map(String::as_str).map(width).max().unwrap_or(0)).max().unwrap_or(0).min(free * 3 / 7);

    let mut table = table();
    let first = format!("{first},\n  declared in");
    table.set_header(std::iter::once(first).chain(titles.chain(["by statement"]).map(str::to_owned)));
    for (name, row) in rows {
        let mut who: Vec<_> = name.lines().flat_map(|line| folded(line, "", free - by)).collect();
        who.extend(declared(row).into_iter().flat_map(|field| folded(field, "  ", free - by)));
        let statements: Vec<_> = statements(row).iter().flat_map(|line| folded(line, "", by)).collect();
        table.add_row(std::iter::once(who.join("\n")).chain(marks(row)).chain([statements.join("\n")]));
    }
    for column in table.column_iter_mut() {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    lines(&table)
}

fn width(text: &str) -> usize {
    text.lines().map(|line| line.chars().count()).max().unwrap_or(0)
}

fn find(row: &PrincipalReport, permission: Permission) -> Option<&PermissionReport> {
    row.permissions.iter().find(|known| known.permission == permission)
}

fn cell(row: &PrincipalReport, permission: Permission) -> String {
    match find(row, permission) {
        None => String::new(),
        Some(known) if !known.denied_by.is_empty() => "✗".to_owned(),
        Some(known) if known.awaits_approval => "waits".to_owned(),
        Some(known) => known.condition.clone().unwrap_or_else(|| "✓".to_owned()),
    }
}

fn administration(row: &PrincipalReport) -> String {
    match (find(row, Permission::Administer), find(row, Permission::ChangeKeyPolicy)) {
        (None, _) => "",
        (Some(_), None) => "✓",
        (Some(_), Some(_)) => "✓ policy",
    }
    .to_owned()
}

const fn label(policy: PolicyKind) -> &'static str {
    match policy {
        PolicyKind::Queue => "queue",
        PolicyKind::DeadLetterQueue => "DLQ",
        PolicyKind::Key => "key",
    }
}

/// The statements behind a row, a line for each Sid with the policies that carry it.
fn statements(row: &PrincipalReport) -> Vec<String> {
    let mut sids: Vec<(&str, BTreeSet<PolicyKind>)> = Vec::new();
    for statement in row.permissions.iter().flat_map(|permission| &permission.allowed_by) {
        match sids.iter_mut().find(|(sid, _)| *sid == statement.sid) {
            Some((_, policies)) => drop(policies.insert(statement.policy)),
            None => sids.push((&statement.sid, BTreeSet::from([statement.policy]))),
        }
    }
    let line = |(sid, policies): &(&str, BTreeSet<PolicyKind>)| {
        let policies: Vec<_> = policies.iter().map(|policy| label(*policy)).collect();
        format!("{} {sid}", policies.join(", "))
    };
    sids.iter().map(line).collect()
}

fn declared(row: &PrincipalReport) -> Vec<&str> {
    let mut fields = Vec::new();
    for field in row.permissions.iter().flat_map(|permission| &permission.declared_by) {
        if !fields.contains(&field.as_str()) {
            fields.push(field);
        }
    }
    fields
}

/// Text in lines of at most `width`, broken where an ARN or a field can be read on, each after `indent`.
fn folded(text: &str, indent: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest: Vec<char> = text.chars().collect();
    let room = width.saturating_sub(indent.len()).max(1);
    while rest.len() > room {
        let after = |marks: &str| rest[..room].iter().rposition(|c| marks.contains(*c)).map(|at| at + 1).filter(|at| *at > room / 4);
        let at = after(" ").or_else(|| after(":/,")).unwrap_or(room);
        let tail = rest.split_off(at);
        lines.push(format!("{indent}{}", rest.iter().collect::<String>().trim_end()));
        rest = tail;
    }
    lines.push(format!("{indent}{}", rest.iter().collect::<String>()));
    lines
}

fn name(row: &PrincipalReport) -> String {
    let principal = row.principal.as_deref().unwrap_or("the operator's role");
    match (row.kind, &row.source_arn, &row.organization) {
        (PrincipalKind::Service, Some(source), _) => format!("{principal} for {source}"),
        (PrincipalKind::Organization, _, Some(organization)) if organization.paths.is_empty() => format!("{principal} of {}", organization.id),
        (PrincipalKind::Organization, _, Some(organization)) => format!("{principal} of {}", organization.paths.join(", ")),
        _ => principal.to_owned(),
    }
}

/// What the marks of this table mean.
fn legend(rows: &[PrincipalReport], account: Option<&str>) -> Option<String> {
    let has = |condition: &str| {
        rows.iter().flat_map(|row| &row.permissions).any(|known| !known.awaits_approval && known.condition.as_deref() == Some(condition))
    };
    let denied = rows.iter().flat_map(|row| &row.permissions).any(|known| !known.denied_by.is_empty());
    let waits = rows.iter().flat_map(|row| &row.permissions).any(|known| known.awaits_approval);
    let policy = rows.iter().any(|row| find(row, Permission::ChangeKeyPolicy).is_some());
    let words = [
        (has("via SQS"), "via SQS: only through SQS, for messages of this queue"),
        (has("source"), "source: only for that source"),
        (has("account"), "account: for any source of the source's account"),
        (has("any source"), "any source: not held to the source"),
        (has("in org"), "in org: only within the organisation"),
        (policy, "policy: may change the key's policy"),
        (waits, "waits: waits for approval, and is not in AWS"),
        (denied, "✗: allowed but denied"),
    ];
    let words = words.into_iter().filter(|(holds, _)| *holds).map(|(_, text)| text.to_owned());
    let account = account.map(|account| format!("role/… is of account {account}"));
    let words: Vec<_> = account.into_iter().chain(words).collect();
    (!words.is_empty()).then(|| paragraph(&format!("({})", words.join("; "))))
}

fn denials(denials: &[DenialReport]) -> String {
    let mut table = table();
    table.set_header(["denied by", "in", "what", "to whom, whatever IAM allows"]);
    for denial in denials {
        let policies: Vec<_> = denial.policies.iter().map(|policy| label(*policy)).collect();
        let actions: Vec<_> = denial.actions.iter().map(|action| action.split_once(':').map_or(action.as_str(), |(_, name)| name)).collect();
        let actions = if actions == ["*"] { "everything".to_owned() } else { actions.join(", ") };
        table.add_row([&denial.sid, &policies.join(", "), &actions, &denial.whom]);
    }
    lines(&table)
}

fn identity_policy(report: &IdentityPolicyReport) -> String {
    format!("IAM policy for {}:\n{}\n", report.role, report.policy.to_pretty_json())
}

fn bullets(notes: &[String]) -> String {
    let mut table = table();
    table.add_rows(notes.iter().map(|note| ["-", note]));
    lines(&table)
}

fn paragraph(text: &str) -> String {
    let mut table = table();
    table.add_row([text]);
    lines(&table)
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    table
}

/// The table as lines without trailing space, and without control characters, which messages from AWS might bring to a terminal.
fn lines(table: &Table) -> String {
    let mut table = table.clone();
    for column in table.column_iter_mut() {
        column.set_padding((0, if column.constraint().is_some() { 1 } else { 2 }));
    }
    let shown = |line: String| line.trim_end().replace(|c: char| c.is_control(), "\u{fffd}") + "\n";
    table.lines().map(shown).collect()
}
