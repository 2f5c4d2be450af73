//! A queue policy, whoever wrote it, → grants, and what no grant can say.

use std::collections::{BTreeMap, BTreeSet};

use super::conditions::{Conditions, like};
use super::{Remark, RemarkKind};
use crate::api::encrypted_queue::ServicePrincipal;
use crate::names::{Place, QueueArn, RoleArn};
use crate::policy::access::{Capability, Grant, OrganizationRoles, Principal, ServiceSource};
use crate::policy::document::{Document, Effect, Principals, Statement};
use crate::policy::queue_policy::QueueKind;

const SEND: &str = "sqs:SendMessage";
const RECEIVE: &str = "sqs:ReceiveMessage";
const MOVE: &str = "sqs:StartMessageMoveTask";
const CONSUME: [&str; 3] = [RECEIVE, "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"];
const OBSERVE: [&str; 3] = ["sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ListDeadLetterSourceQueues"];
/// What no declaration gives to anybody.
const NEVER: [&str; 8] = [
    "sqs:PurgeQueue",
    "sqs:SetQueueAttributes",
    "sqs:DeleteQueue",
    "sqs:AddPermission",
    "sqs:RemovePermission",
    "sqs:TagQueue",
    "sqs:UntagQueue",
    "sqs:CreateQueue",
];

/// What was made of a policy.
#[derive(Clone, Debug, Default)]
pub(super) struct Read {
    pub(super) grants: BTreeSet<Grant>,
    pub(super) remarks: Vec<Remark>,
    /// Buckets whose account no condition tells.
    pub(super) guessed_accounts: BTreeSet<String>,
}

/// What of a queue's policy, or of its dead-letter queue's, can be declared.
pub(super) fn read(document: &Document, kind: QueueKind, queue: &QueueArn, place: &Place) -> Read {
    let mut reader = Reader { kind, place, read: Read::default() };
    let covers = |statement: &&Statement| statement.resources.iter().any(|pattern| like(pattern, queue.as_str()));
    for (index, statement) in document.statements.iter().enumerate() {
        let name =
            statement.sid.clone().filter(|sid| !sid.is_empty()).map_or_else(|| format!("statement {}", index + 1), |sid| format!("statement {sid}"));
        let unknown = statement.other.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        match statement.effect {
            _ if !unknown.is_empty() => reader.lost(&name, &format!("says {unknown}, which no declaration can")),
            Effect::Allow if covers(&statement) => reader.allow(&name, statement),
            Effect::Allow => reader.note(&name, "is of another queue and allows nothing here"),
            Effect::Deny => {}
        }
    }
    for (index, statement) in document.statements.iter().enumerate().filter(|(_, s)| s.effect == Effect::Deny && s.other.is_empty()) {
        let name = statement.sid.clone().unwrap_or_else(|| format!("statement {}", index + 1));
        reader.deny(&name, statement);
    }
    reader.read
}

struct Reader<'a> {
    kind: QueueKind,
    place: &'a Place,
    read: Read,
}

/// What of a statement's actions matters here.
struct Actions {
    capabilities: Vec<Capability>,
    never: Vec<&'static str>,
    partly: bool,
}

