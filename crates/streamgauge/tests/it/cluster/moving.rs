//! `streamgauge import`: a data directory whose log was trimmed, with events that are late, dead, sent twice or not folded
//! yet, goes on where it stopped on Kafka and PostgreSQL.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

use super::{Cluster, turn};
use crate::harness::services::Services;
use crate::harness::witness::{audit, open};
use crate::harness::{Launch, START, Server, run, until};

/// A log of small segments that keeps no more than the duplicate window needs.
const BASE: &str = r#"
[embedded]
segment = "1MiB"
pool = "0"
keep = "1MiB"
[kafka]
group = "TOPIC"
session_timeout = "2s"
[[stream]]
name = "events"
topic = "TOPIC"
paths = ["/events"]
partition_by = ["session_id", "user_id"]
raw_table = { name = "events", keep = "7d" }
dedup = { records = 12_000, horizon = "24h" }
idle_timeout = "2s"
[[rollup]]
name = "hourly"
stream = "events"
window = "1h"
pane = "15m"
grace = "30s"
by = ["event_type"]
measure = [{ name = "event_count", fn = "count" }]
[[rollup]]
name = "minutes"
stream = "events"
window = "1m"
grace = "2m"
late = "divert"
by = ["event_type"]
measure = [{ name = "event_count", fn = "count" }]
[[rollup]]
name = "users"
stream = "events"
window = "10m"
grace = "2m"
late = "divert"
by = []
measure = [{ name = "n", fn = "count" }]
"#;
/// What makes events with a `total` that is no number dead letters.
const REVENUE: &str = r#"
[[rollup]]
name = "revenue"
stream = "events"
window = "1h"
grace = "30s"
by = []
[[rollup.measure]]
name = "n"
fn = "count"
[[rollup.measure]]
name = "least"
fn = "min"
field = "total"
scale = 2
[[rollup.measure]]
name = "mean"
fn = "avg"
field = "total"
scale = 2
where = { event_type = "purchase" }
"#;
const AT_ONCE: &str = "[flush]\ninterval = \"20ms\"\n";
const NEVER: &str = "[flush]\ninterval = \"1h\"\nmax_events = 1_000_000\n";

/// A move from a data directory to a topic and a database.
struct Move {
    cluster: Cluster,
    folder: TempDir,
}

/// A simulated run: its seed, events, first day of January 2025, and more arguments.
type Run<'a> = (&'a str, &'a str, &'a str, &'a [&'a str]);

const FIRST: Run<'_> = ("1", "24000", "02", &["--late", "8%", "--disorder", "60s"]);
const SECOND: Run<'_> = ("2", "4000", "04", &["--late", "2%", "--disorder", "60s", "--duplicates", "3%"]);
const THIRD: Run<'_> = ("3", "1500", "06", &["--late", "2%", "--duplicates", "3%"]);
const FOURTH: Run<'_> = ("4", "1000", "08", &["--late", "2%"]);

impl Move {
    fn new(services: Services) -> Move {
        Move { cluster: Cluster::new(services), folder: tempfile::tempdir().expect("a temporary folder") }
    }

    fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn toml(&self, parts: &[&str]) -> String {
        parts.concat().replace("TOPIC", &self.cluster.name)
    }

    /// Starts the old server.
    fn old(&self, parts: &[&str]) -> Server {
        Server::ready(&Launch::new().data_dir(&self.data_dir()).config(&self.toml(parts)))
    }

    /// Starts the new server.
    fn new_server(&self) -> Server {
        let (log, store) = self.urls();
        let launch = Launch::new().config(&self.toml(&[AT_ONCE, BASE, REVENUE]));
        Server::ready(&launch.args(&["--log", &log, "--store", &store]))
    }

    fn urls(&self) -> (String, String) {
        let services = &self.cluster.services;
        (format!("kafka://{}", services.kafka()), services.database(&self.cluster.name))
    }

    /// Runs the import with a configuration, into a database.
    fn import_into(&self, toml: &str, store: &str) -> Output {
        let config = self.folder.path().join("import.toml");
        std::fs::write(&config, toml).expect("the configuration can be written");
        let (config, data_dir) = (config.display().to_string(), self.data_dir().display().to_string());
        let (log, _) = self.urls();
        run(&[
            "import",
            "--data-dir",
            &data_dir,
            "--config",
            &config,
            "--log",
            &log,
            "--store",
            store,
            "--json",
        ])
    }

    fn import(&self) -> Output {
        self.import_into(&self.toml(&[AT_ONCE, BASE, REVENUE]), &self.urls().1)
    }

