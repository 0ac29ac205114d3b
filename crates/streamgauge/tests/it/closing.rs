//! Windows from their first event to their last announcement: they close without new data, are announced once whatever
//! happens to the process, and a late event corrects them.

use crate::harness::witness::audit;
use crate::harness::{Launch, PATIENCE, Server, until};

/// Windows of two seconds without grace, in a stream that counts as idle after a second.
const CONFIG: &str = r#"
[flush]
interval = "20ms"
[[stream]]
name = "events"
idle_timeout = "1s"
[[rollup]]
name = "hits"
stream = "events"
window = "2s"
grace = "0s"
keep = "400d"
by = ["page"]
  [[rollup.measure]]
  name = "hits"
  fn = "count"
"#;
const LINES: [(&str, &str); 1] = [("content-type", "application/x-ndjson")];

fn rows(server: &Server) -> Vec<serde_json::Value> {
    server.get("/v1/rollups/hits").json()["data"].as_array().expect("rows are an array").clone()
}

fn metric(server: &Server, name: &str) -> u64 {
    let text = server.get("/metrics").text();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in\n{text}"))
}

fn closed(server: &Server) -> u64 {
    metric(server, "streamgauge_windows_closed_total")
}

/// Returns lines of events of now, on these pages.
fn events(now: &str, pages: &[&str]) -> String {
    let event = |page: &&str| format!(r#"{{"event_type":"hit","page":"{page}","timestamp":"{now}"}}"#);
    pages.iter().map(event).collect::<Vec<String>>().join("\n")
}

#[test]
fn windows_close_without_new_data_and_are_announced_once() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let launch = Launch::new().data_dir(folder.path()).config(CONFIG);
    let mut server = Server::ready(&launch);
    let now = jiff::Timestamp::now().to_string();
    assert_eq!(server.post("/v1/events?wait=true", &LINES, events(&now, &["a", "b", "a"])).status, 202);
    assert_eq!(rows(&server).len(), 2);
    until(PATIENCE, "the window becomes final without new data", || {
        rows(&server).iter().all(|row| row["is_final"] == true)
    });
    until(PATIENCE, "its cells are announced", || closed(&server) == 2);
    let before = rows(&server);
    assert!(before.iter().all(|row| row["late_count"] == 0), "{before:?}");

    assert!(server.terminate().success(), "{}", server.stderr());
    let mut server = Server::ready(&launch);
    assert_eq!(rows(&server), before, "a restart changes no window");
    assert_eq!(server.post("/v1/events?wait=true", &LINES, events(&now, &["a"])).status, 202);
    let after = rows(&server);
    // Closed by time that passed, not by a later event: the event corrects the window, but is not late.
    check(&after[0], [3, 0, 1]);
    assert_eq!(after[1], before[1], "the other cell is as it was");
    until(PATIENCE, "the correction is announced", || corrections(&server) == 1);
    let later = jiff::Timestamp::now().to_string();
    assert_eq!(server.post("/v1/events?wait=true", &LINES, events(&later, &["c"])).status, 202);
    assert_eq!(server.post("/v1/events?wait=true", &LINES, events(&now, &["a", "a"])).status, 202);
    let after = rows(&server);
    check(&after[0], [5, 2, 2]);
    until(PATIENCE, "the next correction is announced", || corrections(&server) == 2);
    assert_eq!(closed(&server), 0, "what was announced before the restart is announced again");
    audit(&server, &[]);
    server.kill9();
    let server = Server::ready(&launch);
    assert_eq!(rows(&server)[..2], after[..2]);
}

fn corrections(server: &Server) -> u64 {
    metric(server, "streamgauge_rollup_corrections_total")
}

/// Checks a final row's hits, late count and revision.
fn check(row: &serde_json::Value, expect: [u64; 3]) {
    let found = ["hits", "late_count", "revision"].map(|name| row[name].as_u64().unwrap_or(u64::MAX));
    assert_eq!((found, &row["is_final"]), (expect, &true.into()), "{row}");
}
