//! The controllers: watches wake objects, a reconcile reads as the flow does, and one process at a time writes.

mod access_approval;
mod apply_key;
mod apply_queue;
mod audit;
mod backoff;
mod cache;
mod claim;
mod config_map;
mod context;
mod drift;
mod drift_events;
mod encrypted_queue;
mod events;
mod figures;
mod fingerprint;
mod index;
mod late_keys;
pub mod leader;
mod pod_identity;
mod principals;
mod queue_key;
mod resolve;
mod run;
mod status;
mod tenant;
mod turns;
mod wake;
mod watch;

pub(crate) use access_approval::usable_of;
pub(crate) use context::account_key;
pub use run::{ControllerSettings, Parts, run};

use std::time::Duration;

use kube::ResourceExt;

use crate::api::Reason;
use crate::api::Tenant;
use crate::api::labels::CHECK_NOW;
use crate::aws::{AwsError, Intent, Kind};
use crate::clock;
use crate::outcome::End;
use crate::plan::Hold;
use crate::telemetry::metrics::ReconcileResult;
use turns::Action;

/// Rounds of planning in one pass: more than any object needs, so that a plan that never ends is seen.
const MOST_ROUNDS: usize = 20;

/// A shorter wait in line is not worth telling.
const SHORT_WAIT: Duration = Duration::from_secs(5);
/// How often the place in line is told anew.
const LOOK_AT_LINE: Duration = Duration::from_mins(1);

/// What may help after a failure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Retry {
    /// Look at AWS again and plan anew.
    Now,
    /// Later.
    Later,
}

/// Why an action could not be applied.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
struct Failure {
    reason: Reason,
    message: String,
    retry: Retry,
    /// The API server failed, not AWS: there is nowhere to write a status to, so the object is simply tried again.
    kubernetes: bool,
    /// Somebody wrote the object since it was read.
    conflict: bool,
    /// How long its turn takes to come, of a call that stands in line.
    wait: Option<Duration>,
}

impl Failure {
    fn missing_tenant(name: &str) -> Self {
        Self {
            reason: Reason::TenantNotFound,
            message: format!("Tenant {name} does not exist; the account is not known without it"),
            retry: Retry::Later,
            kubernetes: false,
            conflict: false,
            wait: None,
        }
    }
}

impl Failure {
    /// The tenant's account cannot be reached; said with the field that may be wrong.
    fn no_account(tenant: &Tenant, error: AwsError) -> Self {
        let way_out = match error.kind {
            Kind::WrongAccount => "; correct accountId or roleArn",
            Kind::CredentialsUnavailable => "; the role must exist and trust the operator's with the external id",
            _ => "",
        };
        let message = format!("Tenant {}, spec.aws: {error}{way_out}", tenant.name_any());
        Self { message, ..error.into() }
    }
}

impl From<Failure> for End {
    fn from(Failure { reason, message, wait, .. }: Failure) -> Self {
        match wait.and_then(|wait| clock::now().checked_add(wait).ok()) {
            Some(until) => End::Held(Hold::until(reason, message, until)),
            None => End::Failed { reason, message },
        }
    }
}

/// How long the turn of a call that stands in line takes to come.
fn wait_in_line(end: &End) -> Option<Duration> {
    let End::Held(Hold { reason: Reason::AwaitingQuota, until: Some(until), .. }) = end else { return None };
    Some(Duration::try_from(until.duration_since(clock::now())).unwrap_or_default())
}

/// Whose turn it is is woken; looked at anyway so that what status says of the place in line is nearly true, and seldom where the line is long.
fn next_in_line(wait: Duration) -> Action {
    Action::requeue(LOOK_AT_LINE.max(wait / 2))
}

impl From<AwsError> for Failure {
    fn from(error: AwsError) -> Self {
        // What may have happened is looked at before anything else is decided.
        let retry = if error.outcome_unknown || error.intent() == Intent::RetryNow { Retry::Now } else { Retry::Later };
        Self { reason: error.reason(), message: error.to_string(), retry, kubernetes: false, conflict: false, wait: error.wait }
    }
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        let conflict = matches!(&error, kube::Error::Api(status) if status.is_conflict());
        // A field that this version writes, and the definition that is installed does not know.
        let older = matches!(&error, kube::Error::Api(status) if status.message.contains("field not declared in schema"));
        let way_out = if older { "; the definitions are older than the operator: helm upgrade, or encrypted-queue crds --apply" } else { "" };
        Self { reason: Reason::Pending, message: format!("{error}{way_out}"), retry: Retry::Later, kubernetes: true, conflict, wait: None }
    }
}

impl From<leader::LeadershipLost> for Failure {
    fn from(lost: leader::LeadershipLost) -> Self {
        Self { reason: Reason::Pending, message: lost.to_string(), retry: Retry::Later, kubernetes: true, conflict: false, wait: None }
    }
}

/// How a reconcile ended, and when the object is looked at again.
type Reconciled = (ReconcileResult, Action);

fn result_of(end: &End) -> ReconcileResult {
    match end {
        End::Complete => ReconcileResult::Complete,
        End::Held(_) => ReconcileResult::Held,
        End::Failed { .. } => ReconcileResult::Failed,
    }
}

fn no_end(rounds: usize) -> End {
    End::Failed { reason: Reason::AwsUnavailable, message: format!("AWS still differs after {rounds} rounds of changes; tried again later") }
}

fn dry_run(changes: &[String]) -> End {
    End::Held(Hold::new(Reason::Paused, format!("the operator runs with --dry-run; not done: {}", changes.join("; "))))
}

/// As much of an annotation as status keeps.
fn cut(value: &str) -> &str {
    let end = value.char_indices().map(|(at, _)| at).nth(1024).unwrap_or(value.len());
    &value[..end]
}

/// The value of the check-now annotation, unless that is the one that status says was served.
fn check_asked<'a>(object: &'a impl ResourceExt, served: Option<&str>) -> Option<&'a String> {
    object.annotations().get(CHECK_NOW).filter(|value| served != Some(cut(value)))
}
