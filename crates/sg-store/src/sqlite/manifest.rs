//! What the archive holds and how far it has come. Knows nothing of what lies in the files.

use rusqlite::{Connection, OptionalExtension, Row, params};
use sg_core::archive::FileKind;
use sg_core::flush::{Flush, Ledger, PartitionClock};
use sg_core::ports::{
    ArchiveClaim, ArchivePosition, ArchivedFile, Cut, DoomedFile, Intent, Kept, ManifestQuery, Mark,
};
use sg_core::time::Timestamp;

use crate::answers::{self, FILES_PER_STEP};
use crate::faults::Faults;
use crate::lines::kind_from;
use crate::unfit::to_integer;

use super::error::{Error, from_integer};

const POSITION: &str = "SELECT stream, partition, epoch, owner, first_offset, next_offset, removed_to, lost, log_identity \
                        FROM sg_archive_positions";

fn position(row: &Row<'_>) -> Result<ArchivePosition, rusqlite::Error> {
    Ok(ArchivePosition {
        stream: row.get(0)?,
        partition: row.get(1)?,
        epoch: row.get(2)?,
        owner: row.get(3)?,
        first_offset: from_integer(row.get(4)?)?,
        next_offset: from_integer(row.get(5)?)?,
        removed_to: from_integer(row.get(6)?)?,
        lost: from_integer(row.get(7)?)?,
    })
}

/// Takes a partition's archive over in one transaction.
pub(crate) fn claim(
    connection: &mut Connection,
    claim: &ArchiveClaim,
    now: Timestamp,
) -> Result<ArchivePosition, Error> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let (stream, partition) = (claim.stream.as_str(), claim.partition);
    let start = to_integer(claim.start)?;
    let claimed = transaction
        .prepare_cached(
            "INSERT INTO sg_archive_positions VALUES (?1, ?2, 1, ?3, ?4, ?5, ?5, ?5, 0) ON CONFLICT DO UPDATE \
             SET epoch = epoch + 1, owner = excluded.owner WHERE log_identity = excluded.log_identity",
        )?
        .execute(params![stream, partition, claim.owner, claim.log_identity, start])?;
    let sql = format!("{POSITION} WHERE stream = ? AND partition = ?");
    let (position, identity) = transaction
        .prepare_cached(&sql)?
        .query_row(params![stream, partition], |row| Ok((position(row)?, row.get::<_, String>(8)?)))?;
    if claimed != 1 {
        return Err(answers::another_log(stream, partition, &identity, &claim.log_identity).into());
    }
    transaction
        .prepare_cached(
            "UPDATE sg_archive_intents SET doomed_at = ?3 WHERE stream = ?1 AND partition = ?2 \
             AND kind = 'raw' AND doomed_at IS NULL",
        )?
        .execute(params![stream, partition, now.0])?;
    transaction.commit()?;
    Ok(position)
}

/// Notes files before they are written; returns false when the epoch is another's.
pub(crate) fn intend(connection: &mut Connection, intent: &Intent, now: Timestamp) -> Result<bool, Error> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let epoch: Option<i64> =
        if intent.kind == FileKind::Raw { epoch(&transaction, intent)? } else { Some(0) };
    if epoch != Some(intent.epoch) {
        return Ok(false);
    }
    insert_intents(&transaction, intent, now, None)?;
    transaction.commit()?;
    Ok(true)
}

fn epoch(connection: &Connection, intent: &Intent) -> Result<Option<i64>, Error> {
    let epoch = connection
        .prepare_cached("SELECT epoch FROM sg_archive_positions WHERE stream = ? AND partition = ?")?
        .query_row(params![intent.stream, intent.partition], |row| row.get(0))
        .optional()?;
    Ok(epoch)
}

