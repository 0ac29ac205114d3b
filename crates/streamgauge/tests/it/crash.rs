//! Crashes of the whole process: killed at random moments, at chosen system calls, and asked to stop under load. What was
//! answered 202 is counted once afterwards, and the process that starts again knows what the one before it knew.

mod points;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::dice::{self, Dice};
use crate::harness::witness::{Senders, audit, open};
use crate::harness::{BINARY, Launch, PATIENCE, Server, pause, say, until};

/// Flushes nearly all the time, segments that fill within seconds.
const SMALL: &str =
    "[flush]\ninterval = \"5ms\"\nmax_events = 40\n[embedded]\nsegment = \"1MiB\"\npool = \"2MiB\"\n";
/// Nothing reaches the store but at a stop or at a large backlog.
const LAZY: &str =
    "[flush]\ninterval = \"1h\"\nmax_events = 5_000\n[embedded]\nsegment = \"1MiB\"\npool = \"0\"\n";

#[test]
fn kills_at_random_moments_lose_nothing_and_count_nothing_twice() {
    let kills = dice::number("SG_KILLS", 20);
    let seed = dice::seed("kills");
    let mut dice = Dice::new(seed);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let senders = Senders::start(4, seed);
    for _ in 0..kills {
        let mut launch = Launch::new().data_dir(folder.path());
        match dice.below(3) {
            0 => launch = launch.config(SMALL),
            1 => launch = launch.config(LAZY),
            _ => {}
        }
        match dice.below(5) {
            // In the middle of a recovery, or right behind it.
            0 => launch.start_and_kill(dice.time_below(150)),
            _ => {
                let mut server = Server::ready(&launch);
                senders.aim(&server);
                pause(dice.time_below(700));
                server.kill9();
            }
        }
    }
    let mut server = Server::start_in(folder.path(), &[]);
    senders.aim(&server);
    let before = senders.answered();
    until(PATIENCE, "the last server takes events", || senders.answered() > before);
    let witness = senders.stop();
    audit(&server, &[]);
    assert!(server.terminate().success());
    witness.judge(folder.path());
    say(&format!("kills: {kills}, {} events answered, {} resent", witness.answered(), witness.resent()));
    assert!(witness.resent() > 0, "resent events are part of the test");
}

#[test]
fn a_simulation_through_three_kills_ends_in_the_expected_cells() {
    let events = dice::number("SG_SIMULATED", 60_000).to_string();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let expected = folder.path().join("expected.json");
    let expected = expected.to_str().expect("the temporary folder has a plain name");
    let mut server = Server::start_in(&folder.path().join("data"), &[]);
    let shape =
        ["--rate", "20000", "--duration", "3h", "--start", "now", "--late", "2%", "--duplicates", "1%"];
    let target = ["--batch", "200", "--events", &events, "--expect", expected, "--url", &server.url()];
    let mut simulate = Command::new(BINARY);
    simulate.arg("simulate").args(shape).args(target).stdout(Stdio::null()).stderr(Stdio::null());
    let mut simulate = simulate.spawn().expect("the binary can be run");
    for kill in 1..=3_u64 {
        until(PATIENCE, "the simulation is a quarter further", || next_offset(&server) > kill * 10_000);
        server.kill9();
        let again = Launch::new().data_dir(server.data_dir()).port(server.port()).config(SMALL);
        server = Server::ready(&again);
    }
    let mut status = None;
    until(2 * PATIENCE, "the simulation ends", || {
        status = simulate.try_wait().expect("the child can be waited for");
        status.is_some()
    });
    assert!(status.is_some_and(|status| status.success()), "{status:?}");
    audit(&server, &["--expect", expected]);
}

/// Returns the end of the log of the stream of events.
fn next_offset(server: &Server) -> u64 {
    partition(server)["log_end"].as_u64().unwrap_or(0)
}

/// Returns what the status says about the stream of events.
fn partition(server: &Server) -> serde_json::Value {
    server.get("/v1/status").json()["streams"][0]["partitions"][0].clone()
}

