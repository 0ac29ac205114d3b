//! `streamgauge simulate`: sends a run of made-up events, each until it was answered, and writes down the cells that
//! must result. Decides nothing about the events themselves; that is `generate`'s.

mod delivery;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sg_core::time::{Clock, Timestamp};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::client::{self, Connection, Server, Target, rollup, settle};
use crate::clock::WallClock;
use crate::generate::Stream;
use crate::generate::expect::Expectation;
use crate::generate::sequence::{Sequence, Shape};
use delivery::{Batch, Delivered, Way, deliver};

/// Events when nothing else is said.
const EVENTS: u64 = 100_000;
/// Event time from one event to the next when nothing else is said: 100,000 events are an hour.
const STEP_US: u64 = 36_000;
/// Events of one request: the most that a server takes.
const BATCH_MAX: u64 = 20_000;
/// Connections at most: beyond this they only wait for each other.
const CONNECTIONS_MAX: u64 = 512;
/// At a given rate a batch holds no more than a tenth of a second, so that events flow instead of arriving in lumps.
const BATCHES_PER_SECOND_MIN: u64 = 10;
/// How many batches, per connection, may overtake one that is not answered: bounds how far events arrive out of order.
const OVERTAKING_PER_CONNECTION: u64 = 2;

/// Sends made-up events
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Sends made-up events to a running server.\n\n\
        The same seed and start make the same events with the same ids, so a second run is all duplicates. Whatever was \
        not answered is sent again with the same ids, until it is answered or the patience ends. With --expect the cells \
        that must result are worked out independently and written to a file that `streamgauge audit` compares.",
    after_long_help = "Examples:\n  \
        streamgauge simulate --events 200000 --late 2% --duplicates 1% --expect expected.json\n  \
        streamgauge audit --expect expected.json\n  \
        streamgauge simulate --stream stream.events --rate 20 --duration 5m --start now"
)]
pub(crate) struct Args {
    /// The stream to send to
    #[arg(long, value_enum, value_name = "S", default_value = "events")]
    stream: Stream,
    /// Different events to send [default: 100000, or --rate times --duration]
    #[arg(long, value_name = "N")]
    events: Option<u64>,
    /// Events per second [default: as fast as they are answered]
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// Event time that the run covers, such as 24h [default: 36 ms an event, or real time with --rate]
    #[arg(long, value_name = "D", value_parser = duration)]
    duration: Option<Duration>,
    /// Makes other events
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Time of the first event; `now` lets the run end at the time the last one is sent
    #[arg(long, value_name = "TIME", default_value = "2025-01-01T00:00:00Z", value_parser = start)]
    start: Start,
    /// Share of events dated back by more than an hour, so that they are late for every window that ships: 2% or 0.02
    #[arg(long, value_name = "P", default_value = "0", value_parser = share_ppm)]
    late: u32,
    /// Share of events that are sent a second time some time later, on top of --events: 1% or 0.01
    #[arg(long, value_name = "P", default_value = "0", value_parser = share_ppm)]
    duplicates: u32,
    /// Shuffles event times back by up to this, such as 20s
    #[arg(long, value_name = "D", default_value = "0s", value_parser = duration)]
    disorder: Duration,
    /// Events per request
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=BATCH_MAX))]
    batch: u64,
    /// Requests under way at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    connections: u64,
    /// How long to go on sending what is not answered
    #[arg(long, value_name = "D", default_value = "120s", value_parser = duration)]
    patience: Duration,
    /// Writes the cells that must result to this file
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    /// Writes plain JSON to the stream's topic on these brokers, as other producers do, instead of sending to a server
    #[cfg(feature = "kafka")]
    #[arg(long, value_name = "BROKERS")]
    kafka: Option<String>,
    /// Prints the summary as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// When the first event happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    At(Timestamp),
    Now,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> ExitCode {
    settle(simulate(&args, &WallClock).await)
}

