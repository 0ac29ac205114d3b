//! The store in a PostgreSQL database, for as many processes as wanted. This page wires the parts to the ports and does
//! nothing else: `address` reads the URL, `check` looks at the server before it is used and
//! `look` from outside, `pool` holds connections and transactions,
//! `schema` the tables, `wire` and `measures` how values lie in them; `claim`, `flush`, `cells`, `raw`, `replays`, `closing`,
//! `outbox` and `retention` are the transactions, `status` and `events` the questions; `manifest` is what the archive
//! holds, `lines` what waits for its other files, and `archived` the port of both; `keys` who may do what.
//!
//! Flushes commit without waiting for the disk: what is lost with the machine's power is still in the log, and
//! [`RollupWriter::sync`] says what of the log may go. What the log cannot repeat waits for the disk.
//!
//! Needs cells of PostgreSQL's own and no extension: a version from 13 on, with `fsync` and `full_page_writes` on.

mod address;
mod archived;
mod cells;
mod check;
mod claim;
mod closing;
mod erase;
mod error;
mod events;
mod flush;
mod keys;
mod letters;
mod levels;
mod lines;
mod look;
mod manifest;
mod measures;
mod outbox;
mod pool;
mod raw;
mod replays;
mod retention;
mod rewrite;
mod schema;
mod sketches;
mod status;
mod tables;
mod wire;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use sg_core::definition::{Rollup, Stream};
use sg_core::erase::{Erase, EraseOutcome};
use sg_core::flush::{Checkpoint, Flush, LevelBases};
use sg_core::fold::Fates;
use sg_core::plan::Plan;
use sg_core::ports::{
    Claim, ErrorKind, FlushOutcome, Needed, OutboxRow, Parked, PortError, Refresh, Removed, Rewriter,
    RollupReader, RollupWriter, StatusDetail, StoreStatus,
};
use sg_core::query::{
    CellQuery, CellRow, DeadLetterQuery, DeletedEvent, EventQuery, EventScan, LateQuery, LetterCount,
    StoredDeadLetter, StoredEvent, StoredLate, Tally, TallyQuery, Totals,
};
use sg_core::rebuild::{Rewrite, RewriteOutcome};
use sg_core::time::{Clock, Timestamp};

use crate::faults::Faults;

pub use look::{Looked, look};

use address::Address;
use error::Error;
use outbox::Sender;
use pool::{Connections, Lease, Mode, in_time};
use raw::Pieces;

/// A store in a PostgreSQL database.
pub struct PostgresStore {
    connections: Connections,
    clock: Arc<dyn Clock>,
    pieces: Pieces,
    sender: Sender,
    faults: Faults,
}

impl PostgresStore {
    /// Opens the store at a URL `postgres://user:password@host:port/database?sslmode=…&sslrootcert=…`. Connects when it
    /// is first asked something.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when the URL, or a file of certificates that it names, cannot be used.
    pub async fn open(url: &str, clock: Arc<dyn Clock>) -> Result<PostgresStore, PortError> {
        let url = url.to_owned();
        let address = tokio::task::spawn_blocking(move || Address::read(&url))
            .await
            .map_err(|error| PortError::from_source(ErrorKind::Retry, "reading the store's URL", error))??;
        Ok(PostgresStore {
            connections: Connections::new(address)?,
            clock,
            pieces: Pieces::default(),
            sender: Sender::default(),
            faults: Faults::default(),
        })
    }

    /// Checks that the server can be used, and makes the database when it is missing. [`RollupWriter::prepare`] does
    /// the same before anything else.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] with the remedy when the server or the user's rights will not do, `Retry` when the
    /// server cannot be reached.
    pub async fn check(&self) -> Result<(), PortError> {
        let checked = in_time(check::check(self.connections.address())).await;
        checked.map_err(|error| error.into_port("checking the store's server"))
    }

    /// Lets go of the outbox, so that another process can take it at once, and of all connections.
    pub async fn close(&self) {
        self.sender.release().await;
        self.connections.close();
    }

