//! The binary: one enum of commands, nothing else.

mod client;
mod clock;
mod cloudwatch;
mod cmd;
mod config;
mod generate;
mod traces;
mod wire;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Events in over HTTP, durable, counted exactly once, asked back.
///
/// Start with `streamgauge serve --demo` and open http://127.0.0.1:8080.
#[derive(Debug, Parser)]
#[command(name = "streamgauge", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(cmd::serve::Args),
    Simulate(cmd::simulate::Args),
    Load(cmd::load::Args),
    Audit(cmd::audit::Args),
    Flush(cmd::flush::Args),
    Smoke(cmd::smoke::Args),
    Doctor(cmd::doctor::Args),
    DeadLetters(cmd::dead_letters::Args),
    Events(cmd::events::Args),
    Rebuild(cmd::rebuild::Args),
    Keys(cmd::keys::Args),
    Config(cmd::config::Args),
    Healthcheck(cmd::healthcheck::Args),
    #[cfg(all(feature = "kafka", feature = "postgres"))]
    Import(cmd::import::Args),
    #[cfg(feature = "kafka")]
    Topics(cmd::topics::Args),
    /// Prints the version.
    Version,
}

/// Exit codes beyond 0 and 2, as `sysexits.h` numbers them.
mod exit {
    /// A check failed.
    pub(crate) const FAILED: u8 = 1;
    /// Arguments or variables that make no sense.
    pub(crate) const USAGE: u8 = 2;
    /// A server or service cannot be reached.
    pub(crate) const UNAVAILABLE: u8 = 69;
    /// The disk failed, or the software did.
    pub(crate) const INTERNAL: u8 = 70;
    /// Another process works on the same data.
    pub(crate) const ALREADY_RUNNING: u8 = 75;
    /// The configuration or a schema is wrong.
    pub(crate) const CONFIGURATION: u8 = 78;
}

/// Ends the process at a panic on any thread: what is half done is in the log, and the next start finishes it. But for
/// one that is caught: Kafka's client panics at a header whose name is not UTF-8, which is no fault of ours.
fn leave_at_a_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let is_caught = panic.location().is_some_and(|place| place.file().contains("rdkafka"));
        if !is_caught {
            print(panic);
            std::process::abort();
        }
    }));
}

fn main() -> ExitCode {
    leave_at_a_panic();
    let cli = Cli::parse();
    // Huge pages back every spare half of a table with memory: a fifth more of it, for no speed that could be measured.
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!("huge pages stay: {error}");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return cmd::fail(exit::INTERNAL, &anyhow::Error::new(error).context("starting the runtime"));
        }
    };
    let code = runtime.block_on(run(cli.command));
    // Whatever still runs in the background holds nothing that would be lost. It ends with the process: a runtime that is
    // taken down under its threads would make them panic.
    std::mem::forget(runtime);
    code
}

async fn run(command: Command) -> ExitCode {
    match command {
        Command::Serve(args) => cmd::serve::run(args).await,
        Command::Simulate(args) => cmd::simulate::run(args).await,
        Command::Load(args) => cmd::load::run(args).await,
        Command::Audit(args) => cmd::audit::run(args).await,
        Command::Flush(args) => cmd::flush::run(args).await,
        Command::Smoke(args) => cmd::smoke::run(args).await,
        Command::Doctor(args) => cmd::doctor::run(args).await,
        Command::DeadLetters(args) => cmd::dead_letters::run(args).await,
        Command::Events(args) => cmd::events::run(args).await,
        Command::Rebuild(args) => cmd::rebuild::run(args).await,
        Command::Keys(args) => cmd::keys::run(args).await,
        Command::Config(args) => cmd::config::run(args),
        Command::Healthcheck(args) => cmd::healthcheck::run(args).await,
        #[cfg(all(feature = "kafka", feature = "postgres"))]
        Command::Import(args) => cmd::import::run(args).await,
        #[cfg(feature = "kafka")]
        Command::Topics(args) => cmd::topics::run(args).await,
        Command::Version => cmd::print_line(&format!("streamgauge {}", env!("CARGO_PKG_VERSION"))),
    }
}
