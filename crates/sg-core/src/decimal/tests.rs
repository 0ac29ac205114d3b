//! Decimals: reading, rounding, printing.

use super::*;
use proptest::prelude::*;

#[test]
fn reads_and_rounds_half_even() {
    for (text, scale, expect) in [
        ("12.50", 2, 1250),
        ("-12.5", 2, -1250),
        ("0.125", 2, 12),
        ("0.135", 2, 14),
        ("-0.125", 2, -12),
        ("0.1250000000000000000000000000000000000000001", 2, 13),
        ("1e3", 0, 1000),
        ("1.5E-1", 2, 15),
        ("1e-400", 2, 0),
        ("007", 0, 7),
        ("0.5", 0, 0),
        ("1.5", 0, 2),
        ("+4", 0, 4),
        (".5", 1, 5),
        ("5.", 1, 50),
        ("123456789012345678901234567", 0, 123_456_789_012_345_678_901_234_567),
    ] {
        assert_eq!(parse(text, scale), Ok(expect), "{text}");
    }
}

#[test]
fn refuses_what_does_not_fit() {
    for text in ["", "-", ".", "1e", "1.2.3", "NaN", "Infinity", "0x10", "1_000", "--1", "1e+-2"] {
        assert_eq!(parse(text, 2), Err(NumberError::Unreadable), "{text}");
    }
    for text in
        ["1e400", "1000000000000000000000000000", "-1e27", "99999999999999999999999999999999999999999999999"]
    {
        assert_eq!(parse(text, 0), Err(NumberError::OutOfRange), "{text}");
    }
    assert_eq!(parse("999999999999999999999999999", 0), Ok(SCALED_LIMIT - 1));
    assert_eq!(parse("9999999999999999999999999.99", 2), Ok(SCALED_LIMIT - 1));
    assert_eq!(parse("10000000000000000000000000", 2), Err(NumberError::OutOfRange));
}

#[test]
fn prints_all_digits() {
    for (value, scale, expect) in
        [(1250, 2, "12.50"), (-5, 2, "-0.05"), (0, 2, "0.00"), (7, 0, "7"), (-7, 0, "-7")]
    {
        assert_eq!(format(value, scale), expect);
    }
}

#[test]
fn averages_round_half_even() {
    assert_eq!(average(10, 4, 0), 2);
    assert_eq!(average(14, 4, 0), 4);
    assert_eq!(average(10, 3, 6), 3_333_333);
    assert_eq!(average(-10, 3, 6), -3_333_333);
    assert_eq!(average(-10, 4, 0), -2);
    assert_eq!(average(5, 0, 0), 5);
}

proptest! {
    #[test]
    fn printing_and_reading_are_inverse(value in -SCALED_LIMIT + 1..SCALED_LIMIT, scale in 0u32..12) {
        prop_assert_eq!(parse(&format(value, scale), scale), Ok(value));
    }
}
