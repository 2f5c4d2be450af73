//! Pod Identity associations, which the emulator does not have: answered from a table that the test fills. Nothing is enforced but that the cluster exists.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hyper::StatusCode;
use serde_json::{Value, json};

use super::answer::Answer;
use super::classify::Request;

/// As few as to make a list of three take pages; EKS has up to a hundred on one.
const PAGE: usize = 2;

/// Role and target role of an association.
#[derive(Clone, Debug)]
struct Association {
    role: String,
    target: Option<String>,
}

/// Cluster, namespace, ServiceAccount.
type Name = (String, String, String);

#[derive(Default)]
struct Table {
    clusters: BTreeSet<String>,
    associations: BTreeMap<Name, (String, Association)>,
    made: u64,
}

/// The table.
#[derive(Default)]
pub(super) struct Eks(Mutex<Table>);

impl Eks {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn add_cluster(&self, cluster: &str) {
        self.table().clusters.insert(cluster.to_owned());
    }

    /// Makes an association, or gives the one that there is other roles: it keeps its id then.
    pub fn associate(&self, cluster: &str, namespace: &str, account: &str, role: &str, target: Option<&str>) {
        let mut table = self.table();
        table.made += 1;
        let (new_id, association) = (format!("a-{:017}", table.made), Association { role: role.to_owned(), target: target.map(str::to_owned) });
        let name = (cluster.to_owned(), namespace.to_owned(), account.to_owned());
        let known = table.associations.entry(name).or_insert_with(|| (new_id, association.clone()));
        known.1 = association;
    }

    pub fn dissociate(&self, cluster: &str, namespace: &str, account: &str) {
        self.table().associations.remove(&(cluster.to_owned(), namespace.to_owned(), account.to_owned()));
    }

    /// Answers the two calls about associations; none: it is another call.
    pub fn answer(&self, request: &Request) -> Option<Answer> {
        let lists = match (request.service.as_str(), request.operation.as_str()) {
            ("eks", "ListPodIdentityAssociations") => true,
            ("eks", "DescribePodIdentityAssociation") => false,
            _ => return None,
        };
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let mut segments = path.trim_start_matches('/').split('/').skip(1);
        let (cluster, id) = (segments.next().unwrap_or_default(), segments.nth(1).unwrap_or_default());
        let table = self.table();
        let missing = |what: String| Answer::error(request, 404, "ResourceNotFoundException", &what);
        if !table.clusters.contains(cluster) {
            return Some(missing(format!("No cluster found for name: {cluster}.")));
        }
        let mut of_cluster = table.associations.iter().filter(|((known, ..), _)| known == cluster);
        if lists {
            let start = query.split('&').find_map(|pair| pair.strip_prefix("nextToken=")?.parse().ok()).unwrap_or(0);
            return Some(Answer::json(StatusCode::OK, &page(&of_cluster.map(|(name, (id, _))| summary(name, id)).collect::<Vec<_>>(), start)));
        }
        Some(match of_cluster.find(|(_, (known, _))| known == id) {
            None => missing(format!("No pod identity association found for id: {id}.")),
            Some((name, (id, association))) => {
                let mut value = summary(name, id);
                value["roleArn"] = association.role.as_str().into();
                if let Some(target) = &association.target {
                    value["targetRoleArn"] = target.as_str().into();
                }
                Answer::json(StatusCode::OK, &json!({"association": value}))
            }
        })
    }
}

fn summary((cluster, namespace, account): &Name, id: &str) -> Value {
    json!({"clusterName": cluster, "namespace": namespace, "serviceAccount": account, "associationId": id})
}

fn page(all: &[Value], start: usize) -> Value {
    let end = (start + PAGE).min(all.len());
    let mut answer = json!({"associations": all.get(start..end).unwrap_or_default()});
    if end < all.len() {
        answer["nextToken"] = end.to_string().into();
    }
    answer
}