#[test]
fn stops_under_load_lose_nothing_and_leave_nothing_to_fold_again() {
    let seed = dice::seed("stops");
    let mut dice = Dice::new(seed);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let senders = Senders::start(4, seed);
    let mut stopped_at = None;
    for _ in 0..5 {
        let mut server = Server::start_in(folder.path(), &[]);
        if let Some(stopped_at) = stopped_at {
            assert_eq!(next_offset(&server), stopped_at, "the stop left records that were not folded");
            let metrics = server.get("/metrics").text();
            assert!(metrics.contains("\nstreamgauge_store_flushes_total 0\n"), "folded again:\n{metrics}");
        }
        let before = senders.answered();
        senders.aim(&server);
        until(PATIENCE, "the senders are at work", || senders.answered() > before);
        pause(dice.time_below(500));
        let began = Instant::now();
        let status = server.terminate();
        assert!(status.success(), "{status}\n{}", server.stderr());
        assert!(began.elapsed() < Duration::from_secs(10), "stopped after {:?}", began.elapsed());
        senders.rest();
        let sql = "SELECT next_offset FROM sg_partitions WHERE stream = 'events'";
        let flushed: i64 =
            open(folder.path()).query_row(sql, [], |row| row.get(0)).expect("there is the partition");
        stopped_at = Some(flushed as u64);
    }
    let witness = senders.stop();
    witness.judge(folder.path());
    assert!(witness.answered() > 0);
}

#[test]
fn a_second_signal_stops_at_once() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut server = Server::start_in(folder.path(), &["--config", "/dev/null"]);
    assert_eq!(
        server.post("/v1/events", &[], r#"{"event_type":"a","event_id":"1","session_id":"s"}"#).status,
        202
    );
    // A request whose body never ends keeps the first stop waiting.
    let mut stream = crate::harness::http::connect(server.address()).expect("it can be connected to");
    let begun = b"POST /v1/events HTTP/1.1\r\nhost: it\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    std::io::Write::write_all(stream.get_mut(), begun).expect("half a request can be sent");
    let in_flight = || server.get("/metrics").text();
    until(PATIENCE, "the request is being read", || {
        in_flight().contains("\nstreamgauge_ingest_requests_total 2\n")
    });
    server.signal(Signal::TERM);
    until(PATIENCE, "the first signal is seen", || server.stderr().contains("stopping"));
    assert!(server.is_running(), "the request did not keep it from leaving");
    let began = Instant::now();
    let status = server.terminate();
    assert!(status.success(), "{status}");
    assert!(began.elapsed() < Duration::from_secs(2), "stopped after {:?}", began.elapsed());
    let server = Server::start_in(folder.path(), &[]);
    until(PATIENCE, "the event is counted", || partition(&server)["ledger"]["counted"] == 1);
}

#[test]
fn a_restart_knows_duplicates_clocks_and_closed_windows() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let events = r#"{"event_type":"a","event_id":"1","session_id":"s","timestamp":"2026-01-01T10:20:00Z"}
{"event_type":"a","event_id":"2","session_id":"s","timestamp":"2026-01-01T12:00:00Z"}
{"event_type":"b","event_id":"3","session_id":"s","timestamp":"2026-01-01T12:40:00Z"}"#;
    let lines = [("content-type", "application/x-ndjson")];
    let mut server = Server::start_in(folder.path(), &[]);
    assert_eq!(server.post("/v1/events?wait=true", &lines, events).status, 202);
    let (rows, before) = (rows(&server), partition(&server));
    assert_eq!(rows[0]["is_final"], true, "{rows}");
    assert_eq!(rows[1]["is_final"], false, "{rows}");
    server.kill9();
    let mut server = Server::start_in(folder.path(), &[]);
    for again in 1..=2 {
        assert_eq!(self::rows(&server), rows, "rows after restart {again}");
        let after = partition(&server);
        assert_eq!((&after["m"], &after["next_offset"]), (&before["m"], &before["next_offset"]));
        server.kill9();
        server = Server::start_in(folder.path(), &[]);
    }
    assert_eq!(server.post("/v1/events?wait=true", &lines, events).status, 202);
    assert_eq!(self::rows(&server), rows);
    let ledger = partition(&server)["ledger"].clone();
    assert_eq!((&ledger["counted"], &ledger["duplicate"]), (&3.into(), &3.into()), "{ledger}");
    assert_eq!(ledger["id_conflict"], 0, "{ledger}");
    audit(&server, &[]);
}

fn rows(server: &Server) -> serde_json::Value {
    server.get("/v1/rollups/hourly_aggregations").json()["data"].clone()
}
