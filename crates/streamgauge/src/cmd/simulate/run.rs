//! A run of `simulate` under way: batches that are made, sent when they are due, and counted when they are answered.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::Args;
use super::delivery::{Batch, Delivered, Way, deliver};
use crate::generate::expect::Expectation;
use crate::generate::sequence::{Sequence, Shape};

/// At a given rate a batch holds no more than a tenth of a second, so that events flow instead of arriving in lumps.
const BATCHES_PER_SECOND_MIN: u64 = 10;
/// How many batches, per connection, may overtake one that is not answered: bounds how far events arrive out of order.
const OVERTAKING_PER_CONNECTION: u64 = 2;

/// A run under way.
pub(super) struct Run {
    lines_max: u64,
    rate: Option<u64>,
    patience: Duration,
    idle: Vec<Way>,
    running: JoinSet<anyhow::Result<Delivered>>,
    /// Batches under way.
    unanswered: BTreeSet<u64>,
    overtaking_max: u64,
    /// What must result of what was made so far, where that was asked for.
    pub(super) expectation: Option<Expectation>,
    bar: ProgressBar,
    summary: Summary,
}

/// What became of a run.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Summary {
    /// Lines sent, each counted once.
    pub(super) sent: u64,
    /// Lines that the server took.
    pub(super) accepted: u64,
    /// Lines that were sent once more because they were not answered.
    pub(super) resent: u64,
    /// Lines that the server refused.
    pub(super) rejected: u64,
    /// From the first event to the last answer.
    pub(super) seconds: f64,
}

impl Run {
    pub(super) fn new(args: &Args, ways: Vec<Way>, shape: &Shape) -> Run {
        let in_time = |rate: u64| (rate / BATCHES_PER_SECOND_MIN).max(1);
        let bar = ProgressBar::with_draw_target(Some(shape.events), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{wide_bar} {human_pos}/{human_len} events {per_sec} {eta}");
        Run {
            lines_max: args.rate.map_or(args.batch, |rate| args.batch.min(in_time(rate))),
            rate: args.rate,
            patience: args.patience,
            idle: ways,
            running: JoinSet::new(),
            unanswered: BTreeSet::new(),
            overtaking_max: args.connections * OVERTAKING_PER_CONNECTION,
            expectation: None,
            bar: bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())),
            summary: Summary::default(),
        }
    }

    pub(super) async fn send_all(&mut self, mut sequence: Sequence) -> anyhow::Result<Summary> {
        let began = Instant::now();
        let mut index = 0;
        while let Some(batch) = self.next_batch(&mut sequence, index)? {
            if let Some(rate) = self.rate {
                // Sent when the last of its events is due, so that none is dated ahead of its sending.
                sleep_until(began + Duration::from_micros(sequence.made() * 1_000_000 / rate)).await;
            }
            let way = self.free_way(index).await?;
            self.unanswered.insert(index);
            self.summary.sent += batch.lines;
            self.running.spawn(deliver(way, batch, self.patience));
            self.bar.set_position(sequence.made());
            index += 1;
        }
        while !self.running.is_empty() {
            self.join().await?;
        }
        self.bar.finish_and_clear();
        self.summary.seconds = began.elapsed().as_secs_f64();
        Ok(self.summary.clone())
    }

    fn next_batch(&mut self, sequence: &mut Sequence, index: u64) -> anyhow::Result<Option<Batch>> {
        let mut body = Vec::new();
        let mut lines = 0;
        while lines < self.lines_max {
            let Some(line) = sequence.next_line() else { break };
            body.extend_from_slice(line.as_bytes());
            body.push(b'\n');
            lines += 1;
            if let Some(expectation) = &mut self.expectation {
                expectation.take(line)?;
            }
        }
        Ok((lines > 0).then(|| Batch { index, lines, body: Bytes::from(body) }))
    }

    async fn free_way(&mut self, next: u64) -> anyhow::Result<Way> {
        loop {
            let oldest = self.unanswered.first().copied().unwrap_or(next);
            if next - oldest < self.overtaking_max
                && let Some(way) = self.idle.pop()
            {
                return Ok(way);
            }
            self.join().await?;
        }
    }

    async fn join(&mut self) -> anyhow::Result<()> {
        let Some(joined) = self.running.join_next().await else { return Ok(()) };
        let delivered = joined.context("sending a batch")??;
        self.unanswered.remove(&delivered.index);
        self.summary.accepted += delivered.accepted;
        self.summary.rejected += delivered.rejected;
        self.summary.resent += delivered.resent;
        self.idle.push(delivered.way);
        Ok(())
    }
}

impl Summary {
    fn per_second(&self) -> u64 {
        (self.accepted as f64 / self.seconds.max(0.001)) as u64
    }

    pub(super) fn line(&self) -> String {
        let Summary { sent, accepted, resent, rejected, seconds } = self;
        let rate = self.per_second();
        format!(
            "sent {sent}  accepted {accepted}  resent {resent}  rejected {rejected}  in {seconds:.1} s  {rate} events/s"
        )
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "sent": self.sent, "accepted": self.accepted, "resent": self.resent, "rejected": self.rejected,
            "seconds": self.seconds, "events_per_second": self.per_second(),
        })
    }
}
