//! The span of a flush that holds traced requests: it begins with the first of their records that is folded, ends with the
//! transaction, and links to the appends. No span is of a single event, and a flush without traced requests has none.

use std::sync::Arc;

use opentelemetry::global::{BoxedSpan, BoxedTracer};
use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
    Tracer as _,
};
use opentelemetry::{Context, KeyValue};
use sg_core::batch::LogBatch;
use sg_core::flush::Flush;
use sg_core::ports::{FlushOutcome, PortError};
use sg_core::trace::TraceContext;

/// Who makes spans; nobody where nothing is traced.
pub type Tracer = Option<Arc<BoxedTracer>>;

/// Requests that one span links to: as many as OpenTelemetry keeps of a span unless told otherwise.
const LINKS_MAX: usize = 128;

/// What is folded and not yet flushed of traced requests.
#[derive(Default)]
pub(super) struct Traced {
    span: Option<BoxedSpan>,
    links: usize,
}

impl Traced {
    /// Takes note of the traced requests among records that were folded, those before `folded`.
    pub(super) fn note(&mut self, tracer: &Tracer, batch: &LogBatch, folded: u64, partition: u32) {
        let Some(tracer) = tracer.as_deref() else { return };
        for (index, context) in &batch.events.traces {
            if batch.place(*index as usize).0 >= folded || self.links == LINKS_MAX {
                return;
            }
            let stream = &batch.events.stream;
            let span = self.span.get_or_insert_with(|| begin(tracer, stream, partition, *context));
            span.add_link(remote(*context), Vec::new());
            self.links += 1;
        }
    }

    /// Begins the transaction of what is noted; `None` where that is nothing.
    pub(super) fn flush(
        &mut self,
        tracer: &Tracer,
        store: &'static str,
        flush: &Flush,
    ) -> Option<FlushSpans> {
        let Traced { span, .. } = std::mem::take(self);
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
        for span in [&mut self.write, &mut self.process] {
            if let Some(fault) = fault {
                span.set_attribute(KeyValue::new("error.type", fault));
                span.set_status(Status::error(fault));
            }
            span.end();
        }
    }
}

/// Begins the span of one flush's records, below the first append of them: so that the trace of a request that is alone goes
/// on to the store. The others are only linked to.
fn begin(tracer: &BoxedTracer, stream: &str, partition: u32, first: TraceContext) -> BoxedSpan {
    let builder =
        tracer.span_builder(format!("process {stream}")).with_kind(SpanKind::Consumer).with_attributes([
            KeyValue::new("messaging.operation.name", "process"),
            KeyValue::new("messaging.operation.type", "process"),
            KeyValue::new("messaging.destination.name", stream.to_owned()),
            KeyValue::new("messaging.destination.partition.id", partition.to_string()),
        ]);
    builder.start_with_context(tracer, &Context::new().with_remote_span_context(remote(first)))
}

fn remote(context: TraceContext) -> SpanContext {
    let (trace, span) = (TraceId::from(context.trace_id), SpanId::from(context.span_id));
    SpanContext::new(trace, span, TraceFlags::SAMPLED, true, TraceState::default())
}
