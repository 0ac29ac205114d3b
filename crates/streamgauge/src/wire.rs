//! From settings to objects: the only place that knows which log, which store and which archive run.

mod archive;
mod directory;
mod disk;
#[cfg(feature = "kafka")]
pub(crate) mod kafka;
mod reached;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use sg_core::metrics::Metrics;
use sg_core::plan::Plan;
use sg_core::ports::{
    ErrorKind, EventLog, KeyStore, Manifest, OutputTopics, PortError, Rewriter, RollupReader, RollupWriter,
};
use sg_core::time::Clock;
use sg_log::{EmbeddedLog, Options, Reached, RealDisk};
use sg_pipeline::archiver::{ArchivedStream, LineFiles};
use sg_pipeline::mending::{Mending, OpenLog};
use sg_pipeline::rebuild::Rebuilds;
use sg_store::sqlite::SqliteStore;
use tokio::sync::watch;

use crate::cloudwatch::CloudWatch;
use crate::config::Settings;
use crate::config::settings::{LogChoice, StoreChoice};
use crate::traces::Traces;
use directory::{keeps_files, lock};

/// Newest batches that wait in memory for the fold: some hundredths of a second at full speed, so that a fold that is
/// held up for a moment need not read the disk.
const TAIL_BYTES_MAX: usize = 12 << 20;

/// How long a server waits for the log and the store when it starts, and the pause between two tries.
const START_PATIENCE: Duration = Duration::from_secs(60);
const START_PAUSE: Duration = Duration::from_secs(1);

pub(crate) use directory::refuse_used;
pub(crate) use reached::{check_log, reached_by};
#[cfg(feature = "postgres")]
pub(crate) use sg_store::postgres::{Looked, look as look_at_postgres};

/// Why the parts could not be put together, as an exit code and a cause.
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) error: anyhow::Error,
}

impl Failure {
    pub(crate) fn of_port(error: PortError) -> Failure {
        let code = match error.kind {
            ErrorKind::Invalid => crate::exit::CONFIGURATION,
            ErrorKind::Retry => crate::exit::UNAVAILABLE,
            ErrorKind::Full | ErrorKind::Corrupt | ErrorKind::Closed => crate::exit::INTERNAL,
        };
        Failure { code, error: error.into() }
    }

    #[cfg(not(all(feature = "kafka", feature = "postgres")))]
    fn not_built(feature: &str) -> Failure {
        let error = anyhow::anyhow!("this binary was built without the feature {feature}");
        Failure { code: crate::exit::CONFIGURATION, error }
    }

    /// A failure of files of this machine: what may pass by itself is the disk's failure all the same.
    fn of_disk(error: PortError) -> Failure {
        let code =
            if error.kind == ErrorKind::Invalid { crate::exit::CONFIGURATION } else { crate::exit::INTERNAL };
        Failure { code, error: error.into() }
    }

    fn internal(error: anyhow::Error) -> Failure {
        Failure { code: crate::exit::INTERNAL, error }
    }
}

/// The parts of a server.
pub(crate) struct Parts {
    pub(crate) log: LogParts,
    pub(crate) writer: Arc<dyn RollupWriter>,
    pub(crate) reader: Arc<dyn RollupReader>,
    pub(crate) manifest: Arc<dyn Manifest>,
    pub(crate) archive: ArchiveParts,
    pub(crate) rebuilds: Arc<Rebuilds>,
    pub(crate) keys: Arc<dyn KeyStore>,
    pub(crate) store_name: &'static str,
    pub(crate) plans: Vec<Arc<Plan>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<Metrics>,
    /// Publishes metrics; `None` where nobody asked for it.
    pub(crate) cloudwatch: Option<CloudWatch>,
    /// Spans on their way to a collector; `None` where nothing is traced.
    pub(crate) traces: Option<Traces>,
    /// Held as long as the process works on the data directory, which it names.
    lock: Option<(File, PathBuf)>,
}

impl Parts {
    /// Returns who makes spans.
    pub(crate) fn tracer(&self) -> sg_http::Tracer {
        self.traces.as_ref().map(|traces| traces.tracer.clone())
    }

    /// Returns what adds the metrics of the parts.
    pub(crate) fn more_metrics(&self) -> Box<dyn Fn(&mut String) + Send + Sync> {
        let log = self.log.metrics.clone();
        let traces = self.traces.as_ref().map(|traces| traces.metrics.clone());
        let data_dir = self.lock.as_ref().map(|(_, data_dir)| data_dir.clone());
        Box::new(move |out| {
            log(out);
            data_dir.iter().for_each(|data_dir| disk::render(data_dir, out));
            traces.iter().for_each(|traces| traces.render(out));
        })
    }
}

/// What is archived, and the log to read it from.
pub(crate) struct ArchiveParts {
    /// Streams that are archived by a process of this role.
    pub(crate) streams: Vec<ArchivedStream>,
    /// Files of closed windows and late events.
    pub(crate) files: Vec<LineFiles>,
    /// The log, for archivers of this process; where others share the log, a handle of its own.
    pub(crate) log: Arc<dyn EventLog>,
}

