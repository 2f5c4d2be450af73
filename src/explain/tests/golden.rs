//! Whole answers, kept in `tests/golden/explain`. `UPDATE_GOLDEN=1` writes them anew, to be read as a difference.

use super::*;

fn is_golden(file: &str, answer: &str) {
    let path = repository().join("tests/golden/explain").join(file);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, answer).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let difference = similar::TextDiff::from_lines(kept.as_str(), answer);
    assert!(kept == answer, "{file} (UPDATE_GOLDEN=1 writes it anew):\n{}", difference.unified_diff());
    if Path::new(file).extension().is_some_and(|extension| extension == "txt") {
        let wide: Vec<_> = answer.lines().filter(|line| line.chars().count() > 120 && !line.starts_with(['{', ' '])).collect();
        assert!(wide.is_empty(), "wider than a screen: {wide:#?}");
    }
}

/// What the operator writes once everything is made.
fn ready(document: &mut Value) {
    if !is(document, "EncryptedQueue", "orders") {
        return;
    }
    document["metadata"]["generation"] = json!(1);
    document["status"] = json!({
        "observedGeneration": 1,
        "queue": {
            "name": "acme-orders",
            "url": "https://sqs.eu-west-1.amazonaws.com/123456789012/acme-orders",
            "arn": "arn:aws:sqs:eu-west-1:123456789012:acme-orders",
        },
        "key": {
            "name": "acme-restricted-acme-prod-orders-efa407f55f-1",
            "arn": "arn:aws:kms:eu-west-1:123456789012:key/1c7fcf3f-1e33-4d9d-9c3f-4b6f6ad0f9f1",
            "alias": "alias/encryptedqueue/3c2fa1b0/acme/restricted/acme-prod/orders-1",
        },
        "conditions": [
            {"type": "Ready", "status": "True", "reason": "InSync", "message": "", "lastTransitionTime": "2026-11-23T00:00:00Z"},
        ],
    });
}

#[test]
fn an_ordinary_queue() {
    let report = report(&cluster(ready), &orders());
    let text = queue_text(&report);
    assert!(text.lines().count() <= 50, "one screen");
    is_golden("orders.txt", &text);
    is_golden("orders.json", &(serde_json::to_string_pretty(&report).unwrap() + "\n"));
}

#[test]
fn an_answer_is_as_the_schema_says() {
    let schema = serde_json::to_value(schemars::schema_for!(crate::explain::QueueReport)).unwrap();
    let mut answer = serde_json::to_value(report(&cluster(ready), &orders())).unwrap();
    assert!(jsonschema::validate(&schema, &answer).is_ok(), "{:?}", jsonschema::validate(&schema, &answer));
    answer["principals"][0]["permissions"] = json!("all");
    assert!(!jsonschema::is_valid(&schema, &answer));
}

#[test]
fn a_queue_with_a_shared_key_and_a_service() {
    is_golden("notifications.txt", &queue_text(&report(&cluster(|_| {}), &name("acme-prod", "notifications"))));
}

#[test]
fn producers_of_an_organisation_and_consumers_of_another_account() {
    let snapshot = cluster(|document| {
        if is(document, "Tenant", "globex") {
            document["spec"]["principals"] = json!({
                "roles": ["arn:aws:iam::210987654321:role/globex-*", "arn:aws:iam::111122223333:role/partner/*"],
                "services": ["events.amazonaws.com"],
                "sourceAccounts": ["210987654321"],
                "organizations": ["o-a1b2c3d4e5"],
            });
        }
        if is(document, "SensitivityTier", "public") {
            document["spec"]["access"]["others"] = json!("Unstated");
        }
        if is(document, "EncryptedQueue", "ledger") {
            document["spec"]["sensitivityTier"] = json!("public");
            document["spec"]["producers"] = json!([
                {"organization": {"id": "o-a1b2c3d4e5", "roleName": "log-shipper"}},
                {"service": {
                    "principal": "events.amazonaws.com",
                    "sourceArn": "arn:aws:events:eu-central-1:210987654321:rule/nightly",
                    "sourceAccount": "210987654321",
                }},
            ]);
            document["spec"]["consumers"] = json!([{"role": "arn:aws:iam::111122223333:role/partner/reader"}]);
        }
    });
    let report = report(&snapshot, &name("globex-prod", "ledger"));
    assert_eq!(report.identity_policies.len(), 2);
    is_golden("other-accounts.txt", &queue_text(&report));
    let member = "arn:aws:iam::444455556666:role/log-shipper".parse::<Asked>().unwrap();
    assert_eq!(member.report(&[report]).queues[0].principals[0].kind, PrincipalKind::Organization);
}

