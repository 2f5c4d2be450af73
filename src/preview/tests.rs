#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::*;
use crate::api::queue_key::NamespacedName;
use crate::commands::plan::Manifests;
use crate::desired::POLICY;
use crate::explain::Snapshot;
use crate::names::RoleArn;
use crate::plan::effect::{KeyEffect, QueueEffect};
use crate::plan::state::{KeyState, QueueState};
use crate::plan::{KeyAction, QueueAction, SearchWindow};

const WORKER: &str = "arn:aws:iam::123456789012:role/acme-orders-worker";

fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

/// A cluster and an account, as the operator leaves them.
struct World {
    snapshot: Snapshot,
    source: Option<QueueState>,
    dead_letter: Option<QueueState>,
    key: Option<KeyState>,
}

fn name() -> NamespacedName {
    NamespacedName { namespace: "acme-prod".into(), name: "orders".into() }
}

impl World {
    /// The example `orders` before anything is made.
    fn empty() -> Self {
        let mut manifests = Manifests::default();
        for file in ["namespaces", "tenant-acme", "tier-restricted", "queue-orders"] {
            let path = format!("{}/examples/{file}.yaml", env!("CARGO_MANIFEST_DIR"));
            manifests.add(file, &std::fs::read_to_string(path).unwrap(), "default").unwrap();
        }
        let mut snapshot = Snapshot { queues: manifests.lay_over_queues(BTreeMap::new(), now()), ..Snapshot::default() };
        manifests.lay_over(&mut snapshot);
        Self { snapshot, source: None, dead_letter: None, key: None }
    }

    fn preview(&self) -> Preview {
        let input = PreviewInput {
            snapshot: self.snapshot.clone(),
            queues: BTreeSet::from([name()]),
            cluster_id: "cluster".into(),
            operator_roles: [("acme".to_owned(), RoleArn::parse("arn:aws:iam::123456789012:role/operator").unwrap())].into(),
            approvals: BTreeMap::new(),
            window: SearchWindow(SignedDuration::from_mins(6)),
            check: false,
        };
        let mut preview = Preview::new(input);
        while let Some(question) = preview.advance(now()) {
            match question {
                Question::Queues { action, .. } => {
                    let effect = match &action {
                        QueueAction::ReadFoundKey { key } => QueueEffect::FoundKey(Some(key.clone())),
                        QueueAction::ReadDeadLetterSources { .. } => QueueEffect::DeadLetterSources(Vec::new()),
                        _ => QueueEffect::Queues { source: self.source.clone(), dead_letter: self.dead_letter.clone() },
                    };
                    preview.answer_queues(&action, effect, now());
                }
                Question::Key { action, .. } => {
                    let effect = match &action {
                        KeyAction::FindByAlias { .. } => KeyEffect::ByAlias(None),
                        KeyAction::ReadKey { .. } => KeyEffect::Key(self.key.clone().map(Box::new)),
                        other => panic!("{other:?}"),
                    };
                    preview.answer_key(&action, effect, now());
                }
            }
        }
        preview
    }

    fn report(&self) -> PlanReport {
        self.preview().report(false, Vec::new())
    }

    /// The world once the plan is carried out; what was applied is not recorded, so that the queues are read again.
    fn after(&self) -> Self {
        let mut preview = self.preview();
        let group = preview.groups.remove(0);
        let (run, key) = (&group.queues[0], group.key.unwrap());
        let state = |queue: &crate::plan::Seen<QueueState>| queue.present().cloned().unwrap();
        let (source, dead_letter) = (state(&run.observed.source), state(&run.observed.dead_letter));
        let desired = run.judged.as_ref().unwrap();
        let reference = |state: &QueueState, arn: &str| json!({"name": "", "url": state.url, "arn": arn});
        let mut snapshot = self.snapshot.clone();
        let object = snapshot.queues.get_mut(&name()).unwrap();
        object.metadata.finalizers = Some(vec![crate::api::labels::FINALIZER.to_owned()]);
        let status = json!({
            "queue": reference(&source, desired.source.arn.as_str()),
            "deadLetterQueue": reference(&dead_letter, desired.dead_letter.as_ref().unwrap().arn.as_str()),
            "key": {"name": desired.key_name},
        });
        object.status = Some(serde_json::from_value(status).unwrap());
        let state = key.after().cloned();
        snapshot.keys.insert(desired.key_name.clone(), key.object);
        Self { snapshot, source: Some(source), dead_letter: Some(dead_letter), key: state }
    }
}

fn calls(report: &PlanReport) -> Vec<&str> {
    let mut actions: Vec<_> = report.objects.iter().flat_map(|object| &object.actions).collect();
    actions.sort_by_key(|action| action.number);
    actions.iter().filter_map(|action| action.call).collect()
}

fn orders(report: &PlanReport) -> &ObjectReport {
    report.objects.iter().find(|object| object.kind == "EncryptedQueue").unwrap()
}

