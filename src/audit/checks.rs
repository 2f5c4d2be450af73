//! The checks: what is looked at, how bad it is, why, and what to do. Each is a function of what a scan found.

mod agreement;
mod encryption;
mod key;
mod key_policy;
mod policy;
mod queue_policy;
mod settings;
#[cfg(test)]
mod tests;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::inventory::{KeyFacts, QueueFacts, View};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Hygiene.
    Low,
    /// A protection is missing.
    Medium,
    /// Somebody may do what nobody meant.
    High,
    /// Messages are open, or about to be lost.
    Critical,
}

impl Severity {
    /// From the worst to the mildest.
    pub const ALL: [Self; 5] = [Self::Critical, Self::High, Self::Medium, Self::Low, Self::Info];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
            Self::Info => "info",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A control of somebody else's that a check answers: `Prowler kms_cmk_rotation_enabled`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Control {
    /// Whose.
    pub source: &'static str,
    /// Its id there.
    pub id: &'static str,
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.source, self.id)
    }
}

const fn security_hub(id: &'static str) -> Control {
    Control { source: "Security Hub", id }
}

const fn config(id: &'static str) -> Control {
    Control { source: "AWS Config", id }
}

const fn prowler(id: &'static str) -> Control {
    Control { source: "Prowler", id }
}

const fn checkov(id: &'static str) -> Control {
    Control { source: "Checkov", id }
}

const fn custodian(id: &'static str) -> Control {
    Control { source: "Cloud Custodian", id }
}

const fn cis(id: &'static str) -> Control {
    Control { source: "CIS AWS Foundations", id }
}

const fn pci(id: &'static str) -> Control {
    Control { source: "PCI DSS", id }
}

/// What a check looks at, and how: what it finds wrong, a line each.
#[derive(Clone, Copy, Debug)]
pub enum Subject {
    /// Every queue.
    Queue(fn(&QueueFacts, &View<'_>) -> Vec<String>),
    /// Every customer managed key.
    Key(fn(&KeyFacts, &View<'_>) -> Vec<String>),
}

/// A check.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Its name, which never changes.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in a few words.
    pub title: &'static str,
    /// Why that matters.
    pub why: &'static str,
    /// What to do.
    pub remedy: &'static str,
    /// Whether it needs the declarations of a cluster.
    pub needs_declarations: bool,
    /// Whose controls it answers.
    pub controls: &'static [Control],
    /// What it looks at.
    pub subject: Subject,
}

/// All checks.
pub fn all() -> impl Iterator<Item = &'static Check> {
    let families: [&'static [Check]; 6] =
        [&encryption::CHECKS, &settings::CHECKS, &queue_policy::CHECKS, &agreement::CHECKS, &key::CHECKS, &key_policy::CHECKS];
    families.into_iter().flatten()
}

/// The check of this name.
pub fn by_id(id: &str) -> Option<&'static Check> {
    all().find(|check| check.id == id)
}

/// The checks of keys that ask for the queues under them: of a key that is looked at by itself, they cannot tell.
pub const ASK_FOR_USERS: [&str; 7] =
    ["key-access-not-in-queue-policy", "key-delegates-to-iam", "key-full-access", "key-grants", "key-material-imported", "key-shared", "key-unused"];

/// One line if it is so.
fn when(holds: bool, text: impl FnOnce() -> String) -> Vec<String> {
    if holds { vec![text()] } else { Vec::new() }
}

/// A table of all checks, as `docs/checks.md` has it.
pub fn documentation() -> String {
    use fmt::Write as _;
    let mut page = include_str!("checks/preface.md").to_owned();
    for (subject, heading) in [(true, "Queues"), (false, "Keys")] {
        let _ = write!(page, "\n## {heading}\n\n| check | severity | what | answers |\n|---|---|---|---|\n");
        let of_subject: Vec<_> = all().filter(|check| matches!(check.subject, Subject::Queue(_)) == subject).collect();
        for check in &of_subject {
            let controls: Vec<String> = check.controls.iter().map(|control| format!("{} `{}`", control.source, control.id)).collect();
            let _ = writeln!(page, "| [`{0}`](#{0}) | {1} | {2} | {3} |", check.id, check.severity, check.title, controls.join(", "));
        }
        for check in of_subject {
            let needs = if check.needs_declarations { " It needs the declarations of a cluster, or of manifests." } else { "" };
            let _ = write!(page, "\n### {}\n\n{}\n{}{needs}\n\n**Remedy**: {}\n", check.id, check.title, check.why, check.remedy);
        }
    }
    page
}
