//! `streamgauge load`: how many events a second a server takes, and how long each request waits. As cheap as it can be,
//! since it usually shares the machine with what it measures: a thread and a blocking connection each, bodies made once
//! and patched in place. Ends by asking the server's ledger whether exactly what was accepted was processed.

mod body;
mod form;
mod live;
mod report;
mod stream;
mod worker;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use sg_core::nearest;

use crate::client::live::Numbers;
use crate::client::{Connection, Server, Target, settle, status};
use crate::clock::WallClock;
use crate::cmd::audit::Check;
use body::Body;
use form::{Form, Row, Turns, Wording};
use live::Live;
use report::Report;
use worker::{Meeting, Plan, Tally, Worker};

/// Events of one request: the most that a server takes.
const BATCH_MAX: u64 = 20_000;
/// A thread each: beyond this they measure the scheduler.
const CONNECTIONS_MAX: u64 = 1_024;
/// Events of one request, and connections, when nothing else is said.
const BATCH: u64 = 1_000;
const CONNECTIONS: u64 = 8;
/// How long the server may take, afterwards, to process what it accepted.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the live stream may lag behind the ledger; it tells numbers up to half a second old.
const LIVE_PATIENCE: Duration = Duration::from_secs(5);

/// Measures how much a server takes
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Measures how many events a second a running server takes, and how long requests wait.\n\n\
        Without --rate every connection sends its next request when the last is answered: the most the server takes. \
        With --rate requests are due at fixed times, and each latency counts from the time its request was due, not \
        from when a busy connection got round to sending it, so that stalls show in full. Every event has a random id \
        and is dated now. At the end the server's ledger must have grown by exactly the events it accepted; other \
        producers, the demo among them, disturb that check.\n\n\
        With --form it takes the place of another system's load test.",
    after_long_help = "Examples:\n  streamgauge load --duration 30s\n  \
        streamgauge load --rate 2000 --batch 1 --connections 32\n  streamgauge load --stream pageviews --json\n  \
        streamgauge load --form web-analytics\n  streamgauge load --form web-analytics --rate 0"
)]
pub(crate) struct Args {
    /// The load test of another system to take the place of
    #[arg(long, value_enum, value_name = "FORM", conflicts_with_all = ["stream", "batch"])]
    form: Option<Form>,
    /// The stream to send to
    #[arg(long, value_name = "S", default_value = "events")]
    stream: String,
    /// Events per second; 0 for as fast as they are answered [default: 0, or the form's]
    #[arg(long, value_name = "R")]
    rate: Option<u64>,
    /// Connections, each with one request under way at most [default: 8, or the form's]
    #[arg(long, value_name = "C", value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    connections: Option<u64>,
    /// Events per request; 1 sends single JSON objects [default: 1000; 1 with --form]
    #[arg(long, value_name = "B", value_parser = clap::value_parser!(u64).range(1..=BATCH_MAX))]
    batch: Option<u64>,
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
    let row = args.form.map_or(OWN, Form::row);
    let batch = if args.form.is_some() { 1 } else { args.batch.unwrap_or(BATCH) };
    let (rate, connections) = (args.rate.unwrap_or(row.rate), args.connections.unwrap_or(row.connections));
    let mut connection = Connection::new(&server);
    let before = status::settled(&mut connection, PATIENCE).await?;
    let known = || before.streams.iter().map(|stream| stream.name.as_str());
    if args.form.is_none() && !known().any(|name| name == args.stream) {
        let hint = nearest::hint(&args.stream, known());
        return Err(anyhow!("the server has no stream {}{hint} (--stream names one)", args.stream));
    }
    let names = before.names(&args.stream);
    let told_before = told(row, &server).await?;

    let plan = Plan {
        server: server.clone(),
        began: Instant::now(),
        duration: args.duration,
        interval: (rate > 0).then(|| Duration::from_secs_f64(batch as f64 / rate as f64)),
        connections,
        meeting: (row.turns == Turns::Together).then(|| Meeting::new(connections)),
    };
    let body = |_| Body::new((&args.stream, &names), batch as usize, row.wording);
    let bodies = (0..connections).map(body).collect();
    let measured = tokio::task::spawn_blocking(move || measure(&Arc::new(plan), bodies));
    let (tally, elapsed) = measured.await.context("measuring")??;

    let after = status::settled(&mut connection, PATIENCE).await?;
    let live = match told_before {
        Some(before) => Some(settled_live(&server, before, &tally).await?),
        None => None,
    };
    let checks = match &live {
        // Its own system counts alike, whoever else sends.
        Some(live) => [vec![live.check(elapsed)], super::audit::sum_checks(&after)].concat(),
        None => {
            let growth = growth(&before, &after, &args.stream, &tally);
            [vec![growth], super::audit::ledger_checks(&after)].concat()
        }
    };
    let report = Report { tally, elapsed, live, checks };
    let mut stdout = std::io::stdout().lock();
    if args.json {
        writeln!(stdout, "{}", report.json())?;
    } else {
        write!(stdout, "{}", report.text())?;
    }
    Ok(if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What `load` is without a form.
const OWN: Row = Row { rate: 0, connections: CONNECTIONS, turns: Turns::Alone, wording: Wording::Own };

/// Returns what the live stream tells, for a form that compares it.
async fn told(row: Row, server: &Server) -> anyhow::Result<Option<Numbers>> {
    match row.wording {
        Wording::WebAnalytics => Ok(Some(Numbers::ask(server).await?)),
        Wording::Own | Wording::EventPlatform => Ok(None),
    }
}

/// Compares what the live stream tells with what it told at the start. Its numbers may be those of a moment ago.
async fn settled_live(server: &Server, before: Numbers, tally: &Tally) -> anyhow::Result<Live> {
    let began = Instant::now();
    loop {
        let live = Live::new(before, Numbers::ask(server).await?, tally);
        if live.lost() == 0 || began.elapsed() >= LIVE_PATIENCE {
            return Ok(live);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
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
        sum.merge(thread.join().map_err(|_| anyhow!("a thread that sends events failed"))?);
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
