//! The outbox: what became known with a flush and waits to be told; read and emptied by one sender per stream over all processes. The sender holds a lock of the server
//! in a transaction that stays open on a connection of its own: when that connection is lost, so is the lock, and
//! another process takes it. It reads no table, so that it holds nothing else and hinders no vacuum.

use std::collections::HashSet;

use sg_core::definition::Rollup;
use sg_core::limits::OUTBOX_BYTES_AT_ONCE;
use sg_core::plan::Plan;
use sg_core::ports::{MAIN_LANE, OutboxEvent, OutboxKind, OutboxRow, OutboxStatus, Parked};
use sg_core::time::Timestamp;
use tokio::sync::Mutex;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::announced::{Told, kind_from, texts_from_json, texts_to_json};
use crate::faults::Faults;
use crate::lines::ToldCells;
use crate::unfit::{Unfit, to_integer};

use super::cells::arrays;
use super::error::Error;
use super::flush::{holdable, inserts};
use super::measures::count;
use super::pool::{Connections, Lease, Mode};
use super::status::partition_of;
use super::wire::{Column, Ms};

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
    /// Returns whether this process is the stream's sender, or has the lane of lines of that name; takes the lock if it is
    /// free.
    pub(crate) async fn holds(&self, connections: &Connections, stream: &str) -> Result<bool, Error> {
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

/// The types of a cell's columns.
const CELL: [Type; 8] = [
    Type::TEXT,
    Type::INT8,
    Type::TEXT,
    Type::TEXT,
    Type::TIMESTAMPTZ,
    Type::TEXT,
    Type::INT8,
    Type::TIMESTAMPTZ,
];
/// The types of an event's columns.
const EVENT: [Type; 11] = [
    Type::TEXT,
    Type::TEXT,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::BYTEA,
    Type::TEXT,
    Type::TIMESTAMPTZ,
    Type::TEXT,
    Type::TEXT,
    Type::BYTEA,
];

/// Rows for one stream's outbox, column by column.
pub(crate) struct Outbox<'a> {
    /// The id of the newest row.
    pub(crate) last: i64,
    /// The cells that were appended, for lines of them.
    pub(crate) told: ToldCells,
    stream: &'a str,
    now: Timestamp,
    columns: Vec<Column>,
    /// Partition and id of each, beside what it tells.
    events: Vec<(u32, i64, &'a Told<'a>)>,
}

impl<'a> Outbox<'a> {
    /// Goes on behind the newest row.
    pub(crate) fn after(plan: &'a Plan, last: i64, now: Timestamp) -> Outbox<'a> {
        let columns = CELL.iter().cloned().map(Column::of).collect();
        let (told, stream) = (ToldCells::of(plan), plan.stream.name.as_str());
        Outbox { last, told, stream, now, columns, events: Vec::new() }
    }

    /// Appends a cell.
    pub(crate) fn push(
        &mut self,
        kind: OutboxKind,
        rollup: &Rollup,
        (start, dimensions): (Timestamp, &[String]),
        revision: u64,
    ) -> Result<(), Unfit> {
        self.told.push(&rollup.name, start, dimensions);
        self.push_row(kind, (&rollup.name, start, dimensions), revision)
    }

    /// Appends events of a partition.
    pub(crate) fn push_events(&mut self, partition: u32, events: &'a [Told<'a>]) -> Result<(), Unfit> {
        for event in events {
            self.push_row(event.kind, event.window.unwrap_or(("", Timestamp::NEVER, &[])), 0)?;
            self.events.push((partition, self.last, event));
        }
        Ok(())
    }

