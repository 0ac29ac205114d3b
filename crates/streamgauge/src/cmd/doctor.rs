//! `streamgauge doctor`: looks at everything a server needs or has, and says of each whether it is well, in a sentence,
//! and which command mends it. Each module looks at one thing. Opens neither the database nor the log as a server does, reads
//! them only where nobody works in them, takes no lock and changes nothing but for a small file of its own, which it removes: a
//! server may run meanwhile.

mod archive;
mod clock;
mod disk;
mod log;
mod ports;
mod process;
mod progress;
mod resting;
mod store;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use sg_core::time::Clock as _;
use tokio::time::timeout;

use crate::client::status::Status;
use crate::client::{Connection, Misused, Server, Target, recognise, settle};
use crate::clock::WallClock;
use crate::cmd::serve::flags::{self, Flags};
use crate::config::Settings;
use crate::config::settings::{LogChoice, StoreChoice};

/// How long a running server may take to answer.
const SERVER_WAIT: Duration = Duration::from_secs(10);

/// Looks at everything a server needs, and says what mends it
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Looks at ports, disk, clock, log, store and archive as the configuration names them, and at the server \
        where one runs: the same files, variables and flags as for `streamgauge serve`, but for --salvage and --rebuild. \
        Where nobody works in the data directory, says whether a start would refuse its log, and looks for damage in its \
        closed segments, the newest first, for five seconds. Prints a line for each finding, with the command that mends \
        it. Leaves with 1 when something is broken, and with 0 when there are warnings only. Changes nothing; a server \
        may run meanwhile. A disk that syncs too fast is warned about, but that one keeps what it was given cannot be \
        proved from here.",
    after_long_help = "Examples:\n  streamgauge doctor\n  \
        streamgauge doctor --log kafka://127.0.0.1:9092 --store postgres://streamgauge@127.0.0.1/streamgauge"
)]
pub(crate) struct Args {
    #[command(flatten)]
    flags: Flags,
    /// Prints the findings as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    /// Nothing is wrong.
    Ok,
    /// It works, but somebody should look.
    Warn,
    /// It does not work, or loses something.
    Fail,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    about: &'static str,
    level: Level,
    says: String,
    /// The command that mends it.
    mend: Option<String>,
}

impl Finding {
    fn ok(about: &'static str, says: impl Into<String>) -> Finding {
        Finding { about, level: Level::Ok, says: says.into(), mend: None }
    }

    fn warn(about: &'static str, says: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { about, level: Level::Warn, says: says.into(), mend: Some(mend.into()) }
    }

    fn fail(about: &'static str, says: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { about, level: Level::Fail, says: says.into(), mend: Some(mend.into()) }
    }

    fn line(&self) -> String {
        let mark = match self.level {
            Level::Ok => '✓',
            Level::Warn => '!',
            Level::Fail => '✗',
        };
        let mend = self.mend.as_ref().map(|mend| format!("\n    → {mend}")).unwrap_or_default();
        format!("{mark} {}: {}{mend}", self.about, self.says)
    }

    fn json(&self) -> serde_json::Value {
        let level = match self.level {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "fail",
        };
        serde_json::json!({"about": self.about, "level": level, "says": self.says, "mend": self.mend})
    }
}

/// What the server said, where one answers.
#[derive(Debug, Default)]
struct Answered {
    /// How far its clock is ahead of this one.
    ahead_ms: Option<i64>,
    status: Option<Status>,
    /// What makes it tell its status, where somebody was reached who does not.
    untold: Option<String>,
}

