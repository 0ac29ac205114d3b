//! What a store or log refuses for the moment, and is therefore asked for once more.

use std::sync::Arc;
use std::time::Duration;

use sg_core::flush::Flush;
use sg_core::metrics::Metrics;
use sg_core::ports::{ErrorKind, FlushOutcome, PortError, Refresh, RollupWriter};
use tokio::time::Instant;

use super::{Stop, Stopped};
use crate::outage::Outage;
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
    let mut outage = Outage::default();
    loop {
        let began = Instant::now();
        let outcome = store.flush(flush.clone()).await;
        metrics.flush_duration.observe(began.elapsed());
        match outcome {
            Ok(FlushOutcome::Missed { epoch, next_offset })
                if is_repeated && epoch == flush.epoch && next_offset == flush.end =>
            {
                outage.succeeded(format_args!("flushing {}", flush.plan.name));
                return Ok(FlushOutcome::Done);
            }
            Err(error) if matches!(error.kind, ErrorKind::Retry | ErrorKind::Full) => {
                let pause = patience.next_pause();
                outage.failed(format_args!("flushing {}", flush.plan.name), &error);
                metrics.flush_retries.add(1);
                is_repeated = true;
                // A flush is not given up when the owner is told to stop: the owner waits for it.
                tokio::time::sleep(pause).await;
            }
            other => {
                if other.is_ok() {
                    outage.succeeded(format_args!("flushing {}", flush.plan.name));
                }
                // Counted here, since its owner may be gone by now.
                if matches!(other, Ok(FlushOutcome::Missed { .. })) {
                    metrics.flush_missed.add(1);
                }
                return other;
            }
        }
    }
}

/// Refreshes a partition of a stream; `None` where that failed for the moment: the next refresh is seconds away, and a flush
/// tries again on its own.
pub(super) async fn refreshed(
    store: &dyn RollupWriter,
    refresh: &Refresh,
    (stream, outage): (&str, &mut Outage),
) -> Result<Option<bool>, PortError> {
    let refreshed = store.refresh(refresh).await;
    let doing = format_args!("refreshing {stream}");
    match refreshed {
        Ok(is_mine) => {
            outage.succeeded(doing);
            Ok(Some(is_mine))
        }
        Err(error) if matches!(error.kind, ErrorKind::Retry | ErrorKind::Full) => {
            outage.failed(doing, &error);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Tries a port again while its failure may pass.
pub(super) async fn retrying<T, F, R>(stop: &Stop, doing: &str, call: F) -> Result<T, Stopped>
where
    F: Fn() -> R,
    R: Future<Output = Result<T, PortError>>,
{
    let mut patience = Patience::new(BACKOFF);
    let mut outage = Outage::default();
    loop {
        match call().await {
            Ok(done) => {
                outage.succeeded(doing);
                return Ok(done);
            }
            Err(error) if matches!(error.kind, ErrorKind::Retry | ErrorKind::Full) => {
                outage.failed(doing, &error);
                if !passes(patience.next_pause(), stop.asked()).await {
                    return Err(Stopped::Asked);
                }
            }
            Err(error) => return Err(Stopped::Port(error)),
        }
    }
}
