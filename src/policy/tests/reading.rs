//! Observed policies that someone changed: nothing beyond the declared goes unseen.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::cases;
use super::strategies::{ACCOUNTS, placed_queue_access, role};
use crate::api::encrypted_queue::{KeySourceCondition, ServicePrincipal};
use crate::api::sensitivity_tier::Others;
use crate::names::{Partition, Place, QueueArn};
use crate::policy::access::{Capability, Grant, KeyAccess, Principal, QueueAccess, ServiceSource};
use crate::policy::document::Document;
use crate::policy::key_policy::{self, Administration};
use crate::policy::queue_policy::{Denial, QueueKind, render_queue};
use crate::policy::read_back::{KeyReadBack, ReadBack, read_key_policy, read_queue_policy};

fn place() -> Place {
    Place { partition: Partition::Aws, account: ACCOUNTS[0].to_owned(), region: "eu-west-1".to_owned() }
}

fn grant(name: &str, capability: Capability) -> Grant {
    Grant { principal: Principal::Role(role(Partition::Aws, ACCOUNTS[0], name)), capability }
}

fn access() -> QueueAccess {
    let grants = [grant("writer", Capability::Send), grant("reader", Capability::Receive), grant("keda", Capability::Observe)];
    QueueAccess {
        queue: place().queue_arn("orders"),
        dead_letter_queue: Some(place().queue_arn("orders-dead-letters")),
        grants: grants.into_iter().map(|grant| (grant, String::new())).collect(),
        others: Others::Deny,
        suspended: false,
    }
}

fn key_access() -> KeyAccess {
    let role = |name| role(Partition::Aws, ACCOUNTS[0], name);
    let (operator, administrators) = (role("operator"), BTreeSet::from([role("security")]));
    KeyAccess { place: place(), operator, administrators, break_glass: BTreeSet::new(), users: vec![access()], suspended: false }
}

fn tampered(document: &Document, change: impl Fn(&mut Value)) -> Document {
    let mut value = serde_json::from_str(&document.to_json()).unwrap();
    change(&mut value);
    Document::parse(&value.to_string()).unwrap()
}

/// The policy with the statement of this Sid changed.
fn statement(document: &Document, sid: &str, change: impl Fn(&mut Value)) -> Document {
    tampered(document, |value| change(value["Statement"].as_array_mut().unwrap().iter_mut().find(|statement| statement["Sid"] == sid).unwrap()))
}

fn read(document: &Document) -> ReadBack {
    read_queue_policy(document, QueueKind::Source, &access().queue, &place())
}

fn read_key(document: &Document) -> KeyReadBack {
    let queues: BTreeMap<QueueArn, Option<QueueArn>> = [(access().queue, access().dead_letter_queue)].into();
    read_key_policy(document, &place(), &queues)
}

