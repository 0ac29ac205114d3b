//! What the queue does when spans come faster than they go, and when it is told to stop.

use std::sync::Mutex;

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::trace::{SpanEvents, SpanLinks};
use tokio::sync::Semaphore;

use super::*;

/// Takes as many batches as it has permits, or refuses each.
#[derive(Debug, Clone)]
struct Collector {
    permits: Arc<Semaphore>,
    refuses: bool,
    batches: Arc<Mutex<Vec<usize>>>,
}

impl Collector {
    fn new(permits: usize, refuses: bool) -> Collector {
        Collector { permits: Arc::new(Semaphore::new(permits)), refuses, batches: Arc::default() }
    }
}

impl SpanExporter for Collector {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.permits.acquire().await.expect("it is never closed").forget();
        self.batches.lock().expect("nobody panics with it").push(batch.len());
        if self.refuses { Err(OTelSdkError::InternalFailure("it refuses".to_owned())) } else { Ok(()) }
    }
}

fn span(flags: TraceFlags) -> SpanData {
    let (trace, span) = (TraceId::from(1_u128), SpanId::from(1_u64));
    let time = std::time::UNIX_EPOCH;
    SpanData {
        span_context: SpanContext::new(trace, span, flags, false, TraceState::default()),
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: "a".into(),
        start_time: time,
        end_time: time,
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: opentelemetry::InstrumentationScope::default(),
    }
}

/// Lets paused time pass until a condition holds.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if holds() {
            return;
        }
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    panic!("not within ten seconds: {what}");
}

fn counts(metrics: &TraceMetrics) -> (u64, u64, u64) {
    (metrics.sent.get(), metrics.failed.get(), metrics.dropped.get())
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_is_dropped_and_counted() {
    let metrics = Arc::new(TraceMetrics::default());
    let collector = Collector::new(0, false);
    let (queue, sender) = new(collector.clone(), metrics.clone());
    let stop = CancellationToken::new();
    let sending = tokio::spawn(sender.run(stop.clone()));
    for _ in 0..SPANS_MAX + 7 {
        queue.on_end(span(TraceFlags::SAMPLED));
    }
    assert_eq!(counts(&metrics), (0, 0, 7));
    collector.permits.add_permits(100);
    stop.cancel();
    sending.await.expect("it ends");
    assert_eq!(counts(&metrics), (SPANS_MAX as u64, 0, 7));
    queue.on_end(span(TraceFlags::SAMPLED));
    assert_eq!(counts(&metrics).2, 8, "what ends behind the stop is counted too");
}

#[tokio::test(start_paused = true)]
async fn spans_are_gathered_for_a_moment_and_no_longer() {
    let metrics = Arc::new(TraceMetrics::default());
    let collector = Collector::new(100, false);
    let (queue, sender) = new(collector.clone(), metrics.clone());
    let sending = tokio::spawn(sender.run(CancellationToken::new()));
    for _ in 0..3 {
        queue.on_end(span(TraceFlags::SAMPLED));
        queue.on_end(span(TraceFlags::default()));
    }
    let batches = || collector.batches.lock().expect("nobody panics with it").clone();
    let began = tokio::time::Instant::now();
    until("the first batch", || !batches().is_empty()).await;
    assert!((GATHER..GATHER * 2).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert_eq!(batches(), [3]);
    for _ in 0..BATCH_SPANS_MAX + 1 {
        queue.on_end(span(TraceFlags::SAMPLED));
    }
    until("two more", || batches().len() == 3).await;
    assert_eq!(batches(), [3, BATCH_SPANS_MAX, 1]);
    sending.abort();
}

#[tokio::test(start_paused = true)]
async fn what_the_collector_refuses_is_counted_and_holds_up_nothing() {
    let metrics = Arc::new(TraceMetrics::default());
    let (queue, sender) = new(Collector::new(100, true), metrics.clone());
    let stop = CancellationToken::new();
    let sending = tokio::spawn(sender.run(stop.clone()));
    queue.on_end(span(TraceFlags::SAMPLED));
    until("the first is lost", || metrics.failed.get() == 1).await;
    queue.on_end(span(TraceFlags::SAMPLED));
    stop.cancel();
    sending.await.expect("it ends");
    assert_eq!(counts(&metrics), (0, 2, 0));
}
