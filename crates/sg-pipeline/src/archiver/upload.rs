//! The way of one cut into the archive: its files are noted, written, and taken into the manifest together. Tries for
//! ever what may pass; whoever has lost the partition meanwhile writes nothing into the manifest.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use sg_core::archive::FileKind;
use sg_core::metrics::WriterMetrics;
use sg_core::ports::{Archive, ArchivedFile, Cut, CutFile, ErrorKind, Intent, PortError};
use sg_core::time::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::outage::Outage;
use crate::patience::{Patience, passes};

use super::partition::Left;
use super::{ArchivedStream, Settings};

/// Files of a cut written at once.
const WRITES_AT_ONCE: usize = 4;
/// The first and the longest pause.
pub(super) const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// Lets the next pause pass, unless told to stop.
pub(super) async fn wait(patience: &mut Patience, stop: &CancellationToken) -> Result<(), Left> {
    if passes(patience.next_pause(), stop.cancelled()).await { Ok(()) } else { Err(Left::Stopped) }
}

/// Tries once to write a file, and counts that.
pub(super) async fn timed(
    archive: &dyn Archive,
    (path, file): (&str, &CutFile),
    writer: &WriterMetrics,
) -> Result<(), PortError> {
    let began = Instant::now();
    let written = archive.put(path, file).await;
    writer.duration.observe(began.elapsed());
    if written.is_ok() { &writer.writes } else { &writer.errors }.add(1);
    written
}

/// What a cut is uploaded with.
pub(super) struct Upload<'a> {
    pub(super) archived: &'a ArchivedStream,
    pub(super) number: u32,
    pub(super) settings: &'a Settings,
    pub(super) epoch: i64,
    pub(super) stop: &'a CancellationToken,
}

