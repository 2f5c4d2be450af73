//! KMS, or SQS, refuses a policy for an invalid principal and names nobody: who it is, as far as IAM or the policy's history tells.

use std::collections::BTreeSet;

use super::context::Context;
use crate::api::Tenant;
use crate::names::RoleArn;
use crate::policy::document::{Document, Principals};

fn roles_of(policy: &str) -> BTreeSet<RoleArn> {
    let Ok(document) = Document::parse(policy) else { return BTreeSet::new() };
    let named = document.statements.iter().filter_map(|statement| match &statement.principals {
        Principals::Named(kinds) => kinds.get("AWS"),
        Principals::Absent | Principals::Anyone => None,
    });
    named.flatten().filter_map(|arn| RoleArn::parse(arn).ok()).collect()
}

/// The roles that AWS may have meant: of those that the policy newly names, the ones IAM does not know; where IAM may not be asked, every one it could not
/// vouch for; and if it knows all, all: KMS learns of a role later than IAM.
pub(super) async fn refused_principals(ctx: &Context, tenant: &Tenant, region: &str, policy: &str, before: Option<&str>) -> BTreeSet<RoleArn> {
    let known = before.map(roles_of).unwrap_or_default();
    let newcomers: BTreeSet<RoleArn> = roles_of(policy).difference(&known).cloned().collect();
    let (mut missing, mut unknown, mut known_to_iam) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let aws = ctx.clients(tenant, Some(region)).await.ok();
    for role in newcomers {
        let exists = match &aws {
            Some(aws) if role.account() == tenant.spec.aws.account_id => aws.role_exists(&role).await.ok().flatten(),
            _ => None,
        };
        match exists {
            Some(true) => {
                known_to_iam.insert(role);
            }
            Some(false) => {
                missing.insert(role);
            }
            None => {
                unknown.insert(role);
            }
        }
    }
    [missing, unknown, known_to_iam].into_iter().find(|roles| !roles.is_empty()).unwrap_or_default()
}
