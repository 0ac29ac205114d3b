//! Salvage of logs in which the frame is damaged that gave a stream its name: its records are as they were.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sg_core::ports::EventLog;
use sg_core::testing::log_suite::Row;
use sg_log::{EmbeddedLog, Options, Reached};

use crate::bench::{append, folder, open, options, segment_files, with_disk};
use crate::faults::{Fault, FaultyDisk};
use crate::salvage::{flip_byte, reached, read};

/// Bytes of a frame's head.
const HEADER_BYTES: usize = 72;
const APPENDS: u64 = 12;
const PER_APPEND: usize = 3;
/// What every stream holds.
const END: u64 = APPENDS * PER_APPEND as u64;

/// Appends to all streams in turn; returns the records of each.
async fn write(options: Options, streams: &[&str]) -> Vec<Vec<(u64, Row)>> {
    let log = open(options);
    let mut records = vec![Vec::new(); streams.len()];
    for seed in 0..APPENDS {
        for (given, stream) in records.iter_mut().zip(streams) {
            given.extend(append(&log, stream, seed, PER_APPEND).await);
        }
    }
    log.close().await.expect("the log closes");
    records
}

/// Options for a log that has room for all in one segment.
fn roomy(dir: &Path) -> Options {
    Options { segment_bytes: 1 << 20, ..options(dir) }
}

/// Returns where the frame stands that names a stream: its segment, and its first byte and the first behind it there.
fn declaration(dir: &Path, stream: &str) -> (PathBuf, std::ops::Range<usize>) {
    for file in segment_files(dir) {
        let bytes = std::fs::read(&file).expect("the segment is there");
        for at in (0..bytes.len() - HEADER_BYTES).step_by(8) {
            let payload = at + HEADER_BYTES + 4;
            if bytes[at..].starts_with(b"SGLF\x01\x02") && bytes[payload..].starts_with(stream.as_bytes()) {
                return (file, at..(payload + stream.len()).next_multiple_of(8));
            }
        }
    }
    panic!("nothing names {stream}")
}

fn overwrite(file: &Path, range: std::ops::Range<usize>) {
    let mut bytes = std::fs::read(file).expect("the segment is there");
    bytes[range].fill(0x55);
    std::fs::write(file, bytes).expect("files can be written");
}

async fn identity(dir: &Path) -> String {
    open(options(dir)).identity("left").await.expect("a log has an identity")
}

/// Salvages, and returns what is left of a stream and where it ends; the log then opens as usual and takes more.
async fn salvaged(options: Options, stream: &str) -> (Vec<(u64, Row)>, u64) {
    let log = open(Options { salvage: true, ..options.clone() });
    let found = read(&log, stream).await;
    let end = log.extent(stream, 0).await.expect("a stream has an extent").end;
    let more = append(&log, stream, 1_000, 2).await;
    assert_eq!(more[0].0, end, "no offset is given twice");
    drop(log);
    let log = open(Options { salvage: false, ..options });
    assert_eq!(read(&log, stream).await, [found.clone(), more].concat());
    (found, end)
}

