//! Conditions of a statement, as far as they say who is meant.

use crate::policy::document::{Statement, Values};

/// What a statement's conditions say of the caller.
#[derive(Clone, Debug, Default)]
pub(super) struct Conditions {
    /// `aws:SourceArn`.
    pub(super) sources: Values,
    /// `aws:SourceAccount`.
    pub(super) source_accounts: Values,
    /// `aws:PrincipalArn`.
    pub(super) principals: Values,
    /// `aws:PrincipalOrgID`.
    pub(super) organizations: Values,
    /// `aws:PrincipalOrgPaths`.
    pub(super) paths: Values,
    /// `aws:PrincipalAccount`.
    pub(super) accounts: Values,
    /// `aws:PrincipalArn` under negated operators.
    pub(super) except: Values,
    /// All others, in words.
    pub(super) others: Vec<String>,
}

impl Conditions {
    pub(super) fn of(statement: &Statement) -> Self {
        let mut read = Self::default();
        for (operator, keys) in &statement.conditions {
            for (key, values) in keys {
                read.add(operator, key, values);
            }
        }
        read
    }

    fn add(&mut self, operator: &str, key: &str, values: &Values) {
        let lower = operator.to_ascii_lowercase();
        let bare = lower.rsplit(':').next().unwrap_or_default();
        let bare = bare.strip_suffix("ifexists").unwrap_or(bare);
        let (key, is_arn) = (key.to_ascii_lowercase(), bare.starts_with("arn"));
        let positive = ["stringequals", "stringlike", "stringequalsignorecase", "arnequals", "arnlike"].contains(&bare);
        let negated = ["stringnotequals", "stringnotlike", "arnnotequals", "arnnotlike"].contains(&bare);
        let list = match key.as_str() {
            "aws:securetransport" | "aws:principalisawsservice" => return,
            "aws:sourcearn" if positive => &mut self.sources,
            "aws:sourceaccount" | "aws:sourceowner" if positive && !is_arn => &mut self.source_accounts,
            "aws:principalarn" if positive => &mut self.principals,
            "aws:principalarn" if negated => &mut self.except,
            "aws:principalorgid" if positive => &mut self.organizations,
            "aws:principalorgpaths" if positive => &mut self.paths,
            "aws:principalaccount" if positive => &mut self.accounts,
            _ => {
                let values = values.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                return self.others.push(format!("{operator} {key} {values}"));
            }
        };
        list.extend(values.iter().cloned());
    }

    /// Whether the caller's ARN is one that is meant.
    pub(super) fn admits(&self, arn: &str) -> bool {
        let meant = self.principals.is_empty() || self.principals.iter().any(|pattern| like(pattern, arn));
        let account = arn.split(':').nth(4).unwrap_or_default();
        let at_home = self.accounts.is_empty() || self.accounts.contains(account);
        meant && at_home && !self.except.iter().any(|pattern| like(pattern, arn))
    }
}

/// `*` and `?` as IAM reads them.
pub(super) fn like(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut position, mut star) = (0, 0, None);
    while position < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, position));
                at += 1;
            }
            Some(known) if *known == '?' || *known == text[position] => (at, position) = (at + 1, position + 1),
            _ => match star {
                Some((last, taken)) => {
                    star = Some((last, taken + 1));
                    (at, position) = (last + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}
