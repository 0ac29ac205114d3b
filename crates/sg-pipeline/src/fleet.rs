//! The way from the log to the store as the doors see it: what waits, and waiting for it. What this process owns it
//! knows at first hand; the rest it reads from the store, whose owners are other processes.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use sg_core::ports::{
    ErrorKind, EventLog, FlushReport, Owned, Pending, Pipeline, PortError, RollupReader, StatusDetail,
};

use crate::owner::Progress;

/// Records that the fold may be behind before senders are held back: some hundredths of a second of work.
const PACE_RECORDS: u64 = 30_000;
/// How long they are held back at once, and how often at most.
const PACE_STEP: Duration = Duration::from_millis(2);
const PACE_STEPS: u32 = 50;
/// How long a look at everything waits for the log: who watches must not wait for it.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// How often the store is asked about partitions that others own.
const ASK_INTERVAL: Duration = Duration::from_millis(100);

/// The owners' progress, behind the [`Pipeline`] port.
pub struct Fleet {
    streams: Vec<String>,
    log: Arc<dyn EventLog>,
    store: Arc<dyn RollupReader>,
    /// Whether senders are held back while an owner is behind.
    is_paced: bool,
    owners: RwLock<Vec<Arc<Progress>>>,
}

impl Fleet {
    /// Makes the view of a process that owns nothing yet. `is_paced` suits a log that serves its newest records from
    /// this process's memory.
    pub fn new(
        streams: Vec<String>,
        log: Arc<dyn EventLog>,
        store: Arc<dyn RollupReader>,
        is_paced: bool,
    ) -> Fleet {
        Fleet { streams, log, store, is_paced, owners: RwLock::default() }
    }

    /// Adds an owner.
    pub(crate) fn enlist(&self, owner: Arc<Progress>) {
        self.owners.write().unwrap_or_else(PoisonError::into_inner).push(owner);
    }

    /// Removes an owner.
    pub(crate) fn dismiss(&self, owner: &Arc<Progress>) {
        self.owners
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|known| !Arc::ptr_eq(known, owner));
    }

    /// Returns the owners of this process.
    pub(crate) fn owners(&self) -> Vec<Arc<Progress>> {
        self.owners.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn owner(&self, stream: &str, partition: u32) -> Option<Arc<Progress>> {
        let owners = self.owners.read().unwrap_or_else(PoisonError::into_inner);
        // The newest: one that was given up may still be there.
        owners.iter().rev().find(|owner| owner.partition == partition && owner.stream == stream).cloned()
    }

    /// Waits until a partition of this process is flushed up to an offset.
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

    /// Waits until the store has a partition's records before an offset, whoever owns it.
    async fn reach_anywhere(&self, stream: &str, partition: u32, offset: u64) -> Result<(), PortError> {
        loop {
            if let Some(owner) = self.owner(stream, partition) {
                let reached = self.reach(&owner, offset).await;
                let is_still_here =
                    self.owner(stream, partition).is_some_and(|now| Arc::ptr_eq(&now, &owner));
                // A partition that changed hands meanwhile is asked about anew.
                if reached.is_ok() || is_still_here {
                    return reached;
                }
            }
            if self.stored_offsets().await?.reached(stream, partition, offset) {
                return Ok(());
            }
            tokio::time::sleep(ASK_INTERVAL).await;
        }
    }

    async fn stored_offsets(&self) -> Result<Offsets, PortError> {
        let status = self.store.status(StatusDetail::Marks).await?;
        let offset_of = |partition: sg_core::ports::PartitionStatus| {
            ((partition.stream, partition.partition), partition.next_offset)
        };
        Ok(Offsets(status.partitions.into_iter().map(offset_of).collect()))
    }

    /// Returns every partition of every stream.
    async fn partitions(&self) -> Result<Vec<(&str, u32)>, PortError> {
        let mut all = Vec::new();
        for stream in &self.streams {
            let count = self.log.partitions(stream).await?;
            all.extend((0..count).map(|partition| (stream.as_str(), partition)));
        }
        Ok(all)
    }
}

