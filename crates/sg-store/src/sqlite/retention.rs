//! Removing what is older or more than its definition keeps, in steps so small that a flush waits no more than a few
//! milliseconds. Each step keeps the ledger's sums: what leaves the cells is counted as removed in its transaction.

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use sg_core::definition::{Keep, LettersKept, Rollup, Stream};
use sg_core::limits::TIME_MIN_MS;
use sg_core::ports::{Removable, Removed};
use sg_core::time::Timestamp;
use sg_core::window;

use crate::faults::Faults;
use crate::names::key_columns;
use crate::place::{OFFSET_MAX, position};

use super::error::Error;
use super::levels;
use super::raw::raw_table;
use super::schema::cells_table;
use super::sketches::sketches_table;

/// The newest letters that are too many, by their ids, with all before them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Surplus {
    dead_letters: Option<i64>,
    late: Option<i64>,
}

/// Looks for letters of a stream that are too many.
pub(crate) fn surplus(connection: &Connection, stream: &str, kept: LettersKept) -> Result<Surplus, Error> {
    let behind = |keep: Keep, sql: &str| -> Result<Option<i64>, Error> {
        let Some(rows_max) = keep.rows_max else { return Ok(None) };
        let rows_max = i64::try_from(rows_max).unwrap_or(i64::MAX);
        Ok(connection
            .prepare_cached(sql)?
            .query_row(params![stream, rows_max], |row| row.get(0))
            .optional()?)
    };
    let dead_letters =
        "SELECT id FROM sg_dead_letters WHERE stream = ? ORDER BY stored_at DESC, id DESC LIMIT 1 OFFSET ?";
    let late = "SELECT id FROM sg_late WHERE rollup IN (SELECT rollup FROM sg_rollups WHERE stream = ?) \
                ORDER BY id DESC LIMIT 1 OFFSET ?";
    Ok(Surplus { dead_letters: behind(kept.dead_letters, dead_letters)?, late: behind(kept.late, late)? })
}

/// Takes one step; returns what it removed, if there was anything.
pub(crate) fn retain(
    connection: &mut Connection,
    (stream, rollups): (&Stream, &[Rollup]),
    (surplus, now, rows_max): (Surplus, Timestamp, usize),
    faults: &Faults,
) -> Result<Option<Removed>, Error> {
    let limit = i64::try_from(rows_max).unwrap_or(i64::MAX);
    // One writer: beginning the transaction locks the partitions' rows with everything else.
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let mut removed = (Removable::RawRows, remove_raw(&transaction, stream, (now, limit))?);
    faults.step()?;
    for rollup in rollups {
        if removed.1 == 0 {
            removed = (Removable::Cells, remove_cells(&transaction, rollup, (now, limit), faults)?);
        }
    }
    if removed.1 == 0 {
        removed = (Removable::DeadLetters, remove_dead_letters(&transaction, stream, (surplus, now, limit))?);
    }
    if removed.1 == 0 {
        removed = (Removable::LateEvents, remove_late(&transaction, stream, (surplus, now, limit))?);
    }
    faults.step()?;
    if removed.1 == 0 {
        return Ok(None);
    }
    transaction.commit()?;
    Ok(Some(Removed { what: removed.0, rows: removed.1 as u64 }))
}

