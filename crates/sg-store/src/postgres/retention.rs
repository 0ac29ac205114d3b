//! Upkeep, in steps so small that a flush hardly waits: removing what is older or more than its definition keeps, and giving
//! pieces of raw events that are full the indexes that would cost a flush too much. Each step keeps the
//! ledger's sums: what leaves the cells is counted as removed in its transaction, behind the locks of all partitions'
//! rows, which no flush then holds. Raw rows and letters are in no sum and need no such lock.

use std::time::Duration;

use sg_core::definition::{Keep, RawTable, Rollup, Stream};
use sg_core::limits::TIME_MIN_MS;
use sg_core::ports::{Removable, Removed};
use sg_core::time::{Timestamp, millis};
use sg_core::window;
use tokio_postgres::error::SqlState;

use crate::faults::Faults;
use crate::names::key_columns;
use crate::place::position;

use super::error::Error;
use super::levels;
use super::measures::count;
use super::pool::{Connections, Lease, Mode};
use super::tables::{PIECE_OFFSETS, cells_table, piece_table, raw_table};
use super::wire::Ms;
use super::{rewrite, sketches};

/// How long the removal of a whole piece waits for who reads the table: whoever comes meanwhile waits behind it.
const DETACH_WAIT_MS: u32 = 200;
/// The part of the time, or of the number, kept that rows of a full piece may stay beyond it, so that the piece can go as a whole.
const OVERSTAY: u32 = 10;

/// Takes one step; returns what it removed, if there was anything to do.
pub(crate) async fn retain(
    connections: &Connections,
    (stream, rollups): (&Stream, &[Rollup]),
    (now, rows_max): (Timestamp, usize),
    faults: &Faults,
) -> Result<Option<Removed>, Error> {
    let limit = i64::try_from(rows_max).unwrap_or(i64::MAX);
    let step = (now, limit);
    let some = |what, rows| Ok(Some(Removed { what, rows }));
    if let Some(raw) = &stream.raw_table {
        if let Some(rows) = remove_raw(connections, &stream.name, (step, raw), faults).await? {
            return some(Removable::RawRows, rows);
        }
        if seal_piece(connections, &stream.name, faults).await? {
            return some(Removable::RawRows, 0);
        }
    }
    for rollup in rollups {
        let lease = connections.begin(Mode::Durable).await?;
        let removed = remove_cells(&lease, rollup, step, faults).await;
        let removed = lease.finish(removed).await?;
        if removed > 0 {
            return some(Removable::Cells, removed);
        }
    }
    let lease = connections.begin(Mode::Durable).await?;
    let removed = remove_dead_letters(&lease, stream, step, faults).await;
    let removed = lease.finish(removed).await?;
    if removed > 0 {
        return some(Removable::DeadLetters, removed);
    }
    let lease = connections.begin(Mode::Durable).await?;
    let removed = remove_late(&lease, stream, step, faults).await;
    let removed = lease.finish(removed).await?;
    if removed > 0 { some(Removable::LateEvents, removed) } else { Ok(None) }
}

/// A piece of a raw table.
struct Piece {
    partition: u32,
    number: u64,
    /// Whether its partition has moved on to another.
    is_full: bool,
    oldest: Timestamp,
    newest: Timestamp,
    /// The first offset of its partition whose row is kept by number.
    kept_from: u64,
    /// How many records the partition keeps rows of.
    share: u64,
}

/// What is to be done with a partition's first piece.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// All its rows are old.
    Drop,
    /// Its old rows go one by one.
    Thin,
    /// Nothing in it is old, or it will go as a whole before long.
    Keep,
}

fn fate(piece: &Piece, now: Timestamp, keep: Duration) -> Fate {
    let oldest_kept = now.minus(keep);
    let first = piece.number * PIECE_OFFSETS;
    if piece.is_full && (piece.newest < oldest_kept || piece.kept_from >= first + PIECE_OFFSETS) {
        return Fate::Drop;
    }
    let is_small = piece.is_full && PIECE_OFFSETS <= piece.share / u64::from(OVERSTAY);
    if piece.kept_from > first && !is_small {
        return Fate::Thin;
    }
    let goes_soon = piece.is_full && piece.newest.0.saturating_sub(piece.oldest.0) <= millis(keep / OVERSTAY);
    if piece.oldest >= oldest_kept || goes_soon { Fate::Keep } else { Fate::Thin }
}

