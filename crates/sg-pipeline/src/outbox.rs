//! Tells others what became known: takes rows from the store's outbox, makes the store durable, hands the rows to every
//! sink, and only then deletes them. After a crash a row may be told again; its revision, or its offset, tells.
//!
//! Each stream has a loop of its own, and over all processes one sender: the store gives its rows to one process only.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use sg_core::definition::Rollup;
use sg_core::interval::Cuts;
use sg_core::metrics::Metrics;
use sg_core::plan::Plan;
use sg_core::ports::{
    MAIN_LANE, OutboxKind, OutboxRow, Parked, PortError, RollupReader, RollupStatus, RollupWriter,
    StatusDetail,
};
use sg_core::query::{self, CellOrder, CellQuery, Row};
use sg_core::time::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

mod topics;

use crate::outage::Outage;
use crate::patience::{Patience, passes};

pub use topics::Topics;

/// Rows read, told and deleted together: a window of ten thousand cells takes two rounds.
const ROWS_AT_ONCE: usize = 5_000;
/// Panes asked for in one question: a window of many panes would make it large.
const PANES_AT_ONCE: usize = 20_000;
/// Between two looks at an outbox that was empty.
const PAUSE: Duration = Duration::from_millis(500);
/// The first and the longest pause after failures in a row.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
/// Between two tries of what a topic refuses.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);
/// How long what is on its way may take when the process stops; what is not deleted by then is told again.
const LAST_MOMENTS: Duration = Duration::from_secs(2);

/// A row, and the cell that it speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The row.
    pub row: OutboxRow,
    /// The cell as it is now; `None` for events, and where retention has removed it.
    pub cell: Option<Row>,
}

/// Someone who is told.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Returns whether rows of a kind are of interest.
    fn wants(&self, kind: OutboxKind) -> bool;
    /// Returns the lanes in which rows may be parked.
    fn lanes(&self) -> Vec<String>;
    /// Takes rows of a lane in their order, those of no interest among them. `Ok` means that all are kept elsewhere but
    /// those returned, which stay in lanes; after an error all are told again.
    async fn take(&self, lane: &str, told: &[Told]) -> Result<Vec<Parked>, PortError>;
}

/// The outbox of one stream.
pub struct StreamOutbox {
    /// The stream's plan.
    pub plan: Arc<Plan>,
    /// Who is told; rows are counted also when there is nobody.
    pub sinks: Vec<Arc<dyn Sink>>,
}

/// The loops over the outboxes of all streams.
pub struct Outbox {
    /// The streams.
    pub streams: Vec<StreamOutbox>,
    /// The store that holds the outboxes.
    pub store: Arc<dyn RollupWriter>,
    /// The same store's cells.
    pub cells: Arc<dyn RollupReader>,
    /// The process's counters.
    pub metrics: Arc<Metrics>,
}