#[test]
fn a_consumer_that_waits_for_approval_and_a_producer_of_another_account() {
    let partner = "arn:aws:iam::111122223333:role/partner/sender";
    let mut snapshot = cluster(|document| {
        ready(document);
        if is(document, "Tenant", "acme") {
            document["spec"]["principals"]["roles"].as_array_mut().unwrap().push(json!("arn:aws:iam::111122223333:role/partner/*"));
        }
        if is(document, "SensitivityTier", "restricted") {
            document["spec"]["access"]["crossAccount"] = json!("Allow");
            document["spec"]["approval"] = json!("OnWidening");
        }
        if is(document, "EncryptedQueue", "orders") {
            document["spec"]["producers"].as_array_mut().unwrap().push(json!({"role": partner}));
            let awaiting = json!({"type": "Ready", "status": "False", "reason": "AwaitingApproval", "message": "waits for an approval",
                "lastTransitionTime": "2026-11-23T00:00:00Z"});
            document["status"]["conditions"][0] = awaiting;
        }
    });
    let worker = "arn:aws:iam::123456789012:role/acme-orders-worker";
    add(
        &mut snapshot,
        json!({
            "apiVersion": "encryptedqueue.dev/v1alpha1",
            "kind": "QueueKey",
            "metadata": {"name": "acme-restricted-acme-prod-orders-efa407f55f-1"},
            "spec": {
                "tenant": "acme", "sensitivityTier": "restricted", "region": "eu-west-1", "scope": "Queue",
                "queue": {"namespace": "acme-prod", "name": "orders"},
            },
            "status": {"pendingGrants": [{
                "namespace": "acme-prod", "name": "orders", "sha256": "9f86d0".repeat(10) + "9f86", "requestedAt": "2026-11-23T00:00:00Z",
                "gains": [format!("{worker} may receive"), format!("{partner} may send")],
            }]},
        }),
    );
    let report = report(&snapshot, &orders());
    let waits = |row: &PrincipalReport, permission| row.permissions.iter().any(|known| known.permission == permission && known.awaits_approval);
    assert!(waits(row(&report, "acme-orders-worker"), Permission::Receive) && waits(row(&report, "partner/sender"), Permission::Decrypt));
    assert!(!waits(row(&report, "acme-orders-worker"), Permission::ReceiveDeadLetters), "what was approved before does not wait");
    assert!(!waits(row(&report, "acme-orders-api"), Permission::Send));
    assert_eq!(report.identity_policies.iter().map(|policy| policy.role.as_str()).collect::<Vec<_>>(), [partner]);
    is_golden("awaiting-approval.txt", &queue_text(&report));
}

#[test]
fn a_declaration_that_is_refused_but_has_a_key() {
    let mut snapshot = cluster(|document| {
        ready(document);
        if is(document, "EncryptedQueue", "orders") {
            document["metadata"]["generation"] = json!(2);
            document["spec"]["consumers"] =
                json!([{"role": "arn:aws:iam::999999999999:role/acme-orders-worker"}, {"serviceAccount": {"name": "worker"}}]);
            document["spec"]["key"] = json!({"dataKeyReuseSeconds": 86400});
        }
    });
    add(
        &mut snapshot,
        json!({
            "apiVersion": "encryptedqueue.dev/v1alpha1",
            "kind": "QueueKey",
            "metadata": {"name": "acme-restricted-acme-prod-orders-efa407f55f-1"},
            "spec": {
                "tenant": "acme", "sensitivityTier": "restricted", "region": "eu-west-1", "scope": "Queue",
                "queue": {"namespace": "acme-prod", "name": "orders"},
            },
        }),
    );
    is_golden("refused.txt", &queue_text(&report(&snapshot, &orders())));
}

#[test]
fn what_one_principal_can_do() {
    let session = "arn:aws:sts::123456789012:assumed-role/acme-notifier/i-0abc".parse::<Asked>().unwrap();
    is_golden("principal.txt", &principal_text(&session.report(&all(&cluster(ready)))));
}

/// A message may hold what AWS or a webhook said.
#[test]
fn a_message_cannot_command_the_terminal() {
    let snapshot = cluster(|document| {
        ready(document);
        if is(document, "EncryptedQueue", "orders") {
            let condition = &mut document["status"]["conditions"][0];
            (condition["status"], condition["reason"], condition["message"]) = (json!("False"), json!("AccessDenied"), json!("no\u{1b}[2J\u{7}way"));
        }
    });
    let text = queue_text(&report(&snapshot, &orders()));
    assert!(text.contains("False, AccessDenied: no"), "{text}");
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
}
