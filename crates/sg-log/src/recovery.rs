//! Opening a log's directory: the heads of all segments, every frame of the last one. Cuts off what was being written
//! when the process ended; anything else that is not as it was written is an error. Checks the other segments' frames only
//! for who asks.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use sg_core::ports::{ErrorKind, PortError};
use sg_core::time::Timestamp;

use crate::chain::{Chain, look_behind, read_head, walk};
use crate::disk::{Disk, DiskFile};
use crate::fault::{disk_error, flawed};
use crate::frame::{Flaw, HEADER_BYTES, Header, Kind};
use crate::head::{SegmentHead, Streams};
use crate::names;
use crate::shared::Segment;
use crate::writer::Active;

/// Bytes of a segment that are read to find its first frame; more are read when it is longer.
const HEAD_READ_BYTES: usize = 16 << 10;

/// What a log's directory holds.
pub(crate) struct Recovered {
    pub(crate) segments: VecDeque<Segment>,
    pub(crate) streams: Streams,
    pub(crate) newest: Timestamp,
    /// The number of the next group.
    pub(crate) group: u64,
    pub(crate) active: Option<Active>,
}

/// A segment whose first frame was read.
struct Opened {
    number: u64,
    file_bytes: u64,
    head: Result<(Header, SegmentHead), Flaw>,
}

/// Reads the segments with the given numbers, which are in order.
pub(crate) fn recover(disk: &dyn Disk, dir: &Path, numbers: &[u64]) -> Result<Recovered, PortError> {
    let mut opened = Vec::with_capacity(numbers.len());
    for number in numbers {
        opened.push(open_segment(disk, dir, *number)?);
    }
    for pair in numbers.windows(2) {
        if pair[1] != pair[0] + 1 {
            return Err(missing(dir, pair[0] + 1));
        }
    }
    drop_begun(disk, dir, &mut opened)?;
    let mut segments = VecDeque::with_capacity(opened.len());
    let mut last = None;
    for segment in opened {
        let path = names::segment(dir, segment.number);
        let (header, head) = segment.head.map_err(|flaw| flawed(&path, 0, flaw))?;
        if let Some((before, before_bytes)) = segments.back_mut().zip(last.as_ref()) {
            seal(dir, before, *before_bytes, &head)?;
        }
        segments.push_back(Segment {
            number: segment.number,
            starts: head.streams.list().iter().map(|stream| stream.next).collect(),
            end: header.frame_bytes(),
            begun_at: header.appended_at,
        });
        last = Some(segment.file_bytes);
    }
    finish(disk, dir, segments)
}

/// Removes a last segment that was begun but whose first group was never made durable.
fn drop_begun(disk: &dyn Disk, dir: &Path, opened: &mut Vec<Opened>) -> Result<(), PortError> {
    let Some(last) = opened.last() else { return Ok(()) };
    let Err(flaw) = last.head else { return Ok(()) };
    let path = names::segment(dir, last.number);
    let (_, bytes) = open_whole(disk, &path)?;
    let is_begun = !matches!(flaw, Flaw::Version(_))
        && (opened.len() > 1 || last.number == 1)
        && look_behind(&bytes, last.number, 0).later_group_end.is_none();
    if !is_begun {
        return Err(flawed(&path, 0, flaw));
    }
    tracing::warn!(file = %path.display(), "removed a segment that was begun when the process ended; nothing in it was acknowledged");
    disk.remove(&path).map_err(|error| disk_error("remove segment file", &path, error))?;
    disk.sync_dir(dir).map_err(|error| disk_error("sync directory", dir, error))?;
    opened.pop();
    Ok(())
}

/// Notes where a segment ends, as the first frame of the next one tells.
fn seal(dir: &Path, before: &mut Segment, file_bytes: u64, next: &SegmentHead) -> Result<(), PortError> {
    if next.end_before < before.end || next.end_before > file_bytes {
        return Err(flawed(&names::segment(dir, before.number), file_bytes, Flaw::Short));
    }
    before.end = next.end_before;
    Ok(())
}

/// Walks the last segment and makes it ready to be written on.
fn finish(disk: &dyn Disk, dir: &Path, mut segments: VecDeque<Segment>) -> Result<Recovered, PortError> {
    let Some(last) = segments.back_mut() else {
        let chain = Chain::empty();
        return Ok(Recovered {
            segments,
            streams: chain.streams,
            newest: chain.newest,
            group: 1,
            active: None,
        });
    };
    let number = last.number;
    let path = names::segment(dir, number);
    let (file, bytes) = open_whole(disk, &path)?;
    let (header, head) = read_head(&bytes, number).map_err(|flaw| flawed(&path, 0, flaw))?;
    let end_before = head.end_before;
    let mut chain = Chain::of_head(&header, head);
    let (end, flaw) = walk(&mut chain, &bytes, number, header.frame_bytes());
    let behind = look_behind(&bytes, number, end);
    if behind.later_group_end.is_some() || is_wrong(flaw, &bytes, number, end, &chain) {
        return Err(flawed(&path, end, flaw));
    }
    let torn_end = behind.end.or_else(|| torn_end(flaw, &bytes, end));
    if let Some(torn_end) = torn_end {
        cut(&*file, &path, end, torn_end, flaw)?;
    }
    rewrite_last_group(&*file, &path, &bytes[chain.group_start as usize..end as usize], chain.group_start)?;
    last.end = end;
    let is_marked = chain.last == Kind::Mark;
    Ok(Recovered {
        segments,
        streams: chain.streams,
        newest: chain.newest,
        group: chain.group.max(behind.group_max) + 1,
        active: Some(Active { number, file, position: end, end_before, is_marked }),
    })
}