impl Answered {
    /// What is known where somebody was reached and did not tell its status.
    fn nothing(mend: impl Into<String>) -> Answered {
        Answered { untold: Some(mend.into()), ..Answered::default() }
    }
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> ExitCode {
    settle(doctor(&args).await)
}

async fn doctor(args: &Args) -> anyhow::Result<ExitCode> {
    let (wall, watch) = (WallClock.now(), Instant::now());
    let mut findings = Vec::new();
    match settings(&args.flags) {
        Ok((settings, archive)) => {
            let server = server(args, &settings)?;
            let (of_server, answered) = ask(&server).await;
            findings.push(Finding::ok("configuration", "is right"));
            findings.extend(answered.status.iter().filter_map(|status| of_another(&settings, status)));
            findings.extend(ports::look(&settings).await);
            findings.push(of_server);
            findings.extend(disk::look(&settings));
            findings.extend(clock::look(&answered, WallClock.now()));
            findings.push(clock::steady(wall, watch.elapsed(), WallClock.now()));
            findings.extend(log::look(&settings, &answered).await);
            findings.push(store::look(&settings).await);
            findings.extend(archive::look(&archive, answered.status.as_ref()));
            findings.extend(answered.status.iter().flat_map(progress::look));
        }
        Err(errors) => {
            let finding = |error: &String| Finding::fail("configuration", error, "streamgauge config check");
            findings.extend(errors.iter().map(finding));
        }
    }
    let worst = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
    let mut stdout = std::io::stdout().lock();
    if args.json {
        let findings: Vec<serde_json::Value> = findings.iter().map(Finding::json).collect();
        writeln!(stdout, "{}", serde_json::json!({"ok": worst < Level::Fail, "findings": findings}))?;
    } else {
        for finding in &findings {
            writeln!(stdout, "{}", finding.line())?;
        }
    }
    Ok(if worst == Level::Fail { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Says so where the server that answers keeps its log or its store elsewhere than this configuration does: files, topics and
/// tables are looked at as they are configured here.
fn of_another(settings: &Settings, status: &Status) -> Option<Finding> {
    let log = match settings.log {
        LogChoice::Embedded(_) => "embedded",
        LogChoice::Kafka(_) => "kafka",
    };
    let store = match settings.store {
        StoreChoice::Sqlite(_) => "sqlite",
        StoreChoice::Postgres(_) => "postgres",
    };
    let says = format!(
        "is another than that of the server that answers: log and store are {log} and {store} here, {} and {} there",
        status.log, status.store
    );
    let is_another = (log, store) != (status.log.as_str(), status.store.as_str());
    let mend = "call doctor with the file, variables and flags that the server was started with";
    is_another.then(|| Finding::warn("configuration", says, mend))
}

/// Returns the settings that `serve` would have, and the archive's URL; every error of them.
fn settings(flags: &Flags) -> Result<(Settings, String), Vec<String>> {
    let read = flags.layers().map_err(|error| vec![format!("{error:#}")])?;
    let settings = flags::resolve(&read)?;
    let archive = read.0.table.get("archive").and_then(toml::Value::as_str).unwrap_or("off");
    Ok((settings, archive.to_owned()))
}

/// Returns the server to ask: the one that was typed, else the one that would listen, where it speaks plainly if it does:
/// a certificate is seldom of an address.
fn server(args: &Args, settings: &Settings) -> anyhow::Result<Server> {
    let plain = settings.listen.iter().find(|listen| listen.tls.is_none());
    let (scheme, address) = match plain.or(settings.listen.first()) {
        Some(listen) => (listen.scheme(), listen.address.as_str()),
        None => ("http", "127.0.0.1:8080"),
    };
    let here = address.replacen("0.0.0.0:", "127.0.0.1:", 1).replacen("[::]:", "[::1]:", 1);
    let target = args.target.or_default(&format!("{scheme}://{here}"));
    target.server().map_err(|error| Misused(format!("{error:#}")).into())
}

/// Asks the server how it is, and what it says of itself.
async fn ask(server: &Server) -> (Finding, Answered) {
    let mut connection = Connection::new(server);
    let address = &server.address;
    let ready = match timeout(SERVER_WAIT, connection.get("/readyz")).await {
        Ok(Ok(ready)) => ready,
        Ok(Err(unanswered)) if unanswered.was_reached => {
            let says = format!("what listens on {address} does not answer as a server does: {unanswered}");
            let mend = unanswered.remedy.unwrap_or("name the server with --url");
            return (Finding::fail("server", says, mend), Answered::nothing(mend));
        }
        Ok(Err(_)) => {
            let says = format!("none answers on {address}, so that nothing of a running one was looked at");
            return (Finding::warn("server", says, "streamgauge serve"), Answered::default());
        }
        Err(_) => {
            let says = format!(
                "the one on {address} was reached and did not answer for {} s",
                SERVER_WAIT.as_secs()
            );
            let mend = "look at what it wrote to stderr, and restart it";
            return (Finding::fail("server", says, mend), Answered::nothing(mend));
        }
    };
    if let Ok(Err(stranger)) = timeout(SERVER_WAIT, recognise(&mut connection)).await {
        return (
            Finding::fail("server", format!("{stranger:#}"), "name the server with --url"),
            Answered::default(),
        );
    }
    let ahead_ms = ready.date.map(|date| date.0 - WallClock.now().0);
    let status = timeout(SERVER_WAIT, Status::ask(&mut connection)).await;
    let status = status.ok().and_then(Result::ok);
    let mend = "set STREAMGAUGE_KEY to a key that may, or name another with --url";
    let finding = match (ready.status.is_success(), &status) {
        (true, Some(_)) => Finding::ok("server", format!("the one on {address} is ready")),
        (true, None) => {
            let says = format!("the one on {address} is ready, but does not tell its status");
            Finding::warn("server", says, mend)
        }
        (false, _) => {
            let says = format!("the one on {address} is not ready: {}", ready_complaint(&ready));
            Finding::fail("server", says, format!("curl {}/readyz", server.url()))
        }
    };
    let untold = status.is_none().then(|| mend.to_owned());
    (finding, Answered { ahead_ms, status, untold })
}

fn ready_complaint(answer: &crate::client::Answer) -> String {
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    body["error"].as_str().map_or_else(|| answer.complaint(), str::to_owned)
}

#[cfg(test)]
mod tests;
