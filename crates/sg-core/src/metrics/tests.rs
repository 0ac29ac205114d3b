//! What the exposition looks like.

use super::*;
use crate::reason::Code;

#[test]
fn renders_every_kind() {
    let metrics = Metrics::default();
    metrics.accepted.add(3);
    metrics.rejected.add(Code::StoreRefused, 2);
    metrics.limited.add(Limit::Watchers, 4);
    metrics.flush_duration.observe(Duration::from_micros(50));
    metrics.flush_duration.observe(Duration::from_micros(51));
    metrics.flush_duration.observe(Duration::from_secs(60));
    let mut text = String::new();
    metrics.render(&mut text);
    for expect in [
        "# TYPE streamgauge_events_accepted_total counter\nstreamgauge_events_accepted_total 3\n",
        "streamgauge_events_rejected_total{reason=\"store_refused\"} 2\n",
        "streamgauge_http_requests_limited_total{limit=\"watchers\"} 4\n",
        "streamgauge_http_requests_limited_total{limit=\"key_events\"} 0\n",
        "streamgauge_http_requests_barred_total{reason=\"key_missing\"} 0\n",
        "streamgauge_store_flush_duration_seconds_bucket{le=\"0.00005\"} 1\n",
        "streamgauge_store_flush_duration_seconds_bucket{le=\"0.0001\"} 2\n",
        "streamgauge_store_flush_duration_seconds_bucket{le=\"10\"} 2\n",
        "streamgauge_store_flush_duration_seconds_bucket{le=\"+Inf\"} 3\n",
        "streamgauge_store_flush_duration_seconds_count 3\n",
    ] {
        assert!(text.contains(expect), "{expect} is missing in\n{text}");
    }
}

#[test]
fn each_value_of_a_label_has_a_counter_of_its_own() {
    fn check<L: Label>() {
        let places: Vec<usize> = L::ALL.iter().map(|value| value.place()).collect();
        assert_eq!(places, (0..L::ALL.len()).collect::<Vec<_>>(), "{}", L::NAME);
        let values: std::collections::BTreeSet<&str> = L::ALL.iter().map(|value| value.value()).collect();
        assert_eq!(values.len(), places.len(), "{values:?}");
    }
    check::<Code>();
    check::<Removable>();
    check::<Bar>();
    check::<Limit>();
}

#[test]
fn times_are_told_by_stream_in_buckets_of_their_own() {
    let metrics = Metrics::default();
    let mut spread = Spread::default();
    for (ms, count) in [(-5, 1), (0, 1), (10, 1), (11, 2), (3_600_000, 1), (3_600_001, 1)] {
        spread.add(ms, count);
    }
    metrics.committed.add("a", &spread);
    metrics.committed.add("a", &spread);
    metrics.committed.add("empty", &Spread::default());
    let mut text = String::new();
    metrics.render(&mut text);
    let name = "streamgauge_event_commit_latency_seconds";
    for (rest, expect) in [
        ("_bucket{stream=\"a\",le=\"0.01\"}", "6"),
        ("_bucket{stream=\"a\",le=\"0.025\"}", "10"),
        ("_bucket{stream=\"a\",le=\"300\"}", "10"),
        ("_bucket{stream=\"a\",le=\"3600\"}", "12"),
        ("_bucket{stream=\"a\",le=\"+Inf\"}", "14"),
        ("_sum{stream=\"a\"}", "14400.066"),
        ("_count{stream=\"a\"}", "14"),
    ] {
        assert!(text.contains(&format!("{name}{rest} {expect}\n")), "{rest} {expect} is missing in\n{text}");
    }
    assert!(!text.contains("stream=\"empty\""), "{text}");
    assert!(text.contains("# TYPE streamgauge_event_lateness_seconds histogram\n"), "{text}");
}

#[test]
fn bounds_ascend() {
    assert!(LatencyBounds::MS.is_sorted_by(|one, next| one < next), "{:?}", LatencyBounds::MS);
    assert!(LatenessBounds::MS.is_sorted_by(|one, next| one < next), "{:?}", LatenessBounds::MS);
}
