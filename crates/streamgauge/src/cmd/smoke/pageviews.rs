//! Pageviews: equal ones are different ones, one at a time and in a batch, and the actuator names its parts.

use serde_json::Value;

use super::marked::{Marked, PAGEVIEWS, PAGEVIEWS_SENT};
use super::probe::{Probe, Sum, has, shown};
use crate::client::{Answer, JSON};

const ROLLUP: &str = "pageview_aggregates";

/// Sends pageviews and looks for them.
pub(super) async fn check(probe: &mut Probe, marked: &Marked) {
    if !probe.has_stream(PAGEVIEWS) || !probe.has_measure(ROLLUP, "pageview_count") {
        probe.left_out.push(format!("pageviews: there is no rollup {ROLLUP} of {PAGEVIEWS} as it ships"));
        return;
    }
    if !probe.understands("pageviews", PAGEVIEWS) {
        return;
    }
    let empty = |answer: Answer| {
        if answer.body.is_empty() { Ok("202, and nothing else".to_owned()) } else { Err(shown(&answer)) }
    };
    let posted = probe.post("/api/pageviews", JSON, marked.pageview()).await;
    let is_one_taken = probe.note("pageviews: one is taken", posted.and_then(empty));
    // Both are equal to the first.
    let batch = format!("[{},{}]", marked.pageview(), marked.pageview());
    let posted = probe.post("/api/pageviews/batch", JSON, batch).await;
    let is_batch_taken = probe.note("pageviews: a batch is taken", posted.and_then(empty));
    if is_one_taken && is_batch_taken {
        let sum = Sum {
            rollup: ROLLUP,
            dimension: ("postcode", &marked.mark),
            range: marked.range(),
            measure: ("pageview_count", 0),
            expect: PAGEVIEWS_SENT,
        };
        probe.look_at_sum("pageviews: equal ones are counted each", &sum).await;
    }
    let parts = |body: &Value| {
        let named =
            ["kafka", "kafkaStreams", "s3"].into_iter().find_map(|part| has(&body["components"], part).err());
        named.map_or_else(|| Ok(format!("status {}", body["status"])), Err)
    };
    probe.look_at_json("pageviews: GET /actuator/health", "/actuator/health", parts).await;
    let path = "/actuator/metrics/pageviews.produced";
    probe.look_at_json(&format!("pageviews: GET {path}"), path, |body| has(body, "measurements")).await;
}