#[test]
fn taking_a_queue_over_tells_who_loses_access() {
    let mut world = World::empty();
    let intruder = "arn:aws:iam::123456789012:role/legacy-reader";
    let policy = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": [intruder, WORKER]},
        "Action": ["sqs:ReceiveMessage", "sqs:DeleteMessage"], "Resource": "arn:aws:sqs:eu-west-1:123456789012:acme-orders"}]});
    let attributes = [("KmsMasterKeyId", "arn:aws:kms:eu-west-1:123456789012:key/theirs".to_owned()), (POLICY, policy.to_string())];
    let attributes = attributes.map(|(name, value)| (name.to_owned(), value)).into();
    world.source = Some(QueueState { url: "https://sqs/123456789012/acme-orders".into(), attributes, tags: BTreeMap::new() });
    let refused = world.report();
    assert_eq!((refused.exit_code(), orders(&refused).waits.as_ref().unwrap().reason.as_str()), (1, "QueueConflict"));
    world.snapshot.queues.get_mut(&name()).unwrap().spec.adoption = crate::api::encrypted_queue::Adoption::IfUnowned;
    world.snapshot.tenants.get_mut("acme").unwrap().spec.adoptable_queue_names = vec!["acme-orders".to_owned()];
    let report = world.report();
    let expected = ["kms:CreateKey", "kms:CreateAlias", "kms:EnableKeyRotation", "sqs:TagQueue", "sqs:CreateQueue", "sqs:SetQueueAttributes"];
    assert_eq!((calls(&report), report.exit_code()), (expected.to_vec(), 2));
    let orders = orders(&report);
    assert!(orders.losses.iter().any(|line| line.contains(intruder)), "{:?}", orders.losses);
}

#[test]
fn what_was_carried_out_is_not_planned_again() {
    let made = World::empty();
    assert_eq!(
        calls(&made.report()),
        ["kms:CreateKey", "kms:CreateAlias", "kms:EnableKeyRotation", "sqs:CreateQueue", "sqs:CreateQueue"],
        "the key before the queues"
    );
    let report = made.after().report();
    assert_eq!((report.objects.clone(), report.exit_code()), (Vec::new(), 0));
    assert_eq!(plan_text(&report), "No changes: 1 EncryptedQueue looked at.\n");
}

#[test]
fn a_tightened_tenant_shows_who_is_cut_off() {
    let mut world = World::empty().after();
    let roles = &mut world.snapshot.tenants.get_mut("acme").unwrap().spec.principals.roles;
    *roles = serde_json::from_value(json!(["api", "support"].map(|name| format!("arn:aws:iam::123456789012:role/acme-orders-{name}")))).unwrap();
    roles.extend(serde_json::from_value::<Vec<_>>(json!(["arn:aws:iam::123456789012:role/keda-operator"])).unwrap());
    let report = world.report();
    assert_eq!(calls(&report), ["sqs:SetQueueAttributes", "sqs:SetQueueAttributes", "kms:PutKeyPolicy"]);
    let orders = orders(&report);
    assert_eq!(orders.losses, [format!("{WORKER} may no longer receive"), format!("{WORKER} may no longer receive dead letters")]);
    assert_eq!((orders.gains.len(), orders.violations.len(), report.exit_code()), (0, 1, 1), "{report:#?}");
}

#[test]
fn what_someone_let_in_beside_the_declaration_is_lost() {
    let mut world = World::empty().after();
    let attributes = &mut world.source.as_mut().unwrap().attributes;
    let mut policy: Value = serde_json::from_str(&attributes[POLICY]).unwrap();
    policy["Statement"].as_array_mut().unwrap().push(json!({
        "Sid": "Stranger", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::999988887777:role/x"}, "Action": "sqs:ReceiveMessage", "Resource": "*",
    }));
    attributes.insert(POLICY.to_owned(), policy.to_string());
    let report = world.report();
    assert_eq!(calls(&report), ["sqs:SetQueueAttributes"]);
    let losses = &orders(&report).losses;
    assert!(losses.iter().any(|line| line.starts_with("what no declaration allows: unknown statement Stranger allows")), "{losses:#?}");
}

#[test]
fn the_queue_of_someone_else_stops_the_plan() {
    let made = World::empty().after();
    let strange = made.source.map(|queue| QueueState { tags: BTreeMap::new(), ..queue });
    let report = World { source: strange, ..World::empty() }.report();
    assert!(!calls(&report).contains(&"sqs:CreateQueue"));
    let waits = orders(&report).waits.as_ref().unwrap();
    assert_eq!((waits.reason.as_str(), waits.stalled, report.summary.stalled, report.exit_code()), ("QueueConflict", true, 1, 1));
    let mut told = report.clone();
    told.objects[0].waits.as_mut().unwrap().message.push_str("\u{1b}[2J\n  1. create queue");
    assert_eq!(plan_text(&told).lines().count(), plan_text(&report).lines().count(), "a message cannot command the terminal");
    assert!(!plan_text(&told).contains(|c: char| c.is_control() && c != '\n'));
    assert!(plan_text(&report).contains("stalled, QueueConflict: queue acme-orders exists"), "{}", plan_text(&report));
}

#[test]
fn losses_go_at_once_and_gains_wait_for_the_approval() {
    let mut world = World::empty();
    world.snapshot.tiers.get_mut("restricted").unwrap().spec.approval = crate::api::sensitivity_tier::Approval::OnWidening;
    let mut world = world.after();
    world.snapshot.queues.get_mut(&name()).unwrap().spec.consumers =
        serde_json::from_value(json!([{"role": "arn:aws:iam::123456789012:role/acme-second"}])).unwrap();
    let report = world.report();
    let orders = orders(&report);
    let now: Vec<_> = report.objects.iter().flat_map(|object| &object.actions).filter(|action| !action.after_approval).collect();
    assert!(now.iter().any(|action| action.call == Some("kms:PutKeyPolicy")), "{report:#?}");
    assert!(now.iter().any(|action| action.call == Some("sqs:SetQueueAttributes")), "{report:#?}");
    assert!(orders.actions.iter().any(|action| action.after_approval));
    let approval = orders.approval.as_ref().unwrap();
    assert_eq!((approval.gains.len(), approval.losses.len(), orders.gains.len(), orders.losses.len()), (2, 2, 2, 2), "{orders:#?}");
}