    /// Sends a run, and writes the cells that must result.
    fn simulate(&self, server: &Server, (seed, events, day, more): Run<'_>) {
        let (start, expected) = (format!("2025-01-{day}T00:00:00Z"), self.expected(seed));
        let mut args =
            vec!["simulate", "--seed", seed, "--events", events, "--start", &start, "--expect", &expected];
        args.extend(more);
        let output = server.command(&args);
        assert!(output.status.success(), "{output:?}");
    }

    fn expected(&self, name: &str) -> String {
        self.folder.path().join(format!("{name}.json")).display().to_string()
    }

    /// Audits a server against all runs named, whose days follow each other.
    fn audit(&self, server: &Server, seeds: &[&str]) {
        let mut all: Value = Value::Object(serde_json::Map::new());
        for seed in seeds {
            let text = std::fs::read_to_string(self.expected(seed)).expect("the run wrote it");
            let cells: Value = serde_json::from_str(&text).expect("it is JSON");
            for (rollup, rows) in cells.as_object().expect("rows by rollup") {
                let known = all[rollup].take();
                let mut known = known.as_array().cloned().unwrap_or_default();
                known.extend(rows.as_array().expect("rows").iter().cloned());
                all[rollup] = known.into();
            }
        }
        let file = self.expected("all");
        std::fs::write(&file, all.to_string()).expect("it can be written");
        audit(server, &["--expect", &file]);
    }

    /// Runs SQL on the new database.
    fn sql(&self, sql: &str) -> Vec<String> {
        self.cluster.services.sql(&self.cluster.name, sql).expect("the database answers")
    }

    /// Leaves a data directory behind in which everything is that an import can meet. Returns where its log begins.
    fn leave_behind(&self) -> u64 {
        // Events that the next server cannot fold, first in the log.
        self.leave_unfolded(&[("a", "2025-01-01T00:00:01Z"), ("b", "2025-01-01T00:00:02Z")]);
        let mut server = self.old(&[AT_ONCE, BASE, REVENUE]);
        self.simulate(&server, FIRST);
        until(START, "the log is trimmed", || log_start(&server) > 5_000);
        self.simulate(&server, SECOND);
        let log_start = log_start(&server);
        let refused = self.import();
        assert_eq!(refused.status.code(), Some(75), "a server works there: {refused:?}");
        assert!(server.terminate().success());
        // And some inside the duplicate window.
        self.leave_unfolded(&[("c", "2025-01-05T00:00:00Z"), ("d", "2025-01-05T00:00:00Z")]);
        let mut server = self.old(&[AT_ONCE, BASE, REVENUE]);
        audit(&server, &[]);
        assert_eq!(letters(&server).len(), 4);
        assert!(server.terminate().success());
        let mut server = self.old(&[NEVER, BASE, REVENUE]);
        self.simulate(&server, THIRD);
        server.kill9();
        log_start
    }

    fn leave_unfolded(&self, events: &[(&str, &str)]) {
        let mut server = self.old(&[NEVER, BASE]);
        for (id, time) in events {
            let event = format!(
                r#"{{"event_id":"{id}","event_type":"purchase","timestamp":"{time}","session_id":"s","total":"much"}}"#
            );
            assert_eq!(server.post("/events", &[], event).status, 202);
        }
        server.kill9();
    }
}

fn partitions(server: &Server) -> Vec<Value> {
    server.get("/v1/status").json()["streams"][0]["partitions"].as_array().expect("a list").clone()
}

fn log_start(server: &Server) -> u64 {
    partitions(server)[0]["log_start"].as_u64().unwrap_or(0)
}

fn ledger(server: &Server, member: &str) -> u64 {
    partitions(server).iter().filter_map(|partition| partition["ledger"][member].as_u64()).sum()
}

fn letters(server: &Server) -> Vec<String> {
    let letters = server.get("/v1/dead-letters").json();
    let shown = |letter: &Value| {
        format!("{} {} {} {}", letter["event_id"], letter["reason"], letter["detail"], letter["received_at"])
    };
    letters["data"].as_array().expect("a list").iter().map(shown).collect()
}

