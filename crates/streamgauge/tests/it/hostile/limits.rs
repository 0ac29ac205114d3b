//! Every limit of a request, over HTTP: one below, at, and one above it.

use super::super::harness::Server;
use super::{Numbers, assert_well, kept};

const LINES: [(&str, &str); 1] = [("content-type", "application/x-ndjson")];
const MIB: usize = 1 << 20;

/// Posts and returns the status, and the code where there is one.
fn post(server: &Server, path: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> (u16, String) {
    let answer = server.post(path, headers, body);
    (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
}

fn taken() -> (u16, String) {
    (202, String::new())
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[test]
fn bytes_of_a_body() {
    let server = Server::start(&[]);
    let event = r#"{"event_type":"a","ts":0}"#;
    let padded = |bytes: usize| format!("{event}{}", " ".repeat(bytes - event.len()));
    assert_eq!(post(&server, "/v1/events", &[], padded(4 * MIB - 1)), taken());
    assert_eq!(post(&server, "/v1/events", &[], padded(4 * MIB)), taken());
    assert_eq!(post(&server, "/v1/events", &[], padded(4 * MIB + 1)), refused(413, "body_too_large"));
    // One that does not say beforehand how long it is.
    let mut chunked = b"POST /v1/events HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..9 {
        chunked.extend_from_slice(format!("{MIB:x}\r\n{}\r\n", " ".repeat(MIB)).as_bytes());
    }
    let answer = super::exchange(&server, &chunked, 1);
    assert!(answer.contains("body_too_large") || answer.is_empty(), "{answer}");
    server.post("/v1/flush", &[], "");
    assert_eq!(kept(&server), (2, 2));
    assert_well(&server);
}

/// Lines of exactly a KiB that pack about as well as real events.
fn lines_of_a_kib(count: usize) -> String {
    let mut numbers = Numbers(1);
    let mut text = String::with_capacity(count << 10);
    for _ in 0..count {
        let start = format!(
            r#"{{"event_type":"a","ts":0,"n":"{:016x}{:016x}","x":""#,
            numbers.next(),
            numbers.next()
        );
        text += &start;
        text += &"x".repeat(1_024 - start.len() - 3);
        text += "\"}\n";
    }
    text
}

#[test]
fn bytes_of_an_unpacked_body() {
    let server = Server::start(&[]);
    let headers = [("content-type", "application/x-ndjson"), ("content-encoding", "zstd")];
    let pack = |text: &str| zstd::encode_all(text.as_bytes(), 1).expect("memory can be written");
    let text = lines_of_a_kib(8 << 10);
    assert_eq!(text.len(), 8 * MIB);
    assert_eq!(post(&server, "/v1/events", &headers, pack(text.trim_end())), taken());
    assert_eq!(post(&server, "/v1/events", &headers, pack(&text)), taken());
    assert_eq!(
        post(&server, "/v1/events", &headers, pack(&format!("{text} "))),
        refused(413, "body_too_large")
    );
    server.post("/v1/flush", &[], "");
    assert_eq!(kept(&server), (2 << 13, 2 << 13));
}

#[test]
fn events_of_a_request() {
    let server = Server::start(&[]);
    for (count, expect) in [(19_999, taken()), (20_000, taken()), (20_001, refused(413, "too_many_events"))] {
        let event = r#"{"event_type":"a","ts":0}"#;
        assert_eq!(
            post(&server, "/v1/events", &LINES, format!("{event}\n").repeat(count)),
            expect,
            "{count} lines"
        );
        let array = format!("[{}{event}]", format!("{event},").repeat(count - 1));
        assert_eq!(post(&server, "/v1/events", &[], array), expect, "an array of {count}");
    }
    server.post("/v1/flush", &[], "");
    assert_eq!(kept(&server), (2 * 39_999, 2 * 39_999));
}

/// Returns JSON of this depth.
fn nested(depth: usize) -> String {
    "[".repeat(depth) + &"]".repeat(depth)
}

#[test]
fn what_an_event_may_have() {
    let server = Server::start(&[]);
    let texts = |bytes: usize| format!("{}{}", "é".repeat(bytes / 2), "x".repeat(bytes % 2));
    let members = |count: usize| (0..count).map(|at| format!(r#","m{at}":{at}"#)).collect::<String>();
    let base = r#"{"event_id":"","event_type":"a","ts":0,"x":""}"#.len();
    // Each limit: what is at it, the members one below, at and one above it, and the code for above.
    let limits: Vec<(&str, [String; 3], &str)> = vec![
        ("type", [255, 256, 257].map(|n| format!(r#""name":"{}""#, texts(n))), "dimension_too_long"),
        (
            "user",
            [255, 256, 257].map(|n| format!(r#""event_type":"a","user_id":"{}""#, texts(n))),
            "dimension_too_long",
        ),
        ("depth", [30, 31, 32].map(|n| format!(r#""event_type":"a","x":{}"#, nested(n))), "too_deep"),
        (
            "members",
            [255, 256, 257].map(|n| format!(r#""event_type":"a"{}"#, members(n))),
            "too_many_members",
        ),
        (
            "exponent",
            [298, 299, 300].map(|n| format!(r#""event_type":"a","x":1e{n}"#)),
            "number_out_of_range",
        ),
        (
            "bytes",
            [-1, 0, 1].map(|n| {
                format!(
                    r#""event_type":"a","ts":0,"x":"{}""#,
                    "x".repeat((262_144 - base as i64 - 7 + n) as usize)
                )
            }),
            "event_too_large",
        ),
    ];
    let mut good = 0;
    for (name, cases, code) in limits {
        for (at, members) in cases.into_iter().enumerate() {
            let id = format!("{name:.5}-{at}");
            let id = format!("{id:7.7}");
            let body = format!(r#"{{"event_id":"{id}",{members}}}"#);
            let expect = if at < 2 { taken() } else { refused(422, code) };
            assert_eq!(post(&server, "/v1/events?wait=true", &[], &body), expect, "{name} {at}");
            let found = server.get(&format!("/v1/events?event_id={}", id.replace(' ', "%20"))).json();
            if at == 2 {
                assert_eq!(found["data"], serde_json::json!([]), "{name}");
                continue;
            }
            good += 1;
            assert_unchanged(&found["data"][0], &body);
        }
    }
    assert_eq!(kept(&server), (good, good));
}

/// Asserts that everything sent is in the stored event.
fn assert_unchanged(stored: &serde_json::Value, sent: &str) {
    let sent: serde_json::Value = serde_json::from_str(sent).expect("the case is JSON");
    for (name, value) in sent.as_object().expect("an event is an object") {
        let found = match name.as_str() {
            "event_id" | "event_type" | "user_id" => &stored[name],
            "name" => &stored["event_type"],
            "ts" => continue,
            other => &stored["properties"][other],
        };
        assert_eq!(found, value, "{name}");
    }
}

#[test]
fn an_id_and_a_sum() {
    let server = Server::start(&[]);
    for (bytes, expect) in [(255, taken()), (256, taken()), (257, refused(422, "id_too_long"))] {
        let body = format!(r#"{{"event_id":"{}","event_type":"a"}}"#, "i".repeat(bytes));
        assert_eq!(post(&server, "/v1/events", &[], body), expect, "{bytes} bytes");
    }
    // Two digits after the point are kept, so that the scaled value stays below 10^27 up to here.
    let nines = format!("{}.99", "9".repeat(25));
    for (amount, expect) in [
        (nines.clone(), taken()),
        (format!("-{nines}"), taken()),
        (nines.clone(), taken()),
        (format!("1{}", "0".repeat(25)), refused(422, "number_out_of_range")),
        // Rounding must not lead over the limit.
        (format!("{}.995", "9".repeat(25)), refused(422, "number_out_of_range")),
    ] {
        let body = format!(r#"{{"stream_id":"s","type":"donation","ts":0,"amount_usd":{amount}}}"#);
        assert_eq!(post(&server, "/v1/events?stream=stream.events&wait=true", &[], body), expect, "{amount}");
    }
    let text = server.get("/v1/rollups/stream_metrics_minute").text();
    assert!(text.contains(&format!(r#""donations_usd":{nines},"#)), "{text}");
}

#[test]
fn bytes_in_flight() {
    let server = Server::start_with("[http]\nbody_budget = \"1MiB\"\n", &[]);
    let event = r#"{"event_type":"a","ts":0}"#;
    let padded = |bytes: usize| format!("{event}{}", " ".repeat(bytes - event.len()));
    assert_eq!(post(&server, "/v1/events", &[], padded(MIB - 1)), taken());
    assert_eq!(post(&server, "/v1/events", &[], padded(MIB)), taken());
    let answer = server.post("/v1/events", &[], padded(MIB + 1));
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("1")), "{}", answer.text());
    assert_eq!(answer.json()["code"], "over_budget");
    let text = server.get("/metrics").text();
    assert!(text.contains("streamgauge_http_requests_limited_total{limit=\"body_budget\"} 1\n"), "{text}");
    assert_well(&server);
    assert_eq!(server.get("/v1/status").json()["memory"]["body_bytes_in_flight"], 0);
}
