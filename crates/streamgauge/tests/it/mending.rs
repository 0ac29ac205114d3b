//! Putting right by hand what was counted, or could not be: dead letters that are replayed, cells that are made again, events
//! that are deleted.

mod archived;
mod deletes;
mod lasting;
mod rebuilds;
mod replays;

use std::path::Path;

use serde_json::Value;

use crate::harness::{Launch, Server};

/// Orders with a raw table; what a test needs beside it comes behind.
const ORDERS: &str = r#"
[[stream]]
name = "orders"
topic = "TOPIC"
paths = ["/orders"]
partition_by = ["user_id"]
raw_table = { name = "orders_raw", keep = "7d" }
dedup = { records = 1000, horizon = "24h" }
[[rollup]]
name = "hourly"
stream = "orders"
window = "1h"
grace = "30s"
by = ["event_type"]
measure = [{ name = "n", fn = "count" }]
"#;

/// A rollup that reads numbers, so that what is none becomes a dead letter behind a door that did not know it.
const REVENUE: &str = r#"
[[rollup]]
name = "revenue"
stream = "orders"
window = "1h"
grace = "30s"
by = []
measure = [{ name = "total", fn = "sum", field = "amount", scale = 2 }]
"#;

/// Every kind of measure that is not only a sum, and a late lane.
const MEASURES: &str = r#"
[[rollup]]
name = "measures"
stream = "orders"
window = "1h"
grace = "30s"
by = ["event_type"]
measure = [
  { name = "least", fn = "min", field = "amount", scale = 2 },
  { name = "mean", fn = "avg", field = "amount", scale = 2 },
  { name = "open", fn = "level", up = { event_type = "open" }, down = { event_type = "close" } },
  { name = "users", fn = "distinct", field = "user_id" },
  { name = "half", fn = "quantile", field = "amount", scale = 2, q = 0.5 },
  { name = "best", fn = "top", field = "user_id", k = 3 },
]
[[rollup]]
name = "minutes"
stream = "orders"
window = "1m"
grace = "5m"
late = "divert"
by = ["user_id"]
measure = [{ name = "n", fn = "count" }]
"#;

const NDJSON: [(&str, &str); 1] = [("content-type", "application/x-ndjson")];

fn launch(data_dir: &Path, toml: &str) -> Launch {
    Launch::new().data_dir(data_dir).config(toml)
}

/// Configuration whose flushes wait until they are asked for.
fn unflushed(toml: &str) -> String {
    format!("[flush]\ninterval = \"120s\"\n{toml}")
}

fn flush(server: &Server) {
    assert_eq!(server.post("/v1/flush", &[], "").status, 200);
}

/// Returns the sum of a measure over all rows.
fn total(server: &Server, rollup: &str, measure: &str) -> f64 {
    let rows = server.get(&format!("/v1/rollups/{rollup}?limit=10000")).json();
    rows["data"].as_array().expect("rows").iter().filter_map(|row| row[measure].as_f64()).sum()
}

/// Runs a command that must end well; returns its output as JSON.
fn told(server: &Server, args: &[&str]) -> Value {
    let output = server.command(args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {output:?}"))
}
