//! What the doctor finds: beside a server that is well, with nothing running, and of each thing that can be broken.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

use super::harness::receiver::Receiver;
use super::harness::services::Services;
use super::harness::{Launch, Server, dice, run};

const BUILTIN: &str = include_str!("../../src/config/builtin.toml");
/// An address that nothing listens on.
const NOWHERE: &str = "127.0.0.1:1";

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs the doctor, which must end with this code; returns its findings.
fn findings(code: i32, args: &[&str]) -> Vec<Value> {
    let output = run(&[&["doctor", "--json"], args].concat());
    assert_eq!(output.status.code(), Some(code), "{args:?}: {}", told(&output));
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", told(&output)));
    assert_eq!(report["ok"], code == 0);
    report["findings"].as_array().expect("findings").clone()
}

/// Returns the level and the sentence of the first finding about something that says this.
fn level(findings: &[Value], about: &str, says: &str) -> String {
    let is_it = |finding: &&Value| {
        finding["about"] == about && finding["says"].as_str().is_some_and(|told| told.contains(says))
    };
    let found =
        findings.iter().find(is_it).unwrap_or_else(|| panic!("no {about:?} says {says:?} in {findings:#?}"));
    let level = found["level"].as_str().expect("a level").to_owned();
    assert_eq!(found["mend"].is_string(), level != "ok", "{found}");
    level
}

/// Returns what is not well.
fn ailing(findings: &[Value]) -> Vec<&str> {
    findings
        .iter()
        .filter(|finding| finding["level"] != "ok")
        .filter_map(|finding| finding["about"].as_str())
        .collect()
}

fn text(path: &Path) -> String {
    path.to_str().expect("paths of temporary folders are text").to_owned()
}

#[test]
fn a_server_that_is_well_has_nothing_to_mend() {
    let server = Server::start(&[]);
    assert_eq!(server.post("/events?wait=true", &[], "{\"eventType\":\"a\"}").status, 202);
    let (dir, address) = (text(server.data_dir()), server.address().to_string());
    let args = ["--data-dir", &dir, "--listen", &address];
    let before = files(server.data_dir());
    let found = findings(0, &args);
    let pid = format!("process {} (", server.pid());
    assert_eq!(level(&found, "ports", "is taken by a running Streamgauge"), "ok");
    assert_eq!(level(&found, "ports", &pid), "ok");
    assert_eq!(level(&found, "server", "is ready"), "ok");
    assert_eq!(level(&found, "clock", "the server's is the same"), "ok");
    assert_eq!(level(&found, "lock", &pid), "ok");
    assert_eq!(level(&found, "log", "files of"), "ok");
    assert_eq!(level(&found, "store", "of write-ahead log"), "ok");
    assert_eq!(level(&found, "archive", "the server that answers archives nothing"), "ok");
    assert_eq!(level(&found, "retention", "nothing waits"), "ok");
    // Whatever this machine's disk is like, nothing else ails.
    assert!(ailing(&found).iter().all(|about| matches!(*about, "disk space" | "fsync")), "{found:#?}");
    assert_eq!(files(server.data_dir()), before, "nothing of it is left, and nothing was changed");
    assert_eq!(server.get("/readyz").status, 200);
}

/// The server has other flags than the doctor, and what is said of it is what it says.
#[test]
fn a_running_server_is_told_by_what_it_says_itself() {
    let server = Server::start(&["--demo"]);
    let (dir, address) = (text(server.data_dir()), server.address().to_string());
    let here = ["--data-dir", &dir, "--listen", &address];
    let found = findings(0, &here);
    let place = format!("to file:{dir}/archive");
    assert_eq!(level(&found, "archive", &place), "ok");
    let kafka = ["--log", "kafka://127.0.0.1:1", "--store", "sqlite:"];
    let found = findings(1, &[&here[..], &kafka].concat());
    assert_eq!(level(&found, "configuration", "kafka and sqlite here, embedded and sqlite there"), "warn");
    let alone =
        findings(0, &["--data-dir", &dir, "--listen", "127.0.0.1:0", "--url", &format!("http://{NOWHERE}")]);
    assert_eq!(level(&alone, "archive", "off, as far as the configuration tells"), "ok");
}

