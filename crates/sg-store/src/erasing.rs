//! What both stores do alike when events are deleted by hand: what becomes of each in a rollup, and which cells are left
//! without them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use sg_core::cell::Value;
use sg_core::definition::{Keep, LatePolicy, Rollup};
use sg_core::erase::{Doomed, Erase, Gift, Obstacle, Refused, Touched};
use sg_core::flush::LevelBases;
use sg_core::query::{CellOrder, CellQuery, CellRow};
use sg_core::rebuild::{Difference, MadeCell};
use sg_core::time::Timestamp;
use sg_core::window;

use crate::levels;

/// Late rows that retention will soon remove count as gone: clocks of processes differ.
const MARGIN: Duration = Duration::from_secs(86_400);

/// A cell's key: pane and dimensions.
type Key = (Timestamp, Vec<String>);

/// Where a rollup stands behind the locks.
#[derive(Debug, Clone)]
pub(crate) struct OfRollup {
    /// Windows that end no later are final.
    pub(crate) closed_to: Timestamp,
    /// Windows that end no later have been removed.
    pub(crate) removed_before: Timestamp,
    /// Events that were removed with their cells.
    pub(crate) removed: i64,
    /// Windows that start earlier may lack records.
    pub(crate) complete_from: Option<Timestamp>,
    /// Its ledger by partition.
    pub(crate) partitions: Vec<OfPartition>,
}

/// A rollup's ledger of one partition.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct OfPartition {
    pub(crate) partition: u32,
    pub(crate) first_offset: u64,
    pub(crate) expired: i64,
    pub(crate) unfit: i64,
}

/// What is taken out of a rollup's ledger of one partition; all of it is deleted now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) deleted: i64,
    pub(crate) diverted: i64,
    pub(crate) expired: i64,
    pub(crate) unfit: i64,
}

/// What becomes of doomed events in one rollup.
#[derive(Debug, Default)]
pub(crate) struct Sorted {
    /// By partition.
    pub(crate) taken: BTreeMap<u32, Taken>,
    /// Events that were removed with their cells.
    pub(crate) removed: i64,
    /// How levels are moved from before all cells.
    pub(crate) bases: LevelBases,
    /// Windows because of which nothing is deleted.
    pub(crate) refused: Vec<Refused>,
    cells: BTreeMap<Key, (u64, Vec<Value>)>,
}

/// Tells what becomes of events in a rollup. `diverted` are the places of those in its late lane.
pub(crate) fn sort(
    erase: &Erase,
    at: usize,
    events: &[&Doomed],
    standing: &OfRollup,
    (diverted, now): (&BTreeSet<(u32, u64)>, Timestamp),
) -> Sorted {
    let rollup = &erase.plan.rollups[at].rollup;
    let kept = erase.plan.stream.letters.late;
    let mut sorted = Sorted::default();
    let mut gone: BTreeMap<u32, i64> = BTreeMap::new();
    let mut bases: BTreeMap<Vec<String>, Vec<i64>> = BTreeMap::new();
    for event in events {
        let known = standing.partitions.iter().find(|known| known.partition == event.partition);
        if known.is_none_or(|known| event.offset < known.first_offset) {
            // The rollup has never seen it.
            continue;
        }
        let taken = sorted.taken.entry(event.partition).or_default();
        taken.deleted += 1;
        let Some(gift) = &event.gave[at] else {
            taken.unfit += 1;
            continue;
        };
        if diverted.contains(&(event.partition, event.offset)) {
            taken.diverted += 1;
            continue;
        }
        let end = window::end_of(gift.pane, rollup.window_ms);
        let start = Timestamp(end.0 - rollup.window_ms);
        if let Some(obstacle) = obstacle((rollup, kept), standing, (event, start), now) {
            sorted.refused.push(Refused { rollup: at, window: start, obstacle });
        } else if end <= standing.removed_before {
            *gone.entry(event.partition).or_default() += 1;
            if rollup.has_levels() {
                let moved = bases.entry(gift.dimensions.clone()).or_default();
                add_steps(moved, &levels::steps(rollup, &gift.values));
            }
        } else {
            sorted.give_back(rollup, gift);
        }
    }
    sorted.bases =
        bases.into_iter().map(|(key, steps)| (key, steps.iter().map(|step| -step).collect())).collect();
    if !sorted.balance(standing, gone) {
        let window = window::start_of(
            events.first().map_or(Timestamp::NEVER, |event| event.event_time),
            rollup.window_ms,
        );
        sorted.refused.push(Refused { rollup: at, window, obstacle: Obstacle::Damaged });
    }
    sorted.refused.dedup();
    sorted
}

fn add_steps(sums: &mut Vec<i64>, steps: &[i64]) {
    sums.resize(steps.len(), 0);
    sums.iter_mut().zip(steps).for_each(|(sum, step)| *sum += step);
}

/// Returns what keeps an event from being taken out of a rollup, whatever its cell holds.
fn obstacle(
    (rollup, kept): (&Rollup, Keep),
    standing: &OfRollup,
    (event, window): (&Doomed, Timestamp),
    now: Timestamp,
) -> Option<Obstacle> {
    // By size, late events go sooner than anybody can tell afterwards.
    let may_be_gone =
        kept.rows_max.is_some() || event.received_at < now.minus(kept.age.saturating_sub(MARGIN));
    if rollup.late == LatePolicy::Divert && may_be_gone {
        return Some(Obstacle::Forgotten);
    }
    standing.complete_from.filter(|from| window < *from).map(|_| Obstacle::Unseen)
}

