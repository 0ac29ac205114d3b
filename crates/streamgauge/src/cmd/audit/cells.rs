//! Whether rows equal those expected. Numbers are compared as decimals, so that 1 equals 1.00. Asks nothing itself.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use anyhow::{Context as _, bail};
use serde_json::value::RawValue;
use sg_core::time::Timestamp;

use super::Check;
use crate::client::rollup::{Definition, Measure, Row};
use crate::client::status;
use crate::generate::exact::Exact;

/// Rows of one piece: bounds what is in memory twice, and what one question reads.
const PIECE_ROWS: usize = 100_000;
/// Differences told in full; the rest are counted.
const TOLD_MAX: usize = 5;

/// A row's time and dimensions, as a text that sorts by time.
type Key = (Timestamp, Vec<String>);

/// The expected rows of one rollup.
#[derive(Debug, Default)]
pub(super) struct Expected<'a> {
    rows: BTreeMap<Key, Cell<'a>>,
    /// Names of the members that are dimensions.
    dimensions: Vec<String>,
    measures: Vec<String>,
    /// Cells left out because retention has removed their windows.
    removed: u64,
}

#[derive(Debug)]
struct Cell<'a> {
    end: Timestamp,
    numbers: Vec<&'a str>,
}

/// Expected rows of a piece of time.
#[derive(Debug)]
pub(super) struct Piece<'e, 'a> {
    expected: &'e Expected<'a>,
    rows: Vec<(&'e Key, &'e Cell<'a>)>,
    /// The first window's start.
    pub(super) from: String,
    /// The last window's end.
    pub(super) to: String,
}

/// Reads a file of expected rows: by rollup, lists of objects.
///
/// # Errors
/// When it is no such file.
pub(super) fn read(file: &str) -> anyhow::Result<BTreeMap<String, Expected<'_>>> {
    // Rows are read one by one: all of them at once would take several times the file.
    let rollups: BTreeMap<String, Vec<&RawValue>> =
        serde_json::from_str(file).context("reading the expected cells")?;
    let mut all = BTreeMap::new();
    for (name, rows) in rollups {
        let expected = Expected::of(rows).with_context(|| format!("reading the expected cells of {name}"))?;
        all.insert(name, expected);
    }
    Ok(all)
}

impl<'a> Expected<'a> {
    fn of(rows: Vec<&'a RawValue>) -> anyhow::Result<Expected<'a>> {
        let mut expected = Expected::default();
        if let Some(first) = rows.first() {
            let first: Row<'a> = serde_json::from_str(first.get())?;
            let names =
                first.iter().filter(|(name, _)| !matches!(name.as_ref(), "window_start" | "window_end"));
            let (dimensions, measures): (Vec<_>, Vec<_>) =
                names.partition(|(_, value)| value.get().starts_with('"'));
            expected.dimensions = dimensions.iter().map(|(name, _)| name.to_string()).collect();
            expected.measures = measures.iter().map(|(name, _)| name.to_string()).collect();
        }
        for raw in rows {
            let row: Row<'a> = serde_json::from_str(raw.get())?;
            let key = expected.key_of(&row)?;
            let end = time(&row, "window_end")?;
            let numbers: Option<Vec<&'a str>> =
                expected.measures.iter().map(|name| number(&row, name)).collect();
            let numbers = numbers.context("a row lacks a measure that another has")?;
            if expected.rows.insert(key, Cell { end, numbers }).is_some() {
                bail!("a cell stands twice in the file");
            }
        }
        Ok(expected)
    }

    /// Leaves only counts where late events are diverted: without them a smallest value or a mean may be anything.
    pub(super) fn comparable(mut self, definition: &Definition) -> Expected<'a> {
        if definition.late != "divert" {
            return self;
        }
        let is_count = |name: &String| {
            definition.measures.iter().any(|measure| measure.name == *name && measure.function == "count")
        };
        let kept: Vec<bool> = self.measures.iter().map(is_count).collect();
        for cell in self.rows.values_mut() {
            let mut kept = kept.iter();
            cell.numbers.retain(|_| kept.next() == Some(&true));
        }
        self.measures.retain(is_count);
        self
    }

    /// Leaves out windows that end no later than `before`: retention has removed them.
    pub(super) fn leave_out_removed(&mut self, before: Option<&str>) {
        let Some(before) = before.and_then(|text| Timestamp::from_text(text).ok()) else { return };
        let all = self.rows.len();
        self.rows.retain(|_, cell| cell.end > before);
        self.removed += (all - self.rows.len()) as u64;
    }

