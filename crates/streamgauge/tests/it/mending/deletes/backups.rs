//! Back-ups of counted events: what other programs read of them, and of streams that keep no raw table.

use std::path::PathBuf;

use serde_json::Value;

use super::super::rebuilds::{orders, post, rebuild, rows};
use super::super::{ORDERS, flush, launch};
use super::{delete, export, ledger, start};
use crate::archive::readers::{asked, python};
use crate::harness::Server;
use crate::harness::witness::audit;

const READ: &str = r#"
import duckdb, json, sys
rows = duckdb.sql(f"""
    SELECT event_id, event_type, user_id, strftime(timestamp AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%SZ'),
           "offset", json_extract_string(properties, '$.amount')
    FROM {sys.argv[1]} ORDER BY "offset" """).fetchall()
print(json.dumps(rows))
"#;

fn exported(server: &Server, format: &str, file: &str) -> PathBuf {
    let path = server.data_dir().join(file);
    let output = path.display().to_string();
    let args = ["events", "export", "--where", "user_id ^= 'u1'", "--format", format, "--output", &output];
    let command = server.command(&args);
    assert!(command.status.success(), "{command:?}");
    path
}

#[test]
fn duckdb_reads_csv_and_parquet() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a folder can be made");
    let server = start(folder.path());
    let mut lines = orders(51, 400);
    lines.push(
        r#"{"id":"odd","type":"=1+1","user_id":"u1\"x,\ny","ts":1735700000,"amount":"1.00"}"#.to_owned(),
    );
    post(&server, &lines);
    flush(&server);
    let event = |event: &Value| {
        let text = |name: &str| event[name].clone();
        let amount = event["properties"]["amount"].clone();
        Value::from(vec![
            text("event_id"),
            text("event_type"),
            text("user_id"),
            text("timestamp"),
            text("offset"),
            amount,
        ])
    };
    let expected: Vec<Value> = export(&server, "user_id ^= 'u1'").iter().map(event).collect();
    assert!(expected.len() > 100);
    let parquet = exported(&server, "parquet", "out.parquet");
    let csv = exported(&server, "csv", "out.csv");
    for source in [
        format!("read_parquet('{}')", parquet.display()),
        format!("read_csv('{}', all_varchar = false, types = {{'timestamp': 'TIMESTAMPTZ'}})", csv.display()),
    ] {
        assert_eq!(asked(&python, READ, &[&source]), Value::from(expected.clone()), "{source}");
    }
    let text = std::fs::read_to_string(&csv).expect("the file is text");
    assert!(
        text.starts_with("stream,partition,offset,") && text.contains(",=1+1,"),
        "values are as they were sent"
    );
    let part = server.data_dir().join("out.csv.part").try_exists();
    assert!(!part.expect("the folder can be read"));
}

#[test]
fn events_without_a_raw_table_are_found_in_the_log() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let toml = ORDERS.replace("raw_table = { name = \"orders_raw\", keep = \"7d\" }\n", "");
    let server = Server::ready(&launch(folder.path(), &format!("[flush]\ninterval = \"20ms\"\n{toml}")));
    post(&server, &orders(61, 300));
    flush(&server);
    let output = server.command(&["events", "export", "--stream", "orders", "--where", "user_id = 'u5'"]);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(!events.is_empty());
    for event in &events {
        let raw: Value = serde_json::from_str(event["raw"].as_str().expect("as it was sent")).expect("JSON");
        assert_eq!((&raw["id"], &raw["amount"]), (&event["event_id"], &event["properties"]["amount"]));
    }
    let before: u64 = ledger(&server, "counted");
    let (code, _, last) = delete(&server, "user_id = 'u5'", &["--stream", "orders"]);
    assert_eq!((code, last["deleted"].as_u64()), (Some(0), Some(events.len() as u64)), "{last}");
    assert_eq!(last["from_log"][0]["stream"], "orders");
    assert_eq!(ledger(&server, "counted"), before - events.len() as u64);
    audit(&server, &[]);
    assert_eq!(rebuild(&server, &["--dry-run"]).1, Vec::<Value>::new());
    let (_, _, last) = delete(&server, "user_id = 'u5'", &["--stream", "orders"]);
    assert_eq!(last["matched"], 0);
    assert!(!rows(&server, "hourly").as_array().expect("rows").is_empty());
}

#[test]
fn cells_are_what_a_simulation_expects_without_what_was_deleted() {
    let server = Server::start(&[]);
    let expect = server.data_dir().join("expect.json");
    let path = expect.display().to_string();
    let shape = ["simulate", "--events", "20000", "--duration", "5h", "--duplicates", "3%", "--late", "2%"];
    let simulated = server.command(&[&shape[..], &["--expect", &path]].concat());
    assert!(simulated.status.success(), "{simulated:?}");
    flush(&server);
    audit(&server, &["--expect", &path]);
    let mut cells: Value =
        serde_json::from_slice(&std::fs::read(&expect).expect("the file is there")).expect("JSON");
    let of_rollup = cells["hourly_aggregations"].as_array_mut().expect("rows");
    let kind = of_rollup[0]["event_type"].as_str().expect("a type").to_owned();
    of_rollup.retain(|row| row["event_type"] != kind.as_str());
    std::fs::write(&expect, cells.to_string()).expect("the file can be written");
    let (code, _, last) = delete(&server, &format!("event_type = '{kind}'"), &[]);
    assert!(code == Some(0) && last["deleted"].as_u64() > Some(1_000), "{last}");
    audit(&server, &["--expect", &path]);
    assert_eq!(rebuild(&server, &["--dry-run"]).1, Vec::<Value>::new());
}
