//! Lines → files: takes the lines that flushes left for files of closed windows and of late events, in their order, and
//! puts each into a file, once. Holds no state that is not a function of what waits in the store: after any doubt it
//! claims the lane again and begins there. A bucket that is away only makes the lane longer.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use sg_core::archive::{ArchiveRules, FILE_BYTES_MAX, FileKind};
use sg_core::metrics::ArchiveMetrics;
use sg_core::ports::{Archive, ArchivedFile, CutFile, Intent, Line, LineCut, Manifest, PortError};
use sg_core::time::{Clock, Timestamp, millis};
use tokio_util::sync::CancellationToken;

use crate::patience::Patience;

use super::partition::Left;
use super::upload::{BACKOFF, timed, wait};

/// Lines taken together at most: a window of ten thousand cells is one cut.
const LINES_AT_ONCE: usize = 10_000;
/// Files of the row limit's size that may wait: more, and the lane is behind.
const FILES_BEHIND: usize = 20;
/// Files of a cut at most, when its windows lie on many days: each is a request.
const FILES_PER_CUT_MAX: usize = 256;
/// The least time between two cuts of a lane: each is two transactions that wait for the disk.
const CUT_INTERVAL: Duration = Duration::from_millis(200);
/// Between two looks at a lane that has nothing new.
const LOOK: Duration = Duration::from_millis(500);
/// Between two looks whether a lane that another process has is free.
const CLAIM_PAUSE: Duration = Duration::from_secs(5);
/// How long the last files may take when the process stops: what is not in one by then follows from the store.
const LAST_MOMENTS: Duration = Duration::from_secs(2);

/// A kind of files of a stream that are made of lines.
#[derive(Clone)]
pub struct LineFiles {
    /// The stream's name.
    pub stream: String,
    /// What they hold.
    pub kind: FileKind,
    /// What they are called, and when one ends.
    pub rules: Arc<ArchiveRules>,
    /// Where to.
    pub archive: Arc<dyn Archive>,
}

/// The loops over the lanes of all streams.
pub struct LineWriters {
    /// The store's record of what waits and of what is archived.
    pub manifest: Arc<dyn Manifest>,
    /// The files.
    pub files: Vec<LineFiles>,
    /// The clock by which files are named and grow old.
    pub clock: Arc<dyn Clock>,
    /// The archive's counters.
    pub metrics: Arc<ArchiveMetrics>,
    /// Tells this process's files from any other's.
    pub seed: u64,
}

impl LineWriters {
    /// Works until told to stop; what waits then still becomes files, within a moment.
    pub async fn run(self, stop: CancellationToken) {
        let over = async {
            stop.cancelled().await;
            tokio::time::sleep(LAST_MOMENTS).await;
        };
        let lanes = self.files.iter().map(|files| {
            let cuts = AtomicU64::new(0);
            Lane { writers: &self, files, stop: &stop, cuts }.run()
        });
        tokio::select! {
            _ = join_all(lanes) => {}
            () = over => {}
        }
    }
}

/// One lane, and what its files are written with.
struct Lane<'w> {
    writers: &'w LineWriters,
    files: &'w LineFiles,
    stop: &'w CancellationToken,
    /// Cuts so far, given up ones included: the name of one that was given up is not used again.
    cuts: AtomicU64,
}

