//! Cells that are made again from the log: what differs is found and put right, and nothing else changes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::Value;

use super::{MEASURES, NDJSON, ORDERS, REVENUE, flush, launch, total};
use crate::harness::dice::Dice;
use crate::harness::witness::{audit, open};
use crate::harness::{PATIENCE, Server, pause, until};

pub(super) const T0_S: i64 = 1_735_689_600;

/// Orders of some hours, out of order, some of them late, some twice.
pub(super) fn orders(seed: u64, count: u64) -> Vec<String> {
    let mut dice = Dice::new(seed);
    let mut pick = |limit: u64| dice.below(limit);
    let types = ["sale", "open", "close"];
    let order = |id: u64| {
        let back = if pick(10) == 0 { pick(3 * 3_600) } else { pick(20) };
        let time_s = T0_S + (id * 30) as i64 - back as i64;
        format!(
            r#"{{"id":"{seed}-{}","type":"{}","user_id":"u{}","ts":{time_s},"amount":"{}.{:02}"}}"#,
            id - id % 17 / 16,
            types[pick(3) as usize],
            pick(20),
            pick(900),
            pick(100)
        )
    };
    (0..count).map(order).collect()
}

pub(super) fn post(server: &Server, lines: &[String]) {
    for chunk in lines.chunks(50) {
        assert_eq!(server.post("/orders?wait=true", &NDJSON, chunk.join("\n")).status, 202);
    }
}

pub(super) fn rows(server: &Server, rollup: &str) -> Value {
    let mut rows = server.get(&format!("/v1/rollups/{rollup}?limit=10000")).json()["data"].take();
    for row in rows.as_array_mut().expect("rows") {
        row.as_object_mut().expect("a row").remove("revision");
    }
    rows
}

