//! Making cells again: what a rebuild hands to the store, and what comes back. The store replaces only what differs, and
//! only while every partition stands where the cells were made.

use std::sync::Arc;

use crate::cell::Value;
use crate::definition::{Function, Rollup};
use crate::flush::LevelBases;
use crate::plan::Plan;
use crate::query::{CellRow, Shown};
use crate::time::Timestamp;

/// A cell as it must be.
#[derive(Debug, Clone, PartialEq)]
pub struct MadeCell {
    /// The pane's start.
    pub pane: Timestamp,
    /// The dimensions' values in order.
    pub dimensions: Vec<String>,
    /// Its events, how many of them were late, and its measures, by partition; none where there is no such cell.
    pub shares: Vec<(u32, u64, u64, Vec<Value>)>,
}

impl MadeCell {
    /// Returns how many events the cell has.
    pub fn events(&self) -> u64 {
        self.shares.iter().map(|(_, events, ..)| events).sum()
    }

    /// Returns how many of its events were late.
    pub fn late(&self) -> u64 {
        self.shares.iter().map(|(_, _, late, _)| late).sum()
    }

    /// Returns the measures over all partitions.
    pub fn values(&self, rollup: &Rollup) -> Vec<Value> {
        let mut values: Vec<Value> =
            rollup.measures.iter().map(|measure| Value::empty(&measure.function)).collect();
        for (.., share) in &self.shares {
            values.iter_mut().zip(share).for_each(|(value, more)| value.merge(more));
        }
        values
    }

    /// Returns whether a stored cell, or its absence, is what it must be.
    pub fn is(&self, rollup: &Rollup, stored: Option<&CellRow>) -> bool {
        let Some(stored) = stored else { return self.shares.is_empty() };
        !self.shares.is_empty()
            && stored.events == self.events()
            && shows(rollup, stored)
            && rollup
                .measures
                .iter()
                .zip(stored.values.iter().zip(&self.values(rollup)))
                .all(|(measure, (left, right))| is_same(&measure.function, left, right))
    }
}

/// Returns whether the columns for SQL say what the sketches of a stored cell say, where that does not depend on the order
/// of merging.
fn shows(rollup: &Rollup, stored: &CellRow) -> bool {
    let measures = rollup.measures.iter().zip(&stored.values);
    let mut sketches = measures.filter(|(measure, _)| measure.function.is_sketch()).zip(&stored.shown);
    sketches.all(|((measure, value), shown)| match (shown, value) {
        (Shown::Number(number), _) => *number == value.rank(&measure.function),
        (Shown::Text(text), Value::Top(top)) => {
            let Function::Top { k, .. } = &measure.function else { return true };
            let is_exact = top.frequent(*k).iter().all(|one| one.error == 0);
            !is_exact || value.show(&measure.function).as_ref() == Some(text)
        }
        (Shown::Text(_), _) => false,
    })
}

/// Returns whether two values are the same but for what depends on the order of merging.
fn is_same(function: &Function, left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Level(left), Value::Level(right)) => left.delta == right.delta,
        (Value::Top(mine), Value::Top(other)) => {
            let Function::Top { k, .. } = function else { return true };
            let (mine, other) = (mine.frequent(*k), other.frequent(*k));
            let is_exact = mine.iter().chain(&other).all(|one| one.error == 0);
            !is_exact || mine == other
        }
        _ => left == right,
    }
}

/// What a rebuild writes in one transaction.
#[derive(Debug, Clone)]
pub struct Rewrite {
    /// The stream's plan.
    pub plan: Arc<Plan>,
    /// The rollup's place in it.
    pub rollup: usize,
    /// Where every partition of the stream must stand: the offset to which the cells were made.
    pub offsets: Vec<(u32, u64)>,
    /// How many of its events were deleted by hand when the fates of records were read.
    pub deleted: u64,
    /// How far retention must be.
    pub removed_before: Timestamp,
    /// Cells that may differ, by pane and dimensions ascending.
    pub cells: Vec<MadeCell>,
    /// Whether every record is known to have the fate that it had: only then may a cell have more or fewer events after.
    pub is_known: bool,
    /// Whether events that come to cells by this are new to the rollup.
    pub is_backfill: bool,
    /// Compares only.
    pub is_dry: bool,
    /// Ends a backfill: what the rollup's ledger must say then, by partition.
    pub settled: Vec<Settled>,
}

/// What a rollup's ledger says of one partition when all its records were folded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The partition.
    pub partition: u32,
    /// Its first record.
    pub first_offset: u64,
    /// Events fed to the rollup.
    pub folded: u64,
    /// Events in the late lane.
    pub diverted: u64,
    /// Events whose window had been removed, those that were removed with their cells included.
    pub gone: u64,
    /// How far those moved the levels.
    pub bases: LevelBases,
    /// Events that do not fit.
    pub unfit: u64,
    /// Events deleted by hand.
    pub deleted: u64,
}

/// A cell that was not what it must be.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// What was stored.
    pub stored: Option<CellRow>,
    /// What must be.
    pub made: MadeCell,
    /// Whether it was left as it is, since it is not known whether the events that it would lose or gain are those of the
    /// first time.
    pub is_left: bool,
}

/// How a rewrite ended.
#[derive(Debug, Clone, PartialEq)]
pub enum RewriteOutcome {
    /// Written, or only compared if that was asked for; these differed.
    Done {
        /// In their order.
        differences: Vec<Difference>,
    },
    /// Nothing was written: a partition or retention stands elsewhere.
    Missed,
}

/// What is to be made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The rollup.
    pub rollup: String,
    /// Windows that start from here, or from the first on, …
    pub from: Option<Timestamp>,
    /// … to before there.
    pub to: Option<Timestamp>,
    /// Compares only.
    pub is_dry: bool,
}

/// What is told on the way.
#[derive(Debug)]
pub enum Said {
    /// A partition is not read from its first record on, since that is neither in the log nor in the archive.
    Begins {
        /// The partition.
        partition: u32,
        /// The first record that is read.
        offset: u64,
        /// Why there is none before.
        why: String,
    },
    /// A partition has been read so far.
    Read {
        /// The partition.
        partition: u32,
        /// The offset reached.
        offset: u64,
        /// The offset to reach.
        end: u64,
    },
    /// A cell was not what it must be.
    Differs(Box<Difference>),
    /// The records of a window are not all there: its cells are as they were.
    Left {
        /// The window's start.
        window: Timestamp,
    },
}

/// Hears what is told on the way.
pub type Tell<'a> = &'a (dyn Fn(Said) + Send + Sync);

/// What a rebuild did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rebuilt {
    /// Records read, each once for every pass.
    pub records: u64,
    /// Cells that were not what they must be.
    pub differing: u64,
    /// Cells of which it cannot be told how many events they must have: they are as they were.
    pub left: u64,
    /// Whether log and archive reach back to the first record that was ever folded.
    pub is_whole: bool,
    /// Whether the rollup has now seen every record that was ever folded.
    pub is_backfilled: bool,
}
