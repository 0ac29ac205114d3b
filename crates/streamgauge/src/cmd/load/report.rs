//! The figures of a load, for people and for scripts.

use std::time::Duration;

use super::live::Live;
use super::worker::Tally;
use crate::cmd::audit::Check;

/// Percentiles that are told, with their names in text and JSON.
const PERCENTILES: [(f64, &str, &str); 4] =
    [(50.0, "p50", "p50"), (90.0, "p90", "p90"), (99.0, "p99", "p99"), (99.9, "p99.9", "p99_9")];

/// What came of a load.
#[derive(Debug)]
pub(super) struct Report {
    /// All connections together.
    pub(super) tally: Tally,
    /// How long it took until the last answer.
    pub(super) elapsed: Duration,
    /// What the live stream says, where that was asked for.
    pub(super) live: Option<Live>,
    /// What the live stream or the growth of the ledger says, then what else the ledger says.
    pub(super) checks: Vec<Check>,
}

impl Report {
    /// Returns whether events were accepted and the ledger agrees.
    pub(super) fn holds(&self) -> bool {
        self.tally.accepted > 0 && self.checks.iter().all(|check| check.holds)
    }

    fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.elapsed.as_secs_f64().max(0.001)
    }

    /// Returns the figures for people. Checks that hold are told in one line.
    pub(super) fn text(&self) -> String {
        let Tally { requests, accepted, unanswered, refused, latency_us, .. } = &self.tally;
        let mut text = format!(
            "{:.0} events/s  {:.0} requests/s  ({accepted} events accepted, {requests} requests answered in {:.1} s)\n",
            self.per_second(*accepted),
            self.per_second(*requests),
            self.elapsed.as_secs_f64()
        );
        text += "latency";
        for (percentile, name, _) in PERCENTILES {
            text += &format!("  {name} {}", shown_ms(latency_us.value_at_percentile(percentile)));
        }
        text += &format!("  max {}\n", shown_ms(latency_us.max()));
        for (status, count) in refused {
            text += &format!("answered {status}: {count}\n");
        }
        if *unanswered > 0 {
            text += &format!("not answered: {unanswered}\n");
        }
        for line in self.tally.failures.lines() {
            text += &format!("  {line}\n");
        }
        let failed = self.checks.iter().skip(1).filter(|check| !check.holds);
        for check in self.checks.iter().take(1).chain(failed) {
            text += &format!("{}\n", check.line());
        }
        if self.checks.iter().skip(1).all(|check| check.holds) {
            text += &format!("✓ ledger: {} checks hold\n", self.checks.len().saturating_sub(1));
        }
        text
    }

    /// Returns the figures for scripts.
    pub(super) fn json(&self) -> serde_json::Value {
        let Tally { requests, accepted, unanswered, unanswered_events, refused, failures, latency_us } =
            &self.tally;
        let ms = |us: u64| us as f64 / 1_000.0;
        let mut latency_ms = serde_json::Map::new();
        for (percentile, _, name) in PERCENTILES {
            latency_ms.insert(name.to_owned(), ms(latency_us.value_at_percentile(percentile)).into());
        }
        latency_ms.insert("max".to_owned(), ms(latency_us.max()).into());
        let refused: serde_json::Map<String, serde_json::Value> =
            refused.iter().map(|(status, count)| (status.to_string(), (*count).into())).collect();
        let checks: Vec<serde_json::Value> = self.checks.iter().map(Check::json).collect();
        serde_json::json!({
            "seconds": self.elapsed.as_secs_f64(),
            "events_per_second": self.per_second(*accepted),
            "requests_per_second": self.per_second(*requests),
            "accepted": accepted,
            "requests": requests,
            "refused_by_status": refused,
            "failures": failures.json(),
            "unanswered": unanswered,
            "unanswered_events": unanswered_events,
            "latency_ms": latency_ms,
            "live": self.live.as_ref().map(Live::json),
            "ok": self.holds(),
            "checks": checks,
        })
    }
}

fn shown_ms(us: u64) -> String {
    format!("{:.2} ms", us as f64 / 1_000.0)
}
