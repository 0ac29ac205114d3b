//! What the outbox tells topics, when they fail, refuse and come back: nothing is lost, and nothing is told before it is
//! durable.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use sg_core::definition::{Rollup, Stream};
use sg_core::flush::{Checkpoint, Flush};
use sg_core::metrics::Metrics;
use sg_core::output::{CellShape, ClosedOutput, OutputRecord, Outputs};
use sg_core::plan::Plan;
use sg_core::ports::{
    Claim, ErrorKind, FlushOutcome, KeyStore, MAIN_LANE, Manifest, Needed, OutboxRow, OutputTopics, Parked,
    PortError, Refresh, RefusedRecord, Removed, Rewriter, RollupReader, RollupWriter, StatusDetail,
};
use sg_core::testing::store_suite::{Feed, ManualClock, StoreUnderTest, T0, cells, rollups, stream};
use sg_core::time::Timestamp;
use sg_pipeline::outbox::{Outbox, Sink, StreamOutbox, Topics};
use sg_store::sqlite::SqliteStore;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::support::until;

const MINUTE: i64 = 60_000;

/// What happened, in order.
type Journal = Arc<Mutex<Vec<&'static str>>>;

fn note(journal: &Journal, what: &'static str) {
    journal.lock().unwrap_or_else(PoisonError::into_inner).push(what);
}

/// A store that writes down when it was made durable and when rows were deleted.
struct Noted {
    inner: SqliteStore,
    journal: Journal,
}

#[async_trait]
impl RollupWriter for Noted {
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
        self.inner.flush(flush).await
    }
    async fn refresh(&self, refresh: &Refresh) -> Result<bool, PortError> {
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
        note(&self.journal, "delete");
        self.inner.outbox_sent(stream, lane, through, parked).await
    }
    async fn sync(&self) -> Result<Vec<Needed>, PortError> {
        note(&self.journal, "sync");
        self.inner.sync().await
    }
}

/// What goes wrong with the topics.
#[derive(Default)]
struct Faults {
    /// So many calls fail, after half of their records have arrived.
    failures: usize,
    /// Topics that refuse everything.
    refusing: BTreeSet<String>,
    /// The longest value that is taken.
    bytes_max: Option<usize>,
}

/// Topics that keep what they are given.
struct Recording {
    faults: Mutex<Faults>,
    taken: Mutex<Vec<OutputRecord>>,
    journal: Journal,
}

impl Recording {
    fn set(&self, faults: Faults) {
        *self.faults.lock().expect("no test panics here") = faults;
    }

    fn taken(&self) -> Vec<OutputRecord> {
        std::mem::take(&mut *self.taken.lock().expect("no test panics here"))
    }
}

#[async_trait]
impl OutputTopics for Recording {
    async fn produce(&self, records: &[OutputRecord]) -> Result<Vec<RefusedRecord>, PortError> {
        note(&self.journal, "produce");
        let mut faults = self.faults.lock().expect("no test panics here");
        let mut taken = self.taken.lock().expect("no test panics here");
        if faults.failures > 0 {
            faults.failures -= 1;
            taken.extend_from_slice(&records[..records.len() / 2]);
            return Err(PortError::new(ErrorKind::Retry, "the broker is away"));
        }
        let mut refused = Vec::new();
        for (index, record) in records.iter().enumerate() {
            let is_too_large = faults.bytes_max.is_some_and(|most| record.value.len() > most);
            if is_too_large || faults.refusing.contains(&record.topic) {
                refused.push(RefusedRecord { index, is_too_large, why: "no".to_owned() });
            } else {
                taken.push(record.clone());
            }
        }
        Ok(refused)
    }
}

/// A store, its topics, and the loop between them.
struct Bench {
    store: Arc<Noted>,
    clock: Arc<ManualClock>,
    topics: Arc<Recording>,
    outbox: Outbox,
    journal: Journal,
    _folder: TempDir,
}

#[async_trait]
impl StoreUnderTest for Bench {
    fn writer(&self) -> &dyn RollupWriter {
        &*self.store
    }
    fn reader(&self) -> &dyn RollupReader {
        &self.store.inner
    }
    fn rewriter(&self) -> &dyn Rewriter {
        &self.store.inner
    }

