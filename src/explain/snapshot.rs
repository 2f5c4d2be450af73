//! Objects as the cluster has them → reports.

use std::collections::{BTreeMap, BTreeSet};

use super::report::{KeyReport, PoliciesReport, PrincipalKind, PrincipalReport, QueueReport, ReadyReport, SCHEMA_VERSION, ViolationReport};
use super::rows::{Policies, administrators};
use super::{denials, identity, notes};
use jiff::SignedDuration;

use crate::api::conditions::types;
use crate::api::queue_key::{NamespacedName, QueueKeySpec};
use crate::api::{EncryptedQueue, QueueKey, SensitivityTier, Tenant};
use crate::desired::{
    DesiredQueue, KeyIdentity, KeyInput, KeyUserInput, QueueInput, Refusal, ServiceAccountRole, claimed_names, desired_key, desired_queue,
    key_generation, key_identity, leaves_approval, object_name, place_of, unless_taken, within_limit,
};
use crate::names::{Place, RoleArn};
use crate::plan::objects::Rules;
use crate::policy::access::KeyAccess;
use crate::policy::document::{Document, Principals, Values};
use crate::policy::key_policy::{self, Administration};
use crate::policy::queue_policy;

/// Shown in place of the operator's role where that is not known.
const UNKNOWN_OPERATOR: &str = "the operator's role";

/// What the cluster says of some queues, and of all that bears upon them.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The queues, those included that may share a key or a limit with the ones that are asked for.
    pub queues: BTreeMap<NamespacedName, EncryptedQueue>,
    /// The tenants they name, as far as they exist.
    pub tenants: BTreeMap<String, Tenant>,
    /// The tiers they name, as far as they exist.
    pub tiers: BTreeMap<String, SensitivityTier>,
    /// Labels of their namespaces.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// Roles of the ServiceAccounts they name; absent: there is no such ServiceAccount.
    pub service_accounts: BTreeMap<NamespacedName, ServiceAccountRole>,
    /// The keys of their tenants.
    pub keys: BTreeMap<String, QueueKey>,
    /// The operator's role for tenants that name none.
    pub operator_role: Option<RoleArn>,
    /// Whether something that bears upon the queues could not be read.
    pub incomplete: bool,
}

/// Queues by the names in AWS that they may take.
pub(crate) struct Namesakes<'a>(BTreeMap<String, Vec<&'a EncryptedQueue>>);

/// A snapshot of which every queue has been judged.
pub struct Explainer<'a> {
    snapshot: &'a Snapshot,
    judged: BTreeMap<&'a NamespacedName, Result<DesiredQueue, Box<Refusal>>>,
    users: BTreeMap<String, Vec<&'a NamespacedName>>,
}

impl Snapshot {
    pub(crate) fn operator_role(&self, tenant: &Tenant) -> Option<RoleArn> {
        let assumed = tenant.spec.aws.role_arn.as_deref().and_then(|arn| RoleArn::parse(arn).ok());
        assumed.or_else(|| self.operator_role.clone())
    }

    /// Queues by the names in AWS that they may take.
    pub(crate) fn namesakes(&self) -> Namesakes<'_> {
        let mut by_name = BTreeMap::<String, Vec<&EncryptedQueue>>::new();
        for object in self.queues.values() {
            for name in claimed_names(object) {
                by_name.entry(name).or_default().push(object);
            }
        }
        Namesakes(by_name)
    }

    /// Judges a declaration of the snapshot, as the controller does.
    pub(crate) fn judge(
        &self,
        object: &EncryptedQueue,
        namesakes: &Namesakes<'_>,
        cluster_id: &str,
        operator_role: Option<&RoleArn>,
    ) -> Result<DesiredQueue, Box<Refusal>> {
        let desired = self.judge_alone(object, cluster_id, operator_role)?;
        let others = claimed_names(object).into_iter().flat_map(|name| namesakes.0.get(&name).into_iter().flatten());
        let others = others.filter(|other| object_name(other) != object_name(object));
        let others: Vec<_> = others.map(|other| (*other, self.judge_alone(other, cluster_id, None).ok())).collect();
        let (tenant, tier) = (self.tenants.get(&object.spec.tenant), self.tiers.get(&object.spec.sensitivity_tier));
        let rules = || Rules { tenant, tier, operator_role }.principals(object);
        unless_taken(desired, object, rules, others.iter().map(|(other, accepted)| (*other, accepted.as_ref())))
    }

    /// Keys that may be of an identity: no fleet is looked through for one queue.
    fn keys_of(&self, identity: &KeyIdentity) -> impl Iterator<Item = &QueueKey> {
        let prefix = identity.name_prefix();
        self.keys.range(prefix.clone()..).take_while(move |(name, _)| name.starts_with(&prefix)).map(|(_, key)| key)
    }

    fn judge_alone(&self, object: &EncryptedQueue, cluster_id: &str, operator_role: Option<&RoleArn>) -> Result<DesiredQueue, Box<Refusal>> {
        let NamespacedName { namespace, .. } = object_name(object);
        let (tenant, tier) = (self.tenants.get(&object.spec.tenant), self.tiers.get(&object.spec.sensitivity_tier));
        let service_account = |name: &str| {
            let name = NamespacedName { namespace: namespace.clone(), name: name.to_owned() };
            self.service_accounts.get(&name).cloned().unwrap_or(ServiceAccountRole::Missing)
        };
        let rules = tenant.zip(tier);
        let recorded = object.status.as_ref().and_then(|status| status.key.as_ref()).and_then(|key| self.keys.get(&key.name));
        desired_queue(&QueueInput {
            object,
            namespace_labels: self.namespaces.get(&namespace),
            tenant,
            tier,
            service_account: &service_account,
            cluster_id,
            operator_role,
            within_limit: tenant.is_none_or(|tenant| within_limit(object, tenant, self.queues.values())),
            key_generation: rules.map_or(1, |(tenant, tier)| key_generation(object, tenant, tier, self.keys_of(&key_identity(object, tenant, tier)))),
            leaves_approval: leaves_approval(object, recorded, |tier| self.tiers.get(tier)),
            settle: SignedDuration::ZERO,
        })
    }
}

