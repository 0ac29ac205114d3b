//! What the smoke test of stream-metrics proved: the topic is there, offsets advance, the processor is healthy, the
//! store has recent rows, a known donation is in them to the cent, and the API answers in shape.

use super::marked::{CHAT_MESSAGES, DONATED_CENTS, DONATED_TO_TOPIC_CENTS, EVENTS, Marked, STREAM_EVENTS};
use super::probe::{Probe, Seen, Sum, has, shown};
use crate::client::NDJSON;
use crate::client::status::{Partition, Status};

const ROLLUP: &str = "stream_metrics_minute";
/// The port on which this system's own test asks for rows without a query.
const ROWS_PORT: &str = ":8000";

/// Sends the events of a live stream and looks for them.
pub(super) async fn check(probe: &mut Probe, marked: &Marked) {
    let has_measures =
        probe.has_measure(ROLLUP, "donations_usd") && probe.has_measure(ROLLUP, "chat_messages");
    if !probe.has_stream(STREAM_EVENTS) || !has_measures {
        probe
            .left_out
            .push(format!("stream-metrics: there is no rollup {ROLLUP} of {STREAM_EVENTS} as it ships"));
        return;
    }
    if !probe.understands("stream-metrics", STREAM_EVENTS) {
        return;
    }
    check_topic(probe).await;
    let lines = marked.broadcast();
    let mut sent = lines.lines().count() as u64;
    let path = format!("/v1/events?stream={STREAM_EVENTS}");
    let posted = probe.post(&path, NDJSON, lines).await;
    if !probe.note("stream-metrics: events are taken", posted.map(|answer| shown(&answer))) {
        return;
    }
    let to_topic = write_to_topic(probe, STREAM_EVENTS, marked.donation_to_topic()).await;
    sent += u64::from(to_topic);
    let advanced = move |before: &Status, now: &Status| grown("log's end", sent, (before, now), end);
    probe.look_at_status("stream-metrics: producer offsets advance", advanced).await;
    let healthy = move |before: &Status, now: &Status| {
        let stopped = partitions(now).find_map(|partition| partition.stopped.as_ref());
        match stopped {
            Some(why) => Err(format!("a partition stands still: {why}")),
            None => grown("next offset", sent, (before, now), |partition| partition.next_offset),
        }
    };
    probe.look_at_status("stream-metrics: the processor is healthy", healthy).await;
    check_rows(probe, marked, to_topic).await;
    check_answers(probe, marked).await;
}

async fn check_topic(probe: &mut Probe) {
    let judge = |_: &Status, now: &Status| match partitions(now).count() {
        0 => Err(format!("{STREAM_EVENTS} has no partition")),
        count => Ok(format!("{STREAM_EVENTS} has {count} partition(s) in the log {}", now.log)),
    };
    probe.look_at_status("stream-metrics: the topic exists", judge).await;
}

async fn check_rows(probe: &mut Probe, marked: &Marked, to_topic: bool) {
    let mark = marked.mark.as_str();
    let recent = |body: &serde_json::Value| match body["rows"].as_array().map_or(0, Vec::len) {
        0 => Err("there are no rows".to_owned()),
        count => Ok(format!("{count} row(s) of the last 10 minutes")),
    };
    probe.look_at_json("stream-metrics: the store has recent rows", "/metrics?minutes=10", recent).await;
    let donated = DONATED_CENTS + if to_topic { DONATED_TO_TOPIC_CENTS } else { 0 };
    let sum = |measure, expect| Sum {
        rollup: ROLLUP,
        dimension: ("stream_id", mark),
        range: marked.range(),
        measure,
        expect,
    };
    let donations = sum(("donations_usd", 2), donated);
    probe.look_at_sum("stream-metrics: donations are exact, one of them sent twice", &donations).await;
    let messages = sum(("chat_messages", 0), CHAT_MESSAGES);
    probe.look_at_sum("stream-metrics: messages are counted", &messages).await;
    if probe.has_measure(ROLLUP, "active_viewers") {
        // All of it happens in one minute: the one who joined is there at its end.
        let viewers = sum(("active_viewers", 0), 1);
        probe.look_at_sum("stream-metrics: who joined is an active viewer", &viewers).await;
    }
}

