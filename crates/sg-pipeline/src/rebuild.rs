//! Makes the cells of a rollup again from log and archive, compares them with those of the store and replaces what
//! differs, while the server goes on counting. Gives no event another fate: whatever cannot be shown to be what it was the
//! first time is refused, and windows whose records are not all there are left as they are.
//!
//! Nothing is locked while records are read. What was made holds for an offset of each partition; the store replaces
//! cells only while every partition stands there, and else the few records since are folded too.

mod adopt;
pub(crate) mod again;
mod begin;
mod compare;
mod records;

use std::sync::Arc;

use async_trait::async_trait;
use sg_core::flush::Ledger;
use sg_core::fold::{Beginning, Fold};
use sg_core::plan::Plan;
use sg_core::ports::{ErrorKind, PortError, Rebuilder, Rewriter, RollupReader};
use sg_core::rebuild::{MadeCell, Rebuilt, Rewrite, RewriteOutcome, Said, Settled, Tell, Wish};
use sg_core::time::Timestamp;
use sg_core::window;

use crate::aside::{self, Say};
use crate::mending::{Mending, refused};
use crate::spans::{self, Tracer};

use again::Again;
use begin::Standing;
pub use records::Sources;

/// What makes cells again.
#[derive(Clone)]
pub struct Rebuild {
    /// Where the records are to be had.
    pub sources: Sources,
    /// The store's reading side.
    pub reader: Arc<dyn RollupReader>,
    /// The store's side that replaces cells.
    pub rewriter: Arc<dyn Rewriter>,
    /// The stream's plan.
    pub plan: Arc<Plan>,
    /// The rollup's place in it.
    pub rollup: usize,
    /// Windows that start from here to before there.
    pub range: (Timestamp, Timestamp),
    /// Compares only.
    pub is_dry: bool,
    /// The secret of the duplicates' hash.
    pub seed: u64,
    /// Cells in memory at once; more are made in several passes over the log.
    pub cells_max: usize,
    /// The same by their bytes, those of sketches included.
    pub memory_max: usize,
    /// Makes spans of its steps.
    pub tracer: Tracer,
}

/// Cells in memory at once unless a test says otherwise.
pub const CELLS_MAX: usize = 2_000_000;
/// Bytes of cells in memory at once unless a test says otherwise.
pub const MEMORY_MAX: usize = 512 << 20;

/// All windows.
const ALL: (Timestamp, Timestamp) = (Timestamp::NEVER, Timestamp(i64::MAX));

/// How often what was made is brought up to a store that has moved on, before somebody has to ask again.
const TRIES_MAX: u32 = 200;

/// Makes cells of any rollup again, one rollup at a time.
pub struct Rebuilds(pub Mending);

#[async_trait]
impl Rebuilder for Rebuilds {
    async fn rebuild(&self, wish: &Wish, tell: Tell<'_>) -> Result<Rebuilt, PortError> {
        let rebuild = self.of(wish)?;
        let turn = self.0.take_turn("rebuilding")?;
        let work = async move |say: Say<Said>| {
            let _turn = turn;
            rebuild.run(&|said| drop(say.try_send(said))).await
        };
        aside::run("rebuild", work, tell).await
    }
}

impl Rebuilds {
    /// Returns what makes the cells again that somebody wishes for.
    fn of(&self, wish: &Wish) -> Result<Rebuild, PortError> {
        let place =
            |plan: &Arc<Plan>| plan.rollups.iter().position(|planned| planned.rollup.name == wish.rollup);
        let mending = &self.0;
        let found = mending.plans.iter().find_map(|plan| Some((plan.clone(), place(plan)?)));
        let (plan, rollup) = found.ok_or_else(|| refused(format!("there is no rollup {}", wish.rollup)))?;
        Ok(Rebuild {
            sources: mending.sources()?,
            reader: mending.reader.clone(),
            rewriter: mending.rewriter.clone(),
            plan,
            rollup,
            range: (wish.from.unwrap_or(ALL.0), wish.to.unwrap_or(ALL.1)),
            is_dry: wish.is_dry,
            seed: mending.seed,
            cells_max: CELLS_MAX,
            memory_max: MEMORY_MAX,
            tracer: mending.tracer.clone(),
        })
    }
}

