//! Replacing cells that were made again. Beginning the transaction locks the partitions' rows with everything else.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use sg_core::definition::Rollup;
use sg_core::erase::Standing as Reached;
use sg_core::fold::Fates;
use sg_core::reason::Code;
use sg_core::rebuild::{Rewrite, RewriteOutcome};
use sg_core::time::Timestamp;
use sg_core::window;

use crate::announced::Keys;
use crate::answers;
use crate::faults::Faults;
use crate::names::{dimension_columns, key_columns};
use crate::rewriting::{self, Gone, Places};
use crate::unfit::to_integer;

use super::cells::{self, Standing};
use super::closing::{self, Corrected};
use super::error::{Error, from_integer};
use super::schema::cells_table;
use super::sketches::sketches_table;
use super::{levels, sketches};

/// Returns what became of records beyond what the log tells.
pub(crate) fn fates(
    connection: &Connection,
    stream: &str,
    partition: u32,
    (from, to): (u64, u64),
) -> Result<Fates, Error> {
    let range = params![stream, partition, to_integer(from)?, to_integer(to)?];
    let offsets = |sql: &str| -> Result<BTreeSet<u64>, Error> {
        let mut statement = connection.prepare_cached(sql)?;
        let rows = statement.query_map(range, |row| from_integer(row.get(0)?))?;
        Ok(rows.collect::<Result<_, _>>()?)
    };
    let mut dead = BTreeMap::new();
    let range_of = "stream = ?1 AND partition = ?2 AND position >= ?3 AND position < ?4";
    let mut statement = connection.prepare_cached(&format!(
        "SELECT position, reason FROM sg_dead_letters WHERE {range_of} \
         UNION ALL SELECT position, reason FROM sg_removed_letters WHERE {range_of}"
    ))?;
    let mut rows = statement.query(range)?;
    while let Some(row) = rows.next()? {
        let reason: String = row.get(1)?;
        let code = Code::ALL.into_iter().find(|code| code.as_str() == reason);
        dead.insert(from_integer(row.get(0)?)?, code.ok_or_else(|| answers::unknown_reason(&reason))?);
    }
    Ok(Fates {
        dead,
        counted_replays: offsets(
            "SELECT position FROM sg_replays WHERE stream = ? AND partition = ? AND position >= ? AND position < ? \
             AND is_counted",
        )?,
        deleted: offsets(
            "SELECT position FROM sg_tombstones WHERE stream = ? AND partition = ? AND position >= ? AND position < ?",
        )?,
    })
}

/// Replaces the cells that differ, if all stands where they were made.
pub(crate) fn rewrite(
    connection: &mut Connection,
    rewrite: &Rewrite,
    now: Timestamp,
    faults: &Faults,
) -> Result<RewriteOutcome, Error> {
    let rollup = &rewrite.plan.rollups[rewrite.rollup].rollup;
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let reached = reached(&transaction, &rollup.stream)?;
    if (&reached.offsets, reached.deleted) != (&rewrite.offsets, rewrite.deleted) {
        return Ok(RewriteOutcome::Missed);
    }
    let standing = transaction
        .prepare_cached("SELECT closed_to, removed_before FROM sg_rollups WHERE rollup = ?")?
        .query_row([&rollup.name], |row| {
            Ok(Standing { closed_to: Timestamp(row.get(0)?), removed_before: Timestamp(row.get(1)?) })
        })
        .optional()?
        .ok_or_else(|| answers::never_prepared(&rollup.name))?;
    if standing.removed_before != rewrite.removed_before {
        return Ok(RewriteOutcome::Missed);
    }
    faults.step()?;
    let stored = match rewriting::query(rewrite) {
        Some(query) => cells::read(&transaction, &query)?,
        None => Vec::new(),
    };
    let differences = rewriting::differing(rewrite, stored);
    if rewrite.is_dry {
        return Ok(RewriteOutcome::Done { differences });
    }
    let places = rewriting::places(rollup, &differences);
    let (corrected, gone) = replace(&transaction, rollup, &places, standing, faults)?;
    settle(&transaction, rollup, rewrite, places.grown)?;
    faults.step()?;
    let mut all = Corrected::new();
    all.resize_with(rewrite.plan.rollups.len(), Vec::new);
    all[rewrite.rollup] = corrected;
    closing::retract(&transaction, (&rewrite.plan, rollup), &gone, now)?;
    closing::close(&transaction, &rewrite.plan, (None, &all), (now, now), faults)?;
    transaction.commit()?;
    Ok(RewriteOutcome::Done { differences })
}

/// Returns where the partitions of a stream stand.
pub(super) fn reached(connection: &Connection, stream: &str) -> Result<Reached, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT partition, next_offset, deleted FROM sg_partitions WHERE stream = ? ORDER BY partition",
    )?;
    let mut rows = statement.query([stream])?;
    let mut reached = Reached::default();
    while let Some(row) = rows.next()? {
        reached.offsets.push((row.get(0)?, from_integer(row.get(1)?)?));
        reached.deleted += from_integer(row.get(2)?)?;
    }
    Ok(reached)
}