    /// Makes the next transactions fail, once, after so many of their steps; `None` lets them be.
    #[cfg(any(test, feature = "testing"))]
    pub fn fail_after(&self, steps: Option<u32>) {
        self.faults.fail_after(steps);
    }

    /// Runs one transaction.
    async fn transact<T>(
        &self,
        mode: Mode,
        job: impl AsyncFnOnce(&Lease) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let transaction = async {
            let lease = self.connections.begin(mode).await?;
            let done = job(&lease).await;
            lease.finish(done).await
        };
        in_time(transaction).await
    }
}

#[async_trait]
impl RollupWriter for PostgresStore {
    async fn prepare(&self, streams: &[Stream], rollups: &[Rollup]) -> Result<(), PortError> {
        let doing = "preparing tables and views";
        schema::check_names(streams, rollups).map_err(|error| error.into_port(doing))?;
        self.check().await?;
        let job = async |lease: &Lease| schema::prepare(lease, streams, rollups, &self.faults).await;
        self.transact(Mode::Schema, job).await.map_err(|error| error.into_port(doing))
    }

    async fn claim(&self, claim: &Claim) -> Result<Checkpoint, PortError> {
        let now = self.clock.now();
        let job = async |lease: &Lease| claim::claim(lease, claim, now, &self.faults).await;
        let claimed = self.transact(Mode::Durable, job).await;
        let doing = || format!("claiming {}/{}", claim.plan.stream.name, claim.partition);
        claimed.map_err(|error| error.into_port(&doing()))
    }

    async fn checkpoint(&self, stream: &str, partition: u32) -> Result<Checkpoint, PortError> {
        let job = async |lease: &Lease| claim::checkpoint(lease, stream, partition).await;
        let read = self.transact(Mode::Snapshot, job).await;
        read.map_err(|error| error.into_port(&format!("reading the checkpoint of {stream}/{partition}")))
    }

    async fn flush(&self, flush: Arc<Flush>) -> Result<FlushOutcome, PortError> {
        let now = self.clock.now();
        let flushed = in_time(flush::flush(&self.connections, &self.pieces, &flush, now, &self.faults)).await;
        let doing = || format!("flushing {}/{}", flush.plan.stream.name, flush.partition);
        flushed.map_err(|error| error.into_port(&doing()))
    }

    async fn refresh(&self, refresh: &Refresh) -> Result<bool, PortError> {
        let now = self.clock.now();
        let refreshed = in_time(flush::refresh(&self.connections, refresh, now, &self.faults)).await;
        let doing = || format!("refreshing {}/{}", refresh.plan.stream.name, refresh.partition);
        refreshed.map_err(|error| error.into_port(&doing()))
    }

    async fn retain(
        &self,
        plan: &Plan,
        now: Timestamp,
        rows_max: usize,
    ) -> Result<Option<Removed>, PortError> {
        let rollups: Vec<Rollup> = plan.rollups.iter().map(|planned| planned.rollup.clone()).collect();
        let step =
            retention::retain(&self.connections, (&plan.stream, &rollups), (now, rows_max), &self.faults);
        let doing = || format!("removing what {} no longer keeps", plan.stream.name);
        in_time(step).await.map_err(|error| error.into_port(&doing()))
    }

    async fn outbox(&self, stream: &str, lane: &str, rows_max: usize) -> Result<Vec<OutboxRow>, PortError> {
        let read = in_time(outbox::read(&self.connections, &self.sender, (stream, lane), rows_max)).await;
        read.map_err(|error| error.into_port(&format!("reading the outbox of {stream}")))
    }

    async fn outbox_sent(
        &self,
        stream: &str,
        lane: &str,
        through: i64,
        parked: &[Parked],
    ) -> Result<(), PortError> {
        let job = async |lease: &Lease| outbox::sent(lease, (stream, lane), through, parked).await;
        let deleted = self.transact(Mode::Durable, job).await;
        deleted
            .map_err(|error| error.into_port(&format!("deleting what was sent from the outbox of {stream}")))
    }

