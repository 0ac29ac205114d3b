//! The handle of an open log: options, opening, and the port that the rest of the program uses.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sg_core::batch::EventBatch;
use sg_core::metrics::LogMetrics;
use sg_core::ports::{
    Appended, Change, ErrorKind, EventLog, Extent, LogReader, Membership, PartitionName, PortError,
};
use sg_core::time::Clock;
use tokio::sync::{Notify, oneshot, watch};

use crate::disk::Disk;
use crate::fault::closed;
use crate::payload::{PAYLOAD_BYTES_MAX, encode};
use crate::pool::Pool;
use crate::reader::Reader;
use crate::recovery::Recovered;
use crate::shared::{Append, Phase, Queue, Settings, Shared, View, lock};
use crate::tail::Tail;
use crate::writer::{Writer, refusal};
use crate::{directory, trim};

/// Bytes of a stream's name: it is repeated at the start of every segment.
const STREAM_NAME_BYTES_MAX: usize = 1_024;

/// How a log is opened.
#[derive(Clone)]
pub struct Options {
    /// The directory, which is the log's alone; it is made when it is not there.
    pub dir: PathBuf,
    /// Where A, the log's time of a record, comes from.
    pub clock: Arc<dyn Clock>,
    /// Size of a segment file; a single batch that is larger gets a larger one.
    pub segment_bytes: u64,
    /// Files kept ready to become segments, in bytes at most.
    pub pool_bytes_max: u64,
    /// Newest batches kept in memory for readers, in bytes at most.
    pub tail_bytes_max: usize,
    /// Records that nobody needs any more are kept while the log is not larger than this …
    pub keep_bytes: u64,
    /// … and they are not older than this.
    pub keep_age: Duration,
    /// How far others have read the log: one that ends before is refused, for its newest records are lost.
    pub reached: Vec<Reached>,
    /// Goes on without damaged records, and behind what was reached, instead of refusing to open; the damaged bytes are
    /// kept aside.
    pub salvage: bool,
    /// The file system.
    pub disk: Arc<dyn Disk>,
}

impl Options {
    /// Returns the options of a log in a directory as they usually are.
    pub fn new(dir: impl Into<PathBuf>, clock: Arc<dyn Clock>, disk: Arc<dyn Disk>) -> Options {
        Options {
            dir: dir.into(),
            clock,
            segment_bytes: 64 << 20,
            pool_bytes_max: 1 << 30,
            tail_bytes_max: 64 << 20,
            keep_bytes: 8 << 30,
            keep_age: Duration::from_secs(24 * 60 * 60),
            reached: Vec::new(),
            salvage: false,
            disk,
        }
    }
}

/// How far somebody who keeps a place in the log has read a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// The identity of the log whose offset it is; what was reached in another one says nothing of this.
    pub log_identity: String,
    /// The stream.
    pub stream: String,
    /// The offset behind the last record read.
    pub offset: u64,
}

/// An event log in a directory of this machine. Every stream has one partition, number 0. A cheap handle: clones are
/// the same log. Without [`EventLog::close`] the log ends with its last handle, as after a crash but in order.
#[derive(Clone)]
pub struct EmbeddedLog {
    handle: Arc<Handle>,
}

/// Ends the threads when the last user of the log is gone.
struct Handle {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl EmbeddedLog {
    /// Opens the log of a directory, or makes one. Reads the last segment: blocks for a fraction of a second.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when what is stored is not what was written; [`ErrorKind::Full`] or [`ErrorKind::Retry`]
    /// when the disk refuses.
    pub fn open(options: Options) -> Result<EmbeddedLog, PortError> {
        let stats = Arc::new(LogMetrics::default());
        let opened = directory::open(&options)?;
        let sizes = (options.segment_bytes, options.pool_bytes_max);
        let pool = Pool::new(&options.dir, options.disk.clone(), sizes, stats.clone(), opened.pool);
        let Recovered { segments, streams, newest, group, active } = opened.recovered;
        stats.segments.set(segments.len() as u64);
        let shared = Arc::new(Shared {
            settings: Settings {
                dir: options.dir,
                segment_bytes: options.segment_bytes,
                tail_bytes_max: options.tail_bytes_max,
                keep_bytes: options.keep_bytes,
                keep_age: options.keep_age,
                disk: options.disk,
                clock: options.clock,
            },
            identity: opened.identity,
            queue: Mutex::new(Queue { waiting: Vec::new(), phase: Phase::Open }),
            queued: Condvar::new(),
            view: Mutex::new(View { streams: streams.clone(), segments, newest, tail: Tail::default() }),
            grown: Notify::new(),
            trimming: Mutex::new(()),
            failure: watch::Sender::new(None),
            stats,
            pool,
        });
        let writer = Writer::new(shared.clone(), active, streams, group, newest);
        let filler = shared.clone();
        let handle = Handle { shared, threads: Mutex::new(Vec::new()) };
        handle.spawn("log-writer", move || writer.run())?;
        handle.spawn("log-filler", move || filler.pool.run())?;
        Ok(EmbeddedLog { handle: Arc::new(handle) })
    }

    /// Returns a watch that becomes `Some` with the reason when the disk failed for good: the process must leave.
    pub fn failure(&self) -> watch::Receiver<Option<String>> {
        self.handle.shared.failure.subscribe()
    }

    /// Returns the counters of this log.
    pub fn stats(&self) -> &LogMetrics {
        &self.handle.shared.stats
    }

