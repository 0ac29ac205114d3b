//! The whole way from a real topic, with what others write to it, into both stores.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use sg_core::batch::EventBatch;
use sg_core::cell::Value;
use sg_core::definition::{
    Condition, Dedup, Function, LatePolicy, Measure, NumberField, RawTable, Rollup, Stream,
};
use sg_core::metrics::Metrics;
use sg_core::plan::{Arrival, Plan};
use sg_core::ports::{EventLog as _, PartitionStatus, StatusDetail};
use sg_core::query::{CellOrder, CellQuery, DeadLetterQuery};
use sg_core::time::{Clock, Timestamp};
use sg_log::kafka::topics::{self, Mode, Wanted};
use sg_log::kafka::{KafkaLog, KafkaOptions, Topic};
use sg_pipeline::crew::Crew;
use sg_pipeline::fleet::Fleet;
use sg_pipeline::owner;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::support::{Kind, Store, server, unique, until};
use sg_core::output::Outputs;

const PATIENCE: Duration = Duration::from_secs(60);
const MINUTE_MS: i64 = 60_000;

struct Wall;

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        let since = std::time::UNIX_EPOCH.elapsed().expect("after 1970");
        Timestamp(since.as_millis() as i64)
    }
}

fn plan() -> Arc<Plan> {
    let stream = Stream {
        name: "s".into(),
        default_type: String::new(),
        fields: Default::default(),
        derive_id: false,
        partition_by: vec!["user_id".into()],
        require: vec!["user_id".into()],
        types: Vec::new(),
        raw_table: Some(RawTable {
            name: "events".into(),
            keep: Duration::from_secs(86_400),
            rows_max: None,
        }),
        dedup: Dedup { records: 100_000, horizon: Duration::from_secs(86_400) },
        max_future: Duration::from_secs(300),
        idle_timeout: Duration::from_secs(1),
        outputs: Outputs::default(),
        letters: Default::default(),
    };
    let amount = NumberField { name: "amount".into(), scale: 2 };
    let rollup = |name: &str, late| Rollup {
        name: name.into(),
        stream: "s".into(),
        window_ms: MINUTE_MS,
        pane_ms: MINUTE_MS,
        grace_ms: 0,
        late,
        keep_ms: i64::MAX / 2,
        by: Vec::new(),
        measures: vec![
            Measure { name: "n".into(), function: Function::Count, filter: Condition::default() },
            Measure {
                name: "sum".into(),
                function: Function::Sum(amount.clone()),
                filter: Condition::default(),
            },
        ],
    };
    Arc::new(Plan::new(
        stream,
        &[rollup("counted", LatePolicy::Correct), rollup("diverting", LatePolicy::Divert)],
    ))
}

/// A topic of one partition, and everything that works on it.
struct Bench {
    plan: Arc<Plan>,
    log: Arc<KafkaLog>,
    store: Store,
    metrics: Arc<Metrics>,
    topic: String,
    producer: BaseProducer,
    stop: CancellationToken,
    crew: tokio::task::JoinHandle<()>,
}

