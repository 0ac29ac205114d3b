//! Trying again: what a store or log refuses for the moment is asked for once more, after pauses that grow.

use std::sync::Arc;
use std::time::Duration;

use sg_core::flush::Flush;
use sg_core::metrics::Metrics;
use sg_core::ports::{ErrorKind, FlushOutcome, PortError, RollupWriter};
use tokio::time::Instant;

use super::{Stop, Stopped};

/// The first and the longest pause.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// The pause before the next try; each is twice the one before.
pub(super) struct Pause(Duration);

impl Default for Pause {
    fn default() -> Pause {
        Pause(BACKOFF.0)
    }
}

impl Pause {
    fn take(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(BACKOFF.1);
        pause
    }

    /// Lets the pause pass, unless told to stop.
    pub(super) async fn wait(&mut self, stop: &Stop) -> Result<(), Stopped> {
        tokio::select! {
            () = stop.asked() => Err(Stopped::Asked),
            () = tokio::time::sleep(self.take()) => Ok(()),
        }
    }
}

/// Writes a flush, trying again for ever where the fault may pass. A lost answer is harmless: the repeated flush then
/// misses with the store already at its end.
pub(super) async fn write(
    store: Arc<dyn RollupWriter>,
    metrics: &Metrics,
    flush: &Arc<Flush>,
) -> Result<FlushOutcome, PortError> {
    let mut pause = Pause::default();
    let mut is_repeated = false;
    loop {
        let began = Instant::now();
        let outcome = store.flush(flush.clone()).await;
        metrics.flush_duration.observe(began.elapsed());
        match outcome {
            Ok(FlushOutcome::Missed { epoch, next_offset })
                if is_repeated && epoch == flush.epoch && next_offset == flush.end =>
            {
                return Ok(FlushOutcome::Done);
            }
            Err(error) if matches!(error.kind, ErrorKind::Retry | ErrorKind::Full) => {
                tracing::warn!(stream = %flush.plan.name, "flushing: {error}; trying again in {:?}", pause.0);
                metrics.flush_retries.add(1);
                is_repeated = true;
                // A flush is not given up when the owner is told to stop: the owner waits for it.
                tokio::time::sleep(pause.take()).await;
            }
            other => {
                // Counted here, since its owner may be gone by now.
                if matches!(other, Ok(FlushOutcome::Missed { .. })) {
                    metrics.flush_missed.add(1);
                }
                return other;
            }
        }
    }
}

/// Tries a port again while its failure may pass.
pub(super) async fn retrying<T, F, R>(stop: &Stop, doing: &str, call: F) -> Result<T, Stopped>
where
    F: Fn() -> R,
    R: Future<Output = Result<T, PortError>>,
{
    let mut pause = Pause::default();
    loop {
        match call().await {
            Err(error) if matches!(error.kind, ErrorKind::Retry | ErrorKind::Full) => {
                tracing::warn!("{doing}: {error}; trying again in {:?}", pause.0);
                pause.wait(stop).await?;
            }
            other => return other.map_err(Stopped::Port),
        }
    }
}
