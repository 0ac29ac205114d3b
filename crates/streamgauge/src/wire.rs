//! From settings to objects: the only place that knows which log and which store run.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use sg_core::metrics::Metrics;
use sg_core::plan::Plan;
use sg_core::ports::{EventLog, RollupReader, RollupWriter};
use sg_core::time::Clock;
use sg_log::{EmbeddedLog, Options, RealDisk};
use sg_store::sqlite::SqliteStore;

use crate::config::Settings;
use crate::config::settings::{LogChoice, StoreChoice};

/// Newest batches that wait in memory for the fold: some hundredths of a second at full speed, so that a fold that is
/// held up for a moment need not read the disk.
const TAIL_BYTES_MAX: usize = 12 << 20;

/// Why the parts could not be put together, as an exit code and a cause.
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) error: anyhow::Error,
}

impl Failure {
    fn of_port(error: sg_core::ports::PortError) -> Failure {
        use sg_core::ports::ErrorKind;
        let code = match error.kind {
            ErrorKind::Invalid => crate::exit::CONFIGURATION,
            // Both backends are files of this machine: what may pass by itself is the disk's failure all the same.
            ErrorKind::Retry | ErrorKind::Full | ErrorKind::Corrupt | ErrorKind::Closed => {
                crate::exit::INTERNAL
            }
        };
        Failure { code, error: error.into() }
    }

    fn internal(error: anyhow::Error) -> Failure {
        Failure { code: crate::exit::INTERNAL, error }
    }
}

/// The parts of a server.
pub(crate) struct Parts {
    pub(crate) log: Arc<EmbeddedLog>,
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) plans: Vec<Arc<Plan>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<Metrics>,
    /// Held as long as the process works on the data directory.
    _lock: File,
}

impl Parts {
    pub(crate) fn event_log(&self) -> Arc<dyn EventLog> {
        self.log.clone()
    }

    pub(crate) fn writer(&self) -> Arc<dyn RollupWriter> {
        self.store.clone()
    }

    pub(crate) fn reader(&self) -> Arc<dyn RollupReader> {
        self.store.clone()
    }
}

/// Opens everything that the settings name.
pub(crate) async fn open(
    settings: &Settings,
    clock: Arc<dyn Clock>,
    salvage: bool,
) -> Result<Parts, Failure> {
    let lock = lock(&settings.data_dir)?;
    let LogChoice::Embedded(log_dir) = &settings.log;
    let options = Options {
        segment_bytes: settings.embedded.segment_bytes,
        pool_bytes_max: settings.embedded.pool_bytes_max,
        keep_bytes: settings.embedded.keep_bytes,
        keep_age: settings.embedded.keep_age,
        tail_bytes_max: TAIL_BYTES_MAX,
        salvage,
        ..Options::new(log_dir, clock.clone(), Arc::new(RealDisk))
    };
    let log = EmbeddedLog::open(options).map_err(Failure::of_port)?;
    let StoreChoice::Sqlite(store_path) = &settings.store;
    let store = SqliteStore::open(store_path, clock.clone()).map_err(Failure::of_port)?;
    let streams: Vec<_> = settings.streams.iter().map(|settings| settings.stream.clone()).collect();
    store.prepare(&streams, &settings.rollups).await.map_err(Failure::of_port)?;
    let plans = streams.into_iter().map(|stream| Arc::new(Plan::new(stream, &settings.rollups))).collect();
    Ok(Parts {
        log: Arc::new(log),
        store: Arc::new(store),
        plans,
        clock,
        metrics: Arc::new(Metrics::default()),
        _lock: lock,
    })
}

/// Takes the data directory for this process alone.
fn lock(data_dir: &Path) -> Result<File, Failure> {
    let make = || -> anyhow::Result<File> {
        std::fs::create_dir_all(data_dir)
            .with_context(|| format!("making the data directory {}", data_dir.display()))?;
        let path = data_dir.join("lock");
        File::create(&path).with_context(|| format!("opening {}", path.display()))
    };
    let file = make().map_err(Failure::internal)?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(_) => Err(Failure {
            code: crate::exit::ALREADY_RUNNING,
            error: anyhow::anyhow!(
                "another server works in {}: stop it, or choose another --data-dir",
                data_dir.display()
            ),
        }),
    }
}
