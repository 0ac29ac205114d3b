//! What the handle, the writer, the readers and the pool share: the queue of appends, and the view of what is durable.
//! Does no input or output.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sg_core::batch::EventBatch;
use sg_core::metrics::LogMetrics;
use sg_core::ports::{Extent, PortError};
use sg_core::time::{Clock, Timestamp};
use tokio::sync::{Notify, oneshot, watch};

use crate::disk::Disk;
use crate::head::Streams;
use crate::payload::Encoded;
use crate::pool::Pool;
use crate::tail::Tail;

/// What parts of a log keep of its options.
pub(crate) struct Settings {
    pub(crate) dir: PathBuf,
    pub(crate) segment_bytes: u64,
    pub(crate) tail_bytes_max: usize,
    pub(crate) keep_bytes: u64,
    pub(crate) keep_age: Duration,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// The one object behind all handles, readers and threads of a log.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) identity: String,
    pub(crate) queue: Mutex<Queue>,
    /// Rung when an append is queued or the phase changes.
    pub(crate) queued: Condvar,
    pub(crate) view: Mutex<View>,
    /// Rung when records became durable.
    pub(crate) grown: Notify,
    /// One trim at a time.
    pub(crate) trimming: Mutex<()>,
    pub(crate) failure: watch::Sender<Option<String>>,
    pub(crate) stats: Arc<LogMetrics>,
    pub(crate) pool: Pool,
}

/// Appends that wait for the writer. As long as its callers: each waits for its own append.
pub(crate) struct Queue {
    pub(crate) waiting: Vec<Append>,
    pub(crate) phase: Phase,
}

/// Whether the writer takes appends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It does.
    Open,
    /// It writes what waits, then a closing mark, then ends.
    Closing,
    /// It writes what waits, then ends: nobody has a handle any more.
    Abandoned,
    /// A write or sync failed for good: it takes nothing.
    Failed(String),
}

/// One batch on its way to the disk.
pub(crate) struct Append {
    pub(crate) batch: EventBatch,
    pub(crate) encoded: Encoded,
    pub(crate) answer: oneshot::Sender<Result<u64, PortError>>,
    pub(crate) since: Instant,
    /// Stream number and first offset, given by the writer.
    pub(crate) place: (u32, u64),
}

/// What is durable, as readers see it.
pub(crate) struct View {
    pub(crate) streams: Streams,
    /// By number, without holes; the last is being written.
    pub(crate) segments: VecDeque<Segment>,
    pub(crate) newest: Timestamp,
    pub(crate) tail: Tail,
}

/// A segment file that holds records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    /// By stream number: the first offset here; later streams begin at 0.
    pub(crate) starts: Vec<u64>,
    /// Where its durable frames end.
    pub(crate) end: u64,
    /// A of its first frame: no record in it is older.
    pub(crate) begun_at: Timestamp,
}

impl Segment {
    /// Returns a stream's first offset in this segment.
    pub(crate) fn start(&self, number: u32) -> u64 {
        self.starts.get(number as usize).copied().unwrap_or(0)
    }
}

impl View {
    /// Returns what the log holds of a stream, where so much is to be kept.
    pub(crate) fn extent(&self, stream: &str, settings: &Settings) -> Extent {
        let is_surplus = self.is_surplus(settings.keep_bytes, settings.clock.now().minus(settings.keep_age));
        let newest = self.newest;
        let Some(number) = self.streams.number(stream) else {
            return Extent { start: 0, end: 0, newest, is_surplus };
        };
        let start = self.segments.front().map_or(0, |segment| segment.start(number));
        Extent { start, end: self.next(number), newest, is_surplus }
    }

    /// Returns whether the oldest segment would be deleted if nobody needed it.
    pub(crate) fn is_surplus(&self, keep_bytes: u64, keep_from: Timestamp) -> bool {
        let Some(following) = self.segments.get(1) else { return false };
        let total: u64 = self.segments.iter().map(|segment| segment.end).sum();
        // The following segment's first A is no older than anything in the oldest.
        total > keep_bytes || following.begun_at < keep_from
    }

    /// Returns the offset behind a stream's last durable record.
    pub(crate) fn next(&self, number: u32) -> u64 {
        self.streams.get(number).map_or(0, |stream| stream.next)
    }

    /// Returns the last segment whose records of a stream begin at or before an offset.
    pub(crate) fn find(&self, number: u32, offset: u64) -> Option<&Segment> {
        let behind = self.segments.partition_point(|segment| segment.start(number) <= offset);
        self.segments.get(behind.checked_sub(1)?)
    }

    /// Returns a segment by its number.
    pub(crate) fn segment(&self, number: u64) -> Option<&Segment> {
        let first = self.segments.front()?.number;
        self.segments.get(usize::try_from(number.checked_sub(first)?).ok()?)
    }
}

/// Locks; what a panicking holder left is still whole, because every change is made in one step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