    fn queue(&self, append: Append) -> Result<(), PortError> {
        let mut queue = lock(&self.handle.shared.queue);
        if let Some(refusal) = refusal(&queue.phase) {
            return Err(refusal);
        }
        queue.waiting.push(append);
        if queue.waiting.len() == 1 {
            self.handle.shared.queued.notify_one();
        }
        Ok(())
    }

    fn check_partition(&self, partition: u32) -> Result<(), PortError> {
        if partition == 0 {
            return Ok(());
        }
        Err(invalid(format!("use partition {partition}: streams of the embedded log have only partition 0")))
    }
}

impl Handle {
    fn spawn(&self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), PortError> {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
        let thread = thread
            .map_err(|error| PortError::from_source(ErrorKind::Retry, "start a thread of the log", error))?;
        lock(&self.threads).push(thread);
        Ok(())
    }

    /// Ends the threads; returns the reason if the disk failed for good.
    fn stop(&self, phase: Phase) -> Result<(), PortError> {
        {
            let mut queue = lock(&self.shared.queue);
            if queue.phase == Phase::Open {
                queue.phase = phase;
            }
        }
        self.shared.queued.notify_one();
        self.shared.pool.close();
        // Held meanwhile, so that whoever else closes the log waits too.
        for thread in lock(&self.threads).drain(..) {
            if thread.join().is_err() {
                return Err(closed("a thread of the log panicked"));
            }
        }
        match &lock(&self.shared.queue).phase {
            Phase::Failed(why) => Err(closed(why)),
            _ => Ok(()),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Err(error) = self.stop(Phase::Abandoned) {
            tracing::error!(%error, "the log ended with an error");
        }
    }
}

#[async_trait]
impl EventLog for EmbeddedLog {
    async fn append(&self, batch: EventBatch) -> Result<Vec<Appended>, PortError> {
        if batch.stream.is_empty() || batch.stream.len() > STREAM_NAME_BYTES_MAX {
            return Err(invalid(format!("append to a stream with a name of {} bytes", batch.stream.len())));
        }
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let too_large = || {
            invalid(format!("append {} events: a batch has at most {PAYLOAD_BYTES_MAX} bytes", batch.len()))
        };
        let encoded = encode(&batch).ok_or_else(too_large)?;
        let events = batch.len() as u64;
        let (answer, answered) = oneshot::channel();
        self.queue(Append { batch, encoded, answer, since: Instant::now(), place: (0, 0) })?;
        let first_offset =
            answered.await.unwrap_or_else(|_| Err(closed("the writer ended before it answered")))?;
        Ok(vec![Appended { partition: 0, first_offset, next_offset: first_offset + events }])
    }

    async fn join(&self, streams: &[String]) -> Result<Box<dyn Membership>, PortError> {
        let all = streams.iter().map(|stream| (stream.clone(), 0)).collect();
        Ok(Box::new(Alone { unsaid: Some(all) }))
    }

    async fn open(&self, stream: &str, partition: u32, from: u64) -> Result<Box<dyn LogReader>, PortError> {
        self.check_partition(partition)?;
        let extent = lock(&self.handle.shared.view).extent(stream, &self.handle.shared.settings);
        if from < extent.start || from > extent.end {
            let (start, end) = (extent.start, extent.end);
            return Err(invalid(format!("read {stream} from offset {from}: the log holds {start} to {end}")));
        }
        Ok(Box::new(Reader::new(self.handle.shared.clone(), stream, from)))
    }

    async fn extent(&self, stream: &str, partition: u32) -> Result<Extent, PortError> {
        self.check_partition(partition)?;
        Ok(lock(&self.handle.shared.view).extent(stream, &self.handle.shared.settings))
    }

    async fn partitions(&self, _stream: &str) -> Result<u32, PortError> {
        Ok(1)
    }

    async fn identity(&self, _stream: &str) -> Result<String, PortError> {
        Ok(self.handle.shared.identity.clone())
    }

    async fn trim(&self, needed: &[(String, u32, u64)]) -> Result<(), PortError> {
        let (shared, needed) = (self.handle.shared.clone(), needed.to_vec());
        let work = tokio::task::spawn_blocking(move || trim::trim(&shared, &needed));
        work.await
            .map_err(|error| PortError::from_source(ErrorKind::Retry, "trim the embedded log", error))?
    }

    async fn close(&self) -> Result<(), PortError> {
        let handle = self.handle.clone();
        let work = tokio::task::spawn_blocking(move || handle.stop(Phase::Closing));
        work.await
            .map_err(|error| PortError::from_source(ErrorKind::Retry, "close the embedded log", error))?
    }
}

/// The only process that reads the log: every partition is its own from the start.
struct Alone {
    /// What it was not yet told.
    unsaid: Option<Vec<PartitionName>>,
}

#[async_trait]
impl Membership for Alone {
    async fn change(&mut self) -> Result<Change, PortError> {
        match self.unsaid.take() {
            Some(all) => Ok(Change::Assigned(all)),
            None => std::future::pending().await,
        }
    }

    async fn released(&mut self) {}

    async fn report(&mut self, _flushed: &[(String, u32, u64)]) {}

    fn told_within(&self) -> Option<Duration> {
        None
    }

    async fn leave(&mut self) {}
}

fn invalid(doing: String) -> PortError {
    PortError::new(ErrorKind::Invalid, doing)
}
