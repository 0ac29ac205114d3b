//! Going on without damaged records, when the operator says so. Every damaged range is copied to `salvaged/`, then
//! filled with one frame that says that something is missing, so that the log is whole again and opens as usual: readers
//! pass offsets without records only behind such a frame. `doubts` says where a log goes on whose end is lost,
//! `declaration` what a stream is called whose name is.

use std::path::Path;
use std::sync::Arc;

use sg_core::ports::PortError;

use crate::chain::{Chain, frames_from, look_behind, read_head};
use crate::disk::{Disk, DiskFile};
use crate::fault::{disk_error, flawed};
use crate::frame::{Flaw, HEADER_BYTES, Header, Kind};
use crate::head::{SegmentHead, Streams, decode_name, encode_head, encode_name};
use crate::log::Reached;
use crate::names;
use crate::recovery::{is_wrong, read_file};

mod declaration;
use declaration::Declaration;

mod doubts;
use doubts::Doubts;

/// Repairs all segments in place, lowest first, and goes on behind what was reached of each stream; returns their
/// numbers, which then have no holes.
pub(crate) fn repair(
    disk: &dyn Disk,
    dir: &Path,
    numbers: &[u64],
    reached: &[Reached],
) -> Result<Vec<u64>, PortError> {
    let first = numbers.first().copied().unwrap_or(1);
    let last = numbers.last().copied().unwrap_or(0);
    let mut chain = Chain::empty();
    let mut doubts = Doubts::default();
    let mut whole: Option<Damaged<'_>> = None;
    for number in first..=last {
        let mut segment = Damaged::open((disk, dir), (number, last), whole.as_ref(), (doubts, reached))?;
        let before = whole.as_ref().map(|_| &chain);
        let repaired = segment.repair(before)?;
        doubts = std::mem::take(&mut segment.doubts);
        if segment.ends_at == 0 && number == last {
            // A segment that was only begun: opening removes it.
            break;
        }
        if let Some(before) = &whole {
            before.save()?;
        }
        (chain, whole) = (repaired, Some(segment));
    }
    let ends_at = whole.as_ref().map_or(0, |segment| segment.ends_at);
    let number = whole.as_ref().map_or(first, |segment| segment.number + 1);
    let behind = doubts.behind(&chain.streams, reached);
    let goes_on = behind != chain.streams;
    if goes_on {
        report_skipped(&chain.streams, &behind);
        // Before the last segment is whole: a crash in between leaves it damaged, and salvage is asked for again.
        begin_behind(disk, dir, number, Chain { streams: behind, ..chain }, ends_at)?;
    }
    if let Some(segment) = &whole {
        segment.save()?;
    }
    Ok((first..=if goes_on { number } else { last }).collect())
}

/// Begins a segment behind a last one that lost records: their offsets are skipped.
fn begin_behind(
    disk: &dyn Disk,
    dir: &Path,
    number: u64,
    chain: Chain,
    end_before: u64,
) -> Result<(), PortError> {
    let header =
        lossy(Kind::Head, number, &Chain { group: chain.group + 1, group_start: 0, ..chain.clone() });
    let head = header.frame(0, &encode_head(end_before, &chain.streams));
    let path = names::segment(dir, number);
    let begun = create_or_open(disk, &path).and_then(|file| {
        file.set_len(0)?;
        file.write_at(&head, 0)?;
        file.sync_data()?;
        disk.sync_dir(dir)
    });
    begun.map_err(|error| disk_error("begin segment file", &path, error))
}

/// Returns the head of a frame that says that records are missing.
fn lossy(kind: Kind, segment: u64, chain: &Chain) -> Header {
    Header {
        kind,
        is_lossy: true,
        has_replays: false,
        segment,
        group: chain.group,
        group_start: chain.group_start,
        stream: 0,
        count: 0,
        base_offset: 0,
        appended_at: chain.newest,
        payload_bytes: 0,
        payload_checksum: 0,
    }
}

/// Makes a file, or opens what an interrupted salvage left under its name.
fn create_or_open(disk: &dyn Disk, path: &Path) -> std::io::Result<Arc<dyn DiskFile>> {
    match disk.create(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => disk.open(path),
        made => made,
    }
}

