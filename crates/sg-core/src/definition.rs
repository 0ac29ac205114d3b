//! What operators define: streams and the rollups over them. Plain data, already checked by the configuration.

use std::time::Duration;

use xxhash_rust::xxh3::xxh3_128;

use crate::event::OwnNames;
use crate::limits::AVERAGE_EXTRA_SCALE;
use crate::output::Outputs;
use crate::sketch;

/// A stream: where events of one kind go in, and the rules they must keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// The stream's name, unique.
    pub name: String,
    /// The event type when none is sent; empty when one must be sent.
    pub default_type: String,
    /// Names of its own for the fields that every event may have.
    pub fields: OwnNames,
    /// Whether an event without an id gets one from its content, see [`crate::plan`].
    pub derive_id: bool,
    /// Fields of which the first that is present is the partition key; the event id when none is.
    pub partition_by: Vec<String>,
    /// Fields without which an event is refused.
    pub require: Vec<String>,
    /// Fields that must have a JSON type where they are sent.
    pub types: Vec<(String, FieldType)>,
    /// Where raw events are kept for SQL, if at all.
    pub raw_table: Option<RawTable>,
    /// How far back a duplicate is recognised.
    pub dedup: Dedup,
    /// How far ahead of its arrival an event may be dated.
    pub max_future: Duration,
    /// How long a partition without records holds the watermark back.
    pub idle_timeout: Duration,
    /// Topics that are written.
    pub outputs: Outputs,
    /// What is kept of events that were not counted.
    pub letters: LettersKept,
}

/// The JSON type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldType {
    /// A string.
    Text,
    /// A number.
    Number,
}

impl FieldType {
    /// Returns whether a JSON value has the type.
    pub fn holds(self, raw: &str) -> bool {
        let is_number = raw.starts_with(|first: char| first == '-' || first.is_ascii_digit());
        match self {
            FieldType::Text => raw.starts_with('"'),
            FieldType::Number => is_number,
        }
    }

    /// Returns the type as a sentence about a field names it.
    pub fn name(self) -> &'static str {
        match self {
            FieldType::Text => "a string",
            FieldType::Number => "a number, without quotes",
        }
    }
}

/// A table of raw events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawTable {
    /// The name of the view that users read.
    pub name: String,
    /// How long rows are kept.
    pub keep: Duration,
    /// Of how many records, the newest of the stream, rows are kept at most; the partitions share it alike.
    pub rows_max: Option<u64>,
}

/// What is kept of events that were not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LettersKept {
    /// Records that could not be folded; those in the duplicate window are kept in any case.
    pub dead_letters: Keep,
    /// Events that rollups diverted.
    pub late: Keep,
}

/// How long rows of a kind are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Until they are so old.
    pub age: Duration,
    /// Until so many newer ones of the stream are there.
    pub rows_max: Option<u64>,
}

impl Default for Keep {
    fn default() -> Keep {
        Keep { age: Duration::from_secs(30 * 86_400), rows_max: None }
    }
}

/// The duplicate window: the smaller of the two decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dedup {
    /// Records back, over all partitions of the stream.
    pub records: u64,
    /// Log time back.
    pub horizon: Duration,
}

impl Dedup {
    /// Returns the window of one partition, where the records are those of a stream with so many.
    pub fn shared_by(self, partitions: u32) -> Dedup {
        Dedup { records: self.records.div_ceil(u64::from(partitions.max(1))), ..self }
    }
}

/// A rollup: windows of one length over one stream, split by dimensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollup {
    /// The rollup's name, which is also its view's.
    pub name: String,
    /// The stream it reads.
    pub stream: String,
    /// Window length in milliseconds.
    pub window_ms: i64,
    /// Pane length in milliseconds; divides the window.
    pub pane_ms: i64,
    /// How long after its end a window takes events without their being late, in milliseconds.
    pub grace_ms: i64,
    /// What happens to late events.
    pub late: LatePolicy,
    /// How long cells are kept, in milliseconds.
    pub keep_ms: i64,
    /// The dimensions, in order.
    pub by: Vec<String>,
    /// The measures, in order.
    pub measures: Vec<Measure>,
}

/// What happens to an event whose window was final when it arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LatePolicy {
    /// It is counted, and the window corrected.
    Correct,
    /// It goes to the late lane instead of the cell.
    Divert,
}

/// One number of a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measure {
    /// The measure's name, which is also its column's.
    pub name: String,
    /// What is computed.
    pub function: Function,
    /// Only events that match are taken.
    pub filter: Condition,
}

