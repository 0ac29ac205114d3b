//! Disks that are full or fail.

use std::io;
use std::sync::Arc;

use sg_core::ports::{ErrorKind, EventLog};
use sg_log::EmbeddedLog;

use crate::bench::{append, folder, open, options, read_all, try_append, with_disk};
use crate::faults::{Fault, FaultyDisk, Operation};

#[tokio::test]
async fn after_a_failed_sync_the_log_takes_nothing() {
    for (operation, kind) in [
        (Operation::SyncData, io::ErrorKind::Other),
        (Operation::SyncData, io::ErrorKind::StorageFull),
        (Operation::Write, io::ErrorKind::Other),
    ] {
        let dir = folder();
        let disk = FaultyDisk::sound();
        let log = open(with_disk(options(dir.path()), Arc::new(disk.clone())));
        let mut failure = log.failure();
        let kept = append(&log, "events", 1, 3).await;
        assert!(failure.borrow().is_none());
        disk.fail_next(operation, Fault::Fail(kind));
        let refused = try_append(&log, "events", 2, 1).await.expect_err("the disk failed");
        assert_eq!(refused.kind, ErrorKind::Closed, "{operation:?} {kind}");
        failure.changed().await.expect("the log is still there");
        assert!(failure.borrow().is_some());
        // The disk works again, and is not asked again.
        let before = disk.count();
        let refused = try_append(&log, "events", 3, 1).await.expect_err("the log is closed");
        assert_eq!(refused.kind, ErrorKind::Closed);
        assert_eq!(log.close().await.err().map(|error| error.kind), Some(ErrorKind::Closed));
        assert_eq!(disk.count(), before, "nothing was written after the failure");
        assert_eq!(read_all(&log, "events").await.expect("what is durable can be read"), kept);
        drop(log);
        let log = open(options(dir.path()));
        assert_eq!(read_all(&log, "events").await.expect("a log can be read")[..3], kept);
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers() {
    for batch in [1, 400] {
        let dir = folder();
        let disk = FaultyDisk::sound();
        let log = open(with_disk(options(dir.path()), Arc::new(disk.clone())));
        let mut kept = append(&log, "events", 1, 3).await;
        for attempt in 0..4_u64 {
            disk.fail_next(Operation::Write, Fault::Full);
            let refused =
                try_append(&log, "events", 10 + attempt, batch).await.expect_err("the disk is full");
            assert_eq!(refused.kind, ErrorKind::Full);
            let refused =
                try_append(&log, "new stream", 10 + attempt, 1).await.expect_err("the disk is full");
            assert_eq!(refused.kind, ErrorKind::Full);
            assert_eq!(read_all(&log, "events").await.expect("a full log can be read"), kept);
            disk.make_room();
            kept.extend(append(&log, "events", 20 + attempt, 1 + attempt as usize * 9).await);
        }
        assert!(log.failure().borrow().is_none(), "a full disk is no failure");
        assert_eq!(read_all(&log, "events").await.expect("the log can be read"), kept);
        drop(log);
        let log = open(options(dir.path()));
        assert_eq!(read_all(&log, "events").await.expect("the log can be read"), kept);
        assert_eq!(log.extent("new stream", 0).await.expect("an extent").end, 0);
    }
}

#[tokio::test]
async fn a_disk_too_full_for_a_new_segment_refuses_and_recovers() {
    let dir = folder();
    let disk = FaultyDisk::sound();
    let log = open(with_disk(options(dir.path()), Arc::new(disk.clone())));
    let mut kept = append(&log, "events", 1, 3).await;
    disk.fail_next(Operation::Create, Fault::Full);
    let refused = try_append(&log, "events", 2, 400).await.expect_err("no new file can be made");
    assert_eq!(refused.kind, ErrorKind::Full);
    kept.extend(append(&log, "events", 3, 1).await);
    disk.make_room();
    kept.extend(append(&log, "events", 4, 400).await);
    drop(log);
    assert_eq!(read_all(&open(options(dir.path())), "events").await.expect("the log can be read"), kept);
}

#[tokio::test]
async fn a_half_written_group_of_a_full_disk_is_not_there_after_a_crash() {
    let dir = folder();
    let disk = FaultyDisk::sound();
    let log = open(with_disk(options(dir.path()), Arc::new(disk.clone())));
    let mut kept = append(&log, "events", 1, 3).await;
    // While the disk holds the writer up, several appends gather into one group.
    disk.hold(true);
    let first = append(&log, "events", 2, 1);
    let gathered = async {
        while disk.held() == 0 {
            tokio::task::yield_now().await;
        }
        let release = async {
            disk.fail_next(Operation::Write, Fault::FullOnce);
            // The write that is held up.
            disk.pass_one();
            disk.hold(false);
        };
        tokio::join!(
            try_append(&log, "events", 3, 1),
            try_append(&log, "events", 4, 1),
            try_append(&log, "events", 5, 1),
            release
        )
    };
    let (first, (third, fourth, fifth, ())) = tokio::join!(first, gathered);
    kept.extend(first);
    for refused in [third, fourth, fifth] {
        assert_eq!(refused.err().map(|error| error.kind), Some(ErrorKind::Full));
    }
    // As a crash does: the log ends without its mark.
    drop(log);
    assert_eq!(read_all(&open(options(dir.path())), "events").await.expect("the log can be read"), kept);
}

#[tokio::test]
async fn what_recovery_finds_is_written_and_synced_again() {
    for operation in [Operation::Write, Operation::SyncData] {
        let dir = folder();
        let kept = append(&open(options(dir.path())), "events", 1, 3).await;
        let disk = FaultyDisk::sound();
        disk.fail_next(operation, Fault::Fail(io::ErrorKind::Other));
        let error = EmbeddedLog::open(with_disk(options(dir.path()), Arc::new(disk))).err();
        assert!(error.is_some(), "the log opened without {operation:?}");
        assert_eq!(read_all(&open(options(dir.path())), "events").await.expect("the log can be read"), kept);
    }
}
