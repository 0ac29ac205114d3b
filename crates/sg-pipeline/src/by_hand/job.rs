//! Deleting events of one stream: all of it is looked at before its first step is written, chunk by chunk, and then taken the
//! same way. Where the events come from, and what their cells are without them, is not decided here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sg_core::erase::{
    DeleteSaid, DeleteTell, Deleted, Erase, EraseOutcome, Obstacle, Refused, Standing, Touched,
};
use sg_core::fold::plan_of;
use sg_core::plan::Plan;
use sg_core::ports::{ErrorKind, PortError};
use sg_core::selection::Selection;
use sg_core::time::Timestamp;
use sg_core::window;

use super::ByHand;
use super::chunk::{Chunk, Chunks};
use super::remake::{Lost, Remake, overtaken};
use super::source::Source;

/// A day in milliseconds.
const DAY_MS: i64 = 86_400_000;
/// Cells that are listed; the rest are counted only.
const LISTED_MAX: usize = 10_000;
/// How often a step is tried while flushes and retention go on, and the pause between two tries.
const TRIES_MAX: u32 = 200;
const PAUSE: Duration = Duration::from_millis(20);

/// Deleting events of one stream that had been counted when it began.
pub(super) struct Job<'b> {
    pub(super) by_hand: &'b ByHand,
    pub(super) plan: Arc<Plan>,
    /// A plan for each rollup.
    pub(super) alone: Vec<Arc<Plan>>,
    standing: Standing,
    /// Which events of it are meant.
    selection: Selection,
    /// What the raw table was found to have lost.
    lost: Lost,
}

/// One way through all events.
struct Pass<'p> {
    is_dry: bool,
    tell: DeleteTell<'p>,
    done: &'p mut Deleted,
    cells: BTreeMap<(usize, Timestamp, Vec<String>), Touched>,
    /// Events of the stream that have been deleted, ever.
    deleted: u64,
    /// Those of them that this pass has deleted.
    here: u64,
    /// Whether a step was refused: none is taken after it.
    is_refused: bool,
}