fn files(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).expect("the folder can be read").filter_map(Result::ok);
    let mut names: Vec<String> =
        names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn nothing_running_is_no_failure() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let dir = folder.path().join("deep/data");
    let free = "127.0.0.1:0";
    let found = findings(0, &["--data-dir", &text(&dir), "--listen", free]);
    assert_eq!(level(&found, "ports", "is free"), "ok");
    assert_eq!(level(&found, "server", "none answers"), "warn");
    assert_eq!(level(&found, "log", "there is none in"), "ok");
    assert_eq!(level(&found, "store", "there is no"), "ok");
    assert_eq!(level(&found, "lock", "no server has worked"), "ok");
    assert!(files(folder.path()).is_empty(), "it makes nothing");
    // What a server left is there for the next one.
    let mut server = Server::start_in(&dir, &[]);
    assert!(server.terminate().success());
    let found = findings(0, &["--data-dir", &text(&dir), "--listen", free]);
    assert_eq!(level(&found, "lock", "nobody works in"), "ok");
    assert_eq!(level(&found, "store", "of write-ahead log"), "ok");
}

#[test]
fn people_read_a_line_a_finding_with_its_remedy() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let output = run(&[
        "doctor",
        "--data-dir",
        &text(folder.path()),
        "--listen",
        "127.0.0.1:0",
        "--url",
        &format!("http://{NOWHERE}"),
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("! server: none answers on 127.0.0.1:1"), "{text}");
    assert!(text.contains("\n    → streamgauge serve\n"), "{text}");
    assert!(
        text.lines().all(|line| ["✓ ", "! ", "✗ ", "    → "].iter().any(|mark| line.starts_with(mark))),
        "{text}"
    );
}

#[test]
fn a_port_that_another_has_is_told_with_who() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let other = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = other.local_addr().expect("it is bound").to_string();
    // It accepts, reads nothing and says nothing, as a program that is no server does.
    let found = findings(
        1,
        &["--data-dir", &text(folder.path()), "--listen", &address, "--url", &format!("http://{NOWHERE}")],
    );
    let pid = format!("is taken by another program, process {} (", std::process::id());
    assert_eq!(level(&found, "ports", &pid), "fail");
}

#[test]
fn a_data_directory_that_cannot_be_written_is_told() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("file");
    fs::write(&file, "x").expect("it can be written");
    let nowhere = format!("http://{NOWHERE}");
    // Neither below a file nor among the kernel's can anything be made, not even by root.
    for dir in [text(&file.join("data")), "/proc/streamgauge".to_owned()] {
        let found = findings(1, &["--data-dir", &dir, "--listen", "127.0.0.1:0", "--url", &nowhere]);
        assert_eq!(level(&found, "data directory", "cannot be written"), "fail", "{dir}");
    }
    let data = folder.path().join("data");
    fs::create_dir(&data).expect("it can be made");
    fs::write(data.join("log"), "x").expect("it can be written");
    fs::write(data.join("streamgauge.db"), "no database at all").expect("it can be written");
    let found = findings(1, &["--data-dir", &text(&data), "--listen", "127.0.0.1:0", "--url", &nowhere]);
    assert_eq!(level(&found, "log", "is no directory"), "fail");
    assert_eq!(level(&found, "store", "is no SQLite database"), "fail");
}

#[test]
fn a_wrong_configuration_is_told_and_nothing_else() {
    let found = findings(1, &["--log", "nonsense:", "--listen", "nowhere"]);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert_eq!(level(&found, "configuration", "nonsense:"), "fail");
    assert_eq!(level(&found, "configuration", "nowhere"), "fail");
    let missing = findings(1, &["--config", "/nowhere/streamgauge.toml"]);
    assert_eq!(level(&missing, "configuration", "/nowhere/streamgauge.toml"), "fail");
}