/// Removes raw rows that came before the time kept, or that are too many, from each partition's beginning on. Returns how
/// many, as far as they are counted; `None` when there was nothing to be removed.
async fn remove_raw(
    connections: &Connections,
    stream: &str,
    ((now, limit), raw): ((Timestamp, i64), &RawTable),
    faults: &Faults,
) -> Result<Option<u64>, Error> {
    let lease = connections.begin(Mode::Durable).await?;
    let pieces = first_pieces(&lease, stream, raw.rows_max).await;
    for piece in lease.finish(pieces).await? {
        match fate(&piece, now, raw.keep) {
            Fate::Keep => {}
            Fate::Drop => {
                if drop_piece(connections, stream, &piece, faults).await? {
                    return Ok(Some(0));
                }
            }
            Fate::Thin => {
                let removed =
                    thin_piece(connections, stream, &piece, (now.minus(raw.keep), limit), faults).await?;
                if removed > 0 {
                    return Ok(Some(removed));
                }
            }
        }
    }
    Ok(None)
}

/// Returns the first piece of each partition.
async fn first_pieces(lease: &Lease, stream: &str, rows_max: Option<u64>) -> Result<Vec<Piece>, Error> {
    let sql = "SELECT DISTINCT ON (partition) partition, piece, next_offset, oldest, newest, \
               (SELECT count(*) FROM sg_partitions q WHERE q.stream = $1) FROM sg_raw_pieces \
               JOIN sg_partitions USING (stream, partition) WHERE stream = $1 ORDER BY partition, piece";
    let rows = lease.query(sql, &[&stream]).await?;
    let pieces = rows.iter().map(|row| {
        let (number, next_offset) = (count(row, 1)?, count(row, 2)?);
        let partitions = count(row, 5)?.max(1);
        let share = rows_max.map_or(u64::MAX, |rows_max| rows_max / partitions);
        Ok(Piece {
            partition: u32::try_from(count(row, 0)?).unwrap_or(u32::MAX),
            number,
            is_full: next_offset >= (number + 1) * PIECE_OFFSETS,
            oldest: row.try_get::<_, Ms>(3)?.0,
            newest: row.try_get::<_, Ms>(4)?.0,
            kept_from: next_offset.saturating_sub(share),
            share,
        })
    });
    pieces.collect()
}

/// Removes a piece as a whole; returns false when somebody reads the table for too long: then another time.
async fn drop_piece(
    connections: &Connections,
    stream: &str,
    piece: &Piece,
    faults: &Faults,
) -> Result<bool, Error> {
    let (table, parent) = (piece_table(stream, piece.partition, piece.number), raw_table(stream));
    let lease = connections.begin(Mode::Durable).await?;
    let removed = async {
        let sql = "DELETE FROM sg_raw_pieces WHERE stream = $1 AND partition = $2 AND piece = $3";
        let number = i64::try_from(piece.number).unwrap_or(i64::MAX);
        if lease.execute(sql, &[&stream, &i64::from(piece.partition), &number]).await? == 0 {
            // Another process was quicker.
            return Ok(false);
        }
        faults.step()?;
        let sql = format!(
            "SET LOCAL lock_timeout = {DETACH_WAIT_MS}; ALTER TABLE {parent} DETACH PARTITION {table}; DROP TABLE {table}"
        );
        lease.client()?.batch_execute(&sql).await?;
        Ok(true)
    };
    let removed = removed.await;
    match lease.finish(removed).await {
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
            tracing::debug!(
                stream,
                piece = piece.number,
                "a piece of raw events is read: it is removed later"
            );
            Ok(false)
        }
        removed => removed,
    }
}

/// Removes a step's rows that are not kept from the beginning of a piece; returns how many.
async fn thin_piece(
    connections: &Connections,
    stream: &str,
    piece: &Piece,
    (oldest, limit): (Timestamp, i64),
    faults: &Faults,
) -> Result<u64, Error> {
    let lease = connections.begin(Mode::Durable).await?;
    let table = piece_table(stream, piece.partition, piece.number);
    let sql = format!(
        "DELETE FROM {table} WHERE position IN (SELECT position FROM (SELECT position, received_at FROM {table} \
         ORDER BY position LIMIT $1) AS first WHERE received_at < $2 OR position < $3)"
    );
    let removed = async {
        let kept_from = position(piece.partition, piece.kept_from)?;
        let removed = lease.execute(&sql, &[&limit, &Ms::bound(oldest), &kept_from]).await?;
        faults.step()?;
        Ok(removed)
    };
    let removed = removed.await;
    lease.finish(removed).await
}