impl<'a> Explainer<'a> {
    /// Judges every queue, as the controller does.
    pub fn new(snapshot: &'a Snapshot) -> Self {
        // The cluster's id is in tags and aliases only; aliases are shown as recorded.
        let namesakes = snapshot.namesakes();
        let judge = |object: &EncryptedQueue| {
            let operator_role = snapshot.tenants.get(&object.spec.tenant).and_then(|tenant| snapshot.operator_role(tenant));
            snapshot.judge(object, &namesakes, "", operator_role.as_ref())
        };
        let judged: BTreeMap<_, _> = snapshot.queues.iter().map(|(name, object)| (name, judge(object))).collect();
        let mut users: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for (name, desired) in &judged {
            if let Ok(desired) = desired {
                users.entry(desired.key_name.clone()).or_default().push(*name);
            }
        }
        Self { snapshot, judged, users }
    }

    /// Who can do what with a queue; none: it is not in the snapshot.
    pub fn explain(&self, name: &NamespacedName) -> Option<QueueReport> {
        let (object, judged) = (self.snapshot.queues.get(name)?, self.judged.get(name)?);
        let tenant = self.snapshot.tenants.get(&object.spec.tenant);
        let mut report = header(object, tenant);
        match (judged, tenant) {
            (Ok(desired), Some(tenant)) => self.accepted(object, desired, tenant, &mut report),
            (Ok(_), None) => return None,
            (Err(refusal), tenant) => self.refused(object, refusal, tenant, &mut report),
        }
        let more = notes::of_object(object, judged.as_ref().map_err(|refusal| refusal.rules.is_some()).map(drop), &report.ready);
        report.notes.splice(0..0, more);
        if self.snapshot.incomplete {
            report.notes.push(notes::incomplete());
        }
        Some(report)
    }

    fn accepted(&self, object: &EncryptedQueue, desired: &DesiredQueue, tenant: &Tenant, report: &mut QueueReport) {
        let operator = self.snapshot.operator_role(tenant);
        let Some(access) = self.key_access(&desired.key_name, &desired.place, tenant, &desired.key_spec()) else { return };
        let users = access.users.iter().map(|user| (user.queue.clone(), user.dead_letter_queue.clone())).collect();
        let key = Document { id: None, ..key_policy::render(&access, "") };
        let status = self.snapshot.keys.get(&desired.key_name).and_then(|key| key.status.as_ref());
        let pending = status.and_then(|status| status.pending_grants.iter().find(|pending| pending.object() == desired.object));
        let mut policies = Policies {
            place: &desired.place,
            access: &desired.access,
            queue: queue_policy::render_queue(&desired.access, &desired.place),
            dead_letter_queue: queue_policy::render_dead_letter(&desired.access, &desired.place),
            key,
            users,
            pending: pending.map(|pending| pending.gains.iter().cloned().collect()).unwrap_or_default(),
        };
        let key = self.key_report(desired, report.key.take());
        report.suspended = desired.access.suspended;
        report.queue_arn = Some(desired.source.arn.to_string());
        report.dead_letter_queue_arn = desired.dead_letter.as_ref().map(|side| side.arn.to_string());
        report.principals = policies.users().into_iter().map(|row| with_service_accounts(row, object)).collect();
        report.principals.extend(administration(&policies.key, &desired.place, tenant, operator.as_ref()));
        report.denials = denials::denials(&policies);
        report.notes = notes::of_policies(&policies, &object.spec.tenant, &report.principals, &key);
        report.notes.extend(pending.map(|pending| notes::of_pending(pending, &desired.key_name)));
        let key_arn = key.arn.clone().unwrap_or_else(|| desired.place.key_arn("KEY-ID"));
        report.identity_policies = identity::identity_policies(&policies, &key_arn);
        if !report.identity_policies.is_empty() {
            report.notes.push(notes::of_other_accounts(key.arn.is_some()));
        }
        if operator.is_none() {
            hide_operator(&mut policies.key);
        }
        report.key = Some(key);
        report.policies = Some(PoliciesReport { queue: policies.queue, dead_letter_queue: policies.dead_letter_queue, key: policies.key });
    }

