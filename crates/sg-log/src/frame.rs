//! The head of every frame: 72 bytes with a checksum of their own, little-endian, at positions divisible by 8.
//! Says nothing about what a payload means and compares no frame with its neighbours.
//!
//! ```text
//!  0 magic "SGLF"      4 version: 1, or 2 where records stand for dead letters   5 kind   6 flags (bit 0: records before this frame were lost)   7 zero
//!  8 segment number   16 group number      24 position of the group's first frame
//! 32 stream number    36 count             40 offset of the first record
//! 48 A, ms            56 payload length    60 payload checksum
//! 64 zero             68 checksum of bytes 0..68 and of the frame's position (8 bytes, not stored)
//! ```

use std::fmt;

use sg_core::time::Timestamp;

/// Bytes of a frame's head.
pub(crate) const HEADER_BYTES: usize = 72;
/// The first bytes of every frame.
pub(crate) const MAGIC: [u8; 4] = *b"SGLF";
/// Frames begin at multiples of this.
pub(crate) const ALIGN: usize = 8;
/// What a frame without replays has: programs that know nothing else read it.
const VERSION: u8 = 1;
/// What a frame with replays has: such programs refuse it rather than count a letter twice.
const VERSION_REPLAYS: u8 = 2;
const FLAG_LOST: u8 = 1;
const CHECKSUM_AT: usize = 68;

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The first frame of a segment: all streams so far with their next offsets.
    Head = 1,
    /// Gives a stream its number.
    Stream = 2,
    /// Records of one stream.
    Events = 3,
    /// Everything before was made durable; the log was closed here.
    Mark = 4,
    /// Stands where damaged bytes were taken out.
    Gap = 5,
}

/// A frame's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    /// Records before this frame were lost: offsets may jump after it.
    pub(crate) is_lossy: bool,
    /// Some of its records stand for dead letters.
    pub(crate) has_replays: bool,
    pub(crate) segment: u64,
    /// The attempt of the writer that wrote it; never used twice.
    pub(crate) group: u64,
    /// Where the group's first frame stands. A group begins only after the one before it was made durable.
    pub(crate) group_start: u64,
    pub(crate) stream: u32,
    pub(crate) count: u32,
    pub(crate) base_offset: u64,
    pub(crate) appended_at: Timestamp,
    pub(crate) payload_bytes: u32,
    pub(crate) payload_checksum: u32,
}

/// Why bytes are not the frame that should stand there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// The file ends inside the frame.
    Short,
    /// There is no frame.
    NoFrame,
    /// The head's checksum is wrong.
    Head,
    /// The head is of a format that this program does not know.
    Version(u8),
    /// The frame belongs to another segment: the file was used before.
    OtherSegment,
    /// The payload's checksum is wrong.
    Payload,
    /// The checksums are right but the content is not what follows.
    Order,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flaw::Short => f.write_str("the file ends inside a frame"),
            Flaw::NoFrame => f.write_str("there is no frame"),
            Flaw::Head => f.write_str("a frame's head has a wrong checksum"),
            Flaw::Version(version) => {
                write!(
                    f,
                    "the frame has format version {version}, this program reads {VERSION} and {VERSION_REPLAYS}"
                )
            }
            Flaw::OtherSegment => f.write_str("the frame belongs to another segment"),
            Flaw::Payload => f.write_str("a frame's payload has a wrong checksum"),
            Flaw::Order => f.write_str("the frame does not follow the one before it"),
        }
    }
}

