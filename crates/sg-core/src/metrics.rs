//! The process's counters: plain atomics, one field each, whose help text stands beside it. What is a promise (how many
//! events were counted) is read from the store instead and rendered elsewhere.

mod archive;
mod labelled;
mod spread;

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use archive::{ArchiveMetrics, ArchiverStanding, WriterMetrics};
pub use labelled::{Bar, By, ByBar, ByCode, ByLimit, ByRemovable, Label, Limit, Removable};
pub use spread::{Bounds, ByStream, Latencies, LatencyBounds, LatenessBounds, Latenesses, Spread};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Returns it.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that rises and falls.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Returns it.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn render(&self, name: &str, help: &str, out: &mut String) {
        head(out, name, "gauge", help);
        line(out, format_args!("{name} {}", self.get()));
    }
}

/// Durations in buckets from 50 µs to 10 s.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

/// Upper bounds in microseconds: three a decade, as finely as an alert needs.
const BOUNDS_US: [u64; 17] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

impl Histogram {
    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < us);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// Returns how many durations were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    /// Returns the mean duration in milliseconds; zero before the first.
    pub fn mean_ms(&self) -> f64 {
        self.sum_us.load(Ordering::Relaxed) as f64 / self.count().max(1) as f64 / 1e3
    }

    /// Writes it in the Prometheus text format.
    pub fn render(&self, name: &str, help: &str, out: &mut String) {
        head(out, name, "histogram", help);
        let mut total = 0;
        for (at, bound_us) in BOUNDS_US.iter().enumerate() {
            total += self.buckets[at].load(Ordering::Relaxed);
            line(out, format_args!("{name}_bucket{{le=\"{}\"}} {total}", *bound_us as f64 / 1e6));
        }
        total += self.buckets[BOUNDS_US.len()].load(Ordering::Relaxed);
        line(out, format_args!("{name}_bucket{{le=\"+Inf\"}} {total}"));
        line(out, format_args!("{name}_sum {}", self.sum_us.load(Ordering::Relaxed) as f64 / 1e6));
        line(out, format_args!("{name}_count {total}"));
    }
}

/// Declares a group of metrics: kind, field, metric name, help text.
macro_rules! metrics {
    ($(#[$doc:meta])* $group:ident $($kind:ident $field:ident $name:literal $help:literal;)*) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub struct $group {
            $(#[doc = $help] pub $field: $kind,)*
        }

        impl $group {
            /// Writes all of them in the Prometheus text format.
            pub fn render(&self, out: &mut String) {
                $(self.$field.render($name, $help, out);)*
            }
        }
    };
}

metrics! {
    /// What the doors and the loops count.
    Metrics
    Counter requests "streamgauge_ingest_requests_total" "Requests that brought events.";
    Counter requests_refused "streamgauge_ingest_requests_refused_total" "Requests of which no event was taken.";
    Counter ingest_bytes "streamgauge_ingest_bytes_total" "Bytes of event bodies as they came over the network.";
    Counter accepted "streamgauge_events_accepted_total" "Events answered 202: durable in the log.";
    ByCode rejected "streamgauge_events_rejected_total" "Events refused at the door, by reason.";
    Histogram ingest_duration "streamgauge_ingest_request_duration_seconds" "From the first byte of a body to its answer.";
    Histogram append_duration "streamgauge_log_append_duration_seconds" "From handing a batch to the log to its being durable.";
    Histogram flush_duration "streamgauge_store_flush_duration_seconds" "One flush transaction.";
    Counter flushes "streamgauge_store_flushes_total" "Flush transactions written.";
    Counter flush_retries "streamgauge_store_flush_retries_total" "Flushes tried again after a passing fault of the store.";
    Counter flush_missed "streamgauge_store_flush_missed_total" "Flushes refused because another owner had the partition.";
    Counter reclaims "streamgauge_partition_reclaims_total" "Partitions claimed again after another process had claimed them.";
    Counter flush_refused "streamgauge_store_flush_refused_total" "Flushes that the store refused as bad data.";
    Latencies committed "streamgauge_event_commit_latency_seconds" "From receiving an event to the commit of the flush that holds it.";
    Latencies visible "streamgauge_event_visible_latency_seconds" "From receiving an event until its owner knows that queries see it and answers who waits for that.";
    Latenesses lateness "streamgauge_event_lateness_seconds" "How far the partition's clock was past the end of an event's window; zero is in time.";
    Counter cells_flushed "streamgauge_cells_flushed_total" "Cells written by flushes.";
    Counter windows_closed "streamgauge_windows_closed_total" "Cells announced as final.";
    Counter corrections "streamgauge_rollup_corrections_total" "Cells of final windows announced as changed.";
    ByRemovable removed "streamgauge_retention_removed_total" "Rows that retention removed.";
    Counter output_records "streamgauge_output_records_total" "Records that output topics have taken.";
    Counter output_records_refused "streamgauge_output_records_refused_total" "Times that a topic refused a record, which then waits.";
    Counter output_records_shortened "streamgauge_output_records_shortened_total" "Records sent shorter than they are, because their topic takes no longer ones.";
    Counter analytics_queries "analytics_queries_total" "Questions to /analytics/… that were answered.";
    ByBar barred "streamgauge_http_requests_barred_total" "Requests kept out for want of a key that may do this, by what was wrong.";
    ByLimit limited "streamgauge_http_requests_limited_total" "Requests refused because more came than may, by the limit.";
    Counter connections "streamgauge_http_connections_total" "Connections accepted.";
    Counter connections_dropped "streamgauge_http_connections_dropped_total" "Connections closed because their client was too slow, or its address had too many.";
}

metrics! {
    /// What an embedded log counts.
    LogMetrics
    Counter appends "streamgauge_log_appends_total" "Batches made durable.";
    Counter events "streamgauge_log_events_total" "Events made durable.";
    Counter bytes "streamgauge_log_bytes_total" "Bytes made durable, frames included.";
    Counter appends_full "streamgauge_log_appends_full_total" "Batches refused because the disk was full.";
    Histogram append "streamgauge_log_write_duration_seconds" "From a batch's being handed over, encoded, to its being durable.";
    Histogram sync "streamgauge_log_fsync_duration_seconds" "Syncs of a segment: one for all batches that waited together.";
    Gauge segments "streamgauge_log_segments" "Segment files that hold records.";
    Gauge pool_segments "streamgauge_log_pool_segments" "Files that wait to become segments.";
    Gauge tail_bytes "streamgauge_log_tail_bytes" "Memory of the newest batches, kept for the fold.";
}

metrics! {
    /// What became of the spans of this process.
    TraceMetrics
    Counter sent "streamgauge_trace_spans_sent_total" "Spans that the collector has taken.";
    Counter failed "streamgauge_trace_spans_failed_total" "Spans lost because the collector did not take them.";
    Counter dropped "streamgauge_trace_spans_dropped_total" "Spans dropped because too many waited to be sent.";
}

impl Counter {
    fn render(&self, name: &str, help: &str, out: &mut String) {
        head(out, name, "counter", help);
        line(out, format_args!("{name} {}", self.get()));
    }
}

/// Writes the two comment lines above a metric.
pub fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    line(out, format_args!("# HELP {name} {help}"));
    line(out, format_args!("# TYPE {name} {kind}"));
}

/// Writes one line.
pub fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests;