/// Checks every frame of a segment behind which another one begins.
pub(crate) fn check_closed(disk: &dyn Disk, dir: &Path, segment: &Segment) -> Result<(), PortError> {
    let path = names::segment(dir, segment.number);
    let (_, mut bytes) = open_whole(disk, &path)?;
    bytes.truncate(segment.end as usize);
    let (header, head) = read_head(&bytes, segment.number).map_err(|flaw| flawed(&path, 0, flaw))?;
    let mut chain = Chain::of_head(&header, head);
    let (end, flaw) = walk(&mut chain, &bytes, segment.number, header.frame_bytes());
    if end < segment.end { Err(flawed(&path, end, flaw)) } else { Ok(()) }
}

/// Returns whether a frame that does not follow cannot be the rest of an interrupted write.
pub(crate) fn is_wrong(flaw: Flaw, bytes: &[u8], segment: u64, position: u64, chain: &Chain) -> bool {
    match flaw {
        Flaw::Version(_) => true,
        // An attempt that failed left older groups behind; a newer one that does not follow was never written so.
        Flaw::Order => Header::read(&bytes[position as usize..], segment, position)
            .is_ok_and(|header| header.group >= chain.group),
        _ => false,
    }
}

/// Returns the end of an interrupted write that left no whole head.
fn torn_end(flaw: Flaw, bytes: &[u8], end: u64) -> Option<u64> {
    let rest = &bytes[end as usize..];
    let is_torn = match flaw {
        Flaw::Head | Flaw::Payload => true,
        Flaw::Short => rest.iter().any(|byte| *byte != 0),
        _ => false,
    };
    is_torn.then_some((end + HEADER_BYTES as u64).min(bytes.len() as u64))
}

fn cut(file: &dyn DiskFile, path: &Path, end: u64, torn_end: u64, flaw: Flaw) -> Result<(), PortError> {
    tracing::warn!(
        file = %path.display(), position = end, bytes = torn_end - end, reason = %flaw,
        "cut off the end of the log: it was being written when the process ended and was not acknowledged"
    );
    let zeros = vec![0; (torn_end - end) as usize];
    file.write_at(&zeros, end).map_err(|error| disk_error("cut off the end of segment file", path, error))
}

/// Writes the last group once more: after a failed sync the memory of the machine may hold what the disk does not,
/// and a second sync would not say so.
fn rewrite_last_group(
    file: &dyn DiskFile,
    path: &Path,
    bytes: &[u8],
    position: u64,
) -> Result<(), PortError> {
    file.write_at(bytes, position)
        .and_then(|()| file.sync_data())
        .map_err(|error| disk_error("make durable the end of segment file", path, error))
}

fn open_segment(disk: &dyn Disk, dir: &Path, number: u64) -> Result<Opened, PortError> {
    let path = names::segment(dir, number);
    let opened = disk.open(&path).and_then(|file| {
        let file_bytes = file.len()?;
        let mut bytes = vec![0; HEAD_READ_BYTES.min(usize::try_from(file_bytes).unwrap_or(HEAD_READ_BYTES))];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        if let Ok(header) = Header::read(&bytes, number, 0) {
            let frame_bytes = header.frame_bytes().min(file_bytes) as usize;
            if frame_bytes > bytes.len() {
                bytes.resize(frame_bytes, 0);
                let read = file.read_at(&mut bytes, 0)?;
                bytes.truncate(read);
            }
        }
        Ok(Opened { number, file_bytes, head: read_head(&bytes, number) })
    });
    opened.map_err(|error| disk_error("open segment file", &path, error))
}

/// Opens a segment and reads all of it.
fn open_whole(disk: &dyn Disk, path: &Path) -> Result<(Arc<dyn DiskFile>, Vec<u8>), PortError> {
    let file = disk.open(path).map_err(|error| disk_error("open segment file", path, error))?;
    let bytes = read_file(&*file, path)?;
    Ok((file, bytes))
}

/// Reads a whole segment.
pub(crate) fn read_file(file: &dyn DiskFile, path: &Path) -> Result<Vec<u8>, PortError> {
    let read = || {
        let file_bytes = file.len()?;
        let mut bytes = vec![0; usize::try_from(file_bytes).map_err(std::io::Error::other)?];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        Ok(bytes)
    };
    read().map_err(|error| disk_error("read segment file", path, error))
}

fn missing(dir: &Path, number: u64) -> PortError {
    PortError::new(
        ErrorKind::Corrupt,
        format!(
            "segment file {} is missing though later ones are there; put it back, or `streamgauge serve --salvage` \
             goes on without its records",
            names::segment(dir, number).display()
        ),
    )
}

#[cfg(test)]
mod tests;
