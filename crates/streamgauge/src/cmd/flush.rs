//! `streamgauge flush`: makes a running server write what it has folded, now.

use std::io::Write as _;
use std::process::ExitCode;

use crate::client::{Connection, Target, settle, status};

/// Writes what was folded to the store, now
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Makes a running server write everything it has folded to the store, now, instead of at the next \
        interval, and prints how much that was. Needed by nobody but tests and the impatient.",
    after_long_help = "Example:\n  streamgauge flush --url http://127.0.0.1:8080"
)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> ExitCode {
    settle(flush(&args).await)
}

async fn flush(args: &Args) -> anyhow::Result<ExitCode> {
    let answer = status::flush(&mut Connection::new(&args.target.server()?)).await?;
    writeln!(std::io::stdout().lock(), "{}", String::from_utf8_lossy(&answer).trim_end())?;
    Ok(ExitCode::SUCCESS)
}
