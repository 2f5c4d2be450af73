//! `EncryptedQueue` + tenant + tier → [`DesiredQueue`], or what forbids it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::attributes::{dead_letter_attributes, ending_dead_letter_attributes, source_attributes};
use super::naming::{MAX_QUEUE_NAME, dead_letter_name, default_queue_name};
use super::principals::{declared_grants, glob};
use super::tags::{declared_tags, owner_tags};
use super::{KeyIdentity, PrincipalRules, ServiceAccountRole, Violation};
use crate::api::encrypted_queue::{Adoption, DeadLetter};
use crate::api::labels::DELETE_NON_EMPTY;
use crate::api::queue_key::{NamespacedName, QueueKeySpec};
use crate::api::sensitivity_tier::{Approval, Bounds, DeadLetterRule, KeyScope};
use crate::api::tenant::{TenantAccess, TenantSpec};
use crate::api::{DeletionPolicy, EncryptedQueue, Reason, SensitivityTier, Tenant};
use crate::names::{Partition, Place, QueueArn, RoleArn};
use crate::plan::state::{Attributes, Tags};
use crate::policy::access::QueueAccess;

/// All that decides what a queue should be.
pub struct QueueInput<'a> {
    /// The declaration.
    pub object: &'a EncryptedQueue,
    /// Labels of its namespace; None: unknown namespace.
    pub namespace_labels: Option<&'a BTreeMap<String, String>>,
    /// The tenant it names, if it exists.
    pub tenant: Option<&'a Tenant>,
    /// The tier it names, if it exists.
    pub tier: Option<&'a SensitivityTier>,
    /// Roles of ServiceAccounts in its namespace.
    pub service_account: &'a dyn Fn(&str) -> ServiceAccountRole,
    /// Id of this cluster.
    pub cluster_id: &'a str,
    /// The operator's role in the tenant's account, where it is known.
    pub operator_role: Option<&'a RoleArn>,
    /// Whether the tenant's limit leaves room for this queue.
    pub within_limit: bool,
    /// Generation of the key to use: the recorded one, or the one with room.
    pub key_generation: u32,
    /// Whether the key that it leaves, if it leaves one, is of a tier that asks for approvals.
    pub leaves_approval: bool,
    /// How long another key's policy is given to spread before a live queue is pointed at it.
    pub settle: SignedDuration,
}

/// One SQS queue as it should be.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct QueueSide {
    /// ARN.
    pub arn: QueueArn,
    /// Attributes but for the key and the policy, which depend on the key.
    pub attributes: Attributes,
}

/// A queue as it should be.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct DesiredQueue {
    /// The object.
    pub object: NamespacedName,
    /// Its UID.
    pub uid: String,
    /// Where it lives.
    pub place: Place,
    /// The queue.
    pub source: QueueSide,
    /// Its dead-letter queue.
    pub dead_letter: Option<QueueSide>,
    /// Who may do what.
    pub access: QueueAccess,
    /// Tags of both.
    pub tags: Tags,
    /// Tags its key takes beside the operator's own.
    pub declared_tags: Tags,
    /// Which key.
    pub key: KeyIdentity,
    /// Name of the QueueKey.
    pub key_name: String,
    /// Data-key reuse in seconds.
    pub data_key_reuse_seconds: i32,
    /// Days between rotations of its key.
    pub rotation_period_days: i32,
    /// On-demand rotation asked for.
    pub rotate_requested_at: Option<Timestamp>,
    /// What happens at the end.
    pub deletion_policy: DeletionPolicy,
    /// Whether new access waits for an approval.
    pub needs_approval: bool,
    /// How long another key's policy is given to spread before the queue is pointed at it.
    pub settle: SignedDuration,
    /// Which existing queues may be taken over; None: none.
    pub adoption: Option<AdoptionRules>,
    /// Set if the dead-letter queue is one that is no longer declared.
    pub dead_letter_end: Option<DeadLetterEnd>,
    /// What its owners should know although it is accepted.
    pub notes: Vec<String>,
}

/// Which existing queues of the declared names may be taken over.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct AdoptionRules {
    /// Whether the tenant has the queue's name among those.
    pub source: bool,
    /// Whether it has the dead-letter queue's name.
    pub dead_letter: bool,
    /// The tier's bounds of message retention in seconds.
    pub retention_seconds: (i32, i32),
}

/// How a dead-letter queue ends that is no longer declared.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct DeadLetterEnd {
    /// Whether it may go while it holds messages.
    pub even_if_not_empty: bool,
}

