//! The rules by which one frame follows another; recovery and salvage walk segments with them. Reads no files.

use memchr::memmem;
use sg_core::time::Timestamp;

use crate::frame::{ALIGN, Flaw, HEADER_BYTES, Header, Kind, MAGIC};
use crate::head::{SegmentHead, Streams, decode_head, decode_name};

/// What the frames so far lead to.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    pub(crate) streams: Streams,
    pub(crate) group: u64,
    pub(crate) group_start: u64,
    pub(crate) newest: Timestamp,
    /// The kind of the last frame.
    pub(crate) last: Kind,
    /// Records were lost: offsets and groups may jump forward.
    pub(crate) may_jump: bool,
}

impl Chain {
    /// A log without frames.
    pub(crate) fn empty() -> Chain {
        Chain {
            streams: Streams::default(),
            group: 0,
            group_start: 0,
            newest: Timestamp::NEVER,
            last: Kind::Mark,
            may_jump: false,
        }
    }

    /// Returns what a segment's first frame leads to.
    pub(crate) fn of_head(header: &Header, head: SegmentHead) -> Chain {
        Chain {
            streams: head.streams,
            group: header.group,
            group_start: header.group_start,
            newest: header.appended_at,
            last: Kind::Head,
            may_jump: header.is_lossy,
        }
    }

    /// Takes the next frame of the segment, whose checksums are right.
    pub(crate) fn accept(&mut self, header: &Header, position: u64, payload: &[u8]) -> Result<(), Flaw> {
        let follows = match header.group.cmp(&self.group) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => header.group_start == self.group_start || self.may_jump,
            std::cmp::Ordering::Greater => header.group_start == position || self.may_jump,
        };
        if !follows || header.appended_at < self.newest {
            return Err(Flaw::Order);
        }
        match header.kind {
            Kind::Head => return Err(Flaw::Order),
            Kind::Mark | Kind::Gap => {}
            Kind::Stream => {
                let name = decode_name(payload).ok_or(Flaw::Order)?;
                if self.streams.number(name).is_some()
                    || !self.streams.declare(header.stream, name, header.base_offset)
                {
                    return Err(Flaw::Order);
                }
            }
            Kind::Events => {
                let next = self.streams.get(header.stream).ok_or(Flaw::Order)?.next;
                let fits = header.base_offset == next || self.may_jump && header.base_offset > next;
                let behind = header.base_offset.checked_add(u64::from(header.count)).filter(|_| fits);
                self.streams.advance(header.stream, behind.ok_or(Flaw::Order)?);
            }
        }
        self.may_jump |= header.is_lossy;
        self.group = header.group;
        self.group_start = header.group_start;
        self.newest = header.appended_at;
        self.last = header.kind;
        Ok(())
    }
}

/// Reads a segment's first frame.
pub(crate) fn read_head(bytes: &[u8], segment: u64) -> Result<(Header, SegmentHead), Flaw> {
    let header = Header::read_frame(bytes, segment, 0)?;
    if header.kind != Kind::Head || header.group_start != 0 {
        return Err(Flaw::Order);
    }
    let head = decode_head(&bytes[HEADER_BYTES..header.frame_bytes() as usize]).ok_or(Flaw::Order)?;
    Ok((header, head))
}

/// Takes frames from `position` on until one does not follow; returns where that is and why.
pub(crate) fn walk(chain: &mut Chain, bytes: &[u8], segment: u64, mut position: u64) -> (u64, Flaw) {
    loop {
        let rest = &bytes[position as usize..];
        let taken = Header::read_frame(rest, segment, position).and_then(|header| {
            chain.accept(&header, position, &rest[HEADER_BYTES..header.frame_bytes() as usize])?;
            Ok(header.frame_bytes())
        });
        match taken {
            Ok(frame_bytes) => position += frame_bytes,
            Err(flaw) => return (position, flaw),
        }
    }
}

/// What lies behind a frame that does not follow.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Behind {
    /// The end of the last frame of a group that began later: there is one only when what stands before it was
    /// made durable.
    pub(crate) later_group_end: Option<u64>,
    /// The end of the last frame of this segment, whatever its group.
    pub(crate) end: Option<u64>,
    /// The largest group number of this segment's frames.
    pub(crate) group_max: u64,
}

/// Looks at everything behind a bad frame, itself included.
pub(crate) fn look_behind(bytes: &[u8], segment: u64, bad: u64) -> Behind {
    let mut behind = Behind::default();
    for (position, header) in frames_from(bytes, segment, bad) {
        behind.group_max = behind.group_max.max(header.group);
        let end = (position + header.frame_bytes()).min(bytes.len() as u64);
        behind.end = behind.end.max(Some(end));
        let whole = Header::read_frame(&bytes[position as usize..], segment, position).is_ok();
        if whole && header.group_start > bad {
            behind.later_group_end = behind.later_group_end.max(Some(end));
        }
    }
    behind
}

/// Returns every place from `position` on where a head of this segment's frames stands, whatever its payload.
pub(crate) fn frames_from(
    bytes: &[u8],
    segment: u64,
    position: u64,
) -> impl Iterator<Item = (u64, Header)> + '_ {
    let from = (position as usize).min(bytes.len());
    memmem::find_iter(&bytes[from..], &MAGIC).filter_map(move |found| {
        let at = from + found;
        if !at.is_multiple_of(ALIGN) {
            return None;
        }
        Header::read(&bytes[at..], segment, at as u64).ok().map(|header| (at as u64, header))
    })
}

#[cfg(test)]
mod tests;
