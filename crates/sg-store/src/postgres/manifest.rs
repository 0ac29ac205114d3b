//! What the archive holds and how far it has come, inside the caller's transactions. Knows nothing of what lies in the
//! files. A partition's row here is the first lock of each; no flush takes it.

use sg_core::archive::FileKind;
use sg_core::flush::{Flush, Ledger, PartitionClock};
use sg_core::ports::{
    ArchiveClaim, ArchivePosition, ArchivedFile, Cut, DoomedFile, Intent, Kept, ManifestQuery, Mark,
};
use sg_core::time::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::answers::{self, FILES_PER_STEP};
use crate::faults::Faults;
use crate::lines::kind_from;
use crate::unfit::to_integer;

use super::error::Error;
use super::measures::count;
use super::pool::Lease;
use super::wire::Ms;

const POSITION: &str = "SELECT stream, partition, epoch, owner, first_offset, next_offset, removed_to, lost, log_identity \
                        FROM sg_archive_positions";

fn number(row: &Row, at: usize) -> Result<u32, Error> {
    Ok(u32::try_from(count(row, at)?).unwrap_or(u32::MAX))
}

fn position(row: &Row) -> Result<ArchivePosition, Error> {
    Ok(ArchivePosition {
        stream: row.try_get(0)?,
        partition: number(row, 1)?,
        epoch: row.try_get(2)?,
        owner: row.try_get(3)?,
        first_offset: count(row, 4)?,
        next_offset: count(row, 5)?,
        removed_to: count(row, 6)?,
        lost: count(row, 7)?,
    })
}

/// Takes a partition's archive over.
pub(crate) async fn claim(
    lease: &Lease,
    claim: &ArchiveClaim,
    now: Timestamp,
    faults: &Faults,
) -> Result<ArchivePosition, Error> {
    let (stream, partition) = (&claim.stream, i64::from(claim.partition));
    let sql = "INSERT INTO sg_archive_positions AS p VALUES ($1, $2, 1, $3, $4, $5, $5, $5, 0) \
               ON CONFLICT (stream, partition) DO UPDATE SET epoch = p.epoch + 1, owner = excluded.owner \
               WHERE p.log_identity = excluded.log_identity";
    let given: [&(dyn ToSql + Sync); 5] =
        [stream, &partition, &claim.owner, &claim.log_identity, &to_integer(claim.start)?];
    let claimed = lease.execute(sql, &given).await?;
    faults.step()?;
    let sql = format!("{POSITION} WHERE stream = $1 AND partition = $2");
    let rows = lease.query(&sql, &[stream, &partition]).await?;
    let row = rows.first().ok_or_else(|| Error::retry("claiming an archive: its row is gone"))?;
    if claimed != 1 {
        let identity: String = row.try_get(8)?;
        return Err(answers::another_log(stream, claim.partition, &identity, &claim.log_identity).into());
    }
    let sql = "UPDATE sg_archive_intents SET doomed_at = $3 WHERE stream = $1 AND partition = $2 \
               AND kind = 'raw' AND doomed_at IS NULL";
    lease.execute(sql, &[stream, &partition, &Ms(now)]).await?;
    faults.step()?;
    position(row)
}

/// Notes files before they are written; returns false when the epoch is another's.
pub(crate) async fn intend(lease: &Lease, intent: &Intent, now: Timestamp) -> Result<bool, Error> {
    if intent.kind != FileKind::Raw {
        insert_intents(lease, intent, now, None).await?;
        return Ok(true);
    }
    // Shared with nobody: a claim waits until the intents that it dooms are there.
    let sql = "SELECT epoch FROM sg_archive_positions WHERE stream = $1 AND partition = $2 FOR UPDATE";
    let row = lease.query_opt(sql, &[&intent.stream, &i64::from(intent.partition)]).await?;
    let epoch: Option<i64> = row.map(|row| row.try_get(0)).transpose()?;
    if epoch != Some(intent.epoch) {
        return Ok(false);
    }
    insert_intents(lease, intent, now, None).await?;
    Ok(true)
}

/// Dooms files that were written in vain.
pub(crate) async fn abandon(lease: &Lease, intent: &Intent, now: Timestamp) -> Result<(), Error> {
    insert_intents(lease, intent, now, Some(Ms(now))).await
}