/// Takes out what differs and puts in what must be; returns the final windows that changed.
pub(super) fn replace(
    connection: &Connection,
    rollup: &Rollup,
    places: &Places,
    standing: Standing,
    faults: &Faults,
) -> Result<(Keys, Gone), Error> {
    let same: Vec<String> = key_columns(rollup).iter().map(|column| format!("{column} = ?")).collect();
    let same = same.join(" AND ");
    let mut tables = vec![cells_table(&rollup.name)];
    tables.extend(rollup.has_sketches().then(|| sketches_table(&rollup.name)));
    for table in tables {
        let mut delete = connection.prepare_cached(&format!("DELETE FROM {table} WHERE {same}"))?;
        for (pane, dimensions) in &places.keys {
            let key = std::iter::once(Sql::Integer(pane.0)).chain(dimensions.iter().cloned().map(Sql::Text));
            delete.execute(params_from_iter(key))?;
        }
    }
    faults.step()?;
    let written = cells::put(connection, rollup, &places.delta, standing, faults)?;
    let raise = format!("UPDATE {} SET revision = revision + ? WHERE {same}", cells_table(&rollup.name));
    let mut raise = connection.prepare_cached(&raise)?;
    for (pane, dimensions, revision) in &places.revised {
        let given = [Sql::Integer(to_integer(*revision)?), Sql::Integer(pane.0)];
        raise
            .execute(params_from_iter(given.into_iter().chain(dimensions.iter().cloned().map(Sql::Text))))?;
    }
    for (partition, delta) in &places.shares {
        sketches::write(connection, rollup, (*partition, delta), standing.removed_before)?;
    }
    for day in &places.days {
        levels::recount(connection, rollup, *day)?;
    }
    let (mut corrected, gone) = hand_on(connection, rollup, places, standing)?;
    corrected.extend(written.corrected);
    corrected.sort();
    corrected.dedup();
    Ok((corrected, gone))
}

/// Gives the revisions of cells that vanished to others of their final windows, so that a window's never goes back; returns
/// those windows, and the ones of which no cell is left.
fn hand_on(
    connection: &Connection,
    rollup: &Rollup,
    places: &Places,
    standing: Standing,
) -> Result<(Keys, Gone), Error> {
    let (table, names) = (cells_table(&rollup.name), dimension_columns(rollup));
    let same: Vec<String> =
        names.iter().enumerate().map(|(at, name)| format!(" AND {name} = ?{}", at + 4)).collect();
    let same = same.join("");
    let sql = format!(
        "UPDATE {table} SET revision = revision + ?1 WHERE pane = (SELECT min(pane) FROM {table} WHERE pane >= ?2 \
         AND pane < ?3{same}){same}"
    );
    let mut update = connection.prepare_cached(&sql)?;
    let (mut corrected, mut gone) = (Keys::new(), Gone::new());
    for (pane, dimensions, revision) in &places.vanished {
        let end = window::end_of(*pane, rollup.window_ms);
        if end > standing.closed_to {
            continue;
        }
        let start = Timestamp(end.0 - rollup.window_ms);
        let given = [Sql::Integer(to_integer(revision + 1)?), Sql::Integer(start.0), Sql::Integer(end.0)];
        let given = given.into_iter().chain(dimensions.iter().cloned().map(Sql::Text));
        if update.execute(params_from_iter(given))? > 0 {
            corrected.push((start, dimensions.clone()));
        } else {
            *gone.entry((start, dimensions.clone())).or_default() += revision + 1;
        }
    }
    Ok((corrected, gone))
}

/// Brings the rollup's ledger up to what a backfill has done.
fn settle(connection: &Connection, rollup: &Rollup, rewrite: &Rewrite, grown: i64) -> Result<(), Error> {
    if rewrite.is_backfill {
        connection.execute(
            "UPDATE sg_rollup_partitions SET folded = folded + ?1 WHERE rollup = ?2 AND partition = \
             (SELECT min(partition) FROM sg_rollup_partitions WHERE rollup = ?2)",
            params![grown, rollup.name],
        )?;
    }
    if rewrite.settled.is_empty() {
        return Ok(());
    }
    let removed: i64 =
        connection
            .query_row("SELECT removed FROM sg_rollups WHERE rollup = ?", [&rollup.name], |row| row.get(0))?;
    // Cells that retention has hidden and not yet removed still have theirs.
    let hidden: i64 = connection.query_row(
        &format!("SELECT coalesce(sum(events), 0) FROM {} WHERE pane < ?", cells_table(&rollup.name)),
        [rewrite.removed_before.0],
        |row| row.get(0),
    )?;
    levels::settle(connection, rollup, &rewriting::bases(rewrite), rewrite.removed_before)?;
    for (at, settled) in rewrite.settled.iter().enumerate() {
        // What was removed with its cells is in the rollup's row already.
        let counted = if at == 0 { removed + hidden } else { 0 };
        connection.execute(
            "UPDATE sg_rollup_partitions SET first_offset = ?3, folded = ?4, diverted = ?5, expired = ?6, unfit = ?7, \
             deleted = ?8 WHERE rollup = ?1 AND partition = ?2",
            params![
                rollup.name,
                settled.partition,
                to_integer(settled.first_offset)?,
                to_integer(settled.folded)?,
                to_integer(settled.diverted)?,
                to_integer(settled.gone)? - counted,
                to_integer(settled.unfit)?,
                to_integer(settled.deleted)?
            ],
        )?;
    }
    connection.execute("UPDATE sg_rollups SET complete_from = NULL WHERE rollup = ?", [&rollup.name])?;
    Ok(())
}
