//! The pure core: rendering and comparing policies, and planning.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod fixture;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use encrypted_queue::plan::{plan_key, plan_queue};
use encrypted_queue::policy::document::Document;
use encrypted_queue::policy::{equivalence, key_policy, queue_policy};
use fixture::{Fixture, WINDOW};

fn policies(criterion: &mut Criterion) {
    let fixture = Fixture::new();
    let (queue, key) = (&fixture.queue, &fixture.key);
    let text = &fixture.observed_queue.source.present().unwrap().attributes["Policy"];
    let (ours, theirs) = (queue_policy::render_queue(&queue.access, &queue.place), Document::parse(text).unwrap());
    let mut group = criterion.benchmark_group("policy");
    group.bench_function("render queue", |bencher| bencher.iter(|| queue_policy::render_queue(black_box(&queue.access), &queue.place).to_json()));
    group.bench_function("render key", |bencher| bencher.iter(|| key_policy::render(black_box(&key.access), "id").to_json()));
    group.bench_function("parse queue", |bencher| bencher.iter(|| Document::parse(black_box(text))));
    group.bench_function("compare queue", |bencher| bencher.iter(|| equivalence::equivalent(black_box(&ours), black_box(&theirs))));
}

fn plans(criterion: &mut Criterion) {
    let fixture = Fixture::new();
    let mut group = criterion.benchmark_group("plan");
    group.bench_function("queue, compared with AWS", |bencher| {
        bencher.iter(|| plan_queue(black_box(&fixture.queue), black_box(&fixture.observed_queue), fixture.now));
    });
    group.bench_function("queue, the record agrees", |bencher| {
        bencher.iter(|| plan_queue(black_box(&fixture.queue), black_box(&fixture.recorded_queue), fixture.now));
    });
    group.bench_function("key, compared with AWS", |bencher| {
        bencher.iter(|| plan_key(black_box(&fixture.key), black_box(&fixture.observed_key), WINDOW, fixture.now));
    });
    group.bench_function("key, the record agrees", |bencher| {
        bencher.iter(|| plan_key(black_box(&fixture.key), black_box(&fixture.recorded_key), WINDOW, fixture.now));
    });
}

criterion_group!(benches, policies, plans);
criterion_main!(benches);
