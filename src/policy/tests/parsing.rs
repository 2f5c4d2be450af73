//! Any text is read or refused; none makes the parser panic.

use proptest::collection::{hash_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

use super::cases;
use crate::policy::document::{Conditions, Document, DocumentError, Effect, MAXIMUM_BYTES, Principals, Values};
use crate::policy::equivalence::{equivalent, normal_form};
use crate::policy::plain;
use crate::policy::queue_policy::QueueKind;
use crate::policy::read_back::{read_key_policy, read_queue_policy};

fn read_everything(document: &Document) {
    let place = crate::names::Place { partition: crate::names::Partition::Aws, account: "111122223333".into(), region: "eu-west-1".into() };
    let queue = place.queue_arn("q");
    let read = read_queue_policy(document, QueueKind::Source, &queue, &place);
    let key = read_key_policy(document, &place, &[(queue, None)].into());
    for line in read.foreign.iter().chain(&key.foreign) {
        assert!(line.len() < 10_000 && !line.contains('\n'), "{line}");
    }
    let _ = normal_form(document);
}

/// The quick reader reads as the careful one, or not at all.
fn readers_agree(text: &str) {
    if let Some(document) = plain::read(text) {
        assert_eq!(Document::parse_with_care(text), Ok(document), "{text}");
    }
}

fn element_names() -> impl Strategy<Value = String> {
    let known = ["Version", "Id", "Statement", "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "Condition", "AWS"];
    prop_oneof![8 => select(known.to_vec()).prop_map(str::to_owned), 1 => any::<String>()]
}

fn json() -> impl Strategy<Value = Value> {
    let words = ["Allow", "Deny", "*", "Send", "Receive", "sqs:SendMessage", "StringEquals", "arn:aws:iam::111122223333:root", "2012-10-17"];
    let leaf = prop_oneof![
        6 => select(words.to_vec()).prop_map(|word| Value::String(word.to_owned())),
        1 => any::<String>().prop_map(Value::String),
        1 => any::<bool>().prop_map(Value::Bool),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::Array),
            hash_map(element_names(), inner, 0..6).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Elements of the right names, so that many are read.
pub fn statement() -> impl Strategy<Value = Value> {
    (hash_map(element_names(), json(), 0..5), any::<bool>()).prop_map(|(elements, allow)| {
        let mut statement: serde_json::Map<_, _> = elements.into_iter().collect();
        statement.insert("Effect".to_owned(), if allow { "Allow" } else { "Deny" }.into());
        Value::Object(statement)
    })
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn any_text(text in any::<String>()) {
        let _ = Document::parse(&text);
        readers_agree(&text);
    }

    #[test]
    fn any_json(value in json()) {
        readers_agree(&value.to_string());
        if let Ok(document) = Document::parse(&value.to_string()) {
            read_everything(&document);
        }
    }

    #[test]
    fn any_statements(statements in vec(statement(), 0..4)) {
        let text = serde_json::json!({ "Statement": statements }).to_string();
        readers_agree(&text);
        let document = Document::parse(&text).unwrap();
        read_everything(&document);
        let again = Document::parse(&document.to_json()).unwrap();
        prop_assert!(equivalent(&document, &again), "{} {}", text, document);
    }
}

#[test]
fn enormous_and_deep_texts_are_refused() {
    assert_eq!(Document::parse(&" ".repeat(MAXIMUM_BYTES + 1)), Err(DocumentError::TooLarge { bytes: MAXIMUM_BYTES + 1 }));
    for (open, close) in [("[", "]"), ("{\"Statement\":", "}")] {
        let deep = format!("{}{}", open.repeat(10_000), close.repeat(10_000));
        assert!(matches!(Document::parse(&deep), Err(DocumentError::Json(_))));
    }
    let many = format!("{{\"Statement\":[{}]}}", vec!["{\"Effect\":\"Allow\"}"; 10_000].join(","));
    let document = Document::parse(&many).unwrap();
    assert_eq!(document.statements.len(), 10_000);
    read_everything(&document);
}

/// Found by fuzzing: with numbers read nearly exactly, what was written again said another number.
#[test]
fn numbers_are_read_as_they_are_written() {
    for number in ["70000000052033525425e77", "1e23", "0.1", "5e-324"] {
        let document =
            Document::parse(&format!(r#"{{"Statement":{{"Effect":"Deny","Odd":{number},"Condition":{{"NumericEquals":{{"k":{number}}}}}}}}}"#));
        let document = document.unwrap();
        assert_eq!(Document::parse(&document.to_json()), Ok(document), "{number}");
    }
}

#[test]
fn what_is_not_a_policy_is_refused_by_name() {
    for (text, message) in [
        ("[]", "policy element (root): expected an object"),
        ("{}", "policy element Statement: expected a statement or an array of them"),
        (r#"{"Statement":[],"Version":1}"#, "policy element Version: expected a string"),
        (r#"{"Statement":[],"Extra":1}"#, "policy element Extra: expected Version, Id and Statement only"),
        (r#"{"Statement":[1]}"#, "policy element Statement[0]: expected an object"),
        (r#"{"Statement":{"Effect":"allow"}}"#, "policy element Statement[0].Effect: expected Allow or Deny"),
    ] {
        assert_eq!(Document::parse(text).unwrap_err().to_string(), message);
    }
    for twice in [
        r#"{"Id":"a","Id":"a","Statement":[]}"#,
        r#"{"Statement":[{"Effect":"Deny","Condition":{"Bool":{"k":"1","k":"2"}}}]}"#,
        r#"{"Statement":[{"Effect":"Deny","Principal":{"AWS":"1","AWS":"2"}}]}"#,
    ] {
        assert!(plain::read(twice).is_none() && Document::parse(twice).unwrap_err().to_string().contains("is given twice"), "{twice}");
    }
    let twice = Document::parse(r#"{"Statement":[{"Effect":"Deny","Effect":"Allow"}]}"#).unwrap_err().to_string();
    assert!(twice.contains("\"Effect\" is given twice"), "{twice}");
}

#[test]
fn every_shape_that_aws_returns() {
    let document = Document::parse(
        r#"{"Statement":{"Sid":"a","Effect":"Allow","Principal":{"AWS":["1","2"],"Service":"sns.amazonaws.com"},"Action":"sqs:*",
        "NotResource":"x","Condition":{"Bool":{"aws:SecureTransport":false},"NumericLessThan":{"k":[1,"2",2.5]}}}}"#,
    )
    .unwrap();
    assert_eq!((document.version.as_str(), &document.id), ("2008-10-17", &None));
    let statement = &document.statements[0];
    assert_eq!(statement.effect, Effect::Allow);
    let Principals::Named(kinds) = &statement.principals else { panic!("{statement:?}") };
    assert_eq!(kinds["AWS"], Values::from(["1".to_owned(), "2".to_owned()]));
    let values = |items: &[&str]| items.iter().map(|&item| item.to_owned()).collect::<Values>();
    assert_eq!(
        statement.conditions,
        Conditions::from([
            ("Bool".to_owned(), [("aws:SecureTransport".to_owned(), values(&["false"]))].into()),
            ("NumericLessThan".to_owned(), [("k".to_owned(), values(&["1", "2", "2.5"]))].into()),
        ])
    );
    assert!(statement.other.contains_key("NotResource"));
}
