//! Declarations that tenant or tier refuse: nothing is written in AWS, and the queue is made as soon as the cause goes.

use kube::api::ListParams;
use serde_json::{Value, json};

use super::{CONSUMER, NAMESPACE, message, namespace, queue, tenant, tier, until_event, world};
use crate::world::{OPERATOR, World};

const FOREIGN: &str = "arn:aws:iam::999922223333:role/app-foreign";
const OUTSIDE: &str = "arn:aws:iam::123456789012:role/other-team";
const ADMINISTRATOR: &str = "arn:aws:iam::123456789012:role/app-administrator";

/// What takes the cause away.
enum Cure {
    /// Another spec of the queue.
    Queue(Value),
    /// Another spec of the tenant, which may have been missing.
    Tenant(Value),
    /// Another spec of the tier, which may have been missing.
    Tier(Value),
    /// Labels on the queue's namespace.
    Label(Value),
    /// The ServiceAccount with this role.
    Account(&'static str),
}

/// A declaration that must be refused.
struct Case {
    name: &'static str,
    reason: &'static str,
    /// All of these are in the message: the field, and what shows the way out.
    says: &'static [&'static str],
    queue: Value,
    /// None: there is none.
    tenant: Option<Value>,
    tier: Option<Value>,
    cure: Cure,
}

impl Default for Case {
    fn default() -> Self {
        let none = json!({});
        Self { name: "", reason: "", says: &[], queue: none.clone(), tenant: Some(none.clone()), tier: Some(none.clone()), cure: Cure::Queue(none) }
    }
}

