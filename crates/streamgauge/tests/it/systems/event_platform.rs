//! The event platform: ids derived from content, and analytics over raw events.

use serde_json::Value;

use crate::harness::Server;
use crate::harness::dice::{self, Dice};

use super::{asked, assert_refused, curl, flush, metric, on_both_sides};

const EVENTS: &str = r#"[
    {"user_id":"u1","event_name":"signup","metadata":{"plan":"pro"},"timestamp":"2025-01-01T00:00:00Z"},
    {"user_id":"u1","event_name":"login","metadata":{},"timestamp":"2025-01-01T00:07:30Z"},
    {"user_id":"u2","event_name":"login","timestamp":"2025-01-01T12:00:00.001Z"},
    {"user_id":"u2","event_name":"login","timestamp":"2025-01-02T00:00:00Z"}]"#;

#[test]
fn every_line_of_its_description_is_answered() {
    on_both_sides(|server| {
        let line = r#"curl -X POST http://localhost:8001/events -d '{"user_id":"u1","event_name":"signup","metadata":{"plan":"pro"},"timestamp":"2025-01-01T00:00:00Z"}'"#;
        let (status, accepted) = curl(server, line);
        let accepted: Value = serde_json::from_str(&accepted).expect("JSON");
        let id = accepted["event_id"].as_str().expect("an id");
        assert_eq!((status, &accepted["status"]), (202, &"accepted".into()));
        assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        // A resend is the same event.
        assert_eq!(server.post("/events", &[], EVENTS).status, 202);
        flush(server);
        let line = r#"curl "http://localhost:8002/analytics/events/count?from_ts=2025-01-01T00:00:00Z&to_ts=2025-01-02T00:00:00Z""#;
        assert_eq!(asked(server, line), r#"{"count":3}"#);
        insta::assert_snapshot!(server.get("/analytics/events/count").text(), @r#"{"count":4}"#);
        insta::assert_snapshot!(server.get("/analytics/top-events?limit=5").text(), @r#"{"top_events":[{"event_name":"login","count":3},{"event_name":"signup","count":1}]}"#);
        insta::assert_snapshot!(server.get("/analytics/top-events?limit=1").text(), @r#"{"top_events":[{"event_name":"login","count":3}]}"#);
        insta::assert_snapshot!(server.get("/analytics/user/u1/events?limit=10").text(), @r#"{"user_id":"u1","events":[{"event_name":"login","metadata":{},"timestamp":"2025-01-01T00:07:30Z"},{"event_name":"signup","metadata":{"plan":"pro"},"timestamp":"2025-01-01T00:00:00Z"}]}"#);
        insta::assert_snapshot!(server.get("/analytics/user/u2/events?limit=1").text(), @r#"{"user_id":"u2","events":[{"event_name":"login","metadata":{},"timestamp":"2025-01-02T00:00:00Z"}]}"#);
        insta::assert_snapshot!(server.get("/analytics/user/no%20body/events").text(), @r#"{"user_id":"no body","events":[]}"#);
        insta::assert_snapshot!(server.get("/analytics/users/active?window=24h").text(), @r#"{"active_users":0,"window":"24h"}"#);
        let now = r#"[{"user_id":"u1","event_name":"a"},{"user_id":"u3","event_name":"b"},{"user_id":"u3","event_name":"c"},{"event_name":"d"}]"#;
        assert_eq!(server.post("/events", &[], now).status, 202);
        flush(server);
        insta::assert_snapshot!(server.get("/analytics/users/active?window=30m").text(), @r#"{"active_users":2,"window":"30m"}"#);
        insta::assert_snapshot!(server.get("/analytics/users/active?window=999999h").text(), @r#"{"active_users":3,"window":"999999h"}"#);
        assert_eq!(metric(server, "/metrics", "analytics_queries_total", ""), 10.0);
        assert_eq!(metric(server, "/metrics", "events_ingested_total", "stream=\"events\""), 9.0);
        assert_eq!(metric(server, "/metrics", "events_processed_total", "stream=\"events\""), 9.0);
    });
}

/// Whole panes are counted in cells and the ends of a range one by one: the sum is that of counting each.
#[test]
fn any_range_is_counted_exactly() {
    const START: u64 = 1_735_689_600_000;
    const SPAN: u64 = 4 * 3_600_000;
    on_both_sides(|server| {
        let seed = dice::seed("ranges");
        let mut dice = Dice::new(seed);
        let mut times: Vec<u64> = (0..500).map(|_| START + dice.below(SPAN)).collect();
        times.extend([START, START + 900_000, START + 899_999, START + SPAN]);
        let event = |ts: &u64| format!(r#"{{"event_type":"a","ts":{ts}}}"#);
        let lines: Vec<String> = times.iter().map(event).collect();
        assert_eq!(server.post("/events", &[], format!("[{}]", lines.join(","))).status, 202);
        flush(server);
        let mut ranges: Vec<(u64, u64)> = (0..60)
            .map(|_| (START + dice.below(SPAN), START + dice.below(SPAN)))
            .map(|(one, other)| (one.min(other), one.max(other)))
            .collect();
        ranges.extend([(START, START + 900_000), (START + 900_000, START + 900_001), (START, START)]);
        for (from, to) in ranges {
            let expect = times.iter().filter(|ts| (from..to).contains(*ts)).count();
            let answer = server.get(&format!("/analytics/events/count?from_ts={from}&to_ts={to}"));
            assert_eq!(answer.json()["count"], expect, "seed {seed}: {from} to {to}");
        }
        let after = times.iter().filter(|ts| **ts >= START + 5).count();
        let answer = server.get(&format!("/analytics/events/count?from_ts={}", START + 5));
        assert_eq!(answer.json()["count"], after);
        let answer = server.get(&format!("/analytics/events/count?to_ts={}", START + 5));
        assert_eq!(answer.json()["count"], times.len() - after);
    });
}

#[test]
fn what_is_no_event_and_no_question_is_refused() {
    let server = Server::start(&[]);
    let no_name = r#"{"user_id":"u1","metadata":{}}"#;
    assert_refused(&server.post("/events", &[], no_name), 422, "missing_event_type", Some("event_type"));
    let no_time = r#"{"user_id":"u1","event_name":"a","timestamp":"soon"}"#;
    assert_refused(&server.post("/events", &[], no_time), 422, "bad_timestamp", Some("timestamp"));
    for path in [
        "/analytics/events/count?from_ts=x",
        "/analytics/events/count?from_ts=2025-01-02&to_ts=2025-01-01",
        "/analytics/events/count?from=2025-01-02",
        "/analytics/top-events?limit=0",
        "/analytics/users/active?window=day",
        "/analytics/users/active?window=0h",
        "/analytics/user/u1/events?limit=10001",
    ] {
        assert_refused(&server.get(path), 400, "bad_query", None);
    }
    assert_eq!(metric(&server, "/metrics", "analytics_queries_total", ""), 0.0);
}
