//! Tenant.

use serde_json::{Value, json};

use super::{Case, Object, accepts, accepts_change, many, rejects, rejects_change, tags};

const ADMINISTRATOR: &str = "arn:aws:iam::111122223333:role/security-admin";

pub fn tenant() -> Object {
    Object::new(
        "Tenant",
        "acme",
        &json!({
            "namespaces": { "names": ["acme-prod"] },
            "aws": { "accountId": "111122223333", "regions": ["eu-west-1"] },
            "sensitivityTiers": ["restricted"],
            "principals": {},
        }),
    )
}

pub fn cases() -> Vec<Case> {
    [namespaces(), aws(), administrators(), principals(), names_and_limits(), tags(tenant)].into_iter().flatten().collect()
}

fn namespaces() -> Vec<Case> {
    let namespaces = |value: Value| tenant().with("spec.namespaces", value);
    let selector = json!({ "matchLabels": { "tenant": "acme" } });
    let neither = "at least one of names and selector";
    vec![
        accepts("the smallest tenant", tenant()),
        accepts("namespaces by label", namespaces(json!({ "selector": selector }))),
        accepts("namespaces by name and label", namespaces(json!({ "names": ["acme-dev"], "selector": selector }))),
        accepts(
            "namespaces by expression",
            namespaces(json!({ "selector": { "matchExpressions": [{ "key": "tenant", "operator": "In", "values": ["acme"] }] } })),
        ),
        rejects("no namespaces", namespaces(json!({})), neither),
        rejects("an empty list of namespaces", namespaces(json!({ "names": [] })), neither),
        rejects("namespaces unsaid", tenant().without("spec.namespaces"), "spec.namespaces"),
        rejects("a wildcard for a namespace", namespaces(json!({ "names": ["acme-*"] })), "spec.namespaces.names"),
        rejects("101 namespaces", namespaces(json!({ "names": many(101, |i| json!(format!("n-{i}"))) })), "spec.namespaces.names"),
        rejects(
            "an unknown operator",
            namespaces(json!({ "selector": { "matchExpressions": [{ "key": "tenant", "operator": "Like" }] } })),
            "operator",
        ),
        rejects("a name with a dot", tenant().with("metadata.name", "acme.eu"), "metadata.name must be a DNS label"),
        rejects("a name of 64 characters", tenant().with("metadata.name", "a".repeat(64)), "metadata.name must be a DNS label"),
    ]
}

fn aws() -> Vec<Case> {
    let operator = "arn:aws:iam::111122223333:role/encrypted-queue-operator";
    let assuming = |external_id: &str| tenant().with("spec.aws.roleArn", operator).with("spec.aws.externalId", external_id);
    let regions = |names: &[&str]| tenant().with("spec.aws.regions", json!(names));
    vec![
        accepts("a role to assume", tenant().with("spec.aws.roleArn", operator)),
        rejects(
            "a role of another account",
            tenant().with("spec.aws.roleArn", "arn:aws:iam::444455556666:role/encrypted-queue-operator"),
            "must be a role of accountId",
        ),
        rejects("a role that is a user", tenant().with("spec.aws.roleArn", "arn:aws:iam::111122223333:user/o"), "spec.aws.roleArn"),
        accepts("an external id", assuming("acme-7f3a_+=,.@:/")),
        accepts("the longest external id", assuming(&"e".repeat(1224))),
        rejects("a longer external id", assuming(&"e".repeat(1225)), "spec.aws.externalId"),
        rejects("an external id of one character", assuming("e"), "spec.aws.externalId"),
        rejects("an external id with a space", assuming("acme 7f3a"), "spec.aws.externalId"),
        rejects("an external id without a role", tenant().with("spec.aws.externalId", "acme-7f3a"), "is used with roleArn only"),
        rejects("an account of 11 digits", tenant().with("spec.aws.accountId", "11112222333"), "spec.aws.accountId"),
        rejects_change("another account", tenant(), tenant().with("spec.aws.accountId", "444455556666"), "is immutable"),
        rejects("no Region", regions(&[]), "spec.aws.regions"),
        rejects("a Region twice", regions(&["eu-west-1", "eu-west-1"]), "same entry twice"),
        rejects("a Region that is none", regions(&["Ireland"]), "spec.aws.regions"),
        accepts_change("one more Region", tenant(), regions(&["eu-west-1", "eu-central-1"])),
        accepts_change("a Region less", regions(&["eu-west-1", "eu-central-1"]), tenant()),
        rejects_change("another first Region", tenant(), regions(&["eu-central-1", "eu-west-1"]), "the first Region is immutable"),
    ]
}