    async fn sync(&self) -> Result<Vec<Needed>, PortError> {
        let job = async |lease: &Lease| {
            let needed = status::needed(lease).await?;
            // A commit that waits for the disk takes along every commit before it: they lie in one log in order.
            lease.execute("UPDATE sg_syncs SET syncs = syncs + 1", &[]).await?;
            Ok(needed)
        };
        let synced = self.transact(Mode::Durable, job).await;
        synced.map_err(|error| error.into_port("making the store durable"))
    }
}

#[async_trait]
impl Rewriter for PostgresStore {
    async fn fates(&self, stream: &str, partition: u32, range: (u64, u64)) -> Result<Fates, PortError> {
        let job = async |lease: &Lease| rewrite::fates(lease, stream, partition, range).await;
        let read = self.transact(Mode::Snapshot, job).await;
        read.map_err(|error| {
            error.into_port(&format!("reading what became of records of {stream}/{partition}"))
        })
    }

    async fn is_of_another_definition(&self, rollup: &Rollup) -> Result<bool, PortError> {
        self.check().await?;
        let job = async |lease: &Lease| schema::is_of_another_definition(lease, rollup).await;
        let is_of_another = self.transact(Mode::Schema, job).await;
        is_of_another.map_err(|error| error.into_port(&format!("reading the definition of {}", rollup.name)))
    }

    async fn forget(&self, rollup: &Rollup) -> Result<bool, PortError> {
        self.check().await?;
        let forgotten =
            self.transact(Mode::Schema, async |lease: &Lease| schema::forget(lease, rollup).await).await;
        forgotten.map_err(|error| error.into_port(&format!("forgetting the rollup {}", rollup.name)))
    }

    async fn rewrite(&self, rewrite: &Rewrite) -> Result<RewriteOutcome, PortError> {
        let now = self.clock.now();
        let job = async |lease: &Lease| {
            let done = rewrite::rewrite(lease, rewrite, now, &self.faults).await?;
            Ok(done)
        };
        let rewritten = self.transact(Mode::Durable, job).await;
        let rollup = &rewrite.plan.rollups[rewrite.rollup].rollup.name;
        rewritten.map_err(|error| error.into_port(&format!("making cells of {rollup} again")))
    }

    async fn erase(&self, erase: &Erase) -> Result<EraseOutcome, PortError> {
        let doing = || format!("deleting events of {}", erase.plan.stream.name);
        let now = self.clock.now();
        let transaction = async {
            let lease = self.connections.begin(Mode::Durable).await?;
            let done = erase::erase(&lease, erase, now, &self.faults).await;
            if !erase.is_dry && matches!(done, Ok(EraseOutcome::Done { .. }) | Err(_)) {
                return lease.finish(done).await;
            }
            // What was written to see whether it can be is taken back.
            lease.roll_back().await;
            done
        };
        in_time(transaction).await.map_err(|error| error.into_port(&doing()))
    }
}

#[async_trait]
impl RollupReader for PostgresStore {
    async fn cells(&self, query: &CellQuery) -> Result<Vec<CellRow>, PortError> {
        // Levels and sketches are questions of their own about the same moment.
        let is_one_question = !query.rollup.has_levels() && !query.rollup.has_sketches();
        let mode = if is_one_question { Mode::Question } else { Mode::Snapshot };
        let read = self.transact(mode, async |lease: &Lease| cells::read(lease, query).await).await;
        read.map_err(|error| error.into_answer(&format!("reading cells of {}", query.rollup.name)))
    }

    async fn level_bases(&self, rollup: &Rollup) -> Result<LevelBases, PortError> {
        let job = async |lease: &Lease| levels::bases(lease, rollup).await;
        let read = self.transact(Mode::Question, job).await;
        read.map_err(|error| error.into_answer(&format!("reading levels of {}", rollup.name)))
    }

