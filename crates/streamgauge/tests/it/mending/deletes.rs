//! Events that are deleted by hand: gone from the raw table and from every cell, in the ledger as deleted, and a copy of one
//! is a duplicate still.

mod backups;
mod refused;
mod steps;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::Value;

use super::rebuilds::{orders, post, rebuild, rows};
use super::{MEASURES, ORDERS, REVENUE, flush, launch, told, total, unflushed};
use crate::harness::watching::Watching;
use crate::harness::witness::{audit, open};
use crate::harness::{PATIENCE, Server, pause, until};

fn start(folder: &Path) -> Server {
    Server::ready(&launch(folder, &format!("[flush]\ninterval = \"20ms\"\n{ORDERS}{REVENUE}{MEASURES}")))
}

/// Runs a delete; returns its exit code, all lines, and what its last line says.
fn delete(server: &Server, conditions: &str, more: &[&str]) -> (Option<i32>, Vec<Value>, Value) {
    let args = [&["events", "delete", "--json", "--where", conditions][..], more].concat();
    let output = server.command(&args);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let last = lines.last().unwrap_or_else(|| panic!("{output:?}\n{}", server.stderr()))["done"].clone();
    (output.status.code(), lines, last)
}

fn export(server: &Server, conditions: &str) -> Vec<Value> {
    let output = server.command(&["events", "export", "--where", conditions]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

fn is_sound(server: &Server) {
    audit(server, &[]);
    let (code, differing, last) = rebuild(server, &["--dry-run"]);
    assert_eq!((code, differing.len()), (Some(0), 0), "{differing:?} {last}");
}

fn ledger(server: &Server, member: &str) -> u64 {
    let status = server.get("/v1/status").json();
    let streams = status["streams"].as_array().expect("streams");
    let parts = streams.iter().filter_map(|stream| stream["partitions"].as_array()).flatten();
    parts.map(|part| part["ledger"][member].as_u64().expect("a number")).sum()
}

#[test]
fn what_is_deleted_is_as_if_it_had_never_been_sent() {
    let (folder, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let (server, witness) = (start(folder.path()), start(other.path()));
    post(&server, &orders(21, 900));
    // What stays is what was counted of the others: a copy under another user is a duplicate.
    flush(&server);
    let counted = export(&server, "");
    let conditions = "user_id in ('u7', 'u11') and event_type != 'close'";
    let goes = |event: &Value| {
        ["u7", "u11"].contains(&event["user_id"].as_str().unwrap_or_default())
            && event["event_type"] != "close"
    };
    let doomed: Vec<&Value> = counted.iter().filter(|event| goes(event)).collect();
    assert!(doomed.len() > 20);
    let stay: Vec<String> = counted.iter().filter(|event| !goes(event)).map(Value::to_string).collect();
    post(&witness, &stay);
    flush(&witness);

    let before = rows(&server, "hourly");
    let (code, said, last) = delete(&server, conditions, &["--dry-run"]);
    assert_eq!((code, last["matched"].as_u64()), (Some(0), Some(doomed.len() as u64)), "{last}");
    let days: u64 = said.iter().filter_map(|line| line["day"]["events"].as_u64()).sum();
    assert_eq!(days, doomed.len() as u64);
    let taken = |rollup: &str| -> u64 {
        let cells = said.iter().filter(|line| line["cell"]["rollup"] == rollup);
        cells.filter_map(|line| line["cell"]["deleted"].as_u64()).sum()
    };
    assert_eq!((taken("hourly"), taken("measures")), (doomed.len() as u64, doomed.len() as u64));
    assert_eq!(
        (rows(&server, "hourly"), ledger(&server, "deleted")),
        (before, 0),
        "a dry run changes nothing"
    );
    is_sound(&server);

    let (code, _, last) = delete(&server, conditions, &[]);
    assert_eq!((code, last["deleted"].as_u64()), (Some(0), Some(doomed.len() as u64)), "{last}");
    is_sound(&server);
    for rollup in ["hourly", "revenue", "measures"] {
        let (mine, its) = (rows(&server, rollup), rows(&witness, rollup));
        let bare = |mut rows: Value| {
            for row in rows.as_array_mut().expect("rows") {
                let row = row.as_object_mut().expect("a row");
                row.remove("late_count");
                row.remove("is_final");
            }
            rows
        };
        assert_eq!(bare(mine), bare(its), "{rollup}");
    }
    assert_eq!(export(&server, conditions), Vec::<Value>::new());
    assert_eq!(ledger(&server, "deleted"), doomed.len() as u64);
    let id = doomed[0]["event_id"].as_str().expect("an id");
    assert_eq!(server.get(&format!("/v1/events/{id}")).json()["fate"], "deleted");
    // The same again finds nothing, and a copy is no new event.
    let (code, _, last) = delete(&server, conditions, &[]);
    assert_eq!((code, last["matched"].as_u64(), last["deleted"].as_u64()), (Some(0), Some(0), Some(0)));
    let (counted, duplicates) = (ledger(&server, "counted"), ledger(&server, "duplicate"));
    post(&server, &[doomed[0].to_string()]);
    flush(&server);
    assert_eq!((ledger(&server, "counted"), ledger(&server, "duplicate")), (counted, duplicates + 1));
    // Under new ids the back-up counts again.
    let again: Vec<String> = doomed
        .iter()
        .map(|event| {
            let mut event = (*event).clone();
            event["event_id"] = format!("again-{}", event["event_id"]).into();
            event.to_string()
        })
        .collect();
    post(&server, &again);
    flush(&server);
    assert_eq!(ledger(&server, "counted"), counted + again.len() as u64);
    is_sound(&server);
}

#[test]
fn a_delete_is_right_while_events_come_in_and_when_it_is_killed() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let mut server = start(folder.path());
    post(&server, &orders(31, 1_500));
    let (is_over, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let mut seed = 300;
            while !is_over.load(Ordering::SeqCst) {
                post(&server, &orders(seed, 50));
                sent.fetch_add(50, Ordering::SeqCst);
                seed += 1;
                // A delete reads all of it for each of its steps: as much as the disk takes would last for minutes.
                pause(std::time::Duration::from_millis(20));
            }
        });
        for user in 0..6 {
            let (code, _, last) = delete(&server, &format!("user_id = 'u{user}'"), &[]);
            assert!(code == Some(0) && last["deleted"].as_u64() > Some(0), "{last}\n{}", server.stderr());
            let so_far = sent.load(Ordering::SeqCst);
            until(PATIENCE, "events come in meanwhile", || sent.load(Ordering::SeqCst) > so_far);
        }
        is_over.store(true, Ordering::SeqCst);
    });
    flush(&server);
    is_sound(&server);
    for (user, after_ms) in [(7, 0), (8, 5), (9, 15), (10, 40), (11, 80)] {
        let conditions = format!("user_id = 'u{user}'");
        let counted = export(&server, &conditions).len() as u64;
        let deleted = ledger(&server, "deleted");
        std::thread::scope(|threads| {
            threads.spawn(|| server.command(&["events", "delete", "--where", &conditions]));
            pause(std::time::Duration::from_millis(after_ms));
            server.signal(rustix::process::Signal::KILL);
        });
        assert!(!server.wait(PATIENCE).success());
        server = start(folder.path());
        audit(&server, &[]);
        let (code, lines, _) = delete(&server, &conditions, &[]);
        assert_eq!(code, Some(0), "{lines:?}\n{}", server.stderr());
        assert_eq!(ledger(&server, "deleted"), deleted + counted, "each once, however often it was asked");
        audit(&server, &[]);
    }
    is_sound(&server);
    assert!(total(&server, "hourly", "n") > 0.0);
}

