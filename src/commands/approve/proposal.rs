//! What would be approved: read from the QueueKey, told to a person, made an AccessApproval.

use std::fmt::Write;

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::{Api, ListParams, PostParams};
use kube::{Client, ResourceExt};

use super::Error;
use crate::api::conditions::types;
use crate::api::queue_key::{NamespacedName, PendingGrants, QueueKeyStatus};
use crate::api::{AccessApproval, AccessApprovalSpec, QueueKey};

const READER: &str = "encrypted-queue-viewer";
const APPROVER: &str = "encrypted-queue-approver";
/// Longest part of the QueueKey's name in an approval's, so that the hash and a number follow within what a name may be.
const LONGEST_KEY_PART: usize = 200;
/// Approvals of one hash: the next is made only when the ones before lapsed.
const MOST_APPROVALS: u32 = 20;

/// What is to be approved.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// Name of the QueueKey.
    pub key: String,
    /// The queue whose access is meant; none: the only one that waits.
    pub queue: Option<NamespacedName>,
    /// Why.
    pub reason: String,
    /// Who approves; none: whoever the client is.
    pub approved_by: Option<String>,
}

/// What would be approved, and the approval.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// The approval as it would be made.
    pub approval: AccessApproval,
    /// What waits.
    pub pending: PendingGrants,
    /// ARN of the KMS key, once there is one.
    pub key_arn: Option<String>,
}

/// Reads what waits on a key and puts an approval of it together. Nothing is written.
pub async fn propose(client: &Client, request: &Request) -> Result<Proposal, Error> {
    let keys = Api::<QueueKey>::all(client.clone());
    let what = || "read QueueKeys".to_owned();
    let Some(key) = answered(keys.get_opt(&request.key).await, READER, what)? else {
        return match keys.list(&ListParams::default().limit(1)).await {
            // The same answer as for a kind that is not there.
            Err(kube::Error::Api(status)) if status.is_not_found() => Err(Error::NotInstalled),
            _ => Err(Error::NoKey(request.key.clone())),
        };
    };
    let status = key.status.unwrap_or_default();
    let pending = chosen(request, &status)?.clone();
    let approved_by = match &request.approved_by {
        Some(name) => name.clone(),
        None => requester(client).await?,
    };
    let spec = AccessApprovalSpec {
        queue_key: request.key.clone(),
        queue: Some(pending.object()),
        grants_sha256: pending.sha256.clone(),
        reason: request.reason.clone(),
        approved_by,
    };
    let name = free_name(client, &spec, &pending).await?;
    Ok(Proposal { approval: AccessApproval::new(&name, spec), pending, key_arn: status.arn })
}

/// Makes the approval.
pub async fn create(client: &Client, proposal: &Proposal) -> Result<AccessApproval, Error> {
    let api = Api::<AccessApproval>::all(client.clone());
    match api.create(&PostParams::default(), &proposal.approval).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            Err(Error::AlreadyApproved { name: proposal.approval.name_any(), by: "somebody else".into(), state: "a moment ago".into() })
        }
        made => answered(made, APPROVER, || "make AccessApprovals".to_owned()),
    }
}

fn chosen<'a>(request: &Request, status: &'a QueueKeyStatus) -> Result<&'a PendingGrants, Error> {
    let (key, waiting) = (request.key.clone(), || status.pending_grants.iter().map(|pending| pending.object().to_string()).collect());
    match (&status.pending_grants[..], &request.queue) {
        ([], _) => Err(Error::NothingWaits { key, state: state(status) }),
        ([only], None) => Ok(only),
        (_, None) => Err(Error::SeveralWait { key, waiting: waiting() }),
        (all, Some(queue)) => {
            let named = all.iter().find(|pending| pending.object() == *queue);
            named.ok_or_else(|| Error::QueueDoesNotWait { key, queue: queue.clone(), waiting: waiting() })
        }
    }
}

/// How a key stands on which nothing waits.
fn state(status: &QueueKeyStatus) -> String {
    let condition = |type_: &str| status.conditions.iter().find(|condition| condition.type_ == type_);
    let said = [types::ACCESS_APPROVED, types::READY].into_iter().filter_map(condition);
    let mut said: Vec<String> =
        said.map(|condition| format!("{}={}, {} ({})", condition.type_, condition.status, condition.reason, condition.message)).collect();
    if let Some(approval) = &status.approval {
        said.push(format!("last approved by {} with AccessApproval {}, applied at {}", approval.approved_by, approval.name, approval.applied_at.0));
    }
    if said.is_empty() { "the operator has not looked at it yet".to_owned() } else { printable(&said.join("; ")) }
}