    /// Returns how many cells were left out because retention has removed their windows.
    pub(super) fn removed(&self) -> u64 {
        self.removed
    }

    fn key_of(&self, row: &Row<'_>) -> anyhow::Result<Key> {
        let mut values = Vec::with_capacity(self.dimensions.len());
        for name in &self.dimensions {
            let raw = row.get(name.as_str()).with_context(|| format!("a row has no {name}"))?;
            values.push(serde_json::from_str(raw.get()).with_context(|| format!("{name} is no text"))?);
        }
        Ok((time(row, "window_start")?, values))
    }

    /// Returns the rows in pieces of whole windows that leave no time out in between.
    pub(super) fn pieces(&self) -> Vec<Piece<'_, 'a>> {
        let mut pieces: Vec<Piece<'_, 'a>> = Vec::new();
        for (key, cell) in &self.rows {
            match pieces.last_mut() {
                Some(last)
                    if last.rows.len() < PIECE_ROWS
                        || last.rows.last().is_some_and(|row| row.0.0 == key.0) =>
                {
                    last.rows.push((key, cell));
                }
                _ => {
                    let from = key.0.to_string();
                    if let Some(last) = pieces.last_mut() {
                        last.to.clone_from(&from);
                    }
                    pieces.push(Piece { expected: self, rows: vec![(key, cell)], from, to: String::new() });
                }
            }
        }
        if let Some(last) = pieces.last_mut() {
            last.to = last.rows.iter().map(|(_, cell)| cell.end).max().unwrap_or_default().to_string();
        }
        pieces
    }
}

fn time(row: &Row<'_>, name: &str) -> anyhow::Result<Timestamp> {
    let raw = row.get(name).with_context(|| format!("a row has no {name}"))?;
    let text: Cow<'_, str> = serde_json::from_str(raw.get()).with_context(|| format!("{name} is no text"))?;
    Timestamp::from_text(&text).ok().with_context(|| format!("{name} is {text}, which is no time"))
}

fn number<'a>(row: &Row<'a>, name: &str) -> Option<&'a str> {
    row.get(name).map(|raw: &&'a RawValue| raw.get())
}

/// How the server's rows differ from those expected.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Comparison {
    /// Rows that are expected.
    pub(super) expected: u64,
    /// Rows of them that are equal.
    equal: u64,
    /// Rows in which no number is greater than expected, and some are less or missing.
    short: u64,
    /// Rows with a number greater than expected, or one that cannot be compared.
    excessive: u64,
    /// Rows that the server has and the file has not.
    unexpected: u64,
    /// By measure, how much is missing in all, where all numbers are whole.
    missing: BTreeMap<String, Option<i128>>,
    /// The first differences.
    told: Vec<String>,
}

impl Comparison {
    /// Begins with a piece of the expected rows.
    pub(super) fn matching<'c, 'e, 'a>(&'c mut self, piece: &'c Piece<'e, 'a>) -> Matching<'c, 'e, 'a> {
        self.expected += piece.rows.len() as u64;
        Matching { seen: vec![false; piece.rows.len()], piece, comparison: self }
    }

    fn tell(&mut self, difference: impl FnOnce() -> String) {
        if self.told.len() < TOLD_MAX {
            self.told.push(difference());
        }
    }

    fn miss(&mut self, measure: &str, expected: &str, found: &str) {
        let whole = |text: &str| Exact::parse(text).filter(|number| number.is_whole())?.scaled(0);
        let difference = whole(expected).zip(whole(found)).map(|(expected, found)| expected - found);
        match self.missing.entry(measure.to_owned()) {
            Entry::Vacant(vacant) => {
                vacant.insert(difference);
            }
            Entry::Occupied(mut sum) => {
                let total = sum.get().zip(difference).map(|(sum, more)| sum + more);
                sum.insert(total);
            }
        }
    }
}

/// A piece whose rows are looked for.
pub(super) struct Matching<'c, 'e, 'a> {
    comparison: &'c mut Comparison,
    piece: &'c Piece<'e, 'a>,
    seen: Vec<bool>,
}

