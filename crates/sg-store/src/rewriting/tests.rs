//! What is read behind the locks.

use std::sync::Arc;

use sg_core::plan::Plan;
use sg_core::testing::store_suite::{T0, rollups, stream};

use sg_core::rebuild::MadeCell;

use super::*;

/// Returns a rewrite of cells of the rollup by hours, of four panes each.
fn rewrite(cells: &[(i64, &str)]) -> Rewrite {
    let mut rollups = rollups();
    rollups[1].by = vec!["event_type".to_owned()];
    let made = |(pane, kind): &(i64, &str)| MadeCell {
        pane: Timestamp(T0 + pane * 900_000),
        dimensions: vec![(*kind).to_owned()],
        shares: Vec::new(),
    };
    Rewrite {
        plan: Arc::new(Plan::new(stream(), &rollups)),
        rollup: 1,
        offsets: Vec::new(),
        deleted: 0,
        removed_before: Timestamp::NEVER,
        cells: cells.iter().map(made).collect(),
        is_known: true,
        is_backfill: false,
        is_dry: true,
        settled: Vec::new(),
    }
}

#[test]
fn no_cell_is_read_but_those_that_may_differ() {
    assert!(query(&rewrite(&[])).is_none());
    for cells in [&[(1, "a")][..], &[(1, "a"), (1, "b")], &[(0, "a"), (2, "c"), (9, "a")]] {
        let rewrite = rewrite(cells);
        let asked = query(&rewrite).expect("there are cells");
        let panes = asked.panes().into_iter().map(|(pane, dimensions)| (pane, dimensions.to_vec()));
        let expected = rewrite.cells.iter().map(|cell| (cell.pane, cell.dimensions.clone()));
        assert!(panes.eq(expected), "{cells:?}");
        let first = asked.panes()[0].0;
        assert!(asked.from <= first && asked.panes().iter().all(|(pane, _)| *pane < asked.to), "{cells:?}");
    }
}
