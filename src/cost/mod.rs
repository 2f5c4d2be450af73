//! What keys and calls to KMS cost, what another reuse period or key scope would, and what each means for security. Pure.
//!
//! Status estimates ([`declared_month`]), the command `cost` ([`estimate`]) and a tenant's budget all go by the same formula and the same file of prices.

mod estimate;
mod input;
mod money;
mod prices;
mod report;
mod requests;
#[cfg(test)]
mod tests;
mod text;

pub use estimate::estimate;
pub use input::{Basis, CostInput, KeyUse, QueueUse};
pub use money::Money;
pub use prices::Prices;
pub use report::{CostReport, GroupCost, OtherReuse, OtherScope, QueueCost, SCHEMA_VERSION, Totals};
pub use requests::{MONTH_SECONDS, Messages, Traffic, Users};
pub use text::cost_text;

use crate::policy::access::QueueAccess;

/// A queue's cost a month from declared values: each principal busy all month, dead letters the exception, and a key of its own in its first year.
pub fn declared_month(access: &QueueAccess, data_key_reuse_seconds: i32, own_key: bool) -> Money {
    let (prices, reuse) = (Prices::embedded(), u64::try_from(data_key_reuse_seconds).unwrap_or(1));
    let calls = prices.calls(Users::of(access).requests(MONTH_SECONDS, reuse));
    if own_key { calls + prices.key(0) } else { calls }
}
