//! Decides which appends one group takes. Writes nothing.

use std::sync::Arc;

use crate::frame::{ALIGN, HEADER_BYTES};
use crate::head::{Streams, encode_head, encode_name};
use crate::shared::Append;

/// Bytes of a group beyond which it takes no further append: bounds how long the first one waits for the last one.
const GROUP_BYTES_MAX: u64 = 16 << 20;

/// How much more a group may take.
pub(super) struct Room {
    /// What the segment has left.
    bytes: u64,
    taken: u64,
    is_first: bool,
    declared: Vec<Arc<str>>,
}

impl Room {
    pub(super) fn new(segment_bytes: u64, position: u64, streams: &Streams) -> Room {
        let head = match position {
            0 => (HEADER_BYTES + encode_head(0, streams).len().next_multiple_of(ALIGN)) as u64,
            _ => 0,
        };
        let bytes = segment_bytes.saturating_sub(position + head);
        Room { bytes, taken: 0, is_first: position == 0, declared: Vec::new() }
    }

    /// Returns whether an append fits into what the segment has left.
    pub(super) fn has(&self, streams: &Streams, append: &Append) -> bool {
        self.needed(streams, append) <= self.bytes
    }

    /// Takes an append into the group if it fits; the first of a segment always does.
    pub(super) fn take(&mut self, streams: &Streams, append: &Append) -> bool {
        let needed = self.needed(streams, append);
        let fits = match self.taken {
            0 => self.is_first || needed <= self.bytes,
            taken => needed <= self.bytes && taken + needed <= GROUP_BYTES_MAX,
        };
        if fits {
            self.bytes = self.bytes.saturating_sub(needed);
            self.taken += needed;
            let stream = &append.batch.stream;
            if streams.number(stream).is_none() && !self.declared.contains(stream) {
                self.declared.push(stream.clone());
            }
        }
        fits
    }

    fn needed(&self, streams: &Streams, append: &Append) -> u64 {
        let frame = append.encoded.frame.len() as u64;
        let stream = &append.batch.stream;
        if streams.number(stream).is_some() || self.declared.contains(stream) {
            return frame;
        }
        frame + (HEADER_BYTES + encode_name(stream).len().next_multiple_of(ALIGN)) as u64
    }
}
