//! A few read-only connections for questions, each used by one at a time on a thread that may wait for the disk, and
//! none for longer than its deadline: a reader that stays keeps the write-ahead log from being cut back.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use sg_core::ports::{ErrorKind, Overdue, PortError};
use tokio::sync::Semaphore;

use crate::answers::READ_TIME_MAX;

use super::error::Error;

/// Questions answered at once: more would only take the processors from the doors.
const READERS_MAX: usize = 4;
/// Pages kept by each: the right edge of the tables, nothing more.
const CACHE_KIB: u32 = 2 * 1024;
const STATEMENTS_MAX: usize = 64;
/// Steps of SQLite's machine between two looks at the clock: less than a millisecond.
const STEPS_PER_LOOK: i32 = 10_000;

/// The connections that are not in use.
pub(crate) struct Pool {
    path: PathBuf,
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
    time_max: Duration,
}

/// When a question must have its answer. SQLite looks at it in long statements; who runs many short ones looks itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// Returns the deadline that is so far away from now.
    pub(crate) fn after(time: Duration) -> Deadline {
        Deadline(Instant::now() + time)
    }

    /// Fails when the time is up.
    pub(crate) fn check(self) -> Result<(), Error> {
        if self.is_over() { Err(Error::Port(too_slow("answering a question"))) } else { Ok(()) }
    }

    fn is_over(self) -> bool {
        Instant::now() >= self.0
    }
}

impl Pool {
    /// Makes a pool that opens its connections when they are first needed.
    pub(crate) fn new(path: &Path) -> Pool {
        let permits = Arc::new(Semaphore::new(READERS_MAX));
        Pool { path: path.to_owned(), permits, idle: Arc::default(), time_max: READ_TIME_MAX }
    }

    /// Returns the pool with another limit of time.
    #[cfg(test)]
    pub(crate) fn within(self, time_max: Duration) -> Pool {
        Pool { time_max, ..self }
    }

    /// Answers a question in one read transaction; fails as [`ErrorKind::Retry`] when that takes too long.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        doing: impl Into<String>,
        question: impl FnOnce(&Connection, Deadline) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, PortError> {
        let doing = doing.into();
        let closed =
            |error| PortError::from_source(ErrorKind::Closed, "waiting for a reader of the store", error);
        let permit = self.permits.clone().acquire_owned().await.map_err(closed)?;
        let (path, idle, time_max) = (self.path.clone(), self.idle.clone(), self.time_max);
        let answer = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let known = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let answer = known.map_or_else(|| open(&path), Ok).and_then(|mut connection| {
                let deadline = Deadline::after(time_max);
                connection.progress_handler(STEPS_PER_LOOK, Some(move || deadline.is_over()))?;
                let transaction = connection.transaction()?;
                let answer = question(&transaction, deadline)?;
                transaction.finish()?;
                connection.progress_handler(0, None::<fn() -> bool>)?;
                idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
                Ok(answer)
            });
            answer.map_err(
                |error| if error.is_interrupted() { too_slow(&doing) } else { error.into_port(&doing) },
            )
        });
        answer.await.map_err(|error| PortError::from_source(ErrorKind::Retry, "asking the store", error))?
    }
}

fn too_slow(doing: &str) -> PortError {
    PortError::overdue(doing, Overdue::Reading)
}

/// Opens a connection that only reads.
pub(crate) fn open(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    keep_plans(&connection)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.execute_batch(&format!(
        "PRAGMA query_only = ON; PRAGMA cache_size = -{CACHE_KIB}; PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 0;"
    ))?;
    Ok(connection)
}

/// Has a prepared statement keep its plan: else it may be made anew for each value that is bound to it.
pub(crate) fn keep_plans(connection: &Connection) -> Result<(), Error> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

#[cfg(test)]
mod tests;