fn insert_intents(
    connection: &Connection,
    intent: &Intent,
    now: Timestamp,
    doomed_at: Option<Timestamp>,
) -> Result<(), Error> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO sg_archive_intents SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 WHERE ?7 IS NULL OR NOT EXISTS \
         (SELECT 1 FROM sg_archive_files WHERE place = ?1 AND path = ?2) \
         ON CONFLICT DO UPDATE SET doomed_at = coalesce(doomed_at, excluded.doomed_at)",
    )?;
    for path in &intent.paths {
        statement.execute(params![
            intent.place,
            path,
            intent.stream,
            intent.partition,
            intent.epoch,
            now.0,
            doomed_at.map(|at| at.0),
            intent.kind.name()
        ])?;
    }
    Ok(())
}

/// Takes a cut's files into the manifest, all or nothing.
pub(crate) fn commit(
    connection: &mut Connection,
    cut: &Cut,
    now: Timestamp,
    faults: &Faults,
) -> Result<bool, Error> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    faults.step()?;
    // Invariant: nothing is written unless the archive stands where the cut begins.
    let moved = transaction
        .prepare_cached(
            "UPDATE sg_archive_positions SET next_offset = ?5, lost = lost + ?6, \
             removed_to = CASE WHEN ?6 > 0 THEN max(removed_to, ?5) ELSE removed_to END \
             WHERE stream = ?1 AND partition = ?2 AND next_offset = ?3 AND epoch = ?4",
        )?
        .execute(params![
            cut.stream,
            cut.partition,
            to_integer(cut.base)?,
            cut.epoch,
            to_integer(cut.end)?,
            to_integer(cut.lost)?
        ])?;
    if moved != 1 {
        return Ok(false);
    }
    if !take_in(&transaction, (&cut.files, cut.epoch), now, faults)? {
        return Ok(false);
    }
    faults.step()?;
    transaction.commit()?;
    // From here on it is written: a failure means that the caller does not know.
    faults.step()?;
    Ok(true)
}

/// Takes files into the manifest, inside the caller's transaction; false when one is not intended any more.
pub(crate) fn take_in(
    connection: &Connection,
    (files, epoch): (&[ArchivedFile], i64),
    now: Timestamp,
    faults: &Faults,
) -> Result<bool, Error> {
    for file in files {
        faults.step()?;
        let intended = connection
            .prepare_cached(
                "DELETE FROM sg_archive_intents WHERE place = ? AND path = ? AND epoch = ? AND doomed_at IS NULL",
            )?
            .execute(params![file.place, file.path, epoch])?;
        if intended != 1 {
            return Ok(false);
        }
        connection
            .prepare_cached("INSERT INTO sg_archive_files VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?
            .execute(params![
                file.place,
                file.path,
                file.stream,
                file.partition,
                to_integer(file.from)?,
                to_integer(file.to)?,
                to_integer(file.rows)?,
                to_integer(file.bytes)?,
                file.sha256,
                now.0,
                file.kind.name()
            ])?;
    }
    Ok(true)
}

/// Dooms files that were written in vain.
pub(crate) fn abandon(connection: &mut Connection, intent: &Intent, now: Timestamp) -> Result<(), Error> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    insert_intents(&transaction, intent, now, Some(now))?;
    transaction.commit()?;
    Ok(())
}

/// Dooms what was intended long ago.
pub(crate) fn doom_intended(
    connection: &Connection,
    (before, now): (Timestamp, Timestamp),
) -> Result<(), Error> {
    connection
        .prepare_cached(
            "UPDATE sg_archive_intents SET doomed_at = ?1 WHERE intended_at < ?2 AND doomed_at IS NULL",
        )?
        .execute(params![now.0, before.0])?;
    Ok(())
}

/// Reads doomed files of a place by path, which is the order of the table.
pub(crate) fn doomed(
    connection: &Connection,
    (place, after): (&str, &str),
    rows_max: usize,
) -> Result<Vec<DoomedFile>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT place, path, doomed_at FROM sg_archive_intents \
         WHERE place = ? AND path > ? AND doomed_at IS NOT NULL ORDER BY path LIMIT ?",
    )?;
    let limit = i64::try_from(rows_max).unwrap_or(i64::MAX);
    let rows = statement.query_map(params![place, after, limit], |row| {
        Ok(DoomedFile { place: row.get(0)?, path: row.get(1)?, doomed_at: Timestamp(row.get(2)?) })
    })?;
    rows.collect::<Result<_, _>>().map_err(Error::from)
}

