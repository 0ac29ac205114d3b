//! The files of one cut while they grow: one an hour, and another when that is full. Decides the bytes of a file,
//! and nothing of when a cut ends.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use flate2::write::GzEncoder;
use memchr::memchr2;
use sg_core::archive::{ArchiveRules, Compression, Format};
use sg_core::batch::{EventBatch, LogBatch};
use sg_core::ports::{CutBuilder, CutFile, ErrorKind, FileLimits, PortError};
use sg_core::time::Timestamp;

use crate::chunks::{Chunks, sha256};
use crate::companion::Companion;

/// The fastest of the usual levels: the bucket is slower than any.
const ZSTD_LEVEL: i32 = 1;

/// The files of one cut.
pub(crate) struct Cut {
    rules: Arc<ArchiveRules>,
    #[cfg_attr(not(feature = "parquet"), allow(dead_code, reason = "a column of it"))]
    partition: u32,
    growing: BTreeMap<Timestamp, Growing>,
    full: Vec<Growing>,
    /// Bytes of all lines.
    bytes: u64,
}

/// One file.
struct Growing {
    hour: Timestamp,
    from: u64,
    to: u64,
    rows: u64,
    body: Body,
    companion: Companion,
}

/// The records of a file.
enum Body {
    Lines(Chunks),
    #[cfg(feature = "parquet")]
    Columns(crate::columns::Columns),
}

impl Cut {
    /// Begins a cut without files.
    pub(crate) fn new(rules: Arc<ArchiveRules>, partition: u32) -> Cut {
        Cut { rules, partition, growing: BTreeMap::new(), full: Vec::new(), bytes: 0 }
    }
}

impl CutBuilder for Cut {
    fn add(&mut self, batch: &LogBatch, records: Range<usize>, limits: FileLimits) -> Result<(), PortError> {
        let events = &batch.events;
        for index in records {
            let (offset, appended_at) = batch.place(index);
            let entry = &events.entries[index];
            let hour = self.rules.hour(entry, appended_at);
            let file = match self.growing.entry(hour) {
                Slot::Occupied(known) => known.into_mut(),
                Slot::Vacant(free) => {
                    free.insert(Growing::new(hour, offset, Body::new(self.rules.format, self.partition)))
                }
            };
            self.bytes += file.add(events, index, (offset, appended_at));
            if (file.rows >= limits.rows || file.body.bytes() >= limits.bytes)
                && let Some(full) = self.growing.remove(&hour)
            {
                self.full.push(full);
            }
        }
        Ok(())
    }

    fn files(&self) -> usize {
        self.full.len() + self.growing.len()
    }

    fn rows(&self) -> u64 {
        self.full.iter().chain(self.growing.values()).map(|file| file.rows).max().unwrap_or(0)
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn held(&self) -> u64 {
        let files = self.full.iter().chain(self.growing.values());
        files.map(|file| file.body.held() + file.companion.bytes()).sum()
    }

    fn finish(self: Box<Self>) -> Result<Vec<CutFile>, PortError> {
        let compression = self.rules.compression;
        let mut files: Vec<Growing> = self.full.into_iter().chain(self.growing.into_values()).collect();
        files.sort_by_key(|file| file.from);
        let finish = |file: Growing| file.finish(compression).map_err(unpackable);
        files.into_iter().map(finish).collect()
    }
}

/// Makes a file of lines, which has no companion.
pub(crate) fn of_lines(
    compression: Compression,
    hour: Timestamp,
    texts: &[&str],
) -> Result<CutFile, PortError> {
    let mut lines = Chunks::default();
    texts.iter().for_each(|text| lines.push_line(text.as_bytes()));
    let content = pack(lines.into_pieces(), compression).map_err(unpackable)?;
    Ok(CutFile {
        hour,
        from: 0,
        to: 0,
        rows: texts.len() as u64,
        bytes: content.iter().map(|piece| piece.len() as u64).sum(),
        sha256: sha256(&content),
        content,
        companion: Bytes::new(),
    })
}

fn unpackable(error: std::io::Error) -> PortError {
    PortError::from_source(ErrorKind::Invalid, "packing a file of the archive", error)
}

impl Growing {
    fn new(hour: Timestamp, from: u64, body: Body) -> Growing {
        Growing { hour, from, to: from, rows: 0, body, companion: Companion::default() }
    }

    /// Adds a record of a batch by its index; returns the bytes that it takes.
    fn add(&mut self, events: &EventBatch, index: usize, place: (u64, Timestamp)) -> u64 {
        let entry = &events.entries[index];
        let raw = events.bytes(entry.raw);
        // What the door took is UTF-8 without line breaks; what others wrote to the log may be anything.
        let altered = (entry.received_at.is_none()).then(|| as_line(raw)).flatten();
        let line = altered.as_deref().unwrap_or(raw);
        self.companion.add(events, index, place, altered.as_ref().map(|_| raw));
        match &mut self.body {
            Body::Lines(lines) => lines.push_line(line),
            #[cfg(feature = "parquet")]
            Body::Columns(columns) => columns.add(events, entry, place, line),
        }
        self.to = place.0 + 1;
        self.rows += 1;
        line.len() as u64 + 1
    }

    fn finish(self, compression: Compression) -> std::io::Result<CutFile> {
        let content = match self.body {
            Body::Lines(lines) => pack(lines.into_pieces(), compression)?,
            #[cfg(feature = "parquet")]
            Body::Columns(columns) => columns.finish()?,
        };
        Ok(CutFile {
            hour: self.hour,
            from: self.from,
            to: self.to,
            rows: self.rows,
            bytes: content.iter().map(|piece| piece.len() as u64).sum(),
            sha256: sha256(&content),
            content,
            companion: self.companion.finish()?,
        })
    }
}

impl Body {
    #[cfg_attr(not(feature = "parquet"), allow(unused_variables, reason = "a column of it"))]
    fn new(format: Format, partition: u32) -> Body {
        match format {
            #[cfg(feature = "parquet")]
            Format::Parquet => Body::Columns(crate::columns::Columns::new(partition)),
            _ => Body::Lines(Chunks::default()),
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Body::Lines(lines) => lines.bytes(),
            #[cfg(feature = "parquet")]
            Body::Columns(columns) => columns.bytes(),
        }
    }

    fn held(&self) -> u64 {
        match self {
            Body::Lines(lines) => lines.bytes(),
            #[cfg(feature = "parquet")]
            Body::Columns(columns) => columns.held(),
        }
    }
}

/// Returns a record as a line of text where it is none as it is: with blanks for line breaks, and U+FFFD for what is
/// not UTF-8.
fn as_line(raw: &[u8]) -> Option<Vec<u8>> {
    let is_text = std::str::from_utf8(raw).is_ok();
    if is_text && memchr2(b'\n', b'\r', raw).is_none() {
        return None;
    }
    Some(String::from_utf8_lossy(raw).replace(['\n', '\r'], " ").into_bytes())
}

/// Packs lines, piece by piece.
fn pack(lines: Vec<Bytes>, compression: Compression) -> std::io::Result<Vec<Bytes>> {
    let packed = match compression {
        Compression::None => return Ok(lines),
        Compression::Gzip => {
            let mut packer = GzEncoder::new(Chunks::default(), flate2::Compression::default());
            for piece in lines {
                packer.write_all(&piece)?;
            }
            packer.finish()?
        }
        Compression::Zstd => {
            let mut packer = zstd::Encoder::new(Chunks::default(), ZSTD_LEVEL)?;
            for piece in lines {
                packer.write_all(&piece)?;
            }
            packer.finish()?
        }
    };
    Ok(packed.into_pieces())
}
