//! `streamgauge topics`: makes the topics of a log on Kafka, and says what is wrong with those that are there.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use sg_core::plan::Plan;
use toml::Value;

use crate::cmd::{config as config_cmd, fail};
use crate::config::Settings;
use crate::config::settings::LogChoice;
use crate::exit;
use crate::wire::kafka;

/// Makes and checks the topics of a log on Kafka
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Makes topics that are missing, sets LogAppendTime where it lacks, and checks the rest
    #[command(
        long_about = "Makes the topic of every configured stream that has none, with as many partitions and copies as \
            [kafka] says, and with times of the broker (message.timestamp.type=LogAppendTime), which Streamgauge needs. \
            On a topic that is there it sets that and nothing else; it warns where records would go before a duplicate \
            of them could still come. Topics of outputs are made likewise, and left alone where they are. Prints one line \
            a topic.",
        after_long_help = "Example:\n  streamgauge topics ensure --log kafka://127.0.0.1:9092"
    )]
    Ensure {
        /// The log, kafka://HOST:PORT
        #[arg(long, value_name = "URL")]
        log: Option<String>,
        /// The configuration file; streamgauge.toml where it exists
        #[arg(long)]
        config: Option<PathBuf>,
    },
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> ExitCode {
    let Action::Ensure { log, config } = args.action;
    let settings = match settings(log, config) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let LogChoice::Kafka(brokers) = &settings.log else {
        let error = anyhow::anyhow!("an embedded log has no topics: name one with --log kafka://HOST:PORT");
        return fail(exit::CONFIGURATION, &error);
    };
    let plan_of = |stream: &crate::config::settings::StreamSettings| {
        Arc::new(Plan::new(stream.stream.clone(), &settings.rollups))
    };
    let plans: Vec<Arc<Plan>> = settings.streams.iter().map(plan_of).collect();
    match kafka::ensure(&settings, brokers, &plans).await {
        Ok(reports) => {
            let mut out = std::io::stdout().lock();
            for report in reports {
                // A reader that has gone away is no failure.
                drop(writeln!(out, "{}", kafka::line(&report)));
            }
            ExitCode::SUCCESS
        }
        Err(error) => fail(exit::UNAVAILABLE, &error.into()),
    }
}

fn settings(log: Option<String>, config: Option<PathBuf>) -> Result<Settings, ExitCode> {
    let (mut layers, mut errors) =
        config_cmd::layers(config.as_deref(), None).map_err(|error| fail(exit::CONFIGURATION, &error))?;
    if let Some(log) = log {
        layers.flag("log", Value::String(log), "--log");
    }
    match Settings::resolve(&layers) {
        Ok(settings) if errors.is_empty() => return Ok(settings),
        Ok(_) => {}
        Err(more) => errors.extend(more),
    }
    Err(config_cmd::report(&errors, false))
}