#[tokio::test]
async fn whatever_byte_of_a_name_is_damaged_no_record_is_lost() {
    for streams in [&["left"][..], &["left", "right", "far.away"]] {
        for lost in streams {
            for byte in 0..HEADER_BYTES + 16 {
                let dir = folder();
                let given = write(roomy(dir.path()), streams).await;
                let of_store = vec![reached(&identity(dir.path()).await, lost, 3)];
                let (file, range) = declaration(dir.path(), lost);
                flip_byte(&file, (range.start + byte).min(range.end - 1));
                let options = Options { reached: of_store, ..roomy(dir.path()) };
                for (stream, given) in streams.iter().zip(given) {
                    let (found, end) = salvaged(options.clone(), stream).await;
                    assert_eq!((found, end), (given, END), "{stream} without byte {byte} of {lost}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_name_is_read_where_only_its_head_is_damaged() {
    let dir = folder();
    let given = write(roomy(dir.path()), &["left"]).await;
    overwrite(&segment_files(dir.path())[0], 100..120);
    assert_eq!(salvaged(roomy(dir.path()), "left").await, (given[0].clone(), END));
}

#[tokio::test]
async fn a_name_of_any_segment_is_known_from_those_behind_it_or_from_itself() {
    for (is_last, appends_behind) in [(true, 0), (false, 30)] {
        let dir = folder();
        let mut streams = [write(options(dir.path()), &["left", "right"]).await, vec![Vec::new()]].concat();
        let log = open(options(dir.path()));
        for seed in 0..2 + appends_behind {
            streams[2].extend(append(&log, "late", seed, PER_APPEND).await);
        }
        drop(log);
        let segments = segment_files(dir.path());
        let (file, range) = declaration(dir.path(), "late");
        assert_eq!((segments.len() > 2, segments.last() == Some(&file)), (true, is_last));
        assert_ne!(segments[0], file);
        overwrite(&file, range.start + 12..range.start + 32);
        let (file, range) = declaration(dir.path(), "right");
        // Of this one nothing is left; the first frames of later segments have it.
        overwrite(&file, range.start + 12..range.end);
        for (stream, given) in ["left", "right", "late"].iter().zip(streams) {
            assert_eq!(salvaged(options(dir.path()), stream).await.0, given, "{stream}");
        }
    }
}

/// Damages the payload that names one of two streams; returns how many of its records are left, and where it ends.
async fn check_eliminated(others: &[(&str, u64)]) -> (usize, u64) {
    let dir = folder();
    let given = write(roomy(dir.path()), &["left", "right"]).await;
    let identity = identity(dir.path()).await;
    let (file, range) = declaration(dir.path(), "left");
    overwrite(&file, range.end - 4..range.end);
    let of_store: Vec<Reached> =
        others.iter().map(|(stream, offset)| reached(&identity, stream, *offset)).collect();
    let options = Options { reached: of_store, ..roomy(dir.path()) };
    assert_eq!(salvaged(options.clone(), "right").await, (given[1].clone(), END), "{others:?}");
    let (found, end) = salvaged(options, "left").await;
    assert!(found.is_empty() || found == given[0], "{others:?}");
    (found.len(), end)
}

#[tokio::test]
async fn a_name_that_is_gone_is_found_only_where_no_other_is_possible() {
    let all = END as usize;
    assert_eq!(check_eliminated(&[("left", 0)]).await, (all, END));
    assert_eq!(check_eliminated(&[("left", 5), ("right", END)]).await, (all, END));
    assert_eq!(
        check_eliminated(&[("left", 5), ("longer.name", 0)]).await,
        (all, END),
        "it has no room there"
    );
    assert_eq!(check_eliminated(&[("left", 5), ("test", END + 1)]).await, (all, END), "it went further");
    assert_eq!(check_eliminated(&[("left", 5), ("test", 0)]).await, (0, END), "it may be either");
    assert_eq!(check_eliminated(&[("left", 0), ("test", 0)]).await, (0, END), "it may be either");
    assert_eq!(check_eliminated(&[("left", END + 9)]).await, (0, END + 9), "more of it is lost");
    assert_eq!(check_eliminated(&[]).await, (0, 0), "nobody knows of it");
}

#[tokio::test]
async fn records_whose_stream_nobody_can_name_are_skipped() {
    let dir = folder();
    let given = write(roomy(dir.path()), &["left", "right"]).await;
    let identity = identity(dir.path()).await;
    let (file, range) = declaration(dir.path(), "left");
    // The name, and the head of the stream's first records.
    overwrite(&file, range.start..range.end + HEADER_BYTES);
    let of_store = vec![reached(&identity, "left", 0), reached(&identity, "right", 7)];
    let options = Options { reached: of_store, ..roomy(dir.path()) };
    let log = open(Options { salvage: true, ..options.clone() });
    assert_eq!(read(&log, "left").await, []);
    assert_eq!(log.extent("left", 0).await.expect("a stream has an extent").end, END);
    drop(log);
    assert_eq!(salvaged(options, "right").await, (given[1].clone(), END));
}

#[tokio::test]
async fn a_salvage_that_is_interrupted_takes_no_stream_for_another() {
    // What may be meant by the name that is lost: one stream, or one of two.
    for (others, left_max) in [(&["left"][..], END as usize), (&["left", "test"], 0)] {
        for fault in [Fault::StopBefore, Fault::StopWithin, Fault::StopAfter] {
            let mut at = 0;
            loop {
                let dir = folder();
                let given = write(roomy(dir.path()), &["left", "right"]).await;
                let identity = identity(dir.path()).await;
                let (file, range) = declaration(dir.path(), "left");
                overwrite(&file, range.end - 4..range.end);
                let of_store = others.iter().map(|stream| reached(&identity, stream, 0)).collect();
                let options = Options { reached: of_store, salvage: true, ..roomy(dir.path()) };
                let disk = FaultyDisk::new(None, at, fault);
                let is_done = EmbeddedLog::open(with_disk(options.clone(), Arc::new(disk.clone()))).is_ok();
                for stream in others {
                    let (found, end) = salvaged(options.clone(), stream).await;
                    let is_right = found.is_empty() || *stream == "left" && found == given[0];
                    assert!(is_right && found.len() <= left_max, "{fault:?} at operation {at}: {stream}");
                    assert_eq!(end, END, "{fault:?} at operation {at}: {stream}");
                }
                assert_eq!(salvaged(options, "right").await, (given[1].clone(), END));
                if is_done && disk.count() <= at {
                    break;
                }
                at += 1;
            }
            assert!(at > 5, "it did something");
        }
    }
}
