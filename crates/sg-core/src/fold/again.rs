//! Folding records again that were folded before: what became of each is known, or follows from the records as it did the
//! first time. Only the cells are new. Gives no record another fate.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::batch::LogBatch;
use crate::flush::{Checkpoint, Ledger, PartitionClock, RollupDelta};
use crate::judge::{Fingerprint, Verdict};
use crate::plan::Plan;
use crate::reason::Code;
use crate::time::Timestamp;

use super::alone::Wanted;
use super::{Fold, Record, is_readable};

/// What became of a partition's records beyond what follows from the records alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fates {
    /// Dead letters, with their reasons.
    pub dead: BTreeMap<u64, Code>,
    /// Of the records that stand for dead letters, those that are counted for them.
    pub counted_replays: BTreeSet<u64>,
    /// Events deleted by hand.
    pub deleted: BTreeSet<u64>,
}

/// What is to be folded again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// The first record that is read.
    pub start: u64,
    /// Whether no record was folded before it: else records count only from where the duplicate window is known.
    pub is_whole: bool,
    /// Windows that start from here …
    pub from: Timestamp,
    /// … to before here are made again.
    pub to: Timestamp,
    /// Windows that end no later have been removed.
    pub removed_before: Timestamp,
}

/// What became of the records in the rollup that is made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Events in the late lane.
    pub diverted: u64,
    /// Events whose window has been removed.
    pub expired: u64,
    /// Events that were counted and do not fit the rollup.
    pub unfit: u64,
    /// Events deleted by hand.
    pub deleted: u64,
}

/// What a fold that folds again knows.
#[derive(Debug)]
pub(super) struct Again {
    fates: Fates,
    stretch: Stretch,
    pub(super) tally: Tally,
    /// The only cells that are made; all where there is none.
    pub(super) wanted: Option<Wanted>,
}

impl Again {
    /// Returns whether a cell is to be made.
    pub(super) fn wants(&self, pane: Timestamp, key: &[u8]) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted.has(pane, key))
    }

    /// Returns whether an event of a window has no place in the cells that are made; counts the ones that are gone.
    pub(super) fn passes_over(&mut self, start: Timestamp, end: Timestamp) -> bool {
        if end <= self.stretch.removed_before {
            self.tally.expired += 1;
            return true;
        }
        start < self.stretch.from || start >= self.stretch.to
    }
}

impl Fold {
    /// Makes a fold that folds records of a partition again, for the rollups of its plan.
    pub fn again(plan: Arc<Plan>, (partition, partitions): (u32, u32), stretch: Stretch, seed: u64) -> Fold {
        let checkpoint = Checkpoint {
            epoch: 0,
            next_offset: stretch.start,
            first_offset: stretch.start,
            clock: PartitionClock::NEVER,
            dedup_from: (stretch.start, Timestamp::NEVER),
            dead_offsets: Vec::new(),
        };
        let mut fold = Fold::resume(plan, (partition, partitions), &checkpoint, seed);
        let again = Again { fates: Fates::default(), stretch, tally: Tally::default(), wanted: None };
        fold.again = Some(Box::new(again));
        fold
    }

    /// Tells a fold that folds again what became of the records that follow.
    pub fn know(&mut self, fates: Fates) {
        if let Some(again) = &mut self.again {
            again.fates = fates;
        }
    }

    /// Returns what was folded so far for a rollup of the plan, what became of the records, and of the events in it.
    pub fn made(&self, rollup: usize) -> (&RollupDelta, Ledger, Tally) {
        let tally = self.again.as_ref().map_or_else(Tally::default, |again| again.tally);
        (&self.rollups[rollup], self.ledger, tally)
    }

    /// Reads a batch's fields by this plan alone: who read it from the log may have known another.
    pub(super) fn read_again(&self, batch: &LogBatch) -> Arc<crate::batch::EventBatch> {
        let mut copy = crate::batch::EventBatch::clone(&batch.events);
        copy.fields = None;
        copy.refused.clear();
        self.plan.read_back(&mut copy);
        Arc::new(copy)
    }

    /// Gives a record the fate that it had; returns whether it is counted.
    pub(super) fn record_again(
        &mut self,
        record: &Record<'_>,
        arrived: Timestamp,
        fingerprint: Fingerprint,
    ) -> Option<bool> {
        let again = self.again.as_ref()?;
        let (offset, entry) = (record.offset, &record.batch.entries[record.index]);
        let dead = again.fates.dead.get(&offset).copied();
        if dead.is_none_or(|code| code != Code::FutureTimestamp && is_readable(code)) {
            self.clock.m = self.clock.m.max(record.event_time.min(arrived));
        }
        if dead.is_some() {
            self.ledger.dead_lettered += 1;
            return Some(false);
        }
        let is_other =
            record.batch.replay_of(record.index).is_some() && !again.fates.counted_replays.contains(&offset);
        let is_deleted = again.fates.deleted.contains(&offset);
        let is_known = again.stretch.is_whole || self.judge.from().0 > again.stretch.start;
        let verdict = self.judge.judge(fingerprint, entry.content, offset);
        if !is_known {
            return Some(false);
        }
        if verdict != Verdict::New || is_other {
            self.ledger.duplicate += 1;
            return Some(false);
        }
        let is_unfit = record.batch.refusal(record.index).is_some();
        let tally = &mut self.again.as_mut()?.tally;
        if is_deleted {
            self.ledger.deleted += 1;
            tally.deleted += 1;
        } else {
            self.ledger.counted += 1;
            tally.unfit += u64::from(is_unfit);
        }
        for at in 0..self.rollups.len() {
            if is_deleted || is_unfit {
                self.rollups[at].folded += 1;
            } else {
                self.feed(at, record);
            }
        }
        Some(!is_deleted)
    }
}
