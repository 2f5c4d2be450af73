//! `deploy/rbac`: what each role may do, as the API server's authorizer says.

use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use kube::Client;
use kube::api::{Api, PostParams};
use serde_json::json;
use test_support::User;

use crate::deployed::shared;

const GROUP: &str = "encryptedqueue.dev";
const KINDS: [&str; 5] = ["encryptedqueues", "queuekeys", "tenants", "sensitivitytiers", "accessapprovals"];
const READ: [&str; 3] = ["get", "list", "watch"];
const WRITE: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];

struct Asker(Client);

impl Asker {
    async fn new() -> Self {
        Self(shared().await.client(User::Admin).await.unwrap())
    }

    /// `resource` may name a subresource: `leases/status`. An empty namespace means all.
    async fn allowed(&self, user: User, verb: &str, group: &str, resource: &str, namespace: &str) -> bool {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let attributes = json!({
            "verb": verb, "group": group, "resource": resource, "subresource": subresource, "namespace": namespace,
            "name": if verb == "create" { "" } else { "encrypted-queue-operator" },
        });
        let review = serde_json::from_value(json!({"spec": {"user": user.name(), "resourceAttributes": attributes}})).unwrap();
        let answer: SubjectAccessReview = Api::all(self.0.clone()).create(&PostParams::default(), &review).await.unwrap();
        answer.status.unwrap().allowed
    }

    /// Exactly these verbs of all that there are.
    async fn exactly(&self, user: User, group: &str, resource: &str, namespace: &str, verbs: &[&str]) {
        for verb in READ.iter().chain(&WRITE) {
            let allowed = self.allowed(user, verb, group, resource, namespace).await;
            assert_eq!(allowed, verbs.contains(verb), "{user:?} {verb} {resource} in {namespace:?}");
        }
    }
}

#[tokio::test]
async fn a_viewer_reads_and_nothing_else() {
    let asker = Asker::new().await;
    for kind in KINDS {
        asker.exactly(User::Viewer, GROUP, kind, "", &READ).await;
        asker.exactly(User::Viewer, GROUP, &format!("{kind}/status"), "", &[]).await;
    }
    asker.exactly(User::Viewer, "", "namespaces", "", &[]).await;
}

#[tokio::test]
async fn an_author_writes_queues_of_his_namespace() {
    let asker = Asker::new().await;
    let all: Vec<&str> = READ.into_iter().chain(WRITE).collect();
    asker.exactly(User::Author, GROUP, "encryptedqueues", "team-a", &all).await;
    asker.exactly(User::Author, GROUP, "encryptedqueues/status", "team-a", &[]).await;
    asker.exactly(User::Author, GROUP, "encryptedqueues", "team-b", &[]).await;
    for kind in ["queuekeys", "tenants", "sensitivitytiers", "accessapprovals"] {
        // Bound in a namespace, a role gives nothing that is cluster-scoped.
        asker.exactly(User::Author, GROUP, kind, "", &[]).await;
    }
}

#[tokio::test]
async fn an_approver_makes_approvals_and_reads() {
    let asker = Asker::new().await;
    asker.exactly(User::Approver, GROUP, "accessapprovals", "", &["get", "list", "watch", "create"]).await;
    asker.exactly(User::Approver, GROUP, "accessapprovals/status", "", &[]).await;
    for kind in ["encryptedqueues", "queuekeys", "tenants", "sensitivitytiers"] {
        asker.exactly(User::Approver, GROUP, kind, "", &READ).await;
        asker.exactly(User::Approver, GROUP, &format!("{kind}/status"), "", &[]).await;
    }
}

#[tokio::test]
async fn the_operator_has_no_rights_beyond_its_work() {
    let asker = Asker::new().await;
    asker.exactly(User::Operator, GROUP, "encryptedqueues", "", &["get", "list", "watch", "patch"]).await;
    for kind in ["tenants", "sensitivitytiers"] {
        asker.exactly(User::Operator, GROUP, kind, "", &["list", "watch", "patch"]).await;
    }
    // It approves nothing itself.
    asker.exactly(User::Operator, GROUP, "accessapprovals", "", &READ).await;
    asker.exactly(User::Operator, GROUP, "queuekeys", "", &["get", "list", "watch", "create", "patch", "delete"]).await;
    for kind in KINDS {
        asker.exactly(User::Operator, GROUP, &format!("{kind}/status"), "", &["patch"]).await;
    }
    for resource in ["secrets", "pods", "serviceaccounts/token", "events"] {
        asker.exactly(User::Operator, "", resource, "team-a", &[]).await;
    }
    asker.exactly(User::Operator, "", "namespaces", "", &READ).await;
    asker.exactly(User::Operator, "", "serviceaccounts", "", &["list", "watch"]).await;
    asker.exactly(User::Operator, "", "configmaps", "", &["get", "list", "watch", "create", "patch"]).await;
    asker.exactly(User::Operator, "events.k8s.io", "events", "", &["create", "patch"]).await;
    // The lease's Role is not among what this user is bound to; other installs' leases are read.
    asker.exactly(User::Operator, "coordination.k8s.io", "leases", "team-a", &["get"]).await;
}