impl Header {
    /// Returns the bytes from this frame's start to the next one's.
    pub(crate) fn frame_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.payload_bytes)
    }

    /// Writes the head into the first bytes of a frame that will stand at `position`.
    pub(crate) fn write(&self, position: u64, frame: &mut [u8]) {
        let head = &mut frame[..HEADER_BYTES];
        head[0..4].copy_from_slice(&MAGIC);
        head[4] = if self.has_replays { VERSION_REPLAYS } else { VERSION };
        head[5] = self.kind as u8;
        head[6] = if self.is_lossy { FLAG_LOST } else { 0 };
        head[7] = 0;
        head[8..16].copy_from_slice(&self.segment.to_le_bytes());
        head[16..24].copy_from_slice(&self.group.to_le_bytes());
        head[24..32].copy_from_slice(&self.group_start.to_le_bytes());
        head[32..36].copy_from_slice(&self.stream.to_le_bytes());
        head[36..40].copy_from_slice(&self.count.to_le_bytes());
        head[40..48].copy_from_slice(&self.base_offset.to_le_bytes());
        head[48..56].copy_from_slice(&self.appended_at.0.to_le_bytes());
        head[56..60].copy_from_slice(&self.payload_bytes.to_le_bytes());
        head[60..64].copy_from_slice(&self.payload_checksum.to_le_bytes());
        head[64..68].fill(0);
        let checksum = head_checksum(&head[..CHECKSUM_AT], position);
        head[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
    }

    /// Reads the head of a frame of the given segment at `position`.
    pub(crate) fn read(bytes: &[u8], segment: u64, position: u64) -> Result<Header, Flaw> {
        let head = bytes.get(..HEADER_BYTES).ok_or(Flaw::Short)?;
        if head[0..4] != MAGIC {
            return Err(Flaw::NoFrame);
        }
        if u64_at(head, 8) != segment {
            return Err(Flaw::OtherSegment);
        }
        if u32_at(head, CHECKSUM_AT) != head_checksum(&head[..CHECKSUM_AT], position) {
            return Err(Flaw::Head);
        }
        if !matches!(head[4], VERSION | VERSION_REPLAYS) {
            return Err(Flaw::Version(head[4]));
        }
        let kind = match head[5] {
            1 => Kind::Head,
            2 => Kind::Stream,
            3 => Kind::Events,
            4 => Kind::Mark,
            5 => Kind::Gap,
            _ => return Err(Flaw::Version(head[4])),
        };
        Ok(Header {
            kind,
            is_lossy: head[6] & FLAG_LOST != 0,
            has_replays: head[4] == VERSION_REPLAYS,
            segment,
            group: u64_at(head, 16),
            group_start: u64_at(head, 24),
            stream: u32_at(head, 32),
            count: u32_at(head, 36),
            base_offset: u64_at(head, 40),
            appended_at: Timestamp(u64_at(head, 48) as i64),
            payload_bytes: u32_at(head, 56),
            payload_checksum: u32_at(head, 60),
        })
    }

    /// Reads a whole frame of the given segment from a slice that begins at `position`, and checks its payload.
    pub(crate) fn read_frame(bytes: &[u8], segment: u64, position: u64) -> Result<Header, Flaw> {
        let header = Header::read(bytes, segment, position)?;
        let end = usize::try_from(header.frame_bytes()).map_err(|_| Flaw::Short)?;
        let payload = bytes.get(HEADER_BYTES..end).ok_or(Flaw::Short)?;
        if crc32fast::hash(payload) != header.payload_checksum {
            return Err(Flaw::Payload);
        }
        Ok(header)
    }

    /// Returns the whole frame with this head; length and checksum of the payload are filled in.
    pub(crate) fn frame(mut self, position: u64, payload: &[u8]) -> Vec<u8> {
        let padded = payload.len().next_multiple_of(ALIGN);
        let mut frame = vec![0; HEADER_BYTES + padded];
        frame[HEADER_BYTES..HEADER_BYTES + payload.len()].copy_from_slice(payload);
        self.payload_bytes = padded as u32;
        self.payload_checksum = crc32fast::hash(&frame[HEADER_BYTES..]);
        self.write(position, &mut frame);
        frame
    }
}

fn head_checksum(head: &[u8], position: u64) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(&position.to_le_bytes());
    hasher.finalize()
}

/// Reads a number; the caller has checked the length.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

/// Reads a number; the caller has checked the length.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

#[cfg(test)]
mod tests;
