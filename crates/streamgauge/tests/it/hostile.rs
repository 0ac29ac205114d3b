//! Senders who mean harm, or whose software does: whatever arrives, the answer is a reason and not a failure, nothing bad
//! is stored, what is good counts, memory stays bounded, and others are served meanwhile.

mod bombs;
mod crowds;
mod limits;
mod poison;
mod requests;
mod senders;
mod worst;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use super::harness::Server;

/// Asserts that the server takes an event, counts it and answers, and that nothing in it has panicked.
fn assert_well(server: &Server) {
    let counted = || {
        let answer = server.get("/v1/rollups/hourly_aggregations?event_type=well&interval=1d");
        answer.json()["data"][0]["event_count"].as_u64().unwrap_or(0)
    };
    let before = counted();
    let answer = server.post("/v1/events?wait=true", &[], r#"{"event_type":"well","ts":0}"#);
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(counted(), before + 1);
    let ready = server.get("/readyz");
    assert_eq!(ready.status, 200, "{}", ready.text());
    let log = server.stderr();
    assert!(!log.contains("panicked"), "{log}");
}

/// Returns the number of events that the log has, and that queries see.
fn kept(server: &Server) -> (u64, u64) {
    let partition = &server.get("/v1/status").json()["streams"][0]["partitions"][0];
    let number = |value: &serde_json::Value| value.as_u64().expect("a number");
    (number(&partition["log_end"]), number(&partition["ledger"]["counted"]))
}

/// Sends bytes that need not be a request, and returns everything that comes back until the server closes.
/// Says that nothing will follow once so many answers are there.
fn exchange(server: &Server, bytes: &[u8], answers: usize) -> String {
    let mut stream = TcpStream::connect(server.address()).expect("the server accepts");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out can be set");
    // The server may close before it has read everything.
    stream.write_all(bytes).ok();
    let mut received = Vec::new();
    let mut piece = vec![0; 64 << 10];
    let mut is_told = false;
    loop {
        let text = String::from_utf8_lossy(&received);
        if !is_told && statuses(&text).len() >= answers {
            stream.shutdown(Shutdown::Write).ok();
            is_told = true;
        }
        match stream.read(&mut piece) {
            Ok(0) => return text.into_owned(),
            Ok(count) => received.extend_from_slice(&piece[..count]),
            Err(error) => {
                let is_closed = matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
                assert!(is_closed, "{error} after {text}");
                return text.into_owned();
            }
        }
    }
}

/// Returns the statuses of the answers in what came back.
fn statuses(answer: &str) -> Vec<u16> {
    let heads = answer.match_indices("HTTP/1.");
    heads.filter_map(|(at, _)| answer.get(at + 9..at + 12)?.parse().ok()).collect()
}

/// Returns a figure of the server's memory in bytes: `VmRSS` now, `VmHWM` at its highest.
fn memory(server: &Server, figure: &str) -> u64 {
    let path = format!("/proc/{}/status", server.pid());
    let status = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let line = status.lines().find_map(|line| line.strip_prefix(figure)?.strip_prefix(':'));
    let kib: u64 = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).expect("it is there");
    kib * 1_024
}

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 16
    }
}
