//! What leaves a stream for topics and files that others read: which there are, and the shape of their records.
//! Sends nothing.

use crate::archive::FileKind;
use crate::definition::{Function, Rollup};
use crate::outbox::{OutboxEvent, OutboxKind, OutboxRow};
use crate::query::Row;
use crate::time::Timestamp;

/// The topics and files that a stream writes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outputs {
    /// Cells of windows that became final, and their corrections.
    pub closed: Option<ClosedOutput>,
    /// Events that rollups diverted, as they were sent.
    pub late: Option<String>,
    /// Records that could not be folded, as they were sent; each goes to all of these.
    pub dead_letters: Vec<String>,
    /// Files of the archive.
    pub files: FileOutputs,
}

/// The files of the archive, beside those of raw events, for which a stream's flushes write lines.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileOutputs {
    /// Cells of windows that became final, and their corrections.
    pub closed: Option<CellShape>,
    /// One line for each event that a rollup diverted.
    pub late: Option<CellShape>,
}

/// A topic of cells, and what their records look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedOutput {
    /// The topic.
    pub topic: String,
    /// The shape of its records.
    pub shape: CellShape,
}

/// What a cell looks like to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellShape {
    /// Whether times end in `Z`; they are UTC either way.
    pub has_zone: bool,
    /// The members of a record in order; none stands for those of [`default_fields`].
    pub fields: Vec<String>,
}

/// Members of a record beside dimensions and measures.
pub const CELL_FIELDS: [&str; 6] =
    ["rollup", "window_start", "window_end", "late_count", "revision", "is_final"];

/// A record for a topic that others read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputRecord {
    /// The topic.
    pub topic: String,
    /// The key; `None` for a record without one.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Vec<u8>,
    /// Names and values of its headers.
    pub headers: Vec<(&'static str, Vec<u8>)>,
}

/// Where a stream's events stand, for records that tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The stream.
    pub stream: String,
    /// The topic that its events came from.
    pub topic: String,
}

impl Outputs {
    /// Returns whether no topic is written.
    pub fn has_no_topics(&self) -> bool {
        self.topics().is_empty()
    }

    /// Returns the shape of the lines of a kind of file; `None` where none are written.
    pub fn lines(&self, kind: FileKind) -> Option<&CellShape> {
        match kind {
            FileKind::Raw => None,
            FileKind::Closed => self.files.closed.as_ref(),
            FileKind::Late => self.files.late.as_ref(),
        }
    }

    /// Returns whether anything is written for rows of a kind.
    pub fn wants(&self, kind: OutboxKind) -> bool {
        match kind {
            OutboxKind::Closed | OutboxKind::Corrected => self.closed.is_some(),
            OutboxKind::Late => self.late.is_some(),
            OutboxKind::DeadLetter => !self.dead_letters.is_empty(),
        }
    }

    /// Returns all topics.
    pub fn topics(&self) -> Vec<&str> {
        let closed = self.closed.iter().map(|closed| closed.topic.as_str());
        closed.chain(self.late.as_deref()).chain(self.dead_letters.iter().map(String::as_str)).collect()
    }
}

/// Returns the members of a rollup's row as queries show it.
pub fn default_fields(rollup: &Rollup) -> Vec<String> {
    let measures = rollup.measures.iter().map(|measure| measure.name.as_str());
    let own = rollup.by.iter().map(String::as_str).chain(measures);
    let all = ["window_start", "window_end"].into_iter().chain(own);
    all.chain(["late_count", "revision", "is_final"]).map(str::to_owned).collect()
}

/// Makes the record of a cell as it is now; its window is final.
pub fn cell_record(output: &ClosedOutput, rollup: &Rollup, kind: OutboxKind, row: &Row) -> OutputRecord {
    let fields = chosen(&output.shape, || default_fields(rollup));
    let value = object(&fields, |field| member(&output.shape, rollup, row, field));
    let key = match row.dimensions.as_slice() {
        [] => rollup.name.clone(),
        [one] => one.clone(),
        several => serde_json::Value::from(several).to_string(),
    };
    OutputRecord {
        topic: output.topic.clone(),
        key: Some(key.into_bytes()),
        value: value.into_bytes(),
        headers: vec![
            ("kind", kind.name().into()),
            ("rollup", rollup.name.clone().into()),
            ("window_start", row.start.to_string().into()),
            ("revision", row.revision.to_string().into()),
        ],
    }
}

/// Makes the line of a cell as it is now; its window is final. Files have no headers: where no members are chosen, the
/// rollup is the first.
pub fn cell_line(shape: &CellShape, rollup: &Rollup, row: &Row) -> String {
    let fields = chosen(shape, || with_rollup(default_fields(rollup)));
    object(&fields, |field| member(shape, rollup, row, field))
}