impl Bench {
    async fn open(kind: Kind) -> Option<Bench> {
        let brokers = server("STREAMGAUGE_TEST_KAFKA")?;
        let plan = plan();
        let topic = unique("pipeline");
        let options = KafkaOptions {
            brokers: brokers.clone(),
            group: topic.clone(),
            topics: vec![Topic { stream: "s".into(), topic: topic.clone() }],
            plans: vec![plan.clone()],
            properties: Vec::new(),
            in_flight_bytes_max: 8 << 20,
            read_bytes_max: 8 << 20,
            session_timeout: Duration::from_secs(6),
        };
        let wanted =
            Wanted { partitions: 1, replication: None, retention_min: Vec::new(), outputs: Vec::new() };
        topics::ensure(&options, &wanted, Mode::Change).await.expect("the topic is made");
        let log = Arc::new(KafkaLog::open(options).expect("a log"));
        let store = Store::open(kind, &plan, Arc::new(Wall)).await?;
        let metrics: Arc<Metrics> = Arc::default();
        let settings = owner::Settings {
            log: log.clone(),
            store: store.writer.clone(),
            clock: Arc::new(Wall),
            metrics: metrics.clone(),
            name: "test".into(),
            seed: 3,
            flush_interval: Duration::from_millis(1),
            flush_events_max: 10_000,
            tracer: (None, "sqlite"),
        };
        let fleet = Arc::new(Fleet::new(vec!["s".into()], log.clone(), store.reader.clone(), false));
        let (told, _) = mpsc::channel(1);
        let crew = Crew::new(vec![plan.clone()], settings, fleet, told);
        let stop = CancellationToken::new();
        let running = crew.run(stop.clone());
        let crew = tokio::spawn(async move { running.await.expect("an orderly end") });
        let producer = config(&brokers).create().expect("a producer");
        Some(Bench { plan, log, store, metrics, topic, producer, stop, crew })
    }

    /// Writes records as others do, without our header.
    fn produce(&self, values: &[Option<&[u8]>]) {
        produce(&self.producer, &self.topic, values);
    }

    /// Waits until the store is at the log's end, and returns the partition.
    async fn settled(&self) -> PartitionStatus {
        let end = || async { self.log.extent("s", 0).await.expect("an extent").end };
        until(PATIENCE, "the store is at the log's end", || async {
            let end = end().await;
            self.partition().await.is_some_and(|partition| partition.next_offset == end)
        })
        .await;
        self.partition().await.expect("a partition")
    }

    async fn partition(&self) -> Option<PartitionStatus> {
        let status = self.store.reader.status(StatusDetail::Ledger).await.expect("a status");
        assert!(status.rollups.iter().all(|rollup| rollup.adds_up()), "{:?}", status.rollups);
        let partition = status.partitions.into_iter().next();
        assert!(partition.as_ref().is_none_or(|partition| partition.ledger.adds_up()), "{partition:?}");
        partition
    }

    async fn diverted(&self) -> u64 {
        let status = self.store.reader.status(StatusDetail::Ledger).await.expect("a status");
        status.rollups.iter().map(|rollup| rollup.diverted).sum()
    }

    async fn watermark(&self) -> Timestamp {
        self.store.reader.status(StatusDetail::Marks).await.expect("a status").watermarks[0].1
    }

    async fn end(self) {
        self.stop.cancel();
        self.crew.await.expect("no panic");
    }
}

fn config(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    config
}

fn produce(producer: &BaseProducer, topic: &str, values: &[Option<&[u8]>]) {
    for value in values {
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(0);
        record.payload = *value;
        producer.send(record).map_err(|(error, _)| error).expect("the producer has room");
    }
    producer.flush(PATIENCE).expect("the broker takes records");
}

