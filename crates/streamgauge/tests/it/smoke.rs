//! The smoke test against servers that are well, servers that are not, and none.

use std::process::Output;

use serde_json::Value;

use super::harness::services::Services;
use super::harness::{Launch, Server, dice, run, run_with};

const BUILTIN: &str = include_str!("../../src/config/builtin.toml");
const SYSTEMS: [&str; 5] =
    ["hourly-aggregations", "pageviews", "stream-metrics", "event-platform", "web-analytics"];

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", told(output)))
}

/// Returns the subjects of the checks that hold, or of those that do not.
fn subjects(report: &Value, holds: bool) -> Vec<String> {
    let checks = report["checks"].as_array().expect("checks");
    let mine = checks.iter().filter(|check| check["holds"] == holds);
    mine.map(|check| check["subject"].as_str().expect("a subject").to_owned()).collect()
}

#[test]
fn a_server_that_is_well_passes_again_and_again() {
    let server = Server::start(&[]);
    let mut marks = Vec::new();
    for _ in 0..2 {
        let output = server.command(&["smoke", "--json"]);
        assert_eq!(output.status.code(), Some(0), "{}\n{}", told(&output), server.stderr());
        let report = report(&output);
        assert_eq!((&report["ok"], &report["left_out"]), (&true.into(), &Value::Array(Vec::new())));
        let held = subjects(&report, true);
        for system in SYSTEMS {
            assert!(held.iter().any(|subject| subject.starts_with(system)), "{system}: {held:?}");
        }
        marks.push(report["mark"].as_str().expect("a mark").to_owned());
    }
    assert_ne!(marks[0], marks[1]);
    // What it sent is there, under the name that it told.
    let rows =
        server.get(&format!("/v1/rollups/stream_metrics_minute?stream_id={}&from=-1h", marks[0])).json();
    assert_eq!(rows["data"][0]["donations_usd"].to_string(), "112.45", "{rows}");
}

#[test]
fn it_prints_a_line_a_check_and_says_what_stays() {
    // A server that writes only when it is told to is told to.
    let server = Server::start_with("flush = { interval = \"1h\", max_events = 50_000 }", &[]);
    let output = server.command(&["smoke"]);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines: Vec<&str> = text.lines().collect();
    let last = lines.pop().expect("a line");
    assert!(last.starts_with("the events of this test stay: ") && last.contains("smoke-"), "{last}");
    assert!(lines.len() >= 25 && lines.iter().all(|line| line.starts_with("✓ ")), "{text}");
}

#[test]
fn other_traffic_does_not_disturb_it() {
    let server = Server::start(&["--demo"]);
    let output = server.command(&["smoke"]);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
}

#[test]
fn the_port_that_asks_for_rows_is_known_by_its_answer() {
    let server = Server::ready(&Launch::new().listening("127.0.0.1:0,metrics=rows"));
    let output = server.command(&["smoke", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    let report = report(&output);
    let checks = report["checks"].as_array().expect("checks");
    let bare = checks.iter().find(|check| check["subject"] == "stream-metrics: GET /metrics");
    assert_eq!(bare.expect("it is checked")["detail"], "rows");
}

#[test]
fn what_is_not_configured_is_left_out_and_named() {
    let toml = "[[stream]]\nname = \"orders\"\npaths = [\"/orders\"]\n[[rollup]]\nname = \"hourly\"\nstream = \"orders\"\n\
                window = \"1h\"\nby = []\n[[rollup.measure]]\nname = \"n\"\nfn = \"count\"\n";
    let server = Server::start_with(toml, &[]);
    let output = server.command(&["smoke", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    let report = report(&output);
    assert_eq!(report["left_out"].as_array().map(Vec::len), Some(3), "{report}");
    assert_eq!(subjects(&report, true), ["ready", "ledger"]);
}

#[test]
fn a_server_that_counts_otherwise_fails_with_the_reason() {
    // Donations in whole dollars, and pageviews that are of one kind of type only.
    let toml = BUILTIN.replace("  scale = 2\n", "  scale = 0\n").replace(
        "name = \"pageview_count\"\n  fn   = \"count\"\n",
        "name = \"pageview_count\"\n  fn   = \"count\"\n  where = { event_type = \"other\" }\n",
    );
    let server = Server::start_with(&toml, &[]);
    let output = server.command(&["smoke", "--json", "--patience", "1s"]);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    let report = report(&output);
    assert_eq!(report["ok"], false);
    let failed = subjects(&report, false);
    assert_eq!(
        failed,
        [
            "stream-metrics: donations are exact, one of them sent twice",
            "pageviews: equal ones are counted each"
        ]
    );
    let text = report.to_string();
    assert!(text.contains("is 112.00, and 112.45 was sent"), "{text}");
    assert!(text.contains("is 0, and 3 was sent"), "{text}");
    let lines = server.command(&["smoke", "--patience", "1s"]);
    assert_eq!(String::from_utf8_lossy(&lines.stdout).matches("✗ ").count(), 2, "{}", told(&lines));
}

#[test]
fn nobody_there_is_no_failed_check() {
    let output = run(&["smoke", "--url", "http://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(69), "{}", told(&output));
    assert!(output.stdout.is_empty());
    let output = run(&["smoke", "--kafka", "--url", "http://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(69), "{}", told(&output));
}

#[test]
fn brokers_beside_an_embedded_log_are_told() {
    let server = Server::start(&[]);
    let output = server.command(&["smoke", "--json", "--kafka", "127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    let failed = subjects(&report(&output), false);
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert!(failed.iter().all(|subject| subject.ends_with("an event is written straight to the topic")));
    let output = server.command(&["smoke", "--kafka"]);
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
}

#[test]
fn on_kafka_and_postgresql_topics_are_written_too() {
    let Some(services) = Services::shared() else { return };
    let name = format!("k{}_{:x}", std::process::id(), dice::seed("smoke"));
    let toml = BUILTIN
        .replace("topic        = \"", &format!("topic = \"{name}."))
        .replace("group           = \"streamgauge\"", &format!("group = \"{name}\""));
    let (log, store) = (format!("kafka://{}", services.kafka()), services.database(&name));
    let server = Server::ready(&Launch::new().config(&toml).args(&["--log", &log, "--store", &store]));
    let topics = [
        ("STREAMGAUGE_STREAM__EVENTS__TOPIC", format!("{name}.events")),
        ("STREAMGAUGE_STREAM__STREAM_EVENTS__TOPIC", format!("{name}.stream.events")),
    ];
    let mut variables: Vec<(&str, &str)> = topics.iter().map(|(key, topic)| (*key, topic.as_str())).collect();
    variables.push(("KAFKA_BOOTSTRAP_SERVERS", services.kafka()));
    let output = run_with(&variables, &["smoke", "--json", "--kafka", "--url", &server.url()]);
    assert_eq!(output.status.code(), Some(0), "{}\n{}", told(&output), server.stderr());
    let report = report(&output);
    let to_topic =
        subjects(&report, true).iter().filter(|subject| subject.ends_with("straight to the topic")).count();
    assert_eq!(to_topic, 2);
    assert!(report.to_string().contains("is 1112.50"), "{report}");
    drop(server);
    services.sql("postgres", &format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)"));
}
