//! What one sender may send: two buckets that fill at a steady rate. Whole numbers only, so that nothing is gained or lost by
//! many small steps. Reads no clock.

use std::time::Duration;

use sg_core::key::Rates;
use sg_core::metrics::Limit;

use crate::error::ApiError;

/// How many seconds' worth may come at once: senders buffer for some seconds, and a mean is what is limited.
pub(crate) const BURST_S: u64 = 10;

const NS: u128 = 1_000_000_000;

/// What a batch weighs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
}

/// How a sender stands, by the bucket that is emptier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// What may come at once.
    pub(crate) burst: u64,
    /// What may come now.
    pub(crate) remaining: u64,
    /// When all of it may come again.
    pub(crate) full_in: Duration,
}

impl Standing {
    /// Returns the one of two that is nearer to its end.
    pub(crate) fn tighter(self, other: Standing) -> Standing {
        let left = |standing: Standing, of: Standing| u128::from(standing.remaining) * u128::from(of.burst);
        if left(self, other) <= left(other, self) { self } else { other }
    }
}

/// A bucket. Time is counted in pieces of which a unit takes [`NS`], at whatever rate.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    rate: u64,
    /// When it is full again.
    full_at: u128,
}

impl Bucket {
    fn new(rate: u64) -> Bucket {
        Bucket { rate, full_at: 0 }
    }

    fn burst(self) -> u64 {
        self.rate * BURST_S
    }

    fn pieces(self, now: Duration) -> u128 {
        now.as_nanos() * u128::from(self.rate)
    }

    /// Returns what is missing, in pieces.
    fn missing(self, now: Duration) -> u128 {
        self.full_at.saturating_sub(self.pieces(now))
    }

    fn time_of(self, pieces: u128) -> Duration {
        let ns = pieces.div_ceil(u128::from(self.rate));
        Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }

    /// Returns how long so many units have to wait.
    fn wait(self, units: u64, now: Duration) -> Duration {
        let over = self.missing(now) + u128::from(units) * NS;
        self.time_of(over.saturating_sub(u128::from(self.burst()) * NS))
    }

    fn take(&mut self, units: u64, now: Duration) {
        self.full_at = self.full_at.max(self.pieces(now)) + u128::from(units) * NS;
    }

    fn standing(self, now: Duration) -> Standing {
        let missing = self.missing(now);
        let gone = u64::try_from(missing.div_ceil(NS)).unwrap_or(u64::MAX);
        let burst = self.burst();
        Standing { burst, remaining: burst.saturating_sub(gone), full_in: self.time_of(missing) }
    }
}

/// A sender's two buckets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sender {
    events: Option<Bucket>,
    bytes: Option<Bucket>,
}

impl Sender {
    /// Makes a sender that has sent nothing.
    pub(crate) fn new(rates: Rates) -> Sender {
        Sender { events: rates.events.map(Bucket::new), bytes: rates.bytes.map(Bucket::new) }
    }

    /// Returns whether nothing is known of the sender that a new one would not have.
    pub(crate) fn is_rested(&self, now: Duration) -> bool {
        self.buckets().all(|bucket| bucket.missing(now) == 0)
    }

    fn buckets(&self) -> impl Iterator<Item = Bucket> {
        self.events.into_iter().chain(self.bytes)
    }

    /// Takes a batch off both, or off none; `limits` are the names of both.
    pub(crate) fn take(
        &mut self,
        load: Load,
        limits: (Limit, Limit),
        now: Duration,
    ) -> Result<Standing, ApiError> {
        if let Some(events) = self.events.filter(|events| load.events > events.burst()) {
            return Err(ApiError::TooManyEvents(events.burst() as usize));
        }
        if let Some(bytes) = self.bytes.filter(|bytes| load.bytes > bytes.burst()) {
            return Err(ApiError::BodyTooLarge(bytes.burst() as usize));
        }
        let waits = [(self.events, load.events, limits.0), (self.bytes, load.bytes, limits.1)];
        let waits =
            waits.into_iter().filter_map(|(bucket, units, limit)| Some((bucket?.wait(units, now), limit)));
        if let Some((wait, limit)) = waits.filter(|(wait, _)| !wait.is_zero()).max_by_key(|(wait, _)| *wait) {
            return Err(ApiError::RateLimited { wait, standing: self.standing(now), limit });
        }
        for (bucket, units) in [(&mut self.events, load.events), (&mut self.bytes, load.bytes)] {
            if let Some(bucket) = bucket {
                bucket.take(units, now);
            }
        }
        Ok(self.standing(now))
    }

    fn standing(&self, now: Duration) -> Standing {
        let all = self.buckets().map(|bucket| bucket.standing(now));
        all.reduce(Standing::tighter).unwrap_or(Standing { burst: 0, remaining: 0, full_in: Duration::ZERO })
    }
}
