//! What operators and machines look at: status, flush, health, metrics, and the page.

use std::collections::{BTreeMap, BTreeSet};

use super::super::harness::Server;
use super::{get_json, masked, post_seen};

#[test]
fn the_status_shows_how_far_everything_is() {
    let server = Server::start(&[]);
    let event = r#"{"id":"1","event_type":"a","ts":"2025-01-01T00:00:00Z"}"#;
    post_seen(&server, event);
    post_seen(&server, event);
    let status = get_json(&server, "/v1/status");
    // The other streams and rollups have the same shape.
    insta::assert_snapshot!(masked(&status["streams"][0], &["watermark", "owner", "r", "is_idle"]), @r#"
    {
      "name": "events",
      "watermark": "…",
      "partitions": [
        {
          "partition": 0,
          "epoch": 1,
          "owner": "…",
          "first_offset": 0,
          "next_offset": 2,
          "m": "2025-01-01T00:00:00Z",
          "r": "…",
          "dedup_from": 0,
          "duplicate_reach_seconds": 86400,
          "is_idle": "…",
          "ledger": {
            "processed": 2,
            "counted": 1,
            "duplicate": 1,
            "id_conflict": 0,
            "dead_lettered": 0,
            "deleted": 0,
            "skipped": 0,
            "adds_up": true
          },
          "log_start": 0,
          "log_end": 2,
          "lag": 0,
          "headroom": {
            "records": 2,
            "held": 2,
            "seconds_left": null,
            "warning": null
          },
          "folded": 2,
          "stopped": null
        }
      ],
      "outbox": []
    }
    "#);
    insta::assert_snapshot!(masked(&status["rollups"][0], &["closed_to"]), @r#"
    {
      "name": "hourly_aggregations",
      "stream": "events",
      "closed_to": "…",
      "removed_before": null,
      "complete_from": null,
      "ledger": {
        "folded": 1,
        "in_cells": 1,
        "removed": 0,
        "diverted": 0,
        "expired": 0,
        "unfit": 0,
        "deleted": 0,
        "adds_up": true
      }
    }
    "#);
}

#[test]
fn the_status_names_the_process_and_its_memory() {
    let server = Server::start(&[]);
    post_seen(&server, r#"{"event_type":"a"}"#);
    let status = get_json(&server, "/v1/status");
    let members: Vec<&String> = status.as_object().expect("an object").keys().collect();
    assert_eq!(
        members,
        [
            "version",
            "log",
            "store",
            "roles",
            "started_at",
            "uptime_ms",
            "streams",
            "rollups",
            "archive",
            "memory"
        ]
    );
    let memory = &status["memory"];
    for (name, least) in
        [("resident_bytes", 1 << 20), ("body_bytes_in_flight", 0), ("duplicate_window_bytes", 1)]
    {
        assert!(memory[name].as_u64().is_some_and(|bytes| bytes >= least), "{name}: {memory}");
    }
    let pid = server.pid().to_string();
    let owner = &status["streams"][0]["partitions"][0]["owner"];
    assert!(owner.as_str().is_some_and(|owner| owner.ends_with(&pid)), "{owner} names the process {pid}");
}

#[test]
fn a_flush_says_what_it_wrote() {
    let server = Server::start_with("[flush]\ninterval = \"60s\"\n", &[]);
    let body = r#"[{"event_type":"a","ts":0},{"event_type":"b","ts":0},{"event_type":"a","ts":7200}]"#;
    assert_eq!(server.post("/v1/events", &[], body).status, 202);
    let answer = server.post("/v1/flush", &[], "");
    insta::assert_snapshot!(masked(&answer.json(), &["took_ms"]), @r#"
    {
      "flushed_events": 3,
      "flushed_windows": 3,
      "took_ms": "…"
    }
    "#);
    insta::assert_snapshot!(masked(&server.post("/v1/flush", &[], "").json(), &["took_ms"]), @r#"
    {
      "flushed_events": 0,
      "flushed_windows": 0,
      "took_ms": "…"
    }
    "#);
}

#[test]
fn health_is_told_in_one_body() {
    let server = Server::start(&[]);
    assert_eq!(server.get("/livez").text(), r#"{"ok":true}"#);
    for path in ["/readyz", "/healthz"] {
        let answer = server.get(path);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{path}");
        assert!(answer.text().starts_with(r#"{"ok":true,"status":"UP","#), "{path}: {}", answer.text());
        assert_eq!(answer.json()["backends"], serde_json::json!({"log": "embedded", "store": "sqlite"}));
    }
}

#[test]
fn metrics_are_prometheus_text() {
    let server = Server::start(&[]);
    post_seen(&server, r#"[{"event_type":"a","ts":0},{}]"#);
    let answer = server.get("/metrics");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = answer.text();
    assert!(text.ends_with('\n'));
    let mut kinds = BTreeMap::new();
    let mut helped = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help has a text");
            assert!(helped.insert(name.to_owned()), "{name} has two helps");
            assert!(!help.trim().is_empty(), "{name}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type has a kind");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} has two types");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        } else {
            let (sample, value) = line.rsplit_once(' ').expect("a sample has a value");
            assert!(value == "+Inf" || value.parse::<f64>().is_ok(), "{line}");
            assert!(seen.insert(sample.to_owned()), "{sample} stands twice");
            let name = sample.split('{').next().expect("there is always a first piece");
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|part| {
                let family = name.strip_suffix(part)?;
                (kinds.get(family).map(String::as_str) == Some("histogram")).then_some(family)
            });
            let family = family.unwrap_or(name);
            assert!(
                kinds.contains_key(family) && helped.contains(family),
                "{line} has no type or help before it"
            );
        }
    }
    assert_eq!(kinds.keys().collect::<Vec<_>>(), helped.iter().collect::<Vec<_>>());
    for expected in [
        "streamgauge_events_accepted_total 1",
        "streamgauge_events_rejected_total{reason=\"missing_event_type\"} 1",
        "streamgauge_events_processed_total{stream=\"events\",partition=\"0\",fate=\"counted\"} 1",
        "streamgauge_consumer_lag_records{stream=\"events\",partition=\"0\"} 0",
        "streamgauge_log_headroom_ratio{stream=\"events\",partition=\"0\"} 1",
    ] {
        assert!(text.lines().any(|line| line == expected), "{expected} is missing in\n{text}");
    }
}
