//! `deploy/admission`: who may approve what, and who may label namespaces.

use encrypted_queue::api::AccessApproval;
use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use test_support::{ControlPlane, User};

use crate::deployed::{GITOPS, bind, client_of, label, role, shared, start};

/// Tries to approve access to a queue.
async fn approve(client: &Client, approved_by: &str, queue: Option<(&str, &str)>) -> Result<AccessApproval, String> {
    let mut spec = json!({"queueKey": "key-1", "grantsSha256": "a".repeat(64), "reason": "CHG-1", "approvedBy": approved_by});
    if let Some((namespace, name)) = queue {
        spec["queue"] = json!({"namespace": namespace, "name": name});
    }
    let approval = json!({"apiVersion": "encryptedqueue.dev/v1alpha1", "kind": "AccessApproval", "metadata": {"name": "tried"}, "spec": spec});
    let parameters = PostParams { dry_run: true, ..PostParams::default() };
    Api::all(client.clone()).create(&parameters, &serde_json::from_value(approval).unwrap()).await.map_err(|error| error.to_string())
}

fn refused<T: std::fmt::Debug>(result: Result<T, String>, because: &str) {
    let message = result.unwrap_err();
    assert!(message.contains(because), "refused, but not because {because:?}: {message}");
}

async fn user(control_plane: &ControlPlane, user: User) -> Client {
    control_plane.client(user).await.unwrap()
}

#[tokio::test]
async fn an_approver_approves_in_his_own_name_only_and_says_which_queue() {
    let client = user(shared().await, User::Approver).await;
    approve(&client, "approver", Some(("team-a", "orders"))).await.unwrap();
    refused(approve(&client, "maria", Some(("team-a", "orders"))).await, "spec.approvedBy must be you, approver");
    refused(approve(&client, "", Some(("team-a", "orders"))).await, "spec.approvedBy");
    refused(approve(&client, "approver", None).await, "spec.queue is missing");
}

#[tokio::test]
async fn whoever_may_edit_the_queue_does_not_approve_access_to_it() {
    let control_plane = shared().await;
    let admin = user(control_plane, User::Admin).await;
    let author = user(control_plane, User::Author).await;
    refused(approve(&author, "author", Some(("team-a", "orders"))).await, "cannot create resource \"accessapprovals\"");

    bind(&admin, "both", "encrypted-queue-author", Some("team-a")).await;
    bind(&admin, "both", "encrypted-queue-approver", None).await;
    let both = client_of(control_plane, "both").await;
    refused(approve(&both, "both", Some(("team-a", "orders"))).await, "both may edit EncryptedQueue team-a/orders");
    approve(&both, "both", Some(("team-b", "orders"))).await.unwrap();

    for verb in ["create", "update", "patch"] {
        let name = format!("may-{verb}");
        role(&admin, &name, "encryptedqueue.dev", &["encryptedqueues"], &[verb]).await;
        bind(&admin, &name, &name, None).await;
        bind(&admin, &name, "encrypted-queue-approver", None).await;
        let client = client_of(control_plane, &name).await;
        refused(approve(&client, &name, Some(("team-b", "orders"))).await, "may edit EncryptedQueue team-b/orders");
    }
    refused(approve(&admin, "admin", Some(("team-b", "orders"))).await, "admin may edit EncryptedQueue");
}

#[tokio::test]
async fn a_gitops_identity_names_the_approver_even_if_it_may_edit_queues() {
    let control_plane = shared().await;
    let admin = user(control_plane, User::Admin).await;
    bind(&admin, GITOPS, "encrypted-queue-author", Some("team-a")).await;
    let gitops = client_of(control_plane, GITOPS).await;
    approve(&gitops, "maria", None).await.unwrap();
    approve(&gitops, "maria", Some(("team-a", "orders"))).await.unwrap();
    // Another of its namespace is not meant.
    bind(&admin, "system:serviceaccount:security:approvals2", "encrypted-queue-approver", None).await;
    let other = client_of(control_plane, "system:serviceaccount:security:approvals2").await;
    refused(approve(&other, "maria", Some(("team-b", "orders"))).await, "spec.approvedBy must be you");
}

