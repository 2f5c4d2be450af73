//! How far a scan is, on standard error.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::audit::inventory::Inventory;
use crate::audit::scan::Progress;

/// Between two lines: on a terminal, where one replaces the other, and elsewhere.
const SOON: Duration = Duration::from_millis(100);
const LATER: Duration = Duration::from_secs(10);

/// Tells how far a scan is.
pub(super) struct Teller {
    started: Instant,
    terminal: bool,
    state: Mutex<State>,
}

struct State {
    told: Instant,
    read: BTreeMap<(String, &'static str), (usize, usize)>,
}

impl Teller {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { started: now, terminal: io::stderr().is_terminal(), state: Mutex::new(State { told: now, read: BTreeMap::new() }) }
    }

    /// Notes progress, and tells it if it is time.
    pub(super) fn tell(&self, progress: Progress<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let place = format!("{} {}", progress.place.account, progress.place.region);
        state.read.insert((place, progress.what), (progress.done, progress.all));
        let pause = if self.terminal { SOON } else { LATER };
        if state.told.elapsed() < pause {
            return;
        }
        state.told = Instant::now();
        let sum = |what: &str| {
            let of = state.read.iter().filter(|((_, known), _)| *known == what).map(|(_, counts)| *counts);
            of.fold((0, 0), |(done, all), (more, most)| (done + more, all + most))
        };
        let ((queues, all_queues), (keys, all_keys)) = (sum("queues"), sum("keys"));
        let line = format!("reading: {queues} of {all_queues} queues, {keys} of {all_keys} keys");
        let end = if self.terminal { "\x1b[K\r" } else { "\n" };
        // Nobody needs to see it.
        write!(io::stderr(), "{line}{end}").ok();
    }

    /// Tells what the whole scan took.
    pub(super) fn done(&self, inventory: &Inventory, calls: u64) {
        let (queues, keys) = inventory.places.iter().fold((0, 0), |(queues, keys), facts| (queues + facts.queues.len(), keys + facts.keys.len()));
        let clear = if self.terminal { "\x1b[K" } else { "" };
        let seconds = self.started.elapsed().as_secs_f64();
        writeln!(io::stderr(), "{clear}read {queues} queues and {keys} keys with {calls} calls in {seconds:.1} s").ok();
    }
}
