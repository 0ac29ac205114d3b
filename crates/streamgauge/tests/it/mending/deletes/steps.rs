//! Deletes of so many events that they take several steps: each of them leaves cells that the events that are left make.

use std::path::Path;

use serde_json::Value;

use super::super::rebuilds::{orders, post, rows};
use super::super::{MEASURES, ORDERS, flush, launch};
use super::{delete, is_sound, ledger};
use crate::harness::witness::audit;
use crate::harness::{PATIENCE, Server, until};

/// A late lane beside measures out of which nothing can be subtracted.
const DIVERTING: &str = r#"
[[rollup]]
name = "diverting"
stream = "orders"
window = "1h"
grace = "5m"
late = "divert"
by = ["event_type"]
measure = [
  { name = "users", fn = "distinct", field = "user_id" },
  { name = "most", fn = "max", field = "amount", scale = 2 },
]
"#;
/// More than three steps' worth, among others.
const EVENTS: u64 = 6_000;
const CONDITIONS: &str =
    "user_id in ('u1', 'u3', 'u5', 'u7', 'u9', 'u11', 'u13', 'u15', 'u17', 'u19', 'u2', 'u4')";

fn start(folder: &Path, raw_table: bool) -> Server {
    let orders = ORDERS.replace("raw_table = ", if raw_table { "raw_table = " } else { "# " });
    Server::ready(&launch(folder, &format!("[flush]\ninterval = \"20ms\"\n{orders}{MEASURES}{DIVERTING}")))
}

fn send(server: &Server, seed: u64) {
    let lines = orders(seed, EVENTS);
    for chunk in lines.chunks(500) {
        let ndjson = [("content-type", "application/x-ndjson")];
        assert_eq!(server.post("/orders", &ndjson, chunk.join("\n")).status, 202);
    }
    flush(server);
}

fn diverted(server: &Server) -> u64 {
    let status = server.get("/v1/status").json();
    let rollups = status["rollups"].as_array().expect("rollups").clone();
    let found = rollups.iter().find(|one| one["name"] == "diverting").expect("the rollup");
    found["ledger"]["diverted"].as_u64().expect("a number")
}

fn deletes_in_steps(raw_table: bool) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let server = start(folder.path(), raw_table);
    send(&server, 61);
    let before = diverted(&server);
    assert!(before > 100, "{before}");
    let (code, _, dry) = delete(&server, CONDITIONS, &["--dry-run"]);
    let matched = dry["matched"].as_u64().expect("a number");
    assert!(code == Some(0) && matched > 3_000, "{dry}");
    let (code, said, last) = delete(&server, CONDITIONS, &[]);
    assert_eq!((code, last["deleted"].as_u64()), (Some(0), Some(matched)), "{last}");
    let steps = said.iter().filter(|line| !line["progress"].is_null()).count();
    assert!(steps > 3, "{said:?}");
    assert!(diverted(&server) < before);
    is_sound(&server);
}

#[test]
fn cells_are_right_after_many_steps_from_the_raw_table() {
    deletes_in_steps(true);
}

#[test]
fn cells_are_right_after_many_steps_from_the_log() {
    deletes_in_steps(false);
}

#[test]
fn what_the_raw_table_has_lost_is_made_from_the_log_and_the_rest_is_not() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let server = start(folder.path(), true);
    send(&server, 62);
    let store = crate::harness::witness::open(server.data_dir());
    // Of some hours rows of others are gone, but no event of the log.
    let lost = store.execute("DELETE FROM sg_raw_orders WHERE user_id = 'u6' AND position % 100 < 3", []);
    assert!(lost.expect("rows can be lost") > 0);
    let (code, said, last) = delete(&server, CONDITIONS, &[]);
    assert!(code == Some(0) && last["refused"] == 0, "{said:?}");
    is_sound(&server);
}

#[test]
fn each_step_is_right_by_itself() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let mut server = start(folder.path(), true);
    send(&server, 63);
    let (_, _, dry) = delete(&server, CONDITIONS, &["--dry-run"]);
    let matched = dry["matched"].as_u64().expect("a number");
    let mut is_cut = false;
    while ledger(&server, "deleted") < matched {
        let before = ledger(&server, "deleted");
        std::thread::scope(|threads| {
            threads.spawn(|| server.command(&["events", "delete", "--where", CONDITIONS]));
            until(PATIENCE, "a step is done", || ledger(&server, "deleted") > before);
            server.signal(rustix::process::Signal::KILL);
        });
        assert!(!server.wait(PATIENCE).success());
        server = start(folder.path(), true);
        is_cut |= ledger(&server, "deleted") < matched;
        is_sound(&server);
    }
    assert!(is_cut, "it was killed between two steps");
    let left = rows(&server, "measures");
    let (code, _, last) = delete(&server, CONDITIONS, &[]);
    assert_eq!((code, last["matched"].as_u64()), (Some(0), Some(0)));
    assert_eq!(rows(&server, "measures"), left);
    audit(&server, &[]);
    let stay: Vec<Value> = left.as_array().expect("rows").clone();
    assert!(!stay.is_empty());
    post(&server, &orders(64, 50));
    is_sound(&server);
}
