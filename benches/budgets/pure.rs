//! The pure core's own time. `cargo bench --bench pure` tells its parts apart.

use std::hint::black_box;
use std::time::Instant;

use encrypted_queue::plan::{plan_key, plan_queue};

use crate::figure::{Budget, Figure, Unit};
use crate::fixture::{Fixture, WINDOW};
use crate::{RUNS, progress};

const ITERATIONS: u32 = 2000;

pub(crate) fn measure() -> Vec<Figure> {
    let fixture = Fixture::new();
    let Fixture { queue, key, observed_queue, observed_key, recorded_queue, recorded_key, now } = &fixture;
    let compared = sample(|| {
        black_box(plan_queue(black_box(queue), black_box(observed_queue), *now));
    });
    let compared_key = sample(|| {
        black_box(plan_key(black_box(key), black_box(observed_key), WINDOW, *now));
    });
    let recorded = sample(|| {
        black_box(plan_queue(black_box(queue), black_box(recorded_queue), *now));
        black_box(plan_key(black_box(key), black_box(recorded_key), WINDOW, *now));
    });
    progress("pure core measured");
    let figure = |name: &str, budget, samples| Figure::new(name, Unit::Microseconds, budget, samples);
    vec![
        figure("policy render + compare + plan, queue with dead-letter queue", Budget::AtMost(50.0), compared),
        figure("policy render + compare + plan, its key", Budget::AtMost(50.0), compared_key),
        figure("plan of queue and key when the record agrees", Budget::None, recorded),
    ]
}

/// Makes so many passes over a queue and its key, compared with AWS, and nothing else: for who counts instructions.
pub(crate) fn repeat(passes: usize) {
    let Fixture { queue, key, observed_queue, observed_key, now, .. } = &Fixture::new();
    for _ in 0..passes {
        black_box(plan_queue(black_box(queue), black_box(observed_queue), *now));
        black_box(plan_key(black_box(key), black_box(observed_key), WINDOW, *now));
    }
}

/// Microseconds an iteration, once for each run.
fn sample(mut iteration: impl FnMut()) -> Vec<f64> {
    (0..=RUNS)
        .map(|_| {
            let start = Instant::now();
            (0..ITERATIONS).for_each(|_| iteration());
            start.elapsed().as_secs_f64() * 1e6 / f64::from(ITERATIONS)
        })
        // The first warms up.
        .skip(1)
        .collect()
}
