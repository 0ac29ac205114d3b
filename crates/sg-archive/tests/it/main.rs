//! Files that are written and read back: the records come out as the log had them, or not at all.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sg_archive::{Files, Place, Variables};
use sg_core::archive::{ArchiveRules, Compression, FILE_BYTES_MAX, Format, HourOf, Layout, companion_path};
use sg_core::batch::{Entry, EventBatch, LogBatch, Span, content_hash};
use sg_core::ports::{Archive, ArchivedFile, CutFile, ErrorKind, FileLimits};
use sg_core::time::Timestamp;

/// 2025-01-01T00:00:00Z.
const T0: i64 = 1_735_689_600_000;
const WIDE: FileLimits = FileLimits { rows: u64::MAX, bytes: FILE_BYTES_MAX };

fn rules(format: Format, compression: Compression) -> Arc<ArchiveRules> {
    let layout = Layout::parse("e/{yyyy}/{HH}/events-{ts}.ndjson").expect("a layout");
    let (rows, bytes, age) = (1_000, FILE_BYTES_MAX, Duration::from_secs(60));
    let hour_of = HourOf::Event;
    Arc::new(ArchiveRules {
        layout,
        hour_of,
        format,
        compression,
        rows,
        bytes,
        age,
        keep: None,
        keep_bytes_max: None,
    })
}

/// Records of every kind: ids in the event, apart and UUIDs; times that are there and not; what others wrote.
fn batch(records: Range<u64>) -> LogBatch {
    let texts: Vec<Vec<u8>> = records
        .clone()
        .map(|offset| match offset % 5 {
            0 => format!(r#"{{"id":"e{offset}","type":"view","x":"é"}}"#).into_bytes(),
            4 => b"not \xff a\nline\r".to_vec(),
            _ => format!(r#"{{"n":{offset}}}"#).into_bytes(),
        })
        .collect();
    let mut batch = EventBatch::new(Arc::from("s"), Bytes::from(texts.concat()));
    let mut at = 0;
    let mut places = Vec::new();
    for (offset, text) in records.zip(&texts) {
        let raw = Span::main(at, text.len());
        let id = match offset % 5 {
            0 => Span::main(at + 7, format!("e{offset}").len()),
            1 => batch.push_side(format!("0193e1f2-0000-7000-8000-{offset:012x}").as_bytes()),
            _ => batch.push_side(format!("given {offset}").as_bytes()),
        };
        let kind = if offset % 2 == 0 { batch.push_side(b"view") } else { Span::NONE };
        let is_foreign = offset % 5 >= 3;
        let time = |ms: u64| Timestamp(T0 + i64::try_from(ms).expect("small"));
        batch.entries.push(Entry {
            raw,
            id,
            kind,
            key_hash: offset.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            key: Span::NONE,
            event_time: (offset % 3 != 0).then(|| time(offset * 977 % 50_000_000)),
            received_at: (!is_foreign).then(|| time(offset * 1_000)),
            content: content_hash(text),
        });
        if offset % 7 == 2 && !is_foreign {
            batch.replays.push((batch.entries.len() as u32 - 1, (u32::from(offset % 2 == 0), offset << 20)));
        }
        places.push((offset * 2, time(offset * 1_001)));
        at += text.len();
    }
    let (first_offset, appended_at) = places[0];
    LogBatch { events: Arc::new(batch), first_offset, appended_at, places: Some(places) }
}

/// What a record is, wherever its texts lie.
fn told(batch: &LogBatch) -> Vec<String> {
    let events = &batch.events;
    let record = |(index, entry): (usize, &Entry)| {
        let texts = [entry.raw, entry.id, entry.kind].map(|span| events.bytes(span).to_vec());
        let times = (entry.event_time, entry.received_at, events.replay_of(index));
        format!("{:?} {texts:?} {} {times:?} {}", batch.place(index), entry.key_hash, entry.content)
    };
    events.entries.iter().enumerate().map(record).collect()
}

async fn written(
    files: &Files,
    rules: &Arc<ArchiveRules>,
    batch: &LogBatch,
    limits: FileLimits,
) -> Vec<ArchivedFile> {
    let mut cut = files.begin(rules, 3);
    cut.add(batch, 0..batch.events.len(), limits).expect("added");
    let mut archived = Vec::new();
    for file in cut.finish().expect("packed") {
        let path = rules.path(file.hour, &file.from.to_string());
        files.put(&path, &file).await.expect("written");
        archived.push(entry(files, &path, &file));
    }
    archived
}

fn entry(files: &Files, path: &str, file: &CutFile) -> ArchivedFile {
    ArchivedFile {
        id: 1,
        place: files.place().to_owned(),
        path: path.to_owned(),
        stream: "s".to_owned(),
        kind: sg_core::archive::FileKind::Raw,
        partition: 3,
        from: file.from,
        to: file.to,
        rows: file.rows,
        bytes: file.bytes,
        sha256: file.sha256.clone(),
        created_at: Timestamp(T0),
    }
}

fn open(folder: &tempfile::TempDir) -> Files {
    Files::open(&Place::Folder(folder.path().to_owned()), &Variables::default()).expect("opened")
}

#[tokio::test]
async fn records_come_back_as_the_log_had_them() {
    let formats = [
        (Format::Ndjson, Compression::None),
        (Format::Ndjson, Compression::Gzip),
        (Format::Ndjson, Compression::Zstd),
        #[cfg(feature = "parquet")]
        (Format::Parquet, Compression::None),
    ];
    for (format, compression) in formats {
        let folder = tempfile::tempdir().expect("a folder");
        let files = open(&folder);
        let batch = batch(0..20_000);
        let archived = written(&files, &rules(format, compression), &batch, WIDE).await;
        assert!(archived.len() > 5, "the records lie in many hours, not {}", archived.len());
        let mut read = Vec::new();
        for file in &archived {
            read.extend(told(&files.read(file).await.expect("it is whole")));
        }
        let mut expected = told(&batch);
        expected.sort();
        read.sort();
        assert!(read == expected, "{format:?} {compression:?}");
    }
}

#[tokio::test]
async fn files_end_at_their_limits() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = open(&folder);
    let rules = rules(Format::Ndjson, Compression::None);
    let rows = |archived: Vec<ArchivedFile>| archived.iter().map(|file| file.rows).collect::<Vec<_>>();
    let batch = batch(0..5);
    for (limit, expected) in [(1, &[1, 1, 1, 1, 1][..]), (4, &[4, 1]), (5, &[5]), (6, &[5])] {
        let limits = FileLimits { rows: limit, bytes: FILE_BYTES_MAX };
        assert_eq!(rows(written(&files, &rules, &batch, limits).await), expected, "{limit} rows");
    }
    let limits = FileLimits { rows: 100, bytes: 1 };
    assert_eq!(rows(written(&files, &rules, &batch, limits).await), [1, 1, 1, 1, 1]);
}

#[tokio::test]
async fn what_is_damaged_is_not_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = open(&folder);
    let rules = rules(Format::Ndjson, Compression::None);
    let file = written(&files, &rules, &batch(0..4), WIDE).await.remove(0);
    let (path, beside) = (folder.path().join(&file.path), folder.path().join(companion_path(&file.path)));
    let sound = files.read(&file).await.expect("it is whole");
    for damaged in [&path, &beside] {
        let whole = std::fs::read(damaged).expect("it was written");
        let mut flipped = vec![[&whole[..], b"\n"].concat(), whole[..whole.len() / 2].to_vec(), Vec::new()];
        flipped.extend((0..whole.len()).map(|at| {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            flipped
        }));
        for broken in flipped {
            std::fs::write(damaged, &broken).expect("it can be written");
            // Bytes behind a companion's end are nobody's.
            if damaged == &beside && broken.len() > whole.len() {
                continue;
            }
            match files.read(&file).await {
                Err(error) => assert_eq!(error.kind, ErrorKind::Corrupt, "{error}"),
                // zstd has a bit that means nothing.
                Ok(read) => assert!(damaged == &beside && told(&read) == told(&sound), "it is damaged"),
            }
        }
        std::fs::write(damaged, &whole).expect("it can be written");
    }
    assert_eq!(files.read(&file).await.expect("it is whole again").events.len(), 4);
    let other = ArchivedFile { rows: 5, ..file };
    assert!(files.read(&other).await.is_err());
}