impl Sorted {
    fn give_back(&mut self, rollup: &Rollup, gift: &Gift) {
        let empty = || rollup.measures.iter().map(|measure| Value::empty(&measure.function)).collect();
        let cell = self.cells.entry((gift.pane, gift.dimensions.clone())).or_insert_with(|| (0, empty()));
        cell.0 += 1;
        cell.1.iter_mut().zip(&gift.values).for_each(|(value, more)| value.merge(more));
    }

    /// Takes events whose windows are gone out of those that were removed with their cells or came after; returns false
    /// where the ledger does not hold them, or not the ones that do not fit.
    fn balance(&mut self, standing: &OfRollup, gone: BTreeMap<u32, i64>) -> bool {
        let of = |partition: u32| standing.partitions.iter().find(|known| known.partition == partition);
        for (partition, mut count) in gone {
            let removed = count.min(standing.removed - self.removed);
            self.removed += removed;
            count -= removed;
            if of(partition).is_none_or(|known| known.expired < count) {
                return false;
            }
            self.taken.entry(partition).or_default().expired += count;
        }
        self.taken
            .iter()
            .all(|(partition, taken)| of(*partition).is_some_and(|known| taken.unfit <= known.unfit))
    }

    /// Returns the question for the cells out of which events are taken; `None` where there is none.
    pub(crate) fn query(&self, rollup: &Rollup) -> Option<CellQuery> {
        let mut windows: Vec<Key> = self
            .cells
            .keys()
            .map(|(pane, dimensions)| (window::start_of(*pane, rollup.window_ms), dimensions.clone()))
            .collect();
        windows.sort();
        windows.dedup();
        let (first, last) = (windows.first()?.0, windows.last()?.0);
        Some(CellQuery {
            rollup: rollup.clone(),
            from: first,
            to: Timestamp(last.0 + rollup.window_ms),
            filters: Vec::new(),
            after: None,
            windows,
            order: CellOrder::OldestFirst,
            cells_max: usize::MAX,
        })
    }

    /// Returns the cells as they are without the events, of those that are stored.
    pub(crate) fn left(
        &mut self,
        erase: &Erase,
        at: usize,
        stored: Vec<CellRow>,
    ) -> (Vec<Difference>, Vec<Touched>) {
        let rollup = &erase.plan.rollups[at].rollup;
        let remade = erase.remade.iter().flat_map(|(_, remade)| remade).find(|remade| remade.rollup == at);
        let remade: HashMap<_, &MadeCell> = remade
            .iter()
            .flat_map(|remade| &remade.cells)
            .map(|made| ((made.pane, made.dimensions.as_slice()), made))
            .collect();
        let mut stored: HashMap<Key, CellRow> =
            stored.into_iter().map(|row| ((row.pane, row.dimensions.clone()), row)).collect();
        let (mut differences, mut touched) = (Vec::new(), Vec::new());
        for (key, (events, values)) in std::mem::take(&mut self.cells) {
            let row = stored.remove(&key);
            let (pane, dimensions) = key;
            let made = match &row {
                None => Err(Obstacle::Damaged),
                Some(row) if rollup.subtracts() => without(row, events, &values),
                Some(row) => remake(remade.get(&(pane, dimensions.as_slice())).copied(), row, events),
            };
            match made {
                Ok(made) => {
                    let before = row.as_ref().map_or(0, |row| row.events);
                    touched.push(Touched { rollup: at, pane, dimensions, before, taken: events });
                    differences.push(Difference { stored: row, made, is_left: false });
                }
                Err(obstacle) => {
                    let window = window::start_of(pane, rollup.window_ms);
                    self.refused.push(Refused { rollup: at, window, obstacle });
                }
            }
        }
        self.refused.dedup();
        (differences, touched)
    }
}

/// Returns a cell without what events gave to it.
fn without(row: &CellRow, events: u64, values: &[Value]) -> Result<MadeCell, Obstacle> {
    let left = row.events.checked_sub(events).ok_or(Obstacle::Damaged)?;
    let mut measures = row.values.clone();
    for (value, less) in measures.iter_mut().zip(values) {
        if !value.take_away(less) {
            return Err(Obstacle::Damaged);
        }
    }
    // Which of its events were late is not kept: it is bounded by those that are left.
    let share = (0, left, row.late_count.min(left), measures);
    let shares = if left == 0 { Vec::new() } else { vec![share] };
    Ok(MadeCell { pane: row.pane, dimensions: row.dimensions.clone(), shares })
}

/// Returns a cell that was made again, if that was from all its events.
fn remake(found: Option<&MadeCell>, row: &CellRow, events: u64) -> Result<MadeCell, Obstacle> {
    let mut made =
        found.filter(|made| made.events() + events == row.events).cloned().ok_or(Obstacle::Incomplete)?;
    if made.late() == 0 {
        let mut late = row.late_count;
        for (_, events, of_share, _) in &mut made.shares {
            *of_share = late.min(*events);
            late -= *of_share;
        }
    }
    Ok(made)
}
