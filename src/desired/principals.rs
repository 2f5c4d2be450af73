//! Which principals a tenant and a tier admit, and the grants that a declaration asks for.

use std::collections::{BTreeMap, BTreeSet};

use super::queue::{QueueInput, Refusals};
use super::{ServiceAccountRole, Violation};
use crate::api::encrypted_queue::{Consumer, KeySourceCondition, Producer, ServiceAccountReference, ServicePrincipal, ServiceProducer};
use crate::api::sensitivity_tier::Permission;
use crate::api::{Reason, SensitivityTierSpec, TenantSpec};
use crate::names::{Partition, RoleArn};
use crate::policy::access::{Capability, Grant, OrganizationRoles, Principal, ServiceSource};

/// What tenant and tier admit; also decides what stays of applied grants when a rule is tightened.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct PrincipalRules {
    account: String,
    partition: Partition,
    role_patterns: Vec<String>,
    services: Vec<ServicePrincipal>,
    source_accounts: Vec<String>,
    organizations: Vec<String>,
    cross_account: bool,
    services_allowed: bool,
    organizations_allowed: bool,
    /// Roles with a duty of their own: the operator's, key administrators, break-glass administrators.
    separated: BTreeSet<String>,
}

impl PrincipalRules {
    /// The rules of a tenant and a tier; `operator` is the operator's role in the tenant's account, where it is known.
    pub fn new(tenant: &TenantSpec, tier: &SensitivityTierSpec, partition: Partition, operator: Option<&RoleArn>) -> Self {
        let separated = tenant.key_administrators.iter().chain(&tenant.break_glass_administrators).chain(&tenant.aws.role_arn).cloned();
        Self {
            account: tenant.aws.account_id.clone(),
            partition,
            role_patterns: tenant.principals.roles.clone(),
            services: tenant.principals.services.clone(),
            source_accounts: tenant.principals.source_accounts.clone(),
            organizations: tenant.principals.organizations.clone(),
            cross_account: tier.access.cross_account == Permission::Allow,
            services_allowed: tier.access.services == Permission::Allow,
            organizations_allowed: tier.access.organizations == Permission::Allow,
            separated: separated.chain(operator.map(ToString::to_string)).collect(),
        }
    }

    /// Whether a grant may be, else the reason and what to do.
    pub fn check(&self, grant: &Grant) -> Result<(), (Reason, String)> {
        match &grant.principal {
            Principal::Role(role) => self.check_role(role, grant.capability),
            Principal::Service(source) => self.check_service(source),
            Principal::Organization(roles) => self.check_organization(roles),
        }
    }

    fn check_role(&self, role: &RoleArn, capability: Capability) -> Result<(), (Reason, String)> {
        if role.partition() != self.partition {
            return Err((Reason::PrincipalMalformed, format!("{role} is of another partition than the tenant's Region ({})", self.partition)));
        }
        if self.separated.contains(role.as_str()) {
            return Err((
                Reason::SeparationOfDuties,
                format!("{role} operates or administers keys of this tenant and may not use its queues; declare another role"),
            ));
        }
        if !self.role_patterns.iter().any(|pattern| role_matches(pattern, role.as_str())) {
            return Err((
                Reason::PrincipalNotAllowed,
                format!("{role} matches none of the tenant's spec.principals.roles; ask the platform team to admit it"),
            ));
        }
        if role.account() != self.account {
            if !self.cross_account {
                return Err((
                    Reason::CrossAccountNotAllowed,
                    format!("{role} is of another account and the tier's spec.access.crossAccount is Deny"),
                ));
            }
            if capability == Capability::Redrive {
                return Err((
                    Reason::CrossAccountNotAllowed,
                    format!("{role}: moving messages back works within the queue's account {} only", self.account),
                ));
            }
        }
        Ok(())
    }

    fn check_service(&self, source: &ServiceSource) -> Result<(), (Reason, String)> {
        let ServiceSource { service, source_arn, source_account, .. } = source;
        if !self.services_allowed {
            return Err((Reason::ServicesNotAllowed, "the tier's spec.access.services is Deny".into()));
        }
        if !self.services.contains(service) {
            return Err((Reason::PrincipalNotAllowed, format!("{} is not in the tenant's spec.principals.services", service.as_str())));
        }
        if !self.source_accounts.contains(source_account) {
            return Err((
                Reason::PrincipalNotAllowed,
                format!("source account {source_account} is not in the tenant's spec.principals.sourceAccounts"),
            ));
        }
        let mut parts = source_arn.split(':');
        let (partition, account) = (parts.nth(1).unwrap_or_default(), parts.nth(2).unwrap_or_default());
        if partition != self.partition.as_str() {
            return Err((Reason::PrincipalMalformed, format!("{source_arn} is of another partition than the tenant's Region ({})", self.partition)));
        }
        // A bucket's ARN names no account; the others do, and then both must agree.
        if !account.is_empty() && account != source_account {
            return Err((Reason::PrincipalMalformed, format!("{source_arn} is of account {account}, but sourceAccount says {source_account}")));
        }
        Ok(())
    }

