//! What a log on Kafka counts, for `/metrics`.

use sg_core::metrics::{Counter, Gauge, head, line};

/// The counters of one log.
#[derive(Debug, Default)]
pub struct KafkaMetrics {
    /// Records that all in-sync replicas have.
    pub appended: Counter,
    /// Records that were not acknowledged: their fate is unknown.
    pub delivery_failures: Counter,
    /// Batches refused because too much was on its way.
    pub appends_full: Counter,
    /// Bytes on their way to the brokers.
    pub in_flight_bytes: Gauge,
    /// Producers replaced after an error that they could not survive.
    pub producers_replaced: Counter,
    /// Records read.
    pub read: Counter,
    /// Readers stopped for good: records missing, a topic deleted or made again, a record that cannot be read.
    pub stops: Counter,
    /// Changes of which partitions this process works on.
    pub rebalances: Counter,
    /// Times that no broker could be reached.
    pub outages: Counter,
}

impl KafkaMetrics {
    /// Writes all of them in the Prometheus text format.
    pub fn render(&self, out: &mut String) {
        let mut counter = |name: &str, help: &str, value: u64| {
            head(out, name, "counter", help);
            line(out, format_args!("{name} {value}"));
        };
        counter(
            "streamgauge_kafka_records_appended_total",
            "Records acknowledged by all in-sync replicas.",
            self.appended.get(),
        );
        counter(
            "streamgauge_kafka_delivery_failures_total",
            "Records not acknowledged in time.",
            self.delivery_failures.get(),
        );
        counter(
            "streamgauge_kafka_appends_full_total",
            "Batches refused because too much was on its way to the brokers.",
            self.appends_full.get(),
        );
        counter(
            "streamgauge_kafka_producers_replaced_total",
            "Producers replaced after an error that they could not survive.",
            self.producers_replaced.get(),
        );
        counter("streamgauge_kafka_records_read_total", "Records read.", self.read.get());
        counter(
            "streamgauge_kafka_reader_stops_total",
            "Readers stopped because records are missing or cannot be read, or their topic was made again.",
            self.stops.get(),
        );
        counter(
            "streamgauge_kafka_rebalances_total",
            "Changes of which partitions this process works on.",
            self.rebalances.get(),
        );
        counter(
            "streamgauge_kafka_outages_total",
            "Times that no broker could be reached.",
            self.outages.get(),
        );
        let name = "streamgauge_kafka_in_flight_bytes";
        head(out, name, "gauge", "Bytes on their way to the brokers.");
        line(out, format_args!("{name} {}", self.in_flight_bytes.get()));
    }
}
