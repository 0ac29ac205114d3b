//! A run of `simulate` under way: batches that are made, sent when they are due, and counted when they are answered.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sg_core::event::OwnNames;
use sg_core::time::Clock;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::delivery::{Batch, Delivered, Way, deliver};
use super::plan::{Dating, Pace, Plan};
use crate::client::failures::Failures;
use crate::generate::expect::Expectation;
use crate::generate::random::Random;
use crate::generate::renamed::renamed;
use crate::generate::sequence::Sequence;

/// How many batches, per connection, may overtake one that is not answered: bounds how far events arrive out of order.
const OVERTAKING_PER_CONNECTION: u64 = 2;

/// How many pauses of an irregular pace are long, in a million.
const LONG_PAUSES_PPM: u32 = 250_000;

/// A run under way.
pub(super) struct Run {
    lines_max: u64,
    events: u64,
    pace: Pace,
    dating: Dating,
    /// Decides on the pauses of an irregular pace.
    moods: Random,
    patience: Duration,
    idle: Vec<Way>,
    /// What the stream calls the events' fields.
    names: OwnNames,
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
    /// Why lines were refused, and tries failed.
    pub(super) failures: Failures,
    /// Whether somebody stopped it before the end.
    pub(super) was_stopped: bool,
    /// From the first event to the last answer.
    pub(super) seconds: f64,
}

impl Run {
    pub(super) fn new(plan: &Plan, (ways, names): (Vec<Way>, OwnNames), patience: Duration) -> Run {
        let length = Some(plan.shape.events).filter(|events| *events < u64::MAX);
        let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{wide_bar} {human_pos}/{human_len} events {per_sec} {eta}");
        Run {
            lines_max: plan.batch,
            events: plan.shape.events,
            pace: plan.pace,
            dating: plan.dating,
            moods: Random::new(plan.shape.seed),
            patience,
            overtaking_max: ways.len() as u64 * OVERTAKING_PER_CONNECTION,
            idle: ways,
            names,
            running: JoinSet::new(),
            unanswered: BTreeSet::new(),
            expectation: None,
            bar: bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())),
            summary: Summary::default(),
        }
    }

    /// Sends all events, or those that are due before `stop`.
    pub(super) async fn send_all(
        &mut self,
        mut sequence: Sequence,
        clock: &dyn Clock,
        stop: &CancellationToken,
    ) -> anyhow::Result<Summary> {
        let began = Instant::now();
        let mut due = Duration::ZERO;
        let mut index = 0;
        while !sequence.is_over() {
            due = self.due_after(due, sequence.made());
            // What is made is sent: waiting comes first, and so none is dated ahead of its sending.
            if stop.run_until_cancelled(sleep_until(began + due)).await.is_none() {
                self.summary.was_stopped = true;
                break;
            }
            if self.dating == Dating::WhenMade {
                sequence.date(clock.now());
            }
            let Some(batch) = self.next_batch(&mut sequence, index)? else { break };
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

    /// Returns when the next batch is due, from the beginning: when the last of its events is.
    fn due_after(&mut self, last: Duration, made: u64) -> Duration {
        match self.pace {
            Pace::AsAnswered => Duration::ZERO,
            Pace::Even { events, within } => {
                let with_next = made.saturating_add(self.lines_max).min(self.events);
                let due_us = u128::from(with_next) * within.as_micros() / u128::from(events.max(1));
                Duration::from_micros(u64::try_from(due_us).unwrap_or(u64::MAX))
            }
            Pace::Irregular { mean } => last + self.pause(mean),
        }
    }

    /// Returns a pause of this length on average: mostly a shorter one, now and then a much longer one.
    fn pause(&mut self, mean: Duration) -> Duration {
        let is_long = self.moods.chance(LONG_PAUSES_PPM);
        // A quarter of 3 and three quarters of a third make 1.
        let longest = if is_long { mean * 6 } else { mean * 2 / 3 };
        Duration::from_micros(self.moods.below(longest.as_micros() as u64 + 1))
    }

    fn next_batch(&mut self, sequence: &mut Sequence, index: u64) -> anyhow::Result<Option<Batch>> {
        let mut body = Vec::new();
        let mut lines = 0;
        while lines < self.lines_max {
            let Some(line) = sequence.next_line() else { break };
            body.extend_from_slice(renamed(line, &self.names)?.as_bytes());
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
        self.summary.failures.merge(delivered.failures);
        self.idle.push(delivered.way);
        Ok(())
    }
}

impl Summary {
    fn per_second(&self) -> u64 {
        (self.accepted as f64 / self.seconds.max(0.001)) as u64
    }

    pub(super) fn line(&self) -> String {
        let Summary { sent, accepted, resent, rejected, seconds, .. } = self;
        let rate = self.per_second();
        format!(
            "sent {sent}  accepted {accepted}  resent {resent}  rejected {rejected}  in {seconds:.1} s  {rate} events/s"
        )
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "sent": self.sent, "accepted": self.accepted, "resent": self.resent, "rejected": self.rejected,
            "failures": self.failures.json(),
            "seconds": self.seconds, "events_per_second": self.per_second(),
        })
    }
}
