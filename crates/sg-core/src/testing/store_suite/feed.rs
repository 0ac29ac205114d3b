//! Feeds a store the way a partition's owner does: events through the plan and the fold, then a flush.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::batch::{EventBatch, LetterPlace, LogBatch};
use crate::definition::{
    Condition, Dedup, Function, LatePolicy, Measure, NumberField, RawTable, Rollup, Stream,
};
use crate::flush::{Checkpoint, Flush};
use crate::fold::Fold;
use crate::output::Outputs;
use crate::plan::{Arrival, Plan};
use crate::ports::{Claim, FlushOutcome, MAIN_LANE, PartitionStatus, Refresh, RollupStatus, StatusDetail};
use crate::query::{CellOrder, CellQuery, CellRow, EventQuery, StoredEvent};
use crate::time::Timestamp;

use super::StoreUnderTest;

/// 2025-01-01T00:00:00Z: the time at which the cases begin.
pub const T0: i64 = 1_735_689_600_000;

/// Returns the stream of the cases: raw events are kept for a day.
pub fn stream() -> Stream {
    Stream {
        name: "orders".to_owned(),
        default_type: String::new(),
        fields: Default::default(),
        derive_id: false,
        partition_by: vec!["user_id".to_owned()],
        require: Vec::new(),
        types: Vec::new(),
        raw_table: Some(RawTable {
            name: "events".to_owned(),
            keep: Duration::from_secs(86_400),
            rows_max: None,
        }),
        dedup: Dedup { records: 100_000, horizon: Duration::from_secs(86_400) },
        max_future: Duration::from_secs(300),
        idle_timeout: Duration::from_secs(30),
        outputs: Outputs::default(),
        letters: Default::default(),
    }
}

/// Returns the rollups of the cases: `by_type` with a measure of each kind in windows of a minute, `by_hour` in hours
/// of four panes without dimensions, and `diverted`, which takes no late events. Grace is 30 s, kept is a week.
pub fn rollups() -> Vec<Rollup> {
    let amount = || NumberField { name: "amount".to_owned(), scale: 2 };
    let measure =
        |name: &str, function| Measure { name: name.to_owned(), function, filter: Condition::default() };
    let by_type = Rollup {
        name: "by_type".to_owned(),
        stream: "orders".to_owned(),
        window_ms: 60_000,
        pane_ms: 60_000,
        grace_ms: 30_000,
        late: LatePolicy::Correct,
        keep_ms: 7 * 86_400_000,
        by: vec!["event_type".to_owned()],
        measures: vec![
            measure("event_count", Function::Count),
            measure("total", Function::Sum(amount())),
            measure("least", Function::Min(amount())),
            measure("most", Function::Max(amount())),
            measure("mean", Function::Avg(amount())),
        ],
    };
    let by_hour = Rollup {
        name: "by_hour".to_owned(),
        window_ms: 3_600_000,
        pane_ms: 900_000,
        by: Vec::new(),
        ..by_type.clone()
    };
    let diverted = Rollup {
        name: "diverted".to_owned(),
        late: LatePolicy::Divert,
        by: vec!["event_type".to_owned(), "user_id".to_owned()],
        measures: vec![measure("event_count", Function::Count)],
        ..by_type.clone()
    };
    vec![by_type, by_hour, diverted]
}

/// One partition's owner.
pub struct Feed {
    /// What it folds by.
    pub plan: Arc<Plan>,
    /// The partition.
    pub partition: u32,
    /// Where it resumed.
    pub checkpoint: Checkpoint,
    fold: Fold,
    next: u64,
    /// The dead letter that the next events stand for.
    letter: Option<LetterPlace>,
}

impl Feed {
    /// Prepares the store for the given rollups and claims a partition of the stream.
    ///
    /// # Panics
    /// When the store refuses either.
    pub async fn claim(store: &dyn StoreUnderTest, rollups: &[Rollup], partition: u32) -> Feed {
        Feed::claim_of(store, stream(), rollups, partition).await
    }

