//! Records that stand for dead letters: of all that stand for one letter, the first that is flushed is the one.

use rusqlite::{Connection, params};
use sg_core::flush::Flush;
use sg_core::time::Timestamp;

use crate::unfit::to_integer;

use super::error::Error;

/// Takes each letter for the flush's record that stands for it; returns the offsets of records to be counted whose
/// letter another record has taken before.
pub(crate) fn take(connection: &Connection, flush: &Flush, now: Timestamp) -> Result<Vec<u64>, Error> {
    let mut repeated = Vec::new();
    let mut insert = connection
        .prepare_cached("INSERT INTO sg_replays VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING")?;
    for replay in &flush.replays {
        let (partition, offset) = replay.letter;
        let rows = insert.execute(params![
            flush.plan.stream.name,
            partition,
            to_integer(offset)?,
            flush.partition,
            to_integer(replay.offset)?,
            replay.is_counted,
            now.0
        ])?;
        if rows == 0 && replay.is_counted {
            repeated.push(replay.offset);
        }
    }
    Ok(repeated)
}

/// Marks the letters, and records that were to mend them in vain, as replayed.
pub(crate) fn mark(connection: &Connection, flush: &Flush, now: Timestamp) -> Result<(), Error> {
    let mut update = connection.prepare_cached(
        "UPDATE sg_dead_letters SET replayed_at = ?4 WHERE stream = ?1 AND replayed_at IS NULL \
         AND ((partition = ?2 AND position = ?3) OR (replay_of_partition = ?2 AND replay_of_position = ?3))",
    )?;
    for replay in &flush.replays {
        let (partition, offset) = replay.letter;
        update.execute(params![flush.plan.stream.name, partition, to_integer(offset)?, now.0])?;
    }
    Ok(())
}
