//! The answer for people.

use super::report::{ApprovalReport, ObjectReport, PlanReport, System};

/// The answer as text.
pub fn plan_text(report: &PlanReport) -> String {
    let mut lines = Vec::new();
    for object in &report.objects {
        lines.extend(section(object));
        lines.push(String::new());
    }
    lines.push(summary(report));
    lines.extend(report.notes.iter().map(|note| format!("Note: {note}.")));
    lines.iter().map(|line| one_line(line) + "\n").collect()
}

/// Without control characters, and those that turn the direction of writing, which names, tags and policies might bring to a terminal.
pub(crate) fn one_line(text: &str) -> String {
    text.replace(|character: char| character.is_control() || turns_writing(character), "\u{fffd}")
}

/// Whether a character turns the direction of the text after it: what stands there is not what is seen.
pub(crate) fn turns_writing(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn section(object: &ObjectReport) -> Vec<String> {
    let name = object.namespace.as_ref().map_or_else(|| object.name.clone(), |namespace| format!("{namespace}/{}", object.name));
    let place = match (&object.account, &object.region) {
        (Some(account), Some(region)) => format!(", account {account}, {region}"),
        _ => String::new(),
    };
    let mut lines = vec![format!("{} {name} (tenant {}, tier {}{place})", object.kind, object.tenant, object.sensitivity_tier)];
    let refused =
        |violation: &crate::explain::ViolationReport| format!("  refused, {}: {}: {}", violation.reason, violation.field, violation.message);
    lines.extend(object.violations.iter().map(refused));
    lines.extend(object.actions.iter().map(|action| {
        let system = if action.system == System::Kubernetes { " (in the cluster)" } else { "" };
        let after = if action.after_approval { ", once approved" } else { "" };
        format!("  {:>3}. {}{system}{after}", action.number, action.text)
    }));
    for (heading, sign, changes) in [("gains", '+', &object.gains), ("loses", '-', &object.losses)] {
        lines.extend((!changes.is_empty()).then(|| format!("  {heading}")));
        lines.extend(changes.iter().map(|change| format!("    {sign} {change}")));
    }
    lines.extend(object.approval.iter().flat_map(approval));
    // That an approval is waited for is said already.
    let waits = object.waits.as_ref().filter(|waits| object.approval.is_none() || waits.stalled);
    lines.extend(waits.map(|waits| format!("  {}, {}: {}", if waits.stalled { "stalled" } else { "waits" }, waits.reason, waits.message)));
    lines
}

fn approval(approval: &ApprovalReport) -> Vec<String> {
    let ApprovalReport { queue_key, grants_sha256, approved_by, gains: _, losses: _ } = approval;
    match approved_by {
        Some(by) => vec![format!("  approved by {by}, grantsSha256 {grants_sha256}")],
        None => vec![
            format!("  needs an approval: AccessApproval with queueKey {queue_key},"),
            format!("    grantsSha256 {grants_sha256}; or, once it waits, encrypted-queue approve {queue_key}"),
        ],
    }
}

pub(super) fn summary(report: &PlanReport) -> String {
    let summary = report.summary;
    let mut parts = Vec::new();
    if summary.to_make + summary.to_change + summary.to_remove > 0 {
        parts.push(format!("{} to make, {} to change, {} to remove in AWS", summary.to_make, summary.to_change, summary.to_remove));
    }
    let in_cluster = report.objects.iter().flat_map(|object| &object.actions).filter(|action| action.system == System::Kubernetes).count();
    if in_cluster > 0 {
        parts.push(format!("{in_cluster} in the cluster"));
    }
    for (count, said) in [(summary.awaiting_approval, "waiting for an approval"), (summary.refused, "refused"), (summary.stalled, "stalled")] {
        if count > 0 {
            parts.push(format!("{count} of {} EncryptedQueues {said}", summary.queues));
        }
    }
    if parts.is_empty() {
        let queues = if summary.queues == 1 { "1 EncryptedQueue".to_owned() } else { format!("{} EncryptedQueues", summary.queues) };
        return format!("No changes: {queues} looked at.");
    }
    format!("Plan: {}.", parts.join("; "))
}
