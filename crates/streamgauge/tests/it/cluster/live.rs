//! The live stream is the same in every role: each process looks for itself.

use serde_json::Value;

use crate::harness::Server;
use crate::harness::services::Services;
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
