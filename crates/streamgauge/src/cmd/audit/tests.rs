//! Canned answers: good ones pass every check, and each kind of fault makes exactly its own check fail.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::*;
use crate::client::Server;
use crate::client::flaky::{Asked, Flaky, serve};

const FILE: &str = r#"{
    "hourly":[
        {"window_start":"2025-01-01T00:00:00Z","window_end":"2025-01-01T01:00:00Z","event_type":"click","n":3,"usd":1.5},
        {"window_start":"2025-01-01T00:00:00Z","window_end":"2025-01-01T01:00:00Z","event_type":"view","n":4,"usd":0},
        {"window_start":"2025-01-01T02:00:00Z","window_end":"2025-01-01T03:00:00Z","event_type":"view","n":1,"usd":null}],
    "minutes":[
        {"window_start":"2025-01-01T00:00:00Z","window_end":"2025-01-01T00:01:00Z","postcode":"SW19","n":5},
        {"window_start":"2025-01-01T00:01:00Z","window_end":"2025-01-01T00:02:00Z","postcode":"SW19","n":1}]}"#;

/// Everything a server is asked for.
struct Canned {
    status: Value,
    rollups: Value,
    hourly: Value,
    minutes: Value,
    /// Where the first question about hours must begin.
    first_hour: &'static str,
}

fn canned() -> Canned {
    let row = |start: &str, end: &str, name: &str, value: &str, n: u64| {
        let mut row = json!({"window_start": start, "window_end": end, "n": n, "late_count": 0, "revision": 0, "is_final": true});
        row[name] = value.into();
        row
    };
    let hour = |start: &str, end: &str, kind: &str, n: u64, usd: Value| {
        let mut row = row(start, end, "event_type", kind, n);
        row["usd"] = usd;
        row
    };
    Canned {
        status: json!({
            "version": "0", "log": "embedded", "store": "sqlite", "uptime_ms": 1,
            "streams": [{"name": "events", "watermark": null, "partitions": [{
                "partition": 0, "epoch": 1, "first_offset": 10, "next_offset": 23, "log_start": 0, "log_end": 23,
                "lag": 0, "stopped": null,
                "ledger": {"processed": 10, "counted": 6, "duplicate": 2, "id_conflict": 1, "dead_lettered": 1, "deleted": 1, "skipped": 3},
            }]}],
            "rollups": [
                {"name": "hourly", "ledger": {"folded": 9, "in_cells": 4, "removed": 1, "diverted": 0, "expired": 2, "unfit": 1, "deleted": 1}},
                {"name": "minutes", "ledger": {"folded": 6, "in_cells": 4, "removed": 0, "diverted": 2, "expired": 0, "unfit": 0, "deleted": 0}},
            ],
        }),
        rollups: json!({"rollups": [
            {"name": "hourly", "stream": "events", "window_ms": 3_600_000, "pane_ms": 900_000, "grace_ms": 0, "late": "correct",
                "by": ["event_type"], "measures": [{"name": "n", "fn": "count"}, {"name": "usd", "fn": "sum", "field": "usd", "scale": 2}]},
            {"name": "minutes", "stream": "events", "window_ms": 60_000, "pane_ms": 60_000, "grace_ms": 0, "late": "divert",
                "by": ["postcode"], "measures": [{"name": "n", "fn": "count"}]},
        ]}),
        hourly: json!([
            hour("2025-01-01T00:00:00Z", "2025-01-01T01:00:00Z", "click", 3, json!(1.50)),
            hour("2025-01-01T00:00:00Z", "2025-01-01T01:00:00Z", "view", 4, json!(0.00)),
            hour("2025-01-01T02:00:00Z", "2025-01-01T03:00:00Z", "view", 1, Value::Null),
        ]),
        first_hour: "00",
        // Two of the six were late: one is missing from a cell, the other was a cell of its own.
        minutes: json!([row("2025-01-01T00:00:00Z", "2025-01-01T00:01:00Z", "postcode", "SW19", 4)]),
    }
}

