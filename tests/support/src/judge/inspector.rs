//! The invariants, judged after every single write that the operator made in AWS.
//!
//! 1. Encrypted: no write makes a managed queue, or leaves one, without a key of its own tenant and tier.
//! 2. Least access: whoever can do more after a write than before is declared at that time, or had it after the operator's last write to the same
//!    queue or key (repair). By induction all access is declared, old or new, but for what others did beside the operator.
//! 3. No lock-out: every key policy keeps the operator, without conditions, the tenant's administrators that there are and the account's root
//!    administration.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::declared::{Declarations, Window};
use super::evaluator::{Caller, Request, Verdict, evaluate, items};
use super::probes::{Holders, key_holders, place_of, queue_holders};
use super::state::{Aws, Touched};
use crate::proxy::{Call, Kind, WITH_WEB_IDENTITY};

/// How late either side may hear of a change: the test's watch, or the operator with a call under way.
const LAG: Duration = Duration::from_secs(5);

const TAG_CLUSTER: &str = "encryptedqueue.dev/cluster";
const TAG_TENANT: &str = "encryptedqueue.dev/tenant";
const TAG_TIER: &str = "encryptedqueue.dev/sensitivity-tier";

/// Judges what was recorded.
pub struct Inspector<'a> {
    declarations: &'a Declarations,
    /// The operator's role where a tenant names none.
    operator: &'a str,
    /// Access keys of the operator, and of everyone else; who assumes a role takes his side along.
    own: BTreeSet<String>,
    others: BTreeSet<String>,
    aws: Aws,
    /// Account and name of roles that were deleted: no policy can name them, nor one made again before the operator finds that it is there.
    deleted_roles: BTreeSet<(String, String)>,
    /// Who could do what after the operator's last write.
    left: BTreeMap<Touched, Holders>,
    report: Report,
}

/// What was judged, and what was wrong.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Writes of the operator that were judged.
    pub writes: usize,
    /// A line for each violation.
    pub violations: Vec<String>,
}

/// Who calls.
#[derive(Clone, Copy, Debug)]
pub struct Parties<'a> {
    /// Access key of the operator.
    pub operator: &'a str,
    /// Access keys of all others.
    pub others: &'a [&'a str],
    /// The operator's role where a tenant names none.
    pub role: &'a str,
}

/// Judges all recorded calls.
pub fn inspect(calls: &[Call], declarations: &Declarations, parties: &Parties<'_>) -> Report {
    let (own, others) = (BTreeSet::from([parties.operator.to_owned()]), parties.others.iter().map(|&key| key.to_owned()).collect());
    let (aws, left, report) = (Aws::default(), BTreeMap::new(), Report::default());
    let mut declarations = declarations.clone();
    // EKS Pod Identity: what was associated with a ServiceAccount is known from the operator's own question.
    for association in calls.iter().filter_map(|call| call.response.get("association")) {
        let text = |name: &str| association[name].as_str().unwrap_or_default();
        declarations.associate(text("namespace"), text("serviceAccount"), text("roleArn"));
    }
    let declarations = &declarations;
    let mut inspector = Inspector { declarations, operator: parties.role, own, others, aws, deleted_roles: BTreeSet::new(), left, report };
    for call in calls {
        inspector.take(call);
    }
    inspector.report
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    text.split_once(start)?.1.split_once(end).map(|(between, _)| between)
}

/// The part of a policy that is without conditions; Denies stay.
fn unconditioned(policy: &Value) -> Value {
    let plain = |statement: &&Value| statement["Effect"] == "Deny" || statement.get("Condition").is_none();
    json!({"Statement": items(&policy["Statement"]).into_iter().filter(plain).cloned().collect::<Vec<_>>()})
}

fn denies_suspended(policy: &Value) -> bool {
    items(&policy["Statement"]).into_iter().any(|statement| statement["Sid"] == "DenySuspended" && statement["Effect"] == "Deny")
}

