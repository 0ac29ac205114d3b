//! Connections, and transactions on them. A connection goes back to the pool only after its transaction has ended in
//! plain sight; a future that is dropped, or a failure that leaves the connection in doubt, closes it, and the server
//! rolls back. Nothing is set for a session, so that a pooler may stand between.

use std::time::Duration;

use deadpool_postgres::{
    ClientWrapper, Manager, ManagerConfig, Object, Pool, PoolConfig, RecyclingMethod, Runtime, Timeouts,
};
use futures_util::future::join_all;
use sg_core::ports::{ErrorKind, PortError};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};

use crate::answers::READ_TIME_MAX;
use crate::faults::Faults;

use super::address::{Address, CONNECT_TIME_MAX};
use super::error::Error;

/// Connections for flushes and upkeep: each partition has one flush under way, and a small server has a hundred in all.
const WRITERS_MAX: usize = 12;
/// Questions answered at once: more would only take the server's processors from the flushes.
const READERS_MAX: usize = 4;
/// How long a caller waits for a connection that is in use.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// How long a whole call may take before the server counts as gone: longer than all its statements may.
const CALL_TIME_MAX: Duration = Duration::from_secs(90);
/// Statements on their way to the server at once.
const PIPELINE_MAX: usize = 16;

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// What the log can repeat: the commit does not wait for the disk.
    Repeatable,
    /// What the log cannot repeat: the commit waits for the disk.
    Durable,
    /// Tables and views: others may do the same at this moment, and a migration takes its time.
    Schema,
    /// One question.
    Question,
    /// Several questions about one moment.
    Snapshot,
}

impl Mode {
    /// Returns the statements that begin such a transaction.
    fn begin(self) -> String {
        let limits = |statement_ms: u128, lock_ms: u32| {
            format!(
                "SET LOCAL statement_timeout = {statement_ms}; SET LOCAL lock_timeout = {lock_ms}; \
                 SET LOCAL idle_in_transaction_session_timeout = 15000"
            )
        };
        let written = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
        // A server that does not wait for its disk by default is told to.
        let durably = "SELECT set_config('synchronous_commit', CASE current_setting('synchronous_commit') \
                       WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, true)";
        match self {
            Mode::Repeatable => {
                format!("{written}; SET LOCAL synchronous_commit = off; {}", limits(30_000, 5_000))
            }
            Mode::Durable => format!("{written}; {durably}; {}", limits(30_000, 5_000)),
            Mode::Schema => format!("{written}; {durably}; {}", limits(60_000, 30_000)),
            Mode::Question => {
                format!("BEGIN READ ONLY; {}", limits(READ_TIME_MAX.as_millis(), 5_000))
            }
            Mode::Snapshot => format!(
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {}",
                limits(READ_TIME_MAX.as_millis(), 5_000)
            ),
        }
    }
}

/// The connections to one database.
pub(crate) struct Connections {
    address: Address,
    writers: Pool,
    readers: Pool,
}

impl Connections {
    /// Makes pools that connect when they are first asked.
    pub(crate) fn new(address: Address) -> Result<Connections, PortError> {
        let (writers, readers) = (pool(&address, WRITERS_MAX)?, pool(&address, READERS_MAX)?);
        Ok(Connections { address, writers, readers })
    }

    /// Returns how the server is reached.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Returns a connection outside any transaction.
    pub(crate) async fn lease(&self) -> Result<Lease, Error> {
        Ok(Lease { object: Some(self.writers.get().await?) })
    }

    /// Begins a transaction.
    pub(crate) async fn begin(&self, mode: Mode) -> Result<Lease, Error> {
        let pool = match mode {
            Mode::Question | Mode::Snapshot => &self.readers,
            Mode::Repeatable | Mode::Durable | Mode::Schema => &self.writers,
        };
        let lease = Lease { object: Some(pool.get().await?) };
        lease.client()?.batch_execute(&mode.begin()).await?;
        Ok(lease)
    }

    /// Closes the connections that are not in use, and the others when they come back.
    pub(crate) fn close(&self) {
        self.writers.close();
        self.readers.close();
    }
}