    /// Of a refused declaration: why, and who administers the key that it has all the same.
    fn refused(&self, object: &EncryptedQueue, refusal: &Refusal, tenant: Option<&Tenant>, report: &mut QueueReport) {
        report.suspended = refusal.suspended;
        report.violations = refusal.violations.iter().map(ViolationReport::from).collect();
        let (Some(tenant), Some(key)) = (tenant, report.key.as_ref()) else { return };
        let spec = self.snapshot.keys.get(&key.name).map(|key| key.spec.clone());
        let place = place_of(tenant, object.spec.region.as_deref());
        let Some(access) = spec.and_then(|spec| self.key_access(&key.name, &place, tenant, &spec)) else { return };
        let key_document = key_policy::render(&access, "");
        report.principals = administration(&key_document, &place, tenant, self.snapshot.operator_role(tenant).as_ref());
    }

    /// Access to a key through all queues of the snapshot that use it; none if the tenant's account is not one, which the schema refuses.
    fn key_access(&self, key: &str, place: &Place, tenant: &Tenant, spec: &QueueKeySpec) -> Option<KeyAccess> {
        let user = |name: &&NamespacedName| {
            let desired = self.judged.get(*name)?.as_ref().ok()?.clone();
            Some(KeyUserInput {
                object: (*name).clone(),
                uid: desired.uid.clone(),
                recorded: None,
                desired: Ok(desired),
                retiring: None,
                deleted: Vec::new(),
                paused: false,
                leaving: false,
            })
        };
        let users = self.users.get(key).into_iter().flatten().filter_map(user).collect();
        let operator_role = self.snapshot.operator_role(tenant).or_else(|| stand_in(place))?;
        let object = QueueKey::new(key, spec.clone());
        let tier = self.snapshot.tiers.get(&spec.sensitivity_tier);
        let key =
            desired_key(KeyInput { object: &object, tenant, tier, cluster_id: "", operator_role: &operator_role, users, approvals: Vec::new() });
        // As declared: what waits for an approval is shown too.
        let users = key.users.into_iter().map(|user| user.access).collect();
        Some(KeyAccess { users, ..key.access })
    }

    fn key_report(&self, desired: &DesiredQueue, recorded: Option<KeyReport>) -> KeyReport {
        let others = self.users.get(&desired.key_name).into_iter().flatten().filter(|user| ***user != desired.object);
        let shared_with = others.map(ToString::to_string).collect();
        let recorded = recorded.filter(|key| key.name == desired.key_name);
        let (arn, alias) = recorded.map_or((None, None), |key| (key.arn, key.alias));
        let known = self.snapshot.keys.get(&desired.key_name).and_then(|key| key.status.as_ref());
        KeyReport {
            name: desired.key_name.clone(),
            arn: arn.or_else(|| known.and_then(|status| status.arn.clone())),
            alias: alias.or_else(|| known.and_then(|status| status.alias.clone())),
            shared_with,
        }
    }
}

/// What is said of every queue, accepted or not: names, and what status records.
fn header(object: &EncryptedQueue, tenant: Option<&Tenant>) -> QueueReport {
    let NamespacedName { namespace, name } = object_name(object);
    let status = object.status.clone().unwrap_or_default();
    QueueReport {
        schema_version: SCHEMA_VERSION,
        namespace,
        name,
        tenant: object.spec.tenant.clone(),
        sensitivity_tier: object.spec.sensitivity_tier.clone(),
        account: tenant.map(|tenant| tenant.spec.aws.account_id.clone()),
        queue_arn: status.queue.map(|queue| queue.arn),
        dead_letter_queue_arn: status.dead_letter_queue.map(|queue| queue.arn),
        key: status.key.map(|key| KeyReport { name: key.name, arn: key.arn, alias: key.alias, shared_with: Vec::new() }),
        ready: ready(object),
        suspended: false,
        violations: Vec::new(),
        principals: Vec::new(),
        denials: Vec::new(),
        identity_policies: Vec::new(),
        notes: Vec::new(),
        policies: None,
    }
}

