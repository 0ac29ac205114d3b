//! `streamgauge dead-letters`: what could not be counted, and taking it in again. All of it is asked of a running server.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use crate::client::{Connection, JSON, Target, percent_encoded, settle};
use crate::exit;

/// Letters of one page.
const PAGE: usize = 500;
/// Characters of a sample in a table.
const SAMPLE_CHARS: usize = 100;

/// Shows what could not be counted, and takes it in again
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Shows the records that could not be counted, with their reasons, and takes them in again, mended or \
        not. A letter leaves the list when what stands for it is counted, and it is counted once, however often and by \
        whomever it is replayed.",
    after_long_help = "Examples:\n  streamgauge dead-letters list\n  streamgauge dead-letters replay --reason bad_number \
        --set amount_usd=0 --dry-run"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Counts letters by reason, with a sample of each
    List {
        #[command(flatten)]
        filter: Filter,
        /// Prints one JSON object
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Prints one letter as JSON
    Show {
        /// Its stream
        stream: String,
        /// Its partition
        partition: u32,
        /// Its offset
        offset: u64,
        #[command(flatten)]
        target: Target,
    },
    /// Takes letters in again
    Replay(Replay),
    /// Prints letters as NDJSON, newest first
    Export {
        #[command(flatten)]
        filter: Filter,
        /// Only letters that have been replayed, or only those that have not
        #[arg(long, value_name = "BOOL")]
        replayed: Option<bool>,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, clap::Args)]
