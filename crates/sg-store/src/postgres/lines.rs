//! Lines that wait for files of the archive: written by a closing inside its transaction, behind the lock of the stream's
//! row, so that their ids follow each other in the order of the commits; taken in their order by one process, which holds
//! a lock as the outbox's sender does, and deleted in the transaction that takes their files into the manifest. Two
//! processes that both believe to have a lane write no line twice: whoever deletes second finds nothing.

use sg_core::archive::FileKind;
use sg_core::flush::Flush;
use sg_core::limits::OUTBOX_BYTES_AT_ONCE;
use sg_core::plan::Plan;
use sg_core::ports::{Intent, Line, LineCut, LinesStatus};
use sg_core::time::Timestamp;
use tokio_postgres::types::{ToSql, Type};

use crate::answers;
use crate::faults::Faults;
use crate::lines::{self, Lines, ToldCells, last_column};

use super::cells::{self, arrays};
use super::error::Error;
use super::manifest;
use super::measures::count;
use super::outbox::Sender;
use super::pool::{Connections, Lease};
use super::wire::{Column, Ms};

/// The types of a line's columns.
const LINE: [Type; 6] =
    [Type::TEXT, Type::TEXT, Type::INT8, Type::TIMESTAMPTZ, Type::TIMESTAMPTZ, Type::TEXT];

/// Writes the lines of a closing: of the cells that it told of, and of the events that its flush diverted.
pub(crate) async fn write(
    lease: &Lease,
    plan: &Plan,
    (own, told): (Option<&Flush>, ToldCells),
    now: Timestamp,
    faults: &Faults,
) -> Result<(), Error> {
    let mut closed = Vec::new();
    for question in told.questions(plan) {
        closed.extend(question.lines(cells::read(lease, &question.query).await?));
    }
    let late = own.map(lines::late).unwrap_or_default();
    for (kind, lines) in [(FileKind::Closed, closed), (FileKind::Late, late)] {
        if !lines.is_empty() {
            append(lease, (&plan.stream.name, kind), &lines, now).await?;
            faults.step()?;
        }
    }
    Ok(())
}

/// Appends lines of one kind.
pub(super) async fn append(
    lease: &Lease,
    (stream, kind): (&str, FileKind),
    lines: &Lines,
    now: Timestamp,
) -> Result<(), Error> {
    let column = last_column(kind);
    let sql =
        format!("UPDATE sg_streams SET {column} = {column} + $1 WHERE stream = $2 RETURNING {column} - $1");
    let number = lines.len() as i64;
    let row = lease.query_opt(&sql, &[&number, &stream]).await?;
    let mut last: i64 = row.ok_or_else(|| answers::unknown_stream(stream))?.try_get(0)?;
    let mut columns: Vec<Column> = LINE.iter().cloned().map(Column::of).collect();
    for (start, line) in lines {
        last += 1;
        columns[0].push_text(stream);
        columns[1].push_text(kind.name());
        columns[2].push_integer(last);
        columns[3].push_time(*start)?;
        columns[4].push_time(now)?;
        columns[5].push_text(line);
    }
    let sql = format!(
        "INSERT INTO sg_outbox_lines (stream, kind, id, window_start, written_at, line) SELECT * FROM unnest({})",
        arrays(&LINE)
    );
    let given: Vec<&(dyn ToSql + Sync)> =
        columns.iter().map(|column| column as &(dyn ToSql + Sync)).collect();
    lease.execute(&sql, &given).await?;
    Ok(())
}

/// Returns whether this process has a lane; takes it if it is free.
pub(crate) async fn has(
    connections: &Connections,
    sender: &Sender,
    (stream, kind): (&str, FileKind),
) -> Result<bool, Error> {
    // No stream's name has a blank.
    sender.holds(connections, &format!("{stream} {}", kind.name())).await
}

