//! The parsed form of events that travel together from a request, through the log, to the fold.
//! One allocation per part, not per event: texts are spans into the bytes as they came.

use std::sync::Arc;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::reason::Refusal;
use crate::time::Timestamp;
use crate::trace::TraceContext;

/// A piece of a batch's bytes. The highest bit of `at` tells the batch's side bytes from its main ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    at: u32,
    len: u32,
}

const SIDE: u32 = 1 << 31;

impl Span {
    /// A text that is not there.
    pub const NONE: Span = Span { at: u32::MAX, len: 0 };

    /// Returns the span `at..at + len` of the batch's main bytes.
    pub fn main(at: usize, len: usize) -> Span {
        debug_assert!(at < SIDE as usize && len < SIDE as usize, "Invariant: batches are smaller than 2 GiB");
        Span { at: at as u32, len: len as u32 }
    }

    /// Returns whether there is no text.
    pub fn is_none(self) -> bool {
        self == Span::NONE
    }

    /// Returns the length in bytes.
    pub fn len(self) -> usize {
        self.len as usize
    }

    /// Returns whether the text is absent or has no bytes.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// Returns the place in the main bytes; `None` when the text stands in the side bytes or is absent.
    pub fn main_at(self) -> Option<usize> {
        (self.at & SIDE == 0).then_some(self.at as usize)
    }
}

/// What the door decided about one event; a log keeps exactly this beside the event's bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entry {
    /// The event as sent, without line breaks.
    pub raw: Span,
    /// The event id, as sent, derived or given.
    pub id: Span,
    /// The event type.
    pub kind: Span,
    /// A hash of the partition key; events with equal key and id are one event.
    pub key_hash: u64,
    /// The partition key, for logs that place events by it; absent in what was read back from a log.
    pub key: Span,
    /// The event's timestamp; `None` when none was sent.
    pub event_time: Option<Timestamp>,
    /// When the door received it; `None` for a record that others wrote to the log.
    pub received_at: Option<Timestamp>,
    /// A hash of `raw`, to notice different content under one id.
    pub content: u32,
}

/// The times of a record, as whatever comes behind the log takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// When the door received it; for a record of others, when the log did.
    pub received_at: Timestamp,
    /// The earlier of the two arrivals, at the door and at the log.
    pub arrived_at: Timestamp,
    /// When it happened; without a timestamp, when it arrived.
    pub event_time: Timestamp,
}

impl Entry {
    /// Decides the record's times, with the log's own time of it.
    pub fn times(&self, appended_at: Timestamp) -> Times {
        let received_at = self.received_at.unwrap_or(appended_at);
        let arrived_at = received_at.min(appended_at);
        Times { received_at, arrived_at, event_time: self.event_time.unwrap_or(arrived_at) }
    }
}

/// What a plan read from each event: one row per entry.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fields {
    /// Texts, row by row, as many per row as the plan has text slots.
    pub texts: Vec<Span>,
    /// Scaled numbers, row by row; [`MISSING`] where there is none.
    pub numbers: Vec<i128>,
}

/// Memory of a batch beside its contents: itself, and what the allocator adds to its five parts.
const BATCH_OVERHEAD: usize = 512;

/// A number that an event does not have.
pub const MISSING: i128 = i128::MIN;

/// Where a dead letter stands: its partition and offset.
pub type LetterPlace = (u32, u64);

/// Events of one stream in their order.
#[derive(Debug, Clone)]
pub struct EventBatch {
    /// The stream's name.
    pub stream: Arc<str>,
    /// The bytes that most spans point into.
    pub main: Bytes,
    /// Texts that do not stand in `main` as they are: unescaped, derived, joined.
    pub side: Vec<u8>,
    /// One per event.
    pub entries: Vec<Entry>,
    /// What the stream's plan needs; absent in a batch that was read back from a log.
    pub fields: Option<Fields>,
    /// Events that cannot be folded, by index ascending: dead letters.
    pub refused: Vec<(u32, Refusal)>,
    /// Events that stand for dead letters of the stream, by index ascending, with the letter each stands for.
    pub replays: Vec<(u32, LetterPlace)>,
    /// The first events of requests that are traced, by index ascending, each with the span that appended it. It goes with
    /// the events as far as memory and Kafka's headers do: a batch that was read back from files has none.
    pub traces: Vec<(u32, TraceContext)>,
}

