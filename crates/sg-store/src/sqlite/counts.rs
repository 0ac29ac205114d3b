//! Counting raw events and their users without handing the rows out. As with `events`, what the index covers is read
//! through it and the rest is scanned, and the answer is the same however much that is.

use std::collections::HashSet;

use rusqlite::{Connection, params_from_iter};
use sg_core::query::EventQuery;

use super::error::{Error, from_integer};
use super::events::{CANDIDATES_PER_LOOK, Select, has_table, wanted};
use super::index::{Kind, Shared, View, Wanted, hash_of};
use super::pool::Deadline;

const EVERYWHERE: &[(i64, i64)] = &[(i64::MIN, i64::MAX)];
const BETWEEN: &str = "position BETWEEN ? AND ?";
const AT: &str = "position = ?";

/// Returns how many raw events of a stream meet a query; none when the stream keeps no raw table.
pub(crate) fn events(
    connection: &Connection,
    index: &Shared,
    query: &EventQuery,
    deadline: Deadline,
) -> Result<u64, Error> {
    let select = Select::new(query);
    answered(connection, index, query, |view| {
        let Some(view) = view else { return scanned_events(connection, &select, EVERYWHERE) };
        let scanned = scanned_events(connection, &select, &view.uncovered()?)?;
        Ok(scanned + indexed_events(connection, view, (query, &select), deadline)?)
    })
}

/// Returns how many different users the raw events of a query have. Users are told apart by a hash of 47 bits: among a
/// million of them, one time in 280 two count as one.
pub(crate) fn users(
    connection: &Connection,
    index: &Shared,
    query: &EventQuery,
    deadline: Deadline,
) -> Result<u64, Error> {
    let select = Select::new(query);
    answered(connection, index, query, |view| {
        let Some(view) = view else {
            return Ok(scanned_users(connection, &select, EVERYWHERE)?.len() as u64);
        };
        let mut users = scanned_users(connection, &select, &view.uncovered()?)?;
        indexed_users(connection, view, (query, &select), deadline, &mut users)?;
        Ok(users.len() as u64)
    })
}

/// Answers with the index if there is one, and without it when it is damaged.
fn answered(
    connection: &Connection,
    index: &Shared,
    query: &EventQuery,
    answer: impl Fn(Option<&View<'_>>) -> Result<u64, Error>,
) -> Result<u64, Error> {
    if !has_table(connection, &query.stream)? {
        return Ok(0);
    }
    match index.look(&query.stream).and_then(|view| answer(view.as_ref())) {
        Err(Error::Index { what, is_damaged }) => {
            tracing::warn!(error = what, "raw events are counted without their index");
            if is_damaged {
                index.report_damage();
            }
            answer(None)
        }
        answered => answered,
    }
}

fn scanned_events(connection: &Connection, select: &Select, between: &[(i64, i64)]) -> Result<u64, Error> {
    let mut statement = connection.prepare_cached(&select.sql_of("count(*)", BETWEEN, ""))?;
    let mut count = 0;
    for (first, last) in between {
        let parameters = params_from_iter(select.parameters([(*first).into(), (*last).into()], None));
        count += from_integer(statement.query_row(parameters, |row| row.get(0))?)?;
    }
    Ok(count)
}

fn indexed_events(
    connection: &Connection,
    view: &View<'_>,
    (query, select): (&EventQuery, &Select),
    deadline: Deadline,
) -> Result<u64, Error> {
    let mut statement = connection.prepare_cached(&select.sql_of("1", AT, ""))?;
    let mut candidates = view.candidates(wanted(query));
    let (mut seen, mut count) = (0, 0);
    while let Some(position) = candidates.next()? {
        seen += 1;
        if seen % CANDIDATES_PER_LOOK == 0 {
            deadline.check()?;
        }
        count += u64::from(statement.exists(params_from_iter(select.parameters([position.into()], None)))?);
    }
    Ok(count)
}

fn scanned_users(
    connection: &Connection,
    select: &Select,
    between: &[(i64, i64)],
) -> Result<HashSet<u64>, Error> {
    let sql = select.sql_of("user_id", BETWEEN, " AND user_id IS NOT NULL");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut users = HashSet::new();
    for (first, last) in between {
        let parameters = params_from_iter(select.parameters([(*first).into(), (*last).into()], None));
        let mut rows = statement.query(parameters)?;
        while let Some(row) = rows.next()? {
            users.insert(hash_of(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?));
        }
    }
    Ok(users)
}

/// Adds the users of the index's entries. One row that is still there is enough for each.
fn indexed_users(
    connection: &Connection,
    view: &View<'_>,
    (query, select): (&EventQuery, &Select),
    deadline: Deadline,
    users: &mut HashSet<u64>,
) -> Result<(), Error> {
    let mut statement = connection.prepare_cached(&select.sql_of("1", AT, ""))?;
    let wanted = Wanted { kind: Kind::User, ..wanted(query) };
    let mut seen = 0;
    view.each_entry(wanted, |hash, position| {
        seen += 1;
        if seen % CANDIDATES_PER_LOOK == 0 {
            deadline.check()?;
        }
        if !users.contains(&hash)
            && statement.exists(params_from_iter(select.parameters([position.into()], None)))?
        {
            users.insert(hash);
        }
        Ok(())
    })
}
