//! Carrying counts from one log and store to others, over real ones: what a server that starts there finds is what the
//! old one left, page by page.

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use sg_core::batch::EventBatch;
use sg_core::definition::{
    Condition, Dedup, Function, LatePolicy, Measure, NumberField, RawTable, Rollup, Stream,
};
use sg_core::flush::Checkpoint;
use sg_core::fold::Fold;
use sg_core::output::Outputs;
use sg_core::plan::{Arrival, Plan};
use sg_core::ports::{
    Claim, EventLog, FlushOutcome, Refresh, RollupReader, RollupWriter, StatusDetail, StoreStatus,
};
use sg_core::query::{CellOrder, CellQuery, CellRow, DeadLetterQuery, EventQuery, LateQuery};
use sg_core::reason::{Code, Refusal};
use sg_core::time::{Clock, Timestamp};
use sg_log::{EmbeddedLog, Options, RealDisk};
use sg_pipeline::carry::{Carried, Doing, Fault, Source, Target, check_fresh, look};
use sg_store::sqlite::SqliteStore;

const BASE: i64 = 1_700_000_000_000;

#[derive(Default)]
struct Set(AtomicI64);

impl Clock for Set {
    fn now(&self) -> Timestamp {
        Timestamp(BASE + self.0.load(Ordering::SeqCst))
    }
}

fn plan() -> Arc<Plan> {
    let stream = Stream {
        name: "s".into(),
        default_type: String::new(),
        fields: Default::default(),
        derive_id: false,
        partition_by: vec!["user_id".into()],
        require: Vec::new(),
        types: Vec::new(),
        raw_table: Some(RawTable {
            name: "events".into(),
            keep: Duration::from_secs(86_400),
            rows_max: None,
        }),
        dedup: Dedup { records: 3_000, horizon: Duration::from_secs(86_400) },
        max_future: Duration::from_secs(300),
        idle_timeout: Duration::from_secs(30),
        outputs: Outputs::default(),
        letters: Default::default(),
    };
    let rollup = |name: &str, late, by: &[&str], function| Rollup {
        name: name.into(),
        stream: "s".into(),
        window_ms: 1_000,
        pane_ms: 1_000,
        grace_ms: 0,
        late,
        keep_ms: i64::MAX / 2,
        by: by.iter().map(|name| (*name).to_owned()).collect(),
        measures: vec![Measure { name: "m".into(), function, filter: Condition::default() }],
    };
    let amount = NumberField { name: "amount".into(), scale: 2 };
    let rollups = [
        rollup("seconds", LatePolicy::Correct, &[], Function::Avg(amount.clone())),
        rollup("keys", LatePolicy::Correct, &["user_id", "country"], Function::Sum(amount.clone())),
        rollup("lane", LatePolicy::Divert, &["user_id"], Function::Count),
        rollup("lane_too", LatePolicy::Divert, &[], Function::Min(amount)),
    ];
    Arc::new(Plan::new(stream, &rollups))
}

/// A log, a store, and what they are of.
struct Place {
    plan: Arc<Plan>,
    clock: Arc<Set>,
    log: Arc<EmbeddedLog>,
    store: Arc<SqliteStore>,
}

impl Place {
    async fn open(folder: &Path) -> Place {
        Place::open_as(folder, false).await
    }

    async fn open_as(folder: &Path, salvage: bool) -> Place {
        let (plan, clock) = (plan(), Arc::<Set>::default());
        let options = Options {
            salvage,
            pool_bytes_max: 0,
            segment_bytes: 1 << 18,
            keep_bytes: 0,
            ..Options::new(folder.join("log"), clock.clone(), Arc::new(RealDisk))
        };
        let log = Arc::new(EmbeddedLog::open(options).expect("a log"));
        let store = Arc::new(SqliteStore::open(&folder.join("test.db"), clock.clone()).expect("a store"));
        let rollups: Vec<Rollup> = plan.rollups.iter().map(|planned| planned.rollup.clone()).collect();
        store.prepare(std::slice::from_ref(&plan.stream), &rollups).await.expect("prepared");
        Place { plan, clock, log, store }
    }

    fn source(&self) -> Source {
        Source { log: self.log.clone(), store: self.store.clone() }
    }

    fn target(&self) -> Target {
        let (log, writer, reader) = (self.log.clone(), self.store.clone(), self.store.clone());
        Target { log, writer, reader, owner: "import".to_owned() }
    }

