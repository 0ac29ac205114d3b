//! Refused events: each by its index, code and field, while the others of its request count.

use super::super::harness::Server;
use super::{assert_page, get_json, masked, rows, shown};

/// One event of every kind of fault that a body can carry in one array.
const MIXED: &str = r#"[
    {"event_type":"good","ts":"2025-01-01T00:00:00Z"},
    {"ts":"2025-01-01T00:00:00Z"},
    {"event_type":"a","ts":"soon"},
    42,
    {"event_type":" "},
    {"event_type":"a","sessionId":""},
    {"event_type":"a","userId":{"name":"u"}},
    {"event_type":"a","a":1,"a":2},
    {"event_type":"good","ts":"2025-01-01T00:00:00Z"}
]"#;

#[test]
fn the_good_count_and_the_bad_are_named() {
    let server = Server::start(&[]);
    let answer = server.post("/v1/events?wait=true", &[], MIXED);
    insta::assert_snapshot!(shown(&answer), @r#"
    202
    content-type: application/json
    {
      "accepted": 2,
      "rejected": 7,
      "errors": [
        {
          "index": 1,
          "code": "missing_event_type",
          "field": "event_type",
          "detail": "the event has none of event_type, eventType, event_name, eventName, event, type, name: send one, or name another field in [stream.fields], or set the stream's default_type; see /docs/errors/missing_event_type"
        },
        {
          "index": 2,
          "code": "bad_timestamp",
          "field": "ts",
          "detail": "ts is a time in RFC 3339, such as 2025-01-31T12:00:00Z, or a number since 1970; a stream can name another field in [stream.fields]: see /docs/errors/bad_timestamp"
        },
        {
          "index": 3,
          "code": "not_an_object",
          "field": "",
          "detail": "an event is a JSON object"
        },
        {
          "index": 4,
          "code": "blank_field",
          "field": "event_type",
          "detail": "event_type is blank: leave it out or name something"
        },
        {
          "index": 5,
          "code": "blank_field",
          "field": "sessionId",
          "detail": "sessionId is blank: leave it out or name something"
        },
        {
          "index": 6,
          "code": "bad_field",
          "field": "userId",
          "detail": "userId is a string, not an object or an array"
        },
        {
          "index": 7,
          "code": "duplicate_member",
          "field": "a",
          "detail": "a stands twice in the event"
        }
      ]
    }
    "#);
    let rows = rows(&get_json(&server, "/v1/rollups/hourly_aggregations"));
    assert_eq!(rows, ["2025-01-01T00:00:00Z 2025-01-01T01:00:00Z good 2"]);
    for error in answer.json()["errors"].as_array().expect("a list") {
        assert_page(error["code"].as_str().expect("a text"));
    }
}

#[test]
fn when_none_is_good_the_request_is_refused() {
    let server = Server::start(&[]);
    let answer = server.post("/v1/events", &[], r#"[{"x":1},[]]"#);
    insta::assert_snapshot!(shown(&answer), @r#"
    422
    content-type: application/problem+json
    {
      "type": "/docs/errors/all_rejected",
      "title": "Unprocessable Entity",
      "status": 422,
      "code": "all_rejected",
      "detail": "none of the 2 events was accepted",
      "request_id": "…",
      "accepted": 0,
      "rejected": 2,
      "errors": [
        {
          "index": 0,
          "code": "missing_event_type",
          "field": "event_type",
          "detail": "the event has none of event_type, eventType, event_name, eventName, event, type, name: send one, or name another field in [stream.fields], or set the stream's default_type; see /docs/errors/missing_event_type"
        },
        {
          "index": 1,
          "code": "not_an_object",
          "field": "",
          "detail": "an event is a JSON object"
        }
      ]
    }
    "#);
}

#[test]
fn a_single_event_is_refused_with_its_own_code() {
    let server = Server::start(&[]);
    let answer = server.post("/v1/events", &[], r#"{"eventType":"","sessionId":"s"}"#);
    insta::assert_snapshot!(shown(&answer), @r#"
    422
    content-type: application/problem+json
    {
      "type": "/docs/errors/blank_field",
      "title": "Unprocessable Entity",
      "status": 422,
      "code": "blank_field",
      "detail": "eventType is blank: leave it out or name something",
      "request_id": "…",
      "field": "eventType"
    }
    "#);
    let dimension = "x".repeat(257);
    let id = "i".repeat(257);
    for (stream, body, code, field) in [
        ("events", "{}".to_owned(), "missing_event_type", "event_type"),
        ("events", r#"{"name":null}"#.to_owned(), "missing_event_type", "event_type"),
        ("events", r#"{"name":["a"]}"#.to_owned(), "bad_field", "name"),
        ("events", r#"{"name":"a","session_id":" "}"#.to_owned(), "blank_field", "session_id"),
        ("events", format!(r#"{{"name":"{dimension}"}}"#), "dimension_too_long", "name"),
        (
            "events",
            format!(r#"{{"name":"a","distinct_id":"{dimension}"}}"#),
            "dimension_too_long",
            "distinct_id",
        ),
        ("events", format!(r#"{{"name":"a","uuid":"{id}"}}"#), "id_too_long", "uuid"),
        ("events", r#"{"name":"a","b":1,"b":1}"#.to_owned(), "duplicate_member", "b"),
        ("events", r#"{"name":"a","b":"\u0000"}"#.to_owned(), "invalid_text", ""),
        ("events", r#"{"name":"a","b":1e999}"#.to_owned(), "number_out_of_range", ""),
        ("pageviews", r#"{"user_id":1}"#.to_owned(), "missing_field", "postcode"),
        ("pageviews", r#"{"postcode":""}"#.to_owned(), "blank_field", "postcode"),
        ("stream.events", r#"{"stream_id":"s"}"#.to_owned(), "missing_event_type", "event_type"),
        (
            "stream.events",
            r#"{"stream_id":"s","type":"donation","amount_usd":"much"}"#.to_owned(),
            "bad_number",
            "amount_usd",
        ),
        (
            "stream.events",
            r#"{"stream_id":"s","type":"donation","amount_usd":true}"#.to_owned(),
            "bad_number",
            "amount_usd",
        ),
        (
            "stream.events",
            r#"{"stream_id":"s","type":"donation","amount_usd":1e26}"#.to_owned(),
            "number_out_of_range",
            "amount_usd",
        ),
    ] {
        let answer = server.post(&format!("/v1/events?stream={stream}"), &[], &body);
        let problem = answer.json();
        assert_eq!((answer.status, &problem["code"]), (422, &code.into()), "{body:.80}: {problem}");
        assert_eq!(problem["field"], field, "{body:.80}");
        assert_page(code);
    }
    let status = get_json(&server, "/v1/status");
    for stream in status["streams"].as_array().expect("a list") {
        assert_eq!(stream["partitions"][0]["log_end"], 0, "{stream}");
    }
}

#[test]
fn a_broken_line_is_an_error_of_that_line() {
    let server = Server::start(&[]);
    let body = "{\"event_type\":\"a\"}\n{\"event_type\":\n\nnull\n{\"event_type\":\"a\"} trailing\n{\"event_type\":\"a\"}";
    for headers in [[("content-type", "application/x-ndjson")], [("content-type", "application/json")]] {
        let answer = server.post("/v1/events", &headers, body);
        assert_eq!(answer.status, 202, "{headers:?}: {}", answer.text());
        let named: Vec<String> = answer.json()["errors"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|error| format!("{} {}", error["index"], super::bare(&error["code"])))
            .collect();
        assert_eq!(named, ["1 invalid_json", "2 not_an_object", "3 invalid_json"], "{headers:?}");
    }
}

#[test]
fn no_more_than_a_hundred_errors_are_listed() {
    let server = Server::start(&[]);
    let body = format!("[{}{{\"event_type\":\"a\"}}]", "{},".repeat(250));
    let answer = server.post("/v1/events", &[], body).json();
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&1.into(), &250.into()));
    assert_eq!(answer["errors"].as_array().map(Vec::len), Some(100), "{}", masked(&answer, &["errors"]));
}
