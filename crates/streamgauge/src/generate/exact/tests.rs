//! Reading, comparing, rounding, writing.

use super::*;

fn exact(text: &str) -> Exact {
    Exact::parse(text).unwrap_or_else(|| panic!("{text} is a number"))
}

#[test]
fn equal_values_are_equal_however_they_are_written() {
    let check = |left: &str, right: &str| assert_eq!(exact(left), exact(right), "{left} {right}");
    check("1", "1.00");
    check("100", "1e2");
    check("0.00", "-0");
    check("0.0120", "12E-3");
    check("123456789012345678901234567890123456789.10", "123456789012345678901234567890123456789.1");
    assert_ne!(exact("0.1"), exact("0.10000000000000000000000000001"));
    assert_ne!(exact("1"), exact("-1"));
}

#[test]
fn what_is_no_number_is_refused() {
    for text in ["", "-", ".", ".5", "1e", "null", "\"1\"", "1 ", "1.2.3", "0x1", "NaN", "1e99999999999"] {
        assert_eq!(Exact::parse(text), None, "{text}");
    }
}

#[test]
fn order_is_by_value() {
    let ascending = ["-10.5", "-10", "-2", "-0.3", "0", "0.0001", "0.12", "0.123", "2", "9.99", "10", "1e3"];
    for pair in ascending.windows(2) {
        assert!(exact(pair[0]) < exact(pair[1]), "{pair:?}");
        assert!(exact(pair[1]) > exact(pair[0]), "{pair:?}");
    }
}

#[test]
fn scaling_rounds_half_even() {
    let check = |text: &str, scale: u32, expect: Option<i128>| {
        assert_eq!(exact(text).scaled(scale), expect, "{text}")
    };
    check("12.34", 2, Some(1_234));
    check("12", 2, Some(1_200));
    check("-12.345", 2, Some(-1_234));
    check("12.355", 2, Some(1_236));
    check("12.3451", 2, Some(1_235));
    check("0.5", 0, Some(0));
    check("1.5", 0, Some(2));
    check("0.51", 0, Some(1));
    check("0.04", 0, Some(0));
    check("1e-9", 2, Some(0));
    check("1e30", 2, Some(10i128.pow(32)));
    check("1e40", 0, None);
}

#[test]
fn whole_numbers_are_recognised() {
    for (text, expect) in
        [("0", true), ("12", true), ("1.00", true), ("1e3", true), ("0.5", false), ("12.01", false)]
    {
        assert_eq!(exact(text).is_whole(), expect, "{text}");
    }
}

#[test]
fn dividing_and_writing() {
    let check =
        |dividend, divisor, expect| assert_eq!(divided(dividend, divisor), expect, "{dividend}/{divisor}");
    check(7, 2, 4);
    check(5, 2, 2);
    check(-5, 2, -2);
    check(-7, 2, -4);
    check(10, 3, 3);
    check(11, 3, 4);
    assert_eq!(written(-5, 2), "-0.05");
    assert_eq!(written(1_234, 2), "12.34");
    assert_eq!(written(7, 0), "7");
}