/// A segment whose bytes are not known to be right.
struct Damaged<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    number: u64,
    file: Arc<dyn DiskFile>,
    bytes: Vec<u8>,
    /// Where its frames end, if the next segment's first frame tells.
    end: Option<u64>,
    /// Where the frames of the segment before end.
    end_before: u64,
    /// Streams of a later segment: their names serve where this one's are lost.
    names: Streams,
    is_last: bool,
    /// What was lost before the position reached.
    doubts: Doubts,
    /// Who has read how far.
    reached: &'a [Reached],
    /// Frames that are to be written, and where.
    fillers: Vec<(u64, Vec<u8>)>,
    /// Where its frames were found to end.
    ends_at: u64,
}

impl<'a> Damaged<'a> {
    fn open(
        (disk, dir): (&'a dyn Disk, &'a Path),
        (number, last): (u64, u64),
        before: Option<&Damaged<'_>>,
        (doubts, reached): (Doubts, &'a [Reached]),
    ) -> Result<Damaged<'a>, PortError> {
        let (file, bytes) = read_or_make(disk, dir, number)?;
        let later = later_head(disk, dir, number + 1..=last)?;
        Ok(Damaged {
            disk,
            dir,
            number,
            file,
            bytes,
            end: later.as_ref().filter(|(found, _)| *found == number + 1).map(|(_, head)| head.end_before),
            end_before: before.map_or(0, |before| before.ends_at),
            names: later.map(|(_, head)| head.streams).unwrap_or_default(),
            is_last: number == last,
            doubts,
            reached,
            fillers: Vec::new(),
            ends_at: 0,
        })
    }

    /// Makes the frames that fill every damaged range; returns what the segment's frames lead to.
    fn repair(&mut self, before: Option<&Chain>) -> Result<Chain, PortError> {
        let mut position = 0;
        let mut chain: Option<Chain> = None;
        loop {
            if self.end.is_some_and(|end| position >= end) {
                break;
            }
            match self.take(&mut chain, position) {
                Ok(frame_bytes) => position += frame_bytes,
                // Nothing of a newer program's log is damaged.
                Err(flaw @ Flaw::Version(_)) => return Err(flawed(&self.path(), position, flaw)),
                Err(flaw) => {
                    let Some(end) = self.damage_end(chain.as_ref().or(before), position, flaw) else { break };
                    self.keep_aside(position, end, flaw)?;
                    let group = chain.as_ref().map_or(0, |chain| chain.group);
                    self.doubts.lose((&self.bytes, self.number), (position, end), group);
                    let filler = self.filler(chain.as_ref(), before, position, end);
                    self.fill(filler, position);
                }
            }
        }
        self.ends_at = position;
        Ok(chain.or_else(|| before.cloned()).unwrap_or_else(Chain::empty))
    }

    /// Writes what fills the damaged ranges.
    fn save(&self) -> Result<(), PortError> {
        let written = || {
            for (position, filler) in &self.fillers {
                self.file.write_at(filler, *position)?;
            }
            self.file.sync_data()
        };
        written().map_err(|error| disk_error("fill the gaps of segment file", &self.path(), error))
    }

    /// Takes the frame at a position; returns its length.
    fn take(&mut self, chain: &mut Option<Chain>, position: u64) -> Result<u64, Flaw> {
        let rest = self.bytes.get(position as usize..).ok_or(Flaw::Short)?;
        let header = Header::read_frame(rest, self.number, position)?;
        match chain {
            None => {
                let (header, head) = read_head(rest, self.number)?;
                *chain = Some(Chain::of_head(&header, head));
                self.doubts = Doubts::default();
            }
            Some(chain) => {
                let next_before: Vec<u64> = chain.streams.list().iter().map(|stream| stream.next).collect();
                chain.accept(&header, position, &rest[HEADER_BYTES..header.frame_bytes() as usize])?;
                self.report_lost(&header, &next_before);
                if header.kind == Kind::Events {
                    self.doubts.tell(header.stream, chain.streams.list()[header.stream as usize].next);
                }
            }
        }
        Ok(header.frame_bytes())
    }

