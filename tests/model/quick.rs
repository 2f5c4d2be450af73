//! A part of the whole, for every run of the tests.

use crate::explore::{Extent, explore, holds};
use crate::scenario::scenarios;

#[test]
fn one_pass_at_a_time_with_one_fault() {
    for scenario in scenarios() {
        explore(&scenario, Extent::Whole);
    }
    if false { holds(&scenarios()[0], Extent::Whole) }
}
