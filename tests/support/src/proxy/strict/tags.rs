//! Tag rules, and tags that show up late.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::super::answer::Answer;
use super::super::classify::Request;

const MOST: usize = 50;

/// What is wrong with these tags beside those already there, if anything.
pub(super) fn fault(tags: &Map<String, Value>, existing: &HashSet<String>) -> Option<String> {
    let allowed = |text: &str| text.chars().all(|character| character.is_alphanumeric() || " _.:/=+-@".contains(character));
    for (key, value) in tags {
        let value = value.as_str().unwrap_or_default();
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Some("aws: prefixed tag key names are not allowed for external use.".to_owned());
        }
        if key.is_empty() || key.chars().count() > 128 || value.chars().count() > 256 || !allowed(key) || !allowed(value) {
            return Some(format!("Tag {key} is invalid."));
        }
    }
    let total = existing.len() + tags.keys().filter(|key| !existing.contains(*key)).count();
    (total > MOST).then(|| format!("Too many tags: {total}, maximum allowed is {MOST}."))
}

/// KMS's list of tags as a map; `None` when a key is repeated or missing.
pub(super) fn kms_tags(list: Option<&Value>) -> Option<Map<String, Value>> {
    let list = list.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut tags = Map::new();
    for tag in list {
        let key = tag.get("TagKey")?.as_str()?.to_owned();
        if tags.insert(key, tag.get("TagValue").cloned().unwrap_or_default()).is_some() {
            return None;
        }
    }
    Some(tags)
}

/// Tags that cannot be found yet.
#[derive(Default)]
pub(super) struct Late(HashMap<String, Vec<(Instant, HashSet<String>)>>);

impl Late {
    pub fn add<'a>(&mut self, arn: &str, keys: impl Iterator<Item = &'a String>, delay: Duration) {
        if !delay.is_zero() {
            self.0.entry(arn.to_owned()).or_default().push((Instant::now() + delay, keys.cloned().collect()));
        }
    }

    fn hidden(&mut self, arn: &str) -> HashSet<String> {
        let Some(late) = self.0.get_mut(arn) else { return HashSet::new() };
        late.retain(|(until, _)| *until > Instant::now());
        late.iter().flat_map(|(_, keys)| keys.iter().cloned()).collect()
    }

    /// Takes late tags, and resources no longer selected without them, out of a `GetResources` answer.
    pub fn hide(&mut self, request: &Request, answer: &mut Answer) {
        if request.operation != "GetResources" || self.0.is_empty() {
            return;
        }
        let filters = request.params.get("TagFilters").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut body = answer.value();
        let Some(resources) = body.get_mut("ResourceTagMappingList").and_then(Value::as_array_mut) else { return };
        resources.retain_mut(|resource| {
            let hidden = self.hidden(resource.get("ResourceARN").and_then(Value::as_str).unwrap_or_default());
            let Some(tags) = resource.get_mut("Tags").and_then(Value::as_array_mut) else { return true };
            let before = tags.len();
            retain_visible(tags, "Key", &hidden);
            let selected = |filter: &Value| tags.iter().any(|tag| tag.get("Key") == filter.get("Key"));
            tags.len() == before || (!tags.is_empty() && filters.iter().all(selected))
        });
        answer.set_value(&body);
    }

    /// Takes late tags out of a `ListResourceTags` answer.
    pub fn hide_listed(&mut self, arn: &str, answer: &mut Answer) {
        let hidden = self.hidden(arn);
        let mut body = answer.value();
        if let Some(tags) = body.get_mut("Tags").and_then(Value::as_array_mut) {
            retain_visible(tags, "TagKey", &hidden);
            answer.set_value(&body);
        }
    }
}

fn retain_visible(tags: &mut Vec<Value>, name: &str, hidden: &HashSet<String>) {
    tags.retain(|tag| tag.get(name).and_then(Value::as_str).is_none_or(|key| !hidden.contains(key)));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use serde_json::json;

    use super::*;

    fn fault_of(tags: &[(&str, &str)], existing: usize) -> Option<String> {
        let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        fault(&tags, &(0..existing).map(|i| format!("k{i}")).collect())
    }

    #[test]
    fn tags_within_the_rules() {
        assert_eq!(fault_of(&[("team", "a b_.:/=+-@ä"), ("empty", "")], 48), None);
        assert_eq!(fault_of(&[("k3", "again")], 50), None, "a tag that is there already does not count twice");
        for (name, tags, existing) in [
            ("reserved", ("aws:x", ""), 0),
            ("reserved in capitals", ("AWS:x", ""), 0),
            ("no key", ("", "v"), 0),
            ("long key", ("k".repeat(129).leak() as &str, ""), 0),
            ("long value", ("k", "v".repeat(257).leak() as &str), 0),
            ("character", ("k", "a,b"), 0),
            ("the 51st", ("k", "v"), 50),
        ] {
            assert!(fault_of(&[tags], existing).is_some(), "{name}");
        }
    }

    #[test]
    fn repeated_kms_tags_are_no_map() {
        assert!(kms_tags(Some(&json!([{"TagKey": "a", "TagValue": "1"}, {"TagKey": "a", "TagValue": "2"}]))).is_none());
        assert_eq!(kms_tags(Some(&json!([{"TagKey": "a", "TagValue": "1"}]))).unwrap().len(), 1);
        assert!(kms_tags(None).unwrap().is_empty());
    }
}
