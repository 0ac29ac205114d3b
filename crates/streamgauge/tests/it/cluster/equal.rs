//! One answer, whatever holds the events: SQLite or PostgreSQL, an own log or Kafka.

use std::process::Command;

use serde_json::Value;

use super::{Cluster, turn};
use crate::harness::dice::{self, Dice};
use crate::harness::services::Services;
use crate::harness::witness::audit;
use crate::harness::{BINARY, Launch, PATIENCE, Server, run, until};

/// Every kind of measure, with dimensions, a condition and a late lane.
const ROLLUPS: &str = r#"
[flush]
interval = "20ms"
[[stream]]
name = "events"
topic = "TOPIC"
paths = ["/events"]
partition_by = ["user_id"]
raw_table = { name = "events", keep = "7d" }
[[rollup]]
name = "hourly"
stream = "events"
window = "1h"
pane = "15m"
grace = "30s"
by = ["event_type", "country"]
measure = [
  { name = "n", fn = "count" },
  { name = "total", fn = "sum", field = "amount", scale = 2 },
  { name = "least", fn = "min", field = "amount", scale = 2 },
  { name = "most", fn = "max", field = "amount", scale = 2 },
  { name = "mean", fn = "avg", field = "amount", scale = 2 },
  { name = "bought", fn = "sum", field = "amount", scale = 4, where = { event_type = "purchase" } },
]
[[rollup]]
name = "minutes"
stream = "events"
window = "1m"
grace = "10m"
by = []
measure = [{ name = "n", fn = "count" }]
"#;

/// Questions whose answers must not depend on where they come from.
const QUESTIONS: [&str; 12] = [
    "/v1/rollups/hourly",
    "/v1/rollups/hourly?interval=1d&tz=Asia/Kathmandu",
    "/v1/rollups/hourly?event_type=purchase",
    "/v1/rollups/hourly?country=",
    "/v1/rollups/hourly?event_type=%C3%A4%20b&country=NP",
    "/v1/rollups/hourly?limit=7",
    "/v1/rollups/hourly?format=csv",
    "/v1/rollups/hourly/top?by=total&n=5",
    "/v1/rollups/hourly/top?by=mean&n=3",
    "/v1/rollups/minutes?from=2025-01-01T01:00:00Z&to=2025-01-01T01:30:00Z&fill=zero",
    "/v1/rollups/minutes?interval=1h",
    "/v1/events?from=2025-01-01T02:00:00Z&to=2025-01-01T02:05:00Z&limit=1000",
];

/// Which log and which store.
fn launches(services: &Services, cluster: &Cluster) -> Vec<(&'static str, Launch)> {
    let toml = ROLLUPS.replace("TOPIC", &cluster.name);
    let kafka = format!("kafka://{}", services.kafka());
    let (one, two) =
        (cluster.services.database(&cluster.name), cluster.services.database(&format!("{}_b", cluster.name)));
    let group = |name: &str| format!("{toml}\n[kafka]\ngroup = \"{}_{name}\"\n", cluster.name);
    vec![
        ("sqlite + embedded", Launch::new().config(&toml)),
        ("postgres + embedded", Launch::new().config(&toml).args(&["--store", &one])),
        ("sqlite + kafka", Launch::new().config(&group("s")).args(&["--log", &kafka])),
        ("postgres + kafka", Launch::new().config(&group("p")).args(&["--log", &kafka, "--store", &two])),
    ]
}

fn events(seed: u64) -> Vec<String> {
    let mut dice = Dice::new(seed);
    let types = ["page_view", "purchase", "ä b", "click"];
    let countries = ["\"NP\"", "\"AT\"", "null", "\"\"", "\"a\\\"b\"", "\"z,z\""];
    let mut pick = |limit: usize| dice.below(limit as u64) as usize;
    let event = |id: usize| {
        let amount = match pick(6) {
            0 => String::new(),
            1 => ",\"amount\":null".to_owned(),
            2 => format!(",\"amount\":\"-{}.{}5\"", pick(900), pick(100)),
            3 => format!(",\"amount\":{}e{}", pick(99), pick(20)),
            _ => format!(",\"amount\":{}.{:02}", pick(100_000), pick(100)),
        };
        let time_s = 1_735_689_600 + pick(12 * 3_600);
        format!(
            "{{\"id\":\"{}\",\"type\":\"{}\",\"user_id\":\"u{}\",\"ts\":{time_s},\"country\":{}{amount}}}",
            // Some are sent twice.
            id - id % 20 / 19,
            types[pick(types.len())],
            id / 20 % 7,
            countries[pick(countries.len())]
        )
    };
    (0..4_000).map(event).collect()
}

/// Leaves out of an answer what tells its history: how often and how late things came, and what it is as of.
fn timeless(mut answer: Value) -> Value {
    if let Some(answer) = answer.as_object_mut() {
        answer.remove("as_of");
        answer.remove("next_cursor");
    }
    if let Some(rows) = answer["data"].as_array_mut() {
        for row in rows.iter_mut().filter_map(Value::as_object_mut) {
            for member in ["late_count", "revision", "is_final", "received_at", "partition", "offset"] {
                row.remove(member);
            }
        }
        // Events of one time stand in the order of the log, which is not the same on both.
        if rows.iter().any(|row| row.get("event_id").is_some()) {
            rows.sort_by_key(|row| row["event_id"].to_string());
        }
    }
    answer
}

