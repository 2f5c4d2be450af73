#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::float_cmp)]

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn key(name: usize) -> Subject {
    Subject::Key { name: name.to_string() }
}

fn caller(tenant: &str, name: usize) -> Caller {
    Caller::Reconcile { subject: key(name), tenant: tenant.to_owned() }
}

/// A line of five a second, and its start.
fn line() -> (Line, Instant) {
    let start = Instant::now();
    (Line::new(5.0, start), start)
}

#[test]
fn every_rate_is_read() {
    let rates = Rates::default();
    assert_eq!([rates.of("kms:CreateKey"), rates.of("kms:DescribeKey"), rates.of("sqs:CreateQueue")], [5.0, 2000.0, 100.0]);
    let more = Rates::with(["kms:CreateKey=50", " sqs:tags = 0.5 "]).unwrap();
    assert_eq!([more.of("kms:CreateKey"), more.of("sqs:tags"), more.of("kms:CreateAlias")], [50.0, 0.5, 5.0]);
    for bad in ["kms:CreateKey", "kms:CreateKey=", "kms:CreateKey=0", "kms:CreateKey=NaN", "kms:Create=5"] {
        assert!(Rates::with([bad]).unwrap_err().contains(bad), "{bad}");
    }
}

#[test]
fn what_aws_counts_together_is_one_line() {
    let place = |region: &str| Place { partition: crate::names::Partition::Aws, account: "1".to_owned(), region: region.to_owned() };
    let of = |region, action| LineKey::new(&place(region), action);
    assert_eq!(of("a", "sqs:TagQueue"), of("b", "sqs:ListQueueTags"));
    assert_ne!(of("a", "kms:CreateKey"), of("b", "kms:CreateKey"));
    assert_ne!(of("a", "kms:CreateKey"), of("a", "kms:CreateAlias"));
}

#[test]
fn a_burst_then_short_sleeps_then_a_line() {
    let (mut line, start) = line();
    let turns: Vec<_> = (0..8).map(|name| line.ask(Some(&caller("acme", name)), start)).collect();
    assert_eq!(turns[..3], [Turn::Now, Turn::Now, Turn::Soon(SECOND / 4)]);
    assert_eq!(turns[5], Turn::Soon(SECOND), "at most a second is slept");
    assert_eq!(turns[6], Turn::InLine { place: 1, estimate: SECOND * 5 / 4 });
    assert_eq!(turns[7], Turn::InLine { place: 2, estimate: SECOND * 6 / 4 });
    assert_eq!(line.waiting(), 2);
    // Asked again it keeps its place, and what was said stands for a minute.
    assert_eq!(line.ask(Some(&caller("acme", 7)), start + SECOND / 2), turns[7]);
    let (called, again) = line.call(start + SECOND * 3 / 2);
    assert_eq!((called, again), (vec![key(6), key(7)], None));
    assert_eq!([6, 7].map(|name| line.ask(Some(&caller("acme", name)), start + SECOND * 3 / 2)), [Turn::Now, Turn::Now]);
}

#[test]
fn no_second_has_more_calls_than_published_in_the_long_run() {
    let (mut line, start) = line();
    let mut calls = 0;
    for step in 0..10_000_u32 {
        calls += usize::from(line.ask(Some(&Caller::SlowCheck), start + step * SECOND / 100) == Turn::Now);
    }
    assert!((395..=405).contains(&calls), "{calls} in 100 s");
}

#[test]
fn tenants_take_turns() {
    let (mut line, start) = line();
    for name in 0..100 {
        line.ask(Some(&caller("acme", name)), start);
    }
    let Turn::InLine { place, .. } = line.ask(Some(&caller("globex", 1000)), start) else { panic!("it waits") };
    assert_eq!(place, 2, "one of the other tenant before it");
    let mut called = Vec::new();
    for step in 1..20_u32 {
        called.extend(line.call(start + step * SECOND / 4).0);
    }
    assert_eq!(called.iter().position(|subject| *subject == key(1000)), Some(1));
    assert_eq!(called.len(), 15, "four a second, once what was slept for is paid");
}

#[test]
fn who_does_not_come_in_its_turn_makes_room() {
    let (mut line, start) = line();
    for name in 0..7 {
        line.ask(Some(&caller("acme", name)), start);
    }
    assert_eq!(line.call(start + 2 * SECOND).0, [key(6)]);
    let late = start + 30 * SECOND;
    assert_eq!([0, 1].map(|name| line.ask(Some(&caller("acme", name)), late)), [Turn::Now, Turn::Now]);
    assert_ne!(line.ask(Some(&caller("acme", 6)), late), Turn::Now, "its turn has passed");
}

