//! The forms of a timestamp, from the body to the raw table, and those that are refused.

use super::super::harness::Server;
use super::{get_json, post_seen};

const PAGE: &str = include_str!("../../../../../docs/sending.md");

#[test]
fn every_form_of_a_timestamp_is_read() {
    let server = Server::start(&[]);
    let cases = [
        (r#""2025-01-01T00:00:00Z""#, "2025-01-01T00:00:00Z"),
        (r#""2025-01-01T00:00:00""#, "2025-01-01T00:00:00Z"),
        (r#""2025-01-01 00:00:00""#, "2025-01-01T00:00:00Z"),
        (r#""2025-01-01t00:00:00z""#, "2025-01-01T00:00:00Z"),
        (r#""2025-01-01T00:00""#, "2025-01-01T00:00:00Z"),
        (r#""2025-01-01""#, "2025-01-01T00:00:00Z"),
        (r#"" 2025-01-01T00:00:00Z ""#, "2025-01-01T00:00:00Z"),
        (r#""2025-01-01T05:45:00+05:45""#, "2025-01-01T00:00:00Z"),
        (r#""2024-12-31T16:00:00-0800""#, "2025-01-01T00:00:00Z"),
        (r#""2025-01-01T01:00:00+01""#, "2025-01-01T00:00:00Z"),
        (r#""2025-01-01T00:00:00.5Z""#, "2025-01-01T00:00:00.500Z"),
        (r#""2025-01-01T00:00:00,123456789Z""#, "2025-01-01T00:00:00.123Z"),
        (r#""2016-12-31T23:59:60Z""#, "2016-12-31T23:59:59Z"),
        (r#""2024-02-29T23:59:59.999Z""#, "2024-02-29T23:59:59.999Z"),
        ("1735689600", "2025-01-01T00:00:00Z"),
        ("1735689600.25", "2025-01-01T00:00:00.250Z"),
        ("1735689600123", "2025-01-01T00:00:00.123Z"),
        ("1735689600123456", "2025-01-01T00:00:00.123Z"),
        ("1735689600123456789", "2025-01-01T00:00:00.123Z"),
        ("1.7356896e9", "2025-01-01T00:00:00Z"),
        (r#""1735689600""#, "2025-01-01T00:00:00Z"),
        ("0", "1970-01-01T00:00:00Z"),
        ("-1", "1969-12-31T23:59:59Z"),
        ("-0.001", "1969-12-31T23:59:59.999Z"),
        ("99999999999", "5138-11-16T09:46:39Z"),
        (r#""0001-01-01T00:00:00Z""#, "0001-01-01T00:00:00Z"),
    ];
    for (at, (sent, expect)) in cases.into_iter().enumerate() {
        let is_future = expect.starts_with("5138");
        let answer = server.post(
            "/v1/events?wait=true",
            &[],
            format!(r#"{{"id":{at},"event_type":"t","ts":{sent}}}"#),
        );
        if is_future {
            // The largest number that still means seconds.
            let problem = answer.json();
            assert_eq!(
                (answer.status, &problem["code"]),
                (422, &"future_timestamp".into()),
                "{sent}: {problem}"
            );
            assert!(problem["detail"].as_str().is_some_and(|detail| detail.starts_with(expect)), "{problem}");
            continue;
        }
        assert_eq!(answer.status, 202, "{sent}: {}", answer.text());
        let found = get_json(&server, &format!("/v1/events?event_id={at}"));
        assert_eq!(found["data"][0]["timestamp"], expect, "{sent}");
    }
}

/// Returns the cells of each row of a table of a page, behind a sentence.
fn table<'p>(page: &'p str, behind: &str) -> Vec<Vec<&'p str>> {
    let (_, rest) = page.split_once(behind).unwrap_or_else(|| panic!("the page says {behind}"));
    let rows = rest.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let cells = |row: &'p str| row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`'));
    rows.take_while(|line| line.starts_with('|')).map(|row| cells(row).collect()).collect()
}

#[test]
fn times_are_read_as_the_page_says() {
    let server = Server::start(&[]);
    let read = table(PAGE, "All of these are read:");
    let refused = table(PAGE, "and not guessed at:");
    assert!(read.len() > 10 && refused.len() > 5, "{read:?} {refused:?}");
    for (at, row) in read.iter().enumerate() {
        let (sent, expect) = (row[0], row[1]);
        post_seen(&server, &format!(r#"{{"id":"page-{at}","event_type":"t","ts":{sent}}}"#));
        let found = get_json(&server, &format!("/v1/events?event_id=page-{at}"));
        assert_eq!(found["data"][0]["timestamp"], expect, "{sent}");
        let asked = sent.trim_matches('"').replace('+', "%2B").replace(' ', "%20");
        let found = get_json(&server, &format!("/v1/events?event_id=page-{at}&from={asked}"));
        assert_eq!(found["data"][0]["timestamp"], expect, "from={asked}");
    }
    for row in &refused {
        let sent = row[0];
        let problem = server.post("/v1/events", &[], format!(r#"{{"event_type":"t","ts":{sent}}}"#));
        assert_eq!(problem.status, 422, "{sent}: {}", problem.text());
        assert_eq!(problem.json()["code"], "bad_timestamp", "{sent}");
    }
}

#[test]
fn what_is_no_time_is_refused() {
    let server = Server::start(&[]);
    for (sent, code) in [
        (r#""""#, "bad_timestamp"),
        (r#""yesterday""#, "bad_timestamp"),
        (r#""2025-02-29""#, "bad_timestamp"),
        (r#""2025-01-01T24:00:00Z""#, "bad_timestamp"),
        (r#""2025-01-01T00:00:61Z""#, "bad_timestamp"),
        (r#""2025-13-01""#, "bad_timestamp"),
        (r#""2025-01-01T00:00:00Zulu""#, "bad_timestamp"),
        ("true", "bad_timestamp"),
        ("{}", "bad_timestamp"),
        ("[1735689600]", "bad_timestamp"),
        (r#""0000-12-31T23:59:59Z""#, "timestamp_out_of_range"),
        (r#""0001-01-01T00:00:00+00:01""#, "timestamp_out_of_range"),
        ("1e30", "timestamp_out_of_range"),
        ("-62135596801", "timestamp_out_of_range"),
        (r#""9999-12-31T23:59:59Z""#, "future_timestamp"),
    ] {
        let answer = server.post("/v1/events", &[], format!(r#"{{"event_type":"t","ts":{sent}}}"#));
        let problem = answer.json();
        assert_eq!((answer.status, &problem["code"]), (422, &code.into()), "{sent}: {problem}");
        assert_eq!(problem["field"], "ts", "{sent}");
    }
}

#[test]
fn an_event_without_a_time_happened_when_it_arrived() {
    let server = Server::start(&[]);
    post_seen(&server, r#"[{"id":"absent","event_type":"t"},{"id":"null","event_type":"t","ts":null}]"#);
    for id in ["absent", "null"] {
        let event = &get_json(&server, &format!("/v1/events?event_id={id}"))["data"][0];
        assert_eq!(event["timestamp"], event["received_at"], "{id}");
    }
}

#[test]
fn the_future_begins_five_minutes_from_now() {
    let server = Server::start(&[]);
    // Both sides of the limit, each as far away as no machine is slow.
    for (minutes, status) in [(4, 202), (6, 422)] {
        let time = jiff::Timestamp::now() + std::time::Duration::from_secs(minutes * 60);
        let body = format!(r#"{{"event_type":"t","ts":"{time}"}}"#);
        assert_eq!(server.post("/v1/events", &[], body).status, status, "in {minutes} minutes");
    }
}
