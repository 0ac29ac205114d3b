//! `streamgauge import`: carries the data directory of a server over to Kafka and PostgreSQL. Opens both sides, says how
//! far it is and what it did; the carrying itself is `sg_pipeline::carry`'s.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sg_core::definition::Stream;
use sg_core::output::Outputs;
use sg_core::plan::Plan;
use sg_core::time::Clock;
use sg_pipeline::carry::{self, Carried, Doing, Fault, Source, Target};
use tokio::time::Instant;
use toml::Value;

use crate::clock::WallClock;
use crate::cmd::serve::start_logging;
use crate::cmd::{config as config_cmd, fail, print_line};
use crate::config::settings::{LogChoice, StoreChoice};
use crate::config::{Layers, Settings};
use crate::exit;
use crate::wire::{self, Failure};

/// Carries a data directory over to Kafka and PostgreSQL
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Carries the embedded log and the SQLite store of a data directory over to Kafka and PostgreSQL.\n\n\
        A server that is started on them afterwards goes on exactly where the old one stopped: the same counts, the same \
        ledger, and what was a duplicate still is one. Stop the old server first, and start the new one when this has \
        ended. The topics and the database must be empty or missing; the data directory stays as it is. A run that was \
        interrupted is begun again with the topics and the database deleted. See docs/moving.md.",
    after_long_help = "Example:\n  \
        streamgauge import --data-dir ./streamgauge-data --log kafka://127.0.0.1:9092 \\\n    \
        --store postgres://streamgauge@127.0.0.1/streamgauge"
)]
pub(crate) struct Args {
    /// The data directory of the old server
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// The configuration file; streamgauge.toml where it exists
    #[arg(long)]
    config: Option<PathBuf>,
    /// The new log, kafka://HOST:PORT
    #[arg(long, value_name = "URL")]
    log: Option<String>,
    /// The new store, postgres://USER@HOST/DATABASE
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Prints the summary as JSON
    #[arg(long)]
    json: bool,
}

/// The pause between two lines that say how far it is.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Runs the command.
pub(crate) async fn run(args: Args) -> ExitCode {
    start_logging();
    let (old, new) = match settings(&args) {
        Ok(both) => both,
        Err(code) => return code,
    };
    match import(&old, &new).await {
        Ok(done) => print_line(&if args.json { done.json() } else { done.text() }),
        Err(failure) => fail(failure.code, &failure.error),
    }
}

/// Returns the settings of the old and of the new side.
fn settings(args: &Args) -> Result<(Settings, Settings), ExitCode> {
    let (mut layers, errors) = config_cmd::layers(args.config.as_deref(), None)
        .map_err(|error| fail(exit::CONFIGURATION, &error))?;
    layers.flag("data_dir", Value::String(args.data_dir.display().to_string()), "--data-dir");
    // What a server is to do is no matter here, and must not be found fault with.
    let roles = ["ingest", "process", "query", "archive"].map(|role| Value::String(role.to_owned()));
    layers.flag("roles", Value::Array(roles.to_vec()), "--data-dir");
    let mut old = layers.clone();
    // A file that names the new side already leaves the old one where it is by default.
    for (key, scheme, default) in [("log", "embedded:", "embedded:"), ("store", "sqlite:", "sqlite:")] {
        let is_old = old.table.get(key).and_then(Value::as_str).is_some_and(|url| url.starts_with(scheme));
        if !is_old {
            old.flag(key, Value::String(default.to_owned()), "--data-dir");
        }
    }
    for (key, value, flag) in [("log", &args.log, "--log"), ("store", &args.store, "--store")] {
        if let Some(value) = value {
            layers.flag(key, Value::String(value.clone()), flag);
        }
    }
    layers.complete_store();
    let (old, new) = (resolve(&old, &errors)?, resolve(&layers, &errors)?);
    if matches!((&new.log, &new.store), (LogChoice::Kafka(_), StoreChoice::Postgres(_))) {
        return Ok((old, new));
    }
    let error = anyhow::anyhow!(
        "name the new side with --log kafka://HOST:PORT and --store postgres://USER@HOST/DATABASE"
    );
    Err(fail(exit::CONFIGURATION, &error))
}

fn resolve(layers: &Layers, errors: &[String]) -> Result<Settings, ExitCode> {
    match Settings::resolve(layers) {
        Ok(settings) if errors.is_empty() => Ok(settings),
        Ok(_) => Err(config_cmd::report(errors, false)),
        Err(more) => Err(config_cmd::report(&[errors, &more].concat(), false)),
    }
}

