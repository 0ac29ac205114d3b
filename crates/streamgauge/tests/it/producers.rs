//! The producers and load tests of other systems, as forms of `simulate` and `load`, against a real server: what they
//! send is counted, from flags or from variables alone, over HTTP and straight to topics.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::harness::services::Services;
use super::harness::witness::audit;
use super::harness::{BINARY, Launch, PATIENCE, Server, dice, run_with, until};

const BUILTIN: &str = include_str!("../../src/config/builtin.toml");

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs a command with variables that must end with this code; returns its JSON.
fn summary(code: i32, variables: &[(&str, &str)], line: &str) -> Value {
    let mut args: Vec<&str> = line.split_whitespace().collect();
    args.push("--json");
    let output = run_with(variables, &args);
    assert_eq!(output.status.code(), Some(code), "{line}: {}", told(&output));
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{line}: {error}: {}", told(&output)))
}

/// Returns the sum of a measure over all rows of a rollup, whatever their windows.
fn total(server: &Server, rollup: &str, measure: &str) -> u64 {
    assert_eq!(server.post("/v1/flush", &[], "").status, 200);
    let rows = server.get(&format!("/v1/rollups/{rollup}?from=-3d&limit=10000")).json();
    let rows = rows["data"].as_array().unwrap_or_else(|| panic!("{rows}")).clone();
    rows.iter().filter_map(|row| row[measure].as_u64()).sum()
}

fn counted(server: &Server) -> u64 {
    total(server, "hourly_aggregations", "event_count")
}

#[test]
fn bulk_needs_no_more_than_its_variable() {
    let server = Server::start(&[]);
    let line = format!("simulate --form bulk --url {}", server.url());
    let sent = summary(0, &[("EVENT_COUNT", "500")], &line);
    assert_eq!((&sent["sent"], &sent["accepted"], &sent["rejected"]), (&500.into(), &500.into(), &0.into()));
    assert_eq!(counted(&server), 500);
    // Another run is other events, and a flag goes before the variable.
    let sent = summary(0, &[("EVENT_COUNT", "500")], &format!("{line} --events 70"));
    assert_eq!(sent["accepted"], 70);
    assert_eq!(counted(&server), 570);
    audit(&server, &[]);
}

#[test]
fn what_a_form_sends_is_what_its_file_expects() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    for (form, extra) in [
        ("bulk --events 3000", "--late 2% --duplicates 2% --disorder 5s"),
        ("simulation --events 300 --duration 1s", "--duplicates 5%"),
        ("generator --events 200 --rate 400 --users 7", "--late 3%"),
        ("send-events --events 60", "--duplicates 10%"),
        ("default --events 20 --rate 500", ""),
    ] {
        let server_of_its_own = Server::start(&[]);
        let file = folder.path().join(form.replace(' ', "_"));
        let url = server_of_its_own.url();
        let line = format!("simulate --form {form} {extra} --expect {} --url {url}", file.display());
        let sent = summary(0, &[], &line);
        assert_eq!(sent["accepted"], sent["sent"], "{form}");
        audit(&server_of_its_own, &["--expect", &file.display().to_string()]);
        // The same file does not fit a server that got nothing.
        let other = server.command(&["audit", "--expect", &file.display().to_string()]);
        assert_eq!(other.status.code(), Some(1), "{form}: {}", told(&other));
    }
}

#[test]
fn a_simulation_is_spread_over_its_hours() {
    let server = Server::start(&[]);
    let variables = [("SIMULATION_DURATION_HOURS", "0.001"), ("TARGET_EVENT_COUNT", "200")];
    let sent = summary(0, &variables, &format!("simulate --form simulation --url {}", server.url()));
    assert_eq!(sent["accepted"], 200);
    let seconds = sent["seconds"].as_f64().expect("a number");
    assert!(seconds >= 3.6, "200 events over 3.6 s took {seconds} s");
    assert_eq!(counted(&server), 200);
}

#[test]
fn the_generator_minds_its_variables() {
    let server = Server::start(&[]);
    let variables = [("EVENTS_PER_SEC", "200"), ("STREAM_IDS", "left,right"), ("USER_COUNT", "3")];
    let line = format!("simulate --form generator --events 300 --url {}", server.url());
    assert_eq!(summary(0, &variables, &line)["accepted"], 300);
    assert_eq!(server.post("/v1/flush", &[], "").status, 200);
    let rows = server.get("/metrics/latest").json();
    let mut streams: Vec<&str> =
        rows["rows"].as_array().expect("rows").iter().filter_map(|row| row["stream_id"].as_str()).collect();
    streams.sort_unstable();
    assert_eq!(streams, ["left", "right"]);
    audit(&server, &[]);
}