#[test]
fn late_events_replays_and_copies_keep_their_places_in_the_ledger() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let toml = unflushed(&format!("{ORDERS}{REVENUE}{MEASURES}"));
    let odd = [
        r#"{"id":"bad","type":"sale","user_id":"u1","ts":1735700000,"amount":"7"}"#,
        r#"{"id":"bad","type":"sale","user_id":"u1","ts":1735700000,"amount":"7"}"#,
        r#"{"id":"late","type":"sale","user_id":"u2","ts":1735690000,"amount":"3"}"#,
        r#"{"id":"new","type":"open","user_id":"u3","ts":1735700100,"amount":"4"}"#,
    ];
    // A door that does not know of revenue lets in what is no number for it.
    let mut server = Server::ready(&launch(folder.path(), &unflushed(ORDERS)));
    let broken = r#"{"id":"broken","type":"sale","user_id":"u1","ts":1735690000,"amount":"much"}"#;
    assert_eq!(server.post("/orders", &[], broken).status, 202);
    server.kill9();
    let server = Server::ready(&launch(folder.path(), &toml));
    for line in odd {
        assert_eq!(server.post("/orders", &[], line).status, 202);
    }
    flush(&server);
    assert_eq!(ledger(&server, "dead_lettered"), 1);
    told(&server, &["dead-letters", "replay", "--set", "amount=5", "--json"]);
    flush(&server);
    assert_eq!((ledger(&server, "counted"), ledger(&server, "duplicate")), (4, 1));
    let minutes = |server: &Server| {
        let status = server.get("/v1/status").json();
        let rollups = status["rollups"].as_array().expect("rollups").clone();
        rollups.iter().find(|one| one["name"] == "minutes").expect("the rollup")["ledger"].clone()
    };
    let diverted = minutes(&server)["diverted"].as_u64().expect("a number");
    assert!(diverted >= 1, "{}", minutes(&server));

    let (code, _, last) = delete(&server, "event_id in ('late', 'bad', 'broken')", &[]);
    assert_eq!((code, last["deleted"].as_u64()), (Some(0), Some(3)), "{last}");
    let ledger_of =
        ["counted", "duplicate", "dead_lettered", "deleted"].map(|member| ledger(&server, member));
    assert_eq!(ledger_of, [1, 1, 1, 3]);
    let (mut watching, _) = Watching::begin(&server, "/v1/stream", None);
    let total = watching.next().expect("everything at once").data["stats"]["total"].clone();
    let shown = ["received", "written", "duplicate", "dead_lettered", "deleted", "skipped"];
    assert_eq!(shown.map(|member| total[member].as_u64()), [6, 1, 1, 1, 3, 0].map(Some), "{total}");
    assert_eq!(minutes(&server)["diverted"].as_u64(), Some(0), "{}", minutes(&server));
    assert_eq!(minutes(&server)["deleted"].as_u64(), Some(3));
    let late = server.get("/v1/late").json();
    assert_eq!(late["data"].as_array().map(Vec::len), Some(0), "{late}");
    is_sound(&server);
    let replayed = told(&server, &["dead-letters", "replay", "--json"]);
    assert_eq!(replayed["accepted"], 0, "a letter whose replay was deleted stays replayed: {replayed}");
    let letters = open(server.data_dir()).query_row(
        "SELECT count(*) FROM sg_dead_letters WHERE replayed_at IS NULL",
        [],
        |row| row.get::<_, i64>(0),
    );
    assert_eq!(letters.expect("the store can be read"), 0);
}