/// What a measure computes. Fields are read at `scale` digits after the point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Function {
    /// The number of events.
    Count,
    /// The sum of a field.
    Sum(NumberField),
    /// The smallest value of a field.
    Min(NumberField),
    /// The largest value of a field.
    Max(NumberField),
    /// The mean of a field, kept at its scale plus [`AVERAGE_EXTRA_SCALE`] digits.
    Avg(NumberField),
    /// How many events went up less how many went down, over all time up to the end of the cell's pane.
    Level {
        /// Events that raise it by one.
        up: Condition,
        /// Events that lower it by one.
        down: Condition,
    },
    /// About how many different values a field has.
    Distinct(String),
    /// About the value below or at which a share of a field's values lies.
    Quantile {
        /// The field.
        field: NumberField,
        /// The share, in millionths.
        q_ppm: u32,
    },
    /// The values that a field has most often, with bounds.
    Top {
        /// The field.
        field: String,
        /// How many values are named.
        k: u32,
    },
}

/// A field that is read as a decimal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NumberField {
    /// The field's name.
    pub name: String,
    /// Digits kept after the point.
    pub scale: u32,
}

/// Fields that must have one of the values given; empty matches every event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Condition(pub Vec<(String, Vec<String>)>);

impl Function {
    /// Returns the field that is read as a number, if any.
    pub fn number(&self) -> Option<&NumberField> {
        match self {
            Function::Sum(field)
            | Function::Min(field)
            | Function::Max(field)
            | Function::Avg(field)
            | Function::Quantile { field, .. } => Some(field),
            Function::Count | Function::Level { .. } | Function::Distinct(_) | Function::Top { .. } => None,
        }
    }

    /// Returns the field that is read as a text, if any.
    pub fn text(&self) -> Option<&str> {
        match self {
            Function::Distinct(field) | Function::Top { field, .. } => Some(field),
            _ => None,
        }
    }

    /// Returns whether a cell holds a sketch of which the measure is read.
    pub fn is_sketch(&self) -> bool {
        matches!(self, Function::Distinct(_) | Function::Quantile { .. } | Function::Top { .. })
    }

    /// Returns whether what an event gave can be taken away again without looking at the others.
    pub fn subtracts(&self) -> bool {
        match self {
            Function::Count | Function::Sum(_) | Function::Avg(_) | Function::Level { .. } => true,
            Function::Min(_) | Function::Max(_) => false,
            Function::Distinct(_) | Function::Quantile { .. } | Function::Top { .. } => false,
        }
    }

    /// Returns whether the measure goes on from cell to cell.
    pub fn is_level(&self) -> bool {
        matches!(self, Function::Level { .. })
    }

    /// Returns the digits after the point of the measure's values.
    pub fn scale(&self) -> u32 {
        match self {
            Function::Count | Function::Level { .. } | Function::Distinct(_) | Function::Top { .. } => 0,
            Function::Sum(field)
            | Function::Min(field)
            | Function::Max(field)
            | Function::Quantile { field, .. } => field.scale,
            Function::Avg(field) => field.scale + AVERAGE_EXTRA_SCALE,
        }
    }

    /// Returns the function's name in configuration and API.
    pub fn name(&self) -> &'static str {
        match self {
            Function::Count => "count",
            Function::Sum(_) => "sum",
            Function::Min(_) => "min",
            Function::Max(_) => "max",
            Function::Avg(_) => "avg",
            Function::Level { .. } => "level",
            Function::Distinct(_) => "distinct",
            Function::Quantile { .. } => "quantile",
            Function::Top { .. } => "top",
        }
    }
}

impl Rollup {
    /// Returns whether a measure of the rollup is a sketch.
    pub fn has_sketches(&self) -> bool {
        self.measures.iter().any(|measure| measure.function.is_sketch())
    }

    /// Returns how many of its cells' sketches are handled together, of as many as some bytes may hold.
    pub fn sketched_cells(&self, bytes_max: usize, cells_max: usize) -> usize {
        let of_cell: usize = self.measures.iter().map(|measure| sketch::bytes_max(&measure.function)).sum();
        (bytes_max / of_cell.max(1)).clamp(1, cells_max)
    }

    /// Returns whether events can be taken out of its cells without looking at the others.
    pub fn subtracts(&self) -> bool {
        self.measures.iter().all(|measure| measure.function.subtracts())
    }

    /// Returns whether a measure of the rollup is a level.
    pub fn has_levels(&self) -> bool {
        self.measures.iter().any(|measure| measure.function.is_level())
    }

    /// Returns a hash over everything that decides which cell an event changes and how; what only decides
    /// how cells are shown or kept (grace under `correct`, `keep`) is left out.
    pub fn hash(&self) -> String {
        let mut text = format!("1|{}|{}|{}|{:?}|", self.stream, self.window_ms, self.pane_ms, self.by);
        for measure in &self.measures {
            text += &format!("{:?}|", measure);
        }
        if self.late == LatePolicy::Divert {
            text += &format!("divert {}", self.grace_ms);
        }
        format!("{:032x}", xxh3_128(text.as_bytes()))
    }
}