    fn manifest(&self) -> &dyn Manifest {
        &self.store.inner
    }
    fn keys(&self) -> &dyn KeyStore {
        &self.store.inner
    }
    fn clock(&self) -> &ManualClock {
        &self.clock
    }
    async fn reopen(&mut self) {}
    fn fail_after(&self, _steps: Option<u32>) {}
}

/// Opens an empty store whose stream has these topics.
fn open(outputs: Outputs, rollups: &[Rollup]) -> (Bench, Stream) {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Arc::new(ManualClock::at(Timestamp(T0)));
    let path = folder.path().join("test.db");
    let journal = Journal::default();
    let inner = SqliteStore::open(&path, clock.clone()).expect("a store");
    let cells = Arc::new(SqliteStore::open(&path, clock.clone()).expect("a store"));
    let store = Arc::new(Noted { inner, journal: journal.clone() });
    let topics =
        Arc::new(Recording { faults: Mutex::default(), taken: Mutex::default(), journal: journal.clone() });
    let stream = Stream { outputs, ..stream() };
    let plan = Arc::new(Plan::new(stream.clone(), rollups));
    let metrics = Arc::<Metrics>::default();
    let sink: Arc<dyn Sink> =
        Arc::new(Topics::new(plan.clone(), "orders-topic".to_owned(), topics.clone(), metrics.clone()));
    let streams = vec![StreamOutbox { plan, sinks: vec![sink] }];
    let outbox = Outbox { streams, store: store.clone(), cells, metrics };
    (Bench { store, clock, topics, outbox, journal, _folder: folder }, stream)
}

fn all_outputs() -> Outputs {
    let shape = CellShape { has_zone: true, fields: Vec::new() };
    Outputs {
        closed: Some(ClosedOutput { topic: "closed".to_owned(), shape }),
        late: Some("late".to_owned()),
        dead_letters: vec!["dlq".to_owned(), "dlq.too".to_owned()],
        ..Outputs::default()
    }
}

impl Bench {
    async fn tell(&self) -> Result<usize, PortError> {
        self.outbox.tell(&self.outbox.streams[0], MAIN_LANE).await
    }

    async fn waits(&self) -> Vec<(String, u64)> {
        let status = self.store.inner.status(StatusDetail::Marks).await.expect("nothing fails");
        status.outboxes.into_iter().map(|lane| (lane.lane, lane.rows)).collect()
    }
}

fn header<'a>(record: &'a OutputRecord, name: &str) -> Option<&'a str> {
    let found = record.headers.iter().find(|(known, _)| *known == name)?;
    std::str::from_utf8(&found.1).ok()
}

fn of(records: &[OutputRecord], topic: &str) -> Vec<OutputRecord> {
    records.iter().filter(|record| record.topic == topic).cloned().collect()
}

fn text(record: &OutputRecord) -> &str {
    std::str::from_utf8(&record.value).expect("these values are text")
}

#[tokio::test]
async fn rows_are_durable_before_they_are_told_and_told_before_they_are_deleted() {
    let (bench, stream) = open(all_outputs(), &rollups()[..1]);
    let mut feed = Feed::claim_of(&bench, stream, &rollups()[..1], 0).await;
    feed.write(&bench, 5 * MINUTE, &[(0, "a", "1"), (0, "b", "2"), (5 * MINUTE, "c", "4")]).await;
    bench.topics.set(Faults { failures: 2, ..Faults::default() });
    for _ in 0..2 {
        bench.tell().await.expect_err("the broker is away");
        assert_eq!(bench.waits().await, [(String::new(), 2)], "nothing is deleted");
    }
    assert_eq!(bench.outbox.metrics.windows_closed.get(), 0);
    assert_eq!(bench.tell().await.expect("it is back"), 2);
    assert_eq!(bench.tell().await.expect("nothing fails"), 0, "nothing is left");
    let journal = bench.journal.lock().expect("no test panics here").clone();
    assert_eq!(journal, ["sync", "produce", "sync", "produce", "sync", "produce", "delete"]);
    assert_eq!(bench.outbox.metrics.windows_closed.get(), 2);
    let keys: Vec<String> = bench
        .topics
        .taken()
        .iter()
        .map(|record| String::from_utf8(record.key.clone().expect("a key")).expect("text"))
        .collect();
    assert_eq!(keys, ["a", "a", "a", "b"], "each at least once, also after half of them had arrived");
}

