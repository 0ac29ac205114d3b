//! Windows and panes: half-open, aligned to 1970, also before it.

use crate::time::Timestamp;

/// Returns the start of the window of `length_ms` that `at` falls into.
pub fn start_of(at: Timestamp, length_ms: i64) -> Timestamp {
    Timestamp(at.0 - at.0.rem_euclid(length_ms))
}

/// Returns the end of that window.
pub fn end_of(at: Timestamp, length_ms: i64) -> Timestamp {
    Timestamp(start_of(at, length_ms).0.saturating_add(length_ms))
}

/// Returns whether an event is late for a window that ends at `end`: its partition's clock, the event itself
/// included, has reached the end plus the grace. The equal case is late, as in Kafka Streams, Flink and Spark.
pub fn is_late(partition_clock: Timestamp, end: Timestamp, grace_ms: i64) -> bool {
    partition_clock.0 >= end.0.saturating_add(grace_ms)
}
