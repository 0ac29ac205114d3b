//! Finds the new place of every record, by reading the new partitions in order beside the old log. Whatever decides
//! the partition of a key, a record is the next one of exactly one of them: equal records have one key.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use sg_core::batch::{EventBatch, LogBatch};
use sg_core::ports::{ErrorKind, EventLog, Extent, LogReader, PortError};
use sg_core::time::Timestamp;
use tokio::time::Instant;

/// Bytes read of a partition at once.
const READ_BYTES_MAX: usize = 1 << 20;
/// How long a partition may bring nothing that the log says it holds.
const PATIENCE: Duration = Duration::from_secs(60);

/// The new place of a record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) partition: usize,
    pub(super) offset: u64,
    /// A there.
    pub(super) appended_at: Timestamp,
}

/// The next record of every new partition.
pub(super) struct Heads {
    stream: String,
    heads: Vec<Head>,
}

struct Head {
    reader: Box<dyn LogReader>,
    end: u64,
    batches: VecDeque<LogBatch>,
    /// The next record's index in the first batch.
    at: usize,
}

impl Heads {
    /// Opens all partitions at their beginning.
    pub(super) async fn open(
        log: &Arc<dyn EventLog>,
        stream: &str,
        extents: &[Extent],
    ) -> Result<Heads, PortError> {
        let mut heads = Vec::new();
        for (partition, extent) in extents.iter().enumerate() {
            let reader = log.open(stream, partition as u32, extent.start).await?;
            heads.push(Head { reader, end: extent.end, batches: VecDeque::new(), at: 0 });
        }
        Ok(Heads { stream: stream.to_owned(), heads })
    }

    /// Takes the record that is next to be found: the one at `index`, which the old log took at `appended_at`.
    pub(super) async fn find(
        &mut self,
        events: &EventBatch,
        index: usize,
        appended_at: Timestamp,
    ) -> Result<Found, PortError> {
        for (partition, head) in self.heads.iter_mut().enumerate() {
            if head.fill().await? && head.is(events, index, appended_at) {
                let (offset, appended_at) = head.take();
                return Ok(Found { partition, offset, appended_at });
            }
        }
        let doing = format!(
            "importing {}: the new log does not hold the records as they were written; let nobody else write to it",
            self.stream
        );
        Err(PortError::new(ErrorKind::Corrupt, doing))
    }
}

impl Head {
    /// Makes sure that the next record is there; returns false when there is none.
    async fn fill(&mut self) -> Result<bool, PortError> {
        let began = Instant::now();
        while self.batches.is_empty() && self.reader.passed() < self.end {
            if began.elapsed() > PATIENCE {
                let doing = "reading the new log again: it does not bring what it holds; look at the brokers";
                return Err(PortError::new(ErrorKind::Retry, doing));
            }
            let batches = self.reader.next(READ_BYTES_MAX, Duration::from_secs(1)).await?;
            self.batches.extend(batches.into_iter().filter(|batch| !batch.events.is_empty()));
        }
        Ok(!self.batches.is_empty())
    }

    fn is(&self, events: &EventBatch, index: usize, appended_at: Timestamp) -> bool {
        let (mine, wanted) = (&self.batches[0].events, &events.entries[index]);
        let entry = &mine.entries[self.at];
        entry.key_hash == wanted.key_hash
            && entry.content == wanted.content
            && entry.event_time == wanted.event_time
            && entry.received_at == Some(wanted.received_at.unwrap_or(appended_at))
            && mine.bytes(entry.id) == events.bytes(wanted.id)
            && mine.bytes(entry.kind) == events.bytes(wanted.kind)
            && mine.bytes(entry.raw) == events.bytes(wanted.raw)
    }

    fn take(&mut self) -> (u64, Timestamp) {
        let batch = &self.batches[0];
        let place = batch.place(self.at);
        self.at += 1;
        if self.at == batch.events.len() {
            self.batches.pop_front();
            self.at = 0;
        }
        place
    }
}
