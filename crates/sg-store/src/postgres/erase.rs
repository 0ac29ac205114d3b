//! Deleting events by hand, behind the locks of all partitions' rows, which no flush then holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sg_core::definition::Rollup;
use sg_core::erase::{Doomed, Erase, EraseOutcome, Refused, Touched};
use sg_core::flush::RollupDelta;
use sg_core::query::DeletedEvent;
use sg_core::time::Timestamp;

use crate::answers;
use crate::erasing::{self, OfPartition, OfRollup, Sorted};
use crate::faults::Faults;
use crate::place::position;
use crate::rewriting::{self, Gone};
use crate::unfit::to_integer;

use super::cells::{self, Standing};
use super::closing::{self, Moment};
use super::error::Error;
use super::measures::count;
use super::pool::Lease;
use super::status::partition_of;
use super::tables::{cells_table, raw_table};
use super::wire::Ms;
use super::{levels, rewrite};

/// Deletes events, all or nothing.
pub(crate) async fn erase(
    lease: &Lease,
    erase: &Erase,
    now: Timestamp,
    faults: &Faults,
) -> Result<EraseOutcome, Error> {
    let reached = rewrite::lock(lease, &erase.plan.stream.name).await?;
    if erase.remade.as_ref().is_some_and(|(made_at, _)| *made_at != reached) {
        return Ok(EraseOutcome::Missed);
    }
    let events = bury(lease, erase, now).await?;
    faults.step()?;
    let mut standings = Vec::with_capacity(erase.plan.rollups.len());
    let mut deltas = Vec::with_capacity(erase.plan.rollups.len());
    let mut vanished = Vec::with_capacity(erase.plan.rollups.len());
    let (mut touched, mut refused): (Vec<Touched>, Vec<Refused>) = (Vec::new(), Vec::new());
    for (at, planned) in erase.plan.rollups.iter().enumerate() {
        let Some(stand) = standing_of(lease, &planned.rollup).await? else { return Ok(EraseOutcome::Missed) };
        let diverted = take_late(lease, &planned.rollup, &events).await?;
        let mut sorted = erasing::sort(erase, at, &events, &stand, (&diverted, now));
        let (changed, delta, gone) = take_out(lease, (erase, at), &mut sorted, &stand, faults).await?;
        touched.extend(changed);
        deltas.push(delta);
        vanished.push(gone);
        standings.push(Standing { closed_to: stand.closed_to, removed_before: stand.removed_before });
        refused.append(&mut sorted.refused);
        faults.step()?;
    }
    if !refused.is_empty() {
        return Ok(EraseOutcome::Refused(refused));
    }
    let deleted = events.len() as u64;
    if !erase.is_dry && deleted > 0 {
        // Behind all cells: the stream's row is locked last.
        for (planned, gone) in erase.plan.rollups.iter().zip(&vanished) {
            closing::retract(lease, (&erase.plan, &planned.rollup), gone, now).await?;
        }
        let own = Arc::new(rewrite::as_flush(&erase.plan, deltas));
        let moment = Moment { now, owner_now: now };
        closing::close(lease, &erase.plan, Some((&own, &standings)), moment, faults).await?;
    }
    Ok(EraseOutcome::Done { deleted, touched })
}

/// The columns of places, one array each.
fn places(of: impl Iterator<Item = (u32, u64)>) -> Result<(Vec<i64>, Vec<i64>), Error> {
    let (mut partitions, mut offsets) = (Vec::new(), Vec::new());
    for (partition, offset) in of {
        partitions.push(i64::from(partition));
        offsets.push(to_integer(offset)?);
    }
    Ok((partitions, offsets))
}

fn place_of(event: &Doomed) -> (u32, u64) {
    (event.partition, event.offset)
}

