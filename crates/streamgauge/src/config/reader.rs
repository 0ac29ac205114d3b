//! Reads a table key by key: every error is gathered with its place, and keys that nobody asked for are errors that
//! name the nearest key there is.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sg_core::nearest;
use toml::{Table, Value};

/// Errors so far, each with its place; and who is told which keys are asked for, if anybody is.
#[derive(Debug, Default)]
pub(crate) struct Errors(pub(crate) Vec<String>, Keys);

/// A key that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    /// Its place, as errors name it.
    pub(crate) place: String,
    /// What its value is.
    pub(crate) kind: &'static str,
    /// What holds where it is not set, as one would write it; empty where nothing does.
    pub(crate) default: String,
}

/// What the value of a list of texts is.
pub(crate) const TEXTS: &str = "list of texts";

/// Where keys that are asked for are noted.
pub(crate) type Keys = Option<Rc<RefCell<Vec<Key>>>>;

impl Errors {
    /// Begins without errors, and notes the keys that are asked for.
    pub(crate) fn noting(keys: Keys) -> Errors {
        Errors(Vec::new(), keys)
    }

    fn asked(&self, place: String, kind: &'static str, default: impl FnOnce() -> String) {
        if let Some(keys) = &self.1 {
            keys.borrow_mut().push(Key { place, kind, default: default() });
        }
    }

    /// Notes an error.
    pub(crate) fn add(&mut self, place: &str, what: impl std::fmt::Display) {
        self.0.push(format!("{place}: {what}"));
    }
}

/// A table that is being read.
pub(crate) struct Reader<'t> {
    table: &'t Table,
    path: String,
    asked: Vec<&'static str>,
}

