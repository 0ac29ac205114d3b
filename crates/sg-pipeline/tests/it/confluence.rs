//! The law, over the real fold and the real store: the measures are a function of the set of events and of the
//! definitions. Order, batching, partitions, duplicates and crashes do not show.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sg_core::batch::{EventBatch, LogBatch};
use sg_core::cell::{Given, Level, Value};
use sg_core::definition::{Condition, Dedup, Function, LatePolicy, Measure, NumberField, Rollup, Stream};
use sg_core::fold::Fold;
use sg_core::plan::{Arrival, Plan};
use sg_core::ports::{Claim, FlushOutcome, Refresh, RollupReader, RollupWriter, StatusDetail};
use sg_core::query::{CellOrder, CellQuery};
use sg_core::time::{Clock, Timestamp};

use crate::support::{Kind, Store, server};
use sg_core::output::Outputs;

const BASE: i64 = 1_700_000_000_000;

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp(BASE + 3_600_000)
    }
}

/// One event; equal ids of one key have equal content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    key: u8,
    id: u16,
    time_ms: i64,
    kind: u8,
    amount: Option<i32>,
}

fn event() -> impl Strategy<Value = Event> {
    (0u8..5, 0u16..400, -300_000i64..300_000, 0u8..3, prop::option::of(-5_000i32..5_000))
        .prop_map(|(key, id, time_ms, kind, amount)| Event { key, id, time_ms, kind, amount })
}

impl Event {
    fn text(&self) -> String {
        let amount = self
            .amount
            .map(|amount| format!(",\"amount\":{}.{:02}", amount / 100, (amount % 100).abs()))
            .unwrap_or_default();
        format!(
            "{{\"id\":\"{}\",\"user_id\":\"k{}\",\"type\":\"t{}\",\"ts\":{}{amount}}}",
            self.id,
            self.key,
            self.kind,
            BASE + self.time_ms
        )
    }

    /// What the text says, in hundredths: -0.50 is written as 0.50 by the line above, so it is read back from there.
    fn hundredths(&self) -> Option<i128> {
        self.amount.map(|amount| i128::from(if amount / 100 == 0 { amount.abs() } else { amount }))
    }
}

fn plan(dedup: Dedup) -> Arc<Plan> {
    let stream = Stream {
        name: "s".into(),
        default_type: String::new(),
        fields: Default::default(),
        derive_id: false,
        partition_by: vec!["user_id".into()],
        require: Vec::new(),
        types: Vec::new(),
        raw_table: None,
        dedup,
        max_future: Duration::from_secs(86_400),
        idle_timeout: Duration::from_secs(30),
        outputs: Outputs::default(),
        letters: Default::default(),
    };
    let amount = || NumberField { name: "amount".into(), scale: 2 };
    let all = |name: &str, function| Measure { name: name.into(), function, filter: Condition::default() };
    let is = |kind: &str| Condition(vec![("event_type".into(), vec![kind.into()])]);
    let measures = vec![
        all("n", Function::Count),
        all("total", Function::Sum(amount())),
        all("least", Function::Min(amount())),
        all("most", Function::Max(amount())),
        all("mean", Function::Avg(amount())),
        Measure { name: "t1_total".into(), function: Function::Sum(amount()), filter: is("t1") },
        all("level", Function::Level { up: is("t1"), down: is("t2") }),
        all("keys", Function::Distinct("user_id".into())),
        all("median", Function::Quantile { field: amount(), q_ppm: 500_000 }),
    ];
    let rollup = |name: &str, window_ms: i64, by: Vec<String>| Rollup {
        name: name.into(),
        stream: "s".into(),
        window_ms,
        pane_ms: window_ms,
        grace_ms: 10_000,
        late: LatePolicy::Correct,
        keep_ms: i64::MAX / 2,
        by,
        measures: measures.clone(),
    };
    Arc::new(Plan::new(
        stream,
        &[rollup("minutes", 60_000, vec!["event_type".into()]), rollup("all", 3_600_000, Vec::new())],
    ))
}

