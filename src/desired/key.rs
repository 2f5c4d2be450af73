//! `QueueKey` + the queues that use it → [`DesiredKey`].

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::tags::owner_tags;
use super::{DesiredQueue, KeyIdentity, PrincipalRules};
use crate::api::queue_key::{DeletedPrincipal, KeyUser, NamespacedName};
use crate::api::tenant::TenantAccess;
use crate::api::{DeletionPolicy, QueueKey, SensitivityTier, Tenant};
use crate::names::{Place, QueueArn, RoleArn};
use crate::plan::state::Tags;
use crate::policy::access::{Grant, KeyAccess, QueueAccess};

/// A queue that uses the key.
pub struct KeyUserInput {
    /// Its object.
    pub object: NamespacedName,
    /// Its UID.
    pub uid: String,
    /// The queue and its dead-letter queue in AWS, as status records them.
    pub recorded: Option<(QueueArn, Option<QueueArn>)>,
    /// What it should be, or the rules that its applied grants must still satisfy (None: they stay as they are).
    pub desired: Result<DesiredQueue, Option<PrincipalRules>>,
    /// Whether the queue is under another key already or is to be: of this key it is `desired` as far as messages under it need it.
    pub retiring: Option<Retiring>,
    /// Deleted principals that its policies showed.
    pub deleted: Vec<DeletedPrincipal>,
    /// Whether its object is paused; then it is not `desired`.
    pub paused: bool,
    /// Whether its object ends while its queues stay under the shared key; then it is not `desired`.
    pub leaving: bool,
}

/// How far a queue is on its way to another key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Retiring {
    /// It is still under this one.
    Current,
    /// It was moved away.
    Previous {
        /// When.
        switched_at: Timestamp,
        /// When what it needs of this key changes by itself.
        changes_at: Timestamp,
        /// Until when messages under this key may live.
        decrypt_until: Timestamp,
    },
}

/// All that decides what a key should be.
pub struct KeyInput<'a> {
    /// The key's object.
    pub object: &'a QueueKey,
    /// Its tenant.
    pub tenant: &'a Tenant,
    /// Its tier; None: gone, and with it the rules for new values.
    pub tier: Option<&'a SensitivityTier>,
    /// Id of this cluster.
    pub cluster_id: &'a str,
    /// The operator's role in the tenant's account.
    pub operator_role: &'a RoleArn,
    /// The queues that use it.
    pub users: Vec<KeyUserInput>,
    /// Approvals of access to it that were neither used nor lapsed.
    pub approvals: Vec<Approval>,
}

/// An approval that may be used.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Approval {
    /// Name of the AccessApproval.
    pub name: String,
    /// Hash it approves.
    pub grants_sha256: String,
    /// The queue it was given for, if it says.
    pub queue: Option<NamespacedName>,
    /// Who approved.
    pub approved_by: String,
}

/// An accepted queue that uses the key.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct DesiredUser {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The declared access.
    pub access: QueueAccess,
    /// Whether gains wait for an approval.
    pub needs_approval: bool,
}

impl DesiredUser {
    /// Whether a record in status is this user's.
    pub fn is(&self, recorded: &KeyUser) -> bool {
        self.namespace == recorded.namespace && self.name == recorded.name
    }

    /// Its object.
    pub fn object(&self) -> NamespacedName {
        NamespacedName { namespace: self.namespace.clone(), name: self.name.clone() }
    }

    /// The record of what is held for it.
    pub fn record(&self, held: &QueueAccess) -> KeyUser {
        let grants = held.effective_grants();
        KeyUser {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            grants_sha256: held.sha256(),
            approved_grants: if self.needs_approval { grants.iter().map(ToString::to_string).collect() } else { Vec::new() },
        }
    }
}

