//! Makes a piece of rows that have none yet. The rows behind a partition's offset are all there and never change, so
//! that a piece, once made, is right until its rows are removed.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::Sizes;
use super::entry::{Entry, KINDS, hash_of, pack};
use super::file::{self, RunWriter};
use super::piece::{GAP_MAX, Piece, Range};
use crate::place::place;
use crate::sqlite::error::{Error, from_integer};
use crate::sqlite::events;
use crate::sqlite::raw::raw_table;
use crate::unfit::Unfit;

/// Up to where each partition's rows are in pieces, by stream and partition.
pub(crate) type Sealed = HashMap<(String, u32), u64>;

/// Offsets of one stream that are not in pieces.
#[derive(Debug)]
pub(crate) struct Backlog {
    pub(crate) stream: String,
    /// Ranges by partition.
    pub(crate) ranges: Vec<Range>,
}

/// A piece's entries before they are sorted.
struct Draft {
    piece: Piece,
    runs: [Vec<Entry>; KINDS.len()],
    rows: usize,
}

/// Returns what is not in pieces, of streams that keep raw rows.
pub(crate) fn backlogs(store: &Connection, sealed: &Sealed) -> Result<Vec<Backlog>, Error> {
    let mut statement = store.prepare_cached(
        "SELECT stream, partition, next_offset FROM sg_partitions ORDER BY stream, partition",
    )?;
    let mut rows = statement.query([])?;
    let mut backlogs: Vec<Backlog> = Vec::new();
    while let Some(row) = rows.next()? {
        let (stream, partition): (String, u32) = (row.get(0)?, row.get(1)?);
        let to = from_integer(row.get(2)?)?;
        let key = (stream, partition);
        let from = sealed.get(&key).copied().unwrap_or(0);
        if from >= to {
            continue;
        }
        let range = Range { partition, from, to };
        match backlogs.last_mut() {
            Some(last) if last.stream == key.0 => last.ranges.push(range),
            _ if events::has_table(store, &key.0)? => {
                backlogs.push(Backlog { stream: key.0, ranges: vec![range] })
            }
            _ => {}
        }
    }
    Ok(backlogs)
}

/// Reads the oldest rows of a backlog into a piece and publishes it, if there are any. Takes note of what is sealed.
pub(crate) fn seal(
    store: &Connection,
    index: &mut Connection,
    backlog: &Backlog,
    (id, sizes): (i64, Sizes),
    sealed: &mut Sealed,
) -> Result<Option<Piece>, Error> {
    let piece = Piece {
        id,
        stream: backlog.stream.clone(),
        level: 0,
        times: (i64::MAX, i64::MIN),
        ranges: Vec::new(),
    };
    let mut draft = Draft { piece, runs: Default::default(), rows: 0 };
    let mut reached = Vec::new();
    for range in &backlog.ranges {
        if draft.rows < sizes.seal_rows {
            reached.push((range.partition, read(store, *range, sizes.seal_rows, &mut draft)?));
        }
    }
    let piece = if draft.rows == 0 { None } else { Some(write(index, draft, sizes)?) };
    for (partition, to) in reached {
        sealed.insert((backlog.stream.clone(), partition), to);
    }
    Ok(piece)
}

/// Reads rows of one partition until the piece is full; returns the offset behind the last that is now known.
fn read(store: &Connection, range: Range, rows_max: usize, draft: &mut Draft) -> Result<u64, Error> {
    let (first, last) = range.positions()?;
    let table = raw_table(&draft.piece.stream);
    let start: Option<i64> = store
        .prepare_cached(&format!(
            "SELECT position FROM {table} WHERE position BETWEEN ? AND ? ORDER BY position LIMIT 1"
        ))?
        .query_row([first, last], |row| row.get(0))
        .optional()?;
    let Some(start) = start.map(|position| place(position).1) else { return Ok(range.to) };
    let from = if start - range.from < GAP_MAX { range.from } else { start };
    let before = draft.piece.span();
    let mut statement = store.prepare_cached(&format!(
        "SELECT position, event_id, user_id, session_id, event_name, event_time FROM {table} \
         WHERE position BETWEEN ? AND ? ORDER BY position LIMIT ?"
    ))?;
    let limit = rows_max - draft.rows;
    let mut rows = statement.query(params![first, last, limit as i64])?;
    let (mut to, mut count) = (from, 0);
    while let Some(row) = rows.next()? {
        let offset = place(row.get(0)?).1;
        if offset >= to + GAP_MAX {
            break;
        }
        (to, count) = (offset + 1, count + 1);
        let local =
            u32::try_from(before + offset - from).map_err(|_| Unfit("a piece is too long".to_owned()))?;
        let time_ms = row.get(5)?;
        draft.piece.times = (draft.piece.times.0.min(time_ms), draft.piece.times.1.max(time_ms));
        for (column, run) in (1..5).zip(&mut draft.runs) {
            if let Some(text) = row.get_ref(column)?.as_str_or_null().map_err(rusqlite::Error::from)? {
                run.push(pack(hash_of(text), time_ms, local));
            }
        }
        draft.runs[4].push(pack(0, time_ms, local));
    }
    draft.rows += count;
    if count < limit && range.to < to + GAP_MAX {
        to = range.to;
    }
    draft.piece.ranges.push(Range { from, to, ..range });
    Ok(to)
}

fn write(index: &mut Connection, mut draft: Draft, sizes: Sizes) -> Result<Piece, Error> {
    let transaction = index.transaction()?;
    for (kind, entries) in KINDS.into_iter().zip(&mut draft.runs) {
        entries.sort_unstable();
        let mut run = RunWriter::new((draft.piece.id, kind), sizes.page_entries);
        for entry in entries {
            run.push(&transaction, *entry)?;
        }
        run.finish(&transaction)?;
    }
    file::publish(&transaction, &draft.piece, &[])?;
    transaction.commit()?;
    Ok(draft.piece)
}
