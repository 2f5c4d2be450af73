//! Whether two policies mean the same, however AWS has reordered or normalised them.
//!
//! Not compared: order and repetition of statements and values, scalar or array, an account's id or the ARN of its root, `"*"` or `{"AWS": "*"}`, the
//! case of action names, condition operators and condition keys (all three are case-insensitive in IAM), and the case of Boolean values.
//! Compared: all else. `Id` and `Sid` too: AWS keeps both as given, the operator recognises its statements by them, and a policy whose names someone
//! changed is repaired. Two statements that only together say what one does are another text; AWS never splits or joins statements by itself.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::document::{Document, Effect, Principals, Statement, Values};

/// Comparing each statement with each takes too long for more; SQS admits 20.
const MOST_COMPARED: usize = 128;

/// A document reduced to its meaning: equal normal forms, equal policies.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct NormalForm {
    version: String,
    id: Option<String>,
    statements: BTreeSet<NormalStatement>,
}

impl NormalForm {
    /// Whether the policy says what this statement says, under the same Sid.
    pub(super) fn contains(&self, statement: &Statement) -> bool {
        self.statements.contains(&NormalStatement::of(statement))
    }
}

#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct NormalStatement {
    pub(super) sid: Option<String>,
    pub(super) effect: Effect,
    pub(super) principals: Option<BTreeSet<(String, String)>>,
    pub(super) actions: Values,
    pub(super) resources: Values,
    /// Not a map: two spellings of one key are two conditions, and both must hold.
    pub(super) conditions: BTreeSet<(String, String, Values)>,
    pub(super) other: BTreeMap<String, String>,
}

impl NormalStatement {
    pub(super) fn of(statement: &Statement) -> Self {
        let Statement { sid, effect, principals, actions, resources, conditions, other } = statement;
        let conditions = conditions.iter().flat_map(|(operator, keys)| keys.iter().map(move |(key, values)| condition(operator, key, values)));
        Self {
            sid: sid.clone().filter(|sid| !sid.is_empty()),
            effect: *effect,
            principals: normal_principals(principals),
            actions: actions.iter().map(|action| action.to_ascii_lowercase()).collect(),
            resources: resources.clone(),
            conditions: conditions.collect(),
            other: other.iter().map(|(name, value)| (name.clone(), canonical(value))).collect(),
        }
    }
}

fn normal_principals(principals: &Principals) -> Option<BTreeSet<(String, String)>> {
    let anyone = || ("AWS".to_owned(), "*".to_owned());
    match principals {
        Principals::Absent => None,
        Principals::Anyone => Some(BTreeSet::from([anyone()])),
        Principals::Named(kinds) => {
            let pairs = kinds.iter().flat_map(|(kind, names)| names.iter().map(move |name| (kind.clone(), account_of_root(kind, name))));
            let pairs: BTreeSet<_> = pairs.collect();
            Some(if pairs.contains(&anyone()) { pairs.into_iter().filter(|(kind, name)| kind != "AWS" || name == "*").collect() } else { pairs })
        }
    }
}

/// `arn:aws:iam::111122223333:root` and `111122223333` name the same principal (IAM user guide, "AWS account principals").
fn account_of_root(kind: &str, name: &str) -> String {
    let account = || {
        let mut parts = name.strip_suffix(":root")?.split(':');
        let (arn, _partition, service, region, account) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_root = arn == "arn" && service == "iam" && region.is_empty() && parts.next().is_none();
        (is_root && account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit())).then(|| account.to_owned())
    };
    if kind == "AWS" { account().unwrap_or_else(|| name.to_owned()) } else { name.to_owned() }
}

fn condition(operator: &str, key: &str, values: &Values) -> (String, String, Values) {
    let operator = operator.to_ascii_lowercase();
    let is_boolean = matches!(operator.rsplit(':').next(), Some("bool" | "boolifexists" | "null"));
    let values = values.iter().map(|value| if is_boolean { value.to_ascii_lowercase() } else { value.clone() }).collect();
    (operator, key.to_ascii_lowercase(), values)
}

/// JSON text with sorted names, and arrays as sets; a scalar is an array of one.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<_, _> = map.iter().collect();
            let fields: Vec<_> = sorted.into_iter().map(|(name, value)| format!("{name:?}:{}", canonical(value))).collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => {
            let items: BTreeSet<_> = items.iter().map(canonical).collect();
            if items.len() == 1 { items.into_iter().collect() } else { format!("[{}]", items.into_iter().collect::<Vec<_>>().join(",")) }
        }
        scalar => scalar.to_string(),
    }
}

/// The document's meaning.
pub fn normal_form(document: &Document) -> NormalForm {
    NormalForm {
        version: document.version.clone(),
        id: document.id.clone().filter(|id| !id.is_empty()),
        statements: document.statements.iter().map(NormalStatement::of).collect(),
    }
}

/// Whether two documents mean the same.
pub fn equivalent(a: &Document, b: &Document) -> bool {
    same_statements(a, b) || normal_form(a) == normal_form(b)
}

/// Whether both say the same with the same words, in whatever order: quickly told, and true of nearly all policies that mean the same.
fn same_statements(a: &Document, b: &Document) -> bool {
    let stands_in = |statement: &Statement, other: &Document| other.statements.iter().any(|known| known.sid == statement.sid && known == statement);
    a.statements.len() <= MOST_COMPARED
        && a.version == b.version
        && a.id == b.id
        && a.statements.len() == b.statements.len()
        && a.statements.iter().all(|statement| stands_in(statement, b))
        && b.statements.iter().all(|statement| stands_in(statement, a))
}
