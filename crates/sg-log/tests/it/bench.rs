//! A log on a temporary folder with a clock that the test moves.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sg_core::ports::{EventLog, PortError};
use sg_core::testing::log_suite::{Row, placed, rows, sample};
use sg_core::time::{Clock, Timestamp};
use sg_log::{Disk, EmbeddedLog, Options, RealDisk};

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub(crate) struct TestClock(pub(crate) AtomicI64);

impl TestClock {
    pub(crate) fn new() -> Arc<TestClock> {
        Arc::new(TestClock(AtomicI64::new(1_700_000_000_000)))
    }

    pub(crate) fn set(&self, ms: i64) {
        self.0.store(ms, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

/// Returns options for small logs: nothing is kept that may go, and no files are made ahead.
pub(crate) fn options(dir: &Path) -> Options {
    Options {
        segment_bytes: 4 << 10,
        pool_bytes_max: 0,
        keep_bytes: 0,
        keep_age: Duration::MAX,
        ..Options::new(dir, TestClock::new(), Arc::new(RealDisk))
    }
}

/// Opens a log over another file system.
pub(crate) fn with_disk(options: Options, disk: Arc<dyn Disk>) -> Options {
    Options { disk, ..options }
}

/// A temporary folder, in memory where the machine has such: these tests sync some hundred thousand times.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a test machine has room for temporary folders")
}

/// Opens a log that must open.
pub(crate) fn open(options: Options) -> EmbeddedLog {
    EmbeddedLog::open(options).expect("the log opens")
}

/// Appends a sample that must be taken; returns its records.
pub(crate) async fn append(log: &EmbeddedLog, stream: &str, seed: u64, count: usize) -> Vec<(u64, Row)> {
    try_append(log, stream, seed, count).await.expect("the log takes records")
}

/// Appends a sample; returns its records with their offsets.
pub(crate) async fn try_append(
    log: &EmbeddedLog,
    stream: &str,
    seed: u64,
    count: usize,
) -> Result<Vec<(u64, Row)>, PortError> {
    let batch = sample(stream, seed, count);
    let rows = rows(&batch);
    let first = log.append(batch).await?[0].first_offset;
    Ok(rows.into_iter().enumerate().map(|(index, row)| (first + index as u64, row)).collect())
}

/// Reads all that the log holds of a stream.
pub(crate) async fn read_all(log: &EmbeddedLog, stream: &str) -> Result<Vec<(u64, Row)>, PortError> {
    let start = log.extent(stream, 0).await?.start;
    Ok(read_from(log, stream, start).await?.0)
}

/// Reads what the log holds of a stream from an offset on, and which offsets it has lost.
pub(crate) async fn read_from(
    log: &EmbeddedLog,
    stream: &str,
    from: u64,
) -> Result<(Vec<(u64, Row)>, Vec<u64>), PortError> {
    let end = log.extent(stream, 0).await?.end;
    let mut reader = log.open(stream, 0, from).await?;
    let (mut records, mut lost) = (Vec::new(), Vec::new());
    let mut passed = from;
    while passed < end {
        let read = reader.next(1 << 10, Duration::from_secs(86_400));
        let read = tokio::time::timeout(Duration::from_secs(20), read).await;
        let batches = read.expect("nobody waits for what is lost")?;
        assert!(reader.passed() > passed, "a reader that returns has come further");
        passed = reader.passed();
        records.extend(batches.iter().flat_map(placed));
        lost.extend(reader.lost().into_iter().flatten());
    }
    Ok((records, lost))
}

/// Returns the log's segment files in order.
pub(crate) fn segment_files(dir: &Path) -> Vec<PathBuf> {
    files(dir, ".seg")
}

/// Returns the files with a suffix in order.
pub(crate) fn files(dir: &Path, suffix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("the folder is there");
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.to_string_lossy().ends_with(suffix));
    files.sort();
    files
}
