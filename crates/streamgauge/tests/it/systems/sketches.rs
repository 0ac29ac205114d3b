//! Distinct values, quantiles and frequent values of a rollup of one's own, on files and on servers, over restarts.

use serde_json::{Value, json};

use crate::harness::services::Services;
use crate::harness::{Launch, Server, run};

use super::flush;

const DEFINITIONS: &str = r#"
[[stream]]
name = "NAME"
partition_by = ["user_id"]

[[rollup]]
name = "visits"
stream = "NAME"
window = "1m"
by = ["site"]
measure = [
  { name = "visitors", fn = "distinct", field = "user_id" },
  { name = "p90_ms", fn = "quantile", field = "took_ms", q = 0.9, scale = 1 },
  { name = "pages", fn = "top", field = "page", k = 2 },
  { name = "errors_by_user", fn = "distinct", field = "user_id", where = { status = "500" } },
]
"#;

/// Sends visits of 40 users in two minutes, over six partitions where there are so many.
fn send(server: &Server, stream: &str, half: usize) {
    let visit = |at: usize| {
        let page = ["/", "/", "/", "/price", "/price", "/about"][at % 6];
        json!({"event_id": format!("e{at}"), "event_type": "visit", "ts": 1_740_000_000 + (at % 2) * 60,
            "site": "a", "user_id": format!("u{}", at % 40), "took_ms": at, "page": page,
            "status": if at.is_multiple_of(100) { 500 } else { 200 }})
        .to_string()
    };
    // Every second one of the other half is sent again.
    let lines: Vec<String> = (0..1_200).filter(|at| at % 2 == half || at % 4 == half).map(visit).collect();
    let answer = server.post(&format!("/v1/events?stream={stream}"), &[], lines.join("\n"));
    assert_eq!(answer.status, 202, "{}", answer.text());
    flush(server);
}

fn rows(server: &Server, query: &str) -> Vec<Value> {
    let answer = server.get(&format!("/v1/rollups/visits?{query}")).json();
    answer["data"].as_array().unwrap_or_else(|| panic!("{answer}")).clone()
}

fn check(launch: &Launch, stream: &str) {
    let mut server = Server::ready(launch);
    send(&server, stream, 0);
    server.kill9();
    let server = Server::ready(launch);
    send(&server, stream, 1);
    let minutes = rows(&server, "");
    let shown: Vec<String> = minutes
        .iter()
        .map(|row| {
            format!("{} {} {} {}", row["visitors"], row["p90_ms"], row["pages"], row["errors_by_user"])
        })
        .collect();
    // Each minute has every second visit: 20 users, and the numbers of one parity; 1078 and 1079 share a bucket.
    assert_eq!(
        shown,
        [
            r#"20 1078.3 [{"value":"/","count":400,"error":0},{"value":"/price","count":200,"error":0}] 2"#,
            r#"20 1078.3 [{"value":"/","count":200,"error":0},{"value":"/about","count":200,"error":0}] 0"#
        ]
        .map(|text| text.to_owned())
    );
    let hour = &rows(&server, "interval=1h")[0];
    assert_eq!((&hour["visitors"], &hour["errors_by_user"]), (&json!(40), &json!(2)), "{hour}");
    let best = server.get("/v1/rollups/visits/top?by=visitors").json();
    assert_eq!(best["data"][0]["visitors"], 40, "{best}");
    assert_eq!(server.get("/v1/rollups/visits/top?by=pages").status, 400);
    let csv = server.get("/v1/rollups/visits?format=csv").text();
    assert!(csv.contains(r#","[{""value"":""/"",""count"":400"#), "{csv}");
    assert!(server.command(&["audit"]).status.success());
}

#[test]
fn sketches_are_those_of_all_events() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let toml = DEFINITIONS.replace("NAME", "visits.raw");
    check(&Launch::new().data_dir(folder.path()).config(&toml), "visits.raw");
    let Some(services) = Services::shared() else { return };
    let name = format!("k{}", std::process::id());
    let toml = format!("{}\n[kafka]\ngroup = \"{name}\"\n", DEFINITIONS.replace("NAME", &name));
    let (log, store) = (format!("kafka://{}", services.kafka()), services.database(&name));
    check(&Launch::new().config(&toml).args(&["--log", &log, "--store", &store]), &name);
    let sql =
        "SELECT visitors || ' ' || p90_ms || ' ' || (pages->0->>'value') FROM visits ORDER BY window_start";
    assert_eq!(services.sql(&name, sql), Some(vec!["20 1078.3 /".to_owned(), "20 1078.3 /".to_owned()]));
    services.sql("postgres", &format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)"));
}

#[test]
fn measures_that_cannot_be_computed_are_refused_with_the_reason() {
    let refused = |measure: &str, more: &str| {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join("test.toml");
        let toml = format!(
            "[[stream]]\nname = \"s\"\n[[rollup]]\nname = \"r\"\nstream = \"s\"\nwindow = \"1h\"\n{more}\nmeasure = [{{ name = \"m\", {measure} }}]"
        );
        std::fs::write(&path, toml).expect("the file can be written");
        let output = run(&["config", "check", "--config", path.to_str().expect("the path is UTF-8")]);
        assert_eq!(output.status.code(), Some(78));
        String::from_utf8_lossy(&output.stderr).lines().skip(1).map(str::trim).collect::<Vec<_>>().join("; ")
    };
    for (measure, more, expect) in [
        (r#"fn = "level""#, "", "rollup.0.measure.0.up: a level needs up and down"),
        (
            r#"fn = "level", field = "x", up = { a = "b" }, down = { a = "c" }"#,
            "",
            "rollup.0.measure.0.field: there is no such key",
        ),
        (
            r#"fn = "level", up = { a = "b" }, down = { a = "c" }"#,
            "late = \"divert\"",
            "rollup.0.late: a level counts every event",
        ),
        (r#"fn = "distinct""#, "", "rollup.0.measure.0.field: a distinct needs a field"),
        (r#"fn = "distinct", field = "x", scale = 2"#, "", "rollup.0.measure.0.scale: there is no such key"),
        (
            r#"fn = "distinct", field = "x""#,
            "pane = \"15m\"",
            "rollup.0.pane: with distinct, quantile or top the pane is the window",
        ),
        (
            r#"fn = "quantile", field = "x", q = 95"#,
            "",
            "rollup.0.measure.0.q: is a number above 0 and at most 1",
        ),
        (r#"fn = "top", field = "x", k = 51"#, "", "rollup.0.measure.0.k: is between 1 and 50"),
    ] {
        let told = refused(measure, more);
        assert!(told.starts_with(expect), "{measure}: {told}");
    }
}
