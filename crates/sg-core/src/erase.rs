//! Deleting events by hand: what one step of it hands to the store, and what comes back. A step is a transaction of its
//! own: an event is deleted in the ledger, in the raw table and in every cell, or it is not.

use std::sync::Arc;

use crate::cell::Value;
use crate::plan::Plan;
use crate::rebuild::MadeCell;
use crate::selection::Selection;
use crate::time::Timestamp;

/// An event that is to be deleted: it was counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Doomed {
    /// Its partition.
    pub partition: u32,
    /// Its place in the partition.
    pub offset: u64,
    /// Its id.
    pub event_id: String,
    /// When it happened.
    pub event_time: Timestamp,
    /// When the door received it.
    pub received_at: Timestamp,
    /// What it gave to each rollup of the plan, in their order; `None` to one that it does not fit.
    pub gave: Vec<Option<Gift>>,
}

/// What one event gives to a rollup, in whatever lane it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Gift {
    /// The pane's start.
    pub pane: Timestamp,
    /// The dimensions' values in order.
    pub dimensions: Vec<String>,
    /// The measures' values of this event alone.
    pub values: Vec<Value>,
}

/// Where all that was read of a stream holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// The offset of every partition.
    pub offsets: Vec<(u32, u64)>,
    /// Events deleted by hand so far.
    pub deleted: u64,
}

/// Cells of a rollup whose measures cannot be subtracted, made again from all events but those that are to be deleted.
#[derive(Debug, Clone, PartialEq)]
pub struct Remade {
    /// The rollup's place in the plan.
    pub rollup: usize,
    /// Its cells, by pane and dimensions ascending: all to which a doomed event may have given.
    pub cells: Vec<MadeCell>,
}

/// One step.
#[derive(Debug, Clone)]
pub struct Erase {
    /// The stream's plan.
    pub plan: Arc<Plan>,
    /// The events, at most [`DELETED_AT_ONCE`](crate::limits::DELETED_AT_ONCE).
    pub events: Vec<Doomed>,
    /// What was made again, and where every partition must stand for it to hold.
    pub remade: Option<(Standing, Vec<Remade>)>,
    /// Changes nothing.
    pub is_dry: bool,
}

/// A cell out of which events are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// The rollup's place in the plan.
    pub rollup: usize,
    /// The pane's start.
    pub pane: Timestamp,
    /// The dimensions' values in order.
    pub dimensions: Vec<String>,
    /// Events in it before.
    pub before: u64,
    /// Events taken out of it.
    pub taken: u64,
}

/// Why events cannot be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// The window's other events are no longer all there, and a measure cannot do without them.
    Incomplete,
    /// The cell holds less than the events gave: it is damaged, or was counted under another definition.
    Damaged,
    /// The rollup has not seen all records of the window: whether it saw these is not known before it is rebuilt.
    Unseen,
    /// The events came so long ago that it is not known any more whether the rollup diverted them.
    Forgotten,
}

impl Obstacle {
    /// Returns the reason as one sentence.
    pub fn why(self) -> &'static str {
        match self {
            Obstacle::Incomplete => {
                "a measure cannot be subtracted, and the window's other events are no longer all there"
            }
            Obstacle::Damaged => "the cell does not hold what the events gave: rebuild the rollup",
            Obstacle::Unseen => "the rollup has not seen all records of the window: rebuild it first",
            Obstacle::Forgotten => "it is not known any more whether the rollup diverted the events as late",
        }
    }
}

/// A window that cannot do without events that are to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The rollup's place in the plan.
    pub rollup: usize,
    /// The window's start.
    pub window: Timestamp,
    /// Why.
    pub obstacle: Obstacle,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq)]
pub enum EraseOutcome {
    /// Written, or only looked at if that was asked for.
    Done {
        /// How many of the events were not deleted before.
        deleted: u64,
        /// The cells.
        touched: Vec<Touched>,
    },
    /// Nothing was written.
    Refused(Vec<Refused>),
    /// Nothing was written: a partition stands elsewhere, or retention is under way.
    Missed,
}

/// Which events are to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteWish {
    /// Only of this stream.
    pub stream: Option<String>,
    /// The events.
    pub selection: Selection,
    /// Changes nothing.
    pub is_dry: bool,
}

/// What is told on the way.
#[derive(Debug)]
pub enum DeleteSaid {
    /// Events of one UTC day that are deleted.
    Day {
        /// The stream.
        stream: String,
        /// The day's start.
        day: Timestamp,
        /// How many.
        events: u64,
    },
    /// A cell that changes.
    Touched {
        /// The stream's plan.
        plan: Arc<Plan>,
        /// The cell.
        touched: Touched,
    },
    /// A window because of which nothing more is deleted.
    Refused {
        /// The stream's plan.
        plan: Arc<Plan>,
        /// The window.
        refused: Refused,
    },
    /// So many events are deleted so far.
    Progress {
        /// The stream.
        stream: String,
        /// How many.
        deleted: u64,
    },
}

/// Hears what is told on the way.
pub type DeleteTell<'a> = &'a (dyn Fn(DeleteSaid) + Send + Sync);

/// What a delete did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Deleted {
    /// Events that meet the conditions.
    pub matched: u64,
    /// Events that were deleted; none in a dry run.
    pub deleted: u64,
    /// Cells out of which events were or would be taken.
    pub cells: u64,
    /// Windows because of which it was refused.
    pub refused: u64,
    /// Streams whose events were looked for in the log, with the partitions and offsets from which on they could be.
    pub from_log: Vec<(String, u32, u64)>,
}
