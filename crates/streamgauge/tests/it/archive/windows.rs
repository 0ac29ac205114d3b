//! Files of closed windows and of late events: each revision of a cell is a line once, and each diverted event, whatever
//! becomes of the processes and of the bucket meanwhile.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::harness::dice::{self, Dice};
use crate::harness::services::Services;
use crate::harness::witness::audit;
use crate::harness::{Launch, PATIENCE, Server, pause, say, until};

use super::faulty::{Fault, Way};
use super::{Bucket, files_of, manifest};

/// The head of a configuration: small files, windows of a second, one rollup that corrects and one that diverts.
fn stream(topic: &str) -> String {
    format!(
        r#"
        [[stream]]
        name = "events"
        topic = "{topic}"
        paths = ["/events"]
        partition_by = ["session_id"]
        idle_timeout = "1s"
        archive = {{ layout = "raw/{{HH}}/events-{{ts}}.json", rows = 50, age = "200ms" }}
        [stream.archive_closed]
        layout = "aggregates/{{yyyy}}/{{MM}}/{{dd}}/aggregates-{{ts}}.ndjson"
        rows = 7
        age = "100ms"
        fields = ["rollup", "page", "window_start", "hits", "revision"]
        [stream.archive_late]
        layout = "aggregates/{{yyyy}}/{{MM}}/{{dd}}/late-{{ts}}.ndjson"
        rows = 5
        age = "100ms"
        fields = ["page", "window_start", "hits"]
        [[rollup]]
        name = "corrected"
        stream = "events"
        window = "1s"
        grace = "0s"
        by = ["page"]
        [[rollup.measure]]
        name = "hits"
        fn = "count"
        [[rollup]]
        name = "diverted"
        stream = "events"
        window = "1s"
        grace = "0s"
        late = "divert"
        by = ["page"]
        [[rollup.measure]]
        name = "hits"
        fn = "count"
        "#
    )
}

fn config(archive: &str) -> String {
    format!("archive = \"{archive}\"\n[flush]\ninterval = \"5ms\"\n{}", stream("events"))
}

