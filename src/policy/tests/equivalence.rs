//! Policies that AWS normalised compare equal; any change of meaning compares unequal.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use super::cases;
use super::parsing::statement;
use super::reshape::{Dice, changed, normalised};
use super::strategies::{key_access, placed_queue_access};
use crate::policy::document::Document;
use crate::policy::equivalence::equivalent;
use crate::policy::{key_policy, queue_policy};

fn documents() -> impl Strategy<Value = Document> {
    prop_oneof![
        placed_queue_access().prop_map(|(place, access)| queue_policy::render_queue(&access, &place)),
        placed_queue_access().prop_map(|(place, access)| {
            queue_policy::render_dead_letter(&access, &place).unwrap_or_else(|| queue_policy::render_queue(&access, &place))
        }),
        key_access().prop_map(|access| key_policy::render(&access, "encrypted-queue-1")),
        // Someone else's: every element in every shape.
        vec(statement(), 1..4).prop_map(|statements| parse(&json!({ "Statement": statements }).to_string())),
    ]
}

proptest! {
    #![proptest_config(cases(5_000))]

    #[test]
    fn normalised_policies_are_equal(document in documents(), seed in any::<u64>()) {
        let text = normalised(&document, &mut Dice(seed));
        let read = Document::parse(&text).unwrap();
        prop_assert_eq!(Ok(read.clone()), Document::parse_with_care(&text));
        prop_assert!(equivalent(&document, &read), "{}\n{}", document, text);
    }

    #[test]
    fn changed_policies_are_not_equal(document in documents(), seed in any::<u64>()) {
        let (before, after, change) = changed(&document, &mut Dice(seed)).unwrap();
        prop_assert!(!equivalent(&parse(&before), &parse(&after)), "{}\n{}\n{}", change, before, after);
    }
}

fn parse(text: &str) -> Document {
    Document::parse(text).unwrap()
}

fn policy(principal: &str, rest: &str) -> Document {
    parse(&format!(r#"{{"Statement":{{"Effect":"Allow","Principal":{principal},"Action":"kms:Decrypt","Resource":"*"{rest}}}}}"#))
}

#[test]
fn same_meaning() {
    let no = "";
    for (one, other) in [
        (policy(r#""*""#, no), policy(r#"{"AWS":["*"]}"#, no)),
        (policy(r#"{"AWS":["*","arn:aws:iam::111122223333:role/x"]}"#, no), policy(r#""*""#, no)),
        (policy(r#"{"AWS":"111122223333"}"#, no), policy(r#"{"AWS":"arn:aws-cn:iam::111122223333:root"}"#, no)),
        (policy(r#""*""#, r#","Sid":"""#), policy(r#""*""#, no)),
        (policy(r#""*""#, r#","Condition":{}"#), policy(r#""*""#, r#","Condition":{"StringEquals":{}}"#)),
        (policy(r#""*""#, r#","Condition":{"Null":{"a:B":true}}"#), policy(r#""*""#, r#","Condition":{"null":{"a:b":"True"}}"#)),
        (policy(r#""*""#, r#","NotAction":["b","a"]"#), policy(r#""*""#, r#","NotAction":["a","b"]"#)),
        (policy(r#""*""#, r#","NotAction":["b"]"#), policy(r#""*""#, r#","NotAction":"b""#)),
    ] {
        assert!(equivalent(&one, &other), "{one}\n{other}");
    }
}

#[test]
fn other_meaning() {
    let no = "";
    for (one, other) in [
        (policy(r#""*""#, no), policy(r#"{"Service":"*"}"#, no)),
        (policy(r#"{"AWS":"111122223333"}"#, no), policy(r#"{"AWS":"arn:aws:iam::111122223333:role/root"}"#, no)),
        (policy(r#"{"AWS":"111122223333"}"#, no), policy(r#"{"CanonicalUser":"111122223333"}"#, no)),
        (policy(r#""*""#, r#","Sid":"a""#), policy(r#""*""#, r#","Sid":"A""#)),
        (policy(r#""*""#, r#","Condition":{"StringEquals":{"a:b":"x"}}"#), policy(r#""*""#, r#","Condition":{"StringEquals":{"a:b":"X"}}"#)),
        (policy(r#""*""#, r#","NotAction":"b""#), policy(r#""*""#, r#","NotResource":"b""#)),
        // Two spellings of one key must both hold; one key with two values needs either.
        (
            policy(r#""*""#, r#","Condition":{"StringEquals":{"a:b":"x","a:B":"y"}}"#),
            policy(r#""*""#, r#","Condition":{"StringEquals":{"a:b":["x","y"]}}"#),
        ),
        (parse(r#"{"Statement":[]}"#), parse(r#"{"Version":"2012-10-17","Statement":[]}"#)),
        (parse(r#"{"Id":"a","Statement":[]}"#), parse(r#"{"Id":"b","Statement":[]}"#)),
    ] {
        assert!(!equivalent(&one, &other), "{one}\n{other}");
    }
}
