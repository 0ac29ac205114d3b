//! Archive → records: reads a range of a partition back in log order, with what the log knew of each record. Refuses a
//! range that is not all there. Records without `received_at` are others' and have to be read again by their plan.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use sg_core::archive::FileKind;
use sg_core::batch::{Entry, EventBatch, LogBatch, Span};
use sg_core::ports::{Archive, ArchivePosition, ArchivedFile, ErrorKind, Manifest, ManifestQuery, PortError};

/// Files asked of the manifest at once.
const FILES_AT_ONCE: usize = 1_000;

/// A range of a partition that is read from the archive.
pub struct Back {
    manifest: Arc<dyn Manifest>,
    archives: Vec<Arc<dyn Archive>>,
    query: ManifestQuery,
    /// No record before this is left to be returned.
    next: u64,
    to: u64,
    files: VecDeque<ArchivedFile>,
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
        let files = VecDeque::new();
        Ok(Back { manifest, archives, query, next: from, to, files, is_last_page: false })
    }

    /// Returns the next records in log order; `None` at the end of the range.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when a file is not what the manifest says, and those of manifest and archive.
    pub async fn next(&mut self) -> Result<Option<LogBatch>, PortError> {
        let Some(first) = self.file().await? else { return Ok(None) };
        // Files of one cut may hold every other record: those that overlap are one batch.
        let mut end = first.to;
        let mut batches = vec![self.read(&first).await?];
        while let Some(file) = self.file().await? {
            if file.from >= end {
                self.files.push_front(file);
                break;
            }
            end = end.max(file.to);
            batches.push(self.read(&file).await?);
        }
        let merged = merge(&batches, self.next..self.to);
        self.next = end;
        Ok(Some(merged))
    }

    async fn file(&mut self) -> Result<Option<ArchivedFile>, PortError> {
        if self.files.is_empty() && !self.is_last_page {
            let files = self.manifest.archived_files(&self.query).await?;
            self.is_last_page = files.len() < FILES_AT_ONCE;
            self.query.after = files.last().map_or(self.query.after, |file| file.id);
            self.files = files.into();
        }
        Ok(self.files.pop_front())
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

/// Puts the records of a range into one batch, by offset.
fn merge(batches: &[LogBatch], range: std::ops::Range<u64>) -> LogBatch {
    let mut order: Vec<(u64, usize, usize)> = Vec::new();
    for (at, batch) in batches.iter().enumerate() {
        let places = (0..batch.events.len()).map(|index| (batch.place(index).0, at, index));
        order.extend(places.filter(|(offset, ..)| range.contains(offset)));
    }
    order.sort_unstable();
    let stream = batches.first().map_or_else(|| Arc::from(""), |batch| batch.events.stream.clone());
    let mut main = BytesMut::new();
    let mut merged = EventBatch::new(stream, Bytes::new());
    let mut places = Vec::with_capacity(order.len());
    for (_, at, index) in order {
        let from = &batches[at];
        places.push(from.place(index));
        let entry = &from.events.entries[index];
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
        merged.entries.push(Entry { raw: Span::main(start, raw.len()), id, kind, ..*entry });
    }
    merged.main = main.freeze();
    let (first_offset, appended_at) =
        places.first().copied().unwrap_or((range.start, sg_core::time::Timestamp::NEVER));
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
