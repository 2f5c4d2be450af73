//! What is rendered reads back to the same grants.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::cases;
use super::strategies::{key_access, only, placed_queue_access};
use crate::api::sensitivity_tier::Others;
use crate::policy::access::{Capability, Principal};
use crate::policy::document::Document;
use crate::policy::equivalence::equivalent;
use crate::policy::key_policy::{self, Administration};
use crate::policy::plain;
use crate::policy::queue_policy::{Denial, QueueKind, render_dead_letter, render_queue};
use crate::policy::read_back::{read_key_policy, read_queue_policy};

fn reparsed(document: &Document) -> Document {
    let parsed = Document::parse(&document.to_json()).unwrap();
    assert!(equivalent(document, &parsed));
    assert_eq!(parsed, *document);
    assert_eq!(plain::read(&document.to_pretty_json()).as_ref(), Some(document), "of the usual shape");
    assert_eq!(Document::parse_with_care(&document.to_json()).as_ref(), Ok(document));
    let sids: BTreeSet<_> = parsed.statements.iter().map(|statement| statement.sid.clone().unwrap()).collect();
    assert_eq!(sids.len(), parsed.statements.len(), "Sids must differ");
    assert!(sids.iter().flat_map(|sid| sid.bytes()).all(|b| b.is_ascii_alphanumeric()));
    parsed
}

proptest! {
    #![proptest_config(cases(5_000))]

    #[test]
    fn queue_policies((place, access) in placed_queue_access()) {
        let read = read_queue_policy(&reparsed(&render_queue(&access, &place)), QueueKind::Source, &access.queue, &place);
        let shown = [Capability::Send, Capability::Receive, Capability::Redrive, Capability::Observe];
        prop_assert_eq!(&read.grants, &only(access.effective_grants(), &shown));
        prop_assert!(read.foreign.is_empty() && read.deleted_principals.is_empty(), "{:?}", read);
        let mut denied = BTreeSet::from([Denial::InsecureTransport]);
        if access.others == Others::Deny {
            denied.extend([Denial::OthersSend, Denial::OthersReceive, Denial::OthersRedrive]);
            let organization = read.grants.iter().any(|grant| matches!(grant.principal, Principal::Organization(_)));
            denied.extend(organization.then_some(Denial::OutsideOrganization));
        }
        denied.extend(access.suspended.then_some(Denial::Suspended));
        prop_assert_eq!(read.denied, denied);
    }

    #[test]
    fn dead_letter_policies((place, access) in placed_queue_access()) {
        let Some(queue) = &access.dead_letter_queue else {
            prop_assert_eq!(render_dead_letter(&access, &place), None);
            return Ok(());
        };
        let document = reparsed(&render_dead_letter(&access, &place).unwrap());
        let read = read_queue_policy(&document, QueueKind::DeadLetter, queue, &place);
        let shown = [Capability::ReceiveDeadLetters, Capability::Redrive, Capability::Observe];
        prop_assert_eq!(&read.grants, &only(access.effective_grants(), &shown));
        prop_assert!(read.foreign.is_empty(), "{:?}", read);
        let others = [Denial::OthersSend, Denial::OthersReceive, Denial::OthersRedrive];
        prop_assert_eq!(others.iter().all(|denial| read.denied.contains(denial)), access.others == Others::Deny);
        prop_assert_eq!(read.denied.contains(&Denial::Suspended), access.suspended);
    }

    #[test]
    fn key_policies(access in key_access()) {
        let document = reparsed(&key_policy::render(&access, "id"));
        let queues = access.users.iter().map(|user| (user.queue.clone(), user.dead_letter_queue.clone())).collect();
        let read = read_key_policy(&document, &access.place, &queues);
        let shown = [Capability::Send, Capability::Receive, Capability::ReceiveDeadLetters, Capability::Redrive];
        let expected = access.users.iter().map(|user| (user.queue.clone(), only(user.effective_grants(), &shown)));
        let expected: BTreeMap<_, _> = expected.filter(|(_, grants)| !grants.is_empty()).collect();
        prop_assert_eq!(read.grants, expected);
        prop_assert!(read.foreign.is_empty(), "{:?}", read.foreign);
        let names = |roles: &BTreeSet<crate::names::RoleArn>| roles.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        let mut administration = BTreeMap::from([
            (Administration::Operator, BTreeSet::from([access.operator.to_string()])),
            (Administration::Root, BTreeSet::from([access.place.root_arn()])),
            (Administration::KeyAdministrators, names(&access.administrators)),
            (Administration::BreakGlass, names(&access.break_glass)),
        ]);
        administration.retain(|_, principals| !principals.is_empty());
        prop_assert_eq!(read.administration, administration);
        let suspended = access.suspended.then_some(Denial::Suspended);
        prop_assert_eq!(read.denied, std::iter::once(Denial::Grants).chain(suspended).collect::<BTreeSet<_>>());
    }
}
