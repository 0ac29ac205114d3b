//! Owns one partition: claims it, reads its duplicate window again, then folds and flushes until told to stop.
//! Holds no state that is not a function of the checkpoint and the records since: after any doubt it drops everything
//! and begins again at the checkpoint.

mod lost;
mod progress;
mod resume;
mod retrying;
mod stop;
mod traced;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sg_core::batch::LogBatch;
use sg_core::flush::{Checkpoint, Flush};
use sg_core::fold::Fold;
use sg_core::metrics::Metrics;
use sg_core::plan::Plan;
use sg_core::ports::{
    ErrorKind, EventLog, Extent, FlushOutcome, LogReader, PortError, Refresh, RollupWriter,
};
use sg_core::reason::{Code, Refusal};
use sg_core::time::{Clock, Timestamp};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::outage::Outage;
use crate::patience::{Patience, passes};
use crate::spans::Tracer;

pub use progress::Progress;
use retrying::{BACKOFF, refreshed, retrying, write};
pub use stop::{Leave, Stop};
use traced::Traced;

/// What an owner owns.
#[derive(Debug, Clone)]
pub struct Partition {
    /// The stream's plan.
    pub plan: Arc<Plan>,
    /// The partition's number.
    pub number: u32,
    /// How many partitions the stream has.
    pub of: u32,
}

/// What the owners of a process work with and how.
#[derive(Clone)]
pub struct Settings {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// The store.
    pub store: Arc<dyn RollupWriter>,
    /// The clock for idleness; it decides no answer.
    pub clock: Arc<dyn Clock>,
    /// The process's counters.
    pub metrics: Arc<Metrics>,
    /// The process's name on the status page.
    pub name: String,
    /// The secret of the duplicates' hash.
    pub seed: u64,
    /// The longest time that a folded event waits for its flush.
    pub flush_interval: Duration,
    /// Records after which a flush begins earlier.
    pub flush_events_max: u64,
    /// Makes spans of flushes, of the store by this name.
    pub tracer: (Tracer, &'static str),
}

/// Why an owner stopped.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// It was told to; everything that it was to flush is flushed, unless the store was away.
    #[error("stopped")]
    Asked,
    /// Another process has claimed the partition.
    #[error("another process has claimed partition {partition} of {stream}: two servers work on one store")]
    Fenced {
        /// The stream.
        stream: String,
        /// The partition.
        partition: u32,
    },
    /// The process cannot share partitions at all.
    #[error("sharing partitions: {0}")]
    Apart(PortError),
    /// The log or the store failed for good.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// Bytes taken from the log at once: some thousand events, a few milliseconds of folding.
const READ_BYTES_MAX: usize = 1 << 20;
/// Fewer records than this at once are a trickle, and the next are gathered for so long.
const TRICKLE_RECORDS: u64 = 2_000;
const GATHER: Duration = Duration::from_millis(5);
/// Memory after which a flush begins earlier, over all partitions of a stream: large events would fill it long before
/// their number does. While one flush is written as much is gathered for the next.
const FLUSH_BYTES_MAX: usize = 24 << 20;
/// The share of one partition, at most and at least.
const FLUSH_BYTES_SHARE: (usize, usize) = (1 << 20, 8 << 20);
/// How often an owner says that it is there, and closes windows without new records.
const REFRESH_INTERVAL: Duration = Duration::from_secs(5);

/// Answers of the log that cannot be, one after the other, after which they are believed.
const DOUBTS_MAX: u32 = 3;

/// The loop over one partition.
pub struct Owner {
    partition: Partition,
    settings: Settings,
    progress: Arc<Progress>,
    /// Offsets a flush may cover; one while a refused record is being isolated.
    flush_offsets_max: u64,
    /// Records that the store refused, to be dead-lettered.
    refused: Vec<(u64, Refusal)>,
    /// Replays of letters that others have replayed before: duplicates.
    repeated: Vec<u64>,
}

/// What one stretch of folding ended with.
enum End {
    Asked,
    /// Begin again at the stored checkpoint.
    Again,
}

/// A flush that is being written, and how it ends.
type InFlight = JoinHandle<Written>;
type Written = (Arc<Flush>, Result<FlushOutcome, PortError>);

/// Everything of one stretch between two looks at the checkpoint.
struct Stretch {
    fold: Fold,
    epoch: i64,
    reader: Box<dyn LogReader>,
    in_flight: Option<InFlight>,
    flush_due: Option<Instant>,
    refresh_due: Instant,
    last_record: Instant,
    /// Whether refreshes fail.
    outage: Outage,
    /// How often in a row the log has said what cannot be.
    doubts: u32,
    /// When the log is read next: a trickle is gathered for a moment, so that the fold does not wake for every sync.
    read_at: Instant,
    /// What waits for the next flush of requests that are traced.
    traced: Traced,
}

impl Owner {
    /// Makes the owner of a partition; nothing happens until [`Owner::run`].
    pub fn new(partition: Partition, settings: Settings, progress: Arc<Progress>) -> Owner {
        Owner {
            partition,
            flush_offsets_max: u64::MAX,
            settings,
            progress,
            refused: Vec::new(),
            repeated: Vec::new(),
        }
    }