/// One pass over the records, for one slice of time.
struct Pass {
    parts: Vec<Again>,
    /// Where its slice of time ends.
    to: Timestamp,
    /// Windows that end no later had been removed when it began.
    removed_at_first: Timestamp,
    /// The same now.
    removed_before: Timestamp,
    /// Events deleted by hand when it began.
    deleted: u64,
    is_backfill: bool,
}

impl Rebuild {
    /// Makes the cells again.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when it cannot be shown what became of the records; nothing is changed then. Those of the log
    /// and the store, after which cells that were replaced are right and the others are as they were.
    pub async fn run(&self, tell: Tell<'_>) -> Result<Rebuilt, PortError> {
        let rollup = &self.plan.rollups[self.rollup].rollup.name;
        spans::step(&self.tracer, format!("rebuild {rollup}"), self.run_all(tell)).await
    }

    async fn run_all(&self, tell: Tell<'_>) -> Result<Rebuilt, PortError> {
        let rollup = &self.plan.rollups[self.rollup].rollup;
        let (from, to) = self.range;
        let from = if from == Timestamp::NEVER { from } else { window::start_of(from, rollup.window_ms) };
        let to = if to == ALL.1 { to } else { window::end_of(Timestamp(to.0 - 1), rollup.window_ms) };
        let mut slices = vec![(from, to)];
        let mut rebuilt = Rebuilt::default();
        while let Some(slice) = slices.pop() {
            let standing = self.standing().await?;
            let mut pass = self.begin(&standing, slice, tell).await?;
            let reading = self.read(&mut pass, &standing, tell);
            if let Some(middle) = self.step("read records of", reading).await? {
                rebuilt.records += pass.records();
                // The oldest comes last: of the windows that retention removes meanwhile, the last pass knows the cells.
                slices.extend([(slice.0, middle), (middle, slice.1)]);
                continue;
            }
            self.check_ledgers(&pass, &standing)?;
            let comparing = self.differing(&mut pass, slice, &mut rebuilt, tell);
            let keys = self.step("compare cells of", comparing).await?;
            self.step("replace cells of", self.replace_all(&mut pass, &keys, &mut rebuilt, tell)).await?;
            let is_last = slices.is_empty() && self.range == ALL;
            if pass.is_backfill && is_last && !self.is_dry {
                self.replace(&mut pass, &[], true, &mut rebuilt, tell).await?;
                rebuilt.is_backfilled = true;
            }
            rebuilt.records += pass.records();
            rebuilt.is_whole = standing.is_whole;
        }
        spans::note("streamgauge.records", rebuilt.records);
        spans::note("streamgauge.cells.differing", rebuilt.differing);
        Ok(rebuilt)
    }

    /// Does one of the steps of which a rebuild is made.
    async fn step<T>(
        &self,
        doing: &str,
        work: impl Future<Output = Result<T, PortError>>,
    ) -> Result<T, PortError> {
        let rollup = &self.plan.rollups[self.rollup].rollup.name;
        spans::step(&self.tracer, format!("{doing} {rollup}"), work).await
    }

    /// Has the store replace what differs, some cells at a time.
    async fn replace_all(
        &self,
        pass: &mut Pass,
        keys: &[compare::Key],
        rebuilt: &mut Rebuilt,
        tell: Tell<'_>,
    ) -> Result<(), PortError> {
        for chunk in keys.chunks(compare::CELLS_AT_ONCE) {
            self.replace(pass, chunk, false, rebuilt, tell).await?;
            // Who listens hears that it goes on.
            pass.parts.iter().take(1).for_each(|part| tell(part.said(part.fold().next_offset())));
        }
        Ok(())
    }

