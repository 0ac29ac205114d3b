//! One partition that is read and folded again: once, for however many rollups.

use std::collections::BTreeSet;
use std::sync::Arc;

use sg_core::batch::LogBatch;
use sg_core::flush::{Ledger, RawRows};
use sg_core::fold::{Beginning, Fold, Stretch, Wanted};
use sg_core::plan::Plan;
use sg_core::ports::{ErrorKind, PortError, Rewriter};
use sg_core::rebuild::Said;
use sg_core::time::Timestamp;

use super::records::{Records, Sources};

/// Records between two looks at what became of them.
const KNOWN_AT_ONCE: u64 = 200_000;

/// One partition that is read and folded again.
pub(crate) struct Again {
    pub(crate) partition: u32,
    pub(crate) beginning: Beginning,
    /// One for each plan; all have folded the same records.
    folds: Vec<Fold>,
    stream: String,
    records: Records,
    /// A batch of which the rest is still to be folded.
    rest: Vec<LogBatch>,
    /// The duplicate window before a mark; `None` once it is filled.
    window: Option<Window>,
    /// The offset up to which the fold knows what became of records.
    known_to: u64,
    /// Records that are folded as if they had been deleted.
    doomed: BTreeSet<u64>,
}

/// The duplicate window before a mark while it is read.
struct Window {
    /// The records before this were shown.
    seen: u64,
    end: u64,
    /// R so far, and what it must not pass: later records were never folded by this store.
    r: Timestamp,
    r_max: Timestamp,
    /// Dead letters among the records.
    dead: Option<Vec<u64>>,
}

impl Again {
    /// Opens a partition; `plans` are the one that records of others are read by, and those of single rollups, at least one.
    pub(crate) async fn open(
        sources: &Sources,
        plans: (&Arc<Plan>, &[Arc<Plan>]),
        place: (u32, u32),
        stretch: Stretch,
        seed: u64,
    ) -> Result<Again, PortError> {
        let beginning = stretch.beginning;
        let start = beginning.reads_from();
        let again = |plan: &Arc<Plan>| Fold::again(plan.clone(), place, stretch, seed);
        let folds: Vec<Fold> = plans.1.iter().map(again).collect();
        let window = match beginning {
            Beginning::Mark(mark) if start < mark.offset => {
                let (r, r_max) = (mark.dedup_from.1, mark.clock.r);
                Some(Window { seen: start, end: mark.offset, r, r_max, dead: None })
            }
            _ => None,
        };
        Ok(Again {
            partition: place.0,
            beginning,
            known_to: folds[0].next_offset(),
            folds,
            stream: plans.0.name.to_string(),
            records: Records::open(sources, plans.0, place.0, start).await?,
            rest: Vec::new(),
            window,
            doomed: BTreeSet::new(),
        })
    }

    /// Folds these records as if they had been deleted.
    pub(crate) fn without(self, doomed: BTreeSet<u64>) -> Again {
        Again { doomed, ..self }
    }

    /// Makes only these cells of each rollup.
    pub(crate) fn only(self, wanted: impl IntoIterator<Item = Wanted>) -> Again {
        let folds = self.folds.into_iter().zip(wanted).map(|(fold, wanted)| fold.only(wanted));
        Again { folds: folds.collect(), ..self }
    }

    /// Returns what was folded for the first of the rollups.
    pub(crate) fn fold(&self) -> &Fold {
        &self.folds[0]
    }

    /// Returns what was folded for each of the rollups.
    pub(crate) fn folds(&self) -> &[Fold] {
        &self.folds
    }

    /// Takes the counted events that were folded since the last call, as the first plan reads them.
    pub(crate) fn take_raw(&mut self) -> Vec<RawRows> {
        self.folds[0].take_raw()
    }

    /// Returns the offset of the first record that was folded before, where that is where this began.
    pub(crate) fn first_offset(&self) -> u64 {
        self.beginning.reads_from()
    }

    /// Returns what had become of the records before the first that is folded; `None` where that is not known.
    pub(crate) fn ledger_before(&self) -> Option<Ledger> {
        match self.beginning {
            Beginning::First(_) => Some(Ledger::default()),
            Beginning::Mark(mark) => Some(mark.ledger),
            Beginning::Unknown(_) => None,
        }
    }

