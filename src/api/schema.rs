//! Vocabulary of the schemas: what a DNS label, a role's ARN or a tag is, and how a CEL rule is attached.
//!
//! All are schemars transforms, named in `#[schemars(transform = …)]`; those for text apply to a string, or to each string of a list. Plain
//! `JsonSchema` with transforms is used in place of `KubeSchema`, which cannot take a container-level `#[serde(default)]`: so the `Default`
//! implementations stay the only source of the defaults in the schema.

use kube::core::Rule;
use schemars::transform::transform_subschemas;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

const DNS_LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
const DNS_SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
const REGION: &str = "^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$";
const ROLE_ARN: &str = "^arn:(aws|aws-cn|aws-us-gov):iam::[0-9]{12}:role/([0-9A-Za-z_+=,.@-]+/)*[0-9A-Za-z_+=,.@-]{1,64}$";
const ROLE_ARN_PATTERN: &str = "^arn:(aws|aws-cn|aws-us-gov):iam::[0-9]{12}:role/[0-9A-Za-z_+=,.@/*-]+$";
const ROLE_NAME: &str = "^([0-9A-Za-z_+=,.@-]+/)*[0-9A-Za-z_+=,.@-]{1,64}$";
const SOURCE_ARN: &str = r"^arn:(aws|aws-cn|aws-us-gov):(sns|s3|events):[a-z0-9-]*:([0-9]{12})?:[0-9A-Za-z_./-]+$";
const EXTERNAL_ID: &str = "^[0-9A-Za-z_+=,.@:/-]*$";
const ORGANIZATION_ID: &str = "^o-[a-z0-9]{10,32}$";
const ORGANIZATION_PATH: &str = "^o-[a-z0-9]{10,32}/r-[0-9a-z]{4,32}/(ou-[0-9a-z]{4,32}-[0-9a-z]{8,32}/)*[*]?$";
const QUEUE_NAME: &str = r"^[0-9A-Za-z_-]+(\.fifo)?$";
const QUEUE_NAME_PATTERN: &str = r"^[0-9A-Za-z_*-]+(\.fifo)?$";
/// Letters, digits, spaces and the signs that SQS and KMS take.
const TAG: &str = r"^[\p{L}\p{N} _.:/=+@-]*$";

/// Longest path (512 characters) and name (64) of a role.
const ROLE_NAME_LENGTH: u64 = 512 + 64;
/// The same behind the longest prefix, `arn:aws-us-gov:iam::111122223333:role`.
const ROLE_ARN_LENGTH: u64 = 37 + ROLE_NAME_LENGTH;

/// A DNS label, as names of tenants, tiers and namespaces are.
pub fn dns_label(schema: &mut Schema) {
    text(schema, DNS_LABEL, 1, 63);
}

/// A DNS subdomain, as most names of Kubernetes objects are.
pub fn dns_subdomain(schema: &mut Schema) {
    text(schema, DNS_SUBDOMAIN, 1, 253);
}

/// An AWS account id.
pub fn account_id(schema: &mut Schema) {
    text(schema, "^[0-9]{12}$", 12, 12);
}

/// An AWS Region.
pub fn region(schema: &mut Schema) {
    text(schema, REGION, 1, 32);
}

/// ARN of one IAM role, path included.
pub fn role_arn(schema: &mut Schema) {
    text(schema, ROLE_ARN, 1, ROLE_ARN_LENGTH);
}

/// ARN of IAM roles of one account, with `*` in path and name only.
pub fn role_arn_pattern(schema: &mut Schema) {
    text(schema, ROLE_ARN_PATTERN, 1, ROLE_ARN_LENGTH);
}

/// Path and name of a role.
pub fn role_name(schema: &mut Schema) {
    text(schema, ROLE_NAME, 1, ROLE_NAME_LENGTH);
}

/// ARN of a topic, bucket or rule.
pub fn source_arn(schema: &mut Schema) {
    text(schema, SOURCE_ARN, 1, 640);
}

/// External id of `sts:AssumeRole`.
pub fn external_id(schema: &mut Schema) {
    text(schema, EXTERNAL_ID, 2, 1224);
}

/// Id of an AWS organisation.
pub fn organization_id(schema: &mut Schema) {
    text(schema, ORGANIZATION_ID, 12, 34);
}

/// Path of a root or organisational unit, with its closing slash; `*` behind it takes what is below as well.
pub fn organization_path(schema: &mut Schema) {
    text(schema, ORGANIZATION_PATH, 1, 512);
}

/// Name of an SQS queue.
pub fn queue_name(schema: &mut Schema) {
    text(schema, QUEUE_NAME, 1, 80);
}

/// Names of SQS queues, `*` standing for any text.
pub fn queue_name_pattern(schema: &mut Schema) {
    text(schema, QUEUE_NAME_PATTERN, 1, 80);
}

/// A SHA-256 in hexadecimal digits.
pub fn sha256(schema: &mut Schema) {
    text(schema, "^[0-9a-f]{64}$", 64, 64);
}

/// US dollars and cents.
pub fn dollars(schema: &mut Schema) {
    text(schema, r"^[0-9]+\.[0-9]{2}$", 4, 16);
}

/// Key of an AWS tag.
pub fn tag_key(schema: &mut Schema) {
    text(schema, TAG, 1, 128);
}

/// How queues name a key: by ARN, id or alias.
pub fn key_name(schema: &mut Schema) {
    text(schema, "^[a-zA-Z0-9:/_-]+$", 1, 2048);
}

/// Settings of a queue by their names.
pub fn settings(schema: &mut Schema) {
    schema.insert("maxProperties".into(), json!(16));
    schema.insert("additionalProperties".into(), json!({ "type": "string", "maxLength": 256 }));
}