#[test]
fn servers_that_are_away_are_told_without_their_passwords() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let store = "postgres://me:secret@127.0.0.1:1/db";
    let args = [
        "--data-dir",
        &text(folder.path()),
        "--listen",
        "127.0.0.1:0",
        "--url",
        &format!("http://{NOWHERE}"),
    ];
    let output = run(&[&["doctor", "--json", "--store", store], &args[..]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert!(!told(&output).contains("secret"), "{}", told(&output));
    let found = findings(1, &[&["--store", store], &args[..]].concat());
    assert_eq!(level(&found, "store", "postgres://127.0.0.1:1/db cannot be used"), "fail");
    let found = findings(1, &[&["--log", "kafka://127.0.0.1:1"], &args[..]].concat());
    assert_eq!(level(&found, "log", "127.0.0.1:1"), "fail");
}

#[test]
fn another_directory_than_the_servers_is_told() {
    let (server, other) = (Server::start(&[]), Server::start(&[]));
    let (dir, url) = (text(server.data_dir()), other.url());
    let idle = tempfile::tempdir().expect("a temporary folder can be made");
    fs::write(idle.path().join("lock"), "").expect("it can be written");
    let found = findings(0, &["--data-dir", &text(idle.path()), "--listen", "127.0.0.1:0", "--url", &url]);
    assert_eq!(level(&found, "lock", "the server that answers works elsewhere"), "warn");
    let found =
        findings(0, &["--data-dir", &dir, "--listen", "127.0.0.1:0", "--url", &format!("http://{NOWHERE}")]);
    assert_eq!(level(&found, "lock", "but does not answer"), "warn");
}

#[test]
fn a_key_that_is_wanted_is_the_remedy() {
    let server = Server::ready(&Launch::new().variables(&[("STREAMGAUGE_ADMIN_KEY", &"k".repeat(32))]));
    let (dir, address) = (text(server.data_dir()), server.address().to_string());
    let found = findings(0, &["--data-dir", &dir, "--listen", &address]);
    assert_eq!(level(&found, "ports", "is taken by a running Streamgauge"), "ok");
    assert_eq!(level(&found, "server", "does not tell its status"), "warn");
    assert_eq!(level(&found, "lock", "works in"), "warn");
    let mends = found.iter().filter(|finding| finding["about"] == "lock").map(|finding| &finding["mend"]);
    let mends: Vec<&str> = mends.filter_map(Value::as_str).collect();
    assert!(mends.len() == 1 && mends[0].starts_with("set STREAMGAUGE_KEY"), "{mends:?}");
}

#[test]
fn a_server_that_is_no_streamgauge_is_told() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    // Answers 200 to everything.
    let other = Receiver::start();
    let there = ["--data-dir", &text(folder.path()), "--listen", "127.0.0.1:0", "--url", other.url()];
    let found = findings(1, &there);
    assert_eq!(level(&found, "server", "is no Streamgauge"), "fail");
    let compared = found.iter().any(|finding| finding["says"] == "the server's is the same");
    assert!(!compared, "a stranger's clock says nothing: {found:#?}");
    let audit = run(&["audit", "--url", other.url()]);
    assert_eq!(audit.status.code(), Some(1), "{}", told(&audit));
    assert!(told(&audit).contains("is no Streamgauge: asked for /healthz"), "{}", told(&audit));
}

/// What a server was started with, the doctor takes too.
#[test]
fn flags_of_the_server_are_taken() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let dir = text(folder.path());
    let here = ["--data-dir", &dir, "--listen", "127.0.0.1:0", "--url", &format!("http://{NOWHERE}")];
    let roles = ["--roles", "ingest,process,query,archive"];
    let found = findings(0, &[&here[..], &roles, &["--demo"]].concat());
    assert_eq!(level(&found, "archive", &format!("file:{dir}/archive, as far as")), "ok");
    let found = findings(0, &[&here[..], &["--archive", "off", "--demo"]].concat());
    assert_eq!(level(&found, "archive", "off, as far as"), "ok");
    let found = findings(1, &[&here[..], &["--roles", "none"]].concat());
    assert_eq!(level(&found, "configuration", "none"), "fail");
}

#[test]
fn topics_and_databases_are_looked_at_and_left_alone() {
    let Some(services) = Services::shared() else { return };
    let name = format!("d{}_{:x}", std::process::id(), dice::seed("doctor"));
    let toml = BUILTIN
        .replace("topic        = \"", &format!("topic = \"{name}."))
        .replace("group           = \"streamgauge\"", &format!("group = \"{name}\""));
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let config = folder.path().join("test.toml");
    fs::write(&config, &toml).expect("it can be written");
    let (log, store) = (format!("kafka://{}", services.kafka()), services.database(&name));
    let args = ["--config", &text(&config), "--log", &log, "--store", &store, "--listen", "127.0.0.1:0"];
    let nobody = [&args[..], &["--url", "http://127.0.0.1:1"]].concat();
    // Twice: the first time makes nothing.
    for _ in 0..2 {
        let found = findings(1, &nobody);
        assert_eq!(level(&found, "log", &format!("topic {name}.events: missing")), "fail");
        assert_eq!(level(&found, "store", "the database is not there yet"), "ok");
        assert_eq!(level(&found, "disk space", "no data directory is needed"), "ok");
    }
    let launch = Launch::new().config(&toml).args(&["--log", &log, "--store", &store]);
    let server = Server::ready(&launch);
    let found = findings(0, &[&args[..], &["--url", &server.url()]].concat());
    // A single broker has fewer copies than one would want, and nothing of that is noted of a topic that is there.
    assert_eq!(level(&found, "log", &format!("topic {name}.events: right, 6 partitions")), "ok");
    assert_eq!(level(&found, "store", "schema version 10, fsync on"), "ok");
    assert_eq!(level(&found, "retention", "nothing waits"), "ok");
    drop(server);
    services.sql("postgres", &format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)"));
}
