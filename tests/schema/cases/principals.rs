//! Producers, consumers, observers.

use serde_json::{Value, json};

use super::encrypted_queue::queue;
use super::{Case, Object, accepts, many, rejects, role};

const TOPIC: &str = "arn:aws:sns:eu-west-1:111122223333:orders";
const RULE: &str = "arn:aws:events:eu-west-1:111122223333:rule/partner/orders";

fn producing(producer: impl Into<Value>) -> Object {
    queue().with("spec.producers", vec![producer.into()])
}

fn service(principal: &str, source_arn: &str) -> Value {
    json!({ "service": { "principal": principal, "sourceArn": source_arn, "sourceAccount": "111122223333" } })
}

fn organization(id: &str, role_name: &str) -> Value {
    json!({ "organization": { "id": id, "roleName": role_name } })
}

pub fn cases() -> Vec<Case> {
    [unions(), roles(), services(), organizations(), lists()].into_iter().flatten().collect()
}

fn unions() -> Vec<Case> {
    let account = json!({ "serviceAccount": { "name": "worker" } });
    let both = json!({ "role": "arn:aws:iam::111122223333:role/a", "serviceAccount": { "name": "worker" } });
    let one_of_four = "exactly one of role, serviceAccount, service and organization";
    let one_of_two = "exactly one of role and serviceAccount";
    let mut all = service("sns.amazonaws.com", TOPIC);
    all["role"] = json!("arn:aws:iam::111122223333:role/a");
    vec![
        accepts("a ServiceAccount that produces", producing(account.clone())),
        rejects("a producer that is a role and a ServiceAccount", producing(both.clone()), one_of_four),
        rejects("a producer that is a role and a service", producing(all), one_of_four),
        rejects("a producer that is nothing", producing(json!({})), one_of_four),
        accepts("a ServiceAccount that consumes", queue().with("spec.consumers", json!([account]))),
        rejects("a consumer that is both", queue().with("spec.consumers", json!([both])), one_of_two),
        rejects("a consumer that is nothing", queue().with("spec.consumers", json!([{}])), one_of_two),
        rejects("an observer that is both", queue().with("spec.observers", json!([both])), one_of_two),
        rejects("a redriver that is both", queue().with("spec.deadLetter.redrivers", json!([both])), one_of_two),
        rejects("a consumer of dead letters that is nothing", queue().with("spec.deadLetter.consumers", json!([{}])), one_of_two),
        rejects("a ServiceAccount without a name", producing(json!({ "serviceAccount": {} })), "spec.producers[0].serviceAccount.name"),
        rejects("a ServiceAccount in capitals", producing(json!({ "serviceAccount": { "name": "Worker" } })), "serviceAccount.name"),
    ]
}

fn roles() -> Vec<Case> {
    let path = "spec.producers[0].role";
    let arn = |arn: &str| producing(json!({ "role": arn }));
    vec![
        accepts("a role with a path", arn("arn:aws:iam::111122223333:role/teams/payments/orders+api=1,2.3@x_y-z")),
        accepts("a role in China", arn("arn:aws-cn:iam::111122223333:role/orders")),
        accepts("a role of the American government", arn("arn:aws-us-gov:iam::111122223333:role/orders")),
        accepts("the longest name of a role", arn(&format!("arn:aws:iam::111122223333:role/{}", "r".repeat(64)))),
        rejects("a longer name", arn(&format!("arn:aws:iam::111122223333:role/{}", "r".repeat(65))), path),
        rejects("a user", arn("arn:aws:iam::111122223333:user/maria"), path),
        rejects("a whole account", arn("arn:aws:iam::111122223333:root"), path),
        rejects("a session", arn("arn:aws:sts::111122223333:assumed-role/orders/session"), path),
        rejects("anyone", arn("*"), path),
        rejects("a wildcard in a name", arn("arn:aws:iam::111122223333:role/orders-*"), path),
        rejects("an account of 11 digits", arn("arn:aws:iam::11112222333:role/orders"), path),
        rejects("another partition", arn("arn:azure:iam::111122223333:role/orders"), path),
        rejects("a role without a name", arn("arn:aws:iam::111122223333:role/"), path),
        rejects("a name that ends in a line break", arn("arn:aws:iam::111122223333:role/orders\n"), path),
    ]
}