/// A queue that keeps what was applied for it, less what the rules no longer admit.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct KeptUser {
    /// The queue's object; None: the queue was let go of, and the object is gone.
    pub object: Option<NamespacedName>,
    /// The queue and its dead-letter queue in AWS; None: not made yet.
    pub queue: Option<(QueueArn, Option<QueueArn>)>,
    /// The rules; None: everything stays.
    pub rules: Option<PrincipalRules>,
    /// Whether its object is paused.
    pub paused: bool,
    /// Whether its object ends or has ended while its queues stay.
    pub released: bool,
}

impl KeptUser {
    /// Whether a record in status is this user's.
    pub fn is(&self, recorded: &KeyUser) -> bool {
        self.object.as_ref().is_some_and(|object| object.namespace == recorded.namespace && object.name == recorded.name)
    }

    /// Whether the rules still admit a grant that the queue has.
    pub fn admits(&self, grant: &Grant) -> bool {
        self.rules.as_ref().is_none_or(|rules| rules.check(grant).is_ok())
    }
}

/// A key as it should be.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct DesiredKey {
    /// Name of its QueueKey.
    pub name: String,
    /// Whether many queues may use it.
    pub shared: bool,
    /// Where it lives.
    pub place: Place,
    /// Alias.
    pub alias: String,
    /// Description.
    pub description: String,
    /// Tags, without the nonce.
    pub tags: Tags,
    /// Who administers the key; its users are added as far as they are held.
    pub access: KeyAccess,
    /// The accepted users.
    pub users: Vec<DesiredUser>,
    /// Approvals that may be used.
    pub approvals: Vec<Approval>,
    /// Users that keep what they have.
    pub kept: Vec<KeptUser>,
    /// When what its users need of it changes by itself.
    pub changes_at: Option<Timestamp>,
    /// If all its queues were moved to other keys: since when, and until when messages under it may live.
    pub retirement: Option<(Timestamp, Timestamp)>,
    /// Deleted principals that the users' own policies showed.
    pub reported: Vec<DeletedPrincipal>,
    /// What tenant and tier admit; None: the tier is gone.
    pub rules: Option<PrincipalRules>,
    /// Days between rotations: the shortest that a user asks for; None: no user is accepted, leave it.
    pub rotation_period_days: Option<i32>,
    /// The latest on-demand rotation asked for.
    pub rotate_requested_at: Option<Timestamp>,
    /// Waiting period of its deletion in days.
    pub deletion_window_days: i32,
    /// What happens at the end.
    pub deletion_policy: DeletionPolicy,
}

impl DesiredKey {
    /// Whether any queue needs the key.
    pub fn is_used(&self) -> bool {
        !self.users.is_empty() || self.kept.iter().any(|kept| kept.object.is_some())
    }

    /// Its queues, of users declared and kept, with their dead-letter queues.
    pub(crate) fn queues(&self) -> BTreeMap<QueueArn, Option<QueueArn>> {
        let declared = self.users.iter().map(|user| (user.access.queue.clone(), user.access.dead_letter_queue.clone()));
        declared.chain(self.kept.iter().filter_map(|kept| kept.queue.clone())).collect()
    }

    /// Whether all its queues are paused: then it is narrowed at most.
    pub fn is_paused(&self) -> bool {
        let mut kept = self.kept.iter().filter(|kept| !kept.released).peekable();
        self.users.is_empty() && kept.peek().is_some() && kept.all(|kept| kept.paused)
    }
}

