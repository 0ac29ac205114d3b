//! Between those who end spans and the collector: a queue that drops what does not fit, and the one task that empties it.
//! OpenTelemetry's own keeps the number of what it drops to itself, and sends on a thread where an async client cannot work.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};
use sg_core::metrics::TraceMetrics;
use tokio::sync::mpsc::{self, Receiver, error::TrySendError};
use tokio_util::sync::CancellationToken;

/// Spans that wait: what OpenTelemetry's own queue holds.
const SPANS_MAX: usize = 2_048;
/// Spans sent at once, and how long the first waits for more.
const BATCH_SPANS_MAX: usize = 512;
const GATHER: Duration = Duration::from_secs(1);

/// The end at which spans come in.
#[derive(Debug)]
pub(super) struct Queue {
    sender: mpsc::Sender<SpanData>,
    metrics: Arc<TraceMetrics>,
}

/// The end at which they go out.
pub(super) struct Sender<E> {
    receiver: Receiver<SpanData>,
    exporter: E,
    metrics: Arc<TraceMetrics>,
    /// Whether the last batch failed: said once, not with each.
    is_failing: bool,
}

/// Makes both ends.
pub(super) fn new<E: SpanExporter>(exporter: E, metrics: Arc<TraceMetrics>) -> (Queue, Sender<E>) {
    let (sender, receiver) = mpsc::channel(SPANS_MAX);
    let queue = Queue { sender, metrics: metrics.clone() };
    (queue, Sender { receiver, exporter, metrics, is_failing: false })
}

impl SpanProcessor for Queue {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        match self.sender.try_send(span) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => self.metrics.dropped.add(1),
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl<E: SpanExporter> Sender<E> {
    /// Says whose spans they are.
    pub(super) fn describe(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }

    /// Sends until told to stop, and then what is left.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::new();
        loop {
            let is_stopping = tokio::select! {
                () = stop.cancelled() => true,
                () = gather(&mut self.receiver, &mut batch) => false,
            };
            if is_stopping {
                // Those who still end spans find it closed, and count what they lose.
                self.receiver.close();
                while batch.len() < SPANS_MAX + BATCH_SPANS_MAX
                    && let Ok(span) = self.receiver.try_recv()
                {
                    batch.push(span);
                }
            }
            if !batch.is_empty() {
                self.send(std::mem::take(&mut batch)).await;
            }
            if is_stopping {
                return;
            }
        }
    }

    async fn send(&mut self, batch: Vec<SpanData>) {
        let spans = batch.len() as u64;
        match self.exporter.export(batch).await {
            Ok(()) => {
                self.metrics.sent.add(spans);
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!("the collector takes traces again");
                }
            }
            Err(error) => {
                self.metrics.failed.add(spans);
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!("sending traces: {error}; those are lost, and later ones are sent");
                }
            }
        }
    }
}

/// Waits for a span, then for more, up to a batch. What was gathered stays in `batch` when the wait is given up.
async fn gather(receiver: &mut Receiver<SpanData>, batch: &mut Vec<SpanData>) {
    if receiver.recv_many(batch, 1).await == 0 {
        // Everybody who makes spans is gone: there is nothing to do but to wait for the stop.
        return std::future::pending().await;
    }
    let due = tokio::time::Instant::now() + GATHER;
    while batch.len() < BATCH_SPANS_MAX {
        let more = receiver.recv_many(batch, BATCH_SPANS_MAX - batch.len());
        if !matches!(tokio::time::timeout_at(due, more).await, Ok(1..)) {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
