//! The port of the archive's manifest: one transaction a call. Nothing of it can be had from the log again, so that
//! every answer waits for the disk.

use async_trait::async_trait;
use sg_core::archive::FileKind;
use sg_core::ports::{
    ArchiveClaim, ArchivePosition, ArchivedFile, Cut, DoomedFile, Intent, Kept, Line, LineCut, Manifest,
    ManifestQuery, Mark, PortError,
};
use sg_core::time::Timestamp;

use super::error::Error;
use super::pool::{Lease, Mode, in_time};
use super::{PostgresStore, lines, manifest};

impl PostgresStore {
    /// Runs a transaction that says whether it may stay.
    async fn transact_if(&self, job: impl AsyncFnOnce(&Lease) -> Result<bool, Error>) -> Result<bool, Error> {
        let transaction = async {
            let lease = self.connections.begin(Mode::Durable).await?;
            match job(&lease).await {
                Ok(false) => {
                    lease.roll_back().await;
                    Ok(false)
                }
                done => lease.finish(done).await,
            }
        };
        in_time(transaction).await
    }
}

#[async_trait]
impl Manifest for PostgresStore {
    async fn claim_archive(&self, claim: &ArchiveClaim) -> Result<ArchivePosition, PortError> {
        let now = self.clock.now();
        let job = async |lease: &Lease| manifest::claim(lease, claim, now, &self.faults).await;
        let doing = || format!("claiming the archive of {}/{}", claim.stream, claim.partition);
        self.transact(Mode::Durable, job).await.map_err(|error| error.into_port(&doing()))
    }

    async fn intend(&self, intent: &Intent) -> Result<bool, PortError> {
        let now = self.clock.now();
        let noted = self.transact_if(async |lease: &Lease| manifest::intend(lease, intent, now).await).await;
        let doing = || format!("noting files of {}/{}", intent.stream, intent.partition);
        noted.map_err(|error| error.into_port(&doing()))
    }

    async fn commit_cut(&self, cut: &Cut) -> Result<bool, PortError> {
        let now = self.clock.now();
        let job = async |lease: &Lease| manifest::commit(lease, cut, now, &self.faults).await;
        let committed = self.transact_if(job).await;
        let doing = || format!("taking files of {}/{} into the manifest", cut.stream, cut.partition);
        let committed = committed.map_err(|error| error.into_port(&doing()))?;
        // From here on it is written: a failure means that the caller does not know.
        self.faults.step().map_err(|error| Error::from(error).into_port(&doing()))?;
        Ok(committed)
    }

    async fn abandon(&self, intent: &Intent) -> Result<(), PortError> {
        let now = self.clock.now();
        let job = async |lease: &Lease| manifest::abandon(lease, intent, now).await;
        let doing = || format!("dooming files of {}/{}", intent.stream, intent.partition);
        self.transact(Mode::Durable, job).await.map_err(|error| error.into_port(&doing()))
    }

    async fn doom_intended(&self, before: Timestamp) -> Result<(), PortError> {
        let times = (before, self.clock.now());
        let job = async |lease: &Lease| manifest::doom_intended(lease, times).await;
        let doing = "dooming what was intended long ago";
        self.transact(Mode::Durable, job).await.map_err(|error| error.into_port(doing))
    }

    async fn doomed(&self, place: &str, after: &str, rows_max: usize) -> Result<Vec<DoomedFile>, PortError> {
        let job = async |lease: &Lease| manifest::doomed(lease, (place, after), rows_max).await;
        self.transact(Mode::Question, job).await.map_err(|error| error.into_port("listing doomed files"))
    }

    async fn forget(&self, files: &[DoomedFile]) -> Result<(), PortError> {
        let job = async |lease: &Lease| manifest::forget(lease, files).await;
        self.transact(Mode::Durable, job).await.map_err(|error| error.into_port("forgetting deleted files"))
    }

    async fn retire(&self, stream: &str, kind: FileKind, kept: Kept) -> Result<u64, PortError> {
        let kept = (kept, self.clock.now());
        let job = async |lease: &Lease| manifest::retire(lease, (stream, kind), kept, &self.faults).await;
        let doing = || format!("retiring archive files of {stream}");
        self.transact(Mode::Durable, job).await.map_err(|error| error.into_port(&doing()))
    }

    async fn claim_lines(&self, stream: &str, kind: FileKind) -> Result<bool, PortError> {
        let now = self.clock.now();
        let claimed = async {
            let is_ours = lines::has(&self.connections, &self.sender, (stream, kind)).await?;
            if is_ours {
                let job = async |lease: &Lease| lines::claim(lease, (stream, kind), now).await;
                self.transact(Mode::Durable, job).await?;
            }
            Ok::<bool, Error>(is_ours)
        };
        claimed.await.map_err(|error| error.into_port(&format!("claiming lines of {stream}")))
    }

    async fn lines(
        &self,
        stream: &str,
        kind: FileKind,
        after: i64,
        rows_max: usize,
    ) -> Result<Vec<Line>, PortError> {
        let read = async {
            if !lines::has(&self.connections, &self.sender, (stream, kind)).await? {
                return Ok(Vec::new());
            }
            let job = async |lease: &Lease| lines::read(lease, (stream, kind), after, rows_max).await;
            self.transact(Mode::Question, job).await
        };
        read.await.map_err(|error: Error| error.into_port(&format!("reading lines of {stream}")))
    }

    async fn commit_lines(&self, cut: &LineCut) -> Result<bool, PortError> {
        let now = self.clock.now();
        let job = async |lease: &Lease| lines::commit(lease, cut, now, &self.faults).await;
        let committed = self.transact_if(job).await;
        let doing = || format!("taking files of lines of {} into the manifest", cut.stream);
        let committed = committed.map_err(|error| error.into_port(&doing()))?;
        // From here on it is written: a failure means that the caller does not know.
        self.faults.step().map_err(|error| Error::from(error).into_port(&doing()))?;
        Ok(committed)
    }

    async fn is_intended(&self, intent: &Intent) -> Result<bool, PortError> {
        let job = async |lease: &Lease| lines::is_intended(lease, intent).await;
        let read = self.transact(Mode::Question, job).await;
        read.map_err(|error| error.into_port("looking whether files are still to come in"))
    }

    async fn archive_positions(&self) -> Result<Vec<ArchivePosition>, PortError> {
        let job = async |lease: &Lease| manifest::positions(lease).await;
        let read = self.transact(Mode::Question, job).await;
        read.map_err(|error| error.into_answer("reading the archive's positions"))
    }

    async fn archived_files(&self, query: &ManifestQuery) -> Result<Vec<ArchivedFile>, PortError> {
        let job = async |lease: &Lease| manifest::files(lease, query).await;
        let read = self.transact(Mode::Question, job).await;
        read.map_err(|error| error.into_answer("reading the manifest"))
    }

    async fn marks(&self, stream: &str, partition: u32) -> Result<Vec<Mark>, PortError> {
        let job = async |lease: &Lease| manifest::marks(lease, stream, partition).await;
        let read = self.transact(Mode::Question, job).await;
        read.map_err(|error| error.into_answer(&format!("reading marks of {stream}/{partition}")))
    }

    async fn drop_marks(&self, stream: &str, partition: u32, reach: u64) -> Result<(), PortError> {
        let job = async |lease: &Lease| manifest::drop_marks(lease, (stream, partition), reach).await;
        let doing = || format!("removing marks of {stream}/{partition}");
        self.transact(Mode::Repeatable, job).await.map_err(|error| error.into_port(&doing()))
    }
}