    /// As [`Feed::claim`], of a stream that is defined otherwise.
    ///
    /// # Panics
    /// When the store refuses either.
    pub async fn claim_of(
        store: &dyn StoreUnderTest,
        stream: Stream,
        rollups: &[Rollup],
        partition: u32,
    ) -> Feed {
        store
            .writer()
            .prepare(std::slice::from_ref(&stream), rollups)
            .await
            .expect("the definitions are sound");
        let plan = Arc::new(Plan::new(stream, rollups));
        let checkpoint =
            store.writer().claim(&claim_of(&plan, partition)).await.expect("the log is the same");
        let fold = Fold::resume(plan.clone(), (partition, 1), &checkpoint, 7);
        Feed { plan, partition, next: checkpoint.next_offset, fold, checkpoint, letter: None }
    }

    /// Passes a hole of the log: the next event has this offset.
    pub fn pass_to(&mut self, offset: u64) {
        self.fold.pass_to(offset);
        self.next = offset;
    }

    /// Passes offsets that the log has lost, as [`Feed::pass_to`] passes those of a hole.
    pub fn lose_to(&mut self, offset: u64) {
        self.fold.lose(self.next..offset);
        self.pass_to(offset);
    }

    /// Returns the owner as it was before it took anything in: what a second process would see.
    pub fn restarted(&self) -> Feed {
        Feed {
            plan: self.plan.clone(),
            partition: self.partition,
            checkpoint: self.checkpoint.clone(),
            fold: Fold::resume(self.plan.clone(), (self.partition, 1), &self.checkpoint, 7),
            next: self.checkpoint.next_offset,
            letter: None,
        }
    }

    /// Makes the next events that are taken in stand for a dead letter.
    pub fn stand_for(&mut self, letter: LetterPlace) {
        self.letter = Some(letter);
    }

    /// Takes note that the store refused a replay as a repeated one.
    pub fn repeat(&mut self, offset: u64) {
        self.fold.repeat(offset);
    }

    /// Takes in events that arrived at `arrived_ms` after [`T0`]: (ms after [`T0`], type, amount), ids by offset.
    pub fn take_in(&mut self, arrived_ms: i64, events: &[(i64, &str, &str)]) {
        self.take_in_at(arrived_ms, arrived_ms, events);
    }

    /// As [`Feed::take_in`], but the log stamps another time than the door: a log far behind makes dead letters.
    ///
    /// # Panics
    /// When the door would refuse an event.
    pub fn take_in_at(&mut self, received_ms: i64, appended_ms: i64, events: &[(i64, &str, &str)]) {
        let texts: Vec<String> = events
            .iter()
            .enumerate()
            .map(|(at, (ms, kind, amount))| {
                let (id, time) = (self.next + at as u64, Timestamp(T0 + ms));
                format!(
                    r#"{{"event_id":"e{}-{id}","event_type":"{kind}","timestamp":"{time}","user_id":"u{}","amount":"{amount}"}}"#,
                    self.partition,
                    id % 3
                )
            })
            .collect();
        let mut batch = EventBatch::new(self.plan.name.clone(), Bytes::from(texts.concat()));
        let main = batch.main.clone();
        let mut at = 0;
        for text in &texts {
            let mut new_id = || "none".to_owned();
            let mut arrival = Arrival { received_at: Some(Timestamp(T0 + received_ms)), new_id: &mut new_id };
            let sent = std::str::from_utf8(&main[at..at + text.len()]).expect("it was made of texts");
            self.plan.accept(sent, &mut arrival, &mut batch).expect("the events of the cases are sound");
            at += text.len();
        }
        let count = batch.len() as u64;
        if let Some(letter) = self.letter.take() {
            batch.replays = (0..count as u32).map(|index| (index, letter)).collect();
        }
        let log_batch = LogBatch {
            events: Arc::new(batch),
            first_offset: self.next,
            appended_at: Timestamp(T0 + appended_ms),
            places: None,
        };
        self.fold.batch(&log_batch, u64::MAX);
        self.next += count;
    }

    /// Returns what has been taken in since the last call.
    ///
    /// # Panics
    /// When that is nothing.
    pub fn take(&mut self) -> Arc<Flush> {
        Arc::new(self.fold.take().expect("events were taken in"))
    }

    /// Flushes what has been taken in.
    ///
    /// # Panics
    /// When the store does not write it.
    pub async fn flush(&mut self, store: &dyn StoreUnderTest) {
        let outcome = store.writer().flush(self.take()).await.expect("nothing fails");
        assert_eq!(outcome, FlushOutcome::Done);
    }

    /// Takes in and flushes.
    pub async fn write(&mut self, store: &dyn StoreUnderTest, arrived_ms: i64, events: &[(i64, &str, &str)]) {
        self.take_in(arrived_ms, events);
        self.flush(store).await;
    }

