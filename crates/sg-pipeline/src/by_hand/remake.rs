//! Makes cells again without the events that are to be deleted: for measures out of which nothing can be subtracted. What
//! was made holds for one offset of each partition, and is brought up to a store that has moved on.

use std::collections::BTreeSet;
use std::sync::Arc;

use sg_core::cell::Value;
use sg_core::definition::LatePolicy;
use sg_core::erase::{Doomed, Erase, Remade, Standing};
use sg_core::fold::{Beginning, Fold, Stretch, Wanted};
use sg_core::plan::Plan;
use sg_core::ports::{ErrorKind, PortError};
use sg_core::query::{EventScan, StoredEvent};
use sg_core::rebuild::MadeCell;
use sg_core::time::Timestamp;

use crate::rebuild::again::Again;

use super::ByHand;
use super::source::stretches;

/// Rows of one page.
const PAGE_ROWS: usize = 1_000;

/// A cell's pane and dimensions.
type Key = (Timestamp, Vec<String>);

/// Cells of some rollups under way.
pub(super) struct Remake {
    doomed: BTreeSet<(u32, u64)>,
    /// The rollups, by their place in the plan, with the cells to be made.
    keys: Vec<(usize, BTreeSet<Key>)>,
    parts: Vec<Part>,
    /// Events that had been deleted when it began.
    deleted: u64,
}

/// One partition.
struct Part {
    partition: u32,
    from: From,
}

enum From {
    /// The raw table, from this offset on, with a fold for each rollup.
    Table(u64, Vec<Fold>),
    /// The log, once for each rollup; `None` for one whose cells cannot be made from what is left of it.
    Log(Vec<Option<Again>>),
}

impl Remake {
    fn new(alone: &[Arc<Plan>], erase: &Erase, deleted: u64) -> Remake {
        let mut keys = Vec::new();
        for (at, plan) in alone.iter().enumerate().filter(|(_, plan)| !plan.rollups[0].rollup.subtracts()) {
            let gifts = erase.events.iter().filter_map(|event| event.gave[at].as_ref());
            let cells: BTreeSet<Key> = gifts.map(|gift| (gift.pane, gift.dimensions.clone())).collect();
            if !cells.is_empty() && !plan.rollups[0].rollup.measures.is_empty() {
                keys.push((at, cells));
            }
        }
        let place = |event: &Doomed| (event.partition, event.offset);
        Remake { doomed: erase.events.iter().map(place).collect(), keys, parts: Vec::new(), deleted }
    }

    /// Begins to make cells from the raw table, which has every counted event while it is kept.
    pub(super) async fn from_table(
        by_hand: &ByHand,
        plan: &Plan,
        alone: &[Arc<Plan>],
        erase: &Erase,
    ) -> Result<Remake, PortError> {
        let standing = by_hand.standing(&plan.name).await?;
        let mut remake = Remake::new(alone, erase, standing.deleted);
        for (partition, _) in standing.offsets {
            let stretch = Stretch {
                beginning: Beginning::First(0),
                from: Timestamp::NEVER,
                to: Timestamp(i64::MAX),
                removed_before: Timestamp::NEVER,
            };
            let fold = |(at, cells): &(usize, BTreeSet<Key>)| {
                Fold::again(alone[*at].clone(), (partition, 1), stretch, by_hand.seed).only(wanted(cells))
            };
            let folds = remake.keys.iter().map(fold).collect();
            remake.parts.push(Part { partition, from: From::Table(0, folds) });
        }
        Ok(remake)
    }

