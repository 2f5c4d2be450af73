//! A declaration as YAML, with its remarks as comments above the fields they belong to.

use std::fmt::Write as _;

use serde_json::Value;

use super::{Adopted, Remark};

/// Names in the order in which people write them; others follow by name.
const ORDER: [&str; 22] = [
    "apiVersion",
    "kind",
    "metadata",
    "spec",
    "name",
    "namespace",
    "tenant",
    "sensitivityTier",
    "region",
    "producers",
    "consumers",
    "observers",
    "queue",
    "deadLetter",
    "key",
    "fifo",
    "tags",
    "deletionPolicy",
    "adoption",
    "principal",
    "sourceArn",
    "sourceAccount",
];

/// A document, with its leading `---`.
pub fn to_yaml(adopted: &Adopted) -> String {
    let mut text = "---\n".to_owned();
    let value = serde_json::to_value(&adopted.object).unwrap_or_default();
    let mut writer = Writer { remarks: &adopted.remarks, text: &mut text };
    writer.remarks_of("", 0);
    writer.value(&value, "", 0);
    text
}

struct Writer<'a> {
    remarks: &'a [Remark],
    text: &'a mut String,
}

impl Writer<'_> {
    fn remarks_of(&mut self, path: &str, depth: usize) {
        for remark in self.remarks.iter().filter(|remark| remark.field == path) {
            let said = remark.text.replace(char::is_control, "\u{fffd}");
            writeln!(self.text, "{:indent$}# {}: {said}", "", remark.kind.label(), indent = depth * 2).ok();
        }
    }

    fn value(&mut self, value: &Value, path: &str, depth: usize) {
        match value {
            Value::Object(fields) => {
                let place = |name: &String| (ORDER.iter().position(|known| known == name).unwrap_or(ORDER.len()), name.clone());
                let mut names: Vec<&String> = fields.keys().filter(|name| !fields[*name].is_null()).collect();
                names.sort_by_key(|name| place(name));
                for name in names {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    self.remarks_of(&path, depth);
                    self.indent(depth);
                    self.text.push_str(&scalar(&Value::String(name.clone())));
                    self.text.push(':');
                    self.nested(&fields[name], &path, depth + 1);
                }
            }
            Value::Array(items) => {
                for item in items {
                    self.indent(depth);
                    self.text.push('-');
                    match item {
                        Value::Object(_) | Value::Array(_) => writeln!(self.text, " {}", flow(item)).ok(),
                        single => writeln!(self.text, " {}", scalar(single)).ok(),
                    };
                }
            }
            single => {
                writeln!(self.text, "{}", scalar(single)).ok();
            }
        }
    }

    fn nested(&mut self, value: &Value, path: &str, depth: usize) {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                self.text.push('\n');
                self.value(value, path, depth);
            }
            Value::Array(items) if !items.is_empty() => {
                self.text.push('\n');
                self.value(value, path, depth - 1);
            }
            single => {
                writeln!(self.text, " {}", flow(single)).ok();
            }
        }
    }

    fn indent(&mut self, depth: usize) {
        self.text.push_str(&"  ".repeat(depth));
    }
}

/// In one line, which is JSON, and thereby YAML.
fn flow(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let place = |name: &String| (ORDER.iter().position(|known| known == name).unwrap_or(ORDER.len()), name.clone());
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort_by_key(|name| place(name));
            let fields: Vec<String> =
                names.into_iter().map(|name| format!("{}: {}", scalar(&Value::String(name.clone())), flow(&fields[name]))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        single => scalar(single),
    }
}

/// A plain word where YAML reads it as that word, else quoted as JSON does.
fn scalar(value: &Value) -> String {
    let Value::String(text) = value else { return value.to_string() };
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte))
        && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && !["y", "n", "yes", "no", "on", "off", "true", "false", "null"].contains(&text.to_lowercase().as_str());
    if plain { text.clone() } else { value.to_string() }
}