/// The stored next offset of every partition that was ever claimed.
struct Offsets(HashMap<(String, u32), u64>);

impl Offsets {
    fn of(&self, stream: &str, partition: u32) -> u64 {
        self.0.get(&(stream.to_owned(), partition)).copied().unwrap_or(0)
    }

    fn reached(&self, stream: &str, partition: u32, offset: u64) -> bool {
        self.of(stream, partition) >= offset
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
        let written = |owner: &Progress| {
            (owner.written.0.load(Ordering::Relaxed), owner.written.1.load(Ordering::Relaxed))
        };
        let mut report = FlushReport::default();
        let mut wanted = Vec::new();
        for (stream, partition) in self.partitions().await? {
            let end = self.log.extent(stream, partition).await?.end;
            let owner = self.owner(stream, partition).map(|owner| (written(&owner), owner));
            wanted.push((stream, partition, end, owner));
        }
        let is_all_owned = wanted.iter().all(|(.., owner)| owner.is_some());
        let stored = if is_all_owned { None } else { Some(self.stored_offsets().await?) };
        for (stream, partition, end, owner) in wanted {
            if end > 0 {
                self.reach_anywhere(stream, partition, end).await?;
            }
            let is_known =
                |now: &Arc<Progress>| owner.as_ref().is_some_and(|(_, then)| Arc::ptr_eq(then, now));
            let came = self.owner(stream, partition).filter(|now| !is_known(now));
            // Whoever came during the call wrote all of its work since.
            let mine = owner.into_iter().chain(came.map(|owner| ((0, 0), owner)));
            let mine: Vec<_> = mine.map(|(before, owner)| (before, written(&owner))).collect();
            for (before, after) in &mine {
                report.flushed_events += after.0 - before.0;
                report.flushed_windows += after.1 - before.1;
            }
            if let Some(stored) = stored.as_ref().filter(|_| mine.is_empty()) {
                report.flushed_events += end.saturating_sub(stored.of(stream, partition));
            }
        }
        Ok(report)
    }

    async fn wait_for(&self, stream: &str, partition: u32, offset: u64) -> Result<(), PortError> {
        self.reach_anywhere(stream, partition, offset).await
    }

    async fn pace(&self, stream: &str, partition: u32, offset: u64) {
        if !self.is_paced {
            return;
        }
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
        let partitions = tokio::time::timeout(ANSWER_MAX, self.partitions()).await;
        let partitions = partitions.unwrap_or_else(|_| {
            Err(PortError::new(ErrorKind::Retry, "counting partitions: the log does not answer in time"))
        })?;
        let extents = partitions.iter().map(|(stream, partition)| async {
            tokio::time::timeout(ANSWER_MAX, self.log.extent(stream, *partition)).await.ok()
        });
        let mut pending = Vec::new();
        for ((stream, partition), extent) in partitions.iter().zip(join_all(extents).await) {
            let extent = match extent {
                Some(Ok(extent)) => Some(extent),
                Some(Err(error)) if error.kind == ErrorKind::Invalid => return Err(error),
                Some(Err(_)) | None => None,
            };
            let owned = self.owner(stream, *partition).map(|owner| {
                let (folded, flushed) = (owner.folded.load(Ordering::Relaxed), *owner.flushed.borrow());
                Owned {
                    // The largest number stands for an owner that has not begun.
                    folded: if folded == u64::MAX { flushed } else { folded },
                    flushed,
                    judge_bytes: owner.judge_bytes.load(Ordering::Relaxed),
                    flushed_at: owner.flushed_at.get(),
                    flush_due: owner.flush_due.get(),
                    stopped: owner.stopped.borrow().clone(),
                }
            });
            pending.push(Pending { stream: (*stream).to_owned(), partition: *partition, extent, owned });
        }
        Ok(pending)
    }
}