    async fn totals(&self, query: &TallyQuery) -> Result<Totals, PortError> {
        let job = async |lease: &Lease| cells::totals(lease, query).await;
        let read = self.transact(Mode::Question, job).await;
        read.map_err(|error| error.into_answer(&format!("adding up cells of {}", query.rollup.name)))
    }

    async fn tally(&self, query: &TallyQuery) -> Result<Tally, PortError> {
        let job = async |lease: &Lease| cells::tally(lease, query).await;
        let read = self.transact(Mode::Snapshot, job).await;
        read.map_err(|error| error.into_answer(&format!("adding up cells of {}", query.rollup.name)))
    }

    async fn events(&self, query: &EventQuery) -> Result<Vec<StoredEvent>, PortError> {
        let read =
            self.transact(Mode::Question, async |lease: &Lease| events::read(lease, query).await).await;
        read.map_err(|error| error.into_answer(&format!("reading events of {}", query.stream)))
    }

    async fn scan_events(&self, scan: &EventScan) -> Result<Vec<StoredEvent>, PortError> {
        let read =
            self.transact(Mode::Question, async |lease: &Lease| events::in_order(lease, scan).await).await;
        let doing = || format!("reading events of {}/{}", scan.stream, scan.partition);
        read.map_err(|error| error.into_answer(&doing()))
    }

    async fn deleted_events(&self, event_id: &str) -> Result<Vec<DeletedEvent>, PortError> {
        let job = async |lease: &Lease| erase::deleted(lease, event_id).await;
        let read = self.transact(Mode::Question, job).await;
        read.map_err(|error| error.into_answer("reading what was deleted"))
    }

    async fn count_events(&self, query: &EventQuery) -> Result<u64, PortError> {
        let job = async |lease: &Lease| events::count(lease, query).await;
        let read = self.transact(Mode::Question, job).await;
        read.map_err(|error| error.into_answer(&format!("counting events of {}", query.stream)))
    }

    async fn active_users(&self, stream: &str, from: Timestamp, to: Timestamp) -> Result<u64, PortError> {
        let job = async |lease: &Lease| events::users(lease, stream, (from, to)).await;
        let read = self.transact(Mode::Question, job).await;
        read.map_err(|error| error.into_answer(&format!("counting users of {stream}")))
    }

    async fn dead_letters(&self, query: &DeadLetterQuery) -> Result<Vec<StoredDeadLetter>, PortError> {
        let job = async |lease: &Lease| letters::read(lease, query).await;
        let read = self.transact(Mode::Question, job).await;
        read.map_err(|error| error.into_answer("reading dead letters"))
    }

    async fn letter_counts(&self, stream: Option<&str>) -> Result<Vec<LetterCount>, PortError> {
        let job = async |lease: &Lease| letters::counts(lease, stream).await;
        let read = self.transact(Mode::Question, job).await;
        read.map_err(|error| error.into_answer("counting dead letters"))
    }

    async fn late(&self, query: &LateQuery) -> Result<Vec<StoredLate>, PortError> {
        let read =
            self.transact(Mode::Question, async |lease: &Lease| status::late(lease, query).await).await;
        read.map_err(|error| error.into_answer("reading late events"))
    }

    async fn diverted(&self, rollup: &str, places: &[(u32, u64)]) -> Result<BTreeSet<(u32, u64)>, PortError> {
        let job = async |lease: &Lease| erase::diverted(lease, rollup, places).await;
        let read = self.transact(Mode::Snapshot, job).await;
        read.map_err(|error| error.into_port(&format!("reading which events {rollup} diverted")))
    }

    async fn status(&self, detail: StatusDetail) -> Result<StoreStatus, PortError> {
        let now = self.clock.now();
        let job = async |lease: &Lease| status::status(lease, detail, now).await;
        let read = self.transact(Mode::Snapshot, job).await;
        read.map_err(|error| error.into_answer("reading the store's status"))
    }
}

#[cfg(test)]
mod tests;
