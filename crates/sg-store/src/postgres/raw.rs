//! Writing raw events, keyed by their place in the log, and making the tables that hold them: each partition's events
//! lie in pieces of a bounded run of offsets. Looking for them is `events`'s.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::SinkExt;
use sg_core::batch::Span;
use sg_core::flush::{Flush, RawRow, RawRows};
use sg_core::plan::RawSlots;
use sg_core::time::Timestamp;
use tokio_postgres::types::ToSql;

use crate::answers;
use crate::faults::Faults;
use crate::place::position;

use super::error::Error;
use super::pool::{Connections, Lease, Mode};
use super::tables::{PIECE_OFFSETS, piece_table, raw_table};
use super::wire::Ms;

/// Bytes collected before they are sent: enough that a message's costs do not show.
const SEND_BYTES: usize = 128 * 1024;
const COLUMNS: i16 = 9;
/// What a binary COPY begins with: signature, flags, length of an extension.
const COPY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// Pieces that are known to be there.
#[derive(Debug, Default)]
pub(crate) struct Pieces(Mutex<HashSet<(String, u32, u64)>>);

impl Pieces {
    fn knows(&self, stream: &str, partition: u32, piece: u64) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.contains(&(stream.to_owned(), partition, piece))
    }

    fn remember(&self, stream: &str, partition: u32, piece: u64) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A partition goes forward: what lies behind is not asked for again.
        known.retain(|(of, number, _)| (of.as_str(), *number) != (stream, partition));
        known.insert((stream.to_owned(), partition, piece));
    }

    /// Forgets a partition's pieces: after a failure they may be others.
    pub(crate) fn forget(&self, stream: &str, partition: u32) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(of, number, _)| (of.as_str(), *number) != (stream, partition));
    }
}

/// Makes the pieces that a flush needs, in a transaction of their own: a table that others read is not changed while
/// the flush holds its locks.
pub(crate) async fn make_pieces(
    connections: &Connections,
    known: &Pieces,
    flush: &Flush,
) -> Result<(), Error> {
    let (stream, partition) = (flush.plan.stream.name.as_str(), flush.partition);
    let offsets = flush.raw.iter().flat_map(|rows| rows.rows.iter().map(|row| row.offset));
    let mut needed: Vec<u64> = offsets.map(|offset| offset / PIECE_OFFSETS).collect();
    needed.dedup();
    for piece in needed {
        if known.knows(stream, partition, piece) {
            continue;
        }
        let lease = connections.begin(Mode::Schema).await?;
        let made = make_piece(&lease, stream, partition, piece).await;
        lease.finish(made).await?;
        known.remember(stream, partition, piece);
    }
    Ok(())
}

async fn make_piece(lease: &Lease, stream: &str, partition: u32, piece: u64) -> Result<(), Error> {
    let number = i64::try_from(piece).unwrap_or(i64::MAX);
    let there = "SELECT 1 FROM sg_raw_pieces WHERE stream = $1 AND partition = $2 AND piece = $3";
    let key: [&(dyn ToSql + Sync); 3] = [&stream, &i64::from(partition), &number];
    if lease.query_opt(there, &key).await?.is_some() {
        return Ok(());
    }
    let lock =
        "SELECT pg_advisory_xact_lock(hashtextextended('streamgauge pieces ' || current_schema() || $1, 0))";
    lease.query(lock, &[&stream]).await?;
    if lease.query_opt(there, &key).await?.is_some() {
        return Ok(());
    }
    let (table, parent) = (piece_table(stream, partition, piece), raw_table(stream));
    let first = position(partition, piece * PIECE_OFFSETS)?;
    let behind = first + PIECE_OFFSETS as i64;
    // Attached rather than made as a part: so nobody who reads the others is held up.
    let sql = format!(
        "CREATE TABLE {table} (LIKE {parent} INCLUDING ALL); \
         ALTER TABLE {parent} ATTACH PARTITION {table} FOR VALUES FROM ({first}) TO ({behind})"
    );
    lease.client()?.batch_execute(&sql).await?;
    let sql = "INSERT INTO sg_raw_pieces VALUES ($1, $2, $3, 'infinity', '-infinity', false)";
    lease.execute(sql, &key).await?;
    Ok(())
}