#[tokio::test]
async fn cells_are_told_as_they_are_when_they_are_told() {
    let (bench, stream) = open(all_outputs(), &rollups()[..2]);
    let mut feed = Feed::claim_of(&bench, stream, &rollups()[..2], 0).await;
    feed.write(&bench, 90 * MINUTE, &[(0, "a", "1"), (20 * MINUTE, "a", "2"), (90 * MINUTE, "z", "1")]).await;
    feed.write(&bench, 90 * MINUTE, &[(0, "a", "0.25")]).await;
    while bench.tell().await.expect("nothing fails") > 0 {}
    let taken = bench.topics.taken();
    let shown: Vec<(&str, &str, &str)> = taken
        .iter()
        .map(|record| {
            let header = |name| header(record, name).expect("every cell has these");
            (header("rollup"), header("kind"), header("revision"))
        })
        .collect();
    let expect = [
        ("by_type", "closed", "1"),
        ("by_type", "closed", "0"),
        ("by_hour", "closed", "1"),
        ("by_type", "corrected", "1"),
        ("by_hour", "corrected", "1"),
    ];
    assert_eq!(shown, expect);
    assert!(text(&taken[0]).contains("\"total\":1.25,"), "{}", text(&taken[0]));
    assert_eq!(
        text(&taken[4]),
        "{\"window_start\":\"2025-01-01T00:00:00Z\",\"window_end\":\"2025-01-01T01:00:00Z\",\"event_count\":3,\
         \"total\":3.25,\"least\":0.25,\"most\":2.00,\"mean\":1.08333333,\"late_count\":1,\"revision\":1,\
         \"is_final\":true}",
        "of all panes of the hour"
    );
}

/// A late event and two dead letters, and a closed window behind them.
async fn events(bench: &Bench, stream: Stream) -> Feed {
    let only = rollups().split_off(2);
    let mut feed = Feed::claim_of(bench, stream, &only, 0).await;
    feed.take_in(5 * MINUTE, &[(0, "x", "1"), (5 * MINUTE, "a", "1"), (0, "b", "1")]);
    feed.take_in_at(60 * MINUTE, 5 * MINUTE, &[(60 * MINUTE, "c", "1"), (61 * MINUTE, "d", "1")]);
    feed.flush(bench).await;
    feed
}

#[tokio::test]
async fn a_topic_that_refuses_holds_up_no_other_and_gets_its_records_later() {
    let (bench, stream) = open(all_outputs(), &rollups()[2..]);
    let mut feed = events(&bench, stream).await;
    let refusing = BTreeSet::from(["dlq".to_owned(), "late".to_owned()]);
    bench.topics.set(Faults { refusing, ..Faults::default() });
    while bench.tell().await.expect("nothing fails") > 0 {}
    let taken = bench.topics.taken();
    assert_eq!((of(&taken, "closed").len(), of(&taken, "dlq.too").len(), taken.len()), (1, 2, 3));
    assert_eq!(bench.waits().await, [("dlq".to_owned(), 2), ("late".to_owned(), 1)]);

    // Still refused: nothing changes, and what comes new waits behind.
    bench.outbox.tell_parked(&bench.outbox.streams[0]).await.expect("nothing fails");
    feed.take_in_at(60 * MINUTE, 5 * MINUTE, &[(62 * MINUTE, "e", "1")]);
    feed.flush(&bench).await;
    while bench.tell().await.expect("nothing fails") > 0 {}
    assert_eq!(bench.waits().await, [("dlq".to_owned(), 3), ("late".to_owned(), 1)]);
    assert_eq!(of(&bench.topics.taken(), "dlq.too").len(), 1, "what has arrived is not sent again");

    bench.topics.set(Faults::default());
    bench.outbox.tell_parked(&bench.outbox.streams[0]).await.expect("nothing fails");
    assert_eq!(bench.waits().await, []);
    let taken = bench.topics.taken();
    let letters: Vec<&str> = taken
        .iter()
        .filter(|record| record.topic == "dlq")
        .filter_map(|record| header(record, "offset"))
        .collect();
    assert_eq!(letters, ["3", "4", "5"], "in their order");
    let late = of(&taken, "late");
    assert_eq!(late.len(), 1);
    assert!(text(&late[0]).starts_with("{\"event_id\":\"e0-2\""), "as sent");
    assert_eq!(late[0].key.as_deref(), Some(&b"u2"[..]));
    assert_eq!(
        (header(&late[0], "rollup"), header(&late[0], "topic")),
        (Some("diverted"), Some("orders-topic"))
    );
}

