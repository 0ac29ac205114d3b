//! Random choices from a seed that is printed and can be given, so that a failed run can be had again.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use super::say;

/// A sequence of random numbers: splitmix64, of Steele, Lea and Flood, 2014.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Returns dice with this seed.
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// Returns a number below a limit.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    /// Returns a time below a limit of milliseconds.
    pub(crate) fn time_below(&mut self, limit_ms: u64) -> Duration {
        Duration::from_millis(self.below(limit_ms))
    }
}

/// Returns the seed in `SG_SEED`, or another one each time, and prints it.
pub(crate) fn seed(test: &str) -> u64 {
    let seed = number("SG_SEED", RandomState::new().hash_one(test) >> 32);
    say(&format!("{test}: SG_SEED={seed}"));
    seed
}

/// Returns the number in a variable of the environment, or a default.
pub(crate) fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {text:?}")),
        Err(_) => default,
    }
}