impl Lane<'_> {
    async fn run(self) {
        let mut patience = Patience::new(BACKOFF);
        loop {
            let (stream, kind) = (&self.files.stream, self.files.kind.name());
            match self.work(&mut patience).await {
                Ok(()) | Err(Left::Stopped) => return,
                Err(Left::Missed | Left::Overtaken) => {
                    tracing::warn!(%stream, kind, "lines for files stand elsewhere than thought: claiming them again");
                }
                Err(Left::Port(error)) => {
                    if self.failing(Some(error.to_string())) {
                        tracing::warn!(%stream, kind, "writing files of lines: {error}; trying again until it succeeds");
                    }
                }
            }
            if wait(&mut patience, self.stop).await.is_err() {
                return;
            }
        }
    }

    /// Takes note of why nothing gets further; returns whether that is news.
    fn failing(&self, why: Option<String>) -> bool {
        self.writers.metrics.lane_stands(&self.files.stream, self.files.kind, why)
    }

    async fn work(&self, patience: &mut Patience) -> Result<(), Left> {
        let LineFiles { stream, kind, rules, .. } = self.files;
        let manifest = &self.writers.manifest;
        while !manifest.claim_lines(stream, *kind).await? {
            self.failing(None);
            if !self.rest(CLAIM_PAUSE).await {
                return Ok(());
            }
        }
        let mut waiting: VecDeque<Line> = VecDeque::new();
        loop {
            // Asked before the lines: those that come later are not waited for.
            let is_last = self.stop.is_cancelled();
            let after = waiting.back().map_or(0, |line| line.id);
            let room = LINES_AT_ONCE.saturating_sub(waiting.len());
            waiting.extend(manifest.lines(stream, *kind, after, room).await?);
            let now = self.writers.clock.now();
            match cut(waiting.make_contiguous(), rules, now, is_last) {
                Some(lines) => {
                    self.upload(&waiting.make_contiguous()[..lines]).await?;
                    waiting.drain(..lines);
                    patience.reset();
                    self.rest(CUT_INTERVAL).await;
                }
                None if is_last => return Ok(()),
                None => {
                    self.rest(LOOK).await;
                }
            }
        }
    }

    /// Lets time pass; returns false when told to stop.
    async fn rest(&self, time: Duration) -> bool {
        tokio::select! {
            () = self.stop.cancelled() => false,
            () = tokio::time::sleep(time) => true,
        }
    }

    /// Writes the files of a cut and takes them into the manifest.
    async fn upload(&self, lines: &[Line]) -> Result<(), Left> {
        let LineFiles { stream, kind, archive, .. } = self.files;
        let (Some(first), Some(last)) = (lines.first(), lines.last()) else { return Ok(()) };
        let files = self.pack(lines)?;
        let intent = Intent {
            stream: stream.clone(),
            kind: *kind,
            partition: 0,
            epoch: 0,
            place: archive.place().to_owned(),
            paths: files.iter().map(|(path, _)| path.clone()).collect(),
        };
        let manifest = &self.writers.manifest;
        if !manifest.intend(&intent).await? {
            return Err(Left::Missed);
        }
        for (path, file) in &files {
            self.put(path, file, &intent).await?;
        }
        self.failing(None);
        let cut = LineCut {
            stream: stream.clone(),
            kind: *kind,
            first: first.id,
            last: last.id,
            lines: lines.len() as u64,
            place: archive.place().to_owned(),
            files: files.iter().map(|(path, file)| self.entry(path, file)).collect(),
        };
        // After an error nobody knows whether it was done: whoever claims the lane again finds the lines, or not.
        if !manifest.commit_lines(&cut).await? {
            manifest.abandon(&intent).await?;
            return Err(Left::Missed);
        }
        self.writers.metrics.records.add(lines.len() as u64);
        self.writers.metrics.bytes.add(cut.files.iter().map(|file| file.bytes).sum());
        Ok(())
    }

    /// Makes the files of a cut, each with its path.
    fn pack(&self, lines: &[Line]) -> Result<Vec<(String, CutFile)>, PortError> {
        let LineFiles { rules, archive, .. } = self.files;
        let now = self.writers.clock.now().0;
        let number = self.cuts.fetch_add(1, Ordering::Relaxed);
        let mark = (self.writers.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)) as u32;
        let mut packed = Vec::new();
        for of_file in files(lines, rules) {
            let Some(first) = of_file.first() else { continue };
            // The time says when, the first line which, the mark makes it one of a kind in a shared bucket.
            let path = rules.path(first.window_start, &format!("{now}-{}-{mark:08x}", first.id));
            let texts: Vec<&str> = of_file.iter().map(|line| line.text.as_str()).collect();
            packed.push((path, archive.pack(rules, first.window_start, &texts)?));
        }
        Ok(packed)
    }

    fn entry(&self, path: &str, file: &CutFile) -> ArchivedFile {
        ArchivedFile {
            id: 0,
            place: self.files.archive.place().to_owned(),
            path: path.to_owned(),
            stream: self.files.stream.clone(),
            kind: self.files.kind,
            partition: 0,
            from: 0,
            to: 0,
            rows: file.rows,
            bytes: file.bytes,
            sha256: file.sha256.clone(),
            created_at: Timestamp::NEVER,
        }
    }

    /// Writes one file, until it is written, nobody wants it any more, or the process stops.
    async fn put(&self, path: &str, file: &CutFile, intent: &Intent) -> Result<(), Left> {
        let LineFiles { stream, kind, archive, .. } = self.files;
        let mut patience = Patience::new(BACKOFF);
        loop {
            let writer = self.writers.metrics.writer(*kind);
            let Err(error) = timed(archive.as_ref(), (path, file), writer).await else { return Ok(()) };
            if self.failing(Some(error.to_string())) {
                tracing::warn!(%stream, kind = kind.name(), "{error}; trying again until it succeeds");
            }
            wait(&mut patience, self.stop).await?;
            // A file that nobody will take into the manifest must not be written: the sweep may be past it.
            if !self.writers.manifest.is_intended(intent).await? {
                return Err(Left::Missed);
            }
        }
    }
}

