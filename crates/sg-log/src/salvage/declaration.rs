//! What a damaged frame told that gave a stream its name: its number from the records right behind it, its name from
//! its own payload or from what others know. Names nothing where two names are possible. Writes nothing.

use crate::chain::frames_from;
use crate::frame::{ALIGN, HEADER_BYTES, Header, Kind, u32_at};
use crate::head::{Streams, decode_name, encode_name};
use crate::log::Reached;

/// Where the checksum of its payload stands in a frame's head.
const PAYLOAD_CHECKSUM_AT: usize = 60;

/// The place of a frame that declared a stream, and what tells of it.
pub(super) struct Declaration<'a> {
    /// The number that it gave.
    pub(super) stream: u32,
    frame: &'a [u8],
    /// The offset behind the last record of the stream that the segment's frames tell of.
    told: u64,
}

impl<'a> Declaration<'a> {
    /// Returns the declaration that stood at a position, if one did: a stream's first records stand right behind it.
    pub(super) fn at((bytes, segment): (&'a [u8], u64), position: u64) -> Option<Declaration<'a>> {
        let mut behind = frames_from(bytes, segment, position + HEADER_BYTES as u64);
        let (end, first) = behind.next()?;
        let is_whole = Header::read_frame(&bytes[end as usize..], segment, end).is_ok();
        if !is_whole || first.kind != Kind::Events || first.base_offset != 0 {
            return None;
        }
        let ends = behind
            .filter(|(_, header)| header.kind == Kind::Events && header.stream == first.stream)
            .map(|(_, header)| header.base_offset.saturating_add(u64::from(header.count)));
        let told = ends.fold(u64::from(first.count), u64::max);
        Some(Declaration { stream: first.stream, frame: &bytes[position as usize..end as usize], told })
    }

    /// Returns the name, if that much of the frame is left.
    pub(super) fn name_left(&self) -> Option<&'a str> {
        let (head, payload) = self.frame.split_at_checked(HEADER_BYTES)?;
        let name = decode_name(payload)?;
        let is_whole = crc32fast::hash(payload) == u32_at(head, PAYLOAD_CHECKSUM_AT);
        (is_whole && self.fits(name)).then_some(name)
    }

    /// Returns the only stream of those that were reached which may have been meant: it has no other number among
    /// those known, its name fills the place, and it was read no further than the records go.
    pub(super) fn eliminate<'b>(&self, known: &Streams, reached: &'b [Reached]) -> Option<&'b str> {
        let mut possible = reached.iter().filter(|one| {
            known.number(&one.stream).is_none() && self.fits(&one.stream) && one.offset <= self.told
        });
        let only = possible.next()?;
        possible.next().is_none().then_some(&only.stream)
    }

    fn fits(&self, name: &str) -> bool {
        !name.is_empty() && HEADER_BYTES + encode_name(name).len().next_multiple_of(ALIGN) == self.frame.len()
    }
}

#[cfg(test)]
mod tests;
