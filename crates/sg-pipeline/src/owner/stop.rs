//! How an owner is told to stop, and what it is to finish before.

use tokio::sync::watch;
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
    leave: watch::Sender<Leave>,
}

impl Stop {
    /// Makes what stops one owner; asking `all` asks it to leave drained.
    pub fn below(all: &CancellationToken) -> Stop {
        Stop { token: all.child_token(), leave: watch::Sender::new(Leave::Drained) }
    }

    /// Asks to stop. What was asked for before is not taken back, but less may be asked.
    pub fn ask(&self, leave: Leave) {
        self.leave.send_modify(|known| *known = leave.max(*known));
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

    /// Waits until asked to drop everything.
    pub async fn dropped(&self) {
        // An error would mean that the sender is gone, which is part of this.
        drop(self.leave.subscribe().wait_for(|leave| *leave == Leave::Dropped).await);
    }

    /// Returns what is to be finished before.
    pub fn leave(&self) -> Leave {
        *self.leave.borrow()
    }
}
