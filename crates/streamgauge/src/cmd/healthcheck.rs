//! `streamgauge healthcheck`: asks a running server whether it is ready, for container engines without a shell or curl.

use std::process::ExitCode;
use std::time::Duration;

use hyper::StatusCode;

use crate::client::{Connection, Target};
use crate::{cmd, exit};

/// Health checks are repeated every few seconds and given a few seconds: longer than this is a no.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Tells whether the server is ready
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Asks a running server whether it is ready (GET /readyz). Leaves with 0 when it is, and with 1 when it \
        is not or cannot be reached.",
    after_long_help = "Example:\n  HEALTHCHECK CMD [\"/streamgauge\", \"healthcheck\"]"
)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> ExitCode {
    match complaint(&args).await {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(complaint)) => cmd::fail(exit::FAILED, &anyhow::anyhow!("not ready: {complaint}")),
        Err(error) => cmd::fail(exit::FAILED, &error),
    }
}

/// Returns what is wrong, if anything.
async fn complaint(args: &Args) -> anyhow::Result<Option<String>> {
    let mut connection = Connection::new(&args.target.server()?);
    Ok(match tokio::time::timeout(TIMEOUT, connection.get("/readyz")).await {
        Ok(Ok(answer)) if answer.status == StatusCode::OK => None,
        Ok(Ok(answer)) => Some(answer.complaint()),
        Ok(Err(unanswered)) => Some(unanswered.to_string()),
        Err(_) => Some(format!("nothing came for {} s", TIMEOUT.as_secs())),
    })
}

#[cfg(test)]
mod tests;
