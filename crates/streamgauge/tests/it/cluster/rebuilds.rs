//! Cells that are made again from several partitions of a topic, by a process that owns none of them.

use serde_json::Value;

use super::{Cluster, turn};
use crate::harness::services::Services;
use crate::harness::witness::audit;
use crate::harness::{Server, until};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// Measures beside a count, and levels and sketches that several partitions share.
fn more(name: &str) -> String {
    format!(
        r#"
[[rollup]]
name = "{name}"
stream = "events"
window = "1h"
grace = "30s"
by = ["event_type"]
measure = [
  {{ name = "open", fn = "level", up = {{ event_type = "open" }}, down = {{ event_type = "close" }} }},
  {{ name = "users", fn = "distinct", field = "user_id" }},
  {{ name = "half", fn = "quantile", field = "n", scale = 0, q = 0.5 }},
  {{ name = "mean", fn = "avg", field = "n", scale = 2 }},
]
"#
    )
}

fn post(server: &Server, ids: std::ops::Range<u32>) {
    let event = |id: u32| {
        let kind = ["open", "close", "other"][(id % 3) as usize];
        let time_s = 1_735_689_600 + i64::from(id * 37 % 14_400);
        format!(r#"{{"id":"{id}","type":"{kind}","user_id":"u{}","n":{id},"ts":{time_s}}}"#, id % 40)
    };
    let lines: Vec<String> = ids.map(event).collect();
    let ndjson = [("content-type", "application/x-ndjson")];
    assert_eq!(server.post("/events", &ndjson, lines.join("\n")).status, 202);
}

fn rows(server: &Server, rollup: &str) -> Value {
    let mut rows = server.get(&format!("/v1/rollups/{rollup}?limit=10000")).json()["data"].take();
    for row in rows.as_array_mut().expect("rows") {
        let row = row.as_object_mut().expect("a row");
        row.remove("revision");
        row.remove("is_final");
    }
    rows
}

fn rebuild(server: &Server, args: &[&str]) -> (Option<i32>, usize) {
    let output = server.command(&[&["rebuild", "--json"][..], args].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("\"done\""), "{output:?}\n{}", server.stderr());
    (output.status.code(), text.lines().filter(|line| line.starts_with("{\"differs\"")).count())
}

#[test]
fn cells_are_made_again_by_any_process() {
    let _turn = turn();
    let Some(services) = Services::shared() else { return };
    let mut cluster = Cluster::new(services);
    cluster.toml += &more("shared");
    let mut process = cluster.start("ingest,process");
    let query = cluster.start("query");
    post(&process, 0..2_000);
    post(&process, 500..700);
    assert_eq!(query.post("/v1/flush", &[], "").status, 200);
    audit(&query, &[]);
    let before = (rows(&query, "hourly_aggregations"), rows(&query, "shared"));
    assert_eq!(rebuild(&query, &["--dry-run"]), (Some(0), 0));

    let sql = |sql: &str| cluster.services.sql(&cluster.name, sql).expect("the store can be damaged");
    sql(
        "UPDATE sg_cells_hourly_aggregations SET m0 = m0 + 5 WHERE d0 = 'open' AND pane = '2025-01-01T00:15:00Z'",
    );
    sql("UPDATE sg_cells_shared SET m0 = m0 + 5 WHERE d0 = 'open' AND pane = '2025-01-01T00:00:00Z'");
    sql("UPDATE sg_sketches_shared SET s1 = (SELECT s1 FROM sg_sketches_shared WHERE d0 = 'close' LIMIT 1) \
         WHERE d0 = 'other' AND pane = '2025-01-01T01:00:00Z'");
    sql("DELETE FROM sg_cells_hourly_aggregations WHERE d0 = 'close' AND pane = '2025-01-01T01:15:00Z'");
    assert_eq!(rebuild(&query, &["--dry-run"]), (Some(1), 4));
    // Others go on counting.
    post(&process, 2_000..2_100);
    assert_eq!(rebuild(&query, &[]), (Some(0), 4));
    until(PATIENCE, "the new ones are counted", || query.post("/v1/flush", &[], "").status == 200);
    audit(&query, &[]);
    assert_eq!(rebuild(&query, &["--dry-run"]), (Some(0), 0));
    assert_ne!((rows(&query, "hourly_aggregations"), rows(&query, "shared")), before, "100 more");

    process.kill9();
    drop(query);
    cluster.toml += &more("added");
    let all = cluster.start("ingest,process,query");
    post(&all, 3_000..3_200);
    assert_eq!(all.post("/v1/flush", &[], "").status, 200);
    let (code, differing) = rebuild(&all, &["--rollup", "added"]);
    assert!(code == Some(0) && differing > 0);
    assert_eq!(rows(&all, "added"), rows(&all, "shared"));
    audit(&all, &[]);

    drop(all);
    let other = more("added").replace("\"user_id\" }", "\"n\" }");
    cluster.toml = cluster.toml.replace(&more("added"), &other);
    let all = Server::ready(&cluster.launch("ingest,process,query").args(&["--rebuild", "added"]));
    until(PATIENCE, "the rollup is filled up under its new definition", || {
        let status = all.get("/v1/status").json();
        let rollups = status["rollups"].as_array().expect("rollups").clone();
        let added = rollups.iter().find(|rollup| rollup["name"] == "added").expect("the rollup").clone();
        added["complete_from"].is_null() && !rows(&all, "added").as_array().expect("rows").is_empty()
    });
    audit(&all, &[]);
    assert_ne!(rows(&all, "added"), rows(&all, "shared"));
    assert_eq!(rebuild(&all, &["--dry-run"]), (Some(0), 0));
}

/// Takes records out of a topic as its retention does: of each partition those before an offset.
fn lose(cluster: &Cluster, offsets: &[(u64, u64)]) {
    let partition = |(partition, offset): &(u64, u64)| serde_json::json!({"topic": cluster.name, "partition": partition, "offset": offset});
    let partitions: Vec<Value> = offsets.iter().map(partition).collect();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("offsets.json");
    let wish = serde_json::json!({"version": 1, "partitions": partitions});
    std::fs::write(&file, wish.to_string()).expect("it can be written");
    let args = ["--offset-json-file", &file.display().to_string()];
    cluster.services.kafka_tool("org.apache.kafka.tools.DeleteRecordsCommand", &args);
}

fn partitions(server: &Server) -> Vec<Value> {
    server.get("/v1/status").json()["streams"][0]["partitions"].as_array().expect("partitions").clone()
}

#[test]
fn what_a_topic_has_lost_comes_from_the_archive() {
    let _turn = turn();
    let Some(services) = Services::shared() else { return };
    let mut cluster = Cluster::new(services);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let small = "idle_timeout = \"2s\"\narchive = { layout = \"e/{HH}/events-{ts}.json\", rows = 20, age = \"200ms\" }\n";
    let archive = format!("archive = \"file:{}\"\n", folder.path().display());
    cluster.toml = archive + &cluster.toml.replace("idle_timeout = \"2s\"\n", small) + &more("shared");
    let all = cluster.start("ingest,process,query,archive");
    post(&all, 0..800);
    // Those of others have no ids, no times, or cannot be read; some come twice under one id.
    let foreign = |at: u32| match at % 4 {
        0 => format!(r#"{{"id":"f{}","type":"other","user_id":"u","n":{at},"ts":1735689600}}"#, at / 8),
        1 => format!(r#"{{"type":"open","user_id":"v{at}","n":1}}"#),
        2 => format!(r#"{{"id":"bad{at}","type":"close","n":"much"}}"#),
        _ => format!("no event {at}"),
    };
    cluster.services.produce(&cluster.name, &(0..200).map(foreign).collect::<Vec<_>>());
    post(&all, 700..1_200);
    let processed =
        || partitions(&all).iter().filter_map(|one| one["ledger"]["processed"].as_u64()).sum::<u64>();
    until(PATIENCE, "everything is counted", || {
        assert_eq!(all.post("/v1/flush", &[], "").status, 200);
        processed() == 1_500
    });
    crate::archive::archived(&all);
    let halves: Vec<(u64, u64)> = partitions(&all)
        .iter()
        .filter_map(|one| Some((one["partition"].as_u64()?, one["log_end"].as_u64()? * 2 / 3)))
        .collect();
    lose(&cluster, &halves);
    let starts = || partitions(&all).iter().filter_map(|one| one["log_start"].as_u64()).sum::<u64>();
    let lost: u64 = halves.iter().map(|(_, offset)| offset).sum();
    until(PATIENCE, "the topic has lost them", || starts() == lost);
    let before = (rows(&all, "hourly_aggregations"), rows(&all, "shared"));
    assert_eq!(rebuild(&all, &["--dry-run"]), (Some(0), 0));
    let sql = |sql: &str| cluster.services.sql(&cluster.name, sql).expect("the store can be damaged");
    sql("UPDATE sg_cells_hourly_aggregations SET m0 = m0 - 1, events = events - 1 WHERE d0 = 'open'");
    sql("DELETE FROM sg_cells_shared WHERE d0 = 'other'");
    sql("UPDATE sg_sketches_shared SET s1 = (SELECT s1 FROM sg_sketches_shared WHERE d0 = 'open' LIMIT 1) \
         WHERE d0 = 'close'");
    // A process that only answers reads the archive as well, where it knows of it.
    let query = cluster.start("query");
    assert_eq!(rebuild(&query, &[]).0, Some(0));
    assert_eq!((rows(&all, "hourly_aggregations"), rows(&all, "shared")), before);
    audit(&all, &[]);
}