    fn check_organization(&self, roles: &OrganizationRoles) -> Result<(), (Reason, String)> {
        if !self.organizations_allowed {
            return Err((Reason::OrganizationsNotAllowed, "the tier's spec.access.organizations is Deny".into()));
        }
        if !self.organizations.contains(&roles.id) {
            return Err((Reason::PrincipalNotAllowed, format!("{} is not in the tenant's spec.principals.organizations", roles.id)));
        }
        if let Some(path) = roles.paths.iter().find(|path| !path.starts_with(&format!("{}/", roles.id))) {
            return Err((Reason::PrincipalMalformed, format!("path {path} is not within {}", roles.id)));
        }
        Ok(())
    }
}

/// Whether a role's ARN matches a tenant's pattern: `*` matches within one segment of path or name, never across a `/`, and only after `:role/`.
pub(crate) fn role_matches(pattern: &str, role: &str) -> bool {
    let (Some((pattern_head, pattern_tail)), Some((head, tail))) = (pattern.split_once(":role/"), role.split_once(":role/")) else { return false };
    let (patterns, segments): (Vec<&str>, Vec<&str>) = (pattern_tail.split('/').collect(), tail.split('/').collect());
    pattern_head == head && patterns.len() == segments.len() && patterns.iter().zip(&segments).all(|(pattern, segment)| glob(pattern, segment))
}

/// `*` matches any run of characters, everything else itself.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

/// The grants a declaration asks for, each with its field; what may not be is noted in `refusals`.
pub(super) fn declared_grants(
    input: &QueueInput<'_>,
    rules: &PrincipalRules,
    has_dead_letter: bool,
    refusals: &mut Refusals,
) -> BTreeMap<Grant, String> {
    let spec = &input.object.spec;
    let mut list = List { input, rules, refusals, grants: BTreeMap::new() };
    for (index, producer) in spec.producers.iter().enumerate() {
        let field = format!("spec.producers[{index}]");
        if let Some(principal) = list.producer(&field, producer) {
            list.grant(field, principal, Capability::Send);
        }
    }
    list.consumers("spec.consumers", &spec.consumers, Capability::Receive);
    list.consumers("spec.observers", &spec.observers, Capability::Observe);
    if has_dead_letter {
        let declared = spec.dead_letter.as_ref();
        let own = declared.map_or(&[][..], |d| &d.consumers);
        let (field, consumers) = if own.is_empty() { ("spec.consumers", &spec.consumers[..]) } else { ("spec.deadLetter.consumers", own) };
        list.consumers(field, consumers, Capability::ReceiveDeadLetters);
        list.consumers("spec.deadLetter.redrivers", declared.map_or(&[][..], |d| &d.redrivers), Capability::Redrive);
    }
    list.grants
}

struct List<'a, 'b> {
    input: &'a QueueInput<'b>,
    rules: &'a PrincipalRules,
    refusals: &'a mut Refusals,
    grants: BTreeMap<Grant, String>,
}

impl List<'_, '_> {
    fn refuse(&mut self, reason: Reason, field: &str, message: String) {
        // Dead-letter consumers default to the queue's: what is wrong with them is said once.
        let violation = Violation::new(reason, field, message);
        if !self.refusals.violations.contains(&violation) {
            self.refusals.violations.push(violation);
        }
    }

    fn consumers(&mut self, field: &str, consumers: &[Consumer], capability: Capability) {
        for (index, consumer) in consumers.iter().enumerate() {
            let field = format!("{field}[{index}]");
            let role = match consumer {
                Consumer { role: Some(role), service_account: None } => self.role(&field, role),
                Consumer { role: None, service_account: Some(account) } => self.service_account(&field, account),
                _ => self.not_one(&field, "role or serviceAccount"),
            };
            if let Some(role) = role {
                self.grant(field, Principal::Role(role), capability);
            }
        }
    }

    fn producer(&mut self, field: &str, producer: &Producer) -> Option<Principal> {
        match producer {
            Producer { role: Some(role), service_account: None, service: None, organization: None } => self.role(field, role).map(Principal::Role),
            Producer { role: None, service_account: Some(account), service: None, organization: None } => {
                self.service_account(field, account).map(Principal::Role)
            }
            Producer { role: None, service_account: None, service: Some(service), organization: None } => {
                Some(Principal::Service(service_source(service)))
            }
            Producer { role: None, service_account: None, service: None, organization: Some(organization) } => {
                Some(Principal::Organization(OrganizationRoles {
                    id: organization.id.clone(),
                    paths: organization.paths.iter().cloned().collect(),
                    role_name: organization.role_name.clone(),
                }))
            }
            _ => self.not_one(field, "role, serviceAccount, service or organization"),
        }
    }

    /// The schema refuses such an entry; an object stored before the rule may still carry it.
    fn not_one<T>(&mut self, field: &str, of: &str) -> Option<T> {
        self.refuse(Reason::PrincipalMalformed, field, format!("exactly one of {of} must be set"));
        None
    }

