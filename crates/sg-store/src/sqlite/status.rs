//! What the store knows of itself, of one moment: partitions, watermarks, rollups, dead letters, the outbox.

use rusqlite::{Connection, params};
use sg_core::flush::{Ledger, PartitionClock};
use sg_core::ports::{Needed, PartitionStatus, RollupStatus, StatusDetail, StoreStatus};
use sg_core::query::{LateQuery, StoredLate};
use sg_core::time::Timestamp;

use crate::announced::texts_from_json;
use crate::watermark::PartitionState;

use super::error::{Error, from_integer};
use super::schema::cells_table;

/// Returns the state of everything; the caller holds a read transaction.
pub(crate) fn status(
    connection: &Connection,
    detail: StatusDetail,
    now: Timestamp,
) -> Result<StoreStatus, Error> {
    Ok(StoreStatus {
        partitions: partitions(connection, now)?,
        watermarks: watermarks(connection)?,
        rollups: rollups(connection, detail)?,
        outboxes: super::outbox::status(connection)?,
        lines: super::lines::status(connection)?,
    })
}

fn partitions(connection: &Connection, now: Timestamp) -> Result<Vec<PartitionStatus>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT stream, partition, epoch, owner, first_offset, next_offset, m, r, dedup_from, dedup_from_r, is_idle, \
         said_at, processed, counted, duplicate, id_conflict, dead_lettered, deleted, log_identity, skipped FROM sg_partitions",
    )?;
    let rows = statement.query_map([], |row| {
        let count = |at: usize| from_integer(row.get(at)?);
        let state = PartitionState {
            m: Timestamp(row.get(6)?),
            is_idle: row.get(10)?,
            said_at: Timestamp(row.get(11)?),
        };
        Ok(PartitionStatus {
            stream: row.get(0)?,
            partition: row.get(1)?,
            epoch: row.get(2)?,
            owner: row.get(3)?,
            log_identity: row.get(18)?,
            first_offset: count(4)?,
            next_offset: count(5)?,
            clock: PartitionClock { m: state.m, r: Timestamp(row.get(7)?) },
            dedup_from: (count(8)?, Timestamp(row.get(9)?)),
            ledger: Ledger {
                processed: count(12)?,
                counted: count(13)?,
                duplicate: count(14)?,
                id_conflict: count(15)?,
                dead_lettered: count(16)?,
                deleted: count(17)?,
                skipped: count(19)?,
            },
            is_idle: state.is_idle_at(now),
        })
    })?;
    rows.collect::<Result<_, _>>().map_err(Error::from)
}

fn watermarks(connection: &Connection) -> Result<Vec<(String, Timestamp)>, Error> {
    let mut statement = connection.prepare_cached("SELECT stream, watermark FROM sg_streams")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, Timestamp(row.get(1)?))))?;
    rows.collect::<Result<_, _>>().map_err(Error::from)
}

fn rollups(connection: &Connection, detail: StatusDetail) -> Result<Vec<RollupStatus>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT r.rollup, closed_to, removed_before, complete_from, removed, coalesce(sum(folded), 0), \
         coalesce(sum(diverted), 0), coalesce(sum(expired), 0), coalesce(sum(unfit), 0), coalesce(sum(deleted), 0), \
         definition FROM sg_rollups r LEFT JOIN sg_rollup_partitions p ON p.rollup = r.rollup GROUP BY r.rollup",
    )?;
    let rows = statement.query_map([], |row| {
        let count = |at: usize| from_integer(row.get(at)?);
        Ok(RollupStatus {
            name: row.get(0)?,
            definition: row.get(10)?,
            closed_to: Timestamp(row.get(1)?),
            removed_before: Timestamp(row.get(2)?),
            complete_from: row.get::<_, Option<i64>>(3)?.map(Timestamp),
            folded: count(5)?,
            in_cells: 0,
            removed: count(4)?,
            diverted: count(6)?,
            expired: count(7)?,
            unfit: count(8)?,
            deleted: count(9)?,
        })
    })?;
    let mut statuses = rows.collect::<Result<Vec<RollupStatus>, _>>()?;
    if detail == StatusDetail::Marks {
        return Ok(statuses);
    }
    for status in &mut statuses {
        // Counted, not remembered: the ledger is there to find a difference.
        let sql = format!("SELECT coalesce(sum(events), 0) FROM {}", cells_table(&status.name));
        let events: i64 = connection.prepare_cached(&sql)?.query_row([], |row| row.get(0))?;
        status.in_cells = from_integer(events)?;
    }
    Ok(statuses)
}

/// Returns what a restart would need of each partition.
pub(crate) fn needed(connection: &Connection) -> Result<Vec<Needed>, Error> {
    let mut statement =
        connection.prepare_cached("SELECT stream, partition, next_offset, dedup_from FROM sg_partitions")?;
    let rows = statement.query_map([], |row| {
        Ok(Needed {
            stream: row.get(0)?,
            partition: row.get(1)?,
            next_offset: from_integer(row.get(2)?)?,
            window_from: from_integer(row.get(3)?)?,
        })
    })?;
    rows.collect::<Result<_, _>>().map_err(Error::from)
}

/// Returns diverted events, newest first.
pub(crate) fn late(connection: &Connection, query: &LateQuery) -> Result<Vec<StoredLate>, Error> {
    let sql = "SELECT id, rollup, partition, position, event_id, event_time, received_at, window_start, dimensions, raw \
               FROM sg_late WHERE (?1 IS NULL OR rollup = ?1) AND (?2 IS NULL OR id < ?2) ORDER BY id DESC LIMIT ?3";
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![query.rollup, query.before, limit])?;
    let mut late = Vec::new();
    while let Some(row) = rows.next()? {
        late.push(StoredLate {
            id: row.get(0)?,
            rollup: row.get(1)?,
            partition: row.get(2)?,
            offset: from_integer(row.get(3)?)?,
            event_id: row.get(4)?,
            event_time: Timestamp(row.get(5)?),
            received_at: Timestamp(row.get(6)?),
            window_start: Timestamp(row.get(7)?),
            dimensions: texts_from_json(row.get_ref(8)?.as_str().map_err(rusqlite::Error::from)?)?,
            raw: row.get(9)?,
        });
    }
    Ok(late)
}
