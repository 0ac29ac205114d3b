//! One batch on its way: sent until it is answered, always with the same bytes, so that what the server had already
//! stored when a connection broke is a duplicate and not a second event.

use std::time::Duration;

use anyhow::bail;
use bytes::Bytes;
use hyper::StatusCode;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use crate::client::{Answer, Connection, NDJSON};

/// The first pause after a failure; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest pause of our own: a server that comes back is noticed within this time.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// The longest pause that a server may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(10);

/// Events that are sent together.
#[derive(Debug)]
pub(super) struct Batch {
    /// Its place in the run.
    pub(super) index: u64,
    /// How many events.
    pub(super) lines: u64,
    /// One event a line.
    pub(super) body: Bytes,
}

/// An answered batch.
#[derive(Debug)]
pub(super) struct Delivered {
    /// The batch's place in the run.
    pub(super) index: u64,
    /// Events that the server took.
    pub(super) accepted: u64,
    /// Events that the server refused.
    pub(super) rejected: u64,
    /// Events sent more than once.
    pub(super) resent: u64,
    /// The connection, free again.
    pub(super) connection: Connection,
}

/// What the server says of a batch.
#[derive(Debug, Default, Deserialize)]
struct Receipt {
    #[serde(default)]
    accepted: u64,
    #[serde(default)]
    rejected: u64,
}

/// What to do after an answer.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Done,
    Again,
    GiveUp,
}

/// Sends a batch until it is answered.
///
/// # Errors
/// When the server refuses the request as such, or `patience` has passed without an answer.
pub(super) async fn deliver(
    mut connection: Connection,
    path: String,
    batch: Batch,
    patience: Duration,
) -> anyhow::Result<Delivered> {
    let began = Instant::now();
    let mut pause = PAUSE_MIN;
    let mut resent = 0;
    loop {
        let sent = connection.post(&path, NDJSON, batch.body.clone()).await;
        let (failure, wait) = match sent {
            Ok(answer) => match verdict(answer.status) {
                Verdict::Done => {
                    let receipt: Receipt = serde_json::from_slice(&answer.body).unwrap_or_default();
                    let Receipt { accepted, rejected } = receipt;
                    if accepted + rejected != batch.lines {
                        bail!("{} events were sent, but {accepted} + {rejected} answered", batch.lines);
                    }
                    return Ok(Delivered { index: batch.index, accepted, rejected, resent, connection });
                }
                Verdict::Again => (connection.unanswered(answer.complaint()), wait_of(&answer, pause)),
                Verdict::GiveUp => bail!("sending events: {}", answer.complaint()),
            },
            Err(unanswered) => (unanswered, pause),
        };
        if began.elapsed() + wait > patience {
            let gave_up = format!("gave up after {} s", patience.as_secs());
            return Err(anyhow::Error::from(failure).context(gave_up));
        }
        tracing::debug!("batch {} is sent again: {failure}", batch.index);
        sleep(wait).await;
        pause = (pause * 2).min(PAUSE_MAX);
        resent += batch.lines;
    }
}

fn wait_of(answer: &Answer, pause: Duration) -> Duration {
    answer.retry_after.map_or(pause, |asked| asked.min(RETRY_AFTER_MAX).max(PAUSE_MIN))
}

fn verdict(status: StatusCode) -> Verdict {
    match status {
        // 422: every event of the batch was refused, each with its reason.
        StatusCode::ACCEPTED | StatusCode::OK | StatusCode::UNPROCESSABLE_ENTITY => Verdict::Done,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Verdict::Again,
        status if status.is_server_error() => Verdict::Again,
        _ => Verdict::GiveUp,
    }
}

#[cfg(test)]
mod tests;
