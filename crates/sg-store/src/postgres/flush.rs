//! The transaction of a flush, and of the refresh that closes windows while nothing comes. Decides no event's fate;
//! a flush whose partition has moved on, or that the tables cannot hold, leaves nothing behind.
//!
//! Locks are taken in one order by everybody: the partition's row, replays by their letters, cells by rollup and key, the stream's row.

use std::sync::Arc;

use sg_core::flush::{DeadLetter, Flush, LateEvent};
use sg_core::ports::{FlushOutcome, Refresh};
use sg_core::time::Timestamp;
use tokio_postgres::types::{ToSql, Type};

use crate::announced::texts_to_json;
use crate::answers;
use crate::faults::Faults;
use crate::unfit::{Unfit, to_integer};

use super::cells::{self, Encoded, Standing, arrays, boxed};
use super::closing::{self, Moment};
use super::error::Error;
use super::levels;
use super::manifest;
use super::measures::count;
use super::pool::{Connections, Lease, Mode, Prepared};
use super::raw::{self, Pieces};
use super::replays;
use super::sketches;
use super::wire::{Column, Ms};

/// Cells that are encoded on the spot; more would hold up every other task of the thread.
const CELLS_ON_THE_SPOT: usize = 2_000;
/// Rows with an event each of one statement: a message stays below some hundred MiB at the very worst.
const LETTERS_PER_STATEMENT: usize = 500;

/// Writes a flush, all or nothing.
pub(crate) async fn flush(
    connections: &Connections,
    pieces: &Pieces,
    flush: &Arc<Flush>,
    now: Timestamp,
    faults: &Faults,
) -> Result<FlushOutcome, Error> {
    if flush.plan.raw.is_some() {
        match raw::make_pieces(connections, pieces, flush).await {
            Err(error) if error.is_bad_data() => {
                return Ok(FlushOutcome::Refused { detail: error.to_string() });
            }
            made => made?,
        }
    }
    let lease = connections.begin(Mode::Repeatable).await?;
    let done = match attempt(&lease, flush, now, faults).await {
        Ok(None) => faults.step().map_err(Error::from),
        Ok(Some(missed)) => {
            lease.roll_back().await;
            return Ok(missed);
        }
        Err(error) if error.is_bad_data() => {
            lease.roll_back().await;
            return Ok(FlushOutcome::Refused { detail: error.to_string() });
        }
        Err(error) => {
            pieces.forget(&flush.plan.stream.name, flush.partition);
            Err(error)
        }
    };
    lease.finish(done).await?;
    // From here on it is written: a failure means that the caller does not know.
    faults.step()?;
    Ok(FlushOutcome::Done)
}

/// Writes everything; returns why not, if the partition is at another place or a replay is repeated.
async fn attempt(
    lease: &Lease,
    flush: &Arc<Flush>,
    now: Timestamp,
    faults: &Faults,
) -> Result<Option<FlushOutcome>, Error> {
    faults.step()?;
    // Invariant: this statement is the first, and nothing is written unless it finds its row.
    if !advance(lease, flush, now).await? {
        return missed(lease, flush).await.map(Some);
    }
    faults.step()?;
    let repeated = replays::take(lease, flush, now).await?;
    if !repeated.is_empty() {
        return Ok(Some(FlushOutcome::Repeated { offsets: repeated }));
    }
    // Read after the partition's row is locked: what moves `removed_before` locks that row first.
    let standings = standings(lease, flush).await?;
    raw::write(lease, flush, now, faults).await?;
    manifest::write_mark(lease, flush).await?;
    let mut statements: Vec<Prepared> = Vec::new();
    let mut ledgers: Vec<usize> = Vec::new();
    for (index, encoded) in encode(flush, &standings).await?.into_iter().enumerate() {
        let expired = encoded.expired;
        let (rollup, delta) = (&flush.plan.rollups[index].rollup, &flush.rollups[index]);
        statements.extend(cells::upserts(lease, rollup, encoded).await?);
        statements.extend(levels::upsert(lease, rollup, delta, standings[index].removed_before).await?);
        statements.extend(late_events(lease, flush, index, now).await?);
        ledgers.push(statements.len());
        statements.push(rollup_ledger(lease, flush, index, expired).await?);
    }
    statements.extend(dead_letters(lease, flush, now).await?);
    let rows = lease.pipeline(&statements, faults).await?;
    for (planned, ledger) in flush.plan.rollups.iter().zip(ledgers) {
        if rows[ledger] != 1 {
            return Err(answers::not_in_the_claim(&planned.rollup.name).into());
        }
    }
    for ((planned, delta), standing) in flush.plan.rollups.iter().zip(&flush.rollups).zip(&standings) {
        let own = (flush.partition, delta);
        sketches::write(lease, &planned.rollup, own, standing.removed_before).await?;
    }
    replays::mark(lease, flush, now).await?;
    faults.step()?;
    let moment = Moment { now, owner_now: now };
    closing::close(lease, &flush.plan, Some((flush, &standings)), moment, faults).await?;
    Ok(None)
}

