//! Counted events that are picked and deleted by hand, while the server goes on counting. Decides no event's fate: it finds
//! events by what they are, says what each gave to its rollups, and has the store take that back. `source` finds them,
//! `remake` makes those cells again out of which nothing can be subtracted.
//!
//! A delete is looked at as a whole before its first step is written; each step is a transaction that is right by itself.

mod remake;
mod source;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sg_core::erase::{
    DeleteSaid, DeleteTell, DeleteWish, Deleted, Erase, EraseOutcome, Obstacle, Standing, Touched,
};
use sg_core::fold::{gifts, plan_of};
use sg_core::limits::DELETED_AT_ONCE;
use sg_core::plan::Plan;
use sg_core::ports::{
    ErrorKind, EventPicker, Manifest, Picking, PortError, Rewriter, RollupReader, StatusDetail, StoreStatus,
};
use sg_core::query::StoredEvent;
use sg_core::selection::Selection;
use sg_core::time::Timestamp;
use sg_core::window;
use tokio::sync::Mutex;

use crate::archiver::ArchivedStream;
use crate::aside::{self, Say};
use crate::rebuild::{OpenLog, Rebuilds, Sources};
use crate::spans::{self, Tracer};

use remake::Remake;
use source::Source;

/// A day in milliseconds.
const DAY_MS: i64 = 86_400_000;
/// Cells that are listed; the rest are counted only.
const LISTED_MAX: usize = 10_000;
/// How often a step is tried while flushes and retention go on, and the pause between two tries.
const TRIES_MAX: u32 = 200;
const PAUSE: Duration = Duration::from_millis(20);

/// Picks and deletes counted events.
#[derive(Clone)]
pub struct ByHand {
    /// Makes the log that is read where a stream keeps no raw table.
    pub open_log: OpenLog,
    /// What is in which file of the archive.
    pub manifest: Arc<dyn Manifest>,
    /// The archives that this process knows: they have what the log has lost.
    pub archives: Vec<ArchivedStream>,
    /// The store's reading side.
    pub reader: Arc<dyn RollupReader>,
    /// The store's side that deletes.
    pub rewriter: Arc<dyn Rewriter>,
    /// The streams' plans.
    pub plans: Vec<Arc<Plan>>,
    /// The secret of the duplicates' hash.
    pub seed: u64,
    /// Held by the one delete or rebuild that is under way.
    pub turn: Arc<Mutex<()>>,
    /// Makes spans of the steps of a delete.
    pub tracer: Tracer,
}

#[async_trait]
impl EventPicker for ByHand {
    async fn pick(&self, stream: &str, selection: &Selection) -> Result<Box<dyn Picking>, PortError> {
        let plan = self.plans.iter().find(|plan| *plan.name == *stream);
        let plan = plan.ok_or_else(|| refused(format!("there is no stream {stream}")))?;
        let selection = meant(plan, selection)?;
        let standing = self.standing(stream).await?;
        Ok(Box::new(Source::open(self, plan, &selection, &standing).await?))
    }

    async fn delete(&self, wish: &DeleteWish, tell: DeleteTell<'_>) -> Result<Deleted, PortError> {
        if wish.selection.is_empty() {
            return Err(refused(
                "deleting events: no condition is given, and all events are not meant".to_owned(),
            ));
        }
        let Ok(turn) = self.turn.clone().try_lock_owned() else {
            let doing =
                "deleting events: a rebuild or another delete is under way in this process: wait for its end";
            return Err(PortError::new(ErrorKind::Retry, doing));
        };
        let (by_hand, wish) = (self.clone(), wish.clone());
        let work = async move |say: Say<DeleteSaid>| {
            let _turn = turn;
            let tell = |said| drop(say.try_send(said));
            spans::step(&by_hand.tracer, "delete events".to_owned(), by_hand.delete_all(&wish, &tell)).await
        };
        aside::run("delete", work, tell).await
    }
}

