//! Questions about dead letters.

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, Row, params, params_from_iter};
use sg_core::query::{DeadLetterQuery, LetterCount, StoredDeadLetter};
use sg_core::time::Timestamp;

use crate::unfit::to_integer;

use super::error::{Error, from_integer};

/// Returns dead letters, newest first.
pub(crate) fn read(connection: &Connection, query: &DeadLetterQuery) -> Result<Vec<StoredDeadLetter>, Error> {
    let mut sql = "SELECT id, stream, partition, position, reason, field, detail, event_id, event_type, received_at, \
                   raw, stored_at, replayed_at, replay_of_partition, replay_of_position FROM sg_dead_letters WHERE 1"
        .to_owned();
    let mut parameters: Vec<Sql> = Vec::new();
    let filters = [("stream", &query.stream), ("reason", &query.reason), ("event_id", &query.event_id)];
    for (column, value) in filters {
        if let Some(value) = value {
            sql += &format!(" AND {column} = ?");
            parameters.push(value.clone().into());
        }
    }
    if !query.places.is_empty() {
        let places = vec!["(?, ?)"; query.places.len()].join(", ");
        sql += &format!(" AND (partition, position) IN (VALUES {places})");
        for (partition, offset) in &query.places {
            parameters.extend([Sql::Integer(i64::from(*partition)), Sql::Integer(to_integer(*offset)?)]);
        }
    }
    match query.is_replayed {
        None => {}
        Some(true) => sql += " AND replayed_at IS NOT NULL",
        Some(false) => sql += " AND replayed_at IS NULL",
    }
    if query.originals_only {
        sql += " AND replay_of_partition IS NULL";
    }
    if let Some(before) = query.before {
        sql += " AND id < ?";
        parameters.push(Sql::Integer(before));
    }
    sql += " ORDER BY id DESC LIMIT ?";
    parameters.push(i64::try_from(query.limit).unwrap_or(i64::MAX).into());
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(parameters), letter)?;
    rows.collect::<Result<_, _>>().map_err(Error::from)
}

fn letter(row: &Row<'_>) -> Result<StoredDeadLetter, rusqlite::Error> {
    let original: (Option<u32>, Option<i64>) = (row.get(13)?, row.get(14)?);
    Ok(StoredDeadLetter {
        id: row.get(0)?,
        stream: row.get(1)?,
        partition: row.get(2)?,
        offset: from_integer(row.get(3)?)?,
        reason: row.get(4)?,
        field: row.get(5)?,
        detail: row.get(6)?,
        event_id: row.get(7)?,
        event_type: row.get(8)?,
        received_at: Timestamp(row.get(9)?),
        raw: row.get(10)?,
        stored_at: Timestamp(row.get(11)?),
        replayed_at: row.get::<_, Option<i64>>(12)?.map(Timestamp),
        replay_of: match original {
            (Some(partition), Some(offset)) => Some((partition, from_integer(offset)?)),
            _ => None,
        },
    })
}

/// Counts dead letters by stream and reason.
pub(crate) fn counts(connection: &Connection, stream: Option<&str>) -> Result<Vec<LetterCount>, Error> {
    let sql = "SELECT stream, reason, sum(replayed_at IS NULL AND replay_of_partition IS NULL), \
               sum(replayed_at IS NOT NULL AND replay_of_partition IS NULL), sum(replay_of_partition IS NOT NULL) \
               FROM sg_dead_letters WHERE ?1 IS NULL OR stream = ?1 GROUP BY stream, reason ORDER BY stream, reason";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![stream], |row| {
        Ok(LetterCount {
            stream: row.get(0)?,
            reason: row.get(1)?,
            waiting: from_integer(row.get(2)?)?,
            replayed: from_integer(row.get(3)?)?,
            copies: from_integer(row.get(4)?)?,
        })
    })?;
    rows.collect::<Result<_, _>>().map_err(Error::from)
}
