//! Torn ends and flipped bits: truncated or found, never a wrong record and never a panic.

use std::path::Path;

use sg_core::ports::{ErrorKind, EventLog};
use sg_core::testing::log_suite::Row;
use sg_log::EmbeddedLog;

use crate::bench::{append, folder, open, options, read_all, segment_files};

/// Writes a small log; returns its records and where its file ends after each append.
async fn write(dir: &Path, is_closed: bool) -> (Vec<(u64, Row)>, Vec<(u64, usize)>) {
    let log = open(options(dir));
    let mut records = Vec::new();
    let mut ends = Vec::new();
    for seed in 0..4 {
        records.extend(append(&log, "events", seed, 1 + seed as usize % 2).await);
        ends.push((file_bytes(dir).len() as u64, records.len()));
    }
    if is_closed {
        log.close().await.expect("the log closes");
    }
    (records, ends)
}

fn file_bytes(dir: &Path) -> Vec<u8> {
    std::fs::read(&segment_files(dir)[0]).expect("the segment is there")
}

/// Puts bytes in place of the segment of a copy of the log, and opens and reads that.
async fn reread(from: &Path, bytes: &[u8]) -> Result<Vec<(u64, Row)>, ErrorKind> {
    let dir = folder();
    std::fs::copy(from.join("identity"), dir.path().join("identity")).expect("files can be copied");
    let name = segment_files(from)[0].file_name().expect("a file has a name").to_owned();
    std::fs::write(dir.path().join(name), bytes).expect("files can be written");
    let log = EmbeddedLog::open(options(dir.path())).map_err(|error| error.kind)?;
    let records = read_all(&log, "events").await.map_err(|error| error.kind)?;
    // The log goes on from there, and what it cut off does not come back.
    let more = append(&log, "events", 77, 2).await;
    drop(log);
    let again = read_all(&open(options(dir.path())), "events").await.map_err(|error| error.kind)?;
    assert_eq!(again, [records.clone(), more].concat());
    Ok(records)
}

#[tokio::test]
async fn a_file_cut_anywhere_keeps_the_groups_before() {
    let dir = folder();
    let (records, ends) = write(dir.path(), false).await;
    let bytes = file_bytes(dir.path());
    for cut in 0..bytes.len() {
        let kept = ends.iter().rev().find(|(end, _)| *end <= cut as u64).map_or(0, |(_, count)| *count);
        assert_eq!(reread(dir.path(), &bytes[..cut]).await, Ok(records[..kept].to_vec()), "cut at {cut}");
    }
}

#[tokio::test]
async fn the_last_group_zeroed_or_scrambled_from_anywhere_is_cut_off() {
    let dir = folder();
    let (records, ends) = write(dir.path(), false).await;
    let bytes = file_bytes(dir.path());
    let (last_start, kept) = ends[ends.len() - 2];
    for from in last_start as usize..bytes.len() {
        for fill in [0x00, 0xff, b'S'] {
            let mut damaged = bytes.clone();
            damaged[from..].fill(fill);
            // The payload ends with zeros up to a multiple of 8.
            let expected = if damaged == bytes { &records[..] } else { &records[..kept] };
            assert_eq!(reread(dir.path(), &damaged).await.as_deref(), Ok(expected), "{fill} from {from}");
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_in_a_closed_log_is_found() {
    let dir = folder();
    let (records, ends) = write(dir.path(), true).await;
    let bytes = file_bytes(dir.path());
    let mark = ends[ends.len() - 1].0 as usize;
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            // Only the mark itself may be damaged without a loss.
            let expected = if at < mark { Err(ErrorKind::Corrupt) } else { Ok(records.clone()) };
            assert_eq!(reread(dir.path(), &damaged).await, expected, "bit {bit} of byte {at}");
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_in_a_log_that_was_not_closed_is_found_or_ends_it() {
    let dir = folder();
    let (records, ends) = write(dir.path(), false).await;
    let bytes = file_bytes(dir.path());
    let (last_start, kept) = ends[ends.len() - 2];
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        let expected =
            if at < last_start as usize { Err(ErrorKind::Corrupt) } else { Ok(records[..kept].to_vec()) };
        assert_eq!(reread(dir.path(), &damaged).await, expected, "byte {at}");
    }
}

#[tokio::test]
async fn a_bad_frame_of_an_older_segment_is_found_when_it_is_read() {
    let dir = folder();
    let log = open(options(dir.path()));
    for seed in 0..40 {
        append(&log, "events", seed, 3).await;
    }
    log.close().await.expect("the log closes");
    drop(log);
    let file = &segment_files(dir.path())[1];
    let bytes = std::fs::read(file).expect("the segment is there");
    for at in (0..bytes.len()).step_by(7) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        std::fs::write(file, damaged).expect("files can be written");
        let error = match EmbeddedLog::open(options(dir.path())) {
            Ok(log) => read_all(&log, "events").await.expect_err("the damage is found"),
            // The segment's first frame is read at once.
            Err(error) => error,
        };
        assert_eq!(error.kind, ErrorKind::Corrupt, "byte {at}");
        let message = error.to_string();
        for part in [&*file.to_string_lossy(), "byte ", "serve --salvage"] {
            assert!(message.contains(part), "{message} does not tell {part}");
        }
    }
}

#[tokio::test]
async fn a_missing_segment_or_identity_is_found() {
    for lost in ["identity", "00000000000000000002.seg"] {
        let dir = folder();
        let log = open(options(dir.path()));
        for seed in 0..40 {
            append(&log, "events", seed, 3).await;
        }
        drop(log);
        std::fs::remove_file(dir.path().join(lost)).expect("the file was there");
        let error = EmbeddedLog::open(options(dir.path())).err().expect("the loss is found");
        assert_eq!(error.kind, ErrorKind::Corrupt, "{lost}");
    }
}

#[tokio::test]
async fn what_is_cut_off_is_erased() {
    let dir = folder();
    let (_, ends) = write(dir.path(), false).await;
    let (start, _) = ends[ends.len() - 2];
    let mut bytes = file_bytes(dir.path());
    bytes[start as usize + 80] ^= 1;
    std::fs::write(&segment_files(dir.path())[0], &bytes).expect("files can be written");
    drop(open(options(dir.path())));
    let left = &file_bytes(dir.path())[start as usize..];
    assert!(left.iter().all(|byte| *byte == 0), "the next start would find it torn again");
}
