//! The other way round: what one principal can do with which queues.

use super::report::{PrincipalKind, PrincipalQueueReport, PrincipalReport, QueueReport, RefusedQueueReport, RoleReport, SCHEMA_VERSION};
use crate::names::RoleArn;

/// A principal that is asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Asked {
    text: String,
    who: Who,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Who {
    Role(RoleArn),
    /// A role's session: STS leaves out the role's path.
    Session {
        partition: String,
        account: String,
        role: String,
    },
    Root,
    /// A service's source.
    Source,
}

/// Why a text names nobody who could be declared.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{0:?} names nobody who could be declared: expected the ARN of a role (arn:aws:iam::111122223333:role/name), of a role's session \
     (arn:aws:sts::111122223333:assumed-role/name/session), of an account's root, or of the topic, bucket or rule a service acts for"
)]
pub struct UnknownPrincipal(String);

impl std::str::FromStr for Asked {
    type Err = UnknownPrincipal;

    fn from_str(text: &str) -> Result<Self, UnknownPrincipal> {
        let who = if let Ok(role) = RoleArn::parse(text) {
            Who::Role(role)
        } else {
            let parts: Vec<&str> = text.splitn(6, ':').collect();
            match parts.as_slice() {
                ["arn", partition, "sts", "", account, session] => {
                    let role = session.strip_prefix("assumed-role/").and_then(|rest| rest.split_once('/')).map(|(role, _)| role);
                    let role = role.ok_or_else(|| UnknownPrincipal(text.to_owned()))?;
                    Who::Session { partition: (*partition).to_owned(), account: (*account).to_owned(), role: role.to_owned() }
                }
                ["arn", _, "iam", "", _, "root"] => Who::Root,
                ["arn", _, "sns" | "s3" | "events", ..] => Who::Source,
                _ => return Err(UnknownPrincipal(text.to_owned())),
            }
        };
        Ok(Self { text: text.to_owned(), who })
    }
}

impl Asked {
    /// What it can do with these queues.
    pub fn report(&self, queues: &[QueueReport]) -> RoleReport {
        let mut report = RoleReport {
            schema_version: SCHEMA_VERSION,
            principal: self.text.clone(),
            queues_examined: queues.len(),
            queues: Vec::new(),
            refused: Vec::new(),
            notes: Vec::new(),
        };
        for queue in queues {
            let (namespace, name) = (queue.namespace.clone(), queue.name.clone());
            if !queue.violations.is_empty() {
                report.refused.push(RefusedQueueReport { namespace: namespace.clone(), name: name.clone(), violations: queue.violations.clone() });
            }
            let principals: Vec<_> = queue.principals.iter().filter(|row| self.is(row)).cloned().collect();
            if !principals.is_empty() {
                report.queues.push(PrincipalQueueReport {
                    namespace,
                    name,
                    tenant: queue.tenant.clone(),
                    queue_arn: queue.queue_arn.clone(),
                    principals,
                });
            }
        }
        report.notes = self.notes(&report, queues);
        report
    }

    /// Whether a row speaks of it, or of a pattern that fits it.
    fn is(&self, row: &PrincipalReport) -> bool {
        let Some(principal) = row.principal.as_deref() else { return false };
        match &self.who {
            Who::Source => row.source_arn.as_deref() == Some(&self.text),
            Who::Root => row.kind == PrincipalKind::AccountRoot && principal == self.text,
            Who::Role(role) => principal == role.as_str() || (row.kind == PrincipalKind::Organization && is_of_name(principal, role.path_and_name())),
            Who::Session { partition, account, role } => match RoleArn::parse(principal) {
                Ok(known) => known.partition().as_str() == partition && known.account() == account && known.name() == role,
                Err(_) => row.kind == PrincipalKind::Organization && principal.rsplit('/').next() == Some(role),
            },
        }
    }

    fn notes(&self, report: &RoleReport, queues: &[QueueReport]) -> Vec<String> {
        let mut notes = Vec::new();
        if let Who::Session { account, role, .. } = &self.who {
            notes.push(format!("A session does not tell its role's path: every declared role named {role} of account {account} is meant."));
        }
        let rows = || report.queues.iter().flat_map(|queue| &queue.principals);
        if rows().any(|row| row.kind == PrincipalKind::Organization) {
            notes.push("What an organisation's roles can do holds only if this role's account is a member, or within the paths.".to_owned());
        }
        if rows().any(|row| row.permissions.iter().any(|permission| !permission.denied_by.is_empty())) {
            notes.push("A cross: allowed by one statement, denied by another; the tenant is suspended.".to_owned());
        }
        let hidden = |row: &PrincipalReport| row.kind == PrincipalKind::Operator && row.principal.is_none();
        if queues.iter().any(|queue| queue.principals.iter().any(hidden)) {
            notes.push(
                "The operator's own role is not known here (--operator-role-arn tells it); if this is the role, it administers the keys.".to_owned(),
            );
        }
        let unstated: Vec<_> =
            queues.iter().filter(|queue| leaves_others_unstated(queue)).map(|queue| format!("{}/{}", queue.namespace, queue.name)).collect();
        if !unstated.is_empty() {
            notes.push(format!("IAM policies may add access to {}: their tier leaves others Unstated.", unstated.join(", ")));
        }
        notes
    }
}

/// Whether IAM may add senders or receivers: no Deny for others stands in the queue's policy.
fn leaves_others_unstated(queue: &QueueReport) -> bool {
    queue.policies.is_some() && !queue.denials.iter().any(|denial| denial.sid == "DenyOthersReceive")
}

fn is_of_name(pattern: &str, role: &str) -> bool {
    pattern.split_once(":role/").is_some_and(|(_, name)| name == role)
}
