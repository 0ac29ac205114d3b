//! The store in one SQLite file, for one process. This page wires the parts to the ports and does nothing else:
//! `writer` is the thread that writes, `pool` the connections that read, `schema` the tables, `measures` how values
//! lie in them; `claim`, `flush`, `cells`, `raw`, `replays`, `closing`, `outbox`, `retention`, `rewrite` and `erase` are the transactions, `status`, `events`
//! and `counts` the questions, and `index` makes those for raw events fast. `manifest` is what the archive holds, `lines`
//! what waits for its other files, and `archived` the port of both; `keys` who may do what; `look` reads a store that is not open.
//!
//! Flushes commit without waiting for the disk: what is lost with the machine's power is still in the log, and
//! [`RollupWriter::sync`] says what of the log may go. What the log cannot repeat waits for the disk.

mod archived;
mod cells;
mod claim;
mod closing;
mod counts;
mod erase;
mod error;
mod events;
mod flush;
mod index;
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
mod writer;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use sg_core::definition::{Rollup, Stream};
use sg_core::erase::{Erase, EraseOutcome};
use sg_core::flush::{Checkpoint, Flush, LevelBases};
use sg_core::fold::Fates;
use sg_core::plan::Plan;
use sg_core::ports::{
    Claim, FlushOutcome, Needed, OutboxRow, Parked, PortError, Refresh, Removed, Rewriter, RollupReader,
    RollupWriter, StatusDetail, StoreStatus,
};
use sg_core::query::{
    CellQuery, CellRow, DeadLetterQuery, DeletedEvent, EventQuery, EventScan, LateQuery, LetterCount,
    StoredDeadLetter, StoredEvent, StoredLate, Tally, TallyQuery, Totals,
};
use sg_core::rebuild::{Rewrite, RewriteOutcome};
use sg_core::time::{Clock, Timestamp};

use crate::faults::Faults;

pub use look::look;

use index::{Index, Sizes};
use pool::Pool;
use retention::Surplus;
use writer::Writer;

/// A store in one SQLite file.
pub struct SqliteStore {
    writer: Writer,
    pool: Pool,
    index: Index,
    clock: Arc<dyn Clock>,
    #[cfg_attr(not(any(test, feature = "testing")), allow(dead_code, reason = "only tests reach it"))]
    faults: Faults,
}

impl SqliteStore {
    /// Opens the store at `path`, which is made when missing, and brings its schema up to date. Waits for the disk.
    ///
    /// # Errors
    /// [`sg_core::ports::ErrorKind::Invalid`] when a newer streamgauge has written it, `Corrupt` when it is no store.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<SqliteStore, PortError> {
        SqliteStore::open_with(path, clock, Sizes::default())
    }

    fn open_with(path: &Path, clock: Arc<dyn Clock>, sizes: Sizes) -> Result<SqliteStore, PortError> {
        let connection =
            writer::open(path).map_err(|error| error.into_port(&format!("opening {}", path.display())))?;
        let faults = Faults::default();
        let writer = Writer::start(connection, clock.clone(), faults.clone())?;
        let index = Index::start(path, sizes)?;
        Ok(SqliteStore { writer, pool: Pool::new(path), index, clock, faults })
    }

    /// Looks for letters that are too many: beside the writing thread, since they are counted.
    async fn surplus(&self, stream: &Stream) -> Result<Surplus, PortError> {
        let kept = stream.letters;
        if kept.dead_letters.rows_max.is_none() && kept.late.rows_max.is_none() {
            return Ok(Surplus::default());
        }
        let doing = format!("counting what {} no longer keeps", stream.name);
        let name = stream.name.clone();
        self.pool.read(doing, move |connection, _| retention::surplus(connection, &name, kept)).await
    }

    /// Makes the next transactions fail, once, after so many of their steps; `None` lets them be.
    #[cfg(any(test, feature = "testing"))]
    pub fn fail_after(&self, steps: Option<u32>) {
        self.faults.fail_after(steps);
    }
}

#[async_trait]
impl RollupWriter for SqliteStore {
    async fn prepare(&self, streams: &[Stream], rollups: &[Rollup]) -> Result<(), PortError> {
        let (streams, rollups) = (streams.to_vec(), rollups.to_vec());
        let job = move |side: &mut writer::WriteSide| {
            side.durably(|side| schema::prepare(&mut side.connection, &streams, &rollups))
        };
        self.writer.run("preparing tables and views", job).await
    }

    async fn claim(&self, claim: &Claim) -> Result<Checkpoint, PortError> {
        let claim = claim.clone();
        let doing = format!("claiming {}/{}", claim.plan.stream.name, claim.partition);
        let job = move |side: &mut writer::WriteSide| {
            let now = side.now();
            claim::claim(&mut side.connection, &claim, now)
        };
        self.writer.run(doing, job).await
    }

