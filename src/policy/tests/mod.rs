//! Properties of the policies as a whole.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod edges;
mod equivalence;
mod judged;
mod limits;
mod parsing;
mod reading;
mod reshape;
mod round_trip;
mod strategies;

use proptest::test_runner::Config;

/// Cases of each property; `PROPTEST_CASES` asks for more.
fn cases(default: u32) -> Config {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    Config { cases, failure_persistence: None, ..Config::default() }
}
