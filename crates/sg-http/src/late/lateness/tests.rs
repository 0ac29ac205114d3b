//! Buckets and the grace that would have sufficed, at their bounds.

use super::*;

#[test]
fn lateness_is_counted_from_the_end_of_the_window() {
    assert_eq!(of(Timestamp(70_000), Timestamp(0), 60_000), 10_000);
    assert_eq!(of(Timestamp(50_000), Timestamp(0), 60_000), -10_000);
}

#[test]
fn every_event_is_in_one_bucket() {
    let lateness = Lateness::new(vec![-5, 0, 999, 1_000, 4_999, 604_799_999, 604_800_000, i64::MAX]);
    let filled: Vec<(i64, Option<i64>, usize)> =
        lateness.buckets().into_iter().filter(|(_, _, events)| *events > 0).collect();
    assert_eq!(
        filled,
        [
            (0, Some(1_000), 3),
            (1_000, Some(5_000), 2),
            (259_200_000, Some(604_800_000), 1),
            (604_800_000, None, 2)
        ]
    );
}

#[test]
fn the_grace_catches_999_of_1000() {
    let check = |counted: u64, late_by_ms: &[i64], expect: i64| {
        assert_eq!(Lateness::new(late_by_ms.to_vec()).grace_for(counted, 30_000), expect, "{counted}");
    };
    check(0, &[], 30_000);
    check(999, &[40_000], 30_000);
    check(998, &[40_000], 40_001);
    check(1_997, &[90_000, 40_000], 40_001);
    check(1_998, &[90_000, 40_000], 30_000);
    check(0, &[50_000, 40_000], 50_001);
    check(0, &[10_000], 30_000);
}
