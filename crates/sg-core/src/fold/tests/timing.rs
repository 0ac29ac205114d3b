//! What a flush tells of when its records came.

use super::*;
use crate::metrics::Metrics;

/// Checks that the metrics of one flush have such lines.
fn check(flush: &Flush, now: i64, lines: &[(&str, u64)]) {
    let metrics = Metrics::default();
    metrics.lateness.add("s", &flush.timing.lateness);
    metrics.committed.add("s", &flush.timing.latencies(Timestamp(now)));
    let mut text = String::new();
    metrics.render(&mut text);
    for (line, value) in lines {
        let expect = format!("streamgauge_event_{line} {value}\n");
        assert!(text.contains(&expect), "{expect} is missing in\n{text}");
    }
}

#[test]
fn lateness_is_how_far_the_clock_was_past_the_window() {
    let plan = plan(LatePolicy::Correct, 0);
    let end = NOW - NOW % MINUTE + MINUTE;
    let later = end + 10 * MINUTE;
    let records = [
        record(0, Some(end - 1), later, later),
        record(1, Some(end + 7_000), later, later),
        record(2, Some(end - 2), later, later),
        // A copy is judged before it could be late.
        record_of(3, "e2", Some(end - 2), (later, later)),
        record(4, Some(end + 8_000), later, later),
    ];
    let lines = [
        ("lateness_seconds_bucket{stream=\"s\",le=\"0\"}", 3),
        ("lateness_seconds_bucket{stream=\"s\",le=\"5\"}", 3),
        ("lateness_seconds_bucket{stream=\"s\",le=\"10\"}", 4),
        ("lateness_seconds_sum{stream=\"s\"}", 7),
        ("lateness_seconds_count{stream=\"s\"}", 4),
    ];
    check(&fold_all(&plan, &records), later, &lines);
}

#[test]
fn every_record_takes_its_time_whatever_becomes_of_it() {
    let plan = plan(LatePolicy::Correct, 0);
    let records = [
        record(0, Some(NOW), NOW, NOW),
        record_of(1, "e0", Some(NOW), (NOW, NOW)),
        // A dead letter.
        record(2, Some(NOW + 10 * MINUTE), NOW + 100, NOW + 100),
        record(3, None, NOW + 100, NOW + 100),
        record(4, None, NOW, NOW + 200),
    ];
    let flush = fold_all(&plan, &records);
    assert_eq!((flush.ledger.counted, flush.ledger.duplicate, flush.ledger.dead_lettered), (3, 1, 1));
    let lines = [
        ("commit_latency_seconds_bucket{stream=\"s\",le=\"0.1\"}", 0),
        ("commit_latency_seconds_bucket{stream=\"s\",le=\"0.25\"}", 2),
        ("commit_latency_seconds_bucket{stream=\"s\",le=\"0.5\"}", 5),
        ("commit_latency_seconds_count{stream=\"s\"}", 5),
        ("lateness_seconds_count{stream=\"s\"}", 3),
    ];
    check(&flush, NOW + 300, &lines);
}

#[test]
fn a_flush_begins_anew() {
    let plan = plan(LatePolicy::Correct, 0);
    let mut fold = Fold::resume(plan, (0, 1), &start(), 7);
    for offset in 0..3 {
        fold.batch(&record(offset, Some(NOW), NOW, NOW), u64::MAX);
        let flush = fold.take().expect("something was folded");
        assert_eq!(flush.timing.latencies(Timestamp(NOW)).count(), 1);
    }
}
