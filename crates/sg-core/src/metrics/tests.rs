//! What the exposition looks like.

use super::*;

#[test]
fn renders_every_kind() {
    let metrics = Metrics::default();
    metrics.accepted.add(3);
    metrics.rejected.add(Code::StoreRefused, 2);
    metrics.flush_duration.observe(Duration::from_micros(50));
    metrics.flush_duration.observe(Duration::from_micros(51));
    metrics.flush_duration.observe(Duration::from_secs(60));
    let mut text = String::new();
    metrics.render(&mut text);
    for expect in [
        "# TYPE streamgauge_events_accepted_total counter\nstreamgauge_events_accepted_total 3\n",
        "streamgauge_events_rejected_total{reason=\"store_refused\"} 2\n",
        "streamgauge_store_flush_duration_seconds_bucket{le=\"0.00005\"} 1\n",
        "streamgauge_store_flush_duration_seconds_bucket{le=\"0.0001\"} 2\n",
        "streamgauge_store_flush_duration_seconds_bucket{le=\"10\"} 2\n",
        "streamgauge_store_flush_duration_seconds_bucket{le=\"+Inf\"} 3\n",
        "streamgauge_store_flush_duration_seconds_count 3\n",
    ] {
        assert!(text.contains(expect), "{expect} is missing in\n{text}");
    }
}
