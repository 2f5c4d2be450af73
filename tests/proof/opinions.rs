//! The second evaluator: crate iam-rs, wrapped for what it does not know, and the list of what it still judges otherwise than AWS.

use iam_rs::{Arn, Context, ContextValue, Decision, IAMPolicy, IAMRequest, PolicyEvaluator, Principal, PrincipalId};
use serde_json::{Value, json};
use test_support::judge::{Caller, Request, Service, Verdict};

/// A policy as iam-rs reads it.
pub struct Opinion {
    policy: PolicyEvaluator,
    /// What a caller's IAM policies are when they allow everything.
    everything: PolicyEvaluator,
}

fn evaluator(policy: &Value) -> PolicyEvaluator {
    PolicyEvaluator::with_policies(vec![serde_json::from_value::<IAMPolicy>(policy.clone()).unwrap()])
}

fn principal(name: &str) -> Principal {
    Principal::Aws(PrincipalId::String(name.to_owned()))
}

impl Opinion {
    pub fn of(policy: &Value) -> Self {
        let everything = json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}});
        Self { policy: evaluator(policy), everything: evaluator(&everything) }
    }

    /// What the policy says of this principal in the request's circumstances.
    fn decide(evaluator: &PolicyEvaluator, principal: Principal, request: &Request) -> Decision {
        let mut context = Context::new();
        for (key, values) in &request.context {
            let value = match (key.as_str(), values.as_slice()) {
                // Its type decides here which operators can match at all.
                ("aws:SecureTransport" | "aws:PrincipalIsAWSService" | "kms:BypassPolicyLockoutSafetyCheck", [flag]) => {
                    ContextValue::Boolean(flag == "true")
                }
                ("aws:PrincipalOrgPaths", several) => ContextValue::StringList(several.to_vec()),
                (_, [single]) => ContextValue::String(single.clone()),
                (_, several) => ContextValue::StringList(several.to_vec()),
            };
            context.insert(key.clone(), value);
        }
        let resource = Arn::parse(&request.resource).unwrap();
        let request = IAMRequest::new_with_context(principal, request.action.as_str(), resource, context);
        evaluator.evaluate(&request).unwrap().decision
    }

    /// What the policy says, told apart as the first evaluator does.
    pub fn verdict(&self, request: &Request) -> Verdict {
        let (own, account) = match &request.caller {
            // iam-rs takes a session for another principal than its role, and an account's root for that user alone.
            Caller::Session { role, .. } => {
                let mut parts = role.split(':');
                let (partition, account) = (parts.nth(1).unwrap(), parts.nth(2).unwrap());
                (principal(role), Some(principal(&format!("arn:{partition}:iam::{account}:root"))))
            }
            Caller::Root { partition, account } => (principal(&format!("arn:{partition}:iam::{account}:root")), None),
            Caller::Service(name) => (Principal::Service(PrincipalId::String(name.clone())), None),
            // A principal that no statement names, other than as `*`.
            Caller::Anonymous => (Principal::CanonicalUser(PrincipalId::String("0".repeat(64))), None),
        };
        let own = Self::decide(&self.policy, own, request);
        let account = account.map(|account| Self::decide(&self.policy, account, request));
        match (own, account) {
            (Decision::Deny, _) | (_, Some(Decision::Deny)) => Verdict::Denied,
            (Decision::Allow, _) => Verdict::Allowed,
            (_, Some(Decision::Allow)) => Verdict::Delegated,
            _ => Verdict::Silent,
        }
    }

    /// Whether a request with this verdict goes through, by the service's rules for callers at home and from elsewhere.
    pub fn follows(&self, verdict: Verdict, request: &Request, iam: bool) -> bool {
        let home = if request.action.starts_with("kms:") { Service::Kms } else { Service::Sqs };
        let owner = request.resource.split(':').nth(4).unwrap();
        let (caller, bound_by_iam) = match &request.caller {
            Caller::Session { role, .. } => (role.split(':').nth(4).unwrap(), true),
            Caller::Root { account, .. } => (account.as_str(), false),
            Caller::Service(_) | Caller::Anonymous => return verdict == Verdict::Allowed,
        };
        let by_iam = || !bound_by_iam || (iam && Self::decide(&self.everything, principal(caller), request) == Decision::Allow);
        match verdict {
            Verdict::Denied => false,
            Verdict::Allowed if caller == owner => true,
            Verdict::Silent if caller != owner || home == Service::Kms => false,
            Verdict::Allowed | Verdict::Delegated | Verdict::Silent => by_iam(),
        }
    }
}

/// Where iam-rs 0.8 is known to judge otherwise than AWS. A disagreement counts as one of these only if the policy has what the gap is about.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Gap {
    /// `ArnLike` matches the whole text, so that a `*` crosses colons; AWS matches each of the six parts by itself.
    WildcardCrossesColon,
    /// `ArnEquals` and `ArnNotEquals` take no wildcards; for AWS they are `ArnLike` and `ArnNotLike`.
    ArnEqualsWithoutWildcard,
    /// `{"AWS": "*"}` does not reach anonymous callers; for AWS it is `"*"`.
    AwsAnyoneIsNotAnonymous,
}