/// Sixteen kinds of what must not be counted, each with its reason.
fn poisons() -> Vec<(Option<Vec<u8>>, &'static str)> {
    let text = |text: &str| Some(text.as_bytes().to_vec());
    let nested = format!("{}1{}", "[".repeat(40), "]".repeat(40));
    vec![
        (None, "invalid_json"),
        (text(""), "invalid_json"),
        (text("{\"type\":\"t\",\"user_id\":\"u\""), "invalid_json"),
        (Some(b"\xff\xfe\x00".to_vec()), "invalid_json"),
        (text("[1,2]"), "not_an_object"),
        (text("{\"type\":\"t\",\"user_id\":\"u\",\"ts\":\"soon\"}"), "bad_timestamp"),
        (text("{\"type\":\"t\",\"user_id\":\"u\",\"ts\":\"2100-01-01T00:00:00Z\"}"), "future_timestamp"),
        (text("{\"type\":\"t\",\"user_id\":\"u\",\"ts\":9404592000000000000000}"), "timestamp_out_of_range"),
        (text("{\"user_id\":\"u\"}"), "missing_event_type"),
        (text("{\"type\":\"t\"}"), "missing_field"),
        (text("{\"type\":\"t\",\"user_id\":\" \"}"), "blank_field"),
        (text("{\"type\":\"t\",\"user_id\":\"u\",\"amount\":\"many\"}"), "bad_number"),
        (text("{\"type\":\"t\",\"user_id\":\"u\",\"amount\":1e30}"), "number_out_of_range"),
        (text("{\"type\":\"t\",\"user_id\":\"u\",\"x\":\"\\u0000\"}"), "invalid_text"),
        (text(&format!("{{\"type\":\"t\",\"user_id\":\"u\",\"x\":{nested}}}")), "too_deep"),
        (text(&format!("{{\"type\":\"{}\",\"user_id\":\"u\"}}", "x".repeat(300))), "dimension_too_long"),
        (
            text(&format!("{{\"type\":\"t\",\"user_id\":\"u\",\"id\":\"{}\"}}", "x".repeat(300))),
            "id_too_long",
        ),
        (text("{\"type\":\"t\",\"user_id\":\"u\",\"x\":1,\"x\":2}"), "duplicate_member"),
    ]
}

#[tokio::test]
async fn poison_is_named_and_its_neighbours_count_in_both_stores() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let Some(bench) = Bench::open(kind).await else { return };
        let poisons = poisons();
        let (mut offset, mut expected, mut good) = (0, Vec::new(), 0);
        for (poison, reason) in &poisons {
            // First, in the middle and last of what is flushed together.
            for place in [0, 2, 4] {
                let neighbour = |id: usize| {
                    format!(
                        "{{\"type\":\"t\",\"user_id\":\"u\",\"id\":{},\"amount\":\"0.10\"}}",
                        offset + id as u64
                    )
                };
                let neighbours: Vec<String> = (0..5).map(neighbour).collect();
                let mut values: Vec<Option<&[u8]>> =
                    neighbours.iter().map(|text| Some(text.as_bytes())).collect();
                values[place] = poison.as_deref();
                bench.produce(&values);
                expected.push((offset + place as u64, (*reason).to_owned()));
                offset += 5;
                good += 4;
                bench.settled().await;
            }
        }
        let ledger = bench.settled().await.ledger;
        assert_eq!((ledger.counted, ledger.dead_lettered), (good, expected.len() as u64), "{kind:?}");
        let query = DeadLetterQuery { limit: 1_000, ..DeadLetterQuery::default() };
        let letters = bench.store.reader.dead_letters(&query).await.expect("letters");
        let mut found: Vec<(u64, String)> =
            letters.iter().map(|letter| (letter.offset, letter.reason.clone())).collect();
        found.sort();
        assert_eq!(found, expected, "{kind:?}");
        for (letter, (poison, _)) in letters.iter().rev().step_by(3).zip(&poisons) {
            assert_eq!(letter.raw, poison.clone().unwrap_or_default(), "the record is kept as it was");
        }
        let query = CellQuery {
            rollup: bench.plan.rollups[0].rollup.clone(),
            from: Timestamp(i64::MIN / 2),
            to: Timestamp(i64::MAX / 2),
            filters: Vec::new(),
            after: None,
            windows: Vec::new(),
            order: CellOrder::OldestFirst,
            cells_max: 1_000,
        };
        let cells = bench.store.reader.cells(&query).await.expect("cells");
        let sum: i128 =
            cells.iter().map(|cell| if let Value::Sum(sum) = cell.values[1] { sum } else { 0 }).sum();
        assert_eq!(sum, i128::from(good) * 10, "{kind:?}: in hundredths");
        bench.end().await;
    }
}