    async fn checkpoint(&self, stream: &str, partition: u32) -> Result<Checkpoint, PortError> {
        // Asked of the writing thread: a flush whose caller gave up may still be in its queue.
        let doing = format!("reading the checkpoint of {stream}/{partition}");
        let stream = stream.to_owned();
        self.writer.run(doing, move |side| claim::checkpoint(&side.connection, &stream, partition)).await
    }

    async fn flush(&self, flush: Arc<Flush>) -> Result<FlushOutcome, PortError> {
        let doing = format!("flushing {}/{}", flush.plan.stream.name, flush.partition);
        let job = move |side: &mut writer::WriteSide| {
            let now = side.now();
            flush::flush(&mut side.connection, &flush, now, &side.faults)
        };
        let outcome = self.writer.run(doing, job).await;
        self.index.rows_came();
        outcome
    }

    async fn refresh(&self, refresh: &Refresh) -> Result<bool, PortError> {
        let refresh = refresh.clone();
        let doing = format!("refreshing {}/{}", refresh.plan.stream.name, refresh.partition);
        let job = move |side: &mut writer::WriteSide| {
            let now = side.now();
            flush::refresh(&mut side.connection, &refresh, now, &side.faults)
        };
        self.writer.run(doing, job).await
    }

    async fn retain(
        &self,
        plan: &Plan,
        now: Timestamp,
        rows_max: usize,
    ) -> Result<Option<Removed>, PortError> {
        let stream = plan.stream.clone();
        let surplus = self.surplus(&stream).await?;
        let rollups: Vec<Rollup> = plan.rollups.iter().map(|planned| planned.rollup.clone()).collect();
        let doing = format!("removing what {} no longer keeps", stream.name);
        let job = move |side: &mut writer::WriteSide| {
            side.durably(|side| {
                retention::retain(
                    &mut side.connection,
                    (&stream, &rollups),
                    (surplus, now, rows_max),
                    &side.faults,
                )
            })
        };
        let removed = self.writer.run(doing, job).await;
        self.index.rows_went();
        removed
    }

    async fn outbox(&self, stream: &str, lane: &str, rows_max: usize) -> Result<Vec<OutboxRow>, PortError> {
        let place = (stream.to_owned(), lane.to_owned());
        let doing = format!("reading the outbox of {stream}");
        let question = move |connection: &rusqlite::Connection, _| {
            outbox::read(connection, (&place.0, &place.1), rows_max)
        };
        self.pool.read(doing, question).await
    }

    async fn outbox_sent(
        &self,
        stream: &str,
        lane: &str,
        through: i64,
        parked: &[Parked],
    ) -> Result<(), PortError> {
        let (place, parked) = ((stream.to_owned(), lane.to_owned()), parked.to_vec());
        let doing = format!("deleting what was sent from the outbox of {stream}");
        let job = move |side: &mut writer::WriteSide| {
            side.durably(|side| outbox::sent(&mut side.connection, (&place.0, &place.1), through, &parked))
        };
        self.writer.run(doing, job).await
    }

    async fn sync(&self) -> Result<Vec<Needed>, PortError> {
        let job = |side: &mut writer::WriteSide| {
            let needed = status::needed(&side.connection)?;
            // A commit that waits for the disk takes along every commit before it: they lie in one file in order.
            side.durably(|side| Ok(side.connection.execute("UPDATE sg_syncs SET syncs = syncs + 1", [])?))?;
            Ok(needed)
        };
        self.writer.run("making the store durable", job).await
    }
}

#[async_trait]
impl Rewriter for SqliteStore {
    async fn fates(&self, stream: &str, partition: u32, range: (u64, u64)) -> Result<Fates, PortError> {
        let doing = format!("reading what became of records of {stream}/{partition}");
        let stream = stream.to_owned();
        let job =
            move |side: &mut writer::WriteSide| rewrite::fates(&side.connection, &stream, partition, range);
        self.writer.run(doing, job).await
    }

    async fn is_of_another_definition(&self, rollup: &Rollup) -> Result<bool, PortError> {
        let rollup = rollup.clone();
        let doing = format!("reading the definition of {}", rollup.name);
        self.pool
            .read(doing, move |connection, _| schema::is_of_another_definition(connection, &rollup))
            .await
    }

    async fn forget(&self, rollup: &Rollup) -> Result<bool, PortError> {
        let rollup = rollup.clone();
        let doing = format!("forgetting the rollup {}", rollup.name);
        let job = move |side: &mut writer::WriteSide| {
            side.durably(|side| schema::forget(&mut side.connection, &rollup))
        };
        self.writer.run(doing, job).await
    }

    async fn rewrite(&self, rewrite: &Rewrite) -> Result<RewriteOutcome, PortError> {
        let rewrite = rewrite.clone();
        let doing = format!("making cells of {} again", rewrite.plan.rollups[rewrite.rollup].rollup.name);
        let job = move |side: &mut writer::WriteSide| {
            let now = side.now();
            side.durably(|side| rewrite::rewrite(&mut side.connection, &rewrite, now, &side.faults))
        };
        self.writer.run(doing, job).await
    }