#[test]
fn foreign_access_to_a_queue_is_told() {
    let document = render_queue(&access(), &place());
    let all: BTreeSet<_> = access().grants.into_keys().collect();
    let without = |capability| all.iter().filter(|grant| grant.capability != capability).cloned().collect::<BTreeSet<_>>();
    let mallory = "arn:aws:iam::999999999999:user/mallory";
    for (changed, grants, line) in [
        (
            statement(&document, "Send", |s| s["Action"].as_array_mut().unwrap().push("sqs:PurgeQueue".into())),
            all.clone(),
            "statement Send: also allows sqs:purgequeue",
        ),
        (
            statement(&document, "Receive", |s| s["Principal"]["AWS"] = json!([s["Principal"]["AWS"], mallory])),
            all.clone(),
            "statement Receive: AWS arn:aws:iam::999999999999:user/mallory may receive",
        ),
        (
            statement(&document, "Receive", |s| s["Principal"] = "*".into()),
            without(Capability::Receive),
            "unknown statement Receive allows everyone sqs:ChangeMessageVisibility, sqs:DeleteMessage, sqs:GetQueueAttributes, sqs:GetQueueUrl, \
             sqs:ReceiveMessage without condition",
        ),
        (
            statement(&document, "Send", |s| s["Resource"] = "*".into()),
            without(Capability::Send),
            "unknown statement Send allows arn:aws:iam::111122223333:role/writer sqs:GetQueueAttributes, sqs:GetQueueUrl, sqs:SendMessage without \
             condition",
        ),
        (
            statement(&document, "Send", |s| s["NotResource"] = "x".into()),
            without(Capability::Send),
            "unknown statement Send allows arn:aws:iam::111122223333:role/writer sqs:GetQueueAttributes, sqs:GetQueueUrl, sqs:SendMessage without \
             condition, with NotResource",
        ),
        (
            statement(&document, "Observe", |s| s["Condition"]["Bool"]["aws:SecureTransport"] = true.into()),
            without(Capability::Observe),
            "unknown statement Observe allows arn:aws:iam::111122223333:role/keda sqs:GetQueueAttributes, sqs:GetQueueUrl under Bool \
             aws:SecureTransport",
        ),
        (
            tampered(&document, |d| {
                let foreign = json!({"Effect": "Allow", "Principal": {"AWS": "999999999999"}, "NotAction": "sqs:X", "Resource": "*"});
                d["Statement"].as_array_mut().unwrap().push(foreign);
            }),
            all.clone(),
            "unknown statement (unnamed) allows 999999999999 unnamed actions without condition, with NotAction",
        ),
    ] {
        let read = read(&changed);
        assert_eq!((read.grants, read.foreign), (grants, vec![line.to_owned()]));
    }
}

#[test]
fn a_wider_exception_is_no_intact_denial() {
    let document = render_queue(&access(), &place());
    let all = BTreeSet::from([Denial::InsecureTransport, Denial::OthersSend, Denial::OthersReceive, Denial::OthersRedrive]);
    assert_eq!(read(&document).denied, all);
    let stranger = "arn:aws:iam::111122223333:role/stranger";
    let wider = statement(&document, "DenyOthersReceive", |s| s["Condition"]["ArnNotEquals"]["aws:PrincipalArn"] = json!([stranger]));
    assert!(!read(&wider).denied.contains(&Denial::OthersReceive));
    let fewer = statement(&document, "DenyOthersSend", |s| s["Action"] = "sqs:GetQueueUrl".into());
    assert!(!read(&fewer).denied.contains(&Denial::OthersSend));
}

#[test]
fn deleted_principals_are_recognised() {
    let ids = ["AROAEXAMPLEID12345678", "AIDAEXAMPLEID12345678"];
    let change = |s: &mut Value| s["Principal"]["AWS"] = json!(ids);
    let expected = ids.map(str::to_owned).into();
    let queue = read(&statement(&render_queue(&access(), &place()), "Send", change));
    assert_eq!((&queue.deleted_principals, queue.foreign.len(), queue.grants.len()), (&expected, 0, 2));
    let document = key_policy::render(&key_access(), "id");
    let key = read_key(&statement(&document, "Receive", change));
    assert_eq!((&key.deleted_principals, key.foreign.len()), (&expected, 0));
    assert_eq!(key.grants[&access().queue], BTreeSet::from([grant("writer", Capability::Send)]));
    assert_eq!(read_key(&statement(&document, "KeyAdministrators", change)).deleted_principals, expected);
}

