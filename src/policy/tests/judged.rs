//! The rendered policies allow exactly what the access model says, also access that no declaration can ask for; an independent evaluator judges.
//! `tests/proof/` does the same for declarations, with a second evaluator.

#[path = "../../../tests/proof/capabilities.rs"]
mod capabilities;

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::Value;
use test_support::judge::evaluator::evaluate;
use test_support::judge::{Caller, Request, Verdict};

use self::capabilities::{DATA_PLANE, SQS_ACTIONS, giving, giving_use, service_name, tolerated};
use super::cases;
use super::strategies::{ACCOUNTS, ORGANIZATIONS, ROLES, SOURCES, UNITS, key_access, placed_queue_access, role};
use crate::api::encrypted_queue::{KeySourceCondition, ServicePrincipal};
use crate::api::sensitivity_tier::Others;
use crate::names::Place;
use crate::policy::access::{Capability, Grant, Principal, QueueAccess};
use crate::policy::document::Document;
use crate::policy::key_policy;
use crate::policy::queue_policy::{render_dead_letter, render_queue};

/// Who calls, before the partition is known.
#[derive(Clone, Debug)]
enum Who {
    Role { account: &'static str, name: &'static str, organization: Option<(&'static str, &'static str)> },
    Service { service: ServicePrincipal, source_arn: &'static str, source_account: &'static str },
    Anonymous,
}

/// Every kind of caller: declared or not, in either account, in, beside and outside the organisations; services for right and wrong sources; nobody.
fn callers() -> Vec<Who> {
    let names: Vec<_> = ROLES.iter().copied().chain(["stranger", "other/log", "encrypted-queue-operator"]).collect();
    let mut organizations = vec![None, Some((ORGANIZATIONS[0], "r-1/ou-3/"))];
    organizations.extend(ORGANIZATIONS.iter().flat_map(|id| UNITS.iter().map(|unit| Some((*id, *unit)))));
    let mut callers = vec![Who::Anonymous];
    for account in ACCOUNTS {
        for (name, organization) in names.iter().flat_map(|name| organizations.iter().map(move |organization| (*name, *organization))) {
            callers.push(Who::Role { account, name, organization });
        }
        for (service, source_arn) in SOURCES.into_iter().chain([(ServicePrincipal::S3, "arn:aws:s3:::foreign")]) {
            callers.push(Who::Service { service, source_arn, source_account: account });
        }
    }
    callers
}

fn json(document: &Document) -> Value {
    serde_json::from_str(&document.to_json()).unwrap()
}

impl Who {
    fn request(&self, place: &Place, action: &'static str, resource: &str) -> Request {
        let mut context = BTreeMap::from([("aws:SecureTransport".to_owned(), vec!["true".to_owned()])]);
        let mut put = |key: &str, value: &str| drop(context.insert(key.to_owned(), vec![value.to_owned()]));
        let caller = match self {
            Self::Role { account, name, organization } => {
                let arn = role(place.partition, account, name);
                put("aws:PrincipalArn", arn.as_str());
                put("aws:PrincipalIsAWSService", "false");
                if let Some((id, unit)) = organization {
                    put("aws:PrincipalOrgID", id);
                    put("aws:PrincipalOrgPaths", &format!("{id}/{unit}"));
                }
                Caller::Session { role: arn.into(), name: "session".to_owned() }
            }
            Self::Service { service, source_arn, source_account } => {
                put("aws:PrincipalIsAWSService", "true");
                put("aws:SourceArn", source_arn);
                put("aws:SourceAccount", source_account);
                Caller::Service(service_name(*service).to_owned())
            }
            Self::Anonymous => Caller::Anonymous,
        };
        Request { caller, action: action.to_owned(), resource: resource.to_owned(), context }
    }

    fn in_account(&self, place: &Place) -> bool {
        matches!(self, Self::Role { account, .. } if *account == place.account)
    }

