//! Opening logs whose numbers are as large as they get, and logs of newer programs.

use std::path::Path;
use std::sync::Arc;

use sg_core::ports::{ErrorKind, EventLog};
use sg_core::testing::log_suite::{read, rows, sample};
use sg_core::time::{Clock, Timestamp};

use crate::disk::RealDisk;
use crate::frame::{Header, Kind};
use crate::head::{Streams, encode_head};
use crate::{EmbeddedLog, Options, names};

const NOW: Timestamp = Timestamp(1_700_000_000_000);

struct StandingClock;

impl Clock for StandingClock {
    fn now(&self) -> Timestamp {
        NOW
    }
}

/// Makes a directory with one segment that holds only its first frame.
fn directory(number: u64, group: u64, next: u64) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a test machine has room for temporary folders");
    let mut streams = Streams::default();
    assert!(streams.declare(0, "events", next));
    let head = Header {
        kind: Kind::Head,
        is_lossy: false,
        has_replays: false,
        segment: number,
        group,
        group_start: 0,
        stream: 0,
        count: 0,
        base_offset: 0,
        appended_at: NOW,
        payload_bytes: 0,
        payload_checksum: 0,
    };
    write(&names::segment(dir.path(), number), &head.frame(0, &encode_head(0, &streams)));
    write(&dir.path().join(names::IDENTITY), &[b'0'; 32]);
    dir
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("files can be written");
}

fn options(dir: &Path) -> Options {
    let disk = Arc::new(RealDisk);
    Options { segment_bytes: 600, tail_bytes_max: 0, ..Options::new(dir, Arc::new(StandingClock), disk) }
}

#[tokio::test]
async fn counters_pass_what_four_bytes_hold() {
    let four_bytes = u64::from(u32::MAX);
    for (number, group, next) in [
        (four_bytes - 2, four_bytes - 2, four_bytes - 2),
        (four_bytes + 1, 1 << 53, 1 << 53),
        (u64::MAX >> 1, u64::MAX >> 1, u64::MAX >> 1),
    ] {
        let dir = directory(number, group, next);
        let log = EmbeddedLog::open(options(dir.path())).expect("the log opens");
        let mut given = Vec::new();
        for seed in 0..12 {
            let batch = sample("events", seed, 1);
            given.extend(rows(&batch));
            let appended = log.append(batch).await.expect("the log takes records");
            assert_eq!(appended[0].first_offset, next + seed);
        }
        log.close().await.expect("the log closes");
        drop(log);
        let log = EmbeddedLog::open(options(dir.path())).expect("the log opens");
        let found = read(&log, "events", next, 12).await;
        assert_eq!(found.into_iter().map(|(_, row)| row).collect::<Vec<_>>(), given);
        let last = names::segment(dir.path(), number + 3);
        assert!(last.try_exists().expect("the folder can be read"), "several segments were begun");
    }
}

#[tokio::test]
async fn a_newer_program_s_log_is_left_alone() {
    for salvage in [false, true] {
        let dir = directory(1, 1, 0);
        let log = EmbeddedLog::open(options(dir.path())).expect("the log opens");
        log.append(sample("events", 1, 1)).await.expect("the log takes records");
        drop(log);
        let path = names::segment(dir.path(), 1);
        let mut bytes = std::fs::read(&path).expect("the segment is there");
        let end = bytes.len() as u64;
        let mut newer = Header::read(&bytes, 1, 0).expect("a head stands there").frame(end, b"");
        // A frame of version 3 with its checksum right, behind what this program knows.
        newer[4] = 3;
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&newer[..68]);
        hasher.update(&end.to_le_bytes());
        newer[68..72].copy_from_slice(&hasher.finalize().to_le_bytes());
        bytes.extend_from_slice(&newer);
        write(&path, &bytes);
        let error =
            EmbeddedLog::open(Options { salvage, ..options(dir.path()) }).err().expect("it is refused");
        assert_eq!(error.kind, ErrorKind::Corrupt);
        assert!(error.to_string().contains("version 3") && !error.to_string().contains("salvage"), "{error}");
        assert_eq!(std::fs::read(&path).expect("the segment is there"), bytes, "nothing was changed");
    }
}
