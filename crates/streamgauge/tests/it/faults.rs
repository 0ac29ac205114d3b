//! Faults that are not crashes: a second process on the same data, a disk that is full, a sync that fails, a log whose
//! bytes are damaged.

mod damage;
mod foretold;
mod full;
mod salvage;

use std::time::{Duration, Instant};

use crate::harness::dice;
use crate::harness::witness::{Senders, audit};
use crate::harness::{Exited, Launch, PATIENCE, Server, say, until};

/// Flushes and checkpoints nearly all the time.
const SMALL: &str =
    "[flush]\ninterval = \"5ms\"\nmax_events = 40\n[embedded]\nsegment = \"1MiB\"\npool = \"2MiB\"\n";

#[test]
fn a_second_process_leaves_and_the_first_goes_on() {
    let event = r#"{"event_type":"a","session_id":"s"}"#;
    let server = Server::start(&[]);
    assert_eq!(server.post("/v1/events", &[], event).status, 202);
    let began = Instant::now();
    let second = Launch::new().data_dir(server.data_dir()).start();
    let took = began.elapsed();
    let Exited { status, stderr } = second.expect_err("the second server must not start");
    assert_eq!(status.code(), Some(75), "{stderr}");
    assert!(took < Duration::from_secs(1), "it left after {took:?}");
    assert!(stderr.contains("another server works in"), "{stderr}");
    assert!(!stderr.contains("cut off"), "it touched the log of the first:\n{stderr}");
    assert_eq!(server.post("/v1/events?wait=true", &[], event).status, 202);
    let status = server.get("/v1/status").json();
    assert_eq!(status["streams"][0]["partitions"][0]["ledger"]["counted"], 2);
    audit(&server, &[]);
}

/// After a sync that failed nobody knows what the disk holds: the process leaves instead of answering, and the next one
/// looks for itself.
#[test]
fn a_failed_sync_ends_the_process_and_loses_nothing_answered() {
    let seed = dice::seed("failed syncs");
    let mut ended = 0;
    for number in [1, 2, 3, 7, 20, 45] {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let senders = Senders::start(2, seed + number);
        let inject = format!("inject=fdatasync:error=EIO:when={number}");
        let strace = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", &inject];
        let launch = Launch::new().data_dir(folder.path()).config(SMALL);
        match launch.clone().under(&strace).start() {
            Err(Exited { status, stderr }) => assert_eq!(status.code(), Some(70), "sync {number}:\n{stderr}"),
            Ok(mut server) => {
                senders.aim(&server);
                until(PATIENCE, "the sync fails", || !server.is_running());
                let status = server.wait(PATIENCE);
                assert_eq!(status.code(), Some(70), "sync {number}:\n{}", server.stderr());
                let told = server.stderr();
                assert!(
                    told.contains("os error 5") || told.contains("disk I/O error"),
                    "sync {number}:\n{told}"
                );
                ended += 1;
            }
        }
        let mut server = Server::ready(&launch);
        senders.aim(&server);
        let before = senders.answered();
        until(PATIENCE, "the next server takes events", || senders.answered() > before);
        let witness = senders.stop();
        audit(&server, &[]);
        assert!(server.terminate().success());
        witness.judge(folder.path());
    }
    say(&format!("failed syncs: {ended} while at work"));
    assert!(ended >= 3, "only {ended} syncs failed while events came");
}
