//! Brings a rollup's cells along, page by page, as what flushes add to empty ones. They lie on the first partition:
//! what a cell is the sum of, nobody knows any more, and nobody need know.

use sg_core::flush::Ledger;
use sg_core::query::{CellOrder, CellQuery, CellRow};
use sg_core::time::Timestamp;

use super::share::Share;
use super::{Carried, Doing, Fault, Old, Target, Tell};

/// Cells of one page and of one flush.
const CELLS_MAX: usize = 10_000;

/// Writes all cells of all rollups.
pub(super) async fn bring(
    old: &Old,
    target: &Target,
    share: &mut Share,
    carried: &mut Carried,
    tell: Tell<'_>,
) -> Result<(), Fault> {
    for at in 0..old.plan.rollups.len() {
        share.add_bases(at, old.source.store.level_bases(&old.plan.rollups[at].rollup).await?);
        let mut pages = Pages { old, at, from: Timestamp::NEVER, is_over: false };
        while let Some(cells) = pages.next().await? {
            for cells in cells.chunks(CELLS_MAX) {
                for cell in cells {
                    share.add_cell(at, cell);
                }
                // It covers no record: a large store does not fit the few that the first partition may have.
                share.flush(old, target, (Timestamp::NEVER, Ledger::default())).await?;
                carried.cells += cells.len() as u64;
                tell(&carried.stream, Doing::Counting, carried.cells);
            }
        }
    }
    // Levels may have outlived all their cells.
    share.flush(old, target, (Timestamp::NEVER, Ledger::default())).await
}

/// A rollup's cells, by panes.
struct Pages<'a> {
    old: &'a Old,
    /// The rollup's place in the plan.
    at: usize,
    from: Timestamp,
    is_over: bool,
}

impl Pages<'_> {
    /// Returns the next cells: whole panes, as many as fit a page, or one that is larger.
    async fn next(&mut self) -> Result<Option<Vec<CellRow>>, Fault> {
        let mut limit = CELLS_MAX;
        while !self.is_over {
            let query = CellQuery {
                rollup: self.old.plan.rollups[self.at].rollup.clone(),
                from: self.from,
                to: Timestamp(i64::MAX),
                filters: Vec::new(),
                after: None,
                windows: Vec::new(),
                order: CellOrder::OldestFirst,
                cells_max: limit,
            };
            let mut cells = self.old.source.store.cells(&query).await?;
            self.is_over = cells.len() < limit;
            if let Some(last) = cells.last().map(|cell| cell.pane).filter(|_| !self.is_over) {
                // More of the last pane may follow: it begins the next page.
                cells.truncate(cells.partition_point(|cell| cell.pane < last));
                self.from = last;
            }
            if !cells.is_empty() {
                return Ok(Some(cells));
            }
            limit *= 2;
        }
        Ok(None)
    }
}
