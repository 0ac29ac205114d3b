//! Deleting events by hand. Beginning the transaction locks the partitions' rows with everything else.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, params};
use sg_core::definition::Rollup;
use sg_core::erase::{Doomed, Erase, EraseOutcome, Refused, Touched};
use sg_core::flush::RollupDelta;
use sg_core::query::DeletedEvent;
use sg_core::time::Timestamp;

use crate::announced::Keys;
use crate::answers;
use crate::erasing::{self, OfPartition, OfRollup, Sorted};
use crate::faults::Faults;
use crate::place::position;
use crate::rewriting;
use crate::unfit::to_integer;

use super::cells::{self, Standing};
use super::closing::{self, Corrected};
use super::error::{Error, from_integer};
use super::raw::raw_table;
use super::schema::cells_table;
use super::{levels, rewrite};

/// Deletes events, all or nothing.
pub(crate) fn erase(
    connection: &mut Connection,
    erase: &Erase,
    now: Timestamp,
    faults: &Faults,
) -> Result<EraseOutcome, Error> {
    let stream = erase.plan.stream.name.as_str();
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let reached = rewrite::reached(&transaction, stream)?;
    if erase.remade.as_ref().is_some_and(|(made_at, _)| *made_at != reached) {
        return Ok(EraseOutcome::Missed);
    }
    let mut events = Vec::with_capacity(erase.events.len());
    for event in &erase.events {
        if bury(&transaction, erase, event, now)? {
            events.push(event);
        }
    }
    faults.step()?;
    let mut corrected = Corrected::new();
    let (mut touched, mut refused): (Vec<Touched>, Vec<Refused>) = (Vec::new(), Vec::new());
    for (at, planned) in erase.plan.rollups.iter().enumerate() {
        let Some(stand) = standing_of(&transaction, &planned.rollup)? else {
            return Ok(EraseOutcome::Missed);
        };
        let diverted = take_late(&transaction, &planned.rollup, &events)?;
        let mut sorted = erasing::sort(erase, at, &events, &stand, (&diverted, now));
        let (changed, keys) = take_out(&transaction, (erase, at), &mut sorted, (&stand, now), faults)?;
        touched.extend(changed);
        corrected.push(keys);
        refused.append(&mut sorted.refused);
        faults.step()?;
    }
    if !refused.is_empty() {
        return Ok(EraseOutcome::Refused(refused));
    }
    if !erase.is_dry && !events.is_empty() {
        closing::close(&transaction, &erase.plan, (None, &corrected), (now, now), faults)?;
        transaction.commit()?;
    }
    Ok(EraseOutcome::Done { deleted: events.len() as u64, touched })
}

/// Takes an event out of the raw table and the partition's ledger; returns false, with nothing changed, when it was deleted
/// before.
fn bury(connection: &Connection, erase: &Erase, event: &Doomed, now: Timestamp) -> Result<bool, Error> {
    let stream = erase.plan.stream.name.as_str();
    let rows = connection
        .prepare_cached("INSERT INTO sg_tombstones VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING")?
        .execute(params![stream, event.partition, to_integer(event.offset)?, event.event_id, now.0])?;
    if rows == 0 {
        return Ok(false);
    }
    connection
        .prepare_cached(
            "UPDATE sg_partitions SET counted = counted - 1, deleted = deleted + 1 WHERE stream = ? AND partition = ?",
        )?
        .execute(params![stream, event.partition])?;
    if erase.plan.stream.raw_table.is_some() {
        connection
            .prepare_cached(&format!("DELETE FROM {} WHERE position = ?", raw_table(stream)))?
            .execute([position(event.partition, event.offset)?])?;
    }
    Ok(true)
}

/// Returns where a rollup stands; `None` while retention removes its cells step by step.
fn standing_of(connection: &Connection, rollup: &Rollup) -> Result<Option<OfRollup>, Error> {
    let found = connection
        .prepare_cached(
            "SELECT closed_to, removed_before, removed, complete_from FROM sg_rollups WHERE rollup = ?",
        )?
        .query_row([&rollup.name], |row| {
            Ok(OfRollup {
                closed_to: Timestamp(row.get(0)?),
                removed_before: Timestamp(row.get(1)?),
                removed: row.get(2)?,
                complete_from: row.get::<_, Option<i64>>(3)?.map(Timestamp),
                partitions: Vec::new(),
            })
        })
        .optional()?;
    let mut stand = found.ok_or_else(|| answers::never_prepared(&rollup.name))?;
    let is_under_way = connection
        .prepare_cached(&format!("SELECT 1 FROM {} WHERE pane < ? LIMIT 1", cells_table(&rollup.name)))?
        .exists([stand.removed_before.0])?;
    if is_under_way {
        return Ok(None);
    }
    let mut statement = connection.prepare_cached(
        "SELECT partition, first_offset, expired, unfit FROM sg_rollup_partitions WHERE rollup = ?",
    )?;
    let rows = statement.query_map([&rollup.name], |row| {
        Ok(OfPartition {
            partition: row.get(0)?,
            first_offset: from_integer(row.get(1)?)?,
            expired: row.get(2)?,
            unfit: row.get(3)?,
        })
    })?;
    stand.partitions = rows.collect::<Result<_, _>>()?;
    Ok(Some(stand))
}

