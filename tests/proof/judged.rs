//! The property: both evaluators agree with what the access model says, whatever is declared and whoever asks.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::io::Write as _;
use std::time::Instant;

use encrypted_queue::names::Partition;
use encrypted_queue::policy::access::KeyAccess;
use encrypted_queue::policy::{key_policy, queue_policy};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};
use serde_json::Value;
use test_support::judge::evaluator::evaluate;
use test_support::judge::{Evidence, Owner, Request, Service, Verdict};

use crate::declared::{Declaration, declarations};
use crate::opinions::{Gap, Opinion};
use crate::oracle::{Answer, answer};
use crate::questions::{Question, questions};

/// Requests put to each declaration's policies.
const QUESTIONS: usize = 50;

/// Declarations of each partition, 50 requests each; `JUDGED_DECLARATIONS` asks for more.
fn how_many() -> u32 {
    std::env::var("JUDGED_DECLARATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(800)
}

/// A policy, and both evaluators' view of it.
struct Judged {
    policy: Value,
    opinion: Opinion,
}

impl Judged {
    fn new(policy: Value) -> Self {
        Self { opinion: Opinion::of(&policy), policy }
    }
}

/// All policies of a declaration.
pub struct Policies {
    access: KeyAccess,
    key: Judged,
    /// By the queue's ARN.
    queues: BTreeMap<String, Judged>,
}

/// What became of the requests.
#[derive(Default)]
pub struct Tally {
    pub decisions: usize,
    pub allowed: usize,
    outright: usize,
    gaps: BTreeMap<Gap, usize>,
}

impl Policies {
    /// As rendered, then changed by `corrupt`.
    pub fn of(access: KeyAccess, corrupt: impl Fn(&mut Value)) -> Self {
        let judged = |json: String| {
            let mut policy = serde_json::from_str(&json).unwrap();
            corrupt(&mut policy);
            Judged::new(policy)
        };
        let mut queues = BTreeMap::new();
        for user in &access.users {
            let dead_letters = user.dead_letter_queue.as_ref().zip(queue_policy::render_dead_letter(user, &access.place));
            let source = (&user.queue, queue_policy::render_queue(user, &access.place));
            for (queue, policy) in std::iter::once(source).chain(dead_letters) {
                queues.insert(queue.to_string(), judged(policy.to_json()));
            }
        }
        Self { key: judged(key_policy::render(&access, "id").to_json()), queues, access }
    }

    pub fn access(&self) -> &KeyAccess {
        &self.access
    }

    fn judged(&self, question: &Question, request: &Request) -> &Judged {
        if question.is_kms() { &self.key } else { &self.queues[&request.resource] }
    }

    /// The policy that a request concerns.
    pub fn policy(&self, question: &Question, request: &Request) -> &Value {
        &self.judged(question, request).policy
    }

    /// Puts a request to the policy it concerns; `Err` says who disagrees.
    pub fn ask(&self, question: &Question, tally: &mut Tally) -> Result<(), String> {
        let Some(request) = question.request(&self.access) else { return Ok(()) };
        let Judged { policy, opinion } = self.judged(question, &request);
        let expected = answer(&self.access, question);
        tally.decisions += 1;
        tally.allowed += usize::from(expected.allowed);
        tally.outright += usize::from(expected.outright);
        let first = self.first(policy, &request, question.iam);
        let second = {
            let verdict = opinion.verdict(&request);
            Answer { allowed: opinion.follows(verdict, &request, question.iam), outright: verdict == Verdict::Denied }
        };
        if first != second {
            let gap =
                Gap::behind(policy, &request).ok_or_else(|| format!("evaluators disagree: {first:?}, iam-rs {second:?}: {request:?}\n{policy:#}"))?;
            *tally.gaps.entry(gap).or_default() += 1;
        }
        if first == expected {
            Ok(())
        } else {
            Err(format!("{expected:?} is declared, {first:?} is rendered: {question:?}\n{request:?}\n{policy:#}"))
        }
    }

    fn first(&self, policy: &Value, request: &Request, iam: bool) -> Answer {
        let service = if request.action.starts_with("kms:") { Service::Kms } else { Service::Sqs };
        let owner = Owner { service, account: &self.access.place.account };
        let verdict = evaluate(policy, request);
        Answer { allowed: Evidence { owner, policy, iam }.follows(verdict, &request.caller), outright: verdict == Verdict::Denied }
    }
}

pub fn cases(partition: Partition) -> impl Strategy<Value = (Declaration, Vec<Question>)> {
    (declarations(partition), vec(questions(), QUESTIONS))
}

/// Judges so many random declarations and tells how many of them were different, and what was decided.
fn judge(partition: Partition) {
    let config = Config { cases: how_many(), failure_persistence: None, max_shrink_iters: 4_000, ..Config::default() };
    let (tally, started, hasher) = (RefCell::new(Tally::default()), Instant::now(), RandomState::new());
    let distinct = RefCell::new(HashSet::new());
    let end = TestRunner::new(config).run(&cases(partition), |(declaration, questions)| {
        distinct.borrow_mut().insert(hasher.hash_one(&declaration));
        let policies = Policies::of(declaration.access(), |_| {});
        let mut tally = tally.borrow_mut();
        questions.iter().try_for_each(|question| policies.ask(question, &mut tally)).map_err(TestCaseError::fail)
    });
    if let Err(TestError::Fail(why, (declaration, _))) = end {
        panic!("{why}\n{declaration:#?}");
    }
    let (Tally { decisions, allowed, outright, gaps }, distinct) = (tally.into_inner(), distinct.into_inner().len());
    // Past the test harness, which shows what a test prints only when it fails.
    let line = format!(
        "{partition}: {distinct} different declarations, {decisions} decisions ({allowed} allowed, {outright} refused outright), \
         disagreements within known gaps {gaps:?}, {:.1} s\n",
        started.elapsed().as_secs_f64()
    );
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    let at_least = usize::try_from(how_many()).unwrap();
    assert!(distinct * 10 > at_least * 9 && decisions > at_least * QUESTIONS * 8 / 10, "too few different cases");
    assert!(allowed * 10 > decisions && outright * 10 > decisions, "too one-sided to show anything");
}

#[test]
fn in_the_commercial_partition() {
    judge(Partition::Aws);
}

#[test]
fn in_china() {
    judge(Partition::China);
}

#[test]
fn in_govcloud() {
    judge(Partition::GovCloud);
}
