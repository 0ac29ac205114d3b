//! The files in `pipelines/`: each alone is right, and a server started with it serves its system.

use crate::harness::{Launch, Server, run};

use super::{asked, curl, flush, pipeline};

/// Starts a server with a file, as it stands but for its addresses.
fn server(name: &str, listening: &str) -> Server {
    let path = pipeline(name);
    let checked = run(&["config", "check", "--config", &path]);
    assert!(checked.status.success(), "{name}: {}", String::from_utf8_lossy(&checked.stderr));
    let launch = Launch::new().args(&["--config", &path]).listening(listening);
    let server = Server::ready(&launch);
    assert!(asked(&server, "curl http://localhost:8080/health").starts_with(r#"{"ok":true"#), "{name}");
    server
}

/// Sends what a system's client sends; returns the body of the answer.
fn sent(server: &Server, path: &str, event: &str) -> String {
    let (status, body) = curl(server, &format!("curl \"http://localhost:8080{path}\" -d '{event}'"));
    assert_eq!(status, 202, "{path}: {body}");
    flush(server);
    body
}

#[test]
fn hourly_aggregations() {
    let server = server("hourly-aggregations", "127.0.0.1:0");
    sent(&server, "/events", r#"{"event_type":"a","timestamp":"2024-01-01T00:10:00Z"}"#);
    for path in ["/api/aggregations", "/api/aggregations/latest"] {
        let answer = server.get(path).json();
        assert_eq!((&answer["count"], &answer["aggregations"][0]["event_count"]), (&1.into(), &1.into()));
    }
    assert_eq!(server.get("/api/stats").json()["total_events"], 1);
    assert_eq!(server.get("/api/event-types").json()["event_types"][0], "a");
    assert_eq!(server.get("/api/pipeline/memory").json()["events_in_memory"], 0);
    assert_eq!(server.post("/api/pipeline/flush", &[], "").status, 200);
    assert_eq!(server.post("/api/pageviews", &[], "{}").status, 404, "another system's path");
}

#[test]
fn pageviews() {
    let server = server("pageviews", "127.0.0.1:0");
    let event = r#"{"user_id":1,"postcode":"SW19","webpage":"w","timestamp":1611662684}"#;
    assert_eq!(sent(&server, "/api/pageviews", event), "");
    assert_eq!(sent(&server, "/api/pageviews/batch", &format!("[{event}]")), "");
    let rows = server.get("/v1/rollups/pageview_aggregates").json();
    assert_eq!(rows["data"][0]["pageview_count"], 2);
    let meter = server.get("/actuator/metrics/pageviews.produced").json();
    assert_eq!(meter["measurements"][0]["value"], 2);
    assert_eq!(server.get("/api/aggregations").status, 404, "another system's rollup");
}

#[test]
fn stream_metrics() {
    let server = server("stream-metrics", "127.0.0.1:0,metrics=rows");
    let event = r#"{"event_type":"donation","stream_id":"s1","amount_usd":12.5}"#;
    sent(&server, "/v1/events?stream=stream.events", event);
    for path in
        ["/metrics", "/metrics?minutes=10&limit=5", "/metrics/latest", "/streams/top?by=donations_usd"]
    {
        assert_eq!(server.get(path).json()["rows"][0]["donations_usd"], 12.5, "{path}");
    }
    assert!(server.get("/prometheus").text().contains("api_donation_rows_recent 1\n"));
    assert_eq!(server.post("/events", &[], "{}").status, 404, "another system's path");
}

#[test]
fn event_platform() {
    let server = server("event-platform", "127.0.0.1:0");
    let event = r#"{"user_id":"u1","event_name":"signup","metadata":{"plan":"pro"}}"#;
    sent(&server, "/events", event);
    assert_eq!(server.get("/analytics/events/count").json()["count"], 1);
    assert_eq!(server.get("/analytics/top-events?limit=5").json()["top_events"][0]["count"], 1);
    assert_eq!(server.get("/analytics/users/active?window=24h").json()["active_users"], 1);
    let events = server.get("/analytics/user/u1/events").json();
    assert_eq!(events["events"][0]["metadata"]["plan"], "pro");
}

#[test]
fn web_analytics() {
    let server = server("web-analytics", "127.0.0.1:0");
    sent(&server, "/events", r#"{"sessionId":"s","eventType":"page_view","payload":"{\"path\":\"/home\"}"}"#);
    let seen = curl(&server, "curl -N --max-time 2 http://localhost:8082/metrics/stream || true").1;
    assert!(seen.starts_with("event: metrics\ndata: {\"receivedTotal\":1,"), "{seen}");
    assert!(asked(&server, "curl http://localhost:8082/actuator/health").starts_with(r#"{"status":"UP""#));
}