fn answer(canned: &Canned, asked: &Asked) -> String {
    let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
    let rows = match path {
        "/v1/flush" => return json!({"flushed_events": 0, "flushed_windows": 0, "took_ms": 0}).to_string(),
        "/v1/status" => return canned.status.to_string(),
        "/v1/rollups" => return canned.rollups.to_string(),
        "/v1/rollups/hourly" => canned.hourly.as_array(),
        "/v1/rollups/minutes" => canned.minutes.as_array(),
        other => panic!("nobody asks for {other}"),
    };
    let hour = if path == "/v1/rollups/hourly" { canned.first_hour } else { "00" };
    let range = format!("from=2025-01-01T{hour}%3A00%3A00Z");
    assert!(query.contains("limit=10000") && query.contains(&range), "{query}");
    // One row a page: the last one has no cursor.
    let rows = rows.expect("rows are a list");
    let page: usize =
        query.split_once("cursor=p").map_or(0, |(_, page)| page.parse().expect("it is our cursor"));
    let next = if page + 1 < rows.len() { json!(format!("p{}", page + 1)) } else { Value::Null };
    let data: Vec<&Value> = rows.iter().skip(page).take(1).collect();
    json!({"rollup": path, "range": {}, "as_of": {}, "data": data, "next_cursor": next}).to_string()
}

async fn audited(canned: Canned, file: Option<&str>) -> Vec<Check> {
    let address = serve(move |asked| Flaky::Answer(200, answer(&canned, &asked))).await;
    let server = Server::new(&format!("http://{address}"), None).expect("the URL is good");
    checks(&mut Connection::new(&server), file, Duration::ZERO).await.expect("the answers are readable")
}

/// Breaks the good answers and returns the lines of the checks that fail.
async fn failing(fault: impl FnOnce(&mut Canned)) -> Vec<String> {
    let mut canned = canned();
    fault(&mut canned);
    audited(canned, Some(FILE)).await.iter().filter(|check| !check.holds).map(Check::line).collect()
}

#[tokio::test]
async fn good_answers_pass_every_check() {
    let lines: Vec<String> = audited(canned(), Some(FILE)).await.iter().map(Check::line).collect();
    assert_eq!(
        lines,
        [
            "✓ ledger of events/0: processed 10 = counted 6 + duplicate 2 + dead-lettered 1 + deleted 1",
            "✓ offsets of events/0: processed 10 + skipped 3 = next offset 23 − first offset 10",
            "✓ progress of events/0: next offset 23 = log end 23",
            "✓ ledger of hourly: folded 9 = in cells 4 + removed 1 + diverted 0 + expired 2 + unfit 1 + deleted 1",
            "✓ ledger of minutes: folded 6 = in cells 4 + removed 0 + diverted 2 + expired 0 + unfit 0 + deleted 0",
            "✓ cells of hourly: 3 of 3 cells are equal, 0 short, 0 too large, 0 not expected",
            "✓ cells of minutes: 0 of 2 cells are equal, 2 short by 2 events in all = diverted 2, 0 too large, 0 not expected",
        ]
    );
    assert_eq!(audited(canned(), None).await.len(), 5);
}

#[tokio::test]
async fn every_term_of_the_ledger_matters() {
    for term in ["processed", "counted", "duplicate", "dead_lettered", "deleted", "skipped"] {
        let bump = |canned: &mut Canned| {
            let value = &mut canned.status["streams"][0]["partitions"][0]["ledger"][term];
            *value = (value.as_u64().expect("it is a number") + 1).into();
        };
        let failing = failing(bump).await;
        let subject = if term == "skipped" { "offsets" } else { "ledger" };
        assert!(failing[0].starts_with(&format!("✗ {subject} of events/0: processed ")), "{failing:?}");
        // The number processed also stands against the offsets.
        assert_eq!(failing.len(), if term == "processed" { 2 } else { 1 }, "{failing:?}");
    }
    for term in ["folded", "in_cells", "removed", "diverted", "expired", "unfit", "deleted"] {
        let bump = |canned: &mut Canned| {
            let value = &mut canned.status["rollups"][0]["ledger"][term];
            *value = (value.as_u64().expect("it is a number") + 1).into();
        };
        let failing = failing(bump).await;
        assert!(failing.len() == 1 && failing[0].starts_with("✗ ledger of hourly: folded "), "{failing:?}");
    }
}