#[test]
fn foreign_access_to_a_key_is_told() {
    let document = key_policy::render(&key_access(), "id");
    let context = "kms:EncryptionContext:aws:sqs:arn";
    for (changed, line) in [
        (
            statement(&document, "Operator", |s| s["Action"].as_array_mut().unwrap().push("kms:Decrypt".into())),
            "statement Operator: also allows kms:decrypt",
        ),
        (
            statement(&document, "RootAdministration", |s| s["Principal"]["AWS"] = "999999999999".into()),
            "unknown statement RootAdministration allows 999999999999 kms:CancelKeyDeletion, kms:Describe*, kms:EnableKey, kms:Get*, kms:List* and 1 \
             more without condition",
        ),
        (
            statement(&document, "KeyAdministrators", |s| s["Principal"]["AWS"] = "999999999999".into()),
            "statement KeyAdministrators: AWS 999999999999 may administer",
        ),
        (
            statement(&document, "Send", |s| {
                s["Condition"]["StringEquals"][context].as_array_mut().unwrap().push("arn:aws:sqs:eu-west-1:111122223333:other".into());
            }),
            "statement Send: also through arn:aws:sqs:eu-west-1:111122223333:other, not a queue of this key",
        ),
        (
            statement(&document, "Receive", |s| drop(s["Condition"]["StringEquals"].as_object_mut().unwrap().remove(context))),
            "unknown statement Receive allows arn:aws:iam::111122223333:role/reader kms:Decrypt under StringEquals kms:ViaService",
        ),
        (
            statement(&document, "Receive", |s| s["Sid"] = "Observe".into()),
            "unknown statement Observe allows arn:aws:iam::111122223333:role/reader kms:Decrypt under StringEquals \
             kms:EncryptionContext:aws:sqs:arn, StringEquals kms:ViaService",
        ),
    ] {
        assert_eq!(read_key(&changed).foreign, [line]);
    }
    let administration = read_key(&document).administration;
    assert_eq!(
        administration.keys().copied().collect::<Vec<_>>(),
        [Administration::Operator, Administration::Root, Administration::KeyAdministrators]
    );
}

#[test]
fn a_looser_service_statement_is_foreign() {
    let source = ServiceSource {
        service: ServicePrincipal::S3,
        source_arn: "arn:aws:s3:::acme-uploads".to_owned(),
        source_account: ACCOUNTS[0].to_owned(),
        key_condition: KeySourceCondition::SourceAccount,
    };
    let mut key = key_access();
    key.users[0].grants = [(Grant { principal: Principal::Service(source), capability: Capability::Send }, String::new())].into();
    let document = key_policy::render(&key, "id");
    let sid = "SendS3SourceAccount111122223333";
    assert!(read_key(&document).foreign.is_empty());
    let loose = statement(&document, sid, |s| drop(s["Condition"].as_object_mut().unwrap().remove("StringEquals")));
    let read = read_key(&loose);
    assert_eq!((read.foreign.len(), read.grants.len()), (1, 0));
}

proptest! {
    #![proptest_config(cases(1_000))]

    /// Whatever single principal is added to whichever Allow, it shows: as a grant if it is a role, else as foreign.
    #[test]
    fn an_added_principal_always_shows((place, access) in placed_queue_access(), index in any::<prop::sample::Index>(), user in any::<bool>()) {
        let name = format!("arn:{}:iam::999999999999:{}/mallory", place.partition, if user { "user" } else { "role" });
        let document = render_queue(&access, &place);
        let before = read_queue_policy(&document, QueueKind::Source, &access.queue, &place);
        let changed = tampered(&document, |value| {
            let mut allows: Vec<_> = value["Statement"].as_array_mut().unwrap().iter_mut().filter(|s| s["Effect"] == "Allow").collect();
            if !allows.is_empty() {
                let chosen = index.index(allows.len());
                let chosen = &mut *allows[chosen];
                let names = match &chosen["Principal"]["AWS"] {
                    Value::Array(names) => names.clone(),
                    Value::Null => Vec::new(),
                    single => vec![single.clone()],
                };
                chosen["Principal"] = json!({"AWS": names.into_iter().chain([name.clone().into()]).collect::<Vec<Value>>()});
            }
        });
        prop_assume!(changed != document);
        let after = read_queue_policy(&changed, QueueKind::Source, &access.queue, &place);
        let shown = after.grants.iter().map(ToString::to_string).chain(after.foreign).any(|line| line.contains("mallory"));
        prop_assert!(shown && before.foreign.is_empty());
    }
}
