//! Archivers that are all far behind: one gathers files of full size, the others small ones, so that memory is bounded.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sg_core::archive::{ArchiveRules, Layout};
use sg_core::batch::{EventBatch, LogBatch};
use sg_core::definition::Stream;
use sg_core::plan::{Arrival, Plan};
use sg_core::ports::{
    Archive, ArchivedFile, CutBuilder, CutFile, EventLog as _, FileLimits, Manifest as _, PortError,
};
use sg_core::time::Timestamp;
use sg_pipeline::archiver::{ArchivedStream, Archivers, Settings};
use tokio::sync::Barrier;
use tokio_util::sync::CancellationToken;

use crate::archiver::{Flaky, Ground};
use crate::owner::plan;
use crate::support::until;

const PATIENCE: Duration = Duration::from_secs(60);
const STREAMS: [&str; 3] = ["a", "b", "c"];
const EVENTS: usize = 8_000;
/// Of an event: its id, which only the companion knows, comes on top.
const EVENT_BYTES: usize = 512;
/// Of an id: the longest there are.
const ID_BYTES: usize = 256;

/// What the first cut of each stream held when it ended.
pub(crate) type Weights = Arc<Mutex<Vec<u64>>>;

/// An archive that weighs its first cut, and writes no file before all streams have a cut.
pub(crate) struct Weighing {
    pub(crate) inner: Arc<Flaky>,
    pub(crate) weights: Weights,
    pub(crate) has_cut: Arc<AtomicBool>,
    pub(crate) has_written: AtomicBool,
    pub(crate) all: Arc<Barrier>,
}

struct Weighed {
    inner: Box<dyn CutBuilder>,
    weights: Weights,
    has_cut: Arc<AtomicBool>,
}

impl CutBuilder for Weighed {
    fn add(&mut self, batch: &LogBatch, records: Range<usize>, limits: FileLimits) -> Result<(), PortError> {
        self.inner.add(batch, records, limits)
    }
    fn files(&self) -> usize {
        self.inner.files()
    }
    fn rows(&self) -> u64 {
        self.inner.rows()
    }
    fn bytes(&self) -> u64 {
        self.inner.bytes()
    }
    fn held(&self) -> u64 {
        self.inner.held()
    }
    fn finish(self: Box<Self>) -> Result<Vec<CutFile>, PortError> {
        if !self.has_cut.swap(true, Ordering::Relaxed) {
            self.weights.lock().expect("no test panics while it holds the lock").push(self.inner.held());
        }
        self.inner.finish()
    }
}

#[async_trait]
impl Archive for Weighing {
    fn place(&self) -> &str {
        self.inner.place()
    }
    fn begin(&self, rules: &Arc<ArchiveRules>, partition: u32) -> Box<dyn CutBuilder> {
        let (weights, has_cut) = (self.weights.clone(), self.has_cut.clone());
        Box::new(Weighed { inner: self.inner.begin(rules, partition), weights, has_cut })
    }
    fn pack(&self, rules: &ArchiveRules, hour: Timestamp, lines: &[&str]) -> Result<CutFile, PortError> {
        self.inner.pack(rules, hour, lines)
    }
    async fn put(&self, path: &str, file: &CutFile) -> Result<(), PortError> {
        if !self.has_written.swap(true, Ordering::Relaxed) {
            self.all.wait().await;
        }
        self.inner.put(path, file).await
    }
    async fn delete(&self, path: &str) -> Result<(), PortError> {
        self.inner.delete(path).await
    }
    async fn read(&self, file: &ArchivedFile) -> Result<LogBatch, PortError> {
        self.inner.read(file).await
    }
}

async fn append(ground: &Ground, stream: &str) {
    let plan = Plan::new(Stream { name: stream.to_owned(), ..plan().stream.clone() }, &[]);
    let fill = "x".repeat(EVENT_BYTES);
    let text = format!(r#"{{"timestamp":"2025-01-01T00:00:00Z","fill":"{fill}"}}"#);
    for _ in 0..EVENTS / 100 {
        let main = Bytes::from(text.repeat(100));
        let mut batch = EventBatch::new(plan.name.clone(), main.clone());
        for at in (0..main.len()).step_by(text.len()) {
            let mut new_id = || "i".repeat(ID_BYTES);
            let mut arrival =
                Arrival { received_at: Some(Timestamp(1_735_689_600_000)), new_id: &mut new_id };
            let sent = std::str::from_utf8(&main[at..at + text.len()]).expect("text");
            plan.accept(sent, &mut arrival, &mut batch).expect("a sound event");
        }
        ground.log.append(batch).await.expect("appended");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_archiver_at_a_time_gathers_files_of_full_size() {
    let ground = Ground::new().await;
    let weights = Weights::default();
    let all = Arc::new(Barrier::new(STREAMS.len()));
    let Settings { streams, .. } = ground.settings(3);
    let rules = streams[0].rules.clone();
    let mut streams = Vec::new();
    for stream in STREAMS {
        append(&ground, stream).await;
        let archive = Arc::new(Weighing {
            inner: ground.archive.clone(),
            weights: weights.clone(),
            has_cut: Arc::default(),
            has_written: AtomicBool::new(false),
            all: all.clone(),
        });
        let layout = Layout::parse(&format!("{stream}/{{HH}}/e-{{ts}}.ndjson")).expect("a layout");
        let rules = Arc::new(ArchiveRules { layout, ..ArchiveRules::clone(&rules) });
        streams.push(ArchivedStream { stream: stream.to_owned(), rules, archive });
    }
    let settings = Settings { streams, ..ground.settings(3) };
    let stop = CancellationToken::new();
    let archivers = tokio::spawn(Archivers::new(settings).run(stop.clone()));
    until(PATIENCE, "everything is archived", async || {
        let positions = ground.store.archive_positions().await.expect("answered");
        positions.iter().filter(|position| position.next_offset == EVENTS as u64).count() == STREAMS.len()
    })
    .await;
    stop.cancel();
    archivers.await.expect("it ends").expect("it ends well");
    let mut weights = weights.lock().expect("no test panics while it holds the lock").clone();
    weights.sort_unstable();
    let all_bytes = (EVENTS * (EVENT_BYTES + ID_BYTES)) as u64;
    // One read more than the limit, at most.
    let small = (4 << 20)..(5 << 20);
    assert!(small.contains(&weights[0]) && small.contains(&weights[1]), "{weights:?}");
    assert!(weights[2] >= all_bytes, "{weights:?}");
}