impl DesiredQueue {
    /// The spec of its QueueKey.
    pub fn key_spec(&self) -> QueueKeySpec {
        QueueKeySpec {
            tenant: self.key.tenant.clone(),
            sensitivity_tier: self.key.sensitivity_tier.clone(),
            region: self.key.region.clone(),
            scope: self.key.scope(),
            queue: self.key.queue.clone(),
            deletion_policy: self.deletion_policy,
        }
    }
}

/// Why a queue is not as declared; what it has keeps running, less what the rules no longer admit.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Refusal {
    /// What forbids it; never empty.
    pub violations: Vec<Violation>,
    /// Rules that applied grants must still satisfy; None: tenant or tier is missing, nothing is changed.
    pub rules: Option<PrincipalRules>,
    /// Whether the tenant is cut off.
    pub suspended: bool,
    /// Where the queue lives, if the tenant exists.
    pub place: Option<Place>,
}

#[derive(Default)]
pub(super) struct Refusals {
    pub(super) violations: Vec<Violation>,
    notes: Vec<String>,
}

impl Refusals {
    /// Notes what is no reason to refuse; said once.
    pub(super) fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    fn add(&mut self, reason: Reason, field: &str, message: impl Into<String>) {
        self.violations.push(Violation::new(reason, field, message));
    }

    fn unless(&mut self, holds: bool, reason: Reason, field: &str, message: impl FnOnce() -> String) {
        if !holds {
            self.add(reason, field, message());
        }
    }
}

/// Where a queue of this tenant lives: the Region asked for, else the tenant's first.
pub fn place_of(tenant: &Tenant, region: Option<&str>) -> Place {
    let first = tenant.spec.aws.regions.first().map_or("", String::as_str);
    let region = region.unwrap_or(first).to_owned();
    Place { partition: Partition::of_region(&region), account: tenant.spec.aws.account_id.clone(), region }
}

/// Judges a declaration.
pub fn desired_queue(input: &QueueInput<'_>) -> Result<DesiredQueue, Box<Refusal>> {
    let mut refusals = Refusals::default();
    let spec = &input.object.spec;
    refusals.unless(input.tenant.is_some(), Reason::TenantNotFound, "spec.tenant", || {
        format!("Tenant {} does not exist; create it or name another", spec.tenant)
    });
    refusals.unless(input.tier.is_some(), Reason::SensitivityTierNotFound, "spec.sensitivityTier", || {
        format!("SensitivityTier {} does not exist; create it or name another", spec.sensitivity_tier)
    });
    let (Some(tenant), Some(tier)) = (input.tenant, input.tier) else {
        return Err(Box::new(Refusal { violations: refusals.violations, rules: None, suspended: false, place: None }));
    };
    let judge = Judge { input, tenant, tier, place: place_of(tenant, spec.region.as_deref()) };
    judge.tenant_rules(&mut refusals);
    judge.tier_rules(&mut refusals);
    judge.build(refusals)
}

struct Judge<'a, 'b> {
    input: &'a QueueInput<'b>,
    tenant: &'a Tenant,
    tier: &'a SensitivityTier,
    place: Place,
}

impl Judge<'_, '_> {
    fn object(&self) -> NamespacedName {
        let metadata = &self.input.object.metadata;
        NamespacedName { namespace: metadata.namespace.clone().unwrap_or_default(), name: metadata.name.clone().unwrap_or_default() }
    }

