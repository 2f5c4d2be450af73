//! Names of annotations, labels, finalizers and AWS tags that this operator reads and writes.

/// Annotation: `"true"` stops every change in AWS but the removal of what is no longer allowed; drift is still shown.
pub const PAUSED: &str = "encryptedqueue.dev/paused";
/// Annotation: any new value makes the operator compare the object with AWS now.
pub const CHECK_NOW: &str = "encryptedqueue.dev/check-now";
/// Annotation: `"true"` allows the deletion of a queue that still holds messages.
pub const DELETE_NON_EMPTY: &str = "encryptedqueue.dev/delete-non-empty";

/// Finalizer on every object whose end needs work in AWS or an order in Kubernetes.
pub const FINALIZER: &str = "encryptedqueue.dev/finalizer";
/// Label on every ConfigMap that this operator writes; the value is the UID of its queue.
pub const OWNED_BY: &str = "encryptedqueue.dev/owned-by";

/// AWS tag: the cluster's id (the UID of `kube-system` unless set).
pub const TAG_CLUSTER: &str = "encryptedqueue.dev/cluster";
/// AWS tag: the UID of the owning Kubernetes object.
pub const TAG_UID: &str = "encryptedqueue.dev/uid";
/// AWS tag: `namespace/name` of the owning EncryptedQueue; for a key, the name of its QueueKey.
pub const TAG_OBJECT: &str = "encryptedqueue.dev/object";
/// AWS tag: the tenant's name.
pub const TAG_TENANT: &str = "encryptedqueue.dev/tenant";
/// AWS tag: the sensitivity tier's name.
pub const TAG_SENSITIVITY_TIER: &str = "encryptedqueue.dev/sensitivity-tier";
/// AWS tag, keys only: the nonce recorded before the key was made.
pub const TAG_NONCE: &str = "encryptedqueue.dev/nonce";
/// AWS tag: when the queue or key was let go (RFC 3339).
pub const TAG_RELEASED: &str = "encryptedqueue.dev/released";
/// AWS tag, keys only: the id of the key that stands for this one, whose deletion is scheduled: it was made twice.
pub const TAG_SUPERSEDED_BY: &str = "encryptedqueue.dev/superseded-by";
/// Prefix of all ownership tags; tags with it that a user declares are refused.
pub const TAG_PREFIX: &str = "encryptedqueue.dev/";
