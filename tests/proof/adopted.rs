//! Manifests written for queues that exist keep everyone's access, or say whose they do not: judged by asking everyone whom the old policies could mean.

use std::collections::{BTreeMap, BTreeSet};

use encrypted_queue::adopt::{Adopted, FoundQueue, Known, RemarkKind, TenantNeeds, adopt, to_yaml};
use encrypted_queue::api::{EncryptedQueue, SensitivityTier, Tenant};
use encrypted_queue::desired::{DesiredQueue, QueueInput, ServiceAccountRole, desired_queue};
use encrypted_queue::names::{Partition, Place, RoleArn};
use encrypted_queue::plan::state::QueueState;
use encrypted_queue::policy::access::{Grant, Principal, QueueAccess};
use encrypted_queue::policy::queue_policy;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use test_support::judge::probes::{Subject, queue_holders};

use crate::declared::{OWN, declarations};

const PARTNER: &str = "444455556666";

fn place() -> Place {
    Place { partition: Partition::Aws, account: OWN.to_owned(), region: "eu-west-1".to_owned() }
}

fn state(place: &Place, name: &str, policy: Option<String>, more: &[(&str, String)]) -> QueueState {
    let url = format!("https://sqs.{}.amazonaws.com/{}/{name}", place.region, place.account);
    let policy = policy.map(|policy| ("Policy".to_owned(), policy));
    let attributes = more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).chain(policy).collect();
    QueueState {
        url,
        attributes,
        tags: BTreeMap::from([("team".to_owned(), "Acme".to_owned()), ("Data-Classification".to_owned(), "tier".to_owned())]),
    }
}

fn found(place: &Place, name: &str, policy: Option<String>, dead_letters: Option<String>) -> FoundQueue {
    let dead_name = format!("{name}-dead");
    let redrive = json!({"deadLetterTargetArn": place.queue_arn(&dead_name).as_str(), "maxReceiveCount": "3"}).to_string();
    let more: &[(&str, String)] = if dead_letters.is_some() { &[("RedrivePolicy", redrive)] } else { &[] };
    FoundQueue {
        place: place.clone(),
        queue: state(place, name, policy, more),
        dead_letter: dead_letters.map(|policy| state(place, &dead_name, Some(policy), &[("MessageRetentionPeriod", "1209600".to_owned())])),
        dead_letter_sources: vec![name.to_owned()],
        key_policy: None,
    }
}