/// Gives one full piece its other indexes: by session and by type. Made at once over rows that stay as they are, they
/// take a second or two; kept up row by row they would take a third of the flushes' speed. Only who would write to the
/// piece waits meanwhile, and nobody does.
async fn seal_piece(connections: &Connections, stream: &str, faults: &Faults) -> Result<bool, Error> {
    let lease = connections.begin(Mode::Schema).await?;
    let sealed = try_seal(&lease, stream, faults).await;
    lease.finish(sealed).await
}

async fn try_seal(lease: &Lease, stream: &str, faults: &Faults) -> Result<bool, Error> {
    let sql = "SELECT partition, piece FROM sg_raw_pieces r JOIN sg_partitions p USING (stream, partition) \
               WHERE stream = $1 AND NOT is_sealed AND next_offset >= (piece + 1) * $2::bigint \
               ORDER BY piece, partition LIMIT 1 FOR UPDATE OF r SKIP LOCKED";
    let Some(row) = lease.query_opt(sql, &[&stream, &(PIECE_OFFSETS as i64)]).await? else {
        return Ok(false);
    };
    let (partition, piece) = (count(&row, 0)?, count(&row, 1)?);
    let table = piece_table(stream, u32::try_from(partition).unwrap_or(u32::MAX), piece);
    let sql = format!(
        "CREATE INDEX ON {table} USING hash (session_id) WHERE session_id IS NOT NULL; \
         CREATE INDEX ON {table} (event_name, event_time, position); ANALYZE {table}"
    );
    lease.client()?.batch_execute(&sql).await?;
    faults.step()?;
    let sql = "UPDATE sg_raw_pieces SET is_sealed = true WHERE stream = $1 AND partition = $2 AND piece = $3";
    let (partition, piece): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    lease.execute(sql, &[&stream, &partition, &piece]).await?;
    Ok(true)
}

/// Removes cells of windows that lie further back than is kept, counted from the stream's newest data where the clock
/// is ahead of it: what is read again from long ago stays until something newer comes. The watermark would not do, it
/// follows the clock while all partitions are idle. Only announced windows go.
async fn remove_cells(
    lease: &Lease,
    rollup: &Rollup,
    (now, limit): (Timestamp, i64),
    faults: &Faults,
) -> Result<u64, Error> {
    // A look without locks first: most of the time there is nothing to do.
    if first_old_cell(lease, rollup, now).await?.is_none() {
        return Ok(0);
    }
    rewrite::lock(lease, &rollup.stream).await?;
    faults.step()?;
    let Some(removed_before) = first_old_cell(lease, rollup, now).await? else { return Ok(0) };
    let (table, key) = (cells_table(&rollup.name), key_columns(rollup).join(", "));
    let sql = format!(
        "WITH old AS (SELECT ctid FROM {table} WHERE pane < $1 ORDER BY {key} LIMIT $2), \
         gone AS (DELETE FROM {table} AS c USING old WHERE c.ctid = old.ctid RETURNING c.*){}{} \
         SELECT count(*), coalesce(sum(events), 0)::bigint FROM gone",
        levels::retire(rollup),
        sketches::retire(rollup),
    );
    let rows = lease.query(&sql, &[&Ms(removed_before), &limit]).await?;
    let Some(row) = rows.first() else { return Ok(0) };
    faults.step()?;
    let (cells, events): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    levels::sweep(lease, rollup, removed_before).await?;
    let sql = "UPDATE sg_rollups SET removed_before = $1, removed = removed + $2 WHERE rollup = $3";
    lease.execute(sql, &[&Ms(removed_before), &events, &rollup.name]).await?;
    faults.step()?;
    Ok(cells.unsigned_abs())
}