/// Runs a rebuild; returns its exit code, the cells that differed, and its last line.
pub(super) fn rebuild(server: &Server, args: &[&str]) -> (Option<i32>, Vec<Value>, Value) {
    let output = server.command(&[&["rebuild", "--json"][..], args].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let differing = lines.iter().filter(|line| !line["differs"].is_null());
    let differing = differing.map(|line| line["differs"].clone()).collect();
    let last = lines.last().unwrap_or_else(|| panic!("{output:?}")).clone();
    (output.status.code(), differing, last)
}

/// What can be wrong with one cell: its rollup, and how it comes to be.
const DAMAGES: [(&str, &str); 10] = [
    (
        "hourly",
        "UPDATE sg_cells_hourly SET m0 = m0 + 7 WHERE d0 = 'sale' AND pane = (SELECT max(pane) FROM sg_cells_hourly)",
    ),
    (
        "hourly",
        "UPDATE sg_cells_hourly SET events = events - 1, m0 = m0 - 1 WHERE d0 = 'open' AND pane = (SELECT min(pane) FROM sg_cells_hourly)",
    ),
    ("revenue", "DELETE FROM sg_cells_revenue WHERE pane = (SELECT max(pane) FROM sg_cells_revenue)"),
    ("hourly", "INSERT INTO sg_cells_hourly SELECT pane, 'never', 3, 0, 0, 3 FROM sg_cells_hourly LIMIT 1"),
    (
        "measures",
        "UPDATE sg_cells_measures SET m2 = m2 + 5 WHERE d0 = 'open' AND pane = (SELECT min(pane) FROM sg_cells_measures)",
    ),
    (
        "measures",
        "UPDATE sg_sketches_measures SET s3 = (SELECT s3 FROM sg_sketches_measures WHERE d0 = 'close' LIMIT 1) WHERE d0 = 'sale' AND pane = (SELECT max(pane) FROM sg_sketches_measures)",
    ),
    (
        "measures",
        "UPDATE sg_cells_measures SET m3 = m3 + 1 WHERE d0 = 'sale' AND pane = (SELECT max(pane) FROM sg_cells_measures)",
    ),
    (
        "measures",
        "UPDATE sg_cells_measures SET m4_lo = NULL, m4_hi = NULL WHERE d0 = 'open' AND pane = (SELECT min(pane) FROM sg_cells_measures)",
    ),
    (
        "measures",
        "UPDATE sg_cells_measures SET m5 = '[]' WHERE d0 = 'open' AND pane = (SELECT min(pane) FROM sg_cells_measures)",
    ),
    (
        "minutes",
        "UPDATE sg_cells_minutes SET m0 = 99 WHERE (pane, d0) = (SELECT pane, d0 FROM sg_cells_minutes LIMIT 1)",
    ),
];

#[test]
fn a_corrupted_cell_is_found_and_put_right() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let server = Server::ready(&launch(folder.path(), &format!("{ORDERS}{REVENUE}{MEASURES}")));
    post(&server, &orders(1, 600));
    flush(&server);
    audit(&server, &[]);
    let names = ["hourly", "revenue", "measures", "minutes"];
    let before = names.map(|name| rows(&server, name));
    let (code, differing, last) = rebuild(&server, &["--dry-run"]);
    assert_eq!((code, differing.len()), (Some(0), 0), "{differing:?} {last}");
    assert_eq!(last["done"]["is_whole"], true);

    for (rollup, sql) in DAMAGES {
        let changed = open(server.data_dir()).execute(sql, []).expect("the store can be damaged");
        assert_eq!(changed, 1, "{sql}");
        let damaged = names.map(|name| rows(&server, name));
        let (code, differing, last) = rebuild(&server, &["--rollup", rollup, "--dry-run"]);
        assert_eq!((code, differing.len()), (Some(1), 1), "{sql}: {differing:?} {last}");
        assert_eq!(names.map(|name| rows(&server, name)), damaged, "a dry run changes nothing");
        let (code, differing, _) = rebuild(&server, &[]);
        assert_eq!((code, differing.len()), (Some(0), 1), "{sql}: {differing:?}");
        assert_eq!(names.map(|name| rows(&server, name)), before, "{sql}");
        audit(&server, &[]);
    }
    // How many were late depends on the grace of the time: alone it is no difference.
    let late = "UPDATE sg_cells_hourly SET late_count = late_count + 1";
    assert!(open(server.data_dir()).execute(late, []).expect("the store can be damaged") > 0);
    assert_eq!(rebuild(&server, &["--dry-run"]).1, Vec::<Value>::new());
    let last_hour = ["--rollup", "hourly", "--from", "2025-01-01T03:00:00Z", "--dry-run"];
    open(server.data_dir())
        .execute("UPDATE sg_cells_hourly SET m0 = 99 WHERE d0 = 'sale'", [])
        .expect("damaged");
    let (_, differing, _) = rebuild(&server, &last_hour);
    let starts: Vec<&str> = differing.iter().filter_map(|one| one["window_start"].as_str()).collect();
    assert_eq!(starts, ["2025-01-01T03:00:00Z", "2025-01-01T04:00:00Z"], "only what was asked for");
    let unknown = server.command(&["rebuild", "--rollup", "none"]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
    for (body, status) in
        [(r#"{"rollup":"none"}"#, 404), (r#"{"rollup":"hourly","from":"soon"}"#, 400), ("{}", 400)]
    {
        assert_eq!(server.post("/v1/rebuild", &[], body).status, status, "{body}");
    }
}

#[test]
fn a_rollup_that_is_added_later_is_filled_up() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let whole = format!("{ORDERS}{MEASURES}");
    let more =
        |toml: &str| toml.replace("\"measures\"", "\"added\"").replace("\"minutes\"", "\"added_minutes\"");
    let mut server = Server::ready(&launch(folder.path(), &whole));
    post(&server, &orders(2, 400));
    flush(&server);
    assert!(server.terminate().success());
    let both = format!("{whole}{}{REVENUE}", more(MEASURES));
    let mut server = Server::ready(&launch(folder.path(), &both));
    post(&server, &orders(3, 100));
    post(&server, &[r#"{"id":"odd","type":"sale","user_id":"u","ts":1735689600}"#.to_owned()]);
    flush(&server);
    assert_ne!(rows(&server, "added"), rows(&server, "measures"));
    let (code, ..) = rebuild(&server, &["--rollup", "added", "--dry-run"]);
    assert_eq!(code, Some(1));
    for name in ["added", "added_minutes", "revenue"] {
        let (code, _, last) = rebuild(&server, &["--rollup", name]);
        assert_eq!((code, &last["done"]["is_backfilled"]), (Some(0), &true.into()), "{last}");
        audit(&server, &[]);
    }
    assert_eq!(rows(&server, "added"), rows(&server, "measures"));
    assert_eq!(rows(&server, "added_minutes"), rows(&server, "minutes"));
    let status = server.get("/v1/status").json();
    let of = |name: &str| {
        let rollups = status["rollups"].as_array().expect("rollups");
        rollups.iter().find(|rollup| rollup["name"] == name).expect("the rollup").clone()
    };
    assert!(of("added")["complete_from"].is_null(), "{}", of("added"));
    assert_eq!(of("added")["ledger"], of("measures")["ledger"]);
    server.kill9();
    let server = Server::ready(&launch(folder.path(), &both));
    audit(&server, &[]);
    assert_eq!(rebuild(&server, &["--dry-run"]).1, Vec::<Value>::new());
}

#[test]
fn a_rebuild_is_right_while_events_come_in_and_when_it_is_killed() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let toml = format!("[flush]\ninterval = \"20ms\"\n{ORDERS}{REVENUE}{MEASURES}");
    let mut server = Server::ready(&launch(folder.path(), &toml));
    post(&server, &orders(4, 1_000));
    let (is_over, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let mut seed = 100;
            while !is_over.load(Ordering::SeqCst) {
                post(&server, &orders(seed, 50));
                sent.fetch_add(50, Ordering::SeqCst);
                seed += 1;
            }
        });
        for round in 0..5 {
            let sql = "UPDATE sg_cells_hourly SET m0 = m0 + 1000 WHERE pane = (SELECT min(pane) FROM sg_cells_hourly)";
            assert!(open(server.data_dir()).execute(sql, []).expect("the store can be damaged") > 0);
            let (code, differing, last) = rebuild(&server, &[]);
            assert!(code == Some(0) && !differing.is_empty(), "round {round}: {last}");
            let so_far = sent.load(Ordering::SeqCst);
            until(PATIENCE, "events come in meanwhile", || sent.load(Ordering::SeqCst) > so_far);
        }
        is_over.store(true, Ordering::SeqCst);
    });
    flush(&server);
    audit(&server, &[]);
    assert_eq!(rebuild(&server, &["--dry-run"]).1, Vec::<Value>::new());
    let counted = total(&server, "hourly", "n");
    for after_ms in [0, 3, 10, 30] {
        let sql = "UPDATE sg_cells_hourly SET m0 = m0 + 1000";
        open(server.data_dir()).execute(sql, []).expect("the store can be damaged");
        std::thread::scope(|threads| {
            threads.spawn(|| server.command(&["rebuild"]));
            pause(std::time::Duration::from_millis(after_ms));
            server.signal(rustix::process::Signal::KILL);
        });
        assert!(!server.wait(PATIENCE).success());
        server = Server::ready(&launch(folder.path(), &toml));
        assert_eq!(rebuild(&server, &[]).0, Some(0));
        assert_eq!(total(&server, "hourly", "n"), counted);
        audit(&server, &[]);
    }
}

