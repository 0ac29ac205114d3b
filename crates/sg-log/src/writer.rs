//! The one thread that writes. All appends that wait become one group: written together, made durable by one sync,
//! then published to readers and answered. Encodes nothing: callers did that.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use sg_core::batch::LogBatch;
use sg_core::ports::{ErrorKind, PortError};
use sg_core::time::Timestamp;

use crate::disk::DiskFile;
use crate::fault::{closed, disk_error, is_full};
use crate::frame::{HEADER_BYTES, Header, Kind};
use crate::head::{Streams, encode_head, encode_name};
use crate::names;
use crate::shared::{Append, Phase, Segment, Shared, lock};

mod output;
mod room;
use output::Output;
use room::Room;

/// The segment being written.
pub(crate) struct Active {
    pub(crate) number: u64,
    pub(crate) file: Arc<dyn DiskFile>,
    /// Where the next group begins; 0 while the segment has no first frame.
    pub(crate) position: u64,
    /// Where the segment before ends.
    pub(crate) end_before: u64,
    /// The last frame is a closing mark.
    pub(crate) is_marked: bool,
}

/// The writer's own state.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    active: Option<Active>,
    streams: Streams,
    /// The number of the next group; every attempt gets its own.
    group: u64,
    newest: Timestamp,
    /// Next offsets before the group in hand.
    nexts_before: Vec<u64>,
    /// Small frames on their way into one write.
    chunk: Vec<u8>,
}

/// Why a group was not written.
enum Failure {
    /// Nothing of it counts; later groups may succeed.
    Passing(PortError),
    /// The disk's state is unknown: nothing may be written after it.
    Final(String),
}

impl Writer {
    /// Makes a writer that goes on where recovery ended.
    pub(crate) fn new(
        shared: Arc<Shared>,
        active: Option<Active>,
        streams: Streams,
        group: u64,
        newest: Timestamp,
    ) -> Writer {
        Writer { shared, active, streams, group, newest, nexts_before: Vec::new(), chunk: Vec::new() }
    }

    /// Writes until the log is closed: the body of the writer's thread.
    pub(crate) fn run(mut self) {
        let mut work = Vec::new();
        loop {
            let phase = self.wait_for_work(&mut work);
            if work.is_empty() {
                if phase == Phase::Closing {
                    self.mark();
                }
                return;
            }
            self.commit_all(&mut work);
        }
    }

