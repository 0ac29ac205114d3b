//! What may be asked of the store, and how cells become rows: panes are merged into windows or coarser intervals.
//! The cutting of time is `interval`'s.

mod tally;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::batch::LetterPlace;
use crate::cell::{Level, Value};
use crate::definition::{Function, Rollup};
use crate::interval::Cuts;
use crate::time::{TimeError, Timestamp};

pub use tally::{Split, Tally, TallyQuery, Totals, split_at_panes};

/// Which cells of a rollup.
#[derive(Debug, Clone)]
pub struct CellQuery {
    /// The rollup.
    pub rollup: Rollup,
    /// Panes that start no earlier.
    pub from: Timestamp,
    /// Panes that start earlier.
    pub to: Timestamp,
    /// Index of a dimension and the value it must have.
    pub filters: Vec<(usize, String)>,
    /// Only cells behind this one, by pane and dimensions, where the oldest come first: how a page follows another.
    pub after: Option<(Timestamp, Vec<String>)>,
    /// Only cells of these windows, by start, with these dimensions; of all where there are none.
    pub windows: Vec<(Timestamp, Vec<String>)>,
    /// Which panes come first.
    pub order: CellOrder,
    /// At most so many cells are returned, the first in that order.
    pub cells_max: usize,
}

impl CellQuery {
    /// Returns the panes × dimensions of the windows that are asked for.
    pub fn panes(&self) -> Vec<(Timestamp, &[String])> {
        let mut panes = Vec::with_capacity(self.windows.len());
        for (start, dimensions) in &self.windows {
            let mut pane = start.0;
            while pane < start.0.saturating_add(self.rollup.window_ms) {
                panes.push((Timestamp(pane), dimensions.as_slice()));
                pane += self.rollup.pane_ms;
            }
        }
        panes
    }
}

/// The order of cells; within a pane they are ordered by their dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CellOrder {
    /// The oldest pane first.
    #[default]
    OldestFirst,
    /// The newest pane first.
    NewestFirst,
}

/// A stored cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellRow {
    /// The pane's start.
    pub pane: Timestamp,
    /// The dimensions' values in order.
    pub dimensions: Vec<String>,
    /// The measures' values in order.
    pub values: Vec<Value>,
    /// Events in the cell.
    pub events: u64,
    /// Those of them that were late.
    pub late_count: u64,
    /// How often the cell changed after its window was final.
    pub revision: u64,
    /// What its columns for SQL say of its sketches, in the order of those measures.
    pub shown: Vec<Shown>,
}

/// What a cell's columns for SQL say of a sketch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// A number of the measure's scale, if there is one.
    Number(Option<i128>),
    /// Frequent values, as JSON.
    Text(String),
}

/// Which raw events, newest first.
#[derive(Debug, Clone, Default)]
pub struct EventQuery {
    /// The stream.
    pub stream: String,
    /// Only the event with this id.
    pub event_id: Option<String>,
    /// Only this user's.
    pub user_id: Option<String>,
    /// Only this session's.
    pub session_id: Option<String>,
    /// Only this type.
    pub event_type: Option<String>,
    /// No earlier than.
    pub from: Option<Timestamp>,
    /// Earlier than.
    pub to: Option<Timestamp>,
    /// Rows to return.
    pub limit: usize,
}

/// Which raw events of one partition, by offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventScan {
    /// The stream.
    pub stream: String,
    /// The partition.
    pub partition: u32,
    /// From this offset …
    pub from: u64,
    /// … to before that.
    pub to: u64,
    /// Only those that happened no earlier than the first and earlier than the second.
    pub times: (Timestamp, Timestamp),
    /// Rows to return.
    pub limit: usize,
}

/// An event that was deleted by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedEvent {
    /// Its stream.
    pub stream: String,
    /// Its partition.
    pub partition: u32,
    /// Its place in the partition.
    pub offset: u64,
    /// When it was deleted.
    pub deleted_at: Timestamp,
}

/// A raw event as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its partition.
    pub partition: u32,
    /// Its place in the partition.
    pub offset: u64,
    /// Its id.
    pub event_id: String,
    /// Its user, if any.
    pub user_id: Option<String>,
    /// Its session, if any.
    pub session_id: Option<String>,
    /// Its type.
    pub event_type: String,
    /// Its properties as a JSON object.
    pub properties: String,
    /// When it happened.
    pub event_time: Timestamp,
    /// When the door received it.
    pub received_at: Timestamp,
}