/// Removes the raw rows that came before the time kept, or that are too many, from each partition's beginning on.
fn remove_raw(
    connection: &Connection,
    stream: &Stream,
    (now, limit): (Timestamp, i64),
) -> Result<usize, Error> {
    let Some(table) = &stream.raw_table else { return Ok(0) };
    let oldest = now.minus(table.keep);
    let mut statement =
        connection.prepare_cached("SELECT partition, next_offset FROM sg_partitions WHERE stream = ?")?;
    let partitions: Vec<(u32, i64)> = statement
        .query_map([&stream.name], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let share = table.rows_max.map_or(u64::MAX, |rows_max| rows_max / partitions.len().max(1) as u64);
    let table = raw_table(&stream.name);
    let mut delete = connection.prepare_cached(&format!(
        "DELETE FROM {table} WHERE position IN (SELECT position FROM (SELECT position, received_at FROM {table} \
         WHERE position BETWEEN ?1 AND ?2 ORDER BY position LIMIT ?3) WHERE received_at < ?4 OR position < ?5)"
    ))?;
    for (partition, next_offset) in partitions {
        let (first, last) = (position(partition, 0)?, position(partition, OFFSET_MAX)?);
        let kept_from = position(partition, next_offset.unsigned_abs().saturating_sub(share))?;
        let removed = delete.execute(params![first, last, limit, oldest.0, kept_from])?;
        if removed > 0 {
            return Ok(removed);
        }
    }
    Ok(0)
}

/// Removes cells of windows that lie further back than is kept, counted from the stream's newest data where the clock
/// is ahead of it: what is read again from long ago stays until something newer comes. The watermark would not do, it
/// follows the clock while all partitions are idle. Only announced windows go.
fn remove_cells(
    connection: &Connection,
    rollup: &Rollup,
    (now, limit): (Timestamp, i64),
    faults: &Faults,
) -> Result<usize, Error> {
    let standing = connection
        .prepare_cached(
            "SELECT (SELECT max(m) FROM sg_partitions p WHERE p.stream = r.stream), announced_from, removed_before \
             FROM sg_rollups r WHERE rollup = ?",
        )?
        .query_row([&rollup.name], |row| {
            let newest = row.get::<_, Option<i64>>(0)?.map_or(Timestamp::NEVER, Timestamp);
            Ok((newest, Timestamp(row.get(1)?), Timestamp(row.get(2)?)))
        })
        .optional()?;
    let Some((newest, announced_from, stored)) = standing else { return Ok(0) };
    let oldest = Timestamp(now.min(newest).0.saturating_sub(rollup.keep_ms)).min(announced_from);
    if oldest <= Timestamp(TIME_MIN_MS) {
        return Ok(0);
    }
    let removed_before = window::start_of(oldest, rollup.window_ms).max(stored);
    let (events, cells) = remove_cells_before(connection, rollup, (removed_before, limit))?;
    faults.step()?;
    if cells > 0 {
        connection
            .prepare_cached(
                "UPDATE sg_rollups SET removed_before = ?, removed = removed + ? WHERE rollup = ?",
            )?
            .execute(params![removed_before.0, events, rollup.name])?;
    }
    Ok(cells)
}

/// Removes a step's cells of panes before a time; returns how many events and cells.
fn remove_cells_before(
    connection: &Connection,
    rollup: &Rollup,
    (before, limit): (Timestamp, i64),
) -> Result<(i64, usize), Error> {
    let table = cells_table(&rollup.name);
    let key = key_columns(rollup);
    let names = key.join(", ");
    let last: Option<Vec<Sql>> = connection
        .prepare_cached(&format!(
            "SELECT {names} FROM {table} WHERE pane < ? ORDER BY {names} LIMIT 1 OFFSET ?"
        ))?
        .query_row([before.0, limit - 1], |row| (0..key.len()).map(|at| row.get(at)).collect())
        .optional()?;
    let mut condition = "pane < ?".to_owned();
    let mut parameters: Vec<Sql> = vec![before.0.into()];
    if let Some(last) = last {
        condition += &format!(" AND ({names}) <= ({})", vec!["?"; key.len()].join(", "));
        parameters.extend(last);
    }
    let events: i64 = connection
        .prepare_cached(&format!("SELECT coalesce(sum(events), 0) FROM {table} WHERE {condition}"))?
        .query_row(params_from_iter(&parameters), |row| row.get(0))?;
    levels::retire(connection, rollup, (&condition, &parameters), before)?;
    if rollup.has_sketches() {
        let sql = format!("DELETE FROM {} WHERE {condition}", sketches_table(&rollup.name));
        connection.prepare_cached(&sql)?.execute(params_from_iter(&parameters))?;
    }
    let cells = connection
        .prepare_cached(&format!("DELETE FROM {table} WHERE {condition}"))?
        .execute(params_from_iter(&parameters))?;
    Ok((events, cells))
}

/// Removes dead letters that are old or too many, and that no rebuild of a duplicate window needs; that they were letters
/// stays known.
fn remove_dead_letters(
    connection: &Connection,
    stream: &Stream,
    (surplus, now, limit): (Surplus, Timestamp, i64),
) -> Result<usize, Error> {
    let oldest = now.minus(stream.letters.dead_letters.age);
    let old = "SELECT id FROM sg_dead_letters JOIN sg_partitions USING (stream, partition) \
               WHERE stream = ?1 AND stored_at < ?2 AND position < dedup_from ORDER BY stored_at, id LIMIT ?3";
    let letters = remove_keeping_places(connection, old, (&stream.name, oldest.0, limit))?;
    let (0, Some(last)) = (letters, surplus.dead_letters) else { return Ok(letters) };
    let many = "SELECT id FROM sg_dead_letters JOIN sg_partitions USING (stream, partition) \
                WHERE stream = ?1 AND id <= ?2 AND position < dedup_from ORDER BY stored_at, id LIMIT ?3";
    remove_keeping_places(connection, many, (&stream.name, last, limit))
}

/// Removes the letters with the ids of a question, and keeps that they were letters.
fn remove_keeping_places(
    connection: &Connection,
    ids: &str,
    (stream, until, limit): (&str, i64, i64),
) -> Result<usize, Error> {
    let given = params![stream, until, limit];
    connection
        .prepare_cached(&format!(
            "INSERT INTO sg_removed_letters SELECT stream, partition, position, reason FROM sg_dead_letters \
             WHERE id IN ({ids}) ON CONFLICT DO NOTHING"
        ))?
        .execute(given)?;
    let sql = format!("DELETE FROM sg_dead_letters WHERE id IN ({ids})");
    Ok(connection.prepare_cached(&sql)?.execute(given)?)
}

/// Removes late events that are old or too many.
fn remove_late(
    connection: &Connection,
    stream: &Stream,
    (surplus, now, limit): (Surplus, Timestamp, i64),
) -> Result<usize, Error> {
    let oldest = now.minus(stream.letters.late.age);
    let mut statement = connection.prepare_cached("SELECT rollup FROM sg_rollups WHERE stream = ?")?;
    let rollups: Vec<String> =
        statement.query_map([&stream.name], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut delete = connection.prepare_cached(
        "DELETE FROM sg_late WHERE id IN (SELECT id FROM (SELECT id, stored_at FROM sg_late WHERE rollup = ?1 \
         ORDER BY id LIMIT ?2) WHERE stored_at < ?3 OR id <= ?4)",
    )?;
    for rollup in rollups {
        let removed = delete.execute(params![rollup, limit, oldest.0, surplus.late.unwrap_or(i64::MIN)])?;
        if removed > 0 {
            return Ok(removed);
        }
    }
    Ok(0)
}
