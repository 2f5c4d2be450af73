//! AWS's limits on policies, checked before AWS says no.

use std::fmt;

use super::document::{Document, Principals, Statement};

/// What is limited.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Limit {
    /// Bytes of a queue policy (SQS quotas).
    QueuePolicyBytes,
    /// Statements of a queue policy.
    QueuePolicyStatements,
    /// Principals of a queue policy, counted over all statements.
    QueuePolicyPrincipals,
    /// Conditions of one statement of a queue policy.
    QueuePolicyConditions,
    /// Actions of one statement of a queue policy.
    QueuePolicyActions,
    /// Bytes of a key policy (KMS quotas).
    KeyPolicyBytes,
}

impl Limit {
    /// The most that AWS accepts.
    pub const fn maximum(self) -> usize {
        match self {
            Self::QueuePolicyBytes => 8_192,
            Self::QueuePolicyStatements => 20,
            Self::QueuePolicyPrincipals => 50,
            Self::QueuePolicyConditions => 10,
            Self::QueuePolicyActions => 7,
            Self::KeyPolicyBytes => 32_768,
        }
    }

    const fn unit(self) -> &'static str {
        match self {
            Self::QueuePolicyBytes => "bytes in the queue policy",
            Self::QueuePolicyStatements => "statements in the queue policy",
            Self::QueuePolicyPrincipals => "principals in the queue policy",
            Self::QueuePolicyConditions => "conditions in a statement of the queue policy",
            Self::QueuePolicyActions => "actions in a statement of the queue policy",
            Self::KeyPolicyBytes => "bytes in the key policy",
        }
    }
}

/// A limit that a policy exceeds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LimitExceeded {
    /// Which.
    pub limit: Limit,
    /// How many there are.
    pub found: usize,
    /// The statement, for a limit on statements.
    pub sid: Option<String>,
}

impl LimitExceeded {
    /// By how much.
    pub const fn excess(&self) -> usize {
        self.found.saturating_sub(self.limit.maximum())
    }
}

impl fmt::Display for LimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, found, sid } = self;
        write!(f, "{found} {}, AWS accepts {}: {} too many", limit.unit(), limit.maximum(), self.excess())?;
        sid.as_ref().map_or(Ok(()), |sid| write!(f, " in {sid}"))
    }
}

/// The limits that a queue policy exceeds.
pub fn check_queue(document: &Document) -> Vec<LimitExceeded> {
    let whole = [
        (Limit::QueuePolicyBytes, document.to_json().len()),
        (Limit::QueuePolicyStatements, document.statements.len()),
        (Limit::QueuePolicyPrincipals, document.statements.iter().map(principals).sum()),
    ];
    let whole = whole.into_iter().filter_map(|(limit, found)| exceeded(limit, found, None));
    let each = document.statements.iter().flat_map(|statement| {
        // SQS counts actions in each statement, and accepts a policy of many statements with one condition each: so those are counted likewise.
        let conditions = statement.conditions.values().map(std::collections::BTreeMap::len).sum();
        let limits = [(Limit::QueuePolicyConditions, conditions), (Limit::QueuePolicyActions, statement.actions.len())];
        limits.into_iter().filter_map(|(limit, found)| exceeded(limit, found, statement.sid.clone()))
    });
    whole.chain(each).collect()
}

/// The limits that a key policy exceeds.
pub fn check_key(document: &Document) -> Vec<LimitExceeded> {
    exceeded(Limit::KeyPolicyBytes, document.to_json().len(), None).into_iter().collect()
}

fn exceeded(limit: Limit, found: usize, sid: Option<String>) -> Option<LimitExceeded> {
    (found > limit.maximum()).then_some(LimitExceeded { limit, found, sid })
}

fn principals(statement: &Statement) -> usize {
    match &statement.principals {
        Principals::Absent => 0,
        Principals::Anyone => 1,
        Principals::Named(kinds) => kinds.values().map(std::collections::BTreeSet::len).sum(),
    }
}