impl Matching<'_, '_, '_> {
    /// Takes one of the server's rows.
    ///
    /// # Errors
    /// When it is not shaped as the file's rows are.
    pub(super) fn take(&mut self, row: &Row<'_>) -> anyhow::Result<()> {
        let expected = self.piece.expected;
        let key = expected.key_of(row)?;
        let found = self.piece.rows.binary_search_by(|(known, _)| (*known).cmp(&key)).ok();
        let Some(index) = found.filter(|index| !self.seen[*index]) else {
            self.comparison.unexpected += 1;
            self.comparison.tell(|| format!("{} is not expected", shown(&key)));
            return Ok(());
        };
        self.seen[index] = true;
        let mut worst = std::cmp::Ordering::Equal;
        for (name, wanted) in expected.measures.iter().zip(&self.piece.rows[index].1.numbers) {
            let got = number(row, name).unwrap_or("absent");
            let order = order(got, wanted);
            if order.is_ne() {
                self.comparison.tell(|| format!("{} {name} is {got} instead of {wanted}", shown(&key)));
                self.comparison.miss(name, wanted, got);
            }
            worst = if worst.is_gt() || order.is_eq() { worst } else { order };
        }
        match worst {
            std::cmp::Ordering::Equal => self.comparison.equal += 1,
            std::cmp::Ordering::Less => self.comparison.short += 1,
            std::cmp::Ordering::Greater => self.comparison.excessive += 1,
        }
        Ok(())
    }

    /// Ends the piece: what was not seen is missing.
    pub(super) fn finish(self) {
        for ((key, cell), _) in self.piece.rows.iter().zip(&self.seen).filter(|(_, seen)| !**seen) {
            self.comparison.short += 1;
            self.comparison.tell(|| format!("{} is missing", shown(key)));
            for (name, wanted) in self.piece.expected.measures.iter().zip(&cell.numbers) {
                self.comparison.miss(name, wanted, "0");
            }
        }
    }
}

/// Compares two numbers; `null` equals `null` only and is less than any number. What is no number is greater.
fn order(got: &str, wanted: &str) -> std::cmp::Ordering {
    match (Exact::parse(got), Exact::parse(wanted)) {
        (Some(got), Some(wanted)) => got.cmp(&wanted),
        _ if got == wanted => std::cmp::Ordering::Equal,
        _ if got == "null" => std::cmp::Ordering::Less,
        _ => std::cmp::Ordering::Greater,
    }
}

fn shown((start, dimensions): &Key) -> String {
    format!("{start} {}", dimensions.join(" "))
}

/// Judges a comparison: all equal or, where late events are diverted, nothing too much and exactly those missing.
/// Of `removed` cells, which retention took, nothing can be said but that something must be left to compare.
pub(super) fn judged(
    definition: &Definition,
    standing: &status::Rollup,
    removed: u64,
    comparison: &Comparison,
) -> Check {
    let Comparison { expected, equal, short, excessive, unexpected, .. } = comparison;
    let mut detail = format!("{equal} of {expected} cells are equal, {short} short");
    let mut holds = *excessive == 0 && *unexpected == 0 && (removed == 0 || *expected > 0);
    if definition.late == "divert" {
        let counts = |measure: &&Measure| measure.function == "count" && measure.filter.is_empty();
        // Without such a measure there is nothing that would tell how many events are missing.
        if let Some(measure) = definition.measures.iter().find(counts) {
            let diverted = standing.ledger.diverted;
            let missing = comparison.missing.get(&measure.name).copied().unwrap_or(Some(0)).unwrap_or(-1);
            let (is_accounted_for, sign) = match missing.cmp(&i128::from(diverted)) {
                std::cmp::Ordering::Equal => (true, '='),
                // The others may have belonged to windows that are gone.
                std::cmp::Ordering::Less if removed > 0 && missing >= 0 => (true, '≤'),
                _ => (false, '≠'),
            };
            holds &= is_accounted_for;
            detail += &format!(" by {missing} events in all {sign} diverted {diverted}");
        }
    } else {
        holds &= *short == 0;
    }
    detail += &format!(", {excessive} too large, {unexpected} not expected");
    if removed > 0 {
        let before = standing.removed_before.as_deref().unwrap_or_default();
        detail += &format!("; {removed} more not compared: retention has removed windows before {before}");
    }
    if !holds && !comparison.told.is_empty() {
        detail += &format!("; {}", comparison.told.join("; "));
    }
    Check::new(format!("cells of {}", definition.name), holds, detail)
}
