//! The archive of one partition: gathers records into cuts, and has each uploaded. Holds no state that is not a function
//! of the manifest's position and the log: after any doubt it claims the partition again and begins there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use sg_core::archive::FILE_BYTES_MAX;
use sg_core::batch::LogBatch;
use sg_core::ports::{
    ArchiveClaim, ArchivePosition, Cut, CutBuilder, ErrorKind, FileLimits, LogReader, PortError,
};
use sg_core::time::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::patience::Patience;

use super::traced::{self, Traced};
use super::upload::{BACKOFF, Upload, wait};
use super::{ArchivedStream, Settings};

/// Bytes taken from the log at once.
const READ_BYTES_MAX: usize = 1 << 20;
/// How long one look at a log without records lasts.
const LOOK: Duration = Duration::from_secs(5);
/// Files of the row limit's size that a cut may hold, and that may wait beyond it: more, and the archive is behind.
const FILES_BEHIND: u64 = 20;
/// Files of a cut at most, when its records lie in many hours: each is a request.
const FILES_PER_CUT_MAX: usize = 256;
/// The least time between two cuts of a partition: each is two transactions that wait for the disk.
const CUT_INTERVAL: Duration = Duration::from_millis(200);
/// Bytes that a cut takes when it is behind and another partition has the room for large ones: so many partitions a
/// process may have that each must do with little.
const SMALL_CUT_BYTES: u64 = 4 << 20;
/// How long the last uploads may take when the process stops.
const LAST_UPLOADS_MAX: Duration = Duration::from_secs(3);

/// The loop over one partition.
pub(super) struct Archiver {
    archived: ArchivedStream,
    number: u32,
    settings: Settings,
    large: Arc<Semaphore>,
    /// How long the partition may be another's before this process is told.
    told_within: Option<Duration>,
    stop: CancellationToken,
}

/// Why an archiver leaves what it is doing.
pub(super) enum Left {
    /// It was told to stop.
    Stopped,
    /// Another process has the partition, or the manifest stands elsewhere than thought: begin again.
    Missed,
    /// The log removed records before they were archived: begin again, behind them.
    Overtaken,
    /// A port failed.
    Port(PortError),
}

impl From<PortError> for Left {
    fn from(error: PortError) -> Left {
        Left::Port(error)
    }
}

/// Where the archive of a partition stands, and what was read beyond.
struct Stretch {
    epoch: i64,
    log_identity: String,
    next: u64,
    reader: Box<dyn LogReader>,
    /// Batches that are in no cut yet, each from an index on.
    ready: VecDeque<(LogBatch, usize)>,
    last_cut: Option<Instant>,
}

/// A cut while it is gathered.
struct Gathering {
    builder: Box<dyn CutBuilder>,
    base: u64,
    end: u64,
    /// When it is to end, full or not.
    due: Instant,
    /// When it may end at the earliest, unless it is full to the brim.
    not_before: Instant,
    /// Held while the cut may grow to full size.
    large: Option<OwnedSemaphorePermit>,
    /// Whether files may grow beyond the row limit.
    is_behind: bool,
    /// Where the log ended when the cut began: one that is behind does not follow what still comes in.
    log_end: u64,
    /// The requests in it that are traced.
    traced: Traced,
}

impl Archiver {
    pub(super) fn new(
        archived: ArchivedStream,
        number: u32,
        settings: Settings,
        (large, told_within): (Arc<Semaphore>, Option<Duration>),
        stop: CancellationToken,
    ) -> Archiver {
        Archiver { archived, number, settings, large, told_within, stop }
    }

