//! What tenant, tier and AWS forbid, but for principals.

use std::collections::{BTreeMap, BTreeSet};

use encrypted_queue::api::Reason;
use regex::Regex;
use serde_json::{Value, json};

use super::{Rule, hold, principals, violations};
use crate::declare::{Declared, declared, role};

fn queue(patch: Value) -> Declared {
    declared().with_queue(json!({"spec": patch}))
}

fn named(name: &str) -> Declared {
    queue(json!({"queue": {"name": name}}))
}

fn in_namespace(namespace: &str, labels: &[(&str, &str)]) -> Declared {
    let labels: BTreeMap<_, _> = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    declared().with_queue(json!({"metadata": {"namespace": namespace}})).but(|declared| declared.labels = Some(labels))
}

fn many_tags(count: usize) -> Value {
    (0..count).map(|index| (format!("tag-{index}"), Value::from("x"))).collect::<serde_json::Map<_, _>>().into()
}

fn many_consumers(count: usize) -> Declared {
    let wide = declared().with_tenant(json!({"spec": {"principals": {"roles": [role("acme-*")]}}}));
    let consumers: Vec<_> = (0..count).map(|index| json!({"role": role(&format!("acme-worker-{index}"))})).collect();
    let observers: Vec<_> = (0..10).map(|index| json!({"role": role(&format!("acme-observer-{index}"))})).collect();
    let producers: Vec<_> = (0..20).map(|index| json!({"role": role(&format!("acme-api-{index}"))})).collect();
    wide.with_queue(json!({"spec": {"producers": producers, "consumers": consumers, "observers": observers, "deadLetter": {"consumers": [{"role": role("acme-dlq")}]}}}))
}

fn rules_of_tenant() -> Vec<Rule> {
    vec![
        Rule {
            reason: Reason::TenantNotFound,
            broken: "the tenant does not exist",
            by: declared().but(|declared| declared.tenant = None),
            field: "spec.tenant",
            way_out: "create it or name another",
            near: "it exists",
            kept_by: declared(),
        },
        Rule {
            reason: Reason::NamespaceNotAllowed,
            broken: "the namespace has neither name nor label",
            by: in_namespace("elsewhere", &[("tenant", "globex")]),
            field: "metadata.namespace",
            way_out: "see its spec.namespaces",
            near: "the namespace has the label alone",
            kept_by: in_namespace("elsewhere", &[("tenant", "acme")]),
        },
        Rule {
            reason: Reason::NamespaceNotAllowed,
            broken: "an empty selector matches nothing",
            by: in_namespace("elsewhere", &[]).with_tenant(json!({"spec": {"namespaces": {"selector": {"matchLabels": null}}}})),
            field: "metadata.namespace",
            way_out: "admits neither the name nor the labels",
            near: "a selector of expressions matches",
            kept_by: in_namespace("elsewhere", &[("stage", "live")]).with_tenant(json!({"spec": {"namespaces": {"selector": {
                "matchLabels": null,
                "matchExpressions": [
                    {"key": "stage", "operator": "In", "values": ["live"]},
                    {"key": "tenant", "operator": "NotIn", "values": ["globex"]},
                    {"key": "stage", "operator": "Exists"},
                    {"key": "gone", "operator": "DoesNotExist"}
                ]
            }}}})),
        },
        Rule {
            reason: Reason::SensitivityTierNotAllowed,
            broken: "the tenant does not list the tier",
            by: declared().with_tenant(json!({"spec": {"sensitivityTiers": ["public"]}})),
            field: "spec.sensitivityTier",
            way_out: "may ask for public only",
            near: "it lists it beside another",
            kept_by: declared().with_tenant(json!({"spec": {"sensitivityTiers": ["public", "internal"]}})),
        },
        Rule {
            reason: Reason::RegionNotAllowed,
            broken: "the Region is not the tenant's",
            by: queue(json!({"region": "eu-west-2"})),
            field: "spec.region",
            way_out: "may use eu-west-1, eu-central-1 only",
            near: "the tenant's second Region",
            kept_by: queue(json!({"region": "eu-central-1"})),
        },
        Rule {
            reason: Reason::QueueLimitReached,
            broken: "the tenant has all its queues",
            by: declared().but(|declared| declared.within_limit = false).with_tenant(json!({"spec": {"limits": {"queues": 2}}})),
            field: "spec.tenant",
            way_out: "allows (2); remove one or ask for more",
            near: "there is room for one more",
            kept_by: declared().with_tenant(json!({"spec": {"limits": {"queues": 2}}})),
        },
        Rule {
            reason: Reason::QueueNameNotAllowed,
            broken: "the name does not begin with the tenant's",
            by: named("orders"),
            field: "spec.queue.name",
            way_out: "must be named acme-*",
            near: "it does",
            kept_by: named("acme-orders"),
        },
        Rule {
            reason: Reason::QueueNameNotAllowed,
            broken: "the tenant asks for another name",
            by: declared().with_tenant(json!({"spec": {"queueNames": ["shop-*", "*-events"]}})),
            field: "spec.queue.name",
            way_out: "must be named shop-* or *-events",
            near: "the name matches the second pattern",
            kept_by: named("order-events").with_tenant(json!({"spec": {"queueNames": ["shop-*", "*-events"]}})),
        },
    ]
}

