//! How late diverted events were: how long after the end of their window they were received. Pure.

use sg_core::time::Timestamp;

/// Bounds of the histogram: from a second to a week, about three a decade, where people set graces.
const BOUNDS_MS: [i64; 13] = [
    1_000,
    5_000,
    15_000,
    30_000,
    60_000,
    2 * 60_000,
    5 * 60_000,
    15 * 60_000,
    60 * 60_000,
    4 * 3_600_000,
    24 * 3_600_000,
    3 * 86_400_000,
    7 * 86_400_000,
];

/// Returns how long after the end of its window an event was received.
pub(super) fn of(received_at: Timestamp, window_start: Timestamp, window_ms: i64) -> i64 {
    received_at.0.saturating_sub(window_start.0.saturating_add(window_ms))
}

/// By how much events were late, the least first.
pub(super) struct Lateness(Vec<i64>);

impl Lateness {
    pub(super) fn new(mut late_by_ms: Vec<i64>) -> Lateness {
        late_by_ms.sort_unstable();
        Lateness(late_by_ms)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the events between two bounds, the lower one included; the last bucket has no end.
    pub(super) fn buckets(&self) -> Vec<(i64, Option<i64>, usize)> {
        let Lateness(late_by_ms) = self;
        let below = |bound: i64| late_by_ms.partition_point(|late| *late < bound);
        let mut buckets = Vec::with_capacity(BOUNDS_MS.len() + 1);
        let (mut from_ms, mut seen) = (0, 0);
        for bound in BOUNDS_MS {
            buckets.push((from_ms, Some(bound), below(bound) - seen));
            (from_ms, seen) = (bound, below(bound));
        }
        buckets.push((from_ms, None, late_by_ms.len() - seen));
        buckets
    }

    /// Returns the shortest grace under which at least 999 of 1000 events would have been counted in time, where
    /// `counted` were; never less than the grace there is.
    pub(super) fn grace_for(&self, counted: u64, grace_ms: i64) -> i64 {
        let Lateness(late_by_ms) = self;
        let total = counted + late_by_ms.len() as u64;
        let may_miss = (total / 1_000) as usize;
        match late_by_ms.len().checked_sub(may_miss + 1) {
            None => grace_ms,
            // An event that is late by exactly the grace is late.
            Some(last_caught) => grace_ms.max(late_by_ms[last_caught].saturating_add(1)),
        }
    }
}

#[cfg(test)]
mod tests;
