//! What AWS asks for keys and calls, from a data file with its date.

use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::money::Money;

/// Prices of AWS KMS in one currency; the same in all commercial Regions.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Prices {
    /// Month in which they were looked up, `YYYY-MM`.
    pub as_of: String,
    /// Where.
    pub source: String,
    /// Of all amounts.
    pub currency: String,
    /// A key a month.
    pub key_month: Money,
    /// What a rotation adds to it, a month.
    pub rotation_month: Money,
    /// How many rotations of a key add anything; later ones are free.
    pub priced_rotations: u64,
    /// So many calls cost …
    pub requests: Money,
    /// … for each of these.
    pub per_requests: u64,
    /// Calls of an account that cost nothing, each month, over all Regions.
    pub free_requests_month: u64,
}

/// A test reads the file: what nobody could have built with is no prices.
static EMBEDDED: LazyLock<Prices> = LazyLock::new(|| Prices::parse(include_str!("prices.json")).unwrap_or_default());

impl Prices {
    /// Those that this version came with.
    pub fn embedded() -> &'static Self {
        &EMBEDDED
    }

    /// Reads a file like the embedded one.
    pub fn parse(text: &str) -> Result<Self, String> {
        let prices: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if prices.per_requests == 0 { Err("perRequests must not be 0".to_owned()) } else { Ok(prices) }
    }

    /// A key that was rotated so often, a month.
    pub fn key(&self, rotations: u64) -> Money {
        self.key_month + self.rotation_month * rotations.min(self.priced_rotations)
    }

    /// So many calls, none of them free.
    pub fn calls(&self, requests: u64) -> Money {
        self.requests.share(requests, self.per_requests)
    }

    /// What the free calls take off an account's bill.
    pub fn free(&self, requests: u64) -> Money {
        self.calls(requests.min(self.free_requests_month))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_embedded_file_is_read() {
        let prices = Prices::embedded();
        let (year, month) = prices.as_of.split_once('-').unwrap();
        assert!(year.parse::<u32>().unwrap() >= 2026 && (1..=12).contains(&month.parse::<u32>().unwrap()), "{}", prices.as_of);
    }

    #[test]
    fn the_first_two_rotations_cost_a_dollar_a_month_each() {
        let prices = Prices::embedded();
        let dollars: Vec<_> = [0, 1, 2, 3, 25].into_iter().map(|rotations| prices.key(rotations)).collect();
        assert_eq!(dollars, [1, 2, 3, 3, 3].map(Money::whole));
    }

    #[test]
    fn calls_beyond_the_free_ones_cost_three_cents_per_ten_thousand() {
        let prices = Prices::embedded();
        let billed = |requests| prices.calls(requests).less(prices.free(requests)).to_string();
        assert_eq!([0, 20_000, 20_001, 30_000].map(billed), ["0.00", "0.00", "0.000003", "0.03"]);
        assert_eq!(prices.calls(1_000_000), Money::whole(3));
    }

    #[test]
    fn a_file_that_is_not_one_is_refused() {
        let text = include_str!("prices.json");
        assert!(Prices::parse(&text.replace("10000", "0")).is_err());
        assert!(Prices::parse(&text.replace("keyMonth", "keyMonths")).is_err());
        assert!(Prices::parse(&text.replace("0.03", "three cents")).is_err());
    }
}
