//! Cases worth a name, with their answers written out.

use std::collections::BTreeSet;

use encrypted_queue::names::{Partition, Place};
use proptest::sample::Index;
use test_support::judge::evaluator::evaluate;
use test_support::judge::{Evidence, Owner, Service};

use crate::declared::{ACCOUNTS, Declaration, ORGANIZATIONS, OWN, PARTNER, Queue, ROLES, Said, UNITS};
use crate::judged::{Policies, Tally};
use crate::questions::{Context, Question, Via, Who};

const LOG: usize = 2;

fn declaration(producers: Vec<Said>) -> Declaration {
    let queue = Queue { producers, consumers: vec![Said::Role { account: 0, role: 0 }], observers: vec![], dead_letters: None };
    let place = Place { partition: Partition::Aws, account: OWN.to_owned(), region: "eu-west-1".to_owned() };
    Declaration { place, queues: vec![queue], administrators: vec![], break_glass: vec![], unstated: false, suspended: false }
}

fn index() -> Index {
    use proptest::strategy::{Strategy, ValueTree};
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    proptest::prelude::any::<Index>().new_tree(&mut runner).unwrap().current()
}

fn question(who: Who, action: &'static str) -> Question {
    Question { who, action, queue: index(), dead_letters: false, tls: true, via: Via::Sqs, context: Context::Queue, iam: true }
}

/// Sessions of a role, whatever IAM allows them, that may do all of this; `None`: outside any organisation.
fn who_may(policies: &Policies, account: &'static str, role: &'static str, actions: &[&'static str]) -> BTreeSet<Option<(usize, usize)>> {
    let everywhere = (0..ORGANIZATIONS.len()).flat_map(|id| (0..=UNITS.len()).map(move |unit| Some((id, unit))));
    let may = |organization: &Option<(usize, usize)>| {
        actions.iter().all(|action| {
            let question = question(Who::Session { account, role, organization: *organization }, action);
            // Both evaluators and the model agree …
            policies.ask(&question, &mut Tally::default()).unwrap_or_else(|why| panic!("{why}"));
            // … and this is what they agree upon.
            let request = question.request(policies.access()).unwrap();
            let service = if question.is_kms() { Service::Kms } else { Service::Sqs };
            let policy = policies.policy(&question, &request);
            let evidence = Evidence { owner: Owner { service, account: OWN }, policy, iam: true };
            evidence.follows(evaluate(policy, &request), &request.caller)
        })
    };
    std::iter::once(None).chain(everywhere).filter(may).collect()
}

const SENDING: [&str; 3] = ["sqs:SendMessage", "kms:GenerateDataKey", "kms:Decrypt"];

/// One organisation whole, another from some paths on, and one role name for both.
#[test]
fn a_whole_organisation_beside_paths_of_another_with_the_same_role_name() {
    let whole = Said::Organization { id: 0, paths: BTreeSet::new(), role: LOG };
    let below = Said::Organization { id: 1, paths: BTreeSet::from([(0, true)]), role: LOG };
    let policies = Policies::of(declaration(vec![whole, below]).access(), |_| {});
    // All of the first, directly under its root too; of the second `ou-1` and the unit below it, not `ou-2` nor the root.
    let expected = BTreeSet::from([(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 2)].map(Some));
    for account in ACCOUNTS {
        assert_eq!(who_may(&policies, account, ROLES[LOG], &SENDING), expected, "{account}");
        assert_eq!(who_may(&policies, account, "team/log", &SENDING), BTreeSet::new(), "a path makes another name");
        assert_eq!(who_may(&policies, account, ROLES[LOG], &["sqs:ReceiveMessage"]), BTreeSet::new());
    }
}

/// The same the other way round, without the units below, and with a namesake that is granted by ARN.
#[test]
fn an_exact_path_and_a_namesake_by_arn() {
    let exact = Said::Organization { id: 0, paths: BTreeSet::from([(0, false)]), role: LOG };
    let namesake = Said::Role { account: 1, role: LOG };
    let policies = Policies::of(declaration(vec![exact, namesake]).access(), |_| {});
    assert_eq!(who_may(&policies, OWN, ROLES[LOG], &SENDING), BTreeSet::from([Some((0, 0))]));
    assert_eq!(who_may(&policies, PARTNER, ROLES[LOG], &SENDING).len(), 1 + ORGANIZATIONS.len() * (UNITS.len() + 1), "wherever it is");
}

/// Who may send may not use the key past SQS, nor the key of another queue's messages.
#[test]
fn use_of_the_key_is_bound_to_the_queue() {
    let policies = Policies::of(declaration(vec![Said::Role { account: 0, role: 1 }]).access(), |_| {});
    let who = Who::Session { account: OWN, role: ROLES[1], organization: None };
    for (via, context, allowed) in [
        (Via::Sqs, Context::Queue, true),
        (Via::None, Context::Queue, false),
        (Via::S3, Context::Queue, false),
        (Via::SqsOfAnotherRegion, Context::Queue, false),
        (Via::Sqs, Context::Foreign, false),
        (Via::Sqs, Context::None, false),
    ] {
        let question = Question { via, context, ..question(who.clone(), "kms:Decrypt") };
        let mut tally = Tally::default();
        policies.ask(&question, &mut tally).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(tally.allowed == 1, allowed, "{via:?} {context:?}");
    }
}