async fn check_answers(probe: &mut Probe, marked: &Marked) {
    probe
        .look("stream-metrics: GET /health", "/health", |answer| {
            let begins = answer.body.starts_with(b"{\"ok\":true");
            if begins { Ok("begins with {\"ok\":true".to_owned()) } else { Err(shown(answer)) }
        })
        .await;
    let mark = marked.mark.clone();
    for path in ["/metrics?minutes=10&limit=5", "/streams/top?minutes=10&by=donations_usd&n=5"] {
        probe.look_at_json(&format!("stream-metrics: GET {path}"), path, |body| has(body, "rows")).await;
    }
    let latest = move |body: &serde_json::Value| {
        let rows = body["rows"].as_array().ok_or("there is no rows")?;
        let is_there = rows.iter().any(|row| row["stream_id"] == mark.as_str());
        if is_there {
            Ok(format!("has {mark}"))
        } else {
            Err(format!("{mark} is not among {} rows", rows.len()))
        }
    };
    probe.look_at_json("stream-metrics: GET /metrics/latest", "/metrics/latest", latest).await;
    let must_be_rows = probe.server.address.ends_with(ROWS_PORT);
    let bare = move |answer: &crate::client::Answer| -> Seen {
        let has_rows = answer.body.windows(6).any(|six| six == b"\"rows\"");
        match (has_rows, must_be_rows || !answer.body.starts_with(b"# HELP")) {
            (true, _) => Ok("rows".to_owned()),
            (false, false) => Ok("Prometheus text".to_owned()),
            (false, true) => Err(format!("no \"rows\" in {}", shown(answer))),
        }
    };
    probe.look("stream-metrics: GET /metrics", "/metrics", bare).await;
}

/// Writes an event straight to a stream's topic where brokers were named; returns whether it is there.
pub(super) async fn write_to_topic(probe: &mut Probe, stream: &str, event: String) -> bool {
    let system = if stream == EVENTS { "hourly-aggregations" } else { "stream-metrics" };
    let Some(brokers) = probe.brokers.clone() else { return false };
    let seen = if probe.before.log == "kafka" {
        written(stream, &brokers, event).await
    } else {
        Err(format!("the server's log is {}: it reads no topic", probe.before.log))
    };
    probe.note(&format!("{system}: an event is written straight to the topic"), seen)
}

#[cfg(feature = "kafka")]
async fn written(stream: &str, brokers: &str, event: String) -> Seen {
    let write = async {
        let topic = crate::client::topic::Topic::open(stream, brokers)?;
        if let Some(why) = crate::client::status::misread(stream, topic.names()) {
            anyhow::bail!(why);
        }
        topic.append(topic.batch(&event.into())?).await?;
        anyhow::Ok(format!("all in-sync replicas on {brokers} have it"))
    };
    write.await.map_err(|error| format!("{error:#}"))
}

#[cfg(not(feature = "kafka"))]
#[allow(clippy::unused_async, reason = "a broker is asked with the feature")]
async fn written(_: &str, _: &str, _: String) -> Seen {
    Err("this binary was built without the feature kafka".to_owned())
}

fn partitions(status: &Status) -> impl Iterator<Item = &Partition> {
    status.streams.iter().filter(|stream| stream.name == STREAM_EVENTS).flat_map(|stream| &stream.partitions)
}

/// Returns the log's end, or what was processed where the server cannot see it.
fn end(partition: &Partition) -> u64 {
    partition.log_end.unwrap_or(partition.next_offset)
}

fn grown(what: &str, sent: u64, (before, now): (&Status, &Status), of: impl Fn(&Partition) -> u64) -> Seen {
    let sum = |status| partitions(status).map(&of).sum::<u64>();
    let (before, now) = (sum(before), sum(now));
    let told = format!("{what} went from {before} to {now}");
    if now >= before + sent { Ok(told) } else { Err(format!("{told}, and {sent} were sent")) }
}