async fn insert_intents(
    lease: &Lease,
    intent: &Intent,
    now: Timestamp,
    doomed_at: Option<Ms>,
) -> Result<(), Error> {
    let sql = "INSERT INTO sg_archive_intents AS i SELECT $1::text, given.path, $3::text, $4::bigint, $5::bigint, $6::timestamptz, $7::timestamptz, \
               $8::text FROM unnest($2::text[]) AS given (path) \
               WHERE $7::timestamptz IS NULL OR NOT EXISTS \
               (SELECT 1 FROM sg_archive_files f WHERE f.place = $1 AND f.path = given.path) \
               ON CONFLICT (place, path) DO UPDATE SET doomed_at = coalesce(i.doomed_at, excluded.doomed_at)";
    let kind = intent.kind.name();
    let given: [&(dyn ToSql + Sync); 8] = [
        &intent.place,
        &intent.paths,
        &intent.stream,
        &i64::from(intent.partition),
        &intent.epoch,
        &Ms(now),
        &doomed_at,
        &kind,
    ];
    lease.execute(sql, &given).await?;
    Ok(())
}

/// Takes a cut's files into the manifest; false when they may not come in, and the caller rolls back.
pub(crate) async fn commit(lease: &Lease, cut: &Cut, now: Timestamp, faults: &Faults) -> Result<bool, Error> {
    faults.step()?;
    // Invariant: nothing is written unless the archive stands where the cut begins.
    let sql = "UPDATE sg_archive_positions SET next_offset = $5, lost = lost + $6, \
               removed_to = CASE WHEN $6 > 0 THEN greatest(removed_to, $5) ELSE removed_to END \
               WHERE stream = $1 AND partition = $2 AND next_offset = $3 AND epoch = $4";
    let given: [&(dyn ToSql + Sync); 6] = [
        &cut.stream,
        &i64::from(cut.partition),
        &to_integer(cut.base)?,
        &cut.epoch,
        &to_integer(cut.end)?,
        &to_integer(cut.lost)?,
    ];
    if lease.execute(sql, &given).await? != 1 {
        return Ok(false);
    }
    take_in(lease, (&cut.place, cut.epoch), &cut.files, now, faults).await
}

/// Takes files into the manifest; false when one of them is not intended any more, and the caller rolls back.
pub(crate) async fn take_in(
    lease: &Lease,
    (place, epoch): (&str, i64),
    files: &[ArchivedFile],
    now: Timestamp,
    faults: &Faults,
) -> Result<bool, Error> {
    faults.step()?;
    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let sql = "DELETE FROM sg_archive_intents WHERE place = $1 AND path = ANY($2) AND epoch = $3 AND doomed_at IS NULL";
    if lease.execute(sql, &[&place, &paths, &epoch]).await? != paths.len() as u64 {
        return Ok(false);
    }
    for file in files {
        faults.step()?;
        let sql = "INSERT INTO sg_archive_files (place, path, stream, partition, from_offset, to_offset, rows, bytes, \
                   sha256, created_at, kind) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
        let given: [&(dyn ToSql + Sync); 11] = [
            &place,
            &file.path,
            &file.stream,
            &i64::from(file.partition),
            &to_integer(file.from)?,
            &to_integer(file.to)?,
            &to_integer(file.rows)?,
            &to_integer(file.bytes)?,
            &file.sha256,
            &Ms(now),
            &file.kind.name(),
        ];
        lease.execute(sql, &given).await?;
    }
    faults.step()?;
    Ok(true)
}

/// Dooms what was intended long ago.
pub(crate) async fn doom_intended(lease: &Lease, (before, now): (Timestamp, Timestamp)) -> Result<(), Error> {
    let sql = "UPDATE sg_archive_intents SET doomed_at = $1 WHERE intended_at < $2 AND doomed_at IS NULL";
    lease.execute(sql, &[&Ms(now), &Ms::bound(before)]).await?;
    Ok(())
}

