//! Every form in which a body may come: one event, a list, lines; packed or not; whatever the content type says.

use std::io::Write as _;

use super::super::harness::Server;
use super::{get_json, rows};

/// Content type, content encoding, body, and how many events of the case's type must be counted.
struct Case {
    name: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    body: Vec<u8>,
    events: usize,
}

/// Makes a case; `@` in the text stands for the case's own event type.
fn case(name: &'static str, headers: &[(&'static str, &'static str)], text: &str, events: usize) -> Case {
    Case { name, headers: headers.to_vec(), body: text.replace('@', name).into_bytes(), events }
}

const ONE: &str = r#"{"event_type":"@","ts":"2025-01-01T00:00:00Z"}"#;
const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");
const JSON: (&str, &str) = ("content-type", "application/json");

fn plain_cases() -> Vec<Case> {
    let pretty = "{\n  \"event_type\": \"@\",\r\n\t\"ts\": \"2025-01-01T00:00:00Z\"\n}\n";
    let array = format!("[{ONE}, {ONE},\n{ONE}]");
    let lines = format!("{ONE}\r\n\r\n  {ONE}  \n\n\n{ONE}\r\n");
    let form = ("content-type", "application/x-www-form-urlencoded");
    vec![
        case("object", &[JSON], ONE, 1),
        case("pretty-object", &[JSON], pretty, 1),
        case("surrounded-object", &[JSON], &format!(" \r\n\t{ONE}\n\n"), 1),
        case("array", &[JSON], &array, 3),
        case("array-of-one", &[JSON], &format!("[{ONE}]"), 1),
        case("lines", &[NDJSON], &lines, 3),
        case("one-line", &[NDJSON], ONE, 1),
        case("lines-without-type", &[JSON], &lines, 3),
        case("pretty-objects", &[JSON], &format!("{pretty}{pretty}"), 2),
        case("text-plain", &[("content-type", "text/plain")], ONE, 1),
        case("octets", &[("content-type", "application/octet-stream")], &array, 3),
        case("what-curl-says", &[form], ONE, 1),
        case("lines-as-curl-says", &[form], &lines, 3),
        case("cloud-events-type", &[("content-type", "application/cloudevents+json")], ONE, 1),
        case("jsonl", &[("content-type", "application/jsonl")], &lines, 3),
        case("upper-case-type", &[("content-type", "Application/JSON; Charset=UTF-8")], ONE, 1),
        case("quoted-charset", &[("content-type", "application/json;charset=\"utf-8\"")], ONE, 1),
        case("byte-order-mark", &[JSON], &format!("\u{feff}{ONE}"), 1),
        case("byte-order-mark-lines", &[NDJSON], &format!("\u{feff}{ONE}\n{ONE}"), 2),
        case("identity", &[JSON, ("content-encoding", "identity")], ONE, 1),
    ]
}

fn packed_cases() -> Vec<Case> {
    // Real events do not repeat themselves so much that they would pass for a bomb.
    let line = |at: usize| {
        format!("{{\"event_type\":\"@\",\"ts\":\"2025-01-01T00:00:00Z\",\"n\":{}}}\n", at * at * 7_919)
    };
    let many: String = (0..2_000).map(line).collect();
    let mut cases = vec![
        case("gzip", &[JSON, ("content-encoding", "gzip")], ONE, 1),
        case("gzip-lines", &[NDJSON, ("content-encoding", "gzip")], &many, 2_000),
        case("x-gzip", &[JSON, ("content-encoding", "X-GZip")], ONE, 1),
    ];
    for gzipped in &mut cases {
        gzipped.body = gzip(&gzipped.body);
    }
    // A gzip file may consist of several members: `cat one.gz two.gz` is one.
    let mut members = case("gzip-members", &[NDJSON, ("content-encoding", "gzip")], &format!("{ONE}\n"), 2);
    members.body = gzip(&members.body).repeat(2);
    cases.push(members);
    for (name, text, events) in [("zstd", ONE, 1), ("zstd-lines", many.as_str(), 2_000)] {
        let mut zstandard = case(name, &[NDJSON, ("content-encoding", "zstd")], text, events);
        zstandard.body = zstd::encode_all(zstandard.body.as_slice(), 3).expect("memory can be written");
        cases.push(zstandard);
    }
    cases
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory can be written")
}

