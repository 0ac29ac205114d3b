//! Deletes what no longer belongs into an archive: files written in vain, and those older than is kept. A file is
//! doomed in the manifest before it is deleted, so that nobody can take it in again.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all};
use futures_util::stream::{self, StreamExt as _};
use sg_core::archive::FileKind;
use sg_core::metrics::ArchiveMetrics;
use sg_core::ports::{Archive, DoomedFile, Kept, Manifest, PortError};
use sg_core::time::Clock;
use tokio_util::sync::CancellationToken;

use super::{ArchivedStream, LineFiles};

const SWEEP_INTERVAL: Duration = Duration::from_secs(10);
/// A write that stalled may end after its file was deleted: so long after it was doomed a file is deleted once more.
/// No request takes so long.
const STALL_MAX: Duration = Duration::from_secs(600);
/// Nobody needs so long to write a file: its process is gone, and no other has claimed the partition since.
const INTENT_AGE_MAX: Duration = Duration::from_secs(86_400);
/// Files of an answer.
const FILES_AT_ONCE: usize = 1_000;
/// Files of a place that are deleted at once: each is a request or two.
const DELETES_AT_ONCE: usize = 12;

/// The loop that keeps an archive clean.
pub struct Sweeper {
    /// The store's record of what is archived.
    pub manifest: Arc<dyn Manifest>,
    /// The streams.
    pub streams: Vec<ArchivedStream>,
    /// The other files.
    pub files: Vec<LineFiles>,
    /// The clock that retention goes by.
    pub clock: Arc<dyn Clock>,
    /// The archive's counters.
    pub metrics: Arc<ArchiveMetrics>,
}

/// How far the doomed files of a place are looked through.
#[derive(Default)]
struct Pass {
    /// The path behind which is looked next.
    after: String,
    /// Deleted by this process already, waiting for the second time.
    deleted: BTreeSet<String>,
}

impl Pass {
    /// Passes an answer; what it should name and does not was forgotten by another process.
    fn pass(&mut self, answer: &[DoomedFile]) {
        let is_last = answer.len() < FILES_AT_ONCE;
        let last = answer.last().filter(|_| !is_last).map(|file| file.path.clone());
        let until = last.as_deref().map_or(Bound::Unbounded, Bound::Included);
        let known: HashSet<&str> = answer.iter().map(|file| file.path.as_str()).collect();
        let passed = self.deleted.range::<str, _>((Bound::Excluded(self.after.as_str()), until));
        let forgotten: Vec<String> = passed.filter(|path| !known.contains(path.as_str())).cloned().collect();
        for path in forgotten {
            self.deleted.remove(&path);
        }
        self.after = last.unwrap_or_default();
    }
}

impl Sweeper {
    /// Works until told to stop. No place waits for another: a bucket may be slow, or refuse everything.
    pub async fn run(self, stop: CancellationToken) {
        let mut places = Vec::new();
        for archive in self.archives().into_values() {
            places.push(self.clean(archive));
        }
        tokio::select! {
            () = stop.cancelled() => {}
            _ = join(self.doom(), join_all(places)) => {}
        }
    }

    /// Dooms what is not kept, for ever.
    async fn doom(&self) {
        loop {
            if let Err(error) = self.doom_once().await {
                tracing::warn!("looking for files that the archive no longer keeps: {error}");
            }
            tokio::time::sleep(SWEEP_INTERVAL).await;
        }
    }

    async fn doom_once(&self) -> Result<(), PortError> {
        let now = self.clock.now();
        let raw = self.streams.iter().map(|archived| (&archived.stream, FileKind::Raw, &archived.rules));
        let others = self.files.iter().map(|files| (&files.stream, files.kind, &files.rules));
        for (stream, kind, rules) in raw.chain(others) {
            let since = rules.keep.map(|keep| now.minus(keep));
            let kept = Kept { since, bytes_max: rules.keep_bytes_max };
            if since.is_some() || kept.bytes_max.is_some() {
                while self.manifest.retire(stream, kind, kept).await? > 0 {}
            }
        }
        self.manifest.doom_intended(now.minus(INTENT_AGE_MAX)).await
    }

    /// Deletes the doomed files of a place, for ever.
    async fn clean(&self, archive: &Arc<dyn Archive>) {
        let mut pass = Pass::default();
        loop {
            if let Err(error) = self.clean_once(archive.as_ref(), &mut pass).await {
                tracing::warn!(place = archive.place(), "sweeping the archive: {error}");
            }
            tokio::time::sleep(SWEEP_INTERVAL).await;
        }
    }

    /// Looks through doomed files from where the last time ended, to the last one or until nothing can be deleted.
    async fn clean_once(&self, archive: &dyn Archive, pass: &mut Pass) -> Result<(), PortError> {
        loop {
            let answer = self.manifest.doomed(archive.place(), &pass.after, FILES_AT_ONCE).await?;
            let gets_on = self.delete(archive, &answer, &mut pass.deleted).await?;
            pass.pass(&answer);
            if pass.after.is_empty() || !gets_on {
                return Ok(());
            }
        }
    }

    /// Deletes what is due of an answer; returns false where all of it failed.
    async fn delete(
        &self,
        archive: &dyn Archive,
        answer: &[DoomedFile],
        deleted: &mut BTreeSet<String>,
    ) -> Result<bool, PortError> {
        let stalled = self.clock.now().minus(STALL_MAX);
        let is_due = |file: &&DoomedFile| file.doomed_at < stalled || !deleted.contains(&file.path);
        let due: Vec<DoomedFile> = answer.iter().filter(is_due).cloned().collect();
        let asked = due.len();
        let delete = |file: DoomedFile| async move { (archive.delete(&file.path).await, file) };
        let mut deletes = stream::iter(due).map(delete).buffer_unordered(DELETES_AT_ONCE);
        let (mut gone, mut failures): (Vec<DoomedFile>, Vec<PortError>) = Default::default();
        while let Some((done, file)) = deletes.next().await {
            if let Err(error) = done {
                failures.push(error);
                continue;
            }
            if deleted.insert(file.path.clone()) {
                self.metrics.deleted.add(1);
            }
            if file.doomed_at < stalled {
                deleted.remove(&file.path);
                gone.push(file);
            }
        }
        if let Some(error) = failures.first() {
            let (place, files) = (archive.place(), failures.len());
            tracing::warn!(place, files, "deleting what does not belong into the archive: {error}");
        }
        if !gone.is_empty() {
            self.manifest.forget(&gone).await?;
        }
        Ok(failures.is_empty() || failures.len() < asked)
    }

    /// Returns the archives by place; some streams share one.
    fn archives(&self) -> BTreeMap<&str, &Arc<dyn Archive>> {
        let raw = self.streams.iter().map(|archived| &archived.archive);
        let others = self.files.iter().map(|files| &files.archive);
        raw.chain(others).map(|archive| (archive.place(), archive)).collect()
    }
}
