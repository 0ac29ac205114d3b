//! Writing raw events, keyed by their place in the log. Looking for them is `events`'s.

use rusqlite::{Connection, Statement};
use sg_core::batch::Span;
use sg_core::flush::{Flush, RawRow, RawRows};
use sg_core::plan::RawSlots;
use sg_core::time::Timestamp;

use crate::answers;
use crate::faults::Faults;
use crate::names::quoted;
use crate::place::position;

use super::error::Error;

/// Rows of one statement: more save nothing.
const ROWS_PER_STATEMENT: usize = 16;
const COLUMNS: usize = 9;

/// Returns the quoted table of a stream's raw events.
pub(crate) fn raw_table(stream: &str) -> String {
    quoted(&format!("sg_raw_{stream}"))
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
            None => return Err(answers::fields_not_read().into()),
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