#[tokio::test]
async fn what_is_too_large_goes_cut_short_with_where_the_whole_is() {
    let (bench, stream) = open(all_outputs(), &rollups()[2..]);
    events(&bench, stream).await;
    bench.topics.set(Faults { bytes_max: Some(10), ..Faults::default() });
    while bench.tell().await.expect("nothing fails") > 0 {}
    assert_eq!(bench.waits().await, [], "nothing waits for ever");
    let taken = bench.topics.taken();
    let letters = of(&taken, "dlq");
    assert_eq!(letters.len(), 2);
    for letter in letters {
        assert!(letter.value.len() <= 10, "{}", text(&letter));
        let whole: usize = header(&letter, "truncated_from").expect("it says so").parse().expect("a number");
        assert!(whole > 10, "{whole}");
        assert!(header(&letter, "offset").is_some() && header(&letter, "reason") == Some("future_timestamp"));
    }
}

#[tokio::test]
async fn without_topics_rows_are_counted_and_deleted() {
    let (bench, stream) = open(Outputs::default(), &rollups()[..1]);
    let mut feed = Feed::claim_of(&bench, stream, &rollups()[..1], 0).await;
    feed.write(&bench, 5 * MINUTE, &[(0, "a", "1"), (5 * MINUTE, "c", "4")]).await;
    assert_eq!(bench.tell().await.expect("nothing fails"), 1);
    assert_eq!(bench.waits().await, []);
    assert_eq!((bench.topics.taken(), bench.outbox.metrics.windows_closed.get()), (Vec::new(), 1));
}

/// With failures at any call, the newest record of every cell says at last what the store has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_highest_revision_of_every_cell_arrives() {
    let (bench, stream) = open(all_outputs(), &rollups()[..1]);
    let mut feed = Feed::claim_of(&bench, stream, &rollups()[..1], 0).await;
    let stop = CancellationToken::new();
    let streams =
        bench.outbox.streams.iter().map(|of| StreamOutbox { plan: of.plan.clone(), sinks: of.sinks.clone() });
    let outbox = Outbox {
        streams: streams.collect(),
        store: bench.store.clone(),
        cells: bench.outbox.cells.clone(),
        metrics: Arc::default(),
    };
    let running = tokio::spawn(outbox.run(stop.clone()));
    for round in 0..30_i64 {
        let kinds: Vec<String> = (0..20).map(|kind| format!("k{}", (kind * 7 + round) % 20)).collect();
        let events: Vec<(i64, &str, &str)> = kinds
            .iter()
            .enumerate()
            .map(|(at, kind)| ((at as i64 * 13 % 5) * MINUTE, kind.as_str(), "1.5"))
            .chain([((5 + round) * MINUTE, "now", "1")])
            .collect();
        bench.topics.set(Faults { failures: usize::from(round % 3 == 0), ..Faults::default() });
        feed.write(&bench, (5 + round) * MINUTE, &events).await;
    }
    let empty = || async { bench.waits().await.is_empty() };
    until(Duration::from_secs(30), "everything is told", empty).await;
    stop.cancel();
    running.await.expect("no panic");
    let mut newest: BTreeMap<(Vec<u8>, String), (u64, String)> = BTreeMap::new();
    for record in bench.topics.taken() {
        let window = header(&record, "window_start").expect("a window").to_owned();
        let revision = header(&record, "revision").expect("a revision").parse().expect("a number");
        let value = (revision, text(&record).to_owned());
        let known = newest.entry((record.key.expect("a key"), window)).or_default();
        *known = value.max(known.clone());
    }
    let closed_to =
        bench.store.inner.status(StatusDetail::Marks).await.expect("nothing fails").rollups[0].closed_to;
    let final_cells: Vec<_> = cells(&bench, &rollups()[0])
        .await
        .into_iter()
        .filter(|cell| cell.pane.0 + MINUTE <= closed_to.0)
        .collect();
    assert_eq!(newest.len(), final_cells.len());
    for cell in final_cells {
        let key = (cell.dimensions[0].clone().into_bytes(), cell.pane.to_string());
        let (revision, value) = &newest[&key];
        assert_eq!(*revision, cell.revision, "{key:?}");
        assert!(value.contains(&format!("\"event_count\":{},", cell.events)), "{value} of {cell:?}");
    }
}
