//! The records of one partition in log order, wherever they are: in the archive as far as the log has lost them, then in
//! the log. Tells what neither holds any more, and why.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sg_core::batch::{EventBatch, LogBatch};
use sg_core::plan::Plan;
use sg_core::ports::{Archive, ArchivePosition, ErrorKind, EventLog, LogReader, Manifest, PortError};
use tokio::task::JoinHandle;

use crate::archiver::{ArchivedStream, Back};

/// Bytes taken from the log at once.
const READ_BYTES_MAX: usize = 1 << 20;
/// How long a log may take to show records that the store has counted.
const READ_WAIT: Duration = Duration::from_secs(30);

/// Where records are to be had.
#[derive(Clone)]
pub struct Sources {
    /// The log, of which nobody else in the process has a reader.
    pub log: Arc<dyn EventLog>,
    /// What is in which file of the archive.
    pub manifest: Arc<dyn Manifest>,
    /// The archives that this process knows.
    pub archives: Vec<ArchivedStream>,
}

/// From where on all records of a partition can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    /// The first of them.
    pub(crate) start: u64,
    /// Why there are none before.
    pub(crate) why: String,
}

impl Sources {
    /// Returns from where on the records of a partition can be read.
    pub(crate) async fn held(
        &self,
        (stream, partition): (&str, u32),
        positions: &[ArchivePosition],
    ) -> Result<Held, PortError> {
        let log_start = self.log.extent(stream, partition).await?.start;
        let in_log = |why: String| Held { start: log_start, why };
        if !self.archives.iter().any(|archived| archived.stream == stream) {
            return Ok(in_log("this process knows no archive of the stream (archive = \"off\")".to_owned()));
        }
        let is_its =
            |position: &&ArchivePosition| position.stream == stream && position.partition == partition;
        let Some(position) = positions.iter().find(is_its) else {
            return Ok(in_log("the archive has none of the partition's records".to_owned()));
        };
        let (complete_from, end) = (position.first_offset.max(position.removed_to), position.next_offset);
        if end < log_start {
            let why = format!(
                "the archive ends at offset {end}, before the log begins: the records between are lost"
            );
            return Ok(in_log(why));
        }
        let why = if position.lost > 0 {
            "the log lost records before they were archived"
        } else if position.removed_to > position.first_offset {
            "older files are no longer kept"
        } else {
            "the archive began there"
        };
        Ok(Held { start: complete_from.min(log_start), why: why.to_owned() })
    }
}

/// The records of a partition from an offset on.
pub(super) struct Records {
    sources: Sources,
    /// How records of others are read.
    plan: Arc<Plan>,
    partition: u32,
    /// No record before this is left to be returned.
    next: u64,
    /// Offsets whose records the log has lost, which nobody has asked for yet.
    lost: Vec<Range<u64>>,
    from: Source,
}

enum Source {
    Archive(Box<Back>),
    Log(Ahead),
}

/// A reader of the log that reads the next records while the last are folded.
struct Ahead {
    reader: Option<Box<dyn LogReader>>,
    work: Option<JoinHandle<Read>>,
    /// The offset that what was returned ends at.
    passed: u64,
}

/// A reader with what it has read.
type Read = (Box<dyn LogReader>, Result<Vec<LogBatch>, PortError>);

/// Batches, the offset that they end at, and offsets whose records are lost.
type Piece = (Vec<LogBatch>, u64, Vec<Range<u64>>);

impl Ahead {
    fn new(reader: Box<dyn LogReader>) -> Ahead {
        Ahead { passed: reader.passed(), reader: Some(reader), work: None }
    }

