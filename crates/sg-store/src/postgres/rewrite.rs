//! Replacing cells that were made again, behind the locks of all partitions' rows, which no flush then holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sg_core::cell::Value;
use sg_core::definition::Rollup;
use sg_core::erase::Standing as Reached;
use sg_core::flush::{Flush, Ledger, PartitionClock, RollupDelta};
use sg_core::fold::Fates;
use sg_core::plan::Plan;
use sg_core::reason::Code;
use sg_core::rebuild::{Rewrite, RewriteOutcome};
use sg_core::time::Timestamp;
use sg_core::timing::Timing;
use sg_core::window;

use crate::answers;
use crate::faults::Faults;
use crate::names::{dimension_columns, key_columns};
use crate::rewriting::{self, Gone, Places};
use crate::unfit::to_integer;

use super::cells::{self, Standing, key_arrays, key_types, parameters};
use super::closing::{self, Moment};
use super::error::Error;
use super::measures::count;
use super::pool::Lease;
use super::status::partition_of;
use super::tables::{cells_table, sketches_table};
use super::wire::Ms;
use super::{levels, sketches};

/// Returns what became of records beyond what the log tells.
pub(crate) async fn fates(
    lease: &Lease,
    stream: &str,
    partition: u32,
    (from, to): (u64, u64),
) -> Result<Fates, Error> {
    let (partition, from, to) = (i64::from(partition), to_integer(from)?, to_integer(to)?);
    let range = "stream = $1 AND partition = $2 AND position >= $3 AND position < $4";
    let mut dead = BTreeMap::new();
    let sql = format!(
        "SELECT position, reason FROM sg_dead_letters WHERE {range} \
         UNION ALL SELECT position, reason FROM sg_removed_letters WHERE {range}"
    );
    for row in &lease.query(&sql, &[&stream, &partition, &from, &to]).await? {
        let reason: String = row.try_get(1)?;
        let code = Code::ALL.into_iter().find(|code| code.as_str() == reason);
        dead.insert(count(row, 0)?, code.ok_or_else(|| answers::unknown_reason(&reason))?);
    }
    let offsets = async |sql: &str| -> Result<BTreeSet<u64>, Error> {
        let rows = lease.query(sql, &[&stream, &partition, &from, &to]).await?;
        rows.iter().map(|row| count(row, 0)).collect()
    };
    Ok(Fates {
        dead,
        counted_replays: offsets(&format!("SELECT position FROM sg_replays WHERE {range} AND is_counted"))
            .await?,
        deleted: offsets(&format!("SELECT position FROM sg_tombstones WHERE {range}")).await?,
    })
}

/// Replaces the cells that differ, if all stands where they were made.
pub(crate) async fn rewrite(
    lease: &Lease,
    rewrite: &Rewrite,
    now: Timestamp,
    faults: &Faults,
) -> Result<RewriteOutcome, Error> {
    let rollup = &rewrite.plan.rollups[rewrite.rollup].rollup;
    let reached = lock(lease, &rollup.stream).await?;
    if (&reached.offsets, reached.deleted) != (&rewrite.offsets, rewrite.deleted) {
        return Ok(RewriteOutcome::Missed);
    }
    let mut standings = Vec::new();
    for planned in &rewrite.plan.rollups {
        let sql = "SELECT closed_to, removed_before FROM sg_rollups WHERE rollup = $1";
        let row = lease.query_opt(sql, &[&planned.rollup.name]).await?;
        let row = row.ok_or_else(|| answers::never_prepared(&planned.rollup.name))?;
        let (Ms(closed_to), Ms(removed_before)) = (row.try_get(0)?, row.try_get(1)?);
        standings.push(Standing { closed_to, removed_before });
    }
    if standings[rewrite.rollup].removed_before != rewrite.removed_before {
        return Ok(RewriteOutcome::Missed);
    }
    faults.step()?;
    let stored = match rewriting::query(rewrite) {
        Some(query) => cells::read(lease, &query).await?,
        None => Vec::new(),
    };
    let differences = rewriting::differing(rewrite, stored);
    if rewrite.is_dry {
        return Ok(RewriteOutcome::Done { differences });
    }
    let mut places = rewriting::places(rollup, &differences);
    let gone = replace(lease, rollup, &mut places, standings[rewrite.rollup], faults).await?;
    settle(lease, rollup, rewrite, places.grown, faults).await?;
    faults.step()?;
    closing::retract(lease, (&rewrite.plan, rollup), &gone, now).await?;
    let mut deltas: Vec<RollupDelta> = rewrite.plan.rollups.iter().map(|_| RollupDelta::default()).collect();
    deltas[rewrite.rollup] = places.delta;
    let own = Arc::new(as_flush(&rewrite.plan, deltas));
    let moment = Moment { now, owner_now: now };
    closing::close(lease, &rewrite.plan, Some((&own, &standings)), moment, faults).await?;
    Ok(RewriteOutcome::Done { differences })
}

