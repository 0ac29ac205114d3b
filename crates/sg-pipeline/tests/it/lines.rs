//! From lines in the store into files: with writes that fail, or that are carried out and said to have failed, and with two
//! writers that both believe to have the lane, each line is in one file of the manifest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sg_archive::{Files, Place, Variables};
use sg_core::archive::{ArchiveRules, Compression, FILE_BYTES_MAX, FileKind, Format, HourOf, Layout};
use sg_core::definition::Stream;
use sg_core::metrics::ArchiveMetrics;
use sg_core::output::{CellShape, FileOutputs, Outputs};
use sg_core::ports::{KeyStore, Manifest, ManifestQuery, Rewriter, RollupReader, RollupWriter, StatusDetail};
use sg_core::testing::store_suite::{Feed, ManualClock, StoreUnderTest, T0, rollups, snapshot, stream};
use sg_core::time::Timestamp;
use sg_pipeline::archiver::{LineFiles, LineWriters};
use sg_store::sqlite::SqliteStore;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::archiver::Flaky;
use crate::support::until;

const MINUTE: i64 = 60_000;

/// A store and an archive on which writes fail.
struct Bench {
    store: Arc<SqliteStore>,
    archive: Arc<Flaky>,
    clock: Arc<ManualClock>,
    folder: TempDir,
}

#[async_trait]
impl StoreUnderTest for Bench {
    fn writer(&self) -> &dyn RollupWriter {
        &*self.store
    }
    fn reader(&self) -> &dyn RollupReader {
        &*self.store
    }
    fn manifest(&self) -> &dyn Manifest {
        &*self.store
    }
    fn rewriter(&self) -> &dyn Rewriter {
        &*self.store
    }
    fn keys(&self) -> &dyn KeyStore {
        &*self.store
    }
    fn clock(&self) -> &ManualClock {
        &self.clock
    }
    async fn reopen(&mut self) {}
    fn fail_after(&self, _steps: Option<u32>) {}
}

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(ManualClock::at(Timestamp(T0)));
        let store = SqliteStore::open(&folder.path().join("test.db"), clock.clone()).expect("a store");
        let place = Place::Folder(folder.path().join("archive"));
        let files = Files::open(&place, &Variables::default()).expect("an archive");
        let archive = Arc::new(Flaky { files, writes: AtomicU64::new(0) });
        Bench { store: Arc::new(store), archive, clock, folder }
    }

    fn writers(&self, seed: u64) -> LineWriters {
        let files = FileKind::OF_LINES.map(|kind| {
            let rules = ArchiveRules {
                layout: Layout::parse(&format!("{{dd}}/{{HH}}/{}-{{ts}}.ndjson", kind.name()))
                    .expect("right"),
                hour_of: HourOf::Event,
                format: Format::Ndjson,
                compression: Compression::None,
                rows: 5,
                bytes: FILE_BYTES_MAX,
                // The clock stands still: every line is old.
                age: Duration::ZERO,
                keep: None,
                keep_bytes_max: None,
            };
            LineFiles {
                stream: "orders".to_owned(),
                kind,
                rules: Arc::new(rules),
                archive: self.archive.clone(),
            }
        });
        LineWriters {
            manifest: self.store.clone(),
            files: files.into(),
            clock: self.clock.clone(),
            metrics: Arc::new(ArchiveMetrics::default()),
            seed,
        }
    }

    /// The lines of a kind, each with how often it stands in files of the manifest.
    async fn lines(&self, kind: FileKind) -> BTreeMap<String, usize> {
        let query = ManifestQuery { kind: Some(kind), limit: 10_000, ..ManifestQuery::default() };
        let mut lines = BTreeMap::new();
        for file in self.store.archived_files(&query).await.expect("answered") {
            let path = self.folder.path().join("archive").join(&file.path);
            let text = std::fs::read_to_string(path).expect("the file is there");
            assert_eq!(text.lines().count() as u64, file.rows);
            for line in text.lines() {
                *lines.entry(line.to_owned()).or_default() += 1;
            }
        }
        lines
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_of_one_lane_write_every_line_once() {
    let bench = Bench::new();
    let shape = |fields: &[&str]| {
        Some(CellShape { has_zone: true, fields: fields.iter().map(|&field| field.to_owned()).collect() })
    };
    let files = FileOutputs {
        closed: shape(&["rollup", "window_start", "event_type", "event_count", "revision"]),
        late: shape(&["event_type", "window_start"]),
    };
    let stream = Stream { outputs: Outputs { files, ..Outputs::default() }, ..stream() };
    // `by_type` corrects, `diverted` diverts; the one without the dimension has no such line.
    let rollups = [rollups().remove(0), rollups().remove(2)];
    let mut feed = Feed::claim_of(&bench, stream, &rollups, 0).await;
    let stop = CancellationToken::new();
    let writers = [1, 2].map(|seed| tokio::spawn(bench.writers(seed).run(stop.clone())));
    for minute in 0..60 {
        let at = minute * MINUTE;
        // Each late event is of a type of its own, so that its line is.
        let kind = format!("late{minute}");
        let events = [(at, "a", "1"), (at, "b", "1"), (at - 5 * MINUTE, kind.as_str(), "1")];
        feed.write(&bench, at, &events).await;
        feed.write(&bench, at, &[(at - 5 * MINUTE, "a", "1")]).await;
    }
    until(Duration::from_secs(60), "no line waits", async || {
        bench.store.status(StatusDetail::Marks).await.expect("answered").lines.is_empty()
    })
    .await;
    stop.cancel();
    for writer in writers {
        writer.await.expect("it ends");
    }
    let state = snapshot(&bench, &rollups).await;
    let closed = bench.lines(FileKind::Closed).await;
    assert!(closed.values().all(|times| *times == 1), "{closed:?}");
    assert_eq!(closed.len(), state.outbox.len(), "as many as the outbox has");
    assert!(closed.keys().any(|line| line.ends_with("\"revision\":1}")), "corrections are part of the test");
    let late = bench.lines(FileKind::Late).await;
    assert_eq!(late.values().sum::<usize>() as u64, state.rollups[1].diverted, "{late:?}");
    assert!(late.len() >= 50 && late.iter().all(|(line, times)| *times == 1 || line.contains("\"a\"")));
    assert!(bench.archive.writes.load(Ordering::Relaxed) >= 5, "failures are part of the test");
}
