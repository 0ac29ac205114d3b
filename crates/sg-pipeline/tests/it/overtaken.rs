//! A log that removes records before they are archived, while the archive reads it: what is lost is counted, what was
//! read is kept, and the archive goes on.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sg_core::batch::{EventBatch, LogBatch};
use sg_core::ports::{Appended, ErrorKind, EventLog, Extent, LogReader, Manifest, Membership, PortError};
use sg_log::EmbeddedLog;
use sg_pipeline::archiver::{Archivers, Settings};
use tokio_util::sync::CancellationToken;

use crate::archiver::Ground;
use crate::support::until;

const PATIENCE: Duration = Duration::from_secs(30);

/// When the log removes records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// Between an answer of what it holds and the opening.
    Opening,
    /// When a reader has had the first hundred records.
    Reading,
    /// Then too, and is another log since.
    MadeAgain,
}

/// A log over an embedded one that removes all records before an offset, once.
struct Expiring {
    inner: Arc<EmbeddedLog>,
    when: When,
    first_kept: u64,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    start: AtomicU64,
    is_another: AtomicBool,
}

struct Reader {
    inner: Box<dyn LogReader>,
    first_kept: u64,
    when: When,
    state: Arc<State>,
}

#[async_trait]
impl LogReader for Reader {
    async fn next(&mut self, _bytes_max: usize, wait: Duration) -> Result<Vec<LogBatch>, PortError> {
        if self.inner.passed() < self.state.start.load(Ordering::Relaxed) {
            return Err(PortError::new(ErrorKind::Corrupt, "the log does not hold that offset"));
        }
        // So little that one read is a hundred records.
        let batches = self.inner.next(1, wait).await?;
        self.state.start.fetch_max(self.first_kept, Ordering::Relaxed);
        self.state.is_another.store(self.when == When::MadeAgain, Ordering::Relaxed);
        Ok(batches)
    }
    fn passed(&self) -> u64 {
        self.inner.passed()
    }
    fn lost(&mut self) -> Vec<Range<u64>> {
        self.inner.lost()
    }
}

#[async_trait]
impl EventLog for Expiring {
    async fn append(&self, batch: EventBatch) -> Result<Vec<Appended>, PortError> {
        self.inner.append(batch).await
    }
    async fn join(&self, streams: &[String]) -> Result<Box<dyn Membership>, PortError> {
        self.inner.join(streams).await
    }
    async fn open(&self, stream: &str, partition: u32, from: u64) -> Result<Box<dyn LogReader>, PortError> {
        if self.when == When::Opening {
            self.state.start.fetch_max(self.first_kept, Ordering::Relaxed);
        }
        if from < self.state.start.load(Ordering::Relaxed) {
            return Err(PortError::new(ErrorKind::Invalid, "read from an offset that is not held"));
        }
        let inner = self.inner.open(stream, partition, from).await?;
        let (first_kept, when, state) = (self.first_kept, self.when, self.state.clone());
        Ok(Box::new(Reader { inner, first_kept, when, state }))
    }
    async fn extent(&self, stream: &str, partition: u32) -> Result<Extent, PortError> {
        let extent = self.inner.extent(stream, partition).await?;
        Ok(Extent { start: extent.start.max(self.state.start.load(Ordering::Relaxed)), ..extent })
    }
    async fn partitions(&self, stream: &str) -> Result<u32, PortError> {
        self.inner.partitions(stream).await
    }
    async fn identity(&self, stream: &str) -> Result<String, PortError> {
        let is_another = self.state.is_another.load(Ordering::Relaxed);
        if is_another { Ok("another".to_owned()) } else { self.inner.identity(stream).await }
    }
    async fn trim(&self, needed: &[(String, u32, u64)]) -> Result<(), PortError> {
        self.inner.trim(needed).await
    }
    async fn close(&self) -> Result<(), PortError> {
        self.inner.close().await
    }
}

fn expiring(ground: &Ground, when: When) -> Settings {
    let state = Arc::default();
    let log = Arc::new(Expiring { inner: ground.log.clone(), when, first_kept: 600, state });
    Settings { log, ..ground.settings(10_000) }
}

/// `lost` is the range that is in no file.
async fn check_goes_on(when: When, (from, to): (u64, u64)) {
    let ground = Ground::new().await;
    ground.append(0..1_000).await;
    let stop = CancellationToken::new();
    let archivers = tokio::spawn(Archivers::new(expiring(&ground, when)).run(stop.clone()));
    let what = format!("the rest is archived: {when:?}");
    until(PATIENCE, &what, async || ground.archived_to().await == 1_000).await;
    stop.cancel();
    archivers.await.expect("it ends").expect("it ends well");
    let position = ground.store.archive_positions().await.expect("answered").remove(0);
    assert_eq!((position.lost, position.removed_to), (to - from, to), "{when:?}");
    let log = ground.log().await;
    assert_eq!(ground.back(to, 1_000).await.expect("it is all there"), log[to as usize..], "{when:?}");
    let across = ground.back(0, 1_000).await.expect_err("some are lost");
    assert_eq!(across.kind, ErrorKind::Invalid, "{across}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_archive_goes_on_when_the_log_removes_what_it_is_about_to_open() {
    check_goes_on(When::Opening, (0, 600)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_archive_goes_on_when_the_log_removes_what_it_is_about_to_read() {
    check_goes_on(When::Reading, (100, 600)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_archive_stops_when_the_log_is_another() {
    let ground = Ground::new().await;
    ground.append(0..1_000).await;
    let settings = expiring(&ground, When::MadeAgain);
    let metrics = settings.metrics.clone();
    let stop = CancellationToken::new();
    let archivers = tokio::spawn(Archivers::new(settings).run(stop.clone()));
    until(PATIENCE, "it stops and says why", async || {
        metrics.standings().iter().any(|(_, standing)| standing.stopped.is_some())
    })
    .await;
    stop.cancel();
    archivers.await.expect("it ends").expect("it ends well");
    let position = ground.store.archive_positions().await.expect("answered").remove(0);
    assert_eq!((position.lost, position.next_offset), (0, 0), "nothing is passed");
}
