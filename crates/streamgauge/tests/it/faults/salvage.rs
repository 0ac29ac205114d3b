//! A log that was salvaged: what it has lost is named and counted, and everything else goes on as if it had never been.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::damage::{LINES, assert_refusal, events, launch, overwrite, segments};
use crate::harness::watching::Watching;
use crate::harness::witness;
use crate::harness::{Exited, PATIENCE, Server, until};

/// What is sent to either stream before the damage, in batches of so many.
const BATCHES: u64 = 40;
const PER_BATCH: u64 = 50;
/// What is sent to either afterwards.
const MORE: u64 = 10;
/// What either was sent in all.
const SENT: u64 = BATCHES * PER_BATCH + MORE;

/// Sends a batch to both streams.
fn send(server: &Server, from: u64, count: u64) {
    let mut paths = [("/v1/events", events(from, count)), ("/v1/events?stream=stream.events", String::new())];
    paths[1].1 = paths[0].1.replace("\"session_id\"", "\"stream_id\"");
    for (path, body) in paths {
        assert_eq!(server.post(path, &LINES, body).status, 202);
    }
}

/// What the status says of a stream's partition.
fn partition(server: &Server, stream: &str) -> Value {
    let status = server.get("/v1/status").json();
    let streams = status["streams"].as_array().expect("streams");
    let found = streams.iter().find(|known| known["name"] == stream).expect("it is built in");
    found["partitions"][0].clone()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Returns how many events of a stream are counted and how many offsets were skipped; together they are all that was sent.
fn check_ledger(server: &Server, stream: &str, sent: u64) -> (u64, u64) {
    let known = partition(server, stream);
    let ledger = &known["ledger"];
    let (processed, skipped) = (number(&ledger["processed"]), number(&ledger["skipped"]));
    assert_eq!(
        processed + skipped,
        number(&known["next_offset"]) - number(&known["first_offset"]),
        "{known}"
    );
    assert_eq!(processed + skipped, sent, "{known}");
    assert_eq!((number(&ledger["counted"]), &ledger["adds_up"]), (processed, &Value::Bool(true)), "{known}");
    let metric =
        format!("streamgauge_offsets_skipped_total{{stream=\"{stream}\",partition=\"0\"}} {skipped}\n");
    assert!(server.get("/metrics").text().contains(&metric), "{metric}");
    check_watched(server, stream, sent, skipped);
    let audit = server.command(&["audit"]);
    let said = String::from_utf8_lossy(&audit.stdout);
    let line = format!("✓ offsets of {stream}/0: processed {processed} + skipped {skipped} = next offset");
    assert!(audit.status.success() && said.contains(&line), "{line}\n{said}");
    (processed, skipped)
}

/// Those who watch are told of all that was sent, with what was skipped.
fn check_watched(server: &Server, stream: &str, sent: u64, skipped: u64) {
    let (mut watching, _) = Watching::begin(server, "/v1/stream", None);
    let told = watching.next().expect("everything at once").data;
    let streams = told["stats"]["streams"].as_array().expect("streams");
    let flow = streams.iter().find(|flow| flow["name"] == stream).expect("it is built in");
    assert_eq!((number(&flow["received"]), number(&flow["skipped"])), (sent, skipped), "{flow}");
}

/// Damages a log, has it refused and salvaged, and looks at everything that reads it.
fn check(damage: impl Fn(&Path)) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let data_dir = folder.path().join("data");
    let mut server = Server::ready(&launch(&data_dir));
    (0..BATCHES).for_each(|batch| send(&server, batch * PER_BATCH, PER_BATCH));
    server.kill9();
    let damaged = segments(&data_dir)[1].clone();
    damage(&damaged);
    let (code, stderr) = match launch(&data_dir).start() {
        Err(Exited { status, stderr }) => (status.code(), stderr),
        Ok(mut server) => (server.wait(PATIENCE).code(), server.stderr()),
    };
    assert_refusal(code, &stderr, &damaged);

    let archive = format!("file:{}", folder.path().join("archive").display());
    let archiving = || launch(&data_dir).args(&["--archive", &archive]);
    // Killed wherever it stands, and started again without being told to salvage: what is lost stays known.
    Server::ready(&archiving().args(&["--salvage"])).kill9();
    let mut server = Server::ready(&archiving());
    send(&server, 1_000_000, MORE);
    server.post("/v1/flush", &[], "");
    let ledgers = ["events", "stream.events"].map(|stream| check_ledger(&server, stream, SENT));
    assert!(ledgers.iter().any(|(_, skipped)| *skipped > 0), "nothing was lost: {ledgers:?}");
    for rollup in ["hourly_aggregations", "stream_metrics_minute"] {
        let rebuilt = server.command(&["rebuild", "--dry-run", "--json", "--rollup", rollup]);
        let said = String::from_utf8_lossy(&rebuilt.stdout);
        assert!(rebuilt.status.success() && !said.contains("differs"), "{rollup}: {said}");
    }
    check_fates(&server, &data_dir, ledgers[0]);

    server.kill9();
    let mut server = Server::ready(&archiving());
    assert_eq!(["events", "stream.events"].map(|stream| check_ledger(&server, stream, SENT)), ledgers);
    // What is not yet a file becomes one when the server stops.
    assert!(server.terminate().success(), "{}", server.stderr());
    for (stream, (counted, _)) in ["events", "stream.events"].iter().zip(ledgers) {
        assert_eq!(lines(&folder.path().join("archive").join(stream)), counted, "{stream}");
    }
}

