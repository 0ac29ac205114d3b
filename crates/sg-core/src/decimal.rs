//! Exact decimals: integers scaled by a power of ten. Floats never enter, so sums do not depend on their order.

use crate::limits::SCALED_LIMIT;

/// Why a text is not a usable number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberError {
    /// It is not a decimal number.
    Unreadable,
    /// Scaled, it reaches 10²⁷.
    OutOfRange,
}

/// Reads a decimal number (`-12.50`, `1e3`) as an integer of `scale` digits after the point, rounded half-even.
///
/// # Errors
/// [`NumberError`] when the text is no number or `|value × 10^scale| ≥ 10²⁷`.
pub fn parse(text: &str, scale: u32) -> Result<i128, NumberError> {
    let value = parse_wide(text, scale).ok_or(NumberError::Unreadable)?;
    if value.abs() >= SCALED_LIMIT { Err(NumberError::OutOfRange) } else { Ok(value) }
}

/// Largest magnitude that [`parse_wide`] tells apart; anything beyond is reported as this.
const WIDE_LIMIT: i128 = 10i128.pow(36);

/// As [`parse`], but numbers too large saturate at ±10³⁶ instead of failing.
pub(crate) fn parse_wide(text: &str, scale: u32) -> Option<i128> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let (mantissa, exponent) = split_exponent(digits)?;
    let mut value: i128 = 0;
    let mut point: Option<i64> = None;
    let mut seen_digit = false;
    // Digits beyond the 38th cannot be kept: they only move the exponent, and decide the rounding.
    let mut dropped: i64 = 0;
    let mut dropped_nonzero = false;
    for &byte in mantissa {
        match byte {
            b'0'..=b'9' => {
                seen_digit = true;
                if value < WIDE_LIMIT {
                    value = value * 10 + i128::from(byte - b'0');
                } else {
                    dropped += 1;
                    dropped_nonzero |= byte != b'0';
                }
                point = point.map(|places| places + 1);
            }
            b'.' if point.is_none() => point = Some(0),
            _ => return None,
        }
    }
    if !seen_digit {
        return None;
    }
    let shift = exponent.saturating_add(i64::from(scale)).saturating_add(dropped) - point.unwrap_or(0);
    let magnitude = shifted(value, shift, dropped_nonzero);
    Some(if negative { -magnitude } else { magnitude })
}

fn split_exponent(digits: &[u8]) -> Option<(&[u8], i64)> {
    let Some(mark) = digits.iter().position(|byte| matches!(byte, b'e' | b'E')) else {
        return Some((digits, 0));
    };
    let (negative, text) = match &digits[mark + 1..] {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if text.is_empty() {
        return None;
    }
    let value = text.iter().try_fold(0i64, |value, byte| {
        byte.is_ascii_digit().then(|| (value * 10 + i64::from(byte - b'0')).min(1_000_000))
    })?;
    Some((&digits[..mark], if negative { -value } else { value }))
}

/// Multiplies by 10^shift, saturating at [`WIDE_LIMIT`], or divides with half-even rounding.
fn shifted(value: i128, shift: i64, sticky: bool) -> i128 {
    if value == 0 {
        return 0;
    }
    if shift >= 0 {
        let factor = u32::try_from(shift).ok().and_then(|digits| 10i128.checked_pow(digits));
        return factor
            .and_then(|factor| value.checked_mul(factor))
            .map_or(WIDE_LIMIT, |scaled| scaled.min(WIDE_LIMIT));
    }
    let Some(divisor) = u32::try_from(-shift).ok().and_then(|digits| 10i128.checked_pow(digits)) else {
        return 0;
    };
    let (quotient, rest) = (value / divisor, value % divisor);
    let half = divisor / 2;
    let above_half = rest > half || (rest == half && sticky);
    let tie = rest == half && !sticky;
    quotient + i128::from(above_half || (tie && quotient % 2 != 0))
}

/// Divides a sum by a count, rounded half-even, giving `extra` more digits than the sum has.
pub fn average(sum: i128, count: u64, extra: u32) -> i128 {
    let divisor = i128::from(count.max(1));
    // Whole part first: multiplying the sum itself could overflow.
    let (whole, rest) = (sum.div_euclid(divisor), sum.rem_euclid(divisor));
    let factor = 10i128.pow(extra);
    let fraction = rest * factor;
    let (quotient, left) = (fraction / divisor, fraction % divisor);
    let twice = left * 2;
    let below = whole * factor + quotient;
    let round_up = twice > divisor || (twice == divisor && below % 2 != 0);
    below + i128::from(round_up)
}

/// Writes a scaled integer as a decimal number with exactly `scale` digits after the point.
pub fn format(value: i128, scale: u32) -> String {
    let digits = value.unsigned_abs().to_string();
    let sign = if value < 0 { "-" } else { "" };
    let scale = scale as usize;
    if scale == 0 {
        return format!("{sign}{digits}");
    }
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    format!("{sign}{whole}.{fraction}")
}

#[cfg(test)]
mod tests;
