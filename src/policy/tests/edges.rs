//! Edges that random policies seldom meet.

use serde_json::{Value, json};

use super::strategies::{ACCOUNTS, role};
use crate::api::sensitivity_tier::Others;
use crate::names::{Partition, Place, sha256_hex};
use crate::policy::access::{Capability, Grant, OrganizationRoles, Principal, QueueAccess};
use crate::policy::difference::difference;
use crate::policy::document::{Document, MAXIMUM_BYTES, Principals};
use crate::policy::equivalence::equivalent;
use crate::policy::queue_policy::{Denial, QueueKind, render_queue};
use crate::policy::read_back::{ReadBack, read_queue_policy};

fn place() -> Place {
    Place { partition: Partition::Aws, account: ACCOUNTS[0].to_owned(), region: "eu-west-1".to_owned() }
}

fn access() -> QueueAccess {
    let writer = Grant { principal: Principal::Role(role(Partition::Aws, ACCOUNTS[0], "writer")), capability: Capability::Send };
    let grants = [(writer, "spec.producers[0]".to_owned())].into();
    QueueAccess { queue: place().queue_arn("orders"), dead_letter_queue: None, grants, others: Others::Deny, suspended: false }
}

fn policy(statement: &Value) -> Document {
    Document::parse(&json!({ "Statement": statement }).to_string()).unwrap()
}

#[test]
fn roles_of_an_organisation_are_told_with_their_paths_or_without() {
    let roles = |paths: &[&str]| {
        let paths = paths.iter().map(|&path| path.to_owned()).collect();
        Principal::Organization(OrganizationRoles { id: "o-a".to_owned(), paths, role_name: "log".to_owned() }).to_string()
    };
    assert_eq!(roles(&[]), "any role log of organisation o-a");
    assert_eq!(roles(&["o-a/r-1/", "o-a/r-2/*"]), "any role log of organisation paths o-a/r-1/, o-a/r-2/*");
}

/// Status holds such hashes: another release must find the same.
#[test]
fn the_hash_of_an_access_stays_the_same() {
    let grants = r#"[{"principal":{"Role":"arn:aws:iam::111122223333:role/writer"},"capability":"Send"}]"#;
    let text = |others, suspended| {
        format!(
            r#"{{"version":1,"queue":"arn:aws:sqs:eu-west-1:111122223333:orders","deadLetterQueue":null,"grants":{grants},"othersDenied":{others},"suspended":{suspended}}}"#
        )
    };
    assert_eq!(access().sha256(), sha256_hex(&text(true, false)));
    let other = QueueAccess { others: Others::Unstated, suspended: true, ..access() };
    assert_eq!(other.sha256(), sha256_hex(&text(false, true)));
}

#[test]
fn a_difference_is_empty_only_if_nothing_changes() {
    let suspended = QueueAccess { suspended: true, ..access() };
    assert!(difference(Some(&access()), &access()).is_empty());
    assert!(!difference(Some(&access()), &suspended).is_empty());
    assert!(!difference(None, &access()).is_empty());
}

#[test]
fn the_largest_text_is_read() {
    let text = r#"{"Statement":[]}"#;
    let padded = |bytes: usize| format!("{text}{}", " ".repeat(bytes - text.len()));
    assert!(Document::parse(&padded(MAXIMUM_BYTES)).is_ok());
    assert!(Document::parse(&padded(MAXIMUM_BYTES + 1)).is_err());
    assert_eq!(MAXIMUM_BYTES, 262_144);
}

#[test]
fn a_document_is_shown_as_it_is_written() {
    let document = render_queue(&access(), &place());
    assert_eq!(document.to_string(), document.to_json());
}

#[test]
fn only_a_star_is_everyone() {
    let document = policy(&json!({"Effect": "Allow", "Principal": "somebody", "Action": "sqs:SendMessage", "Resource": "*"}));
    assert_eq!(document.statements[0].principals, Principals::Absent);
    assert_eq!(document.statements[0].other["Principal"], "somebody");
}

