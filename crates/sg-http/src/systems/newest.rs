//! Rows of a rollup, newest window first: what those ask for who look at what is happening now.

use sg_core::definition::Rollup;
use sg_core::interval::Cuts;
use sg_core::limits::{QUERY_ROWS_MAX, TIME_MAX_MS, TIME_MIN_MS};
use sg_core::query::{self, CellOrder, CellQuery, Row};
use sg_core::time::Timestamp;
use sg_core::window;

use crate::App;
use crate::answer;
use crate::error::ApiError;
use crate::rollups::cells_of_a_page;

/// The whole of time.
pub(crate) const ALWAYS: (Timestamp, Timestamp) = (Timestamp(TIME_MIN_MS), Timestamp(TIME_MAX_MS));

/// Rows of whole windows, newest window first, by their dimensions within one.
pub(crate) struct Newest {
    pub(crate) rows: Vec<Row>,
    /// Older windows of the range have been left out: the range up to here has the next ones.
    pub(crate) next_end: Option<Timestamp>,
}

/// Returns the newest rows of a range, which is widened to whole windows; older windows than fit are left out.
pub(crate) async fn rows(
    app: &App,
    rollup: &Rollup,
    (from, to): (Timestamp, Timestamp),
    filters: Vec<(usize, String)>,
) -> Result<Newest, ApiError> {
    let cuts = Cuts::windows(rollup.window_ms, from, to);
    let (from, to) = cuts.range();
    let cells_max = cells_of_a_page(rollup);
    let query = CellQuery {
        rollup: rollup.clone(),
        from,
        to,
        filters,
        after: None,
        windows: Vec::new(),
        order: CellOrder::NewestFirst,
        cells_max,
    };
    let cells = app.store.cells(&query).await.map_err(|error| ApiError::of_store(&error))?;
    let is_cut = cells.len() == cells_max;
    let mut rows = query::rows(cells, &cuts);
    let found = rows.len();
    if let Some(oldest) = rows.first().map(|row| row.start).filter(|_| is_cut) {
        // It may lack cells.
        rows.retain(|row| row.start > oldest);
    }
    if let Some(last_left_out) = rows.len().checked_sub(QUERY_ROWS_MAX + 1) {
        let start = rows[last_left_out].start;
        rows.retain(|row| row.start > start);
    }
    let is_short = rows.len() < found;
    if is_short && rows.is_empty() {
        return Err(ApiError::RangeTooLarge(format!(
            "one window has more than {QUERY_ROWS_MAX} rows: filter, or ask /v1/rollups/{} page by page",
            rollup.name
        )));
    }
    let next_end = rows.first().map(|row| row.start).filter(|_| is_short);
    rows.sort_by(|left, right| (right.start, &left.dimensions).cmp(&(left.start, &right.dimensions)));
    Ok(Newest { rows, next_end })
}

/// Returns the start of the newest window of a rollup.
pub(super) async fn window_start(app: &App, rollup: &Rollup) -> Result<Option<Timestamp>, ApiError> {
    end_of_time(app, rollup, CellOrder::NewestFirst).await
}

/// Returns the start of the oldest window of a rollup.
pub(super) async fn oldest_window_start(app: &App, rollup: &Rollup) -> Result<Option<Timestamp>, ApiError> {
    end_of_time(app, rollup, CellOrder::OldestFirst).await
}

async fn end_of_time(app: &App, rollup: &Rollup, order: CellOrder) -> Result<Option<Timestamp>, ApiError> {
    let (from, to) = ALWAYS;
    let query = CellQuery {
        rollup: rollup.clone(),
        from,
        to,
        filters: Vec::new(),
        after: None,
        windows: Vec::new(),
        order,
        cells_max: 1,
    };
    let cells = app.store.cells(&query).await.map_err(|error| ApiError::of_store(&error))?;
    Ok(cells.first().map(|cell| window::start_of(cell.pane, rollup.window_ms)))
}

/// Returns a row as window, dimensions and measures; what of its history the rollup knows stays out.
pub(super) fn row_json(rollup: &Rollup, row: &Row) -> String {
    let mut text = format!("{{\"window_start\":\"{}\",\"window_end\":\"{}\"", row.start, row.end);
    answer::push_cell(&mut text, rollup, row);
    text + "}"
}
