//! The fold: judges duplicates, counts two rollups per minute, and writes the counts with the log's position to SQLite
//! once a second. Fed in memory, in log order; it reads no log, so it cannot catch up after a restart.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use hashbrown::HashMap;
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::event::Event;
use crate::ids::{IdHash, RecentIds};
use crate::names::Names;

/// Time between flushes.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
/// Records whose cache misses are taken together.
const TOUCH_AHEAD: usize = 64;
/// Batches between the log's writer and the fold; when they are full, the log waits.
pub const MESSAGES_MAX: usize = 64;
/// Ids among which a duplicate is recognised.
pub const IDS_MIN: usize = 5_000_000;

const MINUTE_MS: i64 = 60_000;

const SCHEMA: &str = "
    pragma journal_mode = wal;
    pragma synchronous = normal;
    create table counts (rollup text, minute integer, name text, events integer, primary key (rollup, minute, name)) without rowid, strict;
    create table position (id integer primary key, log_bytes integer) strict;";

/// What the fold needs of an event: 32 bytes.
#[derive(Debug, Clone, Copy)]
pub struct Record {
    id: IdHash,
    minute: u32,
    kind: u32,
    postcode: u32,
}

const _: () = assert!(size_of::<Record>() == 32, "Invariant: a record is half a cache line");

/// The two dimensions' names.
#[derive(Debug, Default)]
pub struct Dimensions {
    kinds: Names,
    postcodes: Names,
}

/// The names, shared between the requests and the fold.
pub type SharedDimensions = Arc<Mutex<Dimensions>>;

/// Makes the records of a request; takes the names' lock once.
pub fn records(events: &[Event<'_>], dimensions: &Mutex<Dimensions>) -> Vec<Record> {
    let ids: Vec<IdHash> = events.iter().map(|event| IdHash::of(&event.event_id)).collect();
    let mut dimensions = dimensions.lock().unwrap_or_else(PoisonError::into_inner);
    let record = |(event, id): (&Event<'_>, IdHash)| Record {
        id,
        minute: (event.timestamp / MINUTE_MS) as u32,
        kind: dimensions.kinds.number(&event.event_type),
        postcode: dimensions.postcodes.number(&event.postcode),
    };
    events.iter().zip(ids).map(record).collect()
}

/// What the fold is told.
#[derive(Debug)]
pub enum Message {
    /// Durable records and the bytes that they take in the log.
    Records {
        /// The records in log order.
        records: Vec<Record>,
        /// Bytes of their frames.
        log_bytes: u64,
    },
    /// Write everything now, then answer.
    Flush(oneshot::Sender<Totals>),
}

/// What became of the records so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Totals {
    /// Records counted, each in both rollups.
    pub counted: u64,
    /// Records whose id was known.
    pub duplicates: u64,
}

/// The fold's state since the last flush, and what it knows of earlier records.
#[derive(Debug)]
pub struct Fold {
    ids: RecentIds,
    by_kind: HashMap<(u32, u32), u64>,
    by_postcode: HashMap<(u32, u32), u64>,
    log_bytes: u64,
    totals: Totals,
    dimensions: SharedDimensions,
    database: Connection,
}

impl Fold {
    /// Opens a new database at `path`.
    ///
    /// # Errors
    /// When the database cannot be made, or is there already.
    pub fn open(path: &Path, ids_min: usize, dimensions: SharedDimensions) -> anyhow::Result<Fold> {
        let database = Connection::open(path).with_context(|| format!("opening {}", path.display()))?;
        database.execute_batch(SCHEMA).context("making the tables")?;
        let ids = RecentIds::new(ids_min);
        let (by_kind, by_postcode) = (HashMap::new(), HashMap::new());
        Ok(Fold { ids, by_kind, by_postcode, log_bytes: 0, totals: Totals::default(), dimensions, database })
    }

    /// Folds and flushes until the sender of messages is gone.
    ///
    /// # Errors
    /// When the database refuses a flush.
    pub fn run(&mut self, messages: &Receiver<Message>) -> anyhow::Result<()> {
        let mut flushed_at = Instant::now();
        loop {
            let wait = FLUSH_INTERVAL.saturating_sub(flushed_at.elapsed());
            match messages.recv_timeout(wait) {
                Ok(Message::Records { records, log_bytes }) => self.batch(&records, log_bytes),
                Ok(Message::Flush(answer)) => {
                    self.flush()?;
                    // One that has hung up needs no answer.
                    answer.send(self.totals).ok();
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.flush(),
            }
            if flushed_at.elapsed() >= FLUSH_INTERVAL {
                self.flush()?;
                flushed_at = Instant::now();
            }
        }
    }

    /// Judges and counts records.
    pub fn batch(&mut self, records: &[Record], log_bytes: u64) {
        self.log_bytes += log_bytes;
        for records in records.chunks(TOUCH_AHEAD) {
            self.ids.touch(records.iter().map(|record| record.id));
            for record in records {
                self.record(record);
            }
        }
    }

    fn record(&mut self, record: &Record) {
        if !self.ids.insert(record.id) {
            self.totals.duplicates += 1;
            return;
        }
        self.totals.counted += 1;
        *self.by_kind.entry((record.minute, record.kind)).or_default() += 1;
        *self.by_postcode.entry((record.minute, record.postcode)).or_default() += 1;
    }

    /// Writes the counts since the last flush and the log's position in one transaction.
    fn flush(&mut self) -> anyhow::Result<()> {
        let dimensions = self.dimensions.lock().unwrap_or_else(PoisonError::into_inner);
        let by_kind = sorted(&mut self.by_kind, &dimensions.kinds);
        let by_postcode = sorted(&mut self.by_postcode, &dimensions.postcodes);
        drop(dimensions);
        let transaction = self.database.transaction().context("beginning a flush")?;
        {
            let mut upsert = transaction.prepare_cached(
                "insert into counts values (?, ?, ?, ?) on conflict do update set events = events + excluded.events",
            )?;
            for (rollup, counts) in [("by_kind", by_kind), ("by_postcode", by_postcode)] {
                for (minute, name, events) in counts {
                    upsert.execute((rollup, minute, name, events as i64)).context("adding to a count")?;
                }
            }
            transaction
                .prepare_cached("insert or replace into position values (1, ?)")?
                .execute([self.log_bytes as i64])?;
        }
        transaction.commit().context("committing a flush")
    }
}

/// Takes the counts out, with names, in the order of the table's key.
fn sorted(counts: &mut HashMap<(u32, u32), u64>, names: &Names) -> Vec<(u32, Box<str>, u64)> {
    let named = counts.drain().map(|((minute, number), events)| (minute, names.name(number).into(), events));
    let mut rows: Vec<(u32, Box<str>, u64)> = named.collect();
    rows.sort_unstable();
    rows
}

#[cfg(test)]
mod tests;
