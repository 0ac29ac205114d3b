//! What the core asks of an archive: a place for files, and a manifest of what is in them that can not be half true.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::PortError;
use crate::archive::{ArchiveRules, FileKind};
use crate::batch::LogBatch;
use crate::time::Timestamp;

/// A place for files: a folder or a bucket.
#[async_trait]
pub trait Archive: Send + Sync {
    /// Returns the URL that names the place, without secrets.
    fn place(&self) -> &str;
    /// Begins to gather the files of one cut of a partition.
    fn begin(&self, rules: &Arc<ArchiveRules>, partition: u32) -> Box<dyn CutBuilder>;
    /// Makes a file of lines, which has no companion.
    ///
    /// # Errors
    /// When they cannot be packed.
    fn pack(&self, rules: &ArchiveRules, hour: Timestamp, lines: &[&str]) -> Result<CutFile, PortError>;
    /// Writes a file and its companion under a path, whatever is there already.
    async fn put(&self, path: &str, file: &CutFile) -> Result<(), PortError>;
    /// Deletes a file and its companion, as far as they are there.
    async fn delete(&self, path: &str) -> Result<(), PortError>;
    /// Returns the records of a file in log order, as the log had them; [`super::ErrorKind::Corrupt`] when they are
    /// not what the manifest says.
    async fn read(&self, file: &ArchivedFile) -> Result<LogBatch, PortError>;
}

/// How far the files of a cut may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileLimits {
    /// Records of a file.
    pub rows: u64,
    /// Bytes of the events in a file.
    pub bytes: u64,
}

/// The files of one cut while they grow.
pub trait CutBuilder: Send {
    /// Adds records of a batch, by index; a file that is full is followed by another one.
    ///
    /// # Errors
    /// When they cannot be packed; the cut is then to be thrown away.
    fn add(&mut self, batch: &LogBatch, records: Range<usize>, limits: FileLimits) -> Result<(), PortError>;
    /// Returns the number of files.
    fn files(&self) -> usize;
    /// Returns the records in the file that has most of them.
    fn rows(&self) -> u64;
    /// Returns the bytes of all events.
    fn bytes(&self) -> u64;
    /// Returns the bytes that the files take while they grow, with their companions.
    fn held(&self) -> u64;
    /// Ends the files; each holds at least one record.
    ///
    /// # Errors
    /// When they cannot be packed.
    fn finish(self: Box<Self>) -> Result<Vec<CutFile>, PortError>;
}

/// A file that is ready to be written.
#[derive(Debug, Clone)]
pub struct CutFile {
    /// The start of the hour that names it.
    pub hour: Timestamp,
    /// The offset of its first record.
    pub from: u64,
    /// The offset behind its last record.
    pub to: u64,
    /// Records.
    pub rows: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// The file.
    pub content: Vec<Bytes>,
    /// What the log knew of each record; empty for a file of lines.
    pub companion: Bytes,
}

/// Who begins to archive a partition.
#[derive(Debug, Clone)]
pub struct ArchiveClaim {
    /// The stream.
    pub stream: String,
    /// The partition.
    pub partition: u32,
    /// A name of the process for the status page.
    pub owner: String,
    /// The log's identity; a claim of a partition known under another one fails as corrupt.
    pub log_identity: String,
    /// Where to begin when the partition was never archived.
    pub start: u64,
}

/// How far a partition is archived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivePosition {
    /// The stream.
    pub stream: String,
    /// The partition.
    pub partition: u32,
    /// Grows with every claim.
    pub epoch: i64,
    /// The owner's name.
    pub owner: String,
    /// Where the archive began.
    pub first_offset: u64,
    /// The first offset not archived.
    pub next_offset: u64,
    /// No range that begins before is complete: retention removed files, or the log lost records.
    pub removed_to: u64,
    /// Records that the log lost before they were archived.
    pub lost: u64,
}

/// Files that are about to be written, said before they are.
#[derive(Debug, Clone)]
pub struct Intent {
    /// The stream.
    pub stream: String,
    /// What they hold.
    pub kind: FileKind,
    /// The partition; zero for files of lines, which are of all.
    pub partition: u32,
    /// The epoch of the claim; zero for files of lines.
    pub epoch: i64,
    /// The archive's place.
    pub place: String,
    /// The files' paths.
    pub paths: Vec<String>,
}

/// A file of the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedFile {
    /// Grows with every file.
    pub id: i64,
    /// The archive's place.
    pub place: String,
    /// Its path in the place.
    pub path: String,
    /// The stream.
    pub stream: String,
    /// What it holds.
    pub kind: FileKind,
    /// The partition; zero for a file of lines.
    pub partition: u32,
    /// The offset of its first record; zero for a file of lines.
    pub from: u64,
    /// The offset behind its last record; zero for a file of lines.
    pub to: u64,
    /// Records or lines.
    pub rows: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// When it came into the manifest.
    pub created_at: Timestamp,
}

/// The files over `base..end` of a partition, taken into the manifest all or nothing.
#[derive(Debug, Clone)]
pub struct Cut {
    /// The stream.
    pub stream: String,
    /// The partition.
    pub partition: u32,
    /// The epoch of the claim.
    pub epoch: i64,
    /// The offset that the archive must still be at.
    pub base: u64,
    /// The offset that it will be at.
    pub end: u64,
    /// Records of the range that the log lost; there is no file then.
    pub lost: u64,
    /// The archive's place.
    pub place: String,
    /// The files; `id` and `created_at` are the manifest's to give.
    pub files: Vec<ArchivedFile>,
}

