//! The answer as a comment on a pull request.

use std::fmt::Write as _;

use super::report::{ApprovalReport, ObjectReport, PlanReport, System};
use super::text::{one_line, summary};

/// First line of each comment: by it the last run's is found, and replaced.
const MARK: &str = "<!-- encrypted-queue plan -->";
/// GitHub takes comments of 65,536 characters; a workflow may add a line of its own.
const MOST: usize = 60_000;

/// The answer as Markdown. Nothing of a manifest is taken for markup, a mention or a link: all of it stands in code.
pub fn plan_markdown(report: &PlanReport) -> String {
    let mut text = format!("{MARK}\n### Plan of encrypted queues\n\n**{}**\n", summary(report));
    let (mut left_out, mut access, mut details) = (0, String::new(), String::new());
    for object in &report.objects {
        let (of_access, of_details) = (access_of(object), details_of(object));
        if text.len() + access.len() + details.len() + of_access.len() + of_details.len() > MOST {
            left_out += 1;
            continue;
        }
        access.push_str(&of_access);
        details.push_str(&of_details);
    }
    text.push_str(&access);
    if !details.is_empty() {
        let _ = write!(text, "\n<details><summary>What would be done, in order</summary>\n{details}\n</details>\n");
    }
    if left_out > 0 {
        let _ = write!(text, "\n{left_out} more objects have no room here: see the plan's own output.\n");
    }
    for note in &report.notes {
        let _ = write!(text, "\nNote: {}\n", code(note));
    }
    text
}

/// What a reviewer must see: refusals, who gains and loses, what waits.
fn access_of(object: &ObjectReport) -> String {
    let mut lines = Vec::new();
    for violation in &object.violations {
        lines.push(format!("- **refused** ({}): {}: {}", violation.reason, code(&violation.field), code(&violation.message)));
    }
    lines.extend(object.gains.iter().map(|gain| format!("- **gains** {}", code(gain))));
    lines.extend(object.losses.iter().map(|loss| format!("- **loses** {}", code(loss))));
    lines.extend(object.approval.iter().map(approval));
    let waits = object.waits.as_ref().filter(|waits| object.approval.is_none() || waits.stalled);
    lines.extend(waits.map(|waits| {
        let how = if waits.stalled { "**stalled**" } else { "waits" };
        format!("- {how} ({}): {}", waits.reason, code(&waits.message))
    }));
    if lines.is_empty() { String::new() } else { format!("\n{}\n\n{}\n", heading(object), lines.join("\n")) }
}

fn approval(approval: &ApprovalReport) -> String {
    let (key, hash) = (code(&approval.queue_key), code(&approval.grants_sha256));
    match &approval.approved_by {
        Some(by) => format!("- approved by {}, grantsSha256 {hash}", code(by)),
        None => format!("- **needs an approval**: AccessApproval with queueKey {key}, grantsSha256 {hash}"),
    }
}

fn details_of(object: &ObjectReport) -> String {
    if object.actions.is_empty() {
        return String::new();
    }
    let mut text = format!("\n{}\n\n", heading(object));
    for action in &object.actions {
        let system = if action.system == System::Kubernetes { " (in the cluster)" } else { "" };
        let after = if action.after_approval { ", once approved" } else { "" };
        let _ = writeln!(text, "{}. {}{system}{after}", action.number, code(&action.text));
    }
    text
}

fn heading(object: &ObjectReport) -> String {
    let name = object.namespace.as_ref().map_or_else(|| object.name.clone(), |namespace| format!("{namespace}/{}", object.name));
    let place = match (&object.account, &object.region) {
        (Some(account), Some(region)) => format!(", account {}, {}", code(account), code(region)),
        _ => String::new(),
    };
    format!("**{}** {} (tenant {}, tier {}{place})", object.kind, code(&name), code(&object.tenant), code(&object.sensitivity_tier))
}

/// A span of code that nothing in the text ends.
fn code(text: &str) -> String {
    let text = one_line(text);
    let longest = text.split(|character| character != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest + 1);
    let pad = if text.is_empty() || text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::preview::{SCHEMA_VERSION, Summary};

    fn report(objects: Vec<ObjectReport>) -> PlanReport {
        PlanReport {
            schema_version: SCHEMA_VERSION,
            offline: false,
            summary: Summary { queues: 1, ..Summary::default() },
            objects,
            notes: Vec::new(),
        }
    }

    fn of(name: &str, gains: usize) -> ObjectReport {
        let gains = (0..gains).map(|number| format!("arn:aws:iam::123456789012:role/role-{number} may send")).collect();
        ObjectReport { kind: "EncryptedQueue", name: name.to_owned(), gains, ..ObjectReport::default() }
    }

    #[test]
    fn nothing_of_a_manifest_is_markup() {
        assert_eq!(code("arn:aws:iam::1:role/a"), "`arn:aws:iam::1:role/a`");
        assert_eq!(code("a` @security **b** ``"), "``` a` @security **b** `` ```");
        assert_eq!(code("a\n\n# heading"), "`a\u{fffd}\u{fffd}# heading`");
        assert_eq!(code(""), "`  `");
        let text = plan_markdown(&report(vec![of("x` <img src=y> @all", 1)]));
        assert!(text.contains("**EncryptedQueue** ``x` <img src=y> @all`` (tenant"), "{text}");
    }

    #[test]
    fn a_long_plan_fits_a_comment_and_says_what_is_missing() {
        let text = plan_markdown(&report((0..200).map(|number| of(&format!("queue-{number}"), 20)).collect()));
        assert!(text.len() < 65_000 && text.contains("`queue-0`"), "{}", text.len());
        let left_out: usize =
            text.lines().find_map(|line| line.strip_suffix(" more objects have no room here: see the plan's own output.")).unwrap().parse().unwrap();
        assert_eq!(text.matches("**EncryptedQueue**").count() + left_out, 200);
    }

    #[test]
    fn no_change_is_one_line() {
        assert_eq!(
            plan_markdown(&report(Vec::new())),
            format!("{MARK}\n### Plan of encrypted queues\n\n**No changes: 1 EncryptedQueue looked at.**\n")
        );
    }
}
