//! Compares decimal numbers as they are written, with all their digits.

use std::cmp::Ordering;

/// Exponents beyond this are of no number that an event is selected by.
const EXPONENT_MAX: i64 = 400;

/// A number without needless digits: `0.digits × 10^point`.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    is_negative: bool,
    /// Neither first nor last is zero; none for zero.
    digits: Vec<u8>,
    point: i64,
}

/// Returns how one number stands to another; `None` where one of them is none.
pub(super) fn compare(left: &str, right: &str) -> Option<Ordering> {
    let (left, right) = (read(left)?, read(right)?);
    let size = |number: &Decimal| (!number.digits.is_empty()).then_some(number.point);
    let by_size = || size(&left).cmp(&size(&right)).then_with(|| left.digits.cmp(&right.digits));
    Some(match (left.is_negative, right.is_negative) {
        (false, false) => by_size(),
        (true, true) => by_size().reverse(),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
    })
}

/// Returns whether a text is a number.
pub(super) fn is_number(text: &str) -> bool {
    read(text).is_some()
}

fn read(text: &str) -> Option<Decimal> {
    let (is_negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_sound = is_digits(whole) && is_digits(fraction) && !(whole.is_empty() && fraction.is_empty());
    if !is_sound || !(-EXPONENT_MAX..=EXPONENT_MAX).contains(&exponent) {
        return None;
    }
    let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    let leading = digits.iter().take_while(|digit| **digit == b'0').count();
    digits.drain(..leading);
    while digits.last() == Some(&b'0') {
        digits.pop();
    }
    let point = whole.len() as i64 - leading as i64 + exponent;
    Some(Decimal { is_negative: is_negative && !digits.is_empty(), digits, point })
}
