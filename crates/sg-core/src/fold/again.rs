//! Folding records again that were folded before: what became of each is known, or follows from the records as it did the
//! first time. Only the cells are new. Gives no record another fate.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::batch::LogBatch;
use crate::cell::{CellDelta, Cells, Value};
use crate::flush::{Checkpoint, Ledger, LevelBases, PartitionClock, RollupDelta};
use crate::judge::{Fingerprint, Verdict};
use crate::plan::Plan;
use crate::ports::Mark;
use crate::reason::Code;
use crate::time::Timestamp;
use crate::window;

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

/// Where folding again begins, and what is known there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// At the first record that was ever folded.
    First(u64),
    /// At a mark: records from the beginning of its duplicate window on are shown first, and fill that window alone.
    Mark(Mark),
    /// At the first record that is held, of which nothing is known: records count only from where the duplicate window is.
    Unknown(u64),
}

impl Beginning {
    /// Returns the first record that is read.
    pub fn reads_from(&self) -> u64 {
        match self {
            Beginning::First(offset) | Beginning::Unknown(offset) => *offset,
            Beginning::Mark(mark) => mark.dedup_from.0.min(mark.offset),
        }
    }

    /// Returns whether every record from it on gets the fate and the lateness that it had.
    pub fn is_known(&self) -> bool {
        !matches!(self, Beginning::Unknown(_))
    }

    /// Returns where the windows begin of which no event can lie before; `None` while that is not known.
    fn complete_from(&self, max_future: Duration) -> Option<Timestamp> {
        match self {
            Beginning::First(_) => Some(Timestamp::NEVER),
            Beginning::Mark(mark) => Some(complete_after(mark.clock.m, max_future)),
            Beginning::Unknown(_) => None,
        }
    }
}

/// Returns where the windows begin that no event before a place falls into, by the clock M there: an event lies no
/// further ahead of its arrival than is allowed, and M behind neither its time nor its arrival, whichever is earlier.
pub fn complete_after(m: Timestamp, max_future: Duration) -> Timestamp {
    if m == Timestamp::NEVER { m } else { Timestamp(m.plus(max_future).0.saturating_add(1)) }
}

/// What is to be folded again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Where it begins.
    pub beginning: Beginning,
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

/// Where an event goes in a rollup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Into its cell.
    Cell,
    /// Its window has been removed: it moves levels from before all cells.
    Base,
    /// Its cell is not made.
    Nowhere,
}

/// What a fold that folds again knows.
#[derive(Debug)]
pub(super) struct Again {
    fates: Fates,
    stretch: Stretch,
    /// Where the windows begin of which every record is folded again; `None` while that is not known.
    complete_from: Option<Timestamp>,
    pub(super) tally: Tally,
    /// How far events whose windows have been removed moved the levels, by dimensions.
    pub(super) bases: Cells,
    /// The only cells that are made; all where there is none.
    pub(super) wanted: Option<Wanted>,
}

impl Again {
    /// Returns whether a cell is to be made.
    pub(super) fn wants(&self, pane: Timestamp, key: &[u8]) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted.has(pane, key))
    }

    /// Returns where an event of a window goes; counts the ones that are gone.
    pub(super) fn place(&mut self, start: Timestamp, end: Timestamp) -> Place {
        if end <= self.stretch.removed_before {
            self.tally.expired += 1;
            return Place::Base;
        }
        let is_complete = self.complete_from.is_some_and(|from| start >= from);
        if is_complete && start >= self.stretch.from && start < self.stretch.to {
            Place::Cell
        } else {
            Place::Nowhere
        }
    }
}

impl Fold {
    /// Makes a fold that folds records of a partition again, for the rollups of its plan.
    pub fn again(plan: Arc<Plan>, (partition, partitions): (u32, u32), stretch: Stretch, seed: u64) -> Fold {
        let (next_offset, clock, dedup_from) = match stretch.beginning {
            Beginning::First(offset) | Beginning::Unknown(offset) => {
                (offset, PartitionClock::NEVER, (offset, Timestamp::NEVER))
            }
            Beginning::Mark(mark) => (mark.offset, mark.clock, mark.dedup_from),
        };
        let (first_offset, dead_offsets) = (next_offset, Vec::new());
        let checkpoint = Checkpoint { epoch: 0, next_offset, first_offset, clock, dedup_from, dead_offsets };
        let complete_from = stretch.beginning.complete_from(plan.stream.max_future);
        let mut fold = Fold::resume(plan, (partition, partitions), &checkpoint, seed);
        fold.again = Some(Box::new(Again {
            fates: Fates::default(),
            stretch,
            complete_from,
            tally: Tally::default(),
            bases: Cells::default(),
            wanted: None,
        }));
        fold
    }

    /// Tells a fold that folds again what became of the records that follow.
    pub fn know(&mut self, fates: Fates) {
        if let Some(again) = &mut self.again {
            again.fates = fates;
        }
    }

    /// Returns where the windows begin of which a fold that folds again has every record; `None` while that is not known.
    pub fn complete_from(&self) -> Option<Timestamp> {
        self.again.as_ref().and_then(|again| again.complete_from)
    }

    /// Returns what was folded so far for a rollup of the plan, what became of the records, and of the events in it.
    pub fn made(&self, rollup: usize) -> (&RollupDelta, Ledger, Tally) {
        let tally = self.again.as_ref().map_or_else(Tally::default, |again| again.tally);
        (&self.rollups[rollup], self.ledger, tally)
    }

    /// Returns how many events were folded again whose windows end no later than a time, and how far they moved the levels. Of
    /// windows that were not yet removed when the fold began, those are known of which it made cells.
    pub fn gone(&self, rollup: usize, removed_before: Timestamp) -> (u64, LevelBases) {
        let Some(again) = &self.again else { return (0, LevelBases::new()) };
        let window_ms = self.plan.rollups[rollup].rollup.window_ms;
        let is_gone = |cell: &CellDelta<'_>| window::end_of(cell.pane, window_ms) <= removed_before;
        let mut cells = self.rollups[rollup].cells.sorted();
        cells.retain(is_gone);
        let events: u64 = cells.iter().map(|cell| cell.events).sum();
        let mut bases: BTreeMap<Vec<String>, Vec<i64>> = BTreeMap::new();
        for cell in cells.iter().chain(&again.bases.sorted()) {
            let moves = cell.values.iter().filter_map(|value| match value {
                Value::Level(level) => Some(level.delta),
                _ => None,
            });
            let sums = bases.entry(cell.dimensions().map(str::to_owned).collect()).or_default();
            for (at, step) in moves.enumerate() {
                sums.resize(sums.len().max(at + 1), 0);
                sums[at] += step;
            }
        }
        bases.retain(|_, sums| !sums.is_empty());
        (again.tally.expired + events, bases.into_iter().collect())
    }

    /// Reads a batch's fields by this plan alone: who read it from the log may have known another.
    pub(super) fn read_again(&self, batch: &LogBatch) -> Arc<crate::batch::EventBatch> {
        let mut copy = crate::batch::EventBatch::clone(&batch.events);
        copy.fields = None;
        copy.refused.clear();
        if !self.plan.take_decided(&mut copy) {
            self.plan.read_back(&mut copy);
        }
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
        let verdict = self.judge.judge(fingerprint, entry.content, offset);
        if again.complete_from.is_none() {
            if self.judge.from().0 <= again.stretch.beginning.reads_from() {
                return Some(false);
            }
            // M is not known, but R is never behind it.
            let complete_from = complete_after(self.clock.r, self.plan.stream.max_future);
            self.again.as_mut()?.complete_from = Some(complete_from);
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
