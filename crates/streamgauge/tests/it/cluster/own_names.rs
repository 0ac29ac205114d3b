//! Records that others wrote with field names of their own: read behind the door as the door reads them, by every process,
//! and mended by the same names.

use serde_json::{Value, json};

use super::{Cluster, turn};
use crate::harness::services::Services;
use crate::harness::witness::audit;
use crate::harness::{PATIENCE, Server, until};

fn definitions(topic: &str) -> String {
    format!(
        r#"
        [[stream]]
        name = "accounts"
        topic = "{topic}"
        paths = ["/accounts"]
        partition_by = ["account"]
        raw_table = {{ name = "account_events", keep = "7d" }}
        idle_timeout = "2s"
        [stream.fields]
        event_type = "kind"
        timestamp = "at"
        event_id = "uuid"
        user_id = "account"
        [[rollup]]
        name = "by_kind"
        stream = "accounts"
        window = "1h"
        by = ["kind", "plan"]
        [[rollup.measure]]
        name = "n"
        fn = "count"
        [[rollup.measure]]
        name = "signups"
        fn = "count"
        where = {{ kind = "signup" }}
        "#
    )
}

fn event(id: u32, kind: &str) -> String {
    format!(
        r#"{{"kind":"{kind}","at":1735689600,"uuid":"u{id}","account":{},"plan":"pro","id":7,"type":"x"}}"#,
        id % 5
    )
}

/// Returns kind, plan and measures of each cell.
fn cells(server: &Server) -> Vec<Value> {
    let rows = server.get("/v1/rollups/by_kind").json();
    let rows = rows["data"].as_array().expect("rows").iter();
    rows.map(|row| json!([row["kind"], row["plan"], row["n"], row["signups"]])).collect()
}

fn letters(server: &Server) -> Vec<Value> {
    let page = server.get("/v1/dead-letters?replayed=false").json();
    let letters = page["data"].as_array().expect("letters").iter();
    let mut letters: Vec<Value> = letters.map(|letter| json!([letter["reason"], letter["field"]])).collect();
    letters.sort_by_key(Value::to_string);
    letters
}

#[test]
fn records_of_others_are_read_by_the_names_of_their_stream() {
    let _turn = turn();
    let Some(services) = Services::shared() else { return };
    let mut cluster = Cluster::new(services);
    cluster.redefine("", &definitions);
    let door = cluster.start("ingest");
    let process = cluster.start("process,query");
    let through_the_door: Vec<String> = (20..25).map(|id| event(id, "signup")).collect();
    assert_eq!(door.post("/accounts", &[], format!("[{}]", through_the_door.join(","))).status, 202);
    let mut lines: Vec<String> = (0..10).map(|id| event(id, "signup")).collect();
    lines.push(event(10, "login"));
    lines.push(r#"{"event_type":"signup","at":1735689600,"uuid":"u11","account":1,"plan":"pro"}"#.to_owned());
    lines.push(r#"{"kind":"signup","at":"soon","uuid":"u12","account":1,"plan":"pro"}"#.to_owned());
    cluster.services.produce(&cluster.name, &lines);
    let expect = [json!(["login", "pro", 1, 0]), json!(["signup", "pro", 15, 15])];
    let flushed = || assert_eq!(process.post("/v1/flush", &[], "").status, 200);
    until(PATIENCE, "the letters are there", || {
        flushed();
        letters(&process) == [json!(["bad_timestamp", "at"]), json!(["missing_event_type", "kind"])]
    });
    until(PATIENCE, "all are counted", || {
        flushed();
        cells(&process) == expect
    });
    let stored = process.get("/v1/events?stream=accounts&event_id=u7").json();
    let (row, others) = (&stored["data"][0], json!({"plan": "pro", "id": 7, "type": "x"}));
    assert_eq!(
        (&row["event_type"], &row["user_id"], &row["properties"]),
        (&"signup".into(), &"2".into(), &others)
    );
    assert_eq!(row["timestamp"], "2025-01-01T00:00:00Z");

    let mend = json!({"reason": "missing_event_type", "edit": {"kind": "signup"}});
    let answer = door.post("/v1/dead-letters/replay", &[], mend.to_string());
    assert_eq!(answer.json()["accepted"], 1, "{}", answer.text());
    let mended = [json!(["login", "pro", 1, 0]), json!(["signup", "pro", 16, 16])];
    until(PATIENCE, "the mended one is counted", || {
        flushed();
        cells(&process) == mended
    });
    audit(&process, &[]);
    let rebuilt = process.command(&["rebuild", "--dry-run"]);
    assert!(rebuilt.status.success(), "{rebuilt:?}");
}