/// Runs SQL on the old store.
fn old_sql(data_dir: &Path, sql: &str) -> Vec<String> {
    let store = open(data_dir);
    let mut select = store.prepare(sql).expect("the store knows it");
    let rows = select.query_map([], |row| row.get(0)).expect("it can be asked");
    rows.collect::<Result<_, _>>().expect("it answers")
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

#[test]
fn a_data_directory_goes_on_where_it_stopped() {
    let _turn = turn();
    let Some(services) = Services::shared() else { return };
    let moved = Move::new(services);
    let log_start = moved.leave_behind();
    let output = moved.import();
    assert!(output.status.success(), "{output:?}");
    let summary: Value = serde_json::from_slice(&output.stdout).expect("a summary");
    let stream = &summary["streams"][0];
    says_what_it_did(&moved, stream, log_start);
    brings_rows_along(&moved, stream);

    let server = moved.new_server();
    moved.audit(&server, &["1", "2", "3"]);
    let (counted, duplicate) = (ledger(&server, "counted"), ledger(&server, "duplicate"));
    assert_eq!(counted, 24_000 + 4_000 + 1_500);
    assert_eq!(ledger(&server, "dead_lettered"), 4);
    let ids: Vec<String> = letters(&server).iter().map(|letter| letter[..3].to_owned()).collect();
    assert_eq!(ids.len(), 4, "{ids:?}");
    assert!(["a", "b", "c", "d"].iter().all(|id| ids.contains(&format!("\"{id}\""))), "{ids:?}");

    // What is sent again is a duplicate, folded before the move or after it.
    let without_resends =
        |(seed, events, day, more): Run<'static>| (seed, events, day, &more[..more.len() - 2]);
    moved.simulate(&server, without_resends(SECOND));
    moved.simulate(&server, without_resends(THIRD));
    moved.audit(&server, &["1", "2", "3"]);
    assert_eq!((ledger(&server, "counted"), ledger(&server, "duplicate")), (counted, duplicate + 5_500));
    assert_eq!(ledger(&server, "id_conflict"), 0);
    // The dead letters were never judged: one of them that is mended is a new event.
    let mended =
        r#"{"event_id":"c","event_type":"purchase","timestamp":"2025-01-07T23:00:00Z","session_id":"s"}"#;
    assert_eq!(server.post("/events?wait=true", &[], mended).status, 202);
    assert_eq!((ledger(&server, "counted"), ledger(&server, "duplicate")), (counted + 1, duplicate + 5_500));
    moved.simulate(&server, FOURTH);
    audit(&server, &[]);
    assert_eq!(ledger(&server, "counted"), counted + 1_001);
    assert!(partitions(&server).iter().all(|partition| partition["stopped"].is_null()));
    // A second owner reads the windows again that the import and the first one left.
    drop(server);
    let mut server = moved.new_server();
    moved.simulate(&server, without_resends(SECOND));
    audit(&server, &[]);
    assert_eq!(ledger(&server, "counted"), counted + 1_001, "{}", server.stderr());
    assert!(server.terminate().success());
    refuses_what_is_not_fresh(&moved);
}

fn says_what_it_did(moved: &Move, stream: &Value, log_start: u64) {
    let status = old_sql(
        &moved.data_dir(),
        "SELECT next_offset || ' ' || processed || ' ' || counted || ' ' || duplicate || ' ' || dead_lettered FROM sg_partitions",
    );
    let ledger = &stream["ledger"];
    let told =
        ["processed", "counted", "duplicate", "dead_lettered"].map(|member| ledger[member].to_string());
    assert!(status[0].ends_with(&told.join(" ")), "{} {}", status[0], told.join(" "));
    let next_offset: u64 = status[0].split(' ').next().and_then(|text| text.parse().ok()).expect("an offset");
    let records = &stream["records"];
    let again = count(&records["written_again"]);
    assert!(again > 2, "late events whose records are gone, and two dead letters: {again}");
    assert!(count(&records["folded"]) <= next_offset - log_start + again, "{stream}");
    assert!(count(&records["waiting"]) >= 1_500, "{stream}");
    assert_eq!(stream["partitions"], 6);
    assert_eq!(stream["dead_letters"], 4);
    let left_behind = stream["left_behind"].as_array().expect("a list");
    assert!(
        left_behind.iter().any(|what| what.as_str().is_some_and(|what| what.contains("raw rows"))),
        "{stream}"
    );
}

/// Before any server ran on it, the new side has what the old one has.
fn brings_rows_along(moved: &Move, stream: &Value) {
    let data_dir = moved.data_dir();
    let rows = count(&stream["raw_rows"]);
    assert!(rows > 10_000, "{rows}");
    let row = "event_id || ' ' || coalesce(user_id, '-') || ' ' || session_id || ' ' || event_name";
    let mut old =
        old_sql(&data_dir, &format!("SELECT {row} FROM sg_raw_events ORDER BY position DESC LIMIT {rows}"));
    let mut new = moved.sql(&format!("SELECT {row} FROM sg_raw_events"));
    old.sort_unstable();
    new.sort_unstable();
    assert!(old == new, "{} rows of {}", new.len(), old.len());
    let late = "rollup || ' ' || event_id || ' ' || dimensions";
    let all = format!("SELECT {late} FROM sg_late");
    let (mut old, mut new) = (old_sql(&data_dir, &all), moved.sql(&all));
    old.sort_unstable();
    new.sort_unstable();
    assert!(!new.is_empty() && old == new, "{} late events of {}", new.len(), old.len());
    for rollup in ["hourly", "minutes", "users", "revenue"] {
        let sums =
            format!("SELECT count(*) || ' ' || sum(events) || ' ' || sum(late_count) FROM sg_cells_{rollup}");
        assert_eq!(old_sql(&data_dir, &sums), moved.sql(&sums), "{rollup}");
        let ledger = format!(
            "SELECT sum(folded) || ' ' || sum(diverted) FROM sg_rollup_partitions WHERE rollup = '{rollup}'"
        );
        assert_eq!(old_sql(&data_dir, &ledger), moved.sql(&ledger), "{rollup}");
    }
    let revisions = moved.sql("SELECT sum(revision)::text FROM sg_cells_hourly");
    assert_eq!(revisions, ["0"], "no window was final while its cells were brought");
    let clock = "SELECT max(m)::text FROM sg_partitions";
    assert_eq!(moved.sql(&clock.replace("max", "min")), moved.sql(clock), "one clock for all partitions");
    // A record's place is where it is said to be.
    let misplaced = "SELECT count(*)::text FROM sg_late l JOIN sg_partitions p USING (partition) WHERE position >= next_offset";
    assert_eq!(moved.sql(misplaced), ["0"]);
}

fn refuses_what_is_not_fresh(moved: &Move) {
    let everything = "SELECT count(*)::text FROM sg_raw_events UNION ALL SELECT sum(events)::text FROM sg_cells_minutes \
                      UNION ALL SELECT sum(next_offset)::text FROM sg_partitions UNION ALL SELECT sum(epoch)::text FROM sg_partitions";
    let before = moved.sql(everything);
    let told = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let second = moved.import();
    assert_eq!(second.status.code(), Some(78), "{}", told(&second));
    assert!(
        told(&second).contains("of the new log holds records; import into empty ones"),
        "{}",
        told(&second)
    );
    // An empty topic does not help where the store has counts.
    let toml = moved.toml(&[AT_ONCE, BASE, REVENUE]);
    let other_topic = toml.replace(
        &format!("topic = \"{}\"", moved.cluster.name),
        &format!("topic = \"{}_b\"", moved.cluster.name),
    );
    let third = moved.import_into(&other_topic, &moved.urls().1);
    assert_eq!(third.status.code(), Some(78), "{}", told(&third));
    assert!(told(&third).contains("the new store has counts"), "{}", told(&third));
    assert_eq!(moved.sql(everything), before, "nothing was written");
    // Nor an empty store where the log does not belong to the configuration.
    let other = toml.replace("grace = \"2m\"\nlate", "grace = \"3m\"\nlate");
    let fourth = moved.import_into(&other, &moved.urls().1);
    assert_eq!(fourth.status.code(), Some(78), "{}", told(&fourth));
    assert!(told(&fourth).contains("was counted under another definition"), "{}", told(&fourth));
}

#[test]
fn an_import_without_its_two_sides_says_which() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data_dir = folder.path().join("none").display().to_string();
    let refused = |more: &[&str]| {
        let output = run(&[&["import", "--data-dir", data_dir.as_str()], more].concat());
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let told = refused(&["--log", "kafka://127.0.0.1:1", "--store", "postgres://nobody@127.0.0.1:1/none"]);
    assert!(told.contains("name the data directory of the old server"), "{told}");
    let told = refused(&["--log", "kafka://127.0.0.1:1"]);
    assert!(told.contains("--store postgres://"), "{told}");
    assert!(!folder.path().join("none").try_exists().expect("it can be asked"), "nothing was made");
}

#[test]
fn replays_that_were_never_folded_keep_a_log_where_it_is() {
    let Some(services) = Services::shared() else { return };
    let _turn = turn();
    let moving = Move::new(services);
    moving.leave_unfolded(&[("a", "2025-01-01T00:00:01Z")]);
    let mut server = moving.old(&[NEVER, BASE, REVENUE]);
    assert_eq!(server.post("/v1/flush", &[], "").status, 200);
    let replay = r#"{"stream":"events","edit":{"total":1}}"#;
    assert_eq!(server.post("/v1/dead-letters/replay", &[], replay).json()["accepted"], 1);
    server.kill9();
    let refused = moving.import();
    assert_eq!(refused.status.code(), Some(78), "{refused:?}");
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("holds replays of dead letters that no server has folded yet"), "{why}");
    // As the message says: the old server folds them, and then it can be moved.
    let mut server = moving.old(&[AT_ONCE, BASE, REVENUE]);
    until(START, "the replay is folded", || ledger(&server, "counted") == 1);
    assert!(server.terminate().success());
    let brought = moving.import();
    assert!(brought.status.success(), "{brought:?}");
    let server = moving.new_server();
    audit(&server, &[]);
    assert_eq!((ledger(&server, "counted"), ledger(&server, "dead_lettered")), (1, 1));
}
