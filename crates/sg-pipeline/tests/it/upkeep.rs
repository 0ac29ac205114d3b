//! Upkeep of a store that never has an end of old rows: the log is trimmed all the same, every stream has its turn, and
//! steps grow while they are quick.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use sg_core::batch::EventBatch;
use sg_core::definition::{Rollup, Stream};
use sg_core::flush::{Checkpoint, Flush};
use sg_core::metrics::Metrics;
use sg_core::plan::Plan;
use sg_core::ports::{
    Appended, Claim, ErrorKind, EventLog, Extent, FlushOutcome, LogReader, Membership, Needed, OutboxRow,
    Parked, PortError, Refresh, Removable, Removed, RollupWriter,
};
use sg_core::time::Timestamp;
use sg_pipeline::upkeep::Upkeep;
use tokio_util::sync::CancellationToken;

use crate::archiver::{Fixed, Ground};
use crate::owner::plan;
use crate::support::{pause, until};

const PATIENCE: Duration = Duration::from_secs(30);

fn not_asked() -> PortError {
    PortError::new(ErrorKind::Invalid, "upkeep does not ask that")
}

/// A store whose every step removes as many rows as it may, without an end.
#[derive(Default)]
struct Endless {
    /// How long a step takes.
    step: Mutex<Duration>,
    /// The rows of each stream's steps.
    steps: Mutex<BTreeMap<String, Vec<usize>>>,
}

impl Endless {
    fn steps(&self, stream: &str) -> Vec<usize> {
        let steps = self.steps.lock().expect("no test panics while it holds the lock");
        steps.get(stream).cloned().unwrap_or_default()
    }
}

#[async_trait]
impl RollupWriter for Endless {
    async fn prepare(&self, _: &[Stream], _: &[Rollup]) -> Result<(), PortError> {
        Err(not_asked())
    }
    async fn claim(&self, _: &Claim) -> Result<Checkpoint, PortError> {
        Err(not_asked())
    }
    async fn checkpoint(&self, _: &str, _: u32) -> Result<Checkpoint, PortError> {
        Err(not_asked())
    }
    async fn flush(&self, _: Arc<Flush>) -> Result<FlushOutcome, PortError> {
        Err(not_asked())
    }
    async fn refresh(&self, _: &Refresh) -> Result<bool, PortError> {
        Err(not_asked())
    }
    async fn retain(&self, plan: &Plan, _: Timestamp, rows_max: usize) -> Result<Option<Removed>, PortError> {
        let time = *self.step.lock().expect("no test panics while it holds the lock");
        pause(time).await;
        let mut steps = self.steps.lock().expect("no test panics while it holds the lock");
        steps.entry(plan.name.to_string()).or_default().push(rows_max);
        Ok(Some(Removed { what: Removable::RawRows, rows: rows_max as u64 }))
    }
    async fn outbox(&self, _: &str, _: &str, _: usize) -> Result<Vec<OutboxRow>, PortError> {
        Err(not_asked())
    }
    async fn outbox_sent(&self, _: &str, _: &str, _: i64, _: &[Parked]) -> Result<(), PortError> {
        Err(not_asked())
    }
    async fn sync(&self) -> Result<Vec<Needed>, PortError> {
        Ok(Vec::new())
    }
}

/// A log that counts how often it is trimmed.
#[derive(Default)]
struct Trimmed(AtomicUsize);

#[async_trait]
impl EventLog for Trimmed {
    async fn append(&self, _: EventBatch) -> Result<Vec<Appended>, PortError> {
        Err(not_asked())
    }
    async fn join(&self, _: &[String]) -> Result<Box<dyn Membership>, PortError> {
        Err(not_asked())
    }
    async fn open(&self, _: &str, _: u32, _: u64) -> Result<Box<dyn LogReader>, PortError> {
        Err(not_asked())
    }
    async fn extent(&self, _: &str, _: u32) -> Result<Extent, PortError> {
        Ok(Extent { start: 0, end: 0, newest: Timestamp::NEVER, is_surplus: false })
    }
    async fn partitions(&self, _: &str) -> Result<u32, PortError> {
        Ok(1)
    }
    async fn identity(&self, _: &str) -> Result<String, PortError> {
        Err(not_asked())
    }
    async fn trim(&self, _: &[(String, u32, u64)]) -> Result<(), PortError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
    async fn close(&self) -> Result<(), PortError> {
        Err(not_asked())
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_no_end_holds_up_neither_the_log_nor_another_stream() {
    let ground = Ground::new().await;
    let (log, store) = (Arc::new(Trimmed::default()), Arc::new(Endless::default()));
    let other = Plan::new(Stream { name: "other".to_owned(), ..plan().stream.clone() }, &[]);
    let upkeep = Upkeep {
        plans: vec![plan(), Arc::new(other)],
        log: log.clone(),
        store: store.clone(),
        clock: Arc::new(Fixed),
        manifest: ground.store.clone(),
        metrics: Arc::new(Metrics::default()),
        archived: Vec::new(),
    };
    let stop = CancellationToken::new();
    let at_work = tokio::spawn(upkeep.run(stop.clone()));
    until(PATIENCE, "the first stream has its turn", async || store.steps("s").len() > 10).await;
    let trims = log.0.load(Ordering::Relaxed);
    until(PATIENCE, "the log is trimmed meanwhile", async || log.0.load(Ordering::Relaxed) > trims + 3).await;
    until(PATIENCE, "the second has its turn", async || !store.steps("other").is_empty()).await;
    let quick = store.steps("s");
    assert_eq!(quick[..2], [1_000, 2_000], "quick steps grow");
    let largest = quick.iter().copied().max().unwrap_or(0);
    assert_eq!(largest, 16_000, "up to a limit");
    *store.step.lock().expect("no test panics while it holds the lock") = Duration::from_millis(80);
    until(PATIENCE, "slow steps shrink", async || store.steps("other").last() == Some(&1_000)).await;
    stop.cancel();
    at_work.await.expect("it ends");
}
