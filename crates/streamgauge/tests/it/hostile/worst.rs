//! A hundred of the worst bodies at once: memory stays within its bound, every answer is one that a sender can act on.

use std::sync::Barrier;

use super::super::harness::{PATIENCE, Server, until};
use super::{Numbers, assert_well, memory};

const MIB: usize = 1 << 20;
const BODIES: usize = 100;
const HIGHEST_BYTES_MAX: u64 = 256 << 20;

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

fn worst() -> Vec<Worst> {
    let array = |element: &str, bytes: usize| format!("[{}{element}]", format!("{element},").repeat(bytes / (element.len() + 1) - 1));
    let tiny = lines(16 * MIB, |n| format!("{{\"type\":\"t{}\",\"ts\":{}}}\n", n % 1_000, n % 1_000_000_000));
    let counted = lines(MIB, |n| format!("{{\"type\":\"t{}\",\"ts\":{}}}\n", n % 50_000, n % 1_000_000_000));
    let wide = lines(16 * MIB, |n| format!("{{\"type\":\"w\",\"n\":{n},\"x\":\"{}\"}}\n", format!("{n:x}").repeat(20_000)));
    let escaped = lines(8 * MIB - 64, |n| format!("{{\"type\":\"\\u0041\",\"n\":{n},\"x\":\"{}\"}}\n", "\\u00e9".repeat(40_000)));
    let named: String = (0..200).map(|at| format!(",\"{}{at}\":[{{}}]", "n".repeat(20))).collect();
    let members = lines(8 * MIB - 64, |n| format!("{{\"type\":\"m\",\"n\":{n}{named}}}\n"));
    vec![
        plain(array("{}", 8 * MIB - 64)),
        plain(array("1", 8 * MIB - 64)),
        plain(array("[]", 8 * MIB - 64)),
        plain("[".repeat(8 * MIB)),
        plain("[".repeat(4 * MIB) + &"]".repeat(4 * MIB)),
        plain("{\"a\":".repeat(8 * MIB / 5)),
        plain(array("{\"type\":\"a\"}", 256_000)),
        plain(lines(8 * MIB, |_| "{}\n".to_owned())),
        packed(&tiny),
        packed(&counted),
        packed(&wide),
        plain(escaped),
        plain(members),
    ]
}

#[test]
fn a_hundred_of_the_worst_bodies_at_once() {
    let server = Server::start(&[]);
    assert_well(&server);
    let worst = worst();
    let together = Barrier::new(BODIES);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let send = |at: usize| {
            let (server, together) = (&server, &together);
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
    });
    let unexpected: Vec<u16> = statuses.iter().copied().filter(|status| ![202, 400, 413, 422, 429].contains(status)).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
    let highest = memory(&server, "VmHWM");
    assert!(highest <= HIGHEST_BYTES_MAX, "{} MiB at the highest; {statuses:?}", highest >> 20);
    until(PATIENCE, "everything is counted", || {
        let status = server.get("/v1/status").json();
        status["streams"][0]["partitions"][0]["lag"] == 0 && status["memory"]["body_bytes_in_flight"] == 0
    });
    assert_well(&server);
    // One after the other, each is answered for what it is: nothing is over any budget.
    for (at, Worst { coding, body }) in worst.iter().enumerate() {
        let headers = [("content-type", "application/json"), ("content-encoding", *coding)];
        let answer = server.post("/v1/events", &headers, body);
        assert!([202, 400, 413, 422].contains(&answer.status), "body {at}: {} {:.300}", answer.status, answer.text());
    }
    assert_well(&server);
}
