//! How an owner begins: claims the partition, makes sure that log and store belong together, and reads the duplicate
//! window again. Counts nothing.

use sg_core::flush::Checkpoint;
use sg_core::fold::Fold;
use sg_core::ports::{Claim, ErrorKind, Extent, LogReader, PortError};
use tokio::time::Instant;

use super::{Owner, Partition, READ_BYTES_MAX, REFRESH_INTERVAL, Settings, Stop, Stopped, retrying};

impl Owner {
    pub(super) async fn claim(&self, stop: &Stop) -> Result<Checkpoint, Stopped> {
        let Settings { log, store, name, .. } = &self.settings;
        let plan = &self.partition.plan;
        let identity = retrying(stop, "asking the log who it is", || log.identity(&plan.name)).await?;
        let extent = self.extent(stop).await?;
        let claim = Claim {
            plan: plan.clone(),
            partition: self.partition.number,
            owner: name.clone(),
            log_identity: identity,
            start: extent.start,
        };
        let checkpoint = retrying(stop, "claiming a partition", || store.claim(&claim)).await?;
        self.check_inside_log(&checkpoint, stop).await?;
        Ok(checkpoint)
    }

    pub(super) async fn extent(&self, stop: &Stop) -> Result<Extent, Stopped> {
        let (name, log) = (&self.partition.plan.name, &self.settings.log);
        retrying(stop, "reading how far the log goes", || log.extent(name, self.partition.number)).await
    }

    pub(super) async fn read_checkpoint(&self, old: &Checkpoint, stop: &Stop) -> Result<Checkpoint, Stopped> {
        let Partition { plan, number, .. } = &self.partition;
        let store = &self.settings.store;
        let checkpoint =
            retrying(stop, "reading a checkpoint", || store.checkpoint(&plan.name, *number)).await?;
        if checkpoint.epoch != old.epoch {
            return Err(self.fenced());
        }
        self.check_inside_log(&checkpoint, stop).await?;
        Ok(checkpoint)
    }

    /// A checkpoint outside the log means that one of the two is not what it was: going on would lose events silently.
    pub(super) async fn check_inside_log(&self, checkpoint: &Checkpoint, stop: &Stop) -> Result<(), Stopped> {
        let extent = self.extent(stop).await?;
        let at = checkpoint.next_offset;
        if (extent.start..=extent.end).contains(&at) {
            return Ok(());
        }
        Err(self.corrupt(format!("at offset {at}: the log holds {} to {} only", extent.start, extent.end)))
    }

    pub(super) fn corrupt(&self, what: String) -> Stopped {
        let Partition { plan, number, .. } = &self.partition;
        let doing = format!(
            "resuming partition {number} of {} {what}; bring back the log that belongs to this store, or begin with an empty store",
            plan.name
        );
        Stopped::Port(PortError::new(ErrorKind::Corrupt, doing))
    }

    /// Returns a failure to read the duplicate window, as one that passes when the log has removed its beginning
    /// meanwhile: what is removed is judged no more, and the window begins later.
    async fn unless_removed(&self, from: u64, error: PortError, stop: &Stop) -> Result<Stopped, Stopped> {
        let is_removed = error.kind == ErrorKind::Corrupt && self.extent(stop).await?.start > from;
        let kind = if is_removed { ErrorKind::Retry } else { error.kind };
        Ok(Stopped::Port(PortError { kind, ..error }))
    }

    /// Shows the fold's judge the duplicate window again; returns a reader at the checkpoint.
    pub(super) async fn remember(
        &self,
        checkpoint: &Checkpoint,
        fold: &mut Fold,
        stop: &Stop,
    ) -> Result<Box<dyn LogReader>, Stopped> {
        let (plan, number, log) = (&self.partition.plan, self.partition.number, &self.settings.log);
        let (dedup_from, mut r) = checkpoint.dedup_from;
        let from = dedup_from.max(self.extent(stop).await?.start);
        let began = Instant::now();
        if from < checkpoint.next_offset {
            let mut reader = log.open(&plan.name, number, from).await?;
            while reader.passed() < checkpoint.next_offset {
                let batches = tokio::select! {
                    () = stop.asked() => return Err(Stopped::Asked),
                    batches = reader.next(READ_BYTES_MAX, REFRESH_INTERVAL) => batches,
                };
                let batches = match batches {
                    Ok(batches) => batches,
                    Err(error) => return Err(self.unless_removed(from, error, stop).await?),
                };
                for batch in &batches {
                    r = fold.remember(batch, &checkpoint.dead_offsets, r);
                }
            }
            // R is the latest time of all records before the checkpoint: what is later was never folded by this store.
            if r > checkpoint.clock.r {
                let at = checkpoint.next_offset;
                return Err(self.corrupt(format!("at offset {at}: the log holds other records before it")));
            }
            let (stream, records) = (&plan.name, checkpoint.next_offset - from);
            tracing::info!(%stream, partition = number, records, took_ms = began.elapsed().as_millis() as u64, "duplicate window read again");
        }
        Ok(log.open(&plan.name, number, checkpoint.next_offset).await?)
    }
}
