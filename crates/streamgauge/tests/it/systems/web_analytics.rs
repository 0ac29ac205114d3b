//! Web analytics: events of sessions, the live stream of numbers, and pages of other origins.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::http::Answer;
use crate::harness::watching::Watching;
use crate::harness::{PATIENCE, Server, until};

use super::{asked, assert_refused, curl, flush, on_both_sides};

/// Streams that may be open at once.
const WATCHERS_MAX: usize = 256;
/// How long a connection may stay without a request.
const IDLE: Duration = Duration::from_secs(30);

fn watch(server: &Server) -> (Watching, String) {
    Watching::begin(server, "/metrics/stream", None)
}

/// Returns the data of the next event, which must be called `metrics`.
fn event(watching: &mut Watching) -> Option<Value> {
    let told = watching.next()?;
    assert_eq!(told.name, "metrics");
    Some(told.data)
}

#[test]
fn every_line_of_its_description_is_answered() {
    on_both_sides(|server| {
        let line = r#"curl -X POST http://localhost:8081/events \
  -H 'Content-Type: application/json' \
  -d '{"sessionId":"test-1","eventType":"page_view","payload":"{\"path\":\"/home\"}"}'"#;
        let (status, body) = curl(server, line);
        assert_eq!(status, 202, "{body}");
        flush(server);
        let found = server.get("/v1/events?session_id=test-1").json();
        assert_eq!(found["data"][0]["properties"], serde_json::json!({"path": "/home"}));
        assert!(asked(server, "curl http://localhost:8082/actuator/health").starts_with(r#"{"status":"UP""#));
        let seen = curl(server, "curl -N --max-time 3 http://localhost:8082/metrics/stream || true").1;
        assert!(seen.starts_with("event: metrics\ndata: {\"receivedTotal\":1,\"writtenTotal\":1,"), "{seen}");
        let (mut watching, first) = watch(server);
        assert_eq!(first, "HTTP/1.1 200 OK");
        let numbers = event(&mut watching).expect("an event a second");
        let names: Vec<&String> = numbers.as_object().expect("an object").keys().collect();
        assert_eq!(names, ["receivedTotal", "writtenTotal", "avgProcessingMs", "lag", "ts"]);
        assert_eq!((&numbers["receivedTotal"], &numbers["lag"]), (&1.into(), &0.into()));
    });
}

#[test]
fn the_stream_tells_the_real_lag_every_second() {
    let server = Server::start_with("flush = { interval = \"1h\", max_events = 50_000 }", &[]);
    let (mut watching, _) = watch(&server);
    let at_first = event(&mut watching).expect("an event at once");
    assert_eq!((&at_first["receivedTotal"], &at_first["lag"]), (&0.into(), &0.into()));
    let events = r#"[{"sessionId":"a","eventType":"x"},{"sessionId":"a","eventType":"x","eventId":"1"},{"sessionId":"a","eventType":"x","eventId":"1"}]"#;
    assert_eq!(server.post("/events", &[], events).status, 202);
    let lagging = |numbers: &Value| {
        numbers["lag"] == 3 && numbers["receivedTotal"] == 3 && numbers["writtenTotal"] == 0
    };
    until(PATIENCE, "the lag shows", || event(&mut watching).as_ref().is_some_and(lagging));
    flush(&server);
    // One of them was a duplicate.
    let written = |numbers: &Value| {
        numbers["lag"] == 0 && numbers["receivedTotal"] == 3 && numbers["writtenTotal"] == 2
    };
    until(PATIENCE, "the lag is gone", || event(&mut watching).as_ref().is_some_and(written));
    let (one, next) = (event(&mut watching).expect("an event"), event(&mut watching).expect("an event"));
    let apart = next["ts"].as_i64().zip(one["ts"].as_i64()).map(|(next, one)| next - one);
    assert!(apart.is_some_and(|ms| (500..5_000).contains(&ms)), "{one} {next}");
}

#[test]
fn a_stream_outlives_the_idle_time_and_ends_with_the_server() {
    let mut server = Server::start(&[]);
    let (mut watching, _) = watch(&server);
    let began = Instant::now();
    while began.elapsed() < IDLE + Duration::from_secs(8) {
        assert!(event(&mut watching).is_some(), "it ended after {:?}", began.elapsed());
    }
    let told = Instant::now();
    assert!(server.terminate().success());
    while event(&mut watching).is_some() {}
    assert!(told.elapsed() < Duration::from_secs(4), "{:?}", told.elapsed());
}

#[test]
fn so_many_may_watch_and_no_more() {
    let server = Server::start(&[]);
    let mut watching: Vec<Watching> = Vec::new();
    for number in 1..=WATCHERS_MAX {
        let (watcher, first) = watch(&server);
        assert_eq!(first, "HTTP/1.1 200 OK", "{number}");
        watching.push(watcher);
    }
    let refused = server.get("/metrics/stream");
    assert_refused(&refused, 503, "too_many_watchers", None);
    assert_eq!(refused.header("retry-after"), Some("1"));
    // Both streams have the same places.
    assert_refused(&server.get("/v1/stream"), 503, "too_many_watchers", None);
    let request_id = refused.json()["request_id"].as_str().expect("an id").to_owned();
    assert!(server.stderr().contains(&request_id), "its line in the log has it: {}", server.stderr());
    let text = server.get("/metrics").text();
    assert!(text.contains("streamgauge_http_requests_limited_total{limit=\"watchers\"} 2\n"), "{text}");
    drop(watching.pop());
    until(PATIENCE, "a place is free again", || watch(&server).1 == "HTTP/1.1 200 OK");
}

#[test]
fn blank_names_are_refused_and_nothing_is_written() {
    let server = Server::start(&[]);
    for (body, field) in [
        (r#"{"sessionId":"","eventType":"page_view"}"#, "sessionId"),
        (r#"{"sessionId":"  ","eventType":"page_view"}"#, "sessionId"),
        (r#"{"sessionId":"a","eventType":""}"#, "eventType"),
        (r#"{"sessionId":"a","eventType":" \t"}"#, "eventType"),
    ] {
        assert_refused(&server.post("/events", &[], body), 422, "blank_field", Some(field));
    }
    flush(&server);
    let (mut watching, _) = watch(&server);
    assert_eq!(event(&mut watching).expect("an event")["receivedTotal"], 0);
}

fn request(server: &Server, method: &str, path: &str, origin: &str) -> Answer {
    let headers = [("origin", origin), ("access-control-request-method", "POST")];
    let body = if method == "POST" { r#"{"eventType":"a"}"# } else { "" };
    let answer = server.client().request(method, path, &headers, body.as_bytes());
    answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

#[test]
fn pages_of_allowed_origins_may_post_and_watch() {
    let server =
        Server::start_with("http = { cors_origins = [\"https://a.example\", \"http://localhost:*\"] }", &[]);
    let allowed = |answer: &Answer| answer.header("access-control-allow-origin").map(str::to_owned);
    for path in ["/events", "/v1/events", "/api/pageviews", "/metrics/stream", "/v1/stream"] {
        for origin in ["https://a.example", "http://localhost:5173", "http://localhost"] {
            let answer = request(&server, "OPTIONS", path, origin);
            assert_eq!((answer.status, allowed(&answer).as_deref()), (204, Some(origin)), "{path}");
            let method = if path.ends_with("/stream") { "GET" } else { "POST" };
            assert_eq!(answer.header("access-control-allow-methods"), Some(method));
            assert_eq!(answer.header("vary"), Some("origin"));
        }
        for origin in ["https://b.example", "http://localhost.b.example", "null"] {
            let answer = request(&server, "OPTIONS", path, origin);
            assert_eq!((answer.status, allowed(&answer)), (204, None), "{path} {origin}");
        }
    }
    let answer = request(&server, "POST", "/events", "http://localhost:5173");
    assert_eq!((answer.status, allowed(&answer).as_deref()), (202, Some("http://localhost:5173")));
    // A page must be able to read why an event was refused, too.
    let answer = request(&server, "POST", "/api/pageviews", "https://a.example");
    assert_eq!((answer.status, allowed(&answer).as_deref()), (422, Some("https://a.example")));
    // Nothing else is opened.
    for path in ["/v1/status", "/api/aggregations", "/v1/rollups", "/metrics", "/v1/events"] {
        let answer = request(&server, "GET", path, "https://a.example");
        assert_eq!((answer.status, allowed(&answer)), (200, None), "{path}");
    }
    assert_refused(
        &request(&server, "OPTIONS", "/v1/flush", "https://a.example"),
        405,
        "method_not_allowed",
        None,
    );
}