async fn import(old: &Settings, new: &Settings) -> Result<Done, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(WallClock);
    let plan = |stream: &crate::config::settings::StreamSettings| {
        // Late events and dead letters were known before: nobody is told of them again.
        let stream = Stream { outputs: Outputs::default(), ..stream.stream.clone() };
        Arc::new(Plan::new(stream, &new.rollups))
    };
    let plans: Vec<Arc<Plan>> = new.streams.iter().map(plan).collect();
    let resting = wire::open_resting(old, &clock).await?;
    let source = Source { log: resting.log.clone(), store: resting.reader.clone() };
    let telling = Telling::default();
    let tell = |stream: &str, doing: Doing, count: u64| telling.tell(stream, doing, count);
    // All that can be wrong with the old side is found before anything is made on the new one.
    let looked = carry::look(&source, &plans, &tell).await.map_err(failure)?;
    let parts = wire::open(new, clock, (false, &[])).await?;
    let target = Target {
        log: parts.log.log.clone(),
        writer: parts.writer.clone(),
        reader: parts.reader.clone(),
        owner: "import".to_owned(),
    };
    carry::check_fresh(&target, &plans).await.map_err(failure)?;
    let mut done = Done { streams: Vec::new(), left_behind: looked.left_behind };
    for stream in &looked.streams {
        let brought = stream.bring(&target, &tell).await;
        done.streams.push(brought.map_err(failure).map_err(half_done)?);
    }
    let durable = target.writer.sync().await;
    durable.map_err(Failure::of_port).map_err(half_done)?;
    target.log.close().await.map_err(Failure::of_port).map_err(half_done)?;
    Ok(done)
}

fn failure(fault: Fault) -> Failure {
    match fault {
        Fault::Refused(_) => Failure { code: exit::CONFIGURATION, error: fault.into() },
        Fault::Port(error) => Failure::of_port(error),
    }
}

/// What is half done is no beginning for another run.
fn half_done(failure: Failure) -> Failure {
    let remedy = "not all was brought: delete the topics and the database, and begin again (the old data is as it was)";
    Failure { error: failure.error.context(remedy), ..failure }
}

/// Says how far it is, now and then.
#[derive(Default)]
struct Telling(Mutex<Option<Instant>>);

impl Telling {
    fn tell(&self, stream: &str, doing: Doing, count: u64) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| last.elapsed() < TELL_EVERY) {
            return;
        }
        *last = Some(Instant::now());
        // Nothing can be done about a stderr that is gone.
        drop(writeln!(std::io::stderr(), "{stream}: {count} {doing}"));
    }
}

/// What was done.
struct Done {
    streams: Vec<Carried>,
    left_behind: Vec<String>,
}

impl Done {
    fn text(&self) -> String {
        let mut lines = Vec::new();
        for carried in &self.streams {
            let Carried { stream, partitions, appended, folded, waiting, written_again, .. } = carried;
            lines.push(format!(
                "{stream}: {appended} records in {partitions} partitions: {folded} counted before, {waiting} to be counted \
                 by the server"
            ));
            let Carried { cells, raw_rows, late_events, dead_letters, ledger, .. } = carried;
            lines.push(format!(
                "  brought along: {cells} cells, {raw_rows} raw rows, {late_events} late events, {dead_letters} dead \
                 letters ({written_again} records written again for those)"
            ));
            lines.push(format!(
                "  ledger: processed {} = counted {} + duplicate {} + dead-lettered {} + deleted {}, skipped {}",
                ledger.processed,
                ledger.counted,
                ledger.duplicate,
                ledger.dead_lettered,
                ledger.deleted,
                ledger.skipped
            ));
            lines.extend(carried.left_behind.iter().map(|what| format!("  left behind: {what}")));
        }
        lines.extend(self.left_behind.iter().map(|what| format!("left behind: {what}")));
        lines.join("\n")
    }

    fn json(&self) -> String {
        let stream = |carried: &Carried| {
            let ledger = &carried.ledger;
            serde_json::json!({
                "stream": carried.stream,
                "partitions": carried.partitions,
                "records": {
                    "appended": carried.appended,
                    "written_again": carried.written_again,
                    "folded": carried.folded,
                    "waiting": carried.waiting,
                },
                "cells": carried.cells,
                "raw_rows": carried.raw_rows,
                "late_events": carried.late_events,
                "dead_letters": carried.dead_letters,
                "ledger": {
                    "processed": ledger.processed,
                    "counted": ledger.counted,
                    "duplicate": ledger.duplicate,
                    "id_conflict": ledger.id_conflict,
                    "dead_lettered": ledger.dead_lettered,
                    "deleted": ledger.deleted,
                    "skipped": ledger.skipped,
                },
                "left_behind": carried.left_behind,
            })
        };
        let streams: Vec<_> = self.streams.iter().map(stream).collect();
        serde_json::json!({ "streams": streams, "left_behind": self.left_behind }).to_string()
    }
}

#[cfg(test)]
mod tests;
