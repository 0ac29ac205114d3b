//! The archive as other programs read it: DuckDB over the files, and a stock S3 client over the bucket.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::harness::{Server, say};

use super::{Bucket, archived};

/// Returns a Python with DuckDB and boto3; `None` where it cannot be had and need not be.
pub(crate) fn python() -> Option<String> {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tools/readers");
    let output = Command::new(script).output().expect("the script can be run");
    if output.status.success() {
        return Some(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    assert!(std::env::var("CI").is_err(), "DuckDB and boto3 cannot be had: {output:?}");
    say("skipped: DuckDB and boto3 cannot be had");
    None
}

/// Runs a program of Python; returns what it printed as JSON.
pub(crate) fn asked(python: &str, program: &str, args: &[&str]) -> Value {
    let output = Command::new(python).args(["-c", program]).args(args).output().expect("Python can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("the program prints JSON")
}

const BY_HOUR: &str = r#"
import duckdb, json, sys
source, columns = sys.argv[1:]
rows = duckdb.sql(f"""
    SELECT strftime(date_trunc('hour', t), '%Y-%m-%dT%H:%M:%SZ') AS h, k, count(DISTINCT i)
    FROM (SELECT {columns} FROM {source}) GROUP BY h, k ORDER BY h, k""").fetchall()
print(json.dumps(rows))
"#;

#[test]
fn duckdb_counts_what_the_rollups_say() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let root = folder.path().display();
    let read = |rest: &str| {
        format!(
            "read_json('{root}/{rest}', format = 'newline_delimited', columns = {{timestamp: 'TIMESTAMP', event_type: 'VARCHAR', event_id: 'VARCHAR'}})"
        )
    };
    let raw = "timestamp AS t, event_type AS k, event_id AS i";
    let typed = "event_time AT TIME ZONE 'UTC' AS t, event_type AS k, event_id AS i";
    let cases = [
        ("parquet", "none", format!("read_parquet('{root}/events/*/*/*/*/*.parquet')"), typed),
        ("ndjson", "none", read("events/*/*/*/*/events-*.json"), raw),
        ("ndjson", "gzip", read("events/*/*/*/*/events-*.json.gz"), raw),
        ("ndjson", "zstd", read("events/*/*/*/*/events-*.json.zst"), raw),
    ];
    for (format, compression, source, columns) in cases {
        let server = Server::start_with(
            "",
            &["--archive", &format!("file:{root}"), "--env-file", &{
                let path = folder.path().join("test.env");
                let text = format!(
                    "STREAMGAUGE_STREAM__EVENTS__ARCHIVE__FORMAT={format}\nSTREAMGAUGE_STREAM__EVENTS__ARCHIVE__COMPRESSION={compression}\nSTREAMGAUGE_STREAM__EVENTS__ARCHIVE__AGE=200ms\n"
                );
                std::fs::write(&path, text).expect("the variables can be written");
                path.display().to_string()
            }],
        );
        let shape =
            ["simulate", "--events", "5000", "--duration", "5h", "--duplicates", "3%", "--late", "2%"];
        assert!(server.command(&shape).status.success());
        assert!(server.command(&["flush"]).status.success());
        archived(&server);
        let counted = asked(&python, BY_HOUR, &[&source, columns]);
        let rollup = server.get("/v1/rollups/hourly_aggregations?limit=10000").json();
        let row = |row: &Value| {
            Value::from(vec![
                row["window_start"].clone(),
                row["event_type"].clone(),
                row["event_count"].clone(),
            ])
        };
        let expected: Vec<Value> = rollup["data"].as_array().expect("rows").iter().map(row).collect();
        assert!(!expected.is_empty());
        assert_eq!(counted, Value::from(expected), "{format} {compression}");
        std::fs::remove_dir_all(folder.path().join("events")).expect("the files are there");
    }
}

const GLOBS: &str = r#"
import boto3, fnmatch, json, sys
url, bucket, *globs = sys.argv[1:]
s3 = boto3.client('s3', endpoint_url=url, region_name='us-east-1',
                  aws_access_key_id='streamgauge', aws_secret_access_key='streamgauge-secret')
keys = [o['Key'] for page in s3.get_paginator('list_objects_v2').paginate(Bucket=bucket)
        for o in page.get('Contents', [])]
lines = lambda key: len(s3.get_object(Bucket=bucket, Key=key)['Body'].read().splitlines())
print(json.dumps([sum(lines(key) for key in keys if fnmatch.fnmatch(key, glob)) for glob in globs]))
"#;

#[test]
fn a_stock_client_lists_what_was_sent() {
    let Some(bucket) = Bucket::make("globs") else { return };
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut server = Server::start(&["--env-file", &bucket.variables(folder.path(), &bucket.url)]);
    let lines = [("content-type", "application/x-ndjson")];
    let pageview =
        r#"{"user_id":1234,"postcode":"SW19","webpage":"www.website.com/index.html","timestamp":1611662684}"#;
    let live = r#"{"event_id":"1","event_type":"donation","stream_id":"s1","amount_usd":5}"#;
    let event = r#"{"event_type":"a","session_id":"s"}"#;
    for at in 0..60 {
        let pageview = pageview.replace("SW19", &format!("SW{at}"));
        assert_eq!(server.post("/api/pageviews?wait=true", &[], pageview).status, 202);
    }
    // One of now closes what came before; those that come after it are late.
    let now = jiff::Timestamp::now().as_second().to_string();
    assert_eq!(
        server.post("/api/pageviews?wait=true", &[], pageview.replace("1611662684", &now)).status,
        202
    );
    for _ in 0..7 {
        assert_eq!(server.post("/api/pageviews?wait=true", &[], pageview).status, 202);
    }
    assert_eq!(server.post("/v1/events?stream=stream.events", &lines, vec![live; 30].join("\n")).status, 202);
    assert_eq!(server.post("/v1/events", &lines, vec![event; 1_234].join("\n")).status, 202);
    assert!(server.terminate().success());
    let globs = [
        "raw/2021/01/26/12/pageviews-*.ndjson",
        "raw/*/*/*/*/pageviews-*.ndjson",
        "aggregates/2021/01/26/aggregates-*.ndjson",
        "aggregates/2021/01/26/late-*.ndjson",
        "aggregates/*",
        "stream.events/*/*/*/*/events-*.ndjson",
        "events/*/*/*/*/events-*.json",
    ];
    let args = [[bucket.url.as_str(), &bucket.name].as_slice(), &globs].concat();
    assert_eq!(asked(&python, GLOBS, &args), serde_json::json!([67, 68, 60, 7, 67, 30, 1_234]));
}
