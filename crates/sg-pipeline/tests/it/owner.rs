//! The owner of a partition when its store misbehaves: nothing is lost, nothing counts twice, and bad data is isolated.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sg_core::batch::EventBatch;
use sg_core::definition::{Condition, Dedup, Function, LatePolicy, Measure, Rollup, Stream};
use sg_core::flush::{Checkpoint, Flush};
use sg_core::metrics::Metrics;
use sg_core::plan::{Arrival, Plan};
use sg_core::ports::{
    Claim, ErrorKind, EventLog, FlushOutcome, Needed, OutboxRow, Parked, PortError, Refresh, Removed,
    RollupReader, RollupWriter, StatusDetail, StoreStatus,
};
use sg_core::query::DeadLetterQuery;
use sg_core::time::{Clock, Timestamp};
use sg_log::{EmbeddedLog, Options, RealDisk};
use sg_pipeline::owner::{Leave, Owner, Partition, Progress, Settings, Stop, Stopped};
use sg_store::sqlite::SqliteStore;
use tokio_util::sync::CancellationToken;

use crate::support::pause;
use sg_core::output::Outputs;

pub(crate) const NOW: i64 = 1_700_000_000_000;

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp(NOW)
    }
}

/// What goes wrong with the store.
#[derive(Default)]
struct Faults {
    /// Flushes that hold one of these offsets are refused as bad data.
    bad_offsets: BTreeSet<u64>,
    /// Every so many flushes one fails before it is written …
    fail_every: u64,
    /// … and one is written, but its answer is lost.
    lose_every: u64,
    /// No flush is written until this is false again.
    holds_flushes: bool,
}

struct FaultyStore {
    inner: SqliteStore,
    faults: Mutex<Faults>,
    flushes: AtomicU64,
    /// What the owner said of its duplicate window, and the offset that the store had then.
    refreshes: Mutex<Vec<(Option<u64>, u64)>>,
}

fn passing(what: &str) -> PortError {
    PortError::new(ErrorKind::Retry, what)
}

#[async_trait]
impl RollupWriter for FaultyStore {
    async fn prepare(&self, streams: &[Stream], rollups: &[Rollup]) -> Result<(), PortError> {
        self.inner.prepare(streams, rollups).await
    }
    async fn claim(&self, claim: &Claim) -> Result<Checkpoint, PortError> {
        self.inner.claim(claim).await
    }
    async fn checkpoint(&self, stream: &str, partition: u32) -> Result<Checkpoint, PortError> {
        self.inner.checkpoint(stream, partition).await
    }
    async fn flush(&self, flush: Arc<Flush>) -> Result<FlushOutcome, PortError> {
        while self.faults.lock().expect("no test panics while it holds the lock").holds_flushes {
            pause(Duration::from_millis(5)).await;
        }
        let number = self.flushes.fetch_add(1, Ordering::Relaxed) + 1;
        let (is_bad, fails, is_lost) = {
            let faults = self.faults.lock().expect("no test panics while it holds the lock");
            let dead: BTreeSet<u64> = flush.dead_letters.iter().map(|letter| letter.offset).collect();
            let is_bad = faults.bad_offsets.range(flush.base..flush.end).any(|offset| !dead.contains(offset));
            let every = |count: u64| count > 0 && number.is_multiple_of(count);
            (is_bad, every(faults.fail_every), every(faults.lose_every))
        };
        if fails {
            return Err(passing("the store is away"));
        }
        if is_bad {
            return Ok(FlushOutcome::Refused { detail: "a value that it cannot hold".into() });
        }
        let outcome = self.inner.flush(flush).await?;
        if is_lost { Err(passing("the answer was lost")) } else { Ok(outcome) }
    }
    async fn refresh(&self, refresh: &Refresh) -> Result<bool, PortError> {
        let stored = self.inner.checkpoint(&refresh.plan.name, refresh.partition).await?.next_offset;
        let said = refresh.dedup_from.map(|(offset, _)| offset);
        self.refreshes.lock().expect("no test panics while it holds the lock").push((said, stored));
        self.inner.refresh(refresh).await
    }
    async fn retain(
        &self,
        plan: &Plan,
        now: Timestamp,
        rows_max: usize,
    ) -> Result<Option<Removed>, PortError> {
        self.inner.retain(plan, now, rows_max).await
    }
    async fn outbox(&self, stream: &str, lane: &str, rows_max: usize) -> Result<Vec<OutboxRow>, PortError> {
        self.inner.outbox(stream, lane, rows_max).await
    }
    async fn outbox_sent(
        &self,
        stream: &str,
        lane: &str,
        through: i64,
        parked: &[Parked],
    ) -> Result<(), PortError> {
        self.inner.outbox_sent(stream, lane, through, parked).await
    }
    async fn sync(&self) -> Result<Vec<Needed>, PortError> {
        self.inner.sync().await
    }
}