fn services() -> Vec<Case> {
    let condition = |value: &str| {
        let mut topic = service("sns.amazonaws.com", TOPIC);
        topic["service"]["keySourceCondition"] = json!(value);
        producing(topic)
    };
    let account = |value: &str| {
        let mut topic = service("sns.amazonaws.com", TOPIC);
        topic["service"]["sourceAccount"] = json!(value);
        producing(topic)
    };
    vec![
        accepts("a topic", producing(service("sns.amazonaws.com", TOPIC))),
        accepts("a FIFO topic", producing(service("sns.amazonaws.com", "arn:aws:sns:eu-west-1:111122223333:orders.fifo"))),
        accepts("a bucket", producing(service("s3.amazonaws.com", "arn:aws:s3:::acme-uploads.eu"))),
        accepts("a rule", producing(service("events.amazonaws.com", RULE))),
        rejects("a bucket for SNS", producing(service("sns.amazonaws.com", "arn:aws:s3:::acme-uploads")), "must be the ARN of a topic"),
        rejects("a rule for SNS", producing(service("sns.amazonaws.com", RULE)), "must be the ARN of a topic"),
        rejects("a topic for S3", producing(service("s3.amazonaws.com", TOPIC)), "must be the ARN of a bucket"),
        rejects("a topic for EventBridge", producing(service("events.amazonaws.com", TOPIC)), "must be the ARN of a rule"),
        rejects(
            "a bus for EventBridge",
            producing(service("events.amazonaws.com", "arn:aws:events:eu-west-1:111122223333:event-bus/default")),
            "must be the ARN of a rule",
        ),
        rejects("every topic", producing(service("sns.amazonaws.com", "arn:aws:sns:eu-west-1:111122223333:*")), "sourceArn"),
        rejects("a service that is a role in truth", producing(service("lambda.amazonaws.com", TOPIC)), "spec.producers[0].service.principal"),
        rejects("an account of 11 digits", account("11112222333"), "sourceAccount"),
        rejects("another account than the topic's", account("444455556666"), "must be the account in sourceArn"),
        accepts("a source condition", condition("SourceAccount")),
        accepts("no source condition", condition("None")),
        rejects("an unknown source condition", condition("SourceOrganization"), "keySourceCondition"),
    ]
}

fn organizations() -> Vec<Case> {
    let paths = |paths: Value| {
        let mut producer = organization("o-a1b2c3d4e5", "log-shipper");
        producer["organization"]["paths"] = paths;
        producing(producer)
    };
    let unit = "o-a1b2c3d4e5/r-ab12/ou-ab12-11111111/ou-ab12-22222222/";
    vec![
        accepts("an organisation", producing(organization("o-a1b2c3d4e5", "log-shipper"))),
        accepts("a role with a path", producing(organization("o-a1b2c3d4e5", "platform/log-shipper"))),
        rejects("every role", producing(organization("o-a1b2c3d4e5", "*")), "roleName"),
        rejects("a role's path that begins with a slash", producing(organization("o-a1b2c3d4e5", "/log-shipper")), "roleName"),
        rejects("an organisation's id that is too short", producing(organization("o-a1b2c3d4e", "log-shipper")), "organization.id"),
        rejects("an account for an organisation", producing(organization("111122223333", "log-shipper")), "organization.id"),
        accepts("two paths", paths(json!(["o-a1b2c3d4e5/r-ab12/", unit]))),
        accepts("a path and all below", paths(json!([format!("{unit}*")]))),
        rejects("a wildcard within a path", paths(json!(["o-a1b2c3d4e5/*/ou-ab12-11111111/"])), "organization.paths"),
        rejects("a path without its closing slash", paths(json!([unit.trim_end_matches('/')])), "organization.paths"),
        rejects("a path of another organisation", paths(json!(["o-zzzzzzzzzz/r-ab12/"])), "every path must begin with the organisation's id"),
        rejects("the same path twice", paths(json!([unit, unit])), "same entry twice"),
        rejects("11 paths", paths(many(11, |i| json!(format!("o-a1b2c3d4e5/r-ab{i:02}/")))), "organization.paths"),
    ]
}

fn lists() -> Vec<Case> {
    let numbered = |count: usize| many(count, |i| role(&format!("r-{i}")));
    let topic = || service("sns.amazonaws.com", TOPIC);
    vec![
        accepts("20 producers and consumers", queue().with("spec.producers", numbered(20)).with("spec.consumers", numbered(20))),
        rejects("21 producers", queue().with("spec.producers", numbered(21)), "spec.producers"),
        rejects("no producer", queue().with("spec.producers", json!([])), "spec.producers"),
        rejects("producers unsaid", queue().without("spec.producers"), "spec.producers"),
        rejects("21 consumers", queue().with("spec.consumers", numbered(21)), "spec.consumers"),
        rejects("no consumer", queue().with("spec.consumers", json!([])), "spec.consumers"),
        accepts("10 observers", queue().with("spec.observers", numbered(10))),
        rejects("11 observers", queue().with("spec.observers", numbered(11)), "spec.observers"),
        rejects("11 redrivers", queue().with("spec.deadLetter.redrivers", numbered(11)), "spec.deadLetter.redrivers"),
        rejects("21 consumers of dead letters", queue().with("spec.deadLetter.consumers", numbered(21)), "spec.deadLetter.consumers"),
        rejects("the same role twice", queue().with("spec.producers", json!([role("a"), role("b"), role("a")])), "same entry twice"),
        rejects("the same topic twice", queue().with("spec.producers", json!([topic(), topic()])), "same entry twice"),
        rejects("the same consumer twice", queue().with("spec.consumers", json!([role("a"), role("a")])), "same entry twice"),
        rejects("the same observer twice", queue().with("spec.observers", json!([role("a"), role("a")])), "same entry twice"),
        accepts("a role that produces and consumes", queue().with("spec.producers", json!([role("a")])).with("spec.consumers", json!([role("a")]))),
    ]
}
