//! The clients of five systems, unchanged: each line of their descriptions that can be typed, run as it stands there but
//! for the port, on files and, where there are real servers, on Kafka and PostgreSQL.

mod alarms;
mod database;
mod event_platform;
mod hourly_aggregations;
mod pageviews;
mod pipelines;
mod ports;
mod sketches;
mod sql;
mod stream_metrics;
mod topics;
mod variables;
mod viewers;
mod web_analytics;

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use super::harness::dice;
use super::harness::http::Answer;
use super::harness::services::Services;
use super::harness::{Launch, Server};

use database::Database;

/// The built-in configuration as it stands.
pub(crate) const BUILTIN: &str = include_str!("../../src/config/builtin.toml");
/// How many names have been given.
static NUMBER: AtomicU32 = AtomicU32::new(0);
/// The ports that the descriptions name.
const PORTS: [u16; 6] = [8000, 8001, 8002, 8080, 8081, 8082];

/// Runs a check against a server on files and one on a broker and a database: its snapshots are those of both.
pub(crate) fn on_both_sides(check: impl Fn(&Server)) {
    with_both_databases(|server, _| check(server));
}

/// The same with the database as other programs see it.
fn with_both_databases(check: impl Fn(&Server, &Database)) {
    insta::allow_duplicates! {
        each_side(|launch, database| check(&Server::ready(launch), database))
    }
}

/// Runs a check that starts its servers itself, as often as it likes over the same data.
fn each_side(check: impl Fn(&Launch, &Database)) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    check(&Launch::new().data_dir(folder.path()), &Database::File(folder.path().join("streamgauge.db")));
    let Some(services) = Services::shared() else { return };
    let name = unused_name();
    let toml = builtin_named(&name);
    let (log, store) = (format!("kafka://{}", services.kafka()), services.database(&name));
    let launch = Launch::new().config(&toml).args(&["--log", &log, "--store", &store]);
    let database = Database::Postgres { services, name };
    check(&launch, &database);
    database.drop_it();
}

/// Returns a name for topics and a database; servers that outlive the tests may have those of earlier ones.
fn unused_name() -> String {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("s{}_{number}_{:x}", std::process::id(), dice::seed("systems"))
}

/// Returns the built-in configuration with topics and a group of its own.
fn builtin_named(name: &str) -> String {
    BUILTIN
        .replace("topic        = \"", &format!("topic = \"{name}."))
        .replace("group           = \"streamgauge\"", &format!("group = \"{name}\""))
}

/// Runs a line of a description, with the server's port; returns the status and the body.
fn curl(server: &Server, line: &str) -> (u16, String) {
    let mut line = line.to_owned();
    for port in PORTS {
        line = line.replace(&format!("localhost:{port}/"), &format!("localhost:{}/", server.port()));
    }
    let quiet = "curl -sS --noproxy '*' --max-time 30 -w '\\n%{http_code}' ";
    let line = line.replacen("curl ", quiet, 1);
    let output = Command::new("sh").args(["-c", &line]).output().expect("a shell can be run");
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("answers are UTF-8");
    let (body, status) = text.rsplit_once('\n').expect("the status stands on a line of its own");
    (status.parse().expect("a status"), body.to_owned())
}

/// Runs a line that must be answered 200; returns the body.
fn asked(server: &Server, line: &str) -> String {
    let (status, body) = curl(server, line);
    assert_eq!(status, 200, "{line}: {body}");
    body
}

/// Returns where the configuration file of one system is.
pub(crate) fn pipeline(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines");
    folder.join(format!("{name}.toml")).display().to_string()
}

/// Waits until queries see everything that was accepted.
fn flush(server: &Server) {
    assert_eq!(server.post("/v1/flush", &[], "").status, 200);
}

/// Asserts that a request was refused with a status, a code and, for an event, the field at fault.
fn assert_refused(answer: &Answer, status: u16, code: &str, field: Option<&str>) {
    let body = answer.json();
    assert_eq!(
        (answer.status, body["code"].as_str(), body["field"].as_str()),
        (status, Some(code), field),
        "{body}"
    );
}

/// Returns the value of a metric without labels, or the sum of one with any that have these.
fn metric(server: &Server, path: &str, name: &str, label: &str) -> f64 {
    let text = server.get(path).text();
    let of_name = text.lines().filter(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']) && rest.contains(label))
    });
    let values: Vec<f64> = of_name.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
    assert!(!values.is_empty(), "no {name} with {label} in\n{text}");
    values.iter().sum()
}

/// Returns the members of a JSON text in the order in which they are written.
fn members(text: &str) -> Vec<String> {
    let value: Value = serde_json::from_str(text).expect("JSON");
    value.as_object().expect("an object").keys().cloned().collect()
}