/// Rules about names, places and values.
#[expect(clippy::too_many_lines, reason = "a table")]
fn rules() -> Vec<Case> {
    let day = 86_400;
    vec![
        Case {
            name: "no-tenant",
            reason: "TenantNotFound",
            says: &["spec.tenant: Tenant no-tenant does not exist", "create it"],
            tenant: None,
            cure: Cure::Tenant(json!({})),
            ..Case::default()
        },
        Case {
            name: "no-tier",
            reason: "SensitivityTierNotFound",
            says: &["spec.sensitivityTier: SensitivityTier no-tier does not exist", "create it"],
            tier: None,
            cure: Cure::Tier(json!({})),
            ..Case::default()
        },
        Case {
            name: "queue-name",
            reason: "QueueNameNotAllowed",
            says: &["spec.queue.name", "must be named queue-name-*, not else-where"],
            queue: json!({"queue": {"name": "else-where"}}),
            cure: Cure::Tenant(json!({"queueNames": ["else-*"]})),
            ..Case::default()
        },
        Case {
            name: "tier-outside",
            reason: "SensitivityTierNotAllowed",
            says: &["spec.sensitivityTier: Tenant tier-outside may ask for another only"],
            tenant: Some(json!({"sensitivityTiers": ["another"]})),
            cure: Cure::Tenant(json!({})),
            ..Case::default()
        },
        Case {
            name: "namespace-name",
            reason: "NamespaceNotAllowed",
            says: &["metadata.namespace", "namespace team", "spec.namespaces"],
            tenant: Some(json!({"namespaces": {"names": ["another"]}})),
            cure: Cure::Tenant(json!({})),
            ..Case::default()
        },
        Case {
            name: "namespace-label",
            reason: "NamespaceNotAllowed",
            says: &["metadata.namespace", "nor the labels of namespace namespace-label"],
            tenant: Some(json!({"namespaces": {"names": null, "selector": {"matchLabels": {"tenant": "labelled"}}}})),
            cure: Cure::Label(json!({"tenant": "labelled"})),
            ..Case::default()
        },
        Case {
            name: "region-outside",
            reason: "RegionNotAllowed",
            says: &["spec.region", "eu-west-1 only"],
            queue: json!({"region": "eu-central-1"}),
            cure: Cure::Tenant(json!({"aws": {"regions": ["eu-west-1", "eu-central-1"]}})),
            ..Case::default()
        },
        Case {
            name: "reuse",
            reason: "OutsideTierBounds",
            says: &["spec.key.dataKeyReuseSeconds", "allows 60 to 600, not 900"],
            queue: json!({"key": {"dataKeyReuseSeconds": 900}}),
            tier: Some(json!({"dataKeyReuseSeconds": {"default": 300, "minimum": 60, "maximum": 600}})),
            cure: Cure::Tier(json!({"dataKeyReuseSeconds": {"default": 300, "minimum": 60, "maximum": 900}})),
            ..Case::default()
        },
        Case {
            name: "rotation",
            reason: "OutsideTierBounds",
            says: &["spec.key.rotationPeriodDays", "allows 90 to 180, not 365"],
            queue: json!({"key": {"rotationPeriodDays": 365}}),
            tier: Some(json!({"key": {"rotationPeriodDays": {"default": 90, "minimum": 90, "maximum": 180}}})),
            cure: Cure::Queue(json!({"key": {"rotationPeriodDays": 120}})),
            ..Case::default()
        },
        Case {
            name: "retention",
            reason: "OutsideTierBounds",
            says: &["spec.queue.messageRetentionSeconds", "spec.deadLetter.messageRetentionSeconds", "not 172800", "not 259200"],
            queue: json!({"queue": {"messageRetentionSeconds": 2 * day}, "deadLetter": {"messageRetentionSeconds": 3 * day}}),
            tier: Some(json!({"messageRetentionSeconds": {"maximum": day}})),
            cure: Cure::Queue(json!({"queue": {"messageRetentionSeconds": day / 2}, "deadLetter": {"messageRetentionSeconds": day}})),
            ..Case::default()
        },
        Case {
            name: "required-tag",
            reason: "RequiredTagMissing",
            says: &["spec.tags[\"workload\"]", "set it here or in the tenant's spec.tags"],
            tier: Some(json!({"requiredTags": ["workload"]})),
            cure: Cure::Tenant(json!({"tags": {"workload": "all"}})),
            ..Case::default()
        },
        Case {
            name: "tag-conflict",
            reason: "TagInvalid",
            says: &["spec.tags[\"owner\"]", "the tenant sets this tag", "remove it here"],
            queue: json!({"tags": {"owner": "me"}}),
            tenant: Some(json!({"tags": {"owner": "team"}})),
            cure: Cure::Queue(json!({})),
            ..Case::default()
        },
        Case {
            name: "limit",
            reason: "QueueLimitReached",
            says: &["spec.tenant", "spec.limits.queues allows (0)", "ask for more"],
            tenant: Some(json!({"limits": {"queues": 0}})),
            cure: Cure::Tenant(json!({"limits": {"queues": 1}})),
            ..Case::default()
        },
    ]
}

