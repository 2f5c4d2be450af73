//! SensitivityTier.

use serde_json::json;

use super::{Case, Object, accepts, many, rejects};

pub fn tier() -> Object {
    Object::new("SensitivityTier", "restricted", &json!({}))
}

fn bounds(field: &str, minimum: i32, default: i32, maximum: i32) -> Object {
    tier().with(field, json!({ "minimum": minimum, "default": default, "maximum": maximum }))
}

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        accepts("a tier that says nothing", tier()),
        rejects("a name with a dot", tier().with("metadata.name", "restricted.eu"), "metadata.name must be a DNS label"),
        rejects("a name of 64 characters", tier().with("metadata.name", "a".repeat(64)), "metadata.name must be a DNS label"),
        rejects("a description of 1,025 characters", tier().with("spec.description", "d".repeat(1025)), "spec.description"),
        accepts("a shared key", tier().with("spec.key.scope", "Tenant")),
        rejects("a key for all", tier().with("spec.key.scope", "Cluster"), "spec.key.scope"),
        accepts("the shortest deletion window", tier().with("spec.key.deletionWindowDays", 7)),
        accepts("the longest deletion window", tier().with("spec.key.deletionWindowDays", 30)),
        rejects("a shorter deletion window", tier().with("spec.key.deletionWindowDays", 6), "spec.key.deletionWindowDays"),
        rejects("a longer deletion window", tier().with("spec.key.deletionWindowDays", 31), "spec.key.deletionWindowDays"),
        accepts("dead letters required", tier().with("spec.deadLetter", "Required")),
        accepts("approval", tier().with("spec.approval", "OnWidening")),
        rejects("an unknown approval", tier().with("spec.approval", "Always"), "spec.approval"),
        accepts("others unstated", tier().with("spec.access.others", "Unstated")),
        rejects("an unknown access", tier().with("spec.access.services", "Maybe"), "spec.access.services"),
        accepts("a forced deletion policy", tier().with("spec.deletionPolicy", "Retain")),
        accepts("required tags", tier().with("spec.requiredTags", json!(["owner", "workload"]))),
        rejects("a required tag twice", tier().with("spec.requiredTags", json!(["owner", "owner"])), "same entry twice"),
        rejects("a required tag without a name", tier().with("spec.requiredTags", json!([""])), "spec.requiredTags"),
        rejects("41 required tags", tier().with("spec.requiredTags", many(41, |i| json!(format!("t{i}")))), "spec.requiredTags"),
        accepts("a retention", tier().with("spec.messageRetentionSeconds", json!({ "minimum": 60, "maximum": 60 }))),
        rejects("a retention above its bound", tier().with("spec.messageRetentionSeconds.maximum", 1_209_601), "messageRetentionSeconds.maximum"),
        rejects("a retention below its bound", tier().with("spec.messageRetentionSeconds.minimum", 59), "messageRetentionSeconds.minimum"),
        rejects(
            "a retention upside down",
            tier().with("spec.messageRetentionSeconds", json!({ "minimum": 61, "maximum": 60 })),
            "must not exceed maximum",
        ),
    ];
    for (field, minimum, maximum) in [("spec.dataKeyReuseSeconds", 60, 86_400), ("spec.key.rotationPeriodDays", 90, 2560)] {
        cases.extend([
            accepts(field, bounds(field, minimum, minimum, maximum)),
            accepts(field, bounds(field, minimum, maximum, maximum)),
            rejects(field, bounds(field, minimum - 1, minimum, maximum), field),
            rejects(field, bounds(field, minimum, minimum, maximum + 1), field),
            rejects(field, bounds(field, minimum + 1, minimum, maximum), "default must lie between minimum and maximum"),
            rejects(field, bounds(field, minimum, maximum, maximum - 1), "default must lie between minimum and maximum"),
            rejects(field, tier().with(field, json!({ "minimum": minimum })), field),
        ]);
    }
    cases
}
