//! Going on without damaged records.

use std::path::Path;
use std::sync::Arc;

use sg_core::ports::{ErrorKind, EventLog};
use sg_core::testing::log_suite::Row;
use sg_log::{EmbeddedLog, Options, Reached};

use crate::bench::{append, files, folder, open, options, read_from, segment_files, with_disk};
use crate::faults::{Fault, FaultyDisk};

const STREAMS: [&str; 2] = ["left", "right"];

/// Writes several segments with two streams; returns the records of each.
async fn write(dir: &Path) -> [Vec<(u64, Row)>; 2] {
    let log = open(options(dir));
    let mut records = [Vec::new(), Vec::new()];
    for seed in 0..40 {
        let stream = seed as usize % 3 % 2;
        records[stream].extend(append(&log, STREAMS[stream], seed, 1 + seed as usize % 5).await);
    }
    log.close().await.expect("the log closes");
    records
}

fn salvaging(dir: &Path) -> Options {
    Options { salvage: true, ..options(dir) }
}

/// Returns whether the records found are records given, in order, and how many are missing.
fn missing(found: &[(u64, Row)], given: &[(u64, Row)]) -> usize {
    let mut rest = given.iter();
    for record in found {
        assert!(rest.any(|given| given == record), "a record that was never given, or out of order");
    }
    given.len() - found.len()
}

/// Reads a stream of a salvaged log, from every offset on: each offset has its record or is said to be lost.
pub(crate) async fn read(log: &EmbeddedLog, stream: &str) -> Vec<(u64, Row)> {
    let extent = log.extent(stream, 0).await.expect("a stream has an extent");
    let (records, lost) = read_from(log, stream, extent.start).await.expect("a salvaged log can be read");
    let mut offsets: Vec<u64> = records.iter().map(|(offset, _)| *offset).chain(lost.clone()).collect();
    offsets.sort_unstable();
    assert_eq!(offsets, (extent.start..extent.end).collect::<Vec<u64>>(), "{stream}: lost {lost:?}");
    // Also one that begins in the middle of what is lost knows it for that.
    for from in lost.iter().copied().take(40) {
        let (rest, lost_there) = read_from(log, stream, from).await.expect("a salvaged log can be read");
        assert_eq!(rest, records[records.partition_point(|(offset, _)| *offset < from)..], "from {from}");
        assert_eq!(lost_there, lost[lost.partition_point(|offset| *offset < from)..], "from {from}");
    }
    records
}

/// Damages a log, salvages it, and checks that it is whole again; returns how many records are lost.
async fn check(damage: impl Fn(&Path)) -> usize {
    let dir = folder();
    let given = write(dir.path()).await;
    damage(dir.path());
    check_salvaged(dir.path(), &given).await
}

async fn check_salvaged(dir: &Path, given: &[Vec<(u64, Row)>; 2]) -> usize {
    let mut lost = 0;
    let log = open(salvaging(dir));
    for (stream, given) in STREAMS.iter().zip(given) {
        lost += missing(&read(&log, stream).await, given);
        let end = log.extent(stream, 0).await.expect("a stream has an extent").end;
        assert!(end > given[given.len() - 1].0, "an offset of {stream} is given twice");
    }
    let more = append(&log, "left", 1_000, 3).await;
    log.close().await.expect("the log closes");
    drop(log);
    // Without salvage it opens as usual, and a second salvage finds nothing.
    for options in [options(dir), salvaging(dir)] {
        let kept = files(&dir.join("salvaged"), ".bytes").len();
        let end = open(options.clone()).extent("right", 0).await.expect("a stream has an extent").end;
        let log = open(options);
        let found = read(&log, "left").await;
        assert_eq!(found[found.len() - 3..], more);
        read(&log, "right").await;
        assert_eq!(log.extent("right", 0).await.expect("a stream has an extent").end, end);
        assert_eq!(files(&dir.join("salvaged"), ".bytes").len(), kept, "nothing more was damaged");
    }
    lost
}

fn flip(dir: &Path, segment: usize, at: usize) {
    let file = &segment_files(dir)[segment];
    let file_bytes = std::fs::metadata(file).expect("the segment is there").len() as usize;
    flip_byte(file, at.min(file_bytes - 200));
}

pub(crate) fn flip_byte(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).expect("the segment is there");
    bytes[at] ^= 0x20;
    std::fs::write(file, bytes).expect("files can be written");
}

#[tokio::test]
async fn one_flipped_byte_loses_one_frame() {
    for segment in [0, 1] {
        for at in (0..3_600).step_by(53) {
            let lost = check(|dir| flip(dir, segment, at)).await;
            assert!(lost <= 5, "byte {at} of segment {segment} lost {lost} records");
        }
    }
}

#[tokio::test]
async fn the_last_segment_is_salvaged_too() {
    let dir = folder();
    write(dir.path()).await;
    let last = segment_files(dir.path()).len() - 1;
    for at in (0..2_000).step_by(97) {
        let lost = check(|dir| flip(dir, last, at)).await;
        assert!(lost <= 5, "byte {at} lost {lost} records");
    }
}

#[tokio::test]
async fn a_zeroed_range_loses_what_stood_there() {
    let lost = check(|dir| {
        let file = &segment_files(dir)[1];
        let mut bytes = std::fs::read(file).expect("the segment is there");
        bytes[..1_500].fill(0);
        std::fs::write(file, bytes).expect("files can be written");
    })
    .await;
    assert!((1..25).contains(&lost), "lost {lost}");
}