    /// Takes all appends that wait; none when the log is closed.
    fn wait_for_work(&self, work: &mut Vec<Append>) -> Phase {
        let mut queue = lock(&self.shared.queue);
        while queue.waiting.is_empty() && queue.phase == Phase::Open {
            queue = self.shared.queued.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(&mut queue.waiting, work);
        queue.phase.clone()
    }

    fn commit_all(&mut self, work: &mut Vec<Append>) {
        let mut rest = work.drain(..).peekable();
        let mut group = Vec::new();
        while rest.peek().is_some() {
            if let Err(failure) = self.make_room(rest.peek()) {
                let refused: Vec<Append> = rest.by_ref().collect();
                self.refuse(refused, failure);
                return;
            }
            let mut room = self.room();
            while let Some(append) = rest.next_if(|append| room.take(&self.streams, append)) {
                group.push(append);
            }
            match self.write(&mut group) {
                Ok(()) => self.publish(std::mem::take(&mut group)),
                Err(failure) => {
                    let is_final = matches!(failure, Failure::Final(_));
                    if is_final {
                        group.extend(rest.by_ref());
                    }
                    self.refuse(std::mem::take(&mut group), failure);
                    if is_final {
                        return;
                    }
                }
            }
        }
    }

    /// Begins a new segment unless the append fits into the current one.
    fn make_room(&mut self, first: Option<&Append>) -> Result<(), Failure> {
        let Some(first) = first else { return Ok(()) };
        if let Some(active) = &self.active
            && (active.position == 0 || self.room().has(&self.streams, first))
        {
            return Ok(());
        }
        let (number, end_before) =
            self.active.as_ref().map_or((1, 0), |active| (active.number + 1, active.position));
        let file = self.begin_segment(number)?;
        self.active = Some(Active { number, file, position: 0, end_before, is_marked: false });
        Ok(())
    }

    fn room(&self) -> Room {
        let position = self.active.as_ref().map_or(0, |active| active.position);
        Room::new(self.shared.settings.segment_bytes, position, &self.streams)
    }

    fn begin_segment(&self, number: u64) -> Result<Arc<dyn DiskFile>, Failure> {
        let settings = &self.shared.settings;
        let (disk, path) = (&settings.disk, names::segment(&settings.dir, number));
        let opened = match self.shared.pool.take() {
            Some(pooled) => disk.rename(&pooled, &path).and_then(|()| disk.open(&path)),
            None => match disk.create(&path) {
                // Left by an attempt that failed after this step.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => disk.open(&path),
                other => other,
            },
        };
        let file =
            opened.map_err(|error| Failure::Passing(disk_error("begin segment file", &path, error)))?;
        disk.sync_dir(&settings.dir)
            .map_err(|error| Failure::Final(format!("sync directory {}: {error}", settings.dir.display())))?;
        Ok(file)
    }

    /// Writes a group and makes it durable.
    fn write(&mut self, group: &mut [Append]) -> Result<(), Failure> {
        self.streams.save(&mut self.nexts_before);
        let number = self.group;
        self.group += 1;
        let written =
            self.write_frames(number, |writer, output, header| writer.write_events(output, header, group));
        if written.is_err() {
            self.streams.restore(&self.nexts_before);
        }
        written
    }

    fn write_events(
        &mut self,
        output: &mut Output<'_>,
        header: Header,
        group: &mut [Append],
    ) -> io::Result<()> {
        for append in group {
            let stream = match self.streams.number(&append.batch.stream) {
                Some(stream) => stream,
                None => {
                    let stream = self.streams.count();
                    self.streams.declare(stream, &append.batch.stream, 0);
                    let declared = Header { kind: Kind::Stream, stream, ..header };
                    output.push(&declared.frame(output.position(), &encode_name(&append.batch.stream)))?;
                    stream
                }
            };
            let base_offset = self.streams.list()[stream as usize].next;
            let encoded = &mut append.encoded;
            let header = Header {
                kind: Kind::Events,
                stream,
                base_offset,
                count: encoded.count,
                has_replays: encoded.has_replays,
                payload_bytes: (encoded.frame.len() - HEADER_BYTES) as u32,
                payload_checksum: encoded.payload_checksum,
                ..header
            };
            header.write(output.position(), &mut encoded.frame);
            output.push(&encoded.frame)?;
            append.place = (stream, base_offset);
            self.streams.advance(stream, base_offset + u64::from(encoded.count));
        }
        Ok(())
    }

    /// Writes the frames of one group, with a segment's first frame where it is missing, and syncs.
    fn write_frames(
        &mut self,
        group: u64,
        fill: impl FnOnce(&mut Writer, &mut Output<'_>, Header) -> io::Result<()>,
    ) -> Result<(), Failure> {
        let Some(active) = &self.active else { return Ok(()) };
        let (file, start, segment, end_before) =
            (active.file.clone(), active.position, active.number, active.end_before);
        self.newest = self.newest.max(self.shared.settings.clock.now());
        let header = Header {
            kind: Kind::Head,
            is_lossy: false,
            has_replays: false,
            segment,
            group,
            group_start: start,
            stream: 0,
            count: 0,
            base_offset: 0,
            appended_at: self.newest,
            payload_bytes: 0,
            payload_checksum: 0,
        };
        let mut chunk = std::mem::take(&mut self.chunk);
        let mut output = Output::new(&*file, start, &mut chunk);
        let mut written = Ok(());
        if start == 0 {
            written = output.push(&header.frame(0, &encode_head(end_before, &self.streams)));
        }
        let written = written.and_then(|()| fill(self, &mut output, header)).and_then(|()| output.finish());
        self.chunk = chunk;
        let end = written.map_err(|error| self.undo(&*file, start, error))?;
        let began = Instant::now();
        file.sync_data().map_err(|error| Failure::Final(format!("sync segment {segment}: {error}")))?;
        let stats = &self.shared.stats;
        stats.sync.observe(began.elapsed());
        stats.bytes.add(end - start);
        if let Some(active) = &mut self.active {
            active.position = end;
            active.is_marked = false;
        }
        Ok(())
    }

    /// Makes sure that a half-written group cannot pass for a whole one after a crash.
    fn undo(&self, file: &dyn DiskFile, start: u64, error: io::Error) -> Failure {
        let dir = &self.shared.settings.dir;
        if !is_full(&error) {
            return Failure::Final(format!("write to the log in {}: {error}", dir.display()));
        }
        let erased = file.len().and_then(|len| {
            let zeros = [0; HEADER_BYTES];
            let bytes = len.saturating_sub(start).min(HEADER_BYTES as u64) as usize;
            file.write_at(&zeros[..bytes], start)?;
            file.sync_data()
        });
        match erased {
            Err(again) if !is_full(&again) => {
                Failure::Final(format!("take back a write to the full log in {}: {again}", dir.display()))
            }
            // Where not even written bytes can be written again, the next group covers them: its number is higher.
            Ok(()) | Err(_) => Failure::Passing(disk_error("append to the log in", dir, error)),
        }
    }

    /// Shows a durable group to readers, then answers it.
    fn publish(&mut self, group: Vec<Append>) {
        let Some(active) = &self.active else { return };
        let shared = &self.shared;
        let mut answers = Vec::with_capacity(group.len());
        let mut events = 0;
        let mut view = lock(&shared.view);
        view.newest = self.newest;
        match view.segments.back_mut() {
            Some(segment) if segment.number == active.number => segment.end = active.position,
            _ => view.segments.push_back(Segment {
                number: active.number,
                starts: self.nexts_before.clone(),
                end: active.position,
                begun_at: self.newest,
            }),
        }
        for append in group {
            let (stream, first_offset) = append.place;
            if stream >= view.streams.count() {
                view.streams.declare(stream, &append.batch.stream, 0);
            }
            let batch = LogBatch {
                events: Arc::new(append.batch),
                first_offset,
                appended_at: self.newest,
                places: None,
            };
            events += batch.events.len() as u64;
            view.streams.advance(stream, batch.next_offset());
            view.tail.push(stream, batch);
            answers.push((append.answer, append.since, first_offset));
        }
        let forgotten = view.tail.shrink(shared.settings.tail_bytes_max);
        shared.stats.segments.set(view.segments.len() as u64);
        shared.stats.tail_bytes.set(view.tail.bytes() as u64);
        drop(view);
        shared.grown.notify_waiters();
        shared.stats.appends.add(answers.len() as u64);
        shared.stats.events.add(events);
        let now = Instant::now();
        for (answer, since, first_offset) in answers {
            shared.stats.append.observe(now.saturating_duration_since(since));
            // A caller that no longer waits has lost only the answer.
            answer.send(Ok(first_offset)).ok();
        }
        drop(forgotten);
        if active.position > shared.settings.segment_bytes / 2 {
            shared.pool.anticipate();
        }
    }

    fn refuse(&self, group: Vec<Append>, failure: Failure) {
        match failure {
            Failure::Passing(error) => {
                if error.kind == ErrorKind::Full {
                    self.shared.stats.appends_full.add(group.len() as u64);
                }
                for append in group {
                    append.answer.send(Err(PortError::new(error.kind, error.to_string()))).ok();
                }
            }
            Failure::Final(why) => {
                tracing::error!(%why, "the log takes nothing any more: what the disk holds is unknown until the next start");
                let mut queue = lock(&self.shared.queue);
                queue.phase = Phase::Failed(why.clone());
                let waiting = std::mem::take(&mut queue.waiting);
                drop(queue);
                self.shared.failure.send_replace(Some(why.clone()));
                for append in group.into_iter().chain(waiting) {
                    append.answer.send(Err(closed(&why))).ok();
                }
            }
        }
    }

    /// Writes the closing mark, unless nothing was written since the last one.
    fn mark(&mut self) {
        if self.active.as_ref().is_none_or(|active| active.position == 0 || active.is_marked) {
            return;
        }
        let group = self.group;
        let marked = self.write_frames(group, |_, output, header| {
            let mark = Header { kind: Kind::Mark, ..header };
            output.push(&mark.frame(output.position(), &[]))
        });
        match marked {
            Ok(()) => {}
            // Without a mark the next start checks one group less.
            Err(Failure::Passing(error)) => {
                tracing::warn!(%error, "the log was closed without its closing mark")
            }
            Err(failure) => self.refuse(Vec::new(), failure),
        }
    }
}

/// Returns whether the log takes appends; the reason if not.
pub(crate) fn refusal(phase: &Phase) -> Option<PortError> {
    match phase {
        Phase::Open => None,
        Phase::Closing | Phase::Abandoned => Some(closed("it was closed")),
        Phase::Failed(why) => Some(closed(why)),
    }
}
