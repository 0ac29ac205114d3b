//! A crew told by a script which partitions are its own: what a group of real processes does too seldom to wait for.

use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt as _;
use sg_core::batch::EventBatch;
use sg_core::metrics::Metrics;
use sg_core::plan::{Arrival, Plan};
use sg_core::ports::{
    Appended, Change, Claim, ErrorKind, EventLog, Extent, LogReader, Membership, PartitionStatus,
    Pipeline as _, PortError, StatusDetail,
};
use sg_core::time::{Clock, Timestamp};
use sg_log::{EmbeddedLog, Options, RealDisk};
use sg_pipeline::crew::Crew;
use sg_pipeline::fleet::Fleet;
use sg_pipeline::owner;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::owner::{NOW, plan};
use crate::support::{Kind, Store, until};

const PATIENCE: Duration = Duration::from_secs(30);
const TOLD_WITHIN: Duration = Duration::from_millis(100);

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp(NOW)
    }
}

/// A real log whose membership is a script.
struct Scripted {
    log: Arc<EmbeddedLog>,
    /// One for each time that a crew joins.
    scripts: Mutex<Vec<(mpsc::Receiver<Change>, mpsc::Sender<()>)>>,
}

struct Member {
    changes: mpsc::Receiver<Change>,
    released: mpsc::Sender<()>,
}

#[async_trait]
impl Membership for Member {
    async fn change(&mut self) -> Result<Change, PortError> {
        let ended = || PortError::new(ErrorKind::Retry, "stay a member: the script has ended");
        self.changes.recv().await.ok_or_else(ended)
    }
    async fn released(&mut self) {
        self.released.send(()).await.ok();
    }
    async fn report(&mut self, _flushed: &[(String, u32, u64)]) {}
    fn told_within(&self) -> Option<Duration> {
        Some(TOLD_WITHIN)
    }
    async fn leave(&mut self) {}
}

#[async_trait]
impl EventLog for Scripted {
    async fn append(&self, batch: EventBatch) -> Result<Vec<Appended>, PortError> {
        self.log.append(batch).await
    }
    async fn join(&self, _streams: &[String]) -> Result<Box<dyn Membership>, PortError> {
        let script = self.scripts.lock().expect("no test panics while it holds the lock").pop();
        let (changes, released) = script.expect("there is a script for each time");
        Ok(Box::new(Member { changes, released }))
    }
    async fn open(&self, stream: &str, partition: u32, from: u64) -> Result<Box<dyn LogReader>, PortError> {
        self.log.open(stream, partition, from).await
    }
    async fn extent(&self, stream: &str, partition: u32) -> Result<Extent, PortError> {
        self.log.extent(stream, partition).await
    }
    async fn partitions(&self, stream: &str) -> Result<u32, PortError> {
        self.log.partitions(stream).await
    }
    async fn identity(&self, stream: &str) -> Result<String, PortError> {
        self.log.identity(stream).await
    }
    async fn trim(&self, needed: &[(String, u32, u64)]) -> Result<(), PortError> {
        self.log.trim(needed).await
    }
    async fn close(&self) -> Result<(), PortError> {
        self.log.close().await
    }
}

type Task = tokio::task::JoinHandle<Result<(), PortError>>;

/// One log and one store, for any number of crews.
struct Bench {
    plan: Arc<Plan>,
    log: Arc<EmbeddedLog>,
    store: Store,
}

/// A crew at work, and what tells it.
struct Working {
    changes: mpsc::Sender<Change>,
    released: mpsc::Receiver<()>,
    metrics: Arc<Metrics>,
    fleet: Arc<Fleet>,
    stop: CancellationToken,
    task: Arc<Mutex<Option<Task>>>,
}

impl Bench {
    async fn open(folder: &Path) -> Bench {
        let plan = plan();
        let options = Options {
            pool_bytes_max: 0,
            segment_bytes: 1 << 20,
            ..Options::new(folder.join("log"), Arc::new(Fixed), Arc::new(RealDisk))
        };
        let log = Arc::new(EmbeddedLog::open(options).expect("a log"));
        let store = Store::open(Kind::Sqlite, &plan, Arc::new(Fixed)).await.expect("a store");
        Bench { plan, log, store }
    }

    fn crew(&self, flush_interval: Duration) -> Working {
        self.crew_that_joins(1, flush_interval).remove(0)
    }

