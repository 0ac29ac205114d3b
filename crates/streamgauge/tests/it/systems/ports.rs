//! One process on the ports of all five systems: every path on each, and what a bare `/metrics` answers of each its own.

use super::{Launch, Server};
use crate::harness::http::Client;

#[test]
fn one_process_listens_where_five_systems_did() {
    let more: Vec<&str> = ["--listen", "127.0.0.1:0"].into_iter().cycle().take(8).collect();
    let launch = Launch::new().listening("127.0.0.1:0,metrics=rows").args(&more);
    let server = Server::ready(&launch);
    assert_eq!(server.ports().len(), 5);
    for (at, port) in server.ports().iter().enumerate() {
        let mut client = Client::new(([127, 0, 0, 1], *port).into());
        let bare = client.get("/metrics").expect("an answer");
        let is_rows = bare.text().starts_with(r#"{"latest_window_start":"#);
        assert_eq!(is_rows, at == 0, "port {at}: {}", bare.text());
        for path in [
            "/health",
            "/actuator/health",
            "/api/aggregations",
            "/metrics?minutes=10&limit=5",
            "/streams/top",
            "/analytics/events/count",
            "/prometheus",
        ] {
            let answer = client.get(path).expect("an answer");
            assert_eq!(answer.status, 200, "port {at} {path}: {}", answer.text());
        }
        let event = format!(r#"{{"event_type":"a","event_id":"{at}"}}"#);
        assert_eq!(client.post("/events", &[], event.as_bytes()).expect("an answer").status, 202);
    }
    super::flush(&server);
    assert_eq!(server.get("/analytics/events/count").json()["count"], 5);
}