/// A log and what the server asks of it beside the port.
pub(crate) struct LogParts {
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) name: &'static str,
    /// Whether the log is this process's own: its newest records are in memory, and nobody else reads it.
    pub(crate) is_own: bool,
    /// Makes a handle to the log whose readers take nothing from those of the owners.
    pub(crate) another: OpenLog,
    /// Says when the log has failed for good; `None` where it comes back, or a single partition stops.
    pub(crate) failure: Option<watch::Receiver<Option<String>>>,
    /// Topics that others read; `None` where the log has none.
    pub(crate) outputs: Option<Arc<dyn OutputTopics>>,
    /// Adds the log's metrics.
    pub(crate) metrics: Arc<dyn Fn(&mut String) + Send + Sync>,
}

/// Opens everything that the settings name.
pub(crate) async fn open(
    settings: &Settings,
    clock: Arc<dyn Clock>,
    (salvage, rebuild): (bool, &[String]),
) -> Result<Parts, Failure> {
    let streams: Vec<_> = settings.streams.iter().map(|settings| settings.stream.clone()).collect();
    let plans: Vec<Arc<Plan>> =
        streams.iter().map(|stream| Arc::new(Plan::new(stream.clone(), &settings.rollups))).collect();
    let lock = if keeps_files(settings) { Some(lock(&settings.data_dir)?) } else { None };
    let store = open_store(&settings.store, &clock).await?;
    let is_file = matches!(settings.store, StoreChoice::Sqlite(_));
    let log = match &settings.log {
        LogChoice::Embedded(dir) => {
            let reached = reached::look(&store, is_file).await?;
            if is_file {
                reached::refuse_another(settings, dir, &reached).map_err(Failure::of_disk)?;
            }
            embedded_log(settings, dir, &clock, (salvage, reached))?
        }
        #[cfg(feature = "kafka")]
        LogChoice::Kafka(brokers) => kafka::open(settings, brokers, &plans).await?,
        #[cfg(not(feature = "kafka"))]
        LogChoice::Kafka(_) => return Err(Failure::not_built("kafka")),
    };
    let StoreParts { writer, reader, manifest, rewriter, keys, name: store_name } = store;
    let archive = open_archive(settings, &log.log, &plans)?;
    let traces = settings.traces.as_ref().map(Traces::start).transpose();
    let traces = traces.map_err(|error| Failure { code: crate::exit::CONFIGURATION, error })?;
    let rebuilds = Rebuilds(Mending {
        open_log: log.another.clone(),
        manifest: manifest.clone(),
        archives: archive.streams.clone(),
        reader: reader.clone(),
        rewriter: rewriter.clone(),
        plans: plans.clone(),
        seed: uuid::Uuid::now_v7().as_u64_pair().1,
        turn: Arc::default(),
        tracer: traces.as_ref().map(|traces| traces.tracer.clone()),
    });
    for name in rebuild {
        if patiently("looking at the store", || rebuilds.adopt(name)).await? {
            tracing::warn!(rollup = %name, "its cells under the old definition were dropped");
        }
    }
    if is_file {
        writer.prepare(&streams, &settings.rollups).await.map_err(Failure::of_disk)?;
    } else if settings.roles.process {
        patiently("preparing the store", || writer.prepare(&streams, &settings.rollups)).await?;
    }
    let metrics = Arc::default();
    let cloudwatch =
        settings.cloudwatch.as_ref().map(|cloudwatch| CloudWatch::new(cloudwatch, &settings.aws));
    let cloudwatch = cloudwatch.transpose();
    let cloudwatch = cloudwatch.map_err(|error| Failure { code: crate::exit::CONFIGURATION, error })?;
    Ok(Parts {
        log,
        writer,
        reader,
        manifest,
        archive,
        rebuilds: Arc::new(rebuilds),
        keys,
        store_name,
        plans,
        clock,
        metrics,
        cloudwatch,
        traces,
        lock: lock.map(|lock| (lock, settings.data_dir.clone())),
    })
}

#[cfg_attr(not(feature = "kafka"), allow(unused_variables, reason = "of a log that others share"))]
fn open_archive(
    settings: &Settings,
    log: &Arc<dyn EventLog>,
    plans: &[Arc<Plan>],
) -> Result<ArchiveParts, Failure> {
    let (streams, files) = archive::open(settings)?;
    let log = match &settings.log {
        #[cfg(feature = "kafka")]
        LogChoice::Kafka(brokers) if settings.roles.archive && !streams.is_empty() => {
            kafka::archive_log(settings, brokers, plans).map_err(Failure::of_port)?
        }
        _ => log.clone(),
    };
    Ok(ArchiveParts { streams, files, log })
}

/// The log and the store of a data directory that no server works on.
#[cfg(all(feature = "kafka", feature = "postgres"))]
pub(crate) struct Resting {
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) reader: Arc<dyn RollupReader>,
    /// Held as long as the process reads the data directory.
    _lock: File,
}

