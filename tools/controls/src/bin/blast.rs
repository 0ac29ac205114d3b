//! `blast`: sends made-up events as fast as they are answered and prints one line of JSON.
//! One thread, raw TCP: the generator should take as little of the machine as it can.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::Parser;
use controls::load::{Load, Report, Seen, connection};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Posts made-up events in a closed loop and prints what it measured.
#[derive(Parser)]
struct Arguments {
    /// The port on 127.0.0.1.
    #[arg(long)]
    port: u16,
    /// Connections, each with one request outstanding.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Events of one request; more than one are NDJSON.
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// How long.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// The path that takes events.
    #[arg(long, default_value = "/events")]
    path: String,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(run(&arguments))?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

async fn run(arguments: &Arguments) -> anyhow::Result<Report> {
    let since_1970 = wall_clock()?;
    let start = Instant::now();
    let load = Load {
        port: arguments.port,
        path: arguments.path.clone(),
        batch: arguments.batch,
        end: start + Duration::try_from_secs_f64(arguments.seconds).context("--seconds is a duration")?,
        start_ms: since_1970.as_millis() as i64,
        start,
    };
    let connections: Vec<_> = (0..arguments.connections as u64)
        // Runs at different times and the connections of one run must not send the same ids.
        .map(|number| tokio::spawn(connection(load.clone(), since_1970.as_nanos() as u64 ^ number << 56)))
        .collect();
    let mut all = Seen::default();
    for connection in connections {
        let seen = connection.await??;
        all.latencies_us.extend(seen.latencies_us);
        all.bad += seen.bad;
    }
    Ok(Report::new(arguments.connections, arguments.batch, start.elapsed(), all))
}

#[allow(
    clippy::disallowed_methods,
    reason = "the generator dates its events by the wall clock; nothing is decided by it"
)]
fn wall_clock() -> anyhow::Result<Duration> {
    SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")
}