/// Removes the late rows of events; returns the places of those that had one.
fn take_late(
    connection: &Connection,
    rollup: &Rollup,
    events: &[&Doomed],
) -> Result<BTreeSet<(u32, u64)>, Error> {
    let mut diverted = BTreeSet::new();
    let mut delete = connection
        .prepare_cached("DELETE FROM sg_late WHERE rollup = ? AND partition = ? AND position = ?")?;
    for event in events {
        if delete.execute(params![rollup.name, event.partition, to_integer(event.offset)?])? > 0 {
            diverted.insert((event.partition, event.offset));
        }
    }
    Ok(diverted)
}

/// Returns which of these records have a row in a rollup's late lane.
pub(crate) fn diverted(
    connection: &Connection,
    rollup: &str,
    places: &[(u32, u64)],
) -> Result<BTreeSet<(u32, u64)>, Error> {
    let mut diverted = BTreeSet::new();
    let mut find = connection
        .prepare_cached("SELECT 1 FROM sg_late WHERE rollup = ? AND partition = ? AND position = ?")?;
    for (partition, offset) in places {
        if find.exists(params![rollup, partition, to_integer(*offset)?])? {
            diverted.insert((*partition, *offset));
        }
    }
    Ok(diverted)
}

/// Takes events out of a rollup's cells, levels and ledger; returns the cells, and the final windows that changed.
fn take_out(
    connection: &Connection,
    (erase, at): (&Erase, usize),
    sorted: &mut Sorted,
    (stand, now): (&OfRollup, Timestamp),
    faults: &Faults,
) -> Result<(Vec<Touched>, Keys), Error> {
    let rollup = &erase.plan.rollups[at].rollup;
    let stored = match sorted.query(rollup) {
        Some(query) => cells::read(connection, &query)?,
        None => Vec::new(),
    };
    let (differences, touched) = sorted.left(erase, at, stored);
    if erase.is_dry || !sorted.refused.is_empty() {
        return Ok((touched, Keys::new()));
    }
    let standing = Standing { closed_to: stand.closed_to, removed_before: stand.removed_before };
    let places = rewriting::places(rollup, &differences);
    let (corrected, gone) = rewrite::replace(connection, rollup, &places, standing, faults)?;
    closing::retract(connection, (&erase.plan, rollup), &gone, now)?;
    if !sorted.bases.is_empty() {
        let gone = RollupDelta { bases: std::mem::take(&mut sorted.bases), ..RollupDelta::default() };
        levels::write(connection, rollup, &gone, stand.removed_before)?;
    }
    for (partition, taken) in &sorted.taken {
        connection
            .prepare_cached(
                "UPDATE sg_rollup_partitions SET deleted = deleted + ?3, diverted = diverted - ?4, \
                 expired = expired - ?5, unfit = unfit - ?6 WHERE rollup = ?1 AND partition = ?2",
            )?
            .execute(params![
                rollup.name,
                partition,
                taken.deleted,
                taken.diverted,
                taken.expired,
                taken.unfit
            ])?;
    }
    connection
        .prepare_cached("UPDATE sg_rollups SET removed = removed - ? WHERE rollup = ?")?
        .execute(params![sorted.removed, rollup.name])?;
    Ok((touched, corrected))
}

/// Returns the events of an id that were deleted.
pub(crate) fn deleted(connection: &Connection, event_id: &str) -> Result<Vec<DeletedEvent>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT stream, partition, position, deleted_at FROM sg_tombstones WHERE event_id = ? \
         ORDER BY stream, partition, position",
    )?;
    let rows = statement.query_map([event_id], |row| {
        Ok(DeletedEvent {
            stream: row.get(0)?,
            partition: row.get(1)?,
            offset: from_integer(row.get(2)?)?,
            deleted_at: Timestamp(row.get(3)?),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