    fn tenant_rules(&self, refusals: &mut Refusals) {
        let (spec, tenant, object) = (&self.input.object.spec, &self.tenant.spec, self.object());
        let name = &spec.tenant;
        refusals.unless(
            tenant_admits_namespace(self.tenant, &object.namespace, self.input.namespace_labels),
            Reason::NamespaceNotAllowed,
            "metadata.namespace",
            || format!("Tenant {name} admits neither the name nor the labels of namespace {}; see its spec.namespaces", object.namespace),
        );
        refusals.unless(tenant.sensitivity_tiers.contains(&spec.sensitivity_tier), Reason::SensitivityTierNotAllowed, "spec.sensitivityTier", || {
            format!("Tenant {name} may ask for {} only", tenant.sensitivity_tiers.join(", "))
        });
        refusals.unless(tenant.aws.regions.contains(&self.place.region), Reason::RegionNotAllowed, "spec.region", || {
            format!("Tenant {name} may use {} only", tenant.aws.regions.join(", "))
        });
        for (field, arn) in named_roles(tenant) {
            let partition = self.place.partition;
            refusals.unless(RoleArn::parse(arn).is_ok_and(|role| role.partition() == partition), Reason::PrincipalMalformed, "spec.tenant", || {
                format!("Tenant {name}, {field}: {arn} is of another partition than Region {} ({partition}); correct the tenant", self.place.region)
            });
        }
        refusals.unless(self.input.within_limit, Reason::QueueLimitReached, "spec.tenant", || {
            format!(
                "Tenant {name} has as many queues as its spec.limits.queues allows ({}); remove one or ask for more",
                tenant.limits.queues.unwrap_or_default()
            )
        });
        let (queue, patterns) = (self.queue_name(), self.queue_name_patterns());
        refusals.unless(patterns.iter().any(|pattern| glob(pattern, &queue)), Reason::QueueNameNotAllowed, "spec.queue.name", || {
            format!("queues of Tenant {name} must be named {}, not {queue}", patterns.join(" or "))
        });
        let (fifo, stem) = (spec.queue.fifo.is_some(), queue.strip_suffix(".fifo"));
        refusals.unless(fifo == stem.is_some(), Reason::QueueNameInvalid, "spec.queue.name", || {
            if fifo {
                format!("the name of a FIFO queue ends in .fifo; write {queue}.fifo")
            } else {
                "only a FIFO queue's name ends in .fifo; set spec.queue.fifo".into()
            }
        });
        let well_formed =
            queue.len() <= MAX_QUEUE_NAME && stem.unwrap_or(&queue).bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        refusals.unless(well_formed, Reason::QueueNameInvalid, "spec.queue.name", || {
            format!("SQS takes up to {MAX_QUEUE_NAME} letters, digits, - and _, not {queue}")
        });
        if self.dead_letter().is_some() {
            self.dead_letter_name_rules(&self.dead_letter_queue_name(&queue, false), &queue, &patterns, refusals);
        }
    }

    fn dead_letter_name_declared(&self) -> Option<&str> {
        self.input.object.spec.dead_letter.as_ref()?.name.as_deref()
    }

    /// A name that nobody wrote is as good as the queue's own.
    fn dead_letter_name_rules(&self, declared: &str, queue: &str, patterns: &[String], refusals: &mut Refusals) {
        const FIELD: &str = "spec.deadLetter.name";
        let name = &self.input.object.spec.tenant;
        let admitted = self.dead_letter_name_declared().is_none() || patterns.iter().any(|pattern| glob(pattern, declared));
        refusals.unless(admitted, Reason::QueueNameNotAllowed, FIELD, || {
            format!("queues of Tenant {name} must be named {}, not {declared}", patterns.join(" or "))
        });
        let is_fifo = |name: &str| name.strip_suffix(".fifo").is_some();
        refusals.unless(is_fifo(declared) == is_fifo(queue), Reason::QueueNameInvalid, FIELD, || {
            "the dead-letter queue of a FIFO queue is one too, and its name ends in .fifo, like no other's".into()
        });
        refusals
            .unless(declared != queue, Reason::QueueNameInvalid, FIELD, || "a queue cannot be its own dead-letter queue; choose another name".into());
        let recorded = self.recorded_dead_letter_name();
        refusals.unless(recorded.is_none_or(|recorded| recorded == declared), Reason::QueueNameNotAllowed, FIELD, || {
            let recorded = recorded.unwrap_or_default();
            format!(
                "dead-letter queue {recorded} is still there; take spec.deadLetter away until status.deadLetterQueue is gone, then declare another"
            )
        });
    }

    /// Name of the dead-letter queue that there is; a record that contradicts itself is not believed.
    fn recorded_dead_letter_name(&self) -> Option<&str> {
        let recorded = self.input.object.status.as_ref()?.dead_letter_queue.as_ref()?;
        (self.place.queue_arn(&recorded.name).as_str() == recorded.arn).then_some(recorded.name.as_str())
    }

    fn dead_letter_queue_name(&self, queue: &str, ends: bool) -> String {
        let recorded = self.recorded_dead_letter_name().filter(|_| ends);
        self.dead_letter_name_declared().or(recorded).map_or_else(|| dead_letter_name(queue), str::to_owned)
    }

    fn queue_name(&self) -> String {
        let spec = &self.input.object.spec;
        spec.queue.name.clone().unwrap_or_else(|| default_queue_name(&spec.tenant, &self.object(), spec.queue.fifo.is_some()))
    }

    fn queue_name_patterns(&self) -> Vec<String> {
        let declared = &self.tenant.spec.queue_names;
        if declared.is_empty() { vec![format!("{}-*", self.input.object.spec.tenant)] } else { declared.clone() }
    }

