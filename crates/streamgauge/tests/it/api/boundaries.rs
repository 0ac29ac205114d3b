//! Where a window begins and ends, and when an event is late, from the body to the row.

use super::super::harness::Server;
use super::{get_json, post_seen, post_seen_at, rows};

#[test]
fn a_window_has_its_start_and_not_its_end() {
    let server = Server::start(&[]);
    for (kind, time, start) in [
        ("at-start", "2025-01-01T01:00:00Z", "2025-01-01T01:00:00Z"),
        ("before-end", "2025-01-01T01:59:59.999Z", "2025-01-01T01:00:00Z"),
        ("at-end", "2025-01-01T02:00:00Z", "2025-01-01T02:00:00Z"),
        ("before-1970", "1969-12-31T23:59:59.999Z", "1969-12-31T23:00:00Z"),
        ("at-1970", "1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
        ("start-before-1970", "1969-12-31T23:00:00Z", "1969-12-31T23:00:00Z"),
        ("before-that", "1969-12-31T22:59:59.999Z", "1969-12-31T22:00:00Z"),
        ("year-1", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("leap-day", "2024-02-29T23:59:59.999Z", "2024-02-29T23:00:00Z"),
    ] {
        post_seen(&server, &format!(r#"{{"event_type":"{kind}","ts":"{time}"}}"#));
        let answer = get_json(&server, &format!("/v1/rollups/hourly_aggregations?event_type={kind}"));
        let data = answer["data"].as_array().expect("a list");
        assert_eq!(data.len(), 1, "{kind}: {answer}");
        assert_eq!(data[0]["window_start"], start, "{kind}: {answer}");
    }
}

/// Returns (`event_count`, `late_count`) of an hour of one type.
fn hour(server: &Server, kind: &str, from: &str) -> (u64, u64) {
    let answer =
        get_json(server, &format!("/v1/rollups/hourly_aggregations?event_type={kind}&from={from}&to={from}"));
    let number = |name: &str| answer["data"][0][name].as_u64().expect("a count");
    (number("event_count"), number("late_count"))
}

#[test]
fn an_event_is_late_when_the_clock_stands_at_the_end_plus_the_grace() {
    let server = Server::start(&[]);
    let event = |kind: &str, time: &str| {
        post_seen(&server, &format!(r#"{{"event_type":"{kind}","ts":"2025-01-01T{time}Z"}}"#));
    };
    event("a", "00:10:00");
    event("clock", "01:00:29.999");
    event("a", "00:59:59");
    assert_eq!(hour(&server, "a", "2025-01-01T00:00:00Z"), (2, 0), "one millisecond before the grace ends");
    event("clock", "01:00:30");
    event("a", "00:59:59");
    assert_eq!(hour(&server, "a", "2025-01-01T00:00:00Z"), (3, 1), "the equal case is late, and counted");
    event("a", "01:00:00");
    assert_eq!(hour(&server, "a", "2025-01-01T01:00:00Z"), (1, 0), "the next window is still open");
}

#[test]
fn an_event_of_the_future_does_not_make_others_late() {
    let server = Server::start(&[]);
    let ahead = jiff::Timestamp::now() + std::time::Duration::from_secs(299);
    let body = format!(r#"[{{"event_type":"a","ts":"{ahead}"}},{{"event_type":"a"}}]"#);
    post_seen(&server, &body);
    let answer = get_json(&server, "/v1/rollups/hourly_aggregations");
    for row in answer["data"].as_array().expect("a list") {
        assert_eq!(row["late_count"], 0, "{row}");
    }
    let partition = &get_json(&server, "/v1/status")["streams"][0]["partitions"][0];
    let m: jiff::Timestamp = partition["m"].as_str().and_then(|m| m.parse().ok()).expect("a clock");
    assert!(m <= jiff::Timestamp::now(), "{partition}");
}

#[test]
fn a_diverted_event_is_in_the_late_lane_and_not_in_the_window() {
    let server = Server::start(&[]);
    let view = |id: u32, time: &str| {
        let body = format!(
            r#"{{"id":{id},"postcode":"SW19","user_id":1,"webpage":"x","timestamp":"2025-01-01T{time}Z"}}"#
        );
        post_seen_at(&server, "/v1/events?stream=pageviews&wait=true", &body);
    };
    let first_minute = || rows(&get_json(&server, "/v1/rollups/pageview_aggregates"))[0].clone();
    view(1, "00:00:10");
    view(2, "00:05:59.999");
    view(3, "00:00:20");
    assert_eq!(first_minute(), "2025-01-01T00:00:00Z 2025-01-01T00:01:00Z SW19 2");
    view(4, "00:06:00");
    view(5, "00:00:30");
    view(6, "00:01:00");
    assert_eq!(first_minute(), "2025-01-01T00:00:00Z 2025-01-01T00:01:00Z SW19 2", "the fifth came late");
    let status = get_json(&server, "/v1/status");
    let rollup =
        status["rollups"].as_array().expect("a list").iter().find(|one| one["name"] == "pageview_aggregates");
    let ledger = &rollup.expect("it ships")["ledger"];
    assert_eq!(
        (&ledger["folded"], &ledger["in_cells"], &ledger["diverted"]),
        (&6.into(), &5.into(), &1.into())
    );
    assert_eq!(ledger["adds_up"], true);
    let late: (String, String) = super::spellings::database(&server)
        .query_row("SELECT event_id, CAST(raw AS TEXT) FROM sg_late", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .expect("there is one row");
    assert_eq!(late.0, "5");
    assert_eq!(
        late.1,
        r#"{"id":5,"postcode":"SW19","user_id":1,"webpage":"x","timestamp":"2025-01-01T00:00:30Z"}"#
    );
}

#[test]
fn a_window_is_final_when_the_watermark_has_passed_its_grace() {
    let server = Server::start(&[]);
    let is_final = |at: &str| {
        let answer = get_json(&server, "/v1/rollups/hourly_aggregations?to=2025-01-01T01:00:00Z");
        (answer["data"][0]["is_final"].clone(), at.to_owned())
    };
    post_seen(&server, r#"{"event_type":"a","ts":"2025-01-01T00:00:00Z"}"#);
    assert_eq!(is_final("open").0, false);
    post_seen(&server, r#"{"event_type":"a","ts":"2025-01-01T01:00:29.999Z"}"#);
    assert_eq!(is_final("provisional").0, false);
    post_seen(&server, r#"{"event_type":"a","ts":"2025-01-01T01:00:30Z"}"#);
    assert_eq!(is_final("final").0, true);
    // A correction of a final window shows as a revision.
    post_seen(&server, r#"{"event_type":"a","ts":"2025-01-01T00:30:00Z"}"#);
    let row = get_json(&server, "/v1/rollups/hourly_aggregations?to=2025-01-01T01:00:00Z")["data"][0].clone();
    assert_eq!((&row["event_count"], &row["late_count"]), (&2.into(), &1.into()), "{row}");
    assert!(row["revision"].as_u64().is_some_and(|revision| revision >= 1), "{row}");
}
