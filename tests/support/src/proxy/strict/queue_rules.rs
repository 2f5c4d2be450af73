//! Names and attributes of queues.

use serde_json::{Map, Value};

use super::{Refusal, Verdict};

/// Number attributes and their ranges.
const RANGES: [(&str, u64, u64); 6] = [
    ("DelaySeconds", 0, 900),
    ("MaximumMessageSize", 1_024, 1_048_576),
    ("MessageRetentionPeriod", 60, 1_209_600),
    ("ReceiveMessageWaitTimeSeconds", 0, 20),
    ("VisibilityTimeout", 0, 43_200),
    ("KmsDataKeyReusePeriodSeconds", 60, 86_400),
];

/// Attributes that have no range of numbers.
const OTHERS: [&str; 5] = ["Policy", "RedrivePolicy", "RedriveAllowPolicy", "KmsMasterKeyId", "SqsManagedSseEnabled"];

const FIFO: [&str; 4] = ["FifoQueue", "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit"];

const READ_ONLY: [&str; 6] = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "QueueArn",
];

fn unknown(name: &str) -> Refusal {
    Refusal::new("InvalidAttributeName", format!("Unknown Attribute {name}."))
}

fn invalid(name: &str) -> Refusal {
    Refusal::new("InvalidAttributeValue", format!("Invalid value for the parameter {name}."))
}

/// A name SQS accepts for this kind of queue.
pub(super) fn name(name: &str, fifo: bool) -> Verdict {
    let stem = if fifo { name.strip_suffix(".fifo") } else { Some(name) };
    let fits = |stem: &str| !stem.is_empty() && name.len() <= 80 && stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if stem.is_some_and(fits) {
        return Ok(());
    }
    Err(Refusal::new(
        "InvalidParameterValue",
        if fifo {
            "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo suffix and be 1 to 80 in length."
        } else {
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
        },
    ))
}

/// Attributes that can be asked for.
pub(super) fn readable(names: &[String]) -> Verdict {
    let known = |name: &str| {
        name == "All"
            || RANGES.iter().any(|(known, ..)| *known == name)
            || OTHERS.contains(&name)
            || FIFO.contains(&name)
            || READ_ONLY.contains(&name)
    };
    names.iter().find(|name| !known(name)).map_or(Ok(()), |name| Err(unknown(name)))
}

/// Attributes that can be set so on a queue of this kind.
pub(super) fn attributes(attributes: &Map<String, Value>, fifo: bool, creating: bool) -> Verdict {
    for (name, value) in attributes {
        let value = value.as_str().ok_or_else(|| invalid(name))?;
        if let Some((_, least, most)) = RANGES.iter().find(|(known, ..)| known == name) {
            if !value.parse::<u64>().is_ok_and(|number| (*least..=*most).contains(&number)) {
                return Err(invalid(name));
            }
        } else if FIFO.contains(&name.as_str()) {
            fifo_attribute(name, value, fifo, creating)?;
        } else if OTHERS.contains(&name.as_str()) {
            other_attribute(name, value)?;
        } else {
            return Err(unknown(name));
        }
    }
    let text = |name: &str| attributes.get(name).and_then(Value::as_str);
    if text("FifoThroughputLimit") == Some("perMessageGroupId") && creating && text("DeduplicationScope") != Some("messageGroup") {
        return Err(invalid("DeduplicationScope"));
    }
    Ok(())
}

fn fifo_attribute(name: &str, value: &str, fifo: bool, creating: bool) -> Verdict {
    if !fifo {
        return Err(unknown(name));
    }
    let fits = match name {
        "FifoQueue" if !creating => {
            return Err(Refusal::new(
                "InvalidAttributeValue",
                "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported.",
            ));
        }
        "FifoQueue" => value == "true",
        "ContentBasedDeduplication" => matches!(value, "true" | "false"),
        "DeduplicationScope" => matches!(value, "queue" | "messageGroup"),
        _ => matches!(value, "perQueue" | "perMessageGroupId"),
    };
    if fits { Ok(()) } else { Err(invalid(name)) }
}

fn other_attribute(name: &str, value: &str) -> Verdict {
    let fits = match name {
        "SqsManagedSseEnabled" => matches!(value, "true" | "false"),
        "RedrivePolicy" => value.is_empty() || redrive_policy(value),
        "RedriveAllowPolicy" => value.is_empty() || redrive_allow_policy(value),
        _ => true,
    };
    if fits { Ok(()) } else { Err(invalid(name)) }
}

