//! What the operator does in a test is allowed by the chart's roles and the policies of `deploy/aws`; what of these it takes is noted, so that what no test
//! takes can be found at the end (`tests/proof/least_privilege.rs`).

use std::collections::BTreeSet;
use std::io::Write as _;

use test_support::Audited;
use test_support::judge::rights::rights_taken;
use test_support::proxy::Call;

use super::OPERATOR;

/// A line for each right: `aws policy action needed|allowed` or `kubernetes group resource any|own verb`.
pub(crate) const TAKEN: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/rights-taken");

pub(super) fn judge(calls: &[Call], audited: &[Audited]) {
    let taken = rights_taken(calls, "operator", OPERATOR);
    assert!(taken.refused.is_empty(), "{} of {} calls:\n{}", taken.refused.len(), taken.calls, taken.refused.join("\n"));
    let own: Vec<_> = audited.iter().filter(|request| request.user.starts_with("system:serviceaccount:encrypted-queue-operator:")).collect();
    let refused: Vec<_> = own.iter().filter(|request| request.forbidden).collect();
    assert!(refused.is_empty(), "not among the chart's rights: {refused:?}");
    let needed = taken.needed.iter().map(|right| format!("aws {right} needed\n"));
    let allowed = taken.allowed.iter().map(|right| format!("aws {right} allowed\n"));
    note(&needed.chain(allowed).chain(own.into_iter().filter(|request| !request.resource.is_empty()).map(right)).collect());
}

/// Rights to the own lease are apart from those to all of a kind. An install's lease has the name of its ServiceAccount.
fn right(request: &Audited) -> String {
    let Audited { user, verb, group, resource, subresource, name, .. } = request;
    let of = if subresource.is_empty() { resource.clone() } else { format!("{resource}/{subresource}") };
    let is_own = resource == "leases" && (verb == "create" || user.rsplit(':').next() == Some(name));
    format!("kubernetes {group:?} {of} {} {verb}\n", if is_own { "own" } else { "any" })
}

/// Tests run side by side: lines are written whole.
fn note(lines: &BTreeSet<String>) {
    let file = std::fs::File::options().create(true).append(true).open(TAKEN);
    let text: String = lines.iter().map(String::as_str).collect();
    file.and_then(|mut file| file.write_all(text.as_bytes())).expect("the rights taken are noted");
}
