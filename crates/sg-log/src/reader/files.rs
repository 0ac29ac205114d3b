//! The place of a reader in the segment files. Checks every frame that it hands out.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use sg_core::batch::LogBatch;
use sg_core::ports::{ErrorKind, PortError};

use crate::disk::DiskFile;
use crate::fault::{damaged, disk_error, flawed};
use crate::frame::{Flaw, HEADER_BYTES, Header, Kind};
use crate::names;
use crate::payload::decode;
use crate::shared::{Shared, lock};
use crate::tail::starting_at;

/// Bytes read from a segment at once.
const CHUNK_BYTES: u64 = 1 << 20;

/// A place in the segment files.
pub(super) struct Files {
    shared: Arc<Shared>,
    stream: Arc<str>,
    number: u32,
    next: u64,
    /// Records were lost to salvage before this place: offsets may jump.
    may_jump: bool,
    /// Offsets that were jumped over.
    lost: Vec<Range<u64>>,
    segment: Option<OpenSegment>,
}

struct OpenSegment {
    number: u64,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    position: u64,
    /// Bytes already read, and where they begin.
    chunk: Bytes,
    chunk_at: u64,
}

/// What to do next, decided under one lock.
enum Step {
    Open(u64),
    Read { end: u64 },
    Stop,
    Trimmed,
    Lost,
}

impl Files {
    pub(super) fn new(shared: Arc<Shared>, stream: Arc<str>, number: u32, next: u64) -> Files {
        Files { shared, stream, number, next, may_jump: false, lost: Vec::new(), segment: None }
    }

    /// Returns the offset behind what was read.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Takes the offsets that were jumped over, whose records are lost.
    pub(super) fn take_lost(&mut self) -> Vec<Range<u64>> {
        std::mem::take(&mut self.lost)
    }

    /// Returns the next batches, about `bytes_max` in all: none only when all durable ones were read.
    pub(super) fn read(&mut self, bytes_max: usize) -> Result<Vec<LogBatch>, PortError> {
        let mut batches = Vec::new();
        let mut bytes = 0;
        while bytes < bytes_max || batches.is_empty() {
            match self.step(!batches.is_empty()) {
                Step::Stop => break,
                Step::Trimmed => return Err(self.trimmed()),
                Step::Lost => return Err(self.lost()),
                Step::Open(number) => self.segment = Some(self.open(number)?),
                Step::Read { end } => {
                    let Some(segment) = self.segment.as_mut() else { continue };
                    let read = segment.next_frame(end, self.number, self.next);
                    let taken = read.and_then(|frame| self.take(frame));
                    match taken {
                        Ok(None) => {}
                        Ok(Some(batch)) => {
                            bytes += batch.events.memory();
                            batches.push(batch);
                        }
                        Err(error) => return Err(self.explain(error)),
                    }
                }
            }
        }
        Ok(batches)
    }

    fn step(&self, has_batches: bool) -> Step {
        let view = lock(&self.shared.view);
        if has_batches && view.tail.holds(self.number, self.next) {
            return Step::Stop;
        }
        let Some(open) = &self.segment else {
            return view
                .find(self.number, self.next)
                .map_or(Step::Trimmed, |segment| Step::Open(segment.number));
        };
        let Some(segment) = view.segment(open.number) else { return Step::Trimmed };
        if open.position < segment.end {
            return Step::Read { end: segment.end };
        }
        match view.segment(open.number + 1) {
            Some(following) => Step::Open(following.number),
            None if self.next < view.next(self.number) => Step::Lost,
            None => Step::Stop,
        }
    }

    fn open(&self, number: u64) -> Result<OpenSegment, PortError> {
        let path = names::segment(&self.shared.settings.dir, number);
        let file = match self.shared.settings.disk.open(&path) {
            Ok(file) => file,
            Err(_) if self.is_trimmed(number) => return Err(self.trimmed()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(damaged(&path, 0, "the file is missing"));
            }
            Err(error) => return Err(disk_error("open segment file", &path, error)),
        };
        Ok(OpenSegment { number, path, file, position: 0, chunk: Bytes::new(), chunk_at: 0 })
    }