fn rules_of_names() -> Vec<Rule> {
    vec![
        Rule {
            reason: Reason::QueueNameInvalid,
            broken: "a FIFO queue's name lacks its suffix",
            by: queue(json!({"queue": {"name": "acme-orders", "fifo": {}}})),
            field: "spec.queue.name",
            way_out: "write acme-orders.fifo",
            near: "it has it",
            kept_by: queue(json!({"queue": {"name": "acme-orders.fifo", "fifo": {}}})),
        },
        Rule {
            reason: Reason::QueueNameInvalid,
            broken: "a name has the suffix and the queue is not FIFO",
            by: named("acme-orders.fifo"),
            field: "spec.queue.name",
            way_out: "set spec.queue.fifo",
            near: "the word without its dot",
            kept_by: named("acme-orders-fifo"),
        },
        Rule {
            reason: Reason::QueueNameInvalid,
            broken: "a name of 81 characters",
            by: named(&format!("acme-{}", "x".repeat(76))),
            field: "spec.queue.name",
            way_out: "up to 80 letters, digits, - and _",
            near: "a name of 80 characters",
            kept_by: named(&format!("acme-{}", "x".repeat(75))),
        },
        Rule {
            reason: Reason::QueueNameInvalid,
            broken: "a name with a slash",
            by: named("acme-a/b"),
            field: "spec.queue.name",
            way_out: "letters, digits, - and _",
            near: "a name with an underscore",
            kept_by: named("acme-a_b"),
        },
        Rule {
            reason: Reason::QueueNameInvalid,
            broken: "the dead-letter queue's name is a FIFO queue's and the queue is none",
            by: queue(json!({"deadLetter": {"name": "acme-dead.fifo"}})),
            field: "spec.deadLetter.name",
            way_out: "its name ends in .fifo, like no other's",
            near: "it is none either",
            kept_by: queue(json!({"deadLetter": {"name": "acme-dead"}})),
        },
        Rule {
            reason: Reason::QueueNameInvalid,
            broken: "a queue is its own dead-letter queue",
            by: queue(json!({"queue": {"name": "acme-orders"}, "deadLetter": {"name": "acme-orders"}})),
            field: "spec.deadLetter.name",
            way_out: "choose another name",
            near: "the names differ",
            kept_by: queue(json!({"queue": {"name": "acme-orders"}, "deadLetter": {"name": "acme-orders2"}})),
        },
        Rule {
            reason: Reason::QueueNameNotAllowed,
            broken: "the dead-letter queue's name is not one of the tenant's",
            by: queue(json!({"deadLetter": {"name": "globex-dead"}})),
            field: "spec.deadLetter.name",
            way_out: "must be named acme-*",
            near: "it is",
            kept_by: queue(json!({"deadLetter": {"name": "acme-dead"}})),
        },
        Rule {
            reason: Reason::QueueNameNotAllowed,
            broken: "another dead-letter queue is still there",
            by: queue(json!({"deadLetter": {"name": "acme-dead"}})).with_queue(with_dead_letters("acme-former")),
            field: "spec.deadLetter.name",
            way_out: "take spec.deadLetter away until",
            near: "it is the one that is there",
            kept_by: queue(json!({"deadLetter": {"name": "acme-dead"}})).with_queue(with_dead_letters("acme-dead")),
        },
    ]
}

