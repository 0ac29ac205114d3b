//! What the core asks of the outside: a log, a store and an archive. Ports take batches, speak the core's words and decide
//! nothing; `Ok` means durable, unless a method says otherwise. No default methods, so that no wrapper can forget one.

mod archive;
mod erasing;
mod keys;
mod log;
mod rewriting;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;

use crate::definition::{Rollup, Stream};
use crate::flush::{Checkpoint, Flush, Ledger, LevelBases, PartitionClock};
pub use crate::outbox::{MAIN_LANE, OutboxEvent, OutboxKind, OutboxRow, OutboxStatus, Parked};
use crate::output::OutputRecord;
use crate::plan::Plan;
use crate::query::{
    CellQuery, CellRow, DeadLetterQuery, DeletedEvent, EventQuery, EventScan, LateQuery, LetterCount,
    StoredDeadLetter, StoredEvent, StoredLate, Tally, TallyQuery, Totals,
};
use crate::time::Timestamp;

pub use crate::metrics::Removable;
pub use archive::{
    Archive, ArchiveClaim, ArchivePosition, ArchivedFile, Cut, CutBuilder, CutFile, DoomedFile, FileLimits,
    Intent, Kept, Line, LineCut, LinesStatus, Manifest, ManifestQuery, Mark,
};
pub use erasing::{EventPicker, Picked, Picking};
pub use keys::{KeyAdded, KeyStore};
pub use log::{Appended, Change, EventLog, Extent, LogReader, Membership, PartitionName};
pub use rewriting::{Rebuilder, Rewriter};

/// What a caller can do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// It may pass: try again later.
    Retry,
    /// There is no room: refuse new work until there is.
    Full,
    /// What is stored is not what was written: stop and call for help.
    Corrupt,
    /// It will not pass in this process: leave.
    Closed,
    /// The request itself cannot be answered, whoever asks: refuse it.
    Invalid,
}

/// A failure of a port.
#[derive(Debug, thiserror::Error)]
#[error("{doing}{}", .source.as_ref().map(|source| format!(": {source}")).unwrap_or_default())]
pub struct PortError {
    /// What the caller can do.
    pub kind: ErrorKind,
    /// What was being done, to what.
    pub doing: String,
    /// The cause below.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl PortError {
    /// Makes an error that has no cause below it.
    pub fn new(kind: ErrorKind, doing: impl Into<String>) -> PortError {
        PortError { kind, doing: doing.into(), source: None }
    }

    /// Makes an error from the cause below it.
    pub fn from_source(
        kind: ErrorKind,
        doing: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> PortError {
        PortError { kind, doing: doing.into(), source: Some(source.into()) }
    }

    /// Makes the error of a question that was stopped because it took too long. It is tried again like whatever may pass;
    /// whoever asked by hand is told what to ask instead.
    pub fn overdue(doing: impl Into<String>, why: Overdue) -> PortError {
        PortError::from_source(ErrorKind::Retry, doing, why)
    }

    /// Returns whether a question took too long, as the store said itself.
    pub fn is_overdue(&self) -> bool {
        self.source.as_ref().is_some_and(|source| source.is::<Overdue>())
    }
}

/// On what a question that was stopped spent its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Overdue {
    /// On reading.
    #[error("it took too long and was stopped: ask for a shorter time range, fewer rows or by an id")]
    Reading,
    /// On waiting for somebody who changes the tables.
    #[error(
        "it waited too long for a table that is being changed and was stopped: ask again when that is done"
    )]
    Waiting,
}

/// Who claims a partition, and what for.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The stream's plan.
    pub plan: Arc<Plan>,
    /// The partition.
    pub partition: u32,
    /// A name of the process for the status page.
    pub owner: String,
    /// The log's identity; a claim of a partition known under another one fails as corrupt.
    pub log_identity: String,
    /// Where to begin when the partition was never folded.
    pub start: u64,
}