fn redrive_policy(text: &str) -> bool {
    let Ok(Value::Object(policy)) = serde_json::from_str(text) else { return false };
    let receives = policy.get("maxReceiveCount").and_then(|count| count.as_u64().or_else(|| count.as_str()?.parse().ok()));
    policy.is_empty() || (policy.contains_key("deadLetterTargetArn") && receives.is_some_and(|receives| (1..=1_000).contains(&receives)))
}

fn redrive_allow_policy(text: &str) -> bool {
    let Ok(Value::Object(policy)) = serde_json::from_str(text) else { return false };
    let sources = policy.get("sourceQueueArns").and_then(Value::as_array).map(Vec::len);
    match policy.get("redrivePermission").and_then(Value::as_str) {
        Some("allowAll" | "denyAll") => sources.is_none(),
        Some("byQueue") => sources.is_some_and(|sources| (1..=10).contains(&sources)),
        _ => policy.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn code(verdict: Verdict) -> Option<&'static str> {
        verdict.err().map(|refusal| refusal.code())
    }

    fn set(name: &str, value: &str, fifo: bool, creating: bool) -> Option<&'static str> {
        code(attributes(&Map::from_iter([(name.to_owned(), Value::from(value))]), fifo, creating))
    }

    #[test]
    fn numbers_meet_their_bounds() {
        for (name, least, most) in RANGES {
            assert_eq!((set(name, &least.to_string(), false, true), set(name, &most.to_string(), false, true)), (None, None), "{name}");
            assert_eq!(set(name, &(most + 1).to_string(), false, true), Some("InvalidAttributeValue"), "{name}");
            assert_eq!(set(name, &(i128::from(least) - 1).to_string(), false, true), Some("InvalidAttributeValue"), "{name}");
            assert_eq!(set(name, "many", false, true), Some("InvalidAttributeValue"), "{name}");
        }
    }

    #[test]
    fn attributes_by_kind_of_queue() {
        const VALUE: Option<&str> = Some("InvalidAttributeValue");
        const NAME: Option<&str> = Some("InvalidAttributeName");
        for (name, value, fifo, creating, refused) in [
            ("Colour", "red", false, true, NAME),
            ("QueueArn", "arn", false, true, NAME),
            ("FifoQueue", "true", true, true, None),
            ("FifoQueue", "true", true, false, VALUE),
            ("FifoQueue", "false", false, true, NAME),
            ("ContentBasedDeduplication", "true", false, true, NAME),
            ("ContentBasedDeduplication", "yes", true, true, VALUE),
            ("FifoThroughputLimit", "perMessageGroupId", true, true, VALUE),
            ("SqsManagedSseEnabled", "yes", false, false, VALUE),
            ("RedrivePolicy", r#"{"deadLetterTargetArn":"a","maxReceiveCount":"1000"}"#, false, true, None),
            ("RedrivePolicy", r#"{"deadLetterTargetArn":"a","maxReceiveCount":1001}"#, false, true, VALUE),
            ("RedriveAllowPolicy", r#"{"redrivePermission":"byQueue","sourceQueueArns":["a"]}"#, false, true, None),
            ("RedriveAllowPolicy", r#"{"redrivePermission":"byQueue"}"#, false, true, VALUE),
            ("RedriveAllowPolicy", r#"{"redrivePermission":"byqueue","sourceQueueArns":["a"]}"#, false, true, VALUE),
        ] {
            assert_eq!(set(name, value, fifo, creating), refused, "{name}={value}");
        }
    }

    #[test]
    fn names_by_kind_of_queue() {
        let long = |n: usize| "x".repeat(n);
        for (text, fifo, fits) in [
            ("orders_1-a", false, true),
            (&*long(80), false, true),
            (&*long(81), false, false),
            ("", false, false),
            ("a.b", false, false),
            ("a.fifo", false, false),
            ("a.fifo", true, true),
            ("a", true, false),
            (".fifo", true, false),
            (&*format!("{}.fifo", long(75)), true, true),
            (&*format!("{}.fifo", long(76)), true, false),
        ] {
            assert_eq!(code(name(text, fifo)).is_none(), fits, "{text} {fifo}");
        }
    }
}