#[tokio::test]
async fn a_file_of_lines_has_no_companion() {
    let packings = [(Compression::None, ""), (Compression::Gzip, ".gz"), (Compression::Zstd, ".zst")];
    for (compression, ending) in packings {
        let folder = tempfile::tempdir().expect("a folder");
        let files = open(&folder);
        let rules = rules(Format::Ndjson, compression);
        let file = files.pack(&rules, Timestamp(T0), &["{\"n\":1}", "{\"n\":2}"]).expect("packed");
        let path = rules.path(file.hour, "1");
        assert!(
            path.ends_with(&format!(".json{ending}")) || path.ends_with(&format!(".ndjson{ending}")),
            "{path}"
        );
        files.put(&path, &file).await.expect("written");
        let bytes = std::fs::read(folder.path().join(&path)).expect("it was written");
        assert_eq!((file.rows, file.bytes), (2, bytes.len() as u64));
        let mut text = Vec::new();
        let read: &mut dyn std::io::Read = match compression {
            Compression::None => &mut &bytes[..],
            Compression::Gzip => &mut flate2::read::GzDecoder::new(&bytes[..]),
            Compression::Zstd => &mut zstd::Decoder::new(&bytes[..]).expect("a zstd file"),
        };
        read.read_to_end(&mut text).expect("it is whole");
        assert_eq!(text, b"{\"n\":1}\n{\"n\":2}\n");
        assert!(!folder.path().join(companion_path(&path)).try_exists().expect("it can be looked at"));
        files.delete(&path).await.expect("deleted");
        assert!(!folder.path().join(&path).try_exists().expect("it can be looked at"));
    }
}

#[tokio::test]
async fn deleting_leaves_nothing_of_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = open(&folder);
    let rules = rules(Format::Ndjson, Compression::None);
    let file = written(&files, &rules, &batch(0..4), WIDE).await.remove(0);
    // As a process leaves it that is killed while it writes.
    let unfinished = folder.path().join("_streamgauge/unfinished").join(file.path.replace('/', "%"));
    std::fs::write(&unfinished, "half").expect("written");
    for _ in 0..2 {
        files.delete(&file.path).await.expect("deleted");
        let gone = [
            folder.path().join(&file.path),
            folder.path().join(companion_path(&file.path)),
            unfinished.clone(),
        ];
        assert!(gone.iter().all(|path| !path.try_exists().expect("the folder can be read")), "{gone:?}");
    }
}