    /// Says whether the partition is idle.
    ///
    /// # Panics
    /// When the store fails or the partition is another's.
    pub async fn refresh(&self, store: &dyn StoreUnderTest, is_idle: bool) {
        let refreshed = store.writer().refresh(&self.refresh_of(store, is_idle, None)).await;
        assert!(refreshed.expect("nothing fails"), "the epoch is ours");
    }

    /// Refreshes as an owner that thinks the store is at `base`; returns whether it is.
    ///
    /// # Panics
    /// When the store fails.
    pub async fn is_at(&self, store: &dyn StoreUnderTest, base: u64) -> bool {
        store.writer().refresh(&self.refresh_of(store, false, Some(base))).await.expect("nothing fails")
    }

    fn refresh_of(&self, store: &dyn StoreUnderTest, is_idle: bool, base: Option<u64>) -> Refresh {
        use crate::time::Clock;
        Refresh {
            plan: self.plan.clone(),
            partition: self.partition,
            epoch: self.checkpoint.epoch,
            is_idle,
            base,
            dedup_from: (self.fold.pending() == 0).then(|| self.fold.dedup_from()),
            now: store.clock().now(),
        }
    }
}

/// Returns a claim of a partition that begins at offset 0 of the log of the cases.
pub(super) fn claim_of(plan: &Arc<Plan>, partition: u32) -> Claim {
    Claim {
        plan: plan.clone(),
        partition,
        owner: "suite".to_owned(),
        log_identity: "log-1".to_owned(),
        start: 0,
    }
}

/// Returns all cells of a rollup.
///
/// # Panics
/// When the store fails.
pub async fn cells(store: &dyn StoreUnderTest, rollup: &Rollup) -> Vec<CellRow> {
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
    store.reader().cells(&query).await.expect("the rollup is prepared")
}

/// Returns all raw events of the stream.
///
/// # Panics
/// When the store fails.
pub async fn events_of(store: &dyn StoreUnderTest) -> Vec<StoredEvent> {
    let query = EventQuery { stream: "orders".to_owned(), limit: 1_000_000, ..EventQuery::default() };
    store.reader().events(&query).await.expect("the stream is prepared")
}

/// Everything that a transaction may change.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Where every partition stands.
    pub partitions: Vec<PartitionStatus>,
    /// The watermarks.
    pub watermarks: Vec<(String, Timestamp)>,
    /// The rollups' ledgers.
    pub rollups: Vec<RollupStatus>,
    /// The cells of each rollup.
    pub cells: BTreeMap<String, Vec<CellRow>>,
    /// Offsets of raw events.
    pub raw: Vec<(u32, u64)>,
    /// Offsets of dead letters.
    pub letters: Vec<u64>,
    /// Identifiers in the outbox.
    pub outbox: Vec<i64>,
}

/// Returns the store's whole state, and checks that every ledger in it adds up.
///
/// # Panics
/// When the store fails or a ledger does not add up.
pub async fn snapshot(store: &dyn StoreUnderTest, rollups: &[Rollup]) -> Snapshot {
    let status = store.reader().status(StatusDetail::Ledger).await.expect("nothing fails");
    for partition in &status.partitions {
        assert!(partition.ledger.adds_up(), "{partition:?}");
        assert_eq!(
            partition.ledger.processed,
            partition.next_offset - partition.first_offset,
            "{partition:?}"
        );
    }
    for rollup in &status.rollups {
        assert!(rollup.adds_up(), "{rollup:?}");
    }
    let mut by_rollup = BTreeMap::new();
    for rollup in rollups {
        by_rollup.insert(rollup.name.clone(), cells(store, rollup).await);
    }
    let letters = crate::query::DeadLetterQuery { limit: 1_000_000, ..Default::default() };
    let letters = store.reader().dead_letters(&letters).await.expect("nothing fails");
    let outbox = store.writer().outbox("orders", MAIN_LANE, usize::MAX).await.expect("nothing fails");
    Snapshot {
        partitions: status.partitions,
        watermarks: status.watermarks,
        rollups: status.rollups,
        cells: by_rollup,
        raw: events_of(store).await.iter().map(|event| (event.partition, event.offset)).collect(),
        letters: letters.iter().map(|letter| letter.offset).collect(),
        outbox: outbox.iter().map(|row| row.id).collect(),
    }
}
