//! A bucket whose server is stopped under load: the store takes no notice, the lag is told, and when it is back every
//! event is there once.

use serde_json::Value;

use crate::harness::services::Store;
use crate::harness::witness::{Senders, audit};
use crate::harness::{Launch, PATIENCE, Server, dice, until};

use super::{Bucket, agree_with_the_ledger, archived, lines};

#[test]
fn the_store_takes_no_notice_of_a_bucket_that_is_away() {
    let Some(objects) = Store::own() else { return };
    let bucket = Bucket::at(objects.url(), objects.folder(), "away");
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let variables = bucket.variables(folder.path(), &bucket.url);
    let data = folder.path().join("data");
    // What comes in last fills no file: it is not to wait for its minute.
    let soon = [("STREAMGAUGE_STREAM__EVENTS__ARCHIVE__AGE", "200ms")];
    let launch = Launch::new().data_dir(&data).args(&["--env-file", &variables]).variables(&soon);
    let server = Server::ready(&launch);
    let senders = Senders::start(2, dice::seed("bucket away"));
    senders.aim(&server);
    until(PATIENCE, "events come in", || senders.answered() > 500);
    objects.crash();
    let before = (senders.answered(), stored(&server));
    let standing = || server.get("/v1/status").json()["archive"]["partitions"][0].clone();
    until(2 * PATIENCE, "it is told that the archive fails", || standing()["failing"].is_string());
    until(PATIENCE, "events are taken and stored all the same", || {
        senders.answered() > before.0 + 5_000 && stored(&server) > before.1 + 5_000
    });
    assert_eq!(server.get("/readyz").status, 200);
    audit(&server, &[]);
    let lag = super::number(&standing()["lag"]);
    assert!(lag > 5_000, "{lag}");
    let metrics = server.get("/metrics").text();
    let labels = "{stream=\"events\",partition=\"0\"}";
    let metric = |name: &str| -> f64 {
        let found = metrics.lines().find_map(|line| line.strip_prefix(&format!("{name}{labels} ")));
        found.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in\n{metrics}"))
    };
    assert!(metric("streamgauge_archive_lag_records") > 5_000.0);
    assert!(metric("streamgauge_archive_lag_seconds") > 0.0);
    assert!((metric("streamgauge_archive_failing") - 1.0).abs() < f64::EPSILON);
    objects.resume();
    let witness = senders.stop();
    archived(&server);
    audit(&server, &[]);
    assert_eq!(standing()["failing"], Value::Null);
    let lines = lines(&server, &bucket.folder, "events");
    agree_with_the_ledger(&server, &lines);
    drop(server);
    witness.judge(&data);
}

fn stored(server: &Server) -> u64 {
    super::number(&server.get("/v1/status").json()["streams"][0]["partitions"][0]["next_offset"])
}
