//! Stream metrics per minute: rows of the last minutes, the newest of each stream, and the best streams.

use serde_json::Value;

use crate::harness::{Launch, Server, run};

use super::{asked, assert_refused, flush, members, metric, on_both_sides};

const MINUTE: u64 = 60;

fn now() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).expect("it is after 1970")
}

/// Sends what happened so many minutes before the newest minute: (minutes, stream, type, amount).
fn send(server: &Server, newest: u64, events: &[(u64, &str, &str, &str)]) {
    let event = |(at, (minutes, stream, kind, amount)): (usize, &(u64, &str, &str, &str))| {
        let ts = newest - minutes * MINUTE;
        format!(
            r#"{{"event_id":"e{at}","ts":{ts},"event_type":"{kind}","stream_id":"{stream}","user_id":"u","amount_usd":{amount}}}"#
        )
    };
    let lines: Vec<String> = events.iter().enumerate().map(event).collect();
    let path = "/v1/events?stream=stream.events";
    assert_eq!(server.post(path, &[], format!("[{}]", lines.join(","))).status, 202);
    flush(server);
}

const EVENTS: [(u64, &str, &str, &str); 7] = [
    (0, "s1", "donation", "12.5"),
    (0, "s2", "chat_message", "null"),
    (1, "s1", "donation", "0.01"),
    (1, "s3", "donation", "\"99.99\""),
    (2, "s2", "chat_message", "null"),
    (2, "s2", "donation", "1"),
    (90, "s4", "donation", "1000"),
];

fn rows(answer: &str) -> Vec<String> {
    let answer: Value = serde_json::from_str(answer).expect("JSON");
    let line = |row: &Value| {
        let stream = row["stream_id"].as_str().expect("a stream");
        format!("{stream} {} {}", row["chat_messages"], row["donations_usd"])
    };
    answer["rows"].as_array().expect("rows").iter().map(line).collect()
}

#[test]
fn every_line_of_its_description_is_answered() {
    on_both_sides(|server| {
        let newest = now();
        send(server, newest, &EVENTS);
        let health = asked(server, "curl -s http://localhost:8000/health");
        assert!(health.starts_with("{\"ok\":true"), "{health}");
        let recent = asked(server, r#"curl -s "http://localhost:8000/metrics?minutes=10&limit=5""#);
        assert_eq!(members(&recent), ["latest_window_start", "rows"]);
        assert_eq!(rows(&recent), ["s1 0 12.5", "s2 1 0.0", "s1 0 0.01", "s3 0 99.99", "s2 1 1.0"]);
        let first = serde_json::from_str::<Value>(&recent).expect("JSON")["rows"][0].to_string();
        assert_eq!(
            members(&first),
            ["window_start", "window_end", "stream_id", "active_viewers", "chat_messages", "donations_usd"]
        );
        let two = asked(server, r#"curl -s "http://localhost:8000/metrics?minutes=10&limit=2""#);
        assert_eq!(rows(&two).len(), 2);
        let far = asked(server, r#"curl -s "http://localhost:8000/metrics?minutes=100""#);
        assert_eq!(rows(&far).last().map(String::as_str), Some("s4 0 1000.0"));
        let best =
            asked(server, r#"curl -s "http://localhost:8000/streams/top?minutes=10&by=donations_usd&n=5""#);
        assert_eq!(rows(&best), ["s3 0 99.99", "s1 0 12.51", "s2 2 1.0"]);
        let first = server.get("/streams/top?minutes=10&by=chat_messages&limit=1").text();
        assert_eq!(rows(&first), ["s2 2 1.0"]);
        let latest = asked(server, "curl -s http://localhost:8000/metrics/latest");
        assert_eq!(members(&latest), ["rows"]);
        assert_eq!(rows(&latest), ["s1 0 12.5", "s2 1 0.0", "s3 0 99.99", "s4 0 1000.0"]);
        assert_eq!(metric(server, "/prometheus", "api_db_ok", ""), 1.0);
        assert_eq!(metric(server, "/prometheus", "api_stream_metrics_rows_recent", ""), 5.0);
        assert_eq!(metric(server, "/prometheus", "api_donation_rows_recent", ""), 4.0);
        assert!(metric(server, "/prometheus", "api_latest_window_age_seconds", "") < 200.0);
        assert_eq!(metric(server, "/prometheus", "api_http_requests_total", "path=\"/streams/top\""), 2.0);
        assert!(metric(server, "/prometheus", "api_http_request_duration_seconds_count", "") >= 7.0);
    });
}

#[test]
fn what_a_bare_question_answers_is_a_setting_of_the_address() {
    let toml = "[[listen]]\naddress = \"127.0.0.1:0\"\nmetrics = \"rows\"";
    // The flag of the harness names the first address; what it says of metrics is the setting.
    let prometheus = Server::start(&[]);
    let bare = prometheus.get("/metrics");
    assert!(bare.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")));
    assert!(bare.text().starts_with("# HELP streamgauge_build_info"));
    for query in ["minutes=10", "limit=5", "minutes=10&limit=5"] {
        assert!(prometheus.get(&format!("/metrics?{query}")).json()["rows"].is_array(), "{query}");
    }
    assert_refused(&prometheus.get("/metrics?minute=10"), 400, "bad_query", None);
    let check = |toml: &str| {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join("test.toml");
        std::fs::write(&path, toml).expect("the file can be written");
        run(&["config", "check", "--config", path.to_str().expect("the path is UTF-8")])
    };
    assert!(check(toml).status.success());
    let wrong = check(&toml.replace("rows", "html"));
    assert_eq!(wrong.status.code(), Some(78));
    assert!(
        String::from_utf8_lossy(&wrong.stderr).contains("listen.0.metrics: is prometheus or rows, not html")
    );
}

#[test]
fn an_address_may_say_what_it_answers_on_the_command_line() {
    let server = Server::ready(&Launch::new().listening("127.0.0.1:0,metrics=rows"));
    assert_eq!(server.get("/metrics").text(), r#"{"latest_window_start":null,"rows":[]}"#);
    assert_eq!(server.get("/metrics/latest").text(), r#"{"rows":[]}"#);
    assert_eq!(server.get("/streams/top").text(), r#"{"rows":[]}"#);
    assert!(server.get("/prometheus").text().contains("api_db_ok 1\n"));
    let wrong = run(&["serve", "--listen", "127.0.0.1:0,metric=rows"]);
    assert_eq!(wrong.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("did you mean metrics?"));
}

#[test]
fn questions_that_cannot_be_answered_say_why() {
    let server = Server::start(&[]);
    for path in [
        "/metrics?minutes=0",
        "/metrics?minutes=576001",
        "/metrics?limit=10001",
        "/metrics/latest?n=1",
        "/streams/top?by=stream_id",
        "/streams/top?n=0",
        "/streams/top?minutes=ten",
    ] {
        assert_refused(&server.get(path), 400, "bad_query", None);
    }
    assert_eq!(server.get("/metrics?minutes=576000&limit=10000").status, 200);
}