/// Makes the line of an event that a rollup diverted: a cell of this event alone, in which every plain count is 1. What
/// only the cell of the window would have is null.
pub fn late_line(shape: &CellShape, rollup: &Rollup, start: Timestamp, dimensions: &[String]) -> String {
    let fields = chosen(shape, || {
        let measures = rollup.measures.iter().map(|measure| measure.name.clone());
        let times = ["window_start", "window_end"].map(str::to_owned);
        with_rollup(times.into_iter().chain(rollup.by.iter().cloned()).chain(measures).collect())
    });
    let plain = crate::definition::Condition::default();
    object(&fields, |field| {
        if let Some(at) = rollup.by.iter().position(|name| name == field) {
            return quoted(&dimensions[at]);
        }
        if let Some(measure) = rollup.measures.iter().find(|measure| measure.name == field) {
            let is_plain = measure.function == Function::Count && measure.filter == plain;
            return if is_plain { "1" } else { "null" }.to_owned();
        }
        match field {
            "rollup" => quoted(&rollup.name),
            "window_start" => time(shape, start),
            "window_end" => time(shape, Timestamp(start.0 + rollup.window_ms)),
            _ => "null".to_owned(),
        }
    })
}

fn with_rollup(mut fields: Vec<String>) -> Vec<String> {
    fields.insert(0, "rollup".to_owned());
    fields
}

fn chosen(shape: &CellShape, defaults: impl FnOnce() -> Vec<String>) -> Vec<String> {
    if shape.fields.is_empty() { defaults() } else { shape.fields.clone() }
}

fn object(fields: &[String], member: impl Fn(&str) -> String) -> String {
    let mut text = String::from("{");
    for field in fields {
        if text.len() > 1 {
            text.push(',');
        }
        text += &format!("{}:{}", quoted(field), member(field));
    }
    text.push('}');
    text
}

fn time(shape: &CellShape, at: Timestamp) -> String {
    let text = at.to_string();
    quoted(if shape.has_zone { &text } else { text.trim_end_matches('Z') })
}

fn member(shape: &CellShape, rollup: &Rollup, row: &Row, field: &str) -> String {
    if let Some(at) = rollup.by.iter().position(|name| name == field) {
        return quoted(&row.dimensions[at]);
    }
    if let Some(at) = rollup.measures.iter().position(|measure| measure.name == field) {
        return row.values[at].show(&rollup.measures[at].function).unwrap_or_else(|| "null".to_owned());
    }
    match field {
        "rollup" => quoted(&rollup.name),
        "window_start" => time(shape, row.start),
        "window_end" => time(shape, row.end),
        "late_count" => row.late_count.to_string(),
        "revision" => row.revision.to_string(),
        "is_final" => "true".to_owned(),
        // Invariant: the configuration knows a rollup's fields.
        _ => "null".to_owned(),
    }
}

/// Makes the record of a late event: the event as it was sent.
pub fn late_record(topic: &str, origin: &Origin, row: &OutboxRow, event: &OutboxEvent) -> OutputRecord {
    let mut headers =
        vec![("rollup", row.rollup.clone().into()), ("window_start", row.window_start.to_string().into())];
    headers.extend(origin_headers(origin, event));
    OutputRecord { topic: topic.to_owned(), key: event.key.clone(), value: event.raw.clone(), headers }
}

/// Makes the record of a dead letter: the record as it was sent, whatever it holds.
pub fn dead_letter_record(topic: &str, origin: &Origin, event: &OutboxEvent) -> OutputRecord {
    let mut headers = vec![("reason", event.reason.clone().into()), ("detail", event.detail.clone().into())];
    headers.extend(origin_headers(origin, event));
    OutputRecord { topic: topic.to_owned(), key: event.key.clone(), value: event.raw.clone(), headers }
}

fn origin_headers(origin: &Origin, event: &OutboxEvent) -> [(&'static str, Vec<u8>); 6] {
    [
        ("stream", origin.stream.clone().into()),
        ("topic", origin.topic.clone().into()),
        ("partition", event.partition.to_string().into()),
        ("offset", event.offset.to_string().into()),
        ("event_id", event.event_id.clone().into()),
        ("received_at", event.received_at.to_string().into()),
    ]
}

impl OutputRecord {
    /// Returns the record with at most so many bytes of its value, and a header that tells how many there were. The
    /// other headers name the place of the whole.
    pub fn shortened(&self, bytes_max: usize) -> OutputRecord {
        let mut short = self.clone();
        short.headers.retain(|(name, _)| *name != TRUNCATED);
        let whole = self.headers.iter().find(|(name, _)| *name == TRUNCATED).map(|(_, bytes)| bytes.clone());
        short.headers.push((TRUNCATED, whole.unwrap_or_else(|| self.value.len().to_string().into())));
        short.value.truncate(bytes_max);
        short
    }
}

/// The header that tells how many bytes a value had before it was cut short.
const TRUNCATED: &str = "truncated_from";

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests;
