//! A page of a run as bytes: which entries of which run it covers, and the entries, each as its difference from the one
//! before. A page that is not what was written is an error, never another answer: it carries a checksum over all of it
//! and names the borders between which every entry of the run is its own.

use xxhash_rust::xxh3::xxh3_64;

use super::entry::{Entry, Kind, from_parts, parts};
use crate::sqlite::error::Error;

/// Checksum, piece, kind, low, high, count, least time.
const HEADER_BYTES: usize = 8 + 8 + 1 + 16 + 16 + 4 + 8;

/// A page that was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    /// Every entry of the run from here on …
    pub(crate) low: Entry,
    /// … to before this one is in this page.
    pub(crate) high: Entry,
    /// The entries, ascending.
    pub(crate) entries: Vec<Entry>,
}

/// Returns a page's bytes.
pub(crate) fn encode((piece, kind): (i64, Kind), page: &Page) -> Vec<u8> {
    let least = page.entries.iter().map(|entry| parts(*entry).1).min().unwrap_or(0);
    let mut bytes = Vec::with_capacity(HEADER_BYTES + page.entries.len() * 16);
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(&piece.to_le_bytes());
    bytes.push(kind.number());
    bytes.extend_from_slice(&page.low.to_le_bytes());
    bytes.extend_from_slice(&page.high.to_le_bytes());
    bytes.extend_from_slice(&(page.entries.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&least.to_le_bytes());
    let mut before = (0, least, 0);
    for entry in &page.entries {
        let (hash, time, local) = parts(*entry);
        push_number(&mut bytes, hash - before.0);
        // Within one hash times ascend; with a new hash they begin again.
        let time_base = if hash == before.0 { before.1 } else { least };
        push_number(&mut bytes, time - time_base);
        let step = i64::from(local) - i64::from(before.2);
        push_number(&mut bytes, ((step << 1) ^ (step >> 63)) as u64);
        before = (hash, time, local);
    }
    let checksum = xxh3_64(&bytes[8..]);
    bytes[..8].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Reads a page's bytes.
pub(crate) fn decode((piece, kind): (i64, Kind), bytes: &[u8]) -> Result<Page, Error> {
    read(piece, kind, bytes)
        .ok_or_else(|| Error::index(format!("a page of piece {piece} is not what was written")))
}

fn read(piece: i64, kind: Kind, bytes: &[u8]) -> Option<Page> {
    let mut rest = bytes;
    let checksum = u64::from_le_bytes(take(&mut rest)?);
    if checksum != xxh3_64(rest) || i64::from_le_bytes(take(&mut rest)?) != piece {
        return None;
    }
    let [number] = take(&mut rest)?;
    let (low, high) = (u128::from_le_bytes(take(&mut rest)?), u128::from_le_bytes(take(&mut rest)?));
    let count = u32::from_le_bytes(take(&mut rest)?) as usize;
    let least = u64::from_le_bytes(take(&mut rest)?);
    // Each entry takes three bytes at least.
    if number != kind.number() || count > rest.len() {
        return None;
    }
    let mut entries = Vec::with_capacity(count);
    let mut before = (0_u64, least, 0_u32);
    for _ in 0..count {
        let hash = before.0.checked_add(take_number(&mut rest)?)?;
        let time_base = if hash == before.0 { before.1 } else { least };
        let time = time_base.checked_add(take_number(&mut rest)?)?;
        let step = take_number(&mut rest)?;
        let step = (step >> 1) as i64 ^ -((step & 1) as i64);
        let local = u32::try_from(i64::from(before.2).checked_add(step)?).ok()?;
        before = (hash, time, local);
        entries.push(from_parts(hash, time, local));
    }
    Some(Page { low, high, entries })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk::<N>()?;
    *rest = left;
    Some(*taken)
}

/// Appends a number in base 128, least digits first.
fn push_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, left) = rest.split_first()?;
        *rest = left;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests;
