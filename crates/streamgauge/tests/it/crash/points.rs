//! Crashes at chosen system calls: the process is killed as it enters the n-th of its writes, syncs, renames or removals,
//! so that every step of the log and of the store is once the last one.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::SMALL;
use crate::harness::dice::{self, Dice};
use crate::harness::witness::{Senders, audit};
use crate::harness::{Launch, PATIENCE, Server, pause, say, until};

/// What the log and the store change the disk with, and up to which number it is tried. Calls are counted by thread: the
/// first are those of opening and recovery, later ones those of work.
const CALLS: [(&str, u64); 10] = [
    ("pwrite64", 400),
    ("fdatasync", 60),
    ("pwrite64", 60),
    ("rename", 3),
    ("pwrite64", 400),
    ("fsync", 4),
    ("fdatasync", 8),
    ("pwrite64", 400),
    ("openat", 40),
    ("ftruncate", 2),
];
/// Events after which a crash point that was not reached is given up.
const EVENTS_MAX: u64 = 6_000;

/// Returns the command that makes some calls of another slow.
fn slowing<'a>(trace: &'a str, inject: &'a str) -> [&'a str; 10] {
    ["strace", "-D", "-f", "--seccomp-bpf", "-qq", "-o/dev/null", "-e", trace, "-e", inject]
}

#[test]
fn a_crash_at_any_system_call_loses_nothing() {
    let points = dice::number("SG_CRASH_POINTS", 20);
    let seed = dice::seed("crash points");
    let mut dice = Dice::new(seed);
    let mut reached = 0;
    for point in 0..points {
        let (call, number_max) = CALLS[(point % CALLS.len() as u64) as usize];
        let number = 1 + dice.below(number_max);
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        reached += u64::from(crash_at(folder.path(), call, number, seed + point));
    }
    say(&format!("crash points: {reached} of {points} reached"));
    assert!(reached * 2 > points, "{reached} of {points} points reached: choose others");
}

/// Every write and sync takes a while, so that a kill at a random moment mostly finds one under way.
#[test]
fn kills_on_a_slow_disk_lose_nothing() {
    let seed = dice::seed("slow disk");
    let mut dice = Dice::new(seed);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let launch = Launch::new().data_dir(folder.path()).config(SMALL);
    // The first start makes the tables, which need not be slow.
    Server::ready(&launch).kill9();
    let senders = Senders::start(4, seed);
    let slow = slowing("trace=pwrite64,fdatasync", "inject=pwrite64,fdatasync:delay_enter=2000");
    for _ in 0..dice::number("SG_SLOW_KILLS", 6) {
        let mut server = Server::ready(&launch.clone().under(&slow));
        let before = senders.answered();
        senders.aim(&server);
        until(PATIENCE, "events are taken", || senders.answered() > before);
        pause(dice.time_below(300));
        server.kill9();
    }
    let mut server = Server::ready(&launch);
    senders.rest();
    let witness = senders.stop();
    audit(&server, &[]);
    assert!(server.terminate().success());
    witness.judge(folder.path());
}

/// A crash of the process does not show whether its writes had reached the disk; how long an answer takes does.
#[test]
fn an_answer_waits_for_the_disk() {
    const DELAY: Duration = Duration::from_millis(80);
    let inject = format!("inject=fdatasync:delay_enter={}", DELAY.as_micros());
    let server = Server::ready(&Launch::new().under(&slowing("trace=fdatasync", &inject)));
    let mut client = server.client();
    for _ in 0..5 {
        let began = Instant::now();
        let answer = client.post("/v1/events", &[], br#"{"event_type":"a","session_id":"s"}"#);
        assert_eq!(answer.expect("an answer comes").status, 202);
        assert!(began.elapsed() >= DELAY, "answered after {:?}, before the sync had ended", began.elapsed());
    }
}

/// Runs a server to its death in a call and judges what the next one makes of it; returns whether it died there.
fn crash_at(data_dir: &Path, call: &str, number: u64, seed: u64) -> bool {
    let inject = format!("inject={call}:signal=KILL:when={number}");
    let trace = format!("trace={call}");
    // Without `--seccomp-bpf`, with which no signal arrives.
    let strace = ["strace", "-D", "-f", "-qq", "-o/dev/null", "-e", &trace, "-e", &inject];
    let launch = Launch::new().data_dir(data_dir).config(SMALL);
    let senders = Senders::start(2, seed);
    let what = format!("{call} {number}");
    let died = match launch.clone().under(&strace).start() {
        Err(exited) => {
            assert_eq!(exited.status.signal(), Some(9), "{what}: {}\n{}", exited.status, exited.stderr);
            true
        }
        Ok(mut server) => {
            senders.aim(&server);
            let is_over = || !server.is_running() || senders.answered() > EVENTS_MAX;
            until(PATIENCE, &format!("{what} is reached"), is_over);
            let died = !server.is_running();
            if !died {
                server.kill9();
            }
            died
        }
    };
    let mut server = Server::ready(&launch);
    senders.aim(&server);
    let before = senders.answered();
    until(PATIENCE, "the next server takes events", || senders.answered() > before);
    let witness = senders.stop();
    audit(&server, &[]);
    assert!(server.terminate().success(), "{what}:\n{}", server.stderr());
    witness.judge(data_dir);
    died
}