#[test]
fn only_the_arn_of_a_root_names_its_account() {
    let naming = |name: &str| policy(&json!({"Effect": "Allow", "Principal": {"AWS": name}, "Action": "a", "Resource": "*"}));
    assert!(equivalent(&naming("arn:aws:iam::111122223333:root"), &naming("111122223333")));
    for (name, account) in [
        ("xrn:aws:iam::111122223333:root", "111122223333"),
        ("arn:aws:sts::111122223333:root", "111122223333"),
        ("arn:aws:iam:eu-west-1:111122223333:root", "111122223333"),
        ("arn:aws:iam::111122223333:more:root", "111122223333"),
        ("arn:aws:iam::11112222333:root", "11112222333"),
        ("arn:aws:iam::11112222333x:root", "11112222333x"),
    ] {
        assert!(!equivalent(&naming(name), &naming(account)), "{name}");
    }
}

#[test]
fn what_is_not_understood_is_compared_by_its_content() {
    let without = |value: Value| policy(&json!({"Effect": "Deny", "Principal": "*", "NotAction": value, "Resource": "*"}));
    for (one, other) in [(json!("a"), json!("b")), (json!(["a"]), json!(["a", "b"])), (json!({"a": 1}), json!({"a": 2})), (json!([]), json!({}))] {
        assert!(!equivalent(&without(one.clone()), &without(other.clone())), "{one} {other}");
    }
    assert!(equivalent(&without(json!({"a": ["x", "y"], "b": 1})), &without(json!({"b": [1], "a": ["y", "x", "y"]}))));
}

#[test]
fn a_sid_that_is_none_of_ours_names_no_denial() {
    assert_eq!(Denial::of_sid("DenyOutsideOrganization0123456789"), Some(Denial::OutsideOrganization));
    assert_eq!([Denial::of_sid("DenyOthers"), Denial::of_sid("Send")], [None, None]);
}

/// The queue's policy with these names in the statement `Send`.
fn sending(names: &Value) -> ReadBack {
    let mut text: Value = serde_json::from_str(&render_queue(&access(), &place()).to_json()).unwrap();
    for statement in text["Statement"].as_array_mut().unwrap().iter_mut().filter(|statement| statement["Sid"] == "Send") {
        statement["Principal"].clone_from(names);
    }
    read_queue_policy(&Document::parse(&text.to_string()).unwrap(), QueueKind::Source, &access().queue, &place())
}

#[test]
fn only_a_unique_id_is_a_deleted_principal() {
    let deleted = |name: &str| !sending(&json!({ "AWS": name })).deleted_principals.is_empty();
    assert!(deleted("AROAEXAMPLEID012"), "twelve characters");
    assert!(deleted(&format!("AIDA{}", "X".repeat(124))));
    for name in ["AROAEXAMPLEID01".to_owned(), "AROAexampleexample".to_owned(), "AGPAEXAMPLEEXAMPLE".to_owned(), format!("AIDA{}", "X".repeat(125))] {
        assert!(!deleted(&name), "{name}");
    }
}

#[test]
fn the_first_foreign_lines_are_told_and_how_many_more() {
    let told = |count: usize| sending(&json!({"AWS": (0..count).map(|user| format!("user-{user:02}")).collect::<Vec<_>>()})).foreign;
    assert_eq!((told(50).len(), told(50)[49].as_str()), (50, "statement Send: AWS user-49 may send"));
    assert_eq!((told(53).len(), told(53)[50].as_str()), (51, "and 3 more"));
}

/// A role's ARN elsewhere than under `AWS` is somebody else.
#[test]
fn a_role_counts_only_as_an_aws_principal() {
    let read = sending(&json!({"CanonicalUser": "arn:aws:iam::111122223333:role/writer"}));
    let line = "statement Send: CanonicalUser arn:aws:iam::111122223333:role/writer may send";
    assert_eq!((read.grants, read.foreign), ([].into(), vec![line.to_owned()]));
}