pub(crate) fn plan() -> Arc<Plan> {
    let stream = Stream {
        name: "s".into(),
        default_type: "x".into(),
        fields: Default::default(),
        derive_id: false,
        partition_by: Vec::new(),
        require: Vec::new(),
        types: Vec::new(),
        raw_table: None,
        dedup: Dedup { records: 10_000, horizon: Duration::from_secs(86_400) },
        max_future: Duration::from_secs(300),
        idle_timeout: Duration::from_secs(30),
        outputs: Outputs::default(),
        letters: Default::default(),
    };
    let rollup = Rollup {
        name: "r".into(),
        stream: "s".into(),
        window_ms: 60_000,
        pane_ms: 60_000,
        grace_ms: 0,
        late: LatePolicy::Correct,
        keep_ms: i64::MAX / 2,
        by: Vec::new(),
        measures: vec![Measure { name: "n".into(), function: Function::Count, filter: Condition::default() }],
    };
    Arc::new(Plan::new(stream, &[rollup]))
}

fn stop() -> Stop {
    Stop::below(&CancellationToken::new())
}

fn run(owner: Owner, stop: &Stop) -> tokio::task::JoinHandle<Stopped> {
    let stop = stop.clone();
    tokio::spawn(async move { owner.run(&stop).await })
}

/// A log and a store in a folder, and what it takes to own their one partition.
struct Bench {
    plan: Arc<Plan>,
    log: Arc<EmbeddedLog>,
    store: Arc<FaultyStore>,
    metrics: Arc<Metrics>,
}

impl Bench {
    async fn open(folder: &Path, faults: Faults) -> Bench {
        let plan = plan();
        let options = Options {
            pool_bytes_max: 0,
            segment_bytes: 1 << 20,
            ..Options::new(folder.join("log"), Arc::new(Fixed), Arc::new(RealDisk))
        };
        let log = Arc::new(EmbeddedLog::open(options).expect("a log"));
        let inner = SqliteStore::open(&folder.join("test.db"), Arc::new(Fixed)).expect("a store");
        let rollups: Vec<Rollup> = plan.rollups.iter().map(|planned| planned.rollup.clone()).collect();
        inner.prepare(std::slice::from_ref(&plan.stream), &rollups).await.expect("prepared");
        let store = Arc::new(FaultyStore {
            inner,
            faults: Mutex::new(faults),
            flushes: AtomicU64::new(0),
            refreshes: Mutex::default(),
        });
        Bench { plan, log, store, metrics: Arc::default() }
    }

    /// Appends events with the ids `range`, in batches of seven.
    async fn append(&self, range: std::ops::Range<u32>) -> u64 {
        let ids: Vec<u32> = range.collect();
        let mut end = 0;
        for ids in ids.chunks(7) {
            let lines: Vec<String> = ids.iter().map(|id| format!("{{\"id\":{id},\"ts\":{NOW}}}")).collect();
            let main = Bytes::from(lines.join("\n"));
            let mut batch = EventBatch::new(self.plan.name.clone(), main.clone());
            let mut arrival = Arrival { received_at: Some(Timestamp(NOW)), new_id: &mut String::new };
            for line in std::str::from_utf8(&main).expect("text").lines() {
                self.plan.accept(line, &mut arrival, &mut batch).expect("a good event");
            }
            end = self.log.append(batch).await.expect("appended")[0].next_offset;
        }
        end
    }

    fn owner(&self, flush_events_max: u64) -> (Owner, Arc<Progress>) {
        self.owner_with(Duration::from_millis(1), flush_events_max)
    }

    fn owner_with(&self, flush_interval: Duration, flush_events_max: u64) -> (Owner, Arc<Progress>) {
        let progress = Arc::new(Progress::new(&self.plan.name, 0));
        let settings = Settings {
            log: self.log.clone(),
            store: self.store.clone(),
            clock: Arc::new(Fixed),
            metrics: self.metrics.clone(),
            name: "test".into(),
            seed: 3,
            flush_interval,
            flush_events_max,
            tracer: (None, "sqlite"),
        };
        let partition = Partition { plan: self.plan.clone(), number: 0, of: 1 };
        (Owner::new(partition, settings, progress.clone()), progress)
    }