/// Reads doomed files of a place by path, which is the order of the primary key.
pub(crate) async fn doomed(
    lease: &Lease,
    (place, after): (&str, &str),
    rows_max: usize,
) -> Result<Vec<DoomedFile>, Error> {
    let sql = "SELECT place, path, doomed_at FROM sg_archive_intents \
               WHERE place = $1 AND path > $2 AND doomed_at IS NOT NULL ORDER BY path LIMIT $3";
    let limit = i64::try_from(rows_max).unwrap_or(i64::MAX);
    let rows = lease.query(sql, &[&place, &after, &limit]).await?;
    let files = rows.iter().map(|row| {
        Ok(DoomedFile {
            place: row.try_get(0)?,
            path: row.try_get(1)?,
            doomed_at: row.try_get::<_, Ms>(2)?.0,
        })
    });
    files.collect()
}

/// Forgets doomed files.
pub(crate) async fn forget(lease: &Lease, files: &[DoomedFile]) -> Result<(), Error> {
    let sql = "DELETE FROM sg_archive_intents WHERE doomed_at IS NOT NULL AND (place, path) IN \
               (SELECT * FROM unnest($1::text[], $2::text[]))";
    let (places, paths): (Vec<&str>, Vec<&str>) =
        files.iter().map(|file| (file.place.as_str(), file.path.as_str())).unzip();
    lease.execute(sql, &[&places, &paths]).await?;
    Ok(())
}

/// Dooms some of a stream's files that are not kept; returns how many.
pub(crate) async fn retire(
    lease: &Lease,
    (stream, kind): (&str, FileKind),
    (kept, now): (Kept, Timestamp),
    faults: &Faults,
) -> Result<u64, Error> {
    let lock = "SELECT 1 FROM sg_archive_positions WHERE stream = $1 ORDER BY partition FOR UPDATE";
    lease.query(lock, &[&stream]).await?;
    faults.step()?;
    let kind = kind.name();
    let excess = match kept.bytes_max {
        None => 0,
        Some(bytes_max) => {
            let sql = "SELECT coalesce(sum(bytes), 0)::bigint FROM sg_archive_files WHERE stream = $1 AND kind = $2";
            let row = lease.query_opt(sql, &[&stream, &kind]).await?;
            let bytes: i64 = row.map_or(Ok(0), |row| row.try_get(0))?;
            bytes.saturating_sub(i64::try_from(bytes_max).unwrap_or(i64::MAX)).max(0)
        }
    };
    // A file goes while those from it on are more than is kept: what goes before it leaves an excess still.
    let sql = "WITH gone AS (DELETE FROM sg_archive_files WHERE id IN (SELECT id FROM (SELECT id, created_at, \
               coalesce(sum(bytes) OVER (ORDER BY created_at, id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) \
               AS before FROM (SELECT * FROM sg_archive_files WHERE stream = $1 AND kind = $5 \
               ORDER BY created_at, id LIMIT $4) AS first) AS oldest WHERE created_at < $2 OR before < $6::bigint) RETURNING *), \
               noted AS (INSERT INTO sg_archive_intents SELECT place, path, stream, partition, 0, $3::timestamptz, \
               $3::timestamptz, kind FROM gone), \
               moved AS (UPDATE sg_archive_positions AS p SET removed_to = greatest(p.removed_to, g.to_offset) \
               FROM (SELECT partition, max(to_offset) AS to_offset FROM gone GROUP BY partition) AS g \
               WHERE p.stream = $1 AND p.partition = g.partition) SELECT count(*) FROM gone";
    let since = Ms::bound(kept.since.unwrap_or(Timestamp::NEVER));
    let rows = lease.query(sql, &[&stream, &since, &Ms(now), &FILES_PER_STEP, &kind, &excess]).await?;
    faults.step()?;
    rows.first().map_or(Ok(0), |row| count(row, 0))
}

/// Reads how far every partition is archived.
pub(crate) async fn positions(lease: &Lease) -> Result<Vec<ArchivePosition>, Error> {
    let sql = format!("{POSITION} ORDER BY stream, partition");
    lease.query(&sql, &[]).await?.iter().map(position).collect()
}