/// Which dead letters, newest first.
#[derive(Debug, Clone, Default)]
pub struct DeadLetterQuery {
    /// Only this stream's.
    pub stream: Option<String>,
    /// Only with this reason.
    pub reason: Option<String>,
    /// Only with this event id.
    pub event_id: Option<String>,
    /// Only at these places; everywhere when there is none.
    pub places: Vec<LetterPlace>,
    /// Only those that have been replayed, or only those that have not.
    pub is_replayed: Option<bool>,
    /// Only those that are no failed replays of others.
    pub originals_only: bool,
    /// Only those that were stored before the one with this id: where a list goes on.
    pub before: Option<i64>,
    /// Rows to return.
    pub limit: usize,
}

/// A dead letter as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDeadLetter {
    /// Tells the order in which letters were stored.
    pub id: i64,
    /// Its stream.
    pub stream: String,
    /// Its partition.
    pub partition: u32,
    /// Its place in the partition.
    pub offset: u64,
    /// Why.
    pub reason: String,
    /// The member at fault, empty when it is the whole event.
    pub field: String,
    /// One sentence.
    pub detail: String,
    /// The event id.
    pub event_id: String,
    /// The event type, empty when unknown.
    pub event_type: String,
    /// When the door received it.
    pub received_at: Timestamp,
    /// The event as sent.
    pub raw: Vec<u8>,
    /// When it was stored.
    pub stored_at: Timestamp,
    /// When a record that stands for it was first counted, or found to be a duplicate.
    pub replayed_at: Option<Timestamp>,
    /// The letter that this record was to mend, in vain.
    pub replay_of: Option<LetterPlace>,
}

/// How many dead letters a stream has for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterCount {
    /// The stream.
    pub stream: String,
    /// The reason.
    pub reason: String,
    /// Letters that wait to be replayed.
    pub waiting: u64,
    /// Letters that have been replayed.
    pub replayed: u64,
    /// Records that were to mend letters, in vain.
    pub copies: u64,
}

/// Which diverted events, newest first.
#[derive(Debug, Clone, Default)]
pub struct LateQuery {
    /// Only those that this rollup diverted.
    pub rollup: Option<String>,
    /// Only those that were stored before the one with this id: where a list goes on.
    pub before: Option<i64>,
    /// Rows to return.
    pub limit: usize,
}

/// A diverted event as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLate {
    /// Its place in the list: grows with every one stored.
    pub id: i64,
    /// The rollup that did not take it.
    pub rollup: String,
    /// Its partition.
    pub partition: u32,
    /// Its place in the partition.
    pub offset: u64,
    /// The event id.
    pub event_id: String,
    /// When it happened.
    pub event_time: Timestamp,
    /// When the door received it.
    pub received_at: Timestamp,
    /// The start of the window that was final.
    pub window_start: Timestamp,
    /// The dimensions' values in order.
    pub dimensions: Vec<String>,
    /// The event as sent.
    pub raw: Vec<u8>,
}

/// One row of an answer: a window or interval × dimensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Start of the window or interval.
    pub start: Timestamp,
    /// Its end.
    pub end: Timestamp,
    /// The dimensions' values in order.
    pub dimensions: Vec<String>,
    /// The measures' values in order.
    pub values: Vec<Value>,
    /// Events in the row.
    pub events: u64,
    /// Those of them that were late.
    pub late_count: u64,
    /// How often one of its cells changed after its window was final.
    pub revision: u64,
}

impl Row {
    /// Makes the row of a window whose events were all taken out.
    pub fn vanished(rollup: &Rollup, start: Timestamp, dimensions: &[String], revision: u64) -> Row {
        Row {
            start,
            end: Timestamp(start.0 + rollup.window_ms),
            dimensions: dimensions.to_vec(),
            values: rollup.measures.iter().map(|measure| Value::empty(&measure.function)).collect(),
            events: 0,
            late_count: 0,
            revision,
        }
    }
}

/// Merges cells into rows, ordered by start and dimensions. Cells outside the cuts are left out.
pub fn rows(cells: Vec<CellRow>, cuts: &Cuts) -> Vec<Row> {
    let mut rows: BTreeMap<(Timestamp, Vec<String>), Row> = BTreeMap::new();
    for cell in cells {
        let Some((start, end)) = cuts.containing(cell.pane) else { continue };
        match rows.entry((start, cell.dimensions.clone())) {
            std::collections::btree_map::Entry::Vacant(vacant) => {
                vacant.insert(Row {
                    start,
                    end,
                    dimensions: cell.dimensions,
                    values: cell.values,
                    events: cell.events,
                    late_count: cell.late_count,
                    revision: cell.revision,
                });
            }
            std::collections::btree_map::Entry::Occupied(mut row) => row.get_mut().merge(&cell),
        }
    }
    rows.into_values().collect()
}

impl Row {
    fn merge(&mut self, cell: &CellRow) {
        for (value, other) in self.values.iter_mut().zip(&cell.values) {
            value.merge(other);
        }
        self.events += cell.events;
        self.late_count += cell.late_count;
        self.revision += cell.revision;
    }
}

