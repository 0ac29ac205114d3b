//! What went wrong while a command sent much: each kind once, with how often, so that a count alone does not leave one
//! guessing.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Kinds that are kept; what comes beyond is counted together.
const KINDS_MAX: usize = 5;

/// Failures by their sentence.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Failures {
    kinds: BTreeMap<String, u64>,
    others: u64,
}

impl Failures {
    /// Notes a failure.
    pub(crate) fn add(&mut self, sentence: String) {
        self.add_many(sentence, 1);
    }

    fn add_many(&mut self, sentence: String, count: u64) {
        if self.kinds.len() >= KINDS_MAX && !self.kinds.contains_key(&sentence) {
            self.others += count;
        } else {
            *self.kinds.entry(sentence).or_default() += count;
        }
    }

    /// Adds those of another.
    pub(crate) fn merge(&mut self, other: Failures) {
        self.others += other.others;
        for (sentence, count) in other.kinds {
            self.add_many(sentence, count);
        }
    }

    /// Returns a line for each kind, the most frequent first.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut kinds: Vec<(&String, &u64)> = self.kinds.iter().collect();
        kinds.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let mut lines: Vec<String> =
            kinds.iter().map(|(sentence, count)| format!("{count} times: {sentence}")).collect();
        if self.others > 0 {
            lines.push(format!("{} times: something else", self.others));
        }
        lines
    }

    /// Returns the same for scripts.
    pub(crate) fn json(&self) -> Value {
        let kind = |(sentence, count): (&String, &u64)| json!({"says": sentence, "count": count});
        self.kinds.iter().map(kind).collect()
    }
}

/// Returns what a problem answer says: its status, code, detail, and of several refused events the first.
pub(crate) fn told_in(status: u16, body: &[u8]) -> String {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let (code, detail) = (text(&problem, "code"), text(&problem, "detail"));
    let first = &problem["errors"][0];
    let first = match first.is_object() {
        true => format!("; the first: {} ({})", text(first, "code"), text(first, "detail")),
        false => String::new(),
    };
    let mut told = status.to_string();
    if !code.is_empty() {
        told += &format!(" {code}");
    }
    if !detail.is_empty() {
        told += &format!(": {detail}");
    }
    told + &first
}

#[cfg(test)]
mod tests;