/// Takes the lock of a stream's cells, until the transaction's end, so that no partition comes that has no row yet.
const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended('streamgauge cells ' || current_schema() || ' ' || $1, 0))";
/// The same beside others who take it so: they add partitions.
const LOCK_SHARED: &str = "SELECT pg_advisory_xact_lock_shared(\
    hashtextextended('streamgauge cells ' || current_schema() || ' ' || $1, 0))";

/// Waits for whoever changes cells outside a flush, and keeps all of them away until the transaction's end: for a claim, whose
/// partition may have no row yet that they could lock.
pub(super) async fn keep_away(lease: &Lease, stream: &str) -> Result<(), Error> {
    lease.query(LOCK_SHARED, &[&stream]).await?;
    Ok(())
}

/// Locks a stream's cells against flushes: the rows of its partitions, and those to come. Returns where they stand.
pub(super) async fn lock(lease: &Lease, stream: &str) -> Result<Reached, Error> {
    lease.query(LOCK, &[&stream]).await?;
    let sql = "SELECT partition, next_offset, deleted FROM sg_partitions WHERE stream = $1 \
               ORDER BY partition FOR UPDATE";
    let mut reached = Reached::default();
    for row in &lease.query(sql, &[&stream]).await? {
        reached.offsets.push((partition_of(row, 0)?, count(row, 1)?));
        reached.deleted += count(row, 2)?;
    }
    Ok(reached)
}

/// Returns cells, by rollup of the plan, as the flush that a closing announces.
pub(super) fn as_flush(plan: &Arc<Plan>, rollups: Vec<RollupDelta>) -> Flush {
    Flush {
        plan: plan.clone(),
        partition: 0,
        epoch: 0,
        base: 0,
        end: 0,
        clock: PartitionClock::NEVER,
        dedup_from: (0, Timestamp::NEVER),
        ledger: Ledger::default(),
        rollups,
        raw: Vec::new(),
        dead_letters: Vec::new(),
        replays: Vec::new(),
        timing: Timing::default(),
    }
}

/// Takes out what differs and puts in what must be.
pub(super) async fn replace(
    lease: &Lease,
    rollup: &Rollup,
    places: &mut Places,
    standing: Standing,
    faults: &Faults,
) -> Result<Gone, Error> {
    if places.keys.is_empty() {
        return Ok(Gone::new());
    }
    let key = key_columns(rollup);
    let same: Vec<String> = key.iter().map(|column| format!("c.{column} = k.{column}")).collect();
    let columns = key_arrays(rollup, &places.keys)?;
    let mut tables = vec![cells_table(&rollup.name)];
    tables.extend(rollup.has_sketches().then(|| sketches_table(&rollup.name)));
    for table in tables {
        let sql = format!(
            "DELETE FROM {table} AS c USING unnest({}) AS k({}) WHERE {}",
            key_types(rollup),
            key.join(", "),
            same.join(" AND ")
        );
        lease.execute(&sql, &parameters(&columns)).await?;
    }
    faults.step()?;
    let encoded = cells::encode(rollup, &places.delta, standing)?;
    let statements = cells::upserts(lease, rollup, encoded).await?;
    lease.pipeline(&statements, faults).await?;
    for (pane, dimensions, revision) in &places.revised {
        let columns = key_arrays(rollup, &[(*pane, dimensions.clone())])?;
        let revision = to_integer(*revision)?;
        let mut given = parameters(&columns);
        given.push(&revision);
        let sql = format!(
            "UPDATE {} AS c SET revision = revision + ${} FROM unnest({}) AS k({}) WHERE {}",
            cells_table(&rollup.name),
            given.len(),
            key_types(rollup),
            key.join(", "),
            same.join(" AND ")
        );
        lease.execute(&sql, &given).await?;
    }
    for (partition, delta) in &places.shares {
        sketches::write(lease, rollup, (*partition, delta), standing.removed_before).await?;
    }
    for day in &places.days {
        levels::recount(lease, rollup, *day).await?;
    }
    hand_on(lease, rollup, places, standing).await
}