/// What becomes of the declaration once its Tenant and tier admit what they are said to need, and no more.
fn accepted(found: &FoundQueue, adopted: &Adopted) -> DesiredQueue {
    let needs = TenantNeeds::of(&[(found.clone(), adopted.clone())], &Known::default()).remove("acme").expect("needs of Tenant acme");
    let object = |kind: &str, name: &str, spec: Value| json!({"apiVersion": "encryptedqueue.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    let tenant: Tenant = serde_json::from_value(object(
        "Tenant",
        "acme",
        json!({
            "namespaces": {"names": needs.namespaces}, "aws": {"accountId": needs.accounts.first(), "regions": needs.regions},
            "sensitivityTiers": needs.sensitivity_tiers, "adoptableQueueNames": needs.adoptable_queue_names,
            "queueNames": needs.queue_names,
            "principals": {
                "roles": needs.roles, "services": needs.services, "sourceAccounts": needs.source_accounts, "organizations": needs.organizations,
            },
        }),
    ))
    .unwrap();
    let allow = |tiers: &BTreeSet<String>| if tiers.is_empty() { "Deny" } else { "Allow" };
    let access = json!({"crossAccount": allow(&needs.cross_account_tiers), "organizations": allow(&needs.organization_tiers), "services": "Allow"});
    let tier: SensitivityTier = serde_json::from_value(object("SensitivityTier", "tier", json!({"access": access}))).unwrap();
    // As it is written, not as it was made.
    let yaml = to_yaml(adopted);
    let read: EncryptedQueue = serde_saphyr::from_str(&yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
    assert_eq!(read.spec, adopted.object.spec, "{yaml}");
    desired_queue(&QueueInput {
        object: &read,
        namespace_labels: Some(&BTreeMap::new()),
        tenant: Some(&tenant),
        tier: Some(&tier),
        service_account: &|_| ServiceAccountRole::Missing,
        cluster_id: "cluster",
        operator_role: RoleArn::parse(&format!("arn:{}:iam::{OWN}:role/platform/operator", found.place.partition)).ok().as_ref(),
        within_limit: true,
        key_generation: 1,
        leaves_approval: false,
        settle: jiff::SignedDuration::ZERO,
    })
    .unwrap_or_else(|refusal| panic!("{:?}\n{yaml}", refusal.violations))
}

/// A service acts for sources of the account that it says: of a bucket, whose ARN tells none, only the queue's is known.
fn exists(subject: &Subject) -> bool {
    match subject {
        Subject::Service { name, source, account } => {
            let (service, own) = (source.split(':').nth(2).unwrap_or_default(), source.split(':').nth(4).unwrap_or_default());
            name.starts_with(&format!("{service}.")) && (own == account || (own.is_empty() && account == OWN))
        }
        // Nobody is a role of a name with a wildcard.
        Subject::Arn(arn) => !arn.contains('*') && arn.contains(":role/"),
        Subject::Member { .. } => true,
        Subject::Anonymous => false,
    }
}

/// Access under the old policy that is not there under the new one, less what nobody legitimate has: who is allowed by being anybody, or by a pattern.
fn losses(old: &str, desired: &DesiredQueue, dead_letters: bool) -> BTreeSet<String> {
    let queue = if dead_letters { desired.access.dead_letter_queue.clone().unwrap() } else { desired.access.queue.clone() };
    let new = if dead_letters {
        queue_policy::render_dead_letter(&desired.access, &desired.place).unwrap()
    } else {
        queue_policy::render_queue(&desired.access, &desired.place)
    };
    let (old, new): (Value, Value) = (serde_json::from_str(old).unwrap(), serde_json::from_str(&new.to_json()).unwrap());
    let after = queue_holders(&new, queue.as_str(), false);
    // Judged by the new policy too, who is mentioned in the old one alone.
    let before = queue_holders(&old, queue.as_str(), false).into_iter().filter(|(subject, _)| exists(subject));
    let lost = before.filter(|held| !after.contains(held) && !holds(&after, held));
    lost.map(|(subject, what)| format!("{} of {subject:?}", what.action)).collect()
}

/// A member of an organisation may also be named by ARN.
fn holds(after: &test_support::judge::probes::Holders, (subject, what): &(Subject, test_support::judge::probes::Use)) -> bool {
    let Subject::Member { prefix, role, .. } = subject else { return false };
    after.contains(&(Subject::Arn(format!("{prefix}{role}")), what.clone()))
}

fn statement(principal: &Value, actions: &Value, condition: &Value) -> Value {
    let mut statement = json!({"Sid": "S", "Effect": "Allow", "Principal": principal, "Action": actions, "Resource": "arn:aws:sqs:eu-west-1:111122223333:acme-orders"});
    if !condition.is_null() {
        statement["Condition"] = condition.clone();
    }
    statement
}

struct Case {
    name: &'static str,
    statements: Vec<Value>,
    /// Producers, consumers, observers that are declared.
    declared: (usize, usize, usize),
    /// What a remark of losses says; none: nothing is lost.
    lost: Option<&'static str>,
    wider: Option<&'static str>,
}

/// Policies as they are found: by the consoles of SNS, S3 and EventBridge, by CDK, by Terraform modules, by hand.
#[allow(clippy::too_many_lines)]
fn zoo() -> Vec<Case> {
    let role = |account: &str, name: &str| format!("arn:aws:iam::{account}:role/{name}");
    let topic = "arn:aws:sns:eu-west-1:111122223333:orders";
    let case = |name, statements, declared, lost, wider| Case { name, statements, declared, lost, wider };
    vec![
        case(
            "what SQS itself writes",
            vec![statement(&json!({"AWS": "arn:aws:iam::111122223333:root"}), &json!("SQS:*"), &Value::Null)],
            (0, 0, 0),
            Some("IAM policies of this account decide"),
            None,
        ),
        case(
            "a topic, as the SNS console writes it",
            vec![statement(&json!({"AWS": "*"}), &json!("SQS:SendMessage"), &json!({"ArnLike": {"aws:SourceArn": topic}}))],
            (1, 0, 0),
            None,
            None,
        ),
        case(
            "a topic by its service",
            vec![statement(&json!({"Service": "sns.amazonaws.com"}), &json!("sqs:SendMessage"), &json!({"ArnEquals": {"aws:SourceArn": topic}}))],
            (1, 0, 0),
            None,
            None,
        ),
        case(
            "a bucket and its account",
            vec![statement(
                &json!({"Service": "s3.amazonaws.com"}),
                &json!("sqs:SendMessage"),
                &json!({"ArnLike": {"aws:SourceArn": "arn:aws:s3:*:*:acme-uploads"}, "StringEquals": {"aws:SourceAccount": OWN}}),
            )],
            (0, 0, 0),
            Some("any source like arn:aws:s3:*:*:acme-uploads"),
            None,
        ),
        case(
            "a bucket without its account",
            vec![statement(
                &json!({"Service": "s3.amazonaws.com"}),
                &json!("sqs:SendMessage"),
                &json!({"ArnLike": {"aws:SourceArn": "arn:aws:s3:::acme-uploads"}}),
            )],
            (1, 0, 0),
            None,
            None,
        ),
        case(
            "a rule",
            vec![statement(
                &json!({"Service": "events.amazonaws.com"}),
                &json!(["sqs:SendMessage"]),
                &json!({"ArnEquals": {"aws:SourceArn": "arn:aws:events:eu-west-1:111122223333:rule/nightly"}}),
            )],
            (1, 0, 0),
            None,
            None,
        ),
        case(
            "any topic",
            vec![statement(&json!({"Service": "sns.amazonaws.com"}), &json!("sqs:SendMessage"), &Value::Null)],
            (0, 0, 0),
            Some("for any source"),
            None,
        ),
        case(
            "a service that sends as a role by now",
            vec![statement(&json!({"Service": "lambda.amazonaws.com"}), &json!("sqs:SendMessage"), &Value::Null)],
            (0, 0, 0),
            Some("lambda.amazonaws.com"),
            None,
        ),
        case(
            "worker and sender of two accounts",
            vec![
                statement(
                    &json!({"AWS": role(OWN, "team/worker")}),
                    &json!(["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"]),
                    &Value::Null,
                ),
                statement(&json!({"AWS": [role(PARTNER, "sender"), role(OWN, "sender")]}), &json!("sqs:Send*"), &Value::Null),
            ],
            (2, 1, 0),
            None,
            None,
        ),
        case(
            "everything to one role",
            vec![statement(&json!({"AWS": role(OWN, "admin")}), &json!("*"), &Value::Null)],
            (1, 1, 0),
            Some("sqs:PurgeQueue"),
            None,
        ),
        case(
            "a scaler that looks at attributes",
            vec![statement(&json!({"AWS": role(OWN, "keda")}), &json!(["sqs:GetQueueAttributes", "sqs:GetQueueUrl"]), &Value::Null)],
            (0, 0, 1),
            None,
            None,
        ),
        case(
            "delete alone",
            vec![statement(&json!({"AWS": role(OWN, "janitor")}), &json!("sqs:DeleteMessage"), &Value::Null)],
            (0, 1, 0),
            None,
            Some("a part of receiving"),
        ),
        case(
            "from the office only",
            vec![statement(&json!({"AWS": role(OWN, "sender")}), &json!("sqs:SendMessage"), &json!({"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}))],
            (1, 0, 0),
            None,
            Some("192.0.2.0/24"),
        ),
        case(
            "roles of a name in an organisation",
            vec![statement(
                &json!("*"),
                &json!("sqs:SendMessage"),
                &json!({"StringEquals": {"aws:PrincipalOrgID": "o-aaaaaaaaaa"}, "ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/log"}}),
            )],
            (1, 0, 0),
            None,
            None,
        ),
        case(
            "a whole organisation",
            vec![statement(&json!("*"), &json!("sqs:*"), &json!({"StringEquals": {"aws:PrincipalOrgID": "o-aaaaaaaaaa"}}))],
            (0, 0, 0),
            Some("every principal of organisation o-aaaaaaaaaa"),
            None,
        ),
        case(
            "roles of the account by condition",
            vec![statement(
                &json!({"AWS": OWN}),
                &json!(["sqs:SendMessage", "sqs:ReceiveMessage"]),
                &json!({"ArnEquals": {"aws:PrincipalArn": [role(OWN, "one"), role(OWN, "two")]}}),
            )],
            (2, 2, 0),
            None,
            Some("a part of receiving"),
        ),
        case(
            "a user, a session, somebody deleted",
            vec![statement(
                &json!({"AWS": ["arn:aws:iam::111122223333:user/maria", "arn:aws:sts::111122223333:assumed-role/worker/i-1", "AROAEXAMPLEEXAMPLE123"]}),
                &json!("sqs:SendMessage"),
                &Value::Null,
            )],
            (0, 0, 0),
            Some("user/maria is a user"),
            None,
        ),
        case("the world", vec![statement(&json!("*"), &json!("sqs:*"), &Value::Null)], (0, 0, 0), Some("anyone at all"), None),
        case(
            "a Deny that names one of those allowed",
            vec![statement(&json!({"AWS": [role(OWN, "one"), role(OWN, "two")]}), &json!("sqs:SendMessage"), &Value::Null), {
                let mut deny = statement(&json!({"AWS": role(OWN, "one")}), &json!("sqs:SendMessage"), &Value::Null);
                deny["Effect"] = "Deny".into();
                deny
            }],
            (1, 0, 0),
            None,
            None,
        ),
        case(
            "TLS alone, and everybody else denied",
            vec![
                statement(
                    &json!({"AWS": role(OWN, "one")}),
                    &json!(["sqs:SendMessage", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"]),
                    &Value::Null,
                ),
                json!({"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}),
                json!({"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": "*", "Condition": {"ArnNotEquals": {"aws:PrincipalArn": role(OWN, "one")}}}),
            ],
            (1, 1, 0),
            None,
            None,
        ),
        case(
            "everybody but one, which nobody should write",
            vec![json!({"Sid": "S", "Effect": "Allow", "NotPrincipal": {"AWS": role(OWN, "one")}, "Action": "sqs:SendMessage", "Resource": "*"})],
            (0, 0, 0),
            Some("NotPrincipal"),
            None,
        ),
        case(
            "another queue's statement",
            vec![{
                let mut other = statement(&json!({"AWS": role(OWN, "one")}), &json!("sqs:SendMessage"), &Value::Null);
                other["Resource"] = "arn:aws:sqs:eu-west-1:111122223333:other".into();
                other
            }],
            (0, 0, 0),
            None,
            None,
        ),
    ]
}

#[test]
fn nobody_legitimate_loses_access_and_what_is_lost_is_told() {
    let mut kept = 0;
    for Case { name, statements, declared, lost, wider } in zoo() {
        let policy = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
        let found = found(&place(), "acme-orders", Some(policy.clone()), None);
        let adopted = adopt(&found, &Known::default());
        let spec = &adopted.object.spec;
        let yaml = to_yaml(&adopted);
        assert_eq!((spec.producers.len(), spec.consumers.len(), spec.observers.len()), declared, "{name}\n{yaml}");
        assert_eq!((spec.tenant.as_str(), spec.sensitivity_tier.as_str()), ("acme", "tier"), "{yaml}");
        assert!(yaml.contains("# guessed: tag team: Acme"), "{yaml}");
        let said =
            |kind: RemarkKind| adopted.remarks.iter().filter(|remark| remark.kind == kind).map(|remark| remark.text.clone()).collect::<Vec<_>>();
        for (kind, expected) in [(RemarkKind::Lost, lost), (RemarkKind::Wider, wider)] {
            match expected {
                Some(text) => assert!(said(kind).iter().any(|line| line.contains(text)), "{name}: {text}\n{yaml}"),
                None => assert_eq!(said(kind), Vec::<String>::new(), "{name}"),
            }
        }
        let losses = losses(&policy, &accepted(&found, &adopted), false);
        assert!(lost.is_some() || losses.is_empty(), "{name}: {losses:#?}\n{yaml}");
        kept += usize::from(lost.is_none());
    }
    assert!(kept > 10, "too few keep everything: {kept}");
}

/// The judge sees a loss: a producer taken out of the declaration, and one of the zoo that cannot be declared.
#[test]
fn a_loss_would_be_noticed() {
    let policy = |principal: Value| json!({"Statement": [statement(&principal, &json!("sqs:SendMessage"), &Value::Null)]}).to_string();
    let roles = json!({"AWS": ["arn:aws:iam::111122223333:role/one", "arn:aws:iam::111122223333:role/two"]});
    let found = found(&place(), "acme-orders", Some(policy(roles.clone())), None);
    let mut adopted = adopt(&found, &Known::default());
    adopted.object.spec.producers.pop();
    let losses = losses(&policy(roles), &accepted(&found, &adopted), false);
    assert!(losses.len() == 1 && losses.iter().all(|loss| loss.contains("role/two")), "{losses:?}");
}

/// As the declaration has them; the key's source condition stands in no queue policy of others.
fn comparable(access: &QueueAccess) -> BTreeSet<String> {
    let of = |Grant { principal, capability }: Grant| {
        let principal = match principal {
            Principal::Service(source) => format!("{} for {} of {}", source.service.as_str(), source.source_arn, source.source_account),
            other => other.to_string(),
        };
        format!("{principal} may {capability}")
    };
    access.effective_grants().into_iter().map(of).collect()
}

/// The inverse of rendering: what the operator wrote itself reads back as it was declared, whatever its Sids.
#[test]
fn rendered_policies_are_read_back_as_declared() {
    let config = Config { cases: 300, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&declarations(Partition::Aws), |declaration| {
            let access = declaration.access();
            for user in access.users.iter().filter(|user| !user.suspended) {
                let policy = queue_policy::render_queue(user, &access.place);
                let dead_letters = queue_policy::render_dead_letter(user, &access.place).map(|policy| policy.to_json());
                let mut found = found(&access.place, user.queue.name(), Some(policy.to_json()), dead_letters.clone());
                if let (Some(queue), Some(arn)) = (&mut found.dead_letter, &user.dead_letter_queue) {
                    queue.url = format!("https://sqs/{}/{}", access.place.account, arn.name());
                    let redrive = json!({"deadLetterTargetArn": arn.as_str(), "maxReceiveCount": 3}).to_string();
                    found.queue.attributes.insert("RedrivePolicy".to_owned(), redrive);
                }
                let adopted = adopt(&found, &Known::default());
                let desired = accepted(&found, &adopted);
                let (before, after) = (comparable(user), comparable(&desired.access));
                // Whoever may more than observe is no observer beside it.
                let observes = |grant: &&String| grant.ends_with("may read attributes");
                // And who moves messages back need not be a producer to send.
                let moves =
                    |grant: &&String| grant.strip_suffix("may send").is_some_and(|who| after.contains(&format!("{who}may move dead letters back")));
                let missing: Vec<_> = before.difference(&after).filter(|grant| !observes(grant) && !moves(grant)).collect();
                let beyond: Vec<_> = after.difference(&before).filter(|grant| !observes(grant)).collect();
                prop_assert!(missing.is_empty() && beyond.is_empty(), "missing {missing:?}, beyond {beyond:?}\n{}", to_yaml(&adopted));
                let lost = losses(&policy.to_json(), &desired, false);
                prop_assert!(lost.is_empty(), "{lost:?}");
                if let Some(old) = &dead_letters {
                    let lost = losses(old, &desired, true);
                    prop_assert!(lost.is_empty(), "{lost:?}");
                }
            }
            Ok(())
        })
        .unwrap();
}
