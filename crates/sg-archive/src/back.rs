//! A file and its companion put together again as the records that the log had. Believes neither: the sum of the file
//! must be the manifest's, and the records as many as it says.

use std::borrow::Cow;
use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use sg_core::batch::{Entry, EventBatch, LogBatch, Span, content_hash};
use sg_core::ports::{ArchivedFile, ErrorKind, PortError};

use crate::chunks::sha256;
use crate::companion::{self, Known, Text};

/// Bytes of an unpacked file at most, against damaged ones.
const UNPACKED_BYTES_MAX: u64 = 1 << 30;

/// Puts a file and its companion together.
pub(crate) fn join(file: &ArchivedFile, content: &Bytes, packed: &[u8]) -> Result<LogBatch, PortError> {
    let wrong = |why: &str| {
        PortError::new(
            ErrorKind::Corrupt,
            format!("reading {} of the archive {}: {why}", file.path, file.place),
        )
    };
    if sha256(std::slice::from_ref(content)) != file.sha256 {
        return Err(wrong("its SHA-256 is not the one of the manifest"));
    }
    let companion = companion::unpack(packed).ok_or_else(|| wrong("its companion cannot be unpacked"))?;
    let known = companion::read(&companion).ok_or_else(|| wrong("its companion is damaged"))?;
    if known.len() as u64 != file.rows {
        return Err(wrong("its companion has another number of records"));
    }
    let lines = lines(&file.path, content).map_err(|error| wrong(&error.to_string()))?;
    let spans = lines.spans(&known).ok_or_else(|| wrong("it has another number of records"))?;
    let mut batch = EventBatch::new(Arc::from(file.stream.as_str()), lines.text);
    let mut places = Vec::with_capacity(known.len());
    for (record, (at, bytes)) in known.iter().zip(spans) {
        let entry =
            entry(&mut batch, record, at, bytes).ok_or_else(|| wrong("its companion is another's"))?;
        batch.replays.extend(record.letter.map(|letter| (batch.entries.len() as u32, letter)));
        batch.entries.push(entry);
        places.push((record.offset, record.appended_at));
    }
    let (first_offset, appended_at) = places.first().copied().ok_or_else(|| wrong("it is empty"))?;
    Ok(LogBatch { events: Arc::new(batch), first_offset, appended_at, places: Some(places) })
}

fn entry(batch: &mut EventBatch, record: &Known<'_>, at: usize, bytes: usize) -> Option<Entry> {
    let raw = match record.original {
        None => Span::main(at, bytes),
        Some(original) => batch.push_side(original),
    };
    let mut text = |text: &Text<'_>| match text {
        Text::Absent => Some(Span::NONE),
        Text::InLine { at: start, bytes: length } => {
            (start + length <= bytes).then(|| Span::main(at + start, *length))
        }
        Text::Apart(text) => Some(batch.push_side(text)),
    };
    let (id, kind) = (text(&record.id)?, text(&record.kind)?);
    Some(Entry {
        raw,
        id,
        kind,
        key_hash: record.key_hash,
        key: Span::NONE,
        event_time: record.event_time,
        received_at: record.received_at,
        content: content_hash(batch.bytes(raw)),
    })
}

/// The lines of a file: one text, and where each stands in it.
struct Lines {
    text: Bytes,
    /// Place and length; with the offset where the file is not in log order.
    at: Vec<(Option<u64>, usize, usize)>,
}

impl Lines {
    /// Returns the lines in the order of the records; `None` when they are not the same.
    fn spans(&self, known: &[Known<'_>]) -> Option<Vec<(usize, usize)>> {
        if self.at.len() != known.len() {
            return None;
        }
        let is_same = |((offset, ..), record): (&(Option<u64>, usize, usize), &Known<'_>)| {
            offset.is_none_or(|offset| offset == record.offset)
        };
        let all = self.at.iter().zip(known).all(is_same);
        all.then(|| self.at.iter().map(|(_, at, bytes)| (*at, *bytes)).collect())
    }
}

fn lines(path: &str, content: &Bytes) -> std::io::Result<Lines> {
    if path.ends_with(".parquet") {
        return columns(content);
    }
    let text: Cow<'_, Bytes> = if path.ends_with(".gz") {
        Cow::Owned(unpack(flate2::read::MultiGzDecoder::new(&content[..]))?)
    } else if path.ends_with(".zst") {
        Cow::Owned(unpack(zstd::Decoder::new(&content[..])?)?)
    } else {
        Cow::Borrowed(content)
    };
    let mut at = Vec::new();
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', &text) {
        at.push((None, start, end - start));
        start = end + 1;
    }
    Ok(Lines { text: text.into_owned(), at })
}

fn unpack(packed: impl Read) -> std::io::Result<Bytes> {
    let mut text = Vec::new();
    packed.take(UNPACKED_BYTES_MAX).read_to_end(&mut text)?;
    Ok(text.into())
}

#[cfg(feature = "parquet")]
fn columns(content: &Bytes) -> std::io::Result<Lines> {
    let mut rows = crate::columns::read(content.clone())?;
    rows.sort_by_key(|(offset, _)| *offset);
    let mut text = Vec::new();
    let mut at = Vec::with_capacity(rows.len());
    for (offset, raw) in rows {
        at.push((Some(offset), text.len(), raw.len()));
        text.extend_from_slice(raw.as_bytes());
    }
    Ok(Lines { text: text.into(), at })
}

#[cfg(not(feature = "parquet"))]
fn columns(_content: &Bytes) -> std::io::Result<Lines> {
    Err(std::io::Error::other("this binary was built without the feature parquet"))
}
