//! The transaction of a flush, and of the refresh that closes windows while nothing comes. Decides no event's fate;
//! a flush whose partition has moved on, or that the tables cannot hold, leaves nothing behind.

use rusqlite::{Connection, OptionalExtension, params};
use sg_core::flush::{DeadLetter, Flush, LateEvent};
use sg_core::plan::RollupPlan;
use sg_core::ports::{FlushOutcome, Refresh};
use sg_core::time::Timestamp;

use crate::announced::{Keys, texts_to_json};
use crate::answers;
use crate::faults::Faults;
use crate::unfit::to_integer;

use super::cells::{self, Standing};
use super::closing::{self, Corrected};
use super::error::{Error, from_integer};
use super::{manifest, raw, replays};

/// Writes a flush, all or nothing.
pub(crate) fn flush(
    connection: &mut Connection,
    flush: &Flush,
    now: Timestamp,
    faults: &Faults,
) -> Result<FlushOutcome, Error> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    faults.step()?;
    // Invariant: this statement is the first, and nothing is written unless it finds its row.
    match advance(&transaction, flush, now) {
        Ok(true) => {}
        Ok(false) => return missed(&transaction, flush),
        Err(error) if error.is_bad_data() => return Ok(FlushOutcome::Refused { detail: error.to_string() }),
        Err(error) => return Err(error),
    }
    let repeated = replays::take(&transaction, flush, now)?;
    if !repeated.is_empty() {
        return Ok(FlushOutcome::Repeated { offsets: repeated });
    }
    match write(&transaction, flush, now, faults) {
        Ok(()) => {}
        Err(error) if error.is_bad_data() => return Ok(FlushOutcome::Refused { detail: error.to_string() }),
        Err(error) => return Err(error),
    }
    faults.step()?;
    transaction.commit()?;
    // From here on it is written: a failure means that the caller does not know.
    faults.step()?;
    Ok(FlushOutcome::Done)
}

fn advance(connection: &Connection, flush: &Flush, now: Timestamp) -> Result<bool, Error> {
    let ledger = &flush.ledger;
    let rows = connection
        .prepare_cached(
            "UPDATE sg_partitions SET next_offset = ?5, m = max(m, ?6), r = max(r, ?7), dedup_from = ?8, \
             dedup_from_r = ?9, is_idle = 0, said_at = ?10, processed = processed + ?11, counted = counted + ?12, \
             duplicate = duplicate + ?13, id_conflict = id_conflict + ?14, dead_lettered = dead_lettered + ?15, \
             deleted = deleted + ?16, skipped = skipped + ?17 WHERE stream = ?1 AND partition = ?2 AND next_offset = ?3 AND epoch = ?4",
        )?
        .execute(params![
            flush.plan.stream.name,
            flush.partition,
            to_integer(flush.base)?,
            flush.epoch,
            to_integer(flush.end)?,
            flush.clock.m.0,
            flush.clock.r.0,
            to_integer(flush.dedup_from.0)?,
            flush.dedup_from.1.0,
            now.0,
            to_integer(ledger.processed)?,
            to_integer(ledger.counted)?,
            to_integer(ledger.duplicate)?,
            to_integer(ledger.id_conflict)?,
            to_integer(ledger.dead_lettered)?,
            to_integer(ledger.deleted)?,
            to_integer(ledger.skipped)?
        ])?;
    Ok(rows == 1)
}

fn missed(connection: &Connection, flush: &Flush) -> Result<FlushOutcome, Error> {
    let stream = flush.plan.stream.name.as_str();
    let stored = connection
        .prepare_cached("SELECT epoch, next_offset FROM sg_partitions WHERE stream = ? AND partition = ?")?
        .query_row(params![stream, flush.partition], |row| Ok((row.get(0)?, from_integer(row.get(1)?)?)))
        .optional()?;
    match stored {
        Some((epoch, next_offset)) => Ok(FlushOutcome::Missed { epoch, next_offset }),
        None => Err(answers::never_claimed("flushing", stream, flush.partition).into()),
    }
}

fn write(connection: &Connection, flush: &Flush, now: Timestamp, faults: &Faults) -> Result<(), Error> {
    faults.step()?;
    raw::write(connection, flush, now, faults)?;
    manifest::write_mark(connection, flush)?;
    let mut corrected: Corrected = Vec::with_capacity(flush.plan.rollups.len());
    for (index, planned) in flush.plan.rollups.iter().enumerate() {
        corrected.push(write_rollup(connection, flush, (index, planned), now, faults)?);
    }
    for letter in &flush.dead_letters {
        write_dead_letter(connection, flush, letter, now)?;
        faults.step()?;
    }
    replays::mark(connection, flush, now)?;
    closing::close(connection, &flush.plan, (Some(flush), &corrected), (now, now), faults)
}

