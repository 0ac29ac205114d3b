//! What the store knows of itself, of one moment: partitions, watermarks, rollups, dead letters.

use sg_core::flush::{Ledger, PartitionClock};
use sg_core::ports::{Needed, PartitionStatus, RollupStatus, StatusDetail, StoreStatus};
use sg_core::query::{LateQuery, StoredLate};
use sg_core::time::Timestamp;
use tokio_postgres::Row;

use crate::announced::texts_from_json;
use crate::watermark::PartitionState;

use super::error::Error;
use super::measures::count;
use super::pool::Lease;
use super::tables::cells_table;
use super::wire::Ms;

/// Returns the state of everything; the caller's transaction is a snapshot.
pub(crate) async fn status(
    lease: &Lease,
    detail: StatusDetail,
    now: Timestamp,
) -> Result<StoreStatus, Error> {
    Ok(StoreStatus {
        partitions: partitions(lease, now).await?,
        watermarks: watermarks(lease).await?,
        rollups: rollups(lease, detail).await?,
        outboxes: super::outbox::status(lease).await?,
        lines: super::lines::status(lease).await?,
    })
}

/// Reads a partition's number.
pub(crate) fn partition_of(row: &Row, at: usize) -> Result<u32, Error> {
    let number = count(row, at)?;
    u32::try_from(number).map_err(|_| Error::corrupt(format!("reading a partition: it is {number}")))
}

async fn partitions(lease: &Lease, now: Timestamp) -> Result<Vec<PartitionStatus>, Error> {
    let sql = "SELECT stream, partition, epoch, owner, first_offset, next_offset, m, r, dedup_from, dedup_from_r, \
               is_idle, said_at, processed, counted, duplicate, id_conflict, dead_lettered, deleted, log_identity, \
               skipped FROM sg_partitions ORDER BY stream, partition";
    let rows = lease.query(sql, &[]).await?;
    let statuses = rows.iter().map(|row| {
        let time = |at: usize| Ok::<_, Error>(row.try_get::<_, Ms>(at)?.0);
        let state = PartitionState { m: time(6)?, is_idle: row.try_get(10)?, said_at: time(11)? };
        Ok(PartitionStatus {
            stream: row.try_get(0)?,
            partition: partition_of(row, 1)?,
            epoch: row.try_get(2)?,
            owner: row.try_get(3)?,
            log_identity: row.try_get(18)?,
            first_offset: count(row, 4)?,
            next_offset: count(row, 5)?,
            clock: PartitionClock { m: state.m, r: time(7)? },
            dedup_from: (count(row, 8)?, time(9)?),
            ledger: Ledger {
                processed: count(row, 12)?,
                counted: count(row, 13)?,
                duplicate: count(row, 14)?,
                id_conflict: count(row, 15)?,
                dead_lettered: count(row, 16)?,
                deleted: count(row, 17)?,
                skipped: count(row, 19)?,
            },
            is_idle: state.is_idle_at(now),
        })
    });
    statuses.collect()
}

async fn watermarks(lease: &Lease) -> Result<Vec<(String, Timestamp)>, Error> {
    let rows = lease.query("SELECT stream, watermark FROM sg_streams ORDER BY stream", &[]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get::<_, Ms>(1)?.0))).collect()
}

async fn rollups(lease: &Lease, detail: StatusDetail) -> Result<Vec<RollupStatus>, Error> {
    let sql = "SELECT r.rollup, closed_to, removed_before, complete_from, removed, \
               coalesce(sum(folded), 0)::bigint, coalesce(sum(diverted), 0)::bigint, \
               coalesce(sum(expired), 0)::bigint, coalesce(sum(unfit), 0)::bigint, coalesce(sum(deleted), 0)::bigint, \
               definition FROM sg_rollups r LEFT JOIN sg_rollup_partitions p ON p.rollup = r.rollup \
               GROUP BY r.rollup ORDER BY r.rollup";
    let rows = lease.query(sql, &[]).await?;
    let statuses = rows.iter().map(|row| {
        Ok(RollupStatus {
            name: row.try_get(0)?,
            definition: row.try_get(10)?,
            closed_to: row.try_get::<_, Ms>(1)?.0,
            removed_before: row.try_get::<_, Ms>(2)?.0,
            complete_from: row.try_get::<_, Option<Ms>>(3)?.map(|Ms(at)| at),
            folded: count(row, 5)?,
            in_cells: 0,
            removed: count(row, 4)?,
            diverted: count(row, 6)?,
            expired: count(row, 7)?,
            unfit: count(row, 8)?,
            deleted: count(row, 9)?,
        })
    });
    let mut statuses = statuses.collect::<Result<Vec<RollupStatus>, Error>>()?;
    if detail == StatusDetail::Marks {
        return Ok(statuses);
    }
    for status in &mut statuses {
        // Counted, not remembered: the ledger is there to find a difference.
        let sql = format!("SELECT coalesce(sum(events), 0)::bigint FROM {}", cells_table(&status.name));
        let rows = lease.query(&sql, &[]).await?;
        status.in_cells = rows.first().map_or(Ok(0), |row| count(row, 0))?;
    }
    Ok(statuses)
}

/// Returns what a restart would need of each partition.
pub(crate) async fn needed(lease: &Lease) -> Result<Vec<Needed>, Error> {
    let sql =
        "SELECT stream, partition, next_offset, dedup_from FROM sg_partitions ORDER BY stream, partition";
    let rows = lease.query(sql, &[]).await?;
    let needed = rows.iter().map(|row| {
        Ok(Needed {
            stream: row.try_get(0)?,
            partition: partition_of(row, 1)?,
            next_offset: count(row, 2)?,
            window_from: count(row, 3)?,
        })
    });
    needed.collect()
}

/// Returns diverted events, newest first.
pub(crate) async fn late(lease: &Lease, query: &LateQuery) -> Result<Vec<StoredLate>, Error> {
    let sql = "SELECT id, rollup, partition, position, event_id, event_time, received_at, window_start, dimensions, raw \
               FROM sg_late WHERE ($1::text IS NULL OR rollup = $1) AND ($2::bigint IS NULL OR id < $2) \
               ORDER BY id DESC LIMIT $3";
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let rows = lease.query(sql, &[&query.rollup, &query.before, &limit]).await?;
    let late = rows.iter().map(|row| {
        Ok(StoredLate {
            id: row.try_get(0)?,
            rollup: row.try_get(1)?,
            partition: partition_of(row, 2)?,
            offset: count(row, 3)?,
            event_id: row.try_get(4)?,
            event_time: row.try_get::<_, Ms>(5)?.0,
            received_at: row.try_get::<_, Ms>(6)?.0,
            window_start: row.try_get::<_, Ms>(7)?.0,
            dimensions: texts_from_json(row.try_get(8)?)?,
            raw: row.try_get(9)?,
        })
    });
    late.collect()
}