    /// Owns the partition until the store has everything before `end`, then stops in order.
    async fn work_until(&self, end: u64, flush_events_max: u64) -> Stopped {
        let (owner, progress) = self.owner(flush_events_max);
        let stop = stop();
        let task = run(owner, &stop);
        let mut flushed = progress.flushed.subscribe();
        let reached =
            tokio::time::timeout(Duration::from_secs(60), flushed.wait_for(|flushed| *flushed >= end)).await;
        assert!(reached.is_ok(), "the owner stands at {}", *progress.flushed.borrow());
        stop.ask(Leave::Drained);
        task.await.expect("no panic")
    }

    async fn status(&self) -> StoreStatus {
        self.store.inner.status(StatusDetail::Ledger).await.expect("a status")
    }
}

#[tokio::test]
async fn bad_data_is_isolated_and_everything_else_counts() {
    let folder = tempfile::tempdir().expect("a folder");
    let bad = BTreeSet::from([0, 41, 42, 99, 299]);
    let bench = Bench::open(folder.path(), Faults { bad_offsets: bad.clone(), ..Faults::default() }).await;
    let end = bench.append(0..300).await;
    assert!(matches!(bench.work_until(end, 64).await, Stopped::Asked));
    let ledger = bench.status().await.partitions[0].ledger;
    assert_eq!((ledger.processed, ledger.counted, ledger.dead_lettered), (300, 295, 5));
    let query = DeadLetterQuery { limit: 100, ..DeadLetterQuery::default() };
    let letters = bench.store.inner.dead_letters(&query).await.expect("letters");
    let offsets: BTreeSet<u64> = letters.iter().map(|letter| letter.offset).collect();
    assert_eq!(offsets, bad);
    assert!(
        letters
            .iter()
            .all(|letter| letter.reason == "store_refused" && letter.detail == "a value that it cannot hold")
    );
}

#[tokio::test]
async fn passing_faults_and_lost_answers_do_not_show() {
    let folder = tempfile::tempdir().expect("a folder");
    let faults = Faults { fail_every: 3, lose_every: 4, ..Faults::default() };
    let bench = Bench::open(folder.path(), faults).await;
    for round in 0..12 {
        let end = bench.append(round * 30..round * 30 + 40).await;
        assert!(matches!(bench.work_until(end, 20).await, Stopped::Asked));
    }
    let status = bench.status().await;
    let ledger = status.partitions[0].ledger;
    assert_eq!((ledger.processed, ledger.counted, ledger.duplicate), (480, 370, 110));
    assert_eq!((status.rollups[0].folded, status.rollups[0].in_cells), (370, 370));
    assert!(bench.metrics.flush_retries.get() >= 6, "the faults came");
}

#[tokio::test]
async fn a_restarted_owner_goes_on_where_the_store_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(folder.path(), Faults::default()).await;
    let first = bench.append(0..100).await;
    bench.work_until(first, 30).await;
    let second = bench.append(50..200).await;
    bench.work_until(second, 30).await;
    let status = bench.status().await;
    let partition = &status.partitions[0];
    assert_eq!((partition.epoch, partition.ledger.counted, partition.ledger.duplicate), (2, 200, 50));
}

#[tokio::test]
async fn an_owner_that_was_replaced_writes_nothing_and_stops() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(folder.path(), Faults::default()).await;
    let end = bench.append(0..10).await;
    let (owner, progress) = bench.owner(1_000);
    let task = run(owner, &stop());
    let mut flushed = progress.flushed.subscribe();
    flushed.wait_for(|flushed| *flushed >= end).await.expect("flushed");
    let claim = Claim {
        plan: bench.plan.clone(),
        partition: 0,
        owner: "other".into(),
        log_identity: bench.log.identity("s").await.expect("an identity"),
        start: 0,
    };
    bench.store.inner.claim(&claim).await.expect("claimed");
    bench.append(10..20).await;
    let stopped =
        tokio::time::timeout(Duration::from_secs(30), task).await.expect("it stops").expect("no panic");
    assert!(matches!(stopped, Stopped::Fenced { .. }), "{stopped}");
    assert_eq!(bench.status().await.partitions[0].ledger.processed, 10);
    assert!(bench.metrics.flush_missed.get() > 0);
}

