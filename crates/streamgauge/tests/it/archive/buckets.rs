//! A bucket on a real S3 server: what lies in it, and what becomes of it when it is away, busy, deaf or closed to us.

use std::time::Duration;

use crate::harness::dice::{self, Dice};
use crate::harness::witness::{Senders, audit};
use crate::harness::{Launch, PATIENCE, Server, pause, run, until};

use super::faulty::{Fault, Way};
use super::{Bucket, agree_with_the_ledger, archived, found, lines, manifest};

#[test]
fn variables_of_web_analytics_give_its_file_names() {
    let Some(bucket) = Bucket::make("web-analytics") else { return };
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut server = Server::start(&["--env-file", &bucket.variables(folder.path(), &bucket.url)]);
    let event = r#"{"sessionId":"test-1","eventType":"page_view","payload":"{\"path\":\"/home\"}"}"#;
    for _ in 0..2_500 / 100 {
        let batch = vec![event; 100].join("\n");
        let lines = [("content-type", "application/x-ndjson")];
        assert_eq!(server.post("/v1/events", &lines, batch).status, 202);
    }
    let full = || manifest(&server).iter().filter(|file| file["rows"] == 1_000).count() == 2;
    until(PATIENCE, "two full files", full);
    for file in manifest(&server) {
        let path = file["path"].as_str().expect("a path").to_owned();
        let [stream, year, month, day, hour, name] = path.split('/').collect::<Vec<_>>()[..] else {
            panic!("{path} has other folders")
        };
        assert_eq!(
            (stream, year.len(), month.len(), day.len(), hour.len()),
            ("events", 4, 2, 2, 2),
            "{path}"
        );
        let stamp = name.strip_prefix("events-").and_then(|rest| rest.strip_suffix(".json")).expect(name);
        let ms = stamp.split('-').next().expect("a stamp").parse::<u64>().expect("milliseconds");
        assert!(ms > 1_700_000_000_000, "{name} has the time in milliseconds");
        let text = std::fs::read_to_string(bucket.folder.join(&path)).expect("the object");
        assert!(text.lines().all(|line| line == event), "{path} has the events as they were sent");
    }
    // The rest waits for its minute, or for the stop.
    assert!(server.terminate().success());
    let text = |path: &String| std::fs::read_to_string(bucket.folder.join(path)).expect("the object");
    let events = found(&bucket.folder).into_iter().filter(|path| path.starts_with("events/"));
    assert_eq!(events.map(|path| text(&path).lines().count()).sum::<usize>(), 2_500);
}

#[test]
fn a_bucket_without_a_name_is_a_wrong_configuration() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("test.env");
    std::fs::write(&path, "S3_ENABLED=true\n").expect("the variables can be written");
    let output = run(&["config", "check", "--env-file", &path.display().to_string()]);
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("name it in S3_BUCKET"), "{said}");
}

/// Small files, written at once.
const SMALL: &str =
    "STREAMGAUGE_STREAM__EVENTS__ARCHIVE__ROWS=50\nSTREAMGAUGE_STREAM__EVENTS__ARCHIVE__AGE=200ms\n";

#[test]
fn faults_on_the_way_leave_every_event_in_the_bucket_once() {
    let Some(bucket) = Bucket::make("faults") else { return };
    let seed = dice::seed("bucket faults");
    let mut dice = Dice::new(seed);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let way = Way::to(&bucket.url);
    let variables = bucket.variables(folder.path(), &way.url());
    let text = std::fs::read_to_string(&variables).expect("it was written");
    std::fs::write(&variables, text + SMALL).expect("the variables can be written");
    let data = folder.path().join("data");
    let launch = Launch::new().data_dir(&data).args(&["--env-file", &variables]);
    let mut server = Server::ready(&launch);
    let senders = Senders::start(2, seed);
    senders.aim(&server);
    for round in 0..12 {
        let faults = [Fault::Busy, Fault::Deaf, Fault::Reset];
        way.becomes(faults[round % 3]);
        pause(Duration::from_millis(100) + dice.time_below(300));
        if round % 4 == 3 {
            server.kill9();
            server = Server::ready(&launch);
            senders.aim(&server);
        }
        way.becomes(Fault::None);
        pause(dice.time_below(400));
    }
    // The bucket is away for a while: the store takes no notice, and the lag is told.
    way.becomes(Fault::Reset);
    let before = senders.answered();
    until(PATIENCE, "it is told that the archive fails", || {
        let health = server.get("/actuator/health").json();
        health["components"]["s3"]["status"] == "DOWN" && health["status"] == "UP"
    });
    until(PATIENCE, "events are taken all the same", || senders.answered() > before + 1_000);
    assert_eq!(server.get("/readyz").status, 200);
    audit(&server, &[]);
    let status = server.get("/v1/status").json();
    let standing = &status["archive"]["partitions"][0];
    assert!(standing["lag"].as_u64().is_some_and(|lag| lag > 0), "{standing}");
    assert!(standing["failing"].as_str().is_some_and(|why| why.contains("s3://faults")), "{standing}");
    way.becomes(Fault::None);
    let witness = senders.stop();
    audit(&server, &[]);
    archived(&server);
    let lines = lines(&server, &bucket.folder, "events");
    agree_with_the_ledger(&server, &lines);
    let health = server.get("/actuator/health").json();
    assert_eq!(health["components"]["s3"]["status"], "UP", "{health}");
    let errors = server.get("/actuator/metrics/s3.errors?tag=writer:raw").json();
    assert!(errors["measurements"][0]["value"].as_u64() > Some(0), "{errors}");
    assert!(way.met() >= 12, "the faults are part of the test: {}", way.met());
    drop(server);
    witness.judge(&data);
}

#[test]
fn wrong_keys_are_told_and_stop_nothing_else() {
    let Some(bucket) = Bucket::make("wrong-keys") else { return };
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let variables = bucket.variables(folder.path(), &bucket.url);
    let text = std::fs::read_to_string(&variables).expect("it was written");
    std::fs::write(&variables, text.replace("=streamgauge-secret", "=guessed") + SMALL).expect("written");
    let server = Server::start(&["--env-file", &variables]);
    let event = r#"{"event_id":"1","event_type":"a","session_id":"s"}"#;
    assert_eq!(server.post("/v1/events?wait=true", &[], event).status, 202);
    let failing = || server.get("/v1/status").json()["archive"]["partitions"][0]["failing"].clone();
    until(PATIENCE, "the refusal is told", || failing().is_string());
    let why = failing().to_string();
    assert!(why.contains("check AWS_ACCESS_KEY_ID"), "{why}");
    assert!(!why.contains("guessed") && !server.stderr().contains("guessed"), "a key is no message");
    assert_eq!(server.get("/readyz").status, 200);
    assert_eq!(manifest(&server).len(), 0);
}