impl<'b> Job<'b> {
    pub(super) async fn open(
        by_hand: &'b ByHand,
        plan: &Arc<Plan>,
        selection: Selection,
    ) -> Result<Job<'b>, PortError> {
        let alone = plan.rollups.iter().map(|planned| plan_of(plan, &planned.rollup)).collect();
        let standing = by_hand.standing(&plan.name).await?;
        Ok(Job { by_hand, plan: plan.clone(), alone, standing, selection, lost: Lost::new() })
    }

    /// Says what would become of the events, step by step, and writes nothing.
    pub(super) async fn look(
        &mut self,
        is_told: bool,
        tell: DeleteTell<'_>,
        done: &mut Deleted,
    ) -> Result<(), PortError> {
        let mut chunks = self.chunks().await?;
        let stream = self.plan.name.to_string();
        let starts = chunks.source().log_starts();
        done.from_log.extend(starts.into_iter().map(|(partition, start)| (stream.clone(), partition, start)));
        let mut days: BTreeMap<Timestamp, u64> = BTreeMap::new();
        let mut pass = Pass::new(true, tell, done, self.standing.deleted);
        while let Some(chunk) = chunks.next().await? {
            for event in chunk.events() {
                *days.entry(window::start_of(event.event_time, DAY_MS)).or_default() += 1;
                pass.done.matched += 1;
            }
            self.take(&mut pass, chunk).await?;
        }
        for (day, events) in days {
            tell(DeleteSaid::Day { stream: stream.clone(), day, events });
        }
        for touched in pass.cells.into_values().filter(|_| is_told) {
            tell(DeleteSaid::Touched { plan: self.plan.clone(), touched });
        }
        Ok(())
    }

    /// Deletes the events.
    pub(super) async fn run(&mut self, tell: DeleteTell<'_>, done: &mut Deleted) -> Result<(), PortError> {
        let mut chunks = self.chunks().await?;
        let mut pass = Pass::new(false, tell, done, self.standing.deleted);
        while !pass.is_refused
            && let Some(chunk) = chunks.next().await?
        {
            self.take(&mut pass, chunk).await?;
        }
        Ok(())
    }

    async fn chunks(&self) -> Result<Chunks, PortError> {
        let source = Source::open(self.by_hand, &self.plan, &self.selection, &self.standing).await?;
        Ok(Chunks::of(source, &self.alone))
    }

    /// Takes the steps of a chunk. Cells out of which nothing can be subtracted are made again from the raw table, and those of
    /// which that has lost events, from the log.
    async fn take(&mut self, pass: &mut Pass<'_>, chunk: Chunk) -> Result<(), PortError> {
        let mut chunks = vec![chunk];
        while let Some(mut chunk) = chunks.pop() {
            let Some(mut remake) = Remake::of(self, &chunk, (&self.lost, pass.deleted)).await? else {
                let [first, last] = chunk.halves();
                chunks.extend([last, first]);
                continue;
            };
            let mut lost = Lost::new();
            for nth in 0..chunk.steps.len() {
                let outcome = self.step((&mut chunk, nth), &mut remake, pass).await?;
                if let EraseOutcome::Refused(windows) = &outcome {
                    let more = self.lost_of(windows);
                    if !more.is_empty() {
                        lost.extend(more);
                        continue;
                    }
                }
                chunk.steps[nth].is_settled = true;
                pass.settle(self, outcome)?;
                if pass.is_refused {
                    return Ok(());
                }
            }
            self.lost.append(&mut lost);
            chunk.steps.retain(|step| !step.is_settled);
            if !chunk.steps.is_empty() {
                chunks.push(chunk);
            }
        }
        Ok(())
    }

    /// Returns those windows whose other events are not all in the raw table, and for which the log was not asked yet.
    fn lost_of(&self, windows: &[Refused]) -> Lost {
        let lacks = windows.iter().filter(|one| self.has_table() && one.obstacle == Obstacle::Incomplete);
        let places = lacks.map(|one| (one.rollup, one.window));
        places.filter(|place| !self.lost.contains(place)).collect()
    }

    async fn step(
        &self,
        (chunk, nth): (&mut Chunk, usize),
        remake: &mut Remake,
        pass: &Pass<'_>,
    ) -> Result<EraseOutcome, PortError> {
        let (plan, is_dry) = (self.plan.clone(), pass.is_dry);
        let events = std::mem::take(&mut chunk.steps[nth].events);
        let mut erase = Erase { plan, events, remade: None, is_dry };
        // In a dry run nothing has been taken when the next step is looked at.
        let stands = |other: usize| other != nth && (is_dry || !chunk.steps[other].is_settled);
        let mut outcome = EraseOutcome::Missed;
        for tried in 0..TRIES_MAX {
            if tried > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            if !remake.is_empty() {
                let standing = remake.advance(self, pass.deleted).await?;
                erase.remade = Some((standing, remake.cells(nth, &stands)));
            }
            outcome = self.by_hand.mending.rewriter.erase(&erase).await?;
            if outcome != EraseOutcome::Missed {
                break;
            }
        }
        chunk.steps[nth].events = erase.events;
        Ok(outcome)
    }

    /// Returns whether the stream keeps raw events.
    pub(super) fn has_table(&self) -> bool {
        self.plan.stream.raw_table.is_some()
    }

    /// Returns where the store stands, while nobody else deletes events of the stream.
    pub(super) async fn standing_at(&self, deleted: u64) -> Result<Standing, PortError> {
        let standing = self.by_hand.standing(&self.plan.name).await?;
        if standing.deleted == deleted { Ok(standing) } else { Err(overtaken()) }
    }
}

impl<'p> Pass<'p> {
    fn new(is_dry: bool, tell: DeleteTell<'p>, done: &'p mut Deleted, deleted: u64) -> Pass<'p> {
        Pass { is_dry, tell, done, cells: BTreeMap::new(), deleted, here: 0, is_refused: false }
    }

    /// Takes note of how a step ended.
    fn settle(&mut self, job: &Job<'_>, outcome: EraseOutcome) -> Result<(), PortError> {
        match outcome {
            EraseOutcome::Done { touched, .. } if self.is_dry => {
                self.done.cells += touched.len() as u64;
                touched.into_iter().for_each(|one| self.list(one));
            }
            EraseOutcome::Done { deleted, .. } => {
                self.deleted += deleted;
                self.done.deleted += deleted;
                self.here += deleted;
                let stream = job.plan.name.to_string();
                (self.tell)(DeleteSaid::Progress { stream, deleted: self.here });
            }
            EraseOutcome::Refused(windows) => {
                for refused in windows {
                    self.done.refused += 1;
                    (self.tell)(DeleteSaid::Refused { plan: job.plan.clone(), refused });
                }
                // Retention was quicker: what was deleted before is whole in itself.
                self.is_refused = !self.is_dry;
            }
            EraseOutcome::Missed => {
                let doing = format!(
                    "deleting events of {}: the store never stood still for long enough: ask again when less comes in",
                    job.plan.name
                );
                return Err(PortError::new(ErrorKind::Retry, doing));
            }
        }
        Ok(())
    }

    fn list(&mut self, touched: Touched) {
        let key = (touched.rollup, touched.pane, touched.dimensions.clone());
        if let Some(known) = self.cells.get_mut(&key) {
            known.taken += touched.taken;
        } else if self.cells.len() < LISTED_MAX {
            self.cells.insert(key, touched);
        }
    }
}
