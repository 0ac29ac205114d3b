//! Log → archive: reads the log with a position of its own and puts every record into a file, once. Waits for nobody
//! and nobody waits for it: a bucket that is slow or away only makes its own lag grow. What a file is made of and where
//! it lies is the archive's business; that it counts, the manifest's. `lines` does the same for files of what flushes tell.

mod back;
mod lines;
mod partition;
mod sweep;
mod traced;
mod upload;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sg_core::archive::ArchiveRules;
use sg_core::metrics::ArchiveMetrics;
use sg_core::ports::{Archive, Change, ErrorKind, EventLog, Manifest, Membership, PartitionName, PortError};
use sg_core::time::Clock;
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

use crate::spans::Tracer;

pub use back::Back;
pub use lines::{LineFiles, LineWriters};
use partition::Archiver;
pub use sweep::Sweeper;

/// The pause before the log is asked again after it failed.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);
/// How long archivers may take to write what they have gathered when they are told to stop: the log has it all.
const RELEASE_MAX: Duration = Duration::from_secs(4);

/// A stream that is archived.
#[derive(Clone)]
pub struct ArchivedStream {
    /// The stream's name.
    pub stream: String,
    /// How it is archived.
    pub rules: Arc<ArchiveRules>,
    /// Where to.
    pub archive: Arc<dyn Archive>,
}

/// What archivers work with.
#[derive(Clone)]
pub struct Settings {
    /// The log; where others share it, a handle of its own: the fold reads the same partitions.
    pub log: Arc<dyn EventLog>,
    /// The store's record of what is archived.
    pub manifest: Arc<dyn Manifest>,
    /// The streams.
    pub streams: Vec<ArchivedStream>,
    /// The clock by which files are named and grow old.
    pub clock: Arc<dyn Clock>,
    /// The archive's counters.
    pub metrics: Arc<ArchiveMetrics>,
    /// The process's name on the status page.
    pub name: String,
    /// Tells this process's files from any other's.
    pub seed: u64,
    /// Makes spans of cuts.
    pub tracer: Tracer,
}

/// The archivers of a process: one for each partition that is its own.
pub struct Archivers {
    settings: Settings,
    /// Whoever is far behind takes it for files of full size: one at a time, so that memory is bounded.
    large: Arc<Semaphore>,
    at_work: HashMap<PartitionName, (CancellationToken, oneshot::Receiver<()>)>,
}

impl Archivers {
    /// Makes archivers that have no partition yet.
    pub fn new(settings: Settings) -> Archivers {
        Archivers { settings, large: Arc::new(Semaphore::new(1)), at_work: HashMap::new() }
    }

    /// Works until told to stop.
    ///
    /// # Errors
    /// When the log can not be joined for a reason that will not pass.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), PortError> {
        loop {
            let joined = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                joined = self.join() => joined,
            };
            match joined {
                Ok(mut membership) => {
                    let ended = self.share(membership.as_mut(), &stop).await;
                    self.give_up_all().await;
                    membership.leave().await;
                    let Err(error) = ended else { return Ok(()) };
                    tracing::warn!("sharing the archive's partitions: {error}; joining anew");
                }
                Err(error) if error.kind == ErrorKind::Retry => {
                    tracing::warn!("joining those who share the archive: {error}");
                }
                Err(error) => return Err(error),
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(FAILURE_PAUSE) => {}
            }
        }
    }

    async fn join(&self) -> Result<Box<dyn Membership>, PortError> {
        let streams: Vec<String> =
            self.settings.streams.iter().map(|archived| archived.stream.clone()).collect();
        self.settings.log.join(&streams).await
    }

    /// Follows the changes until told to stop, or until the membership fails.
    async fn share(
        &mut self,
        membership: &mut dyn Membership,
        stop: &CancellationToken,
    ) -> Result<(), PortError> {
        loop {
            let change = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                change = membership.change() => change?,
            };
            match change {
                Change::Assigned(partitions) => {
                    for name in partitions {
                        self.start(name, membership.told_within());
                    }
                }
                Change::Revoked(partitions) => {
                    self.give_up(&partitions).await;
                    membership.released().await;
                }
                // Whatever they still do is refused by the manifest: their epoch is past.
                Change::Lost(partitions) => self.give_up(&partitions).await,
            }
        }
    }

    fn start(&mut self, name: PartitionName, told_within: Option<Duration>) {
        let archived = self.settings.streams.iter().find(|archived| archived.stream == name.0);
        let Some(archived) = archived.cloned() else { return };
        let stop = CancellationToken::new();
        let (told, ended) = oneshot::channel();
        let (stream, number) = name.clone();
        let archiver = Archiver::new(
            archived,
            number,
            self.settings.clone(),
            (self.large.clone(), told_within),
            stop.clone(),
        );
        let runtime = tokio::runtime::Handle::current();
        // Packing files keeps a core busy for long: it has a thread of its own, as folding has. At the same priority:
        // threads that the runtime begins from here inherit it, and serve everybody.
        let work = move || {
            runtime.block_on(archiver.run());
            // Nobody listens to an archiver that was given up.
            told.send(()).ok();
        };
        let started = std::thread::Builder::new().name(format!("arc {stream}/{number}")).spawn(work);
        if let Err(error) = started {
            tracing::error!(%stream, partition = number, "starting an archiver's thread: {error}");
        }
        self.at_work.insert(name, (stop, ended));
    }

    async fn give_up_all(&mut self) {
        let all: Vec<PartitionName> = self.at_work.keys().cloned().collect();
        self.give_up(&all).await;
    }

    /// Lets archivers write what they have gathered, for a while, then goes on without them.
    async fn give_up(&mut self, partitions: &[PartitionName]) {
        let leaving: Vec<_> = partitions.iter().filter_map(|name| self.at_work.remove_entry(name)).collect();
        for (_, (stop, _)) in &leaving {
            stop.cancel();
        }
        let deadline = tokio::time::Instant::now() + RELEASE_MAX;
        for ((stream, number), (_, ended)) in leaving {
            if tokio::time::timeout_at(deadline, ended).await.is_err() {
                tracing::info!(%stream, partition = number, "the archive follows from the log");
            }
            self.settings.metrics.leaves(&stream, number);
        }
    }
}
