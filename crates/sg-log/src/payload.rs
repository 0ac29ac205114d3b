//! The payload of a frame of events: their texts, then a table with what the door decided about each.
//! Knows nothing about frames, offsets or files.
//!
//! ```text
//! u32 length of the texts | texts | table | zeros up to a multiple of 8
//! ```
//! The texts of an event are its raw bytes, then its id and its type unless they stand inside the raw bytes.
//! A row of the table: flags, key hash (u64), length of raw, id, type, event time, received at, and partition and offset
//! of the dead letter that the record stands for (in frames of version 2). Lengths, places and offsets are
//! varints (LEB128), times are differences to the event before as zigzag varints; what is absent takes no bytes.
//! The content hash is not stored: it is computed from the raw bytes.

use std::sync::Arc;

use bytes::Bytes;
use sg_core::batch::{Entry, EventBatch, Span, content_hash};
use sg_core::varint;

use crate::frame::{ALIGN, HEADER_BYTES, u32_at, u64_at};

/// Bytes of a payload: spans reach 2 GiB, and a group is built in memory.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 1 << 30;
/// A table row has at least flags, key hash and a length.
pub(crate) const ROW_BYTES_MIN: usize = 10;
/// A table row as most are: 10 bytes, two references of 3 bytes, two short times.
const ROW_BYTES_USUAL: usize = 24;
/// A table row whose numbers are all as long as they get: 1 + 8 + 5 + 4 × 5 + 2 × 10 + 5 + 10.
const ROW_BYTES_MAX: usize = 69;

const ID_SHIFT: u8 = 0;
const KIND_SHIFT: u8 = 2;
const TEXT_ABSENT: u8 = 0;
const TEXT_IN_RAW: u8 = 1;
const TEXT_APART: u8 = 2;
const HAS_EVENT_TIME: u8 = 1 << 4;
const HAS_RECEIVED_AT: u8 = 1 << 5;
const HAS_REPLAY_OF: u8 = 1 << 6;

/// A frame of events whose head is still to be written.
#[derive(Debug)]
pub(crate) struct Encoded {
    /// Room for the head, then the payload.
    pub(crate) frame: Vec<u8>,
    /// The checksum of the payload.
    pub(crate) payload_checksum: u32,
    /// The number of events.
    pub(crate) count: u32,
    /// Whether some of them stand for dead letters.
    pub(crate) has_replays: bool,
}

/// Encodes a batch; `None` when it is larger than a frame can be.
pub(crate) fn encode(batch: &EventBatch) -> Option<Encoded> {
    let texts_max: usize =
        batch.entries.iter().map(|entry| entry.raw.len() + entry.id.len() + entry.kind.len()).sum();
    if texts_max + batch.len() * ROW_BYTES_MAX > PAYLOAD_BYTES_MAX {
        return None;
    }
    let mut frame = Vec::with_capacity(HEADER_BYTES + 4 + texts_max + batch.len() * ROW_BYTES_USUAL + ALIGN);
    frame.resize(HEADER_BYTES + 4, 0);
    let mut table = Vec::with_capacity(batch.len() * ROW_BYTES_USUAL);
    let (mut event_time_before, mut received_before) = (0_i64, 0_i64);
    for (index, entry) in batch.entries.iter().enumerate() {
        let raw = batch.bytes(entry.raw);
        let id = place(raw, batch, entry.id);
        let kind = place(raw, batch, entry.kind);
        let mut flags = id.code() << ID_SHIFT | kind.code() << KIND_SHIFT;
        if entry.event_time.is_some() {
            flags |= HAS_EVENT_TIME;
        }
        if entry.received_at.is_some() {
            flags |= HAS_RECEIVED_AT;
        }
        let replay_of = batch.replay_of(index);
        if replay_of.is_some() {
            flags |= HAS_REPLAY_OF;
        }
        table.push(flags);
        table.extend_from_slice(&entry.key_hash.to_le_bytes());
        varint::push(&mut table, raw.len() as u64);
        frame.extend_from_slice(raw);
        id.push(&mut table, &mut frame);
        kind.push(&mut table, &mut frame);
        if let Some(time) = entry.event_time {
            varint::push_time(&mut table, time, &mut event_time_before);
        }
        if let Some(time) = entry.received_at {
            varint::push_time(&mut table, time, &mut received_before);
        }
        if let Some((partition, offset)) = replay_of {
            varint::push(&mut table, u64::from(partition));
            varint::push(&mut table, offset);
        }
    }
    let texts = (frame.len() - HEADER_BYTES - 4) as u32;
    frame[HEADER_BYTES..HEADER_BYTES + 4].copy_from_slice(&texts.to_le_bytes());
    frame.extend_from_slice(&table);
    frame.resize(frame.len().next_multiple_of(ALIGN), 0);
    let payload_checksum = crc32fast::hash(&frame[HEADER_BYTES..]);
    Some(Encoded {
        frame,
        payload_checksum,
        count: batch.len() as u32,
        has_replays: !batch.replays.is_empty(),
    })
}

