//! The port of the archive's manifest over the store's one writing thread: nothing of it can be had from the log again,
//! so that every answer waits for the disk.

use async_trait::async_trait;
use sg_core::archive::FileKind;
use sg_core::ports::{
    ArchiveClaim, ArchivePosition, ArchivedFile, Cut, DoomedFile, Intent, Kept, Line, LineCut, Manifest,
    ManifestQuery, Mark, PortError,
};
use sg_core::time::Timestamp;

use super::error::Error;
use super::writer::WriteSide;
use super::{SqliteStore, lines, manifest};

impl SqliteStore {
    async fn durably<T: Send + 'static>(
        &self,
        doing: String,
        job: impl FnOnce(&mut WriteSide) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, PortError> {
        self.writer.run(doing, move |side| side.durably(job)).await
    }
}

#[async_trait]
impl Manifest for SqliteStore {
    async fn claim_archive(&self, claim: &ArchiveClaim) -> Result<ArchivePosition, PortError> {
        let claim = claim.clone();
        let doing = format!("claiming the archive of {}/{}", claim.stream, claim.partition);
        let job = move |side: &mut WriteSide| {
            let now = side.now();
            manifest::claim(&mut side.connection, &claim, now)
        };
        self.durably(doing, job).await
    }

    async fn intend(&self, intent: &Intent) -> Result<bool, PortError> {
        let intent = intent.clone();
        let doing = format!("noting files of {}/{}", intent.stream, intent.partition);
        let job = move |side: &mut WriteSide| {
            let now = side.now();
            manifest::intend(&mut side.connection, &intent, now)
        };
        self.durably(doing, job).await
    }

    async fn commit_cut(&self, cut: &Cut) -> Result<bool, PortError> {
        let cut = cut.clone();
        let doing = format!("taking files of {}/{} into the manifest", cut.stream, cut.partition);
        let job = move |side: &mut WriteSide| {
            let now = side.now();
            manifest::commit(&mut side.connection, &cut, now, &side.faults)
        };
        self.durably(doing, job).await
    }

    async fn abandon(&self, intent: &Intent) -> Result<(), PortError> {
        let intent = intent.clone();
        let doing = format!("dooming files of {}/{}", intent.stream, intent.partition);
        let job = move |side: &mut WriteSide| {
            let now = side.now();
            manifest::abandon(&mut side.connection, &intent, now)
        };
        self.durably(doing, job).await
    }

    async fn doom_intended(&self, before: Timestamp) -> Result<(), PortError> {
        let job = move |side: &mut WriteSide| {
            let times = (before, side.now());
            manifest::doom_intended(&side.connection, times)
        };
        self.durably("dooming what was intended long ago".to_owned(), job).await
    }

    async fn doomed(&self, place: &str, after: &str, rows_max: usize) -> Result<Vec<DoomedFile>, PortError> {
        let asked = (place.to_owned(), after.to_owned());
        let question = move |connection: &rusqlite::Connection, _| {
            manifest::doomed(connection, (&asked.0, &asked.1), rows_max)
        };
        self.pool.read("listing doomed files", question).await
    }

    async fn forget(&self, files: &[DoomedFile]) -> Result<(), PortError> {
        let files = files.to_vec();
        let job = move |side: &mut WriteSide| manifest::forget(&mut side.connection, &files);
        self.durably("forgetting deleted files".to_owned(), job).await
    }

    async fn retire(&self, stream: &str, kind: FileKind, kept: Kept) -> Result<u64, PortError> {
        let stream = stream.to_owned();
        let doing = format!("retiring archive files of {stream}");
        let job = move |side: &mut WriteSide| {
            let kept = (kept, side.now());
            manifest::retire(&mut side.connection, (&stream, kind), kept, &side.faults)
        };
        self.durably(doing, job).await
    }

    async fn claim_lines(&self, stream: &str, kind: FileKind) -> Result<bool, PortError> {
        let stream = stream.to_owned();
        let doing = format!("claiming lines of {stream}");
        let job = move |side: &mut WriteSide| {
            let now = side.now();
            lines::claim(&side.connection, (&stream, kind), now)
        };
        self.durably(doing, job).await?;
        Ok(true)
    }

    async fn lines(
        &self,
        stream: &str,
        kind: FileKind,
        after: i64,
        rows_max: usize,
    ) -> Result<Vec<Line>, PortError> {
        let stream = stream.to_owned();
        let doing = format!("reading lines of {stream}");
        let question = move |connection: &rusqlite::Connection, _| {
            lines::read(connection, (&stream, kind), after, rows_max)
        };
        self.pool.read(doing, question).await
    }

    async fn commit_lines(&self, cut: &LineCut) -> Result<bool, PortError> {
        let cut = cut.clone();
        let doing = format!("taking files of lines of {} into the manifest", cut.stream);
        let job = move |side: &mut WriteSide| {
            let now = side.now();
            lines::commit(&mut side.connection, &cut, now, &side.faults)
        };
        self.durably(doing, job).await
    }

    async fn is_intended(&self, intent: &Intent) -> Result<bool, PortError> {
        let intent = intent.clone();
        let question = move |side: &mut WriteSide| lines::is_intended(&side.connection, &intent);
        self.writer.run("looking whether files are still to come in", question).await
    }

    async fn archive_positions(&self) -> Result<Vec<ArchivePosition>, PortError> {
        // Asked of the writing thread: a claim whose caller gave up may still be in its queue.
        self.writer.run("reading the archive's positions", |side| manifest::positions(&side.connection)).await
    }

    async fn archived_files(&self, query: &ManifestQuery) -> Result<Vec<ArchivedFile>, PortError> {
        let query = query.clone();
        self.pool.read("reading the manifest", move |connection, _| manifest::files(connection, &query)).await
    }

    async fn marks(&self, stream: &str, partition: u32) -> Result<Vec<Mark>, PortError> {
        let stream = stream.to_owned();
        let doing = format!("reading marks of {stream}/{partition}");
        self.pool.read(doing, move |connection, _| manifest::marks(connection, &stream, partition)).await
    }

    async fn drop_marks(&self, stream: &str, partition: u32, reach: u64) -> Result<(), PortError> {
        let stream = stream.to_owned();
        let doing = format!("removing marks of {stream}/{partition}");
        let job =
            move |side: &mut WriteSide| manifest::drop_marks(&side.connection, (&stream, partition), reach);
        self.writer.run(doing, job).await
    }
}