/// Sends events of now and of some seconds ago; returns how many.
fn send(server: &Server, dice: &mut Dice) -> usize {
    let now = jiff::Timestamp::now().as_millisecond();
    let count = 1 + dice.below(30) as usize;
    let events = (0..count).map(|_| {
        let (ago, page, session) = (dice.below(4_000) as i64, dice.below(4), dice.below(20));
        format!(r#"{{"event_type":"hit","page":"p{page}","session_id":"s{session}","ts":{}}}"#, now - ago)
    });
    let body = events.collect::<Vec<_>>().join("\n");
    let lines = [("content-type", "application/x-ndjson")];
    assert_eq!(server.post("/events", &lines, body).status, 202);
    count
}

/// Waits until every window is final and every line in a file.
fn settled(server: &Server) {
    until(3 * PATIENCE, "every window is final and every line in a file", || {
        let rows = server.get("/v1/rollups/corrected?limit=10000").json();
        let is_final = rows["data"].as_array().expect("rows").iter().all(|row| row["is_final"] == true);
        is_final && waiting(server).iter().all(|lane| lane["lag"] == 0)
    });
}

fn waiting(server: &Server) -> Vec<Value> {
    server.get("/v1/status").json()["archive"]["lines"].as_array().expect("lanes").clone()
}

/// Returns the lines of a kind of file, parsed; each file is what the manifest says.
fn parsed(server: &Server, folder: &Path, kind: &str) -> Vec<Value> {
    let files = manifest(server).into_iter().filter(|file| file["kind"] == kind).collect::<Vec<_>>();
    let day = |file: &Value| file["path"].as_str().expect("a path")[..21].to_owned();
    assert!(files.iter().all(|file| day(file).starts_with("aggregates/20") && file["partition"].is_null()));
    let lines = files_of(&files, folder);
    lines.iter().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

/// Holds the files to the store: every revision of every cell has one line, the last one with what the cell has now, and
/// every diverted event has one.
fn agree_with_the_store(server: &Server, folder: &Path) -> (usize, usize) {
    let closed = parsed(server, folder, "closed");
    let mut revisions: BTreeMap<(String, String, String), BTreeMap<u64, u64>> = BTreeMap::new();
    for line in &closed {
        let text = |name: &str| line[name].as_str().expect("a text").to_owned();
        let key = (text("rollup"), text("window_start"), text("page"));
        let (revision, hits) = (super::number(&line["revision"]), super::number(&line["hits"]));
        let twice = revisions.entry(key).or_default().insert(revision, hits);
        assert!(twice.is_none(), "{line} is there twice");
    }
    let mut cells = 0;
    for rollup in ["corrected", "diverted"] {
        let rows = server.get(&format!("/v1/rollups/{rollup}?limit=10000")).json();
        assert!(rows["next_cursor"].is_null(), "the test reads all rows");
        for row in rows["data"].as_array().expect("rows") {
            let text = |name: &str| row[name].as_str().expect("a text").to_owned();
            let told = revisions.remove(&(rollup.to_owned(), text("window_start"), text("page")));
            let told = told.unwrap_or_else(|| panic!("no line tells {row}"));
            // A cell that came into a final window begins with the first correction.
            let (first, last) = (*told.keys().next().expect("one"), *told.keys().last().expect("one"));
            assert!(first <= 1 && told.len() as u64 == last - first + 1, "{row}: {told:?}");
            assert_eq!((row["revision"].as_u64(), row["hits"].as_u64()), (Some(last), Some(told[&last])));
            cells += 1;
        }
    }
    assert!(revisions.is_empty(), "lines of no cell: {revisions:?}");
    let late = parsed(server, folder, "late");
    assert!(late.iter().all(|line| line["hits"] == 1));
    let mut late: Vec<String> =
        late.iter().map(|line| format!("{} {}", line["window_start"], line["page"])).collect();
    late.sort();
    assert_eq!(late, diverted(server));
    say(&format!("{} lines of {cells} cells, {} late", closed.len(), late.len()));
    (closed.len() - cells, late.len())
}

/// Returns the window and page of every event in the late lane.
fn diverted(server: &Server) -> Vec<String> {
    let mut all = Vec::new();
    let mut path = "/v1/late?rollup=diverted&limit=1000".to_owned();
    loop {
        let page = server.get(&path).json();
        let line = |late: &Value| format!("{} {}", late["window_start"], late["dimensions"]["page"]);
        all.extend(page["data"].as_array().expect("late events").iter().map(line));
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/late?rollup=diverted&limit=1000&cursor={cursor}"),
            None => break,
        }
    }
    all.sort();
    all
}

#[test]
fn kills_leave_every_revision_and_every_late_event_in_a_file_once() {
    let kills = dice::number("SG_KILLS", 20);
    let mut dice = Dice::new(dice::seed("kills of closed windows"));
    let data = tempfile::tempdir().expect("a temporary folder can be made");
    let archive = tempfile::tempdir().expect("a temporary folder can be made");
    let config = config(&format!("file:{}", archive.path().display()));
    let launch = Launch::new().data_dir(data.path()).config(&config);
    let mut sent = 0;
    for _ in 0..kills {
        let mut server = Server::ready(&launch);
        for _ in 0..dice.below(25) {
            sent += send(&server, &mut dice);
            pause(dice.time_below(40));
        }
        server.kill9();
    }
    let server = Server::ready(&launch);
    sent += send(&server, &mut dice);
    settled(&server);
    audit(&server, &[]);
    let (corrections, late) = agree_with_the_store(&server, archive.path());
    assert!(corrections > 0 && late > 0, "both are part of the test: {corrections}, {late} of {sent}");
}

#[test]
fn a_bucket_that_refuses_holds_up_nothing_but_its_lines() {
    let Some(bucket) = Bucket::make("closed-faults") else { return };
    let mut dice = Dice::new(dice::seed("bucket of closed windows"));
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let way = Way::to(&bucket.url);
    let variables = bucket.variables(folder.path(), &way.url());
    let launch = Launch::new()
        .data_dir(&folder.path().join("data"))
        .config(&config(&format!("s3://{}", bucket.name)))
        .args(&["--env-file", &variables]);
    let mut server = Server::ready(&launch);
    for round in 0..6 {
        way.becomes([Fault::Busy, Fault::Deaf, Fault::Reset][round % 3]);
        for _ in 0..10 {
            send(&server, &mut dice);
            pause(dice.time_below(40));
        }
        if round == 3 {
            server.kill9();
            server = Server::ready(&launch);
        }
        way.becomes(Fault::None);
        send(&server, &mut dice);
        pause(dice.time_below(300));
    }
    way.becomes(Fault::Reset);
    until(PATIENCE, "it is told that lines wait, and why", || {
        send(&server, &mut dice);
        let lanes = waiting(&server);
        lanes.iter().all(|lane| {
            let why = lane["failing"].as_str().unwrap_or_default();
            lane["lag"].as_u64() > Some(0) && why.contains("s3://closed-faults")
        })
    });
    let health = server.get("/actuator/health").json();
    assert_eq!((&health["components"]["s3"]["status"], &health["status"]), (&"DOWN".into(), &"UP".into()));
    let metrics = server.get("/metrics").text();
    for kind in ["closed", "late"] {
        let failing = format!("streamgauge_archive_lines_failing{{stream=\"events\",kind=\"{kind}\"}} 1");
        assert!(metrics.contains(&failing), "{metrics}");
    }
    audit(&server, &[]);
    way.becomes(Fault::None);
    settled(&server);
    agree_with_the_store(&server, &bucket.folder);
    for writer in ["aggregate", "late"] {
        for (name, least) in [("s3.writes", 1), ("s3.errors", 1), ("s3.write.duration", 2)] {
            let meter = server.get(&format!("/actuator/metrics/{name}?tag=writer:{writer}")).json();
            let value = meter["measurements"][0]["value"].as_f64();
            assert!(value >= Some(f64::from(least)), "{name} of {writer}: {meter}");
        }
    }
    assert!(way.met() >= 6, "the faults are part of the test: {}", way.met());
}

#[test]
fn processes_that_come_and_go_write_every_line_once() {
    let Some(services) = Services::shared() else { return };
    let _turn = crate::cluster::turn();
    let mut dice = Dice::new(dice::seed("processes of closed windows"));
    let mut cluster = crate::cluster::Cluster::new(services);
    let archive = tempfile::tempdir().expect("a temporary folder can be made");
    cluster.redefine(&format!("archive = \"file:{}\"", archive.path().display()), &stream);
    let mut others: Vec<(&str, Server)> =
        ["process,query", "archive,query", "archive,query"].map(|roles| (roles, cluster.start(roles))).into();
    let door = cluster.start("ingest,process,query");
    for round in 0..8 {
        for _ in 0..12 {
            send(&door, &mut dice);
            pause(dice.time_below(60));
        }
        let at = round % others.len();
        let (roles, server) = &mut others[at];
        if dice.below(3) == 0 {
            assert!(server.terminate().success());
        } else {
            server.kill9();
        }
        *server = cluster.start(roles);
    }
    settled(&door);
    let (corrections, late) = agree_with_the_store(&door, archive.path());
    assert!(corrections > 0 && late > 0, "both are part of the test: {corrections}, {late}");
}
