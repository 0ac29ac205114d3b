//! Hourly aggregations: counts by type and hour, and what of them is in memory.

use crate::harness::Server;

use super::{asked, assert_refused, curl, flush, members, metric, on_both_sides};

const EVENTS: &str = r#"[
    {"event_type":"page_view","user_id":"u1","timestamp":"2024-01-01T05:10:00Z"},
    {"event_type":"page_view","user_id":"u2","timestamp":"2024-01-01T05:50:00Z"},
    {"event_type":"click","user_id":"u1","timestamp":"2024-01-01T05:59:59.999Z"},
    {"event_type":"page_view","user_id":"u1","timestamp":"2024-01-01T06:00:00Z"},
    {"event_type":"signup","user_id":"u3","timestamp":"2024-01-02T00:00:00Z"},
    {"event_type":"page_view","user_id":"u3","timestamp":"2024-01-02T00:20:00Z"}]"#;

#[test]
fn every_line_of_its_description_is_answered() {
    on_both_sides(|server| {
        assert_eq!(server.post("/events", &[], EVENTS).status, 202);
        flush(server);
        let health = asked(server, "curl http://localhost:8080/health");
        assert!(health.starts_with(r#"{"ok":true,"status":"UP","#), "{health}");
        insta::assert_snapshot!(asked(server, "curl http://localhost:8080/api/aggregations").replace("},", "},\n"), @r#"
        {"aggregations":[{"event_type":"page_view","window_start":"2024-01-02T00:00:00Z","window_end":"2024-01-02T01:00:00Z","event_count":1},
        {"event_type":"signup","window_start":"2024-01-02T00:00:00Z","window_end":"2024-01-02T01:00:00Z","event_count":1},
        {"event_type":"page_view","window_start":"2024-01-01T06:00:00Z","window_end":"2024-01-01T07:00:00Z","event_count":1},
        {"event_type":"click","window_start":"2024-01-01T05:00:00Z","window_end":"2024-01-01T06:00:00Z","event_count":1},
        {"event_type":"page_view","window_start":"2024-01-01T05:00:00Z","window_end":"2024-01-01T06:00:00Z","event_count":2}],"count":5}
        "#);
        let of_type = asked(server, r#"curl "http://localhost:8080/api/aggregations?event_type=page_view""#);
        assert!(of_type.ends_with(r#""event_count":2}],"count":3}"#), "{of_type}");
        let line = r#"curl "http://localhost:8080/api/aggregations?start=2024-01-01T00:00:00&end=2024-01-02T00:00:00""#;
        let of_a_day = asked(server, line);
        assert!(of_a_day.ends_with(r#""count":3}"#) && !of_a_day.contains("signup"), "{of_a_day}");
        insta::assert_snapshot!(asked(server, "curl http://localhost:8080/api/aggregations/latest").replace("},", "},\n"), @r#"
        {"aggregations":[{"event_type":"page_view","window_start":"2024-01-02T00:00:00Z","window_end":"2024-01-02T01:00:00Z","event_count":1},
        {"event_type":"signup","window_start":"2024-01-02T00:00:00Z","window_end":"2024-01-02T01:00:00Z","event_count":1}],"count":2}
        "#);
        insta::assert_snapshot!(asked(server, "curl http://localhost:8080/api/stats"), @r#"{"total_events":6,"total_windows":3,"event_types":3,"first_window":"2024-01-01T05:00:00Z","last_window":"2024-01-02T00:00:00Z"}"#);
        insta::assert_snapshot!(asked(server, "curl http://localhost:8080/api/event-types"), @r#"{"event_types":["click","page_view","signup"]}"#);
        let memory = asked(server, "curl http://localhost:8080/api/pipeline/memory");
        assert_eq!(members(&memory), ["events_in_memory", "windows", "last_flush_at", "next_flush_at"]);
        let flushed = asked(server, "curl -X POST http://localhost:8080/api/pipeline/flush");
        assert_eq!(members(&flushed), ["flushed_events", "flushed_windows", "took_ms"]);
        assert_eq!(metric(server, "/metrics", "events_produced_total", "stream=\"events\""), 6.0);
        assert_eq!(metric(server, "/metrics", "events_consumed_total", "stream=\"events\""), 6.0);
        assert!(metric(server, "/metrics", "aggregation_windows_flushed_total", "") >= 5.0);
    });
}

#[test]
fn an_empty_store_has_answers_too() {
    let server = Server::start(&[]);
    insta::assert_snapshot!(server.get("/api/aggregations/latest").text(), @r#"{"aggregations":[],"count":0}"#);
    insta::assert_snapshot!(server.get("/api/stats").text(), @r#"{"total_events":0,"total_windows":0,"event_types":0,"first_window":null,"last_window":null}"#);
    insta::assert_snapshot!(server.get("/api/event-types").text(), @r#"{"event_types":[]}"#);
    insta::assert_snapshot!(server.get("/api/pipeline/memory").text(), @r#"{"events_in_memory":0,"windows":[],"last_flush_at":null,"next_flush_at":null}"#);
}

#[test]
fn what_waits_in_memory_is_told_by_type_and_window() {
    let server = Server::start_with("flush = { interval = \"1h\", max_events = 50_000 }", &[]);
    assert_eq!(server.post("/events", &[], EVENTS).status, 202);
    let mut memory = server.get("/api/pipeline/memory").json();
    // The fold takes the events a moment after they are answered.
    crate::harness::until(crate::harness::PATIENCE, "a flush is due", || {
        memory = server.get("/api/pipeline/memory").json();
        !memory["next_flush_at"].is_null()
    });
    assert_eq!(memory["events_in_memory"], 6);
    assert!(memory["last_flush_at"].is_null(), "{memory}");
    let windows = memory["windows"].as_array().expect("a list").iter().map(ToString::to_string);
    insta::assert_snapshot!(windows.collect::<Vec<_>>().join("\n"), @r#"
    {"event_type":"click","window_start":"2024-01-01T05:00:00Z","count":1}
    {"event_type":"page_view","window_start":"2024-01-01T05:00:00Z","count":2}
    {"event_type":"page_view","window_start":"2024-01-01T06:00:00Z","count":1}
    {"event_type":"page_view","window_start":"2024-01-02T00:00:00Z","count":1}
    {"event_type":"signup","window_start":"2024-01-02T00:00:00Z","count":1}
    "#);
    assert!(server.get("/api/aggregations").text().ends_with(r#""count":0}"#));
    let flushed = server.post("/api/pipeline/flush", &[], "").json();
    assert_eq!(flushed["flushed_events"], 6);
    let memory = server.get("/api/pipeline/memory").json();
    assert_eq!(
        (&memory["events_in_memory"], memory["windows"].as_array().map(Vec::len)),
        (&0.into(), Some(0))
    );
    assert!(memory["last_flush_at"].is_string() && memory["next_flush_at"].is_null(), "{memory}");
}

#[test]
fn questions_that_cannot_be_answered_say_why() {
    let server = Server::start(&[]);
    for path in [
        "/api/aggregations?start=2024-01-02&end=2024-01-01",
        "/api/aggregations?start=soon",
        "/api/aggregations?type=a",
        "/api/aggregations/latest?event_type=a",
        "/api/stats?x=1",
    ] {
        assert_refused(&server.get(path), 400, "bad_query", None);
    }
    assert_refused(&server.get("/api/pipeline/flush"), 405, "method_not_allowed", None);
    let other = "[[stream]]\nname = \"s\"\n[[rollup]]\nname = \"r\"\nstream = \"s\"\nwindow = \"1h\"\n\
                 [[rollup.measure]]\nname = \"n\"\nfn = \"count\"";
    let server = Server::start_with(other, &[]);
    for path in [
        "/api/aggregations",
        "/api/aggregations/latest",
        "/api/stats",
        "/api/event-types",
        "/api/pipeline/memory",
    ] {
        assert_refused(&server.get(path), 404, "unknown_rollup", None);
    }
    let (status, _) = curl(&server, "curl http://localhost:8080/health");
    assert_eq!(status, 200);
}
