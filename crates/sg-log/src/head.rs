//! Streams and their numbers, and the first frame of a segment, which repeats them so that any segment can be read alone.
//!
//! ```text
//! u64 end of the segment before | u32 streams | per stream: u32 number, u64 next offset, u32 length, name
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use crate::frame::{u32_at, u64_at};

/// A stream of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stream {
    /// The name; empty when it was lost with damaged bytes.
    pub(crate) name: Arc<str>,
    /// The offset that its next record will get.
    pub(crate) next: u64,
}

/// All streams; a stream's number is its place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Streams {
    list: Vec<Stream>,
    numbers: HashMap<Arc<str>, u32>,
}

impl Streams {
    /// Returns the number of a stream.
    pub(crate) fn number(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    /// Returns a stream whose name is known.
    pub(crate) fn get(&self, number: u32) -> Option<&Stream> {
        self.list.get(number as usize).filter(|stream| !stream.name.is_empty())
    }

    /// Returns all streams by number.
    pub(crate) fn list(&self) -> &[Stream] {
        &self.list
    }

    /// Returns the number that the next new stream gets.
    pub(crate) fn count(&self) -> u32 {
        self.list.len() as u32
    }

    /// Declares a stream under a number; `false` when number or name stand for another already.
    pub(crate) fn declare(&mut self, number: u32, name: &str, next: u64) -> bool {
        if name.is_empty() || self.numbers.get(name).is_some_and(|known| *known != number) {
            return false;
        }
        let at = number as usize;
        // Numbers are given out one by one: a far one is no number of this log.
        if at > self.list.len() + STREAMS_SKIPPED_MAX {
            return false;
        }
        while self.list.len() <= at {
            self.list.push(Stream { name: Arc::from(""), next: 0 });
        }
        if !self.list[at].name.is_empty() && &*self.list[at].name != name {
            return false;
        }
        let name: Arc<str> = Arc::from(name);
        self.list[at] = Stream { name: name.clone(), next };
        self.numbers.insert(name, number);
        true
    }

    /// Moves a stream's next offset.
    pub(crate) fn advance(&mut self, number: u32, next: u64) {
        self.list[number as usize].next = next;
    }

    /// Writes all next offsets into a list.
    pub(crate) fn save(&self, nexts: &mut Vec<u64>) {
        nexts.clear();
        nexts.extend(self.list.iter().map(|stream| stream.next));
    }

    /// Goes back to a saved state: later streams are forgotten.
    pub(crate) fn restore(&mut self, nexts: &[u64]) {
        for stream in self.list.drain(nexts.len()..) {
            self.numbers.remove(&stream.name);
        }
        for (stream, next) in self.list.iter_mut().zip(nexts) {
            stream.next = *next;
        }
    }
}

/// Stream numbers that salvage may have lost in a row.
const STREAMS_SKIPPED_MAX: usize = 4_096;

/// What a segment's first frame says.
#[derive(Debug)]
pub(crate) struct SegmentHead {
    /// Where the frames of the segment before end; 0 in the first.
    pub(crate) end_before: u64,
    /// The streams as they were at the segment's start.
    pub(crate) streams: Streams,
}

/// Returns the payload of a segment's first frame.
pub(crate) fn encode_head(end_before: u64, streams: &Streams) -> Vec<u8> {
    let mut payload = Vec::with_capacity(64);
    payload.extend_from_slice(&end_before.to_le_bytes());
    let named = streams.list.iter().filter(|stream| !stream.name.is_empty()).count() as u32;
    payload.extend_from_slice(&named.to_le_bytes());
    for (number, stream) in streams.list.iter().enumerate() {
        if !stream.name.is_empty() {
            payload.extend_from_slice(&(number as u32).to_le_bytes());
            payload.extend_from_slice(&stream.next.to_le_bytes());
            payload.extend_from_slice(&(stream.name.len() as u32).to_le_bytes());
            payload.extend_from_slice(stream.name.as_bytes());
        }
    }
    payload
}

/// Reads the payload of a segment's first frame; `None` when it makes no sense.
pub(crate) fn decode_head(payload: &[u8]) -> Option<SegmentHead> {
    let (fixed, mut rest) = payload.split_at_checked(12)?;
    let mut streams = Streams::default();
    for _ in 0..u32_at(fixed, 8) {
        let (row, after) = rest.split_at_checked(16)?;
        let (name, after) = after.split_at_checked(u32_at(row, 12) as usize)?;
        rest = after;
        if !streams.declare(u32_at(row, 0), std::str::from_utf8(name).ok()?, u64_at(row, 4)) {
            return None;
        }
    }
    Some(SegmentHead { end_before: u64_at(fixed, 0), streams })
}

/// Returns the payload of a frame that declares a stream.
pub(crate) fn encode_name(name: &str) -> Vec<u8> {
    let mut payload = Vec::with_capacity(name.len() + 4);
    payload.extend_from_slice(&(name.len() as u32).to_le_bytes());
    payload.extend_from_slice(name.as_bytes());
    payload
}

/// Reads the payload of a frame that declares a stream.
pub(crate) fn decode_name(payload: &[u8]) -> Option<&str> {
    let (bytes, rest) = payload.split_at_checked(4)?;
    std::str::from_utf8(rest.get(..u32_at(bytes, 0) as usize)?).ok()
}

#[cfg(test)]
mod tests;