    /// Claims the partition and works on it until told to stop, then flushes what is left.
    pub async fn run(mut self, stop: &Stop) -> Stopped {
        let stopped = match self.work(stop).await {
            Ok(()) => Stopped::Asked,
            Err(Stopped::Asked) => Stopped::Asked,
            Err(stopped) => {
                let (stream, partition) = (&self.progress.stream, self.progress.partition);
                tracing::error!(%stream, partition, "partition stopped: {stopped}");
                stopped
            }
        };
        self.progress.stopped.send_replace(Some(stopped.to_string()));
        stopped
    }

    async fn work(&mut self, stop: &Stop) -> Result<(), Stopped> {
        let mut checkpoint = self.claim(stop).await?;
        let mut patience = Patience::new(BACKOFF);
        loop {
            match self.stretch(&checkpoint, stop).await {
                Ok(End::Asked) => return Ok(()),
                Ok(End::Again) => patience.reset(),
                // A file that cannot be opened now may be readable later; nothing but memory is lost.
                Err(Stopped::Port(error)) if error.kind == ErrorKind::Retry => {
                    tracing::warn!(stream = %self.progress.stream, "{error}; beginning again at the checkpoint");
                    if !passes(patience.next_pause(), stop.asked()).await {
                        return Err(Stopped::Asked);
                    }
                }
                Err(stopped) => return Err(stopped),
            }
            checkpoint = self.read_checkpoint(&checkpoint, stop).await?;
        }
    }

    fn fenced(&self) -> Stopped {
        Stopped::Fenced { stream: self.progress.stream.clone(), partition: self.progress.partition }
    }

    /// Folds and flushes from a checkpoint on until asked to stop or in doubt.
    async fn stretch(&mut self, checkpoint: &Checkpoint, stop: &Stop) -> Result<End, Stopped> {
        let Partition { plan, number, of } = &self.partition;
        let mut fold = Fold::resume(plan.clone(), (*number, *of), checkpoint, self.settings.seed);
        for (offset, refusal) in &self.refused {
            fold.refuse(*offset, refusal.clone());
        }
        self.repeated.iter().for_each(|offset| fold.repeat(*offset));
        let reader = self.remember(checkpoint, &mut fold, stop).await?;
        self.progress.folded.store(fold.next_offset(), Ordering::Relaxed);
        self.progress.flushed.send_replace(checkpoint.next_offset);
        let now = Instant::now();
        let mut stretch = Stretch {
            fold,
            epoch: checkpoint.epoch,
            reader,
            in_flight: None,
            flush_due: None,
            refresh_due: now,
            last_record: now,
            outage: Outage::default(),
            doubts: 0,
            read_at: now,
            traced: Traced::default(),
        };
        loop {
            if let Some(end) = self.step(&mut stretch, stop).await? {
                return Ok(end);
            }
        }
    }

    /// Waits for whatever comes first: records, a finished flush, a due time, a request.
    async fn step(&mut self, stretch: &mut Stretch, stop: &Stop) -> Result<Option<End>, Stopped> {
        // While a flush is under way its end is what the next one waits for.
        let due = stretch.flush_due.filter(|_| stretch.in_flight.is_none());
        let until = due.unwrap_or(stretch.refresh_due).min(stretch.refresh_due);
        let wait = until.saturating_duration_since(Instant::now());
        let may_read = !self.is_full(&stretch.fold);
        tokio::select! {
            biased;
            () = stop.asked() => return self.finish(stretch, stop).await.map(Some),
            done = finished(&mut stretch.in_flight) => {
                if let Some(end) = self.flushed(stretch, done).await? {
                    return Ok(Some(end));
                }
            }
            () = self.progress.flush_now.notified() => {}
            batches = read(stretch.reader.as_mut(), stretch.read_at, wait), if may_read => self.fold(stretch, &batches?).await?,
            () = tokio::time::sleep_until(until) => {}
        }

        let now = Instant::now();
        let (base, next) = (stretch.fold.base(), stretch.fold.next_offset());
        let is_wanted = base < next && base < self.progress.wanted.load(Ordering::Relaxed);
        let is_due =
            is_wanted || stretch.flush_due.is_some_and(|due| due <= now) || self.is_full(&stretch.fold);
        if is_due && stretch.in_flight.is_none() {
            self.begin_flush(stretch);
        }
        if stretch.refresh_due <= now {
            stretch.refresh_due = now + REFRESH_INTERVAL;
            return self.refresh(stretch).await;
        }
        Ok(None)
    }