/// Forgets doomed files.
pub(crate) fn forget(connection: &mut Connection, files: &[DoomedFile]) -> Result<(), Error> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for file in files {
        transaction
            .prepare_cached(
                "DELETE FROM sg_archive_intents WHERE place = ? AND path = ? AND doomed_at IS NOT NULL",
            )?
            .execute(params![file.place, file.path])?;
    }
    transaction.commit()?;
    Ok(())
}

/// Dooms some of a stream's files that are not kept; returns how many.
pub(crate) fn retire(
    connection: &mut Connection,
    (stream, kind): (&str, FileKind),
    (kept, now): (Kept, Timestamp),
    faults: &Faults,
) -> Result<u64, Error> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let excess = excess(&transaction, (stream, kind), kept.bytes_max)?;
    let since = kept.since.unwrap_or(Timestamp::NEVER);
    // A file goes while those from it on are more than is kept: what goes before it leaves an excess still.
    let old: Vec<(i64, u32, i64)> = transaction
        .prepare_cached(
            "SELECT id, partition, to_offset FROM (SELECT id, partition, to_offset, created_at, \
             coalesce(sum(bytes) OVER (ORDER BY created_at, id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) \
             AS before FROM (SELECT * FROM sg_archive_files WHERE stream = ?1 AND kind = ?2 \
             ORDER BY created_at, id LIMIT ?5)) WHERE created_at < ?3 OR before < ?4",
        )?
        .query_map(params![stream, kind.name(), since.0, excess, FILES_PER_STEP], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?
        .collect::<Result<_, _>>()?;
    for (id, partition, to) in &old {
        faults.step()?;
        transaction
            .prepare_cached(
                "INSERT INTO sg_archive_intents SELECT place, path, stream, partition, 0, ?2, ?2, kind \
                 FROM sg_archive_files WHERE id = ?1",
            )?
            .execute(params![id, now.0])?;
        transaction.prepare_cached("DELETE FROM sg_archive_files WHERE id = ?")?.execute([id])?;
        transaction
            .prepare_cached(
                "UPDATE sg_archive_positions SET removed_to = max(removed_to, ?3) WHERE stream = ?1 AND partition = ?2",
            )?
            .execute(params![stream, partition, to])?;
    }
    transaction.commit()?;
    Ok(old.len() as u64)
}

/// Returns how many bytes a stream's files have beyond what is kept.
fn excess(
    connection: &Connection,
    (stream, kind): (&str, FileKind),
    bytes_max: Option<u64>,
) -> Result<i64, Error> {
    let Some(bytes_max) = bytes_max else { return Ok(0) };
    let bytes: i64 = connection
        .prepare_cached("SELECT coalesce(sum(bytes), 0) FROM sg_archive_files WHERE stream = ? AND kind = ?")?
        .query_row(params![stream, kind.name()], |row| row.get(0))?;
    Ok(bytes.saturating_sub(i64::try_from(bytes_max).unwrap_or(i64::MAX)).max(0))
}

/// Reads how far every partition is archived.
pub(crate) fn positions(connection: &Connection) -> Result<Vec<ArchivePosition>, Error> {
    let sql = format!("{POSITION} ORDER BY stream, partition");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([], position)?;
    rows.collect::<Result<_, _>>().map_err(Error::from)
}