impl EventBatch {
    /// Makes an empty batch over the given bytes.
    pub fn new(stream: Arc<str>, main: Bytes) -> EventBatch {
        EventBatch {
            stream,
            main,
            side: Vec::new(),
            entries: Vec::new(),
            fields: None,
            refused: Vec::new(),
            replays: Vec::new(),
            traces: Vec::new(),
        }
    }

    /// Returns the number of events.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there is no event.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the bytes of a span; none for [`Span::NONE`].
    pub fn bytes(&self, span: Span) -> &[u8] {
        if span.is_none() {
            return &[];
        }
        let at = (span.at & !SIDE) as usize;
        let from: &[u8] = if span.at & SIDE == 0 { &self.main } else { &self.side };
        &from[at..at + span.len as usize]
    }

    /// Returns a span as text. All spans of a batch hold UTF-8, but for the bytes of a refused record that others
    /// wrote to the log, which have no text: the door checked the rest, and a log checks its sums.
    pub fn text(&self, span: Span) -> &str {
        std::str::from_utf8(self.bytes(span)).unwrap_or_default()
    }

    /// Returns the span of a slice of `main`, or copies a text from elsewhere to the side.
    pub fn span_of(&mut self, text: &[u8]) -> Span {
        let start = (text.as_ptr() as usize).wrapping_sub(self.main.as_ptr() as usize);
        if start <= self.main.len() && text.len() <= self.main.len() - start {
            return Span::main(start, text.len());
        }
        self.push_side(text)
    }

    /// Copies a text to the side bytes.
    pub fn push_side(&mut self, text: &[u8]) -> Span {
        let at = self.side.len() as u32;
        self.side.extend_from_slice(text);
        Span { at: at | SIDE, len: text.len() as u32 }
    }

    /// Returns why an event is refused, if it is.
    pub fn refusal(&self, index: usize) -> Option<&Refusal> {
        if self.refused.is_empty() {
            return None;
        }
        let found = self.refused.binary_search_by_key(&(index as u32), |(at, _)| *at).ok()?;
        Some(&self.refused[found].1)
    }

    /// Returns the dead letter that an event stands for, if it does.
    pub fn replay_of(&self, index: usize) -> Option<LetterPlace> {
        if self.replays.is_empty() {
            return None;
        }
        let found = self.replays.binary_search_by_key(&(index as u32), |(at, _)| *at).ok()?;
        Some(self.replays[found].1)
    }

    /// Returns the span that appended an event, where it is the first of a request that is traced.
    pub fn trace_of(&self, index: usize) -> Option<TraceContext> {
        if self.traces.is_empty() {
            return None;
        }
        let found = self.traces.binary_search_by_key(&(index as u32), |(at, _)| *at).ok()?;
        Some(self.traces[found].1)
    }

    /// Returns about how many bytes of memory the batch holds.
    pub fn memory(&self) -> usize {
        let fields =
            self.fields.as_ref().map_or(0, |fields| fields.texts.len() * 8 + fields.numbers.len() * 16);
        BATCH_OVERHEAD
            + self.main.len()
            + self.side.capacity()
            + self.entries.capacity() * size_of::<Entry>()
            + self.replays.capacity() * size_of::<(u32, LetterPlace)>()
            + self.traces.capacity() * size_of::<(u32, TraceContext)>()
            + fields
    }
}

/// Returns the hash by which different content under one id is noticed.
pub fn content_hash(raw: &[u8]) -> u32 {
    xxh3_64(raw) as u32
}

/// Returns the hash of a partition key, as frames and headers carry it.
pub fn key_hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// A batch in its place in a log.
#[derive(Debug, Clone)]
pub struct LogBatch {
    /// The events.
    pub events: Arc<EventBatch>,
    /// The offset of the first event; the others follow without holes unless `places` says otherwise.
    pub first_offset: u64,
    /// A, the log's own time of the records; never runs back in the embedded log.
    pub appended_at: Timestamp,
    /// Offset and A of every record, for logs with holes or a time per record.
    pub places: Option<Vec<(u64, Timestamp)>>,
}

impl LogBatch {
    /// Returns the offset and the log's time of one record.
    pub fn place(&self, index: usize) -> (u64, Timestamp) {
        match &self.places {
            None => (self.first_offset + index as u64, self.appended_at),
            Some(places) => places[index],
        }
    }

    /// Returns the offset behind the last record.
    pub fn next_offset(&self) -> u64 {
        match self.events.len().checked_sub(1) {
            None => self.first_offset,
            Some(last) => self.place(last).0 + 1,
        }
    }
}
