//! Cutting time for answers: into a rollup's own windows, or into coarser intervals of a time zone.
//! Intervals of up to an hour count elapsed time from local midnight; longer ones follow the wall clock.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, ToSpan};

use crate::time::Timestamp;

/// The length of an answer's intervals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interval {
    /// Milliseconds, a divisor of a day.
    Fixed(i64),
    /// Local days.
    Days(i64),
    /// Weeks that begin on Monday.
    Weeks(i64),
    /// Months.
    Months(i64),
}

/// Why time cannot be cut so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CutError {
    /// The interval is none that we know.
    #[error(
        "interval is minutes or hours that divide a day, such as 5m and 6h, or a number of days, weeks or months: 1d, 2w, 3M"
    )]
    UnknownInterval,
    /// The time zone is none that we know.
    #[error("tz is a name of the IANA time zone database such as Europe/London")]
    UnknownZone,
    /// A boundary does not fall between two panes.
    #[error(
        "the rollup is stored in panes of {pane_ms} ms, which {at} does not begin: ask for a coarser interval, another tz, or define the rollup with a smaller pane"
    )]
    PaneTooCoarse {
        /// Pane length in milliseconds.
        pane_ms: i64,
        /// The first boundary that falls inside a pane.
        at: Timestamp,
    },
    /// There would be too many intervals.
    #[error("the range has more than {CUTS_MAX} intervals: ask for a shorter range or a coarser interval")]
    TooMany,
}

/// Intervals of one answer: bounds what a filled answer can grow to.
pub const CUTS_MAX: usize = 100_000;

const DAY_MS: i64 = 86_400_000;
const HOUR_MS: i64 = 3_600_000;

impl Interval {
    /// Reads `5m`, `1h`, `1d`, `1w`, `1M`.
    ///
    /// # Errors
    /// [`CutError::UnknownInterval`].
    pub fn parse(text: &str) -> Result<Interval, CutError> {
        let (digits, unit) =
            text.split_at(text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len()));
        let count: i64 = digits
            .parse()
            .ok()
            .filter(|count| (1..=1_000_000).contains(count))
            .ok_or(CutError::UnknownInterval)?;
        let fixed = |unit_ms: i64| {
            let ms = count * unit_ms;
            if ms == DAY_MS {
                Ok(Interval::Days(1))
            } else if DAY_MS % ms == 0 {
                Ok(Interval::Fixed(ms))
            } else {
                Err(CutError::UnknownInterval)
            }
        };
        match unit {
            "s" => fixed(1_000),
            "m" => fixed(60_000),
            "h" => fixed(HOUR_MS),
            "d" if count <= 366 => Ok(Interval::Days(count)),
            "w" if count <= 53 => Ok(Interval::Weeks(count)),
            "M" | "mo" if count <= 12 => Ok(Interval::Months(count)),
            _ => Err(CutError::UnknownInterval),
        }
    }
}

/// Consecutive intervals that cover a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cuts {
    /// Windows of equal length, aligned to 1970.
    Windows {
        /// Window length in milliseconds.
        length_ms: i64,
        /// The first window's start.
        from: Timestamp,
        /// The last window's end.
        to: Timestamp,
    },
    /// Boundaries, ascending; each interval reaches from one to the next.
    Calendar(Vec<Timestamp>),
}

impl Cuts {
    /// Cuts a range into the rollup's own windows, widened to whole ones.
    pub fn windows(length_ms: i64, from: Timestamp, to: Timestamp) -> Cuts {
        let start = crate::window::start_of(from, length_ms);
        let last = Timestamp(to.0.saturating_sub(1).max(from.0));
        Cuts::Windows { length_ms, from: start, to: crate::window::end_of(last, length_ms) }
    }

    /// Cuts a range into intervals of a time zone, widened to whole ones, and checks that panes can be sorted into them.
    ///
    /// # Errors
    /// [`CutError`] when the zone is unknown, a pane would be split, or there are too many.
    pub fn calendar(
        interval: Interval,
        zone: &str,
        pane_ms: i64,
        (from, to): (Timestamp, Timestamp),
    ) -> Result<Cuts, CutError> {
        let zone = TimeZone::get(zone).map_err(|_| CutError::UnknownZone)?;
        let local = |at: Timestamp| {
            jiff::Timestamp::from_millisecond(at.0)
                .map(|at| zone.to_datetime(at))
                .map_err(|_| CutError::TooMany)
        };
        let mut day = first_day(interval, local(from)?.date());
        let mut bounds: Vec<Timestamp> = Vec::new();
        let step = match interval {
            Interval::Fixed(_) => 1.day(),
            Interval::Days(count) => count.days(),
            Interval::Weeks(count) => count.weeks(),
            Interval::Months(count) => count.months(),
        };
        while bounds.last().is_none_or(|last| *last < to) {
            push_bounds(&mut bounds, interval, &zone, day);
            day = day.checked_add(step).map_err(|_| CutError::TooMany)?;
            if bounds.len() > CUTS_MAX {
                return Err(CutError::TooMany);
            }
        }
        // The last boundary closes the last interval; whole intervals outside the range go.
        let first = bounds.partition_point(|bound| *bound <= from).saturating_sub(1);
        let last = bounds.partition_point(|bound| *bound < to).min(bounds.len() - 1);
        let bounds = bounds[first..=last.max(first)].to_vec();
        match bounds.iter().find(|bound| bound.0.rem_euclid(pane_ms) != 0) {
            Some(at) => Err(CutError::PaneTooCoarse { pane_ms, at: *at }),
            None => Ok(Cuts::Calendar(bounds)),
        }
    }

