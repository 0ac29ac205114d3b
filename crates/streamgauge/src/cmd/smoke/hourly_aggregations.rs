//! Hourly aggregations: events are counted exactly once though one is sent twice, and the read API answers in shape.

use super::marked::{EVENTS, KIND, Marked};
use super::probe::{Probe, Sum, has};
use super::stream_metrics::write_to_topic;
use crate::client::JSON;
use crate::client::percent_encoded;

const ROLLUP: &str = "hourly_aggregations";

/// Returns how many events of the test's type are counted now.
pub(super) async fn counted(probe: &mut Probe, marked: &Marked) -> Option<i128> {
    let (start, end) = marked.range();
    let [start, end] = [&start, &end].map(|at| percent_encoded(at));
    let path = format!("/v1/rollups/{ROLLUP}?event_type={KIND}&from={start}&to={end}");
    let answer = probe.ask(&path).await.ok()?;
    let rows: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
    Some(rows["data"].as_array()?.iter().filter_map(|row| row["event_count"].as_i64()).map(i128::from).sum())
}

/// Sends events; returns how many different ones.
pub(super) async fn send(probe: &mut Probe, marked: &Marked) -> u64 {
    let mut sent = 0;
    for attempt in ["an event is taken", "the same event is taken again"] {
        let posted = probe.post("/events", JSON, marked.event("hourly")).await;
        let seen = posted.map(|_| "202: it is durable".to_owned());
        sent = u64::from(probe.note(&format!("hourly-aggregations: {attempt}"), seen)).max(sent);
    }
    sent + u64::from(write_to_topic(probe, EVENTS, marked.event("topic")).await)
}

/// Checks that the count grew by what was sent to the stream, by whichever system.
pub(super) async fn check(probe: &mut Probe, marked: &Marked, before: Option<i128>, sent: u64) {
    if let Some(before) = before.filter(|_| probe.has_measure(ROLLUP, "event_count")) {
        let sum = Sum {
            rollup: ROLLUP,
            dimension: ("event_type", KIND),
            range: marked.range(),
            measure: ("event_count", 0),
            expect: before + i128::from(sent),
        };
        probe.look_at_sum("hourly-aggregations: each event is counted exactly once", &sum).await;
        let path = format!("/api/aggregations?event_type={KIND}");
        let shape = |body: &serde_json::Value| has(body, "aggregations").and_then(|_| has(body, "count"));
        probe.look_at_json("hourly-aggregations: GET /api/aggregations", &path, shape).await;
        for (path, member) in [
            ("/api/aggregations/latest", "aggregations"),
            ("/api/stats", "total_events"),
            ("/api/event-types", "event_types"),
        ] {
            probe
                .look_at_json(&format!("hourly-aggregations: GET {path}"), path, |body| has(body, member))
                .await;
        }
    } else {
        probe.left_out.push(format!("hourly-aggregations: there is no rollup {ROLLUP} as it ships"));
    }
    let path = "/api/pipeline/memory";
    probe
        .look_at_json(&format!("hourly-aggregations: GET {path}"), path, |body| has(body, "events_in_memory"))
        .await;
}
