//! A part of the whole, for every run of the tests.

use crate::explore::{Extent, holds};
use crate::scenario::named;

/// Everything without faults, one pass at a time, where that is not much; and random histories with everything that can happen.
fn part(name: &str) {
    let scenario = named(name);
    if scenario.waits.len() < 2 {
        holds(&scenario.clone().with(1, 0, 0, 0), Extent::Whole(60));
    }
    holds(&scenario.clone().with(1, 1, 0, 0), Extent::Sample(400, 1));
    holds(&scenario.with(2, 1, 1, 1), Extent::Sample(400, 2));
}

macro_rules! parts {
    ($($test:ident: $name:literal),* $(,)?) => {
        $(
            #[test]
            fn $test() {
                part($name);
            }
        )*
    };
}

each_scenario!(parts);
