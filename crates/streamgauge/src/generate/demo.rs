//! The producer that keeps a fresh server busy: visitors and live streams, dated now, in bursts and pauses, with a few
//! late and a few repeated events. Leaves `pageviews` to those who try it by hand.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sg_core::time::{Clock, Timestamp};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::random::Random;
use super::{Cast, Scene, Stream};
use crate::client::{Connection, NDJSON, Server};

/// How many events are dated far back, in a million.
const LATE_PPM: u32 = 8_000;
/// Late ones are dated back by 75 to 135 minutes: their hour is then over by more than its grace.
const LATE_BACK_MIN_MS: u64 = 75 * 60_000;
const LATE_BACK_SPREAD_MS: u64 = 60 * 60_000;
/// How many events are sent a second time, in a million.
const REPEAT_PPM: u32 = 15_000;
/// Events that may be sent a second time.
const RECENT_MAX: usize = 500;
/// How many bursts go by, on average, before the mood changes: one in so many.
const MOOD_BURSTS: u64 = 40;
/// The pause after a failure, and the longest one.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// Returns the streams among those of a server that the demo has events for.
pub(crate) fn streams(known: &[&str]) -> Vec<Stream> {
    let is_known = |stream: &Stream| known.contains(&stream.name());
    [Stream::Web, Stream::Broadcast].into_iter().filter(is_known).collect()
}

/// Sends events of these streams while it is on, until `stop`; goes on over every error.
pub(crate) async fn run(
    (url, key): (String, String),
    (mut is_on, streams): (watch::Receiver<bool>, Vec<Stream>),
    stop: CancellationToken,
    clock: Arc<dyn Clock>,
) {
    let server = match Server::new(&url, Some(&key)) {
        Ok(server) => server,
        Err(error) => {
            tracing::warn!("the demo cannot send events: {error:#}");
            return;
        }
    };
    let mut producer = Producer::new(uuid::Uuid::now_v7().as_u64_pair().1);
    let mut connection = Connection::new(&server);
    stop.run_until_cancelled(async {
        // The sender lives as long as the server.
        while is_on.wait_for(|is_on| *is_on).await.is_ok() {
            let burst = producer.burst(clock.now());
            if streams.contains(&burst.stream) {
                send(&mut connection, &burst).await;
            }
            tokio::time::sleep(burst.pause).await;
        }
    })
    .await;
}

/// Sends a burst until it is answered, with the same ids.
async fn send(connection: &mut Connection, burst: &Burst) {
    let path = format!("/v1/events?stream={}", burst.stream.name());
    let mut pause = RETRY_MIN;
    loop {
        let failure = match connection.post(&path, NDJSON, burst.body.clone()).await {
            Ok(answer) if answer.status.is_success() => return,
            Ok(answer) if answer.status.is_client_error() && answer.retry_after.is_none() => {
                tracing::warn!("the demo's events were refused: {}", answer.complaint());
                return;
            }
            Ok(answer) => answer.complaint(),
            Err(unanswered) => unanswered.to_string(),
        };
        tracing::debug!("the demo sends again: {failure}");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_MAX);
    }
}

/// Events that are sent together, and what follows them.
#[derive(Debug)]
struct Burst {
    stream: Stream,
    body: Bytes,
    pause: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Quiet,
    Lively,
}

/// Decides what is sent when.
#[derive(Debug)]
struct Producer {
    random: Random,
    web: Scene,
    broadcast: Scene,
    mood: Mood,
    /// The latest lines of each stream, in a ring.
    recent: [Vec<String>; 2],
}

impl Producer {
    fn new(seed: u64) -> Producer {
        Producer {
            random: Random::new(seed),
            web: Scene::new(Stream::Web, &Cast::Usual, 12),
            broadcast: Scene::new(Stream::Broadcast, &Cast::Usual, 12),
            mood: Mood::Lively,
            recent: [Vec::new(), Vec::new()],
        }
    }

    fn burst(&mut self, now: Timestamp) -> Burst {
        if self.random.below(MOOD_BURSTS) == 0 {
            self.mood = if self.mood == Mood::Lively { Mood::Quiet } else { Mood::Lively };
        }
        let (events_max, pause_min_ms, pause_spread_ms) = match self.mood {
            Mood::Lively => (12, 40, 300),
            Mood::Quiet => (5, 300, 1_700),
        };
        let stream = if self.random.chance(600_000) { Stream::Web } else { Stream::Broadcast };
        let mut body = String::new();
        for _ in 0..=self.random.below(events_max) {
            let line = self.line(stream, now);
            body += &line;
            body.push('\n');
        }
        let pause_ms = pause_min_ms + self.random.below(pause_spread_ms);
        Burst { stream, body: Bytes::from(body), pause: Duration::from_millis(pause_ms) }
    }

    fn line(&mut self, stream: Stream, now: Timestamp) -> String {
        let recent = &mut self.recent[usize::from(stream == Stream::Broadcast)];
        if !recent.is_empty() && self.random.chance(REPEAT_PPM) {
            return self.random.one_of(recent).clone();
        }
        let is_late = self.random.chance(LATE_PPM);
        let back_ms = if is_late { LATE_BACK_MIN_MS + self.random.below(LATE_BACK_SPREAD_MS) } else { 0 };
        let id = (u128::from(self.random.bits()) << 64) | u128::from(self.random.bits());
        let scene = if stream == Stream::Web { &mut self.web } else { &mut self.broadcast };
        let mut line = String::new();
        scene.write(&mut self.random, id, now.minus(Duration::from_millis(back_ms)), &mut line);
        if recent.len() < RECENT_MAX {
            recent.push(line.clone());
        } else {
            let index = self.random.index(RECENT_MAX);
            recent[index] = line.clone();
        }
        line
    }
}

#[cfg(test)]
mod tests;