    fn is(&self, principal: &Principal, place: &Place) -> bool {
        match (self, principal) {
            (Self::Role { account, name, .. }, Principal::Role(arn)) => role(place.partition, account, name) == *arn,
            (Self::Role { name, organization: Some((id, unit)), .. }, Principal::Organization(roles)) => {
                let path = format!("{id}/{unit}");
                let on_path = |wanted: &String| path.starts_with(wanted.trim_end_matches('*'));
                *id == roles.id && *name == roles.role_name && (roles.paths.is_empty() || roles.paths.iter().any(on_path))
            }
            (Self::Service { service, source_arn, source_account }, Principal::Service(source)) => {
                *service == source.service && *source_account == source.source_account && same_source(&source.source_arn, source_arn)
            }
            _ => false,
        }
    }

    fn has(&self, capabilities: &[Capability], access: &QueueAccess, place: &Place) -> bool {
        access.effective_grants().iter().any(|Grant { principal, capability }| capabilities.contains(capability) && self.is(principal, place))
    }
}

fn same_source(declared: &str, actual: &str) -> bool {
    declared.strip_suffix('*').map_or(declared == actual, |prefix| actual.starts_with(prefix))
}

/// The callers' IAM policies: none, or everything.
fn allowed(verdict: Verdict, who: &Who, place: &Place, iam: bool) -> bool {
    match (verdict, who) {
        (Verdict::Denied, _) => false,
        (Verdict::Silent | Verdict::Delegated, _) => iam && who.in_account(place),
        (Verdict::Allowed, Who::Role { .. }) => iam || who.in_account(place),
        (Verdict::Allowed, _) => true,
    }
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn queue_policies_allow_exactly_the_declared(
        (place, access) in placed_queue_access(), actions in subsequence(SQS_ACTIONS.to_vec(), 4), dead_letters in any::<bool>(),
    ) {
        let document = if dead_letters { render_dead_letter(&access, &place) } else { Some(render_queue(&access, &place)) };
        let queue = if dead_letters { access.dead_letter_queue.as_ref() } else { Some(&access.queue) };
        let (Some(document), Some(queue)) = (document, queue) else { return Ok(()) };
        let policy = json(&document);
        for (who, action) in callers().iter().flat_map(|who| actions.iter().map(move |action| (who, *action))) {
            let mut request = who.request(&place, action, queue.as_str());
            let verdict = evaluate(&policy, &request);
            for iam in [false, true] {
                let expected = expected_at_queue(who, &access, &place, action, dead_letters, iam);
                prop_assert_eq!(allowed(verdict, who, &place, iam), expected, "{:?} {} {}\n{}", who, action, queue, document.to_pretty_json());
            }
            request.context.insert("aws:SecureTransport".to_owned(), vec!["false".to_owned()]);
            prop_assert_eq!(evaluate(&policy, &request), Verdict::Denied);
        }
    }

    #[test]
    fn key_policies_allow_exactly_the_declared(
        key in key_access(), action in select(vec!["kms:Decrypt", "kms:GenerateDataKey", "kms:Encrypt", "kms:CreateGrant"]),
        through in any::<prop::sample::Index>(), dead_letters in any::<bool>(), via in select(vec!["sqs", "sqs", "s3", ""]), context in prop::bool::weighted(0.8),
    ) {
        let place = &key.place;
        let user = through.get(&key.users);
        let arn = if dead_letters { user.dead_letter_queue.as_ref() } else { Some(&user.queue) };
        let Some(arn) = arn else { return Ok(()) };
        let document = key_policy::render(&key, "id");
        let policy = json(&document);
        let capabilities = giving_use(action);
        for who in callers() {
            let mut request = who.request(place, action, "key");
            if context {
                request.context.insert("kms:EncryptionContext:aws:sqs:arn".to_owned(), vec![arn.as_str().to_owned()]);
            }
            if !via.is_empty() && matches!(who, Who::Role { .. }) {
                request.context.insert("kms:ViaService".to_owned(), vec![format!("{via}.{}.amazonaws.com", place.region)]);
            }
            let declared = match &who {
                Who::Role { .. } => via == "sqs" && context && who.has(capabilities, user, place),
                Who::Service { .. } => key.users.iter().filter(|any| !context || any.queue == user.queue).any(|user| service_may(&who, capabilities, user)),
                Who::Anonymous => false,
            };
            let allowed = evaluate(&policy, &request) == Verdict::Allowed;
            prop_assert_eq!(allowed, declared && !key.suspended, "{:?} {} {}\n{}", who, action, arn, document.to_pretty_json());
        }
    }

    /// Whoever administers can never use the key, and no state of the tenant takes administration away.
    #[test]
    fn administration_is_kept_and_apart_from_use(key in key_access()) {
        let policy = json(&key_policy::render(&key, "id"));
        let ask = |caller: &str, action: &str| {
            let caller = match caller.strip_suffix(":root") {
                Some(_) => Caller::Root { partition: key.place.partition.to_string(), account: key.place.account.clone() },
                None => Caller::Session { role: caller.to_owned(), name: "session".to_owned() },
            };
            evaluate(&policy, &Request { caller, action: action.to_owned(), resource: "key".to_owned(), context: BTreeMap::new() })
        };
        let (operator, root) = (key.operator.as_str(), key.place.root_arn());
        for action in ["kms:PutKeyPolicy", "kms:GetKeyPolicy", "kms:EnableKey", "kms:CancelKeyDeletion"] {
            prop_assert_eq!([ask(operator, action), ask(&root, action)], [Verdict::Allowed; 2]);
            let administrators = key.administrators.difference(&key.break_glass).all(|role| ask(role.as_str(), action) == Verdict::Allowed);
            prop_assert_eq!(administrators, action != "kms:PutKeyPolicy" || key.administrators.is_subset(&key.break_glass));
            prop_assert!(key.break_glass.iter().all(|role| ask(role.as_str(), action) == Verdict::Allowed));
        }
        for action in ["kms:Decrypt", "kms:GenerateDataKey", "kms:Encrypt", "kms:ReEncryptFrom", "kms:GenerateDataKeyWithoutPlaintext"] {
            prop_assert!([operator, &root].iter().all(|caller| ask(caller, action) != Verdict::Allowed));
        }
        prop_assert!([operator, &root].iter().all(|caller| ask(caller, "kms:CreateGrant") == Verdict::Denied));
        prop_assert!(ask(&root, "kms:ScheduleKeyDeletion") == Verdict::Silent && ask(&root, "kms:RevokeGrant") == Verdict::Silent);
    }
}