    /// Works until told to stop.
    pub(super) async fn run(self) {
        let (stream, partition) = (self.archived.stream.clone(), self.number);
        let mut patience = Patience::new(BACKOFF);
        loop {
            match self.work(&mut patience).await {
                Ok(()) | Err(Left::Stopped) => return,
                Err(Left::Missed) => {
                    tracing::warn!(%stream, partition, "the archive stands elsewhere than thought: claiming it again");
                    // Either the group tells soon that the partition is another's, or two groups share one store.
                    let told_within = self.told_within.unwrap_or_default();
                    tokio::select! {
                        () = self.stop.cancelled() => return,
                        () = tokio::time::sleep(told_within) => {}
                    }
                }
                // The claim says what is lost, and counts it.
                Err(Left::Overtaken) => {}
                Err(Left::Port(error)) if matches!(error.kind, ErrorKind::Retry | ErrorKind::Full) => {
                    if self.failing(Some(error.to_string())) {
                        tracing::warn!(%stream, partition, "archiving: {error}; trying again until it succeeds");
                    }
                }
                Err(Left::Port(error)) => {
                    tracing::error!(%stream, partition, "the archive of the partition stopped: {error}");
                    let why = error.to_string();
                    let stopped = Some(why);
                    self.settings.metrics.stands(&stream, partition, |standing| standing.stopped = stopped);
                    self.stop.cancelled().await;
                    return;
                }
            }
            if wait(&mut patience, &self.stop).await.is_err() {
                return;
            }
        }
    }

    /// Notes how it stands; returns whether it fails from now on.
    fn failing(&self, why: Option<String>) -> bool {
        let mut is_news = false;
        self.settings.metrics.stands(&self.archived.stream, self.number, |standing| {
            is_news = why.is_some() && standing.failing.is_none();
            standing.failing = why;
        });
        is_news
    }

    async fn work(&self, patience: &mut Patience) -> Result<(), Left> {
        let (position, log_identity) = self.claim().await?;
        let (epoch, next) = (position.epoch, position.next_offset);
        let opened = self.settings.log.open(&self.archived.stream, self.number, next).await;
        let reader = match opened {
            Ok(reader) => reader,
            Err(error) => return Err(self.judge(error, (&log_identity, next)).await),
        };
        self.failing(None);
        let (ready, last_cut) = (VecDeque::new(), None);
        let mut stretch = Stretch { epoch, log_identity, next, reader, ready, last_cut };
        loop {
            self.settings.metrics.stands(&self.archived.stream, self.number, |standing| {
                standing.next_offset = stretch.next;
                standing.oldest = None;
            });
            let Some(cut) = self.gather(&mut stretch).await? else { return Ok(()) };
            let end = cut.end;
            let upload = Upload {
                archived: &self.archived,
                number: self.number,
                settings: &self.settings,
                epoch: stretch.epoch,
                stop: &self.stop,
            };
            let (base, held) = (cut.base, cut.large);
            let files = cut.builder.finish()?;
            let size = traced::size_of(&files);
            tokio::select! {
                done = cut.traced.ended((base, size), upload.run(base, end, files)) => done?,
                () = self.out_of_time() => return Err(Left::Stopped),
            }
            drop(held);
            patience.reset();
            stretch.next = end;
            stretch.last_cut = Some(Instant::now());
        }
    }

    /// Waits until the process has been stopping for so long that the rest is left to the next one.
    async fn out_of_time(&self) {
        self.stop.cancelled().await;
        tokio::time::sleep(LAST_UPLOADS_MAX).await;
    }

    /// Tells what a failure to read from an offset means: where it is the same log, which has removed the record there,
    /// the archive goes on behind what is lost.
    async fn judge(&self, error: PortError, (log_identity, next): (&str, u64)) -> Left {
        if !matches!(error.kind, ErrorKind::Corrupt | ErrorKind::Invalid) {
            return error.into();
        }
        let (log, stream) = (&self.settings.log, &self.archived.stream);
        match (log.identity(stream).await, log.extent(stream, self.number).await) {
            (Ok(identity), Ok(extent)) if identity == log_identity && extent.start > next => {
                tracing::debug!(%stream, partition = self.number, "{error}");
                Left::Overtaken
            }
            // Not known yet: what failed fails again.
            (Err(unknown), _) | (_, Err(unknown)) if unknown.kind == ErrorKind::Retry => unknown.into(),
            _ => error.into(),
        }
    }

