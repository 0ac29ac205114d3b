//! How an owner is told to stop, and what it is to finish before.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio_util::sync::CancellationToken;

/// What an owner does before it stops; a later one asks for less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leave {
    /// Folds and flushes all that the log holds.
    Drained,
    /// Flushes what is folded: another process is waiting for the partition.
    Flushed,
    /// Drops what is folded: the partition is another process's already.
    Dropped,
}

/// Tells one owner to stop.
#[derive(Debug, Clone)]
pub struct Stop {
    token: CancellationToken,
    leave: Arc<AtomicU8>,
}

impl Stop {
    /// Makes what stops one owner; asking `all` asks it to leave drained.
    pub fn below(all: &CancellationToken) -> Stop {
        Stop { token: all.child_token(), leave: Arc::default() }
    }

    /// Asks to stop. What was asked for before is not taken back, but less may be asked.
    pub fn ask(&self, leave: Leave) {
        self.leave.fetch_max(leave as u8, Ordering::AcqRel);
        self.token.cancel();
    }

    /// Waits until asked.
    pub async fn asked(&self) {
        self.token.cancelled().await;
    }

    /// Returns whether it was asked.
    pub fn is_asked(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Returns what is to be finished before.
    pub fn leave(&self) -> Leave {
        match self.leave.load(Ordering::Acquire) {
            0 => Leave::Drained,
            1 => Leave::Flushed,
            _ => Leave::Dropped,
        }
    }
}