async fn advance(lease: &Lease, flush: &Flush, now: Timestamp) -> Result<bool, Error> {
    let ledger = &flush.ledger;
    let sql = "UPDATE sg_partitions SET next_offset = $5, m = greatest(m, $6), r = greatest(r, $7), dedup_from = $8, \
               dedup_from_r = $9, is_idle = false, said_at = $10, processed = processed + $11, \
               counted = counted + $12, duplicate = duplicate + $13, id_conflict = id_conflict + $14, \
               dead_lettered = dead_lettered + $15, deleted = deleted + $16, skipped = skipped + $17 \
               WHERE stream = $1 AND partition = $2 AND next_offset = $3 AND epoch = $4";
    let given: [&(dyn ToSql + Sync); 17] = [
        &flush.plan.stream.name,
        &i64::from(flush.partition),
        &to_integer(flush.base)?,
        &flush.epoch,
        &to_integer(flush.end)?,
        &Ms(flush.clock.m),
        &Ms(flush.clock.r),
        &to_integer(flush.dedup_from.0)?,
        &Ms(flush.dedup_from.1),
        &Ms(now),
        &to_integer(ledger.processed)?,
        &to_integer(ledger.counted)?,
        &to_integer(ledger.duplicate)?,
        &to_integer(ledger.id_conflict)?,
        &to_integer(ledger.dead_lettered)?,
        &to_integer(ledger.deleted)?,
        &to_integer(ledger.skipped)?,
    ];
    Ok(lease.execute(sql, &given).await? == 1)
}

async fn missed(lease: &Lease, flush: &Flush) -> Result<FlushOutcome, Error> {
    let stream = flush.plan.stream.name.as_str();
    let sql = "SELECT epoch, next_offset FROM sg_partitions WHERE stream = $1 AND partition = $2";
    match lease.query_opt(sql, &[&stream, &i64::from(flush.partition)]).await? {
        Some(row) => Ok(FlushOutcome::Missed { epoch: row.try_get(0)?, next_offset: count(&row, 1)? }),
        None => Err(answers::never_claimed("flushing", stream, flush.partition).into()),
    }
}

/// Returns where each rollup of the plan stands.
async fn standings(lease: &Lease, flush: &Flush) -> Result<Vec<Standing>, Error> {
    let names: Vec<&str> = flush.plan.rollups.iter().map(|planned| planned.rollup.name.as_str()).collect();
    let sql = "SELECT rollup, closed_to, removed_before FROM sg_rollups WHERE rollup = ANY($1)";
    let rows = lease.query(sql, &[&names]).await?;
    let mut standings = Vec::with_capacity(names.len());
    for name in names {
        let mut found = None;
        for row in &rows {
            if row.try_get::<_, &str>(0)? == name {
                let (Ms(closed_to), Ms(removed_before)) = (row.try_get(1)?, row.try_get(2)?);
                found = Some(Standing { closed_to, removed_before });
            }
        }
        standings.push(found.ok_or_else(|| answers::never_prepared(name))?);
    }
    Ok(standings)
}

