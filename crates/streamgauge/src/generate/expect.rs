//! The cells that a list of events must result in, worked out the slow and obvious way: every line is read as JSON,
//! the first of each id counts, and its window's numbers grow. Shares no code with the fold it is there to check.
//! Knows no lateness: events that a rollup diverts are counted here, as if they had come in time.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Write};

use anyhow::{Context as _, anyhow, bail};
use serde_json::value::RawValue;
use sg_core::event::{Canonical, OwnNames};
use sg_core::time::Timestamp;

use super::exact::{Exact, divided, written};
use crate::client::rollup::{Condition, Definition, Measure};

/// Digits that an average has beyond its field's.
const AVERAGE_EXTRA: u32 = 6;

/// The cells of some rollups, so far.
#[derive(Debug)]
pub(crate) struct Expectation {
    rollups: Vec<Tally>,
    default_type: &'static str,
    /// What definitions may call the events' fields, too.
    names: OwnNames,
    seen: HashSet<u128>,
}

/// The cells of one rollup. Numbers stand in one list, as many to a cell as there are measures.
#[derive(Debug)]
struct Tally {
    definition: Definition,
    kinds: Vec<Kind>,
    cells: HashMap<(i64, u32), u32>,
    numbers: Vec<Number>,
    /// Every combination of dimensions that occurred.
    combinations: HashMap<Box<[String]>, u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Count,
    Sum,
    Min,
    Max,
    Avg,
    Level,
}

/// A measure's number in one cell: how many events gave one, and what they came to.
#[derive(Debug, Clone, Copy, Default)]
struct Number {
    count: u64,
    value: i128,
}

/// An event's members by name, as JSON.
type Members = BTreeMap<String, Box<RawValue>>;

impl Expectation {
    /// Begins with the rollups given. Measures that cannot be worked out here are left out and named in `warnings`.
    pub(crate) fn new(
        definitions: Vec<Definition>,
        default_type: &'static str,
        warnings: &mut Vec<String>,
    ) -> Expectation {
        let rollups = definitions.into_iter().map(|definition| Tally::new(definition, warnings)).collect();
        Expectation { rollups, default_type, names: OwnNames::default(), seen: HashSet::new() }
    }

    /// Lets definitions call fields by names of their stream's own. Events have the usual ones here.
    pub(crate) fn under(self, names: OwnNames) -> Expectation {
        Expectation { names, ..self }
    }

    /// Takes in one event as it was sent.
    ///
    /// # Errors
    /// When it is not an event that the generators here could have made.
    pub(crate) fn take(&mut self, line: &str) -> anyhow::Result<()> {
        let members: Members = serde_json::from_str(line).with_context(|| format!("reading {line}"))?;
        let id = match text_of(&members, "event_id") {
            Some(id) => u128::from_str_radix(&id, 16).with_context(|| format!("reading the id {id}"))?,
            None if members.contains_key("event_name") => content_id(line),
            None => bail!("there is no id in {line}"),
        };
        if !self.seen.insert(id) {
            return Ok(());
        }
        let at = time_of(&members).with_context(|| format!("there is no time in {line}"))?;
        for tally in &mut self.rollups {
            tally.take(&members, at, (self.default_type, &self.names))?;
        }
        Ok(())
    }

    /// Returns how many different events were taken in.
    pub(crate) fn events(&self) -> usize {
        self.seen.len()
    }

    /// Writes the cells as JSON, windows and dimensions ascending.
    ///
    /// # Errors
    /// Those of the writer.
    pub(crate) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(b"{")?;
        for (index, tally) in self.rollups.iter().enumerate() {
            let comma = if index == 0 { "\n" } else { ",\n" };
            write!(out, "{comma}{}:[", quoted(&tally.definition.name))?;
            tally.write(out)?;
            out.write_all(b"]")?;
        }
        out.write_all(b"\n}\n")
    }
}

