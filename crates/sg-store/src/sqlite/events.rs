//! Looking for raw events. Writing them is `raw`'s, finding them fast `index`'s: what the index covers is read through
//! it, the rest is scanned, and the answer is the same however much that is.

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use sg_core::query::{EventQuery, EventScan, StoredEvent};
use sg_core::time::Timestamp;

use crate::place::{place, position};

use super::error::Error;
use super::index::{Kind, Shared, View, Wanted, hash_of};
use super::pool::Deadline;
use super::raw::raw_table;

const COLUMNS: &str =
    "position, event_id, user_id, session_id, event_name, properties, event_time, received_at";

/// Candidates between two looks at the clock.
pub(crate) const CANDIDATES_PER_LOOK: usize = 64;

/// Returns a stream's raw events, newest first; none when the stream keeps no raw table.
pub(crate) fn read(
    connection: &Connection,
    index: &Shared,
    query: &EventQuery,
    deadline: Deadline,
) -> Result<Vec<StoredEvent>, Error> {
    if !has_table(connection, &query.stream)? {
        return Ok(Vec::new());
    }
    let select = Select::new(query);
    match indexed(connection, index, (query, &select), deadline) {
        Ok(Some(events)) => Ok(events),
        Ok(None) => scan(connection, query, &select, &[(i64::MIN, i64::MAX)]),
        Err(Error::Index { what, is_damaged }) => {
            tracing::warn!(error = what, "raw events are read without their index");
            if is_damaged {
                index.report_damage();
            }
            scan(connection, query, &select, &[(i64::MIN, i64::MAX)])
        }
        Err(error) => Err(error),
    }
}

/// Answers with the index, if there is one.
fn indexed(
    connection: &Connection,
    index: &Shared,
    (query, select): (&EventQuery, &Select),
    deadline: Deadline,
) -> Result<Option<Vec<StoredEvent>>, Error> {
    // What begins here is the moment of the answer: rows that come later are no part of it, in the index or not.
    let Some(view) = index.look(&query.stream)? else { return Ok(None) };
    let mut events = scan(connection, query, select, &view.uncovered()?)?;
    events.append(&mut look_up(connection, &view, (query, select), deadline)?);
    sort(&mut events, query.limit);
    Ok(Some(events))
}

/// Reads the rows of the index's candidates until there are as many as wanted.
fn look_up(
    connection: &Connection,
    view: &View<'_>,
    (query, select): (&EventQuery, &Select),
    deadline: Deadline,
) -> Result<Vec<StoredEvent>, Error> {
    let mut statement = connection.prepare_cached(&select.sql("position = ?", ""))?;
    let mut candidates = view.candidates(wanted(query));
    let mut events = Vec::new();
    let mut seen = 0;
    while events.len() < query.limit
        && let Some(position) = candidates.next()?
    {
        seen += 1;
        if seen % CANDIDATES_PER_LOOK == 0 {
            deadline.check()?;
        }
        let found = statement.query_row(params_from_iter(select.parameters([position.into()], None)), event);
        events.extend(found.optional()?);
    }
    Ok(events)
}

/// Returns the entries that a question is answered from: those of the condition that fewest rows meet.
pub(crate) fn wanted(query: &EventQuery) -> Wanted {
    let by = [
        (Kind::Event, &query.event_id),
        (Kind::Session, &query.session_id),
        (Kind::User, &query.user_id),
        (Kind::Type, &query.event_type),
    ];
    let chosen = by.into_iter().find_map(|(kind, text)| text.as_ref().map(|text| (kind, hash_of(text))));
    let (kind, hash) = chosen.unwrap_or((Kind::All, 0));
    let from = query.from.map_or(i64::MIN, |from| from.0);
    let to = query.to.map_or(i64::MAX, |to| to.0);
    Wanted { kind, hash, from, to }
}

