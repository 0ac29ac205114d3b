//! `streamgauge simulate`: sends a run of made-up events, each until it was answered, and writes down the cells that
//! must result. Decides nothing about the events themselves; that is `generate`'s.

mod delivery;
mod form;
mod plan;
mod run;

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use sg_core::event::OwnNames;
use sg_core::time::{Clock, Timestamp};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::client::status::Status;
#[cfg(feature = "kafka")]
use crate::client::topic::Topic;
use crate::client::{self, Connection, Target, rollup, settle};
use crate::clock::WallClock;
use crate::exit;
use crate::generate::Stream;
use crate::generate::expect::Expectation;
use crate::generate::sequence::Sequence;
use delivery::Way;
#[cfg(feature = "kafka")]
pub(super) use form::BROKERS;
use form::Form;
use plan::Plan;
use run::Run;

/// Events of one request when nothing else is said.
const BATCH: u64 = 1_000;
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
        that must result are worked out independently and written to a file that `streamgauge audit` compares.\n\n\
        With --form it takes the place of a producer of another system: that one's events, dated now, and its \
        variables, where no flag says otherwise. A form whose producer wrote to Kafka does so where \
        KAFKA_BOOTSTRAP_SERVERS is set and no --url is given. Ctrl-C and SIGTERM end a run in order.",
    after_long_help = "Examples:\n  \
        streamgauge simulate --events 200000 --late 2% --duplicates 1% --expect expected.json\n  \
        streamgauge audit --expect expected.json\n  \
        streamgauge simulate --stream stream.events --rate 20 --duration 5m --start now\n  \
        EVENT_COUNT=500000 streamgauge simulate --form bulk\n  \
        streamgauge simulate --form generator --kafka 127.0.0.1:9092"
)]
pub(crate) struct Args {
    /// The stream to send to
    #[arg(long, value_enum, value_name = "S", default_value = "events")]
    stream: Stream,
    /// The producer of another system to take the place of
    #[arg(long, value_enum, value_name = "FORM", conflicts_with_all = ["stream", "start"])]
    form: Option<Form>,
    /// Different events to send [default: 100000, or --rate times --duration]
    #[arg(long, value_name = "N")]
    events: Option<u64>,
    /// Events per second [default: as fast as they are answered]
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// Event time that the run covers, such as 24h [default: 36 ms an event, or real time with --rate]; with --form,
    /// how long it goes on
    #[arg(long, value_name = "D", value_parser = duration)]
    duration: Option<Duration>,
    /// Makes other events [default: 1; with --form, another one each time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Users there are, of stream.events and of forms that let it be chosen
    #[arg(long, value_name = "N")]
    users: Option<u64>,
    /// Live streams there are, of stream.events: names with commas between, or how many
    #[arg(long, value_name = "IDS")]
    stream_ids: Option<String>,
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
    /// Events per request [default: 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=BATCH_MAX))]
    batch: Option<u64>,
    /// Requests under way at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    connections: u64,
    /// How long to go on sending what is not answered
    #[arg(long, value_name = "D", default_value = "120s", value_parser = duration)]
    patience: Duration,
    /// Writes the cells that must result to this file
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    /// Writes plain JSON to the stream's topic on these brokers, as other producers do, instead of sending to a server;
    /// without a value, on those of KAFKA_BOOTSTRAP_SERVERS
    #[cfg(feature = "kafka")]
    #[arg(long, value_name = "BROKERS", num_args = 0..=1)]
    #[allow(clippy::option_option, reason = "a flag that may have a value")]
    kafka: Option<Option<String>>,
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
    let random = uuid::Uuid::now_v7().as_u64_pair().1;
    let plan = Plan::new(args, &std::env::vars().collect(), clock.now(), random)?;
    let stop = CancellationToken::new();
    until_told(&stop)?;
    let mut connection = Connection::new(&plan.target.server()?);
    let (ways, names) = ways(args, &plan, &mut connection).await?;
    // Before anything is sent: a path that cannot be written is no reason to send it all once more.
    let mut expect = args.expect.as_deref().map(create).transpose()?;
    let mut run = Run::new(&plan, (ways, names.clone()), args.patience);
    if args.expect.is_some() {
        let definitions = rollup::definitions(&mut connection).await?;
        let stream = plan.shape.stream;
        let mine = definitions.into_iter().filter(|rollup| rollup.stream == stream.name()).collect();
        let mut warnings = Vec::new();
        run.expectation = Some(Expectation::new(mine, stream.default_type(), &mut warnings).under(names));
        for warning in warnings {
            writeln!(std::io::stderr().lock(), "streamgauge: {warning}")?;
        }
    }
    let is_endless = plan.shape.events == u64::MAX;
    let summary = run.send_all(Sequence::new(plan.shape), clock, &stop).await?;
    if let (Some((out, path)), Some(expectation)) = (&mut expect, &run.expectation) {
        let written = expectation.write(&mut *out).and_then(|()| out.flush());
        written.with_context(|| format!("writing {}", path.display()))?;
        tracing::debug!("expected cells of {} events are in {}", expectation.events(), path.display());
    }
    for line in summary.failures.lines() {
        writeln!(std::io::stderr().lock(), "streamgauge: {line}")?;
    }
    let mut stdout = std::io::stdout().lock();
    if args.json {
        writeln!(stdout, "{}", summary.json())?;
    } else {
        writeln!(stdout, "{}", summary.line())?;
    }
    if summary.was_stopped && !is_endless {
        anyhow::bail!("stopped before all events were sent");
    }
    Ok(ExitCode::SUCCESS)
}

