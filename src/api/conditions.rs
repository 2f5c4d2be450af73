//! Condition types and how conditions are put together: transition times are kept, and nothing changes unless something did.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::reasons::{Class, Reason};

/// Types of conditions.
pub mod types {
    /// Summary: everything declared is so in AWS.
    pub const READY: &str = "Ready";
    /// The declaration satisfies tenant and tier.
    pub const ACCEPTED: &str = "Accepted";
    /// The key exists, is enabled and grants what is declared.
    pub const KEY_READY: &str = "KeyReady";
    /// The queue exists with the declared settings.
    pub const QUEUE_READY: &str = "QueueReady";
    /// The policies hold exactly the declared access.
    pub const ACCESS_IN_SYNC: &str = "AccessInSync";
    /// The tenant's estimated cost is within its budget.
    pub const WITHIN_BUDGET: &str = "WithinBudget";
    /// kstatus: work is under way.
    pub const RECONCILING: &str = "Reconciling";
    /// kstatus: someone must act.
    pub const STALLED: &str = "Stalled";
    /// QueueKey: the key policy is the declared one.
    pub const POLICY_IN_SYNC: &str = "PolicyInSync";
    /// QueueKey: no access waits for an approval.
    pub const ACCESS_APPROVED: &str = "AccessApproved";
    /// QueueKey: rotation is as declared.
    pub const ROTATION_IN_SYNC: &str = "RotationInSync";
    /// AccessApproval: it was applied.
    pub const APPLIED: &str = "Applied";
}

/// What is true of one condition now; [`merge`] gives it its transition time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// Condition type, one of [`types`].
    pub type_: &'static str,
    /// True, False, or (None) Unknown.
    pub status: Option<bool>,
    /// Why.
    pub reason: Reason,
    /// For people: the field or the call, and the way out.
    pub message: String,
}

impl Finding {
    /// A finding whose status follows from the reason's class: Fine is True, the rest False.
    pub fn of(type_: &'static str, reason: Reason, message: impl Into<String>) -> Self {
        Self { type_, status: Some(reason.class() == Class::Fine), reason, message: message.into() }
    }

    /// A finding that cannot be told yet.
    pub fn unknown(type_: &'static str, reason: Reason, message: impl Into<String>) -> Self {
        Self { type_, status: None, reason, message: message.into() }
    }
}

/// `Ready`, `Reconciling` and `Stalled` from the findings that lead to them: the first Stalled one decides, else the first Progressing one that is known,
/// else the first of which nothing is known yet.
///
/// kstatus asks that `Reconciling` and `Stalled` are only there when True; they are left out otherwise.
pub fn summarise(findings: &[Finding], ready_message: &str) -> Vec<Finding> {
    let of = |class: Class| findings.iter().filter(move |finding| finding.reason.class() == class);
    let progressing = || of(Class::Progressing).find(|finding| finding.status.is_some()).or_else(|| of(Class::Progressing).next());
    let Some(worst) = of(Class::Stalled).next().or_else(progressing) else {
        return vec![Finding::of(types::READY, Reason::InSync, ready_message)];
    };
    let kstatus = if worst.reason.class() == Class::Stalled { types::STALLED } else { types::RECONCILING };
    vec![
        Finding { type_: types::READY, status: Some(false), reason: worst.reason, message: worst.message.clone() },
        Finding { type_: kstatus, status: Some(true), reason: worst.reason, message: worst.message.clone() },
    ]
}

/// Conditions for the status: `lastTransitionTime` moves only when the condition's status does.
pub fn merge(previous: &[Condition], findings: &[Finding], generation: Option<i64>, now: Timestamp) -> Vec<Condition> {
    findings
        .iter()
        .map(|finding| {
            let status = match finding.status {
                Some(true) => "True",
                Some(false) => "False",
                None => "Unknown",
            };
            let last_transition_time =
                previous.iter().find(|c| c.type_ == finding.type_ && c.status == status).map_or(Time(now), |c| c.last_transition_time.clone());
            Condition {
                type_: finding.type_.to_owned(),
                status: status.to_owned(),
                reason: finding.reason.as_str().to_owned(),
                message: finding.message.clone(),
                observed_generation: generation,
                last_transition_time,
            }
        })
        .collect()
}

/// Whether the condition of this type is True.
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    conditions.iter().any(|c| c.type_ == type_ && c.status == "True")
}
