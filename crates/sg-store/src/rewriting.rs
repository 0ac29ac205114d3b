//! What both stores do alike when cells are made again: which of them differ, and what is written in their place.

use std::collections::{BTreeMap, HashMap};

use sg_core::cell::Value;
use sg_core::definition::Rollup;
use sg_core::flush::RollupDelta;
use sg_core::query::{CellOrder, CellQuery, CellRow};
use sg_core::rebuild::{Difference, Rewrite};
use sg_core::time::Timestamp;
use sg_core::window;

use crate::levels::DAY_MS;

/// Returns the question for the stored cells of a rewrite, and no others; `None` where it has none.
pub(crate) fn query(rewrite: &Rewrite) -> Option<CellQuery> {
    let rollup = &rewrite.plan.rollups[rewrite.rollup].rollup;
    let from = rewrite.cells.iter().map(|cell| cell.pane).min()?;
    let last = rewrite.cells.iter().map(|cell| cell.pane).max()?;
    Some(CellQuery {
        // Single panes, not the windows that they are part of.
        rollup: Rollup { window_ms: rollup.pane_ms, ..rollup.clone() },
        from,
        to: Timestamp(last.0 + 1),
        filters: Vec::new(),
        after: None,
        windows: rewrite.cells.iter().map(|cell| (cell.pane, cell.dimensions.clone())).collect(),
        order: CellOrder::OldestFirst,
        cells_max: usize::MAX,
    })
}

/// Returns which cells are not what they must be.
pub(crate) fn differing(rewrite: &Rewrite, stored: Vec<CellRow>) -> Vec<Difference> {
    let rollup = &rewrite.plan.rollups[rewrite.rollup].rollup;
    let mut stored: HashMap<(Timestamp, Vec<String>), CellRow> =
        stored.into_iter().map(|row| ((row.pane, row.dimensions.clone()), row)).collect();
    let mut differences = Vec::new();
    for cell in &rewrite.cells {
        let found = stored.remove(&(cell.pane, cell.dimensions.clone()));
        if !cell.is(rollup, found.as_ref()) {
            let events = found.as_ref().map_or(0, |row| row.events);
            let is_left = cell.events() != events && !rewrite.is_known;
            differences.push(Difference { stored: found, made: cell.clone(), is_left });
        }
    }
    differences
}

/// Returns how far levels were moved from before all cells in all partitions.
pub(crate) fn bases(rewrite: &Rewrite) -> RollupDelta {
    let mut sums: BTreeMap<&[String], Vec<i64>> = BTreeMap::new();
    for (dimensions, steps) in rewrite.settled.iter().flat_map(|settled| &settled.bases) {
        let moved = sums.entry(dimensions).or_insert_with(|| vec![0; steps.len()]);
        moved.iter_mut().zip(steps).for_each(|(sum, step)| *sum += step);
    }
    let bases = sums.into_iter().map(|(dimensions, moved)| (dimensions.to_vec(), moved)).collect();
    RollupDelta { bases, ..RollupDelta::default() }
}

/// Windows × dimensions that were final and of which no cell is left, with the revision of there being none.
pub(crate) type Gone = BTreeMap<(Timestamp, Vec<String>), u64>;

/// What is written in the place of cells that differ.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// The keys of what goes.
    pub(crate) keys: Vec<(Timestamp, Vec<String>)>,
    /// The cells that come.
    pub(crate) delta: RollupDelta,
    /// The same by partition, where measures are sketches.
    pub(crate) shares: Vec<(u32, RollupDelta)>,
    /// Cells that had a revision.
    pub(crate) revised: Vec<(Timestamp, Vec<String>, u64)>,
    /// Cells that go and leave nothing behind, with their revisions.
    pub(crate) vanished: Vec<(Timestamp, Vec<String>, u64)>,
    /// UTC days with cells that change.
    pub(crate) days: Vec<Timestamp>,
    /// How many events more the cells have.
    pub(crate) grown: i64,
}

/// Returns what is written for differences.
pub(crate) fn places(rollup: &Rollup, differences: &[Difference]) -> Places {
    let mut places = Places::default();
    for Difference { stored, made, .. } in differences.iter().filter(|difference| !difference.is_left) {
        let key = (made.pane, made.dimensions.clone());
        places.grown += made.events() as i64 - stored.as_ref().map_or(0, |row| row.events as i64);
        if let Some(row) = stored.as_ref().filter(|row| row.revision > 0 && !made.shares.is_empty()) {
            places.revised.push((made.pane, made.dimensions.clone(), row.revision));
        }
        places.keys.push(key);
        places.days.push(window::start_of(made.pane, DAY_MS));
        if made.shares.is_empty() {
            let revision = stored.as_ref().map_or(0, |row| row.revision);
            places.vanished.push((made.pane, made.dimensions.clone(), revision));
            continue;
        }
        let values: Vec<Value> = made.values(rollup);
        places.delta.cells.put(made.pane, &made.dimensions, (made.events(), made.late()), &values);
        for (partition, events, late, values) in made.shares.iter().filter(|_| rollup.has_sketches()) {
            let at = match places.shares.iter().position(|(known, _)| known == partition) {
                Some(at) => at,
                None => {
                    places.shares.push((*partition, RollupDelta::default()));
                    places.shares.len() - 1
                }
            };
            places.shares[at].1.cells.put(made.pane, &made.dimensions, (*events, *late), values);
        }
    }
    places.days.dedup();
    places
}

#[cfg(test)]
mod tests;
