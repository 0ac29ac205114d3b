//! Spans of what loops do with records and of what is done by hand. A span of records begins with the first of a request that
//! is traced, and links to the appends; records of no such request have none. Nothing waits for a span.

use std::ops::Range;
use std::sync::Arc;

use opentelemetry::context::FutureExt as _;
use opentelemetry::global::{BoxedSpan, BoxedTracer};
use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
    Tracer as _,
};
use opentelemetry::{Context, KeyValue};
use sg_core::batch::LogBatch;
use sg_core::ports::PortError;
use sg_core::trace::TraceContext;

/// Who makes spans; nobody where nothing is traced.
pub type Tracer = Option<Arc<BoxedTracer>>;

/// Requests that one span links to: as many as OpenTelemetry keeps of a span unless told otherwise.
const LINKS_MAX: usize = 128;

/// The span of records that are worked on together.
#[derive(Default)]
pub(crate) struct Linked {
    span: Option<BoxedSpan>,
    links: usize,
}

impl Linked {
    /// Takes note of the traced requests among a batch's records at some offsets. The span stands below the first append, so
    /// that the trace of a request that is alone goes on; the others are only linked to.
    pub(crate) fn note(
        &mut self,
        tracer: &Tracer,
        (batch, offsets): (&LogBatch, Range<u64>),
        begin: impl Fn(&BoxedTracer, &Context) -> BoxedSpan,
    ) {
        let Some(tracer) = tracer.as_deref() else { return };
        for (index, context) in &batch.events.traces {
            if self.links == LINKS_MAX {
                return;
            }
            if !offsets.contains(&batch.place(*index as usize).0) {
                continue;
            }
            let append = remote(*context);
            let below = || Context::new().with_remote_span_context(append.clone());
            let span = self.span.get_or_insert_with(|| begin(tracer, &below()));
            span.add_link(append, Vec::new());
            self.links += 1;
        }
    }

    /// Returns the span, if there is one.
    pub(crate) fn into_span(self) -> Option<BoxedSpan> {
        self.span
    }
}

fn remote(context: TraceContext) -> SpanContext {
    let (trace, span) = (TraceId::from(context.trace_id), SpanId::from(context.span_id));
    SpanContext::new(trace, span, TraceFlags::SAMPLED, true, TraceState::default())
}

/// Ends a span, with what went wrong if anything did.
pub(crate) fn end(span: &mut BoxedSpan, fault: Option<&'static str>) {
    if let Some(fault) = fault {
        span.set_attribute(KeyValue::new("error.type", fault));
        span.set_status(Status::error(fault));
    }
    span.end();
}

/// Does a step of work under a span of that name, below that of whoever asked for the work; steps inside it stand below it.
pub(crate) async fn step<T>(
    tracer: &Tracer,
    name: String,
    work: impl Future<Output = Result<T, PortError>>,
) -> Result<T, PortError> {
    let Some(tracer) = tracer.as_deref() else { return work.await };
    let builder = tracer.span_builder(name).with_kind(SpanKind::Internal);
    let context = Context::current();
    let context = context.with_span(builder.start_with_context(tracer, &context));
    let done = work.with_context(context.clone()).await;
    if done.is_err() {
        context.span().set_attribute(KeyValue::new("error.type", "failed"));
        context.span().set_status(Status::error("failed"));
    }
    context.span().end();
    done
}

/// Adds a number to the span of the step that is being done.
pub(crate) fn note(name: &'static str, count: u64) {
    let context = Context::current();
    context.span().set_attribute(KeyValue::new(name, i64::try_from(count).unwrap_or(i64::MAX)));
}
