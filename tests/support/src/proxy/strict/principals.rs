//! Which IAM principals exist, and what becomes of a policy when one is deleted.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::policy;

/// Unique ids a stored policy was bound to, by ARN.
pub(super) type Bound = HashMap<String, String>;

#[derive(Default)]
pub(super) struct Principals {
    /// Unique id by ARN.
    live: HashMap<String, String>,
    deleted: HashSet<String>,
    made: u64,
}

impl Principals {
    /// Makes a principal exist under an id of its own; one that exists stays.
    pub fn add(&mut self, arn: &str) {
        if self.live.contains_key(arn) || is_root(arn) {
            return;
        }
        self.made += 1;
        let prefix = if arn.contains(":user/") { "AIDA" } else { "AROA" };
        let id = format!("{prefix}PROXY{:012}", self.made);
        self.add_with_id(arn, &id);
    }

    pub fn add_with_id(&mut self, arn: &str, id: &str) {
        self.live.insert(arn.to_owned(), id.to_owned());
        self.deleted.remove(arn);
    }

    pub fn remove(&mut self, arn: &str) {
        if self.live.remove(arn).is_some() {
            self.deleted.insert(arn.to_owned());
        }
    }

    /// Removes a role or user by name, whatever its path.
    pub fn remove_named(&mut self, account: &str, kind: &str, name: &str) {
        if let Some(arn) = self.named(account, kind, name) {
            self.remove(&arn);
        }
    }

    pub fn was_deleted(&self, arn: &str) -> bool {
        self.deleted.contains(arn)
    }

    fn named(&self, account: &str, kind: &str, name: &str) -> Option<String> {
        let scope = format!(":iam::{account}:{kind}/");
        self.live.keys().find(|arn| arn.contains(&scope) && arn.rsplit('/').next() == Some(name)).cloned()
    }

    fn exists(&self, principal: &str) -> bool {
        if principal == "*" || is_account(principal) || is_root(principal) || self.live.contains_key(principal) {
            return true;
        }
        if principal.starts_with("AROA") || principal.starts_with("AIDA") {
            return self.live.values().any(|id| id == principal);
        }
        let mut parts = principal.splitn(6, ':');
        match (parts.nth(2), parts.nth(1), parts.next()) {
            (Some("sts"), Some(account), Some(session)) => {
                let role = session.strip_prefix("assumed-role/").and_then(|rest| rest.split_once('/'));
                role.is_some_and(|(role, _)| self.named(account, "role", role).is_some())
            }
            _ => false,
        }
    }

    /// Whether every principal of every statement exists.
    pub fn all_exist(&self, document: &Value) -> bool {
        policy::statements(document).iter().flat_map(|statement| policy::principals(statement)).all(|(kind, principal)| match kind {
            "AWS" => self.exists(principal),
            "Service" => principal.strip_suffix(".cn").unwrap_or(principal).ends_with(".amazonaws.com"),
            _ => true,
        })
    }

    /// The unique ids behind a policy now.
    pub fn bind(&self, document: &Value) -> Bound {
        let principals = policy::statements(document).into_iter().flat_map(policy::principals);
        principals.filter_map(|(_, arn)| self.live.get(arn).map(|id| (arn.to_owned(), id.clone()))).collect()
    }

    /// Shows the unique id in place of each ARN that no longer names the principal it was bound to.
    pub fn show(&self, document: &mut Value, bound: &Bound) -> bool {
        let mut changed = false;
        policy::each_aws_principal(document, &mut |principal| {
            if let Some(id) = bound.get(principal.as_str())
                && self.live.get(principal.as_str()) != Some(id)
            {
                principal.clone_from(id);
                changed = true;
            }
        });
        changed
    }
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_root(arn: &str) -> bool {
    let mut parts = arn.splitn(6, ':');
    matches!((parts.next(), parts.nth(1), parts.nth(1), parts.next()), (Some("arn"), Some("iam"), Some(account), Some("root")) if is_account(account))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use serde_json::json;

    use super::*;

    const ROLE: &str = "arn:aws:iam::111111111111:role/path/app";

    fn naming(principal: &str) -> Value {
        json!({"Statement": [{"Effect": "Allow", "Principal": {"AWS": [principal]}, "Action": "*", "Resource": "*"}]})
    }

    #[test]
    fn who_exists() {
        let mut principals = Principals::default();
        principals.add(ROLE);
        let id = principals.live[ROLE].clone();
        for (principal, exists) in [
            (ROLE, true),
            (id.as_str(), true),
            ("*", true),
            ("111111111111", true),
            ("arn:aws:iam::999999999999:root", true),
            ("arn:aws-cn:iam::999999999999:root", true),
            ("arn:aws:sts::111111111111:assumed-role/app/session", true),
            ("arn:aws:sts::111111111111:assumed-role/other/session", false),
            ("arn:aws:iam::111111111111:role/app", false),
            ("arn:aws:iam::111111111111:role/*", false),
            ("AROAGONE", false),
            ("arn:aws:iam::1:root", false),
        ] {
            assert_eq!(principals.all_exist(&naming(principal)), exists, "{principal}");
        }
        assert!(!principals.all_exist(&json!({"Statement": {"Principal": {"Service": "sns.example.com"}}})));
        assert!(principals.all_exist(&json!({"Statement": {"Principal": {"Service": "sns.amazonaws.com"}}})));
    }

    #[test]
    fn a_role_made_again_is_another() {
        let mut principals = Principals::default();
        principals.add(ROLE);
        let id = principals.live[ROLE].clone();
        let bound = principals.bind(&naming(ROLE));
        let shown = |principals: &Principals| {
            let mut policy = naming(ROLE);
            principals.show(&mut policy, &bound);
            policy["Statement"][0]["Principal"]["AWS"][0].as_str().unwrap().to_owned()
        };
        assert_eq!(shown(&principals), ROLE);
        principals.remove_named("111111111111", "role", "app");
        assert!(principals.was_deleted(ROLE) && !principals.all_exist(&naming(ROLE)));
        assert_eq!(shown(&principals), id);
        principals.add(ROLE);
        assert!(principals.all_exist(&naming(ROLE)));
        assert_eq!(shown(&principals), id);
    }
}
