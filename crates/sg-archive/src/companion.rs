//! What the log knew of each record of a file, so that a rebuild judges as the first time.
//!
//! ```text
//! "SGR2" | u64 records | record …          all of it packed with zstd; little-endian, varints are LEB128
//! record: flags | key hash (u64) | offset | A | [event time] | [received at] | [letter's partition, its offset] | id
//!         | type | [the record as it was]
//! ```
//! Version 1 is the same without letters; it is read, and no longer written.
//! Offsets and times are differences to the record before, times as zigzag. An id or type that stands in the line is its
//! place and length there; a UUID in its usual spelling is 16 bytes. The record as it was stands here when its line is
//! not the same: a line has no line break and is UTF-8.

use std::borrow::Cow;

use bytes::Bytes;
use sg_core::batch::{EventBatch, LetterPlace, Span};
use sg_core::time::Timestamp;
use sg_core::varint;
use uuid::Uuid;

const MAGIC: &[u8; 4] = b"SGR2";
const MAGIC_WITHOUT_LETTERS: &[u8; 4] = b"SGR1";
/// Fast: most of a companion are hashes and ids, which hardly get smaller.
const LEVEL: i32 = 1;
/// Records and bytes of a companion at most, against damaged ones: more than the largest file can have.
const BYTES_MAX: usize = 1 << 30;

const ID_SHIFT: u8 = 0;
const KIND_SHIFT: u8 = 2;
const ABSENT: u8 = 0;
const IN_LINE: u8 = 1;
const APART: u8 = 2;
const UUID: u8 = 3;
const HAS_EVENT_TIME: u8 = 1 << 4;
const HAS_RECEIVED_AT: u8 = 1 << 5;
const HAS_ORIGINAL: u8 = 1 << 6;
const HAS_LETTER: u8 = 1 << 7;

/// A companion while it grows.
#[derive(Debug, Default)]
pub(crate) struct Companion {
    rows: Vec<u8>,
    count: u64,
    before: Before,
}

/// What differences are taken to.
#[derive(Debug, Default)]
struct Before {
    offset: u64,
    appended_at: i64,
    event_time: i64,
    received_at: i64,
}

/// One record as a companion has it; texts that stand in the line are places in it.
#[derive(Debug, PartialEq)]
pub(crate) struct Known<'a> {
    pub(crate) offset: u64,
    pub(crate) appended_at: Timestamp,
    pub(crate) key_hash: u64,
    pub(crate) event_time: Option<Timestamp>,
    pub(crate) received_at: Option<Timestamp>,
    /// The dead letter that the record stands for, if it does.
    pub(crate) letter: Option<LetterPlace>,
    pub(crate) id: Text<'a>,
    pub(crate) kind: Text<'a>,
    pub(crate) original: Option<&'a [u8]>,
}

/// An id or type.
#[derive(Debug, PartialEq)]
pub(crate) enum Text<'a> {
    Absent,
    InLine { at: usize, bytes: usize },
    Apart(Cow<'a, [u8]>),
}

impl Companion {
    /// Adds a record of a batch by its index; `original` when its line is another.
    pub(crate) fn add(
        &mut self,
        batch: &EventBatch,
        index: usize,
        (offset, appended_at): (u64, Timestamp),
        original: Option<&[u8]>,
    ) {
        let (entry, letter) = (&batch.entries[index], batch.replay_of(index));
        let raw = batch.bytes(entry.raw);
        let id = place(batch, raw, entry.id, original.is_none());
        let kind = place(batch, raw, entry.kind, original.is_none());
        let mut flags = id.code() << ID_SHIFT | kind.code().min(APART) << KIND_SHIFT;
        flags |= if entry.event_time.is_some() { HAS_EVENT_TIME } else { 0 };
        flags |= if entry.received_at.is_some() { HAS_RECEIVED_AT } else { 0 };
        flags |= if original.is_some() { HAS_ORIGINAL } else { 0 };
        flags |= if letter.is_some() { HAS_LETTER } else { 0 };
        let Companion { rows, before, .. } = self;
        rows.push(flags);
        rows.extend_from_slice(&entry.key_hash.to_le_bytes());
        varint::push(rows, offset.wrapping_sub(before.offset));
        before.offset = offset;
        varint::push_time(rows, appended_at, &mut before.appended_at);
        if let Some(time) = entry.event_time {
            varint::push_time(rows, time, &mut before.event_time);
        }
        if let Some(time) = entry.received_at {
            varint::push_time(rows, time, &mut before.received_at);
        }
        if let Some((partition, offset)) = letter {
            varint::push(rows, u64::from(partition));
            varint::push(rows, offset);
        }
        id.push(rows);
        kind.without_uuid().push(rows);
        if let Some(original) = original {
            varint::push(rows, original.len() as u64);
            rows.extend_from_slice(original);
        }
        self.count += 1;
    }

    /// Returns the bytes gathered.
    pub(crate) fn bytes(&self) -> u64 {
        self.rows.len() as u64
    }

