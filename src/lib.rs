//! The library behind `encrypted-queue`: from declarations in Kubernetes to SQS queues that are encrypted under the right KMS key and open to exactly
//! the declared principals.
//!
//! Everything flows one way, and the middle is pure:
//!
//! ```text
//! watch ─▶ resolve ─▶ desired ─▶ observe ─▶ plan ─▶ apply ─▶ outcome ─▶ status, Events, metrics
//!         (read k8s)  (pure)    (read AWS) (pure)  (write AWS)  (pure)    (write k8s)
//! ```
//!
//! - **watch** ([`controller`]): caches of the five kinds, and one place that says which change wakes which object.
//! - **resolve** ([`controller`]): gathers what bears upon a declaration: tenant, tier, namespace, ServiceAccounts, approvals.
//! - **desired** ([`desired`]): [`desired::desired_queue`] and [`desired::desired_key`] judge the declaration and say what AWS should be like, policies
//!   ([`policy`]) included, or which fields forbid it.
//! - **plan** ([`plan`]): [`plan::plan_queue`] and [`plan::plan_key`] take the desired and the observed state and the time, and answer with the next
//!   actions, as data. They alone decide. Reading AWS is an action like any other, so *observe* is a round of this loop, and so are the writes to
//!   Kubernetes whose order matters: the nonce before a key is made, the key's ARN after.
//! - **apply** ([`controller`], through [`aws`]): one arm of a `match` for each action, without a choice of its own. What it brings about is noted in the
//!   observed state ([`plan::effect`]), and plan runs again until nothing is left, nothing can be done now, or a call fails.
//! - **outcome** ([`outcome`]): says in conditions what the pass came to.
//!
//! What status records as applied is a hash of all that was written. While it equals the hash of what is desired, AWS is not read at all, except when
//! the slow check or a person asks for it.
//!
//! Two controllers work on AWS, one object each: an [`api::EncryptedQueue`] owns a queue and its dead-letter queue and asks for a key; an
//! [`api::QueueKey`] owns the key and collects every queue that uses it. They meet in status only: a queue opens once the key's status holds the hash of
//! its grants.
//!
//! `ARCHITECTURE.md` has the map, the invariants with their tests, and the life of a key and of a queue call by call.

pub mod adopt;
pub mod api;
pub mod audit;
pub mod aws;
pub mod clock;
pub mod commands;
pub mod controller;
pub mod cost;
pub mod desired;
pub mod drift;
pub mod explain;
pub mod names;
pub mod outcome;
pub mod plan;
pub mod policy;
pub mod preview;
pub mod telemetry;
pub mod who_decrypted;
