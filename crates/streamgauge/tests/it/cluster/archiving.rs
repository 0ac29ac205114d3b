//! The archive of a topic that several processes share: whoever is killed or comes, every record is in one file.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::archive::{archived, lines};
use crate::harness::services::Services;
use crate::harness::{Launch, PATIENCE, Server, until};

use super::{Cluster, turn};

#[test]
fn processes_that_come_and_go_archive_every_record_once() {
    let Some(services) = Services::shared() else { return };
    let _turn = turn();
    let mut cluster = Cluster::new(services);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let archive = format!("archive = \"file:{}\"\n", folder.path().display());
    let small = "idle_timeout = \"2s\"\narchive = { layout = \"e/{HH}/events-{ts}.json\", rows = 20, age = \"200ms\" }\n";
    cluster.toml = archive + &cluster.toml.replace("idle_timeout = \"2s\"\n", small);
    let start = |roles: &str| Server::ready(&Launch::new().config(&cluster.toml).args(&["--roles", roles]));
    let door = start("ingest,process,query");
    let mut sent = 0;
    let mut send = |count: u64| {
        for _ in 0..count {
            let event = |at: u64| {
                format!(
                    r#"{{"event_id":"{}","event_type":"a","session_id":"s{}"}}"#,
                    sent + at,
                    (sent + at) % 97
                )
            };
            let body: Vec<String> = (0..50).map(event).collect();
            let lines = [("content-type", "application/x-ndjson")];
            assert_eq!(door.post("/v1/events?stream=events", &lines, body.join("\n")).status, 202);
            sent += 50;
        }
        sent
    };
    let mut one = start("archive,query");
    send(20);
    let mut two = start("archive,query");
    let owners = || {
        let archive = door.get("/v1/status").json()["archive"]["partitions"].clone();
        let owner = |partition: &Value| partition["owner"].as_str().unwrap_or_default().to_owned();
        archive.as_array().expect("partitions").iter().map(owner).collect::<BTreeSet<_>>()
    };
    until(2 * PATIENCE, "both archive", || {
        send(1);
        owners().len() == 2
    });
    send(20);
    one.kill9();
    send(20);
    let three = start("archive,query");
    send(20);
    assert!(two.terminate().success());
    let sent = send(20);
    archived(&three);
    let lines = lines(&three, folder.path(), "events");
    let ids: BTreeSet<&String> = lines.iter().collect();
    assert_eq!((lines.len() as u64, ids.len() as u64), (sent, sent));
}
