//! `streamgauge audit`: asks a running server whether its ledger adds up and, given a file of expected cells, whether
//! every cell equals it. Judges answers only; that the server computed them from its store is the server's business.

mod cells;
mod ledger;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;

use crate::client::rollup::Definition;
use crate::client::{Connection, Target, Unanswered, recognise, rollup, settle, status};
use cells::{Comparison, Expected};

/// Checks that the ledger adds up, and every cell
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Flushes a running server and checks that nothing was lost or counted twice: in every partition each \
        record was counted, or is a duplicate, a dead letter or deleted, and on an embedded log each offset is a record's or \
        was skipped by a salvage; in every rollup each event fed is in a cell or \
        accounted for. With --expect every cell must equal the file that `streamgauge simulate --expect` wrote, and \
        there must be no other cell in the file's time; windows that retention has removed meanwhile are left out and \
        counted. Prints one line a check; leaves with 0 when all hold, else 1.",
    after_long_help = "Examples:\n  streamgauge audit\n  \
        streamgauge simulate --events 50000 --late 2% --expect expected.json && streamgauge audit --expect expected.json"
)]
pub(crate) struct Args {
    /// Compares every cell with this file
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    /// How long to wait until everything in the log is processed
    #[arg(long, value_name = "D", default_value = "60s", value_parser = super::simulate::duration)]
    patience: Duration,
    /// Prints the checks as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// One thing that must hold, and whether it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    /// What was looked at.
    pub(crate) subject: String,
    /// Whether it holds.
    pub(crate) holds: bool,
    /// The numbers.
    pub(crate) detail: String,
}

impl Check {
    /// Returns a check's outcome.
    pub(crate) fn new(subject: impl Into<String>, holds: bool, detail: impl Into<String>) -> Check {
        Check { subject: subject.into(), holds, detail: detail.into() }
    }

    /// Returns the check as a line for people.
    pub(crate) fn line(&self) -> String {
        let mark = if self.holds { '✓' } else { '✗' };
        format!("{mark} {}: {}", self.subject, self.detail)
    }

    /// Returns the check as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::json!({"subject": self.subject, "holds": self.holds, "detail": self.detail})
    }
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> ExitCode {
    settle(audit(&args).await)
}

async fn audit(args: &Args) -> anyhow::Result<ExitCode> {
    let file = match &args.expect {
        None => None,
        Some(path) => {
            Some(std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?)
        }
    };
    let mut connection = Connection::new(&args.target.server()?);
    let checks = match checks(&mut connection, file.as_deref(), args.patience).await {
        Ok(checks) => checks,
        Err(error) => {
            if error.downcast_ref::<Unanswered>().is_none() {
                recognise(&mut connection).await?;
            }
            return Err(error);
        }
    };
    let holds = checks.iter().all(|check| check.holds);
    let mut stdout = std::io::stdout().lock();
    if args.json {
        let checks: Vec<serde_json::Value> = checks.iter().map(Check::json).collect();
        writeln!(stdout, "{}", serde_json::json!({"ok": holds, "checks": checks}))?;
    } else {
        for check in &checks {
            writeln!(stdout, "{}", check.line())?;
        }
    }
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Checks that the ledger of a status adds up, in every partition and rollup.
pub(super) fn ledger_checks(status: &status::Status) -> Vec<Check> {
    ledger::checks(status)
}

/// Checks that the sums of a ledger are right, while events come and go.
pub(super) fn sum_checks(status: &status::Status) -> Vec<Check> {
    ledger::sums(status)
}

/// Makes all checks against a server; `file` are the expected cells.
async fn checks(
    connection: &mut Connection,
    file: Option<&str>,
    patience: Duration,
) -> anyhow::Result<Vec<Check>> {
    let status = status::settled(connection, patience).await?;
    let mut checks = ledger::checks(&status);
    let Some(file) = file else { return Ok(checks) };
    let definitions = rollup::definitions(connection).await?;
    for (name, expected) in cells::read(file)? {
        let check = match definitions.iter().find(|definition| definition.name == name) {
            Some(definition) => compared(connection, definition, expected).await?,
            None => Check::new(format!("cells of {name}"), false, "the server has no such rollup"),
        };
        checks.push(check);
    }
    Ok(checks)
}

/// Compares a rollup's rows with those expected, but for windows that retention has removed. Begins again when
/// retention removed more of them meanwhile.
async fn compared(
    connection: &mut Connection,
    definition: &Definition,
    expected: Expected<'_>,
) -> anyhow::Result<Check> {
    let mut expected = expected.comparable(definition);
    let mut before = standing(connection, definition).await?;
    loop {
        expected.leave_out_removed(before.removed_before.as_deref());
        let comparison = compare(connection, &definition.name, &expected).await?;
        let after = standing(connection, definition).await?;
        if before.removed_before == after.removed_before {
            return Ok(cells::judged(definition, &after, expected.removed(), &comparison));
        }
        before = after;
    }
}

async fn standing(connection: &mut Connection, definition: &Definition) -> anyhow::Result<status::Rollup> {
    let status = status::Status::ask(connection).await?;
    let found = status.rollups.into_iter().find(|rollup| rollup.name == definition.name);
    found.with_context(|| format!("the status has no rollup {}", definition.name))
}

/// Compares the server's rows with those expected, piece by piece of the time between the first and the last.
async fn compare(
    connection: &mut Connection,
    name: &str,
    expected: &Expected<'_>,
) -> anyhow::Result<Comparison> {
    let mut comparison = Comparison::default();
    for piece in expected.pieces() {
        let range = (piece.from.as_str(), piece.to.as_str());
        let mut matching = comparison.matching(&piece);
        rollup::each_page(connection, name, range, &mut |page| {
            page.data.iter().try_for_each(|row| matching.take(row))
        })
        .await?;
        matching.finish();
    }
    Ok(comparison)
}

#[cfg(test)]
mod tests;