    /// Returns where the first usable frame behind a damaged place stands, or where the segment's frames end; `None`
    /// when nothing behind it was ever acknowledged.
    fn damage_end(&self, chain: Option<&Chain>, position: u64, flaw: Flaw) -> Option<u64> {
        let behind = look_behind(&self.bytes, self.number, position);
        let is_wrong = chain.is_some_and(|chain| is_wrong(flaw, &self.bytes, self.number, position, chain));
        if self.is_last && behind.later_group_end.is_none() && !is_wrong {
            return None;
        }
        let jumping = match (position, chain) {
            (0, before) => self.chain_without_head(before),
            (_, Some(chain)) => self.chain_with_gap(chain, position),
            (_, None) => return None,
        };
        let usable = frames_from(&self.bytes, self.number, position).find(|(found, header)| {
            let rest = &self.bytes[*found as usize..];
            *found >= position + HEADER_BYTES as u64
                && Header::read_frame(rest, self.number, *found).is_ok()
                && jumping
                    .clone()
                    .accept(header, *found, &rest[HEADER_BYTES..header.frame_bytes() as usize])
                    .is_ok()
        });
        let head_bytes = (HEADER_BYTES + encode_head(0, &self.names).len().next_multiple_of(8)) as u64;
        let last_end = if is_wrong { behind.end } else { behind.later_group_end };
        usable.map(|(found, _)| found).or(self.end).or(last_end).or((position == 0).then_some(head_bytes))
    }

    /// Returns what the frames so far lead to when some are lost. A lost stream's name may be known nevertheless.
    fn chain_with_gap(&self, chain: &Chain, position: u64) -> Chain {
        let mut chain = chain.clone();
        chain.may_jump = true;
        if let Some((number, name)) = self.lost_name(&chain.streams, position) {
            chain.streams.declare(number, &name, 0);
        }
        chain
    }

    /// Returns the number and the name of the stream whose declaration is lost at a position.
    fn lost_name(&self, streams: &Streams, position: u64) -> Option<(u32, Arc<str>)> {
        let mut known = streams.clone();
        for (found, header) in frames_from(&self.bytes, self.number, 0) {
            let rest = &self.bytes[found as usize..];
            if header.kind != Kind::Stream || Header::read_frame(rest, self.number, found).is_err() {
                continue;
            }
            if let Some(name) = decode_name(&rest[HEADER_BYTES..header.frame_bytes() as usize]) {
                known.declare(header.stream, name, 0);
            }
        }
        let number = streams.count();
        let is_new = |name: &str| known.number(name).is_none();
        let later = self.names.get(number).filter(|stream| is_new(&stream.name));
        if let (Some(stream), None) = (later, known.get(number)) {
            return Some((number, stream.name.clone()));
        }
        let declaration = Declaration::at((&self.bytes, self.number), position)?;
        if known.get(declaration.stream).is_some() {
            return None;
        }
        let left = declaration.name_left().filter(|name| is_new(name) && self.names.number(name).is_none());
        // Segments behind this one may have names that are not known here.
        let only = || declaration.eliminate(&known, self.reached).filter(|_| self.is_last);
        let found = left.or_else(only).filter(|name| known.clone().declare(declaration.stream, name, 0));
        found.map(|name| (declaration.stream, Arc::from(name)))
    }

    /// Returns what a segment without its first frame begins with.
    fn chain_without_head(&self, before: Option<&Chain>) -> Chain {
        let mut chain = before.cloned().unwrap_or_else(Chain::empty);
        let mut declared = Vec::new();
        let mut firsts = Vec::new();
        for (found, header) in frames_from(&self.bytes, self.number, 0) {
            match header.kind {
                Kind::Stream => declared.push(header.stream),
                Kind::Events
                    if Header::read_frame(&self.bytes[found as usize..], self.number, found).is_ok() =>
                {
                    firsts.push((header.stream, header.base_offset));
                }
                _ => {}
            }
        }
        for (number, stream) in self.names.list().iter().enumerate() {
            let number = number as u32;
            let is_known = chain.streams.get(number).is_some();
            if stream.name.is_empty() || is_known || declared.contains(&number) {
                continue;
            }
            let first =
                firsts.iter().find(|(found, _)| *found == number).map_or(stream.next, |(_, first)| *first);
            chain.streams.declare(number, &stream.name, first);
        }
        chain.group_start = 0;
        chain.last = Kind::Head;
        chain.may_jump = true;
        chain
    }