/// Takes events out of the raw table and the partitions' ledger; returns those that were not deleted before.
async fn bury<'e>(lease: &Lease, erase: &'e Erase, now: Timestamp) -> Result<Vec<&'e Doomed>, Error> {
    let stream = erase.plan.stream.name.as_str();
    let all: Vec<&Doomed> = erase.events.iter().collect();
    let (partitions, offsets) = places(all.iter().copied().map(place_of))?;
    let ids: Vec<&str> = all.iter().map(|event| event.event_id.as_str()).collect();
    let sql = "INSERT INTO sg_tombstones SELECT $1, e.partition, e.position, e.event_id, $5 FROM \
               unnest($2::bigint[], $3::bigint[], $4::text[]) AS e(partition, position, event_id) \
               ON CONFLICT DO NOTHING RETURNING partition, position";
    let rows = lease.query(sql, &[&stream, &partitions, &offsets, &ids, &Ms(now)]).await?;
    let mut fresh = BTreeSet::new();
    let mut counts: BTreeMap<u32, i64> = BTreeMap::new();
    for row in &rows {
        let place = (partition_of(row, 0)?, count(row, 1)?);
        *counts.entry(place.0).or_default() += 1;
        fresh.insert(place);
    }
    let events: Vec<&Doomed> =
        all.into_iter().filter(|event| fresh.contains(&(event.partition, event.offset))).collect();
    for (partition, deleted) in counts {
        let sql = "UPDATE sg_partitions SET counted = counted - $3, deleted = deleted + $3 \
                   WHERE stream = $1 AND partition = $2";
        lease.execute(sql, &[&stream, &i64::from(partition), &deleted]).await?;
    }
    if erase.plan.stream.raw_table.is_some() {
        let positions = events.iter().map(|event| position(event.partition, event.offset));
        let positions: Vec<i64> = positions.collect::<Result<_, _>>()?;
        let sql = format!("DELETE FROM {} WHERE position = ANY($1)", raw_table(stream));
        lease.execute(&sql, &[&positions]).await?;
    }
    Ok(events)
}

/// Returns where a rollup stands; `None` while retention removes its cells step by step.
async fn standing_of(lease: &Lease, rollup: &Rollup) -> Result<Option<OfRollup>, Error> {
    let sql = "SELECT closed_to, removed_before, removed, complete_from FROM sg_rollups WHERE rollup = $1";
    let row = lease.query_opt(sql, &[&rollup.name]).await?;
    let row = row.ok_or_else(|| answers::never_prepared(&rollup.name))?;
    let (Ms(closed_to), Ms(removed_before)) = (row.try_get(0)?, row.try_get(1)?);
    let complete_from = row.try_get::<_, Option<Ms>>(3)?.map(|Ms(from)| from);
    let sql = format!("SELECT 1 FROM {} WHERE pane < $1 LIMIT 1", cells_table(&rollup.name));
    if lease.query_opt(&sql, &[&Ms::bound(removed_before)]).await?.is_some() {
        return Ok(None);
    }
    let sql = "SELECT partition, first_offset, expired, unfit FROM sg_rollup_partitions WHERE rollup = $1";
    let mut partitions = Vec::new();
    for known in &lease.query(sql, &[&rollup.name]).await? {
        partitions.push(OfPartition {
            partition: partition_of(known, 0)?,
            first_offset: count(known, 1)?,
            expired: known.try_get(2)?,
            unfit: known.try_get(3)?,
        });
    }
    Ok(Some(OfRollup { closed_to, removed_before, removed: row.try_get(2)?, complete_from, partitions }))
}

/// Removes the late rows of events; returns the places of those that had one.
async fn take_late(
    lease: &Lease,
    rollup: &Rollup,
    events: &[&Doomed],
) -> Result<BTreeSet<(u32, u64)>, Error> {
    let (partitions, offsets) = places(events.iter().copied().map(place_of))?;
    let sql = "DELETE FROM sg_late AS l USING unnest($2::bigint[], $3::bigint[]) AS e(partition, position) \
               WHERE l.rollup = $1 AND l.partition = e.partition AND l.position = e.position \
               RETURNING l.partition, l.position";
    let rows = lease.query(sql, &[&rollup.name, &partitions, &offsets]).await?;
    rows.iter().map(|row| Ok((partition_of(row, 0)?, count(row, 1)?))).collect()
}

