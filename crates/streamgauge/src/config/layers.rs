//! Lays flags over environment over file over the built-in configuration, and remembers where each value came from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context;
use toml::{Table, Value};

use super::{inherited, reference};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    File(String),
    Environment(String),
    Flag(&'static str),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path) => write!(f, "file {path}"),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// All layers merged into one table.
#[derive(Debug, Clone)]
pub(crate) struct Layers {
    /// The effective values.
    pub(crate) table: Table,
    /// All variables of the environment, for what is not a key.
    pub(crate) variables: BTreeMap<String, String>,
    /// Origins of values that are not the default, by dotted path.
    origins: BTreeMap<String, Origin>,
}

/// The built-in configuration as text.
pub(crate) const BUILTIN: &str = include_str!("builtin.toml");

/// The file that is read when none is named and it is there.
const DEFAULT_FILE: &str = "streamgauge.toml";

/// Keys whose value is a list of tables: one definition replaces the built-in list.
const LISTS: [&str; 3] = ["listen", "stream", "rollup"];

const ENVIRONMENT_PREFIX: &str = "STREAMGAUGE_";
/// Variables with the prefix that are no configuration keys.
const OTHER_VARIABLES: [&str; 6] = [
    "STREAMGAUGE_KEY",
    "STREAMGAUGE_LOG_LEVEL",
    "STREAMGAUGE_TEST_KAFKA",
    "STREAMGAUGE_TEST_POSTGRES",
    "STREAMGAUGE_TEST_S3",
    "STREAMGAUGE_TEST_S3_FOLDER",
];

impl Layers {
    /// Starts from the built-in configuration.
    pub(crate) fn builtin() -> anyhow::Result<Layers> {
        let table = BUILTIN.parse().context("the built-in configuration is not TOML")?;
        Ok(Layers { table, variables: BTreeMap::new(), origins: BTreeMap::new() })
    }

    /// Lays a file over: the named one, or `streamgauge.toml` where it exists.
    pub(crate) fn file(&mut self, named: Option<&Path>) -> anyhow::Result<()> {
        let path = named.unwrap_or(Path::new(DEFAULT_FILE));
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                let path = path.display();
                anyhow::bail!(
                    "reading the configuration {path}: {error}; name a file that can be read, or write one with \
                     `streamgauge config init > {DEFAULT_FILE}`"
                );
            }
        };
        let table: Table =
            text.parse().with_context(|| format!("reading the configuration {}", path.display()))?;
        let origin = Origin::File(path.display().to_string());
        merge(&mut self.table, table, "", &origin, &mut self.origins);
        Ok(())
    }

    /// Lays variables such as `STREAMGAUGE_FLUSH__INTERVAL` over; lists are reached by a definition's name or index.
    pub(crate) fn environment(&mut self, variables: impl Iterator<Item = (String, String)>) -> Vec<String> {
        let mut errors = Vec::new();
        let variables: BTreeMap<String, String> = variables.collect();
        self.inherit(&variables);
        if inherited::wants_bucket(&variables) {
            errors.push("S3_ENABLED: there is no bucket: name it in S3_BUCKET".to_owned());
        }
        let lists = reference::lists().unwrap_or_else(|error| {
            errors.push(format!("{error:#}"));
            BTreeSet::new()
        });
        let ours = variables.iter().filter(|(name, _)| {
            name.starts_with(ENVIRONMENT_PREFIX) && !OTHER_VARIABLES.contains(&name.as_str())
        });
        for (name, value) in ours {
            let path: Vec<String> =
                name[ENVIRONMENT_PREFIX.len()..].split("__").map(str::to_ascii_lowercase).collect();
            match place(&mut self.table, &path) {
                Some((slot, path)) => {
                    let is_list = lists.contains(&reference::without_indexes(&path));
                    *slot = if is_list { list_from_text(value) } else { from_text(value) };
                    self.origins.insert(path, Origin::Environment(name.clone()));
                }
                None => errors.push(format!("{name}: there is no such key")),
            }
        }
        self.variables = variables;
        errors
    }

    /// Lays the variables over that deployments of other systems have.
    fn inherit(&mut self, variables: &BTreeMap<String, String>) {
        let mut inherited = inherited::keys(variables);
        if let Some(grace) = inherited::grace(variables) {
            inherited.push(("rollup.hourly_aggregations.grace", grace, "GRACE_PERIOD_SECONDS"));
        }
        for (key, value, name) in inherited {
            let path: Vec<String> = key.split('.').map(str::to_owned).collect();
            if let Some((slot, path)) = place(&mut self.table, &path) {
                *slot = value;
                self.origins.insert(path, Origin::Environment(name.to_owned()));
            }
        }
    }

    /// Gives the store's URL the password of the environment where it has none.
    pub(crate) fn complete_store(&mut self) {
        let url = self.table.get("store").and_then(Value::as_str);
        if let Some(url) = url.and_then(|url| inherited::with_password(url, &self.variables)) {
            self.table.insert("store".to_owned(), Value::String(url));
        }
    }

    /// Lays one flag over.
    pub(crate) fn flag(&mut self, key: &str, value: Value, flag: &'static str) {
        self.origins.retain(|path, _| path != key && !path.starts_with(&format!("{key}.")));
        self.origins.insert(key.to_owned(), Origin::Flag(flag));
        self.table.insert(key.to_owned(), value);
    }

    /// Returns where the value at a dotted path came from.
    pub(crate) fn origin(&self, path: &str) -> Origin {
        let mut path = path;
        loop {
            if let Some(origin) = self.origins.get(path) {
                return origin.clone();
            }
            match path.rsplit_once('.') {
                Some((parent, _)) => path = parent,
                None => return Origin::Default,
            }
        }
    }
}

