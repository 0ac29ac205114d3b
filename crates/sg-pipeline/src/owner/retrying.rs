//! What a store or log refuses for the moment, and is therefore asked for once more.

use std::sync::Arc;
use std::time::Duration;

use sg_core::flush::Flush;
use sg_core::metrics::Metrics;
use sg_core::ports::{ErrorKind, FlushOutcome, PortError, RollupWriter};
use tokio::time::Instant;

use super::{Stop, Stopped};
use crate::patience::{Patience, passes};

/// The first and the longest pause.
pub(super) const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Writes a flush, trying again for ever where the fault may pass. A lost answer is harmless: the repeated flush then
/// misses with the store already at its end.
pub(super) async fn write(
    store: Arc<dyn RollupWriter>,
    metrics: &Metrics,
    flush: &Arc<Flush>,
) -> Result<FlushOutcome, PortError> {
    let mut patience = Patience::new(BACKOFF);
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
                let pause = patience.next_pause();
                tracing::warn!(stream = %flush.plan.name, "flushing: {error}; trying again in {pause:?}");
                metrics.flush_retries.add(1);
                is_repeated = true;
                // A flush is not given up when the owner is told to stop: the owner waits for it.
                tokio::time::sleep(pause).await;
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
    let mut patience = Patience::new(BACKOFF);
    loop {
        match call().await {
            Err(error) if matches!(error.kind, ErrorKind::Retry | ErrorKind::Full) => {
                let pause = patience.next_pause();
                tracing::warn!("{doing}: {error}; trying again in {pause:?}");
                if !passes(pause, stop.asked()).await {
                    return Err(Stopped::Asked);
                }
            }
            other => return other.map_err(Stopped::Port),
        }
    }
}
