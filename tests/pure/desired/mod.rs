//! Declarations judged: what is refused, and what is made of the rest.

mod accepted;
mod kept;
mod keys;
mod partitions;
mod principals;
mod refused;
mod taken;

use encrypted_queue::api::Reason;
use encrypted_queue::desired::Violation;

use crate::declare::Declared;

/// A rule, a declaration that breaks it, and one that only nearly does.
struct Rule {
    reason: Reason,
    /// What is wrong, in words.
    broken: &'static str,
    by: Declared,
    /// The field that the refusal names.
    field: &'static str,
    /// Words of the way out.
    way_out: &'static str,
    /// What is only nearly wrong.
    near: &'static str,
    kept_by: Declared,
}

fn violations(declared: &Declared) -> Vec<Violation> {
    declared.judged().err().map(|refusal| refusal.violations).unwrap_or_default()
}

/// Each rule refuses what breaks it, for that reason alone and naming field and way out, and nothing that only nearly does.
fn hold(rules: &[Rule]) {
    for Rule { reason, broken, by, field, way_out, near, kept_by } in rules {
        let found = violations(by);
        let said: Vec<_> = found.iter().map(|violation| (violation.reason, violation.field.as_str())).collect();
        assert_eq!(said, [(*reason, *field)], "{broken}: {found:?}");
        assert!(found[0].message.contains(way_out), "{broken}: {}", found[0].message);
        assert_eq!(violations(kept_by), [], "{near}");
    }
}