/// Gives the revisions of cells that vanished to others of their final windows, so that a window's never goes back; returns
/// the windows of which no cell is left. The others are announced with the cells that changed.
async fn hand_on(
    lease: &Lease,
    rollup: &Rollup,
    places: &mut Places,
    standing: Standing,
) -> Result<Gone, Error> {
    let (table, names) = (cells_table(&rollup.name), dimension_columns(rollup));
    let same: Vec<String> = names.iter().map(|name| format!(" AND c.{name} = k.{name}")).collect();
    let same = same.join("");
    let (types, key) = (key_types(rollup), key_columns(rollup).join(", "));
    let nth = names.len() + 2;
    let sql = format!(
        "UPDATE {table} AS u SET revision = u.revision + ${nth} FROM (SELECT c.* FROM {table} AS c, unnest({types}) \
         AS k({key}) WHERE c.pane >= k.pane AND c.pane < k.pane + interval '{} milliseconds'{same} \
         ORDER BY c.pane LIMIT 1) AS c WHERE {}",
        rollup.window_ms,
        key_columns(rollup)
            .iter()
            .map(|name| format!("u.{name} = c.{name}"))
            .collect::<Vec<_>>()
            .join(" AND "),
    );
    let empty: Vec<Value> = rollup.measures.iter().map(|measure| Value::empty(&measure.function)).collect();
    let mut gone = Gone::new();
    for (pane, dimensions, revision) in &places.vanished {
        let end = window::end_of(*pane, rollup.window_ms);
        if end > standing.closed_to {
            continue;
        }
        let start = Timestamp(end.0 - rollup.window_ms);
        let columns = key_arrays(rollup, &[(start, dimensions.clone())])?;
        let more = to_integer(revision + 1)?;
        let mut given = parameters(&columns);
        given.push(&more);
        if lease.execute(&sql, &given).await? > 0 {
            places.delta.cells.put(*pane, dimensions, (0, 0), &empty);
        } else {
            *gone.entry((start, dimensions.clone())).or_default() += revision + 1;
        }
    }
    Ok(gone)
}

/// Brings the rollup's ledger up to what a backfill has done.
async fn settle(
    lease: &Lease,
    rollup: &Rollup,
    rewrite: &Rewrite,
    grown: i64,
    faults: &Faults,
) -> Result<(), Error> {
    if rewrite.is_backfill {
        let sql = "UPDATE sg_rollup_partitions SET folded = folded + $1 WHERE rollup = $2 AND partition = \
                   (SELECT min(partition) FROM sg_rollup_partitions WHERE rollup = $2)";
        lease.execute(sql, &[&grown, &rollup.name]).await?;
    }
    if rewrite.settled.is_empty() {
        return Ok(());
    }
    let row = lease.query_opt("SELECT removed FROM sg_rollups WHERE rollup = $1", &[&rollup.name]).await?;
    let removed: i64 = row.map_or(Ok(0), |row| row.try_get(0))?;
    // Cells that retention has hidden and not yet removed still have theirs.
    let sql =
        format!("SELECT coalesce(sum(events), 0)::bigint FROM {} WHERE pane < $1", cells_table(&rollup.name));
    let row = lease.query_opt(&sql, &[&Ms::bound(rewrite.removed_before)]).await?;
    let hidden: i64 = row.map_or(Ok(0), |row| row.try_get(0))?;
    levels::settle(lease, rollup, &rewriting::bases(rewrite), rewrite.removed_before, faults).await?;
    for (at, settled) in rewrite.settled.iter().enumerate() {
        // What was removed with its cells is in the rollup's row already.
        let expired = to_integer(settled.gone)? - if at == 0 { removed + hidden } else { 0 };
        let sql = "UPDATE sg_rollup_partitions SET first_offset = $3, folded = $4, diverted = $5, expired = $6, \
                   unfit = $7, deleted = $8 WHERE rollup = $1 AND partition = $2";
        lease
            .execute(
                sql,
                &[
                    &rollup.name,
                    &i64::from(settled.partition),
                    &to_integer(settled.first_offset)?,
                    &to_integer(settled.folded)?,
                    &to_integer(settled.diverted)?,
                    &expired,
                    &to_integer(settled.unfit)?,
                    &to_integer(settled.deleted)?,
                ],
            )
            .await?;
    }
    lease.execute("UPDATE sg_rollups SET complete_from = NULL WHERE rollup = $1", &[&rollup.name]).await?;
    Ok(())
}