/// Decodes a payload whose checksum was found right; `None` when it makes no sense all the same.
pub(crate) fn decode(stream: Arc<str>, count: u32, payload: Bytes) -> Option<EventBatch> {
    let texts_bytes = payload.get(..4).map(|head| u32_at(head, 0) as usize)?;
    let texts_end = texts_bytes.checked_add(4)?;
    let mut table = Table { bytes: payload.get(texts_end..)? };
    let count = count as usize;
    if count > table.bytes.len() / ROW_BYTES_MIN {
        return None;
    }
    let mut entries = Vec::with_capacity(count);
    let mut replays = Vec::new();
    let mut texts = Texts { at: 4, end: texts_end };
    let (mut event_time_before, mut received_before) = (0_i64, 0_i64);
    for index in 0..count {
        let flags = table.byte()?;
        let key_hash = table.u64()?;
        let raw_bytes = table.length()?;
        let raw = texts.take(raw_bytes)?;
        let id = table.text(flags >> ID_SHIFT & 3, raw, &mut texts)?;
        let kind = table.text(flags >> KIND_SHIFT & 3, raw, &mut texts)?;
        let event_time = match flags & HAS_EVENT_TIME {
            0 => None,
            _ => Some(varint::take_time(&mut table.bytes, &mut event_time_before)?),
        };
        let received_at = match flags & HAS_RECEIVED_AT {
            0 => None,
            _ => Some(varint::take_time(&mut table.bytes, &mut received_before)?),
        };
        if flags & HAS_REPLAY_OF != 0 {
            let partition = u32::try_from(varint::take(&mut table.bytes)?).ok()?;
            replays.push((index as u32, (partition, varint::take(&mut table.bytes)?)));
        }
        let (raw_at, raw_end) = (raw.at, raw.at + raw.bytes);
        let content = content_hash(&payload[raw_at..raw_end]);
        let raw = Span::main(raw.at, raw.bytes);
        entries.push(Entry { raw, id, kind, key_hash, key: Span::NONE, event_time, received_at, content });
    }
    let mut batch = EventBatch::new(stream, payload);
    batch.entries = entries;
    batch.replays = replays;
    Some(batch)
}

/// Where a text of an event is kept.
enum Place<'a> {
    Absent,
    InRaw { at: usize, bytes: usize },
    Apart(&'a [u8]),
}

impl Place<'_> {
    fn code(&self) -> u8 {
        match self {
            Place::Absent => TEXT_ABSENT,
            Place::InRaw { .. } => TEXT_IN_RAW,
            Place::Apart(_) => TEXT_APART,
        }
    }

    fn push(&self, table: &mut Vec<u8>, texts: &mut Vec<u8>) {
        match self {
            Place::Absent => {}
            Place::InRaw { at, bytes } => {
                varint::push(table, *at as u64);
                varint::push(table, *bytes as u64);
            }
            Place::Apart(text) => {
                varint::push(table, text.len() as u64);
                texts.extend_from_slice(text);
            }
        }
    }
}

/// Finds out by address whether a text is a slice of the raw bytes.
fn place<'a>(raw: &[u8], batch: &'a EventBatch, span: Span) -> Place<'a> {
    if span.is_none() {
        return Place::Absent;
    }
    let text = batch.bytes(span);
    let at = (text.as_ptr() as usize).wrapping_sub(raw.as_ptr() as usize);
    if at <= raw.len() && text.len() <= raw.len() - at {
        return Place::InRaw { at, bytes: text.len() };
    }
    Place::Apart(text)
}

#[derive(Clone, Copy)]
struct Piece {
    at: usize,
    bytes: usize,
}

/// The texts that no event has taken yet.
struct Texts {
    at: usize,
    end: usize,
}

impl Texts {
    fn take(&mut self, bytes: usize) -> Option<Piece> {
        if bytes > self.end - self.at {
            return None;
        }
        let piece = Piece { at: self.at, bytes };
        self.at += bytes;
        Some(piece)
    }
}

/// The rows that were not read yet.
struct Table<'a> {
    bytes: &'a [u8],
}

impl Table<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(first)
    }

    fn u64(&mut self) -> Option<u64> {
        let (number, rest) = self.bytes.split_at_checked(8)?;
        self.bytes = rest;
        Some(u64_at(number, 0))
    }

    fn length(&mut self) -> Option<usize> {
        varint::take(&mut self.bytes)
            .filter(|length| *length <= PAYLOAD_BYTES_MAX as u64)
            .map(|length| length as usize)
    }

    fn text(&mut self, code: u8, raw: Piece, texts: &mut Texts) -> Option<Span> {
        match code {
            TEXT_ABSENT => Some(Span::NONE),
            TEXT_IN_RAW => {
                let (at, bytes) = (self.length()?, self.length()?);
                (at + bytes <= raw.bytes).then(|| Span::main(raw.at + at, bytes))
            }
            TEXT_APART => {
                let piece = texts.take(self.length()?)?;
                Some(Span::main(piece.at, piece.bytes))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
