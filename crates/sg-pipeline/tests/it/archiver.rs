//! From a log into an archive and back: with writes that fail, or that are carried out and said to have failed, the
//! archive is the log, and what it gives back is what the log had.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sg_archive::{Files, Place, Variables};
use sg_core::archive::{ArchiveRules, Compression, FILE_BYTES_MAX, Format, HourOf, Layout};
use sg_core::batch::{EventBatch, LogBatch};
use sg_core::metrics::ArchiveMetrics;
use sg_core::plan::Arrival;
use sg_core::ports::{
    Archive, ArchivedFile, CutBuilder, CutFile, ErrorKind, EventLog, Manifest, ManifestQuery, PortError,
    RollupWriter,
};
use sg_core::time::{Clock, Timestamp};
use sg_log::{EmbeddedLog, Options, RealDisk};
use sg_pipeline::archiver::{ArchivedStream, Archivers, Back, Settings, Sweeper};
use sg_store::sqlite::SqliteStore;
use tokio_util::sync::CancellationToken;

use crate::owner::plan;
use crate::support::until;

/// 2025-01-01T00:00:00Z.
const T0: i64 = 1_735_689_600_000;

pub(crate) struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp(T0 + 86_400_000)
    }
}

/// An archive of which every few writes fail: before they are carried out, or after.
pub(crate) struct Flaky {
    pub(crate) files: Files,
    pub(crate) writes: AtomicU64,
}

#[async_trait]
impl Archive for Flaky {
    fn place(&self) -> &str {
        self.files.place()
    }

    fn begin(&self, rules: &Arc<ArchiveRules>, partition: u32) -> Box<dyn CutBuilder> {
        self.files.begin(rules, partition)
    }

    fn pack(&self, rules: &ArchiveRules, hour: Timestamp, lines: &[&str]) -> Result<CutFile, PortError> {
        self.files.pack(rules, hour, lines)
    }

    async fn put(&self, path: &str, file: &CutFile) -> Result<(), PortError> {
        let write = self.writes.fetch_add(1, Ordering::Relaxed);
        if write % 5 == 1 {
            return Err(PortError::new(ErrorKind::Retry, "failing as the test asks"));
        }
        self.files.put(path, file).await?;
        if write % 5 == 3 {
            return Err(PortError::new(ErrorKind::Retry, "losing the answer as the test asks"));
        }
        Ok(())
    }

    async fn delete(&self, path: &str) -> Result<(), PortError> {
        self.files.delete(path).await
    }

    async fn read(&self, file: &ArchivedFile) -> Result<LogBatch, PortError> {
        self.files.read(file).await
    }
}

pub(crate) struct Ground {
    pub(crate) log: Arc<EmbeddedLog>,
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) archive: Arc<Flaky>,
    pub(crate) folder: tempfile::TempDir,
}

impl Ground {
    pub(crate) async fn new() -> Ground {
        let folder = tempfile::tempdir().expect("a folder");
        let options = Options {
            pool_bytes_max: 0,
            segment_bytes: 1 << 20,
            ..Options::new(folder.path().join("log"), Arc::new(Fixed), Arc::new(RealDisk))
        };
        let log = Arc::new(EmbeddedLog::open(options).expect("a log"));
        let store = SqliteStore::open(&folder.path().join("test.db"), Arc::new(Fixed)).expect("a store");
        store.prepare(std::slice::from_ref(&plan().stream), &[]).await.expect("prepared");
        let place = Place::Folder(folder.path().join("archive"));
        let files = Files::open(&place, &Variables::default()).expect("an archive");
        let archive = Arc::new(Flaky { files, writes: AtomicU64::new(0) });
        Ground { log, store: Arc::new(store), archive, folder }
    }