    /// Packs it.
    pub(crate) fn finish(self) -> std::io::Result<Bytes> {
        use std::io::Write;
        let mut packer = zstd::Encoder::new(Vec::new(), LEVEL)?;
        // The manifest has the sum of the file alone.
        packer.include_checksum(true)?;
        packer.write_all(MAGIC)?;
        packer.write_all(&self.count.to_le_bytes())?;
        packer.write_all(&self.rows)?;
        Ok(packer.finish()?.into())
    }
}

/// Where a text goes.
enum Place<'a> {
    Absent,
    InLine { at: usize, bytes: usize },
    Apart(&'a [u8]),
    Uuid(Uuid, &'a [u8]),
}

impl Place<'_> {
    fn code(&self) -> u8 {
        match self {
            Place::Absent => ABSENT,
            Place::InLine { .. } => IN_LINE,
            Place::Apart(_) => APART,
            Place::Uuid(..) => UUID,
        }
    }

    fn without_uuid(self) -> Self {
        match self {
            Place::Uuid(_, text) => Place::Apart(text),
            other => other,
        }
    }

    fn push(&self, rows: &mut Vec<u8>) {
        match self {
            Place::Absent => {}
            Place::InLine { at, bytes } => {
                varint::push(rows, *at as u64);
                varint::push(rows, *bytes as u64);
            }
            Place::Apart(text) => {
                varint::push(rows, text.len() as u64);
                rows.extend_from_slice(text);
            }
            Place::Uuid(uuid, _) => rows.extend_from_slice(uuid.as_bytes()),
        }
    }
}

fn place<'a>(batch: &'a EventBatch, raw: &[u8], span: Span, is_line: bool) -> Place<'a> {
    if span.is_none() {
        return Place::Absent;
    }
    let text = batch.bytes(span);
    let at = (text.as_ptr() as usize).wrapping_sub(raw.as_ptr() as usize);
    if is_line && at <= raw.len() && text.len() <= raw.len() - at {
        return Place::InLine { at, bytes: text.len() };
    }
    match Uuid::try_parse_ascii(text) {
        Ok(uuid) if uuid.hyphenated().to_string().as_bytes() == text => Place::Uuid(uuid, text),
        _ => Place::Apart(text),
    }
}

/// Unpacks a companion.
pub(crate) fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    use std::io::Read;
    let mut rows = Vec::new();
    let unpacker = zstd::Decoder::new(packed).ok()?;
    unpacker.take(BYTES_MAX as u64).read_to_end(&mut rows).ok()?;
    Some(rows)
}

/// Reads an unpacked companion; `None` when it is none of ours.
pub(crate) fn read(unpacked: &[u8]) -> Option<Vec<Known<'_>>> {
    let rest = unpacked.strip_prefix(MAGIC).or_else(|| unpacked.strip_prefix(MAGIC_WITHOUT_LETTERS))?;
    let (count, rows) = rest.split_first_chunk::<8>()?;
    let count = usize::try_from(u64::from_le_bytes(*count)).ok()?;
    // A record has at least flags, key hash, offset and a time.
    if count > rows.len() / 11 {
        return None;
    }
    let mut rows = Rows(rows);
    let mut before = Before::default();
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        all.push(rows.record(&mut before)?);
    }
    rows.0.is_empty().then_some(all)
}

/// The rows that were not read yet.
struct Rows<'a>(&'a [u8]);

impl<'a> Rows<'a> {
    fn record(&mut self, before: &mut Before) -> Option<Known<'a>> {
        let flags = self.take(1)?[0];
        let key_hash = u64::from_le_bytes(self.take(8)?.try_into().ok()?);
        before.offset = before.offset.wrapping_add(varint::take(&mut self.0)?);
        let appended_at = varint::take_time(&mut self.0, &mut before.appended_at)?;
        let event_time = match flags & HAS_EVENT_TIME {
            0 => None,
            _ => Some(varint::take_time(&mut self.0, &mut before.event_time)?),
        };
        let received_at = match flags & HAS_RECEIVED_AT {
            0 => None,
            _ => Some(varint::take_time(&mut self.0, &mut before.received_at)?),
        };
        let letter = match flags & HAS_LETTER {
            0 => None,
            _ => Some((u32::try_from(varint::take(&mut self.0)?).ok()?, varint::take(&mut self.0)?)),
        };
        let id = self.text(flags >> ID_SHIFT & 3)?;
        let kind = self.text(flags >> KIND_SHIFT & 3)?;
        let original = match flags & HAS_ORIGINAL {
            0 => None,
            _ => {
                let bytes = self.length()?;
                Some(self.take(bytes)?)
            }
        };
        let offset = before.offset;
        Some(Known { offset, appended_at, key_hash, event_time, received_at, letter, id, kind, original })
    }

    fn text(&mut self, code: u8) -> Option<Text<'a>> {
        Some(match code {
            ABSENT => Text::Absent,
            IN_LINE => Text::InLine { at: self.length()?, bytes: self.length()? },
            APART => {
                let bytes = self.length()?;
                Text::Apart(self.take(bytes)?.into())
            }
            _ => {
                let uuid = Uuid::from_slice(self.take(16)?).ok()?;
                Text::Apart(uuid.hyphenated().to_string().into_bytes().into())
            }
        })
    }

    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(varint::take(&mut self.0)?).ok().filter(|length| *length <= BYTES_MAX)
    }
}