/// How far files grow: a lane that is behind has few and large ones.
fn limits(waiting: usize, rules: &ArchiveRules) -> (usize, u64) {
    let rows = usize::try_from(rules.rows).unwrap_or(usize::MAX);
    let is_behind = waiting > rows.saturating_mul(FILES_BEHIND);
    if is_behind { (usize::MAX, FILE_BYTES_MAX) } else { (rows, rules.bytes) }
}

/// Returns how many of the lines that wait the next cut takes; `None` while it need not be made yet: no file is full, and
/// none of the lines is old.
fn cut(waiting: &[Line], rules: &ArchiveRules, now: Timestamp, is_last: bool) -> Option<usize> {
    let oldest = waiting.first()?;
    let is_old = now.0.saturating_sub(oldest.written_at.0) >= millis(rules.age);
    let (rows_max, bytes_max) = limits(waiting.len(), rules);
    let mut growing: BTreeMap<String, (usize, u64)> = BTreeMap::new();
    let (mut files, mut end) = (0, None);
    for (at, line) in waiting.iter().enumerate() {
        let (rows, bytes) = growing.entry(slot(line, rules)).or_insert_with(|| {
            files += 1;
            (0, 0)
        });
        if files > FILES_PER_CUT_MAX {
            return Some(at);
        }
        *rows += 1;
        *bytes += line.text.len() as u64 + 1;
        if *rows >= rows_max || *bytes >= bytes_max {
            growing.remove(&slot(line, rules));
            end = Some(at + 1);
        }
    }
    // A lane that is behind does not wait for age.
    if is_old || is_last || rows_max == usize::MAX { Some(waiting.len()) } else { end }
}

/// Shares the lines of a cut out to files, those of one file in their order.
fn files<'l>(lines: &'l [Line], rules: &ArchiveRules) -> Vec<Vec<&'l Line>> {
    let (rows_max, bytes_max) = limits(lines.len(), rules);
    let mut growing: BTreeMap<String, (u64, Vec<&Line>)> = BTreeMap::new();
    let mut full = Vec::new();
    for line in lines {
        let slot = slot(line, rules);
        let (bytes, file) = growing.entry(slot.clone()).or_default();
        file.push(line);
        *bytes += line.text.len() as u64 + 1;
        if file.len() >= rows_max || *bytes >= bytes_max {
            full.extend(growing.remove(&slot).map(|(_, file)| file));
        }
    }
    full.extend(growing.into_values().map(|(_, file)| file));
    full
}

/// Tells the day, or the hour, of a line's file from any other, as far as the layout does.
fn slot(line: &Line, rules: &ArchiveRules) -> String {
    rules.layout.path(line.window_start, "")
}

#[cfg(test)]
mod tests;
