//! Closing windows at the end of a flush or refresh: moves the watermark and each rollup's `closed_to`, and writes
//! to the outbox what became final or was corrected. Runs inside the transaction of its caller, after all its cells.
//!
//! Many processes do this at once. The stream's row is locked first and stays so until the commit, so that they pass
//! one after the other; what is read afterwards is read by statements of their own and sees all that went before.

use std::sync::Arc;

use sg_core::archive::FileKind;
use sg_core::definition::Rollup;
use sg_core::flush::Flush;
use sg_core::limits::{OUTBOX_CELLS_PER_FLUSH_MAX, TIME_MIN_MS};
use sg_core::plan::Plan;
use sg_core::ports::OutboxKind;
use sg_core::time::Timestamp;
use sg_core::window;
use tokio_postgres::types::ToSql;

use crate::announced::{Announced, texts_from_json, texts_to_json, told};
use crate::answers;
use crate::faults::Faults;
use crate::lines::vanished;
use crate::rewriting::Gone;
use crate::watermark::{self, PartitionState};

use super::cells::{self, Standing};
use super::error::Error;
use super::lines;
use super::outbox::Outbox;
use super::pool::Lease;
use super::wire::Ms;

/// The two clocks of a closing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// The store's: idle flags are judged by it.
    pub(crate) now: Timestamp,
    /// The owner's: it moves the watermark when all are idle.
    pub(crate) owner_now: Timestamp,
}

/// What the locked row of a stream guards.
struct Marks {
    watermark: Timestamp,
    outbox_last: i64,
    partitions: Vec<PartitionState>,
    /// One per rollup of the plan.
    rollups: Vec<(Timestamp, Announced)>,
}

/// Closes the windows of a stream. `own` is the flush whose cells this transaction has written, if any, and where the
/// rollups stood when it did.
pub(crate) async fn close(
    lease: &Lease,
    plan: &Plan,
    own: Option<(&Arc<Flush>, &[Standing])>,
    moment: Moment,
    faults: &Faults,
) -> Result<(), Error> {
    let stream = plan.stream.name.as_str();
    let marks = lock(lease, plan).await?;
    faults.step()?;
    let expected_from = moment.owner_now.minus(plan.stream.idle_timeout);
    let watermark = watermark::advance(marks.watermark, &marks.partitions, moment.now, expected_from);
    let mut outbox = Outbox::after(plan, marks.outbox_last, moment.now);
    let events = own.map(|(flush, _)| (flush.partition, told(flush)));
    if let Some((partition, events)) = &events {
        outbox.push_events(*partition, events)?;
    }
    let mut budget = OUTBOX_CELLS_PER_FLUSH_MAX;
    for (index, planned) in plan.rollups.iter().enumerate() {
        let (rollup, (stored, announced)) = (&planned.rollup, &marks.rollups[index]);
        if let Some((flush, standings)) = own {
            correct(lease, (flush, index, standings[index]), (*stored, announced), &mut outbox).await?;
        }
        let closed_to = watermark::closed_to(*stored, watermark, rollup.grace_ms);
        let after = announce(lease, &mut outbox, rollup, announced, closed_to, &mut budget).await?;
        faults.step()?;
        if closed_to == *stored && after == *announced {
            continue;
        }
        let key = after.key.as_deref().map(texts_to_json).transpose()?;
        let sql =
            "UPDATE sg_rollups SET closed_to = $1, announced_from = $2, announced_key = $3 WHERE rollup = $4";
        lease.execute(sql, &[&Ms(closed_to), &Ms(after.from), &key, &rollup.name]).await?;
    }
    let (last, told) = (outbox.last, std::mem::take(&mut outbox.told));
    if last > marks.outbox_last {
        outbox.write(lease, faults).await?;
    }
    if watermark != marks.watermark || last > marks.outbox_last {
        let sql = "UPDATE sg_streams SET watermark = $1, outbox_last = $2 WHERE stream = $3";
        lease.execute(sql, &[&Ms(watermark), &last, &stream]).await?;
    }
    lines::write(lease, plan, (own.map(|(flush, _)| &**flush), told), moment.now, faults).await?;
    Ok(faults.step()?)
}

/// Tells that final windows have no cell any more, of those that were announced. Locks the stream's row.
pub(crate) async fn retract(
    lease: &Lease,
    (plan, rollup): (&Plan, &Rollup),
    gone: &Gone,
    now: Timestamp,
) -> Result<(), Error> {
    if gone.is_empty() {
        return Ok(());
    }
    let sql = "SELECT outbox_last FROM sg_streams WHERE stream = $1 FOR UPDATE";
    let stream = lease.query_opt(sql, &[&rollup.stream]).await?;
    let last = stream.ok_or_else(|| answers::unknown_stream(&rollup.stream))?.try_get(0)?;
    let sql = "SELECT announced_from, announced_key FROM sg_rollups WHERE rollup = $1";
    let marks = lease.query_opt(sql, &[&rollup.name]).await?;
    let marks = marks.ok_or_else(|| answers::never_prepared(&rollup.name))?;
    let key = marks.try_get::<_, Option<&str>>(1)?.map(texts_from_json).transpose()?;
    let announced = Announced { from: marks.try_get::<_, Ms>(0)?.0, key };
    let mut outbox = Outbox::after(plan, last, now);
    let gone = announced.of_gone(gone);
    for ((start, dimensions), revision) in &gone {
        outbox.push(OutboxKind::Corrected, rollup, (*start, dimensions), *revision)?;
    }
    let lines = vanished(plan, rollup, &gone);
    if !lines.is_empty() {
        lines::append(lease, (&plan.stream.name, FileKind::Closed), &lines, now).await?;
    }
    let last = outbox.last;
    outbox.write(lease, &Faults::default()).await?;
    let sql = "UPDATE sg_streams SET outbox_last = $1 WHERE stream = $2";
    lease.execute(sql, &[&last, &rollup.stream]).await?;
    Ok(())
}