impl Upload<'_> {
    /// Writes the files of `base..end` and takes them into the manifest.
    pub(super) async fn run(&self, base: u64, end: u64, files: Vec<CutFile>) -> Result<(), Left> {
        let paths: Vec<String> = files.iter().map(|file| self.path(file)).collect();
        let intent = self.intent(paths);
        if !files.is_empty() && !self.retrying(|| self.settings.manifest.intend(&intent)).await? {
            return Err(Left::Missed);
        }
        let mut writes = stream::iter(intent.paths.iter().zip(&files))
            .map(|(path, file)| self.put(path, file))
            .buffer_unordered(WRITES_AT_ONCE);
        while let Some(written) = writes.next().await {
            written?;
        }
        drop(writes);
        let (metrics, stream) = (&self.settings.metrics, &self.archived.stream);
        metrics.stands(stream, self.number, |standing| standing.failing = None);
        let cut = self.cut(base, end, &intent.paths, &files);
        // Nobody needs the bytes any more.
        drop(files);
        if !self.commit(&cut).await? {
            self.settings.manifest.abandon(&intent).await?;
            return Err(Left::Missed);
        }
        metrics.records.add(cut.files.iter().map(|file| file.rows).sum());
        metrics.bytes.add(cut.files.iter().map(|file| file.bytes).sum());
        Ok(())
    }

    /// The time says when, the partition and offset which, the rest makes it one of a kind in a shared bucket.
    fn path(&self, file: &CutFile) -> String {
        let now = self.settings.clock.now().0;
        let mark = (self.settings.seed ^ file.from.wrapping_mul(0x9e37_79b9_7f4a_7c15)) as u32;
        let stamp = format!("{now}-{}-{}-{mark:08x}", self.number, file.from);
        self.archived.rules.path(file.hour, &stamp)
    }

    fn intent(&self, paths: Vec<String>) -> Intent {
        Intent {
            stream: self.archived.stream.clone(),
            kind: FileKind::Raw,
            partition: self.number,
            epoch: self.epoch,
            place: self.archived.archive.place().to_owned(),
            paths,
        }
    }

    fn cut(&self, base: u64, end: u64, paths: &[String], files: &[CutFile]) -> Cut {
        let (stream, partition) = (&self.archived.stream, self.number);
        let place = self.archived.archive.place();
        let entry = |(path, file): (&String, &CutFile)| ArchivedFile {
            id: 0,
            place: place.to_owned(),
            path: path.clone(),
            stream: stream.clone(),
            kind: FileKind::Raw,
            partition,
            from: file.from,
            to: file.to,
            rows: file.rows,
            bytes: file.bytes,
            sha256: file.sha256.clone(),
            created_at: Timestamp::NEVER,
        };
        Cut {
            stream: stream.clone(),
            partition,
            epoch: self.epoch,
            base,
            end,
            lost: 0,
            place: place.to_owned(),
            files: paths.iter().zip(files).map(entry).collect(),
        }
    }

    /// Writes one file, until it is written, the partition is another's, or the process stops.
    async fn put(&self, path: &str, file: &CutFile) -> Result<(), Left> {
        let (metrics, stream) = (&self.settings.metrics, &self.archived.stream);
        let mut patience = Patience::new(BACKOFF);
        loop {
            let written = timed(self.archived.archive.as_ref(), (path, file), &metrics.raw).await;
            let Err(error) = written else { return Ok(()) };
            if !matches!(error.kind, ErrorKind::Retry | ErrorKind::Full) {
                return Err(error.into());
            }
            let mut is_news = false;
            metrics.stands(stream, self.number, |standing| {
                is_news = standing.failing.is_none();
                standing.failing = Some(error.to_string());
            });
            if is_news {
                tracing::warn!(%stream, partition = self.number, "{error}; trying again until it succeeds");
            }
            wait(&mut patience, self.stop).await?;
            self.check_epoch().await?;
        }
    }

    /// A file that nobody will take into the manifest must not be written: the sweep may be past it.
    async fn check_epoch(&self) -> Result<(), Left> {
        match self.settings.manifest.archive_positions().await {
            Ok(positions) => {
                let is_ours = positions.iter().any(|position| {
                    position.stream == self.archived.stream
                        && position.partition == self.number
                        && position.epoch == self.epoch
                });
                if is_ours { Ok(()) } else { Err(Left::Missed) }
            }
            // Asked again before the next try.
            Err(_) => Ok(()),
        }
    }

    /// Commits, whatever becomes of the answers: what was committed before one was lost is not committed again.
    async fn commit(&self, cut: &Cut) -> Result<bool, Left> {
        let mut is_repeated = false;
        let mut patience = Patience::new(BACKOFF);
        let mut outage = Outage::default();
        loop {
            match self.settings.manifest.commit_cut(cut).await {
                Ok(false) if is_repeated => return self.is_committed(cut).await,
                Err(error) if matches!(error.kind, ErrorKind::Retry | ErrorKind::Full) => {
                    outage.failed(format_args!("committing files of {}", cut.stream), &error);
                    is_repeated = true;
                    wait(&mut patience, self.stop).await?;
                }
                done => return Ok(done?),
            }
        }
    }

    async fn is_committed(&self, cut: &Cut) -> Result<bool, Left> {
        let positions = self.retrying(|| self.settings.manifest.archive_positions()).await?;
        let is_there = positions.iter().any(|position| {
            position.stream == cut.stream
                && position.partition == cut.partition
                && position.epoch == cut.epoch
                && position.next_offset == cut.end
        });
        Ok(is_there && cut.base != cut.end)
    }

    async fn retrying<T, R>(&self, call: impl Fn() -> R) -> Result<T, Left>
    where
        R: Future<Output = Result<T, PortError>>,
    {
        let mut patience = Patience::new(BACKOFF);
        let mut outage = Outage::default();
        loop {
            match call().await {
                Err(error) if matches!(error.kind, ErrorKind::Retry | ErrorKind::Full) => {
                    outage.failed(format_args!("archiving {}", self.archived.stream), &error);
                    wait(&mut patience, self.stop).await?;
                }
                done => return Ok(done?),
            }
        }
    }
}
