//! The live stream is the same in every role: each process looks for itself.

use serde_json::Value;

use crate::harness::Server;
use crate::harness::services::{Service, Services};
use crate::harness::watching::Watching;

use super::{Cluster, turn};

fn watch(server: &Server) -> Watching {
    let (watching, first) = Watching::begin(server, "/v1/stream", None);
    assert_eq!(first, "HTTP/1.1 200 OK");
    watching
}

#[test]
fn every_process_says_what_is_counted_by_another() {
    let Some(services) = Services::shared() else { return };
    let _turn = turn();
    let cluster = Cluster::new(services);
    let [ingest, process, query] = ["ingest", "process", "query"].map(|role| cluster.start(role));
    let mut watching = [watch(&ingest), watch(&process), watch(&query)];
    let events: Vec<String> =
        (0..50).map(|user| format!(r#"{{"event_type":"hit","user_id":"u{user}"}}"#)).collect();
    assert_eq!(ingest.post("/events", &[], events.join("\n")).status, 202);
    let all_counted = |stats: &Value| {
        let total = &stats["total"];
        total["received"] == 50 && total["written"] == 50 && total["lag"] == 0
    };
    for watching in &mut watching {
        let stats = watching.find("stats", all_counted).data;
        assert_eq!(stats["streams"][0]["name"], "events");
    }
    // Only a process that answers questions is asked for windows.
    let cells = watch(&query).next().expect("everything at once").data;
    let rows = cells["rollups"][0]["rows"].as_array().expect("rows");
    let counted: u64 = rows.iter().filter_map(|row| row["event_count"].as_u64()).sum();
    assert_eq!(counted, 50);
    assert_eq!(cells["health"]["state"], "ok", "{}", cells["health"]);
}

/// What is not known while the store is away is said as not known: neither as zero nor as ease.
#[test]
fn a_store_that_is_away_is_no_store_at_rest() {
    let Some(services) = Services::own() else { return };
    let _turn = turn();
    let cluster = Cluster::new(services);
    let server = cluster.start("ingest,process,query");
    let mut watching = watch(&server);
    assert_eq!(server.post("/events", &[], r#"{"event_type":"hit"}"#).status, 202);
    watching.find("stats", |stats| stats["total"]["written"] == 1);
    cluster.services.crash(Service::Postgres);
    let partition = |stats: &Value| stats["streams"][0]["partitions"][0].clone();
    let away = watching.find("stats", |stats| partition(stats)["next_offset"].is_null()).data;
    assert_eq!(partition(&away)["lag"], Value::Null, "{away}");
    assert!(partition(&away)["log_end"].is_u64(), "the log answers: {away}");
    let rates = [&away["total"]["received_per_second"], &away["total"]["written_per_second"]];
    assert!(rates.iter().all(|rate| rate.is_null()), "{away}");
    assert_eq!((&away["total"]["received"], &away["total"]["written"]), (&1.into(), &1.into()));
    assert_eq!(watching.find("health", |health| health["state"] == "down").name, "health");
    cluster.services.resume(Service::Postgres);
    let back = watching.find("stats", |stats| partition(stats)["next_offset"].is_u64()).data;
    assert_eq!(
        back["total"]["received_per_second"],
        Value::Null,
        "it would be of more than a second: {back}"
    );
}
