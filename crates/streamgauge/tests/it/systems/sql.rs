//! The tables that descriptions name and the selects that they print, in `sqlite3` and in `psql`: one text for both.

use super::{Database, flush, with_both_databases};
use crate::harness::Server;

fn send(server: &Server, path: &str, events: &str) {
    let answer = server.post(path, &[], events);
    assert_eq!(answer.status, 202, "{}", answer.text());
    flush(server);
}

/// Asserts that a view has these columns, in this order; more may follow.
fn assert_columns(database: &Database, view: &str, expect: &[&str]) {
    let columns = database.columns(view);
    assert_eq!(
        columns.get(..expect.len()),
        Some(&expect.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()[..])
    );
}

#[test]
fn hourly_aggregations() {
    with_both_databases(|server, database| {
        send(
            server,
            "/events",
            r#"[{"event_type":"page_view","timestamp":"2024-01-01T05:10:00Z"},
                {"event_type":"page_view","timestamp":"2024-01-01T05:50:00Z"},
                {"event_type":"page_view","timestamp":"2024-01-01T06:50:00Z"},
                {"event_type":"click","timestamp":"2024-01-01T05:59:59.999Z"}]"#,
        );
        let line =
            "SELECT event_type, SUM(event_count) as total FROM hourly_aggregations GROUP BY event_type;";
        let mut lines = database.lines(line);
        lines.sort();
        assert_eq!(lines, ["click|1", "page_view|3"]);
        let hours = "SELECT event_count FROM hourly_aggregations WHERE event_type = 'page_view' \
                     AND window_start >= '2024-01-01T05:00:00Z' ORDER BY window_start";
        assert_eq!(database.lines(hours), ["2", "1"]);
        assert_columns(
            database,
            "hourly_aggregations",
            &["event_type", "window_start", "window_end", "event_count"],
        );
    });
}

#[test]
fn pageview_aggregates() {
    with_both_databases(|server, database| {
        let pageview = |user: u32, postcode: &str, timestamp: u64| {
            format!(r#"{{"user_id":{user},"postcode":"{postcode}","webpage":"w","timestamp":{timestamp}}}"#)
        };
        let views = [
            pageview(1, "SW19", 1_611_662_684),
            pageview(2, "SW19", 1_611_662_684),
            pageview(3, "EC1", 1_611_662_700),
        ];
        send(server, "/api/pageviews/batch", &format!("[{}]", views.join(",")));
        let lines =
            database.lines("SELECT postcode, pageview_count FROM pageview_aggregates ORDER BY postcode");
        assert_eq!(lines, ["EC1|1", "SW19|2"]);
        assert_columns(
            database,
            "pageview_aggregates",
            &["postcode", "window_start", "window_end", "pageview_count"],
        );
    });
}

#[test]
fn stream_metrics_minute() {
    with_both_databases(|server, database| {
        let event = |id: u32, kind: &str, stream: &str, amount: &str, ts: &str| {
            format!(
                r#"{{"event_id":"{id}","ts":"2025-01-01T00:{ts}Z","event_type":"{kind}","stream_id":"{stream}","user_id":"u","amount_usd":{amount}}}"#
            )
        };
        let events = [
            event(1, "donation", "s1", "0.1", "00:01"),
            event(2, "donation", "s1", "0.2", "00:59.999"),
            event(3, "chat_message", "s1", "null", "00:30"),
            event(4, "donation", "s1", "5", "01:00"),
            event(5, "donation", "s2", "12.345", "00:00"),
        ];
        for _ in 0..2 {
            // What is sent again is written once: the table is safe to send again.
            send(server, "/v1/events?stream=stream.events", &format!("[{}]", events.join(",")));
        }
        let lines = database.lines(
            "SELECT stream_id, chat_messages, CAST(ROUND(donations_usd * 100) AS INTEGER) FROM stream_metrics_minute \
             ORDER BY stream_id, window_start",
        );
        assert_eq!(lines, ["s1|1|30", "s1|0|500", "s2|0|1234"]);
        let twice = "SELECT window_start, stream_id FROM stream_metrics_minute GROUP BY window_start, stream_id HAVING COUNT(*) > 1";
        assert_eq!(database.lines(twice), Vec::<String>::new());
        let columns = database.columns("stream_metrics_minute");
        for name in ["window_start", "window_end", "stream_id", "chat_messages", "donations_usd"] {
            assert!(columns.iter().any(|known| known == name), "{name} is missing in {columns:?}");
        }
    });
}

#[test]
fn events_and_web_events() {
    with_both_databases(|server, database| {
        send(
            server,
            "/events",
            r#"[{"user_id":"u1","event_name":"signup","metadata":{"plan":"pro"},"timestamp":"2025-01-01T00:00:00Z"},
                {"sessionId":"test-1","eventType":"page_view","payload":"{\"path\":\"/home\"}","eventId":"e2","ts":"2025-01-02T00:00:00Z"}]"#,
        );
        let lines = database
            .lines("SELECT user_id, event_name, metadata->>'plan' FROM events WHERE event_name = 'signup'");
        assert_eq!(lines, ["u1|signup|pro"]);
        let lines = database
            .lines("SELECT session_id, event_type, payload->>'path' FROM web_events WHERE event_id = 'e2'");
        assert_eq!(lines, ["test-1|page_view|/home"]);
        let lines = database.lines("SELECT COUNT(*) FROM events WHERE timestamp >= '2025-01-01T00:00:00Z' AND timestamp < '2025-01-02T00:00:00Z'");
        assert_eq!(lines, ["1"]);
        assert_eq!(database.lines("SELECT COUNT(*) FROM events WHERE processed_at > timestamp"), ["2"]);
        assert_eq!(database.lines("SELECT COUNT(DISTINCT id) FROM web_events"), ["2"]);
        let names = database.columns("events");
        for name in ["event_id", "user_id", "event_name", "metadata", "timestamp", "processed_at"] {
            assert!(names.iter().any(|known| known == name), "{name} is missing in {names:?}");
        }
        assert_columns(
            database,
            "web_events",
            &["id", "event_id", "session_id", "event_type", "ts", "payload"],
        );
    });
}