/// Encodes the cells of every rollup; many of them on a thread that may be busy for a while.
async fn encode(flush: &Arc<Flush>, standings: &[Standing]) -> Result<Vec<Encoded>, Error> {
    let encode_all = |flush: &Flush, standings: &[Standing]| -> Result<Vec<Encoded>, Unfit> {
        let parts = flush.plan.rollups.iter().zip(&flush.rollups).zip(standings);
        parts.map(|((planned, delta), standing)| cells::encode(&planned.rollup, delta, *standing)).collect()
    };
    let many: usize = flush.rollups.iter().map(|delta| delta.cells.len()).sum();
    if many <= CELLS_ON_THE_SPOT {
        return Ok(encode_all(flush, standings)?);
    }
    let (flush, standings) = (flush.clone(), standings.to_vec());
    let encoded = tokio::task::spawn_blocking(move || encode_all(&flush, &standings)).await;
    Ok(encoded.map_err(|error| Error::retry(format!("encoding cells: {error}")))??)
}

async fn rollup_ledger(lease: &Lease, flush: &Flush, index: usize, expired: u64) -> Result<Prepared, Error> {
    let delta = &flush.rollups[index];
    let sql = "UPDATE sg_rollup_partitions SET fed_to = $3, folded = folded + $4, diverted = diverted + $5, \
               expired = expired + $6 WHERE rollup = $1 AND partition = $2";
    let given: Vec<Box<dyn ToSql + Sync + Send>> = vec![
        Box::new(flush.plan.rollups[index].rollup.name.clone()),
        Box::new(i64::from(flush.partition)),
        Box::new(to_integer(flush.end)?),
        Box::new(to_integer(delta.folded)?),
        Box::new(to_integer(delta.late.len() as u64)?),
        Box::new(to_integer(expired)?),
    ];
    Ok((lease.statement(sql).await?, given))
}

async fn late_events(
    lease: &Lease,
    flush: &Flush,
    index: usize,
    now: Timestamp,
) -> Result<Vec<Prepared>, Error> {
    const TYPES: [Type; 10] = [
        Type::TEXT,
        Type::INT8,
        Type::INT8,
        Type::TEXT,
        Type::TIMESTAMPTZ,
        Type::TIMESTAMPTZ,
        Type::TIMESTAMPTZ,
        Type::TIMESTAMPTZ,
        Type::TEXT,
        Type::BYTEA,
    ];
    let sql = format!(
        "INSERT INTO sg_late (rollup, partition, position, event_id, event_time, received_at, stored_at, \
         window_start, dimensions, raw) SELECT * FROM unnest({})",
        arrays(&TYPES)
    );
    let rollup = &flush.plan.rollups[index].rollup.name;
    let fill = |late: &LateEvent, columns: &mut [Column]| -> Result<(), Unfit> {
        columns[0].push_text(rollup);
        columns[1].push_integer(i64::from(flush.partition));
        columns[2].push_integer(to_integer(late.offset)?);
        columns[3].push_text(&late.event_id);
        columns[4].push_time(late.event_time)?;
        columns[5].push_time(late.received_at)?;
        columns[6].push_time(now)?;
        columns[7].push_time(late.window_start)?;
        columns[8].push_text(&texts_to_json(&late.dimensions)?);
        columns[9].push_bytes(&late.raw);
        Ok(())
    };
    inserts(lease, &sql, &TYPES, &flush.rollups[index].late, fill).await
}