    /// Appends events that happened in several hours; each second one has no id of its own.
    pub(crate) async fn append(&self, events: Range<u64>) {
        let plan = plan();
        for start in events.clone().step_by(100) {
            let texts: Vec<String> = (start..(start + 100).min(events.end))
                .map(|number| {
                    let time = Timestamp(T0 + i64::try_from(number % 4 * 3_600_000 + number).expect("small"));
                    let id = if number % 2 == 0 { format!(r#""id":"e{number}","#) } else { String::new() };
                    format!(r#"{{{id}"n":{number},"timestamp":"{time}"}}"#)
                })
                .collect();
            let mut batch = EventBatch::new(plan.name.clone(), Bytes::from(texts.concat()));
            let main = batch.main.clone();
            let mut at = 0;
            for text in &texts {
                let mut new_id = || format!("made for {text}");
                let mut arrival =
                    Arrival { received_at: Some(Timestamp(T0 + 80_000_000)), new_id: &mut new_id };
                let sent = std::str::from_utf8(&main[at..at + text.len()]).expect("text");
                plan.accept(sent, &mut arrival, &mut batch).expect("a sound event");
                at += text.len();
            }
            self.log.append(batch).await.expect("appended");
        }
    }

    pub(crate) fn settings(&self, rows: u64) -> Settings {
        let rules = ArchiveRules {
            layout: Layout::parse("{dd}/{HH}/e-{ts}.ndjson").expect("a layout"),
            hour_of: HourOf::Event,
            format: Format::Ndjson,
            compression: Compression::Zstd,
            rows,
            bytes: FILE_BYTES_MAX,
            age: Duration::from_millis(100),
            keep: None,
            keep_bytes_max: None,
        };
        let archived =
            ArchivedStream { stream: "s".to_owned(), rules: Arc::new(rules), archive: self.archive.clone() };
        Settings {
            log: self.log.clone(),
            manifest: self.store.clone(),
            streams: vec![archived],
            clock: Arc::new(Fixed),
            metrics: Arc::new(ArchiveMetrics::default()),
            name: "the test".to_owned(),
            seed: 7,
            tracer: None,
        }
    }

    pub(crate) async fn archived_to(&self) -> u64 {
        let positions = self.store.archive_positions().await.expect("answered");
        positions.first().map_or(0, |position| position.next_offset)
    }

    /// What each record of a range is, by the archive.
    pub(crate) async fn back(&self, from: u64, to: u64) -> Result<Vec<String>, PortError> {
        let archives: Vec<Arc<dyn Archive>> = vec![self.archive.clone()];
        let mut back = Back::open(self.store.clone(), archives, ("s", 0), (from, to)).await?;
        let mut records = Vec::new();
        while let Some(batch) = back.next().await? {
            records.extend(told(&batch));
        }
        Ok(records)
    }

    /// What each record is, by the log.
    pub(crate) async fn log(&self) -> Vec<String> {
        let mut reader = self.log.open("s", 0, 0).await.expect("opened");
        let mut records = Vec::new();
        loop {
            let batches = reader.next(1 << 20, Duration::ZERO).await.expect("read");
            if batches.is_empty() {
                return records;
            }
            records.extend(batches.iter().flat_map(told));
        }
    }
}

fn told(batch: &LogBatch) -> Vec<String> {
    let events = &batch.events;
    let record = |(index, entry): (usize, &sg_core::batch::Entry)| {
        let texts = [entry.raw, entry.id, entry.kind].map(|span| events.text(span).to_owned());
        let times = (entry.event_time, entry.received_at);
        format!("{:?} {texts:?} {} {times:?} {}", batch.place(index), entry.key_hash, entry.content)
    };
    events.entries.iter().enumerate().map(record).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_archive_is_the_log_and_gives_it_back() {
    let ground = Ground::new().await;
    // The first is far behind its small files, the second keeps up, the third takes over from both.
    for (rows, events) in [(3, 0..2_000), (40, 2_000..2_300), (1_000, 2_300..2_500)] {
        let end = events.end;
        ground.append(events).await;
        let stop = CancellationToken::new();
        let archivers = tokio::spawn(Archivers::new(ground.settings(rows)).run(stop.clone()));
        let what = format!("everything up to {end} is archived");
        until(Duration::from_secs(30), &what, async || ground.archived_to().await == end).await;
        stop.cancel();
        archivers.await.expect("it ends").expect("it ends well");
    }
    assert!(ground.archive.writes.load(Ordering::Relaxed) > 20, "failures are part of the test");
    let log = ground.log().await;
    assert_eq!(log.len(), 2_500);
    assert_eq!(ground.back(0, 2_500).await.expect("it is all there"), log);
    assert_eq!(ground.back(1_234, 2_345).await.expect("it is all there"), log[1_234..2_345]);
    let beyond = ground.back(0, 2_501).await.expect_err("the log ends before");
    assert_eq!(beyond.kind, ErrorKind::Invalid, "{beyond}");
    let files = ManifestQuery { limit: 10_000, ..ManifestQuery::default() };
    let files = ground.store.archived_files(&files).await.expect("answered");
    assert_eq!(files.iter().map(|file| file.rows).sum::<u64>(), 2_500);
    assert!(files.iter().any(|file| file.rows == 40), "{files:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_deletes_what_was_written_in_vain() {
    let ground = Ground::new().await;
    ground.append(0..100).await;
    let settings = ground.settings(10);
    let identity = ground.log.identity("s").await.expect("answered");
    let claim = sg_core::ports::ArchiveClaim {
        stream: "s".to_owned(),
        partition: 0,
        owner: "one that was killed".to_owned(),
        log_identity: identity,
        start: 0,
    };
    let position = ground.store.claim_archive(&claim).await.expect("claimed");
    let orphan = sg_core::ports::Intent {
        stream: "s".to_owned(),
        kind: sg_core::archive::FileKind::Raw,
        partition: 0,
        epoch: position.epoch,
        place: ground.archive.place().to_owned(),
        paths: vec!["01/00/e-orphan.ndjson.zst".to_owned()],
    };
    assert!(ground.store.intend(&orphan).await.expect("answered"));
    let path = ground.folder.path().join("archive/01/00/e-orphan.ndjson.zst");
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    std::fs::write(&path, "half").expect("written");
    let stop = CancellationToken::new();
    let archivers = tokio::spawn(Archivers::new(settings.clone()).run(stop.clone()));
    until(Duration::from_secs(30), "all is archived", async || ground.archived_to().await == 100).await;
    assert!(path.try_exists().expect("the folder can be read"), "nobody has swept yet");
    let Settings { manifest, streams, clock, metrics, .. } = settings;
    let sweeper =
        tokio::spawn(Sweeper { manifest, streams, files: Vec::new(), clock, metrics }.run(stop.clone()));
    until(Duration::from_secs(30), "the orphan is gone", async || {
        !path.try_exists().expect("the folder can be read")
    })
    .await;
    stop.cancel();
    sweeper.await.expect("it ends");
    archivers.await.expect("it ends").expect("it ends well");
    assert_eq!(ground.back(0, 100).await.expect("it is all there"), ground.log().await);
}