    /// Begins to make cells from the log.
    pub(super) async fn from_log(
        by_hand: &ByHand,
        plan: &Arc<Plan>,
        alone: &[Arc<Plan>],
        erase: &Erase,
    ) -> Result<Remake, PortError> {
        let standing = by_hand.standing(&plan.name).await?;
        let mut remake = Remake::new(alone, erase, standing.deleted);
        let sources = by_hand.sources()?;
        let of = sources.log.partitions(&plan.name).await?;
        for (partition, stretch) in stretches(by_hand, &sources, &plan.name).await? {
            let doomed = remake.doomed.iter().filter(|(known, _)| *known == partition);
            let doomed: BTreeSet<u64> = doomed.map(|(_, offset)| *offset).collect();
            let mut readers = Vec::new();
            for (at, cells) in &remake.keys {
                let diverts = alone[*at].rollups[0].rollup.late == LatePolicy::Divert;
                if diverts && !stretch.beginning.is_known() {
                    // Which events were late follows from all records before.
                    readers.push(None);
                    continue;
                }
                let again =
                    Again::open(&sources, (plan, alone[*at].clone()), (partition, of), stretch, by_hand.seed)
                        .await?;
                readers.push(Some(again.without(doomed.clone()).only(wanted(cells))));
            }
            remake.parts.push(Part { partition, from: From::Log(readers) });
        }
        Ok(remake)
    }

    /// Brings the cells up to where the store stands now.
    pub(super) async fn advance(
        &mut self,
        by_hand: &ByHand,
        plan: &Plan,
    ) -> Result<(Standing, Vec<Remade>), PortError> {
        let standing = by_hand.standing(&plan.name).await?;
        if standing.deleted != self.deleted || standing.offsets.len() != self.parts.len() {
            let doing = "deleting events: others were deleted, or a partition was added meanwhile: ask again";
            return Err(PortError::new(ErrorKind::Retry, doing));
        }
        for (part, (_, end)) in self.parts.iter_mut().zip(&standing.offsets) {
            part.advance(by_hand, (&plan.name, *end), &self.doomed).await?;
        }
        let remade = self.keys.iter().enumerate().map(|(nth, (at, cells))| Remade {
            rollup: *at,
            cells: cells.iter().map(|key| self.made(nth, key)).collect(),
        });
        Ok((standing, remade.collect()))
    }

    fn made(&self, nth: usize, (pane, dimensions): &Key) -> MadeCell {
        let mut shares: Vec<(u32, u64, u64, Vec<Value>)> = Vec::new();
        for part in &self.parts {
            let fold = match &part.from {
                From::Table(_, folds) => Some(&folds[nth]),
                From::Log(readers) => readers[nth].as_ref().map(|again| &again.fold),
            };
            let cell = fold.and_then(|fold| fold.made(0).0.cells.cell(*pane, dimensions));
            shares.extend(cell.map(|cell| (part.partition, cell.events, cell.late, cell.values.to_vec())));
        }
        MadeCell { pane: *pane, dimensions: dimensions.clone(), shares }
    }
}

fn wanted(cells: &BTreeSet<Key>) -> Wanted {
    let mut wanted = Wanted::default();
    cells.iter().for_each(|(pane, dimensions)| wanted.add(*pane, dimensions));
    wanted
}

impl Part {
    async fn advance(
        &mut self,
        by_hand: &ByHand,
        (stream, end): (&str, u64),
        doomed: &BTreeSet<(u32, u64)>,
    ) -> Result<(), PortError> {
        match &mut self.from {
            From::Log(readers) => {
                for again in readers.iter_mut().flatten() {
                    while !again.advance(&*by_hand.rewriter, end, &|_| false).await? {}
                }
            }
            From::Table(at, folds) => {
                while *at < end {
                    let (stream, partition) = (stream.to_owned(), self.partition);
                    let scan = EventScan { stream, partition, from: *at, to: end, limit: PAGE_ROWS };
                    let mut rows: Vec<StoredEvent> = by_hand.reader.scan_events(&scan).await?;
                    let is_last = rows.len() < PAGE_ROWS;
                    *at = rows.last().filter(|_| !is_last).map_or(end, |row| row.offset + 1);
                    rows.retain(|row| !doomed.contains(&(partition, row.offset)));
                    for fold in folds.iter_mut() {
                        let records = fold.plan().as_records(&rows);
                        fold.recount(&records);
                    }
                }
            }
        }
        Ok(())
    }
}