    async fn append(&self, texts: &[String]) {
        for texts in texts.chunks(500) {
            let mut batch = EventBatch::new(self.plan.name.clone(), Bytes::from(texts.concat()));
            let (main, mut at) = (batch.main.clone(), 0);
            for text in texts {
                let event = std::str::from_utf8(&main[at..at + text.len()]).expect("text");
                let received_at = Some(self.clock.now());
                let arrival = &mut Arrival { received_at, new_id: &mut String::new };
                self.plan.accept(event, arrival, &mut batch).expect("it is an event");
                at += text.len();
            }
            self.log.append(batch).await.expect("appended");
        }
    }

    async fn claim(&self) -> Checkpoint {
        let identity = self.log.identity("s").await.expect("known");
        let claim = Claim {
            plan: self.plan.clone(),
            partition: 0,
            owner: "o".into(),
            log_identity: identity,
            start: 0,
        };
        self.store.claim(&claim).await.expect("claimed")
    }

    /// Works as a server does: reads the duplicate window again, folds what follows and flushes it.
    async fn fold(&self, refused: &[u64]) {
        let checkpoint = self.claim().await;
        let mut fold = Fold::resume(self.plan.clone(), (0, 1), &checkpoint, 7);
        let refusal = Refusal::new(Code::StoreRefused, "", "it was not liked");
        refused.iter().for_each(|offset| fold.refuse(*offset, refusal.clone()));
        let (from, mut r) = checkpoint.dedup_from;
        let end = self.log.extent("s", 0).await.expect("known").end;
        let mut reader = self.log.open("s", 0, from).await.expect("it is there");
        while reader.passed() < end {
            for batch in reader.next(1 << 16, Duration::ZERO).await.expect("it can be read") {
                r = fold.remember(&batch, &checkpoint.dead_offsets, r);
                fold.batch(&batch, u64::MAX);
            }
        }
        assert!(r <= checkpoint.clock.r, "no record before the checkpoint came later than it says");
        if let Some(flush) = fold.take() {
            assert_eq!(self.store.flush(Arc::new(flush)).await.expect("written"), FlushOutcome::Done);
        }
    }

    async fn status(&self) -> StoreStatus {
        self.store.status(StatusDetail::Ledger).await.expect("it answers")
    }

    /// Everything that can be asked, without history.
    async fn answers(&self) -> (Vec<Vec<CellRow>>, Vec<String>, Vec<String>, Vec<String>) {
        let mut cells = Vec::new();
        for planned in &self.plan.rollups {
            let query = CellQuery {
                rollup: planned.rollup.clone(),
                from: Timestamp::NEVER,
                to: Timestamp(i64::MAX),
                filters: Vec::new(),
                after: None,
                windows: Vec::new(),
                order: CellOrder::OldestFirst,
                cells_max: usize::MAX,
            };
            let mut rows = self.store.cells(&query).await.expect("it answers");
            rows.iter_mut().for_each(|row| row.revision = 0);
            cells.push(rows);
        }
        let late = LateQuery { limit: usize::MAX, ..LateQuery::default() };
        let late = self.store.late(&late).await.expect("it answers");
        let mut late: Vec<String> = late
            .iter()
            .map(|late| {
                format!("{} {:?} {}", late.rollup, late.dimensions, String::from_utf8_lossy(&late.raw))
            })
            .collect();
        late.sort_unstable();
        let letters = DeadLetterQuery { limit: usize::MAX, ..DeadLetterQuery::default() };
        let letters = self.store.dead_letters(&letters).await.expect("it answers");
        let letters = letters.iter().map(|letter| format!("{} {}", letter.event_id, letter.detail)).collect();
        let query = EventQuery { stream: "s".to_owned(), limit: usize::MAX, ..EventQuery::default() };
        let rows = self.store.events(&query).await.expect("it answers");
        let rows = rows
            .iter()
            .map(|row| format!("{} {:?} {} {}", row.event_id, row.user_id, row.properties, row.event_time));
        (cells, late, letters, rows.collect())
    }
}

/// An event `ms` after the beginning.
fn event(id: &str, ms: i64) -> String {
    let (user, amount) = (ms.unsigned_abs() % 40, ms % 1_000);
    format!(
        r#"{{"event_id":"{id}","event_type":"t","ts":{},"user_id":"u{user}","country":"C{id}","amount":{amount}.5,"pad":"{:0>60}"}}"#,
        BASE + ms,
        ""
    )
}

fn silent(_: &str, _: Doing, _: u64) {}

async fn carried(old: &Place, new: &Place) -> Carried {
    let looked = look(&old.source(), std::slice::from_ref(&old.plan), &silent).await.expect("it is whole");
    check_fresh(&new.target(), std::slice::from_ref(&new.plan)).await.expect("it is fresh");
    looked.streams[0].bring(&new.target(), &silent).await.expect("brought")
}

