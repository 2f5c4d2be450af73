//! Tenants in the partitions aws-cn and aws-us-gov: everything that is rendered for them is of their partition, and nothing else is admitted.

use std::collections::BTreeSet;

use encrypted_queue::api::Reason;
use encrypted_queue::desired::{DesiredQueue, ServiceAccountRole};
use encrypted_queue::names::RoleArn;
use encrypted_queue::policy::access::{Capability, KeyAccess};
use encrypted_queue::policy::document::Document;
use encrypted_queue::policy::queue_policy::QueueKind;
use encrypted_queue::policy::{key_policy, queue_policy, read_back};
use regex::Regex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::violations;
use crate::declare::{Declared, declared, object, role};

const ELSEWHERE: [(&str, &str); 2] = [("aws-cn", "cn-north-1"), ("aws-us-gov", "us-gov-west-1")];

/// The same with every ARN and Region of the partition.
fn moved<T: Serialize + DeserializeOwned>(original: &T, partition: &str, region: &str) -> T {
    let text = serde_json::to_string(original).unwrap().replace("arn:aws:", &format!("arn:{partition}:"));
    object(serde_json::from_str(&text.replace("eu-west-1", region).replace("eu-central-1", &format!("{}-9", &region[..region.len() - 2]))).unwrap())
}

/// Every kind of principal.
fn everyone() -> Declared {
    let topic = json!({"principal": "sns.amazonaws.com", "sourceArn": "arn:aws:sns:eu-west-1:111122223333:orders", "sourceAccount": "111122223333"});
    declared()
        .with_tier(json!({"spec": {"access": {"organizations": "Allow", "services": "Allow", "crossAccount": "Allow"}}}))
        .with_queue(json!({"spec": {
            "producers": [
                {"role": role("acme-api")}, {"service": topic}, {"organization": {"id": "o-a1b2c3d4e5", "roleName": "log-shipper"}},
                {"role": "arn:aws:iam::999988887777:role/acme-partner"},
            ],
            "consumers": [{"serviceAccount": {"name": "worker"}}],
            "observers": [{"role": role("acme-watch")}],
            "deadLetter": {"redrivers": [{"role": role("acme-support")}]},
        }}))
        .with_service_account("worker", ServiceAccountRole::Role(role("acme-worker")))
}

fn in_partition(of: &Declared, partition: &str, region: &str) -> Declared {
    let moved_role = |arn: &str| arn.replace("arn:aws:", &format!("arn:{partition}:"));
    of.clone().but(|declared| {
        declared.tenant = declared.tenant.as_ref().map(|tenant| moved(tenant, partition, region));
        declared.queue = moved(&declared.queue, partition, region);
        declared.operator = declared.operator.as_ref().map(|role| RoleArn::parse(&moved_role(role.as_str())).unwrap());
        for role in declared.service_accounts.values_mut() {
            if let ServiceAccountRole::Role(arn) = role {
                *arn = moved_role(arn);
            }
        }
    })
}

fn key_policy_of(declared: &Declared, desired: &DesiredQueue) -> Document {
    let roles = |arns: &[String]| arns.iter().map(|arn| RoleArn::parse(arn).unwrap()).collect::<BTreeSet<_>>();
    let tenant = &declared.tenant.as_ref().unwrap().spec;
    let access = KeyAccess {
        place: desired.place.clone(),
        operator: declared.operator.clone().unwrap(),
        administrators: roles(&tenant.key_administrators),
        break_glass: roles(&tenant.break_glass_administrators),
        users: vec![desired.access.clone()],
        suspended: false,
    };
    key_policy::render(&access, "id")
}

