//! Records that stand for dead letters: of all that stand for one letter, the first that is flushed is the one, whichever
//! partitions they are in. Two flushes that take one letter wait for each other, in the order of the letters.

use std::collections::HashSet;

use sg_core::flush::{Flush, Replay};
use sg_core::time::Timestamp;
use tokio_postgres::types::Type;

use crate::unfit::to_integer;

use super::cells::{arrays, parameters};
use super::error::Error;
use super::measures::count;
use super::pool::Lease;
use super::wire::{Column, Ms};

/// Takes each letter for the flush's record that stands for it; returns the offsets of records to be counted whose
/// letter another record has taken before.
pub(crate) async fn take(lease: &Lease, flush: &Flush, now: Timestamp) -> Result<Vec<u64>, Error> {
    const TYPES: [Type; 7] =
        [Type::TEXT, Type::INT8, Type::INT8, Type::INT8, Type::INT8, Type::INT8, Type::TIMESTAMPTZ];
    if flush.replays.is_empty() {
        return Ok(Vec::new());
    }
    let mut sorted: Vec<&Replay> = flush.replays.iter().collect();
    sorted.sort_by_key(|replay| (replay.letter, replay.offset));
    let mut columns: Vec<Column> = TYPES.iter().cloned().map(Column::of).collect();
    for replay in sorted {
        columns[0].push_text(&flush.plan.stream.name);
        columns[1].push_integer(i64::from(replay.letter.0));
        columns[2].push_integer(to_integer(replay.letter.1)?);
        columns[3].push_integer(i64::from(flush.partition));
        columns[4].push_integer(to_integer(replay.offset)?);
        columns[5].push_integer(i64::from(replay.is_counted));
        columns[6].push_time(now)?;
    }
    let sql = format!(
        "INSERT INTO sg_replays SELECT s, lp, lo, p, o, c <> 0, t FROM unnest({}) AS r(s, lp, lo, p, o, c, t) \
         ON CONFLICT DO NOTHING RETURNING position",
        arrays(&TYPES)
    );
    let rows = lease.query(&sql, &parameters(&columns)).await?;
    let taken: HashSet<u64> = rows.iter().map(|row| count(row, 0)).collect::<Result<_, _>>()?;
    let is_repeated = |replay: &&Replay| replay.is_counted && !taken.contains(&replay.offset);
    Ok(flush.replays.iter().filter(is_repeated).map(|replay| replay.offset).collect())
}

/// Marks the letters, and records that were to mend them in vain, as replayed.
pub(crate) async fn mark(lease: &Lease, flush: &Flush, now: Timestamp) -> Result<(), Error> {
    const TYPES: [Type; 2] = [Type::INT8, Type::INT8];
    if flush.replays.is_empty() {
        return Ok(());
    }
    let mut columns: Vec<Column> = TYPES.iter().cloned().map(Column::of).collect();
    for replay in &flush.replays {
        columns[0].push_integer(i64::from(replay.letter.0));
        columns[1].push_integer(to_integer(replay.letter.1)?);
    }
    let now = Ms(now);
    for same in [
        "d.partition = k.partition AND d.position = k.position",
        "d.replay_of_partition = k.partition AND d.replay_of_position = k.position",
    ] {
        let sql = format!(
            "UPDATE sg_dead_letters AS d SET replayed_at = $3 FROM unnest({}) AS k(partition, position) \
             WHERE d.stream = $4 AND d.replayed_at IS NULL AND {same}",
            arrays(&TYPES)
        );
        let mut given = parameters(&columns);
        given.push(&now);
        given.push(&flush.plan.stream.name);
        lease.execute(&sql, &given).await?;
    }
    Ok(())
}
