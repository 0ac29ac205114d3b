//! `streamgauge simulate`: sends a run of made-up events, each until it was answered, and writes down the cells that
//! must result. Decides nothing about the events themselves; that is `generate`'s.

mod delivery;
mod run;

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use sg_core::time::{Clock, Timestamp};

use crate::client::{self, Connection, Server, Target, rollup, settle};
use crate::clock::WallClock;
use crate::generate::Stream;
use crate::generate::expect::Expectation;
use crate::generate::sequence::{Sequence, Shape};
use delivery::Way;
use run::Run;

/// Events when nothing else is said.
const EVENTS: u64 = 100_000;
/// Event time from one event to the next when nothing else is said: 100,000 events are an hour.
const STEP_US: u64 = 36_000;
/// Events of one request: the most that a server takes.
const BATCH_MAX: u64 = 20_000;
/// Connections at most: beyond this they only wait for each other.
const CONNECTIONS_MAX: u64 = 512;

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
    let (layers, _) = crate::cmd::config::layers(None)?;
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
