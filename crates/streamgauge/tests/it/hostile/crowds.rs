//! Many who connect and do not send, or send without end: all are gone in time, and others are served meanwhile.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::super::harness::{Server, pause};
use super::{assert_well, memory};

/// All must be gone by then.
const GONE: Duration = Duration::from_secs(40);

/// A connection that holds on to its place.
struct Sitter {
    stream: TcpStream,
    /// Sent one byte at a time, over and over.
    drip: &'static [u8],
    sent: usize,
}

impl Sitter {
    fn new(server: &Server, first: &[u8], drip: &'static [u8]) -> Sitter {
        let mut stream = TcpStream::connect(server.address()).expect("the server accepts");
        stream.write_all(first).expect("the server reads");
        stream.set_nonblocking(true).expect("an option can be set");
        Sitter { stream, drip, sent: 0 }
    }

    /// Sends a further byte; returns whether the server still holds the connection.
    fn is_held(&mut self) -> bool {
        let mut answer = [0; 4_096];
        loop {
            match self.stream.read(&mut answer) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        if self.drip.is_empty() {
            return true;
        }
        let byte = self.drip[self.sent % self.drip.len()];
        self.sent += 1;
        self.stream.write_all(&[byte]).map_or_else(|error| error.kind() == ErrorKind::WouldBlock, |()| true)
    }
}

fn sitters(server: &Server) -> Vec<(&'static str, Sitter)> {
    let head = b"POST /v1/events HTTP/1.1\r\nhost: x\r\n";
    let body = b"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{";
    let request = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut all = Vec::new();
    for _ in 0..200 {
        all.push(("silent", Sitter::new(server, b"", b"")));
        all.push(("half a head", Sitter::new(server, head, b"")));
    }
    for _ in 0..20 {
        all.push(("a head byte by byte", Sitter::new(server, head, b"x: y\r\n")));
        all.push(("half a body", Sitter::new(server, body, b"")));
        all.push(("a body byte by byte", Sitter::new(server, body, b" ")));
        all.push(("idle after a request", Sitter::new(server, request, b"")));
    }
    all
}

#[test]
fn who_does_not_send_is_gone_and_others_are_served() {
    let server = Server::start(&[]);
    assert_well(&server);
    let highest_before = memory(&server, "VmHWM");
    let began = Instant::now();
    let mut held = sitters(&server);
    while !held.is_empty() {
        let names: Vec<&str> = held.iter().map(|(name, _)| *name).collect();
        assert!(began.elapsed() < GONE, "still there: {} of {:?}", names.len(), names.last());
        let answer = server.post("/v1/events", &[], r#"{"event_type":"a","ts":0}"#);
        assert_eq!(answer.status, 202, "{}", answer.text());
        assert_eq!(server.get("/livez").status, 200);
        held.retain_mut(|(_, sitter)| sitter.is_held());
        pause(Duration::from_millis(200));
    }
    assert!(memory(&server, "VmHWM").saturating_sub(highest_before) < 64 << 20);
    let metrics = server.get("/metrics").text();
    let dropped =
        metrics.lines().find_map(|line| line.strip_prefix("streamgauge_http_connections_dropped_total "));
    let dropped: u64 = dropped.and_then(|text| text.parse().ok()).expect("it is counted");
    assert!(dropped >= 420, "{dropped} dropped connections were counted");
    assert_well(&server);
}

#[test]
fn an_answer_comes_although_the_body_is_not_sent_to_its_end() {
    let server = Server::start(&[]);
    let too_large =
        b"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000\r\nexpect: 100-continue\r\n\r\n";
    let answer = super::exchange(&server, too_large, 1);
    assert_eq!(super::statuses(&answer), [413], "{answer}");
    assert_well(&server);
}
