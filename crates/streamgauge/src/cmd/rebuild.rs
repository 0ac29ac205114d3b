//! `streamgauge rebuild`: has a running server make cells again from log and archive and put right what differs.

use std::io::Write as _;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::client::{Connection, JSON, Target, rollup, settle};
use crate::exit;

/// Makes cells again from log and archive, and puts right those that differ
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Has a running server fold the records of log and archive again, compare the cells that come of them \
        with those of the store, and replace the ones that differ, while it goes on counting. No event gets another fate. \
        A rollup that was added later is filled up the same way. Windows whose records are no longer all in log and \
        archive are named and left as they are.",
    after_long_help = "Examples:\n  streamgauge rebuild --dry-run\n  streamgauge rebuild --rollup hourly_aggregations --from -1d"
)]
pub(crate) struct Args {
    /// Only this rollup
    #[arg(long)]
    rollup: Option<String>,
    /// Windows from here on: a time, or -1h
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: Option<String>,
    /// Windows before there
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<String>,
    /// Compares only; ends with 1 where a cell differs
    #[arg(long)]
    dry_run: bool,
    /// Prints what the server says, one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> ExitCode {
    settle(rebuild(&args).await)
}

async fn rebuild(args: &Args) -> anyhow::Result<ExitCode> {
    let mut connection = Connection::new(&args.target.server()?);
    let names = match &args.rollup {
        Some(name) => vec![name.clone()],
        None => rollup::definitions(&mut connection).await?.into_iter().map(|rollup| rollup.name).collect(),
    };
    let mut is_right = true;
    for name in names {
        let mut asked = json!({"rollup": name, "dry_run": args.dry_run});
        for (member, value) in [("from", &args.from), ("to", &args.to)] {
            if let Some(value) = value {
                asked[member] = value.as_str().into();
            }
        }
        let mut last = Value::Null;
        let mut hear = |line: &str| -> anyhow::Result<()> {
            let said: Value = serde_json::from_str(line)?;
            if args.json {
                writeln!(std::io::stdout().lock(), "{line}")?;
            } else {
                print(&name, &said)?;
            }
            last = said;
            Ok(())
        };
        connection.post_lines("/v1/rebuild", JSON, asked.to_string().into(), &mut hear).await?;
        if last["done"].is_null() {
            let why = last["failed"]["detail"].as_str().unwrap_or("the server ended before it was done");
            if why.starts_with("rebuilding") {
                anyhow::bail!("{why}");
            }
            anyhow::bail!("rebuilding {name}: {why}");
        }
        let differing = last["done"]["differing"].as_u64().unwrap_or_default();
        is_right &= last["done"]["left"] == 0 && !(args.dry_run && differing > 0);
    }
    Ok(if is_right { ExitCode::SUCCESS } else { exit::FAILED.into() })
}

/// Prints a line for people: progress to stderr, data to stdout.
fn print(name: &str, said: &Value) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if let Some(read) = said.get("read") {
        let (partition, offset, end) = (&read["partition"], &read["offset"], &read["end"]);
        writeln!(std::io::stderr(), "{name}: partition {partition} read to {offset} of {end}")?;
    } else if let Some(begins) = said.get("begins") {
        let (partition, offset) = (&begins["partition"], &begins["offset"]);
        let why = begins["why"].as_str().unwrap_or_default();
        writeln!(std::io::stderr(), "{name}: partition {partition} is read from offset {offset} on: {why}")?;
    } else if let Some(differs) = said.get("differs") {
        let (start, dimensions) =
            (differs["window_start"].as_str().unwrap_or_default(), &differs["dimensions"]);
        let (stored, rebuilt) = (&differs["stored"], &differs["rebuilt"]);
        writeln!(out, "{name} {start} {dimensions}: stored {stored}, rebuilt {rebuilt}")?;
    } else if let Some(left) = said.get("left") {
        let start = left["window_start"].as_str().unwrap_or_default();
        writeln!(out, "{name} {start}: its records are not all there, left as it is")?;
    } else if let Some(done) = said.get("done") {
        let verb = if done["dry_run"] == true { "differ" } else { "differed and were replaced" };
        let filled = if done["is_backfilled"] == true { "; the rollup is complete" } else { "" };
        let (differing, left, records) = (&done["differing"], &done["left"], &done["records"]);
        writeln!(
            out,
            "{name}: {differing} cells {verb}, {left} left as they are; {records} records read{filled}"
        )?;
    }
    Ok(())
}