    /// Makes the batch of a frame, if it is one of this stream with records not yet read.
    fn take(&mut self, frame: (Header, Option<Bytes>)) -> Result<Option<LogBatch>, ReadError> {
        let (header, payload) = frame;
        self.may_jump |= header.is_lossy;
        if header.kind == Kind::Head {
            let start = {
                let view = lock(&self.shared.view);
                view.segment(header.segment).map_or(0, |segment| segment.start(self.number))
            };
            if start > self.next && !self.may_jump {
                return Err(ReadError::Flaw(header.frame_bytes(), Flaw::Order));
            }
            self.jump(start);
            // It tells of all that was lost before it, unless it only stands for the one that did.
            self.may_jump = header.is_lossy;
        }
        let Some(payload) = payload else { return Ok(None) };
        if header.base_offset > self.next && !self.may_jump {
            return Err(ReadError::Flaw(header.frame_bytes(), Flaw::Order));
        }
        let events = decode(self.stream.clone(), header.count, payload)
            .ok_or(ReadError::Flaw(header.frame_bytes(), Flaw::Payload))?;
        let batch = LogBatch {
            events: Arc::new(events),
            first_offset: header.base_offset,
            appended_at: header.appended_at,
            places: None,
        };
        let batch = starting_at(batch, self.next);
        self.jump(batch.first_offset);
        self.next = batch.next_offset();
        self.may_jump = false;
        Ok(Some(batch))
    }

    /// Passes over what is lost before an offset.
    fn jump(&mut self, to: u64) {
        if to > self.next {
            self.lost.push(self.next..to);
            self.next = to;
        }
    }

    fn explain(&self, error: ReadError) -> PortError {
        let Some(segment) = &self.segment else { return self.trimmed() };
        // A trimmed file is soon another segment: what is read from it then says nothing.
        if self.is_trimmed(segment.number) {
            return self.trimmed();
        }
        match error {
            ReadError::Disk(error) => disk_error("read segment file", &segment.path, error),
            ReadError::Flaw(back, flaw) => flawed(&segment.path, segment.position - back, flaw),
        }
    }

    fn is_trimmed(&self, number: u64) -> bool {
        lock(&self.shared.view).segment(number).is_none()
    }

    fn trimmed(&self) -> PortError {
        let doing = format!("read {} from offset {}: the log no longer holds it", self.stream, self.next);
        PortError::new(ErrorKind::Invalid, doing)
    }

    fn lost(&self) -> PortError {
        let (stream, next) = (&self.stream, self.next);
        let doing = format!(
            "read {stream} from offset {next}: the segment files do not hold it though they should; \
             `streamgauge serve --salvage` goes on without what is lost"
        );
        PortError::new(ErrorKind::Corrupt, doing)
    }
}

enum ReadError {
    Disk(std::io::Error),
    /// The flaw, and how far before the current position it stands.
    Flaw(u64, Flaw),
}

impl OpenSegment {
    /// Reads the next frame; its payload only when it has records of the stream from an offset on.
    fn next_frame(&mut self, end: u64, stream: u32, from: u64) -> Result<(Header, Option<Bytes>), ReadError> {
        let head = self.bytes(0, HEADER_BYTES as u64, end)?;
        let header =
            Header::read(&head, self.number, self.position).map_err(|flaw| ReadError::Flaw(0, flaw))?;
        if header.frame_bytes() > end - self.position {
            return Err(ReadError::Flaw(0, Flaw::Short));
        }
        let is_wanted = header.kind == Kind::Events
            && header.stream == stream
            && header.base_offset.saturating_add(u64::from(header.count)) > from;
        let mut payload = None;
        if is_wanted {
            let bytes = self.bytes(HEADER_BYTES as u64, header.frame_bytes(), end)?;
            if crc32fast::hash(&bytes) != header.payload_checksum {
                return Err(ReadError::Flaw(0, Flaw::Payload));
            }
            payload = Some(bytes);
        }
        self.position += header.frame_bytes();
        Ok((header, payload))
    }

    /// Returns bytes `from..to` counted from the current position, reading ahead within `end`.
    fn bytes(&mut self, from: u64, to: u64, end: u64) -> Result<Bytes, ReadError> {
        if self.position + to > end {
            return Err(ReadError::Flaw(0, Flaw::Short));
        }
        let is_held =
            self.position >= self.chunk_at && self.position + to <= self.chunk_at + self.chunk.len() as u64;
        if !is_held {
            let wanted = to.max(CHUNK_BYTES).min(end - self.position);
            let mut bytes = vec![0; wanted as usize];
            let read = self.file.read_at(&mut bytes, self.position).map_err(ReadError::Disk)?;
            bytes.truncate(read);
            self.chunk = Bytes::from(bytes);
            self.chunk_at = self.position;
        }
        let skipped = self.position - self.chunk_at;
        let range = (skipped + from) as usize..(skipped + to) as usize;
        if range.end > self.chunk.len() {
            return Err(ReadError::Flaw(0, Flaw::Short));
        }
        Ok(self.chunk.slice(range))
    }
}

#[cfg(test)]
mod tests;
