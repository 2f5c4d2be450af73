//! Roles that ServiceAccounts have by EKS Pod Identity: remembered for as long as a check period, so that a queue at rest asks nothing.
//!
//! Where a ServiceAccount has an association and an IRSA annotation, EKS gives its pods the association's credentials alone (amazon-eks-pod-identity-webhook:
//! the container credentials come first), so the association counts.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::wake::Wake;
use crate::api::Reason;
use crate::api::queue_key::NamespacedName;
use crate::aws::{AwsError, Kind, PodIdentity, PodIdentityAssociation};
use crate::clock;
use crate::desired::ServiceAccountRole;

/// What was asked for at the same moment is answered by one call.
const JUST_NOW: Duration = Duration::from_secs(2);
/// A good answer outlives failures that pass by themselves for so many periods.
const PERIODS_KEPT: u32 = 3;

#[derive(Default)]
struct Known {
    listed_at: Option<Instant>,
    /// Id of each ServiceAccount's association.
    associations: BTreeMap<NamespacedName, String>,
    /// Why the last listing failed, and when.
    failure: Option<(Instant, AwsError)>,
    /// Role of each association that was asked for, and when.
    roles: HashMap<String, (Instant, Result<Option<String>, AwsError>)>,
}

/// What is known of Pod Identity associations; nothing where no cluster is named.
pub(super) struct PodIdentities {
    source: Option<PodIdentity>,
    period: Duration,
    known: Mutex<Known>,
    /// One look-up at a time: the others find its answer.
    looking: tokio::sync::Mutex<()>,
}

