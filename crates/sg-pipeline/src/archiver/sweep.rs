//! Deletes what no longer belongs into an archive: files written in vain, and those older than is kept. A file is
//! doomed in the manifest before it is deleted, so that nobody can take it in again.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

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
const FILES_AT_ONCE: usize = 1_000;

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

impl Sweeper {
    /// Works until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        // Deleted by this process already, waiting for the second time.
        let mut deleted = HashSet::new();
        loop {
            if let Err(error) = self.round(&mut deleted).await {
                tracing::warn!("sweeping the archive: {error}");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(SWEEP_INTERVAL) => {}
            }
        }
    }

    async fn round(&self, deleted: &mut HashSet<(String, String)>) -> Result<(), PortError> {
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
        let doomed = self.manifest.doomed(now.minus(INTENT_AGE_MAX), FILES_AT_ONCE).await?;
        let mut gone: Vec<DoomedFile> = Vec::new();
        for file in doomed {
            let Some(archive) = self.archive(&file.place) else { continue };
            let name = (file.place.clone(), file.path.clone());
            let is_last = file.doomed_at < now.minus(STALL_MAX);
            if !is_last && deleted.contains(&name) {
                continue;
            }
            if let Err(error) = archive.delete(&file.path).await {
                tracing::warn!("deleting what does not belong into the archive: {error}");
                continue;
            }
            if deleted.insert(name.clone()) {
                self.metrics.deleted.add(1);
            }
            if is_last {
                deleted.remove(&name);
                gone.push(file);
            }
        }
        if gone.is_empty() { Ok(()) } else { self.manifest.forget(&gone).await }
    }

    fn archive(&self, place: &str) -> Option<&Arc<dyn Archive>> {
        let raw = self.streams.iter().map(|archived| &archived.archive);
        let others = self.files.iter().map(|files| &files.archive);
        raw.chain(others).find(|archive| archive.place() == place)
    }
}
