//! What reports say, against what was declared.

use super::*;
use crate::policy::access::Capability;
use crate::policy::document::Document;

/// Each grant of every example is in the report with its field, and every Sid named stands in the policy it is said to be in.
#[test]
fn every_grant_is_reported_with_its_field_and_statement() {
    let snapshot = cluster(|_| {});
    let explainer = Explainer::new(&snapshot);
    let has_sid = |document: &Document, sid: &str| document.statements.iter().any(|statement| statement.sid.as_deref() == Some(sid));
    let mut seen = 0;
    for (name, queue) in &snapshot.queues {
        let report = explainer.explain(name).unwrap();
        let policies = report.policies.as_ref().unwrap();
        let permissions: Vec<_> = report.principals.iter().flat_map(|row| &row.permissions).collect();
        for statement in permissions.iter().flat_map(|known| known.allowed_by.iter().chain(&known.denied_by)) {
            let document = match statement.policy {
                PolicyKind::Queue => &policies.queue,
                PolicyKind::DeadLetterQueue => policies.dead_letter_queue.as_ref().unwrap(),
                PolicyKind::Key => &policies.key,
            };
            assert!(has_sid(document, &statement.sid), "{name}: {statement:?}");
        }
        let spec = serde_json::to_value(&queue.spec).unwrap();
        let mut fields = Vec::new();
        for list in ["producers", "consumers", "observers"] {
            fields.extend((0..spec[list].as_array().map_or(0, Vec::len)).map(|index| format!("spec.{list}[{index}]")));
        }
        for field in fields {
            assert!(permissions.iter().any(|known| known.declared_by.contains(&field)), "{name}: {field}");
            seen += 1;
        }
    }
    assert!(seen >= 9, "{seen}");
}

#[test]
fn each_column_is_what_the_role_was_declared_for() {
    use Permission::{Administer, ChangeKeyPolicy, Decrypt, ReadAttributes, Receive, ReceiveDeadLetters, Redrive, Send};
    let report = report(&cluster(|_| {}), &orders());
    let expected: [(&str, &[Permission]); 7] = [
        ("acme-orders-api", &[Send, Decrypt, ReadAttributes]),
        ("acme-orders-worker", &[Receive, ReceiveDeadLetters, Decrypt, ReadAttributes]),
        ("acme-orders-support", &[Send, ReceiveDeadLetters, Redrive, Decrypt, ReadAttributes]),
        ("keda-operator", &[ReadAttributes]),
        ("encrypted-queue-operator", &[Administer, ChangeKeyPolicy]),
        (":root", &[Administer, ChangeKeyPolicy]),
        ("security-admin", &[Administer]),
    ];
    assert_eq!(report.principals.len(), expected.len());
    for (principal, expected) in expected {
        assert_eq!(permissions(row(&report, principal)), expected, "{principal}");
    }
    assert_eq!(row(&report, "security-admin").permissions[0].declared_by, ["Tenant acme spec.keyAdministrators[0]"]);
    assert!(report.identity_policies.is_empty());
}

#[test]
fn a_suspended_tenant_is_denied_all_but_attributes() {
    let snapshot = cluster(|document| {
        if is(document, "Tenant", "acme") {
            document["spec"]["access"] = json!("Suspended");
        }
    });
    let report = report(&snapshot, &orders());
    assert!(report.suspended && report.notes.iter().any(|note| note.contains("suspended")));
    for permission in report.principals.iter().flat_map(|row| &row.permissions) {
        let denied = !matches!(permission.permission, Permission::ReadAttributes | Permission::Administer | Permission::ChangeKeyPolicy);
        assert_eq!(permission.denied_by.iter().any(|statement| statement.sid == "DenySuspended"), denied, "{permission:?}");
    }
    assert!(queue_text(&report).contains('✗'));
}

#[test]
fn unstated_others_are_said() {
    let snapshot = cluster(|document| {
        if is(document, "SensitivityTier", "restricted") {
            document["spec"]["access"]["others"] = json!("Unstated");
        }
    });
    let queue = report(&snapshot, &orders());
    assert!(queue.notes.iter().any(|note| note.contains("Unstated") && note.contains("cannot be shown")), "{:?}", queue.notes);
    assert!(!queue.denials.iter().any(|denial| denial.sid.starts_with("DenyOthers")));
    let role = "arn:aws:iam::123456789012:role/stranger".parse::<Asked>().unwrap().report(&all(&snapshot));
    assert!(role.queues.is_empty() && role.notes.iter().any(|note| note.contains("acme-prod/orders")), "{role:?}");
}

/// The key policy is the one of all users of a shared key, Sids included.
#[test]
fn a_shared_key_is_explained_with_its_other_users() {
    let report = report(&cluster(|_| {}), &name("acme-prod", "notifications"));
    assert_eq!(report.key.as_ref().unwrap().shared_with, ["acme-prod/emails"]);
    let decrypt = row(&report, "acme-notifier").permissions.iter().find(|known| known.permission == Permission::Decrypt).unwrap();
    let sid = &decrypt.allowed_by[0].sid;
    assert!(sid.starts_with("Receive") && sid.len() > "Receive".len(), "{sid}: of several queues");
    // It is a producer of the other queue, which is nothing it may do here.
    assert!(!permissions(row(&report, "acme-notifier")).contains(&Permission::Send));
}

