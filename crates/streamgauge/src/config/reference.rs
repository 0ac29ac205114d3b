//! Every key there is, with its type, default, variable and meaning. Keys, types and defaults are those that the configuration
//! asks for when it is read; only what a key means is written down beside them, in `descriptions.toml`.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::rc::Rc;

use toml::{Table, Value};

use super::reader::{Key, TEXTS};
use super::{Layers, Settings};

const DESCRIPTIONS: &str = include_str!("descriptions.toml");
/// What the built-in configuration leaves out.
const EVERY_KEY: &str = include_str!("every_key.toml");

/// The type of a key that is a text alone or a table with more.
const EITHER: &str = "text or table";

/// What stands above the tables.
const HEAD: &str = "\
# Configuration

Written by `streamgauge config keys`, as the binary has it. A file is TOML: `streamgauge.toml` in the working directory, or the one
that `--config` names. Flags go before variables, variables before the file, the file before what is built in; `streamgauge config`
shows what is in effect and where it came from, `config check` explains every error, `config init` prints the built-in file, with
comments, to start from. Keys that are not listed here are errors.

Durations are `\"250ms\"`, `\"30s\"`, `\"5m\"`, `\"24h\"`, `\"7d\"`; sizes are `\"64MiB\"`; lists of texts are `[\"a\", \"b\"]`, and in variables `a,b` too. Of
a stream or rollup the default is that of a key which its definition leaves out; those that are built in set more. In variables `NAME` stands for
the name of a stream, rollup or measure, in capitals and with `_` for `.` and `-`; `N` for a place in a list, from 0. `DATABASE_URL`, `KAFKA_BOOTSTRAP_SERVERS`
and their like are in [migrating.md](migrating.md), `OTEL_\u{2026}` in [traces.md](traces.md), `AWS_\u{2026}` in [archive.md](archive.md).
";

/// Returns every key once, in the order in which they are asked for.
pub(crate) fn keys() -> anyhow::Result<Vec<Key>> {
    let mut layers = Layers::builtin()?;
    for (key, value) in EVERY_KEY.parse::<Table>()? {
        match (layers.table.get_mut(&key), value) {
            (Some(Value::Array(items)), Value::Array(more)) => items.extend(more),
            (Some(Value::Table(table)), Value::Table(more)) => table.extend(more),
            (_, value) => drop(layers.table.insert(key, value)),
        }
    }
    let noted = Rc::new(RefCell::new(Vec::new()));
    let resolved = Settings::resolve_noting(&layers, Some(noted.clone()));
    resolved.map_err(|errors| anyhow::anyhow!("every_key.toml is wrong: {}", errors.join("; ")))?;
    let mut keys: Vec<Key> = Vec::new();
    for key in noted.take() {
        let key = Key { place: without_indexes(&key.place), ..key };
        match keys.iter_mut().find(|known| known.place == key.place) {
            None => keys.push(key),
            // It may be either, or its default depends on other keys.
            Some(known) if known.kind != key.kind => known.kind = either(known.kind, key.kind),
            Some(known) if known.default != key.default => known.default = String::new(),
            Some(_) => {}
        }
    }
    let builtin = Layers::builtin()?.table;
    for key in &mut keys {
        if let Some(set) = value_at(&builtin, &key.place) {
            key.default = set.to_string();
        }
    }
    Ok(keys)
}

/// Returns the keys whose value is a list of texts.
pub(crate) fn lists() -> anyhow::Result<BTreeSet<String>> {
    Ok(keys()?.into_iter().filter(|key| key.kind == TEXTS).map(|key| key.place).collect())
}

/// Returns the key that stands at a place.
pub(crate) fn without_indexes(place: &str) -> String {
    let names = place.split('.').filter(|part| part.parse::<usize>().is_err());
    names.collect::<Vec<_>>().join(".")
}

/// Returns what stands at a place outside lists of tables, if it is a value.
fn value_at<'t>(table: &'t Table, place: &str) -> Option<&'t Value> {
    let (name, rest) = place.split_once('.').map_or((place, None), |(name, rest)| (name, Some(rest)));
    let value = table.get(name)?;
    match rest {
        Some(rest) => value_at(value.as_table()?, rest),
        None => {
            let is_list = value.as_array().and_then(|items| items.first()).is_some_and(Value::is_table);
            (!value.is_table() && !is_list).then_some(value)
        }
    }
}

fn either(one: &'static str, other: &'static str) -> &'static str {
    if [one, other].contains(&"text") { EITHER } else { one }
}

/// Returns what each key means, by its place.
pub(crate) fn descriptions() -> anyhow::Result<Table> {
    Ok(DESCRIPTIONS.parse()?)
}

/// Writes all of it as Markdown.
pub(crate) fn page() -> anyhow::Result<String> {
    let (keys, descriptions) = (keys()?, descriptions()?);
    let mut page = HEAD.to_owned();
    let is_table = |key: &Key| matches!(key.kind, "table" | "list of tables");
    let tables = keys.iter().filter(|key| is_table(key) || key.kind == EITHER);
    for table in std::iter::once(None).chain(tables.map(Some)) {
        let prefix = table.map_or(String::new(), |table| format!("{}.", table.place));
        let is_inside = |key: &&Key| {
            let inside = key.place.strip_prefix(&prefix).filter(|rest| !rest.contains('.'));
            inside.is_some() && !is_table(key)
        };
        let inside: Vec<&Key> = keys.iter().filter(is_inside).collect();
        let about = |key: &Key| descriptions.get(&key.place).and_then(Value::as_str).unwrap_or("\u{2013}");
        let (open, close) = match table.map(|table| table.kind) {
            Some("list of tables") => ("[[", "]]"),
            _ => ("[", "]"),
        };
        match table {
            None => page.push_str("\n## Above all tables\n"),
            Some(table) => {
                write!(page, "\n## `{open}{}{close}`\n\n{}\n", table.place, about(table))?;
            }
        }
        if inside.is_empty() {
            continue;
        }
        page.push_str("\n| key | type | default | variable | meaning |\n|---|---|---|---|---|\n");
        for key in inside {
            let name = key.place.rsplit('.').next().unwrap_or_default();
            let default = match key.default.as_str() {
                "" | "\"\"" => String::new(),
                default => format!("`{default}`"),
            };
            let (kind, variable, about) = (key.kind, variable(&key.place), about(key));
            writeln!(page, "| `{name}` | {kind} | {default} | `{variable}` | {about} |")?;
        }
    }
    Ok(page)
}

/// Returns the variable that sets a key.
fn variable(place: &str) -> String {
    let part = |part: &str| match part {
        "stream" | "rollup" | "measure" => format!("{}__NAME", part.to_ascii_uppercase()),
        "listen" => "LISTEN__N".to_owned(),
        other => other.to_ascii_uppercase(),
    };
    let (table, key) = place.rsplit_once('.').unwrap_or(("", place));
    let parts = table.split('.').filter(|table| !table.is_empty()).map(part);
    let parts: Vec<String> = parts.chain([key.to_ascii_uppercase()]).collect();
    format!("STREAMGAUGE_{}", parts.join("__"))
}

#[cfg(test)]
mod tests;