#[tokio::test]
async fn a_store_ahead_of_its_log_stops_the_partition() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(folder.path(), Faults::default()).await;
    let end = bench.append(0..10).await;
    bench.work_until(end, 1_000).await;
    bench.log.close().await.expect("closed");
    drop(bench);
    std::fs::remove_dir_all(folder.path().join("log")).expect("removed");
    let bench = Bench::open(folder.path(), Faults::default()).await;
    let (owner, progress) = bench.owner(1_000);
    let stopped = owner.run(&stop()).await;
    let Stopped::Port(error) = &stopped else { panic!("{stopped}") };
    assert_eq!(error.kind, ErrorKind::Corrupt);
    assert!(progress.stopped.borrow().is_some());
}

#[tokio::test]
async fn a_log_that_cannot_be_read_for_a_moment_is_read_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let end = Bench::open(folder.path(), Faults::default()).await.append(0..100).await;
    // Opened again, so that the records are on disk only.
    let bench = Bench::open(folder.path(), Faults::default()).await;
    let segment = folder.path().join("log/00000000000000000001.seg");
    let away = folder.path().join("away");
    // A folder in its place cannot be opened, whoever asks.
    std::fs::rename(&segment, &away).expect("renamed");
    std::fs::create_dir(&segment).expect("a folder");
    let (owner, progress) = bench.owner(30);
    let stop = stop();
    let task = run(owner, &stop);
    let mut stopped = progress.stopped.subscribe();
    let given_up = tokio::time::timeout(Duration::from_millis(300), stopped.wait_for(Option::is_some)).await;
    assert!(given_up.is_err(), "{:?}", progress.stopped.borrow());
    std::fs::remove_dir(&segment).expect("removed");
    std::fs::rename(&away, &segment).expect("renamed back");
    let mut flushed = progress.flushed.subscribe();
    let reached =
        tokio::time::timeout(Duration::from_secs(60), flushed.wait_for(|flushed| *flushed >= end)).await;
    assert!(reached.is_ok(), "the owner stands at {}", *progress.flushed.borrow());
    stop.ask(Leave::Drained);
    assert!(matches!(task.await.expect("no panic"), Stopped::Asked));
    assert_eq!(bench.status().await.partitions[0].ledger.counted, 100);
}

/// While records are folded but not flushed, the duplicate window stands ahead of the stored offset: a restart that
/// began with it would count a record twice. The owner keeps it to itself until the flush is written.
#[tokio::test]
async fn the_stored_duplicate_window_never_runs_ahead_of_the_offset() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(folder.path(), Faults { holds_flushes: true, ..Faults::default() }).await;
    // More records than the window holds, so that it moves while nothing is flushed.
    let end = bench.append(0..11_000).await;
    let (owner, progress) = bench.owner(1_000_000);
    let stop = stop();
    let task = run(owner, &stop);
    let refreshed = || bench.store.refreshes.lock().expect("no test panics while it holds the lock").clone();
    let wait = async {
        while progress.folded.load(Ordering::Relaxed) != end || refreshed().len() < 3 {
            pause(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait)
        .await
        .expect("it folds, and refreshes every few seconds");
    for (said, stored) in refreshed() {
        assert!(said.is_none_or(|offset| offset <= stored), "window from {said:?}, stored offset {stored}");
    }
    assert!(refreshed().iter().any(|(said, _)| said.is_none()), "it was silent while records waited");
    bench.store.faults.lock().expect("no test panics while it holds the lock").holds_flushes = false;
    stop.ask(Leave::Drained);
    assert!(matches!(task.await.expect("no panic"), Stopped::Asked));
    assert_eq!(bench.status().await.partitions[0].next_offset, end);
}

/// Asked to leave its partition to another process, an owner flushes what it has and reads no further; told that the
/// partition is another's, it flushes nothing.
#[tokio::test]
async fn an_owner_leaves_as_it_is_asked_to() {
    for (leave, counted) in [(Leave::Drained, 200), (Leave::Flushed, 100), (Leave::Dropped, 0)] {
        let folder = tempfile::tempdir().expect("a folder");
        let bench = Bench::open(folder.path(), Faults::default()).await;
        let end = bench.append(0..100).await;
        let (owner, progress) = bench.owner_with(Duration::from_secs(3_600), 1_000_000);
        let stop = stop();
        let task = run(owner, &stop);
        let wait = async {
            while progress.folded.load(Ordering::Relaxed) != end {
                pause(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.expect("it folds");
        stop.ask(leave);
        // Comes too late to be folded, unless everything is to be.
        bench.append(100..200).await;
        assert!(matches!(task.await.expect("no panic"), Stopped::Asked));
        let found = bench.status().await.partitions[0].ledger.counted;
        assert!(found == counted || (leave == Leave::Drained && found >= 100), "{leave:?}: {found}");
    }
}
