//! Taking a partition over, and reading where it stands. Folds nothing again: a rollup that missed records is marked
//! as incomplete; counting them is not this file's.

use rusqlite::{Connection, OptionalExtension, params};
use sg_core::definition::Rollup;
use sg_core::flush::{Checkpoint, PartitionClock};
use sg_core::ports::Claim;
use sg_core::time::Timestamp;
use sg_core::window;

use crate::answers;
use crate::place::position;
use crate::unfit::to_integer;

use super::error::{Error, from_integer};

/// Takes a partition over in one transaction.
pub(crate) fn claim(connection: &mut Connection, claim: &Claim, now: Timestamp) -> Result<Checkpoint, Error> {
    let stream = claim.plan.stream.name.as_str();
    // Fails here rather than at the first flush.
    if claim.plan.raw.is_some() {
        position(claim.partition, 0)?;
    }
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let stored: Option<String> = transaction
        .prepare_cached("SELECT log_identity FROM sg_partitions WHERE stream = ? AND partition = ?")?
        .query_row(params![stream, claim.partition], |row| row.get(0))
        .optional()?;
    match stored {
        Some(stored) if stored != claim.log_identity => {
            return Err(answers::another_log(stream, claim.partition, &stored, &claim.log_identity).into());
        }
        Some(_) => take_over(&transaction, claim, now)?,
        None => insert(&transaction, claim, now)?,
    }
    let checkpoint = checkpoint(&transaction, stream, claim.partition)?;
    for planned in &claim.plan.rollups {
        register(&transaction, &planned.rollup, claim, &checkpoint)?;
    }
    transaction.commit()?;
    Ok(checkpoint)
}

fn take_over(connection: &Connection, claim: &Claim, now: Timestamp) -> Result<(), Error> {
    connection
        .prepare_cached(
            "UPDATE sg_partitions SET epoch = epoch + 1, owner = ?3, definitions = ?4, is_idle = 0, said_at = ?5 \
             WHERE stream = ?1 AND partition = ?2",
        )?
        .execute(params![claim.plan.stream.name, claim.partition, claim.owner, answers::definitions(&claim.plan), now.0])?;
    Ok(())
}

fn insert(connection: &Connection, claim: &Claim, now: Timestamp) -> Result<(), Error> {
    connection
        .prepare_cached(
            "INSERT INTO sg_partitions VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6, ?6, ?7, ?7, ?6, ?7, 0, ?8, 0, 0, 0, 0, 0, 0, 0)",
        )?
        .execute(params![
            claim.plan.stream.name,
            claim.partition,
            claim.owner,
            claim.log_identity,
            answers::definitions(&claim.plan),
            to_integer(claim.start)?,
            Timestamp::NEVER.0,
            now.0
        ])?;
    Ok(())
}

/// Makes sure that the rollup is fed from here on, and marks it when records have passed it by.
fn register(
    connection: &Connection,
    rollup: &Rollup,
    claim: &Claim,
    checkpoint: &Checkpoint,
) -> Result<(), Error> {
    let next = to_integer(checkpoint.next_offset)?;
    let fed_to: Option<i64> = connection
        .prepare_cached("SELECT fed_to FROM sg_rollup_partitions WHERE rollup = ? AND partition = ?")?
        .query_row(params![rollup.name, claim.partition], |row| row.get(0))
        .optional()?;
    let fed_before = match fed_to {
        Some(fed_to) => fed_to,
        None => {
            connection
                .prepare_cached("INSERT INTO sg_rollup_partitions VALUES (?, ?, ?, ?, 0, 0, 0, 0, 0)")?
                .execute(params![rollup.name, claim.partition, next, next])?;
            to_integer(checkpoint.first_offset)?
        }
    };
    if fed_before >= next {
        return Ok(());
    }
    connection
        .prepare_cached("UPDATE sg_rollup_partitions SET fed_to = ? WHERE rollup = ? AND partition = ?")?
        .execute(params![next, rollup.name, claim.partition])?;
    if checkpoint.clock.m == Timestamp::NEVER {
        return Ok(());
    }
    // No record so far is dated later than the clock and what the future guard allows.
    let missed = checkpoint.clock.m.plus(claim.plan.stream.max_future);
    let complete_from = window::end_of(missed, rollup.window_ms);
    connection
        .prepare_cached(
            "UPDATE sg_rollups SET complete_from = max(coalesce(complete_from, ?1), ?1) WHERE rollup = ?2",
        )?
        .execute(params![complete_from.0, rollup.name])?;
    tracing::warn!(
        rollup = rollup.name, stream = rollup.stream, partition = claim.partition, %complete_from,
        "the rollup has not seen earlier records: its windows are complete from there, and all of them after \
         streamgauge rebuild --rollup {}", rollup.name
    );
    Ok(())
}

/// Reads where a partition stands.
pub(crate) fn checkpoint(connection: &Connection, stream: &str, partition: u32) -> Result<Checkpoint, Error> {
    let found = connection
        .prepare_cached(
            "SELECT epoch, next_offset, first_offset, m, r, dedup_from, dedup_from_r FROM sg_partitions \
             WHERE stream = ? AND partition = ?",
        )?
        .query_row(params![stream, partition], |row| {
            Ok(Checkpoint {
                epoch: row.get(0)?,
                next_offset: from_integer(row.get(1)?)?,
                first_offset: from_integer(row.get(2)?)?,
                clock: PartitionClock { m: Timestamp(row.get(3)?), r: Timestamp(row.get(4)?) },
                dedup_from: (from_integer(row.get(5)?)?, Timestamp(row.get(6)?)),
                dead_offsets: Vec::new(),
            })
        })
        .optional()?;
    let Some(mut checkpoint) = found else {
        return Err(answers::never_claimed("reading the checkpoint of", stream, partition).into());
    };
    let mut statement = connection.prepare_cached(
        "SELECT position FROM sg_dead_letters WHERE stream = ? AND partition = ? AND position >= ? ORDER BY position",
    )?;
    let from = to_integer(checkpoint.dedup_from.0)?;
    let offsets = statement.query_map(params![stream, partition, from], |row| from_integer(row.get(0)?))?;
    checkpoint.dead_offsets = offsets.collect::<Result<_, _>>()?;
    Ok(checkpoint)
}
