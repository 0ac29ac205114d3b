//! `streamgauge smoke`: sends a few marked events through every door that a running server has, and looks for them
//! everywhere they must show. `marked` says what is sent, `probe` how answers are waited for, and each of the other
//! modules is one system's checks. Takes nothing back: what it sends is counted like anything else.

mod event_platform;
mod hourly_aggregations;
mod marked;
mod native;
mod pageviews;
mod probe;
mod stream_metrics;
mod web_analytics;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use sg_core::time::Clock as _;

use crate::client::{Connection, Target, rollup, settle, status};
use crate::clock::WallClock;
use crate::cmd::audit::Check;
use marked::Marked;
use probe::Probe;

/// Sends a few marked events through a running server and checks that they show everywhere
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Sends a few marked events to a running server, over HTTP and, with --kafka, straight to its topics, and \
        checks that every path of them works: that they are taken, that offsets advance, that they are counted exactly \
        once though some are sent twice, that a sum is exact, and that each API answers in its shape. What the server \
        is not configured for is left out and named.\n\n\
        The events stay, with everything they are counted in: their stream_id, session, user and postcode are \
        smoke-<id>, another one each time, and their type is smoke. Two of these tests at once disturb each other. \
        Prints one line a check; leaves with 0 when all hold, with 1 when one does not, and with 69 when the server \
        cannot be reached.",
    after_long_help = "Examples:\n  streamgauge smoke\n  \
        streamgauge smoke --url http://127.0.0.1:8000 --kafka 127.0.0.1:9092"
)]
pub(crate) struct Args {
    /// Also writes events straight to the topics on these brokers; without a value, on those of KAFKA_BOOTSTRAP_SERVERS
    #[cfg(feature = "kafka")]
    #[arg(long, value_name = "BROKERS", num_args = 0..=1)]
    #[allow(clippy::option_option, reason = "a flag that may have a value")]
    kafka: Option<Option<String>>,
    /// How long to wait for each thing to show
    #[arg(long, value_name = "D", default_value = "60s", value_parser = super::simulate::duration)]
    patience: Duration,
    /// Prints the checks as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> ExitCode {
    settle(smoke(&args).await)
}

async fn smoke(args: &Args) -> anyhow::Result<ExitCode> {
    let server = args.target.server()?;
    let mut connection = Connection::new(&server);
    // A server that cannot be reached fails no check: there is nothing to check.
    connection.get("/livez").await?;
    let before = status::Status::ask(&mut connection).await?;
    let definitions = rollup::definitions(&mut connection).await?;
    let marked = Marked::new(uuid::Uuid::now_v7().as_u64_pair().1, WallClock.now());
    let mut probe = Probe::new(server, connection, args.patience, before, definitions);
    #[cfg(feature = "kafka")]
    if let Some(brokers) = brokers(args)? {
        probe.brokers = Some(brokers);
    }
    native::check_ready(&mut probe).await;
    stream_metrics::check(&mut probe, &marked).await;
    check_events(&mut probe, &marked).await;
    pageviews::check(&mut probe, &marked).await;
    native::check_ledger(&mut probe).await;
    let holds = probe.checks.iter().all(|check| check.holds);
    let mut stdout = std::io::stdout().lock();
    let stays = marked.stays();
    if args.json {
        let checks: Vec<serde_json::Value> = probe.checks.iter().map(Check::json).collect();
        let body = serde_json::json!({
            "ok": holds, "mark": marked.mark, "checks": checks, "left_out": probe.left_out, "note": stays,
        });
        writeln!(stdout, "{body}")?;
    } else {
        for check in &probe.checks {
            writeln!(stdout, "{}", check.line())?;
        }
        for left_out in &probe.left_out {
            writeln!(stdout, "– left out: {left_out}")?;
        }
        writeln!(stdout, "{stays}")?;
    }
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Checks what three systems share: the stream `events`, whose counts are compared once all of them have sent.
async fn check_events(probe: &mut Probe, marked: &Marked) {
    let names = "hourly-aggregations, event-platform, web-analytics";
    if !probe.has_stream(marked::EVENTS) {
        probe.left_out.push(format!("{names}: there is no stream {}", marked::EVENTS));
        return;
    }
    if !probe.understands(names, marked::EVENTS) {
        return;
    }
    let before = hourly_aggregations::counted(probe, marked).await;
    let live_before = web_analytics::numbers(probe).await;
    let mut sent = hourly_aggregations::send(probe, marked).await;
    sent += event_platform::send(probe, marked).await;
    let web_id = web_analytics::send(probe, marked).await;
    sent += u64::from(web_id.is_some());
    hourly_aggregations::check(probe, marked, before, sent).await;
    event_platform::check(probe, marked).await;
    web_analytics::check(probe, web_id, live_before, sent).await;
}

/// Returns the brokers that are named, by the flag or the variable.
#[cfg(feature = "kafka")]
fn brokers(args: &Args) -> anyhow::Result<Option<String>> {
    let Some(named) = &args.kafka else { return Ok(None) };
    let variable = || std::env::var(super::simulate::BROKERS).ok().filter(|brokers| !brokers.is_empty());
    let brokers = named.clone().or_else(variable);
    let missing = || {
        crate::client::Misused(format!(
            "--kafka names no brokers, and neither does {}: write --kafka HOST:PORT",
            super::simulate::BROKERS
        ))
    };
    Ok(Some(brokers.ok_or_else(missing)?))
}
