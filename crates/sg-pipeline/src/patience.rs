//! Trying again: pauses that grow with each failure in a row, until told to stop. What is tried, and which failures may
//! pass, is its callers'.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// The pauses between tries: each about twice the one before, no two processes at the same time.
pub(crate) struct Patience {
    first: Duration,
    longest: Duration,
    next: Duration,
    /// Decides how long each pause is, and nothing that is counted.
    dice: u64,
}

impl Patience {
    /// Makes a patience whose first and longest pauses are about these.
    pub(crate) fn new((first, longest): (Duration, Duration)) -> Patience {
        Patience { first, longest, next: first, dice: RandomState::new().hash_one(()) | 1 }
    }

    /// Begins again with the first pause: something went well.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }

    /// Returns the next pause, from half of what is due to one and a half times that.
    pub(crate) fn next_pause(&mut self) -> Duration {
        // Xorshift: any spread will do.
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        let share = 0.5 + (self.dice % 1_000) as f64 / 1_000.0;
        let pause = self.next.mul_f64(share);
        self.next = (self.next * 2).min(self.longest);
        pause
    }
}

/// Lets a pause pass; returns false, early, when told to stop.
pub(crate) async fn passes(pause: Duration, stop: impl Future<Output = ()>) -> bool {
    tokio::select! {
        () = stop => false,
        () = tokio::time::sleep(pause) => true,
    }
}

#[cfg(test)]
mod tests;