fn create(path: &Path) -> anyhow::Result<(BufWriter<File>, &Path)> {
    let file = File::create(path).with_context(|| format!("writing {}", path.display()))?;
    Ok((BufWriter::new(file), path))
}

/// Cancels the token at the first Ctrl-C or SIGTERM; the process leaves at once at the second.
fn until_told(stop: &CancellationToken) -> anyhow::Result<()> {
    let doing = "listening for signals";
    let mut terminate = signal(SignalKind::terminate()).context(doing)?;
    let mut interrupt = signal(SignalKind::interrupt()).context(doing)?;
    let stop = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if stop.is_cancelled() {
                std::process::exit(i32::from(exit::FAILED));
            }
            stop.cancel();
        }
    });
    Ok(())
}

/// Returns a way for each batch under way at once, and the names of its own under which the stream reads what comes there.
async fn ways(args: &Args, plan: &Plan, connection: &mut Connection) -> anyhow::Result<(Vec<Way>, OwnNames)> {
    #[cfg(feature = "kafka")]
    if let Some(brokers) = &plan.brokers {
        let topic = std::sync::Arc::new(Topic::open(plan.shape.stream.name(), brokers)?);
        let names = topic.names().clone();
        return Ok(((0..args.connections).map(|_| Way::Topic(topic.clone())).collect(), names));
    }
    let server = plan.target.server()?;
    // Any answer will do: a server that was never there is not worth the patience for one that restarts.
    connection.get("/livez").await?;
    let names = names(plan, connection).await;
    let batches = || format!("/v1/events?stream={}", client::percent_encoded(plan.shape.stream.name()));
    let path = plan.path.map_or_else(batches, str::to_owned);
    let way = |_| match plan.path {
        Some(_) => Way::Single(Connection::new(&server), path.clone()),
        None => Way::Http(Connection::new(&server), path.clone()),
    };
    Ok(((0..args.connections).map(way).collect(), names))
}

/// Returns the names of its own under which the stream reads fields, where the server lets us ask.
async fn names(plan: &Plan, connection: &mut Connection) -> OwnNames {
    match Status::ask(connection).await {
        Ok(status) => status.names(plan.shape.stream.name()),
        Err(error) => {
            tracing::debug!("how the stream reads its events is not known: {error:#}");
            OwnNames::default()
        }
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