#[test]
fn a_producer_without_an_end_runs_until_it_is_stopped() {
    let server = Server::start(&[]);
    for (form, rate) in [("generator", "200"), ("default", "100")] {
        let url = server.url();
        let args = ["simulate", "--form", form, "--rate", rate, "--json", "--url", &url];
        let mut command = Command::new(BINARY);
        let child = command.args(args).env_clear().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let child = child.expect("the binary can be run");
        let before = processed(&server);
        until(PATIENCE, "events come", || processed(&server) >= before + 30);
        kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(0), "{form}: {}", told(&output));
        let sent: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(sent["sent"], sent["accepted"], "{form}: what was sent before the end is answered");
        audit(&server, &[]);
        assert_eq!(processed(&server) - before, sent["accepted"].as_u64().expect("a number"), "{form}");
    }
}

fn processed(server: &Server) -> u64 {
    let status = server.get("/v1/status").json();
    let streams = status["streams"].as_array().expect("streams").clone();
    let partitions =
        streams.iter().flat_map(|stream| stream["partitions"].as_array().cloned().unwrap_or_default());
    partitions.filter_map(|partition| partition["ledger"]["processed"].as_u64()).sum()
}

#[test]
fn a_run_that_is_stopped_before_its_end_says_so() {
    let server = Server::start(&[]);
    let url = server.url();
    let args = ["simulate", "--form", "simulation", "--json", "--url", &url];
    let mut command = Command::new(BINARY);
    let child = command.args(args).env_clear().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.expect("the binary can be run");
    until(PATIENCE, "events come", || processed(&server) >= 10);
    kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert!(told(&output).contains("stopped before all events were sent"), "{}", told(&output));
}

#[test]
fn send_events_posts_one_at_a_time_and_a_resend_is_the_same_event() {
    let server = Server::start(&[]);
    // The path that its script names may stay.
    let line = format!("simulate --form send-events --duplicates 20% --url {}/events", server.url());
    let sent = summary(0, &[], &line);
    let resent = sent["sent"].as_u64().expect("a number") - 300;
    assert!(resent > 0, "{sent}");
    assert_eq!(counted(&server), 300);
    let status = server.get("/v1/status").json();
    assert_eq!(status["streams"][0]["ledger"], Value::Null);
    assert_eq!(status["streams"][0]["partitions"][0]["ledger"]["duplicate"], resent);
    let users = server.get("/analytics/users/active").json();
    assert_eq!(users["active_users"], 30);
}

#[test]
fn what_makes_no_sense_together_is_a_usage_error() {
    for (variables, line) in [
        (&[][..], "simulate --form bulk --rate 5"),
        (&[], "simulate --form bulk --stream pageviews"),
        (&[], "simulate --form bulk --start now"),
        (&[], "simulate --kafka --events 5"),
        (&[], "simulate --events 0"),
        (&[("EVENT_COUNT", "lots")], "simulate --form bulk"),
        (&[], "load --form web-analytics --batch 5"),
        (&[], "load --form event-platform --stream pageviews"),
    ] {
        let args: Vec<&str> = line.split_whitespace().collect();
        let output = run_with(variables, &args);
        assert_eq!(output.status.code(), Some(2), "{line}: {}", told(&output));
        assert!(output.stdout.is_empty(), "{line}");
    }
}

#[test]
fn the_load_test_of_web_analytics_loses_nothing() {
    let server = Server::start(&[]);
    let line = format!("load --form web-analytics --duration 1s --url {}", server.url());
    // Slower than its own rate, so that a busy machine can keep up.
    let figures = summary(0, &[], &format!("{line} --rate 1000"));
    let live = &figures["live"];
    assert_eq!((&live["sent"], &live["accepted"]), (&1000.into(), &1000.into()), "ten groups of a hundred");
    assert_eq!((&live["received"], &live["written"], &live["lost"]), (&1000.into(), &1000.into(), &0.into()));
    assert_eq!(figures["requests"], 1000, "each in a request of its own");
    // The most that the same shape reaches.
    let most = summary(0, &[], &format!("{line} --rate 0"));
    assert_eq!(most["live"]["lost"], 0);
    let sent = most["live"]["sent"].as_u64().expect("a number");
    assert!(sent >= 100 && sent.is_multiple_of(100), "whole groups: {sent}");
    assert_eq!(counted(&server), 1_000 + sent);
}

#[test]
fn a_loss_is_told() {
    // What was counted before is gone from the numbers when a server is started on other data meanwhile.
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut server = Server::start_in(&folder.path().join("one"), &[]);
    let (port, url) = (server.port(), server.url());
    let line =
        ["load", "--form", "web-analytics", "--rate", "1000", "--duration", "4s", "--json", "--url", &url];
    let mut command = Command::new(BINARY);
    let child = command.args(line).env_clear().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.expect("the binary can be run");
    until(PATIENCE, "events come", || processed(&server) >= 500);
    server.kill9();
    let other = Server::ready(&Launch::new().data_dir(&folder.path().join("two")).port(port));
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    let figures: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(figures["live"]["lost"].as_u64().is_some_and(|lost| lost >= 500), "{figures}");
    drop(other);
}

