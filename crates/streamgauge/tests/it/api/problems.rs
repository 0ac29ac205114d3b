//! Requests that are refused as a whole: the status, the headers that a client acts on, and the problem's body.

use super::super::harness::Server;
use super::super::harness::http::Answer;
use super::{assert_page, shown};

/// Sends one request and returns it for a snapshot; its code must have a page.
fn problem(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
    let answer: Answer = server.client().request(method, path, headers, body).expect("there is an answer");
    let problem = answer.json();
    assert_page(problem["code"].as_str().expect("a problem has a code"));
    assert_eq!(problem["status"], answer.status, "{problem}");
    let request_id = problem["request_id"].as_str().unwrap_or_default();
    assert!(request_id.len() == 32 && request_id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{problem}");
    shown(&answer)
}

fn post(server: &Server, headers: &[(&str, &str)], body: &[u8]) -> String {
    problem(server, "POST", "/v1/events", headers, body)
}

fn get(server: &Server, path: &str) -> String {
    problem(server, "GET", path, &[], b"")
}

#[test]
fn a_body_that_cannot_be_read_is_400() {
    let server = Server::start(&[]);
    insta::assert_snapshot!(post(&server, &[], b"user=u1&event=sign_up"), @r#"
    400
    content-type: application/problem+json
    {
      "type": "/docs/errors/invalid_body",
      "title": "Bad Request",
      "status": 400,
      "code": "invalid_body",
      "detail": "the body is neither a JSON object nor an array nor lines of objects",
      "request_id": "…"
    }
    "#);
    insta::assert_snapshot!(post(&server, &[], br#"{"event_type":"a""#), @r#"
    400
    content-type: application/problem+json
    {
      "type": "/docs/errors/invalid_body",
      "title": "Bad Request",
      "status": 400,
      "code": "invalid_body",
      "detail": "the event is not JSON: EOF while parsing an object at line 1 column 17",
      "request_id": "…"
    }
    "#);
    insta::assert_snapshot!(post(&server, &[], br#"[{"event_type":"a"},]"#), @r#"
    400
    content-type: application/problem+json
    {
      "type": "/docs/errors/invalid_body",
      "title": "Bad Request",
      "status": 400,
      "code": "invalid_body",
      "detail": "the body is not a JSON array: trailing comma at line 1 column 21",
      "request_id": "…"
    }
    "#);
    insta::assert_snapshot!(post(&server, &[], br#"[{"event_type":"a"}] {}"#), @r#"
    400
    content-type: application/problem+json
    {
      "type": "/docs/errors/invalid_body",
      "title": "Bad Request",
      "status": 400,
      "code": "invalid_body",
      "detail": "something follows the array: trailing characters at line 1 column 22",
      "request_id": "…"
    }
    "#);
}

#[test]
fn a_body_without_text_or_events_is_400() {
    let server = Server::start(&[]);
    insta::assert_snapshot!(post(&server, &[], b"{\"event_type\":\"\xff\"}"), @r#"
    400
    content-type: application/problem+json
    {
      "type": "/docs/errors/invalid_body",
      "title": "Bad Request",
      "status": 400,
      "code": "invalid_body",
      "detail": "the body is not UTF-8: invalid utf-8 sequence of 1 bytes from index 15",
      "request_id": "…"
    }
    "#);
    insta::assert_snapshot!(post(&server, &[], b" \r\n "), @r#"
    400
    content-type: application/problem+json
    {
      "type": "/docs/errors/empty_body",
      "title": "Bad Request",
      "status": 400,
      "code": "empty_body",
      "detail": "the body is empty: send one event, an array or lines of events",
      "request_id": "…"
    }
    "#);
    insta::assert_snapshot!(post(&server, &[], b"[]"), @r#"
    400
    content-type: application/problem+json
    {
      "type": "/docs/errors/empty_body",
      "title": "Bad Request",
      "status": 400,
      "code": "empty_body",
      "detail": "the body is empty: send one event, an array or lines of events",
      "request_id": "…"
    }
    "#);
    insta::assert_snapshot!(post(&server, &[("content-encoding", "gzip")], b"{}"), @r#"
    400
    content-type: application/problem+json
    {
      "type": "/docs/errors/bad_encoding",
      "title": "Bad Request",
      "status": 400,
      "code": "bad_encoding",
      "detail": "the body cannot be unpacked: unexpected end of file",
      "request_id": "…"
    }
    "#);
}

#[test]
fn objects_without_a_line_break_between_them_are_400() {
    let server = Server::start(&[]);
    for body in [r#"{"event_type":"a"}{"event_type":"a"}"#, r#"{"event_type":"a"} {"event_type":"a"}"#] {
        let answer = server.post("/v1/events", &[], body);
        assert_eq!((answer.status, &answer.json()["code"]), (400, &"invalid_body".into()), "{body}");
    }
}

#[test]
fn what_is_too_large_is_413() {
    let server = Server::start(&[]);
    insta::assert_snapshot!(post(&server, &[], &vec![b' '; (4 << 20) + 1]), @r#"
    413
    content-type: application/problem+json
    connection: close
    {
      "type": "/docs/errors/body_too_large",
      "title": "Payload Too Large",
      "status": 413,
      "code": "body_too_large",
      "detail": "a body has at most 4194304 bytes: send it in smaller pieces",
      "request_id": "…"
    }
    "#);
    insta::assert_snapshot!(post(&server, &[], format!("[{}{{}}]", "{},".repeat(20_000)).as_bytes()), @r#"
    413
    content-type: application/problem+json
    {
      "type": "/docs/errors/too_many_events",
      "title": "Payload Too Large",
      "status": 413,
      "code": "too_many_events",
      "detail": "a request has at most 20000 events: send them in smaller batches",
      "request_id": "…"
    }
    "#);
    let lines = ("content-type", "application/x-ndjson");
    let many = "{\"event_type\":\"a\"}\n".repeat(20_001);
    let answer = server.post("/v1/events", &[lines], many);
    assert_eq!((answer.status, &answer.json()["code"]), (413, &"too_many_events".into()));
}

#[test]
fn what_cannot_be_understood_is_415() {
    let server = Server::start(&[]);
    let event = br#"{"event_type":"a"}"#;
    insta::assert_snapshot!(post(&server, &[("content-type", "text/xml")], event), @r#"
    415
    content-type: application/problem+json
    {
      "type": "/docs/errors/unsupported_media_type",
      "title": "Unsupported Media Type",
      "status": 415,
      "code": "unsupported_media_type",
      "detail": "events are sent as application/json or application/x-ndjson, not text/xml",
      "request_id": "…"
    }
    "#);
    insta::assert_snapshot!(post(&server, &[("content-type", "application/json; charset=utf-16")], event), @r#"
    415
    content-type: application/problem+json
    {
      "type": "/docs/errors/unsupported_media_type",
      "title": "Unsupported Media Type",
      "status": 415,
      "code": "unsupported_media_type",
      "detail": "events are sent in UTF-8, not utf-16",
      "request_id": "…"
    }
    "#);
    insta::assert_snapshot!(post(&server, &[("content-encoding", "br")], event), @r#"
    415
    content-type: application/problem+json
    accept-encoding: gzip, zstd
    {
      "type": "/docs/errors/unsupported_encoding",
      "title": "Unsupported Media Type",
      "status": 415,
      "code": "unsupported_encoding",
      "detail": "content-encoding is gzip, zstd or nothing",
      "request_id": "…"
    }
    "#);
}

#[test]
fn what_is_not_there_is_404() {
    let server = Server::start(&[]);
    insta::assert_snapshot!(get(&server, "/v2/events"), @r#"
    404
    content-type: application/problem+json
    {
      "type": "/docs/errors/not_found",
      "title": "Not Found",
      "status": 404,
      "code": "not_found",
      "detail": "there is nothing at /v2/events; /docs lists every path",
      "request_id": "…"
    }
    "#);
    insta::assert_snapshot!(get(&server, "/v1/rollups/nothing"), @r#"
    404
    content-type: application/problem+json
    {
      "type": "/docs/errors/unknown_rollup",
      "title": "Not Found",
      "status": 404,
      "code": "unknown_rollup",
      "detail": "there is no rollup nothing; there are hourly_aggregations, pageview_aggregates, stream_metrics_minute",
      "request_id": "…"
    }
    "#);
    insta::assert_snapshot!(problem(&server, "POST", "/v1/events?stream=nothing", &[], b"{}"), @r#"
    404
    content-type: application/problem+json
    {
      "type": "/docs/errors/unknown_stream",
      "title": "Not Found",
      "status": 404,
      "code": "unknown_stream",
      "detail": "there is no stream nothing; there are events, pageviews, stream.events",
      "request_id": "…"
    }
    "#);
    insta::assert_snapshot!(get(&server, "/v1/events?stream=pageviews"), @r#"
    404
    content-type: application/problem+json
    {
      "type": "/docs/errors/no_raw_table",
      "title": "Not Found",
      "status": 404,
      "code": "no_raw_table",
      "detail": "stream pageviews keeps no raw events: give it a raw_table in the configuration",
      "request_id": "…"
    }
    "#);
}

/// What one mistypes is told what was meant, and is never an empty answer that says all is well.
#[test]
fn a_name_that_nothing_has_is_told_with_the_nearest() {
    let server = Server::start(&[]);
    for (method, path, status, code, detail) in [
        ("GET", "/v1/events/", 404, "not_found", "nothing at /v1/events/; did you mean /v1/events?"),
        ("GET", "/V1/Rollups", 404, "not_found", "did you mean /v1/rollups?"),
        ("GET", "/v1/rollup", 404, "not_found", "did you mean /v1/rollups?"),
        ("GET", "/events", 405, "method_not_allowed", "/events takes POST, not GET"),
        ("DELETE", "/v1/rollups/x", 405, "method_not_allowed", "/v1/rollups/x takes GET, not DELETE"),
        ("POST", "/API/pageviews/", 404, "not_found", "did you mean /api/pageviews?"),
        ("GET", "/v1/rollups/hourly_agregations", 404, "unknown_rollup", "did you mean hourly_aggregations?"),
        ("GET", "/v1/late?rollup=pageview", 404, "unknown_rollup", "did you mean pageview_aggregates?"),
        ("GET", "/v1/events?stream=event", 404, "unknown_stream", "did you mean events?"),
        ("GET", "/v1/events/export?stream=event", 404, "unknown_stream", "did you mean events?"),
        ("POST", "/v1/events?stream=pageview", 404, "unknown_stream", "did you mean pageviews?"),
        ("GET", "/v1/dead-letters?stream=event", 404, "unknown_stream", "did you mean events?"),
        ("GET", "/v1/dead-letters/event/0/7", 404, "unknown_stream", "did you mean events?"),
        ("GET", "/v1/dead-letters/events/0/7", 404, "not_found", "is no dead letter"),
        ("GET", "/v1/dead-letters?reason=bad_timestmp", 400, "bad_query", "did you mean bad_timestamp?"),
        ("GET", "/v1/archive?stream=event", 404, "unknown_stream", "did you mean events?"),
        ("GET", "/docs/errors/bad_timestmp", 404, "not_found", "did you mean bad_timestamp?"),
    ] {
        let answer = server.client().request(method, path, &[], b"{}").expect("there is an answer");
        let problem = answer.json();
        assert_eq!((answer.status, &problem["code"]), (status, &code.into()), "{method} {path}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|told| told.contains(detail)), "{path}: {problem}");
    }
    for path in ["/v1/dead-letters?stream=events&reason=bad_timestamp", "/v1/archive?stream=pageviews"] {
        assert_eq!(server.get(path).status, 200, "{path}: nothing of it is no fault");
    }
}

#[test]
fn all_codes_have_a_page_and_stand_on_one() {
    let server = Server::start(&[]);
    let index = server.get("/docs/errors");
    assert_eq!((index.status, index.header("content-type")), (200, Some("text/markdown; charset=utf-8")));
    let text = index.text();
    let links: Vec<&str> = text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    let codes = server.get("/openapi.json").json();
    let codes = codes["components"]["schemas"]["Problem"]["properties"]["code"]["enum"].clone();
    for code in codes.as_array().expect("a list").iter().filter_map(|code| code.as_str()) {
        assert!(links.contains(&format!("{code}.md").as_str()), "{code} does not stand in the index");
        for page in [format!("/docs/errors/{code}"), format!("/docs/errors/{code}.md")] {
            let answer = server.get(&page);
            assert!(answer.text().starts_with(&format!("# {code}\n")), "{page}: {}", answer.text());
        }
    }
}

#[test]
fn a_wrong_method_is_405() {
    let server = Server::start(&[]);
    insta::assert_snapshot!(problem(&server, "DELETE", "/v1/events", &[], b""), @r#"
    405
    content-type: application/problem+json
    allow: POST,OPTIONS,GET,HEAD
    {
      "type": "/docs/errors/method_not_allowed",
      "title": "Method Not Allowed",
      "status": 405,
      "code": "method_not_allowed",
      "detail": "/v1/events takes POST and GET, not DELETE",
      "request_id": "…"
    }
    "#);
    insta::assert_snapshot!(problem(&server, "POST", "/v1/status", &[], b""), @r#"
    405
    content-type: application/problem+json
    allow: GET,HEAD
    {
      "type": "/docs/errors/method_not_allowed",
      "title": "Method Not Allowed",
      "status": 405,
      "code": "method_not_allowed",
      "detail": "/v1/status takes GET, not POST",
      "request_id": "…"
    }
    "#);
}

#[test]
fn a_query_that_cannot_be_answered_is_400() {
    let server = Server::start(&[]);
    let of_rollup = |query: &str| get(&server, &format!("/v1/rollups/hourly_aggregations?{query}"));
    insta::assert_snapshot!(of_rollup("form=-1d"), @r#"
    400
    content-type: application/problem+json
    {
      "type": "/docs/errors/bad_query",
      "title": "Bad Request",
      "status": 400,
      "code": "bad_query",
      "detail": "there is no parameter form; there are from, to, interval, tz, fill, limit, cursor, format, event_type",
      "request_id": "…"
    }
    "#);
    insta::assert_snapshot!(of_rollup("from=last+week"), @r#"
    400
    content-type: application/problem+json
    {
      "type": "/docs/errors/bad_query",
      "title": "Bad Request",
      "status": 400,
      "code": "bad_query",
      "detail": "from is a time such as -1h, 2025-01-01T00:00:00Z or 1735689600, not last week",
      "request_id": "…"
    }
    "#);
    insta::assert_snapshot!(of_rollup("interval=7m"), @r#"
    400
    content-type: application/problem+json
    {
      "type": "/docs/errors/bad_query",
      "title": "Bad Request",
      "status": 400,
      "code": "bad_query",
      "detail": "interval is minutes or hours that divide a day, such as 5m and 6h, or a number of days, weeks or months: 1d, 2w, 3M",
      "request_id": "…"
    }
    "#);
    insta::assert_snapshot!(of_rollup("interval=1d&tz=Mars/Olympus"), @r#"
    400
    content-type: application/problem+json
    {
      "type": "/docs/errors/bad_query",
      "title": "Bad Request",
      "status": 400,
      "code": "bad_query",
      "detail": "tz is a name of the IANA time zone database such as Europe/London",
      "request_id": "…"
    }
    "#);
}

#[test]
fn a_range_that_cannot_be_cut_is_400() {
    let server = Server::start(&[]);
    let of_rollup = |query: &str| get(&server, &format!("/v1/rollups/hourly_aggregations?{query}"));
    insta::assert_snapshot!(of_rollup("interval=1m&from=2025-01-01&to=2025-01-02"), @r#"
    400
    content-type: application/problem+json
    {
      "type": "/docs/errors/pane_too_coarse",
      "title": "Bad Request",
      "status": 400,
      "code": "pane_too_coarse",
      "detail": "the rollup is stored in panes of 900000 ms, which 2025-01-01T00:01:00Z does not begin: ask for a coarser interval, another tz, or define the rollup with a smaller pane",
      "request_id": "…"
    }
    "#);
    insta::assert_snapshot!(of_rollup("interval=15m&from=2020-01-01&to=2025-01-01&fill=zero"), @r#"
    400
    content-type: application/problem+json
    {
      "type": "/docs/errors/range_too_large",
      "title": "Bad Request",
      "status": 400,
      "code": "range_too_large",
      "detail": "the range has more than 100000 intervals: ask for a shorter range or a coarser interval",
      "request_id": "…"
    }
    "#);
    insta::assert_snapshot!(get(&server, "/v1/events/%ff"), @r#"
    400
    content-type: application/problem+json
    {
      "type": "/docs/errors/bad_query",
      "title": "Bad Request",
      "status": 400,
      "code": "bad_query",
      "detail": "the name in the path is not UTF-8",
      "request_id": "…"
    }
    "#);
}

#[test]
fn every_parameter_is_checked() {
    let server = Server::start(&[]);
    for query in [
        "from=2025-01-02&to=2025-01-01",
        "limit=0",
        "limit=10001",
        "limit=ten",
        "cursor=00",
        "cursor=é",
        "fill=ones",
        "format=xml",
        "interval=0h",
        "interval=1y",
        "interval=25h",
        "interval=1",
        "user_id=u",
    ] {
        let answer = server.get(&format!("/v1/rollups/hourly_aggregations?{query}"));
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (400, &"bad_query".into()),
            "{query}: {}",
            answer.text()
        );
    }
    for (path, named) in [
        ("/v1/rollups/hourly_aggregations/top?interval=1d", "by, n, limit, from, to, event_type"),
        ("/v1/rollups/hourly_aggregations/top?by=revenue", "event_count"),
        ("/v1/events?type=a", "stream, event_id, user_id, session_id, event_type, from, to, limit, format"),
        ("/v1/events?format=csv", "json or ndjson"),
    ] {
        let answer = server.get(path);
        assert_eq!((answer.status, &answer.json()["code"]), (400, &"bad_query".into()), "{path}");
        assert!(answer.text().contains(named), "{path}: {}", answer.text());
    }
    let answer = server.post("/v1/events?waits=true", &[], r#"{"event_type":"a"}"#);
    assert_eq!(answer.status, 400, "{}", answer.text());
    let answer = server.post("/v1/events?wait=soon", &[], r#"{"event_type":"a"}"#);
    assert_eq!(answer.status, 400, "{}", answer.text());
}
