//! Questions take turns: so many at once, so many that wait, and none for long. The store answers few at a time, and a
//! queue that only grows answers nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::ApiError;

/// How long a question waits for its turn: whoever asked still waits.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The turns of a process.
pub struct Turns {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    waiting_max: usize,
}

/// One that waits; not any more when it is dropped.
struct Waiting<'t>(&'t AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Turns {
    /// Makes turns: how many at once, and how many may wait.
    pub fn new(at_once: usize, waiting_max: usize) -> Turns {
        Turns { places: Arc::new(Semaphore::new(at_once)), waiting: AtomicUsize::new(0), waiting_max }
    }

    /// Returns how many wait.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// Waits for a turn, which lasts until it is dropped.
    ///
    /// # Errors
    /// 503 when too many wait already, or it took too long.
    pub(crate) async fn take(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        if let Ok(turn) = self.places.clone().try_acquire_owned() {
            return Ok(turn);
        }
        let before = self.waiting.fetch_add(1, Ordering::AcqRel);
        let _waiting = Waiting(&self.waiting);
        if before >= self.waiting_max {
            return Err(ApiError::TooManyQuestions);
        }
        let turn = tokio::time::timeout(WAIT_MAX, self.places.clone().acquire_owned()).await;
        turn.ok().and_then(Result::ok).ok_or(ApiError::TooManyQuestions)
    }
}
