//! How far streams may have gone in bytes that are lost at the end of a log, where no later frame tells. Never too little:
//! an offset that somebody may know is not given to another record. Writes nothing.

use std::collections::BTreeMap;

use crate::chain::frames_from;
use crate::frame::{HEADER_BYTES, Kind};
use crate::head::Streams;
use crate::log::Reached;
use crate::payload::ROW_BYTES_MIN;

/// What bytes that are lost may have held, since a frame that told where all streams were.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    /// Records at most, each of any stream.
    records: u64,
    /// By stream number: the offset behind the last record that a frame tells of, and `records` there.
    told: BTreeMap<u32, (u64, u64)>,
}

impl Doubts {
    /// Takes note of a damaged range of a segment. Heads that can still be read tell whose records they had.
    pub(super) fn lose(
        &mut self,
        (bytes, segment): (&[u8], u64),
        (position, end): (u64, u64),
        group_min: u64,
    ) {
        let mut at = position;
        for (found, header) in frames_from(bytes, segment, position) {
            if found >= end {
                break;
            }
            // What an attempt that failed has left says nothing of later ones.
            if found < at || header.group < group_min {
                continue;
            }
            self.lose_bytes(found - at);
            at = (found + header.frame_bytes()).min(end);
            if header.kind == Kind::Events {
                self.tell(header.stream, header.base_offset.saturating_add(u64::from(header.count)));
            }
        }
        self.lose_bytes(end - at);
    }

    fn lose_bytes(&mut self, bytes: u64) {
        self.records += bytes.saturating_sub(HEADER_BYTES as u64) / ROW_BYTES_MIN as u64;
    }

    /// Takes note of a frame that tells where a stream is.
    pub(super) fn tell(&mut self, stream: u32, next: u64) {
        self.told.insert(stream, (next, self.records));
    }

    /// Returns where streams go on that end at `ends` as far as frames can be taken.
    pub(super) fn behind(&self, ends: &Streams, reached: &[Reached]) -> Streams {
        let mut behind = ends.clone();
        for (number, stream) in (0..).zip(ends.list()) {
            let (told, records_there) = self.told.get(&number).copied().unwrap_or_default();
            behind.advance(number, stream.next.max(told) + (self.records - records_there));
        }
        for one in reached.iter().filter(|one| one.offset > 0) {
            match behind.number(&one.stream) {
                Some(number) => {
                    behind.advance(number, one.offset.max(behind.list()[number as usize].next));
                }
                // Its declaration is lost with all its records.
                None => {
                    behind.declare(behind.count(), &one.stream, one.offset);
                }
            }
        }
        behind
    }
}

#[cfg(test)]
mod tests;