impl From<&crate::desired::Violation> for ViolationReport {
    fn from(violation: &crate::desired::Violation) -> Self {
        Self { reason: violation.reason.to_string(), field: violation.field.clone(), message: violation.message.clone() }
    }
}

/// A role for rendering where the operator's is not known; never shown.
fn stand_in(place: &Place) -> Option<RoleArn> {
    RoleArn::parse(&format!("arn:{}:iam::{}:role/encrypted-queue-operator", place.partition, place.account)).ok()
}

fn hide_operator(key: &mut Document) {
    for statement in key.statements.iter_mut().filter(|statement| statement.sid.as_deref() == Some(Administration::Operator.sid())) {
        statement.principals = Principals::Named(BTreeMap::from([("AWS".to_owned(), Values::from([UNKNOWN_OPERATOR.to_owned()]))]));
    }
}

/// Administrators, each with the field that declares it.
fn administration(key: &Document, place: &Place, tenant: &Tenant, operator: Option<&RoleArn>) -> Vec<PrincipalReport> {
    let name = tenant.metadata.name.as_deref().unwrap_or_default();
    let listed = |field: &str, arns: &[String], arn: &str| {
        let index = arns.iter().position(|known| known == arn);
        index.map_or_else(String::new, |index| format!("Tenant {name} spec.{field}[{index}]"))
    };
    let declared = |kind: Administration, arn: &str| match kind {
        Administration::Operator if tenant.spec.aws.role_arn.is_some() => format!("Tenant {name} spec.aws.roleArn"),
        Administration::Operator | Administration::Root => "every key policy".to_owned(),
        Administration::KeyAdministrators => listed("keyAdministrators", &tenant.spec.key_administrators, arn),
        Administration::BreakGlass => listed("breakGlassAdministrators", &tenant.spec.break_glass_administrators, arn),
    };
    let row = |(kind, arn, mut row): (Administration, String, PrincipalReport)| {
        for permission in &mut row.permissions {
            permission.declared_by.push(declared(kind, &arn));
        }
        if row.kind == PrincipalKind::Operator && operator.is_none() {
            row.principal = None;
        }
        row
    };
    administrators(key, place).into_iter().map(row).collect()
}

/// Says of each field that names a ServiceAccount which one.
fn with_service_accounts(mut row: PrincipalReport, object: &EncryptedQueue) -> PrincipalReport {
    let spec = serde_json::to_value(&object.spec).unwrap_or_default();
    let account = |field: &str| {
        let pointer = field.strip_prefix("spec")?.replace(['.', '['], "/").replace(']', "");
        Some(spec.pointer(&pointer)?.pointer("/serviceAccount/name")?.as_str()?.to_owned())
    };
    for field in row.permissions.iter_mut().flat_map(|permission| &mut permission.declared_by) {
        if let Some(name) = account(field) {
            *field = format!("{field} (ServiceAccount {name})");
        }
    }
    row
}

fn ready(object: &EncryptedQueue) -> ReadyReport {
    let status = object.status.as_ref();
    let condition = status.and_then(|status| status.conditions.iter().find(|condition| condition.type_ == types::READY));
    ReadyReport {
        status: condition.map_or_else(|| "Unknown".to_owned(), |condition| condition.status.clone()),
        reason: condition.map(|condition| condition.reason.clone()),
        message: condition.map(|condition| condition.message.clone()),
        outdated: condition.is_some() && status.and_then(|status| status.observed_generation) != object.metadata.generation,
    }
}

/// The ServiceAccounts that a queue names.
pub(crate) fn service_accounts(object: &EncryptedQueue) -> BTreeSet<NamespacedName> {
    let spec = &object.spec;
    let consumers = spec.consumers.iter().chain(&spec.observers);
    let consumers = consumers.chain(spec.dead_letter.iter().flat_map(|dead_letter| dead_letter.consumers.iter().chain(&dead_letter.redrivers)));
    let accounts = spec
        .producers
        .iter()
        .filter_map(|producer| producer.service_account.as_ref())
        .chain(consumers.filter_map(|consumer| consumer.service_account.as_ref()));
    let namespace = object_name(object).namespace;
    accounts.map(|account| NamespacedName { namespace: namespace.clone(), name: account.name.clone() }).collect()
}