    /// Reads all partitions up to where the store stands; returns where to cut the slice when it has too many cells.
    async fn read(
        &self,
        pass: &mut Pass,
        standing: &Standing,
        tell: Tell<'_>,
    ) -> Result<Option<Timestamp>, PortError> {
        let rollup = &self.plan.rollups[self.rollup].rollup;
        for at in 0..pass.parts.len() {
            let others: usize = pass.parts.iter().map(Again::cells).sum();
            let room = self.cells_max.saturating_sub(others - pass.parts[at].cells());
            let others: usize = pass.parts.iter().map(Again::memory).sum();
            let bytes_room = self.memory_max.saturating_sub(others - pass.parts[at].memory());
            let end = standing.partitions[at].next_offset;
            let part = &mut pass.parts[at];
            let enough = |folds: &[Fold]| {
                let cells = &folds[0].made(0).0.cells;
                cells.len() > room || cells.memory() > bytes_room
            };
            while !part.advance(&*self.rewriter, end, &enough).await? {
                tell(part.said(end));
                if enough(part.folds()) {
                    let middle = compare::middle(rollup, &pass.parts);
                    let too_many = || {
                        let (cells, mib) = (self.cells_max, self.memory_max >> 20);
                        refused(format!(
                            "rebuilding {}: one window has more than {cells} cells, or takes more than {mib} MiB",
                            rollup.name
                        ))
                    };
                    return middle.map(Some).ok_or_else(too_many);
                }
            }
        }
        Ok(None)
    }

    /// Refuses to go on when the records give another ledger than they gave the first time: then something that decides
    /// fates is not what it was, such as the duplicate window, or records are missing, and the cells would be wrong too.
    fn check_ledgers(&self, pass: &Pass, standing: &Standing) -> Result<(), PortError> {
        for (part, known) in pass.parts.iter().zip(&standing.partitions) {
            let Some(before) = part.ledger_before() else { continue };
            let is_first = matches!(part.beginning, Beginning::First(_));
            let (mine, stored) = (part.fold().made(0).1, fates(known.ledger, is_first));
            let before_skipped = before.skipped;
            let before = fates(before, is_first);
            let mut made = fates(mine, is_first);
            made.iter_mut().zip(before).for_each(|(made, before)| *made += before);
            let lost_since = (part.fold().skipped() + before_skipped).saturating_sub(known.ledger.skipped);
            if made != stored && lost_since > 0 {
                return Err(refused(format!(
                    "rebuilding {}: the log has lost the records of {lost_since} offsets of partition {} of {} after they were \
                     counted, and went on without them as it was told to: the cells cannot be made again and stay as they are",
                    self.plan.rollups[self.rollup].rollup.name, part.partition, self.plan.name
                )));
            }
            if made != stored {
                return Err(refused(format!(
                    "rebuilding {}: the records of partition {} of {} do not have the fates that they had (processed, \
                     counted, deleted, duplicates, dead letters: {:?} instead of {:?}); has the duplicate window or the \
                     number of partitions changed since, is a part of log or archive missing, or was the store imported?",
                    self.plan.rollups[self.rollup].rollup.name, part.partition, self.plan.name, made, stored
                )));
            }
        }
        Ok(())
    }

