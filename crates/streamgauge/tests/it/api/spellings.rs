//! Every spelling of every field, once over HTTP, and what the raw table then holds.

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use super::super::harness::Server;
use super::{get_json, post_seen};

const IDS: [&str; 7] = ["event_id", "eventId", "messageId", "message_id", "uuid", "$insert_id", "id"];
const TYPES: [&str; 7] = ["event_type", "eventType", "event_name", "eventName", "event", "type", "name"];
const TIMES: [&str; 7] =
    ["timestamp", "ts", "time", "event_time", "event_ts", "originalTimestamp", "created_at"];
const USERS: [&str; 5] = ["user_id", "userId", "distinct_id", "anonymousId", "anonymous_id"];
const SESSIONS: [&str; 3] = ["session_id", "sessionId", "$session_id"];
const PROPERTIES: [&str; 5] = ["properties", "metadata", "payload", "props", "data"];

/// What the raw table holds of an event: type, user, session, properties, time.
type Stored = (String, Option<String>, Option<String>, String, String);

fn stored(database: &Connection, id: &str) -> Stored {
    let select = "SELECT event_name, user_id, session_id, metadata, timestamp FROM events WHERE event_id = ?";
    let read =
        |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?));
    database.query_row(select, [id], read).unwrap_or_else(|error| panic!("{id}: {error}"))
}

/// Opens the server's database as any other program would.
pub(super) fn database(server: &Server) -> Connection {
    let path = server.data_dir().join("streamgauge.db");
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("the database can be opened")
}

/// An event with every field in its first spelling, but for one.
fn event(id: &str, field: &str, spelling: &str) -> Value {
    let mut event = json!({
        "event_id": id, "event_type": "t", "timestamp": "2025-03-01T12:00:00Z", "user_id": "u", "session_id": "s",
        "properties": {"k": 1}
    });
    let members = event.as_object_mut().expect("it was made as an object");
    let value = members.remove(field).expect("it was made with this field");
    members.insert(spelling.to_owned(), value);
    event
}

#[test]
fn every_spelling_means_the_same() {
    let server = Server::start(&[]);
    let fields: [(&str, &[&str]); 6] = [
        ("event_id", &IDS),
        ("event_type", &TYPES),
        ("timestamp", &TIMES),
        ("user_id", &USERS),
        ("session_id", &SESSIONS),
        ("properties", &PROPERTIES),
    ];
    let mut events = Vec::new();
    let mut ids = Vec::new();
    for (field, spellings) in fields {
        for spelling in spellings {
            let id = format!("{field} as {spelling}");
            events.push(event(&id, field, spelling));
            ids.push(id);
        }
    }
    assert_eq!(post_seen(&server, &Value::from(events).to_string()).json()["accepted"], 34);
    let database = database(&server);
    let expect: Stored = (
        "t".to_owned(),
        Some("u".to_owned()),
        Some("s".to_owned()),
        r#"{"k":1}"#.to_owned(),
        "2025-03-01T12:00:00Z".to_owned(),
    );
    for id in ids {
        assert_eq!(stored(&database, &id), expect, "{id}");
    }
}

#[test]
fn the_first_spelling_wins_and_the_others_stay_as_properties() {
    let server = Server::start(&[]);
    for (id, body, expect) in [
        ("1", r#"{"id":"x","event_id":"1","event_type":"t"}"#, r#"{"id":"x"}"#),
        (
            "2",
            r#"{"id":"2","name":"n","event_type":"t","extra":[1,{"a":null}]}"#,
            r#"{"name":"n","extra":[1,{"a":null}]}"#,
        ),
        (
            "3",
            r#"{"id":"3","event_type":"t","properties":{"a":1},"data":{"b":2}}"#,
            r#"{"data":{"b":2},"a":1}"#,
        ),
        ("4", r#"{"id":"4","event_type":"t","payload":"{\"path\":\"/home\"}"}"#, r#"{"path":"/home"}"#),
        ("5", r#"{"id":"5","event_type":"t","payload":"not json"}"#, r#"{"payload":"not json"}"#),
        ("6", r#"{"id":"6","event_type":"t","received_at":"1999-01-01"}"#, r#"{"received_at":"1999-01-01"}"#),
        (
            "7",
            r#"{"id":"7","event_type":"t","event_name":null,"x":"\u00e9 \ud83d\ude00"}"#,
            r#"{"x":"é 😀"}"#,
        ),
    ] {
        post_seen(&server, body);
        let found = get_json(&server, &format!("/v1/events?event_id={id}"));
        let properties = &found["data"][0]["properties"];
        let expect: Value = serde_json::from_str(expect).expect("the expectation is JSON");
        assert_eq!(*properties, expect, "{body}");
        assert_eq!(found["data"][0]["event_type"], "t", "{body}");
        let text = stored(&database(&server), id).3;
        assert_eq!(serde_json::from_str::<Value>(&text).ok(), Some(expect), "{body}");
    }
}

#[test]
fn numbers_and_switches_become_text_where_a_name_is_wanted() {
    let server = Server::start(&[]);
    post_seen(&server, r#"{"event_id":7,"event_type":12.50,"user_id":1234,"session_id":true}"#);
    let (kind, user, session, ..) = stored(&database(&server), "7");
    assert_eq!((kind.as_str(), user.as_deref(), session.as_deref()), ("12.50", Some("1234"), Some("true")));
}