    /// Returns whether a flush is due before its time. While one flush is written so much is gathered for the next.
    fn is_full(&self, fold: &Fold) -> bool {
        let records_max = self.settings.flush_events_max.min(self.flush_offsets_max);
        fold.next_offset() - fold.base() >= records_max || fold.pending_bytes() >= self.flush_bytes_max()
    }

    fn flush_bytes_max(&self) -> usize {
        let share = FLUSH_BYTES_MAX / self.partition.of.max(1) as usize;
        share.clamp(FLUSH_BYTES_SHARE.0, FLUSH_BYTES_SHARE.1)
    }

    async fn fold(&self, stretch: &mut Stretch, batches: &[LogBatch]) -> Result<(), Stopped> {
        self.skip_lost(stretch);
        // While a refused record is looked for, a flush covers exactly so many offsets.
        let until = stretch.fold.base().saturating_add(self.flush_offsets_max);
        for batch in batches {
            stretch.fold.batch(batch, until);
        }
        let passed = stretch.reader.passed();
        stretch.fold.pass_to(passed.min(until));
        let at = stretch.fold.next_offset();
        if at < passed {
            let Partition { plan, number, .. } = &self.partition;
            stretch.reader = self.settings.log.open(&plan.name, *number, at).await?;
        }
        for batch in batches.iter().filter(|batch| !batch.events.traces.is_empty()) {
            stretch.traced.note(&self.settings.tracer.0, batch, at, self.partition.number);
        }
        let now = Instant::now();
        if let Some((first, last)) = batches.first().zip(batches.last()) {
            stretch.last_record = now;
            let records = last.next_offset() - first.first_offset;
            stretch.read_at = if records < TRICKLE_RECORDS { now + GATHER } else { now };
        }
        if stretch.fold.base() < at && stretch.flush_due.is_none() {
            stretch.flush_due = Some(now + self.settings.flush_interval);
            let due = self.settings.clock.now().plus(self.settings.flush_interval);
            self.progress.flush_due.set(Some(due));
        }
        self.progress.folded.store(at, Ordering::Relaxed);
        Ok(())
    }

    fn begin_flush(&self, stretch: &mut Stretch) {
        stretch.flush_due = None;
        self.progress.flush_due.set(None);
        let Some(flush) = stretch.fold.take() else { return };
        let flush = Arc::new(flush);
        let Settings { store, metrics, clock, .. } = self.settings.clone();
        let (tracer, store_name) = &self.settings.tracer;
        let spans = stretch.traced.flush(tracer, store_name, &flush);
        stretch.in_flight = Some(tokio::spawn(async move {
            let outcome = traced::ended(spans, write(store, &metrics, &flush)).await;
            if matches!(outcome, Ok(FlushOutcome::Done)) {
                metrics.committed.add(&flush.plan.name, &flush.timing.latencies(clock.now()));
            }
            (flush, outcome)
        }));
    }

    /// Takes note of a finished flush; returns how the stretch ends when it does.
    async fn flushed(
        &mut self,
        stretch: &mut Stretch,
        (flush, outcome): Written,
    ) -> Result<Option<End>, Stopped> {
        stretch.in_flight = None;
        match outcome? {
            FlushOutcome::Done => {
                self.progress.judge_bytes.store(stretch.fold.judge_memory() as u64, Ordering::Relaxed);
                self.progress.note_written(&flush, &self.settings.metrics, self.settings.clock.now());
                self.repeated.retain(|offset| *offset >= flush.end);
                // The search for a refused record goes on in larger steps, until they are no search any more.
                self.flush_offsets_max = self.flush_offsets_max.saturating_mul(2);
                if self.flush_offsets_max >= self.settings.flush_events_max {
                    self.flush_offsets_max = u64::MAX;
                    self.refused.clear();
                }
                Ok(None)
            }
            FlushOutcome::Missed { epoch, .. } if epoch != stretch.epoch => Err(self.fenced()),
            FlushOutcome::Missed { .. } => Ok(Some(End::Again)),
            FlushOutcome::Repeated { offsets } => {
                self.repeated.extend(offsets);
                Ok(Some(End::Again))
            }
            FlushOutcome::Refused { detail } => {
                self.settings.metrics.flush_refused.add(1);
                self.narrow(&flush, &detail)?;
                Ok(Some(End::Again))
            }
        }
    }

