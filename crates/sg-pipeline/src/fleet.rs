//! All owners of the process, as the doors see them: what waits, and waiting for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use sg_core::ports::{ErrorKind, EventLog, FlushReport, Pending, Pipeline, PortError};

use crate::owner::Progress;

/// Records that the fold may be behind before senders are held back: some hundredths of a second of work.
const PACE_RECORDS: u64 = 30_000;
/// How long they are held back at once, and how often at most.
const PACE_STEP: Duration = Duration::from_millis(2);
const PACE_STEPS: u32 = 50;

/// The owners' progress, behind the [`Pipeline`] port.
pub struct Fleet {
    log: Arc<dyn EventLog>,
    owners: Vec<Arc<Progress>>,
}

impl Fleet {
    /// Makes the view of these owners.
    pub fn new(log: Arc<dyn EventLog>, owners: Vec<Arc<Progress>>) -> Fleet {
        Fleet { log, owners }
    }

    fn owner(&self, stream: &str, partition: u32) -> Option<&Arc<Progress>> {
        self.owners.iter().find(|owner| owner.partition == partition && owner.stream == stream)
    }

    async fn reach(&self, owner: &Progress, offset: u64) -> Result<(), PortError> {
        let mut flushed = owner.flushed.subscribe();
        let mut stopped = owner.stopped.subscribe();
        owner.wanted.fetch_max(offset, Ordering::Relaxed);
        owner.flush_now.notify_one();
        tokio::select! {
            _ = flushed.wait_for(|flushed| *flushed >= offset) => Ok(()),
            _ = stopped.wait_for(Option::is_some) => {
                let reached = *owner.flushed.borrow() >= offset;
                if reached { Ok(()) } else { Err(stands_still(owner)) }
            }
        }
    }
}

fn stands_still(owner: &Progress) -> PortError {
    let why = owner.stopped.borrow().clone().unwrap_or_default();
    PortError::new(
        ErrorKind::Retry,
        format!("waiting for partition {} of {}, which stopped: {why}", owner.partition, owner.stream),
    )
}

#[async_trait]
impl Pipeline for Fleet {
    async fn flush_now(&self) -> Result<FlushReport, PortError> {
        let mut report = FlushReport::default();
        for owner in &self.owners {
            let before = (owner.written.0.load(Ordering::Relaxed), owner.written.1.load(Ordering::Relaxed));
            let end = self.log.extent(&owner.stream, owner.partition).await?.end;
            self.reach(owner, end).await?;
            report.flushed_events += owner.written.0.load(Ordering::Relaxed) - before.0;
            report.flushed_windows += owner.written.1.load(Ordering::Relaxed) - before.1;
        }
        Ok(report)
    }

    async fn wait_for(&self, stream: &str, partition: u32, offset: u64) -> Result<(), PortError> {
        match self.owner(stream, partition) {
            Some(owner) => self.reach(owner, offset).await,
            None => Err(PortError::new(
                ErrorKind::Invalid,
                format!("waiting for partition {partition} of {stream}, which this process does not own"),
            )),
        }
    }

    async fn pace(&self, stream: &str, partition: u32, offset: u64) {
        let Some(owner) = self.owner(stream, partition) else { return };
        for _ in 0..PACE_STEPS {
            let is_near = offset.saturating_sub(owner.folded.load(Ordering::Relaxed)) <= PACE_RECORDS;
            if is_near || owner.stopped.borrow().is_some() {
                return;
            }
            tokio::time::sleep(PACE_STEP).await;
        }
    }

    async fn pending(&self) -> Result<Vec<Pending>, PortError> {
        let mut pending = Vec::with_capacity(self.owners.len());
        for owner in &self.owners {
            let extent = self.log.extent(&owner.stream, owner.partition).await?;
            pending.push(Pending {
                stream: owner.stream.clone(),
                partition: owner.partition,
                log_end: extent.end,
                log_start: extent.start,
                folded: owner.folded.load(Ordering::Relaxed).min(extent.end),
                flushed: *owner.flushed.borrow(),
                judge_bytes: owner.judge_bytes.load(Ordering::Relaxed),
                stopped: owner.stopped.borrow().clone(),
            });
        }
        Ok(pending)
    }
}