/// Adds rows so that every combination of dimensions that occurs has a row in every interval: of zeros, or of the
/// level that the rows around it tell.
pub fn fill_with_zeros(rows: Vec<Row>, cuts: &Cuts, empty: &[Value]) -> Vec<Row> {
    let mut series: BTreeMap<Vec<String>, BTreeMap<Timestamp, Row>> = BTreeMap::new();
    for row in rows {
        series.entry(row.dimensions.clone()).or_default().insert(row.start, row);
    }
    let mut filled: BTreeMap<(Timestamp, Vec<String>), Row> = BTreeMap::new();
    for (dimensions, mut known) in series {
        let mut quiet = known.values().next().map_or_else(|| empty.to_vec(), |first| before(first, empty));
        for (start, end) in cuts.iter() {
            let row = known.remove(&start).unwrap_or_else(|| Row {
                start,
                end,
                dimensions: dimensions.clone(),
                values: quiet.clone(),
                events: 0,
                late_count: 0,
                revision: 0,
            });
            for (value, known) in quiet.iter_mut().zip(&row.values) {
                if let (Value::Level(level), Value::Level(known)) = (value, known) {
                    *level = Level { delta: 0, ..*known };
                }
            }
            filled.insert((start, dimensions.clone()), row);
        }
        filled.extend(known.into_iter().map(|(start, row)| ((start, dimensions.clone()), row)));
    }
    filled.into_values().collect()
}

/// Returns the values of no events before a row.
fn before(row: &Row, empty: &[Value]) -> Vec<Value> {
    let quiet = |(value, known): (&Value, &Value)| match known {
        Value::Level(level) => Value::Level(Level { reached: level.before(), ..Level::moved(0) }),
        _ => value.clone(),
    };
    empty.iter().zip(&row.values).map(quiet).collect()
}

/// Merges the rows of all times into one per combination of dimensions, the largest by one measure first;
/// equal ones by their dimensions.
pub fn top(cells: Vec<CellRow>, (measure, function): (usize, &Function), count: usize) -> Vec<CellRow> {
    let mut totals: BTreeMap<Vec<String>, CellRow> = BTreeMap::new();
    for cell in cells {
        match totals.entry(cell.dimensions.clone()) {
            std::collections::btree_map::Entry::Vacant(vacant) => {
                vacant.insert(cell);
            }
            std::collections::btree_map::Entry::Occupied(mut total) => {
                let total = total.get_mut();
                for (value, other) in total.values.iter_mut().zip(&cell.values) {
                    value.merge(other);
                }
                total.events += cell.events;
                total.late_count += cell.late_count;
                total.revision += cell.revision;
            }
        }
    }
    let mut ranked: Vec<CellRow> = totals.into_values().collect();
    let rank = |cell: &CellRow| cell.values[measure].rank(function);
    ranked.sort_by_cached_key(|cell| std::cmp::Reverse(rank(cell)));
    ranked.truncate(count);
    ranked
}

/// Reads a point in time as queries write it: `now`, `-1h30m`, `now-1d`, RFC 3339, or a number since 1970.
///
/// # Errors
/// [`TimeError`] when it is none of these.
pub fn parse_time(text: &str, now: Timestamp) -> Result<Timestamp, TimeError> {
    let text = text.trim();
    let relative = text.strip_prefix("now").unwrap_or(text);
    if relative.is_empty() && text == "now" {
        return Ok(now);
    }
    if let Some(offset) = relative.strip_prefix('-').and_then(parse_duration) {
        return Ok(now.minus(offset));
    }
    if text.starts_with("now") {
        let offset = relative.strip_prefix('+').and_then(parse_duration).ok_or(TimeError::Unreadable)?;
        return Ok(now.plus(offset));
    }
    match Timestamp::from_text(text) {
        Err(TimeError::Unreadable) => {
            // A plus sign in a query string arrives as a blank.
            let mended = text.rsplit_once(' ').map(|(time, zone)| format!("{time}+{zone}"));
            match mended.map(|text| Timestamp::from_text(&text)) {
                Some(Ok(time)) => Ok(time),
                _ => Timestamp::from_number(text),
            }
        }
        read => read,
    }
}

/// Reads a duration as configuration and queries write it: `250ms`, `30s`, `5m`, `1h30m`, `7d`, `2w`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit())?;
        let value: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit_length = rest.find(|character: char| character.is_ascii_digit()).unwrap_or(rest.len());
        let unit_ms: u64 = match &rest[..unit_length] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            _ => return None,
        };
        total = total.checked_add(value.checked_mul(unit_ms)?)?;
        rest = &rest[unit_length..];
    }
    (!text.is_empty()).then(|| Duration::from_millis(total))
}

#[cfg(test)]
mod tests;
