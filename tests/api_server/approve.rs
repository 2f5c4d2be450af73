//! `encrypted-queue approve` against keys on which access waits.

use encrypted_queue::api::{AccessApproval, QueueKey};
use encrypted_queue::commands::approve::{Error, Proposal, Request, create, propose};
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use test_support::User;

use crate::deployed::{apply_any, bind, client_of, shared};

fn waits(queue: &str, digit: &str) -> Value {
    let gains = ["arn:aws:iam::123456789012:role/acme-worker may receive"];
    json!({"namespace": "team-a", "name": queue, "sha256": digit.repeat(64), "requestedAt": "2026-11-23T10:00:00Z", "gains": gains})
}

/// A shared key on which this waits.
async fn key(admin: &Client, name: &str, pending: &[Value]) {
    let spec = json!({"tenant": "acme", "sensitivityTier": "internal", "region": "eu-west-1", "scope": "Tenant"});
    apply_any(admin, &json!({"apiVersion": "encryptedqueue.dev/v1alpha1", "kind": "QueueKey", "metadata": {"name": name}, "spec": spec})).await;
    let status = Patch::Merge(json!({"status": {"pendingGrants": pending}}));
    Api::<QueueKey>::all(admin.clone()).patch_status(name, &PatchParams::default(), &status).await.unwrap();
}

fn request(key: &str, queue: Option<&str>) -> Request {
    let queue = queue.map(|name| serde_json::from_value(json!({"namespace": "team-a", "name": name})).unwrap());
    Request { key: key.into(), queue, reason: "CHG-1234".into(), approved_by: None }
}

async fn approved(client: &Client, request: &Request) -> Result<(Proposal, AccessApproval), Error> {
    let proposal = propose(client, request).await?;
    let made = create(client, &proposal).await?;
    Ok((proposal, made))
}

async fn mark(admin: &Client, name: &str, status: Value) {
    let patch = Patch::Merge(json!({"status": status}));
    Api::<AccessApproval>::all(admin.clone()).patch_status(name, &PatchParams::default(), &patch).await.unwrap();
}

#[tokio::test]
async fn of_several_queues_the_one_that_is_named_is_approved() {
    let (admin, approver) = (shared().await.client(User::Admin).await.unwrap(), shared().await.client(User::Approver).await.unwrap());
    key(&admin, "shared-key-1", &[waits("orders", "a"), waits("mail", "b")]).await;
    let unnamed = propose(&approver, &request("shared-key-1", None)).await.unwrap_err();
    assert!(matches!(&unnamed, Error::SeveralWait { waiting, .. } if waiting.len() == 2), "{unnamed}");
    let (_, made) = approved(&approver, &request("shared-key-1", Some("mail"))).await.unwrap();
    assert_eq!((made.name_any().as_str(), made.spec.grants_sha256), ("shared-key-1-bbbbbbbbbb", "b".repeat(64)));
    assert_eq!((made.spec.approved_by.as_str(), made.spec.queue.unwrap().to_string().as_str()), ("approver", "team-a/mail"));
}

#[tokio::test]
async fn twice_is_told_from_once_until_an_approval_is_spent() {
    let (admin, approver) = (shared().await.client(User::Admin).await.unwrap(), shared().await.client(User::Approver).await.unwrap());
    key(&admin, "again-1", &[waits("orders", "c")]).await;
    let (proposal, made) = approved(&approver, &request("again-1", None)).await.unwrap();
    let refused = async || propose(&approver, &request("again-1", None)).await.unwrap_err().to_string();
    assert!(refused().await.ends_with("AccessApproval again-1-cccccccccc by approver, which the operator has not applied yet"));
    // Somebody was faster.
    let raced = create(&approver, &proposal).await.unwrap_err();
    assert!(matches!(raced, Error::AlreadyApproved { .. }), "{raced}");

    mark(&admin, &made.name_any(), json!({"appliedAt": "2026-11-23T11:00:00Z"})).await;
    assert!(refused().await.contains("applied at 2026-11-23T11:00:00Z"));
    mark(&admin, &made.name_any(), json!({"appliedAt": null, "lapsedAt": "2026-12-07T11:00:00Z"})).await;
    let (_, next) = approved(&approver, &request("again-1", None)).await.unwrap();
    assert_eq!(next.name_any(), "again-1-cccccccccc-2");
}

#[tokio::test]
async fn what_cannot_be_approved_is_said() {
    let control_plane = shared().await;
    let (admin, approver) = (control_plane.client(User::Admin).await.unwrap(), control_plane.client(User::Approver).await.unwrap());
    key(&admin, "quiet-1", &[]).await;
    let nothing = propose(&approver, &request("quiet-1", None)).await.unwrap_err().to_string();
    assert_eq!(nothing, "no access waits for an approval on QueueKey quiet-1: the operator has not looked at it yet");
    key(&admin, "unknown-1", &[waits("orders", "d")]).await;

    // The only user that may not ask who he is.
    bind(&admin, "system:anonymous", "encrypted-queue-approver", None).await;
    let nobody = client_of(control_plane, "system:anonymous").await;
    let unknown = propose(&nobody, &request("unknown-1", None)).await.unwrap_err().to_string();
    assert!(unknown.contains("does not tell who you are") && unknown.contains("--approved-by"), "{unknown}");
    let named = Request { approved_by: Some("maria".into()), ..request("unknown-1", None) };
    let refused = approved(&nobody, &named).await.unwrap_err();
    assert!(matches!(&refused, Error::Denied(message) if message.starts_with("spec.approvedBy must be you, system:anonymous")), "{refused}");
}