    /// Takes the partition over, and passes what the log has lost; returns the log's identity too.
    async fn claim(&self) -> Result<(ArchivePosition, String), Left> {
        let Settings { log, manifest, .. } = &self.settings;
        let (stream, partition) = (self.archived.stream.clone(), self.number);
        let claim = ArchiveClaim {
            stream: stream.clone(),
            partition,
            owner: self.settings.name.clone(),
            log_identity: log.identity(&stream).await?,
            start: log.extent(&stream, partition).await?.start,
        };
        let mut position = manifest.claim_archive(&claim).await?;
        let log_identity = claim.log_identity;
        // Asked again: whoever had the partition before may have gone on until the claim.
        let extent = log.extent(&stream, partition).await?;
        if position.next_offset > extent.end {
            // A log whose leader has just changed may say less than it holds.
            let doing = format!(
                "archiving {stream}/{partition} from offset {}: the log ends at {}: if it is not the one that was \
                 archived, begin with an empty store",
                position.next_offset, extent.end
            );
            return Err(PortError::new(ErrorKind::Retry, doing).into());
        }
        if position.next_offset < extent.start {
            let lost = extent.start - position.next_offset;
            tracing::error!(
                %stream, partition, lost,
                "the log has removed records before they were archived: its retention is shorter than the archive was away or off"
            );
            let gap = Cut {
                stream,
                partition,
                epoch: position.epoch,
                base: position.next_offset,
                end: extent.start,
                lost,
                place: self.archived.archive.place().to_owned(),
                files: Vec::new(),
            };
            if !manifest.commit_cut(&gap).await? {
                return Err(Left::Missed);
            }
            position.next_offset = extent.start;
        }
        Ok((position, log_identity))
    }

    /// Gathers the next cut; `None` when told to stop with nothing gathered.
    async fn gather(&self, stretch: &mut Stretch) -> Result<Option<Gathering>, Left> {
        let mut cut: Option<Gathering> = None;
        loop {
            while let Some((batch, from)) = stretch.ready.pop_front() {
                let gathering = match &mut cut {
                    Some(gathering) => gathering,
                    None => cut.insert(self.begin(stretch, batch.place(from).1).await?),
                };
                let taken = self.take(gathering, &batch, from)?;
                if taken < batch.events.len() {
                    stretch.ready.push_front((batch, taken));
                }
                if self.ends(gathering, at_hand(&stretch.ready)) {
                    return Ok(cut);
                }
            }
            let wait = match &cut {
                None => LOOK,
                // So far behind, it ends with the log's records and not with their age.
                Some(gathering) if gathering.is_behind => CUT_INTERVAL,
                Some(gathering) => {
                    let due =
                        if self.has_full_file(gathering) { gathering.not_before } else { gathering.due };
                    let wait = due.saturating_duration_since(Instant::now());
                    if wait.is_zero() {
                        return Ok(cut);
                    }
                    wait
                }
            };
            let read = tokio::select! {
                read = stretch.reader.next(READ_BYTES_MAX, wait) => read,
                // What the log has already still goes into files.
                () = self.stop.cancelled() => stretch.reader.next(READ_BYTES_MAX, Duration::ZERO).await,
            };
            let batches = match read {
                Ok(batches) => batches,
                Err(error) => {
                    let next = stretch.reader.passed();
                    let left = self.judge(error, (&stretch.log_identity, next)).await;
                    return match left {
                        // What was read is not lost: the reader fails again behind it.
                        Left::Overtaken if cut.is_some() => Ok(cut),
                        left => Err(left),
                    };
                }
            };
            let is_end = batches.is_empty();
            if is_end && self.stop.is_cancelled() {
                return Ok(cut);
            }
            keep(stretch, cut.as_mut(), batches);
            match &cut {
                Some(gathering) if is_end && gathering.is_behind => return Ok(cut),
                None if is_end && stretch.reader.passed() > stretch.next => {
                    // Nothing but holes: the archive passes them.
                    let mut passing = self.begin(stretch, self.settings.clock.now()).await?;
                    passing.end = stretch.reader.passed();
                    return Ok(Some(passing));
                }
                _ => {}
            }
        }
    }