fn pool(address: &Address, size: usize) -> Result<Pool, PortError> {
    let manager_config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(address.config.clone(), address.tls.clone(), manager_config);
    let timeouts = Timeouts {
        wait: Some(WAIT_MAX),
        create: Some(2 * CONNECT_TIME_MAX),
        recycle: Some(CONNECT_TIME_MAX),
    };
    Pool::builder(manager)
        .config(PoolConfig { max_size: size, timeouts, ..PoolConfig::default() })
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|error| {
            PortError::from_source(ErrorKind::Closed, "setting up connections to the store", error)
        })
}

/// Gives up on a call whose answer does not come, however the connection was lost.
pub(crate) async fn in_time<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match tokio::time::timeout(CALL_TIME_MAX, call).await {
        Ok(done) => done,
        Err(_) => Err(Error::retry("waiting for the store's server: it does not answer")),
    }
}

/// A connection in use. Dropped before its transaction has ended, it is closed.
pub(crate) struct Lease {
    /// `None` once it went back to the pool or was closed.
    object: Option<Object>,
}

/// A statement and what it is given.
pub(crate) type Prepared = (Statement, Vec<Box<dyn ToSql + Sync + Send>>);

impl Lease {
    /// Returns the connection.
    pub(crate) fn client(&self) -> Result<&ClientWrapper, Error> {
        // Invariant: only `settle` takes the connection, and it consumes the lease.
        self.object.as_deref().ok_or_else(|| Error::retry("using a connection that has gone back"))
    }

    /// Prepares a statement, once per connection.
    pub(crate) async fn statement(&self, sql: &str) -> Result<Statement, Error> {
        Ok(self.client()?.prepare_cached(sql).await?)
    }

    /// Runs a statement; returns the number of rows.
    pub(crate) async fn execute(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<u64, Error> {
        let statement = self.statement(sql).await?;
        Ok(self.client()?.execute(&statement, parameters).await?)
    }

    /// Asks for rows.
    pub(crate) async fn query(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        let statement = self.statement(sql).await?;
        Ok(self.client()?.query(&statement, parameters).await?)
    }

    /// Asks for one row or none.
    pub(crate) async fn query_opt(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, Error> {
        let statement = self.statement(sql).await?;
        Ok(self.client()?.query_opt(&statement, parameters).await?)
    }

    /// Runs statements in their order without waiting for the answers in between; returns the numbers of rows. After
    /// one has failed the server refuses the others of the transaction.
    pub(crate) async fn pipeline(&self, statements: &[Prepared], faults: &Faults) -> Result<Vec<u64>, Error> {
        let client = self.client()?;
        let mut rows = Vec::with_capacity(statements.len());
        for group in statements.chunks(PIPELINE_MAX) {
            for _ in group {
                faults.step()?;
            }
            // Each is sent when it is first polled, which is in this order.
            let answers = join_all(group.iter().map(|(statement, parameters)| {
                client.execute_raw(statement, parameters.iter().map(|parameter| &**parameter as &dyn ToSql))
            }));
            for answer in answers.await {
                rows.push(answer?);
            }
        }
        Ok(rows)
    }

    /// Ends the transaction: commits what went well, takes back what did not.
    pub(crate) async fn finish<T>(self, done: Result<T, Error>) -> Result<T, Error> {
        match done {
            Ok(value) => {
                self.client()?.batch_execute("COMMIT").await?;
                self.settle();
                Ok(value)
            }
            Err(error) => {
                if error.leaves_connection() {
                    self.roll_back().await;
                }
                Err(error)
            }
        }
    }

    /// Takes back what the transaction has done so far.
    pub(crate) async fn roll_back(self) {
        let done = match self.client() {
            Ok(client) => client.batch_execute("ROLLBACK").await.is_ok(),
            Err(_) => false,
        };
        if done {
            self.settle();
        }
    }

    /// Gives the connection back: it is in no transaction.
    pub(crate) fn settle(mut self) {
        self.object = None;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            drop(Object::take(object));
        }
    }
}
