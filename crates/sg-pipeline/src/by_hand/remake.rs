//! Makes cells again without the events that are to be deleted: for measures out of which nothing can be subtracted. A chunk's
//! cells are made once, without all of its events; of those events, the ones that still stand when a step is taken are
//! merged in again. What was made holds for one offset of each partition, and is brought up to a store that has moved on.

mod half;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sg_core::cell::Value;
use sg_core::definition::LatePolicy;
use sg_core::erase::{Doomed, Gift, Remade, Standing};
use sg_core::ports::{ErrorKind, PortError};
use sg_core::rebuild::MadeCell;
use sg_core::time::Timestamp;
use sg_core::window;

use super::chunk::Chunk;
use super::job::Job;

use half::Half;

/// A cell's pane and dimensions.
type Key = (Timestamp, Vec<String>);
/// Cells by the place of their rollup in the plan.
type Cells = BTreeMap<usize, BTreeSet<Key>>;

/// Windows by the place of their rollup in the plan, which the raw table has lost events of.
pub(super) type Lost = BTreeSet<(usize, Timestamp)>;

/// The cells of a chunk.
pub(super) struct Remake {
    /// What is made from the raw table, and what from the log.
    halves: Vec<Half>,
    /// What the chunk's events gave to each cell.
    given: HashMap<(usize, Key), Vec<Gave>>,
    /// The cells of each step.
    touched: Vec<BTreeSet<(usize, Key)>>,
    doomed: BTreeSet<(u32, u64)>,
}

/// What the events of one step and partition gave to a cell.
struct Gave {
    step: usize,
    partition: u32,
    events: u64,
    values: Vec<Value>,
}

impl Remake {
    /// Makes the cells of a chunk; `None` where they take too much memory and the chunk can be halved. `deleted` is how many
    /// events of the stream have been deleted.
    pub(super) async fn of(
        job: &Job<'_>,
        chunk: &Chunk,
        (lost, deleted): (&Lost, u64),
    ) -> Result<Option<Remake>, PortError> {
        let doomed = chunk.events().map(place_of).collect();
        let touched = chunk.steps.iter().map(|_| BTreeSet::new()).collect();
        let mut remake = Remake { halves: Vec::new(), given: HashMap::new(), touched, doomed };
        for (at, plan) in job.alone.iter().enumerate() {
            if plan.rollups[0].rollup.subtracts() {
                continue;
            }
            for (nth, step) in chunk.steps.iter().enumerate() {
                let diverted = diverted(job, at, &step.events).await?;
                let counted = step.events.iter().filter(|event| !diverted.contains(&place_of(event)));
                let gave = counted.filter_map(|event| Some((event.partition, event.gave[at].as_ref()?)));
                gave.for_each(|(partition, gift)| remake.take_in((at, nth), partition, gift));
            }
        }
        let (in_log, in_table) = remake.cells_by_source(job, lost);
        let standing = job.standing_at(deleted).await?;
        if !in_table.is_empty() {
            remake.halves.push(Half::of_table(job, in_table, &standing));
        }
        if !in_log.is_empty() {
            remake.halves.push(Half::of_log(job, in_log, &remake.doomed).await?);
        }
        let memory_max = if chunk.steps.len() > 1 { job.by_hand.memory_max } else { usize::MAX };
        for half in &mut remake.halves {
            if !half.advance(job, &standing, &remake.doomed, memory_max).await? {
                return Ok(None);
            }
        }
        Ok(Some(remake))
    }

    fn take_in(&mut self, (at, step): (usize, usize), partition: u32, gift: &Gift) {
        let key = (at, (gift.pane, gift.dimensions.clone()));
        let gave = self.given.entry(key.clone()).or_default();
        self.touched[step].insert(key);
        match gave.last_mut().filter(|gave| gave.step == step && gave.partition == partition) {
            Some(gave) => {
                gave.events += 1;
                gave.values.iter_mut().zip(&gift.values).for_each(|(value, more)| value.merge(more));
            }
            None => gave.push(Gave { step, partition, events: 1, values: gift.values.clone() }),
        }
    }