/// More of everything than fits one page: cells of one pane and of many, rows of one time, late events, letters.
async fn filled(folder: &Path) -> Place {
    let old = Place::open(folder).await;
    let mut all: Vec<String> = (0..12_000).map(|id| event(&format!("a{id}"), id * 1_000)).collect();
    all.extend((0..2_000).map(|id| event(&format!("l{id}"), id)));
    all.extend((0..11_000).map(|id| event(&format!("b{id}"), 20_000_000)));
    old.clock.0.store(20_000_000, Ordering::SeqCst);
    old.append(&all).await;
    old.fold(&[5, 24_000]).await;
    old
}

#[tokio::test]
async fn everything_is_there_and_goes_on() {
    let (folder, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let old = filled(folder.path()).await;
    let before = old.status().await;
    let needed = before.partitions[0].dedup_from.0;
    old.log.trim(&[("s".to_owned(), 0, needed)]).await.expect("trimmed");
    let held = old.log.extent("s", 0).await.expect("known");
    assert!(held.start > 12_000 && held.start <= needed, "{held:?} {needed}");
    // What is not folded yet: new ones, and one that was.
    old.clock.0.store(20_100_000, Ordering::SeqCst);
    old.append(&[event("n1", 20_100_000), event("b10500", 20_000_000), event("l9", 9)]).await;
    let answers = old.answers().await;

    let new = Place::open(other.path()).await;
    new.clock.0.store(50_000_000, Ordering::SeqCst);
    let done = carried(&old, &new).await;
    assert_eq!((done.waiting, done.partitions, done.dead_letters), (3, 1, 2));
    // Two thousand late events lie before what the log holds, but for those of its first segment; one letter does.
    let gone = held.start.min(14_000) - 12_000 + 1;
    assert_eq!((done.late_events, done.written_again), (4_000, gone));
    assert_eq!(done.appended, held.end - held.start + gone + 3);
    let brought = new.answers().await;
    assert!(brought.0 == answers.0, "cells");
    assert!(brought.1 == answers.1, "late events");
    assert_eq!(brought.2, answers.2);
    assert_eq!(brought.3.len() as u64, done.raw_rows);
    assert!(brought.3 == answers.3[..brought.3.len()], "the newest rows, as they were");
    let after = new.status().await;
    assert_eq!(after.partitions[0].ledger, before.partitions[0].ledger);
    assert_eq!(after.partitions[0].clock.m, before.partitions[0].clock.m);
    for (now, then) in after.rollups.iter().zip(&before.rollups) {
        assert!(now.adds_up(), "{now:?}");
        assert_eq!((now.folded, now.in_cells, now.diverted), (then.folded, then.in_cells, then.diverted));
    }

    // Both sides go on alike.
    for place in [&old, &new] {
        place.fold(&[]).await;
        // A duplicate of before, one of since, a new one, and one that was dead and is new therefore.
        let (before, dead) = (event("b10999", 20_000_000), event("b10000", 20_000_000));
        place.append(&[before, event("n1", 20_100_000), event("n2", 20_050_000), dead]).await;
        place.fold(&[]).await;
    }
    let (on_old, on_new) = (old.answers().await, new.answers().await);
    assert!(on_new.0 == on_old.0, "cells");
    assert!(on_new.1 == on_old.1, "late events");
    let ledger = |status: StoreStatus| status.partitions[0].ledger;
    assert_eq!(ledger(new.status().await), ledger(old.status().await));
    assert_eq!(ledger(new.status().await).duplicate, 3);
}

/// However many rows are of one time, which is what asking for the newest goes by.
#[tokio::test]
async fn raw_rows_are_looked_at_by_pages() {
    let folder = tempfile::tempdir().expect("a folder");
    let old = Place::open(folder.path()).await;
    let all: Vec<String> = (0..1_600).map(|id| event(&format!("a{id}"), 7)).collect();
    old.append(&all).await;
    old.fold(&[]).await;
    let told = Mutex::new(Vec::new());
    let tell = |_: &str, doing: Doing, count: u64| {
        if doing == Doing::Looking {
            told.lock().expect("nobody panicked").push(count);
        }
    };
    look(&old.source(), std::slice::from_ref(&old.plan), &tell).await.expect("it is whole");
    assert_eq!(told.into_inner().expect("nobody panicked"), [500, 1_000, 1_500, 1_600]);
}

#[tokio::test]
async fn a_log_that_has_lost_records_is_carried_with_what_the_store_kept_of_them() {
    let (folder, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let old = filled(folder.path()).await;
    let last: Vec<String> = (0..3_000).map(|id| event(&format!("c{id}"), 20_000_000)).collect();
    old.append(&last).await;
    old.fold(&[]).await;
    let before = old.status().await;
    let answers = old.answers().await;
    old.log.close().await.expect("closed");
    drop(old);
    // Segments with a letter and with late events.
    let mut segments: Vec<_> = std::fs::read_dir(folder.path().join("log"))
        .expect("there is a log")
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.extension().is_some_and(|end| end == "seg"))
        .collect();
    segments.sort();
    let bytes_of = |at: usize| std::fs::read(&segments[at]).expect("it can be read");
    let holds = |at: &usize| {
        let bytes = bytes_of(*at);
        [&b"b10000\""[..], b"l1000\""].iter().any(|id| bytes.windows(id.len()).any(|found| found == *id))
    };
    for at in (1..segments.len() - 1).filter(holds) {
        std::fs::remove_file(&segments[at]).expect("it can be removed");
    }

    let old = Place::open_as(folder.path(), true).await;
    let new = Place::open(other.path()).await;
    new.clock.0.store(50_000_000, Ordering::SeqCst);
    let done = carried(&old, &new).await;
    assert_eq!((done.waiting, done.dead_letters, done.late_events), (0, 2, 4_000));
    assert!(done.written_again > 1 && done.appended < 27_500, "{done:?}");
    assert!(done.left_behind.iter().any(|what| what.contains("raw rows")), "{:?}", done.left_behind);
    let brought = new.answers().await;
    assert!(brought.0 == answers.0 && brought.1 == answers.1, "cells and late events");
    assert_eq!(brought.2, answers.2, "letters");
    assert_eq!(new.status().await.partitions[0].ledger, before.partitions[0].ledger);
}

#[tokio::test]
async fn the_watermark_of_a_quiet_stream_comes_along() {
    let (folder, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let (old, new) = (Place::open(folder.path()).await, Place::open(other.path()).await);
    old.append(&[event("a", 0)]).await;
    old.fold(&[]).await;
    let epoch = old.status().await.partitions[0].epoch;
    let now = Timestamp(BASE + 90_000);
    let refresh = Refresh {
        plan: old.plan.clone(),
        partition: 0,
        epoch,
        is_idle: true,
        dedup_from: None,
        base: None,
        now,
    };
    assert!(old.store.refresh(&refresh).await.expect("written"));
    carried(&old, &new).await;
    let (then, now) = (old.status().await, new.status().await);
    assert_eq!(then.watermarks, [("s".to_owned(), Timestamp(BASE + 60_000))]);
    assert_eq!(now.watermarks, then.watermarks);
    let closed =
        |status: &StoreStatus| status.rollups.iter().map(|rollup| rollup.closed_to).collect::<Vec<_>>();
    assert_eq!(closed(&now), closed(&then));
}

#[tokio::test]
async fn a_stream_that_was_never_folded_is_left_to_the_server() {
    let (folder, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let (old, new) = (Place::open(folder.path()).await, Place::open(other.path()).await);
    old.append(&[event("a", 0), event("b", 1)]).await;
    let done = carried(&old, &new).await;
    assert_eq!((done.appended, done.folded, done.waiting), (2, 0, 2));
    assert_eq!(new.status().await.partitions, []);
    new.fold(&[]).await;
    assert_eq!(new.status().await.partitions[0].ledger.counted, 2);
}

#[tokio::test]
async fn sides_that_do_not_belong_together_are_refused() {
    let (folder, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let (old, new) = (Place::open(folder.path()).await, Place::open(other.path()).await);
    old.append(&[event("a", 0)]).await;
    old.fold(&[]).await;
    let refused = async |source: Source, plan: Arc<Plan>| match look(&source, &[plan], &silent).await {
        Err(Fault::Refused(why)) => why,
        Err(Fault::Port(error)) => panic!("{error}"),
        Ok(_) => panic!("it was let pass"),
    };
    let mixed = Source { log: new.log.clone(), store: old.store.clone() };
    assert!(refused(mixed, plan()).await.contains("the old store counts the log"));
    let changed = |change: fn(&mut Rollup)| {
        let mut rollups: Vec<Rollup> = plan().rollups.iter().map(|planned| planned.rollup.clone()).collect();
        change(&mut rollups[0]);
        Arc::new(Plan::new(plan().stream.clone(), &rollups))
    };
    let other_window = changed(|rollup| rollup.window_ms = 2_000);
    assert!(refused(old.source(), other_window).await.contains("another definition"));
    let other_name = changed(|rollup| rollup.name = "more".to_owned());
    assert!(refused(old.source(), other_name).await.contains("does not count the rollup more"));
    new.append(&[event("x", 0)]).await;
    let taken = check_fresh(&new.target(), &[plan()]).await.expect_err("its log is not empty");
    assert!(taken.to_string().contains("holds records"), "{taken}");
}
