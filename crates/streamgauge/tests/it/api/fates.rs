//! What became of one event: counted and where, a duplicate, a dead letter, in flight, or unknown and why.

use serde_json::Value;

use super::super::harness::{HOURLY, Launch, PATIENCE, Server, until};
use super::{get_json, masked, post_seen, post_seen_at};

fn fate(server: &Server, id: &str) -> Value {
    get_json(server, &format!("/v1/events/{id}"))
}

#[test]
fn a_counted_event_names_its_cells_and_a_resend_is_a_duplicate() {
    let server = Server::start(&[]);
    let event = r#"{"id":"one","event_type":"a","user_id":"u","ts":"2025-01-01T00:30:00Z"}"#;
    post_seen(&server, event);
    insta::assert_snapshot!(masked(&fate(&server, "one"), &["received_at"]), @r#"
    {
      "event_id": "one",
      "fate": "counted",
      "found": [
        {
          "fate": "counted",
          "stream": "events",
          "partition": 0,
          "offset": 0,
          "timestamp": "2025-01-01T00:30:00Z",
          "received_at": "…",
          "cells": [
            {
              "rollup": "hourly_aggregations",
              "window_start": "2025-01-01T00:00:00Z",
              "window_end": "2025-01-01T01:00:00Z",
              "dimensions": {
                "event_type": "a"
              }
            }
          ]
        }
      ]
    }
    "#);
    post_seen(&server, event);
    insta::assert_snapshot!(masked(&fate(&server, "one"), &["received_at", "cells"]), @r#"
    {
      "event_id": "one",
      "fate": "counted",
      "found": [
        {
          "fate": "counted",
          "stream": "events",
          "partition": 0,
          "offset": 0,
          "timestamp": "2025-01-01T00:30:00Z",
          "received_at": "…",
          "cells": "…"
        },
        {
          "fate": "duplicate",
          "stream": "events",
          "partition": 0,
          "offset": 1
        }
      ]
    }
    "#);
    insta::assert_snapshot!(masked(&fate(&server, "never%20sent"), &[]), @r#"
    {
      "event_id": "never sent",
      "fate": "unknown",
      "found": [],
      "why": "no raw table and no dead letter has this id, nor have the last 200000 records of any log partition here; it was never accepted, it is older than what is kept, or it was counted in a stream that keeps no raw events (pageviews, stream.events)"
    }
    "#);
}

#[test]
fn a_stream_without_a_raw_table_answers_from_the_log() {
    let server = Server::start(&[]);
    let event = r#"{"event_id":"e","type":"chat_message","stream_id":"s","ts":0}"#;
    for expect in [vec!["counted"], vec!["counted", "duplicate"]] {
        post_seen_at(&server, "/v1/events?stream=stream.events&wait=true", event);
        let found = fate(&server, "e");
        let fates: Vec<&str> = found["found"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|one| one["fate"].as_str())
            .collect();
        assert_eq!(fates, expect, "{found}");
    }
}

#[test]
fn an_event_that_no_flush_took_is_in_flight() {
    let server = Server::start_with("[flush]\ninterval = \"60s\"\n", &[]);
    assert_eq!(server.post("/v1/events", &[], r#"{"id":"one","event_type":"a"}"#).status, 202);
    // Right after a start the partition may have no owner yet, who alone knows.
    let owned = || get_json(&server, "/v1/status")["streams"][0]["partitions"][0]["folded"] == 1;
    until(PATIENCE, "its owner has it", owned);
    assert_eq!(fate(&server, "one")["fate"], "in_flight");
    assert!(get_json(&server, "/v1/events?event_id=one")["data"].as_array().is_some_and(Vec::is_empty));
    let flushed = server.post("/v1/flush", &[], "");
    assert_eq!((flushed.status, &flushed.json()["flushed_events"]), (200, &1.into()), "{}", flushed.text());
    assert_eq!(fate(&server, "one")["fate"], "counted");
}

#[test]
fn an_event_that_does_not_fit_what_was_defined_meanwhile_is_a_dead_letter() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let unflushed = format!("[flush]\ninterval = \"60s\"\n{HOURLY}");
    let mut before = Server::ready(&Launch::new().data_dir(folder.path()).config(&unflushed));
    let body = r#"[{"id":"bad","event_type":"a","ts":0,"amount":"much"},{"id":"good","event_type":"a","ts":0,"amount":"5"}]"#;
    assert_eq!(before.post("/v1/events", &[], body).status, 202);
    before.kill9();
    let revenue = "[[rollup]]\nname = \"revenue\"\nstream = \"events\"\nwindow = \"1h\"\n\
        [[rollup.measure]]\nname = \"amount\"\nfn = \"sum\"\nfield = \"amount\"\n";
    let after = Server::ready(&Launch::new().data_dir(folder.path()).config(&format!("{HOURLY}{revenue}")));
    post_seen(&after, r#"{"id":"next","event_type":"a","ts":0}"#);
    assert_eq!(fate(&after, "good")["fate"], "counted");
    insta::assert_snapshot!(masked(&fate(&after, "bad"), &["received_at"]), @r#"
    {
      "event_id": "bad",
      "fate": "dead_letter",
      "found": [
        {
          "fate": "dead_letter",
          "stream": "events",
          "partition": 0,
          "offset": 0,
          "reason": "bad_number",
          "field": "amount",
          "detail": "amount is a number or a text that holds one",
          "received_at": "…",
          "replayed_at": null
        }
      ]
    }
    "#);
    let ledger = &get_json(&after, "/v1/status")["streams"][0]["partitions"][0]["ledger"];
    assert_eq!(
        (&ledger["counted"], &ledger["dead_lettered"], &ledger["adds_up"]),
        (&2.into(), &1.into(), &true.into())
    );
}

/// What a rollup that was added later cannot read says nothing of the cells that the event went to before.
#[test]
fn a_rollup_that_was_added_later_takes_no_cell_from_a_fate() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let mut before = Server::ready(&Launch::new().data_dir(folder.path()).config(HOURLY));
    post_seen(&before, r#"{"id":"odd","event_type":"a","ts":0,"weight":"heavy"}"#);
    assert!(before.terminate().success());
    let weights = "[[rollup]]\nname = \"weights\"\nstream = \"events\"\nwindow = \"1h\"\n\
        [[rollup.measure]]\nname = \"mean\"\nfn = \"avg\"\nfield = \"weight\"\n";
    let after = Server::ready(&Launch::new().data_dir(folder.path()).config(&format!("{HOURLY}{weights}")));
    post_seen(&after, r#"{"id":"even","event_type":"a","ts":0,"weight":7}"#);
    let cells_of = |id: &str| -> Vec<Value> {
        let found = fate(&after, id);
        let cells = found["found"][0]["cells"].as_array().expect("a list").clone();
        cells.into_iter().map(|cell| cell["rollup"].clone()).collect()
    };
    assert_eq!(cells_of("odd"), ["hourly_aggregations"]);
    assert_eq!(cells_of("even"), ["hourly_aggregations", "weights"]);
    // It has not seen what came before, and says so.
    let complete_from =
        |rollup: &str| get_json(&after, &format!("/v1/rollups/{rollup}"))["as_of"]["complete_from"].clone();
    assert!(complete_from("weights").is_string() && complete_from("hourly_aggregations").is_null());
    assert!(after.stderr().contains("streamgauge rebuild --rollup weights"), "{}", after.stderr());
    assert_eq!(after.command(&["rebuild", "--rollup", "weights"]).status.code(), Some(0));
    assert!(complete_from("weights").is_null());
}

/// It is in no cell of a rollup that diverted it, and its fate does not say so.
#[test]
fn an_event_that_came_too_late_for_a_rollup_is_in_no_cell_of_it() {
    let strict = "[[rollup]]\nname = \"strict\"\nstream = \"events\"\nwindow = \"1h\"\nlate = \"divert\"\n\
        [[rollup.measure]]\nname = \"n\"\nfn = \"count\"\n";
    let server = Server::ready(&Launch::new().config(&format!("{HOURLY}{strict}")));
    post_seen(&server, r#"{"id":"new","event_type":"a","ts":"2025-01-01T12:00:00Z"}"#);
    post_seen(&server, r#"{"id":"late","event_type":"a","ts":"2025-01-01T00:30:00Z"}"#);
    let rollups = |id: &str, what: &str| -> Option<Vec<Value>> {
        let found = fate(&server, id);
        let cells = found["found"][0][what].as_array()?;
        Some(cells.iter().map(|cell| cell["rollup"].clone()).collect())
    };
    assert_eq!(rollups("new", "cells"), Some(vec!["hourly_aggregations".into(), "strict".into()]));
    assert_eq!(rollups("new", "diverted"), None);
    assert_eq!(rollups("late", "cells"), Some(vec!["hourly_aggregations".into()]));
    assert_eq!(rollups("late", "diverted"), Some(vec!["strict".into()]));
}