async fn requester(client: &Client) -> Result<String, Error> {
    let review = Api::<SelfSubjectReview>::all(client.clone()).create(&PostParams::default(), &SelfSubjectReview::default()).await;
    let review = review.map_err(|error| Error::Requester(error.to_string()))?;
    let name = review.status.and_then(|status| status.user_info?.username).filter(|name| !name.is_empty());
    name.ok_or_else(|| Error::Requester("its SelfSubjectReview names nobody".to_owned()))
}

/// A name that tells twice from once: the same access of the same key has the same name, until an approval of it lapsed.
async fn free_name(client: &Client, spec: &AccessApprovalSpec, pending: &PendingGrants) -> Result<String, Error> {
    let api = Api::<AccessApproval>::all(client.clone());
    let stem = stem(spec);
    for number in 1..=MOST_APPROVALS {
        let name = if number == 1 { stem.clone() } else { format!("{stem}-{number}") };
        match answered(api.get_opt(&name).await, APPROVER, || "read AccessApprovals".to_owned())? {
            None => return Ok(name),
            Some(there) if holds(&there, spec, pending) => return Err(already(&there)),
            Some(_) => {}
        }
    }
    Err(Error::AlreadyApproved { name: stem, by: "others".into(), state: format!("{MOST_APPROVALS} times, to no effect") })
}

fn stem(spec: &AccessApprovalSpec) -> String {
    let key: String = spec.queue_key.chars().take(LONGEST_KEY_PART).collect();
    let hash: String = spec.grants_sha256.chars().take(10).collect();
    format!("{}-{hash}", key.trim_end_matches(['-', '.']))
}

/// Whether an approval still serves, or served, what waits now.
fn holds(there: &AccessApproval, wanted: &AccessApprovalSpec, pending: &PendingGrants) -> bool {
    let same = there.spec.grants_sha256 == wanted.grants_sha256 && there.spec.queue_key == wanted.queue_key;
    let fits = there.spec.queue.as_ref().is_none_or(|queue| Some(queue) == wanted.queue.as_ref());
    let status = there.status.clone().unwrap_or_default();
    let spent = status.lapsed_at.is_some() || status.applied_at.is_some_and(|at| at.0 < pending.requested_at.0);
    same && fits && !spent
}

fn already(there: &AccessApproval) -> Error {
    let applied = there.status.as_ref().and_then(|status| status.applied_at.as_ref());
    let state = match applied {
        Some(at) => format!("applied at {}", at.0),
        None => "which the operator has not applied yet".to_owned(),
    };
    Error::AlreadyApproved { name: there.name_any(), by: there.spec.approved_by.clone(), state }
}

/// What was read or made, or an error that says what could not be.
fn answered<T>(result: Result<T, kube::Error>, role: &'static str, what: impl FnOnce() -> String) -> Result<T, Error> {
    result.map_err(|error| match error {
        kube::Error::Api(status) => match denial(&status.message) {
            Some(message) => Error::Denied(message.to_owned()),
            None if status.is_forbidden() => Error::Forbidden { what: what(), role, message: status.message },
            None => Error::Cluster { what: what(), source: Box::new(kube::Error::Api(status)) },
        },
        error => Error::Cluster { what: what(), source: Box::new(error) },
    })
}

/// What an admission policy or webhook says after the API server's own words.
fn denial(message: &str) -> Option<&str> {
    ["denied request: ", "denied the request: "].into_iter().find_map(|words| Some(message.split_once(words)?.1))
}

impl Proposal {
    /// The change of access in words.
    pub fn text(&self, now: Timestamp) -> String {
        let Self { approval, pending, key_arn } = self;
        let (key, since) = (&approval.spec.queue_key, pending.requested_at.0);
        let arn = key_arn.as_deref().unwrap_or("the KMS key is made once this is approved");
        let mut text = format!("EncryptedQueue {}\nQueueKey       {key}\nKMS key        {arn}\n", pending.object());
        let _ = writeln!(text, "waits since    {since} ({})\nhash           {}", ago(since, now), pending.sha256);
        for (title, sign, lines) in [("would gain", '+', &pending.gains), ("loses, approved or not", '-', &pending.losses)] {
            if !lines.is_empty() {
                let _ = writeln!(text, "{title}:");
            }
            for line in lines {
                let _ = writeln!(text, "  {sign} {}", printable(line));
            }
        }
        text
    }
}