/// Locks the stream's row and reads what it guards: three statements, sent together and done one after the other.
async fn lock(lease: &Lease, plan: &Plan) -> Result<Marks, Error> {
    let stream = plan.stream.name.as_str();
    let names: Vec<&str> = plan.rollups.iter().map(|planned| planned.rollup.name.as_str()).collect();
    let of_stream =
        lease.statement("SELECT watermark, outbox_last FROM sg_streams WHERE stream = $1 FOR UPDATE").await?;
    let of_partitions =
        lease.statement("SELECT m, is_idle, said_at FROM sg_partitions WHERE stream = $1").await?;
    let of_rollups = lease
        .statement(
            "SELECT rollup, closed_to, announced_from, announced_key FROM sg_rollups WHERE rollup = ANY($1)",
        )
        .await?;
    let client = lease.client()?;
    let (by_stream, by_name): ([&(dyn ToSql + Sync); 1], [&(dyn ToSql + Sync); 1]) = ([&stream], [&names]);
    let (standing, partitions, rollups) = tokio::join!(
        client.query_opt(&of_stream, &by_stream),
        client.query(&of_partitions, &by_stream),
        client.query(&of_rollups, &by_name),
    );
    let Some(standing) = standing? else { return Err(answers::unknown_stream(stream).into()) };
    let mut states = Vec::new();
    for row in partitions? {
        let (Ms(m), is_idle, Ms(said_at)) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        states.push(PartitionState { m, is_idle, said_at });
    }
    let rollups = rollups?;
    let mut stored = Vec::with_capacity(names.len());
    for name in names {
        let mut found = None;
        for row in &rollups {
            if row.try_get::<_, &str>(0)? == name {
                let (Ms(closed_to), Ms(from)) = (row.try_get(1)?, row.try_get(2)?);
                let key = row.try_get::<_, Option<&str>>(3)?.map(texts_from_json).transpose()?;
                found = Some((closed_to, Announced { from, key }));
            }
        }
        stored.push(found.ok_or_else(|| answers::never_prepared(name))?);
    }
    let Ms(watermark) = standing.try_get(0)?;
    Ok(Marks { watermark, outbox_last: standing.try_get(1)?, partitions: states, rollups: stored })
}

/// Writes corrections for the flush's own cells in windows that are final by now. A window that another process closed
/// after the cells were written could not raise their revision then: it is raised here, where they are locked already.
async fn correct(
    lease: &Lease,
    (flush, index, standing): (&Arc<Flush>, usize, Standing),
    (closed_to, announced): (Timestamp, &Announced),
    outbox: &mut Outbox<'_>,
) -> Result<(), Error> {
    let rollup = &flush.plan.rollups[index].rollup;
    let found = cells::final_cells(rollup, &flush.rollups[index], standing, closed_to);
    if !found.since.is_empty() {
        cells::raise_revisions(lease, rollup, &found.since).await?;
    }
    // What is still to be announced will be announced with this change.
    let mut changed = found.windows;
    changed.retain(|(start, dimensions)| announced.includes(*start, dimensions));
    let revisions = cells::revisions(lease, rollup, &changed).await?;
    for ((start, dimensions), revision) in changed.iter().zip(revisions) {
        outbox.push(OutboxKind::Corrected, rollup, (*start, dimensions), revision)?;
    }
    Ok(())
}

/// Writes the windows between what was announced and `closed_to` to the outbox, as many as the budget allows.
async fn announce(
    lease: &Lease,
    outbox: &mut Outbox<'_>,
    rollup: &Rollup,
    announced: &Announced,
    closed_to: Timestamp,
    budget: &mut usize,
) -> Result<Announced, Error> {
    // A window that starts before this one has ended by `closed_to`.
    let end = window::start_of(closed_to.max(Timestamp(TIME_MIN_MS)), rollup.window_ms);
    if closed_to <= Timestamp(TIME_MIN_MS) || announced.from >= end || *budget == 0 {
        return Ok(announced.clone());
    }
    let mut rows = cells::windows_behind(lease, rollup, announced, end, *budget).await?;
    for (start, dimensions, revision) in &rows {
        outbox.push(OutboxKind::Closed, rollup, (*start, dimensions), *revision)?;
    }
    let is_whole = rows.len() < *budget;
    *budget -= rows.len();
    match rows.pop() {
        Some((start, dimensions, _)) if !is_whole => Ok(Announced { from: start, key: Some(dimensions) }),
        _ => Ok(Announced { from: end, key: None }),
    }
}