fn with_dead_letters(name: &str) -> Value {
    let arn = format!("arn:aws:sqs:eu-west-1:111122223333:{name}");
    json!({"status": {"deadLetterQueue": {"name": name, "url": "https://x", "arn": arn}}})
}

fn rules_of_tier() -> Vec<Rule> {
    let bounds = |patch: Value| declared().with_tier(json!({"spec": patch}));
    vec![
        Rule {
            reason: Reason::SensitivityTierNotFound,
            broken: "the tier does not exist",
            by: declared().but(|declared| declared.tier = None),
            field: "spec.sensitivityTier",
            way_out: "create it or name another",
            near: "it exists",
            kept_by: declared(),
        },
        Rule {
            reason: Reason::SensitivityTierInvalid,
            broken: "the tier's default is outside its own bounds",
            by: bounds(json!({"dataKeyReuseSeconds": {"default": 200}})).with_queue(json!({"spec": {"key": {"dataKeyReuseSeconds": 300}}})),
            field: "spec.sensitivityTier",
            way_out: "ask the security team to correct it",
            near: "the default is the smallest allowed",
            kept_by: bounds(json!({"dataKeyReuseSeconds": {"default": 300}})),
        },
        Rule {
            reason: Reason::OutsideTierBounds,
            broken: "data keys live too long",
            by: queue(json!({"key": {"dataKeyReuseSeconds": 3601}})),
            field: "spec.key.dataKeyReuseSeconds",
            way_out: "allows 300 to 3600, not 3601",
            near: "as long as they may",
            kept_by: queue(json!({"key": {"dataKeyReuseSeconds": 3600}})),
        },
        Rule {
            reason: Reason::OutsideTierBounds,
            broken: "the key rotates too seldom",
            by: queue(json!({"key": {"rotationPeriodDays": 366}})),
            field: "spec.key.rotationPeriodDays",
            way_out: "allows 90 to 365, not 366",
            near: "as seldom as it may",
            kept_by: queue(json!({"key": {"rotationPeriodDays": 365}})),
        },
        Rule {
            reason: Reason::OutsideTierBounds,
            broken: "messages are kept too short",
            by: queue(json!({"queue": {"messageRetentionSeconds": 3599}})),
            field: "spec.queue.messageRetentionSeconds",
            way_out: "allows 3600 to 1209600, not 3599",
            near: "as short as they may be",
            kept_by: queue(json!({"queue": {"messageRetentionSeconds": 3600}})),
        },
        Rule {
            reason: Reason::OutsideTierBounds,
            broken: "dead letters are kept too short",
            by: queue(json!({"deadLetter": {"messageRetentionSeconds": 60}})),
            field: "spec.deadLetter.messageRetentionSeconds",
            way_out: "allows 3600 to 1209600, not 60",
            near: "without a dead-letter queue there is nothing to bound",
            kept_by: queue(json!({"deadLetter": null})),
        },
        Rule {
            reason: Reason::RequiredTagMissing,
            broken: "a required tag is nowhere",
            by: bounds(json!({"requiredTags": ["owner", "cost-center"]})),
            field: "spec.tags[\"cost-center\"]",
            way_out: "set it here or in the tenant's spec.tags",
            near: "the queue sets it",
            kept_by: bounds(json!({"requiredTags": ["cost-center"]})).with_queue(json!({"spec": {"tags": {"cost-center": "4711"}}})),
        },
        Rule {
            reason: Reason::TagInvalid,
            broken: "a tag of the operator's",
            by: queue(json!({"tags": {"encryptedqueue.dev/cluster": "mine"}})),
            field: "spec.tags[\"encryptedqueue.dev/cluster\"]",
            way_out: "use a tag without `aws:` and `encryptedqueue.dev/`",
            near: "a tag that only speaks of it",
            kept_by: queue(json!({"tags": {"about-encryptedqueue.dev/cluster": "mine"}})),
        },
        Rule {
            reason: Reason::TagInvalid,
            broken: "a tag that the tenant sets otherwise",
            by: queue(json!({"tags": {"owner": "me"}})),
            field: "spec.tags[\"owner\"]",
            way_out: "remove it here",
            near: "the tenant's own value",
            kept_by: queue(json!({"tags": {"owner": "team-payments"}})),
        },
        Rule {
            reason: Reason::TagInvalid,
            broken: "44 tags with the tenant's one and the queue's own",
            by: queue(json!({"tags": many_tags(42)})),
            field: "spec.tags",
            way_out: "AWS takes 50, 7 of them the operator's",
            near: "43 tags",
            kept_by: queue(json!({"tags": many_tags(41)})),
        },
        Rule {
            reason: Reason::PolicyTooLarge,
            broken: "51 principals in the queue policy",
            by: many_consumers(17),
            field: "spec",
            way_out: "name fewer principals or split the queue",
            near: "as many as SQS takes",
            kept_by: many_consumers(15),
        },
    ]
}

