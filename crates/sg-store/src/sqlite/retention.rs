//! Removing what is older than its definition keeps, in steps so small that a flush waits no more than a few
//! milliseconds. Each step keeps the ledger's sums: what leaves the cells is counted as removed in its transaction.

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use sg_core::definition::{Rollup, Stream};
use sg_core::limits::TIME_MIN_MS;
use sg_core::time::{Timestamp, millis};
use sg_core::window;

use crate::answers::LETTERS_KEEP;
use crate::faults::Faults;
use crate::names::key_columns;
use crate::place::{OFFSET_MAX, position};

use super::error::Error;
use super::levels;
use super::raw::raw_table;
use super::schema::cells_table;
use super::sketches::sketches_table;

/// Rows of one step: about a millisecond or two of work beside the sync.
const ROWS_PER_STEP: i64 = 1_000;

/// Takes one step; returns whether there may be more.
pub(crate) fn retain(
    connection: &mut Connection,
    (stream, rollups): (&Stream, &[Rollup]),
    now: Timestamp,
    faults: &Faults,
) -> Result<bool, Error> {
    // One writer: beginning the transaction locks the partitions' rows with everything else.
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let mut removed = remove_raw(&transaction, stream, now)?;
    faults.step()?;
    for rollup in rollups {
        if removed == 0 {
            removed = remove_cells(&transaction, rollup, now, faults)?;
        }
    }
    if removed == 0 {
        removed = remove_letters(&transaction, stream, now)?;
    }
    faults.step()?;
    if removed > 0 {
        transaction.commit()?;
    }
    Ok(removed > 0)
}

/// Removes the raw rows that came before the time kept, from each partition's beginning on.
fn remove_raw(connection: &Connection, stream: &Stream, now: Timestamp) -> Result<usize, Error> {
    let Some(table) = &stream.raw_table else { return Ok(0) };
    let oldest = now.minus(table.keep);
    let mut statement = connection.prepare_cached("SELECT partition FROM sg_partitions WHERE stream = ?")?;
    let partitions: Vec<u32> =
        statement.query_map([&stream.name], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let table = raw_table(&stream.name);
    let mut delete = connection.prepare_cached(&format!(
        "DELETE FROM {table} WHERE position IN (SELECT position FROM (SELECT position, received_at FROM {table} \
         WHERE position BETWEEN ?1 AND ?2 ORDER BY position LIMIT ?3) WHERE received_at < ?4)"
    ))?;
    for partition in partitions {
        let (first, last) = (position(partition, 0)?, position(partition, OFFSET_MAX)?);
        let removed = delete.execute(params![first, last, ROWS_PER_STEP, oldest.0])?;
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
    now: Timestamp,
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
    let (events, cells) = remove_cells_before(connection, rollup, removed_before)?;
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
    before: Timestamp,
) -> Result<(i64, usize), Error> {
    let table = cells_table(&rollup.name);
    let key = key_columns(rollup);
    let names = key.join(", ");
    let last: Option<Vec<Sql>> = connection
        .prepare_cached(&format!(
            "SELECT {names} FROM {table} WHERE pane < ? ORDER BY {names} LIMIT 1 OFFSET ?"
        ))?
        .query_row([before.0, ROWS_PER_STEP - 1], |row| (0..key.len()).map(|at| row.get(at)).collect())
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

/// Removes old late events, and old dead letters that no rebuild of a duplicate window needs; that they were letters
/// stays known.
fn remove_letters(connection: &Connection, stream: &Stream, now: Timestamp) -> Result<usize, Error> {
    let oldest = Timestamp(now.0.saturating_sub(millis(LETTERS_KEEP)));
    let old = "id IN (SELECT id FROM sg_dead_letters JOIN sg_partitions USING (stream, partition) \
               WHERE stream = ?1 AND stored_at < ?2 AND position < dedup_from ORDER BY stored_at, id LIMIT ?3)";
    let given = params![stream.name, oldest.0, ROWS_PER_STEP];
    connection
        .prepare_cached(&format!(
            "INSERT INTO sg_removed_letters SELECT stream, partition, position, reason FROM sg_dead_letters \
             WHERE {old} ON CONFLICT DO NOTHING"
        ))?
        .execute(given)?;
    let letters =
        connection.prepare_cached(&format!("DELETE FROM sg_dead_letters WHERE {old}"))?.execute(given)?;
    if letters > 0 {
        return Ok(letters);
    }
    let late = connection
        .prepare_cached(
            "DELETE FROM sg_late WHERE id IN (SELECT id FROM (SELECT id, stored_at FROM sg_late ORDER BY id LIMIT ?2) \
             WHERE stored_at < ?1)",
        )?
        .execute(params![oldest.0, ROWS_PER_STEP])?;
    Ok(late)
}