/// A line that waits for its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its place in the lane of its stream and kind.
    pub id: i64,
    /// The start of the window that it speaks of, which names its file.
    pub window_start: Timestamp,
    /// When it was written.
    pub written_at: Timestamp,
    /// The line, without a line break.
    pub text: String,
}

/// The files of some lines, taken into the manifest all or nothing.
#[derive(Debug, Clone)]
pub struct LineCut {
    /// The stream.
    pub stream: String,
    /// What the files hold.
    pub kind: FileKind,
    /// The id of the first line.
    pub first: i64,
    /// The id of the last one.
    pub last: i64,
    /// How many there are from the first to the last.
    pub lines: u64,
    /// The archive's place.
    pub place: String,
    /// The files; `id` and `created_at` are the manifest's to give.
    pub files: Vec<ArchivedFile>,
}

/// How much waits in a lane of lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinesStatus {
    /// The stream.
    pub stream: String,
    /// What their files hold.
    pub kind: FileKind,
    /// Lines that wait.
    pub rows: u64,
    /// When the first of them was written.
    pub oldest: Timestamp,
}

/// Which files of a stream are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Those that came in since.
    pub since: Option<Timestamp>,
    /// The newest, of so many bytes at most.
    pub bytes_max: Option<u64>,
}

/// A file that nobody must take into the manifest any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoomedFile {
    /// The archive's place.
    pub place: String,
    /// Its path in the place.
    pub path: String,
    /// Since when.
    pub doomed_at: Timestamp,
}

/// Which files of the manifest. One that names a partition or offsets speaks of files of raw events alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ManifestQuery {
    /// Of this stream.
    pub stream: Option<String>,
    /// Of this kind.
    pub kind: Option<FileKind>,
    /// Of this partition.
    pub partition: Option<u32>,
    /// Holding offsets from here on.
    pub from: Option<u64>,
    /// Holding offsets before this.
    pub to: Option<u64>,
    /// Behind this id.
    pub after: i64,
    /// At most so many.
    pub limit: usize,
}

/// Where a rebuild may begin: a partition's clocks, duplicate window and ledger at an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The offset.
    pub offset: u64,
    /// The clocks there.
    pub clock: crate::flush::PartitionClock,
    /// The first offset of the duplicate window there, and R at it.
    pub dedup_from: (u64, Timestamp),
    /// What became of the records before it.
    pub ledger: crate::flush::Ledger,
}

/// The store, as the archive sees it: what is in which file. Everything that it writes waits for the disk.
#[async_trait]
pub trait Manifest: Send + Sync {
    /// Takes a partition's archive over: its epoch grows, and what earlier owners meant to write is doomed.
    async fn claim_archive(&self, claim: &ArchiveClaim) -> Result<ArchivePosition, PortError>;
    /// Notes files before they are written; returns false, with nothing noted, when the epoch is no longer ours. Lines
    /// have no epochs.
    async fn intend(&self, intent: &Intent) -> Result<bool, PortError>;
    /// Takes a cut's files into the manifest and moves the archive on. Returns false, with nothing written, when the
    /// archive stands elsewhere, the epoch is another's, or a file is not intended any more.
    async fn commit_cut(&self, cut: &Cut) -> Result<bool, PortError>;
    /// Dooms files that were written in vain, but for those that stand in the manifest.
    async fn abandon(&self, intent: &Intent) -> Result<(), PortError>;
    /// Dooms what was intended before a time.
    async fn doom_intended(&self, before: Timestamp) -> Result<(), PortError>;
    /// Returns doomed files of a place by path, from the first one behind a path on.
    async fn doomed(&self, place: &str, after: &str, rows_max: usize) -> Result<Vec<DoomedFile>, PortError>;
    /// Forgets doomed files, which are deleted for good.
    async fn forget(&self, files: &[DoomedFile]) -> Result<(), PortError>;
    /// Dooms a stream's files of a kind that are not kept, the oldest first and some at once; returns how many.
    async fn retire(&self, stream: &str, kind: FileKind, kept: Kept) -> Result<u64, PortError>;
    /// Takes a stream's lines of a kind over, and dooms what others meant to write of them. Returns false where another
    /// process has them.
    async fn claim_lines(&self, stream: &str, kind: FileKind) -> Result<bool, PortError>;
    /// Returns the oldest lines behind an id, in their order, up to a number of rows and about
    /// [`OUTBOX_BYTES_AT_ONCE`](crate::limits::OUTBOX_BYTES_AT_ONCE); none where another process has them.
    async fn lines(
        &self,
        stream: &str,
        kind: FileKind,
        after: i64,
        rows_max: usize,
    ) -> Result<Vec<Line>, PortError>;
    /// Takes files of lines into the manifest and deletes the lines. Returns false, with nothing written, when one of the
    /// lines is not there any more, or a file is not intended any more.
    async fn commit_lines(&self, cut: &LineCut) -> Result<bool, PortError>;
    /// Returns whether all files of an intent may still come in.
    async fn is_intended(&self, intent: &Intent) -> Result<bool, PortError>;
    /// Returns how far every partition is archived.
    async fn archive_positions(&self) -> Result<Vec<ArchivePosition>, PortError>;
    /// Returns files of the manifest by id.
    async fn archived_files(&self, query: &ManifestQuery) -> Result<Vec<ArchivedFile>, PortError>;
    /// Returns a partition's marks by offset.
    async fn marks(&self, stream: &str, partition: u32) -> Result<Vec<Mark>, PortError>;
    /// Removes a partition's marks whose duplicate window begins before `reach`, the first offset that is still held, and
    /// what is remembered of dead letters before it that retention removed.
    async fn drop_marks(&self, stream: &str, partition: u32, reach: u64) -> Result<(), PortError>;
}
