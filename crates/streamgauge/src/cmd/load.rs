//! `streamgauge load`: how many events a second a server takes, and how long each request waits. As cheap as it can be,
//! since it usually shares the machine with what it measures: a thread and a blocking connection each, bodies made once
//! and patched in place. Ends by asking the server's ledger whether exactly what was accepted was processed.

mod body;
mod report;
mod worker;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};

use crate::client::{Connection, Target, settle, status};
use crate::clock::WallClock;
use crate::cmd::audit::Check;
use body::Body;
use report::Report;
use worker::{Plan, Tally, Worker};

/// Events of one request: the most that a server takes.
const BATCH_MAX: u64 = 20_000;
/// A thread each: beyond this they measure the scheduler.
const CONNECTIONS_MAX: u64 = 1_024;
/// How long the server may take, afterwards, to process what it accepted.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures how much a server takes
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Measures how many events a second a running server takes, and how long requests wait.\n\n\
        Without --rate every connection sends its next request when the last is answered: the most the server takes. \
        With --rate requests are due at fixed times, and each latency counts from the time its request was due, not \
        from when a busy connection got round to sending it, so that stalls show in full. Every event has a random id \
        and is dated now. At the end the server's ledger must have grown by exactly the events it accepted; other \
        producers, the demo among them, disturb that check.",
    after_long_help = "Examples:\n  streamgauge load --duration 30s\n  \
        streamgauge load --rate 2000 --batch 1 --connections 32\n  streamgauge load --stream pageviews --json"
)]
pub(crate) struct Args {
    /// The stream to send to
    #[arg(long, value_name = "S", default_value = "events")]
    stream: String,
    /// Events per second; 0 for as fast as they are answered
    #[arg(long, value_name = "R", default_value_t = 0)]
    rate: u64,
    /// Connections, each with one request under way at most
    #[arg(long, value_name = "C", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    connections: u64,
    /// Events per request; 1 sends single JSON objects
    #[arg(long, value_name = "B", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=BATCH_MAX))]
    batch: u64,
    /// How long to send
    #[arg(long, value_name = "D", default_value = "10s", value_parser = super::simulate::duration)]
    duration: Duration,
    /// Prints the figures as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Runs the command; leaves with 1 when the ledger does not agree or nothing was accepted.
pub(crate) async fn run(args: Args) -> ExitCode {
    settle(load(&args).await)
}

async fn load(args: &Args) -> anyhow::Result<ExitCode> {
    let server = args.target.server()?;
    let mut connection = Connection::new(&server);
    let before = status::settled(&mut connection, PATIENCE).await?;

    let plan = Plan {
        server,
        began: Instant::now(),
        duration: args.duration,
        interval: (args.rate > 0).then(|| Duration::from_secs_f64(args.batch as f64 / args.rate as f64)),
        connections: args.connections,
    };
    let bodies = (0..args.connections).map(|_| Body::new(&args.stream, args.batch as usize)).collect();
    let measured = tokio::task::spawn_blocking(move || measure(&Arc::new(plan), bodies));
    let (tally, elapsed) = measured.await.context("measuring")??;

    let after = status::settled(&mut connection, PATIENCE).await?;
    let mut checks = vec![growth(&before, &after, &args.stream, &tally)];
    checks.extend(super::audit::ledger_checks(&after));
    let report = Report { tally, elapsed, checks };
    let mut stdout = std::io::stdout().lock();
    if args.json {
        writeln!(stdout, "{}", report.json())?;
    } else {
        write!(stdout, "{}", report.text())?;
    }
    Ok(if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn measure(plan: &Arc<Plan>, bodies: Vec<Body>) -> anyhow::Result<(Tally, Duration)> {
    let mut threads = Vec::new();
    for (index, body) in bodies.into_iter().enumerate() {
        let plan = plan.clone();
        let thread = std::thread::Builder::new().name(format!("load-{index}"));
        let work = move || Worker::new(&plan, index as u64, body, &WallClock).run();
        threads.push(thread.spawn(work).context("starting a thread")?);
    }
    let mut sum = Tally::default();
    for thread in threads {
        sum.merge(thread.join().map_err(|_| anyhow!("a thread that sends events failed"))??);
    }
    Ok((sum, plan.began.elapsed()))
}

/// Checks that the server processed what it accepted; requests without an answer may have been taken or not.
fn growth(before: &status::Status, after: &status::Status, stream: &str, tally: &Tally) -> Check {
    let grown = after.processed(stream).saturating_sub(before.processed(stream));
    let least = tally.accepted;
    let most = tally.accepted + tally.unanswered_events;
    let detail = if least == most {
        format!("{least} accepted, {grown} processed")
    } else {
        format!("{least} accepted, {} without an answer, {grown} processed", tally.unanswered_events)
    };
    Check::new(format!("growth of {stream}"), (least..=most).contains(&grown), detail)
}

#[cfg(test)]
mod tests;