fn merge(into: &mut Table, from: Table, path: &str, origin: &Origin, origins: &mut BTreeMap<String, Origin>) {
    for (key, value) in from {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (into.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new, &path, origin, origins),
            (_, value) => {
                origins.insert(path, origin.clone());
                into.insert(key, value);
            }
        }
    }
}

/// Returns the value at a path of lower-case names, made where a table can have it, and its dotted path.
fn place<'t>(table: &'t mut Table, path: &[String]) -> Option<(&'t mut Value, String)> {
    let (name, rest) = path.split_first()?;
    if rest.is_empty() {
        let slot = table.entry(name.clone()).or_insert(Value::Boolean(false));
        return Some((slot, name.clone()));
    }
    let inner = table.entry(name.clone()).or_insert_with(|| Value::Table(Table::new()));
    let (inner, prefix) = match inner {
        Value::Array(items) if LISTS.contains(&name.as_str()) || name == "measure" => {
            let (wanted, _) = rest.split_first()?;
            let at = items.iter().position(|item| is_named(item, wanted)).or_else(|| wanted.parse().ok())?;
            let item = items.get_mut(at)?.as_table_mut()?;
            let (slot, path) = place(item, &rest[1..])?;
            return Some((slot, format!("{name}.{at}.{path}")));
        }
        Value::Table(inner) => (inner, name.clone()),
        _ => return None,
    };
    let (slot, path) = place(inner, rest)?;
    Some((slot, format!("{prefix}.{path}")))
}

/// Names in variables are lower-case and have underscores where names have points.
fn is_named(item: &Value, wanted: &str) -> bool {
    let name = item.get("name").and_then(Value::as_str);
    name.is_some_and(|name| name.to_ascii_lowercase().replace(['.', '-'], "_") == wanted)
}

/// Variables are texts: numbers, switches and lists are read as TOML, everything else is the text itself.
fn from_text(text: &str) -> Value {
    let is_plain =
        text.parse::<i64>().is_ok() || matches!(text, "true" | "false") || text.starts_with(['[', '{']);
    let read = is_plain.then(|| format!("value = {text}").parse::<Table>().ok()).flatten();
    read.and_then(|mut table| table.remove("value")).unwrap_or_else(|| Value::String(text.to_owned()))
}

/// Reads a list of texts, which may stand there with nothing but commas between them.
fn list_from_text(text: &str) -> Value {
    if text.trim_start().starts_with('[') {
        return from_text(text.trim());
    }
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
}

#[cfg(test)]
mod tests;