    /// Says how far the partition is on its way to an offset.
    pub(crate) fn said(&self, end: u64) -> Said {
        let offset = self.window.as_ref().map_or(self.fold().next_offset(), |window| window.seen);
        Said::Read { partition: self.partition, offset, end }
    }

    /// Returns how many cells were made.
    pub(crate) fn cells(&self) -> usize {
        self.folds.iter().map(|fold| fold.made(0).0.cells.len()).sum()
    }

    /// Returns about how many bytes they take.
    pub(crate) fn memory(&self) -> usize {
        self.folds.iter().map(|fold| fold.made(0).0.cells.memory()).sum()
    }

    /// Folds some more records before an offset; returns whether all are folded. Stops early when there is enough.
    pub(crate) async fn advance(
        &mut self,
        rewriter: &dyn Rewriter,
        end: u64,
        enough: &(dyn Fn(&[Fold]) -> bool + Sync),
    ) -> Result<bool, PortError> {
        if self.window.is_some() {
            self.fill_window(rewriter).await?;
            return Ok(false);
        }
        if self.fold().next_offset() >= end {
            return Ok(true);
        }
        if self.known_to <= self.fold().next_offset() {
            let to = end.min(self.known_to + KNOWN_AT_ONCE);
            let mut fates = rewriter.fates(&self.stream, self.partition, (self.known_to, to)).await?;
            fates.deleted.extend(&self.doomed);
            self.folds.iter_mut().for_each(|fold| fold.know(fates.clone()));
            self.known_to = to;
        }
        let until = self.known_to.min(end);
        while self.fold().next_offset() < until && !enough(&self.folds) {
            self.read_more(until).await?;
            for fold in &mut self.folds {
                self.rest.iter().for_each(|batch| fold.batch(batch, until));
            }
            let at = self.fold().next_offset();
            self.rest.retain(|batch| batch.next_offset() > at);
            if self.rest.is_empty() {
                let passed = self.records.passed().min(until);
                self.folds.iter_mut().for_each(|fold| fold.pass_to(passed));
            }
            // Others of this thread want to work too.
            tokio::task::yield_now().await;
        }
        Ok(self.fold().next_offset() >= end)
    }

    /// Shows the folds some more of the duplicate window before its mark.
    async fn fill_window(&mut self, rewriter: &dyn Rewriter) -> Result<(), PortError> {
        let Some(mut window) = self.window.take() else { return Ok(()) };
        let dead = match window.dead.take() {
            Some(dead) => dead,
            None => {
                let range = (window.seen, window.end);
                let fates = rewriter.fates(&self.stream, self.partition, range).await?;
                fates.dead.into_keys().collect()
            }
        };
        let until = window.end.min(window.seen + KNOWN_AT_ONCE);
        while window.seen < until {
            self.read_more(until).await?;
            for batch in &self.rest {
                let r_before = window.r;
                for fold in &mut self.folds {
                    window.r = fold.remember(batch, &dead, r_before);
                }
            }
            window.seen = self.records.passed();
            // One that reaches beyond the mark is folded from there on.
            self.rest.retain(|batch| batch.next_offset() > window.end);
            tokio::task::yield_now().await;
        }
        if window.r > window.r_max {
            let (stream, partition, end) = (&self.stream, self.partition, window.end);
            let doing = format!(
                "reading partition {partition} of {stream} up to the mark at offset {end}: these are not the records that \
                 were folded before it"
            );
            return Err(PortError::new(ErrorKind::Corrupt, doing));
        }
        if window.seen < window.end {
            self.window = Some(Window { dead: Some(dead), ..window });
        }
        Ok(())
    }

    /// Reads the next batches when all of the last are used up.
    async fn read_more(&mut self, until: u64) -> Result<(), PortError> {
        if !self.rest.is_empty() {
            return Ok(());
        }
        let before = self.records.passed();
        self.rest = self.records.next().await?;
        for offsets in self.records.lost() {
            self.folds.iter_mut().for_each(|fold| fold.lose(offsets.clone()));
        }
        let passed = self.records.passed();
        if self.rest.is_empty() && passed == before && passed < until {
            let (stream, partition) = (&self.stream, self.partition);
            let doing = format!(
                "reading partition {partition} of {stream} from offset {passed} on: records that were counted do not come"
            );
            return Err(PortError::new(ErrorKind::Retry, doing));
        }
        Ok(())
    }
}
