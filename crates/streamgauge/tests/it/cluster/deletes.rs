//! Events that are deleted by a process that owns none of their partitions.

use serde_json::Value;

use super::{Cluster, turn};
use crate::harness::Server;
use crate::harness::services::Services;
use crate::harness::witness::audit;

/// Measures out of which something can be subtracted, and others.
const SHARED: &str = r#"
[[rollup]]
name = "levels"
stream = "events"
window = "1h"
grace = "30s"
by = ["event_type"]
measure = [
  { name = "open", fn = "level", up = { event_type = "open" }, down = { event_type = "close" } },
  { name = "mean", fn = "avg", field = "n", scale = 2 },
]
[[rollup]]
name = "sketches"
stream = "events"
window = "1h"
grace = "30s"
by = ["event_type"]
measure = [
  { name = "users", fn = "distinct", field = "user_id" },
  { name = "half", fn = "quantile", field = "n", scale = 0, q = 0.5 },
  { name = "most", fn = "max", field = "n", scale = 0 },
]
"#;

fn event(id: u32) -> String {
    let kind = ["open", "close", "other"][(id % 3) as usize];
    let time_s = 1_735_689_600 + i64::from(id * 37 % 14_400);
    format!(r#"{{"id":"{id}","type":"{kind}","user_id":"u{}","n":{id},"ts":{time_s}}}"#, id % 40)
}

fn post(server: &Server, ids: impl Iterator<Item = u32>) {
    let lines: Vec<String> = ids.map(event).collect();
    let ndjson = [("content-type", "application/x-ndjson")];
    assert_eq!(server.post("/events", &ndjson, lines.join("\n")).status, 202);
}

fn rows(server: &Server, rollup: &str) -> Value {
    let mut rows = server.get(&format!("/v1/rollups/{rollup}?limit=10000")).json()["data"].take();
    for row in rows.as_array_mut().expect("rows") {
        let row = row.as_object_mut().expect("a row");
        row.retain(|member, _| !["revision", "is_final", "late_count"].contains(&member.as_str()));
    }
    rows
}

fn done(server: &Server, args: &[&str]) -> Value {
    let output = server.command(args);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = text.lines().last().unwrap_or_else(|| panic!("{output:?}\n{}", server.stderr()));
    let last: Value = serde_json::from_str(last).expect("a line of JSON");
    assert!(output.status.success() && !last["done"].is_null(), "{output:?}\n{}", server.stderr());
    last["done"].clone()
}

#[test]
fn events_are_deleted_by_any_process() {
    let _turn = turn();
    if Services::shared().is_none() {
        return;
    }
    let services = || Services::shared().expect("they are there");
    let rollups = ["hourly_aggregations", "levels", "sketches"];
    let goes = |id: &u32| id % 40 == 7 || id % 40 == 21;
    let expected = {
        let mut cluster = Cluster::new(services());
        cluster.toml += SHARED;
        let all = cluster.start("ingest,process,query");
        post(&all, (0..2_100).filter(|id| !goes(id)));
        assert_eq!(all.post("/v1/flush", &[], "").status, 200);
        rollups.map(|rollup| rows(&all, rollup))
    };
    let mut cluster = Cluster::new(services());
    cluster.toml += SHARED;
    let process = cluster.start("ingest,process");
    let query = cluster.start("query");
    post(&process, 0..2_000);
    post(&process, 500..700);
    assert_eq!(query.post("/v1/flush", &[], "").status, 200);
    let conditions = "user_id in ('u7', 'u21')";
    let dry = done(&query, &["events", "delete", "--json", "--dry-run", "--where", conditions]);
    assert_eq!((dry["matched"].as_u64(), dry["deleted"].as_u64()), (Some(100), Some(0)), "{dry}");
    // Others go on counting.
    post(&process, 2_000..2_100);
    assert_eq!(query.post("/v1/flush", &[], "").status, 200);
    let deleted = done(&query, &["events", "delete", "--json", "--where", conditions]);
    let all = (0..2_100).filter(goes).count() as u64;
    assert_eq!(deleted["deleted"].as_u64(), Some(all), "{deleted}");
    audit(&query, &[]);
    assert_eq!(rollups.map(|rollup| rows(&query, rollup)), expected);
    assert_eq!(done(&query, &["rebuild", "--json", "--dry-run"])["differing"], 0);
    assert_eq!(query.get("/v1/events/7").json()["fate"], "deleted");
    let again = done(&query, &["events", "delete", "--json", "--where", conditions]);
    assert_eq!(again["matched"], 0, "{again}");
    // A copy is a duplicate still, on whatever partition its key lies.
    post(&process, (0..2_000).filter(goes));
    assert_eq!(query.post("/v1/flush", &[], "").status, 200);
    assert_eq!(rollups.map(|rollup| rows(&query, rollup)), expected);
    audit(&query, &[]);
}