#[tokio::test]
async fn offsets_and_progress() {
    let set = |name: &'static str, value: Value| {
        failing(move |canned| canned.status["streams"][0]["partitions"][0][name] = value)
    };
    assert_eq!(
        set("first_offset", json!(9)).await,
        ["✗ offsets of events/0: processed 10 + skipped 3 ≠ next offset 23 − first offset 9"]
    );
    assert_eq!(set("log_end", json!(24)).await, ["✗ progress of events/0: next offset 23 ≠ log end 24"]);
    assert_eq!(set("log_end", json!(22)).await, ["✗ progress of events/0: next offset 23 ≠ log end 22"]);
    assert_eq!(set("stopped", json!("a hole at 7")).await, ["✗ progress of events/0: stopped: a hole at 7"]);
    let on_kafka = failing(|canned| {
        canned.status["log"] = "kafka".into();
        canned.status["streams"][0]["partitions"][0]["first_offset"] = 3.into();
        canned.status["streams"][0]["partitions"][0]["log_end"] = 24.into();
    });
    assert_eq!(on_kafka.await, Vec::<String>::new(), "holes and marks are normal on Kafka");
}

#[tokio::test]
async fn cells_of_a_correcting_rollup() {
    let check = |expect: &'static str, fault: fn(&mut Canned)| async move {
        let failing = failing(fault).await;
        assert_eq!(failing, [format!("✗ cells of hourly: {expect}")]);
    };
    check("2 of 3 cells are equal, 1 short, 0 too large, 0 not expected; 2025-01-01T00:00:00Z view n is 3 instead of 4", |canned| {
        canned.hourly[1]["n"] = 3.into();
    })
    .await;
    check("2 of 3 cells are equal, 0 short, 1 too large, 0 not expected; 2025-01-01T00:00:00Z click usd is 1.51 instead of 1.5", |canned| {
        canned.hourly[0]["usd"] = 1.51.into();
    })
    .await;
    check("2 of 3 cells are equal, 0 short, 1 too large, 0 not expected; 2025-01-01T02:00:00Z view usd is 0 instead of null", |canned| {
        canned.hourly[2]["usd"] = 0.into();
    })
    .await;
    check(
        "2 of 3 cells are equal, 1 short, 0 too large, 0 not expected; 2025-01-01T00:00:00Z view is missing",
        |canned| {
            canned.hourly.as_array_mut().expect("it is a list").remove(1);
        },
    )
    .await;
    check("3 of 3 cells are equal, 0 short, 0 too large, 1 not expected; 2025-01-01T01:00:00Z view is not expected", |canned| {
        let mut extra = canned.hourly[2].clone();
        extra["window_start"] = "2025-01-01T01:00:00Z".into();
        canned.hourly.as_array_mut().expect("it is a list").insert(2, extra);
    })
    .await;
    check("3 of 3 cells are equal, 0 short, 0 too large, 1 not expected; 2025-01-01T02:00:00Z view is not expected", |canned| {
        let twice = canned.hourly[2].clone();
        canned.hourly.as_array_mut().expect("it is a list").push(twice);
    })
    .await;
}

