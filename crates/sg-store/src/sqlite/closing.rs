//! Closing windows at the end of a flush or refresh: moves the watermark and each rollup's `closed_to`, and writes
//! to the outbox what became final or was corrected. Runs inside the transaction of its caller.

use rusqlite::{Connection, OptionalExtension, params};
use sg_core::archive::FileKind;
use sg_core::definition::Rollup;
use sg_core::flush::Flush;
use sg_core::limits::{OUTBOX_CELLS_PER_FLUSH_MAX, TIME_MIN_MS};
use sg_core::plan::Plan;
use sg_core::ports::OutboxKind;
use sg_core::time::Timestamp;
use sg_core::window;

use crate::announced::{Announced, Keys, texts_from_json, texts_to_json, told};
use crate::answers;
use crate::faults::Faults;
use crate::lines::vanished;
use crate::rewriting::Gone;
use crate::watermark::{self, PartitionState};

use super::cells;
use super::error::Error;
use super::lines;
use super::outbox::Outbox;

/// Windows × dimensions that a flush has changed after they were final, per rollup of the plan.
pub(crate) type Corrected = Vec<Keys>;

/// What was written before windows are closed: by a flush, if it was one, and the final windows that changed.
pub(crate) type Own<'a> = (Option<&'a Flush>, &'a Corrected);

/// Closes the windows of a stream. Idle flags are judged by `now`; `owner_now` moves the watermark when all are idle.
pub(crate) fn close(
    connection: &Connection,
    plan: &Plan,
    (own, corrected): Own<'_>,
    (now, owner_now): (Timestamp, Timestamp),
    faults: &Faults,
) -> Result<(), Error> {
    let stream = plan.stream.name.as_str();
    let standing = connection
        .prepare_cached("SELECT watermark, outbox_last FROM sg_streams WHERE stream = ?")?
        .query_row([stream], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
        .optional()?;
    let Some((stored, last)) = standing else {
        return Err(answers::unknown_stream(stream).into());
    };
    let states = partition_states(connection, stream)?;
    let expected_from = owner_now.minus(plan.stream.idle_timeout);
    let watermark = watermark::advance(Timestamp(stored), &states, now, expected_from);
    let mut outbox = Outbox::after(connection, plan, last, now)?;
    for event in own.map(told).unwrap_or_default() {
        outbox.push_event(own.map_or(0, |flush| flush.partition), &event)?;
        faults.step()?;
    }
    let mut budget = OUTBOX_CELLS_PER_FLUSH_MAX;
    for (index, planned) in plan.rollups.iter().enumerate() {
        let changed = corrected.get(index).map_or(&[][..], Vec::as_slice);
        close_rollup(&mut outbox, &planned.rollup, changed, watermark, &mut budget)?;
        faults.step()?;
    }
    lines::write(connection, plan, (own, std::mem::take(&mut outbox.told)), now)?;
    faults.step()?;
    connection
        .prepare_cached("UPDATE sg_streams SET watermark = ?, outbox_last = ? WHERE stream = ?")?
        .execute(params![watermark.0, outbox.last, stream])?;
    Ok(faults.step()?)
}

fn partition_states(connection: &Connection, stream: &str) -> Result<Vec<PartitionState>, Error> {
    let mut statement =
        connection.prepare_cached("SELECT m, is_idle, said_at FROM sg_partitions WHERE stream = ?")?;
    let states = statement.query_map([stream], |row| {
        Ok(PartitionState {
            m: Timestamp(row.get(0)?),
            is_idle: row.get(1)?,
            said_at: Timestamp(row.get(2)?),
        })
    })?;
    states.collect::<Result<_, _>>().map_err(Error::from)
}

/// Tells that final windows have no cell any more, of those that were announced.
pub(crate) fn retract(
    connection: &Connection,
    (plan, rollup): (&Plan, &Rollup),
    gone: &Gone,
    now: Timestamp,
) -> Result<(), Error> {
    if gone.is_empty() {
        return Ok(());
    }
    let (last, from, key) = connection
        .prepare_cached(
            "SELECT outbox_last, announced_from, announced_key FROM sg_rollups JOIN sg_streams USING (stream) \
             WHERE rollup = ?",
        )?
        .query_row([&rollup.name], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, Option<String>>(2)?)))?;
    let key = key.as_deref().map(texts_from_json).transpose()?;
    let announced = Announced { from: Timestamp(from), key };
    let mut outbox = Outbox::after(connection, plan, last, now)?;
    let gone = announced.of_gone(gone);
    for ((start, dimensions), revision) in &gone {
        outbox.push(OutboxKind::Corrected, rollup, (*start, dimensions), *revision)?;
    }
    lines::append(connection, (&plan.stream.name, FileKind::Closed), &vanished(plan, rollup, &gone), now)?;
    connection
        .prepare_cached("UPDATE sg_streams SET outbox_last = ? WHERE stream = ?")?
        .execute(params![outbox.last, rollup.stream])?;
    Ok(())
}