/// What happens to the owner of a partition.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Folds so many records in one batch; the batch comes from memory or, without its fields, from disk.
    Fold {
        records: usize,
        is_from_disk: bool,
    },
    Flush,
    /// Flushes, and sends the same flush again because the answer was lost.
    FlushTwice,
    /// Dies with what it has in memory.
    Crash,
    /// Dies after the commit, before it learns of it.
    FlushAndCrash,
    /// Says that it is there, which moves the stored duplicate window where nothing is pending.
    Refresh,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (1usize..40, any::<bool>()).prop_map(|(records, is_from_disk)| Step::Fold { records, is_from_disk }),
        2 => Just(Step::Flush),
        1 => Just(Step::FlushTwice),
        1 => Just(Step::Crash),
        1 => Just(Step::FlushAndCrash),
        2 => Just(Step::Refresh),
    ]
}

/// Cells as (rollup, pane, dimensions) → values.
type Answer = BTreeMap<(String, i64, Vec<String>), Vec<Value>>;

struct Owner {
    plan: Arc<Plan>,
    partition: u32,
    records: Vec<Event>,
    fold: Option<Fold>,
}

impl Owner {
    fn batch(&self, from: usize, to: usize) -> LogBatch {
        let lines: Vec<String> = self.records[from..to].iter().map(Event::text).collect();
        let main = Bytes::from(lines.join("\n"));
        let mut batch = EventBatch::new(self.plan.name.clone(), main.clone());
        let mut arrival = Arrival { received_at: Some(Timestamp(BASE)), new_id: &mut String::new };
        for line in std::str::from_utf8(&main).expect("text").lines() {
            self.plan.accept(line, &mut arrival, &mut batch).expect("a good event");
        }
        // One record a millisecond, so that the horizon can be met.
        let places = (from..to).map(|at| (at as u64, Timestamp(BASE + at as i64))).collect();
        LogBatch {
            events: Arc::new(batch),
            first_offset: from as u64,
            appended_at: Timestamp(BASE),
            places: Some(places),
        }
    }

    async fn fold(&mut self, store: &dyn RollupWriter) -> &mut Fold {
        if self.fold.is_none() {
            let claim = Claim {
                plan: self.plan.clone(),
                partition: self.partition,
                owner: "test".into(),
                log_identity: "log".into(),
                start: 0,
            };
            let checkpoint = store.claim(&claim).await.expect("claimed");
            let mut fold = Fold::resume(
                self.plan.clone(),
                (self.partition, 1),
                &checkpoint,
                checkpoint.epoch.unsigned_abs(),
            );
            let (from, r) = checkpoint.dedup_from;
            if from < checkpoint.next_offset {
                fold.remember(
                    &self.batch(from as usize, checkpoint.next_offset as usize),
                    &checkpoint.dead_offsets,
                    r,
                );
            }
            self.fold = Some(fold);
        }
        self.fold.as_mut().expect("just made")
    }

    async fn take(&mut self, step: Step, store: &dyn RollupWriter) {
        let at = self.fold(store).await.next_offset() as usize;
        match step {
            Step::Fold { records, is_from_disk } => {
                let to = (at + records).min(self.records.len());
                if at < to {
                    let mut batch = self.batch(at, to);
                    if is_from_disk {
                        batch.events =
                            Arc::new(EventBatch { fields: None, ..EventBatch::clone(&batch.events) });
                    }
                    self.fold(store).await.batch(&batch, u64::MAX);
                }
            }
            Step::Flush | Step::FlushTwice | Step::FlushAndCrash => {
                if let Some(flush) = self.fold(store).await.take() {
                    let flush = Arc::new(flush);
                    assert_eq!(store.flush(flush.clone()).await.expect("written"), FlushOutcome::Done);
                    if matches!(step, Step::FlushTwice) {
                        let again = store.flush(flush.clone()).await.expect("answered");
                        assert_eq!(
                            again,
                            FlushOutcome::Missed { epoch: flush.epoch, next_offset: flush.end }
                        );
                    }
                }
                if matches!(step, Step::FlushAndCrash) {
                    self.fold = None;
                }
            }
            Step::Crash => self.fold = None,
            Step::Refresh => {
                let (plan, partition) = (self.plan.clone(), self.partition);
                let fold = self.fold(store).await;
                let dedup_from = (fold.pending() == 0).then(|| fold.dedup_from());
                let epoch = fold.epoch();
                let now = Fixed.now();
                let refresh = Refresh { plan, partition, epoch, is_idle: false, dedup_from, base: None, now };
                assert!(store.refresh(&refresh).await.expect("refreshed"), "nobody else has the partition");
            }
        }
    }
}

