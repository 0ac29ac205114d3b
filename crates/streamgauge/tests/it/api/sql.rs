//! The database as other programs see it: a stock SQLite connection reads what the views promise.

use super::super::harness::Server;
use super::spellings::database;
use super::{post_seen, post_seen_at};

/// Runs a query and returns its rows as lines, values joined by bars.
fn lines(server: &Server, sql: &str) -> Vec<String> {
    let database = database(server);
    let mut statement = database.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let columns = statement.column_count();
    let line = |row: &rusqlite::Row<'_>| {
        let value = |at: usize| {
            Ok(match row.get_ref(at)? {
                rusqlite::types::ValueRef::Null => "NULL".to_owned(),
                rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                rusqlite::types::ValueRef::Real(number) => format!("{number:?}"),
                rusqlite::types::ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                rusqlite::types::ValueRef::Blob(_) => "BLOB".to_owned(),
            })
        };
        (0..columns).map(value).collect::<rusqlite::Result<Vec<_>>>().map(|values| values.join(" | "))
    };
    statement.query_map([], line).and_then(Iterator::collect).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

fn columns(server: &Server, view: &str) -> String {
    let database = database(server);
    let statement = database.prepare(&format!("SELECT * FROM {view}")).expect("the view is there");
    statement.column_names().collect::<Vec<_>>().join(", ")
}

#[test]
fn the_queries_that_users_have_work_unchanged() {
    let server = Server::start(&[]);
    post_seen(
        &server,
        r#"[{"id":"1","event_name":"signup","user_id":"u","metadata":{"plan":"pro"},"timestamp":"2025-01-01T00:10:00Z"},
            {"id":"2","event_name":"login","sessionId":"s","timestamp":"2025-01-01T00:20:00.250Z"},
            {"id":"3","event_name":"login","timestamp":"2025-01-01T01:20:00Z"}]"#,
    );
    let total = "SELECT event_type, SUM(event_count) AS total FROM hourly_aggregations GROUP BY event_type";
    assert_eq!(lines(&server, total), ["login | 2", "signup | 1"]);
    let names = "event_id, user_id, session_id, event_name, metadata, timestamp, processed_at";
    assert_eq!(columns(&server, "events"), names);
    let events =
        "SELECT event_id, user_id, session_id, event_name, metadata, timestamp FROM events ORDER BY event_id";
    insta::assert_snapshot!(lines(&server, events).join("\n"), @r#"
    1 | u | NULL | signup | {"plan":"pro"} | 2025-01-01T00:10:00Z
    2 | NULL | s | login | {} | 2025-01-01T00:20:00.250Z
    3 | NULL | NULL | login | {} | 2025-01-01T01:20:00Z
    "#);
    assert_eq!(
        lines(&server, "SELECT json_extract(metadata, '$.plan') FROM events WHERE event_id = '1'"),
        ["pro"]
    );
    assert_eq!(columns(&server, "web_events"), "id, event_id, session_id, event_type, ts, payload");
    insta::assert_snapshot!(lines(&server, "SELECT * FROM web_events ORDER BY id").join("\n"), @r#"
    0 | 1 | NULL | signup | 2025-01-01T00:10:00Z | {"plan":"pro"}
    1 | 2 | s | login | 2025-01-01T00:20:00.250Z | {}
    2 | 3 | NULL | login | 2025-01-01T01:20:00Z | {}
    "#);
    let hourly = "SELECT event_type, window_start, window_end, event_count, late_count, revision, is_final \
        FROM hourly_aggregations ORDER BY window_start, event_type";
    insta::assert_snapshot!(lines(&server, hourly).join("\n"), @r#"
    login | 2025-01-01T00:00:00Z | 2025-01-01T01:00:00Z | 1 | 0 | 0 | 1
    signup | 2025-01-01T00:00:00Z | 2025-01-01T01:00:00Z | 1 | 0 | 0 | 1
    login | 2025-01-01T01:00:00Z | 2025-01-01T02:00:00Z | 1 | 0 | 0 | 0
    "#);
    let processed = "SELECT count(*) FROM events WHERE processed_at GLOB '20[0-9][0-9]-*T*Z' AND processed_at > timestamp";
    assert_eq!(lines(&server, processed), ["3"]);
}

#[test]
fn stream_metrics_are_read_as_exact_decimals() {
    let server = Server::start(&[]);
    let donation = |amount: &str, second: u32| {
        format!(
            r#"{{"event_type":"donation","stream_id":"s1","amount_usd":{amount},"ts":"2025-01-01T00:00:{second:02}Z"}}"#
        )
    };
    let chat =
        r#"{"event_type":"chat_message","stream_id":"s1","message_len":5,"ts":"2025-01-01T00:00:59.999Z"}"#;
    let events = [donation("0.10", 1), donation("0.20", 2), donation("\"12.345\"", 3), chat.to_owned()];
    post_seen_at(&server, "/v1/events?stream=stream.events&wait=true", &format!("[{}]", events.join(",")));
    let select =
        "SELECT window_start, window_end, stream_id, chat_messages, donations_usd FROM stream_metrics_minute";
    assert_eq!(lines(&server, select), ["2025-01-01T00:00:00Z | 2025-01-01T00:01:00Z | s1 | 1 | 12.64"]);
}

#[test]
fn the_views_may_be_read_while_events_come_in() {
    let server = Server::start(&[]);
    let database = database(&server);
    let mut total = 0;
    for round in 1..=20 {
        post_seen(&server, &format!("[{}]", vec![r#"{"event_type":"a","ts":0}"#; 50].join(",")));
        let read: i64 = database
            .query_row("SELECT sum(event_count) FROM hourly_aggregations", [], |row| row.get(0))
            .expect("readers are not locked out");
        assert!(read >= total && read <= round * 50, "{read} after {total}");
        total = read;
    }
    assert_eq!(total, 1_000);
}
