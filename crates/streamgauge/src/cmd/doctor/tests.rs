//! How what was seen is judged, and how the kernel's tables are read.

use std::path::Path;

use sg_core::ports::{ErrorKind, PortError};
use sg_core::time::Timestamp;
use sg_log::look::Closed;

use super::*;

fn level_of(finding: &Finding) -> Level {
    assert_eq!(
        finding.mend.is_some(),
        finding.level != Level::Ok,
        "what is not well has a remedy: {finding:?}"
    );
    finding.level
}

#[test]
fn room_is_judged_by_what_the_log_wants() {
    let check = |free: u64, level: Level| {
        assert_eq!(level_of(&disk::judged_space(free << 20, 1_152 << 20, Path::new("/d"))), level, "{free}");
    };
    check(0, Level::Fail);
    check(127, Level::Fail);
    check(128, Level::Warn);
    check(1_151, Level::Warn);
    check(1_152, Level::Ok);
}

#[test]
fn closed_segments_are_judged_by_what_was_found_in_those_looked_at() {
    let error = |kind: ErrorKind| PortError::new(kind, "read segment file 1.seg");
    let check = |(segments, looked_at): (usize, usize), damaged: Vec<PortError>, expected: &[&str]| {
        let findings = resting::taken(Closed { segments, looked_at, damaged });
        assert_eq!(findings.len(), expected.len(), "{findings:?}");
        for (number, (finding, expected)) in findings.iter().zip(expected).enumerate() {
            assert_eq!(level_of(finding), if number == 0 { Level::Ok } else { Level::Fail }, "{finding:?}");
            let said = finding.mend.as_ref().unwrap_or(&finding.says);
            assert!(said.contains(expected), "{expected}: {finding:?}");
        }
    };
    check((0, 0), Vec::new(), &["its newest records are whole"]);
    check((40, 40), Vec::new(), &["so are 40 of its 40 closed segments"]);
    check((40, 12), Vec::new(), &["so are 12 of its 40 closed segments; the 28 oldest"]);
    let both = vec![error(ErrorKind::Corrupt), error(ErrorKind::Retry)];
    check((40, 12), both, &["so are 10 of its 40", "do as the line says", "make the file readable"]);
}

#[test]
fn syncs_are_judged_by_their_median() {
    let check = |micros: &[u64], level: Level| {
        let times: Vec<Duration> = micros.iter().map(|micros| Duration::from_micros(*micros)).collect();
        assert_eq!(level_of(&disk::judged_times(Path::new("/d"), &times)), level, "{micros:?}");
    };
    check(&[1, 2, 3], Level::Warn);
    check(&[1, 15, 900_000], Level::Ok);
    check(&[100, 20_000, 30_000], Level::Ok);
    check(&[100, 20_001, 30_000], Level::Warn);
}

#[test]
fn clocks_are_judged_by_how_far_they_are_apart() {
    let check = |ahead_ms: i64, level: Level| {
        assert_eq!(level_of(&clock::apart(ahead_ms)), level, "{ahead_ms}");
        assert_eq!(level_of(&clock::apart(-ahead_ms)), level, "{ahead_ms}");
    };
    check(0, Level::Ok);
    check(2_000, Level::Ok);
    check(2_001, Level::Warn);
    check(300_000, Level::Warn);
    check(300_001, Level::Fail);
    let now = Timestamp(1_800_000_000_000);
    assert_eq!(clock::set_back(Timestamp(now.0 + 2_000), now), None);
    let back = clock::set_back(Timestamp(now.0 + 60_000), now).expect("the clock ran back");
    assert_eq!(level_of(&back), Level::Warn);
    assert!(back.says.contains("60.0 s ahead"), "{}", back.says);
    let steady = |jump_ms: i64| {
        let later = Timestamp(now.0 + 1_000 + jump_ms);
        level_of(&clock::steady(now, Duration::from_secs(1), later))
    };
    assert_eq!(
        (steady(0), steady(500), steady(501), steady(-501)),
        (Level::Ok, Level::Ok, Level::Warn, Level::Warn)
    );
}

const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
    0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n   \
    1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20 4 30 10 -1\n   \
    2: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0 0 10 0\n";

#[test]
fn sockets_that_listen_are_found_in_the_kernels_table() {
    assert_eq!(process::listening_inodes(TABLE, ":1F90"), ["4711"]);
    assert_eq!(process::listening_inodes(TABLE, ":0050"), ["4713"]);
    assert!(process::listening_inodes(TABLE, ":C350").is_empty());
    assert!(process::listening_inodes("", ":1F90").is_empty());
}