#[test]
fn service_accounts_are_named_beside_the_field() {
    let mut snapshot = cluster(|document| {
        if is(document, "EncryptedQueue", "orders") {
            document["spec"]["deadLetter"]["redrivers"] = json!([{"serviceAccount": {"name": "support"}}]);
        }
    });
    let role = "arn:aws:iam::123456789012:role/acme-orders-support";
    let account = name("acme-prod", "support");
    assert!(service_accounts(&snapshot.queues[&orders()]).contains(&account));
    let refused = report(&snapshot, &orders());
    assert_eq!(refused.violations[0].reason, "ServiceAccountNotFound");
    assert!(refused.principals.is_empty() && refused.policies.is_none());

    snapshot.service_accounts.insert(account, ServiceAccountRole::Role(role.to_owned()));
    let report = report(&snapshot, &orders());
    let redrive = row(&report, role).permissions.iter().find(|known| known.permission == Permission::Redrive).unwrap();
    assert_eq!(redrive.declared_by, ["spec.deadLetter.redrivers[0] (ServiceAccount support)"]);
}

#[test]
fn an_unknown_operator_is_not_guessed() {
    let snapshot = Snapshot { operator_role: None, ..cluster(|_| {}) };
    let report = report(&snapshot, &orders());
    let operator = report.principals.iter().find(|row| row.kind == PrincipalKind::Operator).unwrap();
    assert_eq!(operator.principal, None);
    assert!(queue_text(&report).contains("the operator's role"));
    assert!(!serde_json::to_string(&report).unwrap().contains("role/encrypted-queue-operator"));
}

#[test]
fn a_queue_past_the_tenants_limit_is_refused() {
    let snapshot = cluster(|document| {
        if is(document, "Tenant", "acme") {
            document["spec"]["limits"]["queues"] = json!(2);
        }
        if document["kind"] == "EncryptedQueue" {
            let young = document["metadata"]["name"] == "orders";
            document["metadata"]["creationTimestamp"] = json!(if young { "2026-11-23T00:00:01Z" } else { "2026-11-23T00:00:00Z" });
        }
    });
    assert_eq!(report(&snapshot, &orders()).violations[0].reason, "QueueLimitReached");
    assert!(report(&snapshot, &name("acme-prod", "emails")).violations.is_empty());
}

#[test]
fn principals_are_asked_for_by_several_kinds_of_arn() {
    let reports = all(&cluster(|_| {}));
    let queues = |arn: &str| {
        let report = arn.parse::<Asked>().unwrap().report(&reports);
        report.queues.into_iter().map(|queue| format!("{}/{}", queue.namespace, queue.name)).collect::<Vec<_>>()
    };
    assert_eq!(queues("arn:aws:iam::123456789012:role/acme-notifier"), ["acme-prod/emails", "acme-prod/notifications"]);
    assert_eq!(queues("arn:aws:sts::123456789012:assumed-role/acme-notifier/i-0abc"), ["acme-prod/emails", "acme-prod/notifications"]);
    assert_eq!(queues("arn:aws:sts::210987654321:assumed-role/acme-notifier/i-0abc"), [""; 0]);
    assert_eq!(queues("arn:aws:sns:eu-west-1:123456789012:acme-notifications"), ["acme-prod/notifications"]);
    assert_eq!(queues("arn:aws:iam::210987654321:root"), ["globex-prod/ledger"]);
    // Of the role's path a session says nothing.
    assert_eq!(queues("arn:aws:sts::123456789012:assumed-role/encrypted-queue-operator/x").len(), 3);
    assert_eq!(queues("arn:aws:iam::123456789012:role/encrypted-queue-operator"), [""; 0]);
    for text in
        ["acme-notifier", "arn:aws:iam::123456789012:user/maria", "arn:aws:sts::123456789012:assumed-role/x", "*", "arn:aws:sqs:eu-west-1:1:q"]
    {
        assert!(text.parse::<Asked>().is_err(), "{text}");
    }
}

/// The order of the rows: as declared, users before administrators.
#[test]
fn rows_follow_the_declaration() {
    let snapshot = cluster(|document| {
        if is(document, "EncryptedQueue", "orders") {
            let roles = (0..12).rev().map(|index| json!({"role": format!("arn:aws:iam::123456789012:role/acme-{index}")}));
            document["spec"]["producers"] = roles.collect();
        }
    });
    let report = report(&snapshot, &orders());
    let fields: Vec<_> = report.principals.iter().take(13).map(|row| row.permissions[0].declared_by[0].as_str()).collect();
    let mut expected: Vec<_> = (0..12).map(|index| format!("spec.producers[{index}]")).collect();
    expected.push("spec.consumers[0]".to_owned());
    assert_eq!(fields, expected);
    assert!(Capability::Send < Capability::Receive, "the order of rows is that of capabilities");
}
