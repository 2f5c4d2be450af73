//! Who gains and who loses between two states of access: what approvals, plans and status speak of.

use std::collections::BTreeSet;

use crate::api::sensitivity_tier::Others;

use super::access::{Grant, QueueAccess};

/// What changes from one access to another.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Difference {
    /// Grants only the new access has.
    pub gains: BTreeSet<Grant>,
    /// Grants only the old access has.
    pub losses: BTreeSet<Grant>,
    /// What is newly said of others, if that changes.
    pub others: Option<Others>,
    /// Whether the tenant is newly suspended (true) or active again (false), if that changes.
    pub suspended: Option<bool>,
}

impl Difference {
    /// Whether anyone can do more than before. That a suspended tenant becomes active again is not: its grants were never taken back.
    pub fn widens(&self) -> bool {
        !self.gains.is_empty() || self.others == Some(Others::Unstated)
    }

    /// Whether anyone can do less than before.
    pub fn narrows(&self) -> bool {
        !self.losses.is_empty() || self.others == Some(Others::Deny) || self.suspended == Some(true)
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What is gained, a line each: `arn:… may receive`.
    pub fn gain_lines(&self) -> Vec<String> {
        let others =
            (self.others == Some(Others::Unstated)).then(|| "others are no longer denied: IAM policies of the account may let them in".to_owned());
        let active = (self.suspended == Some(false)).then(|| "the tenant is no longer suspended".to_owned());
        self.gains.iter().map(Grant::to_string).chain(others).chain(active).collect()
    }

    /// What is lost, a line each: `arn:… may no longer receive`.
    pub fn loss_lines(&self) -> Vec<String> {
        let others = (self.others == Some(Others::Deny)).then(|| "others are denied, whatever IAM policies allow them".to_owned());
        let suspended = (self.suspended == Some(true)).then(|| "the tenant is suspended: nobody may use the queue".to_owned());
        let lost = self.losses.iter().map(|Grant { principal, capability }| format!("{principal} may no longer {capability}"));
        lost.chain(others).chain(suspended).collect()
    }
}

/// Compares two sets of grants.
pub fn grant_difference(old: &BTreeSet<Grant>, new: &BTreeSet<Grant>) -> Difference {
    let (gains, losses) = (new.difference(old).cloned().collect(), old.difference(new).cloned().collect());
    Difference { gains, losses, others: None, suspended: None }
}

/// Compares two states of a queue's access. Before there was any, nobody had a grant and others were denied.
pub fn difference(old: Option<&QueueAccess>, new: &QueueAccess) -> Difference {
    let old_grants = old.map(QueueAccess::effective_grants).unwrap_or_default();
    let (old_others, was_suspended) = old.map_or((Others::Deny, false), |old| (old.others, old.suspended));
    Difference {
        others: (old_others != new.others).then_some(new.others),
        suspended: (was_suspended != new.suspended).then_some(new.suspended),
        ..grant_difference(&old_grants, &new.effective_grants())
    }
}