impl ByHand {
    async fn delete_all(&self, wish: &DeleteWish, tell: DeleteTell<'_>) -> Result<Deleted, PortError> {
        let is_meant = |plan: &&Arc<Plan>| {
            wish.stream.as_deref().is_none_or(|wanted| *plan.name == *wanted)
                && wish.selection.may_be_in(&plan.name)
        };
        let mut jobs = Vec::new();
        for plan in self.plans.iter().filter(is_meant) {
            let alone = plan.rollups.iter().map(|planned| plan_of(plan, &planned.rollup)).collect();
            let selection = meant(plan, &wish.selection)?;
            let standing = self.standing(&plan.name).await?;
            jobs.push(Job { by_hand: self, plan: plan.clone(), alone, standing, selection });
        }
        let mut deleted = Deleted::default();
        // All of it is looked at first: nothing is deleted when some of it cannot be.
        for job in &jobs {
            let looking = job.look(wish, tell, &mut deleted);
            spans::step(&self.tracer, format!("look for events of {}", job.plan.name), looking).await?;
        }
        spans::note("streamgauge.events.matched", deleted.matched);
        if wish.is_dry || deleted.refused > 0 {
            return Ok(deleted);
        }
        for job in &jobs {
            let deleting = job.run(tell, &mut deleted);
            spans::step(&self.tracer, format!("delete events of {}", job.plan.name), deleting).await?;
        }
        spans::note("streamgauge.events.deleted", deleted.deleted);
        Ok(deleted)
    }
}

impl ByHand {
    /// Makes what works on the same log and store as rebuilds, and never at the same time as one.
    pub fn beside(rebuilds: &Rebuilds) -> ByHand {
        ByHand {
            open_log: rebuilds.open_log.clone(),
            manifest: rebuilds.manifest.clone(),
            archives: rebuilds.archives.clone(),
            reader: rebuilds.reader.clone(),
            rewriter: rebuilds.rewriter.clone(),
            plans: rebuilds.plans.clone(),
            seed: rebuilds.seed,
            turn: rebuilds.turn.clone(),
            tracer: rebuilds.tracer.clone(),
        }
    }
}

/// Returns conditions as a stream means them.
fn meant(plan: &Plan, selection: &Selection) -> Result<Selection, PortError> {
    let meant = selection.of_stream(&plan.stream.fields);
    meant.map_err(|error| refused(format!("where, in the stream {}: {error}", plan.name)))
}

fn refused(why: String) -> PortError {
    PortError::new(ErrorKind::Invalid, why)
}

impl ByHand {
    fn sources(&self) -> Result<Sources, PortError> {
        let (manifest, archives) = (self.manifest.clone(), self.archives.clone());
        Ok(Sources { log: (self.open_log)()?, manifest, archives })
    }

    async fn standing(&self, stream: &str) -> Result<Standing, PortError> {
        Ok(standing_of(stream, &self.reader.status(StatusDetail::Marks).await?))
    }
}

fn standing_of(stream: &str, status: &StoreStatus) -> Standing {
    let of_stream = || status.partitions.iter().filter(|known| known.stream == stream);
    let mut offsets: Vec<(u32, u64)> =
        of_stream().map(|known| (known.partition, known.next_offset)).collect();
    offsets.sort_unstable();
    Standing { offsets, deleted: of_stream().map(|known| known.ledger.deleted).sum() }
}

/// Deleting events of one stream that had been counted when it began.
struct Job<'b> {
    by_hand: &'b ByHand,
    plan: Arc<Plan>,
    /// A plan for each rollup.
    alone: Vec<Arc<Plan>>,
    standing: Standing,
    /// Which events of it are meant.
    selection: Selection,
}

/// What was found of one stream before anything is written.
#[derive(Default)]
struct Found {
    days: BTreeMap<Timestamp, u64>,
    cells: BTreeMap<(usize, Timestamp, Vec<String>), Touched>,
}