/// Reads all rows between positions, first and last included, and keeps the newest.
pub(crate) fn scan(
    connection: &Connection,
    query: &EventQuery,
    select: &Select,
    between: &[(i64, i64)],
) -> Result<Vec<StoredEvent>, Error> {
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let order = " ORDER BY event_time DESC, position DESC LIMIT ?";
    let mut statement = connection.prepare_cached(&select.sql("position BETWEEN ? AND ?", order))?;
    let mut events = Vec::new();
    for (first, last) in between {
        let parameters = select.parameters([(*first).into(), (*last).into()], Some(limit));
        for found in statement.query_map(params_from_iter(parameters), event)? {
            events.push(found?);
        }
    }
    sort(&mut events, query.limit);
    Ok(events)
}

/// Returns raw events of a partition in their order; none when the stream keeps no raw table.
pub(crate) fn in_order(connection: &Connection, scan: &EventScan) -> Result<Vec<StoredEvent>, Error> {
    if !has_table(connection, &scan.stream)? || scan.from >= scan.to {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT {COLUMNS} FROM {} WHERE position BETWEEN ? AND ? AND event_time >= ? AND event_time < ? \
         ORDER BY position LIMIT ?",
        raw_table(&scan.stream)
    );
    let (first, last) = (position(scan.partition, scan.from)?, position(scan.partition, scan.to - 1)?);
    let limit = i64::try_from(scan.limit).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([first, last, scan.times.0.0, scan.times.1.0, limit], event)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Keeps the newest.
fn sort(events: &mut Vec<StoredEvent>, limit: usize) {
    // Partition and offset order as positions do.
    events.sort_unstable_by_key(|event| std::cmp::Reverse((event.event_time, event.partition, event.offset)));
    events.truncate(limit);
}

/// The conditions of a question, but for the place of its rows.
pub(crate) struct Select {
    table: String,
    conditions: String,
    values: Vec<Sql>,
}

impl Select {
    /// Reads the conditions.
    pub(crate) fn new(query: &EventQuery) -> Select {
        let mut conditions = String::new();
        let mut values: Vec<Sql> = Vec::new();
        let texts = [
            ("event_id = ?", &query.event_id),
            ("user_id = ?", &query.user_id),
            ("session_id = ?", &query.session_id),
            ("event_name = ?", &query.event_type),
        ];
        for (condition, value) in texts {
            if let Some(value) = value {
                conditions += &format!(" AND {condition}");
                values.push(value.clone().into());
            }
        }
        for (condition, value) in [("event_time >= ?", query.from), ("event_time < ?", query.to)] {
            if let Some(value) = value {
                conditions += &format!(" AND {condition}");
                values.push(value.0.into());
            }
        }
        Select { table: raw_table(&query.stream), conditions, values }
    }

    fn sql(&self, place: &str, order: &str) -> String {
        self.sql_of(COLUMNS, place, order)
    }

    /// Returns the statement that reads these columns of the rows at a place.
    pub(crate) fn sql_of(&self, columns: &str, place: &str, order: &str) -> String {
        format!("SELECT {columns} FROM {} WHERE {place}{}{order}", self.table, self.conditions)
    }

    /// Returns the values of a statement: those of the place, of the conditions, and the limit.
    pub(crate) fn parameters<'a, const N: usize>(
        &'a self,
        place: [Sql; N],
        limit: Option<i64>,
    ) -> impl Iterator<Item = Sql> + use<'a, N> {
        place.into_iter().chain(self.values.iter().cloned()).chain(limit.map(Sql::from))
    }
}

/// Returns whether a stream keeps raw events.
pub(crate) fn has_table(connection: &Connection, stream: &str) -> Result<bool, Error> {
    let found: Option<i64> = connection
        .prepare_cached(
            "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'sg_raw_' || ? COLLATE NOCASE",
        )?
        .query_row([stream], |row| row.get(0))
        .optional()?;
    Ok(found.is_some())
}

fn event(row: &Row<'_>) -> Result<StoredEvent, rusqlite::Error> {
    let (partition, offset) = place(row.get(0)?);
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
