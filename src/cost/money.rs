//! Dollars without floats: sums of many small amounts stay exact.

use std::borrow::Cow;
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Millionths in a dollar.
const MICRO: u64 = 1_000_000;

/// An amount in US dollars, exact to a millionth.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Money(u64);

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// So many millionths.
    pub const fn micro(micro: u64) -> Self {
        Self(micro)
    }

    /// So many whole dollars.
    pub const fn whole(dollars: u64) -> Self {
        Self(dollars.saturating_mul(MICRO))
    }

    /// Millionths.
    pub const fn as_micro(self) -> u64 {
        self.0
    }

    /// Reads `1`, `1.5` or `1.080352`; at most six decimals, no sign.
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let is_digits = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !is_digits(whole) || !is_digits(fraction) || fraction.len() > 6 {
            return None;
        }
        let fraction: u64 = format!("{fraction:0<6}").parse().ok()?;
        whole.parse::<u64>().ok()?.checked_mul(MICRO)?.checked_add(fraction).map(Self)
    }

    /// With two decimals, rounded to the nearest cent.
    pub fn cents(self) -> String {
        let cents = self.0.saturating_add(5_000) / 10_000;
        format!("{}.{:02}", cents / 100, cents % 100)
    }

    /// What is left, at least nothing.
    #[must_use]
    pub const fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The share `part`/`of`, rounded up to a millionth.
    #[must_use]
    pub fn share(self, part: u64, of: u64) -> Self {
        let micro = (u128::from(self.0) * u128::from(part)).div_ceil(u128::from(of.max(1)));
        Self(u64::try_from(micro).unwrap_or(u64::MAX))
    }
}

/// Exact, with at least two decimals.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fraction = format!("{:06}", self.0 % MICRO);
        let shown = fraction.trim_end_matches('0');
        write!(f, "{}.{shown:0<2}", self.0 / MICRO)
    }
}

impl Add for Money {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Money {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Mul<u64> for Money {
    type Output = Self;
    fn mul(self, times: u64) -> Self {
        Self(self.0.saturating_mul(times))
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::ZERO, Add::add)
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format_args!("{text:?} is no amount: expected dollars such as \"0.03\"")))
    }
}

impl JsonSchema for Money {
    fn schema_name() -> Cow<'static, str> {
        "Money".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[0-9]+[.][0-9]{2,6}$", "description": "US dollars, exact."})
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn amounts_are_read_and_written_exactly() {
        for (text, micro, shown, cents) in [
            ("1", 1_000_000, "1.00", "1.00"),
            ("0.03", 30_000, "0.03", "0.03"),
            ("1.080352", 1_080_352, "1.080352", "1.08"),
            ("0.005", 5_000, "0.005", "0.01"),
        ] {
            let money = Money::parse(text).unwrap();
            assert_eq!((money.as_micro(), money.to_string().as_str(), money.cents().as_str()), (micro, shown, cents));
            assert_eq!(serde_json::from_str::<Money>(&serde_json::to_string(&money).unwrap()).unwrap(), money);
        }
        for bad in ["", "-1", ".5", "1.", "1,5", "1.0000001", "x", "1e3", "99999999999999999999"] {
            assert_eq!(Money::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_million_tenths_of_a_cent_are_a_thousand_dollars() {
        assert_eq!(std::iter::repeat_n(Money::parse("0.001").unwrap(), 1_000_000).sum::<Money>(), Money::whole(1000));
        assert_eq!(Money::whole(u64::MAX) + Money::whole(1), Money::micro(u64::MAX), "too much stays too much");
        assert_eq!(Money::parse("0.03").unwrap().share(1, 10_000), Money::micro(3));
    }
}