/// Returns where the windows to be kept begin, if there is a cell before.
async fn first_old_cell(lease: &Lease, rollup: &Rollup, now: Timestamp) -> Result<Option<Timestamp>, Error> {
    let sql = "SELECT (SELECT max(m) FROM sg_partitions p WHERE p.stream = r.stream), announced_from, removed_before \
               FROM sg_rollups r WHERE rollup = $1";
    let Some(row) = lease.query_opt(sql, &[&rollup.name]).await? else { return Ok(None) };
    let newest = row.try_get::<_, Option<Ms>>(0)?.map_or(Timestamp::NEVER, |Ms(newest)| newest);
    let (Ms(announced_from), Ms(stored)) = (row.try_get(1)?, row.try_get(2)?);
    let oldest = Timestamp(now.min(newest).0.saturating_sub(rollup.keep_ms)).min(announced_from);
    if oldest <= Timestamp(TIME_MIN_MS) {
        return Ok(None);
    }
    let removed_before = window::start_of(oldest, rollup.window_ms).max(stored);
    let sql = format!("SELECT 1 FROM {} WHERE pane < $1 LIMIT 1", cells_table(&rollup.name));
    Ok(lease.query_opt(&sql, &[&Ms(removed_before)]).await?.map(|_| removed_before))
}

/// Removes dead letters that are old or too many, and that no rebuild of a duplicate window needs; that they were letters
/// stays known.
async fn remove_dead_letters(
    lease: &Lease,
    stream: &Stream,
    (now, limit): (Timestamp, i64),
    faults: &Faults,
) -> Result<u64, Error> {
    let oldest = Ms::bound(now.minus(stream.letters.dead_letters.age));
    let sql = remove_keeping_places(
        "SELECT id FROM sg_dead_letters JOIN sg_partitions USING (stream, partition) \
                                     WHERE stream = $1 AND stored_at < $2 AND position < dedup_from LIMIT $3",
    );
    let letters = lease.execute(&sql, &[&stream.name, &oldest, &limit]).await?;
    faults.step()?;
    let sql =
        "SELECT id FROM sg_dead_letters WHERE stream = $1 ORDER BY stored_at DESC, id DESC OFFSET $2 LIMIT 1";
    let last = surplus(lease, sql, stream, stream.letters.dead_letters).await?;
    let (0, Some(last)) = (letters, last) else { return Ok(letters) };
    let sql = remove_keeping_places(
        "SELECT id FROM sg_dead_letters JOIN sg_partitions USING (stream, partition) \
                                     WHERE stream = $1 AND id <= $2 AND position < dedup_from \
                                     ORDER BY stored_at LIMIT $3",
    );
    let letters = lease.execute(&sql, &[&stream.name, &last, &limit]).await?;
    faults.step()?;
    Ok(letters)
}

/// Returns the statement that removes the letters with the ids of a question, and keeps that they were letters.
fn remove_keeping_places(ids: &str) -> String {
    format!(
        "WITH gone AS (DELETE FROM sg_dead_letters WHERE id IN ({ids}) RETURNING stream, partition, position, reason) \
         INSERT INTO sg_removed_letters SELECT * FROM gone ON CONFLICT (stream, partition, position) \
         DO UPDATE SET reason = excluded.reason"
    )
}

/// Returns the newest row that is too many, by its id.
async fn surplus(lease: &Lease, sql: &str, stream: &Stream, keep: Keep) -> Result<Option<i64>, Error> {
    let Some(rows_max) = keep.rows_max else { return Ok(None) };
    let rows_max = i64::try_from(rows_max).unwrap_or(i64::MAX);
    let row = lease.query_opt(sql, &[&stream.name, &rows_max]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// Removes late events that are old or too many.
async fn remove_late(
    lease: &Lease,
    stream: &Stream,
    (now, limit): (Timestamp, i64),
    faults: &Faults,
) -> Result<u64, Error> {
    let sql = "SELECT id FROM sg_late WHERE rollup IN (SELECT rollup FROM sg_rollups WHERE stream = $1) \
               ORDER BY id DESC OFFSET $2 LIMIT 1";
    let last = surplus(lease, sql, stream, stream.letters.late).await?.unwrap_or(i64::MIN);
    let oldest = Ms::bound(now.minus(stream.letters.late.age));
    for row in lease.query("SELECT rollup FROM sg_rollups WHERE stream = $1", &[&stream.name]).await? {
        let rollup: &str = row.try_get(0)?;
        let sql = "DELETE FROM sg_late WHERE id IN (SELECT id FROM (SELECT id, stored_at FROM sg_late \
                   WHERE rollup = $1 ORDER BY id LIMIT $2) AS first WHERE stored_at < $3 OR id <= $4)";
        let removed = lease.execute(sql, &[&rollup, &limit, &oldest, &last]).await?;
        faults.step()?;
        if removed > 0 {
            return Ok(removed);
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests;