/// Reads files of the manifest by id.
pub(crate) async fn files(lease: &Lease, query: &ManifestQuery) -> Result<Vec<ArchivedFile>, Error> {
    let sql = "SELECT id, place, path, stream, partition, from_offset, to_offset, rows, bytes, sha256, created_at, kind \
               FROM sg_archive_files WHERE id > $1 AND stream = coalesce($2, stream) \
               AND partition = coalesce($3, partition) AND to_offset > coalesce($4::bigint, -1) \
               AND from_offset < coalesce($5::bigint, 9223372036854775807) AND kind = coalesce($7::text, kind) \
               AND (kind = 'raw' OR coalesce($3::bigint, $4::bigint, $5::bigint) IS NULL) ORDER BY id LIMIT $6";
    let bound = |offset: Option<u64>| offset.map(|offset| i64::try_from(offset).unwrap_or(i64::MAX));
    let kind = query.kind.map(FileKind::name);
    let given: [&(dyn ToSql + Sync); 7] = [
        &query.after,
        &query.stream,
        &query.partition.map(i64::from),
        &bound(query.from),
        &bound(query.to),
        &i64::try_from(query.limit).unwrap_or(i64::MAX),
        &kind,
    ];
    let rows = lease.query(sql, &given).await?;
    let files = rows.iter().map(|row| {
        Ok(ArchivedFile {
            id: row.try_get(0)?,
            place: row.try_get(1)?,
            path: row.try_get(2)?,
            stream: row.try_get(3)?,
            partition: number(row, 4)?,
            from: count(row, 5)?,
            to: count(row, 6)?,
            rows: count(row, 7)?,
            bytes: count(row, 8)?,
            sha256: row.try_get(9)?,
            created_at: row.try_get::<_, Ms>(10)?.0,
            kind: kind_from(row.try_get(11)?)?,
        })
    });
    files.collect()
}

/// Writes a flush's mark, inside its transaction: what the partition's row says now.
pub(crate) async fn write_mark(lease: &Lease, flush: &Flush) -> Result<(), Error> {
    if !flush.marks() {
        return Ok(());
    }
    let sql = "INSERT INTO sg_marks SELECT stream, partition, next_offset, m, r, dedup_from, dedup_from_r, processed, \
               counted, duplicate, id_conflict, dead_lettered, deleted, skipped FROM sg_partitions \
               WHERE stream = $1 AND partition = $2 ON CONFLICT DO NOTHING";
    lease.execute(sql, &[&flush.plan.stream.name, &i64::from(flush.partition)]).await?;
    Ok(())
}

/// Reads a partition's marks.
pub(crate) async fn marks(lease: &Lease, stream: &str, partition: u32) -> Result<Vec<Mark>, Error> {
    let sql = "SELECT position, m, r, dedup_from, dedup_from_r, processed, counted, duplicate, id_conflict, \
               dead_lettered, deleted, skipped FROM sg_marks WHERE stream = $1 AND partition = $2 ORDER BY position";
    let rows = lease.query(sql, &[&stream, &i64::from(partition)]).await?;
    let marks = rows.iter().map(|row| {
        let (Ms(m), Ms(r), Ms(dedup_r)) = (row.try_get(1)?, row.try_get(2)?, row.try_get(4)?);
        let ledger = Ledger {
            processed: count(row, 5)?,
            counted: count(row, 6)?,
            duplicate: count(row, 7)?,
            id_conflict: count(row, 8)?,
            dead_lettered: count(row, 9)?,
            deleted: count(row, 10)?,
            skipped: count(row, 11)?,
        };
        let (clock, dedup_from) = (PartitionClock { m, r }, (count(row, 3)?, dedup_r));
        Ok(Mark { offset: count(row, 0)?, clock, dedup_from, ledger })
    });
    marks.collect()
}

/// Removes marks whose duplicate window is gone, and what is remembered of letters that nobody can read again.
pub(crate) async fn drop_marks(
    lease: &Lease,
    (stream, partition): (&str, u32),
    reach: u64,
) -> Result<(), Error> {
    let (partition, reach) = (i64::from(partition), to_integer(reach)?);
    let sql = "DELETE FROM sg_marks WHERE stream = $1 AND partition = $2 AND dedup_from < $3";
    lease.execute(sql, &[&stream, &partition, &reach]).await?;
    let sql = "DELETE FROM sg_removed_letters WHERE stream = $1 AND partition = $2 AND position < $3";
    lease.execute(sql, &[&stream, &partition, &reach]).await?;
    Ok(())
}
