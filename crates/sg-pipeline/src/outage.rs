//! Failures that pass and may last: said when they begin and when they are over, and not at every try in between.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::Instant;

/// What is tried again and again.
#[derive(Debug, Default)]
pub(crate) struct Outage(Option<Failing>);

#[derive(Debug)]
struct Failing {
    since: Instant,
    tries: u64,
}

impl Outage {
    /// Takes a try that failed; says so if the one before did not.
    pub(crate) fn failed(&mut self, doing: impl Display, error: &impl Display) {
        if self.begins() {
            tracing::warn!("{doing}: {error}; trying again until it succeeds");
        }
    }

    /// Takes a try that succeeded; says so if the one before failed.
    pub(crate) fn succeeded(&mut self, doing: impl Display) {
        if let Some((tries, lasted)) = self.ends() {
            let seconds = lasted.as_secs_f64();
            tracing::info!("{doing}: succeeds again, after {tries} failures in {seconds:.1} s");
        }
    }

    fn begins(&mut self) -> bool {
        let is_news = self.0.is_none();
        let failing = self.0.get_or_insert_with(|| Failing { since: Instant::now(), tries: 0 });
        failing.tries += 1;
        is_news
    }

    fn ends(&mut self) -> Option<(u64, Duration)> {
        self.0.take().map(|failing| (failing.tries, failing.since.elapsed()))
    }
}

#[cfg(test)]
mod tests;
