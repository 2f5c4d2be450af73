//! Names the operator derives: queues, QueueKeys, aliases. The same declaration always gives the same names, so that a crash finds what it made.

use crate::api::queue_key::{NamespacedName, QueueKeySpec};
use crate::api::sensitivity_tier::KeyScope;
use crate::names::sha256_hex;

/// Longest queue name SQS takes, `.fifo` included.
pub(super) const MAX_QUEUE_NAME: usize = 80;
/// Longest alias KMS takes.
const MAX_ALIAS: usize = 256;
const FIFO_SUFFIX: &str = ".fifo";
const DEAD_LETTER_SUFFIX: &str = "-dlq";

/// `<tenant>-<namespace>-<object>`, cut and hashed past what SQS takes; `.fifo` appended for a FIFO queue.
pub fn default_queue_name(tenant: &str, object: &NamespacedName, fifo: bool) -> String {
    let stem = format!("{tenant}-{}-{}", object.namespace, object.name);
    let suffix = if fifo { FIFO_SUFFIX } else { "" };
    format!("{}{suffix}", shorten(&stem, MAX_QUEUE_NAME - suffix.len()))
}

/// The dead-letter queue's name beside its queue's.
pub(crate) fn dead_letter_name(queue: &str) -> String {
    let (stem, suffix) = match queue.strip_suffix(FIFO_SUFFIX) {
        Some(stem) => (stem, FIFO_SUFFIX),
        None => (queue, ""),
    };
    format!("{}{DEAD_LETTER_SUFFIX}{suffix}", shorten(stem, MAX_QUEUE_NAME - DEAD_LETTER_SUFFIX.len() - suffix.len()))
}

/// Text as it is when it fits, else its beginning and ten hex digits of its hash.
fn shorten(text: &str, longest: usize) -> String {
    if text.len() <= longest {
        return text.to_owned();
    }
    let cut: String = text.chars().take(longest - 11).collect();
    format!("{}-{}", cut.trim_end_matches('-'), &sha256_hex(text)[..10])
}

/// What one key is for: two queues share a key exactly when their identities and generations are equal.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeyIdentity {
    /// The tenant.
    pub tenant: String,
    /// The tier.
    pub sensitivity_tier: String,
    /// The Region.
    pub region: String,
    /// The queue, for scope Queue; None for scope Tenant.
    pub queue: Option<NamespacedName>,
}

impl KeyIdentity {
    /// The identity a QueueKey was made for.
    pub fn of(spec: &QueueKeySpec) -> Self {
        Self {
            tenant: spec.tenant.clone(),
            sensitivity_tier: spec.sensitivity_tier.clone(),
            region: spec.region.clone(),
            queue: if spec.scope == KeyScope::Queue { spec.queue.clone() } else { None },
        }
    }

    /// The scope.
    pub fn scope(&self) -> KeyScope {
        if self.queue.is_some() { KeyScope::Queue } else { KeyScope::Tenant }
    }

    /// What all QueueKey names of this identity begin with; the generation follows.
    pub fn name_prefix(&self) -> String {
        let Self { tenant, sensitivity_tier, region, queue } = self;
        let readable = match queue {
            Some(queue) => format!("{tenant}-{sensitivity_tier}-{}-{}", queue.namespace, queue.name),
            None => format!("{tenant}-{sensitivity_tier}-{region}"),
        };
        let readable: String = readable.chars().take(48).collect();
        let canonical = serde_json::json!([tenant, sensitivity_tier, region, queue.as_ref().map(ToString::to_string)]).to_string();
        format!("{}-{}-", readable.trim_end_matches('-'), &sha256_hex(&canonical)[..10])
    }

    /// Name of the QueueKey of one generation; a replacement key is another object.
    pub fn object_name(&self, generation: u32) -> String {
        format!("{}{generation}", self.name_prefix())
    }

    /// Generation in a QueueKey's name, if it is one of this identity.
    pub fn generation_of(&self, name: &str) -> Option<u32> {
        name.strip_prefix(&self.name_prefix())?.parse().ok()
    }

    /// The key's alias in its account and Region.
    pub fn alias(&self, cluster_id: &str, generation: u32) -> String {
        let cluster = &sha256_hex(cluster_id)[..8];
        let stem = match &self.queue {
            Some(queue) => format!("{}/{}/{}/{}", self.tenant, self.sensitivity_tier, queue.namespace, queue.name),
            None => format!("{}/{}/shared", self.tenant, self.sensitivity_tier),
        };
        let (head, tail) = (format!("alias/encryptedqueue/{cluster}/"), format!("-{generation}"));
        format!("{head}{}{tail}", shorten(&stem, MAX_ALIAS - head.len() - tail.len()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn object(namespace: &str, name: &str) -> NamespacedName {
        NamespacedName { namespace: namespace.into(), name: name.into() }
    }

    #[test]
    fn queue_names_fit_and_stay_apart() {
        assert_eq!(default_queue_name("acme", &object("acme-prod", "orders"), false), "acme-acme-prod-orders");
        let long = "n".repeat(63);
        let (a, b) = (default_queue_name("t", &object(&long, &long), true), default_queue_name("t", &object(&long, &long[1..]), true));
        assert!(a.len() <= 80 && b.len() <= 80 && a.strip_suffix(".fifo").is_some() && a != b);
        assert_eq!(dead_letter_name("orders.fifo"), "orders-dlq.fifo");
        assert!(dead_letter_name(&a).len() <= 80);
    }

    #[test]
    fn key_names_carry_identity_and_generation() {
        let identity = KeyIdentity {
            tenant: "acme".into(),
            sensitivity_tier: "restricted".into(),
            region: "eu-west-1".into(),
            queue: Some(object("acme-prod", "orders")),
        };
        let name = identity.object_name(3);
        assert!(name.starts_with("acme-restricted-acme-prod-orders-") && name.len() <= 63, "{name}");
        assert_eq!(identity.generation_of(&name), Some(3));
        let other = KeyIdentity { queue: Some(object("acme", "prod-orders")), ..identity.clone() };
        assert_ne!(other.name_prefix(), identity.name_prefix());
        assert_eq!(other.generation_of(&name), None);
        let shared = KeyIdentity { queue: None, ..identity };
        assert!(shared.alias("cluster", 1).ends_with("/acme/restricted/shared-1"));
    }

    #[test]
    fn aliases_fit() {
        let long = "x".repeat(63);
        let identity =
            KeyIdentity { tenant: long.clone(), sensitivity_tier: long.clone(), region: "eu-west-1".into(), queue: Some(object(&long, &long)) };
        assert!(identity.alias("cluster", 12).len() <= 256);
    }
}
