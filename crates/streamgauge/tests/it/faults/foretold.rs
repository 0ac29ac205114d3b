//! Logs that a start refuses before it takes events: the doctor says so beforehand, in the same words, and changes nothing.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::damage::{LINES, events, launch, overwrite, segments};
use crate::harness::{Exited, PATIENCE, Server, run};

/// Runs the doctor on a data directory that nobody works in, which must end with this code.
fn findings(data_dir: &Path, code: i32) -> Vec<Value> {
    let dir = data_dir.to_str().expect("the temporary folder has a plain name");
    let before = files(data_dir);
    let nowhere = ["--listen", "127.0.0.1:0", "--url", "http://127.0.0.1:1"];
    let output = run(&[&["doctor", "--json", "--data-dir", dir], &nowhere[..]].concat());
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(code), "{told}");
    assert!(files(data_dir) == before, "the doctor changed something");
    let report: Value = serde_json::from_str(&told).expect("it is JSON");
    report["findings"].as_array().expect("findings").clone()
}

/// Returns every file below a folder.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(dir).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            all.append(&mut files(&path));
        } else {
            all.insert(path.display().to_string(), std::fs::read(&path).expect("the file can be read"));
        }
    }
    all
}

/// The start is refused before the ready line; the doctor says the same of the log, and names all of these.
fn check_refused(data_dir: &Path, named: &[&str]) {
    let found = findings(data_dir, 1);
    let failed: Vec<&Value> = found.iter().filter(|finding| finding["level"] == "fail").collect();
    let [failed] = failed[..] else { panic!("{found:#?}") };
    let says = failed["says"].as_str().expect("a sentence");
    assert_eq!(failed["about"], "log", "{says}");
    let Exited { status, stderr } = launch(data_dir).start().expect_err("it is refused");
    assert_eq!(status.code(), Some(70), "{stderr}");
    for word in named {
        assert!(says.contains(word), "{word} is not named: {says}");
    }
    let why = says.strip_prefix("a start refuses it: ").expect("it says what follows");
    assert!(stderr.contains(why), "{why}\n{stderr}");
}

/// Leaves a log of some segments, of which the store has counted everything or, as after a crash, nothing.
fn leave(data_dir: &Path, is_counted: bool) {
    let mut server = Server::ready(&launch(data_dir));
    for batch in 0..20 {
        assert_eq!(server.post("/v1/events", &LINES, events(batch * 100, 100)).status, 202);
    }
    if is_counted {
        assert_eq!(server.post("/v1/flush", &[], "").status, 200);
    }
    server.kill9();
}

#[test]
fn a_log_that_is_whole_is_taken() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    // Letters that mean something in the name by which SQLite is given a file.
    let data_dir = folder.path().join("100% of it? yes #1");
    // Killed, so that what was counted last stands in the write-ahead log; then stopped in order, so that there is none.
    leave(&data_dir, true);
    let taken = |found: &[Value]| {
        found
            .iter()
            .any(|finding| finding["says"].as_str().is_some_and(|says| says.contains("a start takes it")))
    };
    assert!(taken(&findings(&data_dir, 0)));
    let mut server = Server::ready(&launch(&data_dir));
    assert!(server.terminate().success(), "{}", server.stderr());
    assert!(taken(&findings(&data_dir, 0)));
}

#[test]
fn a_log_that_is_damaged_before_its_end_is_foretold() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    leave(folder.path(), false);
    let last = segments(folder.path()).pop().expect("there is a segment");
    overwrite(&last, 200, &[0x55; 2_000]);
    check_refused(folder.path(), &[last.to_str().expect("a plain name"), "serve --salvage"]);
}

/// Such a log is opened, and the server leaves when it reads that place.
#[test]
fn a_closed_segment_that_is_damaged_is_foretold() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    leave(folder.path(), false);
    let first = segments(folder.path()).remove(0);
    overwrite(&first, 400_000, &[0x55; 64]);
    let found = findings(folder.path(), 1);
    let failed: Vec<&Value> = found.iter().filter(|finding| finding["level"] == "fail").collect();
    let [failed] = failed[..] else { panic!("{found:#?}") };
    let says = failed["says"].as_str().expect("a sentence");
    assert_eq!(failed["about"], "log", "{says}");
    assert!(says.contains("serve --salvage"), "{says}");
    let (_, why) = says.split_once("stops there: ").expect("it says what follows");
    assert!(why.contains(first.to_str().expect("a plain name")), "{why}");
    let (code, stderr) = match launch(folder.path()).start() {
        Err(Exited { status, stderr }) => (status.code(), stderr),
        Ok(mut server) => (server.wait(PATIENCE).code(), server.stderr()),
    };
    assert_eq!(code, Some(70), "{stderr}");
    assert!(stderr.contains(why), "{why}\n{stderr}");
    let mut server = Server::ready(&launch(folder.path()).args(&["--salvage"]));
    assert!(server.terminate().success(), "{}", server.stderr());
    findings(folder.path(), 0);
}

#[test]
fn a_log_that_is_older_than_its_store_is_foretold() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    leave(folder.path(), true);
    for lost in segments(folder.path()).drain(1..) {
        std::fs::remove_file(lost).expect("the segment is there");
    }
    check_refused(folder.path(), &["has read it up to offset 2000", "serve --salvage"]);
}

#[test]
fn a_log_that_is_gone_or_another_is_foretold_and_not_made() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    leave(folder.path(), true);
    let log = folder.path().join("log");
    let kept = folder.path().join("kept");
    std::fs::rename(&log, &kept).expect("it can be moved");
    check_refused(
        folder.path(),
        &["its offsets belong to the log", "there is none in", "bring the log back"],
    );
    assert!(!log.try_exists().expect("it can be looked for"), "a start that is refused makes no log");

    let other = tempfile::tempdir().expect("a temporary folder can be made");
    leave(other.path(), false);
    std::fs::rename(other.path().join("log"), &log).expect("it can be moved");
    check_refused(folder.path(), &["its offsets belong to the log", "this one is", "bring the log back"]);

    std::fs::remove_dir_all(&log).expect("it can be removed");
    std::fs::rename(&kept, &log).expect("it can be moved");
    findings(folder.path(), 0);
    let server = Server::ready(&launch(folder.path()));
    assert_eq!(server.get("/readyz").status, 200);
}