impl Outbox {
    /// Tells until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        let over = async {
            stop.cancelled().await;
            tokio::time::sleep(LAST_MOMENTS).await;
        };
        tokio::select! {
            _ = join_all(self.streams.iter().map(|stream| self.run_stream(stream, &stop))) => {}
            () = over => {}
        }
    }

    async fn run_stream(&self, stream: &StreamOutbox, stop: &CancellationToken) {
        let mut patience = Patience::new(BACKOFF);
        let mut parked_due = Instant::now();
        let mut outage = Outage::default();
        let doing = format!("telling what became known of {}", stream.plan.name);
        while !stop.is_cancelled() {
            let mut done = self.tell(stream, MAIN_LANE).await;
            if done.is_ok() && Instant::now() >= parked_due {
                done = self.tell_parked(stream).await.and(done);
                parked_due = Instant::now() + REFUSED_PAUSE;
            }
            if done.is_ok() {
                outage.succeeded(&doing);
            }
            let pause = match done {
                Ok(told) => {
                    patience.reset();
                    if told == 0 { PAUSE } else { Duration::ZERO }
                }
                Err(error) => {
                    outage.failed(&doing, &error);
                    patience.next_pause()
                }
            };
            passes(pause, stop.cancelled()).await;
        }
    }

    /// Tells all that is parked again, as far as the topics take it.
    ///
    /// # Errors
    /// Those of the store and the sinks; nothing is deleted then.
    pub async fn tell_parked(&self, stream: &StreamOutbox) -> Result<(), PortError> {
        for sink in &stream.sinks {
            for lane in sink.lanes() {
                while self.tell(stream, &lane).await? > 0 {}
            }
        }
        Ok(())
    }

    /// Tells the oldest rows of one lane; returns how many left it.
    ///
    /// # Errors
    /// Those of the store and the sinks; nothing is deleted then.
    pub async fn tell(&self, stream: &StreamOutbox, lane: &str) -> Result<usize, PortError> {
        let name = &*stream.plan.name;
        let rows = self.store.outbox(name, lane, ROWS_AT_ONCE).await?;
        let Some(last) = rows.last().map(|row| row.id) else { return Ok(0) };
        let told = self.told(stream, rows).await?;
        let wants = |told: &Told| stream.sinks.iter().any(|sink| sink.wants(told.row.kind));
        if told.iter().any(wants) {
            // Invariant: what is told is durable. The rows and cells were read before, so that none is newer: a store
            // that goes back may count revisions otherwise the second time.
            self.store.sync().await?;
        }
        let mut parked = Vec::new();
        for sink in &stream.sinks {
            parked.extend(sink.take(lane, &told).await?);
        }
        let stays = parked.iter().filter(|parked| parked.topic == lane).count();
        if stays == told.len() {
            return Ok(0);
        }
        self.store.outbox_sent(name, lane, last, &parked).await?;
        if lane == MAIN_LANE {
            self.count(&told);
        }
        Ok(told.len() - stays)
    }

    fn count(&self, told: &[Told]) {
        let of = |kind| told.iter().filter(|told| told.row.kind == kind).count() as u64;
        self.metrics.windows_closed.add(of(OutboxKind::Closed));
        self.metrics.corrections.add(of(OutboxKind::Corrected));
    }

    /// Adds the cells that the rows speak of, where anybody wants them.
    async fn told(&self, stream: &StreamOutbox, rows: Vec<OutboxRow>) -> Result<Vec<Told>, PortError> {
        let is_cell = |row: &OutboxRow| matches!(row.kind, OutboxKind::Closed | OutboxKind::Corrected);
        let mut keys: BTreeMap<String, Vec<(Timestamp, Vec<String>)>> = BTreeMap::new();
        for row in rows.iter().filter(|row| is_cell(row)) {
            if stream.sinks.iter().any(|sink| sink.wants(row.kind)) {
                let of_rollup = keys.entry(row.rollup.clone()).or_default();
                of_rollup.push((row.window_start, row.dimensions.clone()));
            }
        }
        let mut cells = HashMap::new();
        for (rollup, windows) in keys {
            for row in self.rows_of(stream, &rollup, windows).await? {
                cells.insert((rollup.clone(), row.start, row.dimensions.clone()), row);
            }
        }
        let mut told = Vec::with_capacity(rows.len());
        let mut removed = None;
        for row in rows {
            let key = (row.rollup.clone(), row.window_start, row.dimensions.clone());
            let mut cell = cells.get(&key).filter(|_| is_cell(&row)).cloned();
            let is_wanted = stream.sinks.iter().any(|sink| sink.wants(row.kind));
            if cell.is_none() && is_wanted && row.kind == OutboxKind::Corrected && row.revision > 0 {
                if removed.is_none() {
                    removed = Some(self.cells.status(StatusDetail::Marks).await?.rollups);
                }
                cell = vanished(stream, &row, removed.as_deref().unwrap_or_default());
            }
            told.push(Told { cell, row });
        }
        Ok(told)
    }

    async fn rows_of(
        &self,
        stream: &StreamOutbox,
        rollup: &str,
        mut windows: Vec<(Timestamp, Vec<String>)>,
    ) -> Result<Vec<Row>, PortError> {
        let planned = stream.plan.rollups.iter().find(|planned| planned.rollup.name == rollup);
        let Some(rollup) = planned.map(|planned| planned.rollup.clone()) else {
            tracing::warn!(stream = %stream.plan.name, rollup, "windows of a rollup that is defined no more are not told");
            return Ok(Vec::new());
        };
        windows.sort();
        windows.dedup();
        let panes = (rollup.window_ms / rollup.pane_ms).unsigned_abs() as usize;
        let mut rows = Vec::with_capacity(windows.len());
        for some in windows.chunks((PANES_AT_ONCE / panes.max(1)).max(1)) {
            rows.extend(self.rows_of_some(rollup.clone(), some.to_vec()).await?);
        }
        Ok(rows)
    }

    async fn rows_of_some(
        &self,
        rollup: Rollup,
        windows: Vec<(Timestamp, Vec<String>)>,
    ) -> Result<Vec<Row>, PortError> {
        let from = windows.first().map_or(Timestamp::NEVER, |(start, _)| *start);
        let to = windows.last().map_or(from, |(start, _)| Timestamp(start.0 + rollup.window_ms));
        let cuts = Cuts::windows(rollup.window_ms, from, to);
        let query = CellQuery {
            rollup,
            from,
            to,
            filters: Vec::new(),
            after: None,
            windows,
            order: CellOrder::OldestFirst,
            cells_max: usize::MAX,
        };
        Ok(query::rows(self.cells.cells(&query).await?, &cuts))
    }
}

/// Returns the row of a window whose events were all deleted; `None` where retention has removed it, and of levels, which go
/// on without it.
fn vanished(stream: &StreamOutbox, row: &OutboxRow, rollups: &[RollupStatus]) -> Option<Row> {
    let planned = stream.plan.rollups.iter().find(|planned| planned.rollup.name == row.rollup)?;
    let rollup = &planned.rollup;
    let end = Timestamp(row.window_start.0 + rollup.window_ms);
    let known = rollups.iter().find(|known| known.name == rollup.name)?;
    if rollup.has_levels() || end <= known.removed_before {
        return None;
    }
    Some(Row::vanished(rollup, row.window_start, &row.dimensions, row.revision))
}
