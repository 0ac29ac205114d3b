//! `streamgauge keys`: makes, lists and ends keys, by way of a running server. A key's text is printed once, alone on
//! stdout, so that it can be piped to where it is kept.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use serde_json::{Value, json};
use sg_core::time::Timestamp;

use crate::client::{Connection, JSON, Target, percent_encoded, settle};

/// Makes, lists and revokes keys
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Makes, lists and revokes keys. A server that listens on this machine only asks for none until the first is \
        made, which needs the scope admin; from then on every request needs one, and these commands take theirs from \
        STREAMGAUGE_KEY. Of a key only a hash is stored: its text is printed once, when it is made.",
    after_long_help = "Examples:\n  streamgauge keys create --name me --scope admin\n  streamgauge keys create --name shop \
        --scope ingest --origin https://shop.example --rate-events 100/s\n  streamgauge keys revoke shop"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Makes a key and prints it; it is shown once
    Create(Create),
    /// Lists all keys, those that ended in the last 30 days included
    List {
        /// Prints one JSON object
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Ends a key: within seconds it works nowhere
    Revoke {
        /// Its id; or its name, if only one key of that name works
        #[arg(value_name = "ID|NAME")]
        key: String,
        /// Of two working keys of the name, the one that was made first; refused where only one works
        #[arg(long)]
        older: bool,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, clap::Args)]
struct Create {
    /// Whose it is; two keys of a name work at the same time, so that one can follow the other
    #[arg(long)]
    name: String,
    /// What it allows: ingest, query or admin; several with commas between
    #[arg(long, value_name = "SCOPE", value_delimiter = ',', required = true)]
    scope: Vec<String>,
    /// The origin of a page, `https://HOST`, that may send events with it; may be given several times. Such a key works
    /// from its pages only, and only to send, so that it may stand in them
    #[arg(long, value_name = "ORIGIN")]
    origin: Vec<String>,
    /// Events a second that it may send, in each process
    #[arg(long, value_name = "N/s", value_parser = rate)]
    rate_events: Option<u64>,
    /// Bytes a second that it may send, such as 512KiB/s, in each process
    #[arg(long, value_name = "BYTES/s", value_parser = byte_rate)]
    rate_bytes: Option<u64>,
    /// How long it works, such as 90d; for ever by default
    #[arg(long, value_name = "D")]
    expires: Option<String>,
    /// Prints one JSON object with all that is known of it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

fn rate(text: &str) -> Result<u64, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    number.parse().map_err(|_| "is a number a second, such as 100/s".to_owned())
}