    /// Has the store replace cells, after folding what has come since until the store stands still for a moment.
    async fn replace(
        &self,
        pass: &mut Pass,
        keys: &[compare::Key],
        is_end: bool,
        rebuilt: &mut Rebuilt,
        tell: Tell<'_>,
    ) -> Result<(), PortError> {
        let window_ms = self.plan.rollups[self.rollup].rollup.window_ms;
        for _ in 0..TRIES_MAX {
            let is_kept = |key: &&compare::Key| window::end_of(key.0, window_ms) > pass.removed_before;
            let kept = keys.iter().filter(is_kept);
            let cells: Vec<MadeCell> = kept.map(|key| compare::made(&pass.parts, key)).collect();
            let rewrite = Rewrite {
                plan: self.plan.clone(),
                rollup: self.rollup,
                offsets: pass.parts.iter().map(|part| (part.partition, part.fold().next_offset())).collect(),
                deleted: pass.deleted,
                removed_before: pass.removed_before,
                cells,
                is_known: pass.is_known(),
                is_backfill: pass.is_backfill,
                is_dry: self.is_dry,
                settled: if is_end { pass.settled()? } else { Vec::new() },
            };
            match self.rewriter.rewrite(&rewrite).await? {
                RewriteOutcome::Done { differences } => {
                    rebuilt.differing += differences.len() as u64;
                    rebuilt.left += differences.iter().filter(|one| one.is_left).count() as u64;
                    differences.into_iter().for_each(|one| tell(Said::Differs(Box::new(one))));
                    return Ok(());
                }
                RewriteOutcome::Missed => self.catch_up(pass).await?,
            }
        }
        let doing = format!(
            "rebuilding {}: the store never stood still for long enough: ask again when less comes in",
            self.plan.rollups[self.rollup].rollup.name
        );
        Err(PortError::new(ErrorKind::Retry, doing))
    }

    async fn catch_up(&self, pass: &mut Pass) -> Result<(), PortError> {
        let standing = self.standing().await?;
        let is_same = standing.deleted() == pass.deleted && standing.partitions.len() == pass.parts.len();
        if !is_same {
            let doing = "rebuilding: events were deleted, or a partition was added meanwhile: ask again";
            return Err(PortError::new(ErrorKind::Retry, doing));
        }
        // Windows that retention has removed meanwhile are no longer written.
        pass.removed_before = standing.rollup.removed_before;
        for (part, known) in pass.parts.iter_mut().zip(&standing.partitions) {
            while !part.advance(&*self.rewriter, known.next_offset, &|_| false).await? {}
        }
        Ok(())
    }
}

/// What became of records. An event may be deleted by hand at any time, also after a mark that has it as counted: then
/// only the sum of both tells.
fn fates(of: Ledger, is_first: bool) -> [u64; 5] {
    let (counted, deleted) = if is_first { (of.counted, of.deleted) } else { (of.counted + of.deleted, 0) };
    [of.processed, counted, deleted, of.duplicate, of.dead_lettered]
}

impl Pass {
    /// Returns whether every record that was folded got the fate that it had.
    fn is_known(&self) -> bool {
        self.parts.iter().all(|part| part.beginning.is_known())
    }

    /// Returns where the windows begin of which all records were folded; beyond all where none are.
    fn complete_from(&self) -> Timestamp {
        let of = |part: &Again| part.fold().complete_from().unwrap_or(ALL.1);
        self.parts.iter().map(of).max().unwrap_or(Timestamp::NEVER)
    }

    /// Returns what the rollup's ledger must say when it has seen every record.
    fn settled(&self) -> Result<Vec<Settled>, PortError> {
        if self.removed_before > self.removed_at_first.max(self.to) {
            let doing =
                "rebuilding: retention removed more windows than were made in the last pass: ask again";
            return Err(PortError::new(ErrorKind::Retry, doing));
        }
        Ok(self.parts.iter().map(|part| settled(part, self.removed_before)).collect())
    }

    fn records(&self) -> u64 {
        self.parts.iter().map(|part| part.fold().made(0).1.processed).sum()
    }
}

fn settled(part: &Again, removed_before: Timestamp) -> Settled {
    let (delta, ledger, tally) = part.fold().made(0);
    let (gone, bases) = part.fold().gone(0, removed_before);
    debug_assert_eq!(delta.folded, ledger.counted + ledger.deleted, "Invariant: every event is fed");
    Settled {
        partition: part.partition,
        first_offset: part.first_offset(),
        folded: delta.folded,
        diverted: tally.diverted,
        gone,
        bases,
        unfit: tally.unfit,
        deleted: tally.deleted,
    }
}