async fn simulate(args: &Args, clock: &dyn Clock) -> anyhow::Result<ExitCode> {
    let server = args.target.server()?;
    let shape = shape(args, clock.now())?;
    let mut connection = Connection::new(&server);
    let ways = ways(args, &server, &mut connection).await?;
    let mut run = Run::new(args, ways, &shape);
    if args.expect.is_some() {
        let definitions = rollup::definitions(&mut connection).await?;
        let mine = definitions.into_iter().filter(|rollup| rollup.stream == args.stream.name()).collect();
        let mut warnings = Vec::new();
        run.expectation = Some(Expectation::new(mine, args.stream.default_type(), &mut warnings));
        for warning in warnings {
            writeln!(std::io::stderr().lock(), "streamgauge: {warning}")?;
        }
    }
    let summary = run.send_all(Sequence::new(shape)).await?;
    if let (Some(path), Some(expectation)) = (&args.expect, &run.expectation) {
        let doing = || format!("writing {}", path.display());
        let mut out = BufWriter::new(File::create(path).with_context(doing)?);
        expectation.write(&mut out).and_then(|()| out.flush()).with_context(doing)?;
        tracing::debug!("expected cells of {} events are in {}", expectation.events(), path.display());
    }
    let mut stdout = std::io::stdout().lock();
    if args.json {
        writeln!(stdout, "{}", summary.json())?;
    } else {
        writeln!(stdout, "{}", summary.line())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns a way for each batch under way at once.
async fn ways(args: &Args, server: &Server, connection: &mut Connection) -> anyhow::Result<Vec<Way>> {
    #[cfg(feature = "kafka")]
    if let Some(brokers) = &args.kafka {
        let topic = std::sync::Arc::new(topic(args, brokers)?);
        return Ok((0..args.connections).map(|_| Way::Topic(topic.clone())).collect());
    }
    // Any answer will do: a server that was never there is not worth the patience for one that restarts.
    connection.get("/livez").await?;
    let path = format!("/v1/events?stream={}", client::percent_encoded(args.stream.name()));
    Ok((0..args.connections).map(|_| Way::Http(Connection::new(server), path.clone())).collect())
}

/// Returns the stream's topic, as the configuration of this folder and environment names it.
#[cfg(feature = "kafka")]
fn topic(args: &Args, brokers: &str) -> anyhow::Result<delivery::Topic> {
    use crate::config::Settings;
    let (layers, _) = crate::cmd::config::layers(None, None)?;
    let settings = Settings::resolve(&layers).map_err(|errors| anyhow::anyhow!(errors.join("; ")))?;
    let found = settings.streams.iter().find(|known| known.stream.name == args.stream.name());
    let stream = found.with_context(|| format!("the configuration has no stream {}", args.stream.name()))?;
    let plan = std::sync::Arc::new(sg_core::plan::Plan::new(stream.stream.clone(), &[]));
    let log = crate::wire::kafka::writer(&settings, brokers, std::slice::from_ref(&plan))?;
    Ok(delivery::Topic { log, plan })
}

/// Works out the run that the arguments describe.
fn shape(args: &Args, now: Timestamp) -> anyhow::Result<Shape> {
    let events = match (args.events, args.rate, args.duration) {
        (Some(events), _, _) => events,
        (None, Some(rate), Some(duration)) => (u128::from(rate) * duration.as_millis() / 1_000) as u64,
        (None, _, _) => EVENTS,
    };
    if events == 0 {
        bail!("there is nothing to send: --events, or --rate times --duration, is zero");
    }
    let step_us = match (args.duration, args.rate) {
        (Some(duration), _) => (duration.as_micros() / u128::from(events)) as u64,
        (None, Some(rate)) => 1_000_000 / rate,
        (None, None) => STEP_US,
    };
    let start = match args.start {
        Start::At(start) => start,
        Start::Now => {
            let span = Duration::from_micros(step_us.saturating_mul(events));
            let sending =
                args.rate.map_or(Duration::ZERO, |rate| Duration::from_micros(events * 1_000_000 / rate));
            now.plus(sending).minus(span)
        }
    };
    Ok(Shape {
        stream: args.stream,
        events,
        seed: args.seed,
        start,
        step_us,
        late_ppm: args.late,
        duplicates_ppm: args.duplicates,
        disorder: args.disorder,
    })
}

/// A run under way.
struct Run {
    lines_max: u64,
    rate: Option<u64>,
    patience: Duration,
    idle: Vec<Way>,
    running: JoinSet<anyhow::Result<Delivered>>,
    /// Batches under way.
    unanswered: BTreeSet<u64>,
    overtaking_max: u64,
    expectation: Option<Expectation>,
    bar: ProgressBar,
    summary: Summary,
}

/// What became of a run.
#[derive(Debug, Default, Clone, PartialEq)]
struct Summary {
    /// Lines sent, each counted once.
    sent: u64,
    /// Lines that the server took.
    accepted: u64,
    /// Lines that were sent once more because they were not answered.
    resent: u64,
    /// Lines that the server refused.
    rejected: u64,
    seconds: f64,
}

impl Run {
    fn new(args: &Args, ways: Vec<Way>, shape: &Shape) -> Run {
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

    async fn send_all(&mut self, mut sequence: Sequence) -> anyhow::Result<Summary> {
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

    fn line(&self) -> String {
        let Summary { sent, accepted, resent, rejected, seconds } = self;
        let rate = self.per_second();
        format!(
            "sent {sent}  accepted {accepted}  resent {resent}  rejected {rejected}  in {seconds:.1} s  {rate} events/s"
        )
    }

    fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "sent": self.sent, "accepted": self.accepted, "resent": self.resent, "rejected": self.rejected,
            "seconds": self.seconds, "events_per_second": self.per_second(),
        })
    }
}

/// Reads a duration of the command line.
///
/// # Errors
/// A sentence for people when it is none.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    sg_core::query::parse_duration(text)
        .ok_or_else(|| format!("{text} is no duration such as 250ms, 30s, 5m, 24h"))
}

fn start(text: &str) -> Result<Start, String> {
    if text == "now" {
        return Ok(Start::Now);
    }
    let read = Timestamp::from_text(text).or_else(|_| Timestamp::from_number(text));
    read.map(Start::At).map_err(|_| format!("{text} is no time such as 2025-01-01T00:00:00Z, nor `now`"))
}

/// Reads `2%` or `0.02` as so many in a million.
fn share_ppm(text: &str) -> Result<u32, String> {
    let (number, scale) = text.strip_suffix('%').map_or((text, 6), |number| (number, 4));
    let ppm = sg_core::decimal::parse(number.trim(), scale).ok().filter(|ppm| (0..=1_000_000).contains(ppm));
    ppm.map(|ppm| ppm as u32).ok_or_else(|| format!("{text} is no share such as 2% or 0.02"))
}

#[cfg(test)]
mod tests;