#[test]
fn a_reserved_call_is_made_without_another_wait() {
    let (mut line, start) = line();
    let first = caller("acme", 1);
    assert_eq!(line.reserve(&first, start), Turn::Now);
    for name in 2..9 {
        line.ask(Some(&caller("acme", name)), start);
    }
    assert_eq!(line.ask(Some(&first), start + SECOND), Turn::Now);
    assert!(matches!(line.ask(Some(&first), start + SECOND), Turn::Soon(_)), "the next one is paid for");
    assert!(matches!(line.ask(Some(&first), start + 9 * SECOND), Turn::InLine { .. }), "its turn is over");
}

#[test]
fn slow_checks_take_what_users_leave() {
    let (mut line, start) = (Line::new(100.0, Instant::now()), Instant::now());
    let taken = (0..100).filter(|_| line.ask(Some(&Caller::SlowCheck), start) == Turn::Now).count();
    assert!((19..=21).contains(&taken), "half of the burst: {taken}");
    assert_eq!(line.ask(Some(&caller("acme", 1)), start), Turn::Now);
}

#[test]
fn throttling_halves_the_rate_and_it_is_regained() {
    let (mut line, start) = line();
    let rate = |line: &mut Line, from: Instant| {
        let ask = |line: &mut Line, step: u32| line.ask(Some(&Caller::SlowCheck), from + step * SECOND / 100) == Turn::Now;
        (0..2_000).filter(|step| ask(line, *step)).count()
    };
    assert!(rate(&mut line, start) >= 80, "twenty seconds of four");
    for _ in 0..5 {
        line.throttled(start + 20 * SECOND);
    }
    let slowed = rate(&mut line, start + 20 * SECOND);
    assert!((40..65).contains(&slowed), "halved once for a burst of refusals: {slowed}");
    assert!(rate(&mut line, start + 60 * SECOND) >= 78, "regained");
    (0..20).for_each(|second| line.throttled(start + (100 + second) * SECOND));
    assert!(rate(&mut line, start + 120 * SECOND) < 20);
}

#[tokio::test]
async fn the_next_in_line_is_called_and_then_goes() {
    let quotas = Arc::new(Quotas::new(Rates::default()));
    let place = Place { partition: crate::names::Partition::Aws, account: "1".to_owned(), region: "a".to_owned() };
    let reserve = async |name| on_behalf(caller("acme", name), quotas.reserve(&place, "kms:CreateKey")).await;
    let first = futures::future::join_all((0..8).map(reserve)).await;
    let waits: Vec<_> = first.into_iter().filter_map(Result::err).collect();
    assert_eq!(waits.len(), 2);
    assert!(waits.iter().all(|error| error.kind == Kind::AwaitingQuota && error.wait.is_some()), "{waits:?}");
    let stands = async |name| on_behalf(caller("acme", name), async { quotas.stands_in_line(&place, "kms:CreateKey") }).await;
    assert!(stands(7).await.is_err_and(|error| error.kind == Kind::AwaitingQuota));
    assert!(stands(8).await.is_ok() && quotas.waiting() == 2, "no place is taken");
    assert!(waits[1].to_string().contains("place 2 in line for account 1 in a, about 1 s"), "{}", waits[1]);
    let (sender, mut called) = tokio::sync::mpsc::unbounded_channel();
    let calling = quotas.clone();
    let task = tokio::spawn(async move { calling.call(|subject| sender.send(subject.clone()).unwrap()).await });
    for _ in 0..2 {
        let Some(Subject::Key { name }) = called.recv().await else { panic!("nobody is called") };
        reserve(name.parse().unwrap()).await.unwrap();
    }
    assert_eq!(quotas.waiting(), 0);
    assert!(stands(7).await.is_ok(), "its turn has come");
    task.abort();
}

/// Each needs two calls at once, as a look at a queue and its dead-letter queue does.
#[test]
fn whoever_is_called_gets_all_it_needs() {
    let (mut line, start) = line();
    let mut waits: Vec<usize> = (0..10).collect();
    for step in 0..120_u32 {
        let now = start + step * SECOND / 10;
        line.call(now);
        waits.retain(|name| {
            let goes = |line: &mut Line| matches!(line.ask(Some(&caller("acme", *name)), now), Turn::Now | Turn::Soon(_));
            !(goes(&mut line) && goes(&mut line))
        });
    }
    assert_eq!(waits, Vec::<usize>::new(), "twenty calls, four a second");
}