fn byte_rate(text: &str) -> Result<u64, String> {
    let size = text.strip_suffix("/s").unwrap_or(text);
    let read = crate::config::reader::parse_size(size);
    read.ok_or_else(|| "is a size a second, such as 512KiB/s".to_owned())
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> ExitCode {
    let done = match args.action {
        Action::Create(create) => self::create(&create).await,
        Action::List { json, target } => list(json, &target).await,
        Action::Revoke { key, older, target } => revoke((&key, older), &target).await,
    };
    settle(done)
}

async fn create(args: &Create) -> anyhow::Result<ExitCode> {
    let asked = json!({
        "name": args.name,
        "scopes": args.scope,
        "origins": args.origin,
        "events_per_s": args.rate_events,
        "bytes_per_s": args.rate_bytes,
        "expires_in": args.expires,
    });
    let server = args.target.server()?;
    let mut connection = Connection::new(&server);
    let answer = connection.post("/v1/keys", JSON, Bytes::from(asked.to_string())).await?;
    let body = answer.success("making a key")?;
    let made: Value = serde_json::from_slice(&body).context("reading the key")?;
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{made}")?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "{}", made["key"].as_str().context("the server answered without a key")?)?;
    let (id, address) = (made["id"].as_str().unwrap_or_default(), &server.address);
    writeln!(
        std::io::stderr(),
        "key {id} was made on {address}; it is shown this once, and every request to that server needs a key from now on"
    )?;
    Ok(ExitCode::SUCCESS)
}

async fn keys(connection: &mut Connection) -> anyhow::Result<Value> {
    let body = connection.get("/v1/keys").await?.success("listing keys")?;
    serde_json::from_slice(&body).context("reading the keys")
}

async fn list(is_json: bool, target: &Target) -> anyhow::Result<ExitCode> {
    let keys = keys(&mut Connection::new(&target.server()?)).await?;
    let mut out = std::io::stdout().lock();
    if is_json {
        writeln!(out, "{keys}")?;
        return Ok(ExitCode::SUCCESS);
    }
    if keys["keys"].as_array().is_none_or(Vec::is_empty) {
        writeln!(
            std::io::stderr(),
            "there are no keys: `streamgauge keys create --name me --scope admin` makes the first, and from then on every request needs one"
        )?;
    }
    writeln!(out, "{}", line(["ID", "NAME", "SCOPES", "MADE", "STATE", "RATES", "ORIGINS"]))?;
    for key in keys["keys"].as_array().into_iter().flatten() {
        let text = |member: &str| key[member].as_str().unwrap_or_default();
        let list = |member: &str| {
            let names: Vec<&str> =
                key[member].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            names.join(",")
        };
        let (scopes, origins, state, rates) = (list("scopes"), list("origins"), state(key), rates(key));
        let columns = [text("id"), text("name"), &scopes, text("created_at"), &state, &rates, &origins];
        writeln!(out, "{}", line(columns))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn line([id, name, scopes, made, state, rates, origins]: [&str; 7]) -> String {
    let line = format!("{id:<12}  {name:<20}  {scopes:<18}  {made:<24}  {state:<36}  {rates:<28}  {origins}");
    line.trim_end().to_owned()
}

/// Returns how much a key may send; nothing where it may send as much as it likes.
fn rates(key: &Value) -> String {
    let rate = |member: &str, unit: &str| Some(format!("{} {unit}/s", key[member].as_u64()?));
    let both = [rate("events_per_s", "events"), rate("bytes_per_s", "bytes")];
    both.into_iter().flatten().collect::<Vec<String>>().join(", ")
}

fn state(key: &Value) -> String {
    if let Some(at) = key["revoked_at"].as_str() {
        return format!("revoked {at}");
    }
    match (key["expires_at"].as_str(), key["works"] == true) {
        (Some(at), true) => format!("works until {at}"),
        (Some(at), false) => format!("expired {at}"),
        (None, _) => "works".to_owned(),
    }
}

async fn revoke((key, is_older): (&str, bool), target: &Target) -> anyhow::Result<ExitCode> {
    let mut connection = Connection::new(&target.server()?);
    let keys = keys(&mut connection).await?;
    let id = if is_older { older_of(key, &keys)? } else { id_of(key, &keys)? };
    let answer = connection.delete(&format!("/v1/keys/{}", percent_encoded(&id))).await?;
    answer.success("revoking a key")?;
    writeln!(std::io::stderr(), "key {id} was revoked")?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the id of the one key that is meant.
fn id_of(meant: &str, keys: &Value) -> anyhow::Result<String> {
    if keys["keys"].as_array().into_iter().flatten().any(|key| key["id"] == meant) {
        return Ok(meant.to_owned());
    }
    let named = working(meant, keys)?;
    if let [(_, id)] = named[..] {
        return Ok(id.to_owned());
    }
    let listed: Vec<String> = named.iter().map(|(made, id)| format!("{id} (made {made})")).collect();
    bail!(
        "several keys {meant} work: name one by its id, or the one that was made first with --older: {}",
        listed.join(", ")
    )
}

/// Returns the id of the key that was made first, where another one of the name works too.
fn older_of(name: &str, keys: &Value) -> anyhow::Result<String> {
    match working(name, keys)?[..] {
        [(_, oldest), _, ..] => Ok(oldest.to_owned()),
        // A rotation that is run twice would leave the sender without any.
        _ => bail!("only one key {name} works: --older is for two; without it that one is revoked"),
    }
}

/// Returns when the working keys of a name were made and their ids, the oldest first.
fn working<'k>(name: &str, keys: &'k Value) -> anyhow::Result<Vec<(Timestamp, &'k str)>> {
    let all = keys["keys"].as_array().into_iter().flatten();
    let time_and_id = |key: &'k Value| {
        let made = Timestamp::from_text(key["created_at"].as_str()?).ok()?;
        Some((made, key["id"].as_str()?))
    };
    let read = all.filter(|key| key["name"] == name && key["works"] == true).map(time_and_id);
    let mut named: Vec<(Timestamp, &str)> =
        read.collect::<Option<_>>().context("reading the keys: one lacks its id or its time")?;
    if named.is_empty() {
        bail!("there is no working key {name}: see `streamgauge keys list`");
    }
    named.sort_by_key(|(made, _)| *made);
    Ok(named)
}

#[cfg(test)]
mod tests;