impl Gap {
    const ALL: [Self; 3] = [Self::WildcardCrossesColon, Self::ArnEqualsWithoutWildcard, Self::AwsAnyoneIsNotAnonymous];

    /// The gap that may explain a disagreement about this request.
    pub fn behind(policy: &Value, request: &Request) -> Option<Self> {
        Self::ALL.into_iter().find(|gap| gap.concerns(policy, request))
    }

    fn concerns(self, policy: &Value, request: &Request) -> bool {
        let statements = policy["Statement"].as_array().cloned().unwrap_or_else(|| vec![policy["Statement"].clone()]);
        let wildcard = |operators: &[&str], crosses: bool| {
            let patterns = statements.iter().flat_map(|statement| operators.iter().map(|operator| &statement["Condition"][*operator]));
            let values = patterns.filter_map(Value::as_object).flat_map(|keys| keys.values()).map(Value::to_string);
            values.into_iter().any(|values| values.contains(['*', '?']) && (!crosses || !values.contains(":iam::*:")))
        };
        match self {
            // Roles of any account are the one pattern with a wildcard before the last colon, and there no colon follows that could be crossed to.
            Self::WildcardCrossesColon => wildcard(&["ArnLike", "ArnNotLike"], true),
            Self::ArnEqualsWithoutWildcard => wildcard(&["ArnEquals", "ArnNotEquals"], false),
            Self::AwsAnyoneIsNotAnonymous => {
                request.caller == Caller::Anonymous && statements.iter().any(|statement| statement["Principal"] == json!({"AWS": "*"}))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use test_support::judge::evaluator::evaluate;

    use super::*;

    fn policy(principal: &Value, condition: &Value) -> Value {
        let statement = json!({"Effect": "Allow", "Principal": principal, "Action": "sqs:SendMessage", "Resource": "*", "Condition": condition});
        json!({"Version": "2012-10-17", "Statement": [statement]})
    }

    fn request(caller: Caller, key: &str, value: &str) -> Request {
        let context = BTreeMap::from([(key.to_owned(), vec![value.to_owned()])]);
        Request { caller, action: "sqs:SendMessage".to_owned(), resource: "arn:aws:sqs:eu-west-1:111122223333:orders".to_owned(), context }
    }

    /// Each gap is real: on this policy and request the two differ, and the first evaluator says what AWS documents.
    #[test]
    fn gaps_are_real() {
        let service = || Caller::Service("sns.amazonaws.com".to_owned());
        let topic = "arn:aws:sns:eu-west-1:111122223333:orders";
        let named = json!({"Service": "sns.amazonaws.com"});
        for (gap, policy, request, as_documented) in [
            (
                Gap::WildcardCrossesColon,
                policy(&named, &json!({"ArnLike": {"aws:SourceArn": "arn:aws:sns:*:orders"}})),
                request(service(), "aws:SourceArn", topic),
                Verdict::Silent,
            ),
            (
                Gap::ArnEqualsWithoutWildcard,
                policy(&named, &json!({"ArnEquals": {"aws:SourceArn": "arn:aws:sns:eu-west-1:111122223333:*"}})),
                request(service(), "aws:SourceArn", topic),
                Verdict::Allowed,
            ),
            (
                Gap::AwsAnyoneIsNotAnonymous,
                policy(&json!({"AWS": "*"}), &json!({})),
                request(Caller::Anonymous, "aws:SecureTransport", "true"),
                Verdict::Allowed,
            ),
        ] {
            assert_eq!(evaluate(&policy, &request), as_documented, "{gap:?}");
            assert_ne!(Opinion::of(&policy).verdict(&request), as_documented, "{gap:?} is none any more");
            assert_eq!(Gap::behind(&policy, &request), Some(gap));
        }
        assert_eq!(Gap::ALL.len(), 3, "each has its row above");
    }

    /// What the wrapper is for: without it, neither a session nor the account's delegation is seen.
    #[test]
    fn what_is_wrapped_is_unknown_to_it() {
        let role = "arn:aws:iam::111122223333:role/team/log";
        let caller = Caller::Session { role: role.to_owned(), name: "s".to_owned() };
        for (named, verdict) in
            [(role, Verdict::Allowed), ("arn:aws:iam::111122223333:root", Verdict::Delegated), ("111122223333", Verdict::Delegated)]
        {
            let policy = policy(&json!({"AWS": named}), &json!({}));
            let request = request(caller.clone(), "aws:PrincipalArn", role);
            let opinion = Opinion::of(&policy);
            let bare = Opinion::decide(&opinion.policy, principal("arn:aws:sts::111122223333:assumed-role/log/s"), &request);
            assert_eq!(bare, Decision::NotApplicable, "{named}");
            assert_eq!((opinion.verdict(&request), evaluate(&policy, &request)), (verdict, verdict), "{named}");
        }
    }
}
