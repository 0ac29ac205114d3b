//! When the records of a flush came: for whoever watches, nothing is decided by it. Gathered in the fold without locks,
//! counted when the flush is written.

use crate::metrics::{LatencyBounds, LatenessBounds, Spread};
use crate::time::Timestamp;

/// The times of a flush's records.
#[derive(Debug, Default)]
pub struct Timing {
    /// When records were received, in log order: those in a row that came at one time, such as a request's, together.
    arrivals: Vec<(Timestamp, u64)>,
    /// How long after the end of its window the partition's clock had come to each counted event, by the shortest window
    /// of the stream's rollups.
    pub lateness: Spread<LatenessBounds>,
}

impl Timing {
    /// Takes note of a record's arrival.
    #[inline]
    pub fn arrived(&mut self, received_at: Timestamp) {
        match self.arrivals.last_mut() {
            Some((at, count)) if *at == received_at => *count += 1,
            _ => self.arrivals.push((received_at, 1)),
        }
    }

    /// Returns how long it took all records until now.
    pub fn latencies(&self, now: Timestamp) -> Spread<LatencyBounds> {
        let mut spread = Spread::default();
        for (at, count) in &self.arrivals {
            spread.add(now.0.saturating_sub(at.0), *count);
        }
        spread
    }
}