    fn push_row(
        &mut self,
        kind: OutboxKind,
        (rollup, start, dimensions): (&str, Timestamp, &[String]),
        revision: u64,
    ) -> Result<(), Unfit> {
        self.last += 1;
        self.columns[0].push_text(self.stream);
        self.columns[1].push_integer(self.last);
        self.columns[2].push_text(kind.name());
        self.columns[3].push_text(rollup);
        self.columns[4].push_time(start)?;
        self.columns[5].push_text(&texts_to_json(dimensions)?);
        self.columns[6].push_integer(to_integer(revision)?);
        self.columns[7].push_time(self.now)?;
        Ok(())
    }

    /// Writes what was appended.
    pub(crate) async fn write(self, lease: &Lease, faults: &Faults) -> Result<(), Error> {
        let sql = format!(
            "INSERT INTO sg_outbox (stream, id, kind, rollup, window_start, dimensions, revision, written_at) \
             SELECT * FROM unnest({})",
            arrays(&CELL)
        );
        let given: Vec<&(dyn ToSql + Sync)> =
            self.columns.iter().map(|column| column as &(dyn ToSql + Sync)).collect();
        lease.execute(&sql, &given).await?;
        let sql = format!(
            "INSERT INTO sg_outbox_events (stream, lane, id, partition, position, key, event_id, received_at, reason, \
             detail, raw) SELECT * FROM unnest({})",
            arrays(&EVENT)
        );
        let stream = self.stream;
        let fill = |(partition, id, event): &(u32, i64, &Told<'_>), columns: &mut [Column]| {
            columns[0].push_text(stream);
            columns[1].push_text(MAIN_LANE);
            columns[2].push_integer(*id);
            columns[3].push_integer(i64::from(*partition));
            columns[4].push_integer(to_integer(event.offset)?);
            columns[5].push_optional_bytes(event.key);
            columns[6].push_text(&holdable(event.event_id));
            columns[7].push_time(event.received_at)?;
            columns[8].push_text(event.reason);
            columns[9].push_text(&holdable(event.detail));
            columns[10].push_bytes(event.raw);
            Ok(())
        };
        let statements = inserts(lease, &sql, &EVENT, &self.events, fill).await?;
        lease.pipeline(&statements, faults).await?;
        Ok(())
    }
}

/// Returns the oldest rows of a lane, up to a number of rows and of their events' bytes; none when another process is
/// the stream's sender.
pub(crate) async fn read(
    connections: &Connections,
    sender: &Sender,
    (stream, lane): (&str, &str),
    rows_max: usize,
) -> Result<Vec<OutboxRow>, Error> {
    if !sender.holds(connections, stream).await? {
        return Ok(Vec::new());
    }
    let lease = connections.begin(Mode::Question).await?;
    let rows = rows(&lease, (stream, lane), rows_max).await;
    lease.finish(rows).await
}

async fn rows(lease: &Lease, (stream, lane): (&str, &str), rows_max: usize) -> Result<Vec<OutboxRow>, Error> {
    // Lengths are told without reading the values, so that what is not returned costs nothing.
    let sql = "SELECT o.id, kind, rollup, window_start, dimensions, revision, e.id, partition, position, key, event_id, \
               received_at, reason, detail, raw FROM (SELECT *, row_number() OVER (ORDER BY id) AS nth, \
               sum(coalesce((SELECT octet_length(raw) FROM sg_outbox_events l WHERE l.stream = q.stream \
               AND l.lane = q.lane AND l.id = q.id), 0)) OVER (ORDER BY id) AS bytes \
               FROM (SELECT * FROM sg_outbox WHERE stream = $1 AND lane = $2 ORDER BY id LIMIT $3) AS q) AS o \
               LEFT JOIN sg_outbox_events e USING (stream, lane, id) WHERE nth = 1 OR bytes <= $4 ORDER BY o.id";
    let limit = i64::try_from(rows_max).unwrap_or(i64::MAX);
    let bytes_max = OUTBOX_BYTES_AT_ONCE as i64;
    let rows = lease.query(sql, &[&stream, &lane, &limit, &bytes_max]).await?;
    let outbox = rows.iter().map(|row| {
        let has_event = row.try_get::<_, Option<i64>>(6)?.is_some();
        Ok(OutboxRow {
            id: row.try_get(0)?,
            kind: kind_from(row.try_get(1)?)?,
            rollup: row.try_get(2)?,
            window_start: row.try_get::<_, Ms>(3)?.0,
            dimensions: texts_from_json(row.try_get(4)?)?,
            revision: count(row, 5)?,
            event: if has_event { Some(event(row)?) } else { None },
        })
    });
    outbox.collect()
}

