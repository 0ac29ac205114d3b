//! The outbox: what became known with a flush and waits to be told. Who is told, and when, is not decided here.

use rusqlite::{CachedStatement, Connection, Row, params};
use sg_core::definition::Rollup;
use sg_core::limits::OUTBOX_BYTES_AT_ONCE;
use sg_core::plan::Plan;
use sg_core::ports::{MAIN_LANE, OutboxEvent, OutboxKind, OutboxRow, OutboxStatus, Parked};
use sg_core::time::Timestamp;

use crate::announced::{Told, kind_from, texts_from_json, texts_to_json};
use crate::lines::ToldCells;
use crate::unfit::to_integer;

use super::error::{Error, from_integer};

/// Appends to one stream's outbox.
pub(crate) struct Outbox<'a> {
    /// The connection that writes.
    pub(crate) connection: &'a Connection,
    /// The id of the newest row.
    pub(crate) last: i64,
    /// The cells that were appended, for lines of them.
    pub(crate) told: ToldCells,
    insert: CachedStatement<'a>,
    stream: &'a str,
    now: Timestamp,
}

impl<'a> Outbox<'a> {
    /// Goes on behind the newest row.
    pub(crate) fn after(
        connection: &'a Connection,
        plan: &'a Plan,
        last: i64,
        now: Timestamp,
    ) -> Result<Outbox<'a>, Error> {
        let insert = connection.prepare_cached("INSERT INTO sg_outbox VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")?;
        Ok(Outbox { connection, last, told: ToldCells::of(plan), insert, stream: &plan.stream.name, now })
    }

    /// Appends a cell.
    pub(crate) fn push(
        &mut self,
        kind: OutboxKind,
        rollup: &Rollup,
        (start, dimensions): (Timestamp, &[String]),
        revision: u64,
    ) -> Result<(), Error> {
        self.told.push(&rollup.name, start, dimensions);
        self.insert(kind, (&rollup.name, start, dimensions), revision)
    }

    /// Appends an event of a partition.
    pub(crate) fn push_event(&mut self, partition: u32, event: &Told<'_>) -> Result<(), Error> {
        self.insert(event.kind, event.window.unwrap_or(("", Timestamp::NEVER, &[])), 0)?;
        self.connection
            .prepare_cached("INSERT INTO sg_outbox_events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?
            .execute(params![
                self.stream,
                MAIN_LANE,
                self.last,
                partition,
                to_integer(event.offset)?,
                event.key,
                event.event_id,
                event.received_at.0,
                event.reason,
                event.detail,
                event.raw
            ])?;
        Ok(())
    }

    fn insert(
        &mut self,
        kind: OutboxKind,
        (rollup, start, dimensions): (&str, Timestamp, &[String]),
        revision: u64,
    ) -> Result<(), Error> {
        self.last += 1;
        self.insert.execute(params![
            self.stream,
            MAIN_LANE,
            self.last,
            kind.name(),
            rollup,
            start.0,
            texts_to_json(dimensions)?,
            to_integer(revision)?,
            self.now.0
        ])?;
        Ok(())
    }
}

/// Returns the oldest rows of a lane, up to a number of rows and of their events' bytes.
pub(crate) fn read(
    connection: &Connection,
    (stream, lane): (&str, &str),
    rows_max: usize,
) -> Result<Vec<OutboxRow>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT o.id, kind, rollup, window_start, dimensions, revision, e.id, partition, position, key, event_id, \
         received_at, reason, detail, raw FROM sg_outbox o LEFT JOIN sg_outbox_events e USING (stream, lane, id) \
         WHERE stream = ? AND lane = ? ORDER BY o.id LIMIT ?",
    )?;
    let limit = i64::try_from(rows_max).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![stream, lane, limit])?;
    let mut outbox: Vec<OutboxRow> = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let event = if row.get::<_, Option<i64>>(6)?.is_some() { Some(event(row)?) } else { None };
        bytes += event.as_ref().map_or(0, |event| event.raw.len());
        if bytes > OUTBOX_BYTES_AT_ONCE && !outbox.is_empty() {
            break;
        }
        outbox.push(OutboxRow {
            id: row.get(0)?,
            kind: kind_from(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?)?,
            rollup: row.get(2)?,
            window_start: Timestamp(row.get(3)?),
            dimensions: texts_from_json(row.get_ref(4)?.as_str().map_err(rusqlite::Error::from)?)?,
            revision: from_integer(row.get(5)?)?,
            event,
        });
    }
    Ok(outbox)
}