#[test]
fn a_changed_definition_is_adopted_when_it_is_asked_for() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let toml = format!("{ORDERS}{REVENUE}{MEASURES}");
    let mut server = Server::ready(&launch(folder.path(), &toml));
    post(&server, &orders(6, 300));
    flush(&server);
    assert!(server.terminate().success());
    let changed = toml.replace("by = [\"event_type\"]", "by = [\"user_id\"]");
    let refused = launch(folder.path(), &changed).start().expect_err("the definition has changed");
    assert_eq!(refused.status.code(), Some(78));
    assert!(refused.stderr.contains("--rebuild"), "{}", refused.stderr);
    let unknown = launch(folder.path(), &toml).args(&["--rebuild", "none"]).start();
    assert_eq!(unknown.expect_err("there is none").status.code(), Some(78));

    let adopt = ["--rebuild", "hourly", "--rebuild", "measures"];
    let mut server = Server::ready(&launch(folder.path(), &changed).args(&adopt));
    let is_filled = |server: &Server| {
        let status = server.get("/v1/status").json();
        status["rollups"].as_array().expect("rollups").iter().all(|rollup| rollup["complete_from"].is_null())
    };
    until(PATIENCE, "the rollups are filled up", || {
        total(&server, "hourly", "n") > 0.0 && is_filled(&server)
    });
    audit(&server, &[]);
    assert_eq!(rebuild(&server, &["--dry-run"]).1, Vec::<Value>::new());
    let before = rows(&server, "hourly");
    assert!(before[0]["user_id"].is_string(), "{before}");
    server.kill9();
    // Asked for again, nothing is dropped.
    let server = Server::ready(&launch(folder.path(), &changed).args(&adopt));
    assert_eq!(rows(&server, "hourly"), before);
    audit(&server, &[]);
}
