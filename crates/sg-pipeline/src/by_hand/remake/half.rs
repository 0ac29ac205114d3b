//! Cells that are made again from one source, each partition read once for all rollups: from the raw table, which has every
//! counted event while it is kept, or from the log. Knows nothing of the events that are left out.

use std::collections::BTreeSet;
use std::sync::Arc;

use sg_core::cell::CellDelta;
use sg_core::definition::LatePolicy;
use sg_core::erase::Standing;
use sg_core::fold::{Beginning, Fold, Stretch, Wanted};
use sg_core::plan::Plan;
use sg_core::ports::PortError;
use sg_core::query::{EventScan, StoredEvent};
use sg_core::time::Timestamp;
use sg_core::window;

use crate::rebuild::again::Again;

use super::super::job::Job;
use super::super::source::{PAGE_ROWS, stretches};
use super::{Cells, Key, overtaken};

/// The cells of some rollups, from one source.
pub(super) struct Half {
    cells: Cells,
    /// The length of each rollup's panes, and those that are made.
    panes: Vec<(i64, BTreeSet<Timestamp>)>,
    parts: Vec<Part>,
}

/// One partition.
struct Part {
    partition: u32,
    from: From,
}

enum From {
    /// The raw table, from this offset on, with a fold for each rollup.
    Table(u64, Vec<Fold>),
    Log(Box<Again>),
}

impl Half {
    fn new(job: &Job<'_>, cells: Cells) -> Half {
        let panes = |(at, keys): (&usize, &BTreeSet<Key>)| {
            (job.plan.rollups[*at].rollup.pane_ms, keys.iter().map(|key| key.0).collect())
        };
        Half { panes: cells.iter().map(panes).collect(), cells, parts: Vec::new() }
    }

    /// Begins to make cells from the raw table.
    pub(super) fn of_table(job: &Job<'_>, cells: Cells, standing: &Standing) -> Half {
        let mut half = Half::new(job, cells);
        for (partition, _) in &standing.offsets {
            let beginning = Beginning::First(0);
            let (from, to) = Timestamp::ALWAYS;
            let stretch = Stretch { beginning, from, to, removed_before: Timestamp::NEVER };
            let fold = |(at, keys): (&usize, &BTreeSet<Key>)| {
                let plan = job.alone[*at].clone();
                Fold::again(plan, (*partition, 1), stretch, job.by_hand.mending.seed).only(wanted(keys))
            };
            let folds = half.cells.iter().map(fold).collect();
            half.parts.push(Part { partition: *partition, from: From::Table(0, folds) });
        }
        half
    }

    /// Begins to make cells from the log.
    pub(super) async fn of_log(
        job: &Job<'_>,
        cells: Cells,
        doomed: &BTreeSet<(u32, u64)>,
    ) -> Result<Half, PortError> {
        let mut half = Half::new(job, cells);
        let plans: Vec<Arc<Plan>> = half.cells.keys().map(|at| job.alone[*at].clone()).collect();
        let sources = job.by_hand.mending.sources()?;
        let of = sources.log.partitions(&job.plan.name).await?;
        for (partition, stretch) in stretches(job.by_hand, &sources, &job.plan.name).await? {
            let (place, seed) = ((partition, of), job.by_hand.mending.seed);
            let again = Again::open(&sources, (&job.plan, &plans), place, stretch, seed).await?;
            let of_this = doomed.range((partition, 0)..=(partition, u64::MAX));
            let wanted = half.cells.iter().map(|(at, keys)| {
                let diverts = job.plan.rollups[*at].rollup.late == LatePolicy::Divert;
                // Which events were late follows from all records before.
                if diverts && !stretch.beginning.is_known() { Wanted::default() } else { wanted(keys) }
            });
            let again = again.without(of_this.map(|(_, offset)| *offset).collect()).only(wanted);
            half.parts.push(Part { partition, from: From::Log(Box::new(again)) });
        }
        Ok(half)
    }