impl Inspector<'_> {
    fn take(&mut self, call: &Call) {
        let is_operator = call.is(WITH_WEB_IDENTITY) && call.request["RoleArn"] == self.operator;
        if (is_operator || call.is("AssumeRole"))
            && let Some(key) = call.response.as_str().and_then(|xml| between(xml, "<AccessKeyId>", "</AccessKeyId>"))
        {
            let side = if is_operator || self.own.contains(&call.access_key) { &mut self.own } else { &mut self.others };
            side.insert(key.to_owned());
        }
        if call.took_effect && call.is("DeleteRole") {
            let name = call.request["RoleName"].as_str().unwrap_or_default();
            self.deleted_roles.insert((call.account.clone(), name.to_owned()));
        }
        if call.took_effect && call.service == "kms" {
            self.aws.named_key(call);
        }
        // Messages and data keys are no access of anybody.
        if !call.took_effect || (call.kind != Kind::Write && !call.is("CreateGrant")) {
            return;
        }
        let before = self.aws.clone();
        let touched = self.aws.apply(call);
        if !self.own.contains(&call.access_key) {
            if !self.others.contains(&call.access_key) {
                self.violation(call, &format!("nobody knows who {} is", call.access_key));
            }
            return;
        }
        self.report.writes += 1;
        if ["CreateGrant", "AddPermission", "RemovePermission"].contains(&call.operation.as_str()) {
            self.violation(call, "Least access: the operator gives access by policies alone");
        }
        let window = Window { from: call.started.saturating_sub(LAG), until: call.started + call.duration + LAG };
        match touched {
            Some(Touched::Queue(arn)) => self.judge_queue(call, &before, &arn, window),
            Some(Touched::Key(arn)) => self.judge_key(call, &before, &arn, window),
            // Made, but nobody was told its name: the policy it was made with is judged all the same.
            None if call.is("CreateKey") => self.judge_administration(call, &policy_of(call), &tags_of(call), window),
            None => {}
        }
    }

    fn violation(&mut self, call: &Call, what: &str) {
        self.report.violations.push(format!("write {} {}: {what}\n  {}", call.seq, call.name(), call.request));
    }

    fn judge_queue(&mut self, call: &Call, before: &Aws, arn: &str, window: Window) {
        let (was, is) = (before.queues.get(arn).cloned(), self.aws.queues.get(arn).cloned());
        let Some(is) = is.filter(|queue| queue.tags.contains_key(TAG_CLUSTER)) else { return };
        let was_encrypted = was.as_ref().is_none_or(|queue| queue.key.is_some());
        match &is.key {
            None if was_encrypted || call.is("SetQueueAttributes") => self.violation(call, &format!("Encrypted: {arn} has no key")),
            None => {}
            Some(key) => {
                let tags = self.aws.keys.get(key).map(|key| &key.tags);
                let same = |tag: &str| tags.is_some_and(|tags| tags.get(tag) == is.tags.get(tag));
                let chosen = was.as_ref().is_none_or(|was| was.key != is.key);
                if chosen && !(same(TAG_TENANT) && same(TAG_TIER)) {
                    self.violation(call, &format!("Encrypted: {arn} is under {key}, which is not of its tenant and tier"));
                }
            }
        }
        let everyone = !self.declarations.leaves_others_to_iam(window, is.tags.get(TAG_TIER).map_or("", String::as_str));
        let nobody = Holders::new();
        let old = was.as_ref().map_or(nobody, |was| queue_holders(&was.policy, arn, everyone));
        let new = queue_holders(&is.policy, arn, everyone);
        self.judge_access(call, &Touched::Queue(arn.to_owned()), &old, new, window);
        self.judge_suspension(call, was.map(|was| was.policy), &is.policy, is.tags.get(TAG_TENANT), window);
    }

    fn judge_key(&mut self, call: &Call, before: &Aws, arn: &str, window: Window) {
        let (was, is) = (before.keys.get(arn).cloned(), self.aws.keys.get(arn).cloned());
        let Some(is) = is.filter(|key| key.tags.contains_key(TAG_CLUSTER)) else { return };
        let everyone = !self.declarations.leaves_others_to_iam(window, is.tags.get(TAG_TIER).map_or("", String::as_str));
        let old = was.as_ref().map_or(Holders::new(), |was| key_holders(&was.policy, arn, everyone));
        let new = key_holders(&is.policy, arn, everyone);
        self.judge_access(call, &Touched::Key(arn.to_owned()), &old, new, window);
        self.judge_suspension(call, was.map(|was| was.policy), &is.policy, is.tags.get(TAG_TENANT), window);
        if call.is("CreateKey") || call.is("PutKeyPolicy") {
            self.judge_administration(call, &is.policy, &is.tags, window);
        }
    }

    fn judge_access(&mut self, call: &Call, touched: &Touched, old: &Holders, new: Holders, window: Window) {
        let left = self.left.remove(touched).unwrap_or_default();
        let undeclared = new.iter().filter(|held| !old.contains(held) && !left.contains(held));
        let undeclared: Vec<_> = undeclared.filter(|(subject, what)| !self.declarations.allow(window, subject, what)).cloned().collect();
        for (subject, what) in undeclared.iter().take(5) {
            let through = if what.queue.is_empty() { "past SQS" } else { what.queue.as_str() };
            self.violation(call, &format!("Least access: {subject:?} can now {} {through}, which nothing declares", what.action));
        }
        self.left.insert(touched.clone(), new);
    }

    /// A tenant that stays suspended stays cut off.
    fn judge_suspension(&mut self, call: &Call, was: Option<Value>, is: &Value, tenant: Option<&String>, window: Window) {
        let tenants = self.declarations.tenants(window, tenant.map_or("", String::as_str));
        let stays = !tenants.is_empty() && tenants.iter().all(|tenant| tenant["spec"]["access"] == "Suspended");
        if stays && was.is_some_and(|was| denies_suspended(&was)) && !denies_suspended(is) {
            self.violation(call, "Least access: the tenant is suspended, and no longer denied");
        }
    }

    fn judge_administration(&mut self, call: &Call, policy: &Value, tags: &BTreeMap<String, String>, window: Window) {
        let tenants = self.declarations.tenants(window, tags.get(TAG_TENANT).map_or("", String::as_str));
        let in_each = |list: &str| {
            let named = |tenant: &&Value| items(&tenant["spec"][list]).into_iter().filter_map(Value::as_str).map(str::to_owned).collect();
            let mut lists = tenants.iter().map(|tenant| -> BTreeSet<String> { named(tenant) });
            let first = lists.next().unwrap_or_default();
            lists.fold(first, |common, list| common.intersection(&list).cloned().collect())
        };
        let operator = tenants.iter().find_map(|tenant| tenant.pointer("/spec/aws/roleArn")?.as_str()).unwrap_or(self.operator).to_owned();
        let root = Caller::Root { partition: place_of(&operator).0.to_owned(), account: call.account.clone() };
        let session = |role: &str| Caller::Session { role: role.to_owned(), name: "session".to_owned() };
        let recovery = ["kms:DescribeKey", "kms:GetKeyPolicy", "kms:EnableKey", "kms:CancelKeyDeletion"];
        let putting = [recovery.as_slice(), &["kms:PutKeyPolicy"]].concat();
        let mut kept =
            vec![("the operator".to_owned(), session(&operator), putting.clone()), ("root administration".to_owned(), root, putting.clone())];
        let is_there = |role: &&String| {
            let name = role.rsplit('/').next().unwrap_or_default();
            !self.deleted_roles.contains(&(role.split(':').nth(4).unwrap_or_default().to_owned(), name.to_owned()))
        };
        kept.extend(in_each("keyAdministrators").iter().filter(is_there).map(|role| (role.clone(), session(role), recovery.to_vec())));
        kept.extend(in_each("breakGlassAdministrators").iter().filter(is_there).map(|role| (role.clone(), session(role), putting.clone())));
        let plain = unconditioned(policy);
        for (who, caller, actions) in kept {
            let may = |action: &&&str| {
                let request = Request { caller: caller.clone(), action: (**action).to_owned(), resource: "key".to_owned(), context: BTreeMap::new() };
                evaluate(&plain, &request) == Verdict::Allowed
            };
            let lost: Vec<_> = actions.iter().filter(|action| !may(action)).collect();
            if !lost.is_empty() {
                self.violation(call, &format!("No lock-out: {who} may not {lost:?}"));
            }
        }
    }
}

fn policy_of(call: &Call) -> Value {
    call.request["Policy"].as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

fn tags_of(call: &Call) -> BTreeMap<String, String> {
    let pair = |tag: &Value| Some((tag["TagKey"].as_str()?.to_owned(), tag["TagValue"].as_str()?.to_owned()));
    items(&call.request["Tags"]).into_iter().filter_map(pair).collect()
}