impl Reader<'_> {
    fn remark(&mut self, kind: RemarkKind, name: &str, text: &str) {
        let of = match self.kind {
            QueueKind::Source => "the queue's policy",
            QueueKind::DeadLetter => "the dead-letter queue's policy",
        };
        let remark = Remark::new(kind, "spec", format!("{of}, {name}: {text}"));
        if !self.read.remarks.contains(&remark) {
            self.read.remarks.push(remark);
        }
    }

    fn lost(&mut self, name: &str, text: &str) {
        self.remark(RemarkKind::Lost, name, text);
    }

    fn note(&mut self, name: &str, text: &str) {
        self.remark(RemarkKind::Note, name, text);
    }

    fn actions(&self, statement: &Statement) -> Actions {
        let allows = |action: &str| {
            let action = action.to_ascii_lowercase();
            statement.actions.iter().any(|pattern| like(&pattern.to_ascii_lowercase(), &action))
        };
        let consumed = CONSUME.iter().filter(|action| allows(action)).count();
        let (mut capabilities, mut moves) = (Vec::new(), false);
        let mut never: Vec<&'static str> = NEVER.into_iter().filter(|action| allows(action)).collect();
        match self.kind {
            QueueKind::Source => {
                capabilities.extend(allows(SEND).then_some(Capability::Send));
                capabilities.extend((consumed > 0).then_some(Capability::Receive));
                never.extend(allows(MOVE).then_some(MOVE));
            }
            QueueKind::DeadLetter => {
                never.extend(allows(SEND).then_some(SEND));
                // Moving messages back takes receiving and deleting; only a consumer changes their visibility.
                moves = allows(MOVE) && !allows("sqs:ChangeMessageVisibility");
                capabilities.extend((consumed > 0 && !moves).then_some(Capability::ReceiveDeadLetters));
                capabilities.extend(allows(MOVE).then_some(Capability::Redrive));
            }
        }
        capabilities.extend((capabilities.is_empty() && OBSERVE.iter().any(|action| allows(action))).then_some(Capability::Observe));
        Actions { capabilities, never, partly: !moves && (1..CONSUME.len()).contains(&consumed) }
    }

    fn allow(&mut self, name: &str, statement: &Statement) {
        let (actions, conditions) = (self.actions(statement), Conditions::of(statement));
        let (named, unnamed) = self.who(statement, &conditions);
        if actions.capabilities.is_empty() && actions.never.is_empty() {
            return self.note(name, "allows nothing that SQS knows");
        }
        for text in unnamed {
            self.lost(name, &format!("{text} ({})", said(&actions)));
        }
        if !named.is_empty() && !actions.never.is_empty() {
            let who = named.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            self.lost(name, &format!("{who} may {}, which no declaration gives to anybody", actions.never.join(", ")));
        }
        if !named.is_empty() && !conditions.others.is_empty() {
            let text = format!("is not bound to its condition any more: {}", conditions.others.join("; "));
            self.remark(RemarkKind::Wider, name, &text);
        }
        if !named.is_empty() && actions.partly {
            self.remark(RemarkKind::Wider, name, "who may do a part of receiving, deleting and changing visibility may do all of it as a consumer");
        }
        for principal in named {
            for capability in &actions.capabilities {
                self.grant(name, &principal, *capability);
            }
        }
    }

    fn grant(&mut self, name: &str, principal: &Principal, capability: Capability) {
        let grant = Grant { principal: principal.clone(), capability };
        match principal {
            Principal::Role(role) if capability == Capability::Redrive && role.account() != self.place.account => {
                self.lost(name, &format!("{role} of another account may move messages back, which works within the account only"));
                self.read.grants.insert(Grant { capability: Capability::ReceiveDeadLetters, ..grant });
            }
            Principal::Role(_) => drop(self.read.grants.insert(grant)),
            Principal::Service(_) | Principal::Organization(_) if capability == Capability::Send => drop(self.read.grants.insert(grant)),
            Principal::Service(_) | Principal::Organization(_) if capability == Capability::Observe => {}
            Principal::Service(_) | Principal::Organization(_) => {
                self.lost(name, &format!("{principal} may {capability}, and only roles can be consumers; declare each role"));
            }
        }
    }

    /// Principals that can be declared, and in words those that cannot.
    fn who(&mut self, statement: &Statement, conditions: &Conditions) -> (BTreeSet<Principal>, Vec<String>) {
        let (mut named, mut unnamed) = (BTreeSet::new(), Vec::new());
        match &statement.principals {
            Principals::Absent => unnamed.push("names nobody".to_owned()),
            Principals::Anyone => self.everyone(conditions, &mut named, &mut unnamed),
            Principals::Named(kinds) => {
                for (kind, names) in kinds {
                    for name in names {
                        match kind.as_str() {
                            "AWS" if name == "*" => self.everyone(conditions, &mut named, &mut unnamed),
                            "AWS" => self.arn(name, conditions, &mut named, &mut unnamed),
                            "Service" => self.service(name, conditions, &mut named, &mut unnamed),
                            _ => unnamed.push(format!("{kind} {name} is allowed, and only roles, services and organisations can be declared")),
                        }
                    }
                }
            }
        }
        (named, unnamed)
    }

    fn arn(&self, name: &str, conditions: &Conditions, named: &mut BTreeSet<Principal>, unnamed: &mut Vec<String>) {
        let is_account = name.len() == 12 && name.bytes().all(|byte| byte.is_ascii_digit());
        let account = if is_account { Some(name) } else { name.ends_with(":root").then(|| name.split(':').nth(4).unwrap_or_default()) };
        match (RoleArn::parse(name), account) {
            (Ok(role), _) if conditions.admits(name) && conditions.sources.is_empty() => drop(named.insert(Principal::Role(role))),
            // A condition that such a caller never meets.
            (Ok(_), _) => {}
            (Err(_), Some(account)) => {
                let (roles, patterns) = pinned(conditions);
                let at_home = roles.into_iter().filter(|role| role.account() == account && conditions.admits(role.as_str()));
                named.extend(at_home.map(Principal::Role));
                if conditions.principals.is_empty() {
                    let whose = if account == self.place.account { "this account" } else { "another account" };
                    unnamed.push(format!("{name}: IAM policies of {whose} decide which of its roles; declare those that use the queue"));
                }
                unnamed.extend(patterns.into_iter().map(|pattern| format!("any role like {pattern} is allowed; declare each role")));
            }
            (Err(_), None) if name.contains(":user/") => unnamed.push(format!("{name} is a user; let it assume a role, and declare that")),
            (Err(_), None) if name.contains(":assumed-role/") => {
                unnamed.push(format!("{name} is one session of a role; declare the role"));
            }
            (Err(_), None) if name.starts_with("AROA") || name.starts_with("AIDA") => {
                unnamed.push(format!("{name} is a principal that was deleted; it is nobody"));
            }
            (Err(_), None) => unnamed.push(format!("{name} is no role, and cannot be declared")),
        }
    }

    fn everyone(&mut self, conditions: &Conditions, named: &mut BTreeSet<Principal>, unnamed: &mut Vec<String>) {
        let (roles, patterns) = pinned(conditions);
        if !roles.is_empty() {
            named.extend(roles.into_iter().filter(|role| conditions.admits(role.as_str())).map(Principal::Role));
        }
        let any_account = format!("arn:{}:iam::*:role/", self.place.partition);
        for pattern in &patterns {
            let role_name = pattern.strip_prefix(&any_account).filter(|name| !name.contains(['*', '?']));
            match role_name {
                Some(name) if !conditions.organizations.is_empty() => {
                    named.extend(conditions.organizations.iter().map(|id| organization(id, name, conditions)));
                }
                _ => unnamed.push(format!("any role like {pattern} is allowed; declare each role")),
            }
        }
        if !conditions.principals.is_empty() {
            return;
        }
        if !conditions.sources.is_empty() {
            for source in &conditions.sources {
                self.source(None, source, conditions, named, unnamed);
            }
            return;
        }
        let list = |values: &crate::policy::document::Values| values.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        unnamed.push(match () {
            () if !conditions.organizations.is_empty() => {
                format!(
                    "every principal of organisation {} is allowed; declare an organisation with the name of its role",
                    list(&conditions.organizations)
                )
            }
            () if !conditions.accounts.is_empty() => {
                format!("every principal of account {} is allowed; declare each role", list(&conditions.accounts))
            }
            () if !conditions.source_accounts.is_empty() => {
                format!("every service acting for account {} is allowed; declare each source", list(&conditions.source_accounts))
            }
            () => "\"*\", anyone at all, is allowed; declare who is meant".to_owned(),
        });
    }

    fn service(&mut self, name: &str, conditions: &Conditions, named: &mut BTreeSet<Principal>, unnamed: &mut Vec<String>) {
        let known = [ServicePrincipal::Sns, ServicePrincipal::S3, ServicePrincipal::EventBridge].into_iter().find(|known| known.as_str() == name);
        let Some(service) = known else {
            return unnamed.push(format!("service {name} is allowed, and only SNS, S3 and EventBridge send as services; others send as a role"));
        };
        if conditions.sources.is_empty() {
            unnamed.push(format!("service {name} is allowed for any source; declare the topic, bucket or rule that sends"));
        }
        for source in &conditions.sources {
            self.source(Some(service), source, conditions, named, unnamed);
        }
    }

    /// A source that may send through its service; of `"*"` its ARN tells which that is.
    fn source(
        &mut self,
        service: Option<ServicePrincipal>,
        arn: &str,
        conditions: &Conditions,
        named: &mut BTreeSet<Principal>,
        unnamed: &mut Vec<String>,
    ) {
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let by_arn = match parts.get(2) {
            Some(&"sns") => Some(ServicePrincipal::Sns),
            Some(&"s3") => Some(ServicePrincipal::S3),
            Some(&"events") => Some(ServicePrincipal::EventBridge),
            _ => None,
        };
        let Some(service) = service.or(by_arn).filter(|_| service.is_none() || by_arn == service) else {
            return unnamed.push(format!("source {arn} is allowed, and only topics, buckets and rules can be declared"));
        };
        if arn.contains(['*', '?']) {
            return unnamed.push(format!("any source like {arn} is allowed; declare each topic, bucket or rule"));
        }
        let own = parts.get(4).copied().unwrap_or_default();
        let account = match (own, conditions.source_accounts.first()) {
            ("", Some(account)) => account.clone(),
            ("", None) => {
                self.read.guessed_accounts.insert(arn.to_owned());
                self.place.account.clone()
            }
            (own, _) => own.to_owned(),
        };
        // A source of another account than the condition wants is nobody.
        if conditions.source_accounts.is_empty() || conditions.source_accounts.contains(&account) {
            let key_condition = crate::desired::default_key_condition(service);
            named.insert(Principal::Service(ServiceSource { service, source_arn: arn.to_owned(), source_account: account, key_condition }));
        }
    }

    /// Takes away what a Deny forbids to a role; the others are denied by what the operator writes.
    fn deny(&mut self, name: &str, statement: &Statement) {
        let conditions = Conditions::of(statement);
        let (actions, insecure) = (self.actions(statement), statement.condition_values("aws:SecureTransport").contains("false"));
        if insecure || actions.capabilities.is_empty() {
            return;
        }
        let conditional = [&conditions.organizations, &conditions.paths, &conditions.accounts, &conditions.sources, &conditions.source_accounts];
        if !conditions.others.is_empty() || conditional.iter().any(|values| !values.is_empty()) {
            let text = "this Deny is not kept; whoever is not declared is denied, by a tier whose access.others is Deny";
            return self.remark(RemarkKind::Wider, name, text);
        }
        let anyone = matches!(&statement.principals, Principals::Anyone);
        let listed = |arn: &str| match &statement.principals {
            Principals::Named(kinds) => kinds.get("AWS").is_some_and(|names| names.contains(arn) || names.contains("*")),
            _ => anyone,
        };
        let denied = |grant: &Grant| match &grant.principal {
            Principal::Role(role) => listed(role.as_str()) && conditions.admits(role.as_str()) && actions.capabilities.contains(&grant.capability),
            Principal::Service(_) | Principal::Organization(_) => false,
        };
        let gone: Vec<String> = self.read.grants.iter().filter(|grant| denied(grant)).map(ToString::to_string).collect();
        self.read.grants.retain(|grant| !denied(grant));
        for grant in gone {
            self.note(name, &format!("denies what another statement allows, and it is not declared: {grant}"));
        }
    }
}

/// Roles that `aws:PrincipalArn` names, and the patterns among its values.
fn pinned(conditions: &Conditions) -> (BTreeSet<RoleArn>, Vec<String>) {
    let parsed: BTreeMap<&String, Option<RoleArn>> = conditions.principals.iter().map(|arn| (arn, RoleArn::parse(arn).ok())).collect();
    let patterns = parsed.iter().filter(|(_, role)| role.is_none()).map(|(arn, _)| (*arn).clone()).collect();
    (parsed.into_values().flatten().collect(), patterns)
}

fn organization(id: &str, role_name: &str, conditions: &Conditions) -> Principal {
    let within = format!("{id}/");
    let paths = conditions.paths.iter().filter(|path| path.starts_with(&within)).cloned().collect();
    Principal::Organization(OrganizationRoles { id: id.to_owned(), paths, role_name: role_name.to_owned() })
}

fn said(actions: &Actions) -> String {
    let capabilities = actions.capabilities.iter().map(ToString::to_string);
    capabilities.chain(actions.never.iter().map(|action| (*action).to_owned())).collect::<Vec<_>>().join(", ")
}
