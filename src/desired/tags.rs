//! Tags on queues and keys: the operator's own first, then the tenant's, then the queue's.

use std::collections::BTreeMap;

use super::Violation;
use crate::api::labels::{TAG_CLUSTER, TAG_OBJECT, TAG_PREFIX, TAG_RELEASED, TAG_SENSITIVITY_TIER, TAG_TENANT, TAG_UID};
use crate::api::{EncryptedQueue, Reason};
use crate::plan::state::Tags;

/// Most tags on a queue or key (SQS and KMS developer guides).
const MAX_TAGS: usize = 50;

/// What says whose a queue or key is.
pub(super) fn owner_tags(cluster_id: &str, uid: &str, object: &str, tenant: &str, tier: &str) -> Tags {
    [(TAG_CLUSTER, cluster_id), (TAG_UID, uid), (TAG_OBJECT, object), (TAG_TENANT, tenant), (TAG_SENSITIVITY_TIER, tier)]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// What says that a queue in AWS is this object's.
pub fn queue_owner_tags(cluster_id: &str, queue: &EncryptedQueue) -> Tags {
    let metadata = &queue.metadata;
    let object = format!("{}/{}", metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default());
    owner_tags(cluster_id, metadata.uid.as_deref().unwrap_or_default(), &object, &queue.spec.tenant, &queue.spec.sensitivity_tier)
}

/// Whether tags found in AWS name the same owner: cluster, object and tenant. The UID does not count: a recreated object takes its queue and key back.
pub fn owner_tags_match(found: &Tags, desired: &Tags) -> bool {
    [TAG_CLUSTER, TAG_OBJECT, TAG_TENANT].iter().all(|key| desired.contains_key(*key) && found.get(*key) == desired.get(*key))
}

/// Whether no tag found in AWS names another owner; those that are missing name nobody.
pub(crate) fn names_no_other_owner(found: &Tags, desired: &Tags) -> bool {
    [TAG_CLUSTER, TAG_OBJECT, TAG_TENANT].iter().all(|key| found.get(*key).is_none_or(|owner| Some(owner) == desired.get(*key)))
}

/// Tenant's and queue's tags together, or what is wrong with them.
pub(super) fn declared_tags(
    tenant: &BTreeMap<String, String>,
    queue: &BTreeMap<String, String>,
    required: &[String],
    violations: &mut Vec<Violation>,
) -> Tags {
    let mut tags = tenant.clone();
    for (key, value) in queue {
        let field = format!("spec.tags[{key:?}]");
        if key.starts_with("aws:") || key.starts_with(TAG_PREFIX) {
            violations.push(Violation::new(
                Reason::TagInvalid,
                field,
                format!("the prefix is reserved; use a tag without `aws:` and `{TAG_PREFIX}`"),
            ));
        } else if tenant.get(key).is_some_and(|theirs| theirs != value) {
            violations.push(Violation::new(Reason::TagInvalid, field, "the tenant sets this tag to another value; remove it here"));
        } else {
            tags.insert(key.clone(), value.clone());
        }
    }
    for key in required.iter().filter(|key| tags.get(*key).is_none_or(String::is_empty)) {
        violations.push(Violation::new(
            Reason::RequiredTagMissing,
            format!("spec.tags[{key:?}]"),
            "the tier requires this tag; set it here or in the tenant's spec.tags",
        ));
    }
    // Six of the operator's own on a key, one more once released.
    if tags.len() + 7 > MAX_TAGS {
        violations.push(Violation::new(
            Reason::TagInvalid,
            "spec.tags",
            format!("{} tags with the tenant's; AWS takes {MAX_TAGS}, 7 of them the operator's", tags.len()),
        ));
    }
    tags
}

/// Tags to write and tag keys to remove, so that `found` holds `desired`; of what was applied before, what is no longer wanted goes, foreign tags stay.
pub(crate) fn tag_changes(desired: &Tags, found: &Tags, applied_before: &[String]) -> (Tags, Vec<String>) {
    let write = desired.iter().filter(|(key, value)| found.get(*key) != Some(*value)).map(|(k, v)| (k.clone(), v.clone())).collect();
    let ours = applied_before.iter().map(String::as_str).chain([TAG_RELEASED]);
    let mut remove: Vec<String> = ours.filter(|key| found.contains_key(*key) && !desired.contains_key(*key)).map(str::to_owned).collect();
    remove.sort();
    remove.dedup();
    (write, remove)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> Tags {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn foreign_tags_are_left_alone() {
        let found = tags(&[("backup", "daily"), ("workload", "old"), ("gone", "x"), (TAG_RELEASED, "2026-01-01")]);
        let (write, remove) = tag_changes(&tags(&[("workload", "orders")]), &found, &["gone".into(), "workload".into()]);
        assert_eq!(write, tags(&[("workload", "orders")]));
        assert_eq!(remove, ["encryptedqueue.dev/released", "gone"]);
    }

    #[test]
    fn a_queue_cannot_speak_for_its_tenant() {
        let mut violations = Vec::new();
        declared_tags(&tags(&[("owner", "payments")]), &tags(&[("owner", "me"), ("aws:x", "1")]), &["workload".into()], &mut violations);
        let reasons: Vec<Reason> = violations.iter().map(|v| v.reason).collect();
        assert_eq!(reasons, [Reason::TagInvalid, Reason::TagInvalid, Reason::RequiredTagMissing]);
    }
}