    /// Returns the frame that takes the place of damaged bytes.
    fn filler(&self, chain: Option<&Chain>, before: Option<&Chain>, position: u64, end: u64) -> Vec<u8> {
        let (mut header, mut payload);
        match chain {
            None => {
                let begun = self.chain_without_head(before);
                header = lossy(Kind::Head, self.number, &begun);
                payload = encode_head(self.end_before, &begun.streams);
            }
            Some(chain) => {
                header = lossy(Kind::Gap, self.number, chain);
                payload = Vec::new();
                if let Some((number, name)) = self.lost_name(&chain.streams, position) {
                    tracing::warn!(
                        file = %self.path().display(), position, number, stream = %name,
                        "salvage: what gave this stream its number is lost; its name is known nevertheless"
                    );
                    payload = encode_name(&name);
                    header.kind = Kind::Stream;
                    header.stream = number;
                }
            }
        }
        payload.resize(payload.len().max((end - position) as usize - HEADER_BYTES), 0);
        header.frame(position, &payload)
    }

    fn fill(&mut self, filler: Vec<u8>, position: u64) {
        let end = position as usize + filler.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[position as usize..end].copy_from_slice(&filler);
        self.fillers.push((position, filler));
    }

    /// Copies damaged bytes to a file of their own before anything is written over them.
    fn keep_aside(&self, position: u64, end: u64, flaw: Flaw) -> Result<(), PortError> {
        let folder = self.dir.join(names::SALVAGED);
        let path = folder.join(format!("{:020}-{position:012}.bytes", self.number));
        let range = (position as usize).min(self.bytes.len())..(end as usize).min(self.bytes.len());
        let damaged = &self.bytes[range];
        tracing::warn!(
            file = %self.path().display(), position, bytes = end - position, reason = %flaw, kept = %path.display(),
            "salvage: records in this range are lost"
        );
        let kept = self.disk.create_dir(&folder).and_then(|()| {
            let file = create_or_open(self.disk, &path)?;
            file.write_at(damaged, 0)?;
            file.sync_data()?;
            self.disk.sync_dir(&folder)?;
            self.disk.sync_dir(self.dir)
        });
        kept.map_err(|error| disk_error("keep damaged bytes in file", &path, error))
    }

    fn report_lost(&self, header: &Header, next_before: &[u64]) {
        let Some(next) = next_before.get(header.stream as usize) else { return };
        if header.kind == Kind::Events && header.base_offset > *next {
            tracing::warn!(
                file = %self.path().display(), stream = header.stream, from = next, to = header.base_offset,
                "salvage: a stream's records between these offsets are lost"
            );
        }
    }

    fn path(&self) -> std::path::PathBuf {
        names::segment(self.dir, self.number)
    }
}

/// Says which offsets a log passes over that goes on behind what is lost.
fn report_skipped(ends: &Streams, behind: &Streams) {
    for stream in behind.list().iter().filter(|stream| !stream.name.is_empty()) {
        let end = ends.number(&stream.name).map_or(0, |number| ends.list()[number as usize].next);
        if stream.next > end {
            tracing::warn!(
                stream = %stream.name, from = end, to = stream.next,
                "salvage: the stream goes on behind these offsets, which records that are lost may have had"
            );
        }
    }
}

/// Reads a segment; makes an empty file where one is missing.
fn read_or_make(disk: &dyn Disk, dir: &Path, number: u64) -> Result<(Arc<dyn DiskFile>, Vec<u8>), PortError> {
    let path = names::segment(dir, number);
    let file = match disk.open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            tracing::warn!(file = %path.display(), "salvage: a segment file is missing, its records are lost");
            disk.create(&path).and_then(|file| disk.sync_dir(dir).map(|()| file))
        }
        opened => opened,
    };
    let file = file.map_err(|error| disk_error("open segment file", &path, error))?;
    let bytes = read_file(&*file, &path)?;
    Ok((file, bytes))
}

/// Returns the first whole head among the given segments.
fn later_head(
    disk: &dyn Disk,
    dir: &Path,
    numbers: std::ops::RangeInclusive<u64>,
) -> Result<Option<(u64, SegmentHead)>, PortError> {
    for number in numbers {
        let path = names::segment(dir, number);
        let Ok(file) = disk.open(&path) else { continue };
        if let Ok((_, head)) = read_head(&read_file(&*file, &path)?, number) {
            return Ok(Some((number, head)));
        }
    }
    Ok(None)
}
