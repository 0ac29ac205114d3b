//! Gives every partition that is this process's an owner, as long as it is: starts owners, stops them in time, and
//! starts them again when another process had the partition for a while. Folds nothing itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sg_core::plan::Plan;
use sg_core::ports::{Change, ErrorKind, Membership, PartitionName, PortError};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::fleet::Fleet;
use crate::owner::{Leave, Owner, Partition, Progress, Settings, Stop, Stopped};

/// How long owners may take to flush a partition that others wait for; then it is given up as it is.
const RELEASE_MAX: Duration = Duration::from_secs(5);
/// How often the log's own tools are told how far partitions are flushed.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// The pause before the log is asked again after it failed.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// The owners of a process.
pub struct Crew {
    plans: Vec<Arc<Plan>>,
    settings: Settings,
    fleet: Arc<Fleet>,
    /// Told when a partition stopped in a process that shares nothing: it stands still for ever.
    told: mpsc::Sender<Stopped>,
    owners: JoinSet<(PartitionName, u64)>,
    /// The owners at work, each with the number it was started under.
    at_work: HashMap<PartitionName, (u64, Stop)>,
    started: u64,
}

impl Crew {
    /// Makes a crew without owners; `told` hears of owners that stopped by themselves where no other process would
    /// take over.
    pub fn new(
        plans: Vec<Arc<Plan>>,
        settings: Settings,
        fleet: Arc<Fleet>,
        told: mpsc::Sender<Stopped>,
    ) -> Crew {
        Crew { plans, settings, fleet, told, owners: JoinSet::new(), at_work: HashMap::new(), started: 0 }
    }