fn csv_without_history(text: &str) -> Vec<String> {
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let count = header.iter().take_while(|name| **name != "late_count").count();
    // Commas inside quotes are counted from the end: history stands last.
    let cut = header.len() - count;
    text.lines().map(|line| line.rsplitn(cut + 1, ',').last().unwrap_or_default().to_owned()).collect()
}

#[test]
fn the_same_events_give_the_same_answers_everywhere() {
    let _turn = turn();
    let Some(services) = Services::shared() else { return };
    let cluster = Cluster::new(services);
    let events = events(dice::seed("equal"));
    let mut expected: Option<Vec<String>> = None;
    // Both servers on Kafka read one topic, into stores of their own; events are sent once.
    let mut is_topic_filled = false;
    for (name, launch) in launches(&cluster.services, &cluster) {
        let server = Server::ready(&launch);
        let on_kafka = name.ends_with("kafka");
        if !(on_kafka && is_topic_filled) {
            for chunk in events.chunks(137) {
                let ndjson = [("content-type", "application/x-ndjson")];
                assert_eq!(server.post("/events", &ndjson, chunk.join("\n")).status, 202);
            }
            is_topic_filled |= on_kafka;
        }
        until(PATIENCE, "everything is counted", || {
            let status = server.get("/v1/status").json();
            let partitions = status["streams"][0]["partitions"].as_array().expect("a list");
            !partitions.is_empty() && partitions.iter().all(|partition| partition["lag"] == 0)
        });
        audit(&server, &[]);
        let answers: Vec<String> = QUESTIONS
            .iter()
            .map(|question| {
                let answer = server.get(question);
                assert_eq!(answer.status, 200, "{name} {question}: {}", answer.text());
                if question.ends_with("csv") {
                    return csv_without_history(&answer.text()).join("\n");
                }
                format!("{:#}", timeless(answer.json()))
            })
            .collect();
        let expected = expected.get_or_insert_with(|| answers.clone());
        for ((question, answer), expected) in QUESTIONS.iter().zip(&answers).zip(expected.iter()) {
            assert_eq!(answer, expected, "{name} {question}");
        }
    }
    cluster.services.sql("postgres", &format!("DROP DATABASE IF EXISTS \"{}_b\" WITH (FORCE)", cluster.name));
}

/// A simulated run gives the expected cells on every pair of log and store, the diverted ones counted with the others.
#[test]
fn a_simulation_ends_in_the_expected_cells_on_every_pair() {
    let _turn = turn();
    let Some(services) = Services::shared() else { return };
    let cluster = Cluster::new(services);
    let events = dice::number("SG_EQUAL_EVENTS", 20_000).to_string();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut files = Vec::new();
    for (at, (log, store)) in [("", ""), ("", "p"), ("k", ""), ("k", "p")].into_iter().enumerate() {
        let topic = format!("{}_{at}", cluster.name);
        let database = cluster.services.database(&topic);
        let kafka = format!("kafka://{}", cluster.services.kafka());
        let mut args = Vec::new();
        if log == "k" {
            args.extend(["--log", kafka.as_str()]);
        }
        if store == "p" {
            args.extend(["--store", database.as_str()]);
        }
        let toml = cluster.toml.replace(&format!("\"{}\"", cluster.name), &format!("\"{topic}\""));
        let own: String = toml
            .lines()
            .filter(|line| !line.trim().starts_with("log =") && !line.trim().starts_with("store ="))
            .collect::<Vec<_>>()
            .join("\n");
        let server = Server::ready(&Launch::new().config(&own).args(&args));
        let expected = folder.path().join(format!("{at}.json")).display().to_string();
        let output = run(&[
            "simulate",
            "--events",
            &events,
            "--seed",
            "7",
            "--late",
            "2%",
            "--duplicates",
            "3%",
            "--disorder",
            "60s",
            "--expect",
            &expected,
            "--url",
            &server.url(),
        ]);
        assert!(output.status.success(), "{output:?}");
        audit(&server, &["--expect", &expected]);
        files.push(std::fs::read(&expected).expect("the expected cells were written"));
        cluster.services.sql("postgres", &format!("DROP DATABASE IF EXISTS \"{topic}\" WITH (FORCE)"));
    }
    assert!(files.windows(2).all(|pair| pair[0] == pair[1]), "one seed makes one set of cells");
}

/// Events that another producer writes to the topic are counted as those that came through a door.
#[test]
fn events_that_others_write_to_the_topic_are_counted() {
    let _turn = turn();
    let Some(services) = Services::shared() else { return };
    let cluster = Cluster::new(services);
    let server = cluster.start("process,query");
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    std::fs::write(folder.path().join("streamgauge.toml"), &cluster.toml).expect("it can be written");
    let expected = folder.path().join("expected.json").display().to_string();
    let simulate = |seed: &str| {
        let args = ["simulate", "--events", "20000", "--seed", seed, "--late", "2%", "--duplicates", "3%"];
        let output = Command::new(BINARY)
            .args(args)
            .args(["--kafka", cluster.services.kafka(), "--expect", &expected, "--url", &server.url()])
            .current_dir(folder.path())
            .output()
            .expect("the binary can be run");
        assert!(output.status.success(), "{output:?}");
    };
    simulate("7");
    audit(&server, &["--expect", &expected]);
    // A second run is all duplicates.
    simulate("7");
    audit(&server, &["--expect", &expected]);
}
