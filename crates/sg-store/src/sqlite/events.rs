//! Looking for raw events. Writing them is `raw`'s.

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use sg_core::query::{EventQuery, StoredEvent};
use sg_core::time::Timestamp;

use super::error::Error;
use super::names::raw_table;
use super::raw;

/// Returns a stream's raw events, newest first; none when the stream keeps no raw table.
pub(crate) fn read(connection: &Connection, query: &EventQuery) -> Result<Vec<StoredEvent>, Error> {
    let table = raw_table(&query.stream);
    if !has_table(connection, &query.stream)? {
        return Ok(Vec::new());
    }
    let mut sql = format!(
        "SELECT position, event_id, user_id, session_id, event_name, properties, event_time, received_at FROM {table} WHERE 1"
    );
    let mut parameters: Vec<Sql> = Vec::new();
    let texts = [
        ("event_id = ?", &query.event_id),
        ("user_id = ?", &query.user_id),
        ("session_id = ?", &query.session_id),
        ("event_name = ?", &query.event_type),
    ];
    for (condition, value) in texts {
        if let Some(value) = value {
            sql += &format!(" AND {condition}");
            parameters.push(value.clone().into());
        }
    }
    for (condition, value) in [("event_time >= ?", query.from), ("event_time < ?", query.to)] {
        if let Some(value) = value {
            sql += &format!(" AND {condition}");
            parameters.push(value.0.into());
        }
    }
    sql += " ORDER BY event_time DESC, position DESC LIMIT ?";
    parameters.push(i64::try_from(query.limit).unwrap_or(i64::MAX).into());
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(parameters), event)?;
    rows.collect::<Result<_, _>>().map_err(Error::from)
}

fn has_table(connection: &Connection, stream: &str) -> Result<bool, Error> {
    let found: Option<i64> = connection
        .prepare_cached(
            "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'sg_raw_' || ? COLLATE NOCASE",
        )?
        .query_row([stream], |row| row.get(0))
        .optional()?;
    Ok(found.is_some())
}

fn event(row: &Row<'_>) -> Result<StoredEvent, rusqlite::Error> {
    let (partition, offset) = raw::place(row.get(0)?);
    Ok(StoredEvent {
        partition,
        offset,
        event_id: row.get(1)?,
        user_id: row.get(2)?,
        session_id: row.get(3)?,
        event_type: row.get(4)?,
        properties: row.get(5)?,
        event_time: Timestamp(row.get(6)?),
        received_at: Timestamp(row.get(7)?),
    })
}
