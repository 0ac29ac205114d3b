//! The raw events: newest first, and filtered.

use serde_json::Value;

use super::super::harness::Server;
use super::{bare, get_json, masked, post_seen};

fn filled() -> Server {
    let server = Server::start(&[]);
    post_seen(
        &server,
        r#"[{"id":"1","event_type":"a","user_id":"u","session_id":"s","ts":"2025-01-01T00:00:00Z","properties":{"n":1.50}},
            {"id":"2","event_type":"b","user_id":"u","ts":"2025-01-01T01:00:00Z"},
            {"id":"3","event_type":"a","user_id":"v","session_id":"s","ts":"2025-01-01T02:00:00Z"},
            {"id":"4","event_type":"a","user_id":"u","ts":"2025-01-01T03:00:00Z"}]"#,
    );
    server
}

fn ids(answer: &Value) -> String {
    let ids: Vec<String> =
        answer["data"].as_array().expect("a list").iter().map(|row| bare(&row["event_id"])).collect();
    ids.join(" ")
}

#[test]
fn an_event_is_read_back() {
    let server = filled();
    let answer = get_json(&server, "/v1/events?event_id=1");
    insta::assert_snapshot!(masked(&answer, &["received_at"]), @r#"
    {
      "stream": "events",
      "data": [
        {
          "event_id": "1",
          "event_type": "a",
          "timestamp": "2025-01-01T00:00:00Z",
          "user_id": "u",
          "session_id": "s",
          "properties": {
            "n": 1.5
          },
          "received_at": "…",
          "partition": 0,
          "offset": 0
        }
      ]
    }
    "#);
    // Numbers keep their digits.
    assert!(server.get("/v1/events?event_id=1").text().contains(r#""properties":{"n":1.50}"#));
}

#[test]
fn events_are_filtered_and_the_newest_come_first() {
    let server = filled();
    for (query, expect) in [
        ("", "4 3 2 1"),
        ("?stream=events", "4 3 2 1"),
        ("?limit=2", "4 3"),
        ("?event_id=2", "2"),
        ("?event_id=9", ""),
        ("?user_id=u", "4 2 1"),
        ("?session_id=s", "3 1"),
        ("?event_type=a", "4 3 1"),
        ("?event_type=a&user_id=u", "4 1"),
        ("?event_type=a&user_id=u&limit=1", "4"),
        ("?from=2025-01-01T01:00:00Z", "4 3 2"),
        ("?to=2025-01-01T01:00:00Z", "1"),
        ("?from=2025-01-01T01:00:00Z&to=2025-01-01T02:00:00.001Z", "3 2"),
        ("?from=-1h", ""),
    ] {
        assert_eq!(ids(&get_json(&server, &format!("/v1/events{query}"))), expect, "{query}");
    }
    let lines = server.get("/v1/events?format=ndjson&limit=3");
    assert_eq!(lines.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(lines.text().lines().count(), 3);
}