    /// Begins a cut whose first record the log has had since a time.
    async fn begin(&self, stretch: &Stretch, appended_at: Timestamp) -> Result<Gathering, Left> {
        let rules = &self.archived.rules;
        let extent = self.settings.log.extent(&self.archived.stream, self.number).await?;
        let base = stretch.next;
        let is_behind = extent.end.saturating_sub(base) > rules.rows.saturating_mul(FILES_BEHIND);
        let large = if is_behind { self.large.clone().try_acquire_owned().ok() } else { None };
        self.settings.metrics.stands(&self.archived.stream, self.number, |standing| {
            standing.oldest = Some(appended_at);
        });
        let waited_ms = self.settings.clock.now().0.saturating_sub(appended_at.0);
        let waited = Duration::from_millis(u64::try_from(waited_ms).unwrap_or(0));
        let now = Instant::now();
        let not_before = stretch.last_cut.map_or(now, |last| last + CUT_INTERVAL);
        let due = not_before.max(now + rules.age.saturating_sub(waited));
        let builder = self.archived.archive.begin(rules, self.number);
        Ok(Gathering {
            builder,
            base,
            end: base,
            due,
            not_before,
            large,
            is_behind,
            log_end: extent.end,
            traced: Traced::default(),
        })
    }

    /// Adds a batch's records from an index on, as far as they fit; returns the index behind them.
    fn take(&self, cut: &mut Gathering, batch: &LogBatch, from: usize) -> Result<usize, Left> {
        let (rules, records) = (&self.archived.rules, batch.events.len());
        let limits = if cut.is_behind {
            FileLimits { rows: u64::MAX, bytes: FILE_BYTES_MAX }
        } else {
            FileLimits { rows: rules.rows, bytes: rules.bytes }
        };
        // So many at once that no limit is passed by much.
        let room =
            usize::try_from(limits.rows.saturating_sub(cut.builder.rows() % limits.rows)).unwrap_or(records);
        let until = records.min(from.saturating_add(room.clamp(1, 4_096)));
        cut.builder.add(batch, from..until, limits)?;
        cut.traced.note(&self.settings.tracer, batch, (from, until), self.number);
        cut.end = batch.place(until - 1).0 + 1;
        Ok(until)
    }

    /// Returns whether a cut ends here, with so many records more at hand.
    fn ends(&self, cut: &Gathering, at_hand: u64) -> bool {
        let (rules, builder) = (&self.archived.rules, &cut.builder);
        let is_full = if cut.large.is_some() {
            builder.held() >= FILE_BYTES_MAX
        } else if cut.is_behind {
            builder.held() >= rules.bytes.min(SMALL_CUT_BYTES)
        } else {
            builder.bytes() >= rules.bytes.clamp(SMALL_CUT_BYTES, FILE_BYTES_MAX)
        };
        if is_full || builder.files() >= FILES_PER_CUT_MAX {
            return true;
        }
        if cut.is_behind {
            return cut.end >= cut.log_end;
        }
        if !self.has_full_file(cut) {
            return false;
        }
        let is_soon = Instant::now() < cut.not_before;
        builder.files() as u64 >= FILES_BEHIND || (at_hand < rules.rows && !is_soon)
    }

    fn has_full_file(&self, cut: &Gathering) -> bool {
        let rules = &self.archived.rules;
        cut.builder.rows() >= rules.rows || cut.builder.bytes() >= rules.bytes
    }
}

/// Keeps what was read, from where the archive stands on; without records, a cut goes to where holes end.
fn keep(stretch: &mut Stretch, cut: Option<&mut Gathering>, batches: Vec<LogBatch>) {
    let from = cut.as_ref().map_or(stretch.next, |cut| cut.end);
    for batch in batches {
        let first = (0..batch.events.len()).find(|index| batch.place(*index).0 >= from);
        if let Some(first) = first {
            stretch.ready.push_back((batch, first));
        }
    }
    if stretch.ready.is_empty()
        && let Some(cut) = cut
    {
        cut.end = cut.end.max(stretch.reader.passed());
    }
}

fn at_hand(ready: &VecDeque<(LogBatch, usize)>) -> u64 {
    ready.iter().map(|(batch, from)| (batch.events.len() - from) as u64).sum()
}
