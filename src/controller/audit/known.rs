//! What the audits of a report's queues and keys found.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::audit::checks::ASK_FOR_USERS;
use crate::audit::policy_report::FindingKey;
use crate::audit::report::{ResourceKind, ResourceReport};
use crate::telemetry::figures::Findings;

/// What is known of a report's queues and keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// Those of which something was found, by ARN.
    found: BTreeMap<String, ResourceReport>,
    /// The others, by the hashes of their ARNs.
    clean: HashSet<u64>,
    /// Others that only a report of before counts, until the next audit.
    unnamed: usize,
    /// What could not be read.
    pub(super) problems: usize,
}

fn hash(arn: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    arn.hash(&mut hasher);
    hasher.finish()
}

impl Known {
    /// What an audit found.
    pub(super) fn of(resources: Vec<ResourceReport>, problems: usize) -> Self {
        let mut known = Self { problems, ..Self::default() };
        for resource in resources {
            known.put(resource);
        }
        known
    }

    /// What a report says.
    pub(super) fn recalled((resources, clean, problems): (Vec<ResourceReport>, usize, usize)) -> Self {
        Self { unnamed: clean, ..Self::of(resources, problems) }
    }

    /// Puts what is known of a queue or key now.
    pub(super) fn put(&mut self, resource: ResourceReport) {
        if resource.open().next().is_some() {
            self.clean.remove(&hash(&resource.arn));
            self.found.insert(resource.arn.clone(), resource);
        } else {
            let had_findings = self.found.remove(&resource.arn).is_some();
            // It may be one of the unnamed.
            if had_findings || self.unnamed == 0 {
                self.clean.insert(hash(&resource.arn));
            }
        }
    }

    /// Forgets a queue or key; what was found of it.
    pub(super) fn take(&mut self, arn: &str) -> Option<ResourceReport> {
        self.clean.remove(&hash(arn));
        self.found.remove(arn)
    }

    pub(super) fn has_findings(&self, arn: &str) -> bool {
        self.found.contains_key(arn)
    }

    pub(super) fn found(&self) -> impl Iterator<Item = &ResourceReport> {
        self.found.values()
    }

    pub(super) fn clean(&self) -> usize {
        self.clean.len() + self.unnamed
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty() && self.clean() == 0
    }

    pub(super) fn keys(&self) -> BTreeSet<FindingKey> {
        let of = |resource: &ResourceReport| resource.open().map(|finding| (finding.check.to_owned(), resource.arn.clone())).collect::<Vec<_>>();
        self.found().flat_map(of).collect()
    }

    pub(super) fn counts(&self) -> Findings {
        let mut counts = Findings::new();
        for finding in self.found().flat_map(ResourceReport::open) {
            *counts.entry((finding.check, finding.severity.as_str())).or_default() += 1;
        }
        counts
    }
}

/// What a look at a key by itself cannot tell stays as it was.
pub(super) fn keep_what_asks_for_users(resource: &mut ResourceReport, before: Option<ResourceReport>) {
    if resource.kind == ResourceKind::Key {
        resource.findings.retain(|finding| !ASK_FOR_USERS.contains(&finding.check));
        let kept = before.into_iter().flat_map(|before| before.findings).filter(|finding| ASK_FOR_USERS.contains(&finding.check));
        resource.findings.extend(kept);
        resource.findings.sort_by(|a, b| (b.severity, a.check).cmp(&(a.severity, b.check)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::checks::Severity;
    use crate::audit::report::FindingReport;

    fn resource(kind: ResourceKind, arn: &str, checks: &[&'static str]) -> ResourceReport {
        let finding = |check: &&'static str| FindingReport { check, severity: Severity::Low, details: Vec::new(), accepted: None };
        ResourceReport {
            kind,
            arn: arn.to_owned(),
            name: arn.to_owned(),
            account: String::new(),
            region: String::new(),
            tenant: None,
            sensitivity_tier: None,
            object: None,
            key: None,
            compliant: checks.is_empty(),
            findings: checks.iter().map(finding).collect(),
        }
    }

    #[test]
    fn what_is_known_follows_looks() {
        let mut known = Known::of(vec![resource(ResourceKind::Queue, "a", &["queue-untagged"]), resource(ResourceKind::Queue, "b", &[])], 0);
        assert_eq!((known.clean(), known.has_findings("a"), known.has_findings("b")), (1, true, false));
        known.put(resource(ResourceKind::Queue, "a", &[]));
        known.put(resource(ResourceKind::Queue, "b", &["queue-untagged"]));
        assert_eq!((known.clean(), known.keys().len()), (1, 1));
        assert_eq!(known.counts()[&("queue-untagged", "low")], 1);
        assert!(known.take("b").is_some() && known.take("a").is_none());
        assert!(known.is_empty());
        assert!(!Known::recalled((Vec::new(), 3, 0)).is_empty());
    }

    #[test]
    fn a_look_at_a_key_keeps_what_it_cannot_judge() {
        let before = resource(ResourceKind::Key, "k", &["key-shared", "key-untagged"]);
        let mut now = resource(ResourceKind::Key, "k", &["key-rotation-off", "key-unused"]);
        keep_what_asks_for_users(&mut now, Some(before.clone()));
        assert_eq!(now.findings.iter().map(|finding| finding.check).collect::<Vec<_>>(), ["key-rotation-off", "key-shared"]);
        let mut queue = resource(ResourceKind::Queue, "q", &["queue-untagged"]);
        keep_what_asks_for_users(&mut queue, Some(before));
        assert_eq!(queue.findings.len(), 1);
    }
}
