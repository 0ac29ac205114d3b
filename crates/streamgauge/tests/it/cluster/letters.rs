//! Records that others wrote and that cannot be counted: listed by reason from any process, mended by replay, counted
//! once over all partitions and processes.

use serde_json::{Value, json};

use super::{Cluster, turn};
use crate::harness::services::Services;
use crate::harness::witness::audit;
use crate::harness::{PATIENCE, Server, until};

/// What others may send, with its reason.
fn poisons() -> Vec<(String, &'static str)> {
    let long = "x".repeat(300);
    let members: Vec<String> = (0..257).map(|at| format!(r#""m{at}":{at}"#)).collect();
    let mut all: Vec<(String, &str)> = vec![
        (format!(r#"{{"type":"a","x":{}1{}}}"#, "[".repeat(40), "]".repeat(40)), "too_deep"),
        (format!(r#"{{"type":"a",{}}}"#, members.join(",")), "too_many_members"),
        (format!(r#"{{"type":"{long}","region":"r"}}"#), "dimension_too_long"),
        (format!(r#"{{"type":"a","region":"r","id":"{long}"}}"#), "id_too_long"),
        (format!(r#"{{"type":"a","x":"{}"}}"#, "x".repeat(256 * 1_024)), "event_too_large"),
    ];
    let texts = [
        ("{broken", "invalid_json"),
        ("[1]", "not_an_object"),
        (r#"{"type":"a","region":"r","x":1,"x":2}"#, "duplicate_member"),
        (r#"{"type":"a","region":"r","x":"\u0000"}"#, "invalid_text"),
        (r#"{"region":"r","ts":1735689600}"#, "missing_event_type"),
        (r#"{"region":"r","ts":1735689601}"#, "missing_event_type"),
        (r#"{"region":"r"}"#, "missing_event_type"),
        (r#"{"type":"a","ts":1735689600}"#, "missing_field"),
        (r#"{"type":"a","region":"  "}"#, "blank_field"),
        (r#"{"type":{},"region":"r"}"#, "bad_field"),
        (r#"{"type":"a","region":"r","ts":"soon"}"#, "bad_timestamp"),
        (r#"{"type":"a","region":"r","ts":9404592000000000000000}"#, "timestamp_out_of_range"),
        (r#"{"type":"a","region":"r","ts":"2999-01-01T00:00:00Z"}"#, "future_timestamp"),
        (r#"{"type":"a","region":"r","amount":"much"}"#, "bad_number"),
        (r#"{"type":"a","region":"r","amount":1e30}"#, "number_out_of_range"),
    ];
    all.extend(texts.map(|(text, code)| (text.to_owned(), code)));
    all
}

fn counted(server: &Server) -> u64 {
    let rows = server.get("/v1/rollups/hourly_aggregations").json();
    rows["data"].as_array().expect("rows").iter().filter_map(|row| row["event_count"].as_u64()).sum()
}

fn waiting(server: &Server) -> Vec<(String, u64)> {
    let page = server.get("/v1/dead-letters?limit=1").json();
    let reasons = page["reasons"].as_array().expect("reasons").iter();
    let count = |one: &Value| {
        (one["reason"].as_str().expect("a reason").to_owned(), one["waiting"].as_u64().expect("a count"))
    };
    reasons.map(count).filter(|(_, waiting)| *waiting > 0).collect()
}

fn replay(server: &Server, wish: &Value) -> Value {
    let answer = server.post("/v1/dead-letters/replay", &[], wish.to_string());
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[test]
fn letters_of_every_kind_are_listed_and_one_kind_is_mended() {
    let _turn = turn();
    let Some(services) = Services::shared() else { return };
    let mut cluster = Cluster::new(services);
    cluster.toml = cluster.toml.replace("raw_table", "require = [\"region\"]\nraw_table").replace(
        "measure]]",
        "measure]]\nname = \"total\"\nfn = \"sum\"\nfield = \"amount\"\nscale = 2\n[[rollup.measure]]",
    );
    let door = cluster.start("ingest");
    let mut process = cluster.start("process");
    let query = cluster.start("query");
    let good = r#"{"type":"good","region":"r","ts":1735689600,"id":"g"}"#;
    assert_eq!(door.post("/events", &[], good).status, 202);
    let poisons = poisons();
    let lines: Vec<String> = poisons.iter().map(|(text, _)| text.clone()).collect();
    cluster.services.produce(&cluster.name, &lines);
    let mut expected: Vec<(String, u64)> = Vec::new();
    for (_, code) in &poisons {
        match expected.iter_mut().find(|(known, _)| known == code) {
            Some((_, count)) => *count += 1,
            None => expected.push(((*code).to_owned(), 1)),
        }
    }
    expected.sort();
    assert!(expected.len() >= 16, "{}", expected.len());
    until(PATIENCE, "every poison is a letter", || waiting(&query) == expected);
    until(PATIENCE, "the good one is counted", || counted(&query) == 1);

    // Whatever roles a process has; the time of a letter without a timestamp is when it came.
    let mend = json!({"reason": "missing_event_type", "edit": {"event_type": "mended"}});
    let tried = replay(&query, &json!({"reason": "missing_event_type", "dry_run": true}));
    assert_eq!(
        (&tried["would_accept"], tried["still_refused"].as_array().map(Vec::len)),
        (&0.into(), Some(3))
    );
    process.kill9();
    assert_eq!(replay(&query, &mend)["accepted"], 3);
    assert_eq!(replay(&door, &mend)["accepted"], 3);
    // Another key, so that the copies may lie in another partition than the first.
    let moved = json!({"reason": "missing_event_type", "edit": {"event_type": "mended", "session_id": "s"}});
    assert_eq!(replay(&query, &moved)["accepted"], 3);
    assert_eq!(waiting(&query), expected, "no letter goes before its replay is counted");
    process = cluster.start("process");
    expected.retain(|(reason, _)| reason != "missing_event_type");
    until(PATIENCE, "the mended ones are letters no more", || waiting(&query) == expected);
    flush_all(&query);
    assert_eq!(counted(&query), 4);
    assert_eq!(replay(&query, &mend)["accepted"], 0);
    audit(&query, &[]);
    process.kill9();
    process = cluster.start("process");
    assert_eq!(replay(&process, &mend)["accepted"], 0);
    flush_all(&query);
    assert_eq!(counted(&query), 4);
    audit(&query, &[]);
}

fn flush_all(server: &Server) {
    let answer = server.post("/v1/flush", &[], "");
    assert_eq!(answer.status, 200, "{}", answer.text());
}