impl Tally {
    fn new(mut definition: Definition, warnings: &mut Vec<String>) -> Tally {
        let rollup = definition.name.clone();
        definition.measures.retain(|measure| {
            let is_known = Kind::of(&measure.function).is_some();
            if !is_known {
                let Measure { name, function, .. } = measure;
                warnings
                    .push(format!("{rollup}.{name} is a {function}, which is not worked out here: left out"));
            }
            is_known
        });
        let kinds = definition.measures.iter().filter_map(|measure| Kind::of(&measure.function)).collect();
        let (cells, combinations) = (HashMap::new(), HashMap::new());
        Tally { definition, kinds, cells, numbers: Vec::new(), combinations }
    }

    fn take(
        &mut self,
        members: &Members,
        at: Timestamp,
        (default_type, names): (&str, &OwnNames),
    ) -> anyhow::Result<()> {
        let found = |name: &str| {
            let usual = names.meaning(name).and_then(|known| field(members, known.name()));
            usual.or_else(|| field(members, name))
        };
        let value_of = |name: &str| match found(name) {
            None if names.meaning(name) == Some(Canonical::EventType) => {
                text_of(members, "event_name").unwrap_or_else(|| default_type.to_owned())
            }
            found => found.and_then(scalar).unwrap_or_default(),
        };
        let dimensions: Box<[String]> = self.definition.by.iter().map(|name| value_of(name)).collect();
        let fresh = self.combinations.len() as u32;
        let combination = *self.combinations.entry(dimensions).or_insert(fresh);
        let start = at.0.div_euclid(self.definition.window_ms) * self.definition.window_ms;
        let width = self.definition.measures.len();
        let cell = *self.cells.entry((start, combination)).or_insert_with(|| {
            let cell = (self.numbers.len() / width.max(1)) as u32;
            self.numbers.resize(self.numbers.len() + width, Number::default());
            cell
        });
        let numbers = &mut self.numbers[cell as usize * width..][..width];
        for ((measure, kind), number) in self.definition.measures.iter().zip(&self.kinds).zip(numbers) {
            let meets =
                |condition: &Condition| condition.iter().all(|(name, values)| values.has(&value_of(name)));
            if *kind == Kind::Level && meets(&measure.filter) {
                number.value += i128::from(meets(&measure.up)) - i128::from(meets(&measure.down));
            } else if meets(&measure.filter) {
                let value = match measure.field.as_deref() {
                    None => None,
                    Some(name) => found(name).map(|raw| amount(raw, measure.scale)).transpose()?,
                };
                number.add(*kind, value);
            }
        }
        Ok(())
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut names: Vec<(&[String], u32)> = Vec::new();
        names.extend(self.combinations.iter().map(|(names, index)| (&**names, *index)));
        names.sort_unstable();
        let mut rank = vec![0u32; names.len()];
        for (place, (_, index)) in names.iter().enumerate() {
            rank[*index as usize] = place as u32;
        }
        let mut order: Vec<(i64, u32, u32)> = Vec::with_capacity(self.cells.len());
        order.extend(self.cells.iter().map(|((start, index), cell)| (*start, rank[*index as usize], *cell)));
        order.sort_unstable();
        let width = self.definition.measures.len();
        // Where the levels of each combination stand.
        let mut levels: HashMap<(u32, usize), i128> = HashMap::new();
        for (place, (start, rank, cell)) in order.iter().enumerate() {
            let comma = if place == 0 { "\n" } else { ",\n" };
            let end = Timestamp(start + self.definition.window_ms);
            write!(out, "{comma}{{\"window_start\":\"{}\",\"window_end\":\"{end}\"", Timestamp(*start))?;
            for (name, value) in self.definition.by.iter().zip(names[*rank as usize].0) {
                write!(out, ",{}:{}", quoted(name), quoted(value))?;
            }
            let numbers = &self.numbers[*cell as usize * width..][..width];
            for (at, number) in numbers.iter().enumerate() {
                let (measure, kind) = (&self.definition.measures[at], self.kinds[at]);
                let mut shown = *number;
                if kind == Kind::Level {
                    let level = levels.entry((*rank, at)).or_default();
                    *level += number.value;
                    shown.value = *level;
                }
                write!(out, ",{}:{}", quoted(&measure.name), shown.written(kind, measure.scale))?;
            }
            out.write_all(b"}")?;
        }
        Ok(())
    }
}