/// How a flush ended. Everything else is a [`PortError`], after which its outcome is unknown: read the checkpoint again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlushOutcome {
    /// Written, all of it.
    Done,
    /// Nothing was written: the partition stands at another offset or belongs to another epoch.
    Missed {
        /// The stored epoch.
        epoch: i64,
        /// The stored offset.
        next_offset: u64,
    },
    /// Nothing was written: the store cannot hold some of the data.
    Refused {
        /// What the store said.
        detail: String,
    },
    /// Nothing was written: these records stand for dead letters that others have replayed already.
    Repeated {
        /// Their offsets, ascending.
        offsets: Vec<u64>,
    },
}

/// The store, as the partitions' owners see it.
#[async_trait]
pub trait RollupWriter: Send + Sync {
    /// Makes tables and views for the definitions. A rollup whose definition hash differs from the stored one is refused
    /// as [`ErrorKind::Invalid`], with the remedy.
    async fn prepare(&self, streams: &[Stream], rollups: &[Rollup]) -> Result<(), PortError>;
    /// Takes a partition over: its epoch grows, so that an earlier owner can write no more.
    async fn claim(&self, claim: &Claim) -> Result<Checkpoint, PortError>;
    /// Reads a partition's checkpoint again, without claiming.
    async fn checkpoint(&self, stream: &str, partition: u32) -> Result<Checkpoint, PortError>;
    /// Writes a partition's work if the store is still at its base and epoch, and closes windows.
    async fn flush(&self, flush: Arc<Flush>) -> Result<FlushOutcome, PortError>;
    /// Says every few seconds whether an owned partition is idle, and closes windows. Returns false, with nothing
    /// written, when the epoch is no longer ours or the partition stands at another offset than its owner thinks.
    async fn refresh(&self, refresh: &Refresh) -> Result<bool, PortError>;
    /// Removes what is older or more than its definition keeps, a step of so many rows at a time; returns what the step
    /// removed, and `None` when nothing is left to be.
    async fn retain(
        &self,
        plan: &Plan,
        now: Timestamp,
        rows_max: usize,
    ) -> Result<Option<Removed>, PortError>;
    /// Returns the oldest rows of a lane of a stream's outbox; none where another process is the stream's sender.
    /// Their events take at most [`OUTBOX_BYTES_AT_ONCE`](crate::limits::OUTBOX_BYTES_AT_ONCE), or are one.
    async fn outbox(&self, stream: &str, lane: &str, rows_max: usize) -> Result<Vec<OutboxRow>, PortError>;
    /// Deletes a lane's rows up to an id, durably, and puts those that are parked into their lanes; what is parked in
    /// the same lane stays.
    async fn outbox_sent(
        &self,
        stream: &str,
        lane: &str,
        through: i64,
        parked: &[Parked],
    ) -> Result<(), PortError>;
    /// Makes everything written so far durable and returns what a restart would need of the log as of then.
    async fn sync(&self) -> Result<Vec<Needed>, PortError>;
}

/// What a step of retention removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removed {
    /// Of what.
    pub what: Removable,
    /// How many, as far as they are counted: rows that go as a whole file of the store are not.
    pub rows: u64,
}

/// What a restart would need of one partition's records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needed {
    /// The stream.
    pub stream: String,
    /// The partition.
    pub partition: u32,
    /// The first offset not yet folded.
    pub next_offset: u64,
    /// The first offset of the duplicate window.
    pub window_from: u64,
}

/// What a partition's owner says while nothing else is to be said.
#[derive(Debug, Clone)]
pub struct Refresh {
    /// The stream's plan.
    pub plan: Arc<Plan>,
    /// The partition.
    pub partition: u32,
    /// The epoch of the owner's claim.
    pub epoch: i64,
    /// Whether the partition has been without records for the stream's idle timeout and has no backlog.
    pub is_idle: bool,
    /// Where the duplicate window of a quiet partition has moved on to. `None` while records are folded or read but not
    /// flushed: the window then stands ahead of the stored offset, and a restart must not begin with it.
    pub dedup_from: Option<(u64, Timestamp)>,
    /// The offset that the store must be at; `None` while a flush is under way.
    pub base: Option<u64>,
    /// The current time.
    pub now: Timestamp,
}

