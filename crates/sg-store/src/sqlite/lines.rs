//! Lines that wait for files of the archive: written by a closing inside its transaction, taken in their order by one
//! writer, and deleted in the transaction that takes their files into the manifest.

use rusqlite::{Connection, params};
use sg_core::archive::FileKind;
use sg_core::flush::Flush;
use sg_core::limits::OUTBOX_BYTES_AT_ONCE;
use sg_core::plan::Plan;
use sg_core::ports::{Intent, Line, LineCut, LinesStatus};
use sg_core::time::Timestamp;

use crate::faults::Faults;
use crate::lines::{self, Lines, ToldCells, last_column};

use super::cells;
use super::error::{Error, from_integer};
use super::manifest;

/// Writes the lines of a closing: of the cells that it told of, and of the events that its flush diverted.
pub(crate) fn write(
    connection: &Connection,
    plan: &Plan,
    (own, told): (Option<&Flush>, ToldCells),
    now: Timestamp,
) -> Result<(), Error> {
    let mut closed = Vec::new();
    for question in told.questions(plan) {
        closed.extend(question.lines(cells::read(connection, &question.query)?));
    }
    append(connection, (&plan.stream.name, FileKind::Closed), &closed, now)?;
    append(connection, (&plan.stream.name, FileKind::Late), &own.map(lines::late).unwrap_or_default(), now)
}

/// Appends lines of one kind.
pub(super) fn append(
    connection: &Connection,
    (stream, kind): (&str, FileKind),
    lines: &Lines,
    now: Timestamp,
) -> Result<(), Error> {
    if lines.is_empty() {
        return Ok(());
    }
    let column = last_column(kind);
    let mut last: i64 = connection
        .prepare_cached(&format!("SELECT {column} FROM sg_streams WHERE stream = ?"))?
        .query_row([stream], |row| row.get(0))?;
    let mut insert = connection.prepare_cached("INSERT INTO sg_outbox_lines VALUES (?, ?, ?, ?, ?, ?)")?;
    for (start, line) in lines {
        last += 1;
        insert.execute(params![stream, kind.name(), last, start.0, now.0, line])?;
    }
    connection
        .prepare_cached(&format!("UPDATE sg_streams SET {column} = ? WHERE stream = ?"))?
        .execute(params![last, stream])?;
    Ok(())
}

/// Dooms what was meant to be written of a lane.
pub(crate) fn claim(
    connection: &Connection,
    (stream, kind): (&str, FileKind),
    now: Timestamp,
) -> Result<(), Error> {
    connection
        .prepare_cached(
            "UPDATE sg_archive_intents SET doomed_at = ?3 WHERE stream = ?1 AND kind = ?2 AND doomed_at IS NULL",
        )?
        .execute(params![stream, kind.name(), now.0])?;
    Ok(())
}

/// Returns the oldest lines behind an id.
pub(crate) fn read(
    connection: &Connection,
    (stream, kind): (&str, FileKind),
    after: i64,
    rows_max: usize,
) -> Result<Vec<Line>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT id, window_start, written_at, line FROM sg_outbox_lines WHERE stream = ? AND kind = ? AND id > ? \
         ORDER BY id LIMIT ?",
    )?;
    let limit = i64::try_from(rows_max).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![stream, kind.name(), after, limit])?;
    let mut lines: Vec<Line> = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let line = Line {
            id: row.get(0)?,
            window_start: Timestamp(row.get(1)?),
            written_at: Timestamp(row.get(2)?),
            text: row.get(3)?,
        };
        bytes += line.text.len();
        if bytes > OUTBOX_BYTES_AT_ONCE && !lines.is_empty() {
            break;
        }
        lines.push(line);
    }
    Ok(lines)
}

/// Takes files of lines into the manifest, all or nothing, and deletes the lines.
pub(crate) fn commit(
    connection: &mut Connection,
    cut: &LineCut,
    now: Timestamp,
    faults: &Faults,
) -> Result<bool, Error> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    faults.step()?;
    // Invariant: nothing is written unless every line is there still, and none is left out.
    let deleted = transaction
        .prepare_cached("DELETE FROM sg_outbox_lines WHERE stream = ? AND kind = ? AND id BETWEEN ? AND ?")?
        .execute(params![cut.stream, cut.kind.name(), cut.first, cut.last])?;
    if deleted as u64 != cut.lines || !manifest::take_in(&transaction, (&cut.files, 0), now, faults)? {
        return Ok(false);
    }
    faults.step()?;
    transaction.commit()?;
    // From here on it is written: a failure means that the caller does not know.
    faults.step()?;
    Ok(true)
}

/// Returns whether all files of an intent may still come in.
pub(crate) fn is_intended(connection: &Connection, intent: &Intent) -> Result<bool, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM sg_archive_intents WHERE place = ? AND path = ? AND doomed_at IS NULL)",
    )?;
    for path in &intent.paths {
        if !statement.query_row(params![intent.place, path], |row| row.get::<_, bool>(0))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns what waits in each lane: ids follow each other, and need not be counted.
pub(crate) fn status(connection: &Connection) -> Result<Vec<LinesStatus>, Error> {
    let mut waiting = Vec::new();
    for kind in FileKind::OF_LINES {
        let mut statement = connection.prepare_cached(&format!(
            "SELECT s.stream, {} - id + 1, written_at FROM sg_streams s JOIN sg_outbox_lines l \
             ON l.stream = s.stream AND kind = ?1 \
             AND id = (SELECT min(id) FROM sg_outbox_lines f WHERE f.stream = s.stream AND f.kind = ?1)",
            last_column(kind)
        ))?;
        let rows = statement.query_map([kind.name()], |row| {
            let (rows, oldest) = (from_integer(row.get(1)?)?, Timestamp(row.get(2)?));
            Ok(LinesStatus { stream: row.get(0)?, kind, rows, oldest })
        })?;
        for row in rows {
            waiting.push(row?);
        }
    }
    Ok(waiting)
}
