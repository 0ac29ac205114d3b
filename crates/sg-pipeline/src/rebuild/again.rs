//! One partition that is read and folded again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sg_core::batch::LogBatch;
use sg_core::fold::{Fold, Stretch, Wanted};
use sg_core::plan::Plan;
use sg_core::ports::{ErrorKind, EventLog, LogReader, PortError, Rewriter};
use sg_core::rebuild::Said;

/// Bytes taken from the log at once.
const READ_BYTES_MAX: usize = 1 << 20;
/// How long a log may take to show records that the store has counted.
const READ_WAIT: Duration = Duration::from_secs(30);
/// Records between two looks at what became of them.
const KNOWN_AT_ONCE: u64 = 200_000;

/// One partition that is read and folded again.
pub(crate) struct Again {
    pub(crate) partition: u32,
    pub(crate) start: u64,
    pub(crate) fold: Fold,
    stream: String,
    reader: Box<dyn LogReader>,
    /// A batch of which the rest is still to be folded.
    rest: Vec<LogBatch>,
    /// The offset up to which the fold knows what became of records.
    known_to: u64,
    /// Records that are folded as if they had been deleted.
    doomed: BTreeSet<u64>,
}

impl Again {
    pub(crate) async fn open(
        log: &Arc<dyn EventLog>,
        plan: Arc<Plan>,
        place: (u32, u32),
        stretch: Stretch,
        seed: u64,
    ) -> Result<Again, PortError> {
        let stream = plan.name.to_string();
        let reader = log.open(&stream, place.0, stretch.start).await?;
        Ok(Again {
            partition: place.0,
            start: stretch.start,
            fold: Fold::again(plan, place, stretch, seed),
            stream,
            reader,
            rest: Vec::new(),
            known_to: stretch.start,
            doomed: BTreeSet::new(),
        })
    }

    /// Folds these records as if they had been deleted.
    pub(crate) fn without(self, doomed: BTreeSet<u64>) -> Again {
        Again { doomed, ..self }
    }

    /// Makes only these cells.
    pub(crate) fn only(self, wanted: Wanted) -> Again {
        Again { fold: self.fold.only(wanted), ..self }
    }

    /// Says how far the partition is on its way to an offset.
    pub(crate) fn said(&self, end: u64) -> Said {
        Said::Read { partition: self.partition, offset: self.fold.next_offset(), end }
    }

    /// Returns how many cells were made.
    pub(crate) fn cells(&self) -> usize {
        self.fold.made(0).0.cells.len()
    }

    /// Folds some more records before an offset; returns whether all are folded. Stops early when there is enough.
    pub(crate) async fn advance(
        &mut self,
        rewriter: &dyn Rewriter,
        end: u64,
        enough: &(dyn Fn(&Fold) -> bool + Sync),
    ) -> Result<bool, PortError> {
        if self.fold.next_offset() >= end {
            return Ok(true);
        }
        if self.known_to <= self.fold.next_offset() {
            let to = end.min(self.known_to + KNOWN_AT_ONCE);
            let mut fates = rewriter.fates(&self.stream, self.partition, (self.known_to, to)).await?;
            fates.deleted.extend(&self.doomed);
            self.fold.know(fates);
            self.known_to = to;
        }
        let until = self.known_to.min(end);
        while self.fold.next_offset() < until && !enough(&self.fold) {
            if self.rest.is_empty() {
                self.rest = self.reader.next(READ_BYTES_MAX, READ_WAIT).await?;
                if self.rest.is_empty() && self.reader.passed() < until {
                    let (stream, partition, at) = (&self.stream, self.partition, self.fold.next_offset());
                    let doing = format!(
                        "reading partition {partition} of {stream} from offset {at} on: records that were counted do not \
                         come"
                    );
                    return Err(PortError::new(ErrorKind::Retry, doing));
                }
            }
            for batch in &self.rest {
                self.fold.batch(batch, until);
            }
            let at = self.fold.next_offset();
            self.rest.retain(|batch| batch.next_offset() > at);
            if self.rest.is_empty() {
                self.fold.pass_to(self.reader.passed().min(until));
            }
            // Others of this thread want to work too.
            tokio::task::yield_now().await;
        }
        Ok(self.fold.next_offset() >= end)
    }
}