/// Writes one rollup's cells, late events and ledger; returns the final windows that changed.
fn write_rollup(
    connection: &Connection,
    flush: &Flush,
    (index, planned): (usize, &RollupPlan),
    now: Timestamp,
    faults: &Faults,
) -> Result<Keys, Error> {
    let rollup = &planned.rollup;
    let delta = &flush.rollups[index];
    let standing = connection
        .prepare_cached("SELECT closed_to, removed_before FROM sg_rollups WHERE rollup = ?")?
        .query_row([&rollup.name], |row| {
            Ok(Standing { closed_to: Timestamp(row.get(0)?), removed_before: Timestamp(row.get(1)?) })
        })
        .optional()?;
    let Some(standing) = standing else {
        return Err(answers::never_prepared(&rollup.name).into());
    };
    let written = cells::write(connection, rollup, (flush.partition, delta), standing, faults)?;
    faults.step()?;
    for late in &delta.late {
        write_late(connection, flush.partition, &rollup.name, late, now)?;
        faults.step()?;
    }
    let rows = connection
        .prepare_cached(
            "UPDATE sg_rollup_partitions SET fed_to = ?3, folded = folded + ?4, diverted = diverted + ?5, \
             expired = expired + ?6 WHERE rollup = ?1 AND partition = ?2",
        )?
        .execute(params![
            rollup.name,
            flush.partition,
            to_integer(flush.end)?,
            to_integer(delta.folded)?,
            to_integer(delta.late.len() as u64)?,
            to_integer(written.expired)?
        ])?;
    if rows != 1 {
        return Err(answers::not_in_the_claim(&rollup.name).into());
    }
    faults.step()?;
    Ok(written.corrected)
}

fn write_late(
    connection: &Connection,
    partition: u32,
    rollup: &str,
    late: &LateEvent,
    now: Timestamp,
) -> Result<(), Error> {
    connection.prepare_cached("INSERT INTO sg_late VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?.execute(
        params![
            rollup,
            partition,
            to_integer(late.offset)?,
            late.event_id,
            late.event_time.0,
            late.received_at.0,
            now.0,
            late.window_start.0,
            texts_to_json(&late.dimensions)?,
            late.raw
        ],
    )?;
    Ok(())
}

fn write_dead_letter(
    connection: &Connection,
    flush: &Flush,
    letter: &DeadLetter,
    now: Timestamp,
) -> Result<(), Error> {
    connection
        .prepare_cached(
            "INSERT INTO sg_dead_letters VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, ?, ?, ?)",
        )?
        .execute(params![
            flush.plan.stream.name,
            flush.partition,
            to_integer(letter.offset)?,
            letter.code.as_str(),
            letter.field,
            letter.detail,
            letter.event_id,
            letter.event_type,
            letter.received_at.0,
            now.0,
            letter.raw,
            letter.replay_of.map(|(partition, _)| partition),
            letter.replay_of.map(|(_, offset)| to_integer(offset)).transpose()?
        ])?;
    Ok(())
}

/// Takes note that a partition is idle or not, and closes windows; returns false when the epoch is another's.
pub(crate) fn refresh(
    connection: &mut Connection,
    refresh: &Refresh,
    now: Timestamp,
    faults: &Faults,
) -> Result<bool, Error> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let moved_to = refresh.dedup_from.map(|(offset, _)| to_integer(offset)).transpose()?;
    let rows = transaction
        .prepare_cached(
            "UPDATE sg_partitions SET is_idle = ?4, said_at = ?5, \
             dedup_from_r = iif(?6 > dedup_from, ?7, dedup_from_r), dedup_from = max(dedup_from, coalesce(?6, dedup_from)) \
             WHERE stream = ?1 AND partition = ?2 AND epoch = ?3 AND next_offset = coalesce(?8, next_offset)",
        )?
        .execute(params![
            refresh.plan.stream.name,
            refresh.partition,
            refresh.epoch,
            refresh.is_idle,
            now.0,
            moved_to,
            refresh.dedup_from.map(|(_, r)| r.0),
            refresh.base.map(to_integer).transpose()?
        ])?;
    if rows != 1 {
        return Ok(false);
    }
    faults.step()?;
    closing::close(&transaction, &refresh.plan, (None, &Corrected::new()), (now, refresh.now), faults)?;
    transaction.commit()?;
    Ok(true)
}
