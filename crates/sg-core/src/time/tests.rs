//! Times as clients write them.

use super::*;
use proptest::prelude::*;

fn check(text: &str, expect: &str) {
    assert_eq!(Timestamp::from_text(text).map(|time| time.to_string()), Ok(expect.to_owned()), "{text}");
}

#[test]
fn reads_the_usual_forms() {
    check("2025-01-01T00:00:00Z", "2025-01-01T00:00:00Z");
    check("2025-01-01 00:00:00", "2025-01-01T00:00:00Z");
    check("2025-01-01T00:00", "2025-01-01T00:00:00Z");
    check("2025-01-01", "2025-01-01T00:00:00Z");
    check("2025-01-01T05:45:00.1234567891+05:45", "2025-01-01T00:00:00.123Z");
    check("2025-01-01T00:00:00-0330", "2025-01-01T03:30:00Z");
    check("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z");
    check("1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z");
    check("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z");
    check("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z");
    check("2024-02-29T12:00:00Z", "2024-02-29T12:00:00Z");
}

#[test]
fn refuses_what_is_no_time() {
    for text in [
        "",
        "yesterday",
        "2025-13-01",
        "2025-02-29",
        "2025-01-01T24:00:00Z",
        "2025-01-01T00:00:00X",
        "2025-01-01T00:00:00.",
        "2025-1-1",
    ] {
        assert_eq!(Timestamp::from_text(text), Err(TimeError::Unreadable), "{text}");
    }
    assert_eq!(Timestamp::from_text("0001-01-01T00:00:00+01:00"), Err(TimeError::OutOfRange));
    assert_eq!(Timestamp::from_text("0000-06-01"), Err(TimeError::OutOfRange));
}

#[test]
fn tells_units_apart_by_magnitude() {
    for (text, expect) in [
        ("1611662684", 1_611_662_684_000),
        ("1611662684.5", 1_611_662_684_500),
        ("99999999999", 99_999_999_999_000),
        ("100000000000", 100_000_000_000),
        ("1611662684123", 1_611_662_684_123),
        ("99999999999999", 99_999_999_999_999),
        ("100000000000000", 100_000_000_000),
        ("1611662684123456", 1_611_662_684_123),
        ("1611662684123456789", 1_611_662_684_123),
        ("-1", -1_000),
        ("-0.0005", -1),
        ("1.6e9", 1_600_000_000_000),
        ("0", 0),
    ] {
        assert_eq!(Timestamp::from_number(text), Ok(Timestamp(expect)), "{text}");
    }
    assert_eq!(Timestamp::from_number("9e30"), Err(TimeError::OutOfRange));
    assert_eq!(Timestamp::from_number("x"), Err(TimeError::Unreadable));
}

proptest! {
    #[test]
    fn agrees_with_a_calendar_library(ms in TIME_MIN_MS..=TIME_MAX_MS) {
        let time = Timestamp(ms);
        let theirs = jiff::Timestamp::from_millisecond(ms).expect("in range");
        prop_assert_eq!(time.to_string().parse::<jiff::Timestamp>().ok(), Some(theirs));
        prop_assert_eq!(Timestamp::from_text(&time.to_string()), Ok(time));
    }
}
