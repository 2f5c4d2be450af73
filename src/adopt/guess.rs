//! Which tenant and tier a queue may belong to, guessed from its tags and name.

use std::collections::BTreeMap;

use super::{FoundQueue, Remark, RemarkKind};
use crate::api::{SensitivityTier, Tenant};
use crate::plan::state::Tags;

/// Tags by which people say whose a queue is, the surest first.
const TENANT_TAGS: [&str; 10] =
    ["encryptedqueue.dev/tenant", "tenant", "team", "owner", "product", "application", "app", "service", "project", "domain"];
/// Tags by which they say how sensitive it is.
const TIER_TAGS: [&str; 9] = [
    "encryptedqueue.dev/sensitivity-tier",
    "sensitivity-tier",
    "sensitivity",
    "data-classification",
    "dataclassification",
    "data-sensitivity",
    "classification",
    "confidentiality",
    "tier",
];
/// Stands where nothing could be guessed.
const UNKNOWN: &str = "change-me";

/// What is known beside the queues.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Tenants, by name; empty: not known.
    pub tenants: BTreeMap<String, Tenant>,
    /// Tiers, by name; empty: not known.
    pub tiers: BTreeMap<String, SensitivityTier>,
    /// Tenant of queues whose tags tell none.
    pub tenant: Option<String>,
    /// Tier of queues whose tags tell none.
    pub tier: Option<String>,
    /// Namespace of all manifests; none: the tenant's first.
    pub namespace: Option<String>,
}

/// A guess and what it was guessed from.
pub(super) struct Guess {
    pub(super) tenant: String,
    pub(super) tier: String,
    pub(super) namespace: String,
    pub(super) remarks: Vec<Remark>,
}

pub(super) fn guess(found: &FoundQueue, known: &Known) -> Guess {
    let (tenant, from) = tenant_of(found, known);
    let mut remarks = vec![Remark::new(RemarkKind::Guessed, "spec.tenant", from)];
    let object = known.tenants.get(&tenant);
    let (tier, from) = tier_of(&found.queue.tags, object, known);
    remarks.push(Remark::new(RemarkKind::Guessed, "spec.sensitivityTier", from));
    let namespace = known.namespace.clone().or_else(|| object.and_then(|tenant| tenant.spec.namespaces.names.first().cloned()));
    Guess { namespace: namespace.unwrap_or_else(|| tenant.clone()), tenant, tier, remarks }
}

fn tenant_of(found: &FoundQueue, known: &Known) -> (String, String) {
    let (tags, name) = (&found.queue.tags, crate::names::queue_name_of(&found.queue.url));
    let here = || known.tenants.iter().filter(|(_, tenant)| tenant.spec.aws.account_id == found.place.account);
    let tagged = named_by(tags, &TENANT_TAGS, |value| known.tenants.is_empty() || here().any(|(name, _)| name == value));
    // What a tenant puts on all its queues.
    let by_tags = || here().find(|(_, tenant)| tenant.spec.tags.iter().any(|(key, value)| tags.get(key) == Some(value)));
    let by_name = || here().find(|(tenant, _)| name.starts_with(&format!("{tenant}-")));
    let only = || Some(here()).filter(|all| all.clone().count() == 1).and_then(|mut all| all.next());
    if let Some(guess) = tagged {
        guess
    } else if let Some((tenant, _)) = by_tags() {
        (tenant.clone(), "the Tenant has tags of this queue".to_owned())
    } else if let Some((tenant, _)) = by_name() {
        (tenant.clone(), format!("the queue's name begins with {tenant}-"))
    } else if let Some(tenant) = &known.tenant {
        (tenant.clone(), "no tag tells; as asked for".to_owned())
    } else if let Some((tenant, _)) = only() {
        (tenant.clone(), format!("it is the only Tenant of account {}", found.place.account))
    } else {
        (UNKNOWN.to_owned(), "no tag tells: name its Tenant".to_owned())
    }
}

fn tier_of(tags: &Tags, tenant: Option<&Tenant>, known: &Known) -> (String, String) {
    let admitted = |value: &str| match tenant {
        Some(tenant) => tenant.spec.sensitivity_tiers.iter().any(|tier| tier == value),
        None => known.tiers.is_empty() || known.tiers.contains_key(value),
    };
    if let Some(guess) = named_by(tags, &TIER_TAGS, admitted) {
        return guess;
    }
    if let Some(tier) = &known.tier {
        return (tier.clone(), "no tag tells; as asked for".to_owned());
    }
    match tenant.map(|tenant| &tenant.spec.sensitivity_tiers[..]) {
        Some([tier]) => (tier.clone(), "it is the Tenant's only one".to_owned()),
        Some([tier, ..]) => (tier.clone(), "no tag tells; it is the Tenant's first".to_owned()),
        _ => (UNKNOWN.to_owned(), "no tag tells: name its SensitivityTier".to_owned()),
    }
}

/// The first of these tags that names one, however it is written.
fn named_by(tags: &Tags, keys: &[&str], admitted: impl Fn(&str) -> bool) -> Option<(String, String)> {
    let spelled = |key: &str| key.to_lowercase().replace(['_', ' '], "-");
    let values = keys.iter().flat_map(|wanted| tags.iter().filter(move |(key, _)| spelled(key) == *wanted));
    let mut names = values.map(|(key, value)| (label(value), format!("tag {key}: {value}")));
    names.find(|(name, _)| !name.is_empty() && admitted(name))
}

/// A text as a DNS label; empty: nothing of it can stand in one.
pub(super) fn label(text: &str) -> String {
    let lower: String = text.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let mut cut = String::new();
    for part in lower.split('-').filter(|part| !part.is_empty()) {
        if !cut.is_empty() {
            cut.push('-');
        }
        cut.push_str(part);
    }
    cut.chars().take(63).collect::<String>().trim_matches('-').to_owned()
}
