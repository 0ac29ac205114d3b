//! What the core asks of a log: to take batches for good, and to hand them out again in order.

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;

use crate::batch::{EventBatch, LogBatch};
use crate::time::Timestamp;

use super::PortError;

/// What a log holds of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The first offset still there.
    pub start: u64,
    /// The offset that the next record will get.
    pub end: u64,
    /// The log's newest time over all its records: no later record gets an earlier one. [`Timestamp::NEVER`] where
    /// the log cannot promise that.
    pub newest: Timestamp,
    /// Whether the log holds more than it is to keep, and would remove its oldest records if nobody needed them; false
    /// where others decide what is kept.
    pub is_surplus: bool,
}

/// Where records of a batch lie in one partition, among those that others appended at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The partition.
    pub partition: u32,
    /// The offset of the first record.
    pub first_offset: u64,
    /// The offset behind the last record.
    pub next_offset: u64,
}

/// A stream's partition by name.
pub type PartitionName = (String, u32);

/// A change in which partitions this process works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Work on these from now on.
    Assigned(Vec<PartitionName>),
    /// Others are to have these: flush what is folded, soon, then say [`Membership::released`].
    Revoked(Vec<PartitionName>),
    /// Others have these already: drop what is folded.
    Lost(Vec<PartitionName>),
}

/// This process among those that share a log's partitions.
#[async_trait]
pub trait Membership: Send {
    /// Waits for the next change. Cancel-safe.
    async fn change(&mut self) -> Result<Change, PortError>;
    /// Says that the revocation last returned has been carried out.
    async fn released(&mut self);
    /// Tells the log's own tools how far partitions are flushed. Nothing is ever read back from it.
    async fn report(&mut self, flushed: &[(String, u32, u64)]);
    /// Returns how long a partition may be another's before this process is told; `None` where there are no others.
    fn told_within(&self) -> Option<Duration>;
    /// Gives everything up, so that others need not wait.
    async fn leave(&mut self);
}

/// Where accepted events wait until they are counted.
#[async_trait]
pub trait EventLog: Send + Sync {
    /// Appends a batch of one stream in order, each event to the partition of its key; returns once all of it is
    /// durable, with one entry for each partition touched.
    async fn append(&self, batch: EventBatch) -> Result<Vec<Appended>, PortError>;
    /// Joins those who share the partitions of the streams.
    async fn join(&self, streams: &[String]) -> Result<Box<dyn Membership>, PortError>;
    /// Opens a reader of one partition at an offset between the extent's start and end.
    async fn open(&self, stream: &str, partition: u32, from: u64) -> Result<Box<dyn LogReader>, PortError>;
    /// Returns what the log holds of one partition.
    async fn extent(&self, stream: &str, partition: u32) -> Result<Extent, PortError>;
    /// Returns the number of the stream's partitions.
    async fn partitions(&self, stream: &str) -> Result<u32, PortError>;
    /// Returns what tells this log from any other, also from one that was deleted and made again.
    async fn identity(&self, stream: &str) -> Result<String, PortError>;
    /// Allows records to be deleted of which every partition named here is past: (stream, partition, first needed offset).
    async fn trim(&self, needed: &[(String, u32, u64)]) -> Result<(), PortError>;
    /// Refuses new records, makes durable what was taken, and returns when that is done.
    async fn close(&self) -> Result<(), PortError>;
}

/// Reads one partition in order.
#[async_trait]
pub trait LogReader: Send {
    /// Returns the next batches, about `bytes_max` in all; waits up to `wait` while there are none, then returns none, and
    /// at once where it has passed offsets that the log has lost. Every batch is durable. Cancel-safe: a call that is
    /// dropped has read nothing.
    async fn next(&mut self, bytes_max: usize, wait: Duration) -> Result<Vec<LogBatch>, PortError>;
    /// Returns the offset before which no record is left to be returned: behind the last one returned, and behind the
    /// holes after it (aborted or lost records) once the reader knows them to be holes.
    fn passed(&self) -> u64;
    /// Takes the offsets whose records the log has lost and was told to go on without, as far as the reader has come by
    /// them since the last call, ascending; a few may lie behind `passed`. Holes that are normal are not among them.
    fn lost(&mut self) -> Vec<Range<u64>>;
}