#[tokio::test]
async fn a_missing_segment_loses_its_records() {
    let lost = check(|dir| std::fs::remove_file(&segment_files(dir)[1]).expect("the segment is there")).await;
    assert!((10..60).contains(&lost), "lost {lost}");
}

#[tokio::test]
async fn nothing_is_salvaged_unasked_and_damaged_bytes_are_kept() {
    let dir = folder();
    write(dir.path()).await;
    flip(dir.path(), 0, 10);
    let before = std::fs::read(&segment_files(dir.path())[0]).expect("the segment is there");
    let error = EmbeddedLog::open(options(dir.path())).err().expect("the damage is found");
    assert_eq!(error.kind, ErrorKind::Corrupt);
    assert_eq!(std::fs::read(&segment_files(dir.path())[0]).expect("the segment is there"), before);
    drop(open(salvaging(dir.path())));
    let kept = files(&dir.path().join("salvaged"), ".bytes");
    let kept = std::fs::read(&kept[0]).expect("the damaged bytes are kept");
    assert!(kept.len() >= 72 && before.starts_with(&kept));
}

#[tokio::test]
async fn offsets_are_skipped_only_where_records_may_have_been() {
    let dir = folder();
    let given = write(dir.path()).await;
    let last = segment_files(dir.path()).len() - 1;
    for at in (600..2_000).step_by(97) {
        let dir = folder();
        write(dir.path()).await;
        flip(dir.path(), last, at);
        let log = open(salvaging(dir.path()));
        for (stream, given) in STREAMS.iter().zip(&given) {
            let end = log.extent(stream, 0).await.expect("a stream has an extent").end;
            let told = given[given.len() - 1].0 + 1;
            // A head that is lost hides whose records it had, and how many; later ones tell of their stream.
            assert!((told..told + 40).contains(&end), "byte {at}: {stream} goes on at {end}, not at {told}");
        }
    }
}

/// Says that a stream was read up to an offset.
pub(crate) fn reached(log_identity: &str, stream: &str, offset: u64) -> Reached {
    Reached { log_identity: log_identity.to_owned(), stream: stream.to_owned(), offset }
}

#[tokio::test]
async fn a_log_that_ends_before_what_was_read_is_refused_and_goes_on_behind_it() {
    // The last segment, all of them, and with them the names of the streams.
    for kept in [1, 0] {
        let dir = folder();
        let given = write(dir.path()).await;
        let identity = open(options(dir.path())).identity("left").await.expect("a log has an identity");
        for file in &segment_files(dir.path())[kept..] {
            std::fs::remove_file(file).expect("the segment is there");
        }
        let ends = given.clone().map(|given| given[given.len() - 1].0 + 1);
        let all = vec![reached(&identity, "left", ends[0]), reached(&identity, "right", ends[1])];
        let refused = Options { reached: all.clone(), ..options(dir.path()) };
        let error = EmbeddedLog::open(refused.clone()).err().expect("the end is lost");
        assert_eq!(error.kind, ErrorKind::Corrupt);
        for part in ["ends at offset", &format!("up to offset {}", ends[0]), "serve --salvage"] {
            assert!(error.to_string().contains(part), "{error} does not tell {part}");
        }
        // What was read of another log says nothing of this one.
        let others = vec![reached("another", "left", ends[0])];
        drop(open(Options { reached: others, ..options(dir.path()) }));
        let log = open(Options { reached: all, ..salvaging(dir.path()) });
        for (stream, end) in STREAMS.iter().zip(ends) {
            assert_eq!(log.extent(stream, 0).await.expect("a stream has an extent").end, end);
            read(&log, stream).await;
        }
        let more = append(&log, "right", 1_000, 3).await;
        assert_eq!(more[0].0, ends[1]);
        drop(log);
        let log = open(refused);
        assert!(read(&log, "right").await.ends_with(&more));
    }
}

#[tokio::test]
async fn a_salvage_that_is_interrupted_is_begun_again() {
    let damaged = || async {
        let dir = folder();
        let given = write(dir.path()).await;
        let last = segment_files(dir.path()).len() - 1;
        flip(dir.path(), 0, 700);
        // The newest records of both streams, of which nothing tells any more; what closed the log is left.
        let file = &segment_files(dir.path())[last];
        let mut bytes = std::fs::read(file).expect("the segment is there");
        let end = bytes.len() - 100;
        bytes[end - 900..end].fill(0);
        std::fs::write(file, bytes).expect("files can be written");
        (dir, given)
    };
    let (dir, _) = damaged().await;
    let counted = FaultyDisk::sound();
    drop(open(with_disk(salvaging(dir.path()), Arc::new(counted.clone()))));
    assert!(counted.count() > 8, "it did something");
    for fault in [Fault::StopBefore, Fault::StopWithin, Fault::StopAfter] {
        for at in 0..counted.count() {
            let (dir, given) = damaged().await;
            let disk = FaultyDisk::new(None, at, fault);
            // The machine stops; what was done of it is found by whoever opens the log next.
            drop(EmbeddedLog::open(with_disk(salvaging(dir.path()), Arc::new(disk))));
            let lost = check_salvaged(dir.path(), &given).await;
            assert!(lost <= 15, "{fault:?} at operation {at} lost {lost} records");
        }
    }
}
