//! The one thread that writes: it owns the writing connection and does one job after the other. Which jobs there are
//! is not its business. After a failure that leaves the disk unknown it refuses everything.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::{Connection, OpenFlags};
use sg_core::ports::{ErrorKind, PortError};
use sg_core::time::{Clock, Timestamp};
use tokio::sync::{mpsc, oneshot};

use crate::faults::Faults;

use super::error::Error;

/// Jobs that may wait: each partition has one flush under way, so more are questions and upkeep.
const JOBS_MAX: usize = 64;
/// Statements kept prepared: a few per rollup and about thirty of the store's own.
const STATEMENTS_MAX: usize = 256;

type Job = Box<dyn FnOnce(&mut WriteSide) + Send>;

/// What the jobs work with.
pub(crate) struct WriteSide {
    /// The writing connection.
    pub(crate) connection: Connection,
    /// The time by which the store stamps what it writes.
    clock: Arc<dyn Clock>,
    /// Where tests make transactions fail.
    pub(crate) faults: Faults,
    /// Why nothing is written any more, if so.
    broken: Option<(ErrorKind, String)>,
}

/// A handle to the thread; the last one to go ends it.
pub(crate) struct Writer {
    /// `None` only while the handle is dropped.
    jobs: Option<mpsc::Sender<Job>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl WriteSide {
    /// Returns the current time.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Runs a job whose commits reach the disk before they return: for what the log cannot repeat.
    pub(crate) fn durably<T>(
        &mut self,
        job: impl FnOnce(&mut WriteSide) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.connection.pragma_update(None, "synchronous", "FULL")?;
        let done = job(self);
        self.connection.pragma_update(None, "synchronous", "NORMAL")?;
        done
    }

    fn run<T>(
        &mut self,
        doing: &str,
        job: impl FnOnce(&mut WriteSide) -> Result<T, Error>,
    ) -> Result<T, PortError> {
        if let Some((kind, why)) = &self.broken {
            return Err(PortError::new(*kind, format!("{doing}: the store has failed before: {why}")));
        }
        let done = job(self).map_err(|error| error.into_port(doing));
        if let Err(error) = &done
            && error.source.is_some()
            && matches!(error.kind, ErrorKind::Closed | ErrorKind::Corrupt)
        {
            self.broken = Some((error.kind, error.to_string()));
        }
        done
    }
}

impl Writer {
    /// Starts the thread over a connection.
    pub(crate) fn start(
        connection: Connection,
        clock: Arc<dyn Clock>,
        faults: Faults,
    ) -> Result<Writer, PortError> {
        let (jobs, mut queue) = mpsc::channel::<Job>(JOBS_MAX);
        let mut side = WriteSide { connection, clock, faults, broken: None };
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || {
                while let Some(job) = queue.blocking_recv() {
                    job(&mut side);
                }
            })
            .map_err(|error| {
                PortError::from_source(ErrorKind::Closed, "starting the store's thread", error)
            })?;
        Ok(Writer { jobs: Some(jobs), thread: Mutex::new(Some(thread)) })
    }

    /// Has the thread do a job and waits for its answer. Jobs are done in the order in which they are asked for;
    /// one whose caller has gone away is done all the same.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        doing: impl Into<String>,
        job: impl FnOnce(&mut WriteSide) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, PortError> {
        let doing = doing.into();
        let gone = || PortError::new(ErrorKind::Closed, "asking the store's thread: it has ended");
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |side| {
            // Nobody waits for the answer any more: that is the caller's choice.
            drop(answer.send(side.run(&doing, job)));
        });
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.send(job).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

impl Drop for Writer {
    /// Lets the thread finish its jobs and close the connection, so that whoever opens the file next finds it at rest.
    fn drop(&mut self) {
        self.jobs = None;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the store's thread ended in a panic");
        }
    }
}

/// Opens the writing connection and makes the file a store.
pub(crate) fn open(path: &Path) -> Result<Connection, Error> {
    let mut connection =
        Connection::open_with_flags(path, OpenFlags::default() | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    super::pool::keep_plans(&connection)?;
    // Others may look into the file, a backup may hold it for a moment; nobody else writes for long.
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.execute_batch(&format!(
        "PRAGMA page_size = {PAGE_BYTES};
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = NORMAL;
         PRAGMA journal_size_limit = {WAL_BYTES_MAX};
         PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES};
         PRAGMA cache_size = -{CACHE_KIB};
         PRAGMA temp_store = MEMORY;
         PRAGMA mmap_size = 0;
         PRAGMA foreign_keys = OFF;"
    ))?;
    super::schema::migrate(&mut connection)?;
    Ok(connection)
}

/// Rows are appended or lie side by side: larger pages only make a checkpoint write more.
const PAGE_BYTES: u32 = 4_096;
/// The file of the write-ahead log is cut back to this after a checkpoint.
const WAL_BYTES_MAX: u32 = 64 * 1024 * 1024;
/// A checkpoint each 16 MiB: tens of milliseconds, seldom.
const CHECKPOINT_PAGES: u32 = 4_096;
/// Pages of the tables' right edges and of the cells that still change.
const CACHE_KIB: u32 = 8 * 1024;