async fn dead_letters(lease: &Lease, flush: &Flush, now: Timestamp) -> Result<Vec<Prepared>, Error> {
    const TYPES: [Type; 13] = [
        Type::TEXT,
        Type::INT8,
        Type::INT8,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::TIMESTAMPTZ,
        Type::TIMESTAMPTZ,
        Type::BYTEA,
        Type::INT8,
        Type::INT8,
    ];
    let sql = format!(
        "INSERT INTO sg_dead_letters (stream, partition, position, reason, field, detail, event_id, event_type, \
         received_at, stored_at, raw, replay_of_partition, replay_of_position) SELECT * FROM unnest({})",
        arrays(&TYPES)
    );
    let fill = |letter: &DeadLetter, columns: &mut [Column]| -> Result<(), Unfit> {
        columns[0].push_text(&flush.plan.stream.name);
        columns[1].push_integer(i64::from(flush.partition));
        columns[2].push_integer(to_integer(letter.offset)?);
        columns[3].push_text(letter.code.as_str());
        let texts = [&letter.field, &letter.detail, &letter.event_id, &letter.event_type];
        for (at, text) in texts.into_iter().enumerate() {
            columns[4 + at].push_text(&holdable(text));
        }
        columns[8].push_time(letter.received_at)?;
        columns[9].push_time(now)?;
        columns[10].push_bytes(&letter.raw);
        match letter.replay_of {
            None => columns[11..].iter_mut().for_each(Column::push_null),
            Some((partition, offset)) => {
                columns[11].push_integer(i64::from(partition));
                columns[12].push_integer(to_integer(offset)?);
            }
        }
        Ok(())
    };
    inserts(lease, &sql, &TYPES, &flush.dead_letters, fill).await
}

/// Returns a text without the one character that the server cannot hold: a letter may be dead for just that, and must
/// not be refused for it again. The event as sent keeps it.
pub(crate) fn holdable(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

/// Returns the statements that insert rows, some hundred each.
pub(crate) async fn inserts<T>(
    lease: &Lease,
    sql: &str,
    types: &[Type],
    rows: &[T],
    fill: impl Fn(&T, &mut [Column]) -> Result<(), Unfit>,
) -> Result<Vec<Prepared>, Error> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let statement = lease.statement(sql).await?;
    let mut statements = Vec::new();
    for chunk in rows.chunks(LETTERS_PER_STATEMENT) {
        let mut columns: Vec<Column> = types.iter().cloned().map(Column::of).collect();
        for row in chunk {
            fill(row, &mut columns)?;
        }
        statements.push((statement.clone(), boxed(columns)));
    }
    Ok(statements)
}

/// Takes note that a partition is idle or not, and closes windows; returns false when the epoch is another's.
pub(crate) async fn refresh(
    connections: &Connections,
    refresh: &Refresh,
    now: Timestamp,
    faults: &Faults,
) -> Result<bool, Error> {
    let lease = connections.begin(Mode::Repeatable).await?;
    match try_refresh(&lease, refresh, now, faults).await {
        Ok(false) => {
            lease.roll_back().await;
            Ok(false)
        }
        done => lease.finish(done).await,
    }
}

async fn try_refresh(
    lease: &Lease,
    refresh: &Refresh,
    now: Timestamp,
    faults: &Faults,
) -> Result<bool, Error> {
    let moved_to = refresh.dedup_from.map(|(offset, _)| to_integer(offset)).transpose()?;
    let moved_r = refresh.dedup_from.map(|(_, r)| Ms(r));
    let sql = "UPDATE sg_partitions SET is_idle = $4, said_at = $5, \
               dedup_from_r = CASE WHEN $6::bigint > dedup_from THEN $7 ELSE dedup_from_r END, \
               dedup_from = greatest(dedup_from, $6) WHERE stream = $1 AND partition = $2 AND epoch = $3 \
               AND next_offset = coalesce($8, next_offset)";
    let base = refresh.base.map(to_integer).transpose()?;
    let given: [&(dyn ToSql + Sync); 8] = [
        &refresh.plan.stream.name,
        &i64::from(refresh.partition),
        &refresh.epoch,
        &refresh.is_idle,
        &Ms(now),
        &moved_to,
        &moved_r,
        &base,
    ];
    if lease.execute(sql, &given).await? != 1 {
        return Ok(false);
    }
    faults.step()?;
    let moment = Moment { now, owner_now: refresh.now };
    closing::close(lease, &refresh.plan, None, moment, faults).await?;
    Ok(true)
}