/// Adds a flush's raw rows, ascending by position.
pub(crate) async fn write(
    lease: &Lease,
    flush: &Flush,
    now: Timestamp,
    faults: &Faults,
) -> Result<(), Error> {
    let Some(slots) = flush.plan.raw else { return Ok(()) };
    let writer = RowWriter { slots, width: flush.plan.text_slots(), partition: flush.partition, now };
    let mut rest: Vec<(&RawRows, &[RawRow])> = flush
        .raw
        .iter()
        .map(|rows| (rows, rows.rows.as_slice()))
        .filter(|(_, rows)| !rows.is_empty())
        .collect();
    while let Some((_, rows)) = rest.first() {
        let piece = rows[0].offset / PIECE_OFFSETS;
        let behind = (piece + 1) * PIECE_OFFSETS;
        let mut now_written = Vec::new();
        let mut later = Vec::new();
        for (batch, rows) in rest {
            let (inside, outside) = rows.split_at(rows.partition_point(|row| row.offset < behind));
            now_written.extend((!inside.is_empty()).then_some((batch, inside)));
            later.extend((!outside.is_empty()).then_some((batch, outside)));
        }
        write_piece(lease, &flush.plan.stream.name, piece, (&writer, &now_written)).await?;
        faults.step()?;
        rest = later;
    }
    Ok(())
}

async fn write_piece(
    lease: &Lease,
    stream: &str,
    piece: u64,
    (writer, rows): (&RowWriter, &[(&RawRows, &[RawRow])]),
) -> Result<(), Error> {
    let arrivals = || rows.iter().flat_map(|(_, rows)| rows.iter().map(|row| row.received_at));
    let (Some(oldest), Some(newest)) = (arrivals().min(), arrivals().max()) else { return Ok(()) };
    let sql = format!(
        "COPY {} (position, event_id, user_id, session_id, event_name, properties, event_time, received_at, \
         processed_at) FROM STDIN (FORMAT BINARY)",
        piece_table(stream, writer.partition, piece)
    );
    let statement = lease.statement(&sql).await?;
    let mut sink = pin!(lease.client()?.copy_in::<_, Bytes>(&statement).await?);
    let mut buffer = BytesMut::with_capacity(SEND_BYTES + SEND_BYTES / 4);
    buffer.put_slice(COPY_HEADER);
    for (batch, rows) in rows {
        for row in *rows {
            writer.put(&mut buffer, batch, row)?;
            if buffer.len() >= SEND_BYTES {
                sink.send(buffer.split().freeze()).await?;
                buffer.reserve(SEND_BYTES + SEND_BYTES / 4);
                // The encoding shares its thread with every other task.
                tokio::task::yield_now().await;
            }
        }
    }
    buffer.put_i16(-1);
    sink.send(buffer.freeze()).await?;
    sink.finish().await?;
    let sql = "UPDATE sg_raw_pieces SET oldest = least(oldest, $4), newest = greatest(newest, $5) \
               WHERE stream = $1 AND partition = $2 AND piece = $3";
    let number = i64::try_from(piece).unwrap_or(i64::MAX);
    let partition = i64::from(writer.partition);
    lease.execute(sql, &[&stream, &partition, &number, &Ms(oldest), &Ms(newest)]).await?;
    Ok(())
}

/// Writes rows as a binary COPY has them.
struct RowWriter {
    slots: RawSlots,
    /// Text slots of a row.
    width: usize,
    partition: u32,
    now: Timestamp,
}

impl RowWriter {
    fn put(&self, out: &mut BytesMut, rows: &RawRows, row: &RawRow) -> Result<(), Error> {
        let batch = &rows.batch;
        let index = row.index as usize;
        let entry = &batch.entries[index];
        // Invariant: the fold has read the fields of every batch whose rows it counts.
        let Some(fields) = &batch.fields else { return Err(answers::fields_not_read().into()) };
        let texts = &fields.texts[index * self.width..(index + 1) * self.width];
        let optional = |slot: usize| {
            Some(texts[slot]).filter(|span: &Span| !span.is_none()).map(|span| batch.text(span))
        };
        out.put_i16(COLUMNS);
        out.put_i32(8);
        out.put_i64(position(self.partition, row.offset)?);
        put_text(out, Some(batch.text(entry.id)));
        put_text(out, optional(self.slots.user));
        put_text(out, optional(self.slots.session));
        put_text(out, Some(batch.text(entry.kind)));
        put_text(out, Some(optional(self.slots.properties).unwrap_or("{}")));
        for time in [row.event_time, row.received_at, self.now] {
            out.put_i32(8);
            out.put_i64(Ms(time).micros()?);
        }
        Ok(())
    }
}

fn put_text(out: &mut BytesMut, text: Option<&str>) {
    let Some(text) = text else { return out.put_i32(-1) };
    // Invariant: an event has 256 KiB at most.
    out.put_i32(text.len() as i32);
    out.put_slice(text.as_bytes());
}
