//! Cutting time in zones with odd offsets and on days with odd lengths, against brute force.

use super::*;
use proptest::prelude::*;

fn time(text: &str) -> Timestamp {
    Timestamp::from_text(text).expect("a time")
}

fn cuts(interval: &str, zone: &str, from: &str, to: &str) -> Vec<String> {
    let interval = Interval::parse(interval).expect("an interval");
    let cuts = Cuts::calendar(interval, zone, 60_000, (time(from), time(to))).expect("cuts");
    let mut bounds: Vec<String> = cuts.iter().map(|(start, _)| start.to_string()).collect();
    bounds.extend(cuts.iter().last().map(|(_, end)| end.to_string()));
    bounds
}

#[test]
fn days_have_the_length_of_their_zone() {
    assert_eq!(
        cuts("1d", "Europe/London", "2025-03-29T12:00:00Z", "2025-03-31T00:00:00Z"),
        ["2025-03-29T00:00:00Z", "2025-03-30T00:00:00Z", "2025-03-30T23:00:00Z", "2025-03-31T23:00:00Z"]
    );
    assert_eq!(
        cuts("1d", "America/New_York", "2025-11-02T12:00:00Z", "2025-11-03T05:00:00Z"),
        ["2025-11-02T04:00:00Z", "2025-11-03T05:00:00Z"]
    );
    assert_eq!(
        cuts("1d", "Asia/Kathmandu", "2025-01-01T00:00:00Z", "2025-01-01T01:00:00Z"),
        ["2024-12-31T18:15:00Z", "2025-01-01T18:15:00Z"]
    );
    assert_eq!(
        cuts("1d", "Asia/Kolkata", "2025-01-01T00:00:00Z", "2025-01-01T01:00:00Z"),
        ["2024-12-31T18:30:00Z", "2025-01-01T18:30:00Z"]
    );
}

#[test]
fn a_day_whose_midnight_comes_twice_ends_with_the_first() {
    // At 00:01 the clocks of Newfoundland went back to 23:01 of the day before.
    assert_eq!(
        cuts("1d", "America/St_Johns", "2006-10-28T12:00:00Z", "2006-10-29T12:00:00Z"),
        ["2006-10-28T02:30:00Z", "2006-10-29T02:30:00Z", "2006-10-30T03:30:00Z"]
    );
}

#[test]
fn weeks_months_and_counted_days() {
    assert_eq!(
        cuts("1w", "UTC", "2025-01-01", "2025-01-06"),
        ["2024-12-30T00:00:00Z", "2025-01-06T00:00:00Z"]
    );
    assert_eq!(
        cuts("1M", "UTC", "2025-01-15", "2025-02-02"),
        ["2025-01-01T00:00:00Z", "2025-02-01T00:00:00Z", "2025-03-01T00:00:00Z"]
    );
    assert_eq!(
        cuts("3M", "UTC", "2025-02-15", "2025-02-16"),
        ["2025-01-01T00:00:00Z", "2025-04-01T00:00:00Z"]
    );
    assert_eq!(
        cuts("2d", "UTC", "1970-01-02", "1970-01-04"),
        ["1970-01-01T00:00:00Z", "1970-01-03T00:00:00Z", "1970-01-05T00:00:00Z"]
    );
    assert_eq!(
        cuts("1d", "UTC", "1969-12-30T12:00:00Z", "1969-12-31"),
        ["1969-12-30T00:00:00Z", "1969-12-31T00:00:00Z"]
    );
}

#[test]
fn long_intervals_follow_the_wall_clock() {
    assert_eq!(
        cuts("6h", "Europe/Berlin", "2025-03-30T00:00:00Z", "2025-03-30T21:00:00Z"),
        [
            "2025-03-29T23:00:00Z",
            "2025-03-30T04:00:00Z",
            "2025-03-30T10:00:00Z",
            "2025-03-30T16:00:00Z",
            "2025-03-30T22:00:00Z"
        ]
    );
}

#[test]
fn says_when_a_pane_is_too_coarse() {
    let range = (time("2025-01-01"), time("2025-01-02"));
    let cut = |zone: &str, pane_ms: i64| Cuts::calendar(Interval::Days(1), zone, pane_ms, range).err();
    assert_eq!(cut("Asia/Kathmandu", 15 * 60_000), None);
    assert_eq!(
        cut("Asia/Kathmandu", 60 * 60_000),
        Some(CutError::PaneTooCoarse { pane_ms: 3_600_000, at: time("2024-12-31T18:15:00Z") })
    );
    assert_eq!(cut("Asia/Kolkata", 30 * 60_000), None);
    assert_eq!(cut("Nowhere/Town", 60_000), Some(CutError::UnknownZone));
}

#[test]
fn reads_intervals() {
    for (text, expect) in [
        ("1m", Some(Interval::Fixed(60_000))),
        ("15m", Some(Interval::Fixed(900_000))),
        ("3600s", Some(Interval::Fixed(HOUR_MS))),
        ("24h", Some(Interval::Days(1))),
        ("7d", Some(Interval::Days(7))),
        ("1M", Some(Interval::Months(1))),
        ("7m", None),
        ("5h", None),
        ("0m", None),
        ("m", None),
        ("1y", None),
        ("", None),
    ] {
        assert_eq!(Interval::parse(text).ok(), expect, "{text}");
    }
}

#[test]
fn refuses_too_many() {
    let range = (time("1900-01-01"), time("2100-01-01"));
    assert_eq!(Cuts::calendar(Interval::Fixed(60_000), "UTC", 60_000, range), Err(CutError::TooMany));
}

proptest! {
    #[test]
    fn every_moment_has_one_interval_and_it_begins_at_local_midnight(
        at in 0i64..4_000_000_000_000,
        zone in prop::sample::select(vec!["UTC", "Europe/London", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca"]),
        hours in 1i64..60,
    ) {
        let range = (Timestamp(at), Timestamp(at + hours * HOUR_MS));
        let cuts = Cuts::calendar(Interval::Days(1), zone, 1, range).expect("cuts");
        prop_assert!(cuts.range().0 <= range.0 && cuts.range().1 >= range.1);
        let tz = TimeZone::get(zone).expect("a zone");
        for step in 0..hours * 4 {
            let moment = Timestamp(at + step * HOUR_MS / 4);
            let (start, end) = cuts.containing(moment).expect("inside the range");
            prop_assert!(start <= moment && moment < end);
            let local = |at: Timestamp| tz.to_datetime(jiff::Timestamp::from_millisecond(at.0).expect("in range"));
            // Both ends lie on the same local day, by the library's own reckoning.
            prop_assert_eq!(local(start).date(), local(moment).date());
            prop_assert_eq!(local(Timestamp(end.0 - 1)).date(), local(moment).date());
        }
    }

    #[test]
    fn fixed_intervals_leave_no_gap(at in 0i64..2_000_000_000_000, zone in prop::sample::select(vec!["Europe/London", "Asia/Kathmandu", "Australia/Lord_Howe"]), length in prop::sample::select(vec!["15m", "1h", "6h", "12h"])) {
        let range = (Timestamp(at), Timestamp(at + 3 * DAY_MS));
        let cuts = Cuts::calendar(Interval::parse(length).expect("an interval"), zone, 1, range).expect("cuts");
        let all: Vec<_> = cuts.iter().collect();
        prop_assert!(all.windows(2).all(|pair| pair[0].1 == pair[1].0 && pair[0].0 < pair[0].1));
        prop_assert!(cuts.range().0 <= range.0 && cuts.range().1 >= range.1);
    }
}
