//! Looking for raw events. Writing them is `raw`'s. Every piece of the table has its own indexes, and each question is
//! put so that the server uses the one that fewest rows meet: it cannot know how rare an id is.

use sg_core::query::{EventQuery, EventScan, StoredEvent};
use sg_core::time::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::place::{place, position};

use super::error::Error;
use super::pool::Lease;
use super::tables::raw_table;
use super::wire::Ms;

const COLUMNS: &str =
    "position, event_id, user_id, session_id, event_name, properties, event_time, received_at";

/// Returns a stream's raw events, newest first; none when the stream keeps no raw table.
pub(crate) async fn read(lease: &Lease, query: &EventQuery) -> Result<Vec<StoredEvent>, Error> {
    let table = raw_table(&query.stream);
    if !has_table(lease, &table).await? {
        return Ok(Vec::new());
    }
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let bounds = (query.from.map(Ms::bound), query.to.map(Ms::bound));
    let mut given: Vec<&(dyn ToSql + Sync)> = vec![&limit];
    let conditions = conditions(query, &bounds, &mut given);
    let rows = lease.query(&sql(&table, &conditions, query), &given).await?;
    rows.iter().map(event).collect()
}

/// Returns raw events of a partition in their order; none when the stream keeps no raw table.
pub(crate) async fn in_order(lease: &Lease, scan: &EventScan) -> Result<Vec<StoredEvent>, Error> {
    let table = raw_table(&scan.stream);
    if scan.from >= scan.to || !has_table(lease, &table).await? {
        return Ok(Vec::new());
    }
    let (first, last) = (position(scan.partition, scan.from)?, position(scan.partition, scan.to - 1)?);
    let limit = i64::try_from(scan.limit).unwrap_or(i64::MAX);
    let sql = format!(
        "SELECT {COLUMNS} FROM {table} WHERE position BETWEEN $1 AND $2 AND event_time >= $3 AND event_time < $4 \
         ORDER BY position LIMIT $5"
    );
    let (from, to) = (Ms::bound(scan.times.0), Ms::bound(scan.times.1));
    let rows = lease.query(&sql, &[&first, &last, &from, &to, &limit]).await?;
    rows.iter().map(event).collect()
}

/// Returns how many raw events of a stream meet a query; none when the stream keeps no raw table.
pub(crate) async fn count(lease: &Lease, query: &EventQuery) -> Result<u64, Error> {
    let table = raw_table(&query.stream);
    if !has_table(lease, &table).await? {
        return Ok(0);
    }
    let bounds = (query.from.map(Ms::bound), query.to.map(Ms::bound));
    let mut given: Vec<&(dyn ToSql + Sync)> = Vec::new();
    let conditions = conditions(query, &bounds, &mut given);
    counted(lease, &format!("SELECT count(*) FROM {table} WHERE {conditions}"), &given).await
}

/// Returns how many different users a stream's raw events of a range have; none when the stream keeps no raw table.
pub(crate) async fn users(
    lease: &Lease,
    stream: &str,
    (from, to): (Timestamp, Timestamp),
) -> Result<u64, Error> {
    let table = raw_table(stream);
    if !has_table(lease, &table).await? {
        return Ok(0);
    }
    let sql = format!(
        "SELECT count(DISTINCT user_id) FROM {table} WHERE user_id IS NOT NULL AND event_time >= $1 AND event_time < $2"
    );
    counted(lease, &sql, &[&Ms::bound(from), &Ms::bound(to)]).await
}

async fn counted(lease: &Lease, sql: &str, given: &[&(dyn ToSql + Sync)]) -> Result<u64, Error> {
    match lease.query_opt(sql, given).await? {
        Some(row) => super::measures::count(&row, 0),
        None => Ok(0),
    }
}

/// Returns whether a raw table is there, or nothing is yet, of which the question itself will tell.
async fn has_table(lease: &Lease, table: &str) -> Result<bool, Error> {
    let row = lease
        .query_opt("SELECT to_regclass('sg_schema') IS NULL, to_regclass($1) IS NULL", &[&table])
        .await?;
    let (no_store, no_table): (bool, bool) = match row {
        Some(row) => (row.try_get(0)?, row.try_get(1)?),
        None => (false, false),
    };
    Ok(no_store || !no_table)
}

/// Returns the conditions of a query, whose values follow those that are given already.
fn conditions<'q>(
    query: &'q EventQuery,
    (from, to): &'q (Option<Ms>, Option<Ms>),
    given: &mut Vec<&'q (dyn ToSql + Sync)>,
) -> String {
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
    for (condition, value) in [("event_time >=", from), ("event_time <", to)] {
        if let Some(value) = value {
            given.push(value);
            conditions += &format!(" AND {condition} ${}", given.len());
        }
    }
    conditions
}

fn sql(table: &str, conditions: &str, query: &EventQuery) -> String {
    let columns = COLUMNS;
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