    /// Returns the cells that are made from the log, and those from the raw table.
    fn cells_by_source(&self, job: &Job<'_>, lost: &Lost) -> (Cells, Cells) {
        let (mut in_log, mut in_table) = (Cells::new(), Cells::new());
        for (at, key) in self.given.keys() {
            let window = window::start_of(key.0, job.plan.rollups[*at].rollup.window_ms);
            let is_in_table = job.has_table() && !lost.contains(&(*at, window));
            let cells = if is_in_table { &mut in_table } else { &mut in_log };
            cells.entry(*at).or_default().insert(key.clone());
        }
        (in_log, in_table)
    }

    /// Returns whether no cell has to be made again.
    pub(super) fn is_empty(&self) -> bool {
        self.given.is_empty()
    }

    /// Brings the cells up to where the store stands now.
    pub(super) async fn advance(&mut self, job: &Job<'_>, deleted: u64) -> Result<Standing, PortError> {
        let standing = job.standing_at(deleted).await?;
        for half in &mut self.halves {
            half.advance(job, &standing, &self.doomed, usize::MAX).await?;
        }
        Ok(standing)
    }

    /// Returns the cells of a step as they are without its events, while those of the steps that stand are in them.
    pub(super) fn cells(&self, step: usize, stands: &dyn Fn(usize) -> bool) -> Vec<Remade> {
        let mut remade: Vec<Remade> = Vec::new();
        for (at, key) in &self.touched[step] {
            let made = self.made(*at, key, stands);
            match remade.last_mut().filter(|last| last.rollup == *at) {
                Some(last) => last.cells.push(made),
                None => remade.push(Remade { rollup: *at, cells: vec![made] }),
            }
        }
        remade
    }

    fn made(&self, at: usize, key: &Key, stands: &dyn Fn(usize) -> bool) -> MadeCell {
        let mut shares: BTreeMap<u32, (u64, u64, Vec<Value>)> = BTreeMap::new();
        for half in &self.halves {
            let made = half
                .made(at, key)
                .map(|(partition, cell)| (partition, (cell.events, cell.late, cell.values.to_vec())));
            shares.extend(made);
        }
        let gave = self.given.get(&(at, key.clone())).into_iter().flatten();
        for one in gave.filter(|gave| stands(gave.step)) {
            match shares.get_mut(&one.partition) {
                Some((events, _, values)) => {
                    *events += one.events;
                    values.iter_mut().zip(&one.values).for_each(|(value, more)| value.merge(more));
                }
                None => drop(shares.insert(one.partition, (one.events, 0, one.values.clone()))),
            }
        }
        let share = |(partition, (events, late, values))| (partition, events, late, values);
        MadeCell { pane: key.0, dimensions: key.1.clone(), shares: shares.into_iter().map(share).collect() }
    }
}

fn place_of(event: &Doomed) -> (u32, u64) {
    (event.partition, event.offset)
}

/// Returns which events are in no cell of a rollup, because it diverted them.
async fn diverted(job: &Job<'_>, at: usize, events: &[Doomed]) -> Result<BTreeSet<(u32, u64)>, PortError> {
    let rollup = &job.plan.rollups[at].rollup;
    if rollup.late != LatePolicy::Divert {
        return Ok(BTreeSet::new());
    }
    let places: Vec<(u32, u64)> = events.iter().map(place_of).collect();
    job.by_hand.mending.reader.diverted(&rollup.name, &places).await
}

/// Makes the error of a delete that somebody else has overtaken.
pub(super) fn overtaken() -> PortError {
    let doing = "deleting events: others were deleted, or a partition was added meanwhile: ask again";
    PortError::new(ErrorKind::Retry, doing)
}