/// Runs logs through fold and store along a schedule of steps, then to the end, and reads every cell; `None` where
/// there is no such store.
fn run(kind: Kind, logs: &[Vec<Event>], dedup: Dedup, steps: &[(usize, Step)]) -> Option<Answer> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let plan = plan(dedup);
        let opened = Store::open(kind, &plan, Arc::new(Fixed)).await?;
        let store = &*opened.writer;
        let rollups: Vec<Rollup> = plan.rollups.iter().map(|planned| planned.rollup.clone()).collect();
        let mut owners: Vec<Owner> = logs
            .iter()
            .enumerate()
            .map(|(partition, records)| Owner {
                plan: plan.clone(),
                partition: partition as u32,
                records: records.clone(),
                fold: None,
            })
            .collect();
        for (owner, step) in steps {
            let count = owners.len();
            owners[owner % count].take(*step, store).await;
        }
        for owner in &mut owners {
            owner.take(Step::Fold { records: usize::MAX / 2, is_from_disk: false }, store).await;
            owner.take(Step::Flush, store).await;
        }
        let status = opened.reader.status(StatusDetail::Ledger).await.expect("a status");
        for partition in &status.partitions {
            assert!(partition.ledger.adds_up(), "{partition:?}");
            assert_eq!(partition.ledger.processed, partition.next_offset - partition.first_offset);
            assert_eq!(partition.next_offset as usize, logs[partition.partition as usize].len());
        }
        assert!(status.rollups.iter().all(|rollup| rollup.adds_up()), "{:?}", status.rollups);
        Some(answer(&*opened.reader, &rollups).await)
    })
}

async fn answer(store: &dyn RollupReader, rollups: &[Rollup]) -> Answer {
    let mut answer = Answer::new();
    for rollup in rollups {
        let query = CellQuery {
            rollup: rollup.clone(),
            from: Timestamp(i64::MIN / 2),
            to: Timestamp(i64::MAX / 2),
            filters: Vec::new(),
            after: None,
            windows: Vec::new(),
            order: CellOrder::OldestFirst,
            cells_max: 1_000_000,
        };
        for cell in store.cells(&query).await.expect("cells") {
            answer.insert((rollup.name.clone(), cell.pane.0, cell.dimensions), cell.values);
        }
    }
    answer
}

/// Counts the records that no earlier one in the duplicate window makes a duplicate, the slow way.
fn brute_force(logs: &[Vec<Event>], dedup: Dedup) -> Answer {
    let plan = plan(dedup);
    let mut answer = Answer::new();
    for log in logs {
        for (at, event) in log.iter().enumerate() {
            // One record a millisecond: positions are also log times.
            let reach = dedup.records.min(dedup.horizon.as_millis() as u64) as usize;
            let is_duplicate = log[at.saturating_sub(reach)..at]
                .iter()
                .any(|earlier| (earlier.key, earlier.id) == (event.key, event.id));
            if is_duplicate {
                continue;
            }
            for planned in &plan.rollups {
                let rollup = &planned.rollup;
                let time = BASE + event.time_ms;
                let dimensions =
                    if rollup.by.is_empty() { Vec::new() } else { vec![format!("t{}", event.kind)] };
                let key = (rollup.name.clone(), time - time.rem_euclid(rollup.pane_ms), dimensions);
                let empty =
                    || rollup.measures.iter().map(|measure| Value::empty(&measure.function)).collect();
                let values = answer.entry(key).or_insert_with(empty);
                let user = format!("k{}", event.key);
                for (value, measure) in values.iter_mut().zip(&rollup.measures) {
                    if measure.filter.0.is_empty() || event.kind == 1 {
                        value.add(match measure.function {
                            Function::Level { .. } => Given::Step([0, 1, -1][usize::from(event.kind)]),
                            Function::Distinct(_) => Given::Text(&user),
                            _ => event.hundredths().map_or(Given::Event, Given::Number),
                        });
                    }
                }
            }
        }
    }
    run_levels(&mut answer);
    answer
}

/// Adds the levels up from pane to pane.
fn run_levels(answer: &mut Answer) {
    let mut standing: BTreeMap<(String, Vec<String>), i64> = BTreeMap::new();
    // The panes of a rollup come in their order.
    for ((rollup, pane, dimensions), values) in answer {
        for value in values {
            if let Value::Level(level) = value {
                let reached = standing.entry((rollup.clone(), dimensions.clone())).or_default();
                *reached += level.delta;
                *level = Level { read_at: Timestamp(*pane), reached: *reached, ..*level };
            }
        }
    }
}

