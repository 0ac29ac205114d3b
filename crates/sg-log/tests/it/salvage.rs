//! Going on without damaged records.

use std::path::Path;

use sg_core::ports::{ErrorKind, EventLog};
use sg_core::testing::log_suite::Row;
use sg_log::{EmbeddedLog, Options};

use crate::bench::{append, files, folder, open, options, read_all, segment_files};

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

/// Damages a log, salvages it, and checks that it is whole again; returns how many records are lost.
async fn check(damage: impl Fn(&Path)) -> usize {
    let dir = folder();
    let given = write(dir.path()).await;
    damage(dir.path());
    let mut lost = 0;
    let log = open(salvaging(dir.path()));
    for (stream, given) in STREAMS.iter().zip(&given) {
        lost += missing(&read_all(&log, stream).await.expect("a salvaged log can be read"), given);
    }
    let more = append(&log, "left", 1_000, 3).await;
    assert!(more[0].0 > given[0][given[0].len() - 1].0, "no offset is given twice");
    log.close().await.expect("the log closes");
    drop(log);
    // Without salvage it opens as usual, and a second salvage finds nothing.
    for options in [options(dir.path()), salvaging(dir.path())] {
        let kept = files(&dir.path().join("salvaged"), ".bytes").len();
        let log = open(options);
        let found = read_all(&log, "left").await.expect("a salvaged log can be read");
        assert_eq!(found[found.len() - 3..], more);
        read_all(&log, "right").await.expect("a salvaged log can be read");
        assert_eq!(files(&dir.path().join("salvaged"), ".bytes").len(), kept, "nothing more was damaged");
    }
    lost
}

fn flip(dir: &Path, segment: usize, at: usize) {
    let file = &segment_files(dir)[segment];
    let mut bytes = std::fs::read(file).expect("the segment is there");
    let at = at.min(bytes.len() - 200);
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