impl PodIdentities {
    pub(super) fn new(source: Option<PodIdentity>, period: Duration) -> Self {
        Self { source, period, known: Mutex::default(), looking: tokio::sync::Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings up to date what is known of these ServiceAccounts, if it is older than a check period, or at all if someone asks for a check. Whoever
    /// depends on what changed is woken.
    pub(super) async fn look_up(&self, accounts: &BTreeSet<NamespacedName>, asked: bool, wake: &Wake) {
        let Some(source) = self.source.as_ref().filter(|_| !accounts.is_empty()) else { return };
        let _one_at_a_time = self.looking.lock().await;
        // A little less than a period: the slow check comes about once in one.
        let age = if asked { JUST_NOW } else { self.period.mul_f64(0.85) };
        let before: Vec<_> = accounts.iter().map(|account| self.role(account, None)).collect();
        if self.is_due(age) {
            let changed = self.note_listing(source.associations().await);
            for account in changed.difference(accounts) {
                wake.service_account(account);
            }
        }
        for id in self.to_describe(accounts) {
            let role = source.role(&id).await;
            self.note_role(id, role);
        }
        for (account, before) in accounts.iter().zip(before) {
            if self.role(account, None) != before {
                wake.service_account(account);
            }
        }
    }

    fn is_due(&self, age: Duration) -> bool {
        let known = self.known();
        let failed_just_now = known.failure.as_ref().is_some_and(|(at, _)| clock::since(*at) < JUST_NOW);
        !failed_just_now && (known.failure.is_some() || known.listed_at.is_none_or(|at| clock::since(at) > age))
    }

    /// Notes a listing; the ServiceAccounts whose association is another one now.
    fn note_listing(&self, listed: Result<Vec<PodIdentityAssociation>, AwsError>) -> BTreeSet<NamespacedName> {
        let mut known = self.known();
        let listed = match listed {
            Ok(listed) => listed,
            Err(error) => {
                tracing::warn!(%error, "Pod Identity associations are not known");
                known.failure = Some((Instant::now(), error));
                return BTreeSet::new();
            }
        };
        let named = |association: PodIdentityAssociation| {
            (NamespacedName { namespace: association.namespace, name: association.service_account }, association.id)
        };
        let now: BTreeMap<_, _> = listed.into_iter().map(named).collect();
        let before = std::mem::take(&mut known.associations);
        let accounts: BTreeSet<&NamespacedName> = now.keys().chain(before.keys()).collect();
        let changed = accounts.into_iter().filter(|account| now.get(*account) != before.get(*account)).cloned().collect();
        let ids: BTreeSet<&String> = now.values().collect();
        known.roles.retain(|id, _| ids.contains(id));
        (known.associations, known.failure, known.listed_at) = (now, None, Some(Instant::now()));
        changed
    }

    /// Associations of these whose role was not asked for since the listing.
    fn to_describe(&self, accounts: &BTreeSet<NamespacedName>) -> Vec<String> {
        let known = self.known();
        let Some(listed_at) = known.listed_at else { return Vec::new() };
        let is_new = |id: &String| known.roles.get(id).is_none_or(|(at, role)| *at < listed_at || (role.is_err() && clock::since(*at) > JUST_NOW));
        accounts.iter().filter_map(|account| known.associations.get(account)).filter(|id| is_new(id)).cloned().collect()
    }

    /// A failure that passes by itself leaves a good answer as it is.
    fn note_role(&self, id: String, role: Result<Option<String>, AwsError>) {
        let mut known = self.known();
        let keeps = match (&role, known.roles.get(&id)) {
            (Err(error), Some((at, Ok(_)))) => passes(error) && clock::since(*at) < self.period * PERIODS_KEPT,
            _ => false,
        };
        if !keeps {
            known.roles.insert(id, (Instant::now(), role));
        }
    }

    /// The role of a ServiceAccount that exists, by its association, else by its annotation.
    pub(super) fn role(&self, account: &NamespacedName, annotated: Option<&String>) -> ServiceAccountRole {
        let by_annotation = || annotated.map(|role| ServiceAccountRole::Role(role.clone()));
        let Some(source) = &self.source else { return by_annotation().unwrap_or(ServiceAccountRole::WithoutRole) };
        let known = self.known();
        let is_old = known.listed_at.is_none_or(|at| clock::since(at) > self.period * PERIODS_KEPT);
        if let Some((_, error)) = known.failure.as_ref().filter(|(_, error)| is_old || !passes(error)) {
            return not_known(error);
        }
        let not_associated = || by_annotation().unwrap_or_else(|| ServiceAccountRole::NotAssociated { cluster: source.cluster().to_owned() });
        match known.associations.get(account).map(|id| known.roles.get(id)) {
            _ if known.listed_at.is_none() => not_looked_up(),
            None | Some(Some((_, Ok(None)))) => not_associated(),
            Some(None) => not_looked_up(),
            Some(Some((_, Err(error)))) => not_known(error),
            Some(Some((_, Ok(Some(role))))) => {
                ServiceAccountRole::Associated { role: role.clone(), ignored: annotated.filter(|annotated| *annotated != role).cloned() }
            }
        }
    }
}

/// Whether a failure heals without anyone's help.
fn passes(error: &AwsError) -> bool {
    matches!(error.kind, Kind::Throttled | Kind::Unavailable)
}

fn not_looked_up() -> ServiceAccountRole {
    ServiceAccountRole::Unknown { reason: Reason::Pending, message: "its Pod Identity association is being looked up".to_owned() }
}

fn not_known(error: &AwsError) -> ServiceAccountRole {
    let way_out = match error.kind {
        Kind::AccessDenied => "; allow the operator's own role eks:ListPodIdentityAssociations and eks:DescribePodIdentityAssociation",
        Kind::NotFound => "; correct --eks-cluster-name, or AWS_REGION, which must be the cluster's",
        _ => "",
    };
    let message = format!("its Pod Identity association is not known: {error}{way_out}. What was applied stays as it is");
    // A cluster that is not found is a setting to correct, not an object that is missing.
    let reason = if error.kind == Kind::NotFound { Reason::RequestRefused } else { error.reason() };
    ServiceAccountRole::Unknown { reason, message }
}
