//! Milliseconds since 1970, and reading the times that clients send. Reads no clock; time zones are `query`'s.

use std::fmt;
use std::time::Duration;

use crate::limits::{TIME_MAX_MS, TIME_MIN_MS};

/// Milliseconds since 1970-01-01T00:00:00Z; the only time type of the code base. Negative before 1970.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

const DAY_MS: i64 = 86_400_000;

/// Where the current time comes from: the binary's clock, or a test's.
pub trait Clock: Send + Sync {
    /// Returns the current wall-clock time.
    fn now(&self) -> Timestamp;
}

/// Why a text or number is not a usable time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeError {
    /// It is neither RFC 3339 nor a number.
    Unreadable,
    /// It lies outside the years 0001 to 9999.
    OutOfRange,
}

impl Timestamp {
    /// Before every time: a clock that has seen nothing.
    pub const NEVER: Timestamp = Timestamp(i64::MIN);
    /// From before every time to behind every time that an event may have.
    pub const ALWAYS: (Timestamp, Timestamp) = (Timestamp::NEVER, Timestamp(i64::MAX));

    /// Returns this time moved by a duration, saturating.
    pub fn plus(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(millis(duration)))
    }

    /// Returns this time moved back by a duration, saturating.
    pub fn minus(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(millis(duration)))
    }

    /// Reads a number of seconds, milliseconds, microseconds or nanoseconds, told apart by magnitude:
    /// below 1e11 seconds, below 1e14 ms, below 1e17 µs, else ns. Fractions are cut to whole milliseconds downwards.
    ///
    /// # Errors
    /// [`TimeError`] when the text is no number or the time is outside the years 0001 to 9999.
    pub fn from_number(text: &str) -> Result<Timestamp, TimeError> {
        if let Some(ms) = from_plain_number(text) {
            return Timestamp::checked(i128::from(ms));
        }
        // Six digits after the point keep every unit's milliseconds exact.
        let micro_units = crate::decimal::parse_wide(text, 6).ok_or(TimeError::Unreadable)?;
        let magnitude = micro_units.unsigned_abs() / 1_000_000;
        let divisor: i128 = match magnitude {
            0..100_000_000_000 => 1_000,
            100_000_000_000..100_000_000_000_000 => 1_000_000,
            100_000_000_000_000..100_000_000_000_000_000 => 1_000_000_000,
            _ => 1_000_000_000_000,
        };
        Timestamp::checked(micro_units.div_euclid(divisor))
    }

    /// Reads RFC 3339 in its usual forms: `T` or blank between date and time, any fraction, with or without a zone
    /// (then UTC), seconds optional, or a date alone. A leap second counts as the second before it.
    ///
    /// # Errors
    /// [`TimeError`] when the text is no such time or lies outside the years 0001 to 9999.
    pub fn from_text(text: &str) -> Result<Timestamp, TimeError> {
        let mut reader = Reader(text.trim().as_bytes());
        let time = reader.date_time().ok_or(TimeError::Unreadable)?;
        if !reader.0.is_empty() {
            return Err(TimeError::Unreadable);
        }
        Timestamp::checked(i128::from(time))
    }

    fn checked(ms: i128) -> Result<Timestamp, TimeError> {
        if ms < i128::from(TIME_MIN_MS) || ms > i128::from(TIME_MAX_MS) {
            return Err(TimeError::OutOfRange);
        }
        i64::try_from(ms).map(Timestamp).map_err(|_| TimeError::OutOfRange)
    }

    /// Returns (year, month, day, hour, minute, second, millisecond) in UTC.
    pub fn civil(self) -> (i64, u32, u32, u32, u32, u32, u32) {
        let days = self.0.div_euclid(DAY_MS);
        let in_day = self.0.rem_euclid(DAY_MS);
        let (year, month, day) = civil_of_days(days);
        let part = |unit: i64, modulus: i64| (in_day / unit % modulus) as u32;
        (year, month, day, part(3_600_000, 24), part(60_000, 60), part(1_000, 60), part(1, 1_000))
    }
}

/// RFC 3339 with `Z`; milliseconds only where there are any.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day, hour, minute, second, ms) = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if ms != 0 {
            write!(f, ".{ms:03}")?;
        }
        f.write_str("Z")
    }
}

/// Returns a duration in whole milliseconds, saturating.
pub fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The common case of [`Timestamp::from_number`]: digits alone.
fn from_plain_number(text: &str) -> Option<i64> {
    if text.len() > 18 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: i64 = text.parse().ok()?;
    Some(match number {
        0..100_000_000_000 => number * 1_000,
        100_000_000_000..100_000_000_000_000 => number,
        100_000_000_000_000..100_000_000_000_000_000 => number / 1_000,
        _ => number / 1_000_000,
    })
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn date_time(&mut self) -> Option<i64> {
        let (year, month, day) = (self.digits(4)?, self.after(b'-', 2)?, self.after(b'-', 2)?);
        if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
            return None;
        }
        let midnight = days_of_civil(year, month, day) * DAY_MS;
        if self.0.is_empty() {
            return Some(midnight);
        }
        self.one_of(b"Tt ")?;
        let (hour, minute) = (self.digits(2)?, self.after(b':', 2)?);
        let mut second_ms = 0;
        if self.0.first() == Some(&b':') {
            let second = self.after(b':', 2)?;
            if second > 60 {
                return None;
            }
            second_ms = second.min(59) * 1_000 + self.fraction_ms()?;
        }
        if hour > 23 || minute > 59 {
            return None;
        }
        Some(midnight + hour * 3_600_000 + minute * 60_000 + second_ms - self.zone_ms()?)
    }

    fn fraction_ms(&mut self) -> Option<i64> {
        if !matches!(self.0.first(), Some(b'.' | b',')) {
            return Some(0);
        }
        self.0 = &self.0[1..];
        let digits = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        let ms = (0..3)
            .fold(0, |ms, place| ms * 10 + if place < digits { i64::from(self.0[place] - b'0') } else { 0 });
        self.0 = &self.0[digits..];
        Some(ms)
    }

    fn zone_ms(&mut self) -> Option<i64> {
        let Some((&first, rest)) = self.0.split_first() else { return Some(0) };
        let sign = match first {
            b'Z' | b'z' => {
                self.0 = rest;
                return Some(0);
            }
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        self.0 = rest;
        let hours = self.digits(2)?;
        let minutes = match self.0.first() {
            None => 0,
            Some(b':') => self.after(b':', 2)?,
            Some(_) => self.digits(2)?,
        };
        (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3_600_000 + minutes * 60_000))
    }

    fn after(&mut self, mark: u8, count: usize) -> Option<i64> {
        self.one_of(&[mark])?;
        self.digits(count)
    }

    fn one_of(&mut self, marks: &[u8]) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        marks.contains(first).then_some(())
    }

    fn digits(&mut self, count: usize) -> Option<i64> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        digits
            .iter()
            .try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a proleptic Gregorian date (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn days_of_civil(year: i64, month: i64, day: i64) -> i64 {
    let shifted = year - i64::from(month <= 2);
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days_of_civil`]; same source.
fn civil_of_days(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = (month_shifted + 2) % 12 + 1;
    (year_of_era + era * 400 + i64::from(month <= 2), month as u32, day as u32)
}

#[cfg(test)]
mod tests;