/// Opens what an earlier server left in the data directory, and makes nothing that is not there.
#[cfg(all(feature = "kafka", feature = "postgres"))]
pub(crate) async fn open_resting(settings: &Settings, clock: &Arc<dyn Clock>) -> Result<Resting, Failure> {
    let (LogChoice::Embedded(dir), StoreChoice::Sqlite(file)) = (&settings.log, &settings.store) else {
        let error = anyhow::anyhow!("only an embedded log and a SQLite store lie in a data directory");
        return Err(Failure { code: crate::exit::CONFIGURATION, error });
    };
    for (what, path) in [("log", dir), ("store", file)] {
        let is_there = path.try_exists().with_context(|| format!("looking for {}", path.display()));
        if !is_there.map_err(Failure::internal)? {
            let error = anyhow::anyhow!(
                "there is no {what} at {}: name the data directory of the old server with --data-dir",
                path.display()
            );
            return Err(Failure { code: crate::exit::CONFIGURATION, error });
        }
    }
    let lock = lock(&settings.data_dir)?;
    // What was reached is looked at, and told, stream by stream.
    let log = embedded_log(settings, dir, clock, (false, Vec::new()))?.log;
    let reader = open_store(&settings.store, clock).await?.reader;
    Ok(Resting { log, reader, _lock: lock })
}

fn log_options(
    settings: &Settings,
    dir: &Path,
    clock: &Arc<dyn Clock>,
    (salvage, reached): (bool, Vec<Reached>),
) -> Options {
    Options {
        segment_bytes: settings.embedded.segment_bytes,
        pool_bytes_max: settings.embedded.pool_bytes_max,
        keep_bytes: settings.embedded.keep_bytes,
        keep_age: settings.embedded.keep_age,
        tail_bytes_max: TAIL_BYTES_MAX,
        salvage,
        reached,
        ..Options::new(dir, clock.clone(), Arc::new(RealDisk))
    }
}

fn embedded_log(
    settings: &Settings,
    dir: &Path,
    clock: &Arc<dyn Clock>,
    salvage_and_reached: (bool, Vec<Reached>),
) -> Result<LogParts, Failure> {
    let options = log_options(settings, dir, clock, salvage_and_reached);
    let log = Arc::new(EmbeddedLog::open(options).map_err(Failure::of_disk)?);
    let stats = log.clone();
    let another: Arc<dyn EventLog> = log.clone();
    Ok(LogParts {
        another: Arc::new(move || Ok(another.clone())),
        failure: Some(log.failure()),
        outputs: None,
        metrics: Arc::new(move |out| stats.stats().render(out)),
        log,
        name: "embedded",
        is_own: true,
    })
}

/// A store, by its ports.
struct StoreParts {
    writer: Arc<dyn RollupWriter>,
    reader: Arc<dyn RollupReader>,
    manifest: Arc<dyn Manifest>,
    rewriter: Arc<dyn Rewriter>,
    keys: Arc<dyn KeyStore>,
    name: &'static str,
}

impl StoreParts {
    fn of<S: RollupWriter + RollupReader + Manifest + Rewriter + KeyStore + 'static>(
        store: S,
        name: &'static str,
    ) -> StoreParts {
        let store = Arc::new(store);
        StoreParts {
            writer: store.clone(),
            reader: store.clone(),
            manifest: store.clone(),
            rewriter: store.clone(),
            keys: store,
            name,
        }
    }
}

#[cfg_attr(
    not(feature = "postgres"),
    allow(clippy::unused_async, reason = "a server is asked with the feature")
)]
async fn open_store(choice: &StoreChoice, clock: &Arc<dyn Clock>) -> Result<StoreParts, Failure> {
    match choice {
        StoreChoice::Sqlite(path) => {
            let store = SqliteStore::open(path, clock.clone()).map_err(Failure::of_disk)?;
            Ok(StoreParts::of(store, "sqlite"))
        }
        #[cfg(feature = "postgres")]
        StoreChoice::Postgres(url) => {
            let store = sg_store::postgres::PostgresStore::open(url, clock.clone()).await;
            Ok(StoreParts::of(store.map_err(Failure::of_port)?, "postgres"))
        }
        #[cfg(not(feature = "postgres"))]
        StoreChoice::Postgres(_) => Err(Failure::not_built("postgres")),
    }
}

/// Tries again for a while what fails for a passing reason: servers that are started together come up one by one.
pub(crate) async fn patiently<T, R>(doing: &str, mut call: impl FnMut() -> R) -> Result<T, Failure>
where
    R: Future<Output = Result<T, PortError>>,
{
    let began = tokio::time::Instant::now();
    loop {
        match call().await {
            Err(error) if error.kind == ErrorKind::Retry && began.elapsed() < START_PATIENCE => {
                tracing::warn!("{doing}: {error}; trying again");
                tokio::time::sleep(START_PAUSE).await;
            }
            done => return done.map_err(Failure::of_port),
        }
    }
}
