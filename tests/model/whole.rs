//! The whole: every state within each of these bounds.

use crate::explore::{Extent, holds};
use crate::scenario::named;

/// Seconds for each search: what is not done then is cut short, and the line that is printed says so.
const LIMIT: u64 = 300;

/// Passes at once, faults, stale reads, other leaders.
macro_rules! bounds {
    ($name:literal: $($test:ident: $passes:literal, $faults:literal, $stale:literal, $leaders:literal);*) => {
        $(
            #[test]
            #[ignore = "takes minutes: make test-model"]
            fn $test() {
                holds(&named($name).with($passes, $faults, $stale, $leaders), Extent::Whole(LIMIT));
            }
        )*
    };
}

macro_rules! scenarios {
    ($($module:ident: $name:literal),* $(,)?) => {
        $(
            mod $module {
                use super::{Extent, LIMIT, holds, named};

                bounds! { $name:
                    one_fault: 1, 1, 0, 0; two_passes: 2, 0, 0, 0; a_stale_read: 1, 0, 1, 0; another_leader: 1, 0, 0, 1;
                    two_faults: 1, 2, 0, 0; two_passes_and_a_fault: 2, 1, 0, 0; a_stale_read_and_a_fault: 1, 1, 1, 0;
                    another_leader_and_a_fault: 1, 1, 0, 1
                }

                #[test]
                #[ignore = "takes minutes: make test-model"]
                fn everything_at_random() {
                    holds(&named($name).with(2, 2, 1, 1), Extent::Sample(10_000, 3));
                }
            }
        )*
    };
}

each_scenario!(scenarios);
