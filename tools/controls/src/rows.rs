//! Raw rows in the binary format of Postgres's COPY, as a store of events would write them:
//! <https://www.postgresql.org/docs/current/sql-copy.html>, "Binary Format". Made up, never read.

use std::io::Write;

use crate::event::{ID_BYTES, Random, TYPES};

/// The table, and the statement that the rows are for.
pub const TABLE: &str = "
    drop table if exists controls_copy;
    create table controls_copy (position bigint primary key, event_id text, user_id text, session_id text,
        event_name text, properties jsonb, event_time timestamptz, received_at timestamptz,
        processed_at timestamptz)";
/// The statement that takes the rows.
pub const COPY: &str = "copy controls_copy from stdin (format binary)";

/// What stands in front of all rows: a signature, no flags, no extension.
pub const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What stands behind all rows.
pub const TRAILER: &[u8] = &(-1_i16).to_be_bytes();

const COLUMNS: i16 = 9;
/// Postgres counts times from the year 2000.
const EPOCH_US: i64 = 946_684_800_000_000;
const JSONB_VERSION: u8 = 1;

/// Appends the row of a position.
pub fn write(buffer: &mut Vec<u8>, random: &mut Random, position: i64, now_us: i64) {
    let bits = random.bits();
    let mut id = [0; ID_BYTES];
    random.write_id(&mut id);
    buffer.extend_from_slice(&COLUMNS.to_be_bytes());
    field(buffer, |buffer| buffer.extend_from_slice(&position.to_be_bytes()));
    field(buffer, |buffer| buffer.extend_from_slice(&id));
    text(buffer, format_args!("user-{}", 1_000 + (bits & 0xffff) % 9_000));
    text(buffer, format_args!("session-{:08x}", bits >> 32));
    text(buffer, format_args!("{}", TYPES[(bits >> 16 & 7) as usize]));
    field(buffer, |buffer| {
        buffer.push(JSONB_VERSION);
        append(
            buffer,
            format_args!(r#"{{"path":"/products/{}","amount":{}}}"#, bits >> 48, bits >> 20 & 0xfff),
        );
    });
    for behind_us in [5_000_000, 1_000, 0] {
        field(buffer, |buffer| {
            buffer.extend_from_slice(&(now_us - EPOCH_US - behind_us).to_be_bytes());
        });
    }
}

/// Appends a field: its length, then what `fill` appends.
fn field(buffer: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; 4]);
    fill(buffer);
    let length = (buffer.len() - start - 4) as i32;
    buffer[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

fn text(buffer: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    field(buffer, |buffer| append(buffer, text));
}

fn append(buffer: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    buffer.write_fmt(text).expect("writing to memory does not fail");
}

#[cfg(test)]
mod tests;