#[test]
fn holders_of_locks_are_found_in_the_kernels_table() {
    let locks = "1: POSIX  ADVISORY  WRITE 11 fe:00:100 0 EOF\n2: FLOCK  ADVISORY  WRITE 12 fe:00:101 0 EOF\n\
                 2: -> FLOCK  ADVISORY  WRITE 13 fe:00:101 0 EOF\n3: FLOCK  ADVISORY  WRITE 14 fe:00:100 0 EOF\n";
    assert_eq!(process::holder_of(locks, "fe:00:101").as_deref(), Some("12"));
    assert_eq!(
        process::holder_of(locks, "fe:00:100").as_deref(),
        Some("14"),
        "a lock of another kind is no matter"
    );
    assert_eq!(process::holder_of(locks, "fe:00:102"), None);
}

#[test]
fn a_database_is_known_by_its_first_bytes() {
    let folder = tempfile::tempdir().expect("there is room");
    let path = folder.path().join("a.db");
    let level = || store::sqlite(&path).level;
    assert_eq!(level(), Level::Ok, "none is there yet");
    std::fs::write(&path, "hello").expect("it can be written");
    assert_eq!(level(), Level::Fail);
    std::fs::write(&path, "").expect("it can be written");
    assert_eq!(level(), Level::Ok, "only just made");
    let mut header = b"SQLite format 3\0".to_vec();
    header.resize(100, 0);
    header[63] = 7;
    std::fs::write(&path, header).expect("it can be written");
    let finding = store::sqlite(&path);
    assert!(finding.level == Level::Ok && finding.says.ends_with("schema version 7"), "{finding:?}");
}

#[cfg(feature = "postgres")]
#[test]
fn nobody_is_told_a_password() {
    let check = |url: &str, shown: &str| assert_eq!(store::without_login(url), shown);
    check("postgres://u:secret@host:5432/db?sslmode=require", "postgres://host:5432/db");
    check("postgres://u:p@ss@host/db", "postgres://host/db");
    check("postgresql://host/db", "postgresql://host/db");
}

fn status(log: &str, partition: serde_json::Value) -> Status {
    let mut whole = serde_json::json!({"partition": 0, "first_offset": 0, "ledger":
        {"processed": 0, "counted": 0, "duplicate": 0, "dead_lettered": 0, "deleted": 0}});
    for (name, value) in partition.as_object().expect("an object") {
        whole[name] = value.clone();
    }
    let body =
        serde_json::json!({"log": log, "rollups": [], "streams": [{"name": "s", "partitions": [whole]}]});
    serde_json::from_value(body).expect("it is a status")
}

#[test]
fn what_waits_is_judged_by_what_the_log_keeps() {
    let check = |log: &str, (start, next, end): (u64, u64, u64), level: Level| {
        let partition = serde_json::json!({"next_offset": next, "log_start": start, "log_end": end});
        let findings = progress::look(&status(log, partition));
        assert_eq!(
            findings.iter().map(level_of).max(),
            Some(level),
            "{log} {start} {next} {end}: {findings:?}"
        );
    };
    check("kafka", (0, 100, 100), Level::Ok);
    // A backlog in a topic that has removed nothing yet is only a backlog.
    check("kafka", (0, 0, 100), Level::Ok);
    check("kafka", (100, 150, 200), Level::Ok);
    check("kafka", (100, 99, 200), Level::Fail);
    for (log, warning, level) in [
        ("kafka", serde_json::json!("9 of the 10 records …"), Level::Warn),
        ("embedded", serde_json::json!("9 of the 10 records …"), Level::Warn),
        ("kafka", serde_json::Value::Null, Level::Ok),
    ] {
        let headroom =
            serde_json::json!({"records": 1, "held": 10, "seconds_left": null, "warning": warning});
        let partition = serde_json::json!({"next_offset": 150, "log_start": 100, "headroom": headroom});
        assert_eq!(level_of(&progress::look(&status(log, partition))[0]), level, "{log} {warning}");
    }
    check("embedded", (100, 100, 200), Level::Ok);
    let stopped = serde_json::json!({"next_offset": 0, "stopped": "no times"});
    assert_eq!(level_of(&progress::look(&status("kafka", stopped))[0]), Level::Fail);
    for (seconds, level) in [(599, Level::Warn), (600, Level::Ok)] {
        let short = serde_json::json!({"next_offset": 0, "duplicate_reach_seconds": seconds});
        assert_eq!(level_of(&progress::look(&status("kafka", short))[0]), level, "{seconds}");
    }
}