/// A counted event is found; of a lost one is said that it may be lost.
fn check_fates(server: &Server, data_dir: &Path, (counted, skipped): (u64, u64)) {
    let store = witness::open(data_dir);
    let mut select = store.prepare("SELECT event_id FROM events").expect("there is a raw table");
    let ids = select.query_map([], |row| row.get::<_, String>(0)).expect("it can be asked");
    let ids: BTreeSet<String> = ids.map(|id| id.expect("it can be read")).collect();
    assert_eq!(ids.len() as u64, counted);
    let sent = (0..BATCHES * PER_BATCH).map(|id| id.to_string());
    let (kept, lost): (Vec<String>, Vec<String>) = sent.partition(|id| ids.contains(id));
    assert_eq!(lost.len() as u64, skipped);
    let fate = |id: &str| server.get(&format!("/v1/events/{id}")).json();
    assert_eq!(fate(kept.last().expect("some are kept"))["fate"], "counted");
    let Some(lost) = lost.first() else { return };
    // The streams have the same ids, and of the other one it may be left.
    let fate = fate(lost);
    if fate["fate"] == "unknown" {
        let why = fate["why"].as_str().unwrap_or_default();
        assert!(why.contains(&format!("{skipped} offsets of events")), "{why}");
    }
}

/// Returns how many lines the files of a folder and those below it have.
fn lines(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("the folder can be read").path());
    let count = |path: std::path::PathBuf| {
        if path.is_dir() {
            return lines(&path);
        }
        std::fs::read_to_string(&path).expect("the file can be read").lines().count() as u64
    };
    paths.map(count).sum()
}

#[test]
fn what_was_damaged_in_the_middle_is_skipped_and_counted() {
    check(|segment| overwrite(segment, 400_000, &[0x55; 64]));
}

#[test]
fn a_whole_segment_that_is_gone_is_skipped_and_counted() {
    check(|segment| std::fs::remove_file(segment).expect("the segment is there"));
}

#[test]
fn a_log_that_has_lost_its_end_goes_on_behind_what_was_counted() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut server = Server::ready(&launch(folder.path()));
    (0..BATCHES).for_each(|batch| send(&server, batch * PER_BATCH, PER_BATCH));
    server.post("/v1/flush", &[], "");
    assert!(server.terminate().success(), "{}", server.stderr());
    for lost in segments(folder.path()).drain(2..) {
        std::fs::remove_file(lost).expect("the segment is there");
    }
    let Exited { status, stderr } = launch(folder.path()).start().expect_err("its end is lost");
    assert_eq!(status.code(), Some(70), "{stderr}");
    let told = format!("has read it up to offset {}", BATCHES * PER_BATCH);
    assert!(stderr.contains(&told) && stderr.contains("serve --salvage"), "{stderr}");

    let server = Server::ready(&launch(folder.path()).args(&["--salvage"]));
    send(&server, 1_000_000, MORE);
    server.post("/v1/flush", &[], "");
    for stream in ["events", "stream.events"] {
        until(PATIENCE, "what came since is counted", || {
            number(&partition(&server, stream)["ledger"]["counted"]) == BATCHES * PER_BATCH + MORE
        });
        assert_eq!(
            check_ledger(&server, stream, SENT).1,
            0,
            "what was counted before it was lost is not skipped"
        );
    }
    let rebuilt = server.command(&["rebuild", "--dry-run", "--rollup", "hourly_aggregations"]);
    let why = String::from_utf8_lossy(&rebuilt.stderr);
    assert!(why.contains("the log has lost the records of") && !rebuilt.status.success(), "{why}");
}

/// Damages the only segment where it names the first stream; returns how many of that one's events are skipped.
fn check_name(damage: &[u8]) -> u64 {
    const BATCHES: u64 = 4;
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut server = Server::ready(&launch(folder.path()));
    (0..BATCHES).for_each(|batch| send(&server, batch * PER_BATCH, PER_BATCH));
    // The other stream has not this one.
    assert_eq!(server.post("/v1/events", &LINES, events(500_000, 1)).status, 202);
    server.kill9();
    let [only] = &segments(folder.path())[..] else { panic!("it has room for all") };
    overwrite(only, 100, damage);
    let Exited { status, stderr } = launch(folder.path()).start().expect_err("it is damaged");
    assert_refusal(status.code(), &stderr, only);

    let server = Server::ready(&launch(folder.path()).args(&["--salvage"]));
    send(&server, 1_000_000, MORE);
    server.post("/v1/flush", &[], "");
    let sent = BATCHES * PER_BATCH + MORE;
    let skipped = check_ledger(&server, "events", sent + 1).1;
    assert_eq!(check_ledger(&server, "stream.events", sent), (sent, 0), "nothing of it was damaged");
    let fate = server.get("/v1/events/500000").json();
    let why = fate["why"].as_str().unwrap_or_default();
    let is_told = why.contains(&format!("{skipped} offsets of events"));
    let expected = if skipped == 0 { ("counted", false) } else { ("unknown", true) };
    assert_eq!((fate["fate"].as_str().unwrap_or_default(), is_told), expected, "{fate}");
    skipped
}

#[test]
fn a_stream_whose_name_is_damaged_loses_no_event() {
    assert_eq!(check_name(&[0x55; 20]), 0);
}

#[test]
fn events_whose_stream_cannot_be_named_are_skipped_and_counted() {
    assert_eq!(check_name(&[0x55; 200]), 201);
}