struct Filter {
    /// Only of this stream
    #[arg(long)]
    stream: Option<String>,
    /// Only with this reason
    #[arg(long)]
    reason: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Replay {
    #[command(flatten)]
    filter: Filter,
    /// Only this letter of the stream; may be given several times
    #[arg(long = "letter", value_name = "PARTITION:OFFSET", value_parser = place, requires = "stream")]
    letters: Vec<(u32, u64)>,
    /// Sets a member of every event before: JSON, or else a text; null takes it out
    #[arg(long = "set", value_name = "FIELD=VALUE", value_parser = member)]
    edit: Vec<(String, Value)>,
    /// Only says what would happen
    #[arg(long)]
    dry_run: bool,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

fn place(text: &str) -> Result<(u32, u64), String> {
    let parts = text.split_once(':').and_then(|(partition, offset)| {
        let offset = offset.parse().ok()?;
        Some((partition.parse().ok()?, offset))
    });
    parts.ok_or_else(|| "a letter is PARTITION:OFFSET, such as 0:1234".to_owned())
}

fn member(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("what is set is FIELD=VALUE")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
    Ok((name.to_owned(), value))
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> ExitCode {
    settle(match args.action {
        Action::List { filter, json, target } => list(&filter, json, &target).await,
        Action::Show { stream, partition, offset, target } => {
            let path = format!("/v1/dead-letters/{}/{partition}/{offset}", percent_encoded(&stream));
            show(&path, &target).await
        }
        Action::Replay(wish) => replay(&wish).await,
        Action::Export { filter, replayed, target } => export(&filter, replayed, &target).await,
    })
}

impl Filter {
    fn query(&self) -> String {
        let mut query = String::new();
        for (name, value) in [("stream", &self.stream), ("reason", &self.reason)] {
            if let Some(value) = value {
                query += &format!("&{name}={}", percent_encoded(value));
            }
        }
        query
    }
}

async fn ask(connection: &mut Connection, path: &str) -> anyhow::Result<Value> {
    let body = connection.get(path).await?.success("reading dead letters")?;
    serde_json::from_slice(&body).context("reading dead letters: the answer is not JSON")
}

async fn list(filter: &Filter, is_json: bool, target: &Target) -> anyhow::Result<ExitCode> {
    let mut connection = Connection::new(&target.server()?);
    let first = ask(&mut connection, &format!("/v1/dead-letters?limit=1{}", filter.query())).await?;
    let mut reasons = Vec::new();
    for mut counted in first["reasons"].as_array().cloned().unwrap_or_default() {
        let text = |name: &str| counted[name].as_str().unwrap_or_default().to_owned();
        let (stream, reason) = (text("stream"), text("reason"));
        if filter.reason.as_ref().is_some_and(|wanted| *wanted != reason) {
            continue;
        }
        let of = Filter { stream: Some(stream), reason: Some(reason) };
        let sample = ask(&mut connection, &format!("/v1/dead-letters?limit=1{}", of.query())).await?;
        counted["sample"] = sample["data"][0].clone();
        reasons.push(counted);
    }
    let mut out = std::io::stdout().lock();
    if is_json {
        writeln!(out, "{}", json!({ "reasons": reasons }))?;
        return Ok(ExitCode::SUCCESS);
    }
    if reasons.is_empty() {
        writeln!(out, "no dead letters")?;
    }
    for counted in &reasons {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let raw: String = text(&counted["sample"]["raw"]).chars().take(SAMPLE_CHARS).collect();
        writeln!(
            out,
            "{} {}: {} waiting, {} replayed, {} replays failed; such as {}:{} {}: {raw}",
            text(&counted["stream"]),
            text(&counted["reason"]),
            counted["waiting"],
            counted["replayed"],
            counted["failed_replays"],
            counted["sample"]["partition"],
            counted["sample"]["offset"],
            text(&counted["sample"]["detail"]),
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(path: &str, target: &Target) -> anyhow::Result<ExitCode> {
    let letter = ask(&mut Connection::new(&target.server()?), path).await?;
    writeln!(std::io::stdout().lock(), "{letter:#}")?;
    Ok(ExitCode::SUCCESS)
}

async fn export(filter: &Filter, replayed: Option<bool>, target: &Target) -> anyhow::Result<ExitCode> {
    let mut connection = Connection::new(&target.server()?);
    let replayed = replayed.map_or_else(String::new, |replayed| format!("&replayed={replayed}"));
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/dead-letters?limit={PAGE}{}{replayed}{cursor}", filter.query());
        let page = ask(&mut connection, &path).await?;
        let mut out = std::io::stdout().lock();
        for letter in page["data"].as_array().into_iter().flatten() {
            writeln!(out, "{letter}")?;
        }
        match page["next_cursor"].as_str() {
            None => return Ok(ExitCode::SUCCESS),
            Some(next) => cursor = format!("&cursor={next}"),
        }
    }
}

async fn replay(wish: &Replay) -> anyhow::Result<ExitCode> {
    let mut connection = Connection::new(&wish.target.server()?);
    let edit: Map<String, Value> = wish.edit.iter().cloned().collect();
    let mut asked = json!({"edit": edit, "dry_run": wish.dry_run});
    for (name, value) in [("stream", &wish.filter.stream), ("reason", &wish.filter.reason)] {
        if let Some(value) = value {
            asked[name] = value.as_str().into();
        }
    }
    if !wish.letters.is_empty() {
        asked["letters"] = json!(wish.letters);
    }
    let (mut done, mut replayed, mut missing) = (0, 0, 0);
    let mut refused: Vec<Value> = Vec::new();
    let verb = if wish.dry_run { "would_accept" } else { "accepted" };
    loop {
        let answer = connection.post("/v1/dead-letters/replay", JSON, asked.to_string().into()).await?;
        let told: Value = serde_json::from_slice(&answer.success("replaying dead letters")?)
            .context("replaying dead letters: the answer is not JSON")?;
        done += told[verb].as_u64().unwrap_or_default();
        replayed += told["already_replayed"].as_u64().unwrap_or_default();
        missing += told["not_found"].as_u64().unwrap_or_default();
        refused.extend(told["still_refused"].as_array().cloned().unwrap_or_default());
        match told["next_cursor"].as_str() {
            None => break,
            Some(next) => asked["cursor"] = next.into(),
        }
    }
    let code = if refused.is_empty() && missing == 0 { ExitCode::SUCCESS } else { exit::FAILED.into() };
    let mut out = std::io::stdout().lock();
    if wish.json {
        let told =
            json!({verb: done, "still_refused": refused, "already_replayed": replayed, "not_found": missing});
        writeln!(out, "{told}")?;
        return Ok(code);
    }
    if wish.dry_run {
        writeln!(std::io::stderr(), "judged by the configuration of the server that was asked")?;
    }
    let is_named = !wish.letters.is_empty();
    let known =
        if is_named { format!(", {replayed} replayed before, {missing} not found") } else { String::new() };
    writeln!(out, "{done} {}, {} still refused{known}", verb.replace('_', " "), refused.len())?;
    for one in &refused {
        let text = |name: &str| one[name].as_str().unwrap_or_default();
        let (stream, code, detail) = (text("stream"), text("code"), text("detail"));
        writeln!(out, "{stream} {}:{} {code}: {detail}", one["partition"], one["offset"])?;
    }
    Ok(code)
}