impl Kind {
    fn of(function: &str) -> Option<Kind> {
        match function {
            "count" => Some(Kind::Count),
            "sum" => Some(Kind::Sum),
            "min" => Some(Kind::Min),
            "max" => Some(Kind::Max),
            "avg" => Some(Kind::Avg),
            "level" => Some(Kind::Level),
            _ => None,
        }
    }
}

impl Number {
    fn add(&mut self, kind: Kind, value: Option<i128>) {
        let Some(value) = value.or((kind == Kind::Count).then_some(0)) else { return };
        self.value = match kind {
            Kind::Count | Kind::Level => 0,
            Kind::Sum | Kind::Avg => self.value + value,
            Kind::Min if self.count > 0 => self.value.min(value),
            Kind::Max if self.count > 0 => self.value.max(value),
            Kind::Min | Kind::Max => value,
        };
        self.count += 1;
    }

    fn written(self, kind: Kind, scale: u32) -> String {
        match kind {
            Kind::Count => self.count.to_string(),
            Kind::Sum | Kind::Level => written(self.value, scale),
            Kind::Min | Kind::Max | Kind::Avg if self.count == 0 => "null".to_owned(),
            Kind::Min | Kind::Max => written(self.value, scale),
            Kind::Avg => {
                let wide = self.value * 10i128.pow(AVERAGE_EXTRA);
                written(divided(wide, i128::from(self.count)), scale + AVERAGE_EXTRA)
            }
        }
    }
}

/// Returns a field by its name, at the top or inside the properties; `null` is no value.
fn field<'a>(members: &'a Members, name: &str) -> Option<Found<'a>> {
    let top = members.get(name).map(|raw| Found::Top(raw.get()));
    let found = top.or_else(|| {
        let properties: serde_json::Value = serde_json::from_str(members.get("properties")?.get()).ok()?;
        name.split('.').try_fold(&properties, |value, part| value.get(part)).cloned().map(Found::Inside)
    });
    found.filter(|found| found.raw() != "null")
}

/// Where a field was found.
enum Found<'a> {
    /// JSON at the event's top, as sent.
    Top(&'a str),
    /// A value in the properties.
    Inside(serde_json::Value),
}

impl Found<'_> {
    fn raw(&self) -> String {
        match self {
            Found::Top(raw) => (*raw).to_owned(),
            Found::Inside(value) => value.to_string(),
        }
    }
}

/// Returns a scalar as text: strings without quotes, all else as written.
fn scalar(found: Found<'_>) -> Option<String> {
    let raw = found.raw();
    if raw.starts_with('"') { serde_json::from_str(&raw).ok() } else { Some(raw) }
}

fn amount(found: Found<'_>, scale: u32) -> anyhow::Result<i128> {
    let text = scalar(found).unwrap_or_default();
    let number = Exact::parse(text.trim()).and_then(|number| number.scaled(scale));
    number.ok_or_else(|| anyhow!("{text} is not a number that can be summed"))
}

/// Returns an id for an event that was sent without one, and whose id the server makes of its content.
fn content_id(line: &str) -> u128 {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, line).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    (half(0) << 64) | half(1)
}

fn text_of(members: &Members, name: &str) -> Option<String> {
    field(members, name).and_then(scalar)
}

fn time_of(members: &Members) -> Option<Timestamp> {
    let text = text_of(members, "timestamp").or_else(|| text_of(members, "ts"))?;
    match text.parse::<i64>() {
        Ok(seconds) => Some(Timestamp(seconds.checked_mul(1_000)?)),
        Err(_) => Timestamp::from_text(&text).ok(),
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests;
