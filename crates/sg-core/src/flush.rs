//! What a partition's owner hands to the store in one transaction, and what it gets back at a claim.

use std::sync::Arc;

use crate::batch::{EventBatch, LetterPlace};
use crate::cell::Cells;
use crate::plan::Plan;
use crate::reason::Code;
use crate::time::Timestamp;
use crate::timing::Timing;

/// The two clocks of a partition, stored with its offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionClock {
    /// M: the largest min(event_time, received_at, A) of the records so far.
    pub m: Timestamp,
    /// R: the largest A of the records so far.
    pub r: Timestamp,
}

impl PartitionClock {
    /// The clocks of a partition without records.
    pub const NEVER: PartitionClock = PartitionClock { m: Timestamp::NEVER, r: Timestamp::NEVER };
}

/// Everything a partition's owner needs to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Grows with every claim.
    pub epoch: i64,
    /// The first offset not yet folded.
    pub next_offset: u64,
    /// The offset at which this store began to fold the partition.
    pub first_offset: u64,
    /// The clocks at `next_offset`.
    pub clock: PartitionClock,
    /// The first offset of the duplicate window, and R there.
    pub dedup_from: (u64, Timestamp),
    /// Offsets of dead letters inside the duplicate window, ascending.
    pub dead_offsets: Vec<u64>,
}

/// What became of a partition's records; `processed = counted + duplicate + dead_lettered + deleted`, and where each offset
/// is a record's, on the embedded log, `processed + skipped = next_offset − first_offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ledger {
    /// Records folded.
    pub processed: u64,
    /// Events counted, or diverted as late, once.
    pub counted: u64,
    /// Records whose event stood in the duplicate window already.
    pub duplicate: u64,
    /// Duplicates whose content differed from the copy before; a part of `duplicate`.
    pub id_conflict: u64,
    /// Records that became dead letters.
    pub dead_lettered: u64,
    /// Events deleted by hand.
    pub deleted: u64,
    /// Offsets whose records the log has lost and was told to go on without.
    pub skipped: u64,
}

impl Ledger {
    /// Returns whether every record has exactly one fate.
    pub fn adds_up(&self) -> bool {
        self.processed == self.counted + self.duplicate + self.dead_lettered + self.deleted
    }
}

/// A record that could not be folded, with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its place in the partition.
    pub offset: u64,
    /// Why.
    pub code: Code,
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
    /// The key of its record; `None` when it had none.
    pub key: Option<Vec<u8>>,
    /// The event as sent.
    pub raw: Vec<u8>,
    /// The letter that the record was to mend, which stays as it is.
    pub replay_of: Option<LetterPlace>,
}

/// A record that stands for a dead letter and was not dead-lettered itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replay {
    /// The record's place in the partition.
    pub offset: u64,
    /// The letter, in any partition of the stream.
    pub letter: LetterPlace,
    /// Whether the record is counted, which a letter's replays are once; if not, its event stands in the duplicate window.
    pub is_counted: bool,
}

/// An event that a rollup with `late = "divert"` did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateEvent {
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
    /// The key of its record; `None` when it had none.
    pub key: Option<Vec<u8>>,
    /// The event as sent.
    pub raw: Vec<u8>,
}

/// What a flush changes in one rollup.
#[derive(Debug, Default)]
pub struct RollupDelta {
    /// The cells' additions.
    pub cells: Cells,
    /// Events fed to the rollup, whatever became of them in it.
    pub folded: u64,
    /// Events that went to the late lane.
    pub late: Vec<LateEvent>,
    /// Moves of levels from before all cells, by dimensions: what an import brings of cells that are gone.
    pub bases: LevelBases,
}

/// How far each level of a rollup, in the order of its measures, was moved by events whose cells are gone; by dimensions.
pub type LevelBases = Vec<(Vec<String>, Vec<i64>)>;

/// Counted events of one batch, for the raw table.
#[derive(Debug)]
pub struct RawRows {
    /// The batch that holds the texts.
    pub batch: Arc<EventBatch>,
    /// Index in the batch, offset, and the time that counts, ascending by offset.
    pub rows: Vec<RawRow>,
}

/// One counted event.
#[derive(Debug, Clone, Copy)]
pub struct RawRow {
    /// Its index in the batch.
    pub index: u32,
    /// Its place in the partition.
    pub offset: u64,
    /// When it happened, as decided.
    pub event_time: Timestamp,
    /// When the door received it.
    pub received_at: Timestamp,
}

/// Offsets between two marks of a partition: a rebuild reads at most so many in vain.
pub const OFFSETS_PER_MARK: u64 = 1_000_000;

/// The work of one partition over `base..end`, written all or nothing.
#[derive(Debug)]
pub struct Flush {
    /// The stream's plan, which names its rollups and raw table.
    pub plan: Arc<Plan>,
    /// The partition.
    pub partition: u32,
    /// The epoch of the claim under which it was folded.
    pub epoch: i64,
    /// The offset that the store must still be at.
    pub base: u64,
    /// The offset that the store will be at.
    pub end: u64,
    /// The clocks at `end`.
    pub clock: PartitionClock,
    /// The first offset of the duplicate window at `end`, and R there.
    pub dedup_from: (u64, Timestamp),
    /// What became of the records.
    pub ledger: Ledger,
    /// One per rollup of the plan, in its order.
    pub rollups: Vec<RollupDelta>,
    /// Counted events, when the stream has a raw table.
    pub raw: Vec<RawRows>,
    /// Dead letters, ascending by offset.
    pub dead_letters: Vec<DeadLetter>,
    /// Records that stand for dead letters, ascending by offset.
    pub replays: Vec<Replay>,
    /// When its records came, for whoever watches; no store looks at it.
    pub timing: Timing,
}

impl Flush {
    /// Returns whether the flush leaves a mark: where a later rebuild may begin.
    pub fn marks(&self) -> bool {
        self.base / OFFSETS_PER_MARK != self.end / OFFSETS_PER_MARK
    }
}
