//! The span of a flush that holds traced requests: it begins with the first of their records that is folded, ends with the
//! transaction, and links to the appends. No span is of a single event, and a flush without traced requests has none.

use opentelemetry::global::{BoxedSpan, BoxedTracer};
use opentelemetry::trace::{Span as _, SpanKind, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};
use sg_core::batch::LogBatch;
use sg_core::flush::Flush;
use sg_core::ports::{FlushOutcome, PortError};

use crate::spans::{self, Linked, Tracer};

/// What is folded and not yet flushed of traced requests.
#[derive(Default)]
pub(super) struct Traced(Linked);

impl Traced {
    /// Takes note of the traced requests among records that were folded, those before `folded`.
    pub(super) fn note(&mut self, tracer: &Tracer, batch: &LogBatch, folded: u64, partition: u32) {
        let stream = &batch.events.stream;
        self.0.note(tracer, (batch, 0..folded), |tracer, below| begin(tracer, stream, partition, below));
    }

    /// Begins the transaction of what is noted; `None` where that is nothing.
    pub(super) fn flush(
        &mut self,
        tracer: &Tracer,
        store: &'static str,
        flush: &Flush,
    ) -> Option<FlushSpans> {
        let span = std::mem::take(&mut self.0).into_span();
        let (tracer, mut process) = (tracer.as_deref()?, span?);
        let records = (flush.end - flush.base) as i64;
        process.set_attribute(KeyValue::new("messaging.batch.message_count", records));
        process.set_attribute(KeyValue::new("streamgauge.offset.first", flush.base as i64));
        let builder = tracer.span_builder(format!("flush {}", flush.plan.name)).with_kind(SpanKind::Client);
        let builder = builder.with_attributes([
            KeyValue::new("db.system.name", if store == "postgres" { "postgresql" } else { store }),
            KeyValue::new("db.operation.name", "flush"),
        ]);
        let parent = Context::new().with_remote_span_context(process.span_context().clone());
        Some(FlushSpans { write: builder.start_with_context(tracer, &parent), process })
    }
}

/// Waits for a flush, then ends its spans.
pub(super) async fn ended(spans: Option<FlushSpans>, writing: impl Future<Output = Outcome>) -> Outcome {
    let outcome = writing.await;
    if let Some(spans) = spans {
        spans.end(&outcome);
    }
    outcome
}

type Outcome = Result<FlushOutcome, PortError>;

/// The spans of a flush that is being written.
pub(super) struct FlushSpans {
    process: BoxedSpan,
    write: BoxedSpan,
}

impl FlushSpans {
    fn end(mut self, outcome: &Outcome) {
        let fault = match outcome {
            Ok(FlushOutcome::Done) => None,
            Ok(FlushOutcome::Missed { .. }) => Some("missed"),
            Ok(FlushOutcome::Repeated { .. }) => Some("repeated"),
            Ok(FlushOutcome::Refused { .. }) => Some("refused"),
            Err(_) => Some("failed"),
        };
        spans::end(&mut self.write, fault);
        spans::end(&mut self.process, fault);
    }
}

fn begin(tracer: &BoxedTracer, stream: &str, partition: u32, below: &Context) -> BoxedSpan {
    let builder =
        tracer.span_builder(format!("process {stream}")).with_kind(SpanKind::Consumer).with_attributes([
            KeyValue::new("messaging.operation.name", "process"),
            KeyValue::new("messaging.operation.type", "process"),
            KeyValue::new("messaging.destination.name", stream.to_owned()),
            KeyValue::new("messaging.destination.partition.id", partition.to_string()),
        ]);
    builder.start_with_context(tracer, below)
}
