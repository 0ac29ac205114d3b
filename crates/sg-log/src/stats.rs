//! What a log has done since it was opened, as plain counters. Names and exports nothing: the binary's metrics do.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the latency buckets in microseconds; one more bucket takes the rest.
pub const LATENCY_BOUNDS_US: [u64; 14] =
    [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000];

/// How long something took, counted by size.
#[derive(Debug, Default)]
pub struct Latency {
    /// The sum of all durations in microseconds.
    pub sum_us: AtomicU64,
    /// How many durations were at most each of [`LATENCY_BOUNDS_US`] and above the one before; the last holds the rest.
    pub buckets: [AtomicU64; LATENCY_BOUNDS_US.len() + 1],
}

impl Latency {
    /// Counts one duration.
    pub(crate) fn record(&self, took: Duration) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.sum_us.fetch_add(took_us, Ordering::Relaxed);
        let bucket = LATENCY_BOUNDS_US.partition_point(|bound| *bound < took_us);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many durations were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }
}

/// Counters of one open log.
#[derive(Debug, Default)]
pub struct Stats {
    /// Batches made durable.
    pub appends: AtomicU64,
    /// Events made durable.
    pub events: AtomicU64,
    /// Bytes written to segments and made durable, frames included.
    pub bytes: AtomicU64,
    /// Syncs of a segment's data: one for all batches that waited together.
    pub syncs: AtomicU64,
    /// Batches refused because the disk was full.
    pub appends_full: AtomicU64,
    /// From a batch's being handed over, encoded, to its being durable.
    pub append: Latency,
    /// Syncs of a segment's data.
    pub sync: Latency,
    /// Segments on disk that hold records.
    pub segments: AtomicU64,
    /// Files on disk that wait to become segments.
    pub pool_segments: AtomicU64,
    /// Bytes of batches kept in memory for readers.
    pub tail_bytes: AtomicU64,
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

/// Sets a gauge.
pub(crate) fn set(gauge: &AtomicU64, value: usize) {
    gauge.store(value as u64, Ordering::Relaxed);
}