/// What the key should be.
pub fn desired_key(input: KeyInput<'_>) -> DesiredKey {
    let KeyInput { object, tenant, tier, cluster_id, operator_role, users, approvals } = input;
    let (name, spec) = (object.metadata.name.clone().unwrap_or_default(), &object.spec);
    let identity = KeyIdentity::of(spec);
    let place = super::place_of(tenant, Some(&spec.region));
    let (mut accepted, mut retiring, mut kept, mut reported) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut ways = Vec::new();
    for user in users {
        reported.extend(user.deleted);
        match (user.desired, user.retiring) {
            (Ok(desired), Some(how)) => {
                ways.push(how);
                retiring.push((user.object, user.uid, desired));
            }
            (Ok(desired), None) => accepted.push((user.object, user.uid, desired)),
            (Err(rules), _) => {
                kept.push(KeptUser { object: Some(user.object), queue: user.recorded, rules, paused: user.paused, released: user.leaving });
            }
        }
    }
    accepted.sort_by(|a, b| a.0.cmp(&b.0));
    // Of a shared key the tenant's tags are those that its users agree upon.
    let (rotation_period_days, rotate_requested_at) = (
        accepted.iter().map(|(_, _, user)| user.rotation_period_days).min(),
        accepted.iter().filter_map(|(_, _, user)| user.rotate_requested_at).max(),
    );
    let retirement = if accepted.is_empty() && kept.is_empty() { retirement(&ways) } else { None };
    accepted.extend(retiring);
    let mut tags = accepted.first().map_or_else(|| tenant.spec.tags.clone(), |(_, _, first)| first.declared_tags.clone());
    tags.retain(|key, value| accepted.iter().all(|(_, _, user)| user.declared_tags.get(key) == Some(value)));
    let uid = object.metadata.uid.as_deref().unwrap_or_default();
    tags.extend(owner_tags(cluster_id, uid, &name, &spec.tenant, &spec.sensitivity_tier));
    DesiredKey {
        shared: identity.queue.is_none(),
        alias: identity.alias(cluster_id, identity.generation_of(&name).unwrap_or(1)),
        description: description(&identity),
        tags,
        access: KeyAccess {
            operator: operator_role.clone(),
            administrators: roles(&tenant.spec.key_administrators),
            break_glass: roles(&tenant.spec.break_glass_administrators),
            users: Vec::new(),
            suspended: tenant.spec.access == TenantAccess::Suspended,
            place: place.clone(),
        },
        users: accepted
            .iter()
            .map(|(object, uid, user)| DesiredUser {
                namespace: object.namespace.clone(),
                name: object.name.clone(),
                uid: uid.clone(),
                access: user.access.clone(),
                needs_approval: user.needs_approval,
            })
            .collect(),
        approvals,
        kept,
        reported,
        rules: tier.map(|tier| PrincipalRules::new(&tenant.spec, &tier.spec, place.partition, Some(operator_role))),
        rotation_period_days,
        rotate_requested_at,
        changes_at: ways.iter().filter_map(|way| if let Retiring::Previous { changes_at, .. } = way { Some(*changes_at) } else { None }).min(),
        retirement,
        deletion_window_days: tier.map_or(30, |tier| tier.spec.key.deletion_window_days),
        deletion_policy: spec.deletion_policy,
        name,
        place,
    }
}

/// None: a queue is still under the key.
fn retirement(ways: &[Retiring]) -> Option<(Timestamp, Timestamp)> {
    let moved = |way: &Retiring| match way {
        Retiring::Current => None,
        Retiring::Previous { switched_at, decrypt_until, .. } => Some((*switched_at, *decrypt_until)),
    };
    let moved: Vec<(Timestamp, Timestamp)> = ways.iter().map(moved).collect::<Option<_>>()?;
    Some((moved.iter().map(|(since, _)| *since).max()?, moved.iter().map(|(_, until)| *until).max()?))
}

fn description(identity: &KeyIdentity) -> String {
    let what = identity.queue.as_ref().map_or_else(|| "queues".to_owned(), |queue| format!("queue {queue}"));
    format!("{what} of tenant {}, tier {}, managed by encrypted-queue-operator", identity.tenant, identity.sensitivity_tier)
}

/// The schema admits only role ARNs here; one that does not parse is left out rather than written into a policy.
fn roles(arns: &[String]) -> BTreeSet<RoleArn> {
    arns.iter().filter_map(|arn| RoleArn::parse(arn).ok()).collect()
}
