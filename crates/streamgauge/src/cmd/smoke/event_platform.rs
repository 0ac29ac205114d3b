//! The event platform: a resend is the same event, and its analytics answer in shape.

use serde_json::Value;

use super::marked::Marked;
use super::probe::{Probe, has};
use crate::client::JSON;

/// Sends one event twice; returns how many different ones that are.
pub(super) async fn send(probe: &mut Probe, marked: &Marked) -> u64 {
    let mut ids = Vec::new();
    for _ in 0..2 {
        match probe.post("/events", JSON, marked.named()).await {
            Ok(answer) => {
                let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
                ids.push(body["event_id"].as_str().unwrap_or_default().to_owned());
            }
            Err(why) => {
                probe.note("event-platform: an event is taken", Err(why));
                return 0;
            }
        }
    }
    let is_same = ids[0] == ids[1] && !ids[0].is_empty();
    let seen =
        if is_same { Ok(ids.swap_remove(0)) } else { Err(format!("the ids are {}", ids.join(" and "))) };
    probe.note("event-platform: an event sent again has the same id", seen);
    if is_same { 1 } else { 2 }
}

/// Checks that it shows once, and that the other questions are answered.
pub(super) async fn check(probe: &mut Probe, marked: &Marked) {
    let path = format!("/analytics/user/{}/events?limit=10", marked.mark);
    let once = |body: &Value| match body["events"].as_array().map_or(0, Vec::len) {
        1 => Ok("1 event".to_owned()),
        count => Err(format!("{count} events, and 1 was sent")),
    };
    probe.look_at_json("event-platform: the user's events", &path, once).await;
    for (path, member) in [
        ("/analytics/events/count", "count"),
        ("/analytics/top-events?limit=5", "top_events"),
        ("/analytics/users/active?window=24h", "active_users"),
    ] {
        probe.look_at_json(&format!("event-platform: GET {path}"), path, |body| has(body, member)).await;
    }
}
