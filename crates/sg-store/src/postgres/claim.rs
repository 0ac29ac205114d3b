//! Taking a partition over, and reading where it stands. Folds nothing again: a rollup that missed records is marked
//! as incomplete; counting them is not this file's.

use sg_core::definition::Rollup;
use sg_core::flush::{Checkpoint, PartitionClock};
use sg_core::ports::Claim;
use sg_core::time::Timestamp;
use sg_core::window;
use tokio_postgres::types::ToSql;

use crate::answers;
use crate::faults::Faults;
use crate::place::position;
use crate::unfit::to_integer;

use super::error::Error;
use super::measures::count;
use super::pool::Lease;
use super::rewrite;
use super::wire::Ms;

/// Takes a partition over, inside the caller's transaction.
pub(crate) async fn claim(
    lease: &Lease,
    claim: &Claim,
    now: Timestamp,
    faults: &Faults,
) -> Result<Checkpoint, Error> {
    let stream = claim.plan.stream.name.as_str();
    // Fails here rather than at the first flush.
    if claim.plan.raw.is_some() {
        position(claim.partition, 0)?;
    }
    rewrite::keep_away(lease, stream).await?;
    faults.step()?;
    if !take_over(lease, claim, now).await? {
        let sql = "SELECT log_identity FROM sg_partitions WHERE stream = $1 AND partition = $2";
        let row = lease.query_opt(sql, &[&stream, &i64::from(claim.partition)]).await?;
        let stored: String = row.map(|row| row.try_get(0)).transpose()?.unwrap_or_default();
        return Err(answers::another_log(stream, claim.partition, &stored, &claim.log_identity).into());
    }
    faults.step()?;
    let checkpoint = checkpoint(lease, stream, claim.partition).await?;
    for planned in &claim.plan.rollups {
        register(lease, &planned.rollup, claim, &checkpoint).await?;
        faults.step()?;
    }
    Ok(checkpoint)
}

/// Makes the epoch grow, or the partition's row; returns false when its offsets belong to another log.
async fn take_over(lease: &Lease, claim: &Claim, now: Timestamp) -> Result<bool, Error> {
    let sql = "INSERT INTO sg_partitions AS p VALUES ($1, $2, 1, $3, $4, $5, $6, $6, $7, $7, $6, $7, false, $8, \
               0, 0, 0, 0, 0, 0, 0) ON CONFLICT (stream, partition) DO UPDATE SET epoch = p.epoch + 1, \
               owner = excluded.owner, definitions = excluded.definitions, is_idle = false, \
               said_at = excluded.said_at WHERE p.log_identity = excluded.log_identity";
    let given: [&(dyn ToSql + Sync); 8] = [
        &claim.plan.stream.name,
        &i64::from(claim.partition),
        &claim.owner,
        &claim.log_identity,
        &answers::definitions(&claim.plan),
        &to_integer(claim.start)?,
        &Ms(Timestamp::NEVER),
        &Ms(now),
    ];
    Ok(lease.execute(sql, &given).await? == 1)
}

/// Makes sure that the rollup is fed from here on, and marks it when records have passed it by.
async fn register(
    lease: &Lease,
    rollup: &Rollup,
    claim: &Claim,
    checkpoint: &Checkpoint,
) -> Result<(), Error> {
    let (partition, next) = (i64::from(claim.partition), to_integer(checkpoint.next_offset)?);
    let sql = "SELECT fed_to FROM sg_rollup_partitions WHERE rollup = $1 AND partition = $2";
    let fed_before: i64 = match lease.query_opt(sql, &[&rollup.name, &partition]).await? {
        Some(row) => row.try_get(0)?,
        None => {
            let sql = "INSERT INTO sg_rollup_partitions VALUES ($1, $2, $3, $3, 0, 0, 0, 0, 0)";
            lease.execute(sql, &[&rollup.name, &partition, &next]).await?;
            to_integer(checkpoint.first_offset)?
        }
    };
    if fed_before >= next {
        return Ok(());
    }
    let sql = "UPDATE sg_rollup_partitions SET fed_to = $3 WHERE rollup = $1 AND partition = $2";
    lease.execute(sql, &[&rollup.name, &partition, &next]).await?;
    if checkpoint.clock.m == Timestamp::NEVER {
        return Ok(());
    }
    // No record so far is dated later than the clock and what the future guard allows.
    let missed = checkpoint.clock.m.plus(claim.plan.stream.max_future);
    let complete_from = window::end_of(missed, rollup.window_ms);
    // Flushes of other partitions change rows of rollups under the stream's lock only: so do we.
    let lock = "SELECT 1 FROM sg_streams WHERE stream = $1 FOR UPDATE";
    lease.query_opt(lock, &[&claim.plan.stream.name]).await?;
    let sql = "UPDATE sg_rollups SET complete_from = greatest(complete_from, $1) WHERE rollup = $2";
    lease.execute(sql, &[&Ms(complete_from), &rollup.name]).await?;
    tracing::warn!(
        rollup = rollup.name, stream = rollup.stream, partition = claim.partition, %complete_from,
        "the rollup has not seen earlier records: its windows are complete from there, and all of them after \
         streamgauge rebuild --rollup {}", rollup.name
    );
    Ok(())
}

/// Reads where a partition stands.
pub(crate) async fn checkpoint(lease: &Lease, stream: &str, partition: u32) -> Result<Checkpoint, Error> {
    let number = i64::from(partition);
    let sql = "SELECT epoch, next_offset, first_offset, m, r, dedup_from, dedup_from_r FROM sg_partitions \
               WHERE stream = $1 AND partition = $2";
    let Some(row) = lease.query_opt(sql, &[&stream, &number]).await? else {
        return Err(answers::never_claimed("reading the checkpoint of", stream, partition).into());
    };
    let dedup_from = count(&row, 5)?;
    let sql = "SELECT position FROM sg_dead_letters WHERE stream = $1 AND partition = $2 AND position >= $3 \
               ORDER BY position";
    let dead = lease.query(sql, &[&stream, &number, &to_integer(dedup_from)?]).await?;
    Ok(Checkpoint {
        epoch: row.try_get(0)?,
        next_offset: count(&row, 1)?,
        first_offset: count(&row, 2)?,
        clock: PartitionClock { m: row.try_get::<_, Ms>(3)?.0, r: row.try_get::<_, Ms>(4)?.0 },
        dedup_from: (dedup_from, row.try_get::<_, Ms>(6)?.0),
        dead_offsets: dead.iter().map(|row| count(row, 0)).collect::<Result<_, _>>()?,
    })
}