    fn tier_rules(&self, refusals: &mut Refusals) {
        let (spec, tier) = (&self.input.object.spec, &self.tier.spec);
        let name = &spec.sensitivity_tier;
        for (field, bounds) in
            [("spec.key.rotationPeriodDays", tier.key.rotation_period_days), ("spec.dataKeyReuseSeconds", tier.data_key_reuse_seconds)]
        {
            refusals.unless(contains(bounds, bounds.default), Reason::SensitivityTierInvalid, "spec.sensitivityTier", || {
                format!("SensitivityTier {name}: {field}.default is outside its own bounds; ask the security team to correct it")
            });
        }
        let mut within = |field: &str, value: i32, minimum: i32, maximum: i32| {
            refusals.unless((minimum..=maximum).contains(&value), Reason::OutsideTierBounds, field, || {
                format!("SensitivityTier {name} allows {minimum} to {maximum}, not {value}")
            });
        };
        let (reuse, rotation, retention) = (tier.data_key_reuse_seconds, tier.key.rotation_period_days, tier.message_retention_seconds);
        within("spec.key.dataKeyReuseSeconds", self.reuse(), reuse.minimum, reuse.maximum);
        within("spec.key.rotationPeriodDays", self.rotation(), rotation.minimum, rotation.maximum);
        within("spec.queue.messageRetentionSeconds", spec.queue.message_retention_seconds, retention.minimum, retention.maximum);
        if let Some(dead_letter) = self.dead_letter() {
            within("spec.deadLetter.messageRetentionSeconds", dead_letter.message_retention_seconds, retention.minimum, retention.maximum);
        }
    }

    fn reuse(&self) -> i32 {
        self.input.object.spec.key.data_key_reuse_seconds.unwrap_or(self.tier.spec.data_key_reuse_seconds.default)
    }

    fn rotation(&self) -> i32 {
        self.input.object.spec.key.rotation_period_days.unwrap_or(self.tier.spec.key.rotation_period_days.default)
    }

    fn dead_letter(&self) -> Option<DeadLetter> {
        let (tier, required) = (&self.tier.spec, self.tier.spec.dead_letter == DeadLetterRule::Required);
        // Of what nobody wrote, nobody is told that it is too long.
        let longest = tier.message_retention_seconds.maximum;
        let default = DeadLetter::default();
        let message_retention_seconds = default.message_retention_seconds.min(longest);
        self.input.object.spec.dead_letter.clone().or_else(|| required.then_some(DeadLetter { message_retention_seconds, ..default }))
    }

    /// A dead-letter queue that there is and that nobody declares or requires any more.
    fn dead_letter_end(&self) -> Option<DeadLetterEnd> {
        let object = self.input.object;
        let ends = self.dead_letter().is_none() && self.recorded_dead_letter_name().is_some();
        let even_if_not_empty = object.metadata.annotations.as_ref().and_then(|all| all.get(DELETE_NON_EMPTY)).is_some_and(|value| value == "true");
        ends.then_some(DeadLetterEnd { even_if_not_empty })
    }

    fn adoption(&self, queue: &str, dead_letter: Option<&str>) -> Option<AdoptionRules> {
        let patterns = &self.tenant.spec.adoptable_queue_names;
        let listed = |name: &str| patterns.iter().any(|pattern| glob(pattern, name));
        let retention = self.tier.spec.message_retention_seconds;
        (self.input.object.spec.adoption == Adoption::IfUnowned).then(|| AdoptionRules {
            source: listed(queue),
            dead_letter: dead_letter.is_some_and(listed),
            retention_seconds: (retention.minimum, retention.maximum),
        })
    }

    fn key(&self) -> KeyIdentity {
        let spec = &self.input.object.spec;
        KeyIdentity {
            tenant: spec.tenant.clone(),
            sensitivity_tier: spec.sensitivity_tier.clone(),
            region: self.place.region.clone(),
            queue: (self.tier.spec.key.scope == KeyScope::Queue).then(|| self.object()),
        }
    }