fn expected_at_queue(who: &Who, access: &QueueAccess, place: &Place, action: &str, dead_letters: bool, iam: bool) -> bool {
    let reads = action == "sqs:GetQueueAttributes" || action == "sqs:GetQueueUrl";
    let is_role = matches!(who, Who::Role { .. });
    // Services only ever send: what else comes with Send is for roles.
    let declared = who.has(giving(action, dead_letters), access, place) && !(reads && matches!(who, Who::Service { .. }));
    let by_policy = declared && (iam || who.in_account(place) || !is_role);
    let is_data_plane = DATA_PLANE.contains(&action);
    let undenied = access.others == Others::Unstated || !is_data_plane || who.has(tolerated(action, dead_letters), access, place);
    let by_iam = iam && who.in_account(place) && undenied;
    (by_policy || by_iam) && !(access.suspended && is_data_plane)
}

/// As the key's source condition says: the rest is for the queue policy.
fn service_may(who: &Who, capabilities: &[Capability], access: &QueueAccess) -> bool {
    let Who::Service { service, source_arn, source_account } = who else { return false };
    access.effective_grants().iter().any(|grant| match &grant.principal {
        Principal::Service(source) if capabilities.contains(&grant.capability) && source.service == *service => match source.key_condition {
            KeySourceCondition::SourceArn => *source_account == source.source_account && same_source(&source.source_arn, source_arn),
            KeySourceCondition::SourceAccount => *source_account == source.source_account,
            KeySourceCondition::None => true,
        },
        _ => false,
    })
}
