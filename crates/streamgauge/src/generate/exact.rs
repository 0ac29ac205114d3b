//! Decimal numbers of any length, compared by value: `1`, `1.00` and `1e0` are the same.

use std::cmp::Ordering;

/// A decimal number: 0.`digits` × 10^`point`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exact {
    is_negative: bool,
    /// Invariant: neither the first nor the last is `0`; none for zero.
    digits: String,
    point: i64,
}

impl Exact {
    /// Reads a number as JSON writes it; `None` for anything else.
    pub(crate) fn parse(text: &str) -> Option<Exact> {
        let (is_negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            None => (rest, 0),
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        if whole.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let digits = all.trim_start_matches('0');
        let point = whole.len() as i64 - (all.len() - digits.len()) as i64 + i64::from(exponent);
        let digits = digits.trim_end_matches('0').to_owned();
        if digits.is_empty() {
            return Some(Exact { is_negative: false, digits, point: 0 });
        }
        Some(Exact { is_negative, digits, point })
    }

    /// Returns whether nothing stands after the point.
    pub(crate) fn is_whole(&self) -> bool {
        self.digits.len() as i64 <= self.point.max(0)
    }

    /// Returns the number × 10^`scale`, rounded half-even; `None` beyond 10³⁸.
    pub(crate) fn scaled(&self, scale: u32) -> Option<i128> {
        let kept = self.point + i64::from(scale);
        if kept < 0 {
            return Some(0);
        }
        let kept = usize::try_from(kept).ok().filter(|kept| *kept <= 38)?;
        let whole_text = &self.digits[..kept.min(self.digits.len())];
        let whole: i128 = if kept == 0 { 0 } else { format!("{whole_text:0<kept$}").parse().ok()? };
        let rest = self.digits.get(kept..).unwrap_or("");
        let goes_up = match rest.as_bytes() {
            [] => false,
            [b'5'] => whole % 2 != 0,
            [first, ..] => *first >= b'5',
        };
        let magnitude = whole + i128::from(goes_up);
        Some(if self.is_negative { -magnitude } else { magnitude })
    }
}

impl Ord for Exact {
    fn cmp(&self, other: &Exact) -> Ordering {
        let sign = |number: &Exact| match (number.digits.is_empty(), number.is_negative) {
            (true, _) => 0,
            (_, true) => -1,
            (_, false) => 1,
        };
        // Digits after a common point compare as texts do, a missing one being less than any.
        let magnitude = || (self.point, &self.digits).cmp(&(other.point, &other.digits));
        match sign(self).cmp(&sign(other)) {
            Ordering::Equal if self.digits.is_empty() => Ordering::Equal,
            Ordering::Equal if self.is_negative => magnitude().reverse(),
            Ordering::Equal => magnitude(),
            different => different,
        }
    }
}

impl PartialOrd for Exact {
    fn partial_cmp(&self, other: &Exact) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Divides, rounded half-even.
pub(crate) fn divided(dividend: i128, divisor: i128) -> i128 {
    let (quotient, rest) = (dividend.div_euclid(divisor), dividend.rem_euclid(divisor));
    let goes_up = match (rest * 2).cmp(&divisor) {
        Ordering::Less => false,
        Ordering::Equal => quotient % 2 != 0,
        Ordering::Greater => true,
    };
    quotient + i128::from(goes_up)
}

/// Writes a scaled integer with all its digits after the point.
pub(crate) fn written(value: i128, scale: u32) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let (magnitude, unit) = (value.unsigned_abs(), 10u128.pow(scale));
    if scale == 0 {
        return format!("{sign}{magnitude}");
    }
    format!("{sign}{}.{:0width$}", magnitude / unit, magnitude % unit, width = scale as usize)
}

#[cfg(test)]
mod tests;
