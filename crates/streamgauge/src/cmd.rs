//! The commands, one file each. Only here is anything printed: data to stdout, talk to stderr.

pub(crate) mod audit;
pub(crate) mod config;
pub(crate) mod dead_letters;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod flush;
pub(crate) mod healthcheck;
#[cfg(all(feature = "kafka", feature = "postgres"))]
pub(crate) mod import;
pub(crate) mod keys;
pub(crate) mod load;
pub(crate) mod rebuild;
pub(crate) mod serve;
pub(crate) mod simulate;
pub(crate) mod smoke;
#[cfg(feature = "kafka")]
pub(crate) mod topics;

use std::io::Write as _;
use std::process::ExitCode;

/// Prints why a command failed, with its causes, and returns its exit code.
pub(crate) fn fail(code: u8, error: &anyhow::Error) -> ExitCode {
    // Nothing can be done about a stderr that is gone.
    drop(writeln!(std::io::stderr(), "streamgauge: {error:#}"));
    ExitCode::from(code)
}

/// Prints a line of data; a reader that has gone away is no failure.
pub(crate) fn print_line(text: &str) -> ExitCode {
    let mut out = std::io::stdout();
    drop(writeln!(out, "{text}").and_then(|()| out.flush()));
    ExitCode::SUCCESS
}
