//! Offsets that jump: an error, unless a frame says that records before it were lost.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sg_core::ports::{ErrorKind, EventLog, PortError};
use sg_core::testing::log_suite::sample;
use sg_core::time::{Clock, Timestamp};

use crate::disk::RealDisk;
use crate::frame::{HEADER_BYTES, Header, Kind};
use crate::head::{decode_head, encode_head};
use crate::{EmbeddedLog, Options, names};

struct StandingClock;

impl Clock for StandingClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_700_000_000_000)
    }
}

fn options(dir: &Path) -> Options {
    let disk = Arc::new(RealDisk);
    Options { segment_bytes: 600, tail_bytes_max: 0, ..Options::new(dir, Arc::new(StandingClock), disk) }
}

/// Makes a log of twelve records in several segments.
async fn directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a test machine has room for temporary folders");
    let log = EmbeddedLog::open(options(dir.path())).expect("the log opens");
    for seed in 0..12 {
        log.append(sample("events", seed, 1)).await.expect("the log takes records");
    }
    log.close().await.expect("the log closes");
    dir
}

/// Writes the first frame of a kind in the second segment again, with another head and payload.
fn forge(dir: &Path, kind: Kind, change: impl Fn(&mut Header, &mut Vec<u8>)) {
    let path = names::segment(dir, 2);
    let mut bytes = std::fs::read(&path).expect("the segment is there");
    let mut position = 0;
    loop {
        let mut header = Header::read_frame(&bytes[position..], 2, position as u64).expect("it is whole");
        let end = position + header.frame_bytes() as usize;
        if header.kind == kind {
            let mut payload = bytes[position + HEADER_BYTES..end].to_vec();
            change(&mut header, &mut payload);
            let forged = header.frame(position as u64, &payload);
            assert_eq!(forged.len(), end - position, "nothing behind it moves");
            bytes[position..end].copy_from_slice(&forged);
            return std::fs::write(path, bytes).expect("files can be written");
        }
        position = end;
    }
}

/// Reads all; returns the offsets of records, and those that are lost.
async fn read(dir: &Path) -> Result<(Vec<u64>, Vec<u64>), PortError> {
    let log = EmbeddedLog::open(options(dir))?;
    let mut reader = log.open("events", 0, 0).await?;
    let (mut found, mut lost) = (Vec::new(), Vec::new());
    while reader.passed() < 12 {
        let batches = reader.next(1, Duration::from_secs(20)).await?;
        found.extend(batches.iter().flat_map(|batch| batch.first_offset..batch.next_offset()));
        lost.extend(reader.lost().into_iter().flatten());
    }
    Ok((found, lost))
}

/// Forges a log of which the first record of the second segment is missing; whether it says so or not.
async fn check(kind: Kind, change: impl Fn(&mut Header, &mut Vec<u8>)) {
    for is_lossy in [false, true] {
        let dir = directory().await;
        let whole = read(dir.path()).await.expect("it is whole");
        assert_eq!(whole, ((0..12).collect(), Vec::new()));
        forge(dir.path(), kind, |header, payload| {
            change(header, payload);
            header.is_lossy = is_lossy;
        });
        match read(dir.path()).await {
            Err(error) => assert!(error.kind == ErrorKind::Corrupt && !is_lossy, "{error}"),
            Ok((found, lost)) => {
                assert!(is_lossy && lost.len() == 1, "{lost:?} is passed over");
                assert_eq!(found, (0..12).filter(|offset| *offset != lost[0]).collect::<Vec<u64>>());
            }
        }
    }
}

#[tokio::test]
async fn a_frame_that_begins_too_late_is_an_error() {
    // It has one record less, the first.
    check(Kind::Events, |header, _| {
        header.base_offset += 1;
        header.count = 0;
    })
    .await;
}

#[tokio::test]
async fn a_segment_that_begins_too_late_is_an_error() {
    check(Kind::Head, |_, payload| {
        let mut head = decode_head(payload).expect("it is whole");
        head.streams.advance(0, head.streams.list()[0].next + 1);
        *payload = encode_head(head.end_before, &head.streams);
    })
    .await;
}
