//! Web analytics: an event without id and time is counted once, and the live stream tells of it.

use serde_json::Value;
use tokio::time::Instant;

use super::marked::Marked;
use super::probe::Probe;
use crate::client::JSON;
use crate::client::live::Numbers;

/// Returns what the live stream tells now.
pub(super) async fn numbers(probe: &Probe) -> Result<Numbers, String> {
    Numbers::ask(&probe.server).await.map_err(|error| format!("{error:#}"))
}

/// Sends an event; returns the id that the server gave it.
pub(super) async fn send(probe: &mut Probe, marked: &Marked) -> Option<String> {
    let posted = probe.post("/events", JSON, marked.of_session()).await;
    let id = posted.and_then(|answer| {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        body["event_id"].as_str().map(str::to_owned).ok_or_else(|| format!("there is no event_id in {body}"))
    });
    probe.note("web-analytics: an event is taken", id.clone());
    id.ok()
}

/// Checks the event's fate, and that the live stream's numbers grew by what was sent to the stream.
pub(super) async fn check(probe: &mut Probe, id: Option<String>, before: Result<Numbers, String>, sent: u64) {
    if let Some(id) = id {
        let once = |body: &Value| {
            let fates = body["found"].as_array().cloned().unwrap_or_default();
            let counted = fates.iter().filter(|found| found["fate"] == "counted").count();
            if counted == 1 && fates.len() == 1 {
                Ok("counted, once".to_owned())
            } else {
                Err(body.to_string())
            }
        };
        probe.look_at_json("web-analytics: the event's fate", &format!("/v1/events/{id}"), once).await;
    }
    let began = Instant::now();
    let seen = loop {
        let seen = match (&before, numbers(probe).await) {
            (Ok(before), Ok(now)) => grown(*before, now, sent),
            (Err(why), _) => Err(why.clone()),
            (_, Err(why)) => Err(why),
        };
        if seen.is_ok() || before.is_err() || began.elapsed() >= probe.patience() {
            break seen;
        }
        probe.hurry().await;
    };
    probe.note("web-analytics: GET /metrics/stream", seen);
    let up = |body: &Value| {
        if body["status"] == "UP" { Ok("UP".to_owned()) } else { Err(body.to_string()) }
    };
    probe.look_at_json("web-analytics: GET /actuator/health", "/actuator/health", up).await;
}

fn grown(before: Numbers, now: Numbers, sent: u64) -> Result<String, String> {
    let told = format!(
        "receivedTotal {} → {}, writtenTotal {} → {}, lag {}",
        before.received_total, now.received_total, before.written_total, now.written_total, now.lag
    );
    let is_there = now.received_total >= before.received_total + sent
        && now.written_total >= before.written_total + sent;
    if is_there { Ok(told) } else { Err(format!("{told}, and {sent} different events were sent")) }
}
