//! One batch on its way, to a server or straight to a topic: sent until it is answered, always with the same bytes, so that what the server had already
//! stored when a connection broke is a duplicate and not a second event.

#[cfg(feature = "kafka")]
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use bytes::Bytes;
use hyper::StatusCode;
use serde::Deserialize;
#[cfg(feature = "kafka")]
use sg_core::ports::ErrorKind;
use tokio::time::{Instant, sleep};

use crate::client::failures::{Failures, told_in};
#[cfg(feature = "kafka")]
use crate::client::topic::Topic;
use crate::client::{Answer, Connection, JSON, NDJSON};

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
    /// Why events were refused, and tries failed.
    pub(super) failures: Failures,
    /// The way, free again.
    pub(super) way: Way,
}

/// How batches travel.
pub(super) enum Way {
    /// Over HTTP, to a path.
    Http(Connection, String),
    /// Over HTTP, to a path, one event a request.
    Single(Connection, String),
    /// To a topic, as a producer that knows nothing of us.
    #[cfg(feature = "kafka")]
    Topic(Arc<Topic>),
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Way::Http(_, path) | Way::Single(_, path) => write!(f, "HTTP to {path}"),
            #[cfg(feature = "kafka")]
            Way::Topic(topic) => write!(f, "the topic of {}", topic.stream()),
        }
    }
}

/// How a try ended.
enum Tried {
    /// Answered; and what was said where events were refused.
    Done(Receipt, Option<String>),
    /// Not answered, or not now: why, and how long to wait.
    Again(anyhow::Error, Duration),
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
/// When the request is refused as such, or `patience` has passed without an answer.
pub(super) async fn deliver(mut way: Way, batch: Batch, patience: Duration) -> anyhow::Result<Delivered> {
    let began = Instant::now();
    let mut pause = PAUSE_MIN;
    let mut resent = 0;
    let mut failures = Failures::default();
    loop {
        let (failure, wait) = match way.send(&batch, pause).await? {
            Tried::Done(Receipt { accepted, rejected }, refused) => {
                refused.into_iter().for_each(|told| failures.add(told));
                if accepted + rejected != batch.lines {
                    bail!("{} events were sent, but {accepted} + {rejected} answered", batch.lines);
                }
                return Ok(Delivered { index: batch.index, accepted, rejected, resent, failures, way });
            }
            Tried::Again(failure, wait) => (failure, wait),
        };
        if began.elapsed() + wait > patience {
            return Err(failure.context(format!("gave up after {} s", patience.as_secs())));
        }
        failures.add(format!("sent again: {failure}"));
        sleep(wait).await;
        pause = (pause * 2).min(PAUSE_MAX);
        resent += batch.lines;
    }
}

impl Way {
    async fn send(&mut self, batch: &Batch, pause: Duration) -> anyhow::Result<Tried> {
        match self {
            Way::Http(connection, path) => post(connection, path, NDJSON, batch, pause).await,
            Way::Single(connection, path) => post(connection, path, JSON, batch, pause).await,
            #[cfg(feature = "kafka")]
            Way::Topic(topic) => match topic.append(topic.batch(&batch.body)?).await {
                Ok(()) => Ok(Tried::Done(Receipt { accepted: batch.lines, rejected: 0 }, None)),
                Err(error) if matches!(error.kind, ErrorKind::Retry | ErrorKind::Full) => {
                    Ok(Tried::Again(error.into(), pause))
                }
                Err(error) => Err(error.into()),
            },
        }
    }
}

async fn post(
    connection: &mut Connection,
    path: &str,
    kind: &'static str,
    batch: &Batch,
    pause: Duration,
) -> anyhow::Result<Tried> {
    let answer = match connection.post(path, kind, batch.body.clone()).await {
        Ok(answer) => answer,
        Err(unanswered) => return Ok(Tried::Again(unanswered.into(), pause)),
    };
    let told = || told_in(answer.status.as_u16(), &answer.body);
    match verdict(answer.status) {
        // One event is answered with its id, or with why it was refused.
        Verdict::Done if kind == JSON => {
            let accepted = u64::from(answer.status.is_success());
            let refused = (accepted == 0).then(told);
            Ok(Tried::Done(Receipt { accepted, rejected: 1 - accepted }, refused))
        }
        Verdict::Done => {
            let receipt: Receipt = serde_json::from_slice(&answer.body).unwrap_or_default();
            let refused = (receipt.rejected > 0).then(told);
            Ok(Tried::Done(receipt, refused))
        }
        Verdict::Again => {
            let failure = connection.unanswered(answer.complaint());
            Ok(Tried::Again(failure.into(), wait_of(&answer, pause)))
        }
        Verdict::GiveUp => bail!("sending events: {}", answer.complaint()),
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