/// Returns which of these records have a row in a rollup's late lane.
pub(crate) async fn diverted(
    lease: &Lease,
    rollup: &str,
    asked: &[(u32, u64)],
) -> Result<BTreeSet<(u32, u64)>, Error> {
    let (partitions, offsets) = places(asked.iter().copied())?;
    let sql = "SELECT DISTINCT l.partition, l.position FROM sg_late AS l \
               JOIN unnest($2::bigint[], $3::bigint[]) AS e(partition, position) \
               ON l.partition = e.partition AND l.position = e.position WHERE l.rollup = $1";
    let rows = lease.query(sql, &[&rollup, &partitions, &offsets]).await?;
    rows.iter().map(|row| Ok((partition_of(row, 0)?, count(row, 1)?))).collect()
}

/// Takes events out of a rollup's cells, levels and ledger; returns the cells, as they are now, and the final
/// windows of which none is left.
async fn take_out(
    lease: &Lease,
    (erase, at): (&Erase, usize),
    sorted: &mut Sorted,
    stand: &OfRollup,
    faults: &Faults,
) -> Result<(Vec<Touched>, RollupDelta, Gone), Error> {
    let rollup = &erase.plan.rollups[at].rollup;
    let stored = match sorted.query(rollup) {
        Some(query) => cells::read(lease, &query).await?,
        None => Vec::new(),
    };
    let (differences, touched) = sorted.left(erase, at, stored);
    if erase.is_dry || !sorted.refused.is_empty() {
        return Ok((touched, RollupDelta::default(), Gone::new()));
    }
    let standing = Standing { closed_to: stand.closed_to, removed_before: stand.removed_before };
    let mut places = rewriting::places(rollup, &differences);
    let gone = rewrite::replace(lease, rollup, &mut places, standing, faults).await?;
    if !sorted.bases.is_empty() {
        let gone = RollupDelta { bases: std::mem::take(&mut sorted.bases), ..RollupDelta::default() };
        let moved = levels::upsert(lease, rollup, &gone, stand.removed_before).await?;
        lease.pipeline(moved.as_slice(), faults).await?;
    }
    for (partition, taken) in &sorted.taken {
        let sql = "UPDATE sg_rollup_partitions SET deleted = deleted + $3, diverted = diverted - $4, \
                   expired = expired - $5, unfit = unfit - $6 WHERE rollup = $1 AND partition = $2";
        let partition = i64::from(*partition);
        let less = (&taken.deleted, &taken.diverted, &taken.expired, &taken.unfit);
        lease.execute(sql, &[&rollup.name, &partition, less.0, less.1, less.2, less.3]).await?;
    }
    if sorted.removed > 0 {
        let sql = "UPDATE sg_rollups SET removed = removed - $1 WHERE rollup = $2";
        lease.execute(sql, &[&sorted.removed, &rollup.name]).await?;
    }
    Ok((touched, places.delta, gone))
}

/// Returns the events of an id that were deleted.
pub(crate) async fn deleted(lease: &Lease, event_id: &str) -> Result<Vec<DeletedEvent>, Error> {
    let sql = "SELECT stream, partition, position, deleted_at FROM sg_tombstones WHERE event_id = $1 \
               ORDER BY stream, partition, position";
    let rows = lease.query(sql, &[&event_id]).await?;
    let event = |row: &tokio_postgres::Row| {
        let Ms(deleted_at) = row.try_get(3)?;
        Ok(DeletedEvent {
            stream: row.try_get(0)?,
            partition: partition_of(row, 1)?,
            offset: count(row, 2)?,
            deleted_at,
        })
    };
    rows.iter().map(event).collect()
}