impl<'t> Reader<'t> {
    /// Begins to read a table at a place.
    pub(crate) fn new(table: &'t Table, path: impl Into<String>) -> Reader<'t> {
        Reader { table, path: path.into(), asked: Vec::new() }
    }

    /// Returns the place of a key.
    pub(crate) fn place(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn value(&mut self, key: &'static str) -> Option<&'t Value> {
        self.asked.push(key);
        self.table.get(key)
    }

    /// Reads a value of one kind, or the default.
    fn read<T>(
        &mut self,
        key: &'static str,
        default: T,
        errors: &mut Errors,
        kind: &str,
        convert: impl Fn(&'t Value) -> Option<T>,
    ) -> T {
        let Some(value) = self.value(key) else { return default };
        convert(value).unwrap_or_else(|| {
            errors.add(&self.place(key), format!("{kind}, not {value}"));
            default
        })
    }

    /// Reads a text.
    pub(crate) fn text(&mut self, key: &'static str, default: &str, errors: &mut Errors) -> String {
        errors.asked(self.place(key), "text", || format!("{default:?}"));
        self.read(key, default.to_owned(), errors, "is a text in quotes", |value| {
            value.as_str().map(str::to_owned)
        })
    }

    /// Reads a text that must be there.
    pub(crate) fn required(&mut self, key: &'static str, errors: &mut Errors) -> String {
        let text = self.text(key, "", errors);
        if text.is_empty() {
            errors.add(&self.place(key), "is missing");
        }
        text
    }

    /// Reads a list of texts.
    pub(crate) fn texts(&mut self, key: &'static str, errors: &mut Errors) -> Vec<String> {
        errors.asked(self.place(key), TEXTS, || "[]".to_owned());
        let convert =
            |value: &Value| value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect();
        let kind = r#"is a list of texts such as ["a", "b"], or a,b in a variable"#;
        self.read(key, Vec::new(), errors, kind, convert)
    }

    /// Reads a switch.
    pub(crate) fn switch(&mut self, key: &'static str, default: bool, errors: &mut Errors) -> bool {
        errors.asked(self.place(key), "true or false", || default.to_string());
        self.read(key, default, errors, "is true or false", Value::as_bool)
    }

    /// Reads a whole number that is not negative.
    pub(crate) fn count(&mut self, key: &'static str, default: u64, errors: &mut Errors) -> u64 {
        errors.asked(self.place(key), "whole number", || default.to_string());
        self.read(key, default, errors, "is a whole number", |value| u64::try_from(value.as_integer()?).ok())
    }

    /// Reads a share such as `0.95`, above 0 and at most 1, as so many in a million.
    pub(crate) fn share_ppm(&mut self, key: &'static str, default: u32, errors: &mut Errors) -> u32 {
        errors.asked(self.place(key), "share", || (f64::from(default) / 1e6).to_string());
        let convert = |value: &Value| {
            let share = value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64))?;
            let ppm = (share * 1e6).round();
            (1.0..=1e6).contains(&ppm).then_some(ppm as u32)
        };
        self.read(key, default, errors, "is a number above 0 and at most 1", convert)
    }

    /// Reads a duration such as `30s`.
    pub(crate) fn duration(&mut self, key: &'static str, default: Duration, errors: &mut Errors) -> Duration {
        errors.asked(self.place(key), "duration", || shown_duration(default));
        let convert = |value: &Value| sg_core::query::parse_duration(value.as_str()?);
        self.read(key, default, errors, "is a duration such as 250ms, 30s, 5m, 7d", convert)
    }

    /// Reads a size such as `64MiB`.
    pub(crate) fn size(&mut self, key: &'static str, default: u64, errors: &mut Errors) -> u64 {
        errors.asked(self.place(key), "size", || shown_size(default));
        self.read(key, default, errors, "is a size such as 64MiB", |value| parse_size(value.as_str()?))
    }

    /// Reads a table; an empty one where there is none.
    pub(crate) fn table(&mut self, key: &'static str, errors: &mut Errors) -> Option<Reader<'t>> {
        errors.asked(self.place(key), "table", String::new);
        let place = self.place(key);
        let value = self.value(key)?;
        match value.as_table() {
            Some(table) => Some(Reader::new(table, place)),
            None => {
                errors.add(&place, format!("is a table, not {value}"));
                None
            }
        }
    }

    /// Returns whether a table stands at a key.
    pub(crate) fn holds_table(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(Value::is_table)
    }

    /// Returns whether a text stands at a key.
    pub(crate) fn holds_text(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(Value::is_str)
    }

    /// Reads a list of tables.
    pub(crate) fn tables(&mut self, key: &'static str, errors: &mut Errors) -> Vec<Reader<'t>> {
        errors.asked(self.place(key), "list of tables", String::new);
        let place = self.place(key);
        let Some(value) = self.value(key) else { return Vec::new() };
        let tables: Option<Vec<&Table>> =
            value.as_array().and_then(|items| items.iter().map(Value::as_table).collect());
        match tables {
            Some(tables) => tables
                .into_iter()
                .enumerate()
                .map(|(at, table)| Reader::new(table, format!("{place}.{at}")))
                .collect(),
            None => {
                errors.add(&place, format!("is a list of tables, written [[{key}]]"));
                Vec::new()
            }
        }
    }

    /// Returns whether a key is `"off"`.
    pub(crate) fn is_off(&self, key: &str) -> bool {
        self.table.get(key).and_then(Value::as_str) == Some("off")
    }

    /// Reads a key that is `"off"` or a table.
    pub(crate) fn table_or_off(&mut self, key: &'static str, errors: &mut Errors) -> Option<Reader<'t>> {
        if self.is_off(key) {
            self.asked.push(key);
            return None;
        }
        self.table(key, errors)
    }

    /// Returns the pairs of a table of conditions: a name and the texts it may have.
    pub(crate) fn conditions(
        &mut self,
        key: &'static str,
        errors: &mut Errors,
    ) -> Vec<(String, Vec<String>)> {
        let Some(reader) = self.table(key, errors) else { return Vec::new() };
        let mut conditions = Vec::new();
        for (name, value) in reader.table {
            let values: Option<Vec<String>> = match value {
                Value::Array(items) => items.iter().map(condition_text).collect(),
                single => condition_text(single).map(|text| vec![text]),
            };
            match values {
                Some(values) if !values.is_empty() => conditions.push((name.clone(), values)),
                _ => errors.add(&reader.place(name), "is a text or a list of texts"),
            }
        }
        conditions
    }

    /// Reads a table whose keys are not ours: names and texts, numbers or switches, in the order of the names.
    pub(crate) fn pairs(&mut self, key: &'static str, errors: &mut Errors) -> Vec<(String, String)> {
        let Some(reader) = self.table(key, errors) else { return Vec::new() };
        let mut pairs = Vec::new();
        for (name, value) in reader.table {
            match condition_text(value) {
                Some(text) => pairs.push((name.clone(), text)),
                None => errors.add(&reader.place(name), "is a text, a number or a switch"),
            }
        }
        pairs
    }

    /// Notes every key that was not asked for.
    pub(crate) fn finish(self, errors: &mut Errors) {
        for key in self.table.keys().filter(|key| !self.asked.contains(&key.as_str())) {
            let hint = nearest::hint(key, self.asked.iter().copied());
            errors.add(&self.place(key), format!("there is no such key{hint}"));
        }
    }
}

fn condition_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(switch) => Some(switch.to_string()),
        _ => None,
    }
}

/// Reads `512`, `64KiB`, `64MiB`, `8GiB`.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let value: u64 = text[..digits].parse().ok()?;
    let unit: u64 = match text[digits..].trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    value.checked_mul(unit)
}

/// Writes a duration in the largest unit that holds it.
fn shown_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
    let unit = units.iter().find(|(size, _)| ms > 0 && ms.is_multiple_of(*size));
    unit.map_or_else(|| "\"0s\"".to_owned(), |(size, unit)| format!("\"{}{unit}\"", ms / size))
}

/// Writes a size in the largest unit that holds it.
fn shown_size(bytes: u64) -> String {
    let units = [(1_u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = units.iter().find(|(size, _)| bytes > 0 && bytes.is_multiple_of(*size));
    unit.map_or_else(|| bytes.to_string(), |(size, unit)| format!("\"{}{unit}\"", bytes / size))
}
