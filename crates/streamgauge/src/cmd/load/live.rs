//! What the live stream told at the start and at the end of a load, beside what was accepted.

use std::time::Duration;

use super::worker::Tally;
use crate::client::live::Numbers;
use crate::cmd::audit::Check;

/// How the numbers of the live stream grew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Live {
    /// Events that were sent, answered or not.
    pub(super) sent: u64,
    /// Events that were accepted.
    pub(super) accepted: u64,
    /// How many more the log has.
    pub(super) received: u64,
    /// How many more are counted.
    pub(super) written: u64,
}

impl Live {
    /// Compares the numbers of the end with those of the start.
    pub(super) fn new(before: Numbers, after: Numbers, tally: &Tally) -> Live {
        let refused: u64 = tally.refused.values().sum();
        Live {
            sent: tally.accepted + refused + tally.unanswered,
            accepted: tally.accepted,
            received: after.received_total.saturating_sub(before.received_total),
            written: after.written_total.saturating_sub(before.written_total),
        }
    }

    /// Returns how many of those accepted are not counted.
    pub(super) fn lost(&self) -> u64 {
        self.accepted.saturating_sub(self.written)
    }

    /// Returns whether nothing is lost, with the numbers and the rate that was reached.
    pub(super) fn check(&self, elapsed: Duration) -> Check {
        let Live { sent, accepted, received, written } = self;
        let (rate, lost) = (*accepted as f64 / elapsed.as_secs_f64().max(0.001), self.lost());
        let detail = format!(
            "sent {sent}  accepted {accepted}  rate {rate:.0}/s  received {received}  written {written}  lost {lost}"
        );
        Check::new("live stream", lost == 0, detail)
    }

    /// Returns the numbers for scripts.
    pub(super) fn json(&self) -> serde_json::Value {
        let Live { sent, accepted, received, written } = self;
        serde_json::json!({
            "sent": sent, "accepted": accepted, "received": received, "written": written, "lost": self.lost(),
        })
    }
}