    /// A crew that joins so many times; the first is told by the first that is returned.
    fn crew_that_joins(&self, times: usize, flush_interval: Duration) -> Vec<Working> {
        let (mut tellers, mut scripts) = (Vec::new(), Vec::new());
        for _ in 0..times {
            let (changes, script) = mpsc::channel(8);
            let (say_released, released) = mpsc::channel(8);
            tellers.push((changes, released));
            scripts.insert(0, (script, say_released));
        }
        let log = Arc::new(Scripted { log: self.log.clone(), scripts: Mutex::new(scripts) });
        let metrics: Arc<Metrics> = Arc::default();
        let settings = owner::Settings {
            log: log.clone(),
            store: self.store.writer.clone(),
            clock: Arc::new(Fixed),
            metrics: metrics.clone(),
            name: "test".into(),
            seed: 3,
            flush_interval,
            flush_events_max: 1_000_000,
            tracer: (None, "sqlite"),
        };
        let fleet = Arc::new(Fleet::new(vec!["s".into()], log, self.store.reader.clone(), false));
        let (told, _) = mpsc::channel(1);
        let crew = Crew::new(vec![self.plan.clone()], settings, fleet.clone(), told);
        let stop = CancellationToken::new();
        let task = Arc::new(Mutex::new(Some(tokio::spawn(crew.run(stop.clone())))));
        let working = |(changes, released)| Working {
            changes,
            released,
            metrics: metrics.clone(),
            fleet: fleet.clone(),
            stop: stop.clone(),
            task: task.clone(),
        };
        tellers.into_iter().map(working).collect()
    }

    async fn append(&self, ids: std::ops::Range<u32>) -> u64 {
        let lines: Vec<String> = ids.map(|id| format!("{{\"id\":{id},\"ts\":{NOW}}}")).collect();
        let main = Bytes::from(lines.join("\n"));
        let mut batch = EventBatch::new(self.plan.name.clone(), main.clone());
        let mut arrival = Arrival { received_at: Some(Timestamp(NOW)), new_id: &mut String::new };
        for line in std::str::from_utf8(&main).expect("text").lines() {
            self.plan.accept(line, &mut arrival, &mut batch).expect("a good event");
        }
        self.log.append(batch).await.expect("appended")[0].next_offset
    }

    async fn partition(&self) -> Option<PartitionStatus> {
        let status = self.store.reader.status(StatusDetail::Ledger).await.expect("a status");
        assert!(status.rollups.iter().all(|rollup| rollup.adds_up()), "{:?}", status.rollups);
        status.partitions.into_iter().next()
    }

    async fn flushed_to(&self, offset: u64) {
        until(PATIENCE, "the store has everything", || async {
            self.partition().await.is_some_and(|partition| partition.next_offset == offset)
        })
        .await;
    }
}

impl Working {
    async fn say(&self, change: fn(Vec<(String, u32)>) -> Change) {
        self.changes.send(change(vec![("s".into(), 0)])).await.expect("the crew listens");
    }

    async fn folded_to(&self, offset: u64) {
        until(PATIENCE, "everything is folded", || async {
            let pending = self.fleet.pending().await.expect("the log answers");
            pending[0].owned.as_ref().is_some_and(|owned| owned.folded == offset)
        })
        .await;
    }

    async fn end(self) {
        self.stop.cancel();
        let task = self.task.lock().expect("no test panics while it holds the lock").take();
        let task = task.expect("it is ended once");
        task.await.expect("no panic").expect("an orderly end");
    }
}

const SOON: Duration = Duration::from_millis(1);
const NEVER: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn a_claim_that_comes_too_late_stops_nobody_for_ever() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(folder.path()).await;
    let crew = bench.crew(SOON);
    crew.say(Change::Assigned).await;
    let end = bench.append(0..100).await;
    bench.flushed_to(end).await;
    // A process that was given the partition before us claims it now.
    let claim = Claim {
        plan: bench.plan.clone(),
        partition: 0,
        owner: "late".into(),
        log_identity: bench.log.identity("s").await.expect("an identity"),
        start: 0,
    };
    bench.store.writer.claim(&claim).await.expect("claimed");
    let end = bench.append(50..200).await;
    bench.flushed_to(end).await;
    let partition = bench.partition().await.expect("a partition");
    assert_eq!((partition.ledger.counted, partition.ledger.duplicate), (200, 50));
    assert!(crew.metrics.flush_missed.get() > 0 && crew.metrics.reclaims.get() > 0);
    crew.end().await;
}

#[tokio::test]
async fn a_revoked_partition_is_flushed_before_it_is_released() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(folder.path()).await;
    let mut crew = bench.crew(NEVER);
    crew.say(Change::Assigned).await;
    let end = bench.append(0..100).await;
    crew.folded_to(end).await;
    assert_eq!(bench.partition().await.expect("claimed").next_offset, 0, "nothing was due to be flushed");
    crew.say(Change::Revoked).await;
    crew.released.recv().await.expect("released");
    assert_eq!(bench.partition().await.expect("claimed").next_offset, end);
    let pending = crew.fleet.pending().await.expect("the log answers");
    assert!(pending[0].owned.is_none(), "it is no longer ours");
    crew.end().await;
}