fn ago(since: Timestamp, now: Timestamp) -> String {
    match now.duration_since(since).as_mins() {
        ..1 => "just now".to_owned(),
        minutes @ 1..120 => format!("{minutes} min"),
        minutes @ 120..2880 => format!("{} h", minutes / 60),
        minutes => format!("{} days", minutes / 1440),
    }
}

/// Nothing that was declared can move a terminal's cursor over what it grants.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;

    use super::*;

    fn pending(name: &str) -> PendingGrants {
        let gains = vec!["arn:aws:iam::123456789012:role/worker may receive".to_owned(), "a\u{1b}[2Kb".to_owned()];
        let requested_at = Time("2026-11-23T10:00:00Z".parse().unwrap());
        PendingGrants { namespace: "acme".into(), name: name.into(), sha256: "ab".repeat(32), requested_at, gains, losses: vec!["x may send".into()] }
    }

    fn request(queue: Option<&str>) -> Request {
        let queue = queue.map(|name| NamespacedName { namespace: "acme".into(), name: name.into() });
        Request { key: "key-1".into(), queue, reason: "r".into(), approved_by: None }
    }

    fn spec() -> AccessApprovalSpec {
        let pending = pending("orders");
        AccessApprovalSpec {
            queue_key: "key-1".into(),
            queue: Some(pending.object()),
            grants_sha256: pending.sha256,
            reason: "r".into(),
            approved_by: "maria".into(),
        }
    }

    #[test]
    fn the_queue_is_named_when_several_wait() {
        let mut status = QueueKeyStatus { pending_grants: vec![pending("orders")], ..QueueKeyStatus::default() };
        assert_eq!(chosen(&request(None), &status).unwrap().name, "orders");
        assert!(matches!(chosen(&request(Some("mail")), &status), Err(Error::QueueDoesNotWait { waiting, .. }) if waiting == ["acme/orders"]));
        status.pending_grants.push(pending("mail"));
        assert!(matches!(chosen(&request(None), &status), Err(Error::SeveralWait { waiting, .. }) if waiting.len() == 2));
        assert_eq!(chosen(&request(Some("mail")), &status).unwrap().name, "mail");
        let nothing = chosen(&request(None), &QueueKeyStatus::default()).unwrap_err().to_string();
        assert_eq!(nothing, "no access waits for an approval on QueueKey key-1: the operator has not looked at it yet");
    }

    #[test]
    fn the_difference_is_told_and_cannot_hide_itself() {
        let proposal = Proposal { approval: AccessApproval::new("n", spec()), pending: pending("orders"), key_arn: None };
        let text = proposal.text("2026-11-23T13:30:00Z".parse().unwrap());
        for part in ["acme/orders", "key-1", "(3 h)", "+ arn:aws:iam::123456789012:role/worker may receive\n", "- x may send"] {
            assert!(text.contains(part), "{part}:\n{text}");
        }
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn names_tell_what_is_approved() {
        assert_eq!(stem(&spec()), "key-1-ababababab");
        let long = AccessApprovalSpec { queue_key: format!("{}-{}", "a".repeat(199), "b".repeat(40)), ..spec() };
        assert_eq!(stem(&long), format!("{}-ababababab", "a".repeat(199)));
    }

    #[test]
    fn only_an_approval_that_serves_stands_in_the_way() {
        let there =
            |status: serde_json::Value| AccessApproval { status: serde_json::from_value(status).unwrap(), ..AccessApproval::new("n", spec()) };
        let pending = pending("orders");
        assert!(holds(&there(json!(null)), &spec(), &pending));
        assert!(holds(&there(json!({"appliedAt": "2026-11-23T11:00:00Z"})), &spec(), &pending));
        assert!(!holds(&there(json!({"appliedAt": "2026-11-23T09:00:00Z"})), &spec(), &pending));
        assert!(!holds(&there(json!({"lapsedAt": "2026-11-23T11:00:00Z"})), &spec(), &pending));
        let other = AccessApprovalSpec { grants_sha256: "cd".repeat(32), ..spec() };
        assert!(!holds(&there(json!(null)), &other, &pending));
    }

    #[test]
    fn an_admission_policy_is_quoted() {
        let message = "accessapprovals.encryptedqueue.dev \"n\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: because";
        assert_eq!(denial(message), Some("because"));
        assert_eq!(denial("accessapprovals is forbidden: User \"x\" cannot create"), None);
    }
}
