//! A hundred bodies at once that cost the most to read: memory stays within its bound, and every answer is one that a
//! sender can act on.

use std::sync::Barrier;

use super::super::harness::{PATIENCE, Server, until};
use super::{Numbers, assert_well, memory};

const MIB: usize = 1 << 20;
const BODIES: usize = 100;
/// For bodies that are read and refused: the budget, as much again for the room that buffers grow into, the read buffers
/// of a hundred connections, and what the allocator keeps.
const REFUSED_BYTES_MAX: u64 = 256 << 20;
/// For bodies that are accepted: beside that their events wait to be folded and flushed.
const ACCEPTED_BYTES_MAX: u64 = 256 << 20;

/// A body and what its coding is.
struct Worst {
    coding: &'static str,
    body: Vec<u8>,
}

fn plain(body: String) -> Worst {
    Worst { coding: "identity", body: body.into_bytes() }
}

fn packed(body: &str) -> Worst {
    Worst { coding: "zstd", body: zstd::encode_all(body.as_bytes(), 1).expect("memory can be written") }
}

/// Lines of events up to a size.
fn lines(bytes: usize, mut line: impl FnMut(u64) -> String) -> String {
    let mut numbers = Numbers(7);
    let mut text = String::with_capacity(bytes);
    loop {
        let line = line(numbers.next());
        if text.len() + line.len() > bytes {
            return text;
        }
        text += &line;
    }
}

/// Bodies that are refused, each for a reason that shows only after much of it was read.
fn refused() -> Vec<Worst> {
    let array = |element: &str, bytes: usize| {
        format!("[{}{element}]", format!("{element},").repeat(bytes / (element.len() + 1) - 1))
    };
    let tiny = lines(8 * MIB, |n| format!("{{\"type\":\"t{}\",\"ts\":{}}}\n", n % 1_000, n % 1_000_000_000));
    vec![
        plain(array("{}", 4 * MIB - 64)),
        plain(array("1", 4 * MIB - 64)),
        plain(array("[]", 4 * MIB - 64)),
        plain("[".repeat(4 * MIB)),
        plain("[".repeat(2 * MIB) + &"]".repeat(2 * MIB)),
        plain("{\"a\":".repeat(4 * MIB / 5)),
        plain(lines(4 * MIB, |_| "{}\n".to_owned())),
        packed(&tiny),
    ]
}

/// Bodies that are accepted, as large as they may be.
fn accepted() -> Vec<Worst> {
    let array = |element: &str, bytes: usize| {
        format!("[{}{element}]", format!("{element},").repeat(bytes / (element.len() + 1) - 1))
    };
    let counted =
        lines(MIB / 2, |n| format!("{{\"type\":\"t{}\",\"ts\":{}}}\n", n % 50_000, n % 1_000_000_000));
    let mut numbers = Numbers(11);
    let mut half_random = || format!("{:012x}{:012x}{}", numbers.next(), numbers.next(), "x".repeat(1_000));
    let wide = lines(8 * MIB, |_| {
        let text: String = (0..240).map(|_| half_random()).collect();
        format!("{{\"type\":\"w\",\"x\":\"{text}\"}}\n")
    });
    let escaped = lines(4 * MIB - 64, |n| {
        format!("{{\"type\":\"\\u0041\",\"n\":{n},\"x\":\"{}\"}}\n", "\\u00e9".repeat(40_000))
    });
    let named: String = (0..200).map(|at| format!(",\"{}{at}\":[{{}}]", "n".repeat(20))).collect();
    let members = lines(4 * MIB - 64, |n| format!("{{\"type\":\"m\",\"n\":{n}{named}}}\n"));
    vec![
        plain(array("{\"type\":\"a\"}", 256_000)),
        plain(counted),
        packed(&wide),
        plain(escaped),
        plain(members),
    ]
}

/// Sends a hundred at once; returns the statuses.
fn send_at_once(server: &Server, worst: &[Worst]) -> Vec<u16> {
    let together = Barrier::new(BODIES);
    std::thread::scope(|scope| {
        let send = |at: usize| {
            let together = &together;
            let Worst { coding, body } = &worst[at % worst.len()];
            // Arrays are only looked for where lines were not announced.
            let kind = if body.starts_with(b"[") { "application/json" } else { "application/x-ndjson" };
            let headers = [("content-type", kind), ("content-encoding", *coding)];
            scope.spawn(move || {
                together.wait();
                server.post("/v1/events", &headers, body).status
            })
        };
        let sent: Vec<_> = (0..BODIES).map(send).collect();
        sent.into_iter().map(|thread| thread.join().expect("every request is answered")).collect()
    })
}

/// Sends a hundred at once, and then one after the other, when nothing is over any budget.
fn check(worst: &[Worst], expect: &[u16], highest_bytes_max: u64) {
    let server = Server::start(&[]);
    assert_well(&server);
    let statuses = send_at_once(&server, worst);
    let unexpected: Vec<&u16> =
        statuses.iter().filter(|status| **status != 429 && !expect.contains(status)).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
    let highest = memory(&server, "VmHWM");
    assert!(highest <= highest_bytes_max, "{} MiB at the highest; {statuses:?}", highest >> 20);
    until(PATIENCE, "everything is counted", || {
        let status = server.get("/v1/status").json();
        status["streams"][0]["partitions"][0]["lag"] == 0 && status["memory"]["body_bytes_in_flight"] == 0
    });
    assert_well(&server);
    for (at, Worst { coding, body }) in worst.iter().enumerate() {
        let kind = if body.starts_with(b"[") { "application/json" } else { "application/x-ndjson" };
        let answer =
            server.post("/v1/events", &[("content-type", kind), ("content-encoding", *coding)], body);
        assert!(expect.contains(&answer.status), "body {at}: {} {:.300}", answer.status, answer.text());
    }
    assert_well(&server);
}

#[test]
fn a_hundred_bodies_that_are_refused_in_the_end() {
    check(&refused(), &[400, 413, 422], REFUSED_BYTES_MAX);
}

#[test]
fn a_hundred_of_the_largest_bodies_that_are_accepted() {
    check(&accepted(), &[202], ACCEPTED_BYTES_MAX);
}
