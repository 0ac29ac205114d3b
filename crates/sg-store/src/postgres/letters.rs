//! Questions about dead letters.

use sg_core::query::{DeadLetterQuery, LetterCount, StoredDeadLetter};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::unfit::to_integer;

use super::error::Error;
use super::measures::count;
use super::pool::Lease;
use super::status::partition_of;
use super::wire::Ms;

/// Returns dead letters, newest first.
pub(crate) async fn read(lease: &Lease, query: &DeadLetterQuery) -> Result<Vec<StoredDeadLetter>, Error> {
    let mut sql =
        "SELECT id, stream, partition, position, reason, field, detail, event_id, event_type, received_at, \
                   raw, stored_at, replayed_at, replay_of_partition, replay_of_position FROM sg_dead_letters \
                   WHERE true"
            .to_owned();
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let mut given: Vec<&(dyn ToSql + Sync)> = vec![&limit];
    let filters = [("stream", &query.stream), ("reason", &query.reason), ("event_id", &query.event_id)];
    for (column, value) in filters {
        if let Some(value) = value {
            given.push(value);
            sql += &format!(" AND {column} = ${}", given.len());
        }
    }
    let partitions: Vec<i64> = query.places.iter().map(|(partition, _)| i64::from(*partition)).collect();
    let offsets =
        query.places.iter().map(|(_, offset)| to_integer(*offset)).collect::<Result<Vec<i64>, _>>()?;
    if !query.places.is_empty() {
        given.extend([&partitions as &(dyn ToSql + Sync), &offsets]);
        let (first, second) = (given.len() - 1, given.len());
        sql += &format!(
            " AND (partition, position) IN (SELECT * FROM unnest(${first}::bigint[], ${second}::bigint[]))"
        );
    }
    match query.is_replayed {
        None => {}
        Some(true) => sql += " AND replayed_at IS NOT NULL",
        Some(false) => sql += " AND replayed_at IS NULL",
    }
    if query.originals_only {
        sql += " AND replay_of_partition IS NULL";
    }
    if let Some(before) = &query.before {
        given.push(before);
        sql += &format!(" AND id < ${}", given.len());
    }
    sql += " ORDER BY id DESC LIMIT $1";
    let rows = lease.query(&sql, &given).await?;
    rows.iter().map(letter).collect()
}

fn letter(row: &Row) -> Result<StoredDeadLetter, Error> {
    let is_original: Option<i64> = row.try_get(13)?;
    Ok(StoredDeadLetter {
        id: row.try_get(0)?,
        stream: row.try_get(1)?,
        partition: partition_of(row, 2)?,
        offset: count(row, 3)?,
        reason: row.try_get(4)?,
        field: row.try_get(5)?,
        detail: row.try_get(6)?,
        event_id: row.try_get(7)?,
        event_type: row.try_get(8)?,
        received_at: row.try_get::<_, Ms>(9)?.0,
        raw: row.try_get(10)?,
        stored_at: row.try_get::<_, Ms>(11)?.0,
        replayed_at: row.try_get::<_, Option<Ms>>(12)?.map(|Ms(at)| at),
        replay_of: match is_original {
            None => None,
            Some(_) => Some((partition_of(row, 13)?, count(row, 14)?)),
        },
    })
}

/// Counts dead letters by stream and reason.
pub(crate) async fn counts(lease: &Lease, stream: Option<&str>) -> Result<Vec<LetterCount>, Error> {
    let sql = "SELECT stream, reason, count(*) FILTER (WHERE replayed_at IS NULL AND replay_of_partition IS NULL), \
               count(*) FILTER (WHERE replayed_at IS NOT NULL AND replay_of_partition IS NULL), \
               count(replay_of_partition) FROM sg_dead_letters WHERE $1::text IS NULL OR stream = $1 \
               GROUP BY stream, reason ORDER BY stream, reason";
    let rows = lease.query(sql, &[&stream]).await?;
    let counts = rows.iter().map(|row| {
        Ok(LetterCount {
            stream: row.try_get(0)?,
            reason: row.try_get(1)?,
            waiting: count(row, 2)?,
            replayed: count(row, 3)?,
            copies: count(row, 4)?,
        })
    });
    counts.collect()
}