#[test]
fn what_the_tenant_forbids() {
    hold(&rules_of_tenant());
}

#[test]
fn what_sqs_does_not_take_for_a_name() {
    hold(&rules_of_names());
}

#[test]
fn what_the_tier_forbids() {
    hold(&rules_of_tier());
}

#[test]
fn every_reason_that_a_declaration_is_refused_for_has_its_rule() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/desired");
    let word = Regex::new(r"Reason::([A-Z]\w+)").unwrap();
    let sources = std::fs::read_dir(root).unwrap().map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap());
    let code = sources.map(|source| source.split("#[cfg(test)]").next().unwrap().to_owned()).collect::<String>();
    let used: BTreeSet<String> = word.captures_iter(&code).map(|found| found[1].to_owned()).collect();
    let all = [rules_of_tenant(), rules_of_names(), rules_of_tier(), principals::rules()];
    let tried: BTreeSet<String> = all.iter().flatten().map(|rule| rule.reason.to_string()).collect();
    // Not of one declaration alone: what a key's status says when the next one is needed, and what another's claim refuses.
    let used: BTreeSet<String> = used.into_iter().filter(|reason| reason != "KeyFull" && reason != "QueueNameTaken").collect();
    assert_eq!(used, tried);
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let refused = declared()
        .with_tenant(json!({"spec": {"sensitivityTiers": ["public"]}}))
        .with_queue(json!({"spec": {"region": "us-east-1", "queue": {"name": "x", "messageRetentionSeconds": 60}, "tags": {"aws:x": "1"}, "consumers": [{"role": role("stranger")}]}}));
    let found = violations(&refused);
    let said: Vec<String> = found.iter().map(ToString::to_string).collect();
    let expected = [
        "spec.sensitivityTier: Tenant acme may ask for public only",
        "spec.region: Tenant acme may use eu-west-1, eu-central-1 only",
        "spec.queue.name: queues of Tenant acme must be named acme-*, not x",
        "spec.queue.messageRetentionSeconds: SensitivityTier internal allows 3600 to 1209600, not 60",
        "spec.consumers[0]: arn:aws:iam::111122223333:role/stranger matches none of the tenant's spec.principals.roles; ask the platform team to admit it",
        "spec.tags[\"aws:x\"]: the prefix is reserved; use a tag without `aws:` and `encryptedqueue.dev/`",
    ];
    assert_eq!(said, expected);
}

#[test]
fn without_tenant_or_tier_there_are_no_rules_and_nothing_changes() {
    let neither = declared().but(|declared| (declared.tenant, declared.tier) = (None, None)).judged().unwrap_err();
    assert_eq!(
        neither.violations.iter().map(|violation| violation.reason).collect::<Vec<_>>(),
        [Reason::TenantNotFound, Reason::SensitivityTierNotFound]
    );
    assert_eq!((neither.rules, neither.place), (None, None));
    assert!(queue(json!({"region": "us-east-1"})).judged().unwrap_err().rules.is_some(), "a refused declaration keeps what its rules admit");
}
