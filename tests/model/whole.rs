//! The whole: every state within each of these bounds.

use crate::explore::{Extent, holds};
use crate::scenario::named;

/// Seconds for each search: what is not done then is cut short, and the line that is printed says so.
const LIMIT: u64 = 75;

fn whole(name: &str) {
    // Passes at once, faults, stale reads, other leaders.
    for (passes, faults, stale, leaders) in
        [(1, 1, 0, 0), (2, 0, 0, 0), (1, 0, 1, 0), (1, 0, 0, 1), (1, 2, 0, 0), (2, 1, 0, 0), (1, 1, 1, 0), (1, 1, 0, 1)]
    {
        holds(&named(name).with(passes, faults, stale, leaders), Extent::Whole(LIMIT));
    }
    holds(&named(name).with(2, 2, 1, 1), Extent::Sample(30_000, 3));
}

macro_rules! scenarios {
    ($($test:ident: $name:literal),* $(,)?) => {
        $(
            #[test]
            #[ignore = "takes minutes: make test-model"]
            fn $test() {
                whole($name);
            }
        )*
    };
}

scenarios! {
    create: "create",
    create_shared: "create-shared",
    edit: "edit",
    migrate: "migrate",
    delete: "delete",
    again: "again",
    leave_shared: "leave-shared",
    approve: "approve",
    meddle: "meddle",
}
