//! The format on disk: what versions 1 and 2 wrote is read, and this program still writes exactly that.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sg_core::batch::EventBatch;
use sg_core::ports::EventLog;
use sg_core::testing::log_suite::{placed, rows, sample, sample_replays};
use sg_log::Options;

use crate::bench::{TestClock, folder, open, options, segment_files};

/// What the fixture holds: stream, seed and count of each append, one millisecond apart.
const APPENDS: [(&str, u64, usize); 6] = [
    ("events", 1, 3),
    ("pageviews", 2, 1),
    ("events", 3, 5),
    ("events", 4, 1),
    ("pageviews", 5, 4),
    ("events", 6, 2),
];
const FIRST_MS: i64 = 1_700_000_000_000;

/// A version of the format: its fixture, and what was appended.
struct Version {
    folder: &'static str,
    sample: fn(&str, u64, usize) -> EventBatch,
}

const V1: Version = Version { folder: "fixtures/v1", sample };
/// Version 2: every append has records that stand for dead letters.
const REPLAYS: Version = Version { folder: "fixtures/replays", sample: sample_replays };

fn fixture(version: &Version) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(version.folder)
}

async fn write(version: &Version, dir: &Path) {
    let clock = TestClock::new();
    let log = open(Options { clock: clock.clone(), segment_bytes: 1_500, ..options(dir) });
    for (index, (stream, seed, count)) in APPENDS.into_iter().enumerate() {
        clock.set(FIRST_MS + index as i64);
        log.append((version.sample)(stream, seed, count)).await.expect("the log takes records");
    }
    log.close().await.expect("the log closes");
}

#[tokio::test]
async fn earlier_versions_are_read() {
    is_read(&V1).await;
    is_read(&REPLAYS).await;
}

async fn is_read(version: &Version) {
    let dir = folder();
    for entry in std::fs::read_dir(fixture(version)).expect("the fixture is there") {
        let path = entry.expect("the fixture can be listed").path();
        let name = path.file_name().expect("a file has a name").to_owned();
        std::fs::copy(&path, dir.path().join(name)).expect("files can be copied");
    }
    let log = open(Options { clock: Arc::new(TestClock(0.into())), ..options(dir.path()) });
    for stream in ["events", "pageviews"] {
        let mut reader = log.open(stream, 0, 0).await.expect("the start can be opened");
        let batches = reader.next(1 << 20, Duration::ZERO).await.expect("the fixture can be read");
        let expected = APPENDS.iter().enumerate().filter(|(_, (name, _, _))| *name == stream);
        let mut next = 0;
        assert_eq!(batches.len(), expected.clone().count());
        for (batch, (index, (_, seed, count))) in batches.iter().zip(expected) {
            assert_eq!(rows(&batch.events), rows(&(version.sample)(stream, *seed, *count)));
            assert_eq!(batch.appended_at.0, FIRST_MS + index as i64);
            assert_eq!(placed(batch)[0].0, next);
            next = batch.next_offset();
        }
    }
    assert_eq!(log.identity("events").await.expect("an identity"), "0123456789abcdef0123456789abcdef");
}

#[tokio::test]
async fn the_same_bytes_are_written() {
    is_written(&V1).await;
    is_written(&REPLAYS).await;
}

async fn is_written(version: &Version) {
    let dir = folder();
    write(version, dir.path()).await;
    let (written, expected) = (segment_files(dir.path()), segment_files(&fixture(version)));
    assert_eq!(written.len(), expected.len());
    assert!(written.len() > 1, "the fixture has several segments");
    for (written, expected) in written.iter().zip(&expected) {
        assert_eq!(written.file_name(), expected.file_name());
        let read = |path: &Path| std::fs::read(path).expect("the segment is there");
        assert!(
            read(written) == read(expected),
            "{} changed: a new format needs a new version",
            written.display()
        );
    }
}