impl Job<'_> {
    /// Says what would become of the events, step by step, and writes nothing.
    async fn look(
        &self,
        wish: &DeleteWish,
        tell: DeleteTell<'_>,
        deleted: &mut Deleted,
    ) -> Result<(), PortError> {
        let mut steps = self.steps().await?;
        let stream = || self.plan.name.to_string();
        let starts = steps.source.log_starts();
        deleted.from_log.extend(starts.into_iter().map(|(partition, start)| (stream(), partition, start)));
        let mut found = Found::default();
        while let Some(events) = steps.next().await? {
            for event in &events {
                *found.days.entry(window::start_of(event.event_time, DAY_MS)).or_default() += 1;
            }
            deleted.matched += events.len() as u64;
            match self.step(&events, true).await? {
                EraseOutcome::Done { touched, .. } => {
                    deleted.cells += touched.len() as u64;
                    touched.into_iter().for_each(|one| found.add(one));
                }
                EraseOutcome::Refused(windows) => self.refuse(windows, tell, deleted),
                EraseOutcome::Missed => return Err(self.never_still()),
            }
        }
        for (day, events) in found.days {
            tell(DeleteSaid::Day { stream: stream(), day, events });
        }
        for touched in found.cells.into_values().filter(|_| wish.is_dry) {
            tell(DeleteSaid::Touched { plan: self.plan.clone(), touched });
        }
        Ok(())
    }

    async fn run(&self, tell: DeleteTell<'_>, deleted: &mut Deleted) -> Result<(), PortError> {
        let mut steps = self.steps().await?;
        while let Some(events) = steps.next().await? {
            match self.step(&events, false).await? {
                EraseOutcome::Done { deleted: more, .. } => deleted.deleted += more,
                EraseOutcome::Refused(windows) => {
                    // Retention was quicker: what was deleted before is whole in itself.
                    self.refuse(windows, tell, deleted);
                    return Ok(());
                }
                EraseOutcome::Missed => return Err(self.never_still()),
            }
            tell(DeleteSaid::Progress { stream: self.plan.name.to_string(), deleted: deleted.deleted });
        }
        Ok(())
    }

    fn refuse(&self, windows: Vec<sg_core::erase::Refused>, tell: DeleteTell<'_>, deleted: &mut Deleted) {
        for refused in windows {
            deleted.refused += 1;
            tell(DeleteSaid::Refused { plan: self.plan.clone(), refused });
        }
    }

    fn never_still(&self) -> PortError {
        let doing = format!(
            "deleting events of {}: the store never stood still for long enough: ask again when less comes in",
            self.plan.name
        );
        PortError::new(ErrorKind::Retry, doing)
    }

    async fn steps(&self) -> Result<Steps, PortError> {
        let source = Source::open(self.by_hand, &self.plan, &self.selection, &self.standing).await?;
        Ok(Steps { source, waiting: Vec::new(), is_over: false })
    }

    /// Takes one step. Cells out of which nothing can be subtracted are made again from the raw table, and where that does
    /// not reach back far enough, from the log.
    async fn step(&self, events: &[StoredEvent], is_dry: bool) -> Result<EraseOutcome, PortError> {
        let mut erase =
            Erase { plan: self.plan.clone(), events: gifts(&self.alone, events), remade: None, is_dry };
        let needs_others = |(at, alone): (usize, &Arc<Plan>)| {
            !alone.rollups[0].rollup.subtracts() && erase.events.iter().any(|event| event.gave[at].is_some())
        };
        if !self.alone.iter().enumerate().any(needs_others) {
            return self.erase(&mut erase, None).await;
        }
        if self.plan.stream.raw_table.is_some() {
            let mut remake = Remake::from_table(self.by_hand, &self.plan, &self.alone, &erase).await?;
            let outcome = self.erase(&mut erase, Some(&mut remake)).await?;
            let lacks = |one: &sg_core::erase::Refused| one.obstacle == Obstacle::Incomplete;
            if !matches!(&outcome, EraseOutcome::Refused(windows) if windows.iter().any(lacks)) {
                return Ok(outcome);
            }
        }
        let mut remake = Remake::from_log(self.by_hand, &self.plan, &self.alone, &erase).await?;
        self.erase(&mut erase, Some(&mut remake)).await
    }

    async fn erase(
        &self,
        erase: &mut Erase,
        mut remake: Option<&mut Remake>,
    ) -> Result<EraseOutcome, PortError> {
        for tried in 0..TRIES_MAX {
            if tried > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            if let Some(remake) = &mut remake {
                erase.remade = Some(remake.advance(self.by_hand, &self.plan).await?);
            }
            let outcome = self.by_hand.rewriter.erase(erase).await?;
            if outcome != EraseOutcome::Missed {
                return Ok(outcome);
            }
        }
        Ok(EraseOutcome::Missed)
    }
}

impl Found {
    fn add(&mut self, touched: Touched) {
        let key = (touched.rollup, touched.pane, touched.dimensions.clone());
        if let Some(known) = self.cells.get_mut(&key) {
            known.taken += touched.taken;
        } else if self.cells.len() < LISTED_MAX {
            self.cells.insert(key, touched);
        }
    }
}

/// The events of a source, as many at once as one step takes.
struct Steps {
    source: Source,
    waiting: Vec<StoredEvent>,
    is_over: bool,
}

impl Steps {
    async fn next(&mut self) -> Result<Option<Vec<StoredEvent>>, PortError> {
        while !self.is_over && self.waiting.len() < DELETED_AT_ONCE {
            match self.source.next().await? {
                Some(events) => self.waiting.extend(events.into_iter().map(|(event, _)| event)),
                None => self.is_over = true,
            }
        }
        let count = self.waiting.len().min(DELETED_AT_ONCE);
        let rest = self.waiting.split_off(count);
        let events = std::mem::replace(&mut self.waiting, rest);
        Ok((!events.is_empty()).then_some(events))
    }
}
