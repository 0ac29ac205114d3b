//! Removes what need not be kept: rows that definitions no longer want, then log segments that nothing needs.

use std::sync::Arc;
use std::time::Duration;

use sg_core::metrics::Metrics;
use sg_core::plan::Plan;
use sg_core::ports::{ArchivePosition, EventLog, Manifest, PortError, RollupWriter};
use sg_core::time::Clock;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::outage::Outage;

/// How often the log is trimmed.
const TRIM_INTERVAL: Duration = Duration::from_secs(15);
/// How long no old rows are looked for when all are removed.
const RETENTION_INTERVAL: Duration = Duration::from_secs(60);
/// How long a stream's rows are removed before it is another's turn.
const TURN_MAX: Duration = Duration::from_secs(10);
/// A breath between two steps of retention, in which flushes go first.
const BREATH: Duration = Duration::from_millis(20);
/// Rows of a step at least: some milliseconds of work.
const STEP_ROWS_MIN: usize = 1_000;
/// Rows of a step at most: with the breath, more a second than a process takes in.
const STEP_ROWS_MAX: usize = 16_000;
/// A step that took longer waited for flushes, or made them wait.
const STEP_TIME: Duration = Duration::from_millis(50);

/// The loop that keeps the store and the log small.
pub struct Upkeep {
    /// The streams' plans.
    pub plans: Vec<Arc<Plan>>,
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// The store.
    pub store: Arc<dyn RollupWriter>,
    /// The clock that retention goes by.
    pub clock: Arc<dyn Clock>,
    /// What the archive holds, for the streams that are archived.
    pub manifest: Arc<dyn Manifest>,
    /// The process's counters.
    pub metrics: Arc<Metrics>,
    /// The streams of which nothing is removed before it is archived.
    pub archived: Vec<String>,
}

impl Upkeep {
    /// Works until told to stop. Neither waits for the other: a log that is not trimmed fills the disk.
    pub async fn run(self, stop: CancellationToken) {
        tokio::join!(self.keep_log_small(&stop), self.keep_store_small(&stop));
    }

    async fn keep_log_small(&self, stop: &CancellationToken) {
        let mut outage = Outage::default();
        while !stops_within(stop, TRIM_INTERVAL).await {
            match self.trim().await {
                Ok(()) => outage.succeeded("trimming the log"),
                Err(error) => outage.failed("trimming the log", &error),
            }
        }
    }

    async fn keep_store_small(&self, stop: &CancellationToken) {
        let mut pace = Pace { rows: STEP_ROWS_MIN };
        let mut wait = RETENTION_INTERVAL;
        let mut of_marks = Outage::default();
        let mut of_rows: Vec<Outage> = self.plans.iter().map(|_| Outage::default()).collect();
        while !stops_within(stop, wait).await {
            wait = RETENTION_INTERVAL;
            for (plan, outage) in self.plans.iter().zip(&mut of_rows) {
                if self.retain(plan, (&mut pace, outage), stop).await {
                    wait = BREATH;
                }
            }
            match self.drop_marks().await {
                Ok(()) => of_marks.succeeded("removing marks"),
                Err(error) => of_marks.failed("removing marks", &error),
            }
        }
    }

    /// Trims the log up to what a restart may need, as of the store's last durable moment.
    ///
    /// # Errors
    /// Those of the store and the log; nothing is lost then.
    pub async fn trim(&self) -> Result<(), PortError> {
        let positions = self.manifest.archive_positions().await?;
        let needed: Vec<(String, u32, u64)> = self
            .store
            .sync()
            .await?
            .into_iter()
            .map(|needed| {
                let unarchived = self.unarchived(&positions, &needed.stream, needed.partition);
                // Nobody judges duplicates of a stream that is configured no more: its window would stand still and
                // pin the log for ever. What was never folded stays all the same.
                let is_configured = self.plans.iter().any(|plan| *plan.name == *needed.stream);
                let window_from = if is_configured { needed.window_from } else { needed.next_offset };
                let first = needed.next_offset.min(window_from).min(unarchived);
                (needed.stream, needed.partition, first)
            })
            .collect();
        self.log.trim(&needed).await
    }

    /// Returns the first offset that the archive does not have yet; beyond all where there is no archive.
    fn unarchived(&self, positions: &[ArchivePosition], stream: &str, partition: u32) -> u64 {
        if !self.archived.iter().any(|archived| archived == stream) {
            return u64::MAX;
        }
        // Of a partition whose archive never began nothing is in a file.
        position_of(positions, stream, partition).map_or(0, |position| position.next_offset)
    }

    /// Removes marks from which no rebuild can begin, since neither log nor archive reach so far.
    async fn drop_marks(&self) -> Result<(), PortError> {
        let positions = self.manifest.archive_positions().await?;
        for plan in &self.plans {
            for partition in 0..self.log.partitions(&plan.name).await? {
                let start = self.log.extent(&plan.name, partition).await?.start;
                let archived = position_of(&positions, &plan.name, partition);
                let reach = archived.map_or(start, |position| {
                    let complete_from = position.first_offset.max(position.removed_to);
                    // A file reaches further back only where files and log meet.
                    if position.next_offset >= start { complete_from.min(start) } else { start }
                });
                self.manifest.drop_marks(&plan.name, partition, reach).await?;
            }
        }
        Ok(())
    }

    /// Removes a stream's old rows for a while; returns whether there may be more.
    async fn retain(
        &self,
        plan: &Plan,
        (pace, outage): (&mut Pace, &mut Outage),
        stop: &CancellationToken,
    ) -> bool {
        let doing = format!("removing old rows of {}", plan.name);
        let began = Instant::now();
        loop {
            let step_began = Instant::now();
            match self.store.retain(plan, self.clock.now(), pace.rows).await {
                Ok(Some(removed)) => {
                    self.metrics.removed.add(removed.what, removed.rows);
                    pace.took(step_began.elapsed());
                }
                Ok(None) => {
                    outage.succeeded(&doing);
                    return false;
                }
                Err(error) => {
                    outage.failed(&doing, &error);
                    return false;
                }
            }
            if began.elapsed() >= TURN_MAX || stops_within(stop, BREATH).await {
                return true;
            }
        }
    }
}

/// How many rows a step removes: more while nobody waits.
struct Pace {
    rows: usize,
}

impl Pace {
    fn took(&mut self, time: Duration) {
        if time > STEP_TIME {
            self.rows = (self.rows / 2).max(STEP_ROWS_MIN);
        } else if time < STEP_TIME / 2 {
            self.rows = (self.rows * 2).min(STEP_ROWS_MAX);
        }
    }
}

/// Waits; returns early, and true, when told to stop.
async fn stops_within(stop: &CancellationToken, wait: Duration) -> bool {
    tokio::time::timeout(wait, stop.cancelled()).await.is_ok()
}

fn position_of<'p>(
    positions: &'p [ArchivePosition],
    stream: &str,
    partition: u32,
) -> Option<&'p ArchivePosition> {
    positions.iter().find(|position| position.stream == stream && position.partition == partition)
}