fn close_rollup(
    outbox: &mut Outbox<'_>,
    rollup: &Rollup,
    changed: &[(Timestamp, Vec<String>)],
    watermark: Timestamp,
    budget: &mut usize,
) -> Result<(), Error> {
    let connection = outbox.connection;
    let (stored, announced) = connection
        .prepare_cached("SELECT closed_to, announced_from, announced_key FROM sg_rollups WHERE rollup = ?")?
        .query_row([&rollup.name], |row| {
            let announced = (row.get::<_, i64>(1)?, row.get::<_, Option<String>>(2)?);
            Ok((Timestamp(row.get(0)?), announced))
        })?;
    let key = announced.1.as_deref().map(texts_from_json).transpose()?;
    let announced = Announced { from: Timestamp(announced.0), key };
    let mut revisions = cells::Revisions::of(connection, rollup)?;
    for (start, dimensions) in changed {
        // What is still to be announced will be announced with this change.
        if announced.includes(*start, dimensions) {
            let revision = revisions.get(*start, dimensions)?;
            outbox.push(OutboxKind::Corrected, rollup, (*start, dimensions), revision)?;
        }
    }
    let closed_to = watermark::closed_to(stored, watermark, rollup.grace_ms);
    let after = announce(outbox, rollup, announced.clone(), closed_to, budget)?;
    if closed_to == stored && after.from == announced.from && after.key == announced.key {
        return Ok(());
    }
    connection
        .prepare_cached(
            "UPDATE sg_rollups SET closed_to = ?, announced_from = ?, announced_key = ? WHERE rollup = ?",
        )?
        .execute(params![
            closed_to.0,
            after.from.0,
            after.key.as_deref().map(texts_to_json).transpose()?,
            rollup.name
        ])?;
    Ok(())
}

/// Writes the windows between what was announced and `closed_to` to the outbox, as many as the budget allows.
fn announce(
    outbox: &mut Outbox<'_>,
    rollup: &Rollup,
    mut announced: Announced,
    closed_to: Timestamp,
    budget: &mut usize,
) -> Result<Announced, Error> {
    if closed_to <= Timestamp(TIME_MIN_MS) {
        return Ok(announced);
    }
    // A window that starts before this one has ended by `closed_to`.
    let end = window::start_of(closed_to, rollup.window_ms);
    while announced.from < end && *budget > 0 {
        let Some(pane) = cells::first_pane(outbox.connection, rollup, (announced.from, end))? else {
            return Ok(Announced { from: end, key: None });
        };
        let start = window::start_of(pane, rollup.window_ms);
        let after = announced.key.as_deref().filter(|_| start == announced.from);
        let rows = cells::window_revisions(outbox.connection, rollup, start, after, *budget)?;
        for (dimensions, revision) in &rows {
            outbox.push(OutboxKind::Closed, rollup, (start, dimensions), *revision)?;
        }
        let is_whole = rows.len() < *budget;
        *budget -= rows.len();
        announced = if is_whole {
            Announced { from: Timestamp(start.0 + rollup.window_ms), key: None }
        } else {
            Announced { from: start, key: rows.last().map(|(dimensions, _)| dimensions.clone()) }
        };
    }
    Ok(announced)
}