    fn role(&mut self, field: &str, role: &str) -> Option<RoleArn> {
        RoleArn::parse(role).map_err(|error| self.refuse(Reason::PrincipalMalformed, &format!("{field}.role"), error.to_string())).ok()
    }

    fn service_account(&mut self, field: &str, account: &ServiceAccountReference) -> Option<RoleArn> {
        let field = format!("{field}.serviceAccount.name");
        let name = &account.name;
        match (self.input.service_account)(name) {
            ServiceAccountRole::Role(role) => return self.role_of(&field, name, &role),
            ServiceAccountRole::Associated { role, ignored } => {
                if let Some(ignored) = ignored {
                    let note = format!(
                        "ServiceAccount {name} is annotated with {ignored}, but its pods act as {role}, which its Pod Identity association gives them"
                    );
                    self.refusals.note(note);
                }
                return self.role_of(&field, name, &role);
            }
            ServiceAccountRole::WithoutRole => {
                let message = format!(
                    "ServiceAccount {name} has no IAM role; annotate it with eks.amazonaws.com/role-arn, or, if EKS Pod Identity gives it one, name the \
                     cluster with --eks-cluster-name"
                );
                self.refuse(Reason::ServiceAccountWithoutRole, &field, message);
            }
            ServiceAccountRole::NotAssociated { cluster } => {
                let message = format!(
                    "ServiceAccount {name} has no IAM role; annotate it with eks.amazonaws.com/role-arn, or make a Pod Identity association in EKS cluster \
                     {cluster}, which is seen at the next check (encryptedqueue.dev/check-now: at once)"
                );
                self.refuse(Reason::ServiceAccountWithoutRole, &field, message);
            }
            ServiceAccountRole::Unknown { reason, message } => self.refuse(reason, &field, format!("ServiceAccount {name}: {message}")),
            ServiceAccountRole::Missing => {
                let namespace = self.input.object.metadata.namespace.as_deref().unwrap_or_default();
                let message = format!("ServiceAccount {name} does not exist in namespace {namespace}; create it or name a role");
                self.refuse(Reason::ServiceAccountNotFound, &field, message);
            }
        }
        None
    }

    fn role_of(&mut self, field: &str, account: &str, role: &str) -> Option<RoleArn> {
        let refused = |error| self.refuse(Reason::PrincipalMalformed, field, format!("the role of ServiceAccount {account}: {error}"));
        RoleArn::parse(role).map_err(refused).ok()
    }

    fn grant(&mut self, field: String, principal: Principal, capability: Capability) {
        let grant = Grant { principal, capability };
        if let Err((reason, message)) = self.rules.check(&grant) {
            self.refuse(reason, &field, message);
        } else if let Some(first) = self.grants.get(&grant) {
            let message = format!("the same principal as {first}; remove one of the two");
            self.refuse(Reason::DuplicatePrincipal, &field, message);
        } else {
            self.grants.insert(grant, field);
        }
    }
}

fn service_source(service: &ServiceProducer) -> ServiceSource {
    ServiceSource {
        service: service.principal,
        source_arn: service.source_arn.clone(),
        source_account: service.source_account.clone(),
        key_condition: service.key_source_condition.unwrap_or(default_key_condition(service.principal)),
    }
}

/// The strictest source condition that the service is known to satisfy when it calls KMS: SNS passes its topic's ARN, for S3 the account is the safer of
/// the two, EventBridge is reported to pass neither.
pub(crate) fn default_key_condition(service: ServicePrincipal) -> KeySourceCondition {
    match service {
        ServicePrincipal::Sns => KeySourceCondition::SourceArn,
        ServicePrincipal::S3 => KeySourceCondition::SourceAccount,
        ServicePrincipal::EventBridge => KeySourceCondition::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_never_cross_a_slash_nor_the_account() {
        let acme = "arn:aws:iam::111122223333:role/acme-*";
        assert!(role_matches(acme, "arn:aws:iam::111122223333:role/acme-orders"));
        assert!(role_matches(acme, "arn:aws:iam::111122223333:role/acme-"));
        assert!(!role_matches(acme, "arn:aws:iam::111122223333:role/acme-x/y"));
        assert!(!role_matches(acme, "arn:aws:iam::999922223333:role/acme-orders"));
        assert!(!role_matches("arn:aws:iam::*:role/acme-*", "arn:aws:iam::999922223333:role/acme-orders"));
        assert!(role_matches("arn:aws:iam::111122223333:role/team/*/w", "arn:aws:iam::111122223333:role/team/a/w"));
        assert!(!role_matches("arn:aws:iam::111122223333:role/*", "arn:aws:iam::111122223333:role/team/w"));
    }

    #[test]
    fn globs() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "acb", false),
            ("a*b*c", "axbxc", true),
            ("a*b*c", "axcxb", false),
            ("ab", "ab", true),
            ("ab", "abc", false),
            ("a*a", "a", false),
            ("*aa*a", "aa", false),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }
}