#[test]
fn the_load_test_of_the_event_platform_posts_in_its_words() {
    let server = Server::start(&[]);
    let line = format!("load --form event-platform --duration 1s --url {}", server.url());
    let figures = summary(0, &[], &line);
    assert_eq!((&figures["accepted"], &figures["requests"]), (&50.into(), &50.into()));
    assert_eq!(figures["live"], Value::Null);
    assert_eq!(counted(&server), 50, "each is another event");
    let top = server.get("/analytics/top-events").json();
    assert!(top["top_events"].as_array().is_some_and(|top| !top.is_empty()), "{top}");
}

#[test]
fn producers_write_to_kafka_as_their_own_systems_do() {
    let Some(services) = Services::shared() else { return };
    let name = format!("p{}_{:x}", std::process::id(), dice::seed("producers"));
    let toml = BUILTIN
        .replace("topic        = \"", &format!("topic = \"{name}."))
        .replace("group           = \"streamgauge\"", &format!("group = \"{name}\""));
    let log = format!("kafka://{}", services.kafka());
    let server = Server::ready(&Launch::new().config(&toml).args(&["--log", &log]));
    // Topics of the test's own, as a deployment would name them.
    let topics = [
        ("STREAMGAUGE_STREAM__EVENTS__TOPIC", format!("{name}.events")),
        ("STREAMGAUGE_STREAM__STREAM_EVENTS__TOPIC", format!("{name}.stream.events")),
    ];
    let mut variables: Vec<(&str, &str)> = topics.iter().map(|(key, topic)| (*key, topic.as_str())).collect();
    variables.extend([("KAFKA_BOOTSTRAP_SERVERS", services.kafka()), ("EVENT_COUNT", "400")]);
    // The variables alone, as in a container.
    assert_eq!(summary(0, &variables, "simulate --form bulk")["accepted"], 400);
    let generator = "simulate --form generator --events 100 --rate 500 --kafka";
    assert_eq!(summary(0, &variables, generator)["accepted"], 100);
    until(Duration::from_secs(60), "all is counted", || processed(&server) == 500);
    assert_eq!(counted(&server), 400);
    audit(&server, &[]);
    // A typed server is meant, whatever the variable says.
    let line = format!("simulate --form bulk --events 30 --url {}", server.url());
    assert_eq!(summary(0, &variables, &line)["accepted"], 30);
    until(Duration::from_secs(60), "these too", || processed(&server) == 530);
}

#[test]
fn brokers_that_are_away_end_it_with_69() {
    let output = run_with(
        &[],
        &["simulate", "--form", "bulk", "--events", "1", "--kafka", "127.0.0.1:1", "--patience", "0s"],
    );
    assert_eq!(output.status.code(), Some(69), "{}", told(&output));
}

/// A count of failures alone would leave one guessing.
#[test]
fn what_was_refused_is_told_with_its_reason() {
    let toml = BUILTIN.replacen("[[stream]]\n", "[[stream]]\nrequire = [\"shoe_size\"]\n", 1);
    let server = Server::start_with(&toml, &[]);
    let why = "422 all_rejected: none of the 5 events was accepted; the first: missing_field (";
    let single = "422 missing_field: ";
    let url = server.url();
    for (line, code, says) in [
        ("simulate --stream events --events 10 --batch 5", 0, why),
        ("simulate --form send-events --events 10", 0, single),
        ("load --batch 5 --duration 100ms --connections 2", 1, why),
        ("load --batch 1 --duration 100ms --connections 2", 1, single),
    ] {
        let args: Vec<&str> = line.split_whitespace().chain(["--url", &url]).collect();
        let output = run_with(&[], &args);
        assert_eq!(output.status.code(), Some(code), "{line}: {}", told(&output));
        let lines = told(&output);
        let lines = lines.lines().filter(|told| told.contains(" times: ") && told.contains(says));
        assert_eq!(lines.count(), 1, "{line}: {}", told(&output));
    }
    let unknown = run_with(&[], &["load", "--stream", "pageview", "--url", &url]);
    assert_eq!(unknown.status.code(), Some(1), "{}", told(&unknown));
    assert!(told(&unknown).contains("did you mean pageviews? (--stream"), "{}", told(&unknown));
    let json = summary(1, &[], &format!("load --batch 5 --duration 100ms --url {url}"));
    assert!(json["failures"][0]["says"].as_str().is_some_and(|told| told.starts_with(why)), "{json}");
    assert_eq!(json["failures"][0]["count"], json["refused_by_status"]["422"], "{json}");
}

#[test]
fn a_file_that_cannot_be_written_is_told_before_anything_is_sent() {
    let server = Server::start(&[]);
    let output = server.command(&["simulate", "--events", "10", "--expect", "/nowhere/expected.json"]);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert!(told(&output).contains("writing /nowhere/expected.json: "), "{}", told(&output));
    let status = server.get("/v1/status").json();
    assert_eq!(status["streams"][0]["partitions"][0]["log_end"], 0, "{status}");
}
