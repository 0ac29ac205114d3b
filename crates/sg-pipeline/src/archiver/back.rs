//! Archive → records: reads a range of a partition back in log order, with what the log knew of each record. Refuses a
//! range that is not all there. Records without `received_at` are others' and have to be read again by their plan.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::future::try_join_all;
use sg_core::archive::FileKind;
use sg_core::batch::{Entry, EventBatch, LogBatch, Span};
use sg_core::ports::{Archive, ArchivePosition, ArchivedFile, ErrorKind, Manifest, ManifestQuery, PortError};
use sg_core::time::Timestamp;

/// Files asked of the manifest at once.
const FILES_AT_ONCE: usize = 1_000;
/// Files read ahead: a bucket takes its time for each.
const FILES_AHEAD: usize = 8;
/// Bytes of files read ahead.
const AHEAD_BYTES_MAX: u64 = 8 << 20;
/// Records of a batch: about what a log gives at once.
const BATCH_RECORDS: usize = 4_096;

/// A range of a partition that is read from the archive.
pub struct Back {
    manifest: Arc<dyn Manifest>,
    archives: Vec<Arc<dyn Archive>>,
    query: ManifestQuery,
    /// No record before this is left to be returned.
    next: u64,
    to: u64,
    /// Files that are to be read.
    files: VecDeque<ArchivedFile>,
    /// Files that were read.
    open: VecDeque<(ArchivedFile, LogBatch)>,
    /// Records of files that overlap, and where those are that are left, in log order.
    overlapping: Vec<LogBatch>,
    order: VecDeque<Place>,
    is_last_page: bool,
}

impl Back {
    /// Opens the records `from..to` of a partition.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when the archive does not have all of them, and those of the manifest.
    pub async fn open(
        manifest: Arc<dyn Manifest>,
        archives: Vec<Arc<dyn Archive>>,
        (stream, partition): (&str, u32),
        (from, to): (u64, u64),
    ) -> Result<Back, PortError> {
        let positions = manifest.archive_positions().await?;
        let is_its =
            |position: &&ArchivePosition| position.stream == stream && position.partition == partition;
        let (held_from, held_to) = positions.iter().find(is_its).map_or((0, 0), |position| {
            (position.first_offset.max(position.removed_to), position.next_offset)
        });
        if from < held_from || to > held_to {
            let doing = format!(
                "reading offsets {from} to {to} of {stream}/{partition} from the archive: it has {held_from} to {held_to}"
            );
            return Err(PortError::new(ErrorKind::Invalid, doing));
        }
        let query = ManifestQuery {
            stream: Some(stream.to_owned()),
            kind: Some(FileKind::Raw),
            partition: Some(partition),
            from: Some(from),
            to: Some(to),
            after: 0,
            limit: FILES_AT_ONCE,
        };
        Ok(Back {
            manifest,
            archives,
            query,
            next: from,
            to,
            files: VecDeque::new(),
            open: VecDeque::new(),
            overlapping: Vec::new(),
            order: VecDeque::new(),
            is_last_page: false,
        })
    }

    /// Returns the next records in log order; `None` at the end of the range.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when a file is not what the manifest says or not there, and those of manifest and archive.
    pub async fn next(&mut self) -> Result<Option<LogBatch>, PortError> {
        if !self.order.is_empty() {
            let places: Vec<Place> = self.order.drain(..BATCH_RECORDS.min(self.order.len())).collect();
            let batch = merge(&self.overlapping, &places);
            self.next = batch.next_offset();
            return Ok(Some(batch));
        }
        let Some((first, batch)) = self.file().await? else {
            self.next = self.to;
            return Ok(None);
        };
        // Files of one cut may hold every other record: those that overlap are put in order together.
        let mut end = first.to;
        let mut batches = vec![batch];
        while let Some((file, batch)) = self.file().await? {
            if file.from >= end {
                self.open.push_front((file, batch));
                break;
            }
            end = end.max(file.to);
            batches.push(batch);
        }
        self.order = order(&batches, self.next..self.to).into();
        self.overlapping = batches;
        Box::pin(self.next()).await
    }

    /// Returns the offset before which no record is left to be returned.
    pub fn passed(&self) -> u64 {
        self.next
    }

