//! What a level is made of, the same for every backend. A cell keeps how far its events moved it; beside the cells stand
//! the moves of each UTC day, and the base: the moves of panes that retention has removed. A level at a pane's end is
//! base + days before + panes of the day up to it. So an event that comes late moves every later pane at once.

use std::collections::BTreeMap;

use sg_core::cell::{Level, Value};
use sg_core::definition::Rollup;
use sg_core::flush::RollupDelta;
use sg_core::query::CellRow;
use sg_core::time::Timestamp;
use sg_core::window;

/// A day in milliseconds.
pub(crate) const DAY_MS: i64 = 86_400_000;
/// The day under which the base stands: before all others.
pub(crate) const BASE: Timestamp = Timestamp::NEVER;

/// How far each level of a rollup was moved, by dimensions and day; in the order of the table's key.
pub(crate) type Moves = BTreeMap<(Vec<String>, Timestamp), Vec<i64>>;
/// Where each level of a rollup stands, by dimensions.
pub(crate) type Standings = BTreeMap<Vec<String>, Vec<i64>>;

/// Returns the places of a rollup's levels among its measures.
pub(crate) fn places(rollup: &Rollup) -> Vec<usize> {
    let levels = rollup.measures.iter().enumerate().filter(|(_, measure)| measure.function.is_level());
    levels.map(|(at, _)| at).collect()
}

/// Returns the names of a rollup's levels in tables, which are those of its cells' columns.
pub(crate) fn columns(rollup: &Rollup) -> Vec<String> {
    places(rollup).iter().map(|at| format!("m{at}")).collect()
}

/// Returns how a flush moves a rollup's levels. What falls into panes that were removed moves the base.
pub(crate) fn moves(rollup: &Rollup, delta: &RollupDelta, removed_before: Timestamp) -> Moves {
    let places = places(rollup);
    let mut moves = Moves::new();
    if places.is_empty() {
        return moves;
    }
    for (dimensions, steps) in &delta.bases {
        moves.insert((dimensions.clone(), BASE), steps.clone());
    }
    for cell in delta.cells.sorted() {
        let is_removed = window::end_of(cell.pane, rollup.window_ms) <= removed_before;
        let day = if is_removed { BASE } else { window::start_of(cell.pane, DAY_MS) };
        let steps = steps(rollup, cell.values);
        if steps.iter().all(|step| *step == 0) {
            continue;
        }
        let key = (cell.dimensions().map(str::to_owned).collect(), day);
        let sums = moves.entry(key).or_insert_with(|| vec![0; places.len()]);
        sums.iter_mut().zip(steps).for_each(|(sum, step)| *sum += step);
    }
    moves
}

/// Returns how far values move the levels of a rollup, in their order.
pub(crate) fn steps(rollup: &Rollup, values: &[Value]) -> Vec<i64> {
    places(rollup).iter().map(|at| moved(&values[*at]).delta).collect()
}

fn moved(value: &Value) -> Level {
    match value {
        Value::Level(level) => *level,
        _ => Level::moved(0),
    }
}

/// How the levels of cells are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// All cells of the panes between the first and the last are there: one standing leads to the next.
    Running,
    /// Cells in between may be missing: each has a standing of its own.
    Each,
}

/// Tells cells their own standings, which are in the cells' order.
pub(crate) fn place(rollup: &Rollup, cells: &mut [CellRow], standings: Vec<Vec<i64>>) {
    let places = places(rollup);
    for (cell, standing) in cells.iter_mut().zip(standings) {
        for (place, reached) in places.iter().zip(standing) {
            let Level { delta, .. } = moved(&cell.values[*place]);
            cell.values[*place] = Value::Level(Level { delta, read_at: cell.pane, reached });
        }
    }
}

/// Returns the different dimensions of cells, and the oldest of their panes; `None` without cells.
pub(crate) fn asked(cells: &[CellRow]) -> Option<(Vec<Vec<String>>, Timestamp)> {
    let oldest = cells.iter().map(|cell| cell.pane).min()?;
    let mut dimensions: Vec<Vec<String>> = cells.iter().map(|cell| cell.dimensions.clone()).collect();
    dimensions.sort_unstable();
    dimensions.dedup();
    Some((dimensions, oldest))
}

/// Tells cells where their levels stand at their ends. `standings` are those at the end of the oldest pane: from there on
/// each cell's moves lead to the next, for all cells of the panes between are there.
pub(crate) fn reach(rollup: &Rollup, cells: &mut [CellRow], mut standings: Standings, oldest: Timestamp) {
    let places = places(rollup);
    let mut order: Vec<usize> = (0..cells.len()).collect();
    order.sort_unstable_by_key(|at| cells[*at].pane);
    for at in order {
        let cell = &mut cells[at];
        let Some(standing) = standings.get_mut(&cell.dimensions) else { continue };
        for (place, reached) in places.iter().zip(standing) {
            let Level { delta, .. } = moved(&cell.values[*place]);
            if cell.pane > oldest {
                *reached += delta;
            }
            cell.values[*place] = Value::Level(Level { delta, read_at: cell.pane, reached: *reached });
        }
    }
}