#[test]
fn policies_name_nothing_of_another_partition_and_read_back() {
    let arns = Regex::new("arn:[a-z-]*").unwrap();
    for (partition, region) in ELSEWHERE {
        let declared = in_partition(&everyone(), partition, region);
        let desired = declared.judged().unwrap_or_else(|refusal| panic!("{partition}: {:?}", refusal.violations));
        let (access, place) = (&desired.access, &desired.place);
        let (queue, key) = (queue_policy::render_queue(access, place), key_policy_of(&declared, &desired));
        let dead_letter = queue_policy::render_dead_letter(access, place).unwrap();
        for policy in [&queue, &dead_letter, &key] {
            let text = policy.to_json();
            let found: BTreeSet<&str> = arns.find_iter(&text).map(|arn| arn.as_str()).collect();
            assert_eq!(found, [format!("arn:{partition}").as_str()].into(), "{text}");
        }
        // Where the suffix is not documented, either can only be SQS.
        let via = format!("sqs.{region}.amazonaws.com");
        let expected: BTreeSet<String> = if partition == "aws-cn" { [format!("{via}.cn"), via].into() } else { [via].into() };
        let of_roles = key
            .statements
            .iter()
            .filter(|statement| statement.conditions.get("StringEquals").is_some_and(|keys| keys.contains_key("kms:ViaService")));
        let values: Vec<BTreeSet<String>> = of_roles.map(|statement| statement.conditions["StringEquals"]["kms:ViaService"].clone()).collect();
        assert!(values.len() >= 4 && values.iter().all(|values| *values == expected), "{values:?}");
        assert!(queue.to_json().contains(r#""Service":"sns.amazonaws.com""#), "{}", queue.to_json());

        let read = read_back::read_queue_policy(&queue, QueueKind::Source, &access.queue, place);
        let without = |capability| access.effective_grants().into_iter().filter(|grant| grant.capability != capability).collect::<BTreeSet<_>>();
        assert_eq!((read.foreign, read.grants), (Vec::new(), without(Capability::ReceiveDeadLetters)));
        let queues = [(access.queue.clone(), access.dead_letter_queue.clone())].into();
        let read = read_back::read_key_policy(&key, place, &queues);
        assert_eq!((&read.foreign, &read.grants[&access.queue]), (&Vec::new(), &without(Capability::Observe)));
        assert_eq!(read.administration.len(), 4, "operator, root, key and break-glass administrators: {read:?}");
    }
}

#[test]
fn principals_of_another_partition_are_refused_by_their_field() {
    for (partition, region) in ELSEWHERE {
        let elsewhere = in_partition(&declared(), partition, region);
        assert_eq!(violations(&elsewhere), []);
        let stranger = role("acme-worker");
        let topic =
            json!({"principal": "sns.amazonaws.com", "sourceArn": "arn:aws:sns:eu-west-1:111122223333:orders", "sourceAccount": "111122223333"});
        let queue = |patch| elsewhere.clone().with_queue(json!({"spec": patch}));
        let tenant = |patch| elsewhere.clone().with_tenant(json!({"spec": patch}));
        let by_account = queue(json!({"consumers": [{"serviceAccount": {"name": "worker"}}]}))
            .with_service_account("worker", ServiceAccountRole::Associated { role: stranger.clone(), ignored: None });
        for (declared, field) in [
            (queue(json!({"producers": [{"role": stranger}]})), "spec.producers[0]"),
            (queue(json!({"consumers": [{"role": stranger}]})), "spec.consumers[0]"),
            (queue(json!({"observers": [{"role": stranger}]})), "spec.observers[0]"),
            (queue(json!({"deadLetter": {"consumers": [{"role": stranger}]}})), "spec.deadLetter.consumers[0]"),
            (queue(json!({"producers": [{"service": topic}]})), "spec.producers[0]"),
            (by_account, "spec.consumers[0]"),
            (tenant(json!({"keyAdministrators": [stranger]})), "spec.tenant"),
            (tenant(json!({"breakGlassAdministrators": [stranger]})), "spec.tenant"),
            (tenant(json!({"aws": {"roleArn": stranger}})), "spec.tenant"),
        ] {
            let found = violations(&declared);
            assert!(
                !found.is_empty() && found.iter().all(|violation| violation.reason == Reason::PrincipalMalformed),
                "{partition} {field}: {found:?}"
            );
            assert_eq!(found[0].field, field);
            assert!(found[0].message.contains("of another partition than"), "{found:?}");
        }
    }
}
