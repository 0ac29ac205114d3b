//! Spans of requests that bring events: one for the request, one below it for the append. Without a collector there are
//! none, and a request pays for one comparison. They say how much came and where it went, never what.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, StatusCode};
use opentelemetry::global::{BoxedSpan, BoxedTracer};
use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
    Tracer as _,
};
use opentelemetry::{Context, KeyValue};
use sg_core::ports::Appended;
use sg_core::trace::{TRACEPARENT, TraceContext};

/// Who makes spans; nobody where nothing is traced.
pub type Tracer = Option<Arc<BoxedTracer>>;

/// The span of a request, from its first byte to its answer.
pub(crate) struct RequestSpan<'a> {
    tracer: &'a BoxedTracer,
    span: BoxedSpan,
}

impl<'a> RequestSpan<'a> {
    /// Begins one, below the span that the client names, if it does.
    pub(crate) fn begin(tracer: &'a Tracer, request: &Request) -> Option<RequestSpan<'a>> {
        let tracer = tracer.as_deref()?;
        let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str).to_owned();
        let builder =
            tracer.span_builder(format!("POST {route}")).with_kind(SpanKind::Server).with_attributes([
                KeyValue::new("http.request.method", "POST"),
                KeyValue::new("http.route", route),
                KeyValue::new("url.scheme", "http"),
            ]);
        let parent = parent(request.headers()).map_or_else(Context::new, remote);
        Some(RequestSpan { tracer, span: builder.start_with_context(tracer, &parent) })
    }

    /// Ends it with the answer's status, and with its code where it is an error.
    pub(crate) fn end(mut self, status: StatusCode, code: Option<&'static str>) {
        self.span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
        if let Some(code) = code {
            self.span.set_attribute(KeyValue::new("error.type", code));
        }
        // What a client did wrong is no error of the server's.
        if status.is_server_error() {
            self.span.set_status(Status::error(code.unwrap_or_default()));
        }
        self.span.end();
    }

    /// Begins the span of an append; `None` where the request is not traced.
    pub(crate) fn append(
        &mut self,
        log: &'static str,
        stream: &str,
        (accepted, rejected): (usize, usize),
    ) -> Option<AppendSpan> {
        if !self.span.is_recording() {
            return None;
        }
        self.span.set_attribute(KeyValue::new("streamgauge.events.accepted", accepted as i64));
        self.span.set_attribute(KeyValue::new("streamgauge.events.rejected", rejected as i64));
        let builder = self
            .tracer
            .span_builder(format!("append {stream}"))
            .with_kind(SpanKind::Producer)
            .with_attributes([
                KeyValue::new("messaging.system", if log == "kafka" { "kafka" } else { "streamgauge" }),
                KeyValue::new("messaging.operation.name", "append"),
                KeyValue::new("messaging.operation.type", "send"),
                KeyValue::new("messaging.destination.name", stream.to_owned()),
                KeyValue::new("messaging.batch.message_count", accepted as i64),
            ]);
        let parent = Context::new().with_remote_span_context(self.span.span_context().clone());
        Some(AppendSpan(builder.start_with_context(self.tracer, &parent)))
    }
}

/// The span of an append, from handing the events to the log to their being durable.
pub(crate) struct AppendSpan(BoxedSpan);

impl AppendSpan {
    /// Returns its place, which travels with the events.
    pub(crate) fn place(&self) -> TraceContext {
        let context = self.0.span_context();
        TraceContext {
            trace_id: u128::from_be_bytes(context.trace_id().to_bytes()),
            span_id: u64::from_be_bytes(context.span_id().to_bytes()),
            is_sampled: context.is_sampled(),
        }
    }

    /// Ends it where the events are durable.
    pub(crate) fn end(mut self, appended: &[Appended]) {
        if let [place] = appended {
            self.0.set_attribute(KeyValue::new(
                "messaging.destination.partition.id",
                place.partition.to_string(),
            ));
            self.0.set_attribute(KeyValue::new("streamgauge.offset.first", place.first_offset as i64));
        }
        self.0.end();
    }

    /// Ends it where the log has not taken the events.
    pub(crate) fn fail(mut self, kind: &'static str) {
        self.0.set_attribute(KeyValue::new("error.type", kind));
        self.0.set_status(Status::error(kind));
        self.0.end();
    }
}

fn parent(headers: &HeaderMap) -> Option<TraceContext> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let value = values.next()?.to_str().ok()?;
    // Two of them are none (W3C Trace Context, 3.2).
    if values.next().is_some() { None } else { TraceContext::parse(value) }
}

fn remote(parent: TraceContext) -> Context {
    let flags = if parent.is_sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    let (trace, span) = (TraceId::from(parent.trace_id), SpanId::from(parent.span_id));
    Context::new().with_remote_span_context(SpanContext::new(trace, span, flags, true, TraceState::default()))
}