    fn build(&self, mut refusals: Refusals) -> Result<DesiredQueue, Box<Refusal>> {
        let (spec, tenant, tier) = (&self.input.object.spec, &self.tenant.spec, &self.tier.spec);
        let rules = PrincipalRules::new(tenant, tier, self.place.partition, self.input.operator_role);
        let suspended = tenant.access == TenantAccess::Suspended;
        let (dead_letter, dead_letter_end) = (self.dead_letter(), self.dead_letter_end());
        let has_dead_letters = dead_letter.is_some() || dead_letter_end.is_some();
        let grants = declared_grants(self.input, &rules, has_dead_letters, &mut refusals);
        let declared = declared_tags(&tenant.tags, &spec.tags, &tier.required_tags, &mut refusals.violations);
        let arn = self.place.queue_arn(&self.queue_name());
        let dead_letter_arn = has_dead_letters.then(|| self.place.queue_arn(&self.dead_letter_queue_name(arn.name(), dead_letter_end.is_some())));
        let access = QueueAccess { queue: arn.clone(), dead_letter_queue: dead_letter_arn.clone(), grants, others: tier.access.others, suspended };
        super::attributes::check_size(&access, &self.place, &mut refusals.violations);
        if !refusals.violations.is_empty() {
            let place = Some(self.place.clone());
            return Err(Box::new(Refusal { violations: refusals.violations, rules: Some(rules), suspended, place }));
        }
        let (object, key) = (self.object(), self.key());
        let uid = self.input.object.metadata.uid.clone().unwrap_or_default();
        let mut tags = declared.clone();
        tags.extend(owner_tags(self.input.cluster_id, &uid, &object.to_string(), &spec.tenant, &spec.sensitivity_tier));
        Ok(DesiredQueue {
            source: QueueSide {
                attributes: source_attributes(&spec.queue, self.reuse(), dead_letter.as_ref().zip(dead_letter_arn.as_ref())),
                arn: arn.clone(),
            },
            adoption: self.adoption(arn.name(), dead_letter_arn.as_ref().map(QueueArn::name)),
            dead_letter_end,
            dead_letter: dead_letter_arn.map(|dead_letter_arn| QueueSide {
                attributes: dead_letter
                    .map_or_else(ending_dead_letter_attributes, |settings| dead_letter_attributes(&spec.queue, &settings, self.reuse(), &arn)),
                arn: dead_letter_arn,
            }),
            object,
            uid,
            place: self.place.clone(),
            access,
            tags,
            declared_tags: declared,
            key_name: key.object_name(self.input.key_generation),
            key,
            data_key_reuse_seconds: self.reuse(),
            rotation_period_days: self.rotation(),
            rotate_requested_at: spec.key.rotate_requested_at.as_ref().map(|time| time.0),
            deletion_policy: tier.deletion_policy.unwrap_or(spec.deletion_policy),
            needs_approval: tier.approval == Approval::OnWidening || self.input.leaves_approval,
            settle: self.input.settle,
            notes: refusals.notes,
        })
    }
}

/// Roles that every key policy of a tenant names, each with its field.
fn named_roles(tenant: &TenantSpec) -> Vec<(String, &str)> {
    let lists = [("keyAdministrators", &tenant.key_administrators), ("breakGlassAdministrators", &tenant.break_glass_administrators)];
    let listed = lists.into_iter().flat_map(|(field, arns)| arns.iter().enumerate().map(move |(index, arn)| (format!("spec.{field}[{index}]"), arn)));
    let operator = tenant.aws.role_arn.iter().map(|arn| ("spec.aws.roleArn".to_owned(), arn));
    operator.chain(listed).map(|(field, arn)| (field, arn.as_str())).collect()
}

fn contains(bounds: Bounds, value: i32) -> bool {
    (bounds.minimum..=bounds.maximum).contains(&value)
}

fn tenant_admits_namespace(tenant: &Tenant, namespace: &str, labels: Option<&BTreeMap<String, String>>) -> bool {
    let namespaces = &tenant.spec.namespaces;
    let by_label = || {
        let (Some(selector), Some(labels)) = (&namespaces.selector, labels) else { return false };
        // An empty selector matches every namespace in Kubernetes; here it would give a tenant's rights to all of them, so it matches none.
        let empty = selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty) && selector.match_expressions.as_ref().is_none_or(Vec::is_empty);
        !empty && selector_matches(selector, labels)
    };
    namespaces.names.iter().any(|name| name == namespace) || by_label()
}

fn selector_matches(selector: &k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let equal = selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let expressions = selector.match_expressions.iter().flatten().all(|requirement| {
        let (value, values) = (labels.get(&requirement.key), requirement.values.as_deref().unwrap_or_default());
        match requirement.operator.as_str() {
            "In" => value.is_some_and(|v| values.contains(v)),
            "NotIn" => value.is_none_or(|v| !values.contains(v)),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    });
    equal && expressions
}
