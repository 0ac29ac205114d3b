//! Spans of requests that have something done: one for the request, and below it one for the append of events, or, in
//! `traces/store`, one for each question to the store. Without a collector there are none, and a request pays for one
//! comparison. They say how much came and where it went, never what.

mod store;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::HeaderMap;
use axum::response::Response;
use opentelemetry::context::FutureExt as _;
use opentelemetry::global::{BoxedSpan, BoxedTracer};
use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
    Tracer as _,
};
use opentelemetry::{Context, KeyValue};
use sg_core::ports::Appended;
use sg_core::trace::{TRACEPARENT, TraceContext};

use crate::error::Problem;
use crate::server;

pub use store::with_spans;

/// Who makes spans; nobody where nothing is traced.
pub type Tracer = Option<Arc<BoxedTracer>>;

/// The span of a request, from its being let in to its answer, or to the end of an answer that goes on for long.
pub(crate) struct RequestSpan(Context);

impl RequestSpan {
    /// Begins one, below the span that the client names, if it does.
    pub(crate) fn begin(tracer: &Tracer, request: &Request) -> Option<RequestSpan> {
        let tracer = tracer.as_deref()?;
        let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str).to_owned();
        let method = request.method().as_str().to_owned();
        let builder =
            tracer.span_builder(format!("{method} {route}")).with_kind(SpanKind::Server).with_attributes([
                KeyValue::new("http.request.method", method),
                KeyValue::new("http.route", route),
                KeyValue::new("url.scheme", "http"),
            ]);
        let parent = parent(request.headers()).map_or_else(Context::new, remote);
        let span = builder.start_with_context(tracer, &parent);
        Some(RequestSpan(Context::new().with_span(span)))
    }

    /// Serves the request below the span, then ends it with the answer's status, and with its code where it is an error.
    pub(crate) async fn around(self, serving: impl Future<Output = Response>) -> Response {
        let RequestSpan(context) = self;
        let answer = serving.with_context(context.clone()).await;
        let (span, status) = (context.span(), answer.status());
        span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
        let problem = answer.extensions().get::<Problem>();
        if let Some(problem) = problem {
            span.set_attribute(KeyValue::new("error.type", problem.code));
            span.set_attribute(KeyValue::new("streamgauge.request_id", problem.request_id.clone()));
        }
        // What a client did wrong is no error of the server's.
        if status.is_server_error() {
            span.set_status(Status::error(problem.map_or("", |problem| problem.code)));
        }
        if server::goes_on(&answer) {
            // It ends when nobody holds it any more: with the body, and with the work that goes on without who asked.
            return answer.map(|body| Body::from_stream(body.into_data_stream().with_context(context)));
        }
        span.end();
        answer
    }
}

/// Adds a number to the span of the request that is served, if it has one.
pub(crate) fn note(name: &'static str, count: u64) {
    let context = Context::current();
    context.span().set_attribute(KeyValue::new(name, i64::try_from(count).unwrap_or(i64::MAX)));
}

/// Marks the span of the request that is served as failed after its answer has begun.
pub(crate) fn name_error(request_id: &str) {
    let context = Context::current();
    let span = context.span();
    span.set_attribute(KeyValue::new("streamgauge.request_id", request_id.to_owned()));
    span.set_status(Status::error("failed"));
}

/// Begins the span of an append below that of the request that is served; `None` where it is not traced.
pub(crate) fn append(
    tracer: &Tracer,
    log: &'static str,
    stream: &str,
    (accepted, rejected): (usize, usize),
) -> Option<AppendSpan> {
    let tracer = tracer.as_deref()?;
    let context = Context::current();
    if !context.span().is_recording() {
        return None;
    }
    note("streamgauge.events.accepted", accepted as u64);
    note("streamgauge.events.rejected", rejected as u64);
    let builder =
        tracer.span_builder(format!("append {stream}")).with_kind(SpanKind::Producer).with_attributes([
            KeyValue::new("messaging.system", if log == "kafka" { "kafka" } else { "streamgauge" }),
            KeyValue::new("messaging.operation.name", "append"),
            KeyValue::new("messaging.operation.type", "send"),
            KeyValue::new("messaging.destination.name", stream.to_owned()),
            KeyValue::new("messaging.batch.message_count", accepted as i64),
        ]);
    Some(AppendSpan(builder.start_with_context(tracer, &context)))
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
