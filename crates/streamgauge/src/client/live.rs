//! `GET /metrics/stream` as the commands read it: the first event of a stream that is opened anew, since an old one
//! only tells older numbers.

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::Method;
use serde::Deserialize;
use tokio::time::timeout;

use super::{ANSWER_TIMEOUT, Connection, Server};

/// Bytes until the first event at most.
const EVENT_BYTES_MAX: usize = 64 * 1024;

/// What the live stream tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Numbers {
    /// Events that the log has of the stream, since it was begun.
    pub(crate) received_total: u64,
    /// Those that are counted.
    pub(crate) written_total: u64,
    /// Those that the store does not have yet.
    pub(crate) lag: u64,
}

impl Numbers {
    /// Watches until the first event.
    ///
    /// # Errors
    /// When the server does not answer, or not with such a stream.
    pub(crate) async fn ask(server: &Server) -> anyhow::Result<Numbers> {
        let read = timeout(ANSWER_TIMEOUT, first_event(server)).await;
        let event = read.context("waiting for an event of /metrics/stream")??;
        serde_json::from_str(&event).with_context(|| format!("reading the event {event} of /metrics/stream"))
    }
}

/// Returns the data of the first event that is called `metrics`.
async fn first_event(server: &Server) -> anyhow::Result<String> {
    let connection = Connection::new(server);
    let request = connection.prepared(Method::GET, "/metrics/stream", None, Bytes::new())?;
    let mut sender = connection.connect().await?;
    let response = sender.send_request(request).await.map_err(|error| server.unanswered(true, error))?;
    if !response.status().is_success() {
        connection.read(response).await?.success("asking for /metrics/stream")?;
        bail!("asking for /metrics/stream: it ended");
    }
    let mut body = response.into_body();
    let mut text = String::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| server.unanswered(true, error))?;
        text += &String::from_utf8_lossy(frame.data_ref().map_or(&[][..], |data| data));
        if let Some(data) = data_of(&text) {
            return Ok(data);
        }
        if text.len() > EVENT_BYTES_MAX {
            bail!("/metrics/stream tells something else than events");
        }
    }
    bail!("/metrics/stream ended without an event")
}

/// Returns the data of the first whole event that is called `metrics`.
fn data_of(text: &str) -> Option<String> {
    let whole = text.rsplit_once("\n\n").map_or("", |(whole, _)| whole);
    let event = whole.split("\n\n").find(|event| {
        event.lines().any(|line| line.strip_prefix("event:").is_some_and(|name| name.trim() == "metrics"))
    })?;
    event.lines().find_map(|line| line.strip_prefix("data:")).map(|data| data.trim().to_owned())
}

#[cfg(test)]
mod tests;