    /// Works until told to stop, then lets all owners finish and leaves.
    ///
    /// # Errors
    /// When the log can not be joined for a reason that will not pass.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), PortError> {
        let Some(mut membership) = self.join(&stop).await? else { return Ok(()) };
        let mut report_due = Instant::now() + REPORT_INTERVAL;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                change = membership.change() => match change {
                    Ok(change) => self.change(change, membership.as_mut()).await,
                    Err(error) => {
                        tracing::warn!("sharing partitions: {error}; joining anew");
                        let all: Vec<PartitionName> = self.at_work.keys().cloned().collect();
                        self.give_up(&all).await;
                        membership.leave().await;
                        tokio::time::sleep(FAILURE_PAUSE).await;
                        let Some(joined) = self.join(&stop).await? else { return Ok(()) };
                        membership = joined;
                    }
                },
                Some(ended) = self.owners.join_next() => self.ended(ended),
                () = tokio::time::sleep_until(report_due) => {
                    report_due = Instant::now() + REPORT_INTERVAL;
                    membership.report(&self.flushed()).await;
                }
            }
        }
        let all: Vec<PartitionName> = self.at_work.keys().cloned().collect();
        if membership.told_within().is_some() {
            // Others are waiting, and fold what is not flushed in time.
            self.give_up(&all).await;
        } else {
            self.ask(&all, Leave::Drained);
            self.all_ended(&all).await;
        }
        membership.report(&self.flushed()).await;
        membership.leave().await;
        Ok(())
    }

    async fn join(&self, stop: &CancellationToken) -> Result<Option<Box<dyn Membership>>, PortError> {
        let streams: Vec<String> = self.plans.iter().map(|plan| plan.name.to_string()).collect();
        loop {
            match self.settings.log.join(&streams).await {
                Err(error) if error.kind == ErrorKind::Retry => {
                    tracing::warn!("joining those who share the log: {error}");
                    tokio::select! {
                        () = stop.cancelled() => return Ok(None),
                        () = tokio::time::sleep(FAILURE_PAUSE) => {}
                    }
                }
                joined => return joined.map(Some),
            }
        }
    }

    async fn change(&mut self, change: Change, membership: &mut dyn Membership) {
        match change {
            Change::Assigned(partitions) => {
                for name in partitions {
                    tracing::info!(stream = %name.0, partition = name.1, "partition assigned");
                    self.start(name, membership.told_within());
                }
            }
            Change::Revoked(partitions) => {
                tracing::info!(?partitions, "partitions revoked");
                self.give_up(&partitions).await;
                membership.report(&self.flushed()).await;
                membership.released().await;
            }
            Change::Lost(partitions) => {
                tracing::warn!(?partitions, "partitions lost to other processes");
                self.ask(&partitions, Leave::Dropped);
                self.forget(&partitions);
            }
        }
    }

    /// Lets owners flush what is folded, for a while, then goes on without them.
    async fn give_up(&mut self, partitions: &[PartitionName]) {
        self.ask(partitions, Leave::Flushed);
        let ended = tokio::time::timeout(RELEASE_MAX, self.all_ended(partitions)).await;
        if ended.is_err() {
            tracing::warn!("flushing took too long; what is not flushed follows from the log");
            self.ask(partitions, Leave::Dropped);
        }
        self.forget(partitions);
    }

    fn start(&mut self, name: PartitionName, told_within: Option<Duration>) {
        let Some(plan) = self.plans.iter().find(|plan| *plan.name == *name.0).cloned() else {
            tracing::error!(stream = %name.0, "a partition of an unknown stream was assigned");
            return;
        };
        self.started += 1;
        let (number, stop) = (self.started, Stop::below(&CancellationToken::new()));
        self.at_work.insert(name.clone(), (number, stop.clone()));
        let place = Place {
            plan,
            number: name.1,
            settings: self.settings.clone(),
            fleet: self.fleet.clone(),
            told: self.told.clone(),
            told_within,
        };
        // Folding keeps a core busy for milliseconds: it has a thread of its own, so that requests do not wait for it,
        // and not one of the runtime's, which are for work that ends.
        let runtime = tokio::runtime::Handle::current();
        let (told, ended) = oneshot::channel();
        let work = move || {
            runtime.block_on(place.fill(&stop));
            // Nobody listens to an owner that was given up.
            told.send(()).ok();
        };
        let started = std::thread::Builder::new().name(format!("{}/{}", name.0, name.1)).spawn(work);
        if let Err(error) = started {
            tracing::error!(stream = %name.0, partition = name.1, "starting an owner's thread: {error}");
        }
        self.owners.spawn(async move {
            // An error means that the thread has ended badly, or never begun.
            drop(ended.await);
            (name, number)
        });
    }

    fn ask(&self, partitions: &[PartitionName], leave: Leave) {
        for (_, stop) in partitions.iter().filter_map(|name| self.at_work.get(name)) {
            stop.ask(leave);
        }
    }

    async fn all_ended(&mut self, partitions: &[PartitionName]) {
        while partitions.iter().any(|name| self.at_work.contains_key(name)) {
            match self.owners.join_next().await {
                Some(ended) => self.ended(ended),
                None => return,
            }
        }
    }

    fn ended(&mut self, ended: Result<(PartitionName, u64), tokio::task::JoinError>) {
        match ended {
            Ok((name, number)) => {
                if self.at_work.get(&name).is_some_and(|(known, _)| *known == number) {
                    self.at_work.remove(&name);
                }
            }
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    /// An owner that does not end in time goes on without being listened to: its epoch keeps it from writing.
    fn forget(&mut self, partitions: &[PartitionName]) {
        for name in partitions {
            self.at_work.remove(name);
        }
    }

    fn flushed(&self) -> Vec<(String, u32, u64)> {
        let owners = self.fleet.owners();
        owners
            .iter()
            .map(|owner| (owner.stream.clone(), owner.partition, *owner.flushed.borrow()))
            .filter(|(.., flushed)| *flushed > 0)
            .collect()
    }
}

/// A partition of this process, and what its owners need.
struct Place {
    plan: Arc<Plan>,
    number: u32,
    settings: Settings,
    fleet: Arc<Fleet>,
    told: mpsc::Sender<Stopped>,
    told_within: Option<Duration>,
}

impl Place {
    /// Keeps an owner in the place until told to stop, or until one stops for good.
    async fn fill(self, stop: &Stop) {
        let Some(of) = self.partitions(stop).await else { return };
        loop {
            let progress = Arc::new(Progress::new(&self.plan.name, self.number));
            self.fleet.enlist(progress.clone());
            let partition = Partition { plan: self.plan.clone(), number: self.number, of };
            let owner = Owner::new(partition, self.settings.clone(), progress.clone());
            let stopped = owner.run(stop).await;
            match (stopped, self.told_within) {
                (Stopped::Fenced { .. }, Some(told_within)) if !stop.is_asked() => {
                    // Either the group tells soon that the partition is another's, or two groups share one store.
                    tokio::select! {
                        () = stop.asked() => {}
                        () = tokio::time::sleep(told_within + self.jitter(told_within)) => {}
                    }
                    self.fleet.dismiss(&progress);
                    if stop.is_asked() {
                        return;
                    }
                    self.settings.metrics.reclaims.add(1);
                    tracing::warn!(
                        stream = %self.plan.name, partition = self.number,
                        "another process had claimed the partition, and it is still ours: claiming it again;                          two servers with different groups on one store look like this"
                    );
                }
                (Stopped::Asked | Stopped::Fenced { .. }, Some(_)) | (Stopped::Asked, None) => {
                    self.fleet.dismiss(&progress);
                    return;
                }
                (stopped, None) => {
                    // A full channel means that the process is leaving already.
                    drop(self.told.try_send(stopped));
                    return;
                }
                // It stands still, and says so, until it is another's or the process ends.
                (Stopped::Port(_) | Stopped::Apart(_), Some(_)) => {
                    stop.asked().await;
                    self.fleet.dismiss(&progress);
                    return;
                }
            }
        }
    }

    /// Returns how many partitions the stream has, once the log says it; `None` when told to stop before.
    async fn partitions(&self, stop: &Stop) -> Option<u32> {
        loop {
            match self.settings.log.partitions(&self.plan.name).await {
                Ok(count) => return Some(count),
                Err(error) => tracing::warn!(stream = %self.plan.name, "counting partitions: {error}"),
            }
            tokio::select! {
                () = stop.asked() => return None,
                () = tokio::time::sleep(FAILURE_PAUSE) => {}
            }
        }
    }

    /// Spreads processes that claim the same partition in turn.
    fn jitter(&self, most: Duration) -> Duration {
        let now = self.settings.clock.now().0.unsigned_abs();
        let share = (now ^ self.settings.seed) % 1_000;
        most.mul_f64(share as f64 / 1_000.0)
    }
}
