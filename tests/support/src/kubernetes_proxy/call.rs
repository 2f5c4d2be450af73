//! What a request to the API server is: verb, resource, object.

use std::time::Duration;

use hyper::Method;
use serde::Serialize;
use serde_json::Value;

use crate::proxy::Matching;
use crate::proxy::inject::Predicate;

/// A request as it arrived.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Call {
    /// Number in order of arrival, from 1; reads count too.
    pub seq: u64,
    /// Arrival, since the proxy's start.
    pub started: Duration,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: &'static str,
    /// Path and query.
    pub path: String,
    /// API group, empty for the core group.
    pub group: String,
    /// Plural resource name.
    pub resource: String,
    /// `status` …, or empty.
    pub subresource: String,
    /// Empty for what has none, and for lists of all namespaces.
    pub namespace: String,
    /// Empty for lists and creations; a creation's is in the body.
    pub name: String,
    /// Body as sent; null where there is none, or none in JSON.
    pub body: Value,
    /// HTTP status sent back; 0 while there is none, or when nothing was.
    pub status: u16,
    /// Whether the API server carried it out, whatever the caller was told.
    pub took_effect: bool,
}

impl Call {
    pub(super) fn parse(method: &Method, path: &str, body: &[u8]) -> Self {
        let (bare, query) = path.split_once('?').unwrap_or((path, ""));
        let segments: Vec<&str> = bare.trim_matches('/').split('/').collect();
        let (group, rest) = match segments.as_slice() {
            ["api", _, rest @ ..] => ("", rest),
            ["apis", group, _, rest @ ..] => (*group, rest),
            _ => ("", [].as_slice()),
        };
        let (namespace, rest) = match rest {
            // `namespaces/NAME/status` and `…/finalize` are of the Namespace itself.
            ["namespaces", name, of, ..] if !["status", "finalize"].contains(of) => (*name, &rest[2..]),
            _ => ("", rest),
        };
        let part = |at: usize| rest.get(at).copied().unwrap_or_default().to_owned();
        let (resource, mut name, subresource) = (part(0), part(1), part(2));
        let is_watch = query.split('&').any(|pair| pair == "watch=true" || pair == "watch=1");
        let verb = match (method, name.is_empty()) {
            (&Method::GET, _) if is_watch => "watch",
            (&Method::GET, true) => "list",
            (&Method::POST, _) => "create",
            (&Method::PUT, _) => "update",
            (&Method::PATCH, _) => "patch",
            (&Method::DELETE, true) => "deletecollection",
            (&Method::DELETE, false) => "delete",
            _ => "get",
        };
        let body = serde_json::from_slice(body).unwrap_or(Value::Null);
        if verb == "create" && name.is_empty() {
            body.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().clone_into(&mut name);
        }
        Self {
            verb,
            path: path.to_owned(),
            group: group.to_owned(),
            resource,
            subresource,
            namespace: namespace.to_owned(),
            name,
            body,
            ..Self::default()
        }
    }

    /// Whether it would change something.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb, "get" | "list" | "watch")
    }

    /// The version it was based on, if it says.
    pub fn resource_version(&self) -> Option<&str> {
        self.body.pointer("/metadata/resourceVersion").and_then(Value::as_str)
    }

    /// `patch encryptedqueues/status acme-prod/orders`, for messages.
    pub fn title(&self) -> String {
        let of = if self.subresource.is_empty() { String::new() } else { format!("/{}", self.subresource) };
        let within = if self.namespace.is_empty() { String::new() } else { format!("{}/", self.namespace) };
        format!("{} {}{of} {within}{}", self.verb, self.resource, self.name)
    }
}

/// Which requests are meant; what is not said matches all.
#[derive(Clone, Debug, Default)]
pub struct KubernetesMatcher {
    resource: Option<String>,
    verb: Option<String>,
    name: Option<String>,
    subresource: Option<String>,
    writes: bool,
    nth: Option<u64>,
    such_that: Option<Predicate<Call>>,
}

impl KubernetesMatcher {
    /// Every request.
    pub fn any() -> Self {
        Self::default()
    }

    /// Requests that change something.
    pub fn writes() -> Self {
        Self { writes: true, ..Self::default() }
    }

    /// Only of this plural resource name.
    #[must_use]
    pub fn resource(mut self, plural: &str) -> Self {
        self.resource = Some(plural.to_owned());
        self
    }

    /// Only this verb.
    #[must_use]
    pub fn verb(mut self, verb: &str) -> Self {
        self.verb = Some(verb.to_owned());
        self
    }

    /// Only objects of this name.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Only this subresource; empty: the object itself.
    #[must_use]
    pub fn subresource(mut self, name: &str) -> Self {
        self.subresource = Some(name.to_owned());
        self
    }

    /// From the nth of them on, counted from 1 in order of arrival.
    #[must_use]
    pub fn nth(mut self, n: u64) -> Self {
        self.nth = Some(n);
        self
    }

    /// Only requests of which this is true. Asked of each request that fits otherwise, once, in order of arrival.
    #[must_use]
    pub fn such_that(mut self, question: impl Fn(&Call) -> bool + Send + Sync + 'static) -> Self {
        self.such_that = Some(Predicate::new(question));
        self
    }
}

impl Matching for KubernetesMatcher {
    type Call = Call;

    fn matches(&self, call: &Call) -> bool {
        let same = |wanted: &Option<String>, actual: &str| wanted.as_deref().is_none_or(|wanted| wanted == actual);
        same(&self.resource, &call.resource)
            && same(&self.verb, call.verb)
            && same(&self.name, &call.name)
            && same(&self.subresource, &call.subresource)
            && (!self.writes || call.is_write())
            && self.such_that.as_ref().is_none_or(|question| question.holds(call))
    }

    fn first(&self) -> u64 {
        self.nth.unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_understood() {
        let title = |method: Method, path: &str, body: &str| Call::parse(&method, path, body.as_bytes()).title();
        let group = "/apis/encryptedqueue.dev/v1alpha1";
        assert_eq!(title(Method::GET, &format!("{group}/encryptedqueues?watch=true&resourceVersion=7"), ""), "watch encryptedqueues ");
        assert_eq!(
            title(Method::PATCH, &format!("{group}/namespaces/a/encryptedqueues/b/status?force=true"), ""),
            "patch encryptedqueues/status a/b"
        );
        assert_eq!(title(Method::POST, &format!("{group}/queuekeys"), r#"{"metadata": {"name": "k"}}"#), "create queuekeys k");
        assert_eq!(title(Method::PUT, &format!("{group}/queuekeys/k/status"), ""), "update queuekeys/status k");
        assert_eq!(title(Method::GET, "/api/v1/namespaces/kube-system", ""), "get namespaces kube-system");
        assert_eq!(title(Method::DELETE, "/api/v1/namespaces/a/configmaps/c", ""), "delete configmaps a/c");
        assert_eq!(title(Method::GET, "/api/v1/namespaces/a/configmaps", ""), "list configmaps a/");
    }
}
