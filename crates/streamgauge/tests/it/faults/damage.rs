//! Damaged bytes in the log: in the middle of what was made durable the server refuses to start until it is told to go on
//! without them; at the very end, where a write was interrupted, it goes on by itself and says so.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::harness::{Exited, Launch, PATIENCE, Server, until};

/// Small segments, made when needed; nothing in the store but after a stop.
const CONFIG: &str =
    "[flush]\ninterval = \"1h\"\nmax_events = 1_000_000\n[embedded]\nsegment = \"1MiB\"\npool = \"0\"\n";
pub(super) const LINES: [(&str, &str); 1] = [("content-type", "application/x-ndjson")];

pub(super) fn launch(data_dir: &Path) -> Launch {
    Launch::new().data_dir(data_dir).config(CONFIG)
}

/// Returns so many events of about a kilobyte, one a line.
pub(super) fn events(from: u64, count: u64) -> String {
    let text = "x".repeat(1_000);
    let event = |id| {
        format!(r#"{{"event_type":"a","session_id":"s","event_id":"{id}","properties":{{"text":"{text}"}}}}"#)
    };
    (from..from + count).map(event).collect::<Vec<String>>().join("\n")
}

/// Returns the log's segments, oldest first.
pub(super) fn segments(data_dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data_dir.join("log")).expect("there is a log");
    let paths = entries.map(|entry| entry.expect("the log's folder can be read").path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "seg")).collect();
    paths.sort();
    paths
}

/// Writes over a file's bytes.
pub(super) fn overwrite(path: &Path, position: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).expect("the segment can be written");
    file.write_all_at(bytes, position).expect("the segment can be written");
}

fn ledger(server: &Server) -> serde_json::Value {
    server.get("/v1/status").json()["streams"][0]["partitions"][0]["ledger"].clone()
}

#[test]
fn damage_in_a_closed_segment_stops_the_start_until_it_is_salvaged() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut server = Server::ready(&launch(folder.path()));
    for batch in 0..40 {
        assert_eq!(server.post("/v1/events", &LINES, events(batch * 100, 100)).status, 202);
    }
    server.kill9();
    let segments = segments(folder.path());
    assert!(segments.len() >= 4, "{segments:?}");
    let damaged = &segments[1];
    overwrite(damaged, 400_000, &[0x55; 64]);
    // Closed segments are read behind the line that says that it is ready.
    let (code, stderr) = match launch(folder.path()).start() {
        Err(Exited { status, stderr }) => (status.code(), stderr),
        Ok(mut server) => (server.wait(PATIENCE).code(), server.stderr()),
    };
    assert_refusal(code, &stderr, damaged);
    let mut server = Server::ready(&launch(folder.path()).args(&["--salvage"]));
    let said = server.stderr();
    let name = damaged.file_name().and_then(|name| name.to_str()).expect("segments have plain names");
    let told =
        said.lines().find(|line| line.contains("salvage") && line.contains("lost") && line.contains(name));
    assert!(told.is_some(), "it does not say what is lost:\n{said}");
    assert_eq!(server.post("/v1/events", &LINES, events(10_000, 10)).status, 202);
    server.post("/v1/flush", &[], "");
    until(PATIENCE, "what is left is counted", || {
        let counted = ledger(&server)["counted"].as_u64().unwrap_or(0);
        (3_000..4_010).contains(&counted)
    });
    assert!(
        folder.path().join("log/salvaged").try_exists().is_ok_and(|exists| exists),
        "the bytes are not kept"
    );
    let counted = ledger(&server)["counted"].clone();
    assert!(server.terminate().success(), "{}", server.stderr());
    let server = Server::ready(&launch(folder.path()));
    assert_eq!(ledger(&server)["counted"], counted, "a salvaged log opens as usual");
}

pub(super) fn assert_refusal(code: Option<i32>, stderr: &str, damaged: &Path) {
    assert_eq!(code, Some(70), "{stderr}");
    for word in [damaged.to_str().expect("the temporary folder has a plain name"), "--salvage"] {
        assert!(stderr.contains(word), "{word} is not named:\n{stderr}");
    }
}

#[test]
fn a_torn_end_is_cut_off_and_told() {
    let half_head = b"SGLF\x01\x03\0\0\x01\0\0\0\0\0\0\0";
    let mut wrong_head = half_head.to_vec();
    wrong_head.resize(500, 0x33);
    // What does not begin like a frame looks like the rest of a file that was used before: nothing to be told.
    let cases = [(&half_head[..], true), (&wrong_head[..], true), (b"S", true), (&[0xff; 300], false)];
    for (garbage, is_told) in cases {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut server = Server::ready(&launch(folder.path()));
        assert_eq!(server.post("/v1/events", &LINES, events(0, 50)).status, 202);
        server.kill9();
        let last = segments(folder.path()).pop().expect("there is a segment");
        let bytes = std::fs::metadata(&last).expect("the segment is there").len();
        overwrite(&last, bytes, garbage);
        check_cut(folder.path(), 50, is_told);
    }
}

#[test]
fn a_write_that_did_not_reach_its_end_is_cut_off_and_told() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut server = Server::ready(&launch(folder.path()));
    assert_eq!(server.post("/v1/events", &LINES, events(0, 50)).status, 202);
    assert_eq!(server.post("/v1/events", &LINES, events(50, 1)).status, 202);
    server.kill9();
    let last = segments(folder.path()).pop().expect("there is a segment");
    let file = OpenOptions::new().write(true).open(&last).expect("the segment can be written");
    let bytes = file.metadata().expect("the segment is there").len();
    file.set_len(bytes - 200).expect("the segment can be cut");
    check_cut(folder.path(), 50, true);
}

/// Starts on a log whose end is torn; what stands before it is counted, what follows is taken.
fn check_cut(data_dir: &Path, events_before: u64, is_told: bool) {
    let server = Server::ready(&launch(data_dir));
    assert_eq!(server.stderr().contains("cut off the end of the log"), is_told, "{}", server.stderr());
    assert_eq!(server.post("/v1/events", &LINES, events(1_000, 5)).status, 202);
    server.post("/v1/flush", &[], "");
    until(PATIENCE, "everything is counted", || ledger(&server)["counted"] == events_before + 5);
    assert_eq!(ledger(&server)["duplicate"], 0);
}
