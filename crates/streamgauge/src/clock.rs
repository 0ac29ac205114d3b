//! The machine's clock, read in this one place. Everything else is given a [`Clock`].

use std::time::{SystemTime, UNIX_EPOCH};

use sg_core::time::{Clock, Timestamp, millis};

/// The wall clock of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct WallClock;

impl Clock for WallClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everything else is given")]
    fn now(&self) -> Timestamp {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => Timestamp(millis(since)),
            Err(before) => Timestamp(-millis(before.duration())),
        }
    }
}
