//! Adding cells up where they lie.

use crate::definition::Rollup;
use crate::time::Timestamp;

/// Which cells of a rollup are to be added up where they lie.
#[derive(Debug, Clone)]
pub struct TallyQuery {
    /// The rollup.
    pub rollup: Rollup,
    /// Panes that start no earlier.
    pub from: Timestamp,
    /// Panes that start earlier.
    pub to: Timestamp,
}

/// How many events and windows a rollup's cells hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Windows with a cell.
    pub windows: u64,
    /// The dimensions' values in order, and the events that have them; ordered by the values.
    pub events: Vec<(Vec<String>, u64)>,
}

/// What a range of a rollup's cells holds altogether.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Its cells.
    pub cells: u64,
    /// The events in them.
    pub events: u64,
    /// Those of them that came late.
    pub late: u64,
}

impl Tally {
    /// Returns the events of all dimensions.
    pub fn total(&self) -> u64 {
        self.events.iter().map(|(_, events)| events).sum()
    }
}

/// A range of time cut into what whole panes cover and what lies at its ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Whole panes, if there is room for one.
    pub panes: Option<(Timestamp, Timestamp)>,
    /// What is left at either end; never empty ranges.
    pub ends: Vec<(Timestamp, Timestamp)>,
}

/// Cuts a range at the first and the last boundary of panes in it, so that a count over a long range need read single
/// events at its ends only.
pub fn split_at_panes(from: Timestamp, to: Timestamp, pane_ms: i64) -> Split {
    let (first, last) = (from.0.div_euclid(pane_ms), to.0.div_euclid(pane_ms));
    let starts_a_pane = from.0.rem_euclid(pane_ms) == 0;
    let first = Timestamp((if starts_a_pane { first } else { first + 1 }) * pane_ms);
    let last = Timestamp(last * pane_ms);
    let (panes, ends) = if first < last {
        (Some((first, last)), vec![(from, first), (last, to)])
    } else {
        (None, vec![(from, to)])
    };
    Split { panes, ends: ends.into_iter().filter(|(from, to)| from < to).collect() }
}