/// A partition as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionStatus {
    /// The stream.
    pub stream: String,
    /// The partition.
    pub partition: u32,
    /// The epoch.
    pub epoch: i64,
    /// The owner's name.
    pub owner: String,
    /// The identity of the log whose offsets these are; empty for a partition that was never claimed.
    pub log_identity: String,
    /// Where folding began.
    pub first_offset: u64,
    /// The first offset not folded.
    pub next_offset: u64,
    /// The clocks.
    pub clock: PartitionClock,
    /// The duplicate window's first offset, and R there.
    pub dedup_from: (u64, Timestamp),
    /// What became of the records.
    pub ledger: Ledger,
    /// Whether the partition counts as idle.
    pub is_idle: bool,
}

/// A rollup as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RollupStatus {
    /// The rollup's name.
    pub name: String,
    /// The hash of the definition that its cells were counted under.
    pub definition: String,
    /// Windows that end no later are final.
    pub closed_to: Timestamp,
    /// Windows that end no later have been removed by retention.
    pub removed_before: Timestamp,
    /// When the definition was first fed: windows before are incomplete. `None` when it was fed from the start.
    pub complete_from: Option<Timestamp>,
    /// Events fed to it.
    pub folded: u64,
    /// Events in its cells now.
    pub in_cells: u64,
    /// Events whose cells retention removed.
    pub removed: u64,
    /// Events in the late lane.
    pub diverted: u64,
    /// Events whose window retention had removed before they came.
    pub expired: u64,
    /// Events that do not fit the definition, found by a rebuild.
    pub unfit: u64,
    /// Events deleted by hand.
    pub deleted: u64,
}

impl RollupStatus {
    /// Returns whether every event fed to the rollup is accounted for.
    pub fn adds_up(&self) -> bool {
        self.folded == self.in_cells + self.removed + self.diverted + self.expired + self.unfit + self.deleted
    }
}

/// How much a status is to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusDetail {
    /// Offsets, clocks, watermarks and ledgers as they stand in their rows; `in_cells` is zero.
    Marks,
    /// Also `in_cells`, for which every cell is read.
    Ledger,
}

/// What the store knows of everything.
#[derive(Debug, Clone, Default)]
pub struct StoreStatus {
    /// All partitions.
    pub partitions: Vec<PartitionStatus>,
    /// Each stream's watermark.
    pub watermarks: Vec<(String, Timestamp)>,
    /// All rollups.
    pub rollups: Vec<RollupStatus>,
    /// Lanes of outboxes in which anything waits.
    pub outboxes: Vec<OutboxStatus>,
    /// Lines that wait for files of the archive.
    pub lines: Vec<LinesStatus>,
}

