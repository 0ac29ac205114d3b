//! A few read-only connections for questions, each used by one at a time on a thread that may wait for the disk.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags};
use sg_core::ports::{ErrorKind, PortError};
use tokio::sync::Semaphore;

use super::error::Error;

/// Questions answered at once: more would only take the processors from the doors.
const READERS_MAX: usize = 4;
/// Pages kept by each: the right edge of the tables, nothing more.
const CACHE_KIB: u32 = 2 * 1024;
const STATEMENTS_MAX: usize = 64;

/// The connections that are not in use.
pub(crate) struct Pool {
    path: PathBuf,
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Pool {
    /// Makes a pool that opens its connections when they are first needed.
    pub(crate) fn new(path: &Path) -> Pool {
        Pool { path: path.to_owned(), permits: Arc::new(Semaphore::new(READERS_MAX)), idle: Arc::default() }
    }

    /// Answers a question in one read transaction.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        doing: impl Into<String>,
        question: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, PortError> {
        let doing = doing.into();
        let closed =
            |error| PortError::from_source(ErrorKind::Closed, "waiting for a reader of the store", error);
        let permit = self.permits.clone().acquire_owned().await.map_err(closed)?;
        let (path, idle) = (self.path.clone(), self.idle.clone());
        let answer = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let known = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let answer = known.map_or_else(|| open(&path), Ok).and_then(|mut connection| {
                let transaction = connection.transaction()?;
                let answer = question(&transaction)?;
                transaction.finish()?;
                idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
                Ok(answer)
            });
            answer.map_err(|error| error.into_port(&doing))
        });
        answer.await.map_err(|error| PortError::from_source(ErrorKind::Retry, "asking the store", error))?
    }
}

fn open(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.execute_batch(&format!(
        "PRAGMA query_only = ON; PRAGMA cache_size = -{CACHE_KIB}; PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 0;"
    ))?;
    Ok(connection)
}
