//! Reading and emptying the outbox, by one sender per stream over all processes. The sender holds a lock of the server
//! in a transaction that stays open on a connection of its own: when that connection is lost, so is the lock, and
//! another process takes it. It reads no table, so that it holds nothing else and hinders no vacuum.

use std::collections::HashSet;

use sg_core::ports::OutboxRow;
use tokio::sync::Mutex;

use crate::announced::{kind_from, texts_from_json};

use super::error::Error;
use super::measures::count;
use super::pool::{Connections, Lease, Mode};
use super::wire::Ms;

/// Begins the transaction that holds the locks; no time-out of the server may end it.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; \
                     SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL statement_timeout = 5000";
const LOCK: &str = "SELECT pg_try_advisory_xact_lock(hashtextextended('streamgauge outbox ' || current_schema() || ' ' || $1, 0))";

/// The locks of this process.
#[derive(Default)]
pub(crate) struct Sender(Mutex<Option<Holder>>);

struct Holder {
    lease: Lease,
    streams: HashSet<String>,
}

impl Sender {
    /// Returns whether this process is the stream's sender; takes the lock if it is free.
    async fn holds(&self, connections: &Connections, stream: &str) -> Result<bool, Error> {
        let mut held = self.0.lock().await;
        // Taken out while it is asked: what fails or is dropped on the way is closed, and its locks are gone.
        let mut holder = match held.take() {
            Some(holder) if holder.is_alive().await => holder,
            _ => {
                let lease = connections.lease().await?;
                lease.client()?.batch_execute(BEGIN).await?;
                Holder { lease, streams: HashSet::new() }
            }
        };
        if !holder.streams.contains(stream) {
            let row = holder.lease.query_opt(LOCK, &[&stream]).await?;
            if row.is_some_and(|row| row.try_get(0).unwrap_or(false)) {
                holder.streams.insert(stream.to_owned());
            }
        }
        let is_ours = holder.streams.contains(stream);
        if holder.streams.is_empty() {
            holder.lease.roll_back().await;
        } else {
            *held = Some(holder);
        }
        Ok(is_ours)
    }

    /// Lets go of all locks, so that another process need not wait until the server notices.
    pub(crate) async fn release(&self) {
        if let Some(holder) = self.0.lock().await.take() {
            holder.lease.roll_back().await;
        }
    }
}

impl Holder {
    async fn is_alive(&self) -> bool {
        match self.lease.client() {
            Ok(client) => client.batch_execute("SELECT 1").await.is_ok(),
            Err(_) => false,
        }
    }
}

/// Returns the oldest rows of a stream's outbox; none when another process is its sender.
pub(crate) async fn read(
    connections: &Connections,
    sender: &Sender,
    stream: &str,
    rows_max: usize,
) -> Result<Vec<OutboxRow>, Error> {
    if !sender.holds(connections, stream).await? {
        return Ok(Vec::new());
    }
    let lease = connections.begin(Mode::Question).await?;
    let rows = rows(&lease, stream, rows_max).await;
    lease.finish(rows).await
}

async fn rows(lease: &Lease, stream: &str, rows_max: usize) -> Result<Vec<OutboxRow>, Error> {
    let sql = "SELECT id, kind, rollup, window_start, dimensions, revision FROM sg_outbox WHERE stream = $1 \
               ORDER BY id LIMIT $2";
    let limit = i64::try_from(rows_max).unwrap_or(i64::MAX);
    let rows = lease.query(sql, &[&stream, &limit]).await?;
    let outbox = rows.iter().map(|row| {
        Ok(OutboxRow {
            id: row.try_get(0)?,
            kind: kind_from(row.try_get(1)?),
            rollup: row.try_get(2)?,
            window_start: row.try_get::<_, Ms>(3)?.0,
            dimensions: texts_from_json(row.try_get(4)?)?,
            revision: count(row, 5)?,
        })
    });
    outbox.collect()
}

/// Deletes rows up to an id, durably.
pub(crate) async fn sent(lease: &Lease, stream: &str, through: i64) -> Result<(), Error> {
    lease.execute("DELETE FROM sg_outbox WHERE stream = $1 AND id <= $2", &[&stream, &through]).await?;
    Ok(())
}
