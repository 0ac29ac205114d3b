//! What a store's outbox holds: what became known to the world with a flush and waits to be told.

use crate::time::Timestamp;

/// The lane of what has not been tried yet. What one topic refuses waits in a lane of the topic's name, so that the
/// rest can go on; see [`Parked`].
pub const MAIN_LANE: &str = "";

/// A cell, late event or dead letter that waits to be told, in the outbox's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// Its place in the outbox.
    pub id: i64,
    /// What happened.
    pub kind: OutboxKind,
    /// The rollup; empty for a dead letter.
    pub rollup: String,
    /// The start of the window; [`Timestamp::NEVER`] for a dead letter.
    pub window_start: Timestamp,
    /// The dimensions' values in order; none for a dead letter.
    pub dimensions: Vec<String>,
    /// The cell's revision then; zero for events.
    pub revision: u64,
    /// The event, of late events and dead letters.
    pub event: Option<OutboxEvent>,
}

/// An event in the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEvent {
    /// Its partition.
    pub partition: u32,
    /// Its place in the partition.
    pub offset: u64,
    /// The key of its record; `None` when it had none.
    pub key: Option<Vec<u8>>,
    /// The event id.
    pub event_id: String,
    /// When the door received it.
    pub received_at: Timestamp,
    /// Why it is a dead letter; empty for a late event.
    pub reason: String,
    /// The reason in one sentence; empty for a late event.
    pub detail: String,
    /// The event as sent.
    pub raw: Vec<u8>,
}

/// Why a row stands in the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutboxKind {
    /// The cell's window became final.
    Closed,
    /// A cell of a final window changed.
    Corrected,
    /// A rollup diverted the event. Only of streams that have a topic for it.
    Late,
    /// The record could not be folded. Only of streams that have a topic for it.
    DeadLetter,
}

impl OutboxKind {
    /// All kinds.
    pub const ALL: [OutboxKind; 4] =
        [OutboxKind::Closed, OutboxKind::Corrected, OutboxKind::Late, OutboxKind::DeadLetter];

    /// Returns the kind's name in tables and headers.
    pub fn name(self) -> &'static str {
        match self {
            OutboxKind::Closed => "closed",
            OutboxKind::Corrected => "corrected",
            OutboxKind::Late => "late",
            OutboxKind::DeadLetter => "dead_letter",
        }
    }
}

/// A row that one topic refuses for now: it waits in that topic's lane, while the others have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// The row.
    pub id: i64,
    /// The topic, which is the lane's name.
    pub topic: String,
}

/// How much waits in a lane of a stream's outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxStatus {
    /// The stream.
    pub stream: String,
    /// The topic that refuses these rows; [`MAIN_LANE`] for the others.
    pub lane: String,
    /// Rows that wait.
    pub rows: u64,
    /// When the first of them was written.
    pub oldest: Timestamp,
}