    /// Brings the cells up to a standing; returns false where they take too much memory.
    pub(super) async fn advance(
        &mut self,
        job: &Job<'_>,
        standing: &Standing,
        doomed: &BTreeSet<(u32, u64)>,
        memory_max: usize,
    ) -> Result<bool, PortError> {
        if standing.offsets.len() != self.parts.len() {
            return Err(overtaken());
        }
        let mut room = memory_max;
        for (part, (_, end)) in self.parts.iter_mut().zip(&standing.offsets) {
            let is_enough = match &mut part.from {
                From::Table(at, folds) => {
                    let range = (part.partition, at, *end);
                    !scan(job, range, (folds, &self.panes), doomed, room).await?
                }
                From::Log(again) => !read(job, again, *end, room).await?,
            };
            if is_enough {
                return Ok(false);
            }
            room = room.saturating_sub(memory(part.folds()));
        }
        Ok(true)
    }

    /// Returns a cell by partition, where there are events for it.
    pub(super) fn made<'h>(
        &'h self,
        at: usize,
        key: &'h Key,
    ) -> impl Iterator<Item = (u32, CellDelta<'h>)> + use<'h> {
        let is_here = |(known, keys): (&usize, &BTreeSet<Key>)| *known == at && keys.contains(key);
        let nth = self.cells.iter().position(is_here);
        let parts = nth.into_iter().flat_map(|nth| self.parts.iter().map(move |part| (nth, part)));
        parts.filter_map(move |(nth, part)| {
            let cell = part.folds()[nth].made(0).0.cells.cell(key.0, &key.1);
            cell.map(|cell| (part.partition, cell))
        })
    }
}

impl Part {
    fn folds(&self) -> &[Fold] {
        match &self.from {
            From::Table(_, folds) => folds,
            From::Log(again) => again.folds(),
        }
    }
}

fn wanted(keys: &BTreeSet<Key>) -> Wanted {
    let mut wanted = Wanted::default();
    keys.iter().for_each(|(pane, dimensions)| wanted.add(*pane, dimensions));
    wanted
}

fn memory(folds: &[Fold]) -> usize {
    folds.iter().map(|fold| fold.made(0).0.cells.memory()).sum()
}

/// Folds what the raw table has of the panes, before an offset; returns false, early, where the cells take too much memory.
async fn scan(
    job: &Job<'_>,
    (partition, at, end): (u32, &mut u64, u64),
    (folds, panes): (&mut [Fold], &[(i64, BTreeSet<Timestamp>)]),
    doomed: &BTreeSet<(u32, u64)>,
    memory_max: usize,
) -> Result<bool, PortError> {
    let times = times(panes);
    let is_in_a_pane = |row: &StoredEvent| {
        panes.iter().any(|(pane_ms, panes)| panes.contains(&window::start_of(row.event_time, *pane_ms)))
    };
    while *at < end {
        let stream = job.plan.name.to_string();
        let scan = EventScan { stream, partition, from: *at, to: end, times, limit: PAGE_ROWS };
        let mut rows: Vec<StoredEvent> = job.by_hand.mending.reader.scan_events(&scan).await?;
        let is_last = rows.len() < PAGE_ROWS;
        *at = rows.last().filter(|_| !is_last).map_or(end, |row| row.offset + 1);
        rows.retain(|row| is_in_a_pane(row) && !doomed.contains(&(partition, row.offset)));
        let records = job.plan.as_records(&rows);
        folds.iter_mut().for_each(|fold| fold.recount(&records));
        if memory(folds) > memory_max {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns from when on to before when the panes last.
fn times(panes: &[(i64, BTreeSet<Timestamp>)]) -> (Timestamp, Timestamp) {
    let first = panes.iter().filter_map(|(_, panes)| panes.first().copied()).min();
    let end = panes.iter().filter_map(|(pane_ms, panes)| Some(Timestamp(panes.last()?.0 + pane_ms))).max();
    first.zip(end).unwrap_or(Timestamp::ALWAYS)
}

/// Folds the records before an offset; returns false, perhaps early, where the cells take too much memory.
async fn read(job: &Job<'_>, again: &mut Again, end: u64, memory_max: usize) -> Result<bool, PortError> {
    let enough = |folds: &[Fold]| memory(folds) > memory_max;
    while !again.advance(&*job.by_hand.mending.rewriter, end, &enough).await? {
        if enough(again.folds()) {
            return Ok(false);
        }
    }
    Ok(!enough(again.folds()))
}