/// AWS tags that a person may set.
pub fn tags(schema: &mut Schema) {
    schema.insert("maxProperties".into(), json!(40));
    schema.insert("additionalProperties".into(), json!({ "type": "string", "maxLength": 256, "pattern": TAG }));
    rule("self.all(key, size(key) >= 1 && size(key) <= 128)", "a tag's key has 1 to 128 characters")(schema);
    rule(r"self.all(key, key.matches('^[\\p{L}\\p{N} _.:/=+@-]*$'))", "a tag's key holds letters, digits, spaces and _ . : / = + - @ only")(schema);
    rule("self.all(key, !key.startsWith('aws:'))", "tags that begin with aws: belong to AWS")(schema);
    rule("self.all(key, !key.startsWith('encryptedqueue.dev/'))", "tags that begin with encryptedqueue.dev/ belong to the operator")(schema);
}

/// Text of bounded length: the string itself, or the strings of the list.
fn text(schema: &mut Schema, pattern: &str, minimum: u64, maximum: u64) {
    let object = schema.ensure_object();
    let string = match object.get_mut("items") {
        Some(Value::Object(items)) => items,
        _ => object,
    };
    string.insert("pattern".into(), json!(pattern));
    string.insert("minLength".into(), json!(minimum));
    string.insert("maxLength".into(), json!(maximum));
}

/// Range of each field of `Bounds`.
pub fn bounds(minimum: i32, maximum: i32) -> impl FnMut(&mut Schema) {
    move |schema| {
        if let Some(Value::Object(properties)) = schema.ensure_object().get_mut("properties") {
            for property in properties.values_mut() {
                property["minimum"] = json!(minimum);
                property["maximum"] = json!(maximum);
            }
        }
    }
}

/// A rule whose failure is told of the value it stands on.
pub fn rule(expression: &'static str, message: &'static str) -> impl FnMut(&mut Schema) {
    move |schema| insert(schema, &Rule::new(expression).message(message))
}

/// A rule over several fields, whose failure is told of the one at `path` (relative, dot first).
pub fn rule_at(path: &'static str, expression: &'static str, message: &'static str) -> impl FnMut(&mut Schema) {
    move |schema| insert(schema, &Rule::new(expression).message(message).field_path(path))
}

/// The field never changes; for fields that are always there.
pub fn immutable(schema: &mut Schema) {
    insert(schema, &Rule::new("self == oldSelf").message("is immutable"));
}

/// The optional field is neither set, changed nor removed later; stands on the struct that holds it.
pub fn immutable_optional(field: &'static str) -> impl FnMut(&mut Schema) {
    move |schema| {
        let expression = format!("has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})");
        let message = format!("{field} is immutable: it cannot be set, changed or removed later");
        insert(schema, &Rule::new(expression).message(message.as_str()).field_path(format!(".{field}")));
    }
}

/// No entry of the list is there twice.
pub fn unique(schema: &mut Schema) {
    insert(schema, &Rule::new("self.all(a, self.exists_one(b, a == b))").message("must not hold the same entry twice"));
}

fn insert(schema: &mut Schema, rule: &Rule) {
    if let Value::Array(rules) = schema.ensure_object().entry("x-kubernetes-validations").or_insert_with(|| json!([])) {
        rules.push(json!(rule));
    }
}

/// An optional field is absent or has a value, never null: the API server refuses a null, or puts the default in its place,
/// and `has()` in a rule means a value.
pub fn absent_not_null(schema: &mut Schema) {
    transform_subschemas(&mut absent_not_null, schema);
    let object = schema.ensure_object();
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|t| t != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(values)) = object.get_mut("enum") {
        values.retain(|v| !v.is_null());
    }
    if let Some(Value::Array(alternatives)) = object.get("anyOf")
        && let [Value::Object(value), null] = alternatives.as_slice()
        && null["type"] == "null"
    {
        let value = value.clone();
        object.remove("anyOf");
        for (key, value) in value {
            object.entry(key).or_insert(value);
        }
    }
}

/// Conditions, bounded as Kubernetes bounds its own, and merged by type.
pub fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": { "type": "string", "maxLength": 316, "pattern": "^[A-Z][0-9A-Za-z]*$", "description": "What the condition is about." },
                "status": { "type": "string", "enum": ["True", "False", "Unknown"], "description": "Whether it is so." },
                "reason": { "type": "string", "minLength": 1, "maxLength": 1024, "pattern": "^[A-Z][0-9A-Za-z]*$", "description": "Why, in one word." },
                "message": { "type": "string", "maxLength": 32768, "description": "Why, for people: the field or the call, and the way out." },
                "observedGeneration":
                    { "type": "integer", "format": "int64", "minimum": 0, "description": "Generation of the spec that the condition speaks of." },
                "lastTransitionTime": { "type": "string", "format": "date-time", "description": "When status last changed." },
            },
        },
    })
}

/// A label selector of bounded size.
pub fn label_selector(_: &mut SchemaGenerator) -> Schema {
    let label = json!({ "type": "string", "maxLength": 63 });
    json_schema!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "properties": {
            "matchLabels": {
                "type": "object",
                "maxProperties": 16,
                "additionalProperties": label,
                "description": "Labels with exactly these values.",
            },
            "matchExpressions": {
                "type": "array",
                "maxItems": 16,
                "description": "Conditions on labels, all of which must hold.",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": { "type": "string", "minLength": 1, "maxLength": 317, "description": "Label key." },
                        "operator": {
                            "type": "string", "enum": ["In", "NotIn", "Exists", "DoesNotExist"], "description": "How key and values relate.",
                        },
                        "values": { "type": "array", "maxItems": 64, "items": label, "description": "For In and NotIn." },
                    },
                },
            },
        },
    })
}