fn administrators() -> Vec<Case> {
    ["spec.keyAdministrators", "spec.breakGlassAdministrators"]
        .into_iter()
        .flat_map(|field| {
            [
                accepts(field, tenant().with(field, json!([ADMINISTRATOR]))),
                rejects(field, tenant().with(field, json!([ADMINISTRATOR, ADMINISTRATOR])), "same entry twice"),
                rejects(field, tenant().with(field, json!(["arn:aws:iam::111122223333:role/*"])), field),
                rejects(field, tenant().with(field, many(11, |i| json!(format!("{ADMINISTRATOR}-{i}")))), field),
            ]
        })
        .collect()
}

fn principals() -> Vec<Case> {
    let roles = |pattern: &str| tenant().with("spec.principals.roles", json!([pattern]));
    vec![
        accepts("a pattern of role names", roles("arn:aws:iam::111122223333:role/acme-*")),
        accepts("a pattern of role paths", roles("arn:aws:iam::111122223333:role/*/acme-*")),
        accepts("every role of an account", roles("arn:aws:iam::111122223333:role/*")),
        accepts("one role", roles("arn:aws:iam::111122223333:role/acme/orders")),
        rejects("a wildcard for the account", roles("arn:aws:iam::*:role/acme-orders"), "spec.principals.roles"),
        rejects("a wildcard in the account", roles("arn:aws:iam::1111*:role/acme-orders"), "spec.principals.roles"),
        rejects("a wildcard for the partition", roles("arn:*:iam::111122223333:role/acme-orders"), "spec.principals.roles"),
        rejects("anyone", roles("*"), "spec.principals.roles"),
        rejects("users", roles("arn:aws:iam::111122223333:user/*"), "spec.principals.roles"),
        rejects("one of any character", roles("arn:aws:iam::111122223333:role/acme-?"), "spec.principals.roles"),
        accepts("services", tenant().with("spec.principals.services", json!(["sns.amazonaws.com", "s3.amazonaws.com", "events.amazonaws.com"]))),
        rejects("an unknown service", tenant().with("spec.principals.services", json!(["sqs.amazonaws.com"])), "spec.principals.services"),
        accepts("source accounts", tenant().with("spec.principals.sourceAccounts", json!(["111122223333"]))),
        rejects("a source account that is none", tenant().with("spec.principals.sourceAccounts", json!(["acme"])), "spec.principals.sourceAccounts"),
        accepts("organisations", tenant().with("spec.principals.organizations", json!(["o-a1b2c3d4e5"]))),
        rejects("an organisation that is none", tenant().with("spec.principals.organizations", json!(["acme"])), "spec.principals.organizations"),
        rejects("principals unsaid", tenant().without("spec.principals"), "spec.principals"),
        rejects("51 roles", tenant().with("spec.principals.roles", many(51, |_| json!(ADMINISTRATOR))), "spec.principals.roles"),
    ]
}

fn names_and_limits() -> Vec<Case> {
    vec![
        accepts("names of queues", tenant().with("spec.queueNames", json!(["acme-*", "legacy", "*.fifo"]))),
        rejects("a sign that queues' names lack", tenant().with("spec.queueNames", json!(["acme.*"])), "spec.queueNames"),
        accepts("queues to take over", tenant().with("spec.adoptableQueueNames", json!(["legacy-orders"]))),
        rejects("an empty name", tenant().with("spec.adoptableQueueNames", json!([""])), "spec.adoptableQueueNames"),
        rejects("no tier", tenant().with("spec.sensitivityTiers", json!([])), "spec.sensitivityTiers"),
        rejects("a tier twice", tenant().with("spec.sensitivityTiers", json!(["a", "a"])), "same entry twice"),
        accepts("a tenant suspended", tenant().with("spec.access", "Suspended")),
        rejects("an unknown access", tenant().with("spec.access", "Paused"), "spec.access"),
        accepts("limits", tenant().with("spec.limits", json!({ "queues": 0, "monthlyKmsUsd": 1 }))),
        rejects("fewer queues than none", tenant().with("spec.limits.queues", -1), "spec.limits.queues"),
        rejects("a budget of nothing", tenant().with("spec.limits.monthlyKmsUsd", 0), "spec.limits.monthlyKmsUsd"),
    ]
}