    /// Returns the next batches; none where only lost records were passed, or none came for long.
    async fn next(&mut self) -> Result<Piece, PortError> {
        loop {
            let is_ahead = self.work.is_some();
            let work = self.work.take().or_else(|| self.reader.take().map(begin));
            let lost = || PortError::new(ErrorKind::Retry, "reading the log: a read was given up");
            let (mut reader, read) = work.ok_or_else(lost)?.await.map_err(|_| lost())?;
            let has_moved = reader.passed() > self.passed;
            self.passed = reader.passed();
            match read {
                // It began to wait long before it was asked.
                Ok(batches) if batches.is_empty() && is_ahead && !has_moved => self.reader = Some(reader),
                Ok(batches) => {
                    let lost = reader.lost();
                    let is_over = batches.is_empty();
                    (self.reader, self.work) =
                        if is_over { (Some(reader), None) } else { (None, Some(begin(reader))) };
                    return Ok((batches, self.passed, lost));
                }
                Err(error) => {
                    self.reader = Some(reader);
                    return Err(error);
                }
            }
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.work.iter().for_each(JoinHandle::abort);
    }
}

fn begin(mut reader: Box<dyn LogReader>) -> JoinHandle<Read> {
    tokio::spawn(async move {
        let read = reader.next(READ_BYTES_MAX, READ_WAIT).await;
        (reader, read)
    })
}

impl Records {
    pub(super) async fn open(
        sources: &Sources,
        plan: &Arc<Plan>,
        partition: u32,
        next: u64,
    ) -> Result<Records, PortError> {
        let from = open_source(sources, (&plan.name, partition), next).await?;
        let (sources, plan) = (sources.clone(), plan.clone());
        Ok(Records { sources, plan, partition, next, lost: Vec::new(), from })
    }

    /// Returns the next batches; none where only lost records were passed, or the log has shown none for long.
    ///
    /// # Errors
    /// Those of log, manifest and archive; [`sg_core::ports::ErrorKind::Corrupt`] names a file that is not what it was.
    pub(super) async fn next(&mut self) -> Result<Vec<LogBatch>, PortError> {
        loop {
            match &mut self.from {
                Source::Archive(back) => {
                    let batch = back.next().await?;
                    self.next = back.passed();
                    match batch {
                        Some(batch) => return Ok(vec![as_the_door_reads(&self.plan, batch)]),
                        None => self.reopen().await?,
                    }
                }
                Source::Log(ahead) => match ahead.next().await {
                    Ok((batches, passed, mut lost)) => {
                        self.next = passed;
                        self.lost.append(&mut lost);
                        return Ok(batches);
                    }
                    Err(error) => {
                        // What was trimmed since the log was opened is in the archive.
                        let extent = self.sources.log.extent(&self.plan.name, self.partition).await?;
                        if self.next >= extent.start {
                            return Err(error);
                        }
                        self.reopen().await?;
                    }
                },
            }
        }
    }

    /// Returns the offset before which no record is left to be returned.
    pub(super) fn passed(&self) -> u64 {
        self.next
    }

    /// Takes the offsets whose records the log has lost, as a reader of the log does.
    pub(super) fn lost(&mut self) -> Vec<Range<u64>> {
        std::mem::take(&mut self.lost)
    }

    async fn reopen(&mut self) -> Result<(), PortError> {
        self.from = open_source(&self.sources, (&self.plan.name, self.partition), self.next).await?;
        Ok(())
    }
}

/// Opens the log if it holds an offset, else the archive up to where the log begins.
async fn open_source(sources: &Sources, name: (&str, u32), next: u64) -> Result<Source, PortError> {
    let (stream, partition) = name;
    let start = sources.log.extent(stream, partition).await?.start;
    if next >= start {
        return Ok(Source::Log(Ahead::new(sources.log.open(stream, partition, next).await?)));
    }
    let archives: Vec<Arc<dyn Archive>> =
        sources.archives.iter().map(|archived| archived.archive.clone()).collect();
    let back = Back::open(sources.manifest.clone(), archives, name, (next, start)).await?;
    Ok(Source::Archive(Box::new(back)))
}

/// Reads records of others as a reader of the log does: what they hold is decided by the plan, not by the archive.
fn as_the_door_reads(plan: &Plan, batch: LogBatch) -> LogBatch {
    if batch.events.entries.iter().all(|entry| entry.received_at.is_some()) {
        return batch;
    }
    let known = &batch.events;
    let mut events = EventBatch::new(plan.name.clone(), Bytes::clone(&known.main));
    events.side.clone_from(&known.side);
    events.replays.clone_from(&known.replays);
    for entry in &known.entries {
        if entry.received_at.is_some() {
            events.entries.push(*entry);
        } else {
            // An event without an id has its place in the log for one, which the archive has kept.
            let place = || known.text(entry.id).to_owned();
            plan.take_foreign(known.bytes(entry.raw), &place, &mut events);
        }
    }
    // Rows of ours have no fields: the fold reads those of all.
    events.fields = None;
    LogBatch { events: Arc::new(events), ..batch }
}
