//! How the server is asked: again and again until the answer is right or the patience ends. What was seen last is the
//! reason of a check that fails.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::client::rollup::{Definition, Page};
use crate::client::status::{self, Status};
use crate::client::{Answer, Connection, Server, percent_encoded};
use crate::cmd::audit::Check;
use crate::generate::exact::Exact;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// Characters of an answer that are told.
const SHOWN_MAX: usize = 200;

/// What was seen, in words: `Err` when it is not as it must be.
pub(super) type Seen = Result<String, String>;

/// A server under test, and what came out so far.
pub(super) struct Probe {
    /// The server.
    pub(super) server: Server,
    /// How far it was before anything was sent.
    pub(super) before: Status,
    /// The brokers of its topics, where events shall go there, too.
    pub(super) brokers: Option<String>,
    /// The checks so far.
    pub(super) checks: Vec<Check>,
    /// What was not checked, and why.
    pub(super) left_out: Vec<String>,
    connection: Connection,
    patience: Duration,
    definitions: Vec<Definition>,
}

impl Probe {
    /// Begins with nothing checked.
    pub(super) fn new(
        server: Server,
        connection: Connection,
        patience: Duration,
        before: Status,
        definitions: Vec<Definition>,
    ) -> Probe {
        let (checks, left_out) = (Vec::new(), Vec::new());
        Probe { server, before, brokers: None, checks, left_out, connection, patience, definitions }
    }

    /// Returns whether the server has a stream.
    pub(super) fn has_stream(&self, name: &str) -> bool {
        self.before.streams.iter().any(|stream| stream.name == name)
    }

    /// Returns whether the server reads events of a stream under the names that ours have; what it does not is noted as left
    /// out.
    pub(super) fn understands(&mut self, systems: &str, stream: &str) -> bool {
        let misreads = self.before.misreads(stream);
        let understands = misreads.is_none();
        self.left_out.extend(misreads.map(|why| format!("{systems}: {why}")));
        understands
    }

    /// Returns whether the server has a rollup with a measure.
    pub(super) fn has_measure(&self, rollup: &str, measure: &str) -> bool {
        let mut rollups = self.definitions.iter().filter(|definition| definition.name == rollup);
        rollups.any(|definition| definition.measures.iter().any(|known| known.name == measure))
    }

    /// Notes what was seen.
    pub(super) fn note(&mut self, subject: &str, seen: Seen) -> bool {
        let holds = seen.is_ok();
        let detail = seen.unwrap_or_else(|why| why);
        self.checks.push(Check::new(subject, holds, detail));
        holds
    }

    /// Asks for a path once.
    pub(super) async fn ask(&mut self, path: &str) -> Result<Answer, String> {
        self.connection.get(path).await.map_err(|unanswered| unanswered.to_string())
    }

    /// Posts a body once; returns the answer of a success.
    pub(super) async fn post(
        &mut self,
        path: &str,
        kind: &'static str,
        body: String,
    ) -> Result<Answer, String> {
        let answered = self.connection.post(path, kind, Bytes::from(body)).await;
        let answer = answered.map_err(|unanswered| unanswered.to_string())?;
        if answer.status.as_u16() == 202 {
            Ok(answer)
        } else {
            Err(format!("POST {path}: {}", answer.complaint()))
        }
    }

    /// Asks for a path until its answer is right, and notes that.
    pub(super) async fn look(&mut self, subject: &str, path: &str, judge: impl Fn(&Answer) -> Seen) -> bool {
        let began = Instant::now();
        loop {
            let seen = self.ask(path).await.and_then(|answer| {
                if answer.status.is_success() { judge(&answer) } else { Err(answer.complaint()) }
            });
            if seen.is_ok() || began.elapsed() >= self.patience {
                return self.note(subject, seen.map_err(|why| format!("GET {path}: {why}")));
            }
            self.hurry().await;
        }
    }

    /// Asks for a path until its JSON is right, and notes that.
    pub(super) async fn look_at_json(
        &mut self,
        subject: &str,
        path: &str,
        judge: impl Fn(&Value) -> Seen,
    ) -> bool {
        let read = |answer: &Answer| {
            let value =
                serde_json::from_slice(&answer.body).map_err(|_| format!("no JSON: {}", shown(answer)))?;
            judge(&value)
        };
        self.look(subject, path, read).await
    }

    /// Asks for the status until it is right, and notes that.
    pub(super) async fn look_at_status(
        &mut self,
        subject: &str,
        judge: impl Fn(&Status, &Status) -> Seen,
    ) -> bool {
        let before = self.before.clone();
        let read = |answer: &Answer| {
            let status =
                serde_json::from_slice(&answer.body).map_err(|error| format!("no status: {error}"))?;
            judge(&before, &status)
        };
        self.look(subject, "/v1/status", read).await
    }

    /// Asks for the rows of a rollup with one dimension until a measure's sum is right, and notes that.
    pub(super) async fn look_at_sum(&mut self, subject: &str, sum: &Sum<'_>) -> bool {
        let path = sum.path();
        self.look(subject, &path, |answer| sum.judge(&answer.body)).await
    }

    /// Lets some time pass, and what is in memory be written meanwhile: a server may flush once a minute only.
    pub(super) async fn hurry(&mut self) {
        // A process that has nothing to flush, or does not let us, writes in its own time.
        if let Err(error) = status::flush(&mut self.connection).await {
            tracing::debug!("not flushed: {error:#}");
        }
        sleep(PAUSE).await;
    }

    /// Returns how long to wait for each thing.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }
}

/// A sum over the rows of a rollup that must be exact.
#[derive(Debug)]
pub(super) struct Sum<'a> {
    /// The rollup.
    pub(super) rollup: &'a str,
    /// The dimension, and the value it has.
    pub(super) dimension: (&'a str, &'a str),
    /// The range of the question.
    pub(super) range: (String, String),
    /// The measure, and its digits after the point.
    pub(super) measure: (&'a str, u32),
    /// What it must come to, as a whole number of its smallest unit.
    pub(super) expect: i128,
}

impl Sum<'_> {
    fn path(&self) -> String {
        let (name, value) = self.dimension;
        let (from, to) = (&self.range.0, &self.range.1);
        let [value, from, to] = [value, from, to].map(percent_encoded);
        format!("/v1/rollups/{}?{name}={value}&from={from}&to={to}", self.rollup)
    }

    fn judge(&self, body: &[u8]) -> Seen {
        let page: Page<'_> = serde_json::from_slice(body).map_err(|error| format!("no rows: {error}"))?;
        let (name, scale) = self.measure;
        let mut sum = 0;
        for row in &page.data {
            let text = row.get(name).map_or("", |raw| raw.get());
            let value = Exact::parse(text).and_then(|number| number.scaled(scale));
            sum += value.ok_or_else(|| format!("{name} is {text:?} in a row"))?;
        }
        let written = |value| crate::generate::exact::written(value, scale);
        let told = format!("{name} of {} is {}", self.dimension.1, written(sum));
        if sum == self.expect {
            Ok(told)
        } else {
            Err(format!("{told}, and {} was sent", written(self.expect)))
        }
    }
}

/// Returns the beginning of an answer.
pub(super) fn shown(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).chars().take(SHOWN_MAX).collect()
}

/// Judges that an object has a member.
pub(super) fn has(value: &Value, member: &str) -> Seen {
    match value.get(member) {
        Some(_) => Ok(format!("has {member}")),
        None => Err(format!(
            "there is no {member} in {}",
            value.to_string().chars().take(SHOWN_MAX).collect::<String>()
        )),
    }
}

#[cfg(test)]
mod tests;
