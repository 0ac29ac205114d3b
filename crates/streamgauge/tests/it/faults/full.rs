//! A disk without room: events are refused with 507, questions are still answered, and once there is room again the same
//! process goes on.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use tempfile::TempDir;

use crate::harness::dice;
use crate::harness::http::Answer;
use crate::harness::tmpfs::Tmpfs;
use crate::harness::witness::{Senders, audit};
use crate::harness::{Launch, PATIENCE, Server, say, until};

const CONFIG: &str = "[flush]\ninterval = \"50ms\"\n[embedded]\nsegment = \"1MiB\"\npool = \"1MiB\"\n";

#[test]
fn a_full_disk_refuses_events_and_recovers_without_a_restart() {
    let Some(disk) = Tmpfs::mount("24m") else {
        assert!(std::env::var_os("CI").is_none(), "neither mount nor unshare -Urm can mount a tmpfs");
        return say("full disk: skipped, neither mount nor unshare -Urm can mount a tmpfs here");
    };
    let wrapper = disk.wrapper();
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let data_dir = disk.inside().join("data");
    let mut server = Server::ready(&Launch::new().data_dir(&data_dir).config(CONFIG).under(&wrapper));
    let senders = Senders::start(3, dice::seed("full disk"));
    senders.aim(&server);
    until(PATIENCE, "events are taken", || senders.answered() > 2_000);
    let ballast = disk.path().join("ballast");
    for round in 1..=3 {
        let refused = senders.refused_with(507);
        fill(&ballast);
        until(PATIENCE, "the full disk shows", || senders.refused_with(507) > refused + 20);
        check_refusal(&refusal(&server));
        assert!(server.is_running(), "{}", server.stderr());
        for path in ["/livez", "/v1/status", "/v1/rollups/hourly_aggregations", "/metrics"] {
            assert_eq!(server.get(path).status, 200, "{path} in round {round}\n{}", server.stderr());
        }
        std::fs::remove_file(&ballast).expect("the ballast can be removed");
        let before = senders.answered();
        until(PATIENCE, "events are taken again", || senders.answered() > before + 500);
    }
    let witness = senders.stop();
    audit(&server, &[]);
    assert!(server.terminate().success(), "{}", server.stderr());
    witness.judge(copy_of_store(&disk.path().join("data")).path());
}

/// Copies the store's files to where SQLite, which follows every link of a path, finds them from here.
fn copy_of_store(data_dir: &Path) -> TempDir {
    let copy = tempfile::tempdir().expect("a temporary folder can be made");
    for entry in std::fs::read_dir(data_dir).expect("the data directory can be read") {
        let path = entry.expect("the data directory can be read").path();
        if let Some(name) = path.file_name().filter(|_| path.is_file()) {
            std::fs::copy(&path, copy.path().join(name)).expect("there is room outside");
        }
    }
    copy
}

/// Takes the room that is left.
fn fill(ballast: &Path) {
    let mut file = File::create(ballast).expect("the ballast can be made");
    for bytes in [1 << 20, 4 << 10] {
        let zeros = vec![0; bytes];
        let full = loop {
            if let Err(error) = file.write_all(&zeros) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::StorageFull, "{full}");
    }
}

/// Returns an answer that says that the disk is full: small events still fit for a while. Asks another stream, so that what
/// is taken nevertheless is not among the events that are judged.
fn refusal(server: &Server) -> Answer {
    let event = format!(r#"{{"postcode":"1010","text":"{}"}}"#, "x".repeat(100_000));
    let mut refusal = None;
    until(PATIENCE, "a large event is refused", || {
        let answer = server.post("/v1/events?stream=pageviews", &[], event.as_bytes());
        refusal = Some(answer).filter(|answer| answer.status != 202);
        refusal.is_some()
    });
    refusal.expect("the condition was that there is one")
}

fn check_refusal(answer: &Answer) {
    assert_eq!(answer.status, 507, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert!(answer.header("retry-after").is_some_and(|seconds| seconds.parse::<u64>().is_ok()), "{answer:?}");
    let problem = answer.json();
    assert_eq!(problem["code"], "disk_full", "{problem}");
    assert_eq!(problem["status"], 507, "{problem}");
}