    /// Returns the next file with its records; reads some more at the same time.
    async fn file(&mut self) -> Result<Option<(ArchivedFile, LogBatch)>, PortError> {
        if let Some(file) = self.open.pop_front() {
            return Ok(Some(file));
        }
        if self.files.is_empty() && !self.is_last_page {
            let files = self.manifest.archived_files(&self.query).await?;
            self.is_last_page = files.len() < FILES_AT_ONCE;
            self.query.after = files.last().map_or(self.query.after, |file| file.id);
            self.files = files.into();
        }
        let mut bytes = 0;
        let few = self.files.iter().take(FILES_AHEAD).take_while(|file| {
            let is_first = bytes == 0;
            bytes += file.bytes;
            is_first || bytes <= AHEAD_BYTES_MAX
        });
        let files: Vec<ArchivedFile> = few.cloned().collect();
        let batches = try_join_all(files.iter().map(|file| self.read(file))).await?;
        self.files.drain(..files.len());
        self.open = files.into_iter().zip(batches).collect();
        Ok(self.open.pop_front())
    }

    async fn read(&self, file: &ArchivedFile) -> Result<LogBatch, PortError> {
        let archive = self.archives.iter().find(|archive| archive.place() == file.place);
        let archive = archive.ok_or_else(|| {
            let doing = format!("reading {}: no archive {} is configured any more", file.path, file.place);
            PortError::new(ErrorKind::Invalid, doing)
        })?;
        archive.read(file).await
    }
}

/// Where a record is: its offset, the batch, the index in it.
type Place = (u64, usize, usize);

/// Returns where the records of a range are, by offset.
fn order(batches: &[LogBatch], range: std::ops::Range<u64>) -> Vec<Place> {
    let mut order: Vec<Place> = Vec::new();
    for (at, batch) in batches.iter().enumerate() {
        let places = (0..batch.events.len()).map(|index| (batch.place(index).0, at, index));
        order.extend(places.filter(|(offset, ..)| range.contains(offset)));
    }
    order.sort_unstable();
    order
}

/// Puts records into one batch; there is at least one.
fn merge(batches: &[LogBatch], order: &[Place]) -> LogBatch {
    let stream = batches.first().map_or_else(|| Arc::from(""), |batch| batch.events.stream.clone());
    let mut main = BytesMut::new();
    let mut merged = EventBatch::new(stream, Bytes::new());
    let mut places = Vec::with_capacity(order.len());
    for (_, at, index) in order {
        let from = &batches[*at];
        places.push(from.place(*index));
        let entry = &from.events.entries[*index];
        let raw = from.events.bytes(entry.raw);
        let (id, kind) = (moved(&from.events, entry, entry.id), moved(&from.events, entry, entry.kind));
        let start = main.len();
        main.extend_from_slice(raw);
        let mut place = |text: Moved<'_>| match text {
            Moved::Absent => Span::NONE,
            Moved::Inside(at, bytes) => Span::main(start + at, bytes),
            Moved::Apart(text) => merged.push_side(text),
        };
        let (id, kind) = (place(id), place(kind));
        let letter = from.events.replay_of(*index);
        merged.replays.extend(letter.map(|letter| (merged.entries.len() as u32, letter)));
        merged.entries.push(Entry { raw: Span::main(start, raw.len()), id, kind, ..*entry });
    }
    merged.main = main.freeze();
    let (first_offset, appended_at) = places.first().copied().unwrap_or((0, Timestamp::NEVER));
    LogBatch { events: Arc::new(merged), first_offset, appended_at, places: Some(places) }
}

/// Where a text of an event goes when the event does.
enum Moved<'a> {
    Absent,
    /// A place in the event and a length.
    Inside(usize, usize),
    Apart(&'a [u8]),
}

fn moved<'a>(events: &'a EventBatch, entry: &Entry, span: Span) -> Moved<'a> {
    if span.is_none() {
        return Moved::Absent;
    }
    let inside = entry.raw.main_at().zip(span.main_at()).and_then(|(raw, text)| text.checked_sub(raw));
    match inside.filter(|at| at + span.len() <= entry.raw.len()) {
        Some(at) => Moved::Inside(at, span.len()),
        None => Moved::Apart(events.bytes(span)),
    }
}