#[tokio::test]
async fn a_lost_partition_is_dropped_and_counted_by_the_next_owner() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(folder.path()).await;
    let (one, other) = (bench.crew(NEVER), bench.crew(SOON));
    one.say(Change::Assigned).await;
    let end = bench.append(0..100).await;
    one.folded_to(end).await;
    one.say(Change::Lost).await;
    until(PATIENCE, "the owner is gone", || async {
        one.fleet.pending().await.expect("the log answers")[0].owned.is_none()
    })
    .await;
    assert_eq!(bench.partition().await.expect("claimed").next_offset, 0, "what is lost is not flushed");
    other.say(Change::Assigned).await;
    bench.flushed_to(end).await;
    let partition = bench.partition().await.expect("a partition");
    assert_eq!((partition.epoch, partition.ledger.counted, partition.ledger.duplicate), (2, 100, 0));
    one.end().await;
    other.end().await;
}

#[tokio::test]
async fn a_partition_that_goes_back_and_forth_is_counted_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(folder.path()).await;
    let mut crews = [bench.crew(SOON), bench.crew(SOON)];
    let mut end = 0;
    for round in 0..10u32 {
        let at = round as usize % 2;
        crews[at].say(Change::Assigned).await;
        end = bench.append(round * 50..round * 50 + 100).await;
        crews[at].say(Change::Revoked).await;
        crews[at].released.recv().await.expect("released");
    }
    crews[0].say(Change::Assigned).await;
    bench.flushed_to(end).await;
    let partition = bench.partition().await.expect("a partition");
    assert_eq!((partition.ledger.counted, partition.ledger.duplicate), (550, 450));
    for crew in crews {
        crew.end().await;
    }
}

/// Whoever asks a process that owns nothing is answered from the store.
#[tokio::test]
async fn a_process_without_owners_waits_for_those_of_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(folder.path()).await;
    let (crew, idle) = (bench.crew(SOON), bench.crew(SOON));
    let end = bench.append(0..100).await;
    let waiting = idle.fleet.clone();
    let flushing = tokio::spawn(async move { waiting.flush_now().await });
    let waiting = idle.fleet.clone();
    let waited = tokio::spawn(async move { waiting.wait_for("s", 0, end).await });
    crew.say(Change::Assigned).await;
    let report = flushing.await.expect("no panic").expect("flushed");
    waited.await.expect("no panic").expect("seen");
    // None, when the owner was quicker than its first look.
    assert!([0, 100].contains(&report.flushed_events), "{report:?}");
    assert_eq!(bench.partition().await.expect("a partition").next_offset, end);
    crew.end().await;
    idle.end().await;
}

/// Right after a start nobody may own what is to be flushed.
#[tokio::test]
async fn a_flush_waits_for_an_owner_that_is_to_come_and_tells_what_it_wrote() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(folder.path()).await;
    let crew = bench.crew(NEVER);
    let end = bench.append(0..100).await;
    let mut flushing = Box::pin(crew.fleet.flush_now());
    assert!(flushing.as_mut().now_or_never().is_none(), "nobody owns the partition yet");
    crew.say(Change::Assigned).await;
    let report = flushing.await.expect("flushed");
    let cells = crew.metrics.cells_flushed.get();
    assert!(cells > 0, "the plan has rollups");
    assert_eq!((report.flushed_events, report.flushed_windows), (100, cells));
    assert_eq!(bench.partition().await.expect("a partition").next_offset, end);
    crew.end().await;
}

/// A process that the group no longer knows gives its partitions up and joins anew.
#[tokio::test]
async fn a_membership_that_ends_is_begun_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(folder.path()).await;
    let mut working = bench.crew_that_joins(2, NEVER);
    let (first, second) = (working.remove(0), working.remove(0));
    first.say(Change::Assigned).await;
    let end = bench.append(0..100).await;
    first.folded_to(end).await;
    // The end of the script is the end of the membership.
    drop(first.changes);
    until(PATIENCE, "the partition is given up", || async {
        second.fleet.pending().await.expect("the log answers")[0].owned.is_none()
    })
    .await;
    assert_eq!(bench.partition().await.expect("claimed").next_offset, end, "what was folded is flushed");
    second.say(Change::Assigned).await;
    let end = bench.append(50..150).await;
    second.folded_to(end).await;
    second.end().await;
    let partition = bench.partition().await.expect("a partition");
    assert_eq!((partition.epoch, partition.ledger.counted, partition.ledger.duplicate), (2, 150, 50));
}