#[tokio::test]
async fn an_aborted_transaction_at_the_end_holds_nothing_up() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let Some(bench) = Bench::open(kind).await else { return };
        bench.produce(&[Some(b"{\"type\":\"t\",\"user_id\":\"u\",\"id\":1}")]);
        bench.settled().await;
        let mut config = config(&server("STREAMGAUGE_TEST_KAFKA").expect("it was there"));
        config.set("transactional.id", &bench.topic);
        let producer: BaseProducer = config.create().expect("a producer");
        producer.init_transactions(PATIENCE).expect("the broker knows transactions");
        producer.begin_transaction().expect("begun");
        produce(&producer, &bench.topic, &[Some(&b"{\"type\":\"t\",\"user_id\":\"u\",\"id\":2}"[..]); 5]);
        producer.abort_transaction(PATIENCE).expect("aborted");
        until(PATIENCE, "the log ends behind the marker", || async {
            bench.log.extent("s", 0).await.expect("an extent").end == 7
        })
        .await;
        let partition = bench.settled().await;
        assert_eq!(
            (partition.next_offset, partition.ledger.processed),
            (7, 1),
            "{kind:?}: five records and a marker"
        );
        let before = bench.watermark().await;
        until(PATIENCE, "the partition is idle and its windows close", || async {
            let is_idle = bench.partition().await.is_some_and(|partition| partition.is_idle);
            is_idle && bench.watermark().await > before
        })
        .await;
        // A restart begins inside the hole and counts nothing twice.
        bench.produce(&[
            Some(b"{\"type\":\"t\",\"user_id\":\"u\",\"id\":1}"),
            Some(b"{\"type\":\"t\",\"user_id\":\"u\",\"id\":2}"),
        ]);
        let ledger = bench.settled().await.ledger;
        assert_eq!((ledger.counted, ledger.duplicate), (2, 1), "{kind:?}");
        assert_eq!(bench.metrics.flush_missed.get(), 0);
        bench.end().await;
    }
}

/// A door whose clock is an hour fast, one that is an hour slow, and a record of others that is dated 2100: the
/// partition's clock stays with the broker's time, and no event of the others is late.
#[tokio::test]
async fn clocks_that_are_wrong_make_nobody_late() {
    let Some(bench) = Bench::open(Kind::Sqlite).await else { return };
    let now = || Wall.now().0;
    let mut sent = 0;
    for round in 0..20 {
        for skew_ms in [3_600_000, -3_600_000] {
            let received_at = Timestamp(now() + skew_ms);
            let text =
                format!("{{\"type\":\"t\",\"user_id\":\"u\",\"id\":\"{round}{skew_ms}\",\"ts\":{}}}", now());
            let mut batch = EventBatch::new(bench.plan.name.clone(), text.clone().into());
            let mut arrival = Arrival { received_at: Some(received_at), new_id: &mut String::new };
            // The slow door takes the event for one of the future; its sender leaves the time to the door.
            let untimed = format!("{{\"type\":\"t\",\"user_id\":\"u\",\"id\":\"{round}{skew_ms}\"}}");
            let text = if skew_ms > 0 { &text } else { &untimed };
            bench.plan.accept(text, &mut arrival, &mut batch).expect("a good event");
            bench.log.append(batch).await.expect("appended");
            sent += 1;
        }
        bench.produce(&[Some(b"{\"type\":\"t\",\"user_id\":\"u\",\"ts\":\"2100-01-01T00:00:00Z\"}")]);
        let text = format!("{{\"type\":\"t\",\"user_id\":\"u\",\"id\":\"o{round}\",\"ts\":{}}}", now());
        bench.produce(&[Some(text.as_bytes())]);
        sent += 1;
    }
    let partition = bench.settled().await;
    assert_eq!((partition.ledger.counted, partition.ledger.dead_lettered), (sent, 20));
    assert!(partition.clock.m.0 <= now(), "the clock is not ahead: {}", partition.clock.m);
    // Untimed events of the slow door are dated an hour ago, and late by right; nothing else is.
    assert_eq!(bench.diverted().await, 20);
    bench.end().await;
}
