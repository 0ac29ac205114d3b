//! What lines for files of the archive are made of, the same for every backend. A cell's line is written with the flush
//! that made it known: it shows the cell at that revision, however long its file takes and whatever retention removes.

use std::collections::BTreeMap;

use sg_core::archive::FileKind;
use sg_core::definition::Rollup;
use sg_core::flush::Flush;
use sg_core::interval::Cuts;
use sg_core::output::{self, CellShape};
use sg_core::plan::Plan;
use sg_core::ports::{ErrorKind, PortError};
use sg_core::query::{self, CellOrder, CellQuery, CellRow, Row};
use sg_core::time::Timestamp;

use crate::announced::Keys;

/// Panes asked for in one question: a window of many panes would make it large.
const PANES_AT_ONCE: usize = 20_000;

/// Lines of one kind, each with the start of its window.
pub(crate) type Lines = Vec<(Timestamp, String)>;

/// The windows × dimensions that a closing told of, by rollup; `None` where no lines of them are wanted.
#[derive(Debug, Default)]
pub(crate) struct ToldCells(Option<BTreeMap<String, Keys>>);

impl ToldCells {
    /// Begins to collect, where the stream has files of closed windows.
    pub(crate) fn of(plan: &Plan) -> ToldCells {
        ToldCells(plan.stream.outputs.lines(FileKind::Closed).map(|_| BTreeMap::new()))
    }

    /// Takes note of a cell that was told.
    pub(crate) fn push(&mut self, rollup: &str, start: Timestamp, dimensions: &[String]) {
        if let Some(cells) = &mut self.0 {
            cells.entry(rollup.to_owned()).or_default().push((start, dimensions.to_vec()));
        }
    }

    /// Returns the questions whose answers become lines by [`closed`].
    pub(crate) fn questions<'p>(self, plan: &'p Plan) -> Vec<Question<'p>> {
        let (Some(mut cells), Some(shape)) = (self.0, plan.stream.outputs.lines(FileKind::Closed)) else {
            return Vec::new();
        };
        let mut questions = Vec::new();
        for planned in &plan.rollups {
            let rollup = &planned.rollup;
            let Some(mut keys) = cells.remove(&rollup.name) else { continue };
            keys.sort();
            let panes = (rollup.window_ms / rollup.pane_ms).unsigned_abs() as usize;
            for some in keys.chunks((PANES_AT_ONCE / panes.max(1)).max(1)) {
                questions.push(Question { shape, rollup, query: cell_query(rollup, some.to_vec()) });
            }
        }
        questions
    }
}

/// Cells of one rollup to be read, and how they become lines.
pub(crate) struct Question<'p> {
    shape: &'p CellShape,
    rollup: &'p Rollup,
    /// Which cells.
    pub(crate) query: CellQuery,
}

impl Question<'_> {
    /// Makes lines of the cells that were read.
    pub(crate) fn lines(&self, cells: Vec<CellRow>) -> Lines {
        let cuts = Cuts::windows(self.rollup.window_ms, self.query.from, self.query.to);
        let rows = query::rows(cells, &cuts);
        rows.iter().map(|row| (row.start, output::cell_line(self.shape, self.rollup, row))).collect()
    }
}

fn cell_query(rollup: &Rollup, windows: Keys) -> CellQuery {
    let from = windows.first().map_or(Timestamp::NEVER, |(start, _)| *start);
    let to = windows.last().map_or(from, |(start, _)| Timestamp(start.0 + rollup.window_ms));
    let (rollup, filters) = (rollup.clone(), Vec::new());
    CellQuery {
        rollup,
        from,
        to,
        filters,
        after: None,
        windows,
        order: CellOrder::OldestFirst,
        cells_max: usize::MAX,
    }
}

/// Returns the lines of windows that have no cell any more; levels go on without one.
pub(crate) fn vanished(plan: &Plan, rollup: &Rollup, gone: &[(&(Timestamp, Vec<String>), u64)]) -> Lines {
    let shape = plan.stream.outputs.lines(FileKind::Closed).filter(|_| !rollup.has_levels());
    let Some(shape) = shape else { return Vec::new() };
    let rows = gone
        .iter()
        .map(|((start, dimensions), revision)| Row::vanished(rollup, *start, dimensions, *revision));
    rows.map(|row| (row.start, output::cell_line(shape, rollup, &row))).collect()
}

/// Returns the lines of the events that a flush diverted, where its stream has files of them.
pub(crate) fn late(flush: &Flush) -> Lines {
    let Some(shape) = flush.plan.stream.outputs.lines(FileKind::Late) else { return Vec::new() };
    let mut lines = Vec::new();
    for (planned, delta) in flush.plan.rollups.iter().zip(&flush.rollups) {
        let line =
            |start, dimensions: &[String]| output::late_line(shape, &planned.rollup, start, dimensions);
        let late = delta.late.iter();
        lines.extend(late.map(|late| (late.window_start, line(late.window_start, &late.dimensions))));
    }
    lines
}

/// Returns the column of a stream's row that holds the id of a lane's newest line; files of raw events have no lane.
pub(crate) fn last_column(kind: FileKind) -> &'static str {
    if kind == FileKind::Late { "late_last" } else { "closed_last" }
}

/// Reads a kind from a table, where it stands by its name.
pub(crate) fn kind_from(text: &str) -> Result<FileKind, PortError> {
    let found = FileKind::ALL.into_iter().find(|kind| kind.name() == text);
    found.ok_or_else(|| {
        PortError::new(ErrorKind::Corrupt, format!("reading the manifest: {text:?} is no kind of file"))
    })
}