    async fn erase(&self, erase: &Erase) -> Result<EraseOutcome, PortError> {
        let erase = erase.clone();
        let doing = format!("deleting events of {}", erase.plan.stream.name);
        let job = move |side: &mut writer::WriteSide| {
            let now = side.now();
            side.durably(|side| erase::erase(&mut side.connection, &erase, now, &side.faults))
        };
        let outcome = self.writer.run(doing, job).await;
        self.index.rows_went();
        outcome
    }
}

#[async_trait]
impl RollupReader for SqliteStore {
    async fn cells(&self, query: &CellQuery) -> Result<Vec<CellRow>, PortError> {
        let query = query.clone();
        let doing = format!("reading cells of {}", query.rollup.name);
        self.pool.read(doing, move |connection, _| cells::read(connection, &query)).await
    }

    async fn level_bases(&self, rollup: &Rollup) -> Result<LevelBases, PortError> {
        let rollup = rollup.clone();
        let doing = format!("reading levels of {}", rollup.name);
        self.pool.read(doing, move |connection, _| levels::bases(connection, &rollup)).await
    }

    async fn totals(&self, query: &TallyQuery) -> Result<Totals, PortError> {
        let query = query.clone();
        let doing = format!("adding up cells of {}", query.rollup.name);
        self.pool.read(doing, move |connection, _| cells::totals(connection, &query)).await
    }

    async fn tally(&self, query: &TallyQuery) -> Result<Tally, PortError> {
        let query = query.clone();
        let doing = format!("adding up cells of {}", query.rollup.name);
        self.pool.read(doing, move |connection, _| cells::tally(connection, &query)).await
    }

    async fn events(&self, query: &EventQuery) -> Result<Vec<StoredEvent>, PortError> {
        let query = query.clone();
        let doing = format!("reading events of {}", query.stream);
        let index = self.index.shared();
        self.pool
            .read(doing, move |connection, deadline| events::read(connection, &index, &query, deadline))
            .await
    }

    async fn scan_events(&self, scan: &EventScan) -> Result<Vec<StoredEvent>, PortError> {
        let scan = scan.clone();
        let doing = format!("reading events of {}/{}", scan.stream, scan.partition);
        self.pool.read(doing, move |connection, _| events::in_order(connection, &scan)).await
    }

    async fn deleted_events(&self, event_id: &str) -> Result<Vec<DeletedEvent>, PortError> {
        let event_id = event_id.to_owned();
        let question = move |connection: &rusqlite::Connection, _| erase::deleted(connection, &event_id);
        self.pool.read("reading what was deleted", question).await
    }

    async fn count_events(&self, query: &EventQuery) -> Result<u64, PortError> {
        let query = query.clone();
        let doing = format!("counting events of {}", query.stream);
        let index = self.index.shared();
        self.pool
            .read(doing, move |connection, deadline| counts::events(connection, &index, &query, deadline))
            .await
    }

    async fn active_users(&self, stream: &str, from: Timestamp, to: Timestamp) -> Result<u64, PortError> {
        let query =
            EventQuery { stream: stream.to_owned(), from: Some(from), to: Some(to), ..EventQuery::default() };
        let doing = format!("counting users of {stream}");
        let index = self.index.shared();
        self.pool
            .read(doing, move |connection, deadline| counts::users(connection, &index, &query, deadline))
            .await
    }

    async fn dead_letters(&self, query: &DeadLetterQuery) -> Result<Vec<StoredDeadLetter>, PortError> {
        let query = query.clone();
        self.pool.read("reading dead letters", move |connection, _| letters::read(connection, &query)).await
    }

    async fn letter_counts(&self, stream: Option<&str>) -> Result<Vec<LetterCount>, PortError> {
        let stream = stream.map(str::to_owned);
        let question =
            move |connection: &rusqlite::Connection, _| letters::counts(connection, stream.as_deref());
        self.pool.read("counting dead letters", question).await
    }

    async fn late(&self, query: &LateQuery) -> Result<Vec<StoredLate>, PortError> {
        let query = query.clone();
        self.pool.read("reading late events", move |connection, _| status::late(connection, &query)).await
    }

    async fn diverted(&self, rollup: &str, places: &[(u32, u64)]) -> Result<BTreeSet<(u32, u64)>, PortError> {
        let doing = format!("reading which events {rollup} diverted");
        let (rollup, places) = (rollup.to_owned(), places.to_vec());
        self.pool.read(doing, move |connection, _| erase::diverted(connection, &rollup, &places)).await
    }

    async fn status(&self, detail: StatusDetail) -> Result<StoreStatus, PortError> {
        let now = self.clock.now();
        let question = move |connection: &rusqlite::Connection, _| status::status(connection, detail, now);
        self.pool.read("reading the store's status", question).await
    }
}

#[cfg(test)]
mod tests;
