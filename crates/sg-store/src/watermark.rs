//! The watermark of a stream, from the clocks of its partitions. Pure: the backends read and write the rows.

use std::time::Duration;

use sg_core::time::Timestamp;

/// How long a partition counts as idle after its owner said so: the owner says it every 5 s, so two may get lost.
pub(crate) const IDLE_HOLDS: Duration = Duration::from_secs(15);

/// What the watermark depends on in one partition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PartitionState {
    /// The partition's clock M.
    pub(crate) m: Timestamp,
    /// Whether its owner said that it is idle.
    pub(crate) is_idle: bool,
    /// When it said so, by the store's clock.
    pub(crate) said_at: Timestamp,
}

impl PartitionState {
    /// Returns whether the partition counts as idle: a partition without an owner does not.
    pub(crate) fn is_idle_at(&self, now: Timestamp) -> bool {
        self.is_idle && self.said_at.plus(IDLE_HOLDS) >= now
    }
}

/// Returns the watermark that follows `stored`: the least clock of the partitions that are not idle, and when all are,
/// `expected_from`, the time before which nothing more is expected. It never runs back.
pub(crate) fn advance(
    stored: Timestamp,
    partitions: &[PartitionState],
    now: Timestamp,
    expected_from: Timestamp,
) -> Timestamp {
    let busy =
        partitions.iter().filter(|partition| !partition.is_idle_at(now)).map(|partition| partition.m).min();
    match busy {
        Some(least) => stored.max(least),
        None if partitions.is_empty() => stored,
        None => stored.max(expected_from),
    }
}

/// Returns up to where windows are final.
pub(crate) fn closed_to(stored: Timestamp, watermark: Timestamp, grace_ms: i64) -> Timestamp {
    stored.max(Timestamp(watermark.0.saturating_sub(grace_ms)))
}

#[cfg(test)]
mod tests;