#[tokio::test]
async fn cells_of_a_diverting_rollup() {
    let failing_cells = |fault: fn(&mut Canned)| async move {
        let failing = failing(fault).await;
        assert_eq!(failing.len(), 1, "{failing:?}");
        failing[0].clone()
    };
    let too_few = failing_cells(|canned| canned.minutes[0]["n"] = 3.into()).await;
    assert!(
        too_few.starts_with(
            "✗ cells of minutes: 0 of 2 cells are equal, 2 short by 3 events in all ≠ diverted 2"
        ),
        "{too_few}"
    );
    let too_many = failing_cells(|canned| canned.minutes[0]["n"] = 6.into()).await;
    assert!(too_many.contains("1 too large"), "{too_many}");
    let lost = failing_cells(|canned| {
        canned.status["rollups"][1]["ledger"]["diverted"] = 1.into();
        canned.status["rollups"][1]["ledger"]["in_cells"] = 5.into();
    });
    assert!(lost.await.contains("2 short by 2 events in all ≠ diverted 1"));
}

#[tokio::test]
async fn what_retention_removed_is_left_out_and_counted() {
    let last = |checks: &[Check], name: &str| {
        let check = checks.iter().find(|check| check.subject == format!("cells of {name}"));
        check.map(Check::line).expect("the cells were compared")
    };
    let mut hours = canned();
    hours.status["rollups"][0]["removed_before"] = "2025-01-01T01:00:00Z".into();
    hours.hourly.as_array_mut().expect("it is a list").drain(..2);
    hours.first_hour = "02";
    assert_eq!(
        last(&audited(hours, Some(FILE)).await, "hourly"),
        "✓ cells of hourly: 1 of 1 cells are equal, 0 short, 0 too large, 0 not expected; 2 more not compared: \
         retention has removed windows before 2025-01-01T01:00:00Z"
    );
    let mut minutes = canned();
    minutes.status["rollups"][1]["removed_before"] = "2025-01-01T00:02:00Z".into();
    let nothing_left = last(&audited(minutes, Some(FILE)).await, "minutes");
    assert!(nothing_left.starts_with("✗ cells of minutes: 0 of 0 cells are equal"), "{nothing_left}");
}

#[tokio::test]
async fn a_rollup_that_is_not_there_fails() {
    let checks = audited(canned(), Some(r#"{"daily":[]}"#)).await;
    assert_eq!(
        checks.last().map(Check::line).as_deref(),
        Some("✗ cells of daily: the server has no such rollup")
    );
}

#[test]
fn files_that_are_none_are_refused() {
    for file in ["", "[]", r#"{"a":[{}]}"#, r#"{"a":[{"window_start":"x","window_end":"y","n":1}]}"#] {
        assert!(cells::read(file).is_err(), "{file}");
    }
    let row = r#"{"window_start":"2025-01-01T00:00:00Z","window_end":"2025-01-01T01:00:00Z","n":1}"#;
    let twice = format!(r#"{{"a":[{row},{row}]}}"#);
    let error = cells::read(&twice).expect_err("a cell stands twice");
    assert_eq!(format!("{error:#}"), "reading the expected cells of a: a cell stands twice in the file");
}

#[tokio::test]
async fn it_flushes_until_nothing_waits() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (noted, mut behind) = (asked.clone(), canned());
    behind.status["streams"][0]["partitions"][0]["log_end"] = 24.into();
    let good = canned();
    let address = serve(move |request| {
        let mut noted = noted.lock().expect("no test panics with it");
        noted.push(request.path.clone());
        Flaky::Answer(200, answer(if noted.len() <= 2 { &behind } else { &good }, &request))
    })
    .await;
    let server = Server::new(&format!("http://{address}"), None).expect("the URL is good");
    let checks =
        checks(&mut Connection::new(&server), None, Duration::from_secs(30)).await.expect("it is readable");
    assert!(checks.iter().all(|check| check.holds));
    assert_eq!(
        *asked.lock().expect("no test panics with it"),
        ["/v1/flush", "/v1/status", "/v1/flush", "/v1/status"]
    );
}
