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
        let (nameless, nameless_end) = self.nameless(ends);
        // Numbers of streams without a name are not given again: a salvage that is interrupted may find their records.
        let mut number = nameless.iter().max().map_or(0, |max| max + 1).max(behind.count());
        let is_absent = |one: &&Reached| ends.number(&one.stream).is_none();
        let are_told = reached.iter().filter(is_absent).filter(|one| one.offset > 0).count();
        for one in reached {
            match behind.number(&one.stream) {
                Some(known) => {
                    behind.advance(known, one.offset.max(behind.list()[known as usize].next));
                }
                // Its declaration is lost with all its records. Of whom nobody has read anything, it is that only where
                // there are more streams without a name than those that somebody has.
                None => {
                    let may_be_one = one.offset > 0 || are_told < nameless.len();
                    let next = if may_be_one { one.offset.max(nameless_end) } else { 0 };
                    if next > 0 && behind.declare(number, &one.stream, next) {
                        number += 1;
                    }
                }
            }
        }
        behind
    }

    /// Returns the numbers of streams that frames tell of but whose names are lost, and how far one may have gone.
    fn nameless(&self, ends: &Streams) -> (Vec<u32>, u64) {
        let nameless = || self.told.iter().filter(|(number, _)| ends.get(**number).is_none());
        let end = nameless().map(|(_, (told, records_there))| told + (self.records - records_there)).max();
        (nameless().map(|(number, _)| *number).collect(), end.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests;
