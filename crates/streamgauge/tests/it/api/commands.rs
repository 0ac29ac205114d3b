//! The command line: configuration and exit codes.

use std::io::Write as _;
use std::process::Output;

use super::super::harness::{Server, run};

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Returns the help of a command; it must be data, and no failure.
pub(super) fn help(args: &[&str]) -> String {
    let output = run(args);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", stderr(&output));
    stdout(&output)
}

/// Writes a configuration file that lives as long as what is returned.
fn file(toml: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a file can be made");
    file.write_all(toml.as_bytes()).expect("the file can be written");
    file
}

fn check(toml: &str) -> (Option<i32>, String) {
    let file = file(toml);
    let path = file.path().to_str().expect("paths of temporary files are text");
    let output = run(&["config", "check", "--config", path]);
    (output.status.code(), stdout(&output) + &stderr(&output).replace(path, "FILE"))
}

#[test]
fn the_configuration_names_the_origin_of_each_value() {
    let file = file("data_dir = \"elsewhere\"\nstore = \"sqlite:other.db\"\n[flush]\ninterval = \"1s\"\n");
    let path = file.path().to_str().expect("paths of temporary files are text");
    let mut command = std::process::Command::new(super::super::harness::BINARY);
    command.args(["config", "--config", path]).env_clear();
    command.env("STREAMGAUGE_FLUSH__MAX_EVENTS", "7").env("STREAMGAUGE_STREAM__EVENTS__MAX_FUTURE", "1m");
    let output = command.output().expect("the binary can be run");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let shown = stdout(&output).replace(path, "FILE");
    let with_origin: Vec<&str> = shown.lines().filter(|line| line.contains("  # ")).collect();
    insta::assert_snapshot!(with_origin.join("\n"), @r#"
    data_dir = "elsewhere"  # file FILE
    store = "sqlite:other.db"  # file FILE
    interval = "1s"  # file FILE
    max_events = 7  # environment STREAMGAUGE_FLUSH__MAX_EVENTS
    max_future = "1m"  # environment STREAMGAUGE_STREAM__EVENTS__MAX_FUTURE
    "#);
    let plain: toml::Table = shown.parse().expect("what is printed is TOML");
    assert_eq!(plain["flush"]["interval"].as_str(), Some("1s"));
}

#[test]
fn every_error_of_a_configuration_is_told_at_once() {
    let toml = r#"
data_dir = 7
log = "kafkaesque:"
archiv = "off"
roles = ["ingest", "brew"]
[flush]
interval = "soon"
max_events = 0
[http]
body_budget = "1KiB"
[[listen]]
address = "0.0.0.0:8080"
[[listen]]
address = "nowhere"
[[stream]]
name = "sg_mine"
paths = ["no-slash"]
dedup = { records = 0 }
[[stream]]
name = "b"
raw_table = { name = "b" }
[[rollup]]
name = "b"
stream = "c"
window = "90m"
pane = "7m"
late = "never"
by = ["x", "x"]
[[rollup.measure]]
name = "window_start"
fn = "median"
"#;
    let (code, told) = check(toml);
    assert_eq!(code, Some(78), "{told}");
    insta::assert_snapshot!(told, @r#"
    streamgauge: the configuration has 20 error(s):
      data_dir: is a text in quotes, not 7
      data_dir: is missing
      log: is embedded:, embedded:PATH or kafka://HOST:PORT[,HOST:PORT…], not kafkaesque:
      roles: there is no role brew; there are ingest, process, query, archive
      roles: an embedded log is read by its own process only: add process, query, or use log = "kafka://…" and store = "postgres://…"
      listen.1.address: is HOST:PORT such as 127.0.0.1:8080, not nowhere
      flush.interval: is a duration such as 250ms, 30s, 5m, 7d, not "soon"
      flush.max_events: is at least 1
      http.body_budget: is between 1MiB and 16GiB
      stream.0.dedup.records: is between 1 and 1000000000
      stream.0.name: names that begin with sg_ belong to Streamgauge
      stream.0.paths: no-slash is no path: it begins with / and has no braces
      rollup.0.pane: divides the window, in whole seconds
      rollup.0.late: is correct or divert, not never
      rollup.0.measure.0.fn: is count, sum, min, max, avg, level, distinct, quantile or top, not median
      rollup.0.name: b stands twice
      rollup.0.stream: there is no stream c for the rollup b, only sg_mine, b; a file that defines streams defines its rollups too
      rollup.0.measure: x stands twice among dimensions and measures
      rollup.0.measure: window_start is a column of every rollup: choose another name
      archiv: there is no such key; did you mean archive?
    "#);
    let (code, told) = check("log = embedded");
    assert_eq!(code, Some(78), "{told}");
    insta::assert_snapshot!(told, @r#"
    streamgauge: reading the configuration FILE: TOML parse error at line 1, column 7
      |
    1 | log = embedded
      |       ^^^^^^^^
    string values must be quoted, expected literal string
    "#);
}

#[test]
fn the_file_that_init_writes_is_right_and_means_the_same() {
    let written = help(&["config", "init"]);
    let (code, told) = check(&written);
    let told: Vec<&str> = told.lines().collect();
    assert_eq!((code, told[0]), (Some(0), "the configuration is right"));
    let note = "note: outputs of events, pageviews, stream.events need a Kafka log";
    assert!(told.len() == 2 && told[1].starts_with(note), "{told:?}");
    let file = file(&written);
    let path = file.path().to_str().expect("paths of temporary files are text");
    let with_file = help(&["config", "--config", path]);
    let parse = |text: &str| text.parse::<toml::Table>().expect("what is printed is TOML");
    assert_eq!(parse(&with_file), parse(&help(&["config"])));
}

/// What cannot start leaves nothing behind that a later start would find.
#[test]
fn a_start_that_fails_makes_nothing() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let data = folder.path().join("data");
    let text = |path: &std::path::Path| path.to_str().expect("a path of letters").to_owned();
    let server = Server::start(&[]);
    let taken = format!("127.0.0.1:{}", server.port());
    let (missing, file) = (text(&folder.path().join("missing.pem")), folder.path().join("file"));
    std::fs::write(&file, "mine").expect("it can be written");
    let below = file.join("data");
    for (data, args, code, told) in [
        (&data, vec!["--listen", &taken], 69, "choose another port with --listen"),
        (&data, vec!["--listen", "192.0.2.1:0"], 69, "listening on 192.0.2.1:0: "),
        (&data, vec!["--listen", "127.0.0.1:0", "--listen", &taken], 69, &*taken),
        (
            &data,
            vec!["--listen", "127.0.0.1:0", "--tls-cert", &missing, "--tls-key", &missing],
            78,
            &*missing,
        ),
        (&file, vec!["--listen", "127.0.0.1:0"], 78, "a file stands in its way: name a folder"),
        (&below, vec!["--listen", "127.0.0.1:0"], 78, "a file stands in its way: name a folder"),
    ] {
        let output = run(&[&["serve", "--data-dir", &text(data)], &args[..]].concat());
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(told), "{args:?}: {}", stderr(&output));
    }
    assert!(matches!(data.try_exists(), Ok(false)), "something was made");
    assert_eq!(std::fs::read_to_string(&file).expect("it is there"), "mine");
    // The port of a server that is told to start twice is taken, too: that it runs says more.
    let twice = run(&["serve", "--data-dir", &text(server.data_dir()), "--listen", &taken]);
    assert_eq!(twice.status.code(), Some(75), "{}", stderr(&twice));
}

#[test]
fn exit_codes_say_what_kind_of_failure_it_was() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let data = folder.path().to_str().expect("paths of temporary folders are text");
    let nobody = ["--url", "http://127.0.0.1:1"];
    let server = Server::start(&[]);
    let taken = format!("127.0.0.1:{}", server.port());
    let missing = format!("{data}/missing.toml");
    let mut cases: Vec<(Vec<&str>, i32, &str)> = vec![
        (vec!["serv"], 2, "serve"),
        (vec![], 2, "Usage"),
        (vec!["serve", "--no-such-flag"], 2, "--no-such-flag"),
        (vec!["flush", "--url", "ftp://x"], 2, "http://"),
        (vec!["serve", "--data-dir", data, "--listen", "0.0.0.0:0"], 78, "auth = \"off\""),
        (vec!["serve", "--data-dir", data, "--listen", "[::]:0"], 78, "auth = \"off\""),
        (vec!["serve", "--data-dir", data, "--listen", "nonsense"], 78, "HOST:PORT"),
        (vec!["serve", "--data-dir", data, "--roles", "ingest"], 78, "process, query"),
        (vec!["serve", "--data-dir", data, "--roles", "ingest,process,query,brew"], 78, "brew"),
        (vec!["serve", "--data-dir", data, "--log", "nonsense:"], 78, "nonsense:"),
        (vec!["serve", "--data-dir", data, "--config", &missing], 78, "missing.toml"),
        (vec!["config", "check", "--config", &missing], 78, "missing.toml"),
        (vec!["serve", "--data-dir", data, "--listen", &taken], 69, "listening on"),
        (vec!["healthcheck", nobody[0], nobody[1]], 1, "not ready"),
    ];
    for command in ["flush", "audit", "simulate", "load"] {
        let patience: &[&str] =
            if command == "simulate" { &["--events", "1", "--patience", "0s"] } else { &[] };
        cases.push(([&[command], patience, &nobody].concat(), 69, "127.0.0.1:1"));
    }
    for (args, code, told) in cases {
        let output = run(&args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(told), "{args:?}: {}", stderr(&output));
        assert!(stdout(&output).is_empty(), "{args:?} is talk, not data: {}", stdout(&output));
    }
    assert_eq!(server.command(&["healthcheck"]).status.code(), Some(0));
    assert_eq!(server.command(&["flush"]).status.code(), Some(0));
    assert_eq!(server.command(&["audit"]).status.code(), Some(0));
}
