//! KMS cost a month, from declared values: `R = B/D × (2P + C)` (SQS developer guide), each principal counted as busy all month.

use crate::policy::access::{Capability, QueueAccess};

/// Seconds of a billed month of 31 days.
const MONTH_SECONDS: u64 = 2_678_400;
/// One key a month.
const KEY_MICRO_USD: u64 = 1_000_000;
/// One request: $0.03 per 10,000.
const REQUEST_MICRO_USD: u64 = 3;

/// KMS requests a month of one queue, at most.
pub fn requests_a_month(access: &QueueAccess, data_key_reuse_seconds: i32) -> u64 {
    let count = |capability| access.grants.keys().filter(|grant| grant.capability == capability).count() as u64;
    let reuse = u64::try_from(data_key_reuse_seconds).unwrap_or(1).max(1);
    MONTH_SECONDS.div_ceil(reuse) * (2 * count(Capability::Send) + count(Capability::Receive))
}

/// Millionths of a US dollar a month: the requests of a queue, and its key when it has one of its own.
pub fn micro_usd_a_month(requests: u64, own_key: bool) -> u64 {
    requests * REQUEST_MICRO_USD + if own_key { KEY_MICRO_USD } else { 0 }
}

/// Dollars with two decimals, rounded to the nearest cent.
pub fn dollars(micro_usd: u64) -> String {
    let cents = (micro_usd + 5_000) / 10_000;
    format!("{}.{:02}", cents / 100, cents % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_developer_guides_example() {
        // 2,678,400 / 300 × (2·1 + 1) = 26,784 requests: eight cents, and a dollar for the key.
        let requests = MONTH_SECONDS / 300 * 3;
        assert_eq!(requests, 26_784);
        assert_eq!(dollars(micro_usd_a_month(requests, true)), "1.08");
        assert_eq!(dollars(micro_usd_a_month(0, false)), "0.00");
    }
}