/// Rules about principals.
fn principals() -> Vec<Case> {
    let service = json!({"producers": [{"service": {
        "principal": "sns.amazonaws.com", "sourceArn": "arn:aws:sns:eu-west-1:123456789012:news", "sourceAccount": "123456789012"}}]});
    let admits_service = json!({"principals": {"services": ["sns.amazonaws.com"], "sourceAccounts": ["123456789012"]}});
    let organization = json!({"producers": [{"organization": {"id": "o-a1b2c3d4e5", "roleName": "log-shipper"}}]});
    let by_account = json!({"consumers": [{"serviceAccount": {"name": "worker"}}]});
    let wide = "arn:aws:iam::123456789012:role/app-*";
    vec![
        Case {
            name: "role-outside",
            reason: "PrincipalNotAllowed",
            says: &["spec.consumers[0]", OUTSIDE, "spec.principals.roles; ask the platform team"],
            queue: json!({"consumers": [{"role": OUTSIDE}]}),
            cure: Cure::Tenant(json!({"principals": {"roles": [wide, OUTSIDE]}})),
            ..Case::default()
        },
        Case {
            name: "duplicate",
            reason: "DuplicatePrincipal",
            says: &["spec.consumers[1]", "same principal as spec.consumers[0]", "remove one"],
            queue: json!({"consumers": [{"role": CONSUMER}, {"serviceAccount": {"name": "same"}}]}),
            cure: Cure::Queue(json!({})),
            ..Case::default()
        },
        Case {
            name: "account-absent",
            reason: "ServiceAccountNotFound",
            says: &["spec.consumers[0].serviceAccount.name", "does not exist in namespace account-absent", "create it"],
            queue: by_account.clone(),
            tenant: Some(json!({"namespaces": {"names": ["account-absent"]}})),
            cure: Cure::Account(CONSUMER),
            ..Case::default()
        },
        Case {
            name: "account-roleless",
            reason: "ServiceAccountWithoutRole",
            says: &["spec.consumers[0].serviceAccount.name", "annotate it with eks.amazonaws.com/role-arn"],
            queue: by_account.clone(),
            tenant: Some(json!({"namespaces": {"names": ["account-roleless"]}})),
            cure: Cure::Account(CONSUMER),
            ..Case::default()
        },
        Case {
            name: "account-malformed",
            reason: "PrincipalMalformed",
            says: &["spec.consumers[0].serviceAccount.name", "the role of ServiceAccount worker"],
            queue: by_account,
            tenant: Some(json!({"namespaces": {"names": ["account-malformed"]}})),
            cure: Cure::Account(CONSUMER),
            ..Case::default()
        },
        Case {
            name: "cross-account",
            reason: "CrossAccountNotAllowed",
            says: &["spec.producers[0]", FOREIGN, "spec.access.crossAccount is Deny"],
            queue: json!({"producers": [{"role": FOREIGN}]}),
            tenant: Some(json!({"principals": {"roles": [wide, "arn:aws:iam::999922223333:role/app-*"]}})),
            cure: Cure::Tier(json!({"access": {"crossAccount": "Allow"}})),
            ..Case::default()
        },
        Case {
            name: "services-tier",
            reason: "ServicesNotAllowed",
            says: &["spec.producers[0]", "spec.access.services is Deny"],
            queue: service.clone(),
            tenant: Some(admits_service.clone()),
            tier: Some(json!({"access": {"services": "Deny"}})),
            cure: Cure::Tier(json!({"access": {"services": "Allow"}})),
        },
        Case {
            name: "services-tenant",
            reason: "PrincipalNotAllowed",
            says: &["spec.producers[0]", "spec.principals.services"],
            queue: service,
            cure: Cure::Tenant(admits_service),
            ..Case::default()
        },
        Case {
            name: "organizations",
            reason: "OrganizationsNotAllowed",
            says: &["spec.producers[0]", "spec.access.organizations is Deny"],
            queue: organization,
            tenant: Some(json!({"principals": {"organizations": ["o-a1b2c3d4e5"]}})),
            cure: Cure::Tier(json!({"access": {"organizations": "Allow"}})),
            ..Case::default()
        },
        Case {
            name: "operator",
            reason: "SeparationOfDuties",
            says: &["spec.consumers[0]", OPERATOR, "declare another role"],
            queue: json!({"consumers": [{"role": OPERATOR}]}),
            tenant: Some(json!({"principals": {"roles": ["arn:aws:iam::123456789012:role/*"]}})),
            cure: Cure::Queue(json!({})),
            ..Case::default()
        },
        Case {
            name: "administrator",
            reason: "SeparationOfDuties",
            says: &["spec.producers[0]", ADMINISTRATOR, "declare another role"],
            queue: json!({"producers": [{"role": ADMINISTRATOR}]}),
            tenant: Some(json!({"keyAdministrators": [ADMINISTRATOR]})),
            cure: Cure::Tenant(json!({})),
            ..Case::default()
        },
        Case {
            name: "too-many",
            reason: "PolicyTooLarge",
            says: &["spec: ", "principals in the queue policy, AWS accepts 50: 4 too many", "name fewer principals or split the queue"],
            queue: many(20, 20, 10),
            tenant: Some(json!({"principals": {"roles": ["arn:aws:iam::123456789012:role/*"]}})),
            cure: Cure::Queue(json!({})),
            ..Case::default()
        },
    ]
}

