//! `streamgauge events`: a back-up of counted events, and taking them out again. All of it is asked of a running server.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sg_archive::ExportedEvents;
use sg_core::query::StoredEvent;
use sg_core::time::Timestamp;

use crate::client::{Connection, JSON, Target, percent_encoded, settle};
use crate::exit;

/// Backs up counted events, and deletes them
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Backs up counted events that meet conditions, and deletes them: from the raw table, from every rollup, \
        and from the ledger's counted ones. A condition compares a member with a value: event_id, event_type, user_id, \
        session_id, timestamp, received_at, stream, partition, offset, or properties.NAME, by =, !=, <, <=, >, >=, ^= \
        (begins with) or in (…); several are joined by and.",
    after_long_help = "Examples:\n  streamgauge events export --where \"user_id ^= 'test-'\" --output test.ndjson\n  \
        streamgauge events delete --where \"user_id ^= 'test-' and timestamp >= '-1d'\" --dry-run"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Prints counted events of a stream
    Export(Export),
    /// Deletes counted events
    Delete(Delete),
}

#[derive(Debug, clap::Args)]
struct Export {
    /// Only events that meet these conditions
    #[arg(long = "where", value_name = "CONDITIONS", default_value = "")]
    conditions: String,
    /// The stream; the first that keeps raw events unless given
    #[arg(long)]
    stream: Option<String>,
    /// How events are written
    #[arg(long, value_enum, default_value_t = Format::Ndjson)]
    format: Format,
    /// Writes to a file, which is there only when it is whole
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Ndjson,
    Csv,
    Parquet,
}

#[derive(Debug, clap::Args)]
struct Delete {
    /// The events that meet these conditions
    #[arg(long = "where", value_name = "CONDITIONS")]
    conditions: String,
    /// Only of this stream
    #[arg(long)]
    stream: Option<String>,
    /// Only says what would be deleted, and which cells would change
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
    settle(match args.action {
        Action::Export(wish) => export(&wish).await,
        Action::Delete(wish) => delete(&wish).await,
    })
}

async fn export(wish: &Export) -> anyhow::Result<ExitCode> {
    let Some(output) = &wish.output else {
        fetch(wish, BufWriter::new(io::stdout())).await?;
        return Ok(ExitCode::SUCCESS);
    };
    let mut name = output.file_name().context("--output names no file")?.to_owned();
    name.push(".part");
    let part = output.with_file_name(name);
    let doing = || format!("writing {}", part.display());
    let file = File::create(&part).with_context(doing)?;
    if let Err(error) = fetch(wish, BufWriter::new(file.try_clone().with_context(doing)?)).await {
        // What is not whole is no back-up.
        drop(std::fs::remove_file(&part));
        return Err(error);
    }
    file.sync_all().with_context(doing)?;
    keep(&part, output)?;
    Ok(ExitCode::SUCCESS)
}

/// Gives a whole file its name, durably.
fn keep(part: &Path, output: &Path) -> anyhow::Result<()> {
    let doing = || format!("writing {}", output.display());
    std::fs::rename(part, output).with_context(doing)?;
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = File::open(folder.unwrap_or(Path::new("."))).with_context(doing)?;
    folder.sync_all().with_context(doing)
}

/// Writes the events that the server hands out.
async fn fetch(wish: &Export, mut out: impl Write + Send) -> anyhow::Result<()> {
    let mut connection = Connection::new(&wish.target.server()?);
    let format = if wish.format == Format::Csv { "csv" } else { "ndjson" };
    let mut path = format!("/v1/events/export?format={format}&where={}", percent_encoded(&wish.conditions));
    if let Some(stream) = &wish.stream {
        path += &format!("&stream={}", percent_encoded(stream));
    }
    if wish.format != Format::Parquet {
        let mut hear = |bytes: &[u8]| out.write_all(bytes).context("writing events");
        connection.get_bytes(&path, &mut hear).await?;
        return out.flush().context("writing events");
    }
    let mut file = ExportedEvents::new(&mut out)?;
    let mut hear = |line: &str| {
        let line: Line<'_> = serde_json::from_str(line).context("reading an event that the server sent")?;
        file.push(line.event()?).context("writing events")
    };
    connection.get_lines(&path, &mut hear).await?;
    file.finish().context("writing events")?;
    out.flush().context("writing events")
}

