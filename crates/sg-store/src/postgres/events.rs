//! Looking for raw events. Writing them is `raw`'s. Every piece of the table has its own indexes, and each question is
//! put so that the server uses the one that fewest rows meet: it cannot know how rare an id is.

use sg_core::query::{EventQuery, StoredEvent};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::place::place;

use super::error::Error;
use super::pool::Lease;
use super::tables::raw_table;
use super::wire::Ms;

/// Returns a stream's raw events, newest first; none when the stream keeps no raw table.
pub(crate) async fn read(lease: &Lease, query: &EventQuery) -> Result<Vec<StoredEvent>, Error> {
    let table = raw_table(&query.stream);
    let row = lease
        .query_opt("SELECT to_regclass('sg_schema') IS NULL, to_regclass($1) IS NULL", &[&table])
        .await?;
    let (no_store, no_table): (bool, bool) = match row {
        Some(row) => (row.try_get(0)?, row.try_get(1)?),
        None => (false, false),
    };
    if no_table && !no_store {
        return Ok(Vec::new());
    }
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let (from, to) = (query.from.map(Ms::bound), query.to.map(Ms::bound));
    let mut given: Vec<&(dyn ToSql + Sync)> = vec![&limit];
    let mut conditions = String::from("true");
    let texts = [
        ("event_id", &query.event_id),
        ("user_id", &query.user_id),
        ("session_id", &query.session_id),
        ("event_name", &query.event_type),
    ];
    for (column, value) in texts {
        if let Some(value) = value {
            given.push(value);
            conditions += &format!(" AND {column} = ${}", given.len());
        }
    }
    for (condition, value) in [("event_time >=", &from), ("event_time <", &to)] {
        if let Some(value) = value {
            given.push(value);
            conditions += &format!(" AND {condition} ${}", given.len());
        }
    }
    let rows = lease.query(&sql(&table, &conditions, query), &given).await?;
    rows.iter().map(event).collect()
}

fn sql(table: &str, conditions: &str, query: &EventQuery) -> String {
    let columns = "position, event_id, user_id, session_id, event_name, properties, event_time, received_at";
    let order = "ORDER BY event_time DESC, position DESC LIMIT $1";
    // Few rows have one id or session: all are found by it and sorted, rather than walking through all times.
    let is_rare = query.event_id.is_some() || (query.session_id.is_some() && query.user_id.is_none());
    if is_rare {
        return format!(
            "WITH found AS MATERIALIZED (SELECT {columns} FROM {table} WHERE {conditions}) SELECT * FROM found {order}"
        );
    }
    format!("SELECT {columns} FROM {table} WHERE {conditions} {order}")
}

fn event(row: &Row) -> Result<StoredEvent, Error> {
    let (partition, offset) = place(row.try_get(0)?);
    Ok(StoredEvent {
        partition,
        offset,
        event_id: row.try_get(1)?,
        user_id: row.try_get(2)?,
        session_id: row.try_get(3)?,
        event_type: row.try_get(4)?,
        properties: row.try_get(5)?,
        event_time: row.try_get::<_, Ms>(6)?.0,
        received_at: row.try_get::<_, Ms>(7)?.0,
    })
}