#[tokio::test]
async fn as_shipped_nobody_is_a_gitops_identity_and_small_clusters_can_opt_out() {
    let control_plane = start(&[("separationOfDuties", "false")]).await;
    let gitops = client_of(&control_plane, GITOPS).await;
    refused(approve(&gitops, "maria", Some(("team-b", "orders"))).await, "spec.approvedBy must be you");
    let admin = user(&control_plane, User::Admin).await;
    approve(&admin, "admin", Some(("team-a", "orders"))).await.unwrap();
    refused(approve(&admin, "maria", Some(("team-a", "orders"))).await, "spec.approvedBy must be you");
    // Labels that no list names are free, as shipped.
    let owner = client_of(&control_plane, "owner").await;
    label(&owner, "team-b", json!({"tenant": "acme"}), true).await.unwrap();
}

#[tokio::test]
async fn an_approval_is_neither_changed_nor_withdrawn_nor_marked_by_its_approver() {
    let control_plane = shared().await;
    let client = user(control_plane, User::Approver).await;
    let approvals = Api::<AccessApproval>::all(client.clone());
    let mut approval = approve(&client, "approver", Some(("team-a", "orders"))).await.unwrap();
    approval.metadata = kube::api::ObjectMeta { name: Some("kept".into()), ..Default::default() };
    approvals.create(&PostParams::default(), &approval).await.unwrap();
    let change = Patch::Merge(json!({"spec": {"approvedBy": "maria"}}));
    refused(approvals.patch("kept", &PatchParams::default(), &change).await.map_err(|e| e.to_string()), "cannot patch");
    let used = Patch::Merge(json!({"status": {"appliedAt": "2026-01-01T00:00:00Z"}}));
    refused(approvals.patch_status("kept", &PatchParams::default(), &used).await.map_err(|e| e.to_string()), "cannot patch");
    refused(approvals.delete("kept", &DeleteParams::default()).await.map_err(|e| e.to_string()), "cannot delete");
    // Nor is its spec changed by those who may do all.
    let admin = Api::<AccessApproval>::all(user(control_plane, User::Admin).await);
    refused(admin.patch("kept", &PatchParams::default(), &change).await.map_err(|e| e.to_string()), "is immutable");
}

async fn create_namespace(client: &Client, name: &str, labels: Value) -> Result<Namespace, String> {
    let namespace = serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}})).unwrap();
    Api::all(client.clone()).create(&PostParams::default(), &namespace).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_namespace_owner_does_not_choose_the_tenant() {
    let control_plane = shared().await;
    let admin = user(control_plane, User::Admin).await;
    let owner = client_of(control_plane, "owner").await;
    let ours = json!({"tenant": "acme", "encryptedqueue.dev/tenant": "acme", "team": "a"});
    create_namespace(&admin, "labelled", ours).await.unwrap();
    create_namespace(&owner, "plain", json!({"team": "a"})).await.unwrap();
    refused(create_namespace(&owner, "own", json!({"tenant": "acme"})).await, "changed only by those who may update Tenants: tenant; ask");
    for (namespace, labels, key) in [
        ("plain", json!({"tenant": "acme"}), "tenant"),
        ("plain", json!({"encryptedqueue.dev/tenant": "acme"}), "encryptedqueue.dev/tenant"),
        ("labelled", json!({"tenant": "globex"}), "tenant"),
        ("labelled", json!({"tenant": null}), "tenant"),
        ("labelled", json!({"encryptedqueue.dev/tenant": null, "team": "b"}), "encryptedqueue.dev/tenant"),
    ] {
        refused(label(&owner, namespace, labels, false).await, &format!("update Tenants: {key}; ask"));
    }
    let through_status = Patch::Merge(json!({"metadata": {"labels": {"tenant": "acme"}}}));
    let namespaces = Api::<Namespace>::all(owner.clone());
    refused(namespaces.patch_status("plain", &PatchParams::default(), &through_status).await.map_err(|e| e.to_string()), "update Tenants: tenant");
    for namespace in ["plain", "labelled"] {
        label(&owner, namespace, json!({"team": "c", "tenants": "all"}), false).await.unwrap();
    }
    label(&admin, "plain", json!({"tenant": "acme"}), false).await.unwrap();
    role(&admin, "platform", "encryptedqueue.dev", &["tenants"], &["update"]).await;
    bind(&admin, "platform-team", "platform", None).await;
    bind(&admin, "platform-team", "namespace-owner", None).await;
    label(&client_of(control_plane, "platform-team").await, "plain", json!({"tenant": null}), false).await.unwrap();
}