/// A line of an export.
#[derive(Deserialize)]
struct Line<'a> {
    stream: String,
    partition: u32,
    offset: u64,
    event_id: String,
    event_type: String,
    timestamp: String,
    user_id: Option<String>,
    session_id: Option<String>,
    received_at: String,
    #[serde(borrow)]
    properties: &'a RawValue,
    raw: Option<String>,
}

impl Line<'_> {
    fn event(self) -> anyhow::Result<(String, StoredEvent, Option<String>)> {
        let time = |text: &str| Timestamp::from_text(text).map_err(|_| anyhow::anyhow!("{text} is no time"));
        let event = StoredEvent {
            partition: self.partition,
            offset: self.offset,
            event_time: time(&self.timestamp)?,
            received_at: time(&self.received_at)?,
            event_id: self.event_id,
            user_id: self.user_id,
            session_id: self.session_id,
            event_type: self.event_type,
            properties: self.properties.get().to_owned(),
        };
        Ok((self.stream, event, self.raw))
    }
}

async fn delete(wish: &Delete) -> anyhow::Result<ExitCode> {
    let mut connection = Connection::new(&wish.target.server()?);
    let mut asked = json!({"where": wish.conditions, "dry_run": wish.dry_run});
    if let Some(stream) = &wish.stream {
        asked["stream"] = stream.as_str().into();
    }
    let mut last = Value::Null;
    let mut hear = |line: &str| -> anyhow::Result<()> {
        let said: Value = serde_json::from_str(line)?;
        if wish.json {
            writeln!(io::stdout().lock(), "{line}")?;
        } else {
            print(&said)?;
        }
        last = said;
        Ok(())
    };
    connection.post_lines("/v1/events/delete", JSON, asked.to_string().into(), &mut hear).await?;
    if last["done"].is_null() {
        let why = last["failed"]["detail"].as_str().unwrap_or("the server ended before it was done");
        anyhow::bail!("deleting events: {why}");
    }
    Ok(if last["done"]["refused"] == 0 { ExitCode::SUCCESS } else { exit::FAILED.into() })
}

/// Prints a line for people: progress to stderr, data to stdout.
fn print(said: &Value) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let window = |of: &Value| format!("{} {}", text(&of["rollup"]), text(&of["window_start"]));
    if let Some(day) = said.get("day") {
        writeln!(out, "{} {}: {} events", text(&day["stream"]), text(&day["day"]), day["events"])?;
    } else if let Some(cell) = said.get("cell") {
        let (events, deleted) = (&cell["events"], &cell["deleted"]);
        writeln!(out, "{} {}: {deleted} of {events} events go", window(cell), cell["dimensions"])?;
    } else if let Some(refused) = said.get("refused") {
        writeln!(out, "{}: refused: {}", window(refused), text(&refused["why"]))?;
    } else if let Some(progress) = said.get("progress") {
        writeln!(
            io::stderr(),
            "{}: {} events deleted so far",
            text(&progress["stream"]),
            progress["deleted"]
        )?;
    } else if let Some(done) = said.get("done") {
        let (matched, deleted, cells) = (&done["matched"], &done["deleted"], &done["cells"]);
        let verb = if done["dry_run"] == true { "nothing was deleted, as asked" } else { "deleted" };
        let count = if done["dry_run"] == true { String::new() } else { format!("{deleted} ") };
        writeln!(out, "{matched} events meet the conditions, in {cells} cells; {count}{verb}")?;
        if done["refused"] != 0 {
            writeln!(out, "refused because of {} windows", done["refused"])?;
        }
        writeln!(out, "{}", text(&done["archive"]))?;
    }
    Ok(())
}
