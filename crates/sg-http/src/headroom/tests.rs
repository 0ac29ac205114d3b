//! When somebody is warned, and when not.

use super::*;

fn headroom(held: u64, records: u64) -> Headroom {
    Headroom {
        stream: "s".to_owned(),
        partition: 3,
        held,
        records,
        is_archive_behind: false,
        is_removing: true,
        is_keeping: false,
        seconds_left: None,
    }
}

#[test]
fn warns_when_more_waits_than_not() {
    let warns = |of: Headroom| of.warning().is_some();
    for (held, records, expect) in [
        (10_000, 4_999, true),
        (10_000, 5_000, false),
        (1_000, 0, true),
        (999, 0, false),
        (1_999, 999, true),
        (0, 0, false),
    ] {
        assert_eq!(warns(headroom(held, records)), expect, "{records} of {held}");
        let still = Headroom { is_removing: false, ..headroom(held, records) };
        assert!(!warns(still), "{records} of {held}, of which none is removed");
    }
    let left = |seconds: u64| Headroom { seconds_left: Some(seconds), ..headroom(10_000, 8_000) };
    assert!(warns(left(LEFT_MIN_SECONDS - 1)) && !warns(left(LEFT_MIN_SECONDS)));
    assert!(!warns(Headroom { is_keeping: true, ..left(1) }), "it removes nothing that is needed");
    assert!(!warns(Headroom { seconds_left: Some(1), ..headroom(10_000, 9_001) }), "hardly any wait");
}

#[test]
fn says_what_is_behind_and_what_follows() {
    let topic = Headroom { seconds_left: Some(90), ..headroom(10_000, 10) };
    assert_eq!(
        topic.warning().expect("a warning"),
        "9990 of the 10000 records that the log holds of s/3 are not processed yet, and it removes old ones, the first of \
         these in 90 s at this pace"
    );
    let files = Headroom { is_archive_behind: true, is_keeping: true, ..headroom(10_000, 10) };
    assert_eq!(
        files.warning().expect("a warning"),
        "9990 of the 10000 records that the log holds of s/3 are not archived yet, and it is larger or older than it is to \
         be, and grows until the disk is full"
    );
    assert_eq!(files.json()["records"], 10);
}

#[test]
fn tells_how_long_it_lasts_at_its_pace() {
    let seen = Headrooms::default();
    let left = |at_s: i64, records| seen.seconds_left(&headroom(10_000, records), Timestamp(at_s * 1_000));
    assert_eq!(left(0, 9_000), None);
    assert_eq!(left(29, 8_000), None, "too soon to tell");
    assert_eq!(left(30, 8_000), Some(240), "1000 in 30 s");
    assert_eq!(left(40, 6_000), Some(80), "3000 in 40 s");
    assert_eq!(left(60, 8_500), None, "it grows");
    assert_eq!(left(90, 8_500), None);
}