fn event(row: &Row<'_>) -> Result<OutboxEvent, Error> {
    Ok(OutboxEvent {
        partition: row.get(7)?,
        offset: from_integer(row.get(8)?)?,
        key: row.get(9)?,
        event_id: row.get(10)?,
        received_at: Timestamp(row.get(11)?),
        reason: row.get(12)?,
        detail: row.get(13)?,
        raw: row.get(14)?,
    })
}

/// Deletes a lane's rows up to an id; those that are parked go to their lanes, or stay if that is theirs.
pub(crate) fn sent(
    connection: &mut Connection,
    (stream, lane): (&str, &str),
    through: i64,
    parked: &[Parked],
) -> Result<(), Error> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for row in parked.iter().filter(|row| row.topic != lane) {
        let given = params![stream, lane, row.id, row.topic];
        transaction
            .prepare_cached(
                "INSERT INTO sg_outbox SELECT stream, ?4, id, kind, rollup, window_start, dimensions, revision, \
                 written_at FROM sg_outbox WHERE stream = ?1 AND lane = ?2 AND id = ?3 ON CONFLICT DO NOTHING",
            )?
            .execute(given)?;
        transaction
            .prepare_cached(
                "INSERT INTO sg_outbox_events SELECT stream, ?4, id, partition, position, key, event_id, received_at, \
                 reason, detail, raw FROM sg_outbox_events WHERE stream = ?1 AND lane = ?2 AND id = ?3 \
                 ON CONFLICT DO NOTHING",
            )?
            .execute(given)?;
    }
    let stays: Vec<i64> = parked.iter().filter(|row| row.topic == lane).map(|row| row.id).collect();
    let stays = serde_json::Value::from(stays).to_string();
    for table in ["sg_outbox", "sg_outbox_events"] {
        let sql = format!(
            "DELETE FROM {table} WHERE stream = ? AND lane = ? AND id <= ? \
             AND id NOT IN (SELECT value FROM json_each(?))"
        );
        transaction.prepare_cached(&sql)?.execute(params![stream, lane, through, stays])?;
    }
    transaction.commit()?;
    Ok(())
}

/// Returns what waits in each lane. In the main lane ids follow each other: it need not be counted.
pub(crate) fn status(connection: &Connection) -> Result<Vec<OutboxStatus>, Error> {
    let mut main = connection.prepare_cached(
        "SELECT s.stream, '', outbox_last - id + 1, written_at FROM sg_streams s JOIN sg_outbox o \
         ON o.stream = s.stream AND lane = '' \
         AND id = (SELECT min(id) FROM sg_outbox f WHERE f.stream = s.stream AND f.lane = '')",
    )?;
    let mut parked = connection.prepare_cached(
        "SELECT o.stream, lane, count(*), min(written_at) FROM sg_streams s JOIN sg_outbox o \
         ON o.stream = s.stream AND lane > '' GROUP BY o.stream, lane",
    )?;
    let mut lanes = Vec::new();
    for statement in [&mut main, &mut parked] {
        let rows = statement.query_map([], |row| {
            Ok(OutboxStatus {
                stream: row.get(0)?,
                lane: row.get(1)?,
                rows: from_integer(row.get(2)?)?,
                oldest: Timestamp(row.get(3)?),
            })
        })?;
        for row in rows {
            lanes.push(row?);
        }
    }
    Ok(lanes)
}