    /// Halves the range that a flush covers; a range of one offset makes its record a dead letter.
    ///
    /// # Errors
    /// When the store refuses even the dead letter.
    fn narrow(&mut self, flush: &Flush, detail: &str) -> Result<(), Stopped> {
        let offsets = flush.end - flush.base;
        tracing::warn!(stream = %flush.plan.name, base = flush.base, end = flush.end, "the store refused a flush: {detail}");
        if offsets > 1 {
            self.flush_offsets_max = offsets / 2;
            return Ok(());
        }
        self.flush_offsets_max = 1;
        if self.refused.iter().any(|(offset, _)| *offset == flush.base) {
            let doing = format!("dead-lettering the record at offset {}: {detail}", flush.base);
            return Err(Stopped::Port(PortError::new(ErrorKind::Closed, doing)));
        }
        self.refused.push((flush.base, Refusal::new(Code::StoreRefused, "", detail)));
        Ok(())
    }

    /// Says that the owner is there; returns how the stretch ends when log or store are not where it thinks.
    async fn refresh(&self, stretch: &mut Stretch) -> Result<Option<End>, Stopped> {
        let Settings { store, clock, .. } = &self.settings;
        let Partition { plan, number, .. } = &self.partition;
        let extent = self.believable_extent(stretch).await?;
        // A log that does not answer may hold more.
        let is_behind = extent.is_none_or(|extent| stretch.fold.next_offset() < extent.end)
            || stretch.fold.base() < stretch.fold.next_offset()
            || stretch.in_flight.is_some();
        let newest = extent.map_or(Timestamp::NEVER, |extent| extent.newest);
        if !is_behind && newest > Timestamp::NEVER {
            stretch.fold.pass_time(newest);
        }
        let refresh = Refresh {
            plan: plan.clone(),
            partition: *number,
            epoch: stretch.epoch,
            is_idle: !is_behind && stretch.last_record.elapsed() >= plan.stream.idle_timeout,
            dedup_from: (!is_behind).then(|| stretch.fold.dedup_from()),
            base: stretch.in_flight.is_none().then(|| stretch.fold.base()),
            now: clock.now(),
        };
        match refreshed(store.as_ref(), &refresh, (&plan.name, &mut stretch.outage)).await? {
            // Either the partition is another's, or the store went back to an earlier state: its checkpoint tells.
            Some(false) => Ok(Some(End::Again)),
            Some(true) | None => Ok(None),
        }
    }

    /// Returns how far the log goes; `None` while it does not say, or says what cannot be. A single wrong answer may be
    /// an old broker's: only one that is repeated stops the partition.
    async fn believable_extent(&self, stretch: &mut Stretch) -> Result<Option<Extent>, Stopped> {
        let at = stretch.fold.next_offset();
        let asked = self.settings.log.extent(&self.partition.plan.name, self.partition.number).await;
        let doubt = match asked {
            Ok(extent) if extent.end >= at => {
                stretch.doubts = 0;
                return Ok(Some(extent));
            }
            Ok(extent) => self.corrupt(format!("at offset {at}: the log ends at {} now", extent.end)),
            Err(error) if error.kind == ErrorKind::Corrupt => Stopped::Port(error),
            Err(error) if error.kind == ErrorKind::Retry => {
                tracing::warn!("reading how far the log goes: {error}");
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        stretch.doubts += 1;
        if stretch.doubts >= DOUBTS_MAX {
            return Err(doubt);
        }
        tracing::warn!("asking again: {doubt}");
        Ok(None)
    }

    /// Flushes what is to be flushed, as far as the time for stopping allows.
    async fn finish(&mut self, stretch: &mut Stretch, stop: &Stop) -> Result<End, Stopped> {
        loop {
            if stop.leave() == Leave::Dropped {
                return Ok(End::Asked);
            }
            if stretch.in_flight.is_some() {
                // A flush that is still tried after the owner was told to drop it harms nobody.
                let done = tokio::select! {
                    done = finished(&mut stretch.in_flight) => done,
                    () = stop.dropped() => return Ok(End::Asked),
                };
                if let Some(end) = self.flushed(stretch, done).await? {
                    return Ok(end);
                }
            }
            if stop.leave() == Leave::Drained && !self.is_full(&stretch.fold) {
                let batches = stretch.reader.next(READ_BYTES_MAX, Duration::ZERO).await?;
                self.fold(stretch, &batches).await?;
                if !batches.is_empty() && !self.is_full(&stretch.fold) {
                    continue;
                }
            }
            self.begin_flush(stretch);
            if stretch.in_flight.is_none() {
                return Ok(End::Asked);
            }
        }
    }
}

/// Reads the log, but not before its time.
async fn read(
    reader: &mut dyn LogReader,
    read_at: Instant,
    wait: Duration,
) -> Result<Vec<LogBatch>, PortError> {
    tokio::time::sleep_until(read_at).await;
    reader.next(READ_BYTES_MAX, wait).await
}

/// Waits for the flush in flight; for ever when there is none.
async fn finished(in_flight: &mut Option<InFlight>) -> Written {
    match in_flight {
        None => std::future::pending().await,
        Some(task) => match task.await {
            Ok(done) => done,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The process is leaving.
            Err(_) => std::future::pending().await,
        },
    }
}