    /// Returns the start of the first interval and the end of the last.
    pub fn range(&self) -> (Timestamp, Timestamp) {
        match self {
            Cuts::Windows { from, to, .. } => (*from, *to),
            Cuts::Calendar(bounds) => {
                (bounds.first().copied().unwrap_or_default(), bounds.last().copied().unwrap_or_default())
            }
        }
    }

    /// Returns the interval that contains a time.
    pub fn containing(&self, at: Timestamp) -> Option<(Timestamp, Timestamp)> {
        match self {
            Cuts::Windows { length_ms, from, to } => (*from <= at && at < *to)
                .then(|| (crate::window::start_of(at, *length_ms), crate::window::end_of(at, *length_ms))),
            Cuts::Calendar(bounds) => {
                let after = bounds.partition_point(|bound| *bound <= at);
                Some((*bounds.get(after.checked_sub(1)?)?, *bounds.get(after)?))
            }
        }
    }

    /// Returns all intervals, at most [`CUTS_MAX`].
    pub fn iter(&self) -> Box<dyn Iterator<Item = (Timestamp, Timestamp)> + '_> {
        match self {
            Cuts::Windows { length_ms, from, to } => {
                let (start, length) = (from.0, *length_ms);
                let count =
                    usize::try_from(to.0.saturating_sub(from.0) / length_ms).unwrap_or(0).min(CUTS_MAX);
                Box::new(
                    (0..count as i64).map(move |at| {
                        (Timestamp(start + at * length), Timestamp(start + (at + 1) * length))
                    }),
                )
            }
            Cuts::Calendar(bounds) => Box::new(bounds.windows(2).map(|pair| (pair[0], pair[1]))),
        }
    }
}

/// Returns the first local day of the interval that a date lies in. Counted days are aligned to 1970-01-01.
fn first_day(interval: Interval, date: Date) -> Date {
    let epoch = Date::constant(1970, 1, 1);
    let back = |days: i64| date.checked_sub(days.days()).unwrap_or(date);
    let days_since =
        |origin: Date| i64::from(date.since(origin).map(|span: Span| span.get_days()).unwrap_or(0));
    match interval {
        Interval::Fixed(_) => date,
        Interval::Days(count) => back(days_since(epoch).rem_euclid(count)),
        // 1969-12-29 was a Monday.
        Interval::Weeks(count) => back(days_since(Date::constant(1969, 12, 29)).rem_euclid(7 * count)),
        Interval::Months(count) => {
            let months = i64::from(date.year()) * 12 + i64::from(date.month()) - 1;
            let back_months = (months - 1970 * 12).rem_euclid(count);
            date.first_of_month().checked_sub(back_months.months()).unwrap_or(date)
        }
    }
}

/// Adds the boundaries that one local day begins or contains.
fn push_bounds(bounds: &mut Vec<Timestamp>, interval: Interval, zone: &TimeZone, day: Date) {
    let instant = |local: DateTime| {
        zone.to_ambiguous_timestamp(local).compatible().map(|at| Timestamp(at.as_millisecond()))
    };
    let mut push = |at: Timestamp| {
        if bounds.last().is_none_or(|last| *last < at) {
            bounds.push(at);
        }
    };
    let Ok(midnight) = instant(day.at(0, 0, 0, 0)) else { return };
    let Interval::Fixed(length_ms) = interval else { return push(midnight) };
    let next_midnight = day.tomorrow().ok().and_then(|next| instant(next.at(0, 0, 0, 0)).ok());
    let next_midnight = next_midnight.unwrap_or(Timestamp(midnight.0 + DAY_MS));
    if length_ms <= HOUR_MS {
        let mut at = midnight;
        while at < next_midnight {
            push(at);
            at = Timestamp(at.0 + length_ms);
        }
        return;
    }
    for hour in (0..24).step_by((length_ms / HOUR_MS).max(1) as usize) {
        if let Ok(at) = instant(day.at(hour, 0, 0, 0)) {
            push(at);
        }
    }
}

#[cfg(test)]
mod tests;
