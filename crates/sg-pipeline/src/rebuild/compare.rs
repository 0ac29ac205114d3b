//! Finds the cells that may differ, from what the store has at about the same time. The store looks again before it
//! replaces one.

use std::collections::BTreeSet;

use sg_core::definition::Rollup;
use sg_core::ports::PortError;
use sg_core::query::{CellOrder, CellQuery};
use sg_core::rebuild::{MadeCell, Rebuilt, Said, Tell};
use sg_core::time::Timestamp;
use sg_core::window;

use super::again::Again;
use super::{Pass, Rebuild};

/// A cell's pane and dimensions.
pub(super) type Key = (Timestamp, Vec<String>);

/// Cells that one transaction looks at: some ten milliseconds behind the locks.
pub(super) const CELLS_AT_ONCE: usize = 500;
/// Stored cells of one page.
const PAGE_CELLS: usize = 10_000;

/// Windows that are named when their records are not all there; the rest are counted only.
const LEFT_NAMED_MAX: usize = 1_000;

/// Returns a cell as the records make it.
pub(super) fn made(parts: &[Again], key: &Key) -> MadeCell {
    let share = |part: &Again| {
        let cell = part.fold().made(0).0.cells.cell(key.0, &key.1)?;
        Some((part.partition, cell.events, cell.late, cell.values.to_vec()))
    };
    let shares = parts.iter().filter_map(share).collect();
    MadeCell { pane: key.0, dimensions: key.1.clone(), shares }
}

/// Returns the start of a window in the middle of the cells; `None` when all are of one window.
pub(super) fn middle(rollup: &Rollup, parts: &[Again]) -> Option<Timestamp> {
    let cells = parts.iter().flat_map(|part| part.fold().made(0).0.cells.sorted());
    let mut starts: Vec<Timestamp> =
        cells.map(|cell| window::start_of(cell.pane, rollup.window_ms)).collect();
    starts.sort_unstable();
    let middle = *starts.get(starts.len() / 2)?;
    if middle > starts[0] {
        return Some(middle);
    }
    starts.into_iter().find(|start| *start > middle)
}

impl Rebuild {
    /// Returns the keys of cells that may differ, in their order. The pass is borrowed alone, since its readers cannot be
    /// shared while the store is asked.
    pub(super) async fn differing(
        &self,
        pass: &mut Pass,
        (from, to): (Timestamp, Timestamp),
        rebuilt: &mut Rebuilt,
        tell: Tell<'_>,
    ) -> Result<Vec<Key>, PortError> {
        let rollup = &self.plan.rollups[self.rollup].rollup;
        let (complete_from, is_known) = (pass.complete_from(), pass.is_known());
        let window_of = |pane: Timestamp| window::start_of(pane, rollup.window_ms);
        let mut keys: BTreeSet<Key> = BTreeSet::new();
        for part in &pass.parts {
            let cells = part.fold().made(0).0.cells.sorted();
            let cells = cells.iter().filter(|cell| window_of(cell.pane) >= complete_from);
            keys.extend(cells.map(|cell| (cell.pane, cell.dimensions().map(str::to_owned).collect())));
        }
        let mut left: BTreeSet<Timestamp> = BTreeSet::new();
        let mut query = CellQuery {
            rollup: rollup.clone(),
            from,
            to,
            filters: Vec::new(),
            after: None,
            windows: Vec::new(),
            order: CellOrder::OldestFirst,
            cells_max: PAGE_CELLS,
        };
        loop {
            let page = self.reader.cells(&query).await?;
            let last = page.last().map(|row| (row.pane, row.dimensions.clone()));
            let is_last = page.len() < PAGE_CELLS;
            for row in &page {
                let key = (row.pane, row.dimensions.clone());
                let cell = made(&pass.parts, &key);
                let is_incomplete = window_of(row.pane) < complete_from;
                if is_incomplete || (!is_known && cell.events() != row.events) {
                    // Records are gone, or may be, or had another fate: it is left, and never made smaller or larger.
                    keys.remove(&key);
                    rebuilt.left += 1;
                    left.insert(window_of(row.pane));
                } else if cell.is(rollup, Some(row)) {
                    keys.remove(&key);
                } else {
                    keys.insert(key);
                }
            }
            if is_last {
                left.into_iter().take(LEFT_NAMED_MAX).for_each(|window| tell(Said::Left { window }));
                return Ok(keys.into_iter().collect());
            }
            query.after = last;
        }
    }
}