/// Reads files of the manifest by id.
pub(crate) fn files(connection: &Connection, query: &ManifestQuery) -> Result<Vec<ArchivedFile>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT id, place, path, stream, partition, from_offset, to_offset, rows, bytes, sha256, created_at, kind \
         FROM sg_archive_files WHERE id > ?1 AND stream = coalesce(?2, stream) AND partition = coalesce(?3, partition) \
         AND to_offset > coalesce(?4, -1) AND from_offset < coalesce(?5, 9223372036854775807) \
         AND kind = coalesce(?6, kind) AND (kind = 'raw' OR coalesce(?3, ?4, ?5) IS NULL) ORDER BY id LIMIT ?7",
    )?;
    let bound = |offset: Option<u64>| offset.map(|offset| i64::try_from(offset).unwrap_or(i64::MAX));
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let given = params![
        query.after,
        query.stream,
        query.partition,
        bound(query.from),
        bound(query.to),
        query.kind.map(FileKind::name),
        limit
    ];
    let rows = statement.query_map(given, |row| {
        let file = ArchivedFile {
            id: row.get(0)?,
            place: row.get(1)?,
            path: row.get(2)?,
            stream: row.get(3)?,
            partition: row.get(4)?,
            from: from_integer(row.get(5)?)?,
            to: from_integer(row.get(6)?)?,
            rows: from_integer(row.get(7)?)?,
            bytes: from_integer(row.get(8)?)?,
            sha256: row.get(9)?,
            created_at: Timestamp(row.get(10)?),
            kind: FileKind::Raw,
        };
        Ok((file, row.get::<_, String>(11)?))
    })?;
    let mut files = Vec::new();
    for row in rows {
        let (file, kind) = row?;
        files.push(ArchivedFile { kind: kind_from(&kind)?, ..file });
    }
    Ok(files)
}

/// Writes a flush's mark, inside its transaction: what the partition's row says now.
pub(crate) fn write_mark(connection: &Connection, flush: &Flush) -> Result<(), Error> {
    if !flush.marks() {
        return Ok(());
    }
    connection
        .prepare_cached(
            "INSERT INTO sg_marks SELECT stream, partition, next_offset, m, r, dedup_from, dedup_from_r, processed, \
             counted, duplicate, id_conflict, dead_lettered, deleted, skipped FROM sg_partitions \
             WHERE stream = ? AND partition = ? ON CONFLICT DO NOTHING",
        )?
        .execute(params![flush.plan.stream.name, flush.partition])?;
    Ok(())
}

/// Reads a partition's marks.
pub(crate) fn marks(connection: &Connection, stream: &str, partition: u32) -> Result<Vec<Mark>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT position, m, r, dedup_from, dedup_from_r, processed, counted, duplicate, id_conflict, dead_lettered, \
         deleted, skipped FROM sg_marks WHERE stream = ? AND partition = ? ORDER BY position",
    )?;
    let rows = statement.query_map(params![stream, partition], |row| {
        let count = |at: usize| from_integer(row.get(at)?);
        Ok(Mark {
            offset: count(0)?,
            clock: PartitionClock { m: Timestamp(row.get(1)?), r: Timestamp(row.get(2)?) },
            dedup_from: (count(3)?, Timestamp(row.get(4)?)),
            ledger: Ledger {
                processed: count(5)?,
                counted: count(6)?,
                duplicate: count(7)?,
                id_conflict: count(8)?,
                dead_lettered: count(9)?,
                deleted: count(10)?,
                skipped: count(11)?,
            },
        })
    })?;
    rows.collect::<Result<_, _>>().map_err(Error::from)
}

/// Removes marks whose duplicate window is gone, and what is remembered of letters that nobody can read again.
pub(crate) fn drop_marks(
    connection: &Connection,
    (stream, partition): (&str, u32),
    reach: u64,
) -> Result<(), Error> {
    connection
        .prepare_cached("DELETE FROM sg_marks WHERE stream = ? AND partition = ? AND dedup_from < ?")?
        .execute(params![stream, partition, to_integer(reach)?])?;
    connection
        .prepare_cached("DELETE FROM sg_removed_letters WHERE stream = ? AND partition = ? AND position < ?")?
        .execute(params![stream, partition, to_integer(reach)?])?;
    Ok(())
}