/// Dooms what was meant to be written of a lane.
pub(crate) async fn claim(
    lease: &Lease,
    (stream, kind): (&str, FileKind),
    now: Timestamp,
) -> Result<(), Error> {
    let sql =
        "UPDATE sg_archive_intents SET doomed_at = $3 WHERE stream = $1 AND kind = $2 AND doomed_at IS NULL";
    lease.execute(sql, &[&stream, &kind.name(), &Ms(now)]).await?;
    Ok(())
}

/// Returns the oldest lines behind an id.
pub(crate) async fn read(
    lease: &Lease,
    (stream, kind): (&str, FileKind),
    after: i64,
    rows_max: usize,
) -> Result<Vec<Line>, Error> {
    let sql = "SELECT id, window_start, written_at, line FROM (SELECT *, row_number() OVER (ORDER BY id) AS nth, \
               sum(octet_length(line)) OVER (ORDER BY id) AS bytes FROM (SELECT * FROM sg_outbox_lines \
               WHERE stream = $1 AND kind = $2 AND id > $3 ORDER BY id LIMIT $4) AS first) AS bounded \
               WHERE nth = 1 OR bytes <= $5 ORDER BY id";
    let limit = i64::try_from(rows_max).unwrap_or(i64::MAX);
    let bytes_max = OUTBOX_BYTES_AT_ONCE as i64;
    let rows = lease.query(sql, &[&stream, &kind.name(), &after, &limit, &bytes_max]).await?;
    let lines = rows.iter().map(|row| {
        let (Ms(window_start), Ms(written_at)) = (row.try_get(1)?, row.try_get(2)?);
        Ok(Line { id: row.try_get(0)?, window_start, written_at, text: row.try_get(3)? })
    });
    lines.collect()
}

/// Takes files of lines into the manifest and deletes the lines; false when they may not come in, and the caller rolls
/// back.
pub(crate) async fn commit(
    lease: &Lease,
    cut: &LineCut,
    now: Timestamp,
    faults: &Faults,
) -> Result<bool, Error> {
    faults.step()?;
    // Invariant: nothing is written unless every line is there still, and none is left out.
    let sql = "DELETE FROM sg_outbox_lines WHERE stream = $1 AND kind = $2 AND id BETWEEN $3 AND $4";
    let deleted = lease.execute(sql, &[&cut.stream, &cut.kind.name(), &cut.first, &cut.last]).await?;
    if deleted != cut.lines {
        return Ok(false);
    }
    manifest::take_in(lease, (&cut.place, 0), &cut.files, now, faults).await
}

/// Returns whether all files of an intent may still come in.
pub(crate) async fn is_intended(lease: &Lease, intent: &Intent) -> Result<bool, Error> {
    let sql =
        "SELECT count(*) FROM sg_archive_intents WHERE place = $1 AND path = ANY($2) AND doomed_at IS NULL";
    let row = lease.query_opt(sql, &[&intent.place, &intent.paths]).await?;
    let intended = row.map_or(Ok(0), |row| count(&row, 0))?;
    Ok(intended == intent.paths.len() as u64)
}

/// Returns what waits in each lane: ids follow each other, and need not be counted.
pub(crate) async fn status(lease: &Lease) -> Result<Vec<LinesStatus>, Error> {
    let mut waiting = Vec::new();
    for kind in FileKind::OF_LINES {
        let sql = format!(
            "SELECT s.stream, {} - l.id + 1, written_at FROM sg_streams s, LATERAL (SELECT * FROM sg_outbox_lines q \
             WHERE q.stream = s.stream AND q.kind = $1 ORDER BY id LIMIT 1) AS l",
            last_column(kind)
        );
        for row in lease.query(&sql, &[&kind.name()]).await? {
            let (rows, Ms(oldest)) = (count(&row, 1)?, row.try_get(2)?);
            waiting.push(LinesStatus { stream: row.try_get(0)?, kind, rows, oldest });
        }
    }
    Ok(waiting)
}