/// Short names, so that the number of principals is what is too large, not the policy.
fn many(producers: usize, consumers: usize, observers: usize) -> Value {
    let roles = |kind: &str, count: usize| -> Vec<Value> {
        (0..count).map(|index| json!({"role": format!("arn:aws:iam::123456789012:role/{kind}{index}")})).collect()
    };
    json!({"producers": roles("p", producers), "consumers": roles("c", consumers), "observers": roles("o", observers)})
}

/// Cases whose ServiceAccount or labels are what is wrong have a namespace of their own.
fn place(case: &Case) -> &'static str {
    if matches!(case.cure, Cure::Label(_) | Cure::Account(_)) { case.name } else { NAMESPACE }
}

async fn account(world: &World, namespace: &str, name: &str, role: Option<&str>) {
    let annotations = role.map_or_else(|| json!({}), |role| json!({"eks.amazonaws.com/role-arn": role}));
    let metadata = json!({"name": name, "namespace": namespace, "annotations": annotations});
    world.apply_object(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})).await;
}

async fn declare(world: &World, case: &Case) {
    if place(case) != NAMESPACE {
        namespace(world, place(case), json!({})).await;
    }
    if let Some(change) = &case.tenant {
        world.apply_object(&tenant(case.name, change)).await;
    }
    if let Some(change) = &case.tier {
        world.apply_object(&tier(case.name, change)).await;
    }
    world.apply_object(&queue(place(case), case.name, &case.queue)).await;
}

async fn cure(world: &World, case: &Case) {
    match &case.cure {
        Cure::Queue(change) => world.apply_object(&queue(place(case), case.name, change)).await,
        Cure::Tenant(change) => world.apply_object(&tenant(case.name, change)).await,
        Cure::Tier(change) => world.apply_object(&tier(case.name, change)).await,
        Cure::Label(labels) => namespace(world, place(case), labels.clone()).await,
        Cure::Account(role) => account(world, place(case), "worker", Some(role)).await,
    }
}

async fn refused_then_made(world: &World, cases: &[Case]) {
    for case in cases {
        declare(world, case).await;
    }
    for case in cases {
        let refused = world.until_condition(place(case), case.name, "Accepted", "False", case.reason).await;
        for word in case.says {
            assert!(message(&refused, "Accepted").contains(word), "{}: {word:?} is not in {:?}", case.name, message(&refused, "Accepted"));
        }
        assert_eq!(message(&refused, "Ready"), message(&refused, "Accepted"), "{}", case.name);
        world.until_condition(place(case), case.name, "Stalled", "True", case.reason).await;
        until_event(world, place(case), case.name, case.reason).await;
    }
    let written: Vec<_> = world.proxy.writes().iter().filter(|call| call.access_key == "operator").map(test_support::proxy::Call::name).collect();
    assert!(written.is_empty(), "{written:?}");
    assert!(world.keys().list(&ListParams::default()).await.unwrap().items.is_empty(), "no QueueKey is made for a refused queue");
    for case in cases {
        cure(world, case).await;
    }
    for case in cases {
        world.until_ready(place(case), case.name).await;
    }
}

#[tokio::test]
async fn a_declaration_outside_the_rules_is_refused_until_it_is_within() {
    refused_then_made(&world().await, &rules()).await;
}

#[tokio::test]
async fn a_principal_outside_the_rules_is_refused_until_it_is_within() {
    let world = world().await;
    world.create_roles(&[FOREIGN, OUTSIDE, ADMINISTRATOR]).await;
    account(&world, NAMESPACE, "same", Some(CONSUMER)).await;
    for (name, role) in [("account-roleless", None), ("account-malformed", Some("arn:aws:iam::123456789012:user/maria"))] {
        namespace(&world, name, json!({})).await;
        account(&world, name, "worker", role).await;
    }
    refused_then_made(&world, &principals()).await;
}
