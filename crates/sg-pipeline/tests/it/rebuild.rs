//! Cells that are made again while the store is kept small: what retention removes meanwhile is lost to nobody's ledger.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sg_core::batch::EventBatch;
use sg_core::definition::{Condition, Function, LatePolicy, Measure, Rollup};
use sg_core::erase::{Erase, EraseOutcome};
use sg_core::fold::{Fates, Fold};
use sg_core::plan::{Arrival, Plan};
use sg_core::ports::{
    Claim, EventLog, FlushOutcome, PortError, Rebuilder, Rewriter, RollupReader, RollupWriter, StatusDetail,
};
use sg_core::query::{CellOrder, CellQuery};
use sg_core::rebuild::{Rewrite, RewriteOutcome, Said, Wish};
use sg_core::time::{Clock, Timestamp};
use sg_log::{EmbeddedLog, Options, RealDisk};
use sg_pipeline::mending::Mending;
use sg_pipeline::rebuild::{CELLS_MAX, MEMORY_MAX, Rebuild, Rebuilds, Sources};
use sg_store::sqlite::SqliteStore;

use crate::owner::{NOW, plan};

const MINUTE: i64 = 60_000;

struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

/// Returns a rollup of minutes with a level, of which ten minutes are kept.
pub(crate) fn rollup(name: &str) -> Rollup {
    let is = |kind: &str| Condition(vec![("event_type".to_owned(), vec![kind.to_owned()])]);
    let measure =
        |name: &str, function| Measure { name: name.to_owned(), function, filter: Condition::default() };
    Rollup {
        name: name.to_owned(),
        stream: "s".to_owned(),
        window_ms: MINUTE,
        pane_ms: MINUTE,
        grace_ms: 0,
        late: LatePolicy::Correct,
        keep_ms: 10 * MINUTE,
        by: vec!["user_id".to_owned()],
        measures: vec![
            measure("n", Function::Count),
            measure("present", Function::Level { up: is("in"), down: is("out") }),
        ],
    }
}

/// A log and a store, and who folds the one partition between them.
pub(crate) struct Bench {
    clock: Arc<Hand>,
    pub(crate) log: Arc<EmbeddedLog>,
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) plan: Arc<Plan>,
    fold: tokio::sync::Mutex<Fold>,
}

impl Bench {
    async fn open(folder: &Path, names: &[&str]) -> Bench {
        let rollups: Vec<Rollup> = names.iter().map(|name| rollup(name)).collect();
        Bench::of(folder, &rollups).await
    }

    pub(crate) async fn of(folder: &Path, rollups: &[Rollup]) -> Bench {
        let clock = Arc::new(Hand(AtomicI64::new(NOW)));
        let options = Options {
            pool_bytes_max: 0,
            segment_bytes: 1 << 20,
            ..Options::new(folder.join("log"), clock.clone(), Arc::new(RealDisk))
        };
        let log = Arc::new(EmbeddedLog::open(options).expect("a log"));
        let store = Arc::new(SqliteStore::open(&folder.join("test.db"), clock.clone()).expect("a store"));
        let plan = Arc::new(Plan::new(plan().stream.clone(), rollups));
        store.prepare(std::slice::from_ref(&plan.stream), rollups).await.expect("prepared");
        let log_identity = log.identity("s").await.expect("answered");
        let claim = Claim { plan: plan.clone(), partition: 0, owner: "test".into(), log_identity, start: 0 };
        let checkpoint = store.claim(&claim).await.expect("claimed");
        let fold = tokio::sync::Mutex::new(Fold::resume(plan.clone(), (0, 1), &checkpoint, 3));
        Bench { clock, log, store, plan, fold }
    }