/// The store, as questions see it.
#[async_trait]
pub trait RollupReader: Send + Sync {
    /// Returns the query's first cells in its order, at most its limit.
    async fn cells(&self, query: &CellQuery) -> Result<Vec<CellRow>, PortError>;
    /// Returns the moves of a rollup's levels whose cells are gone.
    async fn level_bases(&self, rollup: &Rollup) -> Result<LevelBases, PortError>;
    /// Adds up the cells of a range.
    async fn totals(&self, query: &TallyQuery) -> Result<Totals, PortError>;
    /// Adds up the cells of a range by their dimensions.
    async fn tally(&self, query: &TallyQuery) -> Result<Tally, PortError>;
    /// Returns raw events, newest first.
    async fn events(&self, query: &EventQuery) -> Result<Vec<StoredEvent>, PortError>;
    /// Returns raw events of a partition from one offset to before another, the first of them in their order.
    async fn scan_events(&self, scan: &EventScan) -> Result<Vec<StoredEvent>, PortError>;
    /// Returns the events of an id that were deleted by hand.
    async fn deleted_events(&self, event_id: &str) -> Result<Vec<DeletedEvent>, PortError>;
    /// Returns how many raw events meet a query, whatever its limit.
    async fn count_events(&self, query: &EventQuery) -> Result<u64, PortError>;
    /// Returns how many different users have raw events of a stream that happened from `from` to before `to`.
    async fn active_users(&self, stream: &str, from: Timestamp, to: Timestamp) -> Result<u64, PortError>;
    /// Returns dead letters, newest first.
    async fn dead_letters(&self, query: &DeadLetterQuery) -> Result<Vec<StoredDeadLetter>, PortError>;
    /// Counts the dead letters of one stream, or of all, by reason.
    async fn letter_counts(&self, stream: Option<&str>) -> Result<Vec<LetterCount>, PortError>;
    /// Returns late events that rollups diverted, newest first.
    async fn late(&self, query: &LateQuery) -> Result<Vec<StoredLate>, PortError>;
    /// Returns which of these records, by partition and offset, a rollup diverted as late, as far as that is still known.
    async fn diverted(&self, rollup: &str, places: &[(u32, u64)]) -> Result<BTreeSet<(u32, u64)>, PortError>;
    /// Returns the state of every partition, stream and rollup, all of one moment.
    async fn status(&self, detail: StatusDetail) -> Result<StoreStatus, PortError>;
}

/// A record that a topic does not take, however often it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedRecord {
    /// Its index among those produced together.
    pub index: usize,
    /// Whether it is too large; else the topic is not there, or not for us.
    pub is_too_large: bool,
    /// What the broker said.
    pub why: String,
}

/// Topics that others read.
#[async_trait]
pub trait OutputTopics: Send + Sync {
    /// Produces records, those of one key in their order, and returns once each is acknowledged by all in-sync replicas
    /// or refused. After an error it is not known which have arrived: produce all of them again.
    async fn produce(&self, records: &[OutputRecord]) -> Result<Vec<RefusedRecord>, PortError>;
}

/// What a flush by hand wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FlushReport {
    /// Events written.
    pub flushed_events: u64,
    /// Cells written.
    pub flushed_windows: u64,
}

/// What waits between log and store in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The stream.
    pub stream: String,
    /// The partition.
    pub partition: u32,
    /// What the log holds of it; `None` while the log does not answer.
    pub extent: Option<Extent>,
    /// What the partition's owner knows, where that is this process.
    pub owned: Option<Owned>,
}

/// What a partition's owner knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// The offset behind the last record that the fold has seen.
    pub folded: u64,
    /// The offset behind the last record that the store has.
    pub flushed: u64,
    /// Bytes of the duplicate window in memory.
    pub judge_bytes: u64,
    /// When the store last took something of the partition from this process.
    pub flushed_at: Option<Timestamp>,
    /// When what waits will be flushed at the latest; `None` while nothing waits.
    pub flush_due: Option<Timestamp>,
    /// Why the partition stands still, if it does.
    pub stopped: Option<String>,
}

/// The way from the log to the store, as the doors see it, whichever process owns a partition.
#[async_trait]
pub trait Pipeline: Send + Sync {
    /// Writes what is in memory now and returns when the store has everything that the log had at the call.
    async fn flush_now(&self) -> Result<FlushReport, PortError>;
    /// Returns once the store has a partition's records before `offset`.
    async fn wait_for(&self, stream: &str, partition: u32, offset: u64) -> Result<(), PortError>;
    /// Holds a sender back for a moment while the fold is far behind `offset`: a fold that keeps up is served from
    /// memory, one that does not must read the disk and falls behind further. Never longer than a fraction of a second.
    async fn pace(&self, stream: &str, partition: u32, offset: u64);
    /// Returns what waits, per partition. Asks the log alone: an error is the log's.
    async fn pending(&self) -> Result<Vec<Pending>, PortError>;
}
