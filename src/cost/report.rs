//! The answer as data: the schema of `-o json`. Fields are only ever added; [`SCHEMA_VERSION`] is raised if one is removed or changes its meaning.

use schemars::JsonSchema;
use serde::Serialize;

use super::input::Basis;
use super::money::Money;
use super::prices::Prices;
use crate::api::sensitivity_tier::KeyScope;

/// Version of the schema, in every answer as `schemaVersion`.
pub const SCHEMA_VERSION: u32 = 1;

/// Answer of `cost`. All amounts are for a month of 31 days.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CostReport {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The prices that it goes by.
    pub prices: Prices,
    /// Seconds of the month that is billed.
    pub month_seconds: u64,
    /// Everything, free calls of each account taken off.
    pub total: Totals,
    /// By AWS account: what AWS bills.
    pub accounts: Vec<GroupCost>,
    /// By Tenant, before free calls, which an account has once.
    pub tenants: Vec<GroupCost>,
    /// By SensitivityTier, before free calls.
    pub tiers: Vec<GroupCost>,
    /// By queue, before free calls.
    pub queues: Vec<QueueCost>,
    /// What the other key scope would cost, for each tenant, tier and Region.
    pub scopes: Vec<OtherScope>,
    /// What else a reader should know, a sentence or two each.
    pub notes: Vec<String>,
}

/// Sums.
#[derive(Clone, Copy, Debug, Default, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Queues, dead-letter queues not counted.
    pub queues: u64,
    /// Keys that AWS bills.
    pub keys: u64,
    /// Calls to KMS.
    pub requests: u64,
    /// Keys, with their rotations.
    pub keys_usd: Money,
    /// Calls.
    pub requests_usd: Money,
    /// Calls that cost nothing; of accounts and the total alone.
    pub free_usd: Money,
    /// Keys and calls, less what is free.
    pub usd: Money,
}

/// What an account, tenant or tier comes to.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupCost {
    /// Account id, or the object's name.
    pub name: String,
    /// The tenant's limit, `spec.limits.monthlyKmsUsd`; null: none, or no tenant.
    pub budget_usd: Option<Money>,
    /// Its sums.
    #[serde(flatten)]
    pub totals: Totals,
}

/// What a queue costs, and would cost.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueCost {
    /// Namespace of the EncryptedQueue.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The Tenant.
    pub tenant: String,
    /// The SensitivityTier.
    pub sensitivity_tier: String,
    /// AWS account.
    pub account: String,
    /// AWS Region.
    pub region: String,
    /// Name of the queue in AWS.
    pub queue: String,
    /// Name of its QueueKey.
    pub key: String,
    /// Whether the key is its own; a shared one's price is in its tenant's and tier's sums only.
    pub own_key: bool,
    /// What the calls were estimated from.
    pub basis: Basis,
    /// Who may send.
    pub producers: u64,
    /// Who may receive.
    pub consumers: u64,
    /// For how long SQS reuses a data key.
    pub data_key_reuse_seconds: u64,
    /// For how long a principal that lost access may still be served by a data key that SQS cached. The queue policy stops it within a minute.
    pub revocation_lag_seconds: u64,
    /// Calls to KMS, those for its dead-letter queue included.
    pub requests: u64,
    /// Those for its dead-letter queue.
    pub dead_letter_requests: u64,
    /// Its own key; nothing for a shared one.
    pub key_usd: Money,
    /// Its calls.
    pub requests_usd: Money,
    /// Both.
    pub usd: Money,
    /// The same with other reuse periods that the tier admits, shortest first.
    pub other_reuse: Vec<OtherReuse>,
}

/// What another reuse period would cost.
#[derive(Clone, Copy, Debug, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OtherReuse {
    /// The period.
    pub data_key_reuse_seconds: u64,
    /// Its price in security: for so long a revocation at KMS may lag.
    pub revocation_lag_seconds: u64,
    /// Calls to KMS.
    pub requests: u64,
    /// The queue's key and calls.
    pub usd: Money,
}

/// What the other key scope would cost.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OtherScope {
    /// The Tenant.
    pub tenant: String,
    /// The SensitivityTier.
    pub sensitivity_tier: String,
    /// AWS account.
    pub account: String,
    /// AWS Region.
    pub region: String,
    /// Queues.
    pub queues: u64,
    /// The scope as it is.
    pub scope: KeyScope,
    /// Keys with it.
    pub keys: u64,
    /// What they cost.
    pub keys_usd: Money,
    /// The other scope.
    pub other_scope: KeyScope,
    /// Keys with that: of a shared one, the least that there can be.
    pub other_keys: u64,
    /// What they would cost in their first year.
    pub other_keys_usd: Money,
    /// What the other scope means for security.
    pub security: String,
}
