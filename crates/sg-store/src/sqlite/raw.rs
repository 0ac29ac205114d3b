//! Writing raw events, keyed by their place in the log. Looking for them is `events`'s.

use rusqlite::{Connection, Statement};
use sg_core::batch::Span;
use sg_core::flush::{Flush, RawRow, RawRows};
use sg_core::plan::RawSlots;
use sg_core::time::Timestamp;

use super::error::Error;
use super::faults::Faults;
use super::names::raw_table;

/// Bits of a position that hold the offset; those above hold the partition.
const OFFSET_BITS: u32 = 48;
/// The last offset that fits.
pub(crate) const OFFSET_MAX: u64 = (1 << OFFSET_BITS) - 1;
/// Rows of one statement: more save nothing.
const ROWS_PER_STATEMENT: usize = 16;
const COLUMNS: usize = 9;

/// Returns the key of a raw row.
pub(crate) fn position(partition: u32, offset: u64) -> Result<i64, Error> {
    if partition >= 1 << (63 - OFFSET_BITS) || offset > OFFSET_MAX {
        return Err(Error::Unfit(format!(
            "partition {partition}, offset {offset} do not fit the key of a raw row"
        )));
    }
    Ok((i64::from(partition) << OFFSET_BITS) | offset as i64)
}

/// Returns partition and offset of a key.
pub(crate) fn place(position: i64) -> (u32, u64) {
    let position = position as u64;
    ((position >> OFFSET_BITS) as u32, position & OFFSET_MAX)
}

/// Adds a flush's raw rows, ascending by position.
pub(crate) fn write(
    connection: &Connection,
    flush: &Flush,
    now: Timestamp,
    faults: &Faults,
) -> Result<(), Error> {
    let Some(slots) = flush.plan.raw else { return Ok(()) };
    if flush.raw.is_empty() {
        return Ok(());
    }
    let insert = Insert { slots, width: flush.plan.text_slots(), partition: flush.partition, now };
    let table = raw_table(&flush.plan.name);
    let sql = |rows: usize| {
        let row = format!("({})", ["?"; COLUMNS].join(","));
        format!("INSERT INTO {table} VALUES {}", vec![row; rows].join(","))
    };
    let mut many = connection.prepare_cached(&sql(ROWS_PER_STATEMENT))?;
    let mut one = connection.prepare_cached(&sql(1))?;
    for rows in &flush.raw {
        let chunks = rows.rows.chunks_exact(ROWS_PER_STATEMENT);
        for chunk in chunks.clone() {
            for (at, row) in chunk.iter().enumerate() {
                insert.bind(&mut many, at, rows, row)?;
            }
            many.raw_execute()?;
        }
        for row in chunks.remainder() {
            insert.bind(&mut one, 0, rows, row)?;
            one.raw_execute()?;
        }
        faults.step()?;
    }
    Ok(())
}

struct Insert {
    slots: RawSlots,
    /// Text slots of a row.
    width: usize,
    partition: u32,
    now: Timestamp,
}

impl Insert {
    fn bind(
        &self,
        statement: &mut Statement<'_>,
        at: usize,
        rows: &RawRows,
        row: &RawRow,
    ) -> Result<(), Error> {
        let batch = &rows.batch;
        let index = row.index as usize;
        let entry = &batch.entries[index];
        let texts = match &batch.fields {
            Some(fields) => &fields.texts[index * self.width..(index + 1) * self.width],
            // Invariant: the fold has read the fields of every batch whose rows it counts.
            None => return Err(Error::corrupt("writing raw rows: their fields were not read")),
        };
        let optional = |slot: usize| {
            Some(texts[slot]).filter(|span: &Span| !span.is_none()).map(|span| batch.text(span))
        };
        let first = at * COLUMNS + 1;
        statement.raw_bind_parameter(first, position(self.partition, row.offset)?)?;
        statement.raw_bind_parameter(first + 1, batch.text(entry.id))?;
        statement.raw_bind_parameter(first + 2, optional(self.slots.user))?;
        statement.raw_bind_parameter(first + 3, optional(self.slots.session))?;
        statement.raw_bind_parameter(first + 4, batch.text(entry.kind))?;
        statement.raw_bind_parameter(first + 5, optional(self.slots.properties).unwrap_or("{}"))?;
        statement.raw_bind_parameter(first + 6, row.event_time.0)?;
        statement.raw_bind_parameter(first + 7, row.received_at.0)?;
        statement.raw_bind_parameter(first + 8, self.now.0)?;
        Ok(())
    }
}