/// Makes the content a function of key and id, so that resends are the same event.
fn same_content(events: Vec<Event>) -> Vec<Event> {
    let mut first: BTreeMap<(u8, u16), Event> = BTreeMap::new();
    events.into_iter().map(|event| first.entry((event.key, event.id)).or_insert(event).clone()).collect()
}

fn partitioned(events: &[Event], partitions: usize) -> Vec<Vec<Event>> {
    let mut logs = vec![Vec::new(); partitions];
    for event in events {
        logs[usize::from(event.key) % partitions].push(event.clone());
    }
    logs
}

/// On a server every case makes a database of its own, so there are fewer of them.
fn cases(kind: Kind) -> u32 {
    let asked = std::env::var("SG_CONFLUENCE_CASES").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(if kind == Kind::Sqlite { 256 } else { 24 })
}

fn check<S: Strategy>(kind: Kind, strategy: &S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = Config { cases: cases(kind), failure_persistence: None, ..Config::default() };
    if let Err(error) = TestRunner::new(config).run(strategy, test) {
        panic!("{error}");
    }
}

const AMPLE: Dedup = Dedup { records: 1_000_000, horizon: Duration::from_secs(86_400) };

#[test]
fn order_batching_partitions_and_crashes_do_not_show() {
    order_does_not_show(Kind::Sqlite);
}

#[test]
fn order_batching_partitions_and_crashes_do_not_show_on_a_server() {
    if server("STREAMGAUGE_TEST_POSTGRES").is_some() {
        order_does_not_show(Kind::Postgres);
    }
}

/// The answer of `kind` equals SQLite's for another order, another number of partitions and other crashes.
fn order_does_not_show(kind: Kind) {
    let events = prop::collection::vec(event(), 1..120).prop_map(same_content);
    let shuffled = events.prop_flat_map(|events| (Just(events.clone()), Just(events).prop_shuffle()));
    let schedule = || prop::collection::vec((0usize..4, step()), 0..25);
    check(
        kind,
        &(shuffled, 1usize..4, 1usize..4, schedule(), schedule()),
        |((events, other_order), partitions, other_partitions, steps, other_steps)| {
            let one = run(kind, &partitioned(&events, partitions), AMPLE, &steps);
            let other = run(Kind::Sqlite, &partitioned(&other_order, other_partitions), AMPLE, &other_steps);
            prop_assert_eq!(&one, &other);
            let one = one.unwrap_or_default();
            let distinct: BTreeSet<(u8, u16)> = events.iter().map(|event| (event.key, event.id)).collect();
            let counted =
                one.iter().filter(|((rollup, ..), _)| rollup == "all").map(|(_, values)| &values[0]);
            let total: u64 =
                counted.map(|value| if let Value::Count(count) = value { *count } else { 0 }).sum();
            prop_assert_eq!(total as usize, distinct.len());
            Ok(())
        },
    );
}

#[test]
fn the_duplicate_window_is_what_brute_force_says() {
    the_window_is_right(Kind::Sqlite);
}

#[test]
fn the_duplicate_window_is_what_brute_force_says_on_a_server() {
    if server("STREAMGAUGE_TEST_POSTGRES").is_some() {
        the_window_is_right(Kind::Postgres);
    }
}

fn the_window_is_right(kind: Kind) {
    let events = prop::collection::vec(
        (0u8..2, 0u16..25, 0i64..200_000, 0u8..3, prop::option::of(-5_000i32..5_000)),
        1..120,
    );
    let events = events.prop_map(|all| {
        all.into_iter()
            .map(|(key, id, time_ms, kind, amount)| Event { key, id, time_ms, kind, amount })
            .collect::<Vec<_>>()
    });
    let dedup =
        (1u64..40, 0u64..40).prop_map(|(records, ms)| Dedup { records, horizon: Duration::from_millis(ms) });
    let schedule = prop::collection::vec((0usize..4, step()), 0..25);
    check(kind, &(events, dedup, 1usize..3, schedule), |(events, dedup, partitions, steps)| {
        let logs = partitioned(&same_content(events), partitions);
        prop_assert_eq!(run(kind, &logs, dedup, &steps), Some(brute_force(&logs, dedup)));
        Ok(())
    });
}