    /// Takes in events of a minute that come at another, and counts them.
    pub(crate) async fn take_in(&self, at: i64, minute: i64, count: i64) {
        self.clock.0.store(NOW + at * MINUTE, Ordering::SeqCst);
        let mut fold = self.fold.lock().await;
        let next = fold.next_offset();
        let event = |nth: i64| {
            let (kind, user) = (["in", "in", "out"][(nth % 3) as usize], nth % 4);
            let time = NOW + minute * MINUTE + nth;
            format!(r#"{{"id":"{next}-{nth}","type":"{kind}","user_id":"u{user}","ts":{time}}}"#)
        };
        let lines: Vec<String> = (0..count).map(event).collect();
        self.log.append(self.batch(&lines)).await.expect("appended");
        let mut reader = self.log.open("s", 0, next).await.expect("opened");
        while fold.next_offset() < next + count as u64 {
            for batch in reader.next(1 << 20, Duration::from_secs(30)).await.expect("read") {
                fold.batch(&batch, u64::MAX);
            }
        }
        let flush = Arc::new(fold.take().expect("events were folded"));
        assert_eq!(self.store.flush(flush).await.expect("written"), FlushOutcome::Done);
    }

    fn batch(&self, lines: &[String]) -> EventBatch {
        let main = Bytes::from(lines.join("\n"));
        let mut batch = EventBatch::new(self.plan.name.clone(), main.clone());
        let mut arrival = Arrival { received_at: Some(self.clock.now()), new_id: &mut String::new };
        for line in std::str::from_utf8(&main).expect("text").lines() {
            self.plan.accept(line, &mut arrival, &mut batch).expect("a good event");
        }
        batch
    }

    async fn retain(&self) {
        while self.store.retain(&self.plan, self.clock.now(), 1_000).await.expect("nothing fails").is_some() {
        }
    }

    /// What a rollup says of itself and its cells, but for its name.
    async fn says(&self, name: &str) -> String {
        self.says_of(&rollup(name)).await
    }

    pub(crate) async fn says_of(&self, rollup: &Rollup) -> String {
        let status = self.store.status(StatusDetail::Ledger).await.expect("a status");
        let known = status.rollups.iter().find(|known| known.name == rollup.name).expect("it was prepared");
        assert!(known.adds_up(), "{known:?}");
        let query = CellQuery {
            rollup: rollup.clone(),
            from: Timestamp::NEVER,
            to: Timestamp(i64::MAX),
            filters: Vec::new(),
            after: None,
            windows: Vec::new(),
            order: CellOrder::OldestFirst,
            cells_max: usize::MAX,
        };
        let cells: Vec<_> = self
            .store
            .cells(&query)
            .await
            .expect("cells")
            .into_iter()
            .map(|mut row| {
                row.revision = 0;
                row
            })
            .collect();
        let gone = known.expired + known.removed;
        format!("{:?} {} {gone} {} {cells:#?}", known.complete_from, known.folded, known.removed_before)
    }
}

/// A store that takes in newer events, and removes old cells, before the first rewrite and before the last.
struct Moving {
    bench: Arc<Bench>,
    minute: AtomicI64,
    is_first: AtomicBool,
    is_last: AtomicBool,
    /// The threads that asked what became of records.
    threads: std::sync::Mutex<Vec<String>>,
}

impl Moving {
    fn beside(bench: &Arc<Bench>) -> Moving {
        Moving {
            bench: bench.clone(),
            minute: AtomicI64::new(44),
            is_first: AtomicBool::new(true),
            is_last: AtomicBool::new(true),
            threads: std::sync::Mutex::default(),
        }
    }
}

#[async_trait]
impl Rewriter for Moving {
    async fn fates(&self, stream: &str, partition: u32, range: (u64, u64)) -> Result<Fates, PortError> {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        self.threads.lock().expect("no test panics while it holds the lock").push(name);
        self.bench.store.fates(stream, partition, range).await
    }
    async fn is_of_another_definition(&self, rollup: &Rollup) -> Result<bool, PortError> {
        self.bench.store.is_of_another_definition(rollup).await
    }
    async fn forget(&self, rollup: &Rollup) -> Result<bool, PortError> {
        self.bench.store.forget(rollup).await
    }
    async fn rewrite(&self, rewrite: &Rewrite) -> Result<RewriteOutcome, PortError> {
        let once = if rewrite.settled.is_empty() { &self.is_first } else { &self.is_last };
        if once.swap(false, Ordering::SeqCst) {
            let minute = self.minute.fetch_add(1, Ordering::SeqCst);
            self.bench.take_in(minute, minute, 8).await;
            self.bench.retain().await;
        }
        self.bench.store.rewrite(rewrite).await
    }
    async fn erase(&self, erase: &Erase) -> Result<EraseOutcome, PortError> {
        self.bench.store.erase(erase).await
    }
}

async fn fills_up_while_retention_removes((cells_max, memory_max): (usize, usize), is_cut: bool) {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(folder.path(), &["seen"]).await;
    for minute in 0..40 {
        bench.take_in(minute, minute, 20).await;
    }
    drop(bench);
    let bench = Arc::new(Bench::open(folder.path(), &["seen", "added"]).await);
    for minute in 40..44 {
        bench.take_in(minute, minute, 20).await;
        bench.take_in(minute, 1, 4).await;
    }
    bench.retain().await;
    assert_ne!(bench.says("added").await, bench.says("seen").await);
    let moving = Arc::new(Moving::beside(&bench));
    let rebuild = Rebuild {
        sources: Sources { log: bench.log.clone(), manifest: bench.store.clone(), archives: Vec::new() },
        reader: bench.store.clone(),
        rewriter: moving.clone(),
        plan: bench.plan.clone(),
        rollup: 1,
        range: (Timestamp::NEVER, Timestamp(i64::MAX)),
        is_dry: false,
        seed: 5,
        cells_max,
        memory_max,
        tracer: None,
    };
    let rebuilt = rebuild.run(&|_| {}).await.expect("it goes on beside retention");
    assert!(rebuilt.is_backfilled && moving.minute.load(Ordering::SeqCst) == 46, "{rebuilt:?}");
    assert_eq!(rebuilt.records > 1_000, is_cut, "a cut slice is read again: {rebuilt:?}");
    assert_eq!(bench.says("added").await, bench.says("seen").await);
    bench.retain().await;
    bench.take_in(50, 50, 8).await;
    assert_eq!(bench.says("added").await, bench.says("seen").await);
}

#[tokio::test]
async fn a_rollup_is_filled_up_while_retention_removes() {
    fills_up_while_retention_removes((CELLS_MAX, MEMORY_MAX), false).await;
}

#[tokio::test]
async fn a_rollup_is_filled_up_in_slices_while_retention_removes() {
    fills_up_while_retention_removes((16, MEMORY_MAX), true).await;
    fills_up_while_retention_removes((CELLS_MAX, 4 << 10), true).await;
}

#[tokio::test]
async fn a_rebuild_keeps_no_door_waiting() {
    let folder = tempfile::tempdir().expect("a folder");
    Bench::open(folder.path(), &["seen"]).await.take_in(0, 0, 20).await;
    let bench = Arc::new(Bench::open(folder.path(), &["seen", "added"]).await);
    let moving = Arc::new(Moving::beside(&bench));
    let log: Arc<dyn EventLog> = bench.log.clone();
    let rebuilds = Rebuilds(Mending {
        open_log: Arc::new(move || Ok(log.clone())),
        manifest: bench.store.clone(),
        archives: Vec::new(),
        reader: bench.store.clone(),
        rewriter: moving.clone(),
        plans: vec![bench.plan.clone()],
        seed: 5,
        turn: Arc::default(),
        tracer: None,
    });
    let wish = Wish { rollup: "added".to_owned(), from: None, to: None, is_dry: false };
    let told = AtomicUsize::new(0);
    let tell = |said: Said| {
        told.fetch_add(usize::from(matches!(said, Said::Differs(_))), Ordering::SeqCst);
    };
    let rebuilt = rebuilds.rebuild(&wish, &tell).await.expect("nothing is in its way");
    assert!(rebuilt.records >= 20 && rebuilt.is_backfilled, "{rebuilt:?}");
    assert_eq!(told.load(Ordering::SeqCst), 4, "what it says is heard");
    let threads = moving.threads.lock().expect("no test panics while it holds the lock").clone();
    assert!(!threads.is_empty() && threads.iter().all(|name| name == "rebuild"), "{threads:?}");
}
