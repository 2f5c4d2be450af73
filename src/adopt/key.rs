//! What a key policy tells of who uses a queue by IAM policies, which the queue policy does not show.

use std::collections::BTreeSet;

use super::conditions::like;
use crate::names::{Place, QueueArn, RoleArn};
use crate::policy::access::{Capability, Grant, Principal};
use crate::policy::document::{Document, Effect, Principals, Statement};

/// Roles of the account whom a key policy lets in through this queue, or through SQS: they may use the queue by IAM policies. The second are those that
/// may use the key for anything.
pub(super) fn users(document: &Document, queue: &QueueArn, place: &Place) -> (BTreeSet<Grant>, BTreeSet<RoleArn>) {
    let (mut through_queue, mut any) = (BTreeSet::new(), BTreeSet::new());
    for statement in document.statements.iter().filter(|statement| statement.effect == Effect::Allow && statement.other.is_empty()) {
        let allows = |action: &str| statement.actions.iter().any(|pattern| like(&pattern.to_ascii_lowercase(), action));
        let (decrypts, encrypts) = (allows("kms:decrypt"), allows("kms:generatedatakey"));
        let Principals::Named(kinds) = &statement.principals else { continue };
        let roles = kinds.get("AWS").into_iter().flatten().filter_map(|arn| RoleArn::parse(arn).ok());
        let at_home = roles.filter(|role| role.account() == place.account && decrypts);
        match use_of(statement, queue, place) {
            Some(true) => {
                let capability = if encrypts { Capability::Send } else { Capability::Receive };
                through_queue.extend(at_home.map(|role| Grant { principal: Principal::Role(role), capability }));
            }
            Some(false) => any.extend(at_home),
            None => {}
        }
    }
    (through_queue, any)
}

/// Whether a statement is about this queue, or SQS alone; none: about others.
fn use_of(statement: &Statement, queue: &QueueArn, place: &Place) -> Option<bool> {
    let (services, queues) = (statement.condition_values("kms:ViaService"), statement.condition_values("kms:EncryptionContext:aws:sqs:arn"));
    let sqs = format!("sqs.{}.amazonaws.com", place.region);
    let (via_sqs, via_queue) = (services.iter().any(|service| like(service, &sqs)), queues.iter().any(|arn| like(arn, queue.as_str())));
    match (services.is_empty(), queues.is_empty()) {
        (true, true) => Some(false),
        _ => ((services.is_empty() || via_sqs) && (queues.is_empty() || via_queue)).then_some(true),
    }
}