#[test]
fn every_form_of_a_body_is_taken() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for case in plain_cases().into_iter().chain(packed_cases()) {
        let answer = client.request("POST", "/v1/events?wait=true", &case.headers, &case.body);
        let answer = answer.unwrap_or_else(|error| panic!("{}: {error}", case.name));
        assert_eq!(answer.status, 202, "{}: {}", case.name, answer.text());
        let body = answer.json();
        if body["status"] == "accepted" {
            assert_eq!(case.events, 1, "{}: {body}", case.name);
            assert!(body["event_id"].as_str().is_some_and(|id| !id.is_empty()), "{}: {body}", case.name);
        } else {
            assert_eq!(body["accepted"], case.events, "{}: {body}", case.name);
            assert_eq!(
                (&body["rejected"], &body["errors"]),
                (&0.into(), &serde_json::json!([])),
                "{}",
                case.name
            );
        }
        let path = format!("/v1/rollups/hourly_aggregations?event_type={}", case.name);
        let expect = format!("2025-01-01T00:00:00Z 2025-01-01T01:00:00Z {} {}", case.name, case.events);
        assert_eq!(rows(&get_json(&server, &path)), [expect], "{}", case.name);
    }
}

#[test]
fn an_array_or_lines_are_answered_as_a_list_and_an_object_as_one() {
    let server = Server::start(&[]);
    for (body, headers, is_list) in [
        (r#"{"event_type":"a"}"#, [JSON], false),
        (r#"[{"event_type":"a"}]"#, [JSON], true),
        (r#"{"event_type":"a"}"#, [NDJSON], true),
    ] {
        let answer = server.post("/v1/events", &headers, body).json();
        assert_eq!(answer.get("accepted").is_some(), is_list, "{body}: {answer}");
        assert_eq!(answer.get("event_id").is_some(), !is_list, "{body}: {answer}");
    }
}

#[test]
fn a_stream_is_named_in_the_query_or_by_its_own_path() {
    let server = Server::start(&[]);
    let view = r#"{"postcode":"SW19","user_id":1234,"webpage":"x","timestamp":1735689600}"#;
    let chat = r#"{"event_type":"chat_message","stream_id":"s1","ts":"2025-01-01T00:00:00Z"}"#;
    for (path, body, rollup, expect) in [
        ("/events?wait=true", ONE, "hourly_aggregations", "@ 1"),
        ("/v1/events?stream=events&wait=1", ONE, "hourly_aggregations", "@ 2"),
        ("/v1/events?stream=pageviews&wait", view, "pageview_aggregates", "SW19 1"),
        ("/v1/events?stream=stream.events&wait=true", chat, "stream_metrics_minute", "s1 0 1 0.0"),
    ] {
        super::post_seen_at(&server, path, body);
        let rows = rows(&get_json(&server, &format!("/v1/rollups/{rollup}")));
        assert_eq!(rows.len(), 1, "{path}: {rows:?}");
        assert!(rows[0].ends_with(expect), "{path}: {rows:?}");
    }
}

#[test]
fn an_id_is_taken_as_sent_or_derived_or_made() {
    let server = Server::start(&[]);
    let id = |body: &str| super::post_seen(&server, body).json()["event_id"].as_str().map(str::to_owned);
    assert_eq!(id(r#"{"event_type":"a","eventId":"mine"}"#).as_deref(), Some("mine"));
    assert_eq!(id(r#"{"event_type":"a","id":42}"#).as_deref(), Some("42"));
    let signup = r#"{"user_id":"u1","event_name":"signup","metadata":{"b":1,"a":2},"timestamp":"2025-01-01T00:00:00Z"}"#;
    // The same event with its members in another order and its time in another form.
    let again = r#"{"timestamp":1735689600,"metadata":{"a":2,"b":1},"event_name":"signup","user_id":"u1"}"#;
    let derived = id(signup).expect("an answer names the id");
    assert!(derived.len() == 64 && derived.bytes().all(|byte| byte.is_ascii_hexdigit()), "{derived}");
    assert_eq!(id(again), Some(derived));
    let (one, other) = (id(r#"{"event_type":"a"}"#), id(r#"{"event_type":"a"}"#));
    assert_ne!(one, other, "made ids differ");
    assert_eq!(one.expect("an answer names the id").len(), 36);
    let ledger = &get_json(&server, "/v1/status")["streams"][0]["partitions"][0]["ledger"];
    assert_eq!((&ledger["counted"], &ledger["duplicate"]), (&5.into(), &1.into()), "{ledger}");
}