fn event(row: &Row) -> Result<OutboxEvent, Error> {
    Ok(OutboxEvent {
        partition: partition_of(row, 7)?,
        offset: count(row, 8)?,
        key: row.try_get(9)?,
        event_id: row.try_get(10)?,
        received_at: row.try_get::<_, Ms>(11)?.0,
        reason: row.try_get(12)?,
        detail: row.try_get(13)?,
        raw: row.try_get(14)?,
    })
}

/// Deletes a lane's rows up to an id; those that are parked go to their lanes, or stay if that is theirs.
pub(crate) async fn sent(
    lease: &Lease,
    (stream, lane): (&str, &str),
    through: i64,
    parked: &[Parked],
) -> Result<(), Error> {
    let (moved, stays): (Vec<&Parked>, Vec<&Parked>) = parked.iter().partition(|row| row.topic != lane);
    if !moved.is_empty() {
        let ids: Vec<i64> = moved.iter().map(|row| row.id).collect();
        let topics: Vec<&str> = moved.iter().map(|row| row.topic.as_str()).collect();
        let from = "unnest($3::bigint[], $4::text[]) AS p(id, topic) WHERE o.stream = $1 AND o.lane = $2 \
                    AND o.id = p.id ON CONFLICT DO NOTHING";
        for sql in [
            format!(
                "INSERT INTO sg_outbox (stream, lane, id, kind, rollup, window_start, dimensions, revision, written_at) \
                 SELECT stream, topic, o.id, kind, rollup, window_start, dimensions, revision, written_at \
                 FROM sg_outbox o, {from}"
            ),
            format!(
                "INSERT INTO sg_outbox_events SELECT stream, topic, o.id, partition, position, key, event_id, \
                 received_at, reason, detail, raw FROM sg_outbox_events o, {from}"
            ),
        ] {
            lease.execute(&sql, &[&stream, &lane, &ids, &topics]).await?;
        }
    }
    let stays: Vec<i64> = stays.iter().map(|row| row.id).collect();
    for table in ["sg_outbox", "sg_outbox_events"] {
        let sql = format!(
            "DELETE FROM {table} WHERE stream = $1 AND lane = $2 AND id <= $3 AND id <> ALL($4::bigint[])"
        );
        lease.execute(&sql, &[&stream, &lane, &through, &stays]).await?;
    }
    Ok(())
}

/// Returns what waits in each lane. In the main lane ids follow each other: it need not be counted.
pub(crate) async fn status(lease: &Lease) -> Result<Vec<OutboxStatus>, Error> {
    let sql = "SELECT s.stream, lane, outbox_last - o.id + 1, written_at FROM sg_streams s, LATERAL (SELECT * \
               FROM sg_outbox q WHERE q.stream = s.stream AND lane = '' ORDER BY id LIMIT 1) AS o UNION ALL \
               SELECT s.stream, lane, count(*), min(written_at) FROM sg_streams s JOIN sg_outbox q \
               ON q.stream = s.stream AND lane > '' GROUP BY s.stream, lane";
    let rows = lease.query(sql, &[]).await?;
    let lanes = rows.iter().map(|row| {
        Ok(OutboxStatus {
            stream: row.try_get(0)?,
            lane: row.try_get(1)?,
            rows: count(row, 2)?,
            oldest: row.try_get::<_, Ms>(3)?.0,
        })
    });
    lanes.collect()
}
